/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipam.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "array.h"
#include "attachment.h"
#include "cleanup.h"
#include "clock.h"
#include "error.h"
#include "file.h"
#include "lock.h"
#include "paths.h"

static int64_t now_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_BOOTTIME) / NS_PER_MS); /* includes suspend, during which peers' caches expire too */
}

static const char *family_key(int family)
{
	return family == AF_INET ? "4" : "6";
}

/* --- the file --- */

/* A network's state as it is in its file. */
struct ipam_state {
	char dir[FILE_PATH_MAX / 2], path[FILE_PATH_MAX];
	json_t *json;
	json_t *allocations; /* address -> owner; this and those below are borrowed from json */
	json_t *resting;     /* address -> when it was freed: milliseconds of CLOCK_BOOTTIME */
	json_t *last;	     /* family ("4", "6") -> the address allocated last */
};

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

/* Loads the state read-only, without the lock. -EBADMSG: the file is damaged. */
static int state_load(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err)
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

static int state_save(struct ipam_state *state, struct err *err)
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

/* Loads the state under LOCK_NETWORK. Returns the lock's fd. */
static int state_lock(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_NETWORK, network, err);
	int ret;

	if (lock < 0)
		return lock;
	ret = state_load(state, conf, network, err);
	return ret < 0 ? ret : take_fd(&lock);
}

static void state_free(struct ipam_state *state)
{
	json_decref(state->json);
}
#define _cleanup_ipam_state_ _cleanup_(state_free)

/* --- choosing --- */

static bool is_resting(const struct ipam_state *state, const struct ipam_conf *conf, const char *address, int64_t now)
{
	const json_t *freed = json_object_get(state->resting, address);

	return freed && json_integer_value(freed) <= now && now - json_integer_value(freed) < conf->rest * 1000LL;
}

/* An address comes after every prefix that begins at or before it. */
static int start_cmp(const void *ip, const void *prefix)
{
	return ip_cmp(&((const struct prefix *)prefix)->ip, ip) <= 0 ? 1 : -1;
}

/* The exclusion that contains the address, or NULL: the last one that begins at or before it. */
static const struct prefix *excluded(const struct ipam_conf *conf, const struct ip *ip)
{
	const size_t next =
	    array_lower_bound(ip, conf->exclude, conf->exclude_count, sizeof(*conf->exclude), start_cmp);

	return next && prefix_contains(&conf->exclude[next - 1], ip) ? &conf->exclude[next - 1] : NULL;
}

static bool is_gateway(const struct range_set *set, const struct ip *ip)
{
	for (size_t i = 0; i < set->count; i++) {
		if (set->ranges[i].gateway.family && ip_equal(&set->ranges[i].gateway, ip))
			return true;
	}
	return false;
}

static const struct ip_range *range_of(const struct range_set *set, const struct ip *ip)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct ip_range *range = &set->ranges[i];

		if (ip_cmp(&range->first, ip) <= 0 && ip_cmp(ip, &range->last) <= 0)
			return range;
	}
	return NULL;
}

struct search {
	const struct ipam_state *state;
	const struct ipam_conf *conf;
	const struct range_set *set;
	int64_t now;
	struct ip free;	  /* found: neither allocated nor resting */
	struct ip oldest; /* the address that has rested longest, used if none is free; family 0: none */
	int64_t oldest_freed;
};

/* From `from` to `to`: each step returns an address, skips one that is in use, or skips a whole exclusion. */
static bool search_part(struct search *s, struct ip from, const struct ip *to)
{
	char text[IP_STRLEN];

	while (ip_cmp(&from, to) <= 0) {
		const struct prefix *hole = excluded(s->conf, &from);

		if (hole) {
			from = prefix_last(hole);
		} else if (!is_gateway(s->set, &from) &&
			   !json_object_get(s->state->allocations, ip_format(&from, text))) {
			if (!is_resting(s->state, s->conf, text, s->now)) {
				s->free = from;
				return true;
			}
			const json_t *freed = json_object_get(s->state->resting, text);

			if (!s->oldest.family || json_integer_value(freed) < s->oldest_freed) {
				s->oldest = from;
				s->oldest_freed = json_integer_value(freed);
			}
		}
		if (ip_cmp(&from, to) >= 0)
			return false; /* before ip_add() wraps at the end of the address space */
		from = ip_add(from, 1);
	}
	return false;
}

