/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One kind of object, or a part of it, listed and then watched.
 *
 *	        ┌───────────── 422: the server has no watch-list ────────────┐
 *	        │                                                             ▼
 *	start ──┴► watch-list ── the bookmark that ends it ──► watch ◄── chunked list ─► (next chunk)
 *	              ▲                                        │   ▲          ▲
 *	              │                     ended, broken, silent  └── wait ──┤
 *	              └──── 410 Gone, events that could not be read ──┘       │ failed, or older than what was told
 *	                    (older than what was told, too: but then by chunks)
 *
 * Whatever breaks waits before it is tried again, longer each time. A watch that breaks is resumed where it was.
 */
#ifndef WARREN_K8S_REFLECTOR_H
#define WARREN_K8S_REFLECTOR_H

#include "api.h"
#include "kubernetes.h"

struct reflector_kind {
	enum object_kind kind;
	const char *title; /* in complaints: "Pods of other nodes" */
	const char *path;
	const char *labels; /* selector; NULL: none */
	/* Field selectors, %s our node. A server that does not know a field of the first (400) gets the second. */
	const char *fields[2];
	/* Whether we want it, if the server has sent more than that; NULL: always. */
	bool (*wanted)(const struct object *o, const char *node);
};

/* What those of one server have in common. */
struct reflector_server {
	struct api *api;
	const char *node;
	const struct object_events *events;
	bool no_watch_list; /* the server has said so */
	bool no_protobuf;   /* ... or sent what we cannot decode */
	void (*synced)(void *arg); /* one of them has listed all that there is, for the first time since it was started */
	void *arg;
};

struct reflector;
int reflector_open(struct reflector **r, const struct reflector_kind *kind, struct reflector_server *server, struct err *err);
void reflector_pair(struct reflector *a, struct reflector *b); /* parts of one kind: see mirror.h */
void reflector_start(struct reflector *r);
void reflector_stop(struct reflector *r); /* and removes all that it has told */
bool reflector_synced(const struct reflector *r);
void reflector_watch(const struct reflector *r, struct kubernetes_watch *watch);
void reflector_close(struct reflector *r); /* without a word */

#endif
