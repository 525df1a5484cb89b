/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "objects.h"

#define WHAT "own Node"
#define LOOK_SECONDS 300
#define SAY_SECONDS 10 /* after a change, so that what comes and goes is not told */
#define SAY_BURST 5	/* annotations in a row: each goes to every watcher of Nodes */
#define SAY_EVERY_S 60 /* one more */
#define PATCHES_MOST 6 /* in a row, before a pause */
#define REASON "WarrenIsUp"
#define MERGE "application/strategic-merge-patch+json"

struct kube_node {
	struct kube_task task;
	struct kube_node_options options;
	char path[320];
	bool told, again;
	bool saying; /* it is to look after SAY_SECONDS */
	char says[NODE_AGENT_MAX]; /* how the agent is, but for since when; "": not known yet */
	unsigned patches; /* since it was in order */
	uint64_t credit_ns, credited_ns; /* of annotations; SAY_BURST * SAY_EVERY_S at most */
};

static void look(void *arg);

static void now_text(char text[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* --- what it says --- */

static bool says_available(const json_t *node)
{
	const json_t *condition;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(node, "status"), "conditions"), i, condition) {
		const char *type = json_string_value(json_object_get(condition, "type"));
		const char *status = json_string_value(json_object_get(condition, "status"));

		if (type && status && strcmp(type, "NetworkUnavailable") == 0)
			return strcmp(status, "False") == 0;
	}
	return false;
}

/* The taints but ours; NULL: ours is not among them. */
static json_t *other_taints(const json_t *node, const char *ours)
{
	const json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
	json_t *others = json_array(), *taint;
	size_t i;

	json_array_foreach(taints, i, taint) {
		const char *key = json_string_value(json_object_get(taint, "key"));

		if (!key || strcmp(key, ours) != 0)
			json_array_append(others, taint);
	}
	if (json_array_size(others) < json_array_size(taints))
		return others;
	json_decref(others);
	return NULL;
}

/* Whether the annotation has it, whenever that was written. */
static bool says_how_we_are(const struct kube_node *k, const json_t *node)
{
	const json_t *annotations = json_object_get(json_object_get(node, "metadata"), "annotations");
	const char *text = json_string_value(json_object_get(annotations, NODE_AGENT_ANNOTATION)) ?: "";
	size_t n = strlen(k->says);

	return !n || (strncmp(text, k->says, n) == 0 && strncmp(text + n, " since ", 7) == 0);
}

/* --- telling --- */

static void on_patched(void *arg, const struct kube_answer *answer)
{
	struct kube_node *k = arg;
	struct err err;

	/* Somebody else has changed the Node meanwhile (409): what it says now counts. Or there is more to tell. */
	if (!answer->json && answer->status != 409) {
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, look);
	} else if (++k->patches < PATCHES_MOST) {
		look(k);
	} else {
		k->patches = 0;
		err_set(&err, EBUSY, "somebody else keeps changing what Node %s says of its network", k->options.name);
		kube_task_failed(&k->task, &err, 0, look);
	}
}

static void patch(struct kube_node *k, const char *path, json_t *body)
{
	struct err err;
	int ret = body ? kube_task_call(&k->task, "PATCH", path, MERGE, body, on_patched, &err)
		       : err_set(&err, ENOMEM, "no memory for a patch");

	if (ret < 0)
		kube_task_failed(&k->task, &err, 0, look);
}

static void patch_condition(struct kube_node *k)
{
	char path[sizeof(k->path) + 8], now[32];

	now_text(now);
	snprintf(path, sizeof(path), "%s/status", k->path);
	patch(k, path,
	      json_pack("{s:{s:[{s:s, s:s, s:s, s:s, s:s, s:s}]}}", "status", "conditions", "type",
			"NetworkUnavailable", "status", "False", "reason", REASON, "message",
			"Warren is running on this node", "lastHeartbeatTime", now, "lastTransitionTime", now));
}