/* Round robin over all ranges of the set: the first free address after the one allocated last. */
static bool search_set(struct search *s)
{
	const char *last_text =
	    json_string_value(json_object_get(s->state->last, family_key(s->set->ranges[0].subnet.ip.family)));
	const struct ip_range *start = NULL;
	struct ip last = { 0 };
	size_t first = 0;

	if (last_text && ip_parse(last_text, &last) == 0)
		start = range_of(s->set, &last);
	if (start) {
		first = (size_t)(start - s->set->ranges);
		if (ip_cmp(&last, &start->last) < 0 && search_part(s, ip_add(last, 1), &start->last))
			return true;
		first++;
	}
	for (size_t i = 0; i < s->set->count; i++) {
		const struct ip_range *range = &s->set->ranges[(first + i) % s->set->count];

		/* The range in which the search started comes last, for its first part. */
		if (search_part(s, range->first, range == start ? &last : &range->last))
			return true;
	}
	return false;
}

static int pick_any(const struct ipam_state *state, const struct ipam_conf *conf, const struct range_set *set,
		    struct ip *ip, struct err *err)
{
	struct search s = { .state = state, .conf = conf, .set = set, .now = now_ms() };
	char text[PREFIX_STRLEN];

	if (search_set(&s)) {
		*ip = s.free;
		return 0;
	}
	if (s.oldest.family) {
		*ip = s.oldest;
		return 0;
	}
	err_set(err, ENOSPC, "no IPv%s address is left in %s%s", family_key(set->ranges[0].subnet.ip.family),
		prefix_format(&set->ranges[0].subnet, text), set->count > 1 ? " and the other ranges" : "");
	err_hint(err, "delete pods or add a range to the configuration; %s lists the owners", state->path);
	return cni_code(err, CNI_ERR_NO_ADDRESS);
}

static int check_requested(const struct ipam_state *state, const struct ipam_conf *conf, const struct range_set *set,
			   const struct ip *ip, struct err *err)
{
	char text[IP_STRLEN];
	const char *owner;

	ip_format(ip, text);
	owner = json_string_value(json_object_get(state->allocations, text));
	if (!range_of(set, ip))
		err_set(err, EADDRNOTAVAIL, "the requested address %s is in no range of this network", text);
	else if (is_gateway(set, ip))
		err_set(err, EADDRNOTAVAIL, "the requested address %s is the gateway's", text);
	else if (excluded(conf, ip))
		err_set(err, EADDRNOTAVAIL, "the requested address %s is excluded", text);
	else if (owner)
		err_set(err, EADDRINUSE, "the requested address %s is in use by %s", text, owner);
	else
		return 0;
	return cni_code(err, CNI_ERR_ADDRESS_TAKEN);
}

/* Allocates an address of one family in the state. */
static int allocate(struct ipam_state *state, const struct ipam_conf *conf, const struct range_set *set,
		    const char *owner, const struct ip *request, struct lease *lease, struct err *err)
{
	const struct ip_range *range;
	char text[IP_STRLEN];
	int ret;

	*lease = (struct lease){ 0 };
	if (!set->count) {
		if (!request->family)
			return 0;
		err_set(err, EADDRNOTAVAIL, "the requested address %s: this network has no range of its family",
			ip_format(request, text));
		return cni_code(err, CNI_ERR_ADDRESS_TAKEN);
	}
	if (request->family) {
		ret = check_requested(state, conf, set, request, err);
		lease->ip = *request;
	} else {
		ret = pick_any(state, conf, set, &lease->ip, err);
	}
	if (ret < 0)
		return ret;
	range = range_of(set, &lease->ip);
	lease->subnet = range->subnet;
	lease->gateway = range->gateway;
	ip_format(&lease->ip, text);
	json_object_del(state->resting, text);
	if (json_object_set_new(state->allocations, text, json_string(owner)) < 0 ||
	    (!request->family && json_object_set_new(state->last, family_key(lease->ip.family), json_string(text)) < 0))
		return err_errno(err, ENOMEM, "address %s", text);
	return 0;
}

