/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base64.h"
#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "key.h"
#include "log.h"
#include "objects.h"
#include "request_path.h"
#include "str.h"

#define SUBJECT "identity key"
#define COMPARE_SECONDS 300 /* the Secret may be removed, emptied, or replaced */
#define NODES_PER_PAGE 50 /* metadata only; halved while the response is too large */
#define METADATA_ONLY "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

struct kube_key {
	struct kube_task task;
	struct kube_key_options options;
	char path[640]; /* of the Secret */
	enum kube_key_state state;
	uint8_t key[POLICY_KEY_SIZE];
	bool kept; /* the file has it */
	char uid[64], version[64]; /* of the Secret when it was read empty */
	unsigned conflicts; /* patches that failed with 409 */
	unsigned page_size;
};

static void fetch_secret(void *arg);

/* --- a Secret with a key --- */

static void report_and_compare(struct kube_key *k, const struct err *err)
{
	k->task.failures = 0;
	k->task.report_problem(k->task.report_arg, SUBJECT, err);
	kube_task_later(&k->task, COMPARE_SECONDS);
}

static void report_mismatch(struct kube_key *k)
{
	struct err err;

	err_set(&err, EEXIST,
		"the key in %s is not the one of Secret %s/%s: this node and the others do not recognize each other's pods. Restore "
		"the Secret; or remove the file and restart this node's agent, after which all flows are evaluated again",
		k->options.path, k->options.namespace, k->options.name);
	k->state = KUBE_KEY_DIFFERS;
	report_and_compare(k, &err);
}

/*
 * A failure is logged only: without the copy the next start must wait for the API server. It is tried again whenever the
 * Secret is compared.
 */
static void write_copy(struct kube_key *k)
{
	char directory[FILE_PATH_MAX];
	const char *slash = strrchr(k->options.path, '/');
	struct err err;

	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - k->options.path) : 1, slash ? k->options.path : ".");
	k->kept = dir_make(directory, &err) == 0 && file_write_durable(k->options.path, k->key, sizeof(k->key), 0600, &err) == 0;
	if (!k->kept)
		log_err(LOG_WARN, &err);
}

static void adopt(struct kube_key *k, const uint8_t key[POLICY_KEY_SIZE])
{
	bool first = k->state == KUBE_KEY_AWAITED;

	k->conflicts = 0;
	if (!first && memcmp(k->key, key, sizeof(k->key)) != 0) {
		report_mismatch(k);
		return;
	}
	k->state = KUBE_KEY_SHARED;
	kube_task_succeeded(&k->task);
	kube_task_later(&k->task, COMPARE_SECONDS);
	memcpy(k->key, key, sizeof(k->key));
	if (!k->kept)
		write_copy(k);
	if (first)
		k->options.have(k->options.arg);
}

static const json_t *secret_key(const json_t *secret)
{
	return json_object_get(json_object_get(secret, "data"), "key");
}

static bool is_empty(const json_t *secret)
{
	const json_t *data = json_object_get(secret, "data"), *key = secret_key(secret);

	return (!data || json_is_null(data) || json_is_object(data)) && (!key || (json_is_string(key) && !json_string_length(key)));
}

static int parse_secret(const struct kube_key *k, const json_t *secret, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	const char *text = json_string_value(secret_key(secret));
	_cleanup_free_ char *data = NULL;
	size_t size;

	if (text && base64_decode(text, &data, &size) == 0 && cluster_key_parse(data, size, key) == 0)
		return 0;
	err_set(err, EINVAL, "Secret %s/%s has no \"key\" of 16 bytes or 32 hex digits", k->options.namespace, k->options.name);
	return err_hint(err, "restore it; or create it again without a key, and an agent that has the key writes it");
}

/* --- a Secret without a key --- */

