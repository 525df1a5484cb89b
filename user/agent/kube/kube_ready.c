/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes the node ready for pods, once policy is enforced and its own Node has been read. */
#include "kube_internal.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "conflist.h"
#include "file.h"

#define CONFLIST "network configuration"
#define RETRY_MS 5000

static void report_problem_of(struct kube *k, const char *subject, const struct err *err)
{
	report_problem(&k->agent->problems, PROBLEM_AGENT, subject, err);
}

/* --- the directory of configurations --- */

/* A file was added, changed or removed: another one may be first by name now, or ours may be gone. */
static void on_directory(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct kube *k = event->data;

	k->directory_changed = true;
}

/* Watched again each time: the path may lead to another directory now. */
static void follow_directory(struct kube *k)
{
	char directory[FILE_PATH_MAX];

	conflist_directory(k->agent->options->conflist, directory);
	uv_fs_event_stop(&k->directory);
	if (uv_fs_event_start(&k->directory, on_directory, directory, 0) < 0)
		log_warn("cannot watch %s: changes by others stay undetected", directory);
}

/* --- the configuration --- */

static void report_rival(struct kube *k, bool rival, const struct err *err)
{
	const char *node = k->agent->options->cluster.node_name;

	report_problem_of(k, "another " CONFLIST, rival ? err : NULL);
	if (rival)
		kube_events_send(k->events, &(struct kube_event){ .kind = "Node",
								  .name = node,
								  .reason = "ConflictingNetworkConfiguration",
								  .message = err->msg });
}

static int write_conflist(struct kube *k, const struct prefix cidrs[2], struct err *err)
{
	const char *path = k->agent->options->conflist;
	const enum host_ports host_ports = k->agent->options->portmap ? HOST_PORTS_PORTMAP : conflist_native();
	_cleanup_free_ char *text = conflist_text(cidrs, host_ports);
	int ret = text ? conflist_write(path, text, err) : err_set(err, ENOMEM, "no memory for %s", path);

	if (ret > 0)
		log_info("wrote %s: the node is ready for pods", path);
	return ret < 0 ? ret : 0;
}

static void update_conflist(struct kube *k, const struct prefix cidrs[2])
{
	struct err err;
	int ret;

	if (!k->directory_changed && memcmp(k->written, cidrs, sizeof(k->written)) == 0)
		return;
	k->directory_changed = false;
	ret = write_conflist(k, cidrs, &err);
	if (ret == 0) {
		follow_directory(k);
		ret = write_conflist(k, cidrs, &err); /* if it was removed before the watch began */
	}
	report_problem_of(k, CONFLIST, ret < 0 ? &err : NULL);
	if (ret < 0) {
		if (ret == -ESTALE)
			agent_stop(k->agent, 1);
		uv_timer_start(&k->conflist_timer, k->conflist_timer.timer_cb, RETRY_MS, 0);
		return;
	}
	k->node_changed |= !kube_conflist_written(k);
	memcpy(k->written, cidrs, sizeof(k->written));
	report_rival(k, conflist_preceding(k->agent->options->conflist, &err), &err);
}

/* --- the Node --- */

/* Without its Node object this node is in no cluster and has no pod CIDRs. (cluster.c reports the Node's problems.) */
static void report_missing_node(struct kube *k)
{
	const char *name = k->agent->options->cluster.node_name;
	struct err err;
	bool missing = !cluster_own(k->agent->cluster);

	if (missing)
		err_set(&err, ENOENT, "there is no Node %s; check that the kubelet has registered it and that --node-name is right",
			name);
	report_problem_of(k, "this node", missing ? &err : NULL);
}

void kube_ready_reconcile(struct kube *k)
{
	struct prefix cidrs[2];

	if (!k->agent->reconcile.enforced)
		return;
	report_missing_node(k);
	if (!cluster_own_cidrs(k->agent->cluster, cidrs))
		return;
	if (k->agent->options->conflist) {
		update_conflist(k, cidrs);
	} else if (!kube_conflist_written(k)) {
		memcpy(k->written, cidrs, sizeof(k->written));
		k->node_changed = true;
	}
	if (k->to_clean)
		kube_cleanup(k, cidrs);
	if (!kube_conflist_written(k) || !k->node_changed)
		return;
	k->node_changed = false;
	kube_node_sync(k->node);
}

static void on_retry(uv_timer_t *timer)
{
	struct kube *k = timer->data;

	k->directory_changed = true;
	kube_ready_reconcile(k);
}

void kube_own_node(struct kube *k)
{
	if (k)
		k->node_changed = true;
}

void kube_ready_init(struct kube *k)
{
	uv_timer_init(&k->agent->loop, &k->conflist_timer);
	uv_fs_event_init(&k->agent->loop, &k->directory);
	k->conflist_timer.data = k->directory.data = k;
	k->conflist_timer.timer_cb = on_retry;
	k->to_clean = true;
}
