/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiles the objects of the sources, and writes the maps. */
#include <malloc.h>
#include <string.h>

#include "agent.h"
#include "array.h"
#include "clock.h"
#include "notify.h"
#include "sockets.h"

#define RETRY_MS 100
#define RETRY_MS_MAX 5000
#define CLUSTER_RETRY_MS 1000
#define MTU_RETRY_MS 10000
#define SERVICES_RETRY_MS 5000
#define RUNS_MAX 3 /* further runs in a row: removals may have made room for denied classes */

/* Calls its function once (reconcile_open()). */
static void timer_set(uv_timer_t *timer, uint64_t ms)
{
	uv_timer_start(timer, timer->timer_cb, ms, 0);
}

void reconcile_schedule(struct agent *agent)
{
	agent->reconcile.dirty = true;
	if (!agent->reconcile.changed_ns)
		agent->reconcile.changed_ns = clock_ns(CLOCK_MONOTONIC);
}

/* --- policy --- */

/* The maps are in a safe state, but the compiler's changes are lost: a full run follows after a pause. */
static void reconcile_failed(struct agent *agent, const struct err *err)
{
	uint64_t pause = RETRY_MS;

	agent->reconcile.full = true;
	for (unsigned i = 0; i < agent->reconcile.retries && pause < RETRY_MS_MAX; i++)
		pause *= 2;
	if (strcmp(agent->reconcile.failure, err->msg) != 0) {
		log_err(LOG_ERROR, err);
		snprintf(agent->reconcile.failure, sizeof(agent->reconcile.failure), "%s", err->msg);
	}
	agent->reconcile.retries++;
	agent->reconcile.dirty = false; /* until the timer expires */
	timer_set(&agent->reconcile.retry, pause < RETRY_MS_MAX ? pause : RETRY_MS_MAX);
}

static int compile(struct agent *agent, struct policy_changes *changes, struct err *err)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int ret =
	    agent->reconcile.full ? policy_compile_all(agent->policy, changes, err) : policy_compile(agent->policy, changes, err);

	if (ret < 0)
		return ret;
	agent->reconcile.compile_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&agent->reconcile.compiles, agent->reconcile.compile_ns);
	apply_set_invalid(agent->apply, (uint32_t)policy_count_invalid(agent->policy));
	return 0;
}

static int apply(struct agent *agent, const struct policy_changes *changes, struct err *err)
{
	static const struct policy_changes none;
	struct reconcile *w = &agent->reconcile;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int ret = apply_run(agent->apply, changes, w->full, err);

	for (int i = 0; i < RUNS_MAX && ret == 0 && apply_again(agent->apply); i++)
		ret = apply_run(agent->apply, &none, false, err);
	if (ret < 0) {
		w->reload = true;
		return ret;
	}
	w->apply_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&w->applies, w->apply_ns);
	return 0;
}

static void log_not_programmed(struct agent *agent)
{
	struct apply_counts counts;

	apply_count(agent->apply, &counts);
	if (counts.state.classes_denied != agent->reconcile.denied_logged)
		log_line(
		    counts.state.classes_denied ? LOG_ERROR : LOG_INFO,
		    "%u sets of policies do not fit into the maps: pods keep their previous policy, or isolated directions are denied",
		    counts.state.classes_denied);
	if (counts.identities_not_programmed != agent->reconcile.not_programmed_logged)
		log_line(counts.identities_not_programmed ? LOG_ERROR : LOG_INFO,
			 "%zu identities do not fit into the maps: no selector matches them",
			 counts.identities_not_programmed);
	if (agent->reconcile.full && counts.stale_endpoints)
		log_warn("%zu endpoints had a policy class and have no record: they are in quarantine", counts.stale_endpoints);
	agent->reconcile.denied_logged = counts.state.classes_denied;
	agent->reconcile.not_programmed_logged = counts.identities_not_programmed;
}

