/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's single requests to the API server: the cluster's key, its own Node, Events. */
#include <errno.h>
#include <sys/stat.h>

#include "array.h"
#include "base64.h"
#include "cleanup.h"
#include "fake_api.h"
#include "file.h"
#include "json.h"
#include "kube_events.h"
#include "kube_key.h"
#include "kube_node.h"
#include "paths.h"
#include "private_run.h"
#include "rig.h"

#define COPY WARREN_RUN_DIR "/state/cluster.key"
#define KEY_TEXT "0123456789abcdef"
#define KEY_BASE64 "MDEyMzQ1Njc4OWFiY2RlZg=="
#define OTHER_BASE64 "ZmVkY2JhOTg3NjU0MzIxMA=="

static int setup(void **state)
{
	return private_run("size=4m");
}

static char problem[600];
static unsigned had;

static int fresh(void **state)
{
	problem[0] = '\0';
	had = 0;
	memset(calls, 0, sizeof(calls));
	memset(timers, 0, sizeof(timers));
	return private_run_again("size=4m");
}

static void on_problem(void *arg, const char *what, const struct err *err)
{
	snprintf(problem, sizeof(problem), "%s: %s", what, err ? err->msg : "");
	if (!err)
		problem[0] = '\0';
}

static void on_key(void *arg)
{
	had++;
}

/* The only open call: its method and path, and the response. */
static struct api_call *only(const char *method, const char *path)
{
	struct api_call *call = asked("");

	assert_string_equal(call->request.method, method);
	assert_string_equal(call->path, path);
	return call;
}

static void answer(struct api_call *call, const char *text)
{
	answers(call, text);
	ends(call);
}

static void refuse(struct api_call *call, int status)
{
	refuses(call, status, "", "no");
}

/* --- the key --- */

#define SECRETS "/api/v1/namespaces/kube-system/secrets"
#define SECRET SECRETS "/warren-identity"
#define NODES "/api/v1/nodes?limit=50"
/* As the manifest has it. */
#define EMPTY "{\"metadata\": {\"uid\": \"u1\", \"resourceVersion\": \"42\"}, \"type\": \"Opaque\"}"
#define FULL(key) "{\"metadata\": {\"uid\": \"u1\", \"resourceVersion\": \"43\"}, \"data\": {\"key\": \"" key "\"}}"
#define NODE_NAMED(name, annotation) "{\"metadata\": {\"name\": \"" name "\", \"annotations\": {\"" annotation "\": \"0.1.0 ok since T\"}}}"
#define KEYED(name) NODE_NAMED(name, "warren.dev/agent")
#define KEYLESS(name) NODE_NAMED(name, "else")

static struct kube_key *open_key(void)
{
	const struct kube_key_options options = { "kube-system", "warren-identity", COPY, "n1", on_problem, on_key, NULL };
	struct kube_key *k = NULL;
	struct err err;

	if (kube_key_open(&k, NULL, &options, &err) < 0)
		fail_msg("%s", err.msg);
	return k;
}

static void close_key(struct kube_key *k)
{
	kube_key_close(k);
	assert_false(anything_left());
}

