/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base64.h"
#include "cleanup.h"
#include "file.h"
#include "key.h"
#include "log.h"

#define WHAT "identity key"
#define COMPARE_SECONDS 300 /* somebody may remove the Secret, or put another one in its place */

struct kube_key {
	struct kube_task task;
	struct kube_key_options options;
	char path[640]; /* of the Secret */
	enum kube_key_state state;
	uint8_t key[POLICY_KEY_SIZE];
	uint8_t drawn[POLICY_KEY_SIZE]; /* what the Secret is made of, if nobody has made it */
	unsigned conflicts;		/* since it was there, somebody else made it so many times */
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

/* This node's key is known to be another one: it is not what the others are to get in its place. */
static void differing_is_gone(struct kube_key *k)
{
	struct err err;

	err_set(&err, ENOENT,
		"Secret %s/%s is gone, and the key in %s is not the one that it held: restart the agent of a node whose key is right, "
		"which makes it again",
		k->options.namespace, k->options.name, k->options.path);
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

static int read_secret(const struct kube_key *k, const json_t *secret, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), "key"));
	_cleanup_free_ char *data = NULL;
	size_t size;

	if (text && base64_decode(text, &data, &size) == 0 && cluster_key_parse(data, size, key) == 0)
		return 0;
	err_set(err, EINVAL, "Secret %s/%s has no \"key\" of 16 bytes or 32 hex digits", k->options.namespace, k->options.name);
	return err_hint(err, "delete it if no agent has a key yet; else restore it");
}

/* --- asking for it, making it --- */

static void on_made(void *arg, const struct kube_answer *answer)
{
	struct kube_key *k = arg;

	/* Somebody was faster; who says so again and again, and has no Secret, is asked slowly (a quota's conflict is 409, too). */
	if (answer->status == 409 && !k->conflicts++)
		ask(k);
	else if (answer->status / 100 != 2)
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, ask);
	else
		adopt(k, k->drawn);
}

/* Nothing changes it by mistake: it cannot be changed. */
static json_t *secret_json(const struct kube_key *k)
{
	_cleanup_free_ char *text = base64_encode(k->drawn, sizeof(k->drawn));

	return text ? json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}, s:s, s:b, s:{s:s}}", "apiVersion", "v1", "kind", "Secret",
				"metadata", "namespace", k->options.namespace, "name", k->options.name, "labels",
				"app.kubernetes.io/name", "warren", "type", "Opaque", "immutable", 1, "data", "key", text)
		    : NULL;
}

/* The one that this node has, if it has one: then the Secret was there before, and is missing. */
static int draw(struct kube_key *k, struct err *err)
{
	if (k->state != KUBE_KEY_AWAITED)
		memcpy(k->drawn, k->key, sizeof(k->drawn));
	else if (getrandom(k->drawn, sizeof(k->drawn), 0) != sizeof(k->drawn))
		return err_errno(err, errno, "cannot draw an identity key");
	return 0;
}

static void make(struct kube_key *k)
{
	char path[sizeof(k->path)];
	struct err err;
	int ret = draw(k, &err);

	snprintf(path, sizeof(path), "%.*s", (int)(strrchr(k->path, '/') - k->path), k->path);
	if (ret == 0) {
		json_t *secret = secret_json(k);

		ret = secret ? kube_task_call(&k->task, "POST", path, NULL, secret, on_made, &err)
			     : err_set(&err, ENOMEM, "no memory for a Secret");
	}
	if (ret < 0)
		kube_task_failed(&k->task, &err, 0, ask);
}

static void on_secret(void *arg, const struct kube_answer *answer)
{
	struct kube_key *k = arg;
	uint8_t key[POLICY_KEY_SIZE];
	struct err err;

	if (answer->status == 404 && k->state == KUBE_KEY_DIFFERS)
		differing_is_gone(k);
	else if (answer->status == 404)
		make(k);
	else if (!answer->json)
		kube_task_failed(&k->task, answer->err, answer->retry_after_s, ask);
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
