/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "decode.h"
#include "json.h"
#include "lock.h"
#include "node.h"
#include "notify.h"
#include "paths.h"

#define RETRY_MS 100
#define RETRY_MS_MOST 5000
#define CLUSTER_RETRY_MS 1000
#define PODS_RETRY_MS 10000
#define AGAIN_MOST 3 /* runs in one go for what waits for room */

static void work(struct agent *agent);

static void log_err(enum log_level level, const struct err *err)
{
	log_line(level, "%s%s%s", err->msg, *err->hint ? "; " : "", err->hint);
}

static void mark_dirty(struct agent *agent)
{
	agent->dirty = true;
	if (!agent->changed_ns)
		agent->changed_ns = clock_ns(CLOCK_MONOTONIC);
}

/* --- what sources say ----------------------------------------------------------------------------------------------
 */

static int on_object(void *arg, struct object *o)
{
	struct agent *agent = arg;
	struct object taken = *o;

	o->kind = OBJECT_NONE;
	if (taken.kind != OBJECT_NODE)
		mark_dirty(agent);
	switch (taken.kind) {
	case OBJECT_NAMESPACE:
		return policy_put_namespace(agent->policy, taken.namespace);
	case OBJECT_POD:
		return policy_put_pod(agent->policy, taken.pod);
	case OBJECT_POLICY:
		if (taken.policy->invalid)
			log_warn("NetworkPolicy %s/%s is not valid, and isolates what it selects: %s",
				 taken.policy->namespace, taken.policy->name, taken.policy->invalid);
		return policy_put_policy(agent->policy, taken.policy);
	case OBJECT_NODE:
		return cluster_put_node(agent->cluster, taken.node);
	default:
		return 0;
	}
}

static void on_removed(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	struct agent *agent = arg;

	if (kind == OBJECT_NODE) {
		cluster_remove_node(agent->cluster, name);
		return;
	}
	mark_dirty(agent);
	if (kind == OBJECT_NAMESPACE)
		policy_remove_namespace(agent->policy, name);
	else if (kind == OBJECT_POD)
		policy_remove_pod(agent->policy, namespace, name);
	else if (kind == OBJECT_POLICY)
		policy_remove_policy(agent->policy, namespace, name);
}

static void on_synced(void *arg)
{
	struct agent *agent = arg;

	agent->synced = true;
	mark_dirty(agent);
}

static void complaint_forget(struct agent *agent, const char *what)
{
	for (size_t i = 0; i < agent->complaint_count; i++) {
		struct complaint *c = &agent->complaints[i];

		if (strcmp(c->what, what) != 0)
			continue;
		free(c->what);
		free(c->message);
		*c = agent->complaints[--agent->complaint_count];
		return;
	}
}

/* One complaint each thing: the last that was said of it. */
static void on_complaint(void *arg, const char *what, const struct err *err)
{
	struct agent *agent = arg;
	struct complaint *more;

	complaint_forget(agent, what);
	if (!err) {
		log_info("%s: in order again", what);
		return;
	}
	log_warn("%s: %s", what, err->msg);
	more = realloc(agent->complaints, (agent->complaint_count + 1) * sizeof(*more));
	if (!more)
		return;
	agent->complaints = more;
	more[agent->complaint_count] = (struct complaint){ strdup(what), strdup(err->msg) };
	if (more[agent->complaint_count].what && more[agent->complaint_count].message)
		agent->complaint_count++;
}

/* Labels of the network configuration, for an endpoint that has no pod object. false: there are none. */
static bool own_labels(const struct attachment *a, struct labels *labels)
{
	struct err err;
	json_auto_t *json = NULL;

	if (!a->labels[0])
		return false;
	json = json_parse_object(a->labels, strlen(a->labels), "labels", &err);
	if (json && labels_decode(json, labels, &err) == 0)
		return true;
	log_warn("%s@%s: its labels are not used: %s", a->container_id, a->ifname, err.msg);
	return false;
}

static void on_record(void *arg, const struct attachment *a)
{
	struct agent *agent = arg;
	struct labels labels = { 0 };
	bool own = own_labels(a, &labels);

	mark_dirty(agent);
	if (policy_put_endpoint(agent->policy, a->host_ifindex, *a->pod_namespace ? a->pod_namespace : "default",
				a->pod_name, a->pod_uid, own ? &labels : NULL) < 0) {
		log_error("%s@%s: no memory for it: it stays in quarantine", a->container_id, a->ifname);
		policy_remove_endpoint(agent->policy, a->host_ifindex);
	}
}

