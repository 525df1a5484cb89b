/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "cleanup.h"
#include "clock.h"
#include "ct_size.h"
#include "key.h"
#include "lock.h"
#include "node.h"
#include "notify.h"
#include "paths.h"

#define FILES_MAX 16384

/* --- events --- */

static void on_iteration_end(uv_check_t *check)
{
	struct agent *agent = check->data;

	reconcile(agent);
	kube_reconcile(agent->kube);
}

static void on_manifests(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct err err;

	if (manifests_run(agent->manifests, &err) < 0)
		log_err(LOG_ERROR, &err);
}

static void on_attachments(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct err err;
	int ret = attachments_run(agent->attachments, &err);

	if (ret < 0)
		log_err(LOG_ERROR, &err);
	if (ret == -ESHUTDOWN)
		agent_stop(agent, 1);
}

/* Links, routes or neighbours have changed. */
static void on_nexthops(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	struct nexthop_change change;
	struct err err;

	/* libuv treats an overrun of the socket as an error, and stops polling it. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_nexthops);
	if (cluster_kernel_read(agent->kernel, &change, &err) < 0) {
		log_err(LOG_ERROR, &err);
		change.changes = NEXTHOP_LOST;
	}
	cluster_look_again(agent->cluster, &change);
	if (agent->options->node_port_cidr_count)
		agent->reconcile.addresses_changed |= change.changes & (NEXTHOP_ADDRESS | NEXTHOP_LINK | NEXTHOP_LOST);
}

/* --- the tunnel's keys --- */

#define KEYS_POLL_MS 5000
#define KEYS_PROBLEM "tunnel keys"

static int load_tunnel_keys(struct agent *agent, struct err *err)
{
	const struct options *options = agent->options;
	struct tunnel_keys keys;
	int ret = 0;

	if (options->cluster.tunnel_key == TUNNEL_KEY_OFF)
		return 0;
	if (options->tunnel_keys)
		ret = tunnel_keys_read(options->tunnel_keys, agent->key, &keys, err);
	else
		tunnel_keys_default(agent->key, &keys);
	if (ret < 0)
		return err_hint(err, "see --tunnel-keys in warren-agent(8) for the format");
	if (memcmp(&keys, &agent->tunnel_keys, sizeof(keys)) == 0)
		return 0;
	agent->tunnel_keys = keys;
	cluster_set_keys(agent->cluster, &keys);
	log_info("tunnel packets are sent with key %u%s", keys.keys[0].id, 
		 keys.count > 1 ? "; a second key is accepted" : "");
	return 0;
}

/* The cluster's key is known: what follows from it. */
static int use_key(struct agent *agent, struct err *err)
{
	int ret = load_tunnel_keys(agent, err);

	if (ret == 0)
		ret = dp_services_set_key(agent->services, agent->key, err);
	if (ret > 0)
		balancer_lost(agent->balancer);
	return ret < 0 ? ret : 0;
}

/* If the file cannot be read or parsed, the current keys stay. */
static void reload_tunnel_keys(struct agent *agent)
{
	struct err err;
	int ret = agent->cluster && agent->tunnel_keys.count ? load_tunnel_keys(agent, &err) : 0;

	report_problem(&agent->problems, PROBLEM_AGENT, KEYS_PROBLEM, ret < 0 ? &err : NULL);
}

/* Polls: the kubelet updates a mounted Secret by renaming a symbolic link, which a watch of the file does not see. */
static void on_tunnel_keys_timer(uv_timer_t *timer)
{
	reload_tunnel_keys(timer->data);
}

static void on_hangup(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;
	struct err err;
	char text[80];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)clock_ns(CLOCK_MONOTONIC) / 1000);
	notify(text);
	log_info("reading manifests, endpoints and maps again");
	if (agent->manifests && manifests_reload(agent->manifests, &err) < 0)
		log_err(LOG_ERROR, &err);
	kube_resync(agent->kube);
	reload_tunnel_keys(agent);
	if (attachments_rescan(agent->attachments, &err) < 0)
		log_err(LOG_ERROR, &err);
	/* Repairs changes by others to the maps too. */
	agent->reconcile.reload = true;
	balancer_lost(agent->balancer);
	reconcile_schedule(agent);
	reconcile(agent);
	notify("READY=1");
}

static void on_terminate(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	log_info("stopping; policy stays enforced");
	notify("STOPPING=1");
	agent_stop(agent, 0);
}

/* --- begin and end --- */

static void on_node_problem(void *arg, const char *subject, const struct err *err)
{
	report_problem(&((struct agent *)arg)->problems, PROBLEM_NODE, subject, err);
}

