/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pods are watched: all of the cluster only while a policy of some pod here names pods. The rest of the time a pod
 * elsewhere is known by the identity that its packets carry, and churn there costs this node nothing.
 */
#include "kube_internal.h"

#include "clock.h"

#define BACK_MS 60000 /* until pods elsewhere are forgotten: policies come and go in rollouts */
#define WAIT_MS 5000  /* that a policy waits for them */

static void want(struct kube *k, enum pods_wanted level)
{
	if (level == k->level)
		return;
	kubernetes_want_pods(k->source, level);
	k->level = level;
	log_info(level == PODS_ALL ? "pods of other nodes are followed too: policies here name pods, or did so last"
				   : "no policy here names pods: those of other nodes are followed no longer");
}

static void on_back(uv_timer_t *timer)
{
	struct kube *k = timer->data;

	if (!policy_needs_pods(k->agent->policy))
		want(k, PODS_OWN);
}

static bool all_known(const struct kube *k)
{
	return k->level == PODS_ALL && kubernetes_pods_known(k->source);
}

void kube_pods_turn(struct kube *k)
{
	if (!k->source || !k->agent->work.enforced || kube_is_waiting(k))
		return;
	if (policy_needs_pods(k->agent->policy)) {
		uv_timer_stop(&k->level_timer);
		want(k, PODS_ALL);
		return;
	}
	k->waiting = false;
	if (k->level == PODS_ALL && !uv_is_active((uv_handle_t *)&k->level_timer))
		uv_timer_start(&k->level_timer, on_back, BACK_MS, 0);
}

/* --- a policy that comes before the pods that it names --- */

bool kube_is_waiting(const struct kube *k)
{
	return k && k->waiting && !all_known(k) && clock_ns(CLOCK_MONOTONIC) < k->wait_until_ns;
}

static void begin_to_wait(struct kube *k)
{
	k->waiting = true;
	k->wait_until_ns = k->agent->work.enforced ? clock_ns(CLOCK_MONOTONIC) + WAIT_MS * NS_PER_MS : UINT64_MAX;
}

/* Once, until they are known: who has waited in vain waits no more. */
bool kube_must_wait(struct kube *k, unsigned *ms)
{
	if (!k || !k->source || !policy_needs_pods(k->agent->policy))
		return false;
	want(k, PODS_ALL);
	if (all_known(k)) {
		k->waiting = false;
		return false;
	}
	if (!k->waiting) {
		begin_to_wait(k);
	} else if (k->wait_until_ns && !kube_is_waiting(k)) {
		k->wait_until_ns = 0;
		log_warn("pods of other nodes are not known yet: policies that name them are enforced without them");
	}
	*ms = k->wait_until_ns == UINT64_MAX ? 0 : WAIT_MS + 1;
	return kube_is_waiting(k);
}

/*
 * What an earlier agent has followed is wanted again most likely. To find that out first, from everything else, takes as long as
 * listing that does; if it is not, they are followed no longer a while later.
 */
void kube_pods_begin(struct kube *k)
{
	if (ipcache_inherits(k->agent->ipcache))
		want(k, PODS_ALL);
}

void kube_pods_init(struct kube *k)
{
	k->level = PODS_OWN;
	uv_timer_init(&k->agent->loop, &k->level_timer);
	k->level_timer.data = k;
}
