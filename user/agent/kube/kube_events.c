/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_events.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "kube_task.h"
#include "log.h"
#include "siphash.h"

#define QUEUE 16
#define SENT 64	    /* remembered */
#define BURST 10
#define EVERY_S 10  /* between Events after the burst */
#define SAME_S 600  /* until the same may be sent again */

struct sent {
	uint64_t hash, ns;
};

struct queued {
	char *path;
	json_t *json;
};

struct kube_events {
	struct kube_task task;
	const char *node_name;
	uint8_t key[SIPHASH_KEY_SIZE];
	struct queued queue[QUEUE];
	size_t first, count;
	struct sent sent[SENT];
	size_t next;
	struct kube_rate rate;
};

/* --- rate limit --- */

static uint64_t event_hash(const struct kube_events *e, const struct kube_event *event)
{
	struct siphash h;

	siphash_begin(&h, e->key);
	siphash_string(&h, event->kind);
	siphash_string(&h, event->namespace ?: "");
	siphash_string(&h, event->name);
	siphash_string(&h, event->uid ?: "");
	siphash_string(&h, event->reason);
	return siphash_end(&h);
}

static bool sent_lately(const struct kube_events *e, uint64_t hash, uint64_t now)
{
	for (size_t i = 0; i < SENT; i++) {
		if (e->sent[i].ns && e->sent[i].hash == hash && now - e->sent[i].ns < SAME_S * NS_PER_S)
			return true;
	}
	return false;
}

static bool allowed(struct kube_events *e, const struct kube_event *event)
{
	const uint64_t now = clock_ns(CLOCK_MONOTONIC), hash = event_hash(e, event);

	if (sent_lately(e, hash, now) || kube_rate_wait_s(&e->rate, BURST, EVERY_S))
		return false;
	e->sent[e->next++ % SENT] = (struct sent){ hash, now };
	return true;
}

/* --- sending --- */

static void send_next(struct kube_events *e);

static void on_sent(void *arg, const struct kube_response *response)
{
	if (!response->json)
		log_warn("cannot send an Event: %s", response->err->msg);
	send_next(arg);
}

static void send_next(struct kube_events *e)
{
	while (e->count && !e->task.call) {
		struct queued q = e->queue[e->first];

		e->first = (e->first + 1) % QUEUE;
		e->count--;
		kube_task_call(&e->task, "POST", q.path, NULL, q.json, on_sent);
		free(q.path);
	}
}

/* core/v1, as kubelets of all releases write. */
static json_t *event_json(const struct kube_events *e, const struct kube_event *event)
{
	const char *namespace = event->namespace ?: "default";
	char when[KUBE_TIME_STRLEN];

	kube_time(when);
	return json_pack(
	    "{s:s, s:s, s:{s:s, s:o}, s:{s:s, s:s, s:s?, s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:i, s:{s:s, s:s}, "
	    "s:s, s:s}",
	    "apiVersion", "v1", "kind", "Event", "metadata", "namespace", namespace, "generateName",
	    json_sprintf("%s.", event->name), "involvedObject", "apiVersion", "v1", "kind", event->kind, "namespace",
	    event->namespace, "name", event->name, "uid", event->uid ?: event->name, "type", "Warning", "reason",
	    event->reason, "message", event->message, "firstTimestamp", when, "lastTimestamp", when, "count", 1,
	    "source", "component", "warren-agent", "host", e->node_name, "reportingComponent", "warren-agent",
	    "reportingInstance", e->node_name);
}

void kube_events_send(struct kube_events *e, const struct kube_event *event)
{
	struct queued q = { 0 };

	if (e->count == QUEUE || !allowed(e, event))
		return;
	q.json = event_json(e, event);
	if (!q.json || asprintf(&q.path, "/api/v1/namespaces/%s/events", event->namespace ?: "default") < 0) {
		json_decref(q.json);
		return;
	}
	e->queue[(e->first + e->count++) % QUEUE] = q;
	send_next(e);
}

/* --- begin and end --- */

struct kube_events *kube_events_open(struct api *api, const char *node_name)
{
	struct kube_events *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->task = (struct kube_task){ .api = api, .arg = e };
	e->node_name = node_name;
	if (getrandom(e->key, sizeof(e->key), 0) == sizeof(e->key))
		return e;
	free(e);
	return NULL;
}

void kube_events_close(struct kube_events *e)
{
	if (!e)
		return;
	kube_task_stop(&e->task);
	for (; e->count; e->count--, e->first = (e->first + 1) % QUEUE) {
		free(e->queue[e->first].path);
		json_decref(e->queue[e->first].json);
	}
	free(e);
}
