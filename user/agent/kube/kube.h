/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent in a Kubernetes cluster: the API server as the source of objects, the cluster's key, which pods are
 * watched, the runtime's network configuration, and the status that this node reports.
 *
 *   key ─► objects are listed ─► policy enforced, own Node read ─► configuration written ─► Node patched
 *
 * Each step waits for the one before. Until then the state that an earlier agent left stays.
 *
 * Without an API server `kube` is NULL; all functions accept that and do nothing.
 */
#ifndef WARREN_AGENT_KUBE_H
#define WARREN_AGENT_KUBE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "attachments.h"
#include "err.h"
#include "source.h"

struct agent;
struct kube;

/*
 * Opens the API server's client and the key; requests start with the loop. `key` is called when the key arrives later;
 * not if kube_cluster_key() has it already.
 */
int kube_open(struct agent *agent, void (*key)(struct agent *agent), struct kube **kube, struct err *err);
/* NULL: it has not arrived yet. */
const uint8_t *kube_cluster_key(const struct kube *kube);
/* Lists and watches objects; without a key it does nothing yet. */
int kube_start(struct kube *kube, const struct object_events *events, struct err *err);
void kube_free(struct kube *kube); /* after the loop has closed its handles */

/* At the end of a loop iteration, after reconcile(). */
void kube_reconcile(struct kube *kube);
/* SIGHUP: checks again everything that is not watched. */
void kube_resync(struct kube *kube);
/* An EndpointSlice has changed. The API server's own updates the addresses that this agent and the next one use. */
void kube_slice(struct kube *kube, const struct slice_object *slice);
/* The own Node's object was added, changed or removed. */
void kube_own_node(struct kube *kube);

/*
 * Whether the compiled policy must wait, and be compiled again later: it names pods of other nodes, which have not all
 * been listed yet. Enforcing it now would drop traffic that both the old policy and the new one allow. The wait is
 * limited, unless no policy has been enforced yet. *ms: the limit; 0: none.
 */
bool kube_must_wait(struct kube *kube, unsigned *ms);
/* The wait goes on: compiling now is useless. */
bool kube_is_waiting(const struct kube *kube);

/* An ADD has timed out waiting for the policy of that pod. */
void kube_pod_not_ready(struct kube *kube, const struct attached_pod *pod, const struct err *why);

/* A Service's health check port is not open on this node. */
void kube_health_port_closed(struct kube *kube, const char *namespace, const char *name, const char *problem);

/* --- kube_answers.c --- */

/* Why the node is not ready for pods yet; NULL: it is. Valid until the next call. */
const char *kube_not_ready(const struct kube *kube);
json_t *kube_json(const struct kube *kube); /* part of the status; JSON null without an API server */
void kube_metrics(FILE *f, const struct kube *kube);

#endif