/* Objects that exceed a bound: the problem names an example, and by how much. */
static void report_refused(struct agent *agent)
{
	struct policy_refused refused;
	struct apply_counts counts;
	struct err err;

	policy_count_refused(agent->policy, &refused);
	apply_count(agent->apply, &counts);
	if (refused.coarse + counts.rules_unnamed != agent->reconcile.unnamed_logged)
		log_warn("the map of rule names is full: %zu policies have one name for each direction, and %zu rules none; "
			 "verdicts are not affected",
			 refused.coarse, counts.rules_unnamed);
	agent->reconcile.unnamed_logged = refused.coarse + counts.rules_unnamed;
	err_set(&err, E2BIG,
		"%zu NetworkPolicies and %zu sets of them do not fit, and allow nothing until they are smaller; %s",
		refused.policies, refused.classes, refused.example);
	report_problem(&agent->problems, PROBLEM_AGENT, "policies that do not fit",
		 refused.policies + refused.classes ? &err : NULL);
	err_set(&err, E2BIG,
		"%zu pods, such as %s, have more than %d labels or %d named ports: no selector matches them, and on this node they "
		"stay in quarantine",
		refused.pods, refused.pod, POD_LABELS_MAX, POD_PORTS_MAX);
	report_problem(&agent->problems, PROBLEM_AGENT, "pods that do not fit", refused.pods ? &err : NULL);
}

static void reconcile_succeeded(struct agent *agent)
{
	if (agent->reconcile.changed_ns)
		histogram_add(&agent->reconcile.latency, clock_ns(CLOCK_MONOTONIC) - agent->reconcile.changed_ns);
	agent->reconcile.changed_ns = 0;
	if (agent->reconcile.retries)
		log_info("writing the maps succeeds again");
	agent->reconcile.retries = 0;
	agent->reconcile.failure[0] = '\0';
	log_not_programmed(agent);
	report_refused(agent);
	log_debug("compiled in %llu us, applied in %llu us", (unsigned long long)agent->reconcile.compile_ns / 1000,
		  (unsigned long long)agent->reconcile.apply_ns / 1000);
	if (!agent->reconcile.enforced) {
		malloc_trim(0);
		notify("READY=1\nSTATUS=policy is enforced");
		log_info("policy is enforced");
	}
	agent->reconcile.enforced = true;
	agent->reconcile.full = false;
}

/* Called by apply_run() when identities of pods on other nodes may change. A failure must not stop the policy. */
static void on_identities(void *arg, const struct policy_changes *changes, bool full)
{
	struct agent *agent = arg;
	struct err err;

	agent->reconcile.ipcache_stale &= !full;
	if (ipcache_run(agent->ipcache, changes, full, &err) == 0)
		return;
	log_err(LOG_ERROR, &err);
	agent->reconcile.ipcache_stale = true;
	timer_set(&agent->reconcile.cluster_retry, CLUSTER_RETRY_MS);
}

static void report_addresses(struct agent *agent)
{
	struct ipcache_counts counts;
	struct err err = { .num = EINVAL };

	ipcache_count(agent->ipcache, &counts);
	if (counts.not_programmed)
		err_set(&err, ENOSPC, "%zu addresses of other nodes and their pods do not fit into the maps",
			counts.not_programmed);
	else if (counts.disputed)
		err_set(&err, EEXIST, "%zu addresses are claimed by more than one, so no selector matches them; %s",
			counts.disputed, counts.example);
	report_problem(&agent->problems, PROBLEM_OBJECT, "addresses of pods", *err.msg ? &err : NULL);
	err_set(&err, EACCES, "%zu have an address outside of their node's pod CIDRs, which is ignored; %s: check what that node reports",
		counts.refused, counts.refused_example);
	report_problem(&agent->problems, PROBLEM_OBJECT, "Pods of other nodes", counts.refused ? &err : NULL);
}

static int load_all(struct agent *agent, struct err *err)
{
	int ret = apply_load(agent->apply, err);

	if (ret == 0)
		ret = ipcache_load(agent->ipcache, err);
	cluster_lost(agent->cluster);
	return ret;
}

/* The compiled changes are dropped: the next run compiles all objects. */
static void retry_later(struct agent *agent, unsigned ms)
{
	agent->reconcile.full = agent->reconcile.dirty = true;
	if (ms)
		timer_set(&agent->reconcile.retry, ms);
}

