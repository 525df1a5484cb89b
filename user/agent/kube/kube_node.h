/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Patches the own Node: the condition NetworkUnavailable becomes False, the startup taint is removed, and an annotation
 * holds the agent's status: "0.1.0 ok since TIME". Every reader of Nodes sees the annotation, so it holds the number of
 * problems, and no details.
 */
#ifndef WARREN_AGENT_KUBE_NODE_H
#define WARREN_AGENT_KUBE_NODE_H

#include "kube_task.h"

struct kube_node_options {
	const char *name;
	const char *taint; /* its key; NULL: none */
	kube_problem_fn *report_problem;
	void *arg;
};

struct kube_node;
/* Sends no request before kube_node_sync(). The API client and all strings are borrowed. NULL without memory. */
struct kube_node *kube_node_open(struct api *api, const struct kube_node_options *options);
void kube_node_close(struct kube_node *k);
/*
 * Reads the Node and patches it where needed, now and every few minutes, since others write to it too. A further call
 * reads it at once: it may be a new object.
 */
void kube_node_sync(struct kube_node *k);
bool kube_node_synced(const struct kube_node *k); /* condition and taint were right when last read */
/*
 * Sets the number of this node's problems for the annotation. It is written after condition and taint, when it has been
 * stable for some seconds, and, after a few writes in a row, once a minute at most.
 */
void kube_node_report(struct kube_node *k, size_t problems);

#endif
