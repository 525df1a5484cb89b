/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every source of objects (a directory of manifests; later the API server) tells its owner: of each kind, namespace
 * and name one object at a time, wherever it stands in the source.
 *
 * Nothing that goes wrong opens anything: what a source cannot read, decode or reach for a while stays as it was told
 * last, and is complained about. Only what is known to be gone is removed.
 */
#ifndef WARREN_K8S_SOURCE_H
#define WARREN_K8S_SOURCE_H

#include "object.h"

struct object_events {
	/* Added, changed, or perhaps the same again; takes it over. -ENOMEM: the source puts it again later. */
	int (*put)(void *arg, struct object *o);
	/* namespace "": the kind has none */
	void (*remove)(void *arg, enum object_kind kind, const char *namespace, const char *name);
	/* Everything that was there at the start has been put. Called once; nothing may be compiled before. */
	void (*synced)(void *arg);
	/* Something is wrong (err), or no longer (NULL); `what` names it there: a file, or the directory by its path. */
	void (*complain)(void *arg, const char *what, const struct err *err);
	void *arg;
};

#endif