/* Continues in the next loop iteration: pending requests are answered first. */
static void continue_soon(struct agent *agent)
{
	agent->reconcile.dirty = true;
	timer_set(&agent->reconcile.retry, 0);
}

static void reconcile_policy(struct agent *agent)
{
	struct policy_changes changes;
	struct err err;
	unsigned ms;
	int ret = 0;

	if (kube_is_waiting(agent->kube))
		return;
	agent->reconcile.dirty = false;
	uv_timer_stop(&agent->reconcile.retry);
	if (agent->reconcile.reload) {
		ret = load_all(agent, &err);
		agent->reconcile.reload = ret < 0;
		agent->reconcile.full = true;
	}
	if (ret == 0)
		ret = compile(agent, &changes, &err);
	if (ret == 0 && kube_must_wait(agent->kube, &ms)) {
		retry_later(agent, ms);
		return;
	}
	if (ret == 0)
		ret = apply(agent, &changes, &err);
	if (ret < 0) {
		reconcile_failed(agent, &err);
		return;
	}
	reconcile_succeeded(agent);
	if (policy_unfinished(agent->policy))
		continue_soon(agent);
	report_addresses(agent);
	if (agent->server)
		server_applied(agent->server);
}

/* --- other nodes --- */

/* Nodes with different keys compute different identities from the same labels: without this, only drops show it. */
static void report_key(struct agent *agent)
{
	struct cluster_counts counts;
	struct err err;
	bool own_key;

	cluster_count(agent->cluster, &counts);
	own_key = counts.on && counts.nodes && !agent->options->key_file && !agent->kube;
	err_set(&err, EINVAL,
		"this node has generated its own, so no selector matches pods of the %zu other node%s: start all agents with the "
		"same --cluster-key",
		counts.nodes, counts.nodes == 1 ? "" : "s");
	report_problem(&agent->problems, PROBLEM_AGENT, "cluster key", own_key ? &err : NULL);
}

static void reconcile_cluster(struct agent *agent)
{
	struct err err = { 0 };
	int ret = cluster_run(agent->cluster, &err);

	if (ret < 0) {
		timer_set(&agent->reconcile.cluster_retry, CLUSTER_RETRY_MS);
		if (strcmp(agent->reconcile.cluster_failure, err.msg) != 0)
			log_err(ret == -EAGAIN ? LOG_WARN : LOG_ERROR, &err);
	} else if (agent->reconcile.cluster_failure[0]) {
		log_info("writing the maps of other nodes succeeds again");
	}
	if (ret == 0 && cluster_mtu_pending(agent->cluster))
		timer_set(&agent->reconcile.cluster_retry, MTU_RETRY_MS);
	memcpy(agent->reconcile.cluster_failure, err.msg, sizeof(err.msg));
	if (ret == 0)
		agent->reconcile.cluster_failure[0] = '\0';
	report_addresses(agent);
	report_key(agent);
}

static void on_cluster_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->reconcile.ipcache_stale) {
		agent->reconcile.full = true;
		reconcile_schedule(agent);
	}
	cluster_retry(agent->cluster);
	reconcile(agent);
}

/* --- services --- */

static void report_services(struct agent *agent, const struct err *failure)
{
	struct balancer_counts counts;
	struct err err;

	balancer_count(agent->balancer, &counts);
	if (counts.problems)
		err_set(&err, EINVAL, "%zu of %zu have problems; %s", counts.problems, counts.services,
			counts.example);
	report_problem(&agent->problems, counts.problems ? PROBLEM_OBJECT : PROBLEM_AGENT, "services", counts.problems ? &err : failure);
	if (balancer_cidrs_problem(agent->balancer))
		err_set(&err, EINVAL, "%s", balancer_cidrs_problem(agent->balancer));
	report_problem(&agent->problems, PROBLEM_OBJECT, "ServiceCIDRs", balancer_cidrs_problem(agent->balancer) ? &err : NULL);
}

/*
 * While an idle handle is active, the loop does not wait for events, and reconcile() runs at the end of each iteration. A
 * timer of 0 ms would not do: libuv 1.44 runs it before the wait.
 */
static void on_services_more(uv_idle_t *idle)
{
}

