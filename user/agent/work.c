/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiling what sources have said, and writing it. */
#include <string.h>

#include "agent.h"
#include "clock.h"
#include "notify.h"
#include "resident.h"

#define RETRY_MS 100
#define RETRY_MS_MOST 5000
#define CLUSTER_RETRY_MS 1000
#define PODS_RETRY_MS 10000
#define SERVICES_RETRY_MS 5000
#define AGAIN_MOST 3 /* runs in one go for what waits for room */

void work_wanted(struct agent *agent)
{
	agent->work.dirty = true;
	if (!agent->work.changed_ns)
		agent->work.changed_ns = clock_ns(CLOCK_MONOTONIC);
}

/* --- policy --- */

/* The compiler has been told nothing that it may forget, the maps are in a safe state: again, soon. */
static void failed(struct agent *agent, const struct err *err)
{
	uint64_t pause = RETRY_MS;

	agent->work.full = true;
	for (unsigned i = 0; i < agent->work.retries && pause < RETRY_MS_MOST; i++)
		pause *= 2;
	if (strcmp(agent->work.failure, err->msg) != 0) {
		log_err(LOG_ERROR, err);
		snprintf(agent->work.failure, sizeof(agent->work.failure), "%s", err->msg);
	}
	agent->work.retries++;
	agent->work.dirty = false; /* until the timer says so */
	uv_timer_start(&agent->work.retry, agent->work.retry.timer_cb, pause < RETRY_MS_MOST ? pause : RETRY_MS_MOST, 0);
}

static int compile(struct agent *agent, struct policy_changes *changes, struct err *err)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int ret =
	    agent->work.full ? policy_compile_all(agent->policy, changes, err) : policy_compile(agent->policy, changes, err);

	if (ret < 0)
		return ret;
	agent->work.compile_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&agent->work.compiles, agent->work.compile_ns);
	apply_set_invalid(agent->apply, (uint32_t)policy_count_invalid(agent->policy));
	return 0;
}

static int apply(struct agent *agent, const struct policy_changes *changes, struct err *err)
{
	static const struct policy_changes none;
	struct work *w = &agent->work;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int ret = apply_run(agent->apply, changes, w->full, err);

	for (int i = 0; i < AGAIN_MOST && ret == 0 && apply_again(agent->apply); i++)
		ret = apply_run(agent->apply, &none, false, err);
	if (ret < 0) {
		w->lost = true;
		return ret;
	}
	w->apply_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&w->applies, w->apply_ns);
	return 0;
}

static void tell_room(struct agent *agent)
{
	struct apply_counts counts;

	apply_count(agent->apply, &counts);
	if (counts.state.classes_denied != agent->work.denied_told)
		log_line(
		    counts.state.classes_denied ? LOG_ERROR : LOG_INFO,
		    "%u sets of policies do not fit: the pods they select keep what was enforced before, or are denied what they isolate",
		    counts.state.classes_denied);
	if (counts.identities_left_out != agent->work.left_out_told)
		log_line(counts.identities_left_out ? LOG_ERROR : LOG_INFO,
			 "%zu identities do not fit into the maps: no selector matches them",
			 counts.identities_left_out);
	if (agent->work.full && counts.strays)
		log_warn("%zu endpoints had a policy class and have no record: they are in quarantine", counts.strays);
	agent->work.denied_told = counts.state.classes_denied;
	agent->work.left_out_told = counts.identities_left_out;
}

/* Policies that are over a bound: who wrote them is to know which, and by how much. */
static void report_refused(struct agent *agent)
{
	struct policy_refused refused;
	struct apply_counts counts;
	struct err err;

	policy_count_refused(agent->policy, &refused);
	apply_count(agent->apply, &counts);
	if (refused.coarse + counts.rules_unnamed != agent->work.unnamed_told)
		log_warn("%zu policies have one rule name for each direction, and %zu rules none: there is no room for more; "
			 "verdicts are not affected",
			 refused.coarse, counts.rules_unnamed);
	agent->work.unnamed_told = refused.coarse + counts.rules_unnamed;
	err_set(&err, E2BIG,
		"%zu NetworkPolicies and %zu sets of them do not fit, and allow nothing until they are smaller; %s",
		refused.policies, refused.classes, refused.example);
	complain(&agent->complaints, COMPLAINT_AGENT, "policies that do not fit",
		 refused.policies + refused.classes ? &err : NULL);
	err_set(&err, E2BIG,
		"%zu pods, such as %s, have more than %d labels or %d named ports: no selector matches them, and on this node they "
		"stay in quarantine",
		refused.pods, refused.pod, POD_LABELS_MAX, POD_PORTS_MAX);
	complain(&agent->complaints, COMPLAINT_AGENT, "pods that do not fit", refused.pods ? &err : NULL);
}