static void assert_copy(const void *key)
{
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t size;

	assert_int_equal(file_read(COPY, 100, &data, &size, NULL), 0);
	assert_int_equal(size, POLICY_KEY_SIZE);
	assert_memory_equal(data, key, size);
	assert_int_equal(stat(COPY, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void put_copy(const char *text)
{
	assert_int_equal(dir_make(WARREN_RUN_DIR "/state", NULL), 0);
	assert_int_equal(file_write(COPY, text, strlen(text), NULL), 0);
}

static void a_key_is_read(void **state)
{
	struct kube_key *k = open_key();

	assert_int_equal(kube_key_state(k), KUBE_KEY_AWAITED);
	assert_null(kube_key(k));
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	assert_int_equal(had, 1);
	assert_copy(KEY_TEXT);
	close_key(k);

	/* The next start has the cached key at once, and does not report it as new. */
	k = open_key();
	assert_int_equal(kube_key_state(k), KUBE_KEY_CACHED);
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	assert_int_equal(had, 1);
	close_key(k);
}

/* 32 hex digits, as an administrator may have put them there by hand. */
static void a_key_in_hex_digits(void **state)
{
	struct kube_key *k = open_key();

	answer(only("GET", SECRET), "{\"data\": {\"key\": \"MzAzMTMyMzMzNDM1MzYzNzM4Mzk2MTYyNjM2NDY1NjYK\"}}");
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	close_key(k);
}

/* The body of the only call, which must be a patch of the Secret that was read. */
static json_t *patched(struct api_call *call)
{
	json_t *patch = json_parse_object(call->body, strlen(call->body), "body", NULL);
	const json_t *metadata = json_object_get(patch, "metadata");

	assert_string_equal(call->request.content_type, "application/merge-patch+json");
	assert_string_equal(json_text_at(metadata, "uid"), "u1");
	assert_string_equal(json_text_at(metadata, "resourceVersion"), "42");
	assert_true(json_is_true(json_object_get(patch, "immutable")));
	return patch;
}

static void the_first_agent_draws_it(void **state)
{
	struct kube_key *k = open_key();
	_cleanup_free_ char *data = NULL;
	json_auto_t *patch = NULL;
	char body[200];
	const char *text;
	size_t size;

	answer(only("GET", SECRET), EMPTY);
	assert_non_null(strstr(asked("")->request.accept, "PartialObjectMetadataList"));
	answer(only("GET", NODES), "{\"metadata\": {\"continue\": \"more\"}, \"items\": [" KEYED("n1") ", " KEYLESS("n2") "]}");
	answer(only("GET", NODES "&continue=more"), "{\"items\": [{}, 7, {\"metadata\": {\"name\": \"n3\"}}]}");
	patch = patched(only("PATCH", SECRET));
	text = json_text_at(json_object_get(patch, "data"), "key");
	assert_int_equal(base64_decode(text, &data, &size), 0);
	assert_int_equal(size, POLICY_KEY_SIZE);
	assert_null(kube_key(k)); /* it is not used before the API server has it */
	snprintf(body, sizeof(body), "{\"data\": {\"key\": \"%s\"}}", text);
	answer(only("PATCH", SECRET), body);
	assert_memory_equal(kube_key(k), data, POLICY_KEY_SIZE);
	assert_copy(data);
	assert_int_equal(had, 1);
	close_key(k);
}

static void another_agent_was_faster(void **state)
{
	struct kube_key *k = open_key();

	answer(only("GET", SECRET), EMPTY);
	answer(only("GET", NODES), "{\"items\": []}");
	refuse(only("PATCH", SECRET), 409);
	assert_null(kube_key(k));
	answer(only("GET", SECRET), FULL(KEY_BASE64));
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	close_key(k);
}

/* The key in the Secret counts, not the one that was drawn. */
static void the_answer_has_another_key(void **state)
{
	struct kube_key *k = open_key();

	answer(only("GET", SECRET), EMPTY);
	answer(only("GET", NODES), "{\"items\": []}");
	answer(only("PATCH", SECRET), FULL(OTHER_BASE64));
	assert_copy("fedcba9876543210");
	close_key(k);
}

/* A deleted Secret does not get a new key: other agents continue with the old one. */
static void no_second_key(void **state)
{
	static const char *const empty[] = {
		EMPTY,
		"{\"metadata\": {\"uid\": \"u1\", \"resourceVersion\": \"42\"}, \"data\": null}",
		"{\"metadata\": {\"uid\": \"u1\", \"resourceVersion\": \"42\"}, \"data\": {\"key\": \"\"}}",
	};
	struct kube_key *k = open_key();

	refuse(only("GET", SECRET), 404);
	assert_int_equal(calls_open(), 0);
	assert_null(kube_key(k));
	assert_non_null(strstr(problem, "Secret kube-system/warren-identity is missing, and this node has no copy of the key"));
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		waited();
		answer(only("GET", SECRET), empty[i]);
		answer(only("GET", NODES), "{\"items\": [" KEYED("n1") ", " KEYED("n2") "]}");
		assert_int_equal(calls_open(), 0);
		assert_null(kube_key(k));
		assert_non_null(strstr(problem, "the agent of Node n2 has run with a key: this node waits"));
	}
	waited();
	answer(only("GET", SECRET), FULL(KEY_BASE64));
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	assert_string_equal(problem, "");
	close_key(k);
}

/* No new key either while not all nodes can be listed. */
static void nodes_that_cannot_be_listed(void **state)
{
	static char piece[100000];
	struct kube_key *k = open_key();

	answer(only("GET", SECRET), EMPTY);
	refuse(only("GET", NODES), 403);
	assert_string_equal(problem, "identity key: no");
	waited();
	answer(only("GET", SECRET), EMPTY);
	answer(only("GET", NODES), "{\"metadata\": {\"continue\": \"a b\"}, \"items\": []}");
	refuse(only("GET", NODES "&continue=a%20b"), 410);
	waited();
	answer(only("GET", SECRET), EMPTY);
	memset(piece, ' ', sizeof(piece) - 1);
	for (int i = 0; i < 11 && calls_open(); i++)
		answers(only("GET", NODES), piece);
	assert_int_equal(calls_open(), 0);
	waited();
	answer(only("GET", SECRET), EMPTY);
	only("GET", "/api/v1/nodes?limit=25");
	assert_null(kube_key(k));
	close_key(k);
}

/* Failures are reported and retried with backoff, and never lead to a key that is not the Secret's. */
static void failures_are_retried(void **state)
{
	static const struct {
		int status;
		const char *body, *problem;
	} rows[] = {
		{ 403, NULL, "identity key: no" },
		{ 0, NULL, "identity key: no" },
		{ 200, "{\"data\": {}}", "Secret kube-system/warren-identity has no uid or no resourceVersion" },
		{ 200, "{\"data\": {\"key\": \"QUJD\"}}", "Secret kube-system/warren-identity has no \"key\" of 16 bytes or 32 hex digits" },
		{ 200, "{\"data\": {\"key\": \"?\"}}", "has no \"key\" of 16" },
		{ 200, "{\"data\": {\"key\": 7}}", "has no \"key\" of 16" },
		{ 200, "[]", "the API server's answer" },
		{ 200, "{", "the API server's answer" },
	};
	struct kube_key *k = open_key();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct api_call *call = only("GET", SECRET);
		unsigned ms, least = i < 5 ? 500u << i : 15000;

		if (rows[i].body)
			answer(call, rows[i].body);
		else
			refuse(call, rows[i].status);
		assert_non_null(strstr(problem, rows[i].problem));
		assert_null(kube_key(k));
		assert_int_equal(calls_open(), 0);
		ms = waited();
		assert_in_range(ms, least, 3 * least);
	}
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_string_equal(problem, "");
	assert_int_equal(had, 1);
	close_key(k);
}

static void an_answer_without_an_end(void **state)
{
	static char piece[100000];
	struct kube_key *k = open_key();
	struct api_call *call = only("GET", SECRET);

	memset(piece, ' ', sizeof(piece) - 1);
	for (int i = 0; i < 11 && call->used; i++)
		answers(call, piece);
	assert_false(call->used);
	assert_null(kube_key(k));
	close_key(k);
}

/* The cached key stays in use: the Secret's would change the identities of all pods of this node. */
static void another_key(void **state)
{
	struct kube_key *k;

	put_copy(KEY_TEXT);
	k = open_key();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" OTHER_BASE64 "\"}}");
	assert_int_equal(kube_key_state(k), KUBE_KEY_DIFFERS);
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	assert_copy(KEY_TEXT);
	assert_non_null(strstr(problem, "is not the one of Secret kube-system/warren-identity"));
	assert_int_equal(had, 0);
	waited();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	assert_string_equal(problem, "");
	close_key(k);
}