/* UDP sockets of the host that are connected to backends which services have lost; not those that were released. */
static void end_sockets(struct agent *agent)
{
	struct err err = { 0 };
	size_t ended;

	agent->reconcile.stale_sockets |= dp_services_udp_changed(agent->services);
	if (!agent->reconcile.stale_sockets || agent->reconcile.taking || balancer_released(agent->balancer))
		return;
	if (dp_sockets_end_stale(&ended, &err) < 0)
		log_err(LOG_WARN, &err);
	else
		agent->reconcile.stale_sockets = false;
	if (ended)
		log_info("%zu UDP sockets of this host were ended: their service has lost the backend", ended);
}

/* Pod CIDRs and addresses of all Nodes. */
struct all_nodes {
	struct prefix *cidrs;
	struct ip *addresses;
	size_t cidr_count, cidr_room, address_count, address_room;
};

static int add_node(const struct cluster_node *node, void *arg)
{
	const struct node_object *object = node->object;
	struct all_nodes *all = arg;
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0 && object->cidrs[i].ip.family; i++)
		ret = array_push(all->cidrs, all->cidr_room, all->cidr_count, object->cidrs[i]);
	for (size_t i = 0; i < object->address_count && ret == 0; i++)
		ret = array_push(all->addresses, all->address_room, all->address_count, object->addresses[i]);
	return ret;
}

static void pass_nodes(struct agent *agent)
{
	struct all_nodes all = { 0 };

	agent->reconcile.nodes_changed = cluster_each(agent->cluster, add_node, &all) < 0 ||
					 balancer_set_pod_cidrs(agent->balancer, all.cidrs, all.cidr_count) < 0 ||
					 balancer_set_all_node_addresses(agent->balancer, all.addresses, all.address_count) < 0;
	if (agent->reconcile.nodes_changed)
		log_warn("no memory for the pod CIDRs and addresses of the nodes: Services' addresses among them are not found");
	free(all.cidrs);
	free(all.addresses);
}

/* Addresses of the Node are first: if there is no room for all, node ports are there. */
static size_t node_addresses(struct agent *agent, struct ip v[NODE_PORT_ADDRESSES], struct err *err)
{
	const struct node_object *own = cluster_own(agent->cluster);
	const struct options *o = agent->options;
	struct ip found[NODE_PORT_ADDRESSES];
	size_t first = 0;
	ssize_t count;

	if (!o->node_port_cidr_count) {
		first = own ? own->address_count : 0;
		if (first)
			memcpy(v, own->addresses, first * sizeof(*v));
		return first;
	}
	count = cluster_kernel_addresses(agent->kernel, o->node_port_cidrs, o->node_port_cidr_count, found, NODE_PORT_ADDRESSES, err);
	if (count > NODE_PORT_ADDRESSES)
		err_set(err, E2BIG, "this node has %zd addresses in %s; they are at the first %d", count, o->node_port_addresses,
			NODE_PORT_ADDRESSES);
	else if (count == 0)
		err_set(err, EADDRNOTAVAIL, "this node has no address in %s", o->node_port_addresses);
	count = count < NODE_PORT_ADDRESSES ? count : NODE_PORT_ADDRESSES;
	for (ssize_t i = 0; i < count; i++) {
		bool is_nodes = false;

		for (size_t n = 0; own && n < own->address_count; n++)
			is_nodes |= ip_equal(&own->addresses[n], &found[i]);
		if (is_nodes) {
			memmove(&v[first + 1], &v[first], ((size_t)i - first) * sizeof(*v));
			v[first++] = found[i];
		} else {
			v[i] = found[i];
		}
	}
	return count < 0 ? SIZE_MAX : (size_t)count;
}

/* If they cannot be read, node ports stay where they are, until the next change or the retry of Services. */
static void pass_addresses(struct agent *agent)
{
	struct ip v[NODE_PORT_ADDRESSES];
	struct err err = { 0 };
	const size_t count = node_addresses(agent, v, &err);

	report_problem(&agent->problems, PROBLEM_AGENT, "node ports", *err.msg ? &err : NULL);
	agent->reconcile.addresses_changed = count == SIZE_MAX;
	if (count == SIZE_MAX)
		return;
	balancer_set_node_addresses(agent->balancer, v, count);
	health_ports_set_addresses(agent->health_ports, v, count);
}

