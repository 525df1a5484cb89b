/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's tables in memory: an observer may look after every single step, room may be short, a step may fail. */
#ifndef WARREN_TEST_FAKE_TABLES_H
#define WARREN_TEST_FAKE_TABLES_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "lookup.h"

static const struct {
	size_t key, value;
} fake_sizes[APPLY_TABLES] = {
	[APPLY_POLICY] = { sizeof(struct wr_policy_key), sizeof(struct wr_policy_entry) },
	[APPLY_CLASSES] = { sizeof(uint32_t), sizeof(struct wr_class_info) },
	[APPLY_CIDRS4] = { sizeof(struct wr_cidr4_key), sizeof(struct wr_peer) },
	[APPLY_CIDRS6] = { sizeof(struct wr_cidr6_key), sizeof(struct wr_peer) },
	[APPLY_IDENTITIES] = { sizeof(uint64_t), sizeof(struct wr_peer) },
	[APPLY_RULES] = { sizeof(uint32_t), sizeof(struct wr_rule_text) },
};

/* Elements sorted by key; each key is followed by its value. */
struct fake_table {
	char *v;
	size_t count, room;
	size_t limit; /* 0: none */
};

struct fake {
	struct fake_table tables[APPLY_TABLES];
	struct dp_endpoint_policy policies[64];
	size_t policy_count;
	struct wr_policy_state state;
	void (*observe)(void *arg); /* after every step; may be NULL */
	void *arg;
	long steps_left; /* then everything fails; -1: never */
	unsigned long steps;
};

static inline size_t fake_stride(enum apply_table t)
{
	return fake_sizes[t].key + fake_sizes[t].value;
}

static inline char *fake_at(const struct fake *f, enum apply_table t, size_t i)
{
	return f->tables[t].v + i * fake_stride(t);
}