static void on_record_gone(void *arg, uint32_t ifindex)
{
	struct agent *agent = arg;

	mark_dirty(agent);
	policy_remove_endpoint(agent->policy, ifindex);
	apply_endpoint_gone(agent->apply, ifindex);
}

/* --- compile and apply -----------------------------------------------------------------------------------------------
 */

/* The compiler has been told nothing that it may forget, the maps are in a safe state: again, soon. */
static void failed(struct agent *agent, const struct err *err)
{
	uint64_t pause = RETRY_MS;

	agent->full = true;
	for (unsigned i = 0; i < agent->retries && pause < RETRY_MS_MOST; i++)
		pause *= 2;
	if (strcmp(agent->failure, err->msg) != 0) {
		log_err(LOG_ERROR, err);
		snprintf(agent->failure, sizeof(agent->failure), "%s", err->msg);
	}
	agent->retries++;
	agent->dirty = false; /* until the timer says so */
	uv_timer_start(&agent->retry, agent->retry.timer_cb, pause < RETRY_MS_MOST ? pause : RETRY_MS_MOST, 0);
}

static int compile(struct agent *agent, struct policy_changes *changes, struct err *err)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	struct policy_counts counts;
	int ret =
	    agent->full ? policy_compile_all(agent->policy, changes, err) : policy_compile(agent->policy, changes, err);

	if (ret < 0)
		return ret;
	agent->compile_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&agent->compiles, agent->compile_ns);
	policy_count(agent->policy, &counts);
	apply_set_invalid(agent->apply, (uint32_t)counts.policies_invalid);
	return 0;
}

static int apply(struct agent *agent, const struct policy_changes *changes, struct err *err)
{
	static const struct policy_changes none;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int ret = 0;

	ret = apply_run(agent->apply, changes, agent->full, err);
	for (int i = 0; i < AGAIN_MOST && ret == 0 && apply_again(agent->apply); i++)
		ret = apply_run(agent->apply, &none, false, err);
	if (ret < 0) {
		agent->lost = true;
		return ret;
	}
	agent->apply_ns = clock_ns(CLOCK_MONOTONIC) - begin;
	histogram_add(&agent->applies, agent->apply_ns);
	return 0;
}

static void tell_room(struct agent *agent)
{
	struct apply_counts counts;

	apply_count(agent->apply, &counts);
	if (counts.state.classes_denied != agent->denied_told)
		log_line(
		    counts.state.classes_denied ? LOG_ERROR : LOG_INFO,
		    "%u sets of policies do not fit into the maps: the pods they select are denied what they isolate",
		    counts.state.classes_denied);
	if (counts.identities_left_out != agent->left_out_told)
		log_line(counts.identities_left_out ? LOG_ERROR : LOG_INFO,
			 "%zu identities do not fit into the maps: no selector matches them",
			 counts.identities_left_out);
	if (agent->full && counts.strays)
		log_warn("%zu endpoints had a policy class and have no record: they are in quarantine", counts.strays);
	agent->denied_told = counts.state.classes_denied;
	agent->left_out_told = counts.identities_left_out;
}

static void enforced(struct agent *agent)
{
	if (agent->changed_ns)
		histogram_add(&agent->latency, clock_ns(CLOCK_MONOTONIC) - agent->changed_ns);
	agent->changed_ns = 0;
	if (agent->retries)
		log_info("the maps are written again");
	agent->retries = 0;
	agent->failure[0] = '\0';
	tell_room(agent);
	log_debug("compiled in %llu us, applied in %llu us", (unsigned long long)agent->compile_ns / 1000,
		  (unsigned long long)agent->apply_ns / 1000);
	if (!agent->enforced) {
		/* Reading everything has left holes that will not be needed again soon. */
		malloc_trim(0);
		notify("READY=1\nSTATUS=policy is in force");
		log_info("policy is in force");
	}
	agent->enforced = true;
	agent->full = false;
}