static void reconcile_services(struct agent *agent)
{
	struct err err = { 0 };
	int ret = balancer_run(agent->balancer, &err);

	/* -EAGAIN: a tenant can write Services that do not fit. Load balancers must not leave this node because of them. */
	if (ret == 0 || ret == -EAGAIN)
		agent->reconcile.services_failing_ns = 0;
	else if (!agent->reconcile.services_failing_ns)
		agent->reconcile.services_failing_ns = clock_ns(CLOCK_MONOTONIC);
	if (balancer_health_changed(agent->balancer))
		health_ports_update(agent->health_ports);
	agent->reconcile.taking &= balancer_pending(agent->balancer);
	end_sockets(agent);
	if (ret == 0 && balancer_pending(agent->balancer)) {
		uv_idle_start(&agent->reconcile.services_more, on_services_more);
		return;
	}
	/* There were many Services: reading and writing them used memory that is not needed again soon. */
	if (uv_is_active((uv_handle_t *)&agent->reconcile.services_more))
		malloc_trim(0);
	uv_idle_stop(&agent->reconcile.services_more);
	report_services(agent, ret < 0 ? &err : NULL);
	/* Restarting it in every iteration would postpone it for ever while other Services change. */
	if (ret < 0 && !uv_is_active((uv_handle_t *)&agent->reconcile.services_retry))
		timer_set(&agent->reconcile.services_retry, SERVICES_RETRY_MS);
}

static void on_services_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	balancer_retry(agent->balancer);
	reconcile(agent);
}

/*
 * The order: which Nodes are members, policy, the maps of nodes, Services. So policy for the pods of a node is enforced
 * before the node can be reached, and both before a Service has backends there.
 */
void reconcile(struct agent *agent)
{
	struct err err;
	int own;

	if (!agent->reconcile.synced)
		return;
	own = cluster_resolve(agent->cluster, &err);
	/* Not in every iteration: it would postpone the timer, and log again. */
	if (own < 0 && !uv_is_active((uv_handle_t *)&agent->reconcile.cluster_retry)) {
		log_err(LOG_ERROR, &err);
		timer_set(&agent->reconcile.cluster_retry, CLUSTER_RETRY_MS);
	}
	if (own > 0) {
		agent->reconcile.full = true;
		reconcile_schedule(agent);
	}
	if (agent->reconcile.dirty)
		reconcile_policy(agent);
	if (own >= 0 && cluster_pending(agent->cluster))
		reconcile_cluster(agent);
	if (agent->reconcile.nodes_changed)
		pass_nodes(agent);
	if (agent->reconcile.addresses_changed)
		pass_addresses(agent);
	if (balancer_pending(agent->balancer))
		reconcile_services(agent);
	else
		uv_idle_stop(&agent->reconcile.services_more);
}

static void on_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	reconcile_schedule(agent);
	reconcile(agent);
}

/* --- start --- */

static int seed_rule(uint32_t rule, const char *text, void *arg)
{
	/* An invalid entry, such as a second number of one name, is skipped. */
	return policy_seed_rule(arg, rule, text) == -ENOMEM ? -ENOMEM : 0;
}

int reconcile_seed(struct agent *agent, struct err *err)
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

static void timer_open(struct agent *agent, uv_timer_t *timer, uv_timer_cb fn)
{
	uv_timer_init(&agent->loop, timer);
	timer->data = agent;
	timer->timer_cb = fn;
}

int reconcile_open(struct agent *agent, struct err *err)
{
	int ret;

	timer_open(agent, &agent->reconcile.retry, on_retry);
	timer_open(agent, &agent->reconcile.cluster_retry, on_cluster_retry);
	uv_idle_init(&agent->loop, &agent->reconcile.services_more);
	timer_open(agent, &agent->reconcile.services_retry, on_services_retry);
	agent->reconcile.full = agent->reconcile.addresses_changed = true;
	apply_on_identities(agent->apply, on_identities, agent);
	ret = load_all(agent, err);
	return ret < 0 ? ret : reconcile_seed(agent, err);
}