/* An agent whose key differs from the Secret's does not restore it. */
static void a_secret_that_differed_is_gone(void **state)
{
	struct kube_key *k;

	put_copy(KEY_TEXT);
	k = open_key();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" OTHER_BASE64 "\"}}");
	waited();
	refuse(only("GET", SECRET), 404);
	assert_int_equal(calls_open(), 0);
	assert_int_equal(kube_key_state(k), KUBE_KEY_DIFFERS);
	assert_non_null(strstr(problem, "Secret kube-system/warren-identity is missing, and the key in"));
	waited();
	answer(only("GET", SECRET), EMPTY);
	assert_int_equal(calls_open(), 0);
	assert_non_null(strstr(problem, "Secret kube-system/warren-identity is empty, and the key in"));
	waited();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	assert_string_equal(problem, "");
	close_key(k);
}

/* A Secret that is deleted later is reported, an emptied one gets its key again, a replaced one is reported. */
static void a_shared_key_is_monitored(void **state)
{
	struct kube_key *k = open_key();
	json_auto_t *patch = NULL;

	answer(only("GET", SECRET), FULL(KEY_BASE64));
	assert_in_range(waited(), 150000, 450000);
	refuse(only("GET", SECRET), 404);
	assert_int_equal(calls_open(), 0);
	assert_non_null(strstr(problem, "Secret kube-system/warren-identity is missing: this node continues with its copy of the key"));
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	assert_in_range(waited(), 150000, 450000);
	answer(only("GET", SECRET), EMPTY);
	patch = patched(only("PATCH", SECRET));
	assert_string_equal(json_text_at(json_object_get(patch, "data"), "key"), KEY_BASE64);
	answer(only("PATCH", SECRET), FULL(KEY_BASE64));
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	assert_string_equal(problem, "");
	waited();
	answer(only("GET", SECRET), FULL(OTHER_BASE64));
	assert_int_equal(kube_key_state(k), KUBE_KEY_DIFFERS);
	assert_memory_equal(kube_key(k), KEY_TEXT, POLICY_KEY_SIZE);
	assert_int_equal(had, 1);
	close_key(k);
}