/* Its index, or the index where it would be inserted (*found false). */
static inline size_t fake_find(const struct fake *f, enum apply_table t, const void *key, bool *found)
{
	size_t low = 0, high = f->tables[t].count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int cmp = memcmp(fake_at(f, t, middle), key, fake_sizes[t].key);

		if (cmp == 0) {
			*found = true;
			return middle;
		}
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline int fake_step(struct fake *f)
{
	if (f->steps_left == 0)
		return -EIO;
	if (f->steps_left > 0)
		f->steps_left--;
	f->steps++;
	return 0;
}

static inline void fake_observed(struct fake *f)
{
	if (f->observe)
		f->observe(f->arg);
}

static inline void fake_drop(struct fake *f, enum apply_table t, size_t i)
{
	memmove(fake_at(f, t, i), fake_at(f, t, i + 1), (--f->tables[t].count - i) * fake_stride(t));
}

static inline void fake_insert(struct fake *f, enum apply_table t, size_t i, const void *key, const void *value)
{
	struct fake_table *table = &f->tables[t];

	if (table->count == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->v = realloc(table->v, table->room * fake_stride(t));
	}
	memmove(fake_at(f, t, i + 1), fake_at(f, t, i), (table->count++ - i) * fake_stride(t));
	memcpy(fake_at(f, t, i), key, fake_sizes[t].key);
	memcpy(fake_at(f, t, i) + fake_sizes[t].key, value, fake_sizes[t].value);
}

/* How many of the keys are new. */
static inline size_t fake_fresh(const struct fake *f, enum apply_table t, const char *keys, size_t count)
{
	size_t fresh = 0;
	bool found;

	for (size_t i = 0; i < count; i++) {
		fake_find(f, t, keys + i * fake_sizes[t].key, &found);
		fresh += !found;
	}
	return fresh;
}

static inline int fake_put(void *arg, enum apply_table t, const void *keys, const void *values, size_t count,
			   struct err *err)
{
	struct fake *f = arg;

	if (f->tables[t].limit && f->tables[t].count + fake_fresh(f, t, keys, count) > f->tables[t].limit)
		return err_set(err, ENOSPC, "full");
	for (size_t n = 0; n < count; n++) {
		const char *key = (const char *)keys + n * fake_sizes[t].key;
		const char *value = (const char *)values + n * fake_sizes[t].value;
		bool found;
		size_t i = fake_find(f, t, key, &found);

		if (fake_step(f) < 0)
			return err_set(err, EIO, "failed as asked");
		if (found)
			memcpy(fake_at(f, t, i) + fake_sizes[t].key, value, fake_sizes[t].value);
		else
			fake_insert(f, t, i, key, value);
		fake_observed(f);
	}
	return 0;
}

static inline size_t fake_room(void *arg, enum apply_table t)
{
	const struct fake *f = arg;
	const size_t limit = f->tables[t].limit, count = f->tables[t].count;

	return !limit ? SIZE_MAX : limit > count ? limit - count : 0;
}

static inline int fake_delete(void *arg, enum apply_table t, const void *keys, size_t count, struct err *err)
{
	struct fake *f = arg;

	for (size_t n = 0; n < count; n++) {
		bool found;
		size_t i = fake_find(f, t, (const char *)keys + n * fake_sizes[t].key, &found);

		if (fake_step(f) < 0)
			return err_set(err, EIO, "failed as asked");
		if (found)
			fake_drop(f, t, i);
		fake_observed(f);
	}
	return 0;
}

static inline int fake_each(void *arg, enum apply_table t, int (*fn)(const void *key, const void *value, void *fn_arg),
			    void *fn_arg, struct err *err)
{
	struct fake *f = arg;
	int ret = 0;

	for (size_t i = 0; i < f->tables[t].count && ret == 0; i++) {
		/* Aligned as the kernel's would be. */
		char value[sizeof(struct wr_rule_text)] __attribute__((aligned(8)));
		char key[sizeof(struct wr_cidr6_key)] __attribute__((aligned(8)));

		memcpy(key, fake_at(f, t, i), fake_sizes[t].key);
		memcpy(value, fake_at(f, t, i) + fake_sizes[t].key, fake_sizes[t].value);
		ret = fn(key, value, fn_arg);
	}
	return ret;
}

static inline struct dp_endpoint_policy *fake_policy(struct fake *f, uint32_t ifindex)
{
	for (size_t i = 0; i < f->policy_count; i++) {
		if (f->policies[i].ifindex == ifindex)
			return &f->policies[i];
	}
	return NULL;
}

static inline int fake_set_policies(void *arg, const struct dp_endpoint_policy *set, size_t count, bool *missing, struct err *err)
{
	struct fake *f = arg;

	for (size_t i = 0; i < count; i++) {
		struct dp_endpoint_policy *policy = fake_policy(f, set[i].ifindex);

		if (fake_step(f) < 0)
			return err_set(err, EIO, "failed as asked");
		missing[i] = !policy;
		if (!policy)
			continue;
		policy->identity = set[i].identity;
		fake_observed(f);
		*policy = set[i];
		fake_observed(f);
	}
	return 0;
}

static inline int fake_each_policy(void *arg, int (*fn)(const struct dp_endpoint_policy *policy, void *fn_arg), void *fn_arg,
				 struct err *err)
{
	struct fake *f = arg;
	int ret = 0;

	for (size_t i = 0; i < f->policy_count && ret == 0; i++)
		ret = fn(&f->policies[i], fn_arg);
	return ret;
}

static inline int fake_state_get(void *arg, struct wr_policy_state *state, struct err *err)
{
	*state = ((struct fake *)arg)->state;
	return 0;
}

static inline int fake_state_set(void *arg, const struct wr_policy_state *state, struct err *err)
{
	struct fake *f = arg;

	if (fake_step(f) < 0)
		return err_set(err, EIO, "failed as asked");
	f->state = *state;
	return 0;
}

static const struct apply_ops fake_ops = { fake_put,	 fake_room,	 fake_delete,	 fake_each,
					   fake_set_policies,	 fake_each_policy, fake_state_get, fake_state_set };

static inline void fake_free(struct fake *f)
{
	for (int t = 0; t < APPLY_TABLES; t++)
		free(f->tables[t].v);
}

/* --- verdicts, as the data path evaluates them --- */

static inline const char *fake_value(const struct fake *f, enum apply_table t, const void *key)
{
	bool found;
	size_t i = fake_find(f, t, key, &found);

	return found ? fake_at(f, t, i) + fake_sizes[t].key : NULL;
}

static inline int fake_get_class(void *arg, uint32_t number, struct wr_class_info *info)
{
	const char *value = fake_value(arg, APPLY_CLASSES, &number);

	if (value)
		memcpy(info, value, sizeof(*info));
	return value ? 0 : -ENOENT;
}

static inline int fake_get_identity(void *arg, uint64_t identity, uint64_t *peer)
{
	const char *value = fake_value(arg, APPLY_IDENTITIES, &identity);

	if (value)
		memcpy(peer, value, sizeof(*peer));
	return value ? 0 : -ENOENT;
}

static inline int fake_get_entry(void *arg, const struct wr_policy_key *key, uint32_t *rule)
{
	const char *value = fake_value(arg, APPLY_POLICY, key);

	if (value)
		memcpy(rule, value, sizeof(*rule));
	return value ? 0 : -ENOENT;
}

static inline int fake_get_cidr(void *arg, uint32_t number, uint32_t direction, const struct ip *ip, uint64_t *peer)
{
	enum apply_table t = ip->family == AF_INET ? APPLY_CIDRS4 : APPLY_CIDRS6;
	struct fake *f = arg;
	int longest = -1;

	for (size_t i = 0; i < f->tables[t].count; i++) {
		struct wr_cidr6_key key = { 0 }; /* of a v4 key, the address is its first word */
		struct prefix prefix;

		memcpy(&key, fake_at(f, t, i), fake_sizes[t].key);
		prefix.ip = ip_from(ip->family, &key.addr);
		prefix.len = (uint8_t)(key.prefixlen - WR_CIDR_CLASS_BITS);
		if (key.class_direction != wr_cidr_class(number, direction) || prefix.len <= longest ||
		    !prefix_contains(&prefix, ip))
			continue;
		longest = prefix.len;
		memcpy(peer, fake_at(f, t, i) + fake_sizes[t].key, sizeof(*peer));
	}
	return longest >= 0 ? 0 : -ENOENT;
}

static inline bool fake_allows(struct fake *f, const struct dp_endpoint_policy *policy, struct lookup_query query)
{
	const struct lookup_tables tables = { fake_get_class, fake_get_identity, fake_get_cidr, fake_get_entry, f };
	struct lookup_result result;

	if (policy->policy_class < WR_CLASS_FIRST)
		return policy->policy_class == WR_CLASS_NOT_ISOLATED;
	query.policy_class = policy->policy_class;
	policy_lookup(&tables, &query, &result);
	return result.allowed;
}

#endif
