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
#include "query.h"
#include "str.h"

#define WHAT "identity key"
#define COMPARE_SECONDS 300 /* the Secret may be removed, emptied, or replaced */
#define NODES_EACH 50 /* in one answer, without their status: halved while that is too large */
#define METADATA_ONLY "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

struct kube_key {
	struct kube_task task;
	struct kube_key_options options;
	char path[640]; /* of the Secret */
	enum kube_key_state state;
	uint8_t key[POLICY_KEY_SIZE];
	char uid[64], version[64]; /* of the Secret, as it was read empty */
	unsigned conflicts; /* since it was there, others have changed it so many times */
	unsigned nodes_each;
};

static void ask(void *arg);

/* --- what the Secret holds --- */

static void complain_and_compare(struct kube_key *k, const struct err *err)
{
	k->task.failures = 0;
	k->task.complain(k->task.complain_arg, WHAT, err);
	kube_task_later(&k->task, COMPARE_SECONDS, ask);
}

static void differs(struct kube_key *k)
{
	struct err err;

	err_set(&err, EEXIST,
		"that of %s is not the one of Secret %s/%s: this node and the others take each other's pods for unknown ones. Put "
		"the Secret right, or remove the file and restart this node's agent, which judges all flows again",
		k->options.path, k->options.namespace, k->options.name);
	k->state = KUBE_KEY_DIFFERS;
	complain_and_compare(k, &err);
}

/* Without a copy the key is as good; only the next start has to wait for the API server. */
static void keep_copy(struct kube_key *k)
{
	char folder[FILE_PATH_MAX];
	const char *slash = strrchr(k->options.path, '/');
	struct err err;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - k->options.path) : 1, slash ? k->options.path : ".");
	if (dir_make(folder, &err) < 0 || file_write_durable(k->options.path, k->key, sizeof(k->key), 0600, &err) < 0)
		log_err(LOG_WARN, &err);
}

static void adopt(struct kube_key *k, const uint8_t key[POLICY_KEY_SIZE])
{
	bool first = k->state == KUBE_KEY_AWAITED;

	k->conflicts = 0;
	if (!first && memcmp(k->key, key, sizeof(k->key)) != 0) {
		differs(k);
		return;
	}
	k->state = KUBE_KEY_SHARED;
	kube_task_succeeded(&k->task);
	kube_task_later(&k->task, COMPARE_SECONDS, ask);
	if (!first)
		return;
	memcpy(k->key, key, sizeof(k->key));
	keep_copy(k);
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

static int read_secret(const struct kube_key *k, const json_t *secret, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	const char *text = json_string_value(secret_key(secret));
	_cleanup_free_ char *data = NULL;
	size_t size;

	if (text && base64_decode(text, &data, &size) == 0 && cluster_key_parse(data, size, key) == 0)
		return 0;
	err_set(err, EINVAL, "Secret %s/%s has no \"key\" of 16 bytes or 32 hex digits", k->options.namespace, k->options.name);
	return err_hint(err, "restore it; or make it anew without a key, which an agent that has the key puts in");
}

/* --- a Secret without a key --- */

/* Nobody makes a key in its place: other nodes may still use the one that it held. */
static void no_key_there(struct kube_key *k, const char *how)
{
	struct err err;

	if (k->state == KUBE_KEY_AWAITED) {
		err_set(&err, ENOENT, "Secret %s/%s %s, and this node has no copy of the key: its pods stay in quarantine. Make the Secret, "
			"without a key, as the manifest has it: an agent puts the key in", k->options.namespace, k->options.name, how);
		kube_task_failed(&k->task, &err, 0, ask);
		return;
	}
	if (k->state == KUBE_KEY_DIFFERS)
		err_set(&err, ENOENT, "Secret %s/%s %s, and the key in %s is not the one that it held: see to an agent of a node whose "
			"key is right, which puts it back", k->options.namespace, k->options.name, how, k->options.path);
	else
		err_set(&err, ENOENT, "Secret %s/%s %s: this node goes on with its copy of the key, new nodes have none. Make the Secret, "
			"without a key, as the manifest has it: an agent puts the key back", k->options.namespace, k->options.name, how);
	complain_and_compare(k, &err);
}

static void on_published(void *arg, const struct kube_answer *answer)
{
	struct kube_key *k = arg;
	uint8_t key[POLICY_KEY_SIZE];
	struct err err;

	/* Another agent was faster; if that is so again and again, and there is no key, it is asked slowly. */
	if (answer->status == 409 && !k->conflicts++)
		ask(k);
	else if (!answer->json)
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, ask);
	else if (read_secret(k, answer->json, key, &err) < 0)
		kube_task_failed(&k->task, &err, 0, ask);
	else
		adopt(k, key);
}

/*
 * Only into the Secret that was read empty: of all agents that try, one succeeds. Immutable from then on: no token that may
 * patch it can change the key.
 */
static void publish(struct kube_key *k, const uint8_t key[POLICY_KEY_SIZE])
{
	_cleanup_free_ char *text = base64_encode(key, POLICY_KEY_SIZE);
	json_t *patch = text ? json_pack("{s:{s:s, s:s}, s:b, s:{s:s}}", "metadata", "uid", k->uid, "resourceVersion", k->version,
					 "immutable", 1, "data", "key", text)
			     : NULL;
	struct err err;
	int ret = patch ? kube_task_call(&k->task, "PATCH", k->path, "application/merge-patch+json", patch, on_published, &err)
			: err_set(&err, ENOMEM, "no memory for a Secret");

	if (ret < 0)
		kube_task_failed(&k->task, &err, 0, ask);
}