/* Each response leads to the other request; between them is a pause all the same. */
static void there_and_not_there(void **state)
{
	struct kube_key *k = open_key();

	for (int i = 0; i < 2; i++) {
		answer(only("GET", SECRET), EMPTY);
		answer(only("GET", NODES), "{}");
		refuse(only("PATCH", SECRET), 409);
	}
	assert_int_equal(calls_open(), 0);
	assert_string_equal(problem, "identity key: no");
	waited();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_string_equal(problem, "");
	close_key(k);
}

/* ... by a node that has not seen the Secret since it started. */
static void an_emptied_secret_gets_the_same_key(void **state)
{
	struct kube_key *k;

	put_copy(KEY_TEXT);
	k = open_key();
	answer(only("GET", SECRET), EMPTY);
	assert_non_null(strstr(only("PATCH", SECRET)->body, KEY_BASE64));
	answer(only("PATCH", SECRET), FULL(KEY_BASE64));
	assert_int_equal(kube_key_state(k), KUBE_KEY_SHARED);
	kube_key_compare(k);
	kube_key_compare(k);
	only("GET", SECRET);
	close_key(k);
}

static void a_damaged_copy(void **state)
{
	struct kube_key *k;

	put_copy("short");
	k = open_key();
	assert_null(kube_key(k));
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_copy(KEY_TEXT);
	close_key(k);
}

static void no_memory_for_a_call(void **state)
{
	struct kube_key *k;

	start_failures = 1;
	k = open_key();
	assert_non_null(strstr(problem, "no memory"));
	waited();
	answer(only("GET", SECRET), "{\"data\": {\"key\": \"" KEY_BASE64 "\"}}");
	assert_int_equal(had, 1);
	close_key(k);
}

/* --- the own Node --- */

#define NODE "/api/v1/nodes/n1"
#define TAINT "warren.dev/agent-not-ready"
#define UP "\"status\": {\"conditions\": [{\"type\": \"Ready\", \"status\": \"True\"}, {\"type\": \"NetworkUnavailable\", \"status\": \"False\"}]}"
#define DOWN "\"status\": {\"conditions\": [{\"type\": \"NetworkUnavailable\", \"status\": \"True\"}]}"
#define TAINTED "\"metadata\": {\"resourceVersion\": \"42\"}, \"spec\": {\"taints\": [{\"key\": \"a\"}, {\"key\": \"" TAINT "\", \"effect\": \"NoSchedule\"}]}"

static struct kube_node *open_node(const char *taint)
{
	struct kube_node *k = kube_node_open(NULL, &(struct kube_node_options){ "n1", taint, on_problem, NULL });

