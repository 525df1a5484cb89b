/* SPDX-License-Identifier: BSD-2-Clause */
/* Each transition between list and watch, against scripted answers. */
#include "reflector_rig.h"

static const struct reflector_kind namespaces = { OBJECT_NAMESPACE, "Namespaces", "/api/v1/namespaces" };

static int setup(void **state)
{
	struct rig *rig = rig_open();
	struct err err = { 0 };

	assert_ok(reflector_open(&rig->r, &namespaces, &rig->server, &err));
	*state = rig;
	return 0;
}

/* The server has no watch-list: the objects are listed. */
static int setup_listing(void **state)
{
	struct rig *rig;

	setup(state);
	rig = *state;
	rig->server.no_watch_list = true;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* The open list call, whatever its parameters. */
static struct api_call *asked_list(void)
{
	struct api_call *call = asked("");

	assert_null(strstr(call->path, "watch=true"));
	return call;
}

/* ... from the cache, none older than that. */
static struct api_call *asked_not_older(const char *version)
{
	struct api_call *call = asked_list();
	char query[100];

	snprintf(query, sizeof(query), "?resourceVersion=%s&resourceVersionMatch=NotOlderThan", version);
	assert_string_equal(strchr(call->path, '?'), query);
	return call;
}

/* ... from etcd, the first chunk. */
static struct api_call *asked_etcd(void)
{
	struct api_call *call = asked_list();

	assert_string_equal(strchr(call->path, '?'), "?limit=500");
	return call;
}

/* Up to the watch that follows a list with `a` and `b`. */
static void begin_watching(struct rig *rig)
{
	reflector_start(rig->r);
	answers(asked_list(), LIST(10, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	asked("watch=true");
	events_are(rig, "+ " IS("a") "+ " IS("b") "synced\n");
}

/* --- watch-list --- */

static void watch_list_continues_as_watch(void **state)
{
	struct rig *rig = *state;
	struct api_call *call;

	reflector_start(rig->r);
	call = asked("/api/v1/namespaces?");
	assert_non_null(strstr(call->path, "watch=true"));
	assert_non_null(strstr(call->path, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
	assert_non_null(strstr(call->path, "allowWatchBookmarks=true"));
	assert_null(strstr(call->path, "&resourceVersion="));
	assert_int_equal(call->request.idle_timeout_s, 130);
	answers(call, ADDED(3, "a") ADDED(4, "b") BOOKMARK(5));
	events_are(rig, "+ " IS("a") "+ " IS("b"));
	assert_false(reflector_synced(rig->r));
	answers(call, LIST_END(10));
	events_are(rig, "synced\n");
	answers(call, MODIFIED(11, "a", "x") DELETED(12, "b") ADDED(13, "c"));
	events_are(rig, "+ " IS_LABELLED("a", "x") "- Namespace b\n+ " IS("c"));
	answers(call, BOOKMARK(20));
	clock_forward(300);
	ends(call);
	assert_non_null(strstr(asked("watch=true")->path, "&resourceVersion=20"));
	assert_null(strstr(asked("watch=true")->path, "sendInitialEvents"));
	events_are(rig, "");
}

static void watch_list_that_breaks_begins_again_by_difference(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked("sendInitialEvents"), ADDED(3, "a") ADDED(4, "b"));
	ends(asked("sendInitialEvents"));
	events_are(rig, "+ " IS("a") "+ " IS("b") "! Namespaces: the watch ended before the end of its initial list\n");
	assert_in_range(waited(), 800, 1200);
	answers(asked("sendInitialEvents"), ADDED(4, "b") ADDED(5, "c") LIST_END(10));
	events_are(rig, "+ " IS("c") "- Namespace a\nok Namespaces\nsynced\n");
}

static void server_without_watch_list(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	refuses(asked("sendInitialEvents"), 422, "Invalid", "sendInitialEvents: Forbidden");
	answers(asked_list(), LIST(10, OBJECT(3, "a", "")));
	ends(asked_list());
	events_are(rig, "+ " IS("a") "synced\n");
	refuses(asked("&resourceVersion=10"), 410, "Expired", "too old");
	asked_not_older("10"); /* no second watch-list */
	assert_true(rig->server.no_watch_list);
}

/* A refused watch or list does not switch to the other kind of call. */
static void forbidden_is_a_failure(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	refuses(asked("sendInitialEvents"), 403, "Forbidden", "not for you");
	events_are(rig, "! Namespaces: not for you\n");
	waited();
	asked("sendInitialEvents");
	assert_false(rig->server.no_watch_list);
}

/* --- lists --- */

static void lists_in_chunks(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	assert_string_equal(asked_list()->path, "/api/v1/namespaces?limit=500&resourceVersion=0");
	answers(asked_list(), CHUNK(10, "to/ken+=", OBJECT(3, "a", "")));
	events_are(rig, "+ " IS("a"));
	ends(asked_list());
	assert_string_equal(asked_list()->path, "/api/v1/namespaces?limit=500&continue=to%2Fken%2B%3D");
	answers(asked_list(), LIST(10, OBJECT(4, "b", "")));
	ends(asked("continue="));
	events_are(rig, "+ " IS("b") "synced\n");
	asked("watch=true&allowWatchBookmarks=true");
	asked("&resourceVersion=10");
}

static void continue_token_that_expired_begins_again(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked_list(), CHUNK(10, "t", OBJECT(3, "a", "")));
	ends(asked_list());
	refuses(asked("continue=t"), 410, "Expired", "the token has expired");
	answers(asked_etcd(), LIST(12, OBJECT(11, "b", "")));
	ends(asked_list());
	events_are(rig, "+ " IS("a") "+ " IS("b") "- Namespace a\nsynced\n");
}

static void list_that_ends_too_early(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	refuses(asked("watch=true"), 410, "Expired", "too old");
	answers(asked_list(), "{\"metadata\":{\"resourceVersion\":\"12\"},\"items\":[" OBJECT(3, "a", ""));
	ends(asked_list());
	events_are(rig, "! Namespaces: the response ended before the end of the list\n"); /* b is not gone */
	waited();
	answers(asked_list(), LIST(13, OBJECT(3, "a", "")));
	ends(asked_list());
	events_are(rig, "- Namespace b\nok Namespaces\n");
}

static void list_of_nothing(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), DELETED(11, "b"));
	refuses(asked("watch=true"), 410, "Expired", "too old");
	answers(asked_list(), "{\"metadata\":{\"resourceVersion\":\"12\"},\"items\":null}");
	ends(asked_list());
	events_are(rig, "- Namespace b\n- Namespace a\n");
	asked("&resourceVersion=12");
}

static void list_without_version(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked_list(), "{\"items\":[" OBJECT(3, "a", "") "]}");
	events_are(rig, "! Namespaces: a list without a resourceVersion\n");
	waited();
	asked_list();
}

