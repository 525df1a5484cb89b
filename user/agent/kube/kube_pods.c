/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Selects which pods to watch: those of the whole cluster only while a policy of a pod on this node selects pods or
 * namespaces. Otherwise the identity that packets carry suffices for pods of other nodes, and their churn costs this
 * node nothing.
 */
#include "kube_internal.h"

#include "clock.h"

#define UNWATCH_MS 60000 /* after the last such policy the watch stays, since a rollout may add another one */
#define WAIT_MS 5000	 /* at most, for a policy whose pods have not been listed */

static void set_level(struct kube *k, enum pod_selection level)
{
	if (level == k->level)
		return;
	kube_source_select_pods(k->source, level);
	k->level = level;
	log_info(level == PODS_ALL ? "watching pods of all nodes: policies of this node select pods, or did before the restart"
				   : "watching pods of this node only: none of its policies selects pods");
}

static void on_unwatch(uv_timer_t *timer)
{
	struct kube *k = timer->data;

	if (!policy_needs_pods(k->agent->policy))
		set_level(k, PODS_OWN);
}

static bool all_synced(const struct kube *k)
{
	return k->level == PODS_ALL && kube_source_pods_synced(k->source);
}

void kube_pods_reconcile(struct kube *k)
{
	if (!k->source || !k->agent->reconcile.enforced || kube_is_waiting(k))
		return;
	if (policy_needs_pods(k->agent->policy)) {
		uv_timer_stop(&k->level_timer);
		set_level(k, PODS_ALL);
		return;
	}
	k->waiting = false;
	if (k->level == PODS_ALL && !uv_is_active((uv_handle_t *)&k->level_timer))
		uv_timer_start(&k->level_timer, on_unwatch, UNWATCH_MS, 0);
}

/* --- a policy that arrives before the pods that it selects --- */

bool kube_is_waiting(const struct kube *k)
{
	return k && k->waiting && !all_synced(k) && clock_ns(CLOCK_MONOTONIC) < k->wait_until_ns;
}

static void start_wait(struct kube *k)
{
	k->waiting = true;
	k->wait_until_ns = k->agent->reconcile.enforced ? clock_ns(CLOCK_MONOTONIC) + WAIT_MS * NS_PER_MS : UINT64_MAX;
}

/* After a timeout, policies do not wait again until all pods have been listed. */
bool kube_must_wait(struct kube *k, unsigned *ms)
{
	if (!k || !k->source || !policy_needs_pods(k->agent->policy))
		return false;
	set_level(k, PODS_ALL);
	if (all_synced(k)) {
		k->waiting = false;
		return false;
	}
	if (!k->waiting) {
		start_wait(k);
	} else if (k->wait_until_ns && !kube_is_waiting(k)) {
		k->wait_until_ns = 0;
		log_warn("pods of other nodes have not been listed in time: policies that select them are enforced without them");
	}
	*ms = k->wait_until_ns == UINT64_MAX ? 0 : WAIT_MS + 1;
	return kube_is_waiting(k);
}

/*
 * If an earlier agent watched all pods, the policies most likely need them still. Listing them now avoids waiting for
 * all other objects first; if they are not needed, the watch ends after UNWATCH_MS.
 */
void kube_pods_start(struct kube *k)
{
	if (ipcache_inherits(k->agent->ipcache))
		set_level(k, PODS_ALL);
}

void kube_pods_init(struct kube *k)
{
	k->level = PODS_OWN;
	uv_timer_init(&k->agent->loop, &k->level_timer);
	k->level_timer.data = k;
}
