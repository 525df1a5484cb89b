/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes the node ready for pods, once policy is in force and its own Node is known. */
#include "kube_internal.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "conflist.h"
#include "file.h"

#define CONFLIST "network configuration"
#define RETRY_MS 5000

static void complain_of(struct kube *k, const char *what, const struct err *err)
{
	complain(&k->agent->complaints, COMPLAINT_AGENT, what, err);
}

/* --- the folder of configurations --- */

/* Somebody has added, changed or removed a file: another one may come first now, or ours be gone. */
static void on_folder(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct kube *k = event->data;

	k->folder_changed = true;
}

/* Each time anew: by that name there may be another folder by now. */
static void follow_folder(struct kube *k)
{
	char folder[FILE_PATH_MAX];

	conflist_folder(k->agent->options->conflist, folder);
	uv_fs_event_stop(&k->folder);
	if (uv_fs_event_start(&k->folder, on_folder, folder, 0) < 0)
		log_warn("%s cannot be followed: what others put there goes unnoticed", folder);
}

/* --- the configuration --- */

static void tell_rival(struct kube *k, bool rival, const struct err *err)
{
	const char *node = k->agent->options->cluster.node_name;

	complain_of(k, "another " CONFLIST, rival ? err : NULL);
	if (rival)
		kube_events_send(k->events, &(struct kube_event){ .kind = "Node",
								  .name = node,
								  .reason = "ForeignNetworkConfiguration",
								  .message = err->msg });
}

static int write_conflist(struct kube *k, const struct prefix cidrs[2], struct err *err)
{
	const char *path = k->agent->options->conflist;
	_cleanup_free_ char *text = conflist_text(cidrs);
	int ret = text ? conflist_write(path, text, err) : err_set(err, ENOMEM, "no memory for %s", path);

	if (ret > 0)
		log_info("%s is written: the node is ready for pods", path);
	return ret < 0 ? ret : 0;
}

static void update_conflist(struct kube *k, const struct prefix cidrs[2])
{
	struct err err;
	int ret;

	if (!k->folder_changed && memcmp(k->written, cidrs, sizeof(k->written)) == 0)
		return;
	k->folder_changed = false;
	ret = write_conflist(k, cidrs, &err);
	if (ret == 0) {
		follow_folder(k);
		ret = write_conflist(k, cidrs, &err); /* if it has gone again before it was followed */
	}
	complain_of(k, CONFLIST, ret < 0 ? &err : NULL);
	if (ret < 0) {
		if (ret == -ESTALE)
			agent_stop(k->agent, 1);
		uv_timer_start(&k->conflist_timer, k->conflist_timer.timer_cb, RETRY_MS, 0);
		return;
	}
	k->node_changed |= !kube_conflist_written(k);
	memcpy(k->written, cidrs, sizeof(k->written));
	tell_rival(k, conflist_rival(k->agent->options->conflist, &err), &err);
}

/* --- the Node --- */

/* Without an object of its own the node is in no cluster, and has no addresses to give. (What else may be missing the cluster tells.) */
static void tell_missing(struct kube *k)
{
	const char *name = k->agent->options->cluster.node_name;
	struct err err;
	bool missing = !cluster_own(k->agent->cluster);

	if (missing)
		err_set(&err, ENOENT, "there is no Node %s: the kubelet registers it; is --node-name right?", name);
	complain_of(k, "this node", missing ? &err : NULL);
}

void kube_ready_turn(struct kube *k)
{
	struct prefix cidrs[2];

	if (!k->agent->work.enforced)
		return;
	tell_missing(k);
	if (!cluster_own_cidrs(k->agent->cluster, cidrs))
		return;
	if (k->agent->options->conflist) {
		update_conflist(k, cidrs);
	} else if (!kube_conflist_written(k)) {
		memcpy(k->written, cidrs, sizeof(k->written));
		k->node_changed = true;
	}
	if (k->to_sweep)
		kube_sweep(k, cidrs);
	if (!kube_conflist_written(k) || !k->node_changed)
		return;
	k->node_changed = false;
	kube_node_tell(k->node);
}

static void on_retry(uv_timer_t *timer)
{
	struct kube *k = timer->data;

	k->folder_changed = true;
	kube_ready_turn(k);
}

void kube_own_node(struct kube *k)
{
	if (k)
		k->node_changed = true;
}

void kube_ready_init(struct kube *k)
{
	uv_timer_init(&k->agent->loop, &k->conflist_timer);
	uv_fs_event_init(&k->agent->loop, &k->folder);
	k->conflist_timer.data = k->folder.data = k;
	k->conflist_timer.timer_cb = on_retry;
	k->to_sweep = true;
}
