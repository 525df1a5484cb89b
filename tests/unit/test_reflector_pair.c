/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two reflectors, of this node's pods and of others', against a server whose pods come, change, go and come again elsewhere, while
 * connections break, histories are compacted and etcd is restored from a backup: at the end they have reported what there is.
 */
#include <errno.h>
#include <stdio.h>

#include "../lib/seed.h"
#include "fake_api.h"
#include "reflector.h"

#define PODS 4
#define NODES 3 /* the first is ours */
#define EVENTS 4096
#define ROUNDS 3000
#define STEPS 120

/* --- the server --- */

struct pod {
	unsigned node; /* 0: there is none */
	unsigned long version;
};

struct event {
	unsigned pod, node;
	unsigned long version;
	bool gone, added;
};

static struct pod pods[PODS], backup[PODS];
static struct event events[EVENTS];
static unsigned event_count;
static unsigned long version, backup_version;
static unsigned seed;

static unsigned jitter(unsigned limit)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % limit;
}

static void add_event(unsigned pod, unsigned node, bool gone, bool added)
{
	assert_true(event_count < EVENTS);
	events[event_count++] = (struct event){ pod, node, version, gone, added };
}

static void something_happens(void)
{
	unsigned i = jitter(PODS);
	struct pod *pod = &pods[i];

	version++;
	if (!pod->node) {
		*pod = (struct pod){ 1 + jitter(NODES), version };
		add_event(i, pod->node, false, true);
	} else if (jitter(2)) {
		pod->version = version;
		add_event(i, pod->node, false, false);
	} else {
		add_event(i, pod->node, true, false);
		pod->node = 0;
	}
}

/* --- calls and answers --- */

static struct reflector_kind kinds[] = { { OBJECT_POD, "own", "/own" }, { OBJECT_POD, "others", "/others" } };
static struct reflector *reflectors[2];
static unsigned long at[2]; /* the version that a watch has reached */
static unsigned long events_since; /* the server has the events after this version */
static unsigned watches[2]; /* the number of the call whose answer has started */

static bool of(unsigned which, unsigned node)
{
	return node && (node == 1) == (which == 0);
}

static void say_object(char *to, size_t room, unsigned pod, unsigned node, unsigned long its)
{
	snprintf(to, room,
		 "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p%u\",\"resourceVersion\":\"%lu\",\"labels\":{\"v\":\"%lu\"}},"
		 "\"spec\":{\"nodeName\":\"n%u\"}}", pod, its, its, node);
}

static void say_event(struct api_call *call, const struct event *e)
{
	char object[300], text[400];

	say_object(object, sizeof(object), e->pod, e->node, e->version);
	snprintf(text, sizeof(text), "{\"type\":\"%s\",\"object\":%s}\n", e->gone ? "DELETED" : e->added ? "ADDED" : "MODIFIED", object);
	answers(call, text);
}

static void say_bookmark(struct api_call *call, bool list_end)
{
	char text[300];

	snprintf(text, sizeof(text), "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"%lu\"%s}}}\n", version,
		 list_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
	answers(call, text);
}

static void list(unsigned which, struct api_call *call, bool in_watch)
{
	char text[2048];
	int n = snprintf(text, sizeof(text), "{\"metadata\":{\"resourceVersion\":\"%lu\"},\"items\":[", version);
	bool first = true;

	for (unsigned i = 0; i < PODS; i++) {
		if (!of(which, pods[i].node))
			continue;
		if (in_watch) {
			say_event(call, &(struct event){ i, pods[i].node, pods[i].version, false, true });
			continue;
		}
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s", first ? "" : ",");
		say_object(text + n, sizeof(text) - (size_t)n, i, pods[i].node, pods[i].version);
		n += (int)strlen(text + n);
		first = false;
	}
	if (in_watch) {
		say_bookmark(call, true);
		return;
	}
	snprintf(text + n, sizeof(text) - (size_t)n, "]}");
	answers(call, text);
	if (call->used)
		ends(call);
}

/* The requested version; 0: any. */
static unsigned long requested_version(const struct api_call *call)
{
	const char *text = strstr(call->path, "resourceVersion=");

	return text ? strtoul(text + strlen("resourceVersion="), NULL, 10) : 0;
}

static struct api_call *call_of(unsigned which)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].used && strncmp(calls[i].path, kinds[which].path, strlen(kinds[which].path)) == 0)
			return &calls[i];
	}
	return NULL;
}

/* Starts the answer to a new call. */
static bool begin(unsigned which, struct api_call *call)
{
	if (watches[which] == call->number)
		return false;
	watches[which] = call->number;
	if (strstr(call->path, "resourceVersionMatch=NotOlderThan") && requested_version(call) > version) {
		refuses(call, 504, "Timeout", "too large resource version");
	} else if (strstr(call->path, "watch=true") && !strstr(call->path, "sendInitialEvents") &&
		   requested_version(call) < events_since) {
		refuses(call, 410, "Expired", "too old");
	} else if (!strstr(call->path, "watch=true")) {
		list(which, call, false);
	} else {
		at[which] = strstr(call->path, "sendInitialEvents") ? version : requested_version(call);
		answers_bytes(call, "", 0);
		if (strstr(call->path, "sendInitialEvents"))
			list(which, call, true);
	}
	return true;
}

