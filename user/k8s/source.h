/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every source of objects (a directory of manifests; the API server) tells its owner. A source keeps what it needs to
 * know of its own objects; the owner sees each object of that kind, namespace and name once, wherever it stands there.
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
	void (*remove)(void *arg, enum object_kind kind, const char *namespace, const char *name); /* namespace "": it has none */
	/* Everything that was there at the start has been put. Called once; nothing may be compiled before. */
	void (*synced)(void *arg);
	/* Something is wrong (err), or no longer (NULL); `what` names it in the source: a file, the directory. Printable. */
	void (*complain)(void *arg, const char *what, const struct err *err);
	void *arg;
};

#endif
