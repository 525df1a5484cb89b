/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static int table_fd(enum table table, bool v6)
{
	static const char *const names[][2] = { [CT] = { "ct4", "ct6" }, [CT_NEW] = { "ct_new4", "ct_new6" } };

	return map_fd(names[table][v6]);
}

unsigned flows_count(enum table table, bool v6)
{
	int fd = table_fd(table, v6);
	char key[64], *last = NULL;
	unsigned n = 0;

	for (; !bpf_map_get_next_key(fd, last, key); last = key)
		n++;
	return n;
}

bool flow_only(enum table table, bool v6, struct wr_ct *ct)
{
	int fd = table_fd(table, v6);
	char key[64];

	if (bpf_map_get_next_key(fd, NULL, key))
		return false;
	assert_int_equal(bpf_map_lookup_elem(fd, key, ct), 0);
	assert_int_equal(flows_count(table, v6), 1);
	return true;
}

/* Zeros, which no verdict is, in all of an array. */
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

/* Cached verdicts end with the second. */
static void verdicts_clear(void)
{
	array_zero("verdicts4");
	array_zero("verdicts6");
}

static void age(uint32_t ticks)
{
	struct wr_ct ct;
	char key[64], *last;

	for (int i = 0; i < 4; i++) {
		int fd = table_fd(i & 1, i & 2);

		for (last = NULL; !bpf_map_get_next_key(fd, last, key); last = key) {
			assert_int_equal(bpf_map_lookup_elem(fd, key, &ct), 0);
			ct.expires -= ticks;
			assert_int_equal(bpf_map_update_elem(fd, key, &ct, BPF_EXIST), 0);
		}
	}
}

unsigned verdicts_cached(bool nat)
{
	enum { SETS = 1 << 14, SLOT = 64, IFINDEX = 8, WHAT = 16, NAT = 1 << 9 };
	unsigned n = 0;

	for (int v6 = 0; v6 < 2; v6++) {
		const size_t set = v6 ? 4 * SLOT : 2 * SLOT;
		uint8_t *all = mmap(NULL, SETS * set, PROT_READ, MAP_SHARED, map_fd(v6 ? "verdicts6" : "verdicts4"), 0);

		if (all == MAP_FAILED)
			fail_msg("verdicts: %m");
		for (size_t slot = 0; slot < 2 * SETS; slot++) {
			const uint8_t *at = all + slot / 2 * set + slot % 2 * SLOT;
			uint32_t ifindex, what;

			memcpy(&ifindex, at + IFINDEX, sizeof(ifindex));
			memcpy(&what, at + WHAT, sizeof(what));
			n += ifindex && (!nat || (what & NAT));
		}
		munmap(all, SETS * set);
	}
	return n;
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

uint32_t flows_owned(enum device d)
{
	const uint32_t slot = wr_endpoint_slot(device_ifindex(d), 0);
	struct wr_ct_usage usage;

	assert_int_equal(bpf_map_lookup_elem(map_fd("ct_usage"), &slot, &usage), 0);
	return usage.entries;
}

uint64_t flow_stat(enum wr_ct_stat stat)
{
	uint64_t sum;

	percpu_sum("ct_stats", stat, &sum, 1);
	return sum;
}

void flows_set_share(uint32_t share)
{
	const uint32_t zero = 0;
	struct wr_config cfg;

	assert_int_equal(bpf_map_lookup_elem(map_fd("config"), &zero, &cfg), 0);
	cfg.ct_share = share;
	map_put("config", &zero, &cfg);
}