static void on_cluster_problem(void *arg, const char *subject, const struct err *err)
{
	report_problem(&((struct agent *)arg)->problems, PROBLEM_AGENT, subject, err);
}

static void log_conntrack(const struct node_options *node, const struct node_report *report)
{
	uint32_t now = ct_size_here();
	char otherwise[80] = "";

	if (!node->ct_entries && report->ct_entries != now)
		snprintf(otherwise, sizeof(otherwise), ", as loaded before; auto is %u now", now);
	log_info("conntrack has room for %u flows of each family, which take %" PRIu64 " MiB when it is full%s",
		 report->ct_entries, ct_size_memory(report->ct_entries) >> 20, otherwise);
}

/* Opens the data plane of this node, with the policy that an earlier agent left in it. */
static int open_node(struct agent *agent, struct err *err)
{
	struct node_options node = NODE_OPTIONS_DEFAULT;
	const struct cluster_events events = { on_node_problem, on_cluster_problem, agent };
	struct node_report report;
	int ret;

	node.ct_entries = (uint32_t)agent->options->ct_entries;
	node.agent = true;
	node.cgroup = agent->options->cgroup;
	ret = node_init(&node, &report, err);
	if (ret == 0 && report.upgraded_from)
		log_info("the node was upgraded from ABI version %u to %d; conntrack had no room for %zu flows",
			 report.upgraded_from, WR_ABI_VERSION, report.lost_flows);
	if (ret == 0 && report.sockets_err.num)
		log_err(LOG_WARN, &report.sockets_err);
	else if (ret == 0 && !report.sockets)
		log_info("services are not for this host's own processes: %s",
			 node.cgroup ? "option --cgroup" : "no cgroup v2 is mounted at /sys/fs/cgroup");
	if (ret == 0)
		log_conntrack(&node, &report);
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
	ret = dp_services_open(&agent->services, err);
	if (ret < 0)
		return ret;
	agent->balancer = balancer_new(&balancer_dp_ops, agent->services, agent->options->cluster.node_name,
				       &agent->options->services);
	if (!agent->apply || !agent->cluster || !agent->balancer)
		return err_set(err, ENOMEM, "no memory");
	balancer_release(agent->balancer, access(WARREN_RELEASED_FILE, F_OK) == 0);
	return reconcile_open(agent, err);
}

/* --- health check ports --- */

static bool on_health(void *arg)
{
	return agent_services_healthy(arg);
}

static void on_health_port_problem(void *arg, const char *namespace, const char *name, const char *problem)
{
	kube_health_port_closed(((struct agent *)arg)->kube, namespace, name, problem);
}

static void on_health_ports(void *arg)
{
	struct agent *agent = arg;
	struct health_ports_counts counts;
	struct err err;

	health_ports_count(agent->health_ports, &counts);
	err_set(&err, EADDRINUSE, "%zu of %zu are not open; %s", counts.problems, counts.ports, counts.example);
	report_problem(&agent->problems, PROBLEM_OBJECT, "health check ports of services", counts.problems ? &err : NULL);
}

/* Each of them is a file, and the default limit is that of programs that use select(). */
static void allow_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_MAX)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* 0: none, or a path. */
static uint16_t port_of(const char *address)
{
	const char *colon = address && strncmp(address, "unix:", 5) != 0 ? strrchr(address, ':') : NULL;

	return colon ? (uint16_t)atoi(colon + 1) : 0;
}

static int open_health_ports(struct agent *agent, struct err *err)
{
	const struct options *o = agent->options;
	const struct health_ports_options options = {
		.balancer = agent->balancer,
		.own_ports = { port_of(o->health), port_of(o->metrics), port_of(o->service_healthz) },
		.is_healthy = on_health,
		.report = on_health_port_problem,
		.updated = on_health_ports,
		.arg = agent,
	};

	allow_files();
	return health_ports_open(&agent->loop, &options, &agent->health_ports, err);
}

/* A placeholder until the real key arrives: nothing is compiled with it. */
static int random_key(uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	return getrandom(key, POLICY_KEY_SIZE, 0) == POLICY_KEY_SIZE ? 0 : err_errno(err, errno, "cannot generate a key");
}

static int load_key(struct agent *agent, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	const char *file = agent->options->key_file;
	const uint8_t *known = agent->kube ? kube_cluster_key(agent->kube) : NULL;

	agent->has_key = known || !agent->kube || file;
	if (known)
		memcpy(key, known, POLICY_KEY_SIZE);
	else if (agent->kube && !file)
		return random_key(key, err);
	return known ? 0 : cluster_key_read(file ? file : WARREN_CLUSTER_KEY, !file, key, err);
}