/* --- never back in time --- */

static void older_list_is_not_accepted(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), ADDED(15, "c"));
	refuses(asked("watch=true"), 410, "Expired", "too old");
	events_are(rig, "+ " IS("c"));
	answers(asked_not_older("15"), LIST(14, OBJECT(3, "a", "")));
	events_are(rig, "! Namespaces: the list is of version 14, older than 15, which was received before\n");
	waited();
	answers(asked_etcd(), LIST(15, OBJECT(3, "a", "") "," OBJECT(15, "c", "")));
	ends(asked_list());
	events_are(rig, "- Namespace b\nok Namespaces\n");
}

static void watch_list_requests_no_older_version(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked("sendInitialEvents"), ADDED(3, "a") LIST_END(10));
	refuses(asked("sendInitialEvents"), 410, "Expired", "too old");
	answers(asked("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=10"), LIST_END(9));
	events_are(rig, "+ " IS("a") "synced\n! Namespaces: the list is of version 9, older than 10, which was received before\n");
}

static void times_out(struct api_call *call)
{
	struct api_result result = answer_of(0, "", "silent");

	result.err.num = ETIMEDOUT;
	done_with(call, &result);
}

/* No event and no bookmark reaches the requested version: the only sign of a server that went back in time. */
static void two_silent_watches(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	for (int i = 0; i < 3; i++) {
		answers_bytes(asked("&resourceVersion="), "", 0);
		times_out(asked("&resourceVersion="));
		if (i < 2)
			waited();
		if (i == 0)
			answers(asked("&resourceVersion=10"), BOOKMARK(12)); /* the silence was the network's */
	}
	events_are(rig, "! Namespaces: silent\nok Namespaces\n! Namespaces: silent\nok Namespaces\n");
	answers(asked_etcd(), LIST(13, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	asked("&resourceVersion=13");
}

/* Up to a list that is refused because its version is older than one seen before. */
static void begin_doubting(struct rig *rig)
{
	begin_watching(rig);
	answers(asked("watch=true"), ADDED(99, "c"));
	ends(asked("watch=true"));
	waited();
	for (int i = 0; i < 2; i++) {
		answers_bytes(asked("&resourceVersion=99"), "", 0);
		times_out(asked("&resourceVersion=99"));
		if (i == 0)
			waited();
	}
	answers(asked_etcd(), LIST(33, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	events_are(rig, "+ " IS("c") "! Namespaces: silent\nok Namespaces\n! Namespaces: the list is of version 33, older than 99, which was received before\n");
}

/* What was reported after the backup was made will not come back: a list from etcd itself that shows so twice is accepted. */
static void etcd_restored_from_a_backup(void **state)
{
	struct rig *rig = *state;

	begin_doubting(rig);
	waited();
	answers(asked_etcd(), LIST(34, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	events_are(rig, "! Namespaces: the list is of version 34, older than 99, which was received before\n");
	clock_forward(11);
	waited();
	answers(asked_etcd(), CHUNK(35, "t", OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	answers(asked("continue=t"), LIST(35, OBJECT(34, "d", "")));
	ends(asked("continue=t"));
	events_are(rig, "+ " IS("d") "- Namespace c\nok Namespaces\n");
	answers(asked("&resourceVersion=35"), MODIFIED(36, "a", "x") BOOKMARK(40));
	events_are(rig, "+ " IS_LABELLED("a", "x"));
	clock_forward(300);
	ends(asked("watch=true"));
	asked("&resourceVersion=40");
}

static void server_that_catches_up(void **state)
{
	struct rig *rig = *state;

	begin_doubting(rig);
	clock_forward(11);
	waited();
	answers(asked_etcd(), LIST(32, "")); /* a third one, older still */
	events_are(rig, "! Namespaces: the list is of version 32, older than 99, which was received before\n");
	waited();
	answers(asked_etcd(), LIST(100, OBJECT(3, "a", "") "," OBJECT(4, "b", "") "," OBJECT(99, "c", "")));
	ends(asked_list());
	events_are(rig, "ok Namespaces\n");
	asked("&resourceVersion=100");
}

static void event_older_than_its_watch(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), MODIFIED(9, "a", "x"));
	events_are(rig, "");
	answers(asked_list(), LIST(11, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	clock_forward(61);
	answers(asked("&resourceVersion=11"), BOOKMARK(10));
	asked_list();
}

/* The server waits a while for its etcd to reach the requested version, then returns 504. */
static void watch_list_that_is_too_young(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked("sendInitialEvents"), ADDED(3, "a") LIST_END(10));
	refuses(asked("sendInitialEvents"), 410, "Expired", "too old");
	refuses(asked("sendInitialEvents"), 504, "Timeout", "Too large resource version");
	events_are(rig, "+ " IS("a") "synced\n! Namespaces: Too large resource version\n");
	waited();
	answers(asked_etcd(), LIST(11, OBJECT(3, "a", "")));
	ends(asked_list());
	events_are(rig, "ok Namespaces\n");
	refuses(asked("&resourceVersion=11"), 410, "Expired", "too old");
	clock_forward(61);
	if (calls_open() == 0)
		waited();
	asked("sendInitialEvents"); /* the next call is normal again */
}

/* A list is refused the same way. */
static void list_that_is_too_young(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	refuses(asked("watch=true"), 410, "Expired", "too old");
	refuses(asked_not_older("10"), 504, "Timeout", "Too large resource version");
	events_are(rig, "! Namespaces: Too large resource version\n");
	waited();
	answers(asked_etcd(), LIST(11, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	events_are(rig, "ok Namespaces\n");
	refuses(asked("&resourceVersion=11"), 410, "Expired", "too old");
	clock_forward(61);
	if (calls_open() == 0)
		waited();
	asked_not_older("11"); /* the next call is normal again */
}

/* --- 410 --- */

static void gone_as_status(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	refuses(asked("watch=true"), 410, "Expired", "too old");
	answers(asked_list(), LIST(12, OBJECT(4, "b", "") "," OBJECT(11, "c", "")));
	events_are(rig, "+ " IS("c")); /* while the list is being made nothing is removed */
	ends(asked_list());
	events_are(rig, "- Namespace a\n");
	asked("&resourceVersion=12");
}

static void gone_as_event(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), ERROR_EVENT(410, "Expired"));
	answers(asked_list(), LIST(12, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	events_are(rig, "");
}

static void gone_again_and_again_waits(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), ERROR_EVENT(410, "Gone"));
	refuses(asked_not_older("10"), 410, "Expired", "gone");
	events_are(rig, "! Namespaces: gone\n");
	assert_in_range(waited(), 800, 1200);
	asked_etcd(); /* from etcd, since the cache lacks the version */
}

static void other_errors_resume(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), BOOKMARK(11) ERROR_EVENT(500, "InternalError"));
	events_are(rig, "! Namespaces: the server ended the watch: no (500)\n");
	waited();
	answers(asked("&resourceVersion=11"), BOOKMARK(12));
	events_are(rig, "ok Namespaces\n");
}

/* Some kinds have no event for hours, so the start of an answer must be enough. */
static void a_started_answer_resolves_the_problem(void **state)
{
	struct kube_watch_counts watch;
	struct rig *rig = *state;

	begin_watching(rig);
	refuses(asked("watch=true"), 0, "", "connection reset");
	waited();
	events_are(rig, "! Namespaces: connection reset\n");
	answers_bytes(asked("&resourceVersion=10"), "", 0);
	events_are(rig, "ok Namespaces\n");
	reflector_watch(rig->r, &watch);
	assert_true(watch.connected);
}

static void removed_while_listed(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	answers(asked("sendInitialEvents"), ADDED(3, "a") ADDED(4, "b") DELETED(5, "a") MODIFIED(6, "b", "x") LIST_END(7));
	events_are(rig, "+ " IS("a") "+ " IS("b") "- Namespace a\n+ " IS_LABELLED("b", "x") "synced\n");
}

/* --- breaking and waiting --- */

static void waits_longer_each_time(void **state)
{
	static const unsigned floors[] = { 800, 1600, 3200, 6400, 12800, 22500, 22500, 22500 };
	struct rig *rig = *state;

	reflector_start(rig->r);
	for (size_t i = 0; i < ARRAY_SIZE(floors); i++) {
		unsigned ceiling = floors[i] == 22500 ? 30000 : floors[i] * 3 / 2;

		refuses(asked_list(), 0, "", "connection refused");
		assert_in_range(waited(), floors[i], ceiling);
	}
	events_are(rig, "! Namespaces: connection refused\n");
	answers(asked_list(), LIST(10, ""));
	ends(asked_list());
	events_are(rig, "ok Namespaces\nsynced\n");
	answers(asked("watch=true"), BOOKMARK(11));
	refuses(asked("watch=true"), 0, "", "connection reset");
	assert_in_range(waited(), 22500, 30000); /* too short to reset the backoff */
	answers(asked("watch=true"), BOOKMARK(12));
	clock_forward(61);
	refuses(asked("watch=true"), 0, "", "connection reset");
	assert_in_range(waited(), 800, 1200);
	asked("&resourceVersion=12");
}

static void retry_after_is_respected(void **state)
{
	struct rig *rig = *state;
	struct api_result result = answer_of(429, "TooManyRequests", "later");

	result.retry_after_s = 17;
	reflector_start(rig->r);
	done_with(asked_list(), &result);
	assert_in_range(waited(), 17000, 17000 * 5 / 4);
	result.retry_after_s = 1000000;
	done_with(asked_list(), &result);
	assert_in_range(waited(), 300000, 300000 * 5 / 4);
	asked_list();
}

static void watch_that_ends_at_once_waits(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	ends(asked("watch=true"));
	assert_in_range(waited(), 800, 1200);
	answers(asked("&resourceVersion=10"), ADDED(12, "c"));
	clock_forward(6);
	ends(asked("watch=true"));
	events_are(rig, "+ " IS("c"));
	asked("&resourceVersion=12");
}

static void call_that_cannot_be_begun(void **state)
{
	struct rig *rig = *state;

	start_failures = 1;
	reflector_start(rig->r);
	events_are(rig, "! Namespaces: no memory for a call\n");
	waited();
	answers(asked_list(), LIST(10, ""));
	ends(asked_list());
	events_are(rig, "ok Namespaces\nsynced\n");
	start_failures = 1;
	clock_forward(1);
	refuses(asked("watch=true"), 410, "Expired", "too old");
	waited();
	asked_list();
}

static void garbage_ends_the_connection(void **state)
{
	static const struct {
		const char *text, *problem;
	} rows[] = {
		{ "<html>", "not JSON of the API: '<' where an object is expected" },
		{ "\x01", "not JSON of the API: byte 0x1 where an object is expected" },
		{ "[]", "not JSON of the API: '[' where an object is expected" },
		{ "{}", "not an event of a watch: a document without type or object" },
		{ "{\"type\":\"ADDED\"}", "not an event of a watch: a document without type or object" },
		{ "{\"type\":\"ADDED\",\"object\":7}", "not an event of a watch: a document without type or object" },
		{ "{\"type\":\"ADDED\",\"object\":{}}", "an event whose object has no resourceVersion" },
	};
	struct rig *rig = *state;

	begin_watching(rig);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char line[256];

		answers(asked("&resourceVersion="), rows[i].text);
		snprintf(line, sizeof(line), "! Namespaces: %s\n", rows[i].problem);
		events_are(rig, i == 4 || i == 5 ? "" : line); /* the same again */
		waited();
	}
	answers(asked("&resourceVersion=10"), ADDED(11, "c"));
	events_are(rig, "+ " IS("c") "ok Namespaces\n");
}

/* --- encodings --- */

static void server_without_protobuf(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	assert_string_equal(asked_list()->request.accept, "application/vnd.kubernetes.protobuf,application/json");
	refuses(asked_list(), 406, "NotAcceptable", "only the following media types are accepted: application/json");
	assert_string_equal(asked_list()->request.accept, "application/json");
	answers(asked_list(), LIST(10, OBJECT(3, "a", "")));
	ends(asked_list());
	assert_string_equal(asked("watch=true")->request.accept, "application/json");
	refuses(asked("watch=true"), 415, "UnsupportedMediaType", "no");
	events_are(rig, "+ " IS("a") "synced\n! Namespaces: no\n"); /* nor JSON */
}

/* A frame of this size contains no event, and the next bytes are no frame. */
static void protobuf_that_cannot_be_decoded(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers_bytes(asked("watch=true"), "\0\0\0\2\x0a\x05", 6);
	events_are(rig, "! Namespaces, not readable: an event: cannot be decoded: parent stream too short\n");
	answers_bytes(asked("watch=true"), "\xff\xff\xff\xff", 4);
	events_are(rig, "! Namespaces: not protobuf of the API: an event of more than 256 MiB\n");
	waited();
	assert_string_equal(asked("&resourceVersion=10")->request.accept, "application/json");
}

static void protobuf_gives_the_events_of_json(void **state)
{
	static const char event[] = "\x00\x00\x00\x2b\x0a\x05\x41\x44\x44\x45\x44\x12\x22\x0a\x20\x6b\x38\x73\x00\x0a\x0f\x0a\x02"
				    "\x76\x31\x12\x09\x4e\x61\x6d\x65\x73\x70\x61\x63\x65\x12\x09\x0a\x07\x0a\x01\x63\x32\x02\x31\x31";
	struct rig *rig = *state;

	begin_watching(rig);
	for (size_t i = 0; i < sizeof(event) - 1; i++)
		answers_bytes(asked("watch=true"), &event[i], 1);
	events_are(rig, "+ " IS("c"));
}

/* --- objects that cannot be decoded or stored --- */

static void objects_refused_for_memory_are_listed_again(void **state)
{
	struct rig *rig = *state;

	reflector_start(rig->r);
	rig->refusals = 1;
	answers(asked_list(), LIST(10, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	events_are(rig, "refused " IS("a") "! Namespaces: cannot store an object: Cannot allocate memory\n");
	waited();
	answers(asked_list(), LIST(10, OBJECT(3, "a", "") "," OBJECT(4, "b", "")));
	ends(asked_list());
	events_are(rig, "+ " IS("a") "+ " IS("b") "ok Namespaces\nsynced\n");
	rig->refusals = 1;
	answers(asked("watch=true"), ADDED(11, "c") MODIFIED(12, "a", "x"));
	waited();
	answers(asked("&resourceVersion=10"), ADDED(11, "c") MODIFIED(12, "a", "x"));
	events_are(rig, "refused " IS("c") "! Namespaces: cannot store an object: Cannot allocate memory\n"
		  "+ " IS("c") "ok Namespaces\n+ " IS_LABELLED("a", "x"));
}

static void invalid_object_stays_as_it_was(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), MODIFIED(11, "a", "not valid") ADDED(12, "c"));
	events_are(rig, "! Namespace a: Namespace a: metadata.labels.l: \"not valid\": a label's value must be empty or at most 63 letters, "
		  "digits, -, _ and ., with a letter or digit at both ends\n+ " IS("c"));
	refuses(asked("watch=true"), 410, "Expired", "too old");
	answers(asked_list(), LIST(13, OBJECT(11, "a", ",\"labels\":{\"l\":7}") "," OBJECT(12, "c", "")));
	ends(asked_list());
	events_are(rig, "! Namespace a: Namespace a: metadata.labels.l: must be a string (in quotes, if it looks like a number or a boolean)\n"
		  "- Namespace b\n");
	answers(asked("watch=true"), MODIFIED(14, "a", "y"));
	events_are(rig, "ok Namespace a\n+ " IS_LABELLED("a", "y"));
	answers(asked("watch=true"), MODIFIED(15, "a", "?") DELETED(16, "a"));
	events_are(rig, "! Namespace a: Namespace a: metadata.labels.l: \"?\": a label's value must be empty or at most 63 letters, "
		  "digits, -, _ and ., with a letter or digit at both ends\nok Namespace a\n- Namespace a\n");
}

/* An unreadable item might be any object: no object is removed because it is missing in that list. */
static void unreadable_item_keeps_the_other_objects(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	refuses(asked("watch=true"), 410, "Expired", "too old");
	answers(asked_list(), LIST(12, OBJECT(3, "a", "") ",{\"x\":nil},{\"metadata\":{\"name\":\"\"}}"));
	ends(asked_list());
	events_are(rig, "! Namespaces, not readable: an item: cannot be parsed: invalid token near 'nil'\n"
		  "! Namespaces, not readable: an object without a valid name\n");
	answers(asked("&resourceVersion=12"), BOOKMARK(13));
	clock_forward(31);
	answers(asked("&resourceVersion=12"), BOOKMARK(14)); /* then all are listed again */
	answers(asked_list(), LIST(14, OBJECT(3, "a", "")));
	ends(asked_list());
	events_are(rig, "- Namespace b\nok Namespaces, not readable\n");
	answers(asked("&resourceVersion=14"), BOOKMARK(15));
	clock_forward(3600);
	answers(asked("&resourceVersion=14"), BOOKMARK(16)); /* and not once more */
	asked("&resourceVersion=14");
}

static void unreadable_event_lists_again(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), "{\"type\":}" ADDED(12, "c"));
	events_are(rig, "! Namespaces, not readable: an event: cannot be parsed: unexpected token near '}'\n+ " IS("c"));
	answers(asked("watch=true"), EVENT("RENAMED", 13, "a", ""));
	events_are(rig, "! Namespaces, not readable: an event of the unknown type \"RENAMED\"\n");
	clock_forward(31);
	answers(asked("watch=true"), BOOKMARK(14));
	answers(asked_list(), LIST(15, OBJECT(3, "a", "") "," OBJECT(12, "c", "")));
	ends(asked_list());
	events_are(rig, "- Namespace b\nok Namespaces, not readable\n");
}

static void huge_object_is_skipped(void **state)
{
	static char text[(5 << 20) + 64];
	struct rig *rig = *state;

	begin_watching(rig);
	memset(text, 'x', sizeof(text) - 1);
	answers(asked("watch=true"), "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"");
	for (size_t at = 0; at < 5 << 20; at += 1 << 14)
		answers_bytes(asked("watch=true"), text + at, 1 << 14);
	events_are(rig, "");
	answers(asked("watch=true"), "\"}}}" ADDED(12, "c"));
	events_are(rig, "! Namespaces, not readable: an event: 5242930 bytes exceed the limit of 4194304 for an object\n+ " IS("c"));
}

/* managedFields are half of many objects, not needed, and may be nested more deeply than the parser allows. */
static void managed_fields_are_cut_out(void **state)
{
	static char deep[20001];
	struct rig *rig = *state;

	begin_watching(rig);
	memset(deep, '[', 10000);
	memset(deep + 10000, ']', 10000);
	answers(asked("watch=true"), "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"managedFields\":");
	answers(asked("watch=true"), deep);
	answers(asked("watch=true"), ",\"resourceVersion\":\"11\"}}}");
	events_are(rig, "+ " IS("c"));
}

static void annotations_may_hold_anything(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), EVENT("ADDED", 11, "c", ",\"annotations\":{\"a\":\"\\u0000\\\\\\\"}{][\"}"));
	events_are(rig, "+ " IS("c"));
}

/* --- the rest --- */

static void unknown_fields_are_ignored(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), "{\"type\":\"ADDED\",\"new\":1,\"object\":{\"items\":[{}],\"new\":{\"a\":[]},\"metadata\":"
				     "{\"new\":[1],\"name\":\"c\",\"resourceVersion\":\"11\"}}}");
	events_are(rig, "+ " IS("c"));
}

