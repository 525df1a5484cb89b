/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipam_state.h"

#include <errno.h>
#include <string.h>

#include "attachment.h"
#include "error.h"
#include "lock.h"
#include "paths.h"

#define STATE_LIMIT (16 * 1024 * 1024) /* bytes: more than 100,000 addresses */

static bool all_addresses(const json_t *object, bool (*value_ok)(const json_t *))
{
	json_t *value;
	const char *key;
	struct ip ip;

	json_object_foreach((json_t *)object, key, value) {
		if (ip_parse(key, &ip) < 0 || !value_ok(value))
			return false;
	}
	return true;
}

static bool is_owner(const json_t *value)
{
	return json_is_string(value);
}

static bool is_time(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool state_whole(struct ipam_state *state)
{
	state->allocations = json_object_get(state->json, "allocations");
	state->resting = json_object_get(state->json, "resting");
	state->last = json_object_get(state->json, "last");
	return json_is_object(state->allocations) && json_is_object(state->resting) && json_is_object(state->last) &&
	       all_addresses(state->allocations, is_owner) && all_addresses(state->resting, is_time);
}

struct rebuild {
	struct ipam_state *state;
	const char *network;
};

static int rebuild_one(const struct attachment *a, bool damaged, void *arg)
{
	struct rebuild *rebuild = arg;
	char key[ATTACHMENT_KEY_MAX + 1], text[IP_STRLEN];

	if (damaged || strcmp(a->network, rebuild->network) != 0 ||
	    attachment_key(a->container_id, a->ifname, key, NULL) < 0)
		return 0;
	if (a->ip4.family)
		json_object_set_new(rebuild->state->allocations, ip_format(&a->ip4, text), json_string(key));
	if (a->ip6.family)
		json_object_set_new(rebuild->state->allocations, ip_format(&a->ip6, text), json_string(key));
	return 0;
}

/*
 * A state without a file, new or lost, is built from the attachments' records: no address in use is allocated a second
 * time, and a damaged file may be moved away.
 */
static int state_new(struct ipam_state *state, const char *network, const char *boot, struct err *err)
{
	struct rebuild rebuild = { state, network };

	json_decref(state->json);
	state->json = json_pack("{s:s, s:s, s:{}, s:{}, s:{}}", "bootID", boot, "network", network, "last", "resting",
				"allocations"); /* the boot first: see boot_id_is_past() */
	if (!state->json || !state_whole(state))
		return err_errno(err, ENOMEM, "addresses of network %s", network);
	return attachment_each(rebuild_one, &rebuild, err);
}

static int state_damaged(const struct ipam_state *state, struct err *err)
{
	err_wrap(err, "the address file %s is damaged; nothing was changed", state->path);
	err_hint(err, "move it away: the addresses in use are then read from %s", WARREN_ATTACHMENT_DIR);
	cni_code(err, CNI_ERR_IO);
	return -EBADMSG;
}

int ipam_state_load(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	const char *written_in = "";
	char boot[40], past[40];
	size_t size;
	int ret = boot_id(boot, err);

	if (ret < 0)
		return ret;
	if ((size_t)snprintf(state->dir, sizeof(state->dir), "%s", conf->data_dir ? conf->data_dir : WARREN_IPAM_DIR) >=
	    sizeof(state->dir))
		return err_errno(err, ENAMETOOLONG, "dataDir");
	snprintf(state->path, sizeof(state->path), "%s/%s.json", state->dir, network);
	ret = file_read_regular(state->path, STATE_LIMIT, &text, &size, err);
	/* A directory on disk outlives the boot, the pods that had these addresses do not. */
	if (ret == -ENOENT || (ret == 0 && boot_id_is_past(text, past)))
		return state_new(state, network, boot, err);
	if (ret < 0)
		return ret == -EBADMSG ? state_damaged(state, err) : ret;
	state->json = json_parse_object(text, size, "its text", err);
	if (!state->json)
		return state_damaged(state, err);
	ret = json_get_string(state->json, "bootID", &written_in, err);
	if (ret < 0 || !state_whole(state)) {
		err_set(err, EBADMSG, "a member is missing or has the wrong type");
		return state_damaged(state, err);
	}
	/* In a file of an earlier release bootID is not the first member. */
	return strcmp(written_in, boot) == 0 ? 0 : state_new(state, network, boot, err);
}

int ipam_state_save(struct ipam_state *state, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(state->json, JSON_INDENT(1));
	int ret;

	if (!text)
		return err_errno(err, ENOMEM, "cannot write %s", state->path);
	ret = file_write(state->path, text, strlen(text), err);
	if (ret != -ENOENT)
		return ret;
	ret = dir_make(state->dir, err);
	return ret < 0 ? ret : file_write(state->path, text, strlen(text), err);
}

int ipam_state_lock(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_NETWORK, network, err);
	int ret;

	if (lock < 0)
		return lock;
	ret = ipam_state_load(state, conf, network, err);
	return ret < 0 ? ret : take_fd(&lock);
}

void ipam_state_free(struct ipam_state *state)
{
	json_decref(state->json);
}
