/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Slots of ct_new4/6 in these tests: the node's window, and one for each endpoint (state_endpoints.c). */
static void *window_of(bool v6)
{
	static void *mapped[2];
	static int fds[2];
	const int fd = map_fd(v6 ? "ct_new6" : "ct_new4");
	const size_t size = TEST_CT_SLOTS * (v6 ? sizeof(struct wr_ct6_slot) : sizeof(struct wr_ct4_slot));

	if (mapped[v6] && fds[v6] == fd)
		return mapped[v6];
	if (mapped[v6])
		munmap(mapped[v6], size);
	fds[v6] = fd;
	mapped[v6] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped[v6] == MAP_FAILED)
		fail_msg("ct_new: %m");
	return mapped[v6];
}

void flows_each(bool v6, bool (*keep)(const void *key, struct wr_ct *ct, bool in_table, void *arg), void *arg)
{
	const int fd = map_fd(v6 ? "ct6" : "ct4");
	struct wr_ct4_slot *s4 = window_of(false);
	struct wr_ct6_slot *s6 = window_of(true);
	char key[64], next[64];
	struct wr_ct ct;
	int more;

	for (more = !bpf_map_get_next_key(fd, NULL, next); more;) {
		memcpy(key, next, sizeof(key));
		more = !bpf_map_get_next_key(fd, key, next);
		assert_int_equal(bpf_map_lookup_elem(fd, key, &ct), 0);
		if (keep(key, &ct, true, arg))
			assert_int_equal(bpf_map_update_elem(fd, key, &ct, BPF_EXIST), 0);
		else
			assert_int_equal(bpf_map_delete_elem(fd, key), 0);
	}
	for (int i = 0; i < TEST_CT_SLOTS; i++) {
		if (v6 && s6[i].tag && !keep(&s6[i].key, &s6[i].ct, false, arg))
			s6[i].tag = 0;
		if (!v6 && s4[i].tag && !keep(&s4[i].key, &s4[i].ct, false, arg))
			s4[i].tag = 0;
	}
}

static bool none(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	return false;
}

void flows_clear(void)
{
	for (int v6 = 0; v6 < 2; v6++)
		flows_each(v6, none, NULL);
}

struct found {
	enum table table;
	bool v6;
	unsigned count;
	struct wr_ct ct;
};

/* CT: flows in ct, and those established in a window (UDP: replied). CT_NEW: all others. */
static bool is_in(enum table table, const void *key, const struct wr_ct *ct, bool in_table, bool v6)
{
	const uint8_t l4_proto = v6 ? ((const struct wr_ct6_key *)key)->l4_proto : ((const struct wr_ct4_key *)key)->l4_proto;
	const uint32_t both = WR_CT_FIN_INITIATOR | WR_CT_FIN_RESPONDER, denied = WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS;
	const uint32_t required = l4_proto == IPPROTO_TCP || (ct->flags & WR_CT_SERVICE) ? WR_CT_ESTABLISHED : WR_CT_REPLIED;

	if (table == CT_TABLE)
		return in_table;
	return (in_table || ((ct->flags & required) && (int32_t)(ct->expires - tick_now()) >= 0 && !(ct->flags & (denied | WR_CT_RESET)) && (ct->flags & both) != both)) ==
	       (table == CT);
}

static bool find(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	struct found *found = arg;

	if (is_in(found->table, key, ct, in_table, found->v6)) {
		found->count++;
		found->ct = *ct;
	}
	return true;
}

unsigned flows_count(enum table table, bool v6)
{
	struct found found = { table, v6 };

	flows_each(v6, find, &found);
	return found.count;
}

bool flow_only(enum table table, bool v6, struct wr_ct *ct)
{
	struct found found = { table, v6 };

	flows_each(v6, find, &found);
	*ct = found.ct;
	assert_in_range(found.count, 0, 1);
	return found.count;
}

struct owned {
	enum table table;
	bool v6;
	uint32_t owner, count;
};

static bool count_owned(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	struct owned *owned = arg;
	const uint32_t owner = (int32_t)ct->initiator > 0 ? ct->initiator : (int32_t)ct->responder > 0 ? ct->responder : 0;

	owned->count += owner == owned->owner && is_in(owned->table, key, ct, in_table, owned->v6);
	return true;
}

