/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Kubernetes API server as a source of objects (source.h): each kind is listed and then watched. The owner gets the
 * server's state, however often connections break.
 *
 * After a repeated list (410 Gone) only differences are put and removed: an object that still exists is never removed
 * in between. A list older than the last one is ignored, unless etcd itself returns it for several seconds (a restored
 * backup).
 */
#ifndef WARREN_K8S_KUBERNETES_H
#define WARREN_K8S_KUBERNETES_H

#include "api.h"
#include "source.h"

enum pod_selection {
	PODS_OWN, /* only those of this node (spec.nodeName) */
	PODS_ALL, /* those of other nodes too */
};

struct kubernetes;
/*
 * Returns before the first request; synced() is called when all kinds have been listed. The client and the node's name
 * are borrowed.
 */
int kubernetes_open(struct kubernetes **k, struct api *api, const char *node_name, const struct object_events *events,
		    struct err *err);
/*
 * Switches between PODS_OWN (the default) and PODS_ALL. PODS_OWN removes pods of other nodes; after PODS_ALL
 * kubernetes_pods_synced() returns true when all pods have been put. Not from within an event.
 */
void kubernetes_select_pods(struct kubernetes *k, enum pod_selection selection);
bool kubernetes_pods_synced(const struct kubernetes *k);
void kubernetes_close(struct kubernetes *k);

/* For status and metrics: one for each kind; two for Pods with PODS_ALL. */
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
