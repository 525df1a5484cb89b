/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Kubernetes API server as a source of objects (source.h): each kind is listed and then watched; what the server holds
 * is what the owner has been told, however often connections break.
 *
 * A list that has to be made again (410 Gone) is told by difference: nothing that is still there is ever removed in
 * between, and an older list than the one told last is not believed; but what etcd itself says to be the newest there is, twice.
 */
#ifndef WARREN_K8S_KUBERNETES_H
#define WARREN_K8S_KUBERNETES_H

#include "api.h"
#include "source.h"

enum pods_wanted {
	PODS_OWN, /* only those of our own node (spec.nodeName) */
	PODS_ALL, /* those of other nodes too */
};

struct kubernetes;
/*
 * Nothing has been asked when it returns; synced() follows when all kinds have been listed. The client is borrowed, as
 * is the name of our node.
 */
int kubernetes_open(struct kubernetes **k, struct api *api, const char *node_name, const struct object_events *events,
		    struct err *err);
/*
 * From PODS_OWN (where it begins) to PODS_ALL and back. On the way back pods of other nodes are removed; on the way forth
 * kubernetes_pods_known() says when all are there. Not from within an event.
 */
void kubernetes_want_pods(struct kubernetes *k, enum pods_wanted wanted);
bool kubernetes_pods_known(const struct kubernetes *k);
void kubernetes_close(struct kubernetes *k);

/* For status and metrics: one for each kind; for Pods two, once others' have been wanted. */
struct kubernetes_watch {
	const char *kind; /* "Pods of this node" */
	size_t objects;
	bool synced, connected;
	unsigned long lists, watches, events, bytes; /* since the start; lists: full ones, watches: connections */
	unsigned long failures;
	const char *problem; /* "": none */
};
int kubernetes_each_watch(const struct kubernetes *k, int (*fn)(const struct kubernetes_watch *watch, void *arg), void *arg);

#endif
