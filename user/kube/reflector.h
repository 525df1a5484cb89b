/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists and then watches one kind of object, or a part of it.
 *
 *	        ┌───────────── 422: the server has no watch-list ────────────┐
 *	        │                                                             ▼
 *	start ──┴► watch-list ── the bookmark that ends it ──► watch ◄── chunked list ─► (next chunk)
 *	              ▲                                        │   ▲          ▲
 *	              │                     ended, broken, silent  └── wait ──┤
 *	              └──── 410 Gone, events that could not be read ──┘       │ failed, or older than objects already put
 *	                    (a version that is too old, too: then by chunks)
 *
 * A failed request is repeated after a delay, which grows each time. A broken watch is resumed at its last version.
 */
#ifndef WARREN_KUBE_REFLECTOR_H
#define WARREN_KUBE_REFLECTOR_H

#include "api.h"
#include "kube_source.h"

struct reflector_kind {
	enum object_kind kind;
	const char *title; /* in problems: "Pods of other nodes" */
	const char *path;
	const char *labels; /* selector; NULL: none */
	/* Field selectors; '@' is this node. The second is used if a field of the first is not supported (400). */
	const char *fields[2];
	/* Whether an object belongs to the part: the server may send more; NULL: all do. */
	bool (*filter)(const struct object *o, const char *node);
	/* Nothing waits for its objects, and a server that has no such kind (404) has none of them. */
	bool optional;
};

/* Shared by the reflectors of one server. */
struct reflector_server {
	struct api *api;
	const char *node;
	const struct object_events *events;
	bool no_watch_list; /* the server does not support it */
	bool no_protobuf;   /* ... or sent protobuf that cannot be decoded */
	void (*synced)(void *arg); /* a reflector has completed its first list since its start */
	void *arg;
};

struct reflector;
int reflector_open(struct reflector **r, const struct reflector_kind *kind, struct reflector_server *server, struct err *err);
void reflector_pair(struct reflector *a, struct reflector *b); /* parts of one kind: see mirror.h */
void reflector_start(struct reflector *r);
void reflector_stop(struct reflector *r); /* and removes all that it has put */
bool reflector_synced(const struct reflector *r);
void reflector_watch(const struct reflector *r, struct kube_watch_counts *watch);
void reflector_close(struct reflector *r); /* without removals */

#endif
