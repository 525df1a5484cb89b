/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kubernetes Events: problems that `kubectl describe` shows of a pod, a Node or a Service. The rate is limited: one of a reason
 * and object in ten minutes, and six a minute in total after a burst. An Event that cannot be sent is dropped: status
 * and log have the same information.
 */
#ifndef WARREN_AGENT_KUBE_EVENTS_H
#define WARREN_AGENT_KUBE_EVENTS_H

#include "api.h"

struct kube_event {
	const char *kind;		     /* "Pod", "Node" or "Service" */
	const char *namespace, *name, *uid; /* namespace of a Node: NULL; uid of a Node and of a Service: NULL */
	const char *reason, *message;
};

struct kube_events;
/* Both are borrowed. NULL without memory. */
struct kube_events *kube_events_open(struct api *api, const char *node_name);
void kube_events_close(struct kube_events *e);
void kube_events_send(struct kube_events *e, const struct kube_event *event);

#endif