/* The list is replaced whole: only if it is still the one that was read. */
static void patch_taints(struct kube_node *k, const json_t *node, json_t *taints)
{
	const json_t *version = json_object_get(json_object_get(node, "metadata"), "resourceVersion");

	patch(k, k->path,
	      json_pack("{s:{s:s?}, s:{s:o}}", "metadata", "resourceVersion", json_string_value(version), "spec",
			"taints", taints));
}

/* How many seconds there are to wait before another annotation; 0: none, and this one is counted. */
static unsigned say_wait(struct kube_node *k)
{
	const uint64_t one = SAY_EVERY_S * NS_PER_S, now = clock_ns(CLOCK_MONOTONIC);

	k->credit_ns += now - k->credited_ns;
	k->credited_ns = now;
	if (k->credit_ns > SAY_BURST * one)
		k->credit_ns = SAY_BURST * one;
	if (k->credit_ns < one)
		return (unsigned)((one - k->credit_ns) / NS_PER_S) + 1;
	k->credit_ns -= one;
	return 0;
}

static void patch_annotation(struct kube_node *k)
{
	char text[sizeof(k->says) + 40], now[32];

	now_text(now);
	snprintf(text, sizeof(text), "%s since %s", k->says, now);
	patch(k, k->path, json_pack("{s:{s:{s:s}}}", "metadata", "annotations", NODE_AGENT_ANNOTATION, text));
}

static void on_node(void *arg, const struct kube_answer *answer)
{
	struct kube_node *k = arg;
	unsigned wait = 0;
	json_t *taints;

	if (!answer->json) {
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, look);
		return;
	}
	if (!says_available(answer->json)) {
		patch_condition(k);
		return;
	}
	taints = k->options.taint ? other_taints(answer->json, k->options.taint) : NULL;
	if (taints) {
		patch_taints(k, answer->json, taints);
		return;
	}
	if (!k->told)
		log_info("Node %s says that the network is available", k->options.name);
	k->told = true;
	if (!says_how_we_are(k, answer->json)) {
		wait = say_wait(k);
		if (!wait) {
			patch_annotation(k);
			return;
		}
	}
	k->patches = 0;
	k->saying = wait;
	kube_task_succeeded(&k->task);
	if (k->again)
		look(k);
	else
		kube_task_later(&k->task, wait ? wait : LOOK_SECONDS, look);
}

static void look(void *arg)
{
	struct kube_node *k = arg;
	struct err err;

	k->again = k->saying = false;
	if (kube_task_call(&k->task, "GET", k->path, NULL, NULL, on_node, &err) < 0)
		kube_task_failed(&k->task, &err, 0, look);
}

void kube_node_tell(struct kube_node *k)
{
	k->again = true; /* the object that a running call is about may be another one */
	k->told = false;
	if (k->task.call)
		return;
	kube_task_stop(&k->task);
	look(k);
}

void kube_node_say(struct kube_node *k, size_t wrong)
{
	char text[sizeof(k->says)];

	if (wrong)
		snprintf(text, sizeof(text), WARREN_VERSION " %zu wrong", wrong);
	else
		snprintf(text, sizeof(text), WARREN_VERSION " ok");
	if (strcmp(text, k->says) == 0)
		return;
	memcpy(k->says, text, sizeof(text));
	k->again |= k->task.call != NULL;
	if (!k->told || k->task.call || k->task.failures || k->saying)
		return;
	k->saying = true;
	kube_task_later(&k->task, SAY_SECONDS, look);
}

bool kube_node_told(const struct kube_node *k)
{
	return k->told;
}

/* --- begin and end --- */

struct kube_node *kube_node_open(struct api *api, const struct kube_node_options *options)
{
	struct kube_node *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->options = *options;
	k->task = (struct kube_task){
		.api = api, .what = WHAT, .complain = options->complain, .complain_arg = options->arg, .arg = k
	};
	snprintf(k->path, sizeof(k->path), "/api/v1/nodes/%s", options->name);
	k->credit_ns = SAY_BURST * SAY_EVERY_S * NS_PER_S;
	k->credited_ns = clock_ns(CLOCK_MONOTONIC);
	return k;
}

void kube_node_close(struct kube_node *k)
{
	if (k)
		kube_task_stop(&k->task);
	free(k);
}