/* In the middle of apply_run(): what pods of other nodes are is changed when that is safe. It must not stop the policy. */
static void on_names(void *arg, const struct policy_changes *changes, bool full)
{
	struct agent *agent = arg;
	struct err err;

	agent->pods_lost &= !full;
	if (ipcache_run(agent->ipcache, changes, full, &err) == 0)
		return;
	log_err(LOG_ERROR, &err);
	agent->pods_lost = true;
	uv_timer_start(&agent->cluster_retry, agent->cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
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
	if (strcmp(err.msg, agent->addresses_told) == 0)
		return;
	memcpy(agent->addresses_told, err.msg, sizeof(agent->addresses_told));
	on_complaint(agent, "addresses of pods", *err.msg ? &err : NULL);
}

static int load_all(struct agent *agent, struct err *err)
{
	int ret = apply_load(agent->apply, err);

	if (ret == 0)
		ret = ipcache_load(agent->ipcache, err);
	cluster_lost(agent->cluster);
	return ret;
}

static void work_policy(struct agent *agent)
{
	struct policy_changes changes;
	struct err err;
	int ret = 0;

	agent->dirty = false;
	uv_timer_stop(&agent->retry);
	if (agent->lost) {
		ret = load_all(agent, &err);
		agent->lost = ret < 0;
		agent->full = true;
	}
	if (ret == 0)
		ret = compile(agent, &changes, &err);
	if (ret == 0)
		ret = apply(agent, &changes, &err);
	if (ret < 0) {
		failed(agent, &err);
		return;
	}
	enforced(agent);
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
	alone = counts.on && counts.nodes && !agent->options->key_file;
	if (alone == agent->key_told)
		return;
	agent->key_told = alone;
	err_set(&err, EINVAL,
		"this node has made its own, and takes the pods of the %zu other node%s for unknown ones: give all agents the "
		"same --cluster-key",
		counts.nodes, counts.nodes == 1 ? "" : "s");
	on_complaint(agent, "cluster key", alone ? &err : NULL);
}

static void work_cluster(struct agent *agent)
{
	struct err err = { 0 };
	int ret = cluster_run(agent->cluster, &err);

	if (ret < 0) {
		uv_timer_start(&agent->cluster_retry, agent->cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
		if (strcmp(agent->cluster_failure, err.msg) != 0)
			log_err(ret == -EAGAIN ? LOG_WARN : LOG_ERROR, &err);
	} else if (agent->cluster_failure[0]) {
		log_info("other nodes are written again");
	}
	if (ret == 0 && cluster_pods_left(agent->cluster))
		uv_timer_start(&agent->cluster_retry, agent->cluster_retry.timer_cb, PODS_RETRY_MS, 0);
	memcpy(agent->cluster_failure, err.msg, sizeof(err.msg));
	if (ret == 0)
		agent->cluster_failure[0] = '\0';
	tell_addresses(agent);
	tell_key(agent);
}

static void on_cluster_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->pods_lost) {
		agent->full = true;
		mark_dirty(agent);
	}
	cluster_retry(agent->cluster);
	work(agent);
}

/*
 * First who counts, then policy, then who can be reached: what pods may do is known before anything comes from, or goes to,
 * their node.
 */
static void work(struct agent *agent)
{
	int own;

	if (!agent->synced)
		return;
	own = cluster_resolve(agent->cluster);
	if (own < 0) {
		log_error("no memory for the nodes of the cluster");
		uv_timer_start(&agent->cluster_retry, agent->cluster_retry.timer_cb, CLUSTER_RETRY_MS, 0);
	}
	if (own > 0) {
		agent->full = true;
		mark_dirty(agent);
	}
	if (agent->dirty)
		work_policy(agent);
	if (own >= 0 && cluster_pending(agent->cluster))
		work_cluster(agent);
}

static void on_turn_end(uv_check_t *check)
{
	work(check->data);
}

static void on_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	mark_dirty(agent);
	work(agent);
}

