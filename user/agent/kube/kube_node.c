/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "objects.h"

#define SUBJECT "own Node"
#define RESYNC_S 300
#define REPORT_DELAY_S 10    /* after a change: short problems are not written */
#define REPORT_BURST 5	     /* annotations in a row: each goes to every watcher of Nodes */
#define REPORT_INTERVAL_S 60 /* between further ones */
#define PATCHES_MAX 6 /* in a row, before a pause */
#define REASON "WarrenIsUp"
#define MERGE "application/strategic-merge-patch+json"

struct kube_node {
	struct kube_task task;
	struct kube_node_options options;
	char path[320];
	bool synced, refetch;
	bool report_scheduled; /* a timer of REPORT_DELAY_S runs */
	char status[NODE_AGENT_MAX]; /* the annotation without its time; "": not set yet */
	unsigned patches; /* since the Node was last right */
	struct kube_rate rate; /* of annotations */
};

static void fetch_node(void *arg);

/* --- the Node's state --- */

static bool is_network_available(const json_t *node)
{
	const json_t *condition;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(node, "status"), "conditions"), i, condition) {
		const char *type = json_text_at(condition, "type"), *status = json_text_at(condition, "status");

		if (type && status && strcmp(type, "NetworkUnavailable") == 0)
			return strcmp(status, "False") == 0;
	}
	return false;
}

/* The taints without ours; NULL: ours is not among them. */
static json_t *other_taints(const json_t *node, const char *ours)
{
	const json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
	json_t *others = json_array(), *taint;
	size_t i;

	json_array_foreach(taints, i, taint) {
		const char *key = json_text_at(taint, "key");

		if (!key || strcmp(key, ours) != 0)
			json_array_append(others, taint);
	}
	if (json_array_size(others) < json_array_size(taints))
		return others;
	json_decref(others);
	return NULL;
}

/* Compares the annotation without its time. */
static bool is_annotation_current(const struct kube_node *k, const json_t *node)
{
	const json_t *annotations = json_object_get(json_object_get(node, "metadata"), "annotations");
	const char *text = json_text_at(annotations, NODE_AGENT_ANNOTATION) ?: "";
	size_t n = strlen(k->status);

	return !n || (strncmp(text, k->status, n) == 0 && strncmp(text + n, " since ", 7) == 0);
}

/* --- patches --- */

static void on_patched(void *arg, const struct kube_response *response)
{
	struct kube_node *k = arg;
	struct err err;

	/* Reads the Node again after a conflict (409), and for further patches. */
	if (!response->json && response->status != 409) {
		kube_task_failed(&k->task, response->err, response->retry_after_s);
	} else if (++k->patches < PATCHES_MAX) {
		fetch_node(k);
	} else {
		k->patches = 0;
		err_set(&err, EBUSY, "another program keeps reverting the network condition or the taints of Node %s", k->options.name);
		kube_task_failed(&k->task, &err, 0);
	}
}

static void patch(struct kube_node *k, const char *path, json_t *body)
{
	kube_task_call(&k->task, "PATCH", path, MERGE, body, on_patched);
}

static void patch_condition(struct kube_node *k)
{
	char path[sizeof(k->path) + 8], now[KUBE_TIME_STRLEN];

	kube_time(now);
	snprintf(path, sizeof(path), "%s/status", k->path);
	patch(k, path,
	      json_pack("{s:{s:[{s:s, s:s, s:s, s:s, s:s, s:s}]}}", "status", "conditions", "type",
			"NetworkUnavailable", "status", "False", "reason", REASON, "message",
			"Warren is running on this node", "lastHeartbeatTime", now, "lastTransitionTime", now));
}

/* Replaces the whole list, so the resourceVersion must still be the one that was read. */
static void patch_taints(struct kube_node *k, const json_t *node, json_t *taints)
{
	const char *version = json_text_at(json_object_get(node, "metadata"), "resourceVersion");

	patch(k, k->path,
	      json_pack("{s:{s:s?}, s:{s:o}}", "metadata", "resourceVersion", version, "spec", "taints", taints));
}

static void patch_annotation(struct kube_node *k)
{
	char text[sizeof(k->status) + 40], now[KUBE_TIME_STRLEN];

	snprintf(text, sizeof(text), "%s since %s", k->status, kube_time(now));
	patch(k, k->path, json_pack("{s:{s:{s:s}}}", "metadata", "annotations", NODE_AGENT_ANNOTATION, text));
}

static void on_node(void *arg, const struct kube_response *response)
{
	struct kube_node *k = arg;
	unsigned wait = 0;
	json_t *taints;

	if (!response->json) {
		kube_task_failed(&k->task, response->err, response->retry_after_s);
		return;
	}
	if (!is_network_available(response->json)) {
		patch_condition(k);
		return;
	}
	taints = k->options.taint ? other_taints(response->json, k->options.taint) : NULL;
	if (taints) {
		patch_taints(k, response->json, taints);
		return;
	}
	if (!k->synced)
		log_info("Node %s: NetworkUnavailable is False", k->options.name);
	k->synced = true;
	if (!is_annotation_current(k, response->json)) {
		wait = kube_rate_wait_s(&k->rate, REPORT_BURST, REPORT_INTERVAL_S);
		if (!wait) {
			patch_annotation(k);
			return;
		}
	}
	k->patches = 0;
	k->report_scheduled = wait;
	kube_task_succeeded(&k->task);
	if (k->refetch)
		fetch_node(k);
	else
		kube_task_later(&k->task, wait ? wait : RESYNC_S);
}

static void fetch_node(void *arg)
{
	struct kube_node *k = arg;

	k->refetch = k->report_scheduled = false;
	kube_task_call(&k->task, "GET", k->path, NULL, NULL, on_node);
}

void kube_node_sync(struct kube_node *k)
{
	k->refetch = true; /* a running call may return the previous object */
	k->synced = false;
	if (k->task.call)
		return;
	kube_task_stop(&k->task);
	fetch_node(k);
}

void kube_node_report(struct kube_node *k, size_t problems)
{
	char text[sizeof(k->status)];

	if (problems)
		snprintf(text, sizeof(text), WARREN_VERSION " %zu wrong", problems);
	else
		snprintf(text, sizeof(text), WARREN_VERSION " ok");
	if (strcmp(text, k->status) == 0)
		return;
	memcpy(k->status, text, sizeof(text));
	k->refetch |= k->task.call != NULL;
	if (!k->synced || k->task.call || k->task.failures || k->report_scheduled)
		return;
	k->report_scheduled = true;
	kube_task_later(&k->task, REPORT_DELAY_S);
}

bool kube_node_synced(const struct kube_node *k)
{
	return k->synced;
}

/* --- begin and end --- */

struct kube_node *kube_node_open(struct api *api, const struct kube_node_options *options)
{
	struct kube_node *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->options = *options;
	k->task = (struct kube_task){
		.api = api, .subject = SUBJECT, .report_problem = options->report_problem, .report_arg = options->arg, .retry = fetch_node, .arg = k
	};
	snprintf(k->path, sizeof(k->path), "/api/v1/nodes/%s", options->name);
	return k;
}

void kube_node_close(struct kube_node *k)
{
	if (k)
		kube_task_stop(&k->task);
	free(k);
}