	assert_non_null(k);
	assert_int_equal(calls_open(), 0);
	kube_node_sync(k);
	return k;
}

static void close_node(struct kube_node *k)
{
	kube_node_close(k);
	assert_false(anything_left());
}

static void a_node_condition_is_set(void **state)
{
	struct kube_node *k = open_node(TAINT);
	json_auto_t *patch = NULL, *expected = NULL;
	const json_t *condition;
	struct api_call *call;

	answer(only("GET", NODE), "{" DOWN ", " TAINTED "}");
	call = only("PATCH", NODE "/status");
	assert_string_equal(call->request.content_type, "application/strategic-merge-patch+json");
	patch = json_parse_object(call->body, strlen(call->body), "patch", NULL);
	condition = json_array_get(json_object_get(json_object_get(patch, "status"), "conditions"), 0);
	assert_string_equal(json_text_at(condition, "type"), "NetworkUnavailable");
	assert_string_equal(json_text_at(condition, "status"), "False");
	assert_string_equal(json_text_at(condition, "reason"), "WarrenIsUp");
	answer(call, "{}");

	/* Taints are in the Node's spec, not its status; they are patched only if the Node is unchanged. */
	answer(only("GET", NODE), "{" UP ", " TAINTED "}");
	call = only("PATCH", NODE);
	json_decref(patch);
	patch = json_parse_object(call->body, strlen(call->body), "patch", NULL);
	expected = json_pack("{s:{s:s}, s:{s:[{s:s}]}}", "metadata", "resourceVersion", "42", "spec", "taints", "key", "a");
	assert_true(json_equal(patch, expected));
	refuse(call, 409); /* it was another one */
	assert_false(kube_node_synced(k));
	answer(only("GET", NODE), "{" UP ", " TAINTED "}");
	answer(only("PATCH", NODE), "{}");
	answer(only("GET", NODE), "{" UP "}");
	assert_true(kube_node_synced(k));
	assert_string_equal(problem, "");

	/* Another controller takes it back. */
	waited();
	answer(only("GET", NODE), "{" DOWN "}");
	only("PATCH", NODE "/status");
	close_node(k);
}

static void no_taint(void **state)
{
	struct kube_node *k = open_node(NULL);

	answer(only("GET", NODE), "{" UP ", " TAINTED "}");
	assert_true(kube_node_synced(k));
	close_node(k);
}

#define SAYS(text) "{" UP ", \"metadata\": {\"annotations\": {\"warren.dev/agent\": \"" text "\"}}}"

/* Checks the annotation, but for the time. */
static void expect_annotation(struct api_call *call, const char *text)
{
	json_auto_t *patch = json_parse_object(call->body, strlen(call->body), "patch", NULL);
	const json_t *annotations = json_object_get(json_object_get(patch, "metadata"), "annotations");
	char beginning[80];

	snprintf(beginning, sizeof(beginning), WARREN_VERSION " %s since 2", text);
	assert_int_equal(json_object_size(patch), 1);
	assert_ptr_equal(strstr(json_text_at(annotations, "warren.dev/agent"), beginning),
			 json_text_at(annotations, "warren.dev/agent"));
}