static void enforced(struct agent *agent)
{
	if (agent->work.changed_ns)
		histogram_add(&agent->work.latency, clock_ns(CLOCK_MONOTONIC) - agent->work.changed_ns);
	agent->work.changed_ns = 0;
	if (agent->work.retries)
		log_info("the maps are written again");
	agent->work.retries = 0;
	agent->work.failure[0] = '\0';
	tell_room(agent);
	report_refused(agent);
	log_debug("compiled in %llu us, applied in %llu us", (unsigned long long)agent->work.compile_ns / 1000,
		  (unsigned long long)agent->work.apply_ns / 1000);
	if (!agent->work.enforced) {
		resident_trim();
		notify("READY=1\nSTATUS=policy is in force");
		log_info("policy is in force");
	}
	agent->work.enforced = true;
	agent->work.full = false;
}

/* In the middle of apply_run(): what pods of other nodes are is changed when that is safe. It must not stop the policy. */
static void on_identities(void *arg, const struct policy_changes *changes, bool full)
{
	struct agent *agent = arg;
	struct err err;

	agent->work.pods_lost &= !full;
	if (ipcache_run(agent->ipcache, changes, full, &err) == 0)
		return;
	log_err(LOG_ERROR, &err);
	agent->work.pods_lost = true;
	uv_timer_start(&agent->work.cluster_retry, agent->work.cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
}

static void tell_addresses(struct agent *agent)
{
	struct ipcache_counts counts;
	struct err err = { .num = EINVAL };

	ipcache_count(agent->ipcache, &counts);
	if (counts.left_out)
		err_set(&err, ENOSPC, "%zu addresses of other nodes and their pods do not fit into the maps",
			counts.left_out);
	else if (counts.disputed)
		err_set(&err, EEXIST, "%zu addresses are claimed by more than one, and have nobody's labels; %s",
			counts.disputed, counts.example);
	complain(&agent->complaints, COMPLAINT_OBJECT, "addresses of pods", *err.msg ? &err : NULL);
	err_set(&err, EACCES, "%zu have an address in no pod CIDR of their node, which is ignored; %s: look at what that node reports",
		counts.refused, counts.refused_example);
	complain(&agent->complaints, COMPLAINT_OBJECT, "Pods of other nodes", counts.refused ? &err : NULL);
}

static int load_all(struct agent *agent, struct err *err)
{
	int ret = apply_load(agent->apply, err);

	if (ret == 0)
		ret = ipcache_load(agent->ipcache, err);
	cluster_lost(agent->cluster);
	return ret;
}

/* What was compiled has been told to nobody: all of it is told then. */
static void again_later(struct agent *agent, unsigned ms)
{
	agent->work.full = agent->work.dirty = true;
	if (ms)
		uv_timer_start(&agent->work.retry, agent->work.retry.timer_cb, ms, 0);
}

/* In the next turn of the loop: whoever waits for an answer gets it before. */
static void again_soon(struct agent *agent)
{
	agent->work.dirty = true;
	uv_timer_start(&agent->work.retry, agent->work.retry.timer_cb, 0, 0);
}

static void work_policy(struct agent *agent)
{
	struct policy_changes changes;
	struct err err;
	unsigned ms;
	int ret = 0;

	if (kube_is_waiting(agent->kube))
		return;
	agent->work.dirty = false;
	uv_timer_stop(&agent->work.retry);
	if (agent->work.lost) {
		ret = load_all(agent, &err);
		agent->work.lost = ret < 0;
		agent->work.full = true;
	}
	if (ret == 0)
		ret = compile(agent, &changes, &err);
	if (ret == 0 && kube_must_wait(agent->kube, &ms)) {
		again_later(agent, ms);
		return;
	}
	if (ret == 0)
		ret = apply(agent, &changes, &err);
	if (ret < 0) {
		failed(agent, &err);
		return;
	}
	enforced(agent);
	if (policy_unfinished(agent->policy))
		again_soon(agent);
	tell_addresses(agent);
	if (agent->server)
		server_applied(agent->server);
}

/* --- other nodes --- */

/* Every node would compute other identities from the same labels, and nobody would notice but by what is refused. */
static void tell_key(struct agent *agent)
{
	struct cluster_counts counts;
	struct err err;
	bool alone;

	cluster_count(agent->cluster, &counts);
	alone = counts.on && counts.nodes && !agent->options->key_file && !agent->kube;
	err_set(&err, EINVAL,
		"this node has made its own, and takes the pods of the %zu other node%s for unknown ones: give all agents the "
		"same --cluster-key",
		counts.nodes, counts.nodes == 1 ? "" : "s");
	complain(&agent->complaints, COMPLAINT_AGENT, "cluster key", alone ? &err : NULL);
}

static void work_cluster(struct agent *agent)
{
	struct err err = { 0 };
	int ret = cluster_run(agent->cluster, &err);

	if (ret < 0) {
		uv_timer_start(&agent->work.cluster_retry, agent->work.cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
		if (strcmp(agent->work.cluster_failure, err.msg) != 0)
			log_err(ret == -EAGAIN ? LOG_WARN : LOG_ERROR, &err);
	} else if (agent->work.cluster_failure[0]) {
		log_info("other nodes are written again");
	}
	if (ret == 0 && cluster_pods_left(agent->cluster))
		uv_timer_start(&agent->work.cluster_retry, agent->work.cluster_retry.timer_cb, PODS_RETRY_MS, 0);
	memcpy(agent->work.cluster_failure, err.msg, sizeof(err.msg));
	if (ret == 0)
		agent->work.cluster_failure[0] = '\0';
	tell_addresses(agent);
	tell_key(agent);
}

static void on_cluster_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->work.pods_lost) {
		agent->work.full = true;
		work_wanted(agent);
	}
	cluster_retry(agent->cluster);
	work(agent);
}