int agent_endpoint_enforced(struct agent *agent, const char *container, const char *ifname, struct err *err)
{
	const struct record *record = records_find(agent->records, container, ifname);
	const struct apply_endpoint *ep = record ? apply_endpoint(agent->apply, record->ifindex) : NULL;

	if (!record)
		return err_set(err, EAGAIN, "there is no attachment %s@%s whose policy the agent decides", container,
			       ifname);
	if (!agent->enforced || !ep || !ep->compiled || agent->dirty || agent->failure[0])
		return err_set(err, EAGAIN, "%s",
			       agent->failure[0] ? agent->failure : "policy is still being computed");
	if (ep->missing) {
		agent->dirty = true; /* it may be there now */
		return err_set(err, EAGAIN, "endpoint %u is not in the maps", ep->ifindex);
	}
	if (ep->class_key == WR_CLASS_QUARANTINE) {
		err_set(err, EAGAIN, "there is no pod %s/%s%s%s, and no labels in the network's configuration",
			*record->pod_namespace ? record->pod_namespace : "default", record->pod_name,
			*record->pod_uid ? " of uid " : "", record->pod_uid);
		return err_hint(err, "`warren status` says whether a manifest cannot be read");
	}
	if (ep->denied)
		return err_set(err, EAGAIN, "its policies do not fit into the maps");
	return 0;
}

/* --- events ----------------------------------------------------------------------------------------------------------
 */

static void stop(struct agent *agent, int status)
{
	agent->status = status;
	uv_stop(&agent->loop);
}

static void on_manifests(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct err err;

	if (manifests_run(agent->manifests, &err) < 0)
		log_err(LOG_ERROR, &err);
}

static void on_records(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct err err;
	int ret = records_run(agent->records, &err);

	if (ret < 0)
		log_err(LOG_ERROR, &err);
	if (ret == -ESHUTDOWN)
		stop(agent, 1);
}

/* Links, routes or neighbours have changed. */
static void on_hops(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct hop_news news;
	struct err err;

	/* An overrun of the socket is an error to libuv, which then stops to poll it. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_hops);
	if (cluster_kernel_read(agent->kernel, &news, &err) < 0) {
		log_err(LOG_ERROR, &err);
		news.changes = HOP_LOST;
	}
	cluster_look_again(agent->cluster, &news);
}

static void on_hangup(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;
	struct err err;
	char text[80];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)clock_ns(CLOCK_MONOTONIC) / 1000);
	notify(text);
	log_info("reading everything again");
	if (manifests_reload(agent->manifests, &err) < 0 || records_rescan(agent->records, &err) < 0)
		log_err(LOG_ERROR, &err);
	/* What somebody else has done to the maps is mended too. */
	agent->lost = true;
	mark_dirty(agent);
	work(agent);
	notify("READY=1");
}

static void on_end(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	log_info("ending; policy stays in force");
	notify("STOPPING=1");
	stop(agent, 0);
}

/* --- begin and end
 * ----------------------------------------------------------------------------------------------------- */

static int seed_rule(uint32_t rule, const char *text, void *arg)
{
	return policy_seed_rule(arg, rule, text);
}

/* What is on this node: the data plane, and the policy that an earlier agent left in it. */
static int open_node(struct agent *agent, struct err *err)
{
	const struct node_options node = NODE_OPTIONS_DEFAULT;
	const struct cluster_events events = { on_complaint, agent };
	struct node_report report;
	int ret = node_init(&node, &report, err);

	if (ret == 0)
		ret = apply_tables_open(&agent->tables, agent->options->max_policy_entries, err);
	if (ret < 0)
		return ret;
	ret = cluster_kernel_open(&agent->kernel, err);
	if (ret < 0)
		return ret;
	agent->apply = apply_new(&apply_tables_ops, agent->tables);
	agent->ipcache = ipcache_new(&ipcache_kernel_ops, agent->kernel);
	if (agent->ipcache)
		agent->cluster = cluster_open(&cluster_kernel_ops, agent->kernel, &agent->options->cluster,
					     agent->ipcache, &events);
	if (!agent->apply || !agent->cluster)
		return err_set(err, ENOMEM, "no memory");
	apply_set_names(agent->apply, on_names, agent);
	ret = load_all(agent, err);
	if (ret == 0 && apply_each_rule(agent->apply, seed_rule, agent->policy, err) == -ENOMEM)
		return err_set(err, ENOMEM, "no memory for rules");
	return ret;
}

static int open_sources(struct agent *agent, struct err *err)
{
	const struct object_events objects = { on_object, on_removed, on_synced, on_complaint, agent };
	const struct record_events records = { on_record, on_record_gone, agent };
	int ret = records_open(&agent->records, &records, err);

	if (ret == 0)
		ret = manifests_open(&agent->manifests, agent->options->manifests, &objects, err);
	return ret;
}