/* This agent does not generate a new key: other nodes may still use the one that the Secret held. */
static void report_no_key(struct kube_key *k, const char *how)
{
	struct err err;

	if (k->state == KUBE_KEY_AWAITED) {
		err_set(&err, ENOENT, "Secret %s/%s %s, and this node has no copy of the key: its pods stay in quarantine. Create the "
			"Secret without a key, as in the manifest; an agent writes the key", k->options.namespace, k->options.name, how);
		kube_task_failed(&k->task, &err, 0);
		return;
	}
	if (k->state == KUBE_KEY_DIFFERS)
		err_set(&err, ENOENT, "Secret %s/%s %s, and the key in %s is not the one that it held: start the agent of a node that "
			"has the right key; it restores the Secret", k->options.namespace, k->options.name, how, k->options.path);
	else
		err_set(&err, ENOENT, "Secret %s/%s %s: this node continues with its copy of the key, new nodes get none. Create the "
			"Secret without a key, as in the manifest; an agent restores the key", k->options.namespace, k->options.name, how);
	report_and_compare(k, &err);
}

static void on_patched(void *arg, const struct kube_response *response)
{
	struct kube_key *k = arg;
	uint8_t key[POLICY_KEY_SIZE];
	struct err err;

	/* After the first conflict, read the key of the agent that was faster; after further ones, with a pause. */
	if (response->status == 409 && !k->conflicts++)
		fetch_secret(k);
	else if (!response->json)
		kube_task_failed(&k->task, response->err, response->retry_after_s);
	else if (parse_secret(k, response->json, key, &err) < 0)
		kube_task_failed(&k->task, &err, 0);
	else
		adopt(k, key);
}

/*
 * Only into the Secret that was read empty: of all agents that try, one succeeds. The Secret becomes immutable, so that
 * a token with the right to patch it cannot change the key.
 */
static void patch_secret(struct kube_key *k, const uint8_t key[POLICY_KEY_SIZE])
{
	_cleanup_free_ char *text = base64_encode(key, POLICY_KEY_SIZE);
	json_t *patch = text ? json_pack("{s:{s:s, s:s}, s:b, s:{s:s}}", "metadata", "uid", k->uid, "resourceVersion", k->version,
					 "immutable", 1, "data", "key", text)
			     : NULL;

	kube_task_call(&k->task, "PATCH", k->path, "application/merge-patch+json", patch, on_patched);
}

static void generate(struct kube_key *k)
{
	uint8_t generated[POLICY_KEY_SIZE];
	struct err err;

	if (getrandom(generated, sizeof(generated), 0) == sizeof(generated)) {
		patch_secret(k, generated);
		return;
	}
	err_errno(&err, errno, "cannot generate an identity key");
	kube_task_failed(&k->task, &err, 0);
}

/* --- whether any node has a key --- */

static void list_nodes(struct kube_key *k, const char *next);

/* The name of another Node with an agent's annotation: that agent has had a key. NULL: none. */
static const char *find_keyed_node(const struct kube_key *k, const json_t *nodes)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(nodes, "items"), i, node) {
		const json_t *metadata = json_object_get(node, "metadata");
		const char *name = json_text_at(metadata, "name");

		if (name && strcmp(name, k->options.node) != 0 &&
		    json_object_get(json_object_get(metadata, "annotations"), NODE_AGENT_ANNOTATION))
			return name;
	}
	return NULL;
}

static void on_nodes(void *arg, const struct kube_response *response)
{
	struct kube_key *k = arg;
	const char *next, *keyed;
	struct err err;

	if (!response->json) {
		if (response->err->num == EMSGSIZE && k->page_size > 1)
			k->page_size /= 2;
		kube_task_failed(&k->task, response->err, response->retry_after_s);
		return;
	}
	keyed = find_keyed_node(k, response->json);
	next = json_text_at(json_object_get(response->json, "metadata"), "continue");
	if (keyed) {
		err_set(&err, EAGAIN, "Secret %s/%s is empty, and the agent of Node %.63s has run with a key: this node waits until an "
			"agent with the key restores it. If no node has it any more: kubectl annotate nodes --all " NODE_AGENT_ANNOTATION "-",
			k->options.namespace, k->options.name, keyed);
		str_printable(err.msg);
		kube_task_failed(&k->task, &err, 0);
	} else if (next && *next) {
		list_nodes(k, next);
	} else {
		generate(k);
	}
}

