/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "agent.h"
#include "balancer_dp.h"
#include "cleanup.h"
#include "clock.h"
#include "ct_size.h"
#include "key.h"
#include "lock.h"
#include "node.h"
#include "notify.h"
#include "paths.h"

/* --- events --- */

static void on_turn_end(uv_check_t *check)
{
	struct agent *agent = check->data;

	work(agent);
	kube_turn(agent->kube);
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

/* --- the tunnel's keys --- */

#define KEYS_LOOK_MS 5000
#define KEYS_COMPLAINT "tunnel keys"

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
		return err_hint(err, "warren-agent(8), --tunnel-keys, says what it holds");
	if (memcmp(&keys, &agent->tunnel_keys, sizeof(keys)) == 0)
		return 0;
	agent->tunnel_keys = keys;
	cluster_set_keys(agent->cluster, &keys);
	log_info("tunnel packets are sent with key %u%s", keys.keys[0].id, keys.count > 1 ? ", another one is taken, too" : "");
	return 0;
}

/* A file that cannot be read or understood changes nothing: the keys stay as they are. */
static void look_at_tunnel_keys(struct agent *agent)
{
	struct err err;
	int ret = agent->cluster && agent->tunnel_keys.count ? load_tunnel_keys(agent, &err) : 0;

	complain(&agent->complaints, COMPLAINT_AGENT, KEYS_COMPLAINT, ret < 0 ? &err : NULL);
}

/* Kubelet replaces a mounted Secret by a symbolic link's rename, of which inotify says little: the file is small, and read. */
static void on_tunnel_keys_look(uv_timer_t *timer)
{
	look_at_tunnel_keys(timer->data);
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
	if (agent->manifests && manifests_reload(agent->manifests, &err) < 0)
		log_err(LOG_ERROR, &err);
	kube_look_again(agent->kube);
	look_at_tunnel_keys(agent);
	if (attachments_rescan(agent->attachments, &err) < 0)
		log_err(LOG_ERROR, &err);
	/* What somebody else has done to the maps is mended too. */
	agent->work.lost = true;
	balancer_lost(agent->balancer);
	work_wanted(agent);
	work(agent);
	notify("READY=1");
}

static void on_end(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	log_info("ending; policy stays in force");
	notify("STOPPING=1");
	agent_stop(agent, 0);
}

/* --- begin and end --- */

static void on_node_complaint(void *arg, const char *what, const struct err *err)
{
	complain(&((struct agent *)arg)->complaints, COMPLAINT_NODE, what, err);
}

static void on_cluster_complaint(void *arg, const char *what, const struct err *err)
{
	complain(&((struct agent *)arg)->complaints, COMPLAINT_AGENT, what, err);
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

/* What is on this node: the data plane, and the policy that an earlier agent left in it. */
static int open_node(struct agent *agent, struct err *err)
{
	struct node_options node = NODE_OPTIONS_DEFAULT;
	const struct cluster_events events = { on_node_complaint, on_cluster_complaint, agent };
	struct node_report report;
	int ret;

	node.ct_entries = (uint32_t)agent->options->ct_entries;
	ret = node_init(&node, &report, err);
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
	agent->balancer = balancer_new(&balancer_dp_ops, agent->services, agent->options->cluster.node_name);
	if (!agent->apply || !agent->cluster || !agent->balancer)
		return err_set(err, ENOMEM, "no memory");
	return work_open(agent, err);
}

/* One that stands in for the real one, while that is awaited, and is never used. */
static int no_key(uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	return getrandom(key, POLICY_KEY_SIZE, 0) == POLICY_KEY_SIZE ? 0 : err_errno(err, errno, "cannot draw a key");
}

static int first_key(struct agent *agent, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	const char *file = agent->options->key_file;
	const uint8_t *known = agent->kube ? kube_cluster_key(agent->kube) : NULL;

	agent->has_key = known || !agent->kube || file;
	if (known)
		memcpy(key, known, POLICY_KEY_SIZE);
	else if (agent->kube && !file)
		return no_key(key, err);
	return known ? 0 : cluster_key_read(file ? file : WARREN_CLUSTER_KEY, !file, key, err);
}

static int new_compiler(struct agent *agent, const uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	policy_free(agent->policy);
	agent->policy = policy_new(key);
	return agent->policy ? 0 : err_set(err, ENOMEM, "no memory");
}

/* The key that was awaited: what has been put so far, endpoints alone, is put again. */
static void on_key(struct agent *agent)
{
	struct err err;
	int ret = new_compiler(agent, kube_cluster_key(agent->kube), &err);

	agent->has_key = true;
	memcpy(agent->key, kube_cluster_key(agent->kube), POLICY_KEY_SIZE);
	if (ret == 0)
		ret = load_tunnel_keys(agent, &err);
	if (ret == 0)
		ret = work_seed(agent, &err);
	if (ret == 0)
		ret = sources_begin_again(agent, &err);
	if (ret == 0)
		return;
	log_err(LOG_ERROR, &err);
	agent_stop(agent, 1);
}

static int take_lock(struct agent *agent, struct err *err)
{
	agent->lock = lock_take(LOCK_AGENT, "", 0, err);
	if (agent->lock != -ETIMEDOUT)
		return agent->lock < 0 ? agent->lock : 0;
	err_set(err, EBUSY, "another agent runs on this node");
	return err_hint(err, "end it first");
}

static int begin(struct agent *agent, struct err *err)
{
	const struct options *options = agent->options;
	int ret = take_lock(agent, err);

	if (ret == 0 && options_in_kubernetes(options))
		ret = kube_open(agent, on_key, &agent->kube, err);
	if (ret == 0)
		ret = first_key(agent, agent->key, err);
	if (ret == 0)
		ret = new_compiler(agent, agent->key, err);
	if (ret == 0)
		ret = open_node(agent, err);
	if (ret == 0 && agent->has_key)
		ret = load_tunnel_keys(agent, err);
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
	watch_signal(agent, &agent->terminate, SIGTERM, on_end);
	watch_signal(agent, &agent->interrupt, SIGINT, on_end);
	uv_timer_init(&agent->loop, &agent->tunnel_keys_look);
	agent->tunnel_keys_look.data = agent;
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
	server_close(agent->server);
	metrics_close(agent->metrics);
	uv_walk(&agent->loop, close_handle, NULL);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	uv_loop_close(&agent->loop);
	server_free(agent->server);
	metrics_free(agent->metrics);
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
	complaints_free(&agent->complaints);
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
		watch_fd(&agent, &agent.hops_ready, cluster_kernel_fd(agent.kernel), on_hops);
		uv_check_start(&agent.turn_end, on_turn_end);
		if (options->tunnel_keys)
			uv_timer_start(&agent.tunnel_keys_look, on_tunnel_keys_look, KEYS_LOOK_MS, KEYS_LOOK_MS);
		log_info("warren-agent " WARREN_VERSION " follows %s, %zu endpoints",
			 options->manifests ? options->manifests : "the API server", attachments_count(agent.attachments));
		work(&agent);
		uv_run(&agent.loop, UV_RUN_DEFAULT);
	}
	end(&agent);
	return agent.status;
}