static int begin(struct agent *agent, struct err *err)
{
	const struct options *options = agent->options;
	uint8_t key[POLICY_KEY_SIZE];
	int ret;

	agent->lock = lock_take(LOCK_AGENT, "", 0, err);
	if (agent->lock == -ETIMEDOUT) {
		err_set(err, EBUSY, "another agent runs on this node");
		return err_hint(err, "end it first");
	}
	ret = agent->lock < 0 ? agent->lock
			      : cluster_key_read(options->key_file ? options->key_file : WARREN_CLUSTER_KEY,
						 !options->key_file, key, err);
	if (ret < 0)
		return ret;
	agent->policy = policy_new(key);
	if (!agent->policy)
		return err_set(err, ENOMEM, "no memory");
	ret = open_node(agent, err);
	if (ret == 0)
		ret = server_open(agent, &agent->server, err);
	if (ret == 0 && options->metrics)
		ret = metrics_open(agent, options->metrics, &agent->metrics, err);
	return ret < 0 ? ret : open_sources(agent, err);
}

static void watch_fd(struct agent *agent, uv_poll_t *poll, int fd, uv_poll_cb fn)
{
	uv_poll_init(&agent->loop, poll, fd);
	poll->data = agent;
	uv_poll_start(poll, UV_READABLE, fn);
}

static void watch_signal(struct agent *agent, uv_signal_t *signal, int number, uv_signal_cb fn)
{
	uv_signal_init(&agent->loop, signal);
	signal->data = agent;
	uv_signal_start(signal, fn, number);
}

static void open_loop(struct agent *agent)
{
	uv_loop_init(&agent->loop);
	watch_signal(agent, &agent->hangup, SIGHUP, on_hangup);
	watch_signal(agent, &agent->terminate, SIGTERM, on_end);
	watch_signal(agent, &agent->interrupt, SIGINT, on_end);
	uv_timer_init(&agent->loop, &agent->retry);
	agent->retry.data = agent;
	agent->retry.timer_cb = on_retry;
	uv_timer_init(&agent->loop, &agent->cluster_retry);
	agent->cluster_retry.data = agent;
	agent->cluster_retry.timer_cb = on_cluster_retry;
	uv_check_init(&agent->loop, &agent->turn_end);
	agent->turn_end.data = agent;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void end(struct agent *agent)
{
	if (agent->server)
		server_close(agent->server);
	if (agent->metrics)
		metrics_close(agent->metrics);
	uv_walk(&agent->loop, close_handle, NULL);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	uv_loop_close(&agent->loop);
	free(agent->server);
	if (agent->metrics)
		metrics_free(agent->metrics);
	if (agent->manifests)
		manifests_close(agent->manifests);
	records_close(agent->records);
	apply_free(agent->apply);
	cluster_close(agent->cluster);
	ipcache_free(agent->ipcache);
	cluster_kernel_close(agent->kernel);
	apply_tables_close(agent->tables);
	policy_free(agent->policy);
	while (agent->complaint_count)
		complaint_forget(agent, agent->complaints[0].what);
	free(agent->complaints);
	closep(&agent->lock);
}

int agent_run(const struct options *options)
{
	struct agent agent = { .options = options, .lock = -1, .full = true, .started_ns = clock_ns(CLOCK_MONOTONIC) };
	struct err err;

	signal(SIGPIPE, SIG_IGN);
	open_loop(&agent);
	if (begin(&agent, &err) < 0) {
		log_err(LOG_ERROR, &err);
		agent.status = 1;
	} else {
		watch_fd(&agent, &agent.manifests_ready, manifests_fd(agent.manifests), on_manifests);
		watch_fd(&agent, &agent.records_ready, records_fd(agent.records), on_records);
		watch_fd(&agent, &agent.hops_ready, cluster_kernel_fd(agent.kernel), on_hops);
		uv_check_start(&agent.turn_end, on_turn_end);
		log_info("warren-agent " WARREN_VERSION " follows %s, %zu endpoints", options->manifests,
			 records_count(agent.records));
		work(&agent);
		uv_run(&agent.loop, UV_RUN_DEFAULT);
	}
	end(&agent);
	return agent.status;
}