/* --- freeing --- */

/* Moves the addresses for whose owner keep() is false to the resting ones; returns how many. */
static unsigned release(struct ipam_state *state, bool (*keep)(const char *owner, void *arg), void *arg)
{
	unsigned count = 0;
	json_t *value;
	const char *key;
	void *next;

	json_object_foreach_safe(state->allocations, next, key, value)
	{
		if (keep(json_string_value(value), arg))
			continue;
		json_object_set_new(state->resting, key, json_integer(now_ms()));
		json_object_del(state->allocations, key);
		count++;
	}
	return count;
}

static bool is_another(const char *owner, void *arg)
{
	return strcmp(owner, arg) != 0;
}

/* Removes addresses that have rested long enough. */
static void prune(struct ipam_state *state, const struct ipam_conf *conf)
{
	int64_t now = now_ms();
	json_t *value;
	const char *key;
	void *next;

	json_object_foreach_safe(state->resting, next, key, value)
	{
		if (!is_resting(state, conf, key, now))
			json_object_del(state->resting, key);
	}
}

/* --- the commands --- */

int ipam_add(const struct ipam_conf *conf, const char *network, const char *owner, const struct ip_request *request,
	     struct leases *leases, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	_cleanup_fd_ int lock = state_lock(&state, conf, network, err);
	int ret;

	if (lock < 0)
		return lock;
	release(&state, is_another, (void *)owner);
	prune(&state, conf);
	ret = allocate(&state, conf, &conf->set4, owner, &request->v4, &leases->v4, err);
	if (ret == 0)
		ret = allocate(&state, conf, &conf->set6, owner, &request->v6, &leases->v6, err);
	return ret < 0 ? ret : state_save(&state, err);
}

int ipam_del(const struct ipam_conf *conf, const char *network, const char *owner, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	_cleanup_fd_ int lock = state_lock(&state, conf, network, err);

	if (lock < 0)
		return lock;
	if (release(&state, is_another, (void *)owner) == 0)
		return 0;
	prune(&state, conf);
	return state_save(&state, err);
}

static int check_owner(const struct ipam_state *state, const char *owner, const struct ip *ip, struct err *err)
{
	char text[IP_STRLEN];
	const char *found;

	if (!ip->family)
		return 0;
	found = json_string_value(json_object_get(state->allocations, ip_format(ip, text)));
	if (found && strcmp(found, owner) == 0)
		return 0;
	return err_set(err, ENOENT, "%s is allocated to %s in %s", text, found ? found : "no owner", state->path);
}

int ipam_check(const struct ipam_conf *conf, const char *network, const char *owner, const struct ip *ip4,
	       const struct ip *ip6, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	int ret = state_load(&state, conf, network, err);

	if (ret == 0)
		ret = check_owner(&state, owner, ip4, err);
	return ret < 0 ? ret : check_owner(&state, owner, ip6, err);
}

int ipam_status(const struct ipam_conf *conf, const char *network, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	int ret = state_load(&state, conf, network, err);
	struct ip ip;

	if (ret == 0 && conf->set4.count)
		ret = pick_any(&state, conf, &conf->set4, &ip, err);
	if (ret == 0 && conf->set6.count)
		ret = pick_any(&state, conf, &conf->set6, &ip, err);
	return ret;
}

int ipam_gc(const struct ipam_conf *conf, const char *network, bool (*keep)(const char *owner, void *arg), void *arg,
	    unsigned *freed, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	_cleanup_fd_ int lock = state_lock(&state, conf, network, err);
	unsigned count;

	if (lock < 0)
		return lock;
	count = release(&state, keep, arg);
	if (!count)
		return 0;
	*freed += count;
	return state_save(&state, err);
}
