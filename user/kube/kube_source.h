/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Kubernetes API server as a source of objects (source.h): each kind is listed and then watched. The owner gets the
 * server's state, however often connections break.
 *
 * After a repeated list (410 Gone) only differences are put and removed: an object that still exists is never removed
 * in between. A list older than the last one is ignored, unless etcd itself returns it for several seconds (a restored
 * backup).
 */
#ifndef WARREN_KUBE_KUBE_SOURCE_H
#define WARREN_KUBE_KUBE_SOURCE_H

#include "api.h"
#include "source.h"

enum pod_selection {
	PODS_OWN, /* only those of this node (spec.nodeName) */
	PODS_ALL, /* those of other nodes too */
};

struct kube_source;
/*
 * Returns before the first request; synced() is called when all kinds have been listed. The client and the node's name
 * are borrowed.
 */
int kube_source_open(struct kube_source **k, struct api *api, const char *node_name, const struct object_events *events,
		    struct err *err);
/*
 * Switches between PODS_OWN (the default) and PODS_ALL. PODS_OWN removes pods of other nodes; after PODS_ALL
 * kube_source_pods_synced() returns true when all pods have been put. Not from within an event.
 */
void kube_source_select_pods(struct kube_source *k, enum pod_selection selection);
bool kube_source_pods_synced(const struct kube_source *k);
void kube_source_close(struct kube_source *k);

/* For status and metrics: one for each kind; two for Pods with PODS_ALL. */
struct kube_watch_counts {
	const char *kind; /* "Pods of this node" */
	size_t objects;
	bool synced, connected;
	unsigned long lists, watches, events, bytes; /* since the start; lists: full ones, watches: connections */
	unsigned long failures;
	const char *problem; /* "": none */
};
int kube_source_each_watch(const struct kube_source *k, int (*fn)(const struct kube_watch_counts *watch, void *arg), void *arg);

#endif
