/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The events of a source of objects (a directory of manifests, the API server): at most one object for each kind,
 * namespace and name.
 *
 * An error never removes an object: what a source cannot read, decode or reach stays as it was put last, and the
 * problem is reported. Only an object that is certainly gone is removed.
 */
#ifndef WARREN_KUBE_SOURCE_H
#define WARREN_KUBE_SOURCE_H

#include "err.h"
#include "objects.h"

struct object_events {
	/* Added, changed, or perhaps unchanged; takes ownership. -ENOMEM: the source puts it again later. */
	int (*put)(void *arg, struct object *o);
	/* namespace "": the kind is not namespaced */
	void (*remove)(void *arg, enum object_kind kind, const char *namespace, const char *name);
	/* All objects that existed at the start have been put. Called once; nothing may be compiled before. */
	void (*synced)(void *arg);
	/* A problem with `what` (a file, a directory, an object); err NULL: it is resolved. */
	void (*report_problem)(void *arg, const char *what, const struct err *err);
	void *arg;
};

#endif