static void list_nodes(struct kube_key *k, const char *next)
{
	_cleanup_free_ char *path = NULL;
	struct query q;

	query_open(&q, "/api/v1/nodes");
	query_number(&q, "limit", k->page_size);
	query_text(&q, "continue", next);
	path = query_take(&q);
	k->task.accept = METADATA_ONLY;
	kube_task_call(&k->task, "GET", path, NULL, NULL, on_nodes);
	k->task.accept = NULL;
}

/* An agent with the key restores it; one without generates a key, if no other node has had one. */
static void on_empty(struct kube_key *k, const json_t *secret)
{
	const json_t *metadata = json_object_get(secret, "metadata");
	const char *uid = json_text_at(metadata, "uid"), *version = json_text_at(metadata, "resourceVersion");
	struct err err;

	if (k->state == KUBE_KEY_DIFFERS) {
		report_no_key(k, "is empty");
	} else if (!uid || !version || !*version || !str_copy(k->uid, sizeof(k->uid), uid) ||
		   !str_copy(k->version, sizeof(k->version), version)) {
		err_set(&err, EINVAL, "Secret %s/%s has no uid or no resourceVersion", k->options.namespace, k->options.name);
		kube_task_failed(&k->task, &err, 0);
	} else if (k->state == KUBE_KEY_AWAITED) {
		list_nodes(k, NULL);
	} else {
		patch_secret(k, k->key);
	}
}

static void on_secret(void *arg, const struct kube_response *response)
{
	struct kube_key *k = arg;
	uint8_t key[POLICY_KEY_SIZE];
	struct err err;

	if (response->status == 404)
		report_no_key(k, "is missing");
	else if (!response->json)
		kube_task_failed(&k->task, response->err, response->retry_after_s);
	else if (is_empty(response->json))
		on_empty(k, response->json);
	else if (parse_secret(k, response->json, key, &err) < 0)
		kube_task_failed(&k->task, &err, 0);
	else
		adopt(k, key);
}

static void fetch_secret(void *arg)
{
	struct kube_key *k = arg;

	kube_task_call(&k->task, "GET", k->path, NULL, NULL, on_secret);
}

void kube_key_compare(struct kube_key *k)
{
	if (k->task.call)
		return;
	kube_task_stop(&k->task);
	fetch_secret(k);
}

/* --- begin and end --- */

/* A damaged copy counts as missing. */
static int read_copy(struct kube_key *k, struct err *err)
{
	int ret = cluster_key_read(k->options.path, false, k->key, err);

	k->kept = ret == 0;
	if (ret == 0)
		k->state = KUBE_KEY_CACHED;
	if (ret == -EINVAL || ret == -EFBIG)
		log_warn("%s; it will be replaced by the key of Secret %s/%s", err->msg, k->options.namespace, k->options.name);
	return ret == -ENOENT || ret == -EINVAL || ret == -EFBIG ? 0 : ret;
}

int kube_key_open(struct kube_key **out, struct api *api, const struct kube_key_options *options, struct err *err)
{
	struct kube_key *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(err, ENOMEM, "no memory");
	k->options = *options;
	k->page_size = NODES_PER_PAGE;
	k->task = (struct kube_task){ .api = api, .subject = SUBJECT, .report_problem = options->report_problem, .report_arg = options->arg, .retry = fetch_secret, .arg = k };
	snprintf(k->path, sizeof(k->path), "/api/v1/namespaces/%s/secrets/%s", options->namespace, options->name);
	ret = read_copy(k, err);
	if (ret < 0) {
		free(k);
		return ret;
	}
	fetch_secret(k);
	*out = k;
	return 0;
}

void kube_key_close(struct kube_key *k)
{
	if (k)
		kube_task_stop(&k->task);
	free(k);
}

enum kube_key_state kube_key_state(const struct kube_key *k)
{
	return k->state;
}

const char *kube_key_state_name(enum kube_key_state state)
{
	static const char *const names[] = {
		[KUBE_KEY_AWAITED] = "awaited", [KUBE_KEY_CACHED] = "cached",
		[KUBE_KEY_SHARED] = "shared",	[KUBE_KEY_DIFFERS] = "differs",
	};

	return names[state];
}

const uint8_t *kube_key(const struct kube_key *k)
{
	return k->state == KUBE_KEY_AWAITED ? NULL : k->key;
}
