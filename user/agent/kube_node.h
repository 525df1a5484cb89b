/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent tells the cluster of its own Node: that the network is there (condition NetworkUnavailable is False),
 * that pods may come (the startup taint is taken off), and, in an annotation, how the agent is: "0.1.0 ok since TIME".
 * Whoever may read Nodes reads that, so it tells how many things are wrong, and not which.
 */
#ifndef WARREN_AGENT_KUBE_NODE_H
#define WARREN_AGENT_KUBE_NODE_H

#include "kube_task.h"

struct kube_node_options {
	const char *name;
	const char *taint; /* its key; NULL: none */
	kube_complain_fn *complain;
	void *arg;
};

struct kube_node;
/* Nothing is asked before kube_node_tell(). The API client and all strings are borrowed. NULL without memory. */
struct kube_node *kube_node_open(struct api *api, const struct kube_node_options *options);
void kube_node_close(struct kube_node *k);
/*
 * Sees to it that the Node says so, and looks again now and then: others write there too. Called again: at once, since
 * it may be another object.
 */
void kube_node_tell(struct kube_node *k);
bool kube_node_told(const struct kube_node *k); /* it has said so, as far as is known */
/*
 * How many things are wrong with this node now; not what is wrong with objects, which all nodes would say at once, and all
 * would hear. Written once the Node has been told, if that lasts, and no more than once a minute.
 */
void kube_node_say(struct kube_node *k, size_t wrong);

#endif