static void draw(struct kube_key *k)
{
	uint8_t drawn[POLICY_KEY_SIZE];
	struct err err;

	if (getrandom(drawn, sizeof(drawn), 0) == sizeof(drawn)) {
		publish(k, drawn);
		return;
	}
	err_errno(&err, errno, "cannot draw an identity key");
	kube_task_failed(&k->task, &err, 0, ask);
}

/* --- whether any node has a key --- */

static void ask_nodes(struct kube_key *k, const char *next);

/* Another node whose agent has said how it is: it has had a key since. NULL: none of these. */
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

static void on_nodes(void *arg, const struct kube_answer *answer)
{
	struct kube_key *k = arg;
	const char *next, *keyed;
	struct err err;

	if (!answer->json) {
		if (answer->err->num == EMSGSIZE && k->nodes_each > 1)
			k->nodes_each /= 2;
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, ask);
		return;
	}
	keyed = find_keyed_node(k, answer->json);
	next = json_text_at(json_object_get(answer->json, "metadata"), "continue");
	if (keyed) {
		err_set(&err, EAGAIN, "Secret %s/%s is empty, and the agent of Node %.63s has run with a key: this node waits until one "
			"that has it puts it back. If none has it any more: kubectl annotate nodes --all " NODE_AGENT_ANNOTATION "-",
			k->options.namespace, k->options.name, keyed);
		str_printable(err.msg);
		kube_task_failed(&k->task, &err, 0, ask);
	} else if (next && *next) {
		ask_nodes(k, next);
	} else {
		draw(k);
	}
}

static void ask_nodes(struct kube_key *k, const char *next)
{
	_cleanup_free_ char *path = NULL;
	struct query q;
	struct err err;
	int ret;

	query_open(&q, "/api/v1/nodes");
	query_number(&q, "limit", k->nodes_each);
	query_text(&q, "continue", next);
	path = query_take(&q);
	k->task.accept = METADATA_ONLY;
	ret = path ? kube_task_call(&k->task, "GET", path, NULL, NULL, on_nodes, &err)
		   : err_set(&err, ENOMEM, "no memory for a request");
	k->task.accept = NULL;
	if (ret < 0)
		kube_task_failed(&k->task, &err, 0, ask);
}

/* Who has the key that it held puts it back; who has none makes one, if no other node has ever had one. */
static void on_empty(struct kube_key *k, const json_t *secret)
{
	const json_t *metadata = json_object_get(secret, "metadata");
	const char *uid = json_text_at(metadata, "uid"), *version = json_text_at(metadata, "resourceVersion");
	struct err err;

	if (k->state == KUBE_KEY_DIFFERS) {
		no_key_there(k, "is empty");
	} else if (!uid || !version || !*version || !str_copy(k->uid, sizeof(k->uid), uid) ||
		   !str_copy(k->version, sizeof(k->version), version)) {
		err_set(&err, EINVAL, "Secret %s/%s has no uid or no resourceVersion", k->options.namespace, k->options.name);
		kube_task_failed(&k->task, &err, 0, ask);
	} else if (k->state == KUBE_KEY_AWAITED) {
		ask_nodes(k, NULL);
	} else {
		publish(k, k->key);
	}
}

static void on_secret(void *arg, const struct kube_answer *answer)
{
	struct kube_key *k = arg;
	uint8_t key[POLICY_KEY_SIZE];
	struct err err;

	if (answer->status == 404)
		no_key_there(k, "is missing");
	else if (!answer->json)
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, ask);
	else if (is_empty(answer->json))
		on_empty(k, answer->json);
	else if (read_secret(k, answer->json, key, &err) < 0)
		kube_task_failed(&k->task, &err, 0, ask);
	else
		adopt(k, key);
}

static void ask(void *arg)
{
	struct kube_key *k = arg;
	struct err err;

	if (kube_task_call(&k->task, "GET", k->path, NULL, NULL, on_secret, &err) < 0)
		kube_task_failed(&k->task, &err, 0, ask);
}

void kube_key_compare(struct kube_key *k)
{
	if (k->task.call)
		return;
	kube_task_stop(&k->task);
	ask(k);
}

/* --- begin and end --- */

/* One that was damaged is as good as none: the Secret has it. */
static int read_copy(struct kube_key *k, struct err *err)
{
	int ret = cluster_key_read(k->options.path, false, k->key, err);

	if (ret == 0)
		k->state = KUBE_KEY_CACHED;
	if (ret == -EINVAL || ret == -EFBIG)
		log_warn("%s; that of Secret %s/%s will take its place", err->msg, k->options.namespace, k->options.name);
	return ret == -ENOENT || ret == -EINVAL || ret == -EFBIG ? 0 : ret;
}

int kube_key_open(struct kube_key **out, struct api *api, const struct kube_key_options *options, struct err *err)
{
	struct kube_key *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(err, ENOMEM, "no memory");
	k->options = *options;
	k->nodes_each = NODES_EACH;
	k->task = (struct kube_task){ .api = api, .what = WHAT, .complain = options->complain, .complain_arg = options->arg, .arg = k };
	snprintf(k->path, sizeof(k->path), "/api/v1/namespaces/%s/secrets/%s", options->namespace, options->name);
	ret = read_copy(k, err);
	if (ret < 0) {
		free(k);
		return ret;
	}
	ask(k);
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