static int new_compiler(struct agent *agent, const uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	policy_free(agent->policy);
	agent->policy = policy_new(key);
	return agent->policy ? 0 : err_set(err, ENOMEM, "no memory");
}

/* The key has arrived: a new compiler receives the endpoints again. The old one had no other input. */
static void on_key(struct agent *agent)
{
	struct err err;
	int ret = new_compiler(agent, kube_cluster_key(agent->kube), &err);

	agent->has_key = true;
	memcpy(agent->key, kube_cluster_key(agent->kube), POLICY_KEY_SIZE);
	if (ret == 0)
		ret = use_key(agent, &err);
	if (ret == 0)
		ret = reconcile_seed(agent, &err);
	if (ret == 0)
		ret = sources_restart(agent, &err);
	if (ret == 0)
		return;
	log_err(LOG_ERROR, &err);
	agent_stop(agent, 1);
}

static int acquire_lock(struct agent *agent, struct err *err)
{
	agent->lock = lock_take(LOCK_AGENT, "", 0, err);
	if (agent->lock != -ETIMEDOUT)
		return agent->lock < 0 ? agent->lock : 0;
	err_set(err, EBUSY, "another agent runs on this node");
	return err_hint(err, "stop it first");
}

static int begin(struct agent *agent, struct err *err)
{
	const struct options *options = agent->options;
	int ret = acquire_lock(agent, err);

	if (ret == 0 && options_in_kubernetes(options))
		ret = kube_open(agent, on_key, &agent->kube, err);
	if (ret == 0)
		ret = load_key(agent, agent->key, err);
	if (ret == 0)
		ret = new_compiler(agent, agent->key, err);
	if (ret == 0)
		ret = open_node(agent, err);
	if (ret == 0 && agent->has_key)
		ret = use_key(agent, err);
	if (ret == 0)
		ret = open_health_ports(agent, err);
	if (ret == 0)
		ret = server_open(agent, &agent->server, err);
	if (ret == 0)
		ret = metrics_open(agent, &agent->metrics, err);
	return ret < 0 ? ret : sources_open(agent, err);
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
	watch_signal(agent, &agent->terminate, SIGTERM, on_terminate);
	watch_signal(agent, &agent->interrupt, SIGINT, on_terminate);
	uv_timer_init(&agent->loop, &agent->tunnel_keys_timer);
	agent->tunnel_keys_timer.data = agent;
	uv_check_init(&agent->loop, &agent->iteration_end);
	agent->iteration_end.data = agent;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void end(struct agent *agent)
{
	server_close(agent->server);
	metrics_close(agent->metrics);
	health_ports_close(agent->health_ports);
	uv_walk(&agent->loop, close_handle, NULL);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	uv_loop_close(&agent->loop);
	server_free(agent->server);
	metrics_free(agent->metrics);
	health_ports_free(agent->health_ports);
	manifests_close(agent->manifests);
	kube_free(agent->kube);
	attachments_close(agent->attachments);
	apply_free(agent->apply);
	cluster_close(agent->cluster);
	ipcache_free(agent->ipcache);
	cluster_kernel_close(agent->kernel);
	balancer_free(agent->balancer);
	dp_services_close(agent->services);
	apply_tables_close(agent->tables);
	policy_free(agent->policy);
	problems_free(&agent->problems);
	closep(&agent->lock);
}

int agent_run(const struct options *options)
{
	struct agent agent = { .options = options, .lock = -1 };
	struct err err;

	signal(SIGPIPE, SIG_IGN);
	open_loop(&agent);
	if (begin(&agent, &err) < 0) {
		log_err(LOG_ERROR, &err);
		agent.status = 1;
	} else {
		if (agent.manifests)
			watch_fd(&agent, &agent.manifests_ready, manifests_fd(agent.manifests), on_manifests);
		watch_fd(&agent, &agent.attachments_ready, attachments_fd(agent.attachments), on_attachments);
		watch_fd(&agent, &agent.nexthops_ready, cluster_kernel_fd(agent.kernel), on_nexthops);
		uv_check_start(&agent.iteration_end, on_iteration_end);
		if (options->tunnel_keys)
			uv_timer_start(&agent.tunnel_keys_timer, on_tunnel_keys_timer, KEYS_POLL_MS, KEYS_POLL_MS);
		log_info("warren-agent " WARREN_VERSION " follows %s, %zu endpoints",
			 options->manifests ? options->manifests : "the API server", attachments_count(agent.attachments));
		reconcile(&agent);
		uv_run(&agent.loop, UV_RUN_DEFAULT);
	}
	end(&agent);
	return agent.status;
}