/* --- services --- */

static void tell_services(struct agent *agent, const struct err *failure)
{
	struct balancer_counts counts;
	struct err err;

	balancer_count(agent->balancer, &counts);
	if (counts.problems)
		err_set(&err, EINVAL, "%zu of %zu are not as they should be; %s", counts.problems, counts.services,
			counts.example);
	complain(&agent->complaints, counts.problems ? COMPLAINT_OBJECT : COMPLAINT_AGENT, "services", counts.problems ? &err : failure);
}

/* Ends the loop's turn: work() is called after the next one. */
static void on_services_more(uv_timer_t *timer)
{
}

static void work_services(struct agent *agent)
{
	struct err err = { 0 };
	int ret = balancer_run(agent->balancer, &err);

	if (ret == 0 && balancer_pending(agent->balancer)) {
		uv_timer_start(&agent->work.services_more, on_services_more, 0, 0);
		return;
	}
	tell_services(agent, ret < 0 ? &err : NULL);
	/* Where others keep changing, every turn would put it off. */
	if (ret < 0 && !uv_is_active((uv_handle_t *)&agent->work.services_retry))
		uv_timer_start(&agent->work.services_retry, agent->work.services_retry.timer_cb, SERVICES_RETRY_MS, 0);
}

static void on_services_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	balancer_retry(agent->balancer);
	work(agent);
}

/*
 * First who counts, then policy, then who can be reached: what pods may do is known before anything comes from, or goes to,
 * their node. Services lead to both, and come last.
 */
void work(struct agent *agent)
{
	struct err err;
	int own;

	if (!agent->work.synced)
		return;
	own = cluster_resolve(agent->cluster, &err);
	/* Every turn would put the timer off, and log. */
	if (own < 0 && !uv_is_active((uv_handle_t *)&agent->work.cluster_retry)) {
		log_err(LOG_ERROR, &err);
		uv_timer_start(&agent->work.cluster_retry, agent->work.cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
	}
	if (own > 0) {
		agent->work.full = true;
		work_wanted(agent);
	}
	if (agent->work.dirty)
		work_policy(agent);
	if (own >= 0 && cluster_pending(agent->cluster))
		work_cluster(agent);
	if (balancer_pending(agent->balancer))
		work_services(agent);
}

static void on_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	work_wanted(agent);
	work(agent);
}

/* --- the beginning --- */

static int seed_rule(uint32_t rule, const char *text, void *arg)
{
	/* One that cannot be, such as a name that has a number already, keeps nobody from the others. */
	return policy_seed_rule(arg, rule, text) == -ENOMEM ? -ENOMEM : 0;
}

int work_seed(struct agent *agent, struct err *err)
{
	size_t used, entries, prefixes, names;
	int ret;

	apply_table_use(agent->tables, APPLY_POLICY, &used, &entries);
	apply_table_use(agent->tables, APPLY_CIDRS4, &used, &prefixes); /* cidrs6 is as large */
	apply_table_use(agent->tables, APPLY_RULES, &used, &names);
	policy_set_room(agent->policy, entries, prefixes, names);
	ret = apply_each_rule(agent->apply, seed_rule, agent->policy, err);
	return ret == -ENOMEM ? err_set(err, ENOMEM, "no memory for rules") : ret;
}

int work_open(struct agent *agent, struct err *err)
{
	int ret;

	uv_timer_init(&agent->loop, &agent->work.retry);
	agent->work.retry.data = agent;
	agent->work.retry.timer_cb = on_retry;
	uv_timer_init(&agent->loop, &agent->work.cluster_retry);
	agent->work.cluster_retry.data = agent;
	agent->work.cluster_retry.timer_cb = on_cluster_retry;
	uv_timer_init(&agent->loop, &agent->work.services_more);
	uv_timer_init(&agent->loop, &agent->work.services_retry);
	agent->work.services_retry.data = agent;
	agent->work.services_retry.timer_cb = on_services_retry;
	agent->work.full = true;
	apply_on_identities(agent->apply, on_identities, agent);
	ret = load_all(agent, err);
	return ret < 0 ? ret : work_seed(agent, err);
}