static void annotation_shows_health(void **state)
{
	struct kube_node *k = open_node(TAINT);
	struct api_call *call;

	/* Not before condition and taint are set; and it makes no difference to those. */
	kube_node_report(k, 0);
	answer(only("GET", NODE), "{" UP ", " TAINTED "}");
	answer(only("PATCH", NODE), "{}");
	answer(only("GET", NODE), "{" UP "}");
	assert_true(kube_node_synced(k));
	call = only("PATCH", NODE);
	expect_annotation(call, "ok");
	refuse(call, 403);
	assert_string_equal(problem, "own Node: no");
	assert_true(kube_node_synced(k));
	/* ... which counts: it is retried with the state of then. */
	kube_node_report(k, 1);
	waited();
	answer(only("GET", NODE), "{" UP "}");
	call = only("PATCH", NODE);
	expect_annotation(call, "1 wrong");
	kube_node_report(k, 2);
	answer(call, "{}");
	answer(only("GET", NODE), SAYS(WARREN_VERSION " 1 wrong since 2026-01-02T03:04:05Z"));
	call = only("PATCH", NODE);
	expect_annotation(call, "2 wrong");
	answer(call, "{}");
	answer(only("GET", NODE), SAYS(WARREN_VERSION " 2 wrong since 2026-01-02T03:04:05Z"));
	assert_string_equal(problem, "");

	/* Problems that come and go are not reported; those that last are. An annotation that is right already is not written. */
	kube_node_report(k, 0);
	kube_node_report(k, 2);
	assert_int_equal(calls_open(), 0);
	waited();
	answer(only("GET", NODE), SAYS(WARREN_VERSION " 2 wrong since 2026-01-02T03:04:05Z"));
	assert_int_equal(calls_open(), 0);
	kube_node_report(k, 0);
	waited();
	answer(only("GET", NODE), SAYS(WARREN_VERSION " 2 wrong since 2026-01-02T03:04:05Z"));
	expect_annotation(only("PATCH", NODE), "ok");
	close_node(k);
}

/* Answers all calls, and returns how many patches there were. `said`: the annotation before and after. */
static unsigned answer_all(char said[80])
{
	unsigned patches = 0;

	while (calls_open()) {
		struct api_call *call = asked("");
		char body[300];

		if (strcmp(call->request.method, "PATCH") == 0) {
			json_auto_t *patch = json_parse_object(call->body, strlen(call->body), "patch", NULL);

			snprintf(said, 80, "%s", json_text_at(json_object_get(json_object_get(patch, "metadata"), "annotations"),
							      "warren.dev/agent"));
			patches++;
			answer(call, "{}");
			continue;
		}
		snprintf(body, sizeof(body), "{" UP ", \"metadata\": {\"annotations\": {\"warren.dev/agent\": \"%s\"}}}", said);
		answer(call, body);
	}
	return patches;
}

/* A change every ten seconds for an hour. */
static void annotation_is_rate_limited(void **state)
{
	struct kube_node *k = open_node(NULL);
	char said[80] = WARREN_VERSION " ok since 2026-01-02T03:04:05Z";
	unsigned patches = answer_all(said);

	for (unsigned i = 0; i < 360; i++) {
		kube_node_report(k, 1 + i % 2);
		clock_forward(10);
		waited();
		patches += answer_all(said);
	}
	assert_in_range(patches, 30, 65);
	assert_string_equal(problem, "");
	close_node(k);
}

static void a_new_node_gets_the_condition_again(void **state)
{
	struct kube_node *k = open_node(TAINT);

	kube_node_sync(k); /* while a call is open, which may be for the old Node */
	answer(only("GET", NODE), "{" UP "}");
	answer(only("GET", NODE), "{" UP "}");
	assert_true(kube_node_synced(k));
	kube_node_sync(k);
	assert_false(kube_node_synced(k));
	answer(only("GET", NODE), "{" DOWN "}");
	only("PATCH", NODE "/status");
	close_node(k);
}

static void refused_and_quarrelled_with(void **state)
{
	struct kube_node *k = open_node(TAINT);

	refuse(only("GET", NODE), 404);
	assert_string_equal(problem, "own Node: no");
	waited();
	answer(only("GET", NODE), "{" DOWN "}");
	refuse(only("PATCH", NODE "/status"), 403);
	assert_int_equal(calls_open(), 0);
	waited();
	/* Another controller that always sets the contrary. */
	for (int i = 0; i < 6; i++) {
		answer(only("GET", NODE), "{" DOWN "}");
		answer(only("PATCH", NODE "/status"), "{}");
	}
	assert_int_equal(calls_open(), 0);
	assert_string_equal(problem, "own Node: another program keeps reverting the network condition or the taints of Node n1");
	waited();
	answer(only("GET", NODE), "{" UP "}");
	assert_string_equal(problem, "");
	close_node(k);
}

/* --- Events --- */

static struct kube_event of_pod(const char *name, const char *reason)
{
	return (struct kube_event){ "Pod", "shop", name, "uid-1", reason, "because" };
}