static void comes_in_single_bytes(void **state)
{
	static const char list[] = CHUNK(10, "t", OBJECT(3, "a", "") " , " OBJECT(4, "b", ",\"labels\":{\"l\":\"\\\"]}\"}"));
	static const char events[] = "\n" ADDED(11, "c") "\r\n" ADDED(12, "d");
	struct rig *rig = *state;

	reflector_start(rig->r);
	for (size_t i = 0; i < strlen(list); i++)
		answers_bytes(asked_list(), &list[i], 1);
	ends(asked_list());
	answers(asked("continue=t"), LIST(10, ""));
	ends(asked("continue=t"));
	events_are(rig, "+ " IS("a") "! Namespace b: Namespace b: metadata.labels.l: \"\"]}\": a label's value must be empty or at most 63 letters, "
		  "digits, -, _ and ., with a letter or digit at both ends\nsynced\n");
	for (size_t i = 0; i < strlen(events); i++)
		answers_bytes(asked("watch=true"), &events[i], 1);
	events_are(rig, "+ " IS("c") "+ " IS("d"));
}

static void stops_and_starts(void **state)
{
	struct rig *rig = *state;

	begin_watching(rig);
	answers(asked("watch=true"), DELETED(11, "b"));
	reflector_stop(rig->r);
	events_are(rig, "- Namespace b\n- Namespace a\n");
	assert_false(anything_left());
	assert_false(reflector_synced(rig->r));
	reflector_start(rig->r);
	answers(asked_list(), LIST(10, OBJECT(3, "a", "")));
	events_are(rig, "! Namespaces: the list is of version 10, older than 11, which was received before\n");
	waited();
	answers(asked_list(), LIST(11, OBJECT(3, "a", "")));
	ends(asked_list());
	events_are(rig, "+ " IS("a") "ok Namespaces\nsynced\n");
}