/* The next event of a watch, if there is one. */
static bool go_on(unsigned which, struct api_call *call)
{
	for (unsigned i = 0; i < event_count; i++) {
		if (events[i].version <= at[which])
			continue;
		at[which] = events[i].version;
		if (!of(which, events[i].node))
			continue;
		say_event(call, &events[i]);
		return true;
	}
	return false;
}

static void let_time_pass(void)
{
	clock_forward(12);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		if (!timers[i].used)
			continue;
		timers[i].used = false;
		timers[i].fn(timers[i].arg);
	}
}

static void times_out(struct api_call *call)
{
	struct api_result result = answer_of(0, "", "silent");

	result.err.num = ETIMEDOUT;
	done_with(call, &result);
}

static void something_breaks(unsigned which, struct api_call *call)
{
	if (jitter(3) == 0)
		refuses(call, 410, "Expired", "too old");
	else
		refuses(call, 0, "", "connection reset");
}

static void a_step(unsigned which)
{
	struct api_call *call = call_of(which);

	if (!call || begin(which, call))
		return;
	if (jitter(12) == 0)
		something_breaks(which, call);
	else if (!go_on(which, call) && at[which] <= version && jitter(4) == 0)
		say_bookmark(call, false);
}

/* Delivers all events; a watch from a version in the future is silent. */
static void all_arrives(void)
{
	for (int turn = 0; turn < 12; turn++) {
		for (unsigned which = 0; which < 2; which++) {
			struct api_call *call;

			while ((call = call_of(which)) && (begin(which, call) || go_on(which, call)))
				;
			if (call && at[which] > version)
				times_out(call);
			else if (call)
				say_bookmark(call, false);
		}
		let_time_pass();
	}
}

static void restore(void)
{
	memcpy(pods, backup, sizeof(pods));
	version = backup_version + 1;
	event_count = 0;
	events_since = backup_version;
	for (unsigned which = 0; which < 2; which++) {
		struct api_call *call = call_of(which);

		if (call)
			refuses(call, 0, "", "connection reset");
	}
}

/* --- the receiver --- */

static struct pod reported[PODS];
static bool back_in_time;

static int on_put(void *arg, struct object *o)
{
	unsigned i = (unsigned)atoi(o->pod->name + 1);
	const unsigned long its = strtoul(labels_get(&o->pod->labels, "v"), NULL, 10);

	back_in_time |= reported[i].node && its < reported[i].version;
	reported[i] = (struct pod){ (unsigned)atoi(o->pod->node + 1), its };
	object_free(o);
	return 0;
}

static void on_remove(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	unsigned i = (unsigned)atoi(name + 1);

	assert_int_not_equal(reported[i].node, 0);
	reported[i].node = 0;
}

static void on_synced(void *arg)
{
}

static void on_problem(void *arg, const char *what, const struct err *err)
{
}

static void assert_all_reported(unsigned round)
{
	for (unsigned i = 0; i < PODS; i++) {
		if (reported[i].node != pods[i].node || (pods[i].node && reported[i].version != pods[i].version))
			fail_msg("round %u: p%u is on n%u at %lu, and was reported on n%u at %lu", round, i, pods[i].node, pods[i].version,
				 reported[i].node, reported[i].version);
	}
}

static void start(struct reflector_server *server)
{
	struct err err = { 0 };

	for (unsigned which = 0; which < 2; which++) {
		assert_ok(reflector_open(&reflectors[which], &kinds[which], server, &err));
	}
	reflector_pair(reflectors[0], reflectors[1]);
	for (unsigned which = 0; which < 2; which++)
		reflector_start(reflectors[which]);
}

static void a_round(unsigned round, bool restores)
{
	const struct object_events to = { on_put, on_remove, on_synced, on_problem, NULL };
	struct reflector_server server = { .node = "n1", .events = &to, .synced = on_synced };

	seed = (unsigned)seed_of_run() + round;
	version = 10;
	event_count = 0;
	events_since = 0;
	back_in_time = false;
	memset(pods, 0, sizeof(pods));
	memset(reported, 0, sizeof(reported));
	server.no_watch_list = jitter(2);
	start(&server);
	for (unsigned step = 0; step < STEPS; step++) {
		if (restores && step == STEPS / 3) {
			memcpy(backup, pods, sizeof(pods));
			backup_version = version;
			version += 1000; /* so much that the restored server does not reach it before that is noticed */
		}
		if (restores && step == 2 * STEPS / 3)
			restore();
		if (jitter(3) == 0)
			something_happens();
		else
			a_step(jitter(2));
		if (jitter(8) == 0)
			let_time_pass();
	}
	if (!restores)
		assert_false(back_in_time);
	all_arrives();
	assert_all_reported(round);
	for (unsigned which = 0; which < 2; which++)
		reflector_close(reflectors[which]);
	assert_false(anything_left());
}

static void pods_that_move(void **state)
{
	for (unsigned round = 1; round <= ROUNDS; round++)
		a_round(round, false);
}

static void pods_that_move_and_a_restore(void **state)
{
	for (unsigned round = 1; round <= ROUNDS; round++)
		a_round(round, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_that_move),
		cmocka_unit_test(pods_that_move_and_a_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