static void events(void **state)
{
	struct kube_events *e = kube_events_open(NULL, "n1");
	struct kube_event event = of_pod("web", "Odd");
	json_auto_t *json = NULL;
	const json_t *about;
	struct api_call *call;

	kube_events_send(e, &event);
	call = only("POST", "/api/v1/namespaces/shop/events");
	json = json_parse_object(call->body, strlen(call->body), "event", NULL);
	about = json_object_get(json, "involvedObject");
	assert_string_equal(json_text_at(about, "kind"), "Pod");
	assert_string_equal(json_text_at(about, "uid"), "uid-1");
	assert_string_equal(json_text_at(json, "type"), "Warning");
	assert_string_equal(json_text_at(json, "reason"), "Odd");
	assert_string_equal(json_text_at(json, "message"), "because");
	/* The same event is not sent again, another one is, in turn; a failed one is dropped. */
	kube_events_send(e, &event);
	event.reason = "Even";
	kube_events_send(e, &event);
	refuse(call, 403);
	answer(only("POST", "/api/v1/namespaces/shop/events"), "{}");
	assert_int_equal(calls_open(), 0);
	clock_forward(601);
	kube_events_send(e, &event);
	answer(only("POST", "/api/v1/namespaces/shop/events"), "{}");
	kube_events_send(e, &(struct kube_event){ "Node", NULL, "n1", NULL, "Odd", "because" });
	assert_non_null(strstr(only("POST", "/api/v1/namespaces/default/events")->body, "\"uid\":\"n1\""));
	kube_events_send(e, &(struct kube_event){ "Node", NULL, "n2", NULL, "Odd", "because" }); /* waits */
	kube_events_close(e);
	assert_false(anything_left());
}

static void no_flood_of_events(void **state)
{
	struct kube_events *e = kube_events_open(NULL, "n1");
	unsigned sent = 0;
	char name[20];

	for (int i = 0; i < 100; i++) {
		struct kube_event event = of_pod(name, "Odd");

		snprintf(name, sizeof(name), "web-%d", i);
		kube_events_send(e, &event);
		if (calls_open()) {
			answer(asked("events"), "{}");
			sent++;
		}
	}
	assert_int_equal(sent, 10);
	clock_forward(25);
	for (int i = 100; i < 110; i++) {
		struct kube_event event = of_pod(name, "Odd");

		snprintf(name, sizeof(name), "web-%d", i);
		kube_events_send(e, &event);
	}
	for (; calls_open(); sent++)
		answer(asked("events"), "{}");
	assert_int_equal(sent, 12);
	kube_events_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_key_is_read, fresh),
		cmocka_unit_test_setup(a_key_in_hex_digits, fresh),
		cmocka_unit_test_setup(the_first_agent_draws_it, fresh),
		cmocka_unit_test_setup(another_agent_was_faster, fresh),
		cmocka_unit_test_setup(the_answer_has_another_key, fresh),
		cmocka_unit_test_setup(no_second_key, fresh),
		cmocka_unit_test_setup(nodes_that_cannot_be_listed, fresh),
		cmocka_unit_test_setup(failures_are_retried, fresh),
		cmocka_unit_test_setup(an_answer_without_an_end, fresh),
		cmocka_unit_test_setup(another_key, fresh),
		cmocka_unit_test_setup(a_secret_that_differed_is_gone, fresh),
		cmocka_unit_test_setup(a_shared_key_is_monitored, fresh),
		cmocka_unit_test_setup(there_and_not_there, fresh),
		cmocka_unit_test_setup(an_emptied_secret_gets_the_same_key, fresh),
		cmocka_unit_test_setup(a_damaged_copy, fresh),
		cmocka_unit_test_setup(no_memory_for_a_call, fresh),
		cmocka_unit_test_setup(a_node_condition_is_set, fresh),
		cmocka_unit_test_setup(no_taint, fresh),
		cmocka_unit_test_setup(annotation_shows_health, fresh),
		cmocka_unit_test_setup(annotation_is_rate_limited, fresh),
		cmocka_unit_test_setup(a_new_node_gets_the_condition_again, fresh),
		cmocka_unit_test_setup(refused_and_quarrelled_with, fresh),
		cmocka_unit_test_setup(events, fresh),
		cmocka_unit_test_setup(no_flood_of_events, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