uint32_t flows_owned(enum table table, enum device d, bool v6)
{
	struct owned owned = { table, v6, d == NO_DEVICE ? 0 : device_ifindex(d) };

	flows_each(v6, count_owned, &owned);
	return owned.count;
}

/* Fills an array with zeros, which are no valid verdict. */
static void array_zero(const char *name)
{
	enum { MAX = 1 << 16 };
	static uint32_t keys[MAX];
	int fd = map_fd(name);
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), count = 0;
	void *values;

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	assert_in_range(info.max_entries, 1, MAX);
	values = calloc(info.max_entries, info.value_size);
	for (; count < info.max_entries; count++)
		keys[count] = count;
	if (!values || bpf_map_update_batch(fd, keys, values, &count, NULL))
		fail_msg("%s: %m", name);
	free(values);
}

void verdicts_clear(void)
{
	array_zero("verdicts4");
	array_zero("verdicts6");
}

struct time_passed {
	uint32_t ticks;
	bool v6;
};

static bool grow_old(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	const struct time_passed *passed = arg;
	const uint8_t l4_proto = passed->v6 ? ((const struct wr_ct6_key *)key)->l4_proto
					    : ((const struct wr_ct4_key *)key)->l4_proto;

	ct->expires -= passed->ticks;
	if (l4_proto != IPPROTO_TCP && !(ct->flags & WR_CT_SERVICE))
		ct->ack[0] -= passed->ticks; /* of the world's last packet */
	return true;
}

static void age(uint32_t ticks)
{
	for (int v6 = 0; v6 < 2; v6++)
		flows_each(v6, grow_old, &(struct time_passed){ ticks, v6 });
}

struct cached verdicts_cached(bool nat)
{
	enum { SETS = 1 << 14, SLOT = 64, TICK = 4, IFINDEX = 8, WHAT = 16, NAT = 1 << 9 };
	struct cached found = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		const size_t set = v6 ? 4 * SLOT : 2 * SLOT;
		uint8_t *all = mmap(NULL, SETS * set, PROT_READ, MAP_SHARED, map_fd(v6 ? "verdicts6" : "verdicts4"), 0);

		if (all == MAP_FAILED)
			fail_msg("verdicts: %m");
		for (size_t slot = 0; slot < 2 * SETS; slot++) {
			const uint8_t *at = all + slot / 2 * set + slot % 2 * SLOT;
			uint32_t tick, ifindex, what;

			memcpy(&tick, at + TICK, sizeof(tick));
			memcpy(&ifindex, at + IFINDEX, sizeof(ifindex));
			memcpy(&what, at + WHAT, sizeof(what));
			if (!ifindex || (nat && !(what & NAT)))
				continue;
			found.count++;
			found.latest = tick > found.latest ? tick : found.latest;
		}
		munmap(all, SETS * set);
	}
	return found;
}

void flows_kill(void)
{
	age(1u << 30);
}

void flows_age(uint32_t ticks)
{
	age(ticks);
	verdicts_clear();
}

uint32_t tick_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (ts.tv_sec * 1000000000ull + ts.tv_nsec) >> WR_CT_TICK_SHIFT;
}

uint32_t usage_of_slot(uint32_t slot)
{
	struct wr_ct_usage usage;

	assert_int_equal(bpf_map_lookup_elem(map_fd("ct_usage"), &slot, &usage), 0);
	return usage.entries;
}

uint32_t flows_counted(enum device d)
{
	return usage_of_slot(d == NO_DEVICE ? WR_CT_USAGE_UNOWNED : endpoint_slot(d));
}

uint64_t flow_stat(enum wr_ct_stat stat)
{
	uint64_t sum;

	percpu_sum("ct_stats", stat, &sum, 1);
	return sum;
}

static void set_sizes(uint32_t quota, uint32_t entries)
{
	const uint32_t zero = 0;
	struct wr_config cfg;

	assert_int_equal(bpf_map_lookup_elem(map_fd("config"), &zero, &cfg), 0);
	cfg.ct_quota = quota;
	cfg.ct_entries = entries ? entries : cfg.ct_entries;
	map_put("config", &zero, &cfg);
}

void flows_set_quota(uint32_t quota)
{
	set_sizes(quota, 0);
}

void flows_set_unlimited(void)
{
	set_sizes(1u << 30, 1u << 31);
}