static void counts(void **state)
{
	struct kube_watch_counts watch;
	struct rig *rig = *state;

	begin_watching(rig);
	reflector_watch(rig->r, &watch);
	assert_false(watch.connected);
	answers(asked("watch=true"), ADDED(11, "c"));
	reflector_watch(rig->r, &watch);
	assert_string_equal(watch.kind, "Namespaces");
	assert_string_equal(watch.problem, "");
	assert_true(watch.connected && watch.synced);
	assert_int_equal(watch.objects, 3);
	assert_int_equal(watch.lists, 1);
	assert_int_equal(watch.watches, 1);
	assert_int_equal(watch.events, 1);
	assert_int_equal(watch.failures, 0);
	assert_true(watch.bytes > 150);
	refuses(asked("watch=true"), 0, "", "connection reset");
	reflector_watch(rig->r, &watch);
	assert_string_equal(watch.problem, "connection reset");
	assert_false(watch.connected);
	assert_int_equal(watch.failures, 1);
}

#define WATCH_LIST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define CHUNKS(test) cmocka_unit_test_setup_teardown(test, setup_listing, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WATCH_LIST(watch_list_continues_as_watch),
		WATCH_LIST(watch_list_that_breaks_begins_again_by_difference),
		WATCH_LIST(server_without_watch_list),
		WATCH_LIST(forbidden_is_a_failure),
		WATCH_LIST(watch_list_requests_no_older_version),
		WATCH_LIST(watch_list_that_is_too_young),
		WATCH_LIST(removed_while_listed),
		CHUNKS(lists_in_chunks),
		CHUNKS(continue_token_that_expired_begins_again),
		CHUNKS(list_that_ends_too_early),
		CHUNKS(list_of_nothing),
		CHUNKS(list_without_version),
		CHUNKS(older_list_is_not_accepted),
		CHUNKS(list_that_is_too_young),
		CHUNKS(two_silent_watches),
		CHUNKS(etcd_restored_from_a_backup),
		CHUNKS(server_that_catches_up),
		CHUNKS(event_older_than_its_watch),
		CHUNKS(gone_as_status),
		CHUNKS(gone_as_event),
		CHUNKS(gone_again_and_again_waits),
		CHUNKS(other_errors_resume),
		CHUNKS(a_started_answer_resolves_the_problem),
		CHUNKS(waits_longer_each_time),
		CHUNKS(retry_after_is_respected),
		CHUNKS(watch_that_ends_at_once_waits),
		CHUNKS(call_that_cannot_be_begun),
		CHUNKS(garbage_ends_the_connection),
		CHUNKS(server_without_protobuf),
		CHUNKS(protobuf_that_cannot_be_decoded),
		CHUNKS(protobuf_gives_the_events_of_json),
		CHUNKS(objects_refused_for_memory_are_listed_again),
		CHUNKS(invalid_object_stays_as_it_was),
		CHUNKS(unreadable_item_keeps_the_other_objects),
		CHUNKS(unreadable_event_lists_again),
		CHUNKS(huge_object_is_skipped),
		CHUNKS(managed_fields_are_cut_out),
		CHUNKS(annotations_may_hold_anything),
		CHUNKS(unknown_fields_are_ignored),
		CHUNKS(comes_in_single_bytes),
		CHUNKS(stops_and_starts),
		CHUNKS(counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
