/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's life in a Kubernetes cluster: the API server as the source of objects, the cluster's key, which pods are
 * watched, the runtime's network configuration, and what the cluster is told of this node.
 *
 *   key ─► objects are listed ─► policy in force, own Node known ─► configuration written ─► Node says so
 *
 * Each waits for the one before; whatever is there from an earlier agent stays as it is until then.
 *
 * Of an agent without an API server `kube` is NULL, which all of this accepts: there is nothing to do, to wait for or to
 * tell.
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
 * The API server's client and the key. Nothing has been asked when it returns. `key`: it is there now (not called for one
 * that was there at once).
 */
int kube_open(struct agent *agent, void (*key)(struct agent *agent), struct kube **kube, struct err *err);
/* NULL: it is awaited. */
const uint8_t *kube_cluster_key(const struct kube *kube);
/* Begins to ask for objects; without a key it does nothing yet. */
int kube_begin(struct kube *kube, const struct object_events *events, struct err *err);
void kube_free(struct kube *kube); /* after the loop has closed its handles */

/* At the end of a turn of the loop, after what it brought was written. */
void kube_turn(struct kube *kube);
/* SIGHUP: looks again at all that nobody tells about. */
void kube_look_again(struct kube *kube);
/* An EndpointSlice: one may be the API server's own, which is where this agent looks for it from then on, and the next one. */
void kube_slice(struct kube *kube, const struct slice_object *slice);
/* The own Node's object has come, changed or gone. */
void kube_own_node(struct kube *kube);

/*
 * What was compiled needs the pods of other nodes, and they are not all known (yet): it is to be compiled again, later. To
 * enforce it would refuse what both the old policy and the new one allow. Not for long, unless nothing was ever in force.
 */
bool kube_must_wait(struct kube *kube, unsigned *ms); /* *ms: until then at most; 0: however long it takes */
/* That is still so: there is no need to compile. */
bool kube_is_waiting(const struct kube *kube);

/* An ADD has waited in vain for the policy of that pod. */
void kube_pod_not_ready(struct kube *kube, const struct attached_pod *pod, const struct err *why);

/* --- kube_answers.c --- */

/* What the node still waits for, of all this; NULL: nothing. Valid until the next call. */
const char *kube_waits_for(const struct kube *kube);
json_t *kube_json(const struct kube *kube); /* of the status; null */
void kube_metrics(FILE *f, const struct kube *kube);

#endif
