/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipam.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "error.h"
#include "ipam_state.h"

static int64_t now_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_BOOTTIME) / NS_PER_MS); /* includes suspend, during which peers' caches expire too */
}

static const char *family_key(int family)
{
	return family == AF_INET ? "4" : "6";
}

/* --- choosing --- */

static bool is_resting(const struct ipam_state *state, const struct ipam_conf *conf, const char *address, int64_t now)
{
	const json_t *freed = json_object_get(state->resting, address);

	return freed && json_integer_value(freed) <= now && now - json_integer_value(freed) < conf->rest * 1000LL;
}

/* The exclusion that contains the address, or NULL. */
static const struct prefix *excluded(const struct ipam_conf *conf, const struct ip *ip)
{
	size_t low = 0, high = conf->exclude_count;

	/* Find the last one that begins at or before it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ip_cmp(&conf->exclude[middle].ip, ip) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low && prefix_contains(&conf->exclude[low - 1], ip) ? &conf->exclude[low - 1] : NULL;
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

/* Moves the addresses for whose owner loses() is true to the resting ones; returns how many. */
static unsigned release(struct ipam_state *state, bool (*loses)(const char *owner, void *arg), void *arg)
{
	unsigned count = 0;
	json_t *value;
	const char *key;
	void *next;

	json_object_foreach_safe(state->allocations, next, key, value)
	{
		if (!loses(json_string_value(value), arg))
			continue;
		json_object_set_new(state->resting, key, json_integer(now_ms()));
		json_object_del(state->allocations, key);
		count++;
	}
	return count;
}

static bool is_owner_named(const char *owner, void *arg)
{
	return strcmp(owner, arg) == 0;
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
	_cleanup_fd_ int lock = ipam_state_lock(&state, conf, network, err);
	int ret;

	if (lock < 0)
		return lock;
	release(&state, is_owner_named, (void *)owner);
	prune(&state, conf);
	ret = allocate(&state, conf, &conf->set4, owner, &request->v4, &leases->v4, err);
	if (ret == 0)
		ret = allocate(&state, conf, &conf->set6, owner, &request->v6, &leases->v6, err);
	return ret < 0 ? ret : ipam_state_save(&state, err);
}

int ipam_del(const struct ipam_conf *conf, const char *network, const char *owner, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	_cleanup_fd_ int lock = ipam_state_lock(&state, conf, network, err);

	if (lock < 0)
		return lock;
	if (release(&state, is_owner_named, (void *)owner) == 0)
		return 0;
	prune(&state, conf);
	return ipam_state_save(&state, err);
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
	int ret = ipam_state_load(&state, conf, network, err);

	if (ret == 0)
		ret = check_owner(&state, owner, ip4, err);
	return ret < 0 ? ret : check_owner(&state, owner, ip6, err);
}

int ipam_status(const struct ipam_conf *conf, const char *network, struct err *err)
{
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	int ret = ipam_state_load(&state, conf, network, err);
	struct ip ip;

	if (ret == 0 && conf->set4.count)
		ret = pick_any(&state, conf, &conf->set4, &ip, err);
	if (ret == 0 && conf->set6.count)
		ret = pick_any(&state, conf, &conf->set6, &ip, err);
	return ret;
}

struct gc_filter {
	bool (*keep)(const char *owner, void *arg);
	void *arg;
};

static bool is_garbage(const char *owner, void *arg)
{
	struct gc_filter *filter = arg;

	return !filter->keep(owner, filter->arg);
}

int ipam_gc(const struct ipam_conf *conf, const char *network, bool (*keep)(const char *owner, void *arg), void *arg,
	    unsigned *freed, struct err *err)
{
	struct gc_filter filter = { keep, arg };
	_cleanup_ipam_state_ struct ipam_state state = { .json = NULL };
	_cleanup_fd_ int lock = ipam_state_lock(&state, conf, network, err);
	unsigned count;

	if (lock < 0)
		return lock;
	count = release(&state, is_garbage, &filter);
	if (!count)
		return 0;
	*freed += count;
	return ipam_state_save(&state, err);
}
