/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kubernetes Events: what `kubectl describe` shows of a pod, or a Node, with which something is wrong. Few: each kind
 * once in ten minutes for an object, and all together no more than a handful a minute. One that cannot be sent is
 * forgotten: status and log say the same.
 */
#ifndef WARREN_AGENT_KUBE_EVENTS_H
#define WARREN_AGENT_KUBE_EVENTS_H

#include "api.h"

struct kube_event {
	const char *kind;		     /* "Pod" or "Node" */
	const char *namespace, *name, *uid; /* namespace and uid of a Node: NULL */
	const char *reason, *message;
};

struct kube_events;
/* Both are borrowed. NULL without memory. */
struct kube_events *kube_events_open(struct api *api, const char *node_name);
void kube_events_close(struct kube_events *e);
void kube_events_send(struct kube_events *e, const struct kube_event *event);

#endif
