/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing policy into the maps of the real kernel: tables, growth, endpoint policies. */
#include "dp_rig.h"

#include <errno.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "endpoint.h"
#include "lock.h"
#include "tables.h"
#include "endpoint_policy.h"

/* --- tables --- */

/* Elements of a table, made from numbers. */
struct elements {
	char *keys, *values;
	size_t count;
	const struct dp_map *map;
};

static void element_key(const struct dp_map *map, uint32_t n, void *key)
{
	memset(key, 0, map->key_size);
	if (map->type == BPF_MAP_TYPE_LPM_TRIE) {
		/* Nested prefixes too: a lookup may find a shorter prefix. */
		uint32_t bits = n % 2 ? 32 : 24;
		uint32_t words[3] = { WR_CIDR_CLASS_BITS + bits, 16 + n / 2 / 65536,
				      htobe32(10u << 24 | (n / 2 % 65536) << 8) };

		memcpy(key, words, sizeof(words));
		return;
	}
	n++; /* 0 is a key as any other, but let no test depend on zeros */
	memcpy((char *)key + map->key_size - sizeof(n), &n, sizeof(n));
}

static struct elements elements_make(const char *name, uint32_t first, size_t count, uint8_t value)
{
	const struct dp_map *map = dp_map_find(name, NULL);
	struct elements e = { malloc(count * map->key_size + 1), malloc(count * map->value_size + 1), count, map };

	assert_non_null(e.keys);
	assert_non_null(e.values);
	memset(e.values, value, count * map->value_size);
	for (size_t i = 0; i < count; i++)
		element_key(map, first + (uint32_t)i, e.keys + i * map->key_size);
	return e;
}

static void elements_free(struct elements *e)
{
	free(e->keys);
	free(e->values);
}
#define _cleanup_elements_ _cleanup_(elements_free)

static int count_value(const void *key, const void *value, void *arg)
{
	((size_t *)arg)[*(const uint8_t *)value]++;
	return 0;
}

/* How many elements have which value, by a walk through the kernel's map. */
static void count_by_value(struct dp_table *table, size_t counts[256])
{
	struct err err = { 0 };

	memset(counts, 0, 256 * sizeof(*counts));
	assert_ok(dp_table_each(table, count_value, counts, &err));
}

static struct dp_table *open_table(const char *name)
{
	struct err err = { 0 };
	struct dp_table *table;

	assert_ok(dp_table_open(name, &table, &err));
	return table;
}

static const char *const table_names[] = { "policy", "identities", "classes", "cidrs4", "cidrs6", "rules" };

static void put_replace_delete(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(table_names); t++) {
		_cleanup_elements_ struct elements three_thousand = elements_make(table_names[t], 0, 3000, 1);
		_cleanup_elements_ struct elements middle = elements_make(table_names[t], 1000, 1000, 2);
		_cleanup_elements_ struct elements end = elements_make(table_names[t], 2500, 1000, 3);
		struct dp_table *table = open_table(table_names[t]);
		struct err err = { 0 };
		size_t counts[256];

		assert_int_equal(dp_table_used(table), 0);
		assert_ok(dp_table_put(table, three_thousand.keys, three_thousand.values, 3000, &err));
		assert_ok(dp_table_put(table, middle.keys, middle.values, 1000, &err));
		assert_int_equal(dp_table_used(table), 3000);
		assert_ok(dp_table_put(table, end.keys, end.values, 1000, &err));
		assert_int_equal(dp_table_used(table), 3500);
		count_by_value(table, counts);
		assert_int_equal(counts[1], 1500);
		assert_int_equal(counts[2], 1000);
		assert_int_equal(counts[3], 1000);

		/* A later writer reads the same. */
		dp_table_close(table);
		table = open_table(table_names[t]);
		assert_int_equal(dp_table_used(table), 3500);
		assert_ok(dp_table_delete(table, three_thousand.keys, 3000, &err));
		assert_int_equal(dp_table_used(table), 500);
		assert_ok(dp_table_delete(table, three_thousand.keys, 3000, &err)); /* absent */
		assert_ok(dp_table_delete(table, NULL, 0, &err));
		assert_ok(dp_table_put(table, NULL, NULL, 0, &err));
		count_by_value(table, counts);
		assert_int_equal(counts[3], 500);
		assert_int_equal(counts[1] + counts[2], 0);
		dp_table_close(table);
	}
}

/* A key that another program has deleted does not keep the others from being deleted. */
static void delete_absent_keys(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(table_names); t++) {
		_cleanup_elements_ struct elements e = elements_make(table_names[t], 0, 10, 1);
		_cleanup_fd_ int fd = map_fd(table_names[t]);
		struct dp_table *table = open_table(table_names[t]);
		struct err err = { 0 };
		size_t counts[256];

		assert_ok(dp_table_put(table, e.keys, e.values, 10, &err));
		for (int i = 0; i < 10; i += 3)
			assert_int_equal(bpf_map_delete_elem(fd, e.keys + i * e.map->key_size), 0);
		assert_ok(dp_table_delete(table, e.keys, 10, &err));
		assert_int_equal(dp_table_used(table), 0);
		count_by_value(table, counts);
		assert_int_equal(counts[1], 0);
		dp_table_close(table);
	}
}

/* Keys that the kernel has not deleted still count as present. */
static void refused_deletion_forgets_nothing(void **state)
{
	_cleanup_elements_ struct elements e = elements_make("classes", 0, 10, 1);
	_cleanup_fd_ int fd = map_fd("classes");
	struct dp_table *table = open_table("classes");
	struct err err = { 0 };

	assert_ok(dp_table_put(table, e.keys, e.values, 10, &err));
	assert_int_equal(bpf_map_freeze(fd), 0); /* for good: only BPF programs may write it */
	assert_int_equal(dp_table_delete(table, e.keys, 10, &err), -EPERM);
	assert_int_equal(dp_table_used(table), 10);
	dp_table_close(table);
}

static void one_key_twice_in_a_call(void **state)
{
	_cleanup_elements_ struct elements e = elements_make("classes", 7, 2, 1);
	struct dp_table *table = open_table("classes");
	struct err err = { 0 };

	memcpy(e.keys + e.map->key_size, e.keys, e.map->key_size);
	assert_ok(dp_table_put(table, e.keys, e.values, 2, &err));
	assert_int_equal(dp_table_used(table), 1);
	assert_ok(dp_table_delete(table, e.keys, 2, &err));
	assert_int_equal(dp_table_used(table), 0);
	dp_table_close(table);
}

/* --- no room --- */

static void assert_absent(struct dp_table *table, const struct elements *e, size_t already)
{
	_cleanup_fd_ int fd = map_fd(e->map->name);
	char value[WR_RULE_TEXT];

	assert_int_equal(dp_table_used(table), already);
	if (e->map->type == BPF_MAP_TYPE_LPM_TRIE)
		return; /* a lookup finds shorter prefixes: the walk counts them */
	for (size_t i = 0; i < e->count; i++)
		assert_int_equal(bpf_map_lookup_elem(fd, e->keys + i * e->map->key_size, value), -ENOENT);
}

static void full_table_takes_none_of_it(void **state)
{
	enum { LIMIT = 2 * WR_MAX_ENDPOINTS };
	_cleanup_elements_ struct elements most = elements_make("classes", 0, LIMIT - 10, 1);
	_cleanup_elements_ struct elements over = elements_make("classes", LIMIT - 15, 20, 2); /* 5 of them are there */
	_cleanup_elements_ struct elements fit = elements_make("classes", LIMIT - 10, 10, 3);
	struct elements fresh = { over.keys + 5 * over.map->key_size, NULL, 15, over.map };
	struct dp_table *table = open_table("classes");
	struct err err = { 0 };
	size_t counts[256];

	assert_int_equal(dp_table_limit(table), LIMIT);
	assert_ok(dp_table_put(table, most.keys, most.values, most.count, &err));
	assert_int_equal(dp_table_put(table, over.keys, over.values, over.count, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "map classes is full"));
	assert_absent(table, &fresh, most.count);
	assert_ok(dp_table_put(table, fit.keys, fit.values, fit.count, &err));
	assert_int_equal(dp_table_used(table), LIMIT);
	/* Nothing new: full, but no obstacle. */
	assert_ok(dp_table_put(table, most.keys, most.values, most.count, &err));
	count_by_value(table, counts);
	assert_int_equal(counts[1] + counts[3], LIMIT);
	dp_table_close(table);
}

/* The kernel refuses in the middle of a batch: another program's entries are in the map. */
static void refused_half_way(void **state)
{
	enum { LIMIT = 2 * WR_MAX_ENDPOINTS };
	_cleanup_elements_ struct elements others = elements_make("classes", 0, LIMIT - 10, 1);
	_cleanup_elements_ struct elements over = elements_make("classes", LIMIT, 20, 2);
	_cleanup_fd_ int fd = map_fd("classes");
	struct dp_table *table = open_table("classes");
	__u32 count = (__u32)others.count;
	struct err err = { 0 };
	size_t counts[256];

	assert_int_equal(bpf_map_update_batch(fd, others.keys, others.values, &count, NULL), 0);
	assert_int_equal(dp_table_put(table, over.keys, over.values, over.count, &err), -ENOSPC);
	assert_absent(table, &over, 0);
	count_by_value(table, counts);
	assert_int_equal(counts[1], LIMIT - 10);
	dp_table_close(table);
}

static void grown_to_the_limit(void **state)
{
	const struct dp_map *map = dp_map_find("identities", NULL);
	_cleanup_elements_ struct elements few = elements_make("identities", 0, 100, 1);
	_cleanup_elements_ struct elements too_many = elements_make("identities", 50, map->max_entries + 1, 2);
	struct elements fresh = { too_many.keys + 50 * map->key_size, NULL, 1000, map };
	struct dp_table *table = open_table("identities");
	struct dp_map_info info;
	struct err err = { 0 };

	assert_int_equal(dp_table_limit(table), map->max_entries);
	assert_ok(dp_table_put(table, few.keys, few.values, few.count, &err));
	assert_int_equal(dp_table_put(table, too_many.keys, too_many.values, too_many.count, &err), -ENOSPC);
	assert_absent(table, &fresh, few.count);
	assert_ok(dp_map_info("identities", &info, &err));
	assert_int_equal(info.max_entries, 4096); /* not grown for nothing */
	assert_int_equal(info.limit, map->max_entries);
	assert_int_equal(info.entries, few.count);
	/* To the very limit in one step. */
	assert_ok(dp_table_put(table, too_many.keys, too_many.values, map->max_entries - 50, &err));
	assert_int_equal(dp_table_used(table), map->max_entries);
	assert_ok(dp_map_info("identities", &info, &err));
	assert_int_equal(info.max_entries, map->max_entries);
	assert_int_equal(info.entries, map->max_entries);
	dp_table_close(table);
}

/* Less than the map could hold: only new keys need room, even if the table is above the limit already. */
static void a_limit_of_its_own(void **state)
{
	_cleanup_elements_ struct elements few = elements_make("policy", 0, 100, 1), others = elements_make("policy", 0, 100, 2);
	_cleanup_elements_ struct elements more = elements_make("policy", 90, 20, 3);
	struct dp_table *table = open_table("policy");
	struct err err = { 0 };
	size_t counts[256];

	for (size_t limit = 100; limit; limit -= 50) {
		dp_table_limit_to(table, limit);
		assert_int_equal(dp_table_limit(table), limit);
		if (limit == 100)
			assert_ok(dp_table_put(table, few.keys, few.values, few.count, &err));
		assert_ok(dp_table_put(table, others.keys, others.values, others.count, &err));
		assert_int_equal(dp_table_put(table, more.keys, more.values, more.count, &err), -ENOSPC);
		assert_string_equal(err.msg, limit == 100 ? "map policy is full: 110 entries are required, it can hold 100"
							  : "map policy is full: 110 entries are required, it can hold 50");
		assert_int_equal(dp_table_used(table), 100);
	}
	count_by_value(table, counts);
	assert_int_equal(counts[2], 100);
	dp_table_limit_to(table, 0);
	assert_ok(dp_table_put(table, more.keys, more.values, more.count, &err));
	dp_table_close(table);
}

/* --- growth --- */

#define INSN(code_, dst, src, off_, imm_)                                                                              \
	{                                                                                                              \
		.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_)                      \
	}
#define MOV_IMM(dst, imm) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define MOV_REG(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ADD_IMM(dst, imm) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
#define STORE_IMM(size, dst, off, imm) INSN(BPF_ST | BPF_MEM | (size), dst, 0, off, imm)
#define MAP(dst, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define CALL(fn) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, fn)
#define JUMP_IF_0(reg, to) INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, to, 0)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* A program that looks up `identity` as the data path does, and counts misses in `misses`. */
static int load_reader(int outer, int misses, int32_t identity)
{
	const struct bpf_insn insns[] = {
		STORE_IMM(BPF_W, BPF_REG_10, -4, 0),
		STORE_IMM(BPF_DW, BPF_REG_10, -16, identity),
		MAP(BPF_REG_1, outer),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -4),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF_0(BPF_REG_0, 7),
		MOV_REG(BPF_REG_1, BPF_REG_0),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -16),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF_0(BPF_REG_0, 2),
		MOV_IMM(BPF_REG_0, 0),
		EXIT,
		MAP(BPF_REG_1, misses),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -4),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF_0(BPF_REG_0, 2),
		MOV_IMM(BPF_REG_1, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, 0, BPF_ADD),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "reader", "BSD", insns, ARRAY_SIZE(insns), NULL);

	if (fd < 0)
		fail_msg("loading the reader: %m");
	return fd;
}

static void run_reader(void *arg)
{
	char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 500);

	bpf_prog_test_run_opts(*(int *)arg, &opts);
}

/* As user space reads: pin, outer map, inner map by its id, element. Keeps the last error. */
static void run_user_reader(void *arg)
{
	const uint64_t identity = 1;
	struct wr_peer peer;
	struct err err;

	if (dp_map_lookup("identities", &identity, &peer, &err) < 0)
		*(struct err *)arg = err;
}

static uint64_t read_misses(int map)
{
	const __u32 zero = 0;
	uint64_t misses;

	assert_int_equal(bpf_map_lookup_elem(map, &zero, &misses), 0);
	return misses;
}

/* Starts with a small map that contains identity 1, so that there is much to grow. */
static void shrink(int outer, const struct dp_map *map)
{
	const uint64_t identity = 1, peer = WR_PEER_FIRST;
	struct dp_btf no_btf = { 0 };
	struct err err = { 0 };
	_cleanup_fd_ int small = dp_growing_create(map, 16, &no_btf, &err);

	assert_true(small >= 0);
	assert_int_equal(bpf_map_update_elem(small, &identity, &peer, BPF_ANY), 0);
	assert_ok(dp_growing_set(outer, map, small, &err));
}

static void readers_miss_nothing_while_it_grows(void **state)
{
	enum { ROUNDS = 4, MOST = 20000, STEP = 15 };
	const struct dp_map *map = dp_map_find("identities", NULL);
	_cleanup_elements_ struct elements e = elements_make("identities", 1, MOST, 1);
	_cleanup_fd_ int outer = -1, misses = -1, reader = -1;
	struct background program, user;
	unsigned replaced = 0;
	struct err err = { 0 }, miss = { 0 };

	outer = dp_map_open_pin(map, &err);
	misses = bpf_map_create(BPF_MAP_TYPE_ARRAY, "misses", 4, 8, 1, NULL);
	assert_true(outer >= 0 && misses >= 0);
	reader = load_reader(outer, misses, 1);
	run_reader(&reader);
	assert_int_equal(read_misses(misses), 500); /* it can miss */
	shrink(outer, map);
	assert_ok(bpf_map_update_elem(misses, &(__u32){ 0 }, &(uint64_t){ 0 }, BPF_ANY));

	background_start(&program, run_reader, &reader);
	background_start(&user, run_user_reader, &miss);
	for (int round = 0; round < ROUNDS; round++) {
		struct dp_table *table = open_table("identities");
		uint32_t id = 0, before = 0;

		for (size_t done = 0, step = STEP; done < MOST; done += step, step *= 2) {
			if (step > MOST - done)
				step = MOST - done;
			assert_ok(dp_table_put(table, e.keys + done * map->key_size, e.values, step, &err));
			assert_int_equal(bpf_map_lookup_elem(outer, &(__u32){ 0 }, &id), 0);
			replaced += id != before;
			before = id;
		}
		assert_int_equal(dp_table_used(table), MOST + 1);
		dp_table_close(table);
		shrink(outer, map);
	}
	/* The old inner map is freed here at once, between the two steps in which user space opens it. */
	for (int i = 0; i < 100; i++)
		shrink(outer, map);
	background_stop(&program);
	background_stop(&user);
	assert_true(replaced >= 10 * ROUNDS);
	assert_int_equal(read_misses(misses), 0);
	if (miss.num)
		fail_msg("%s", miss.msg);
}

/* Values and BTF go along when a map grows. */
static void growth_keeps_values_and_btf(void **state)
{
	static const char *const names[] = { "policy", "identities" };

	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		_cleanup_elements_ struct elements first = elements_make(names[n], 0, 3000, 1);
		_cleanup_elements_ struct elements more = elements_make(names[n], 2000, 20000, 2);
		struct dp_table *table = open_table(names[n]);
		_cleanup_free_ char *text = NULL;
		size_t size, counts[256];
		struct err err = { 0 };
		FILE *out;

		assert_ok(dp_table_put(table, first.keys, first.values, first.count, &err));
		assert_ok(dp_table_put(table, more.keys, more.values, more.count, &err));
		count_by_value(table, counts);
		assert_int_equal(counts[1], 2000);
		assert_int_equal(counts[2], 20000);
		dp_table_close(table);
		out = open_memstream(&text, &size);
		assert_ok(dp_map_print_btf(names[n], first.keys, first.values, out, &err));
		fclose(out);
		assert_non_null(strstr(text, n ? ".peer" : ".policy_class"));
	}
}

/* --- endpoint policies --- */

static struct wr_endpoint endpoint(uint32_t ifindex)
{
	return (struct wr_endpoint){
		.ifindex = ifindex,
		.addr4 = { htobe32(0x0a000000 + ifindex) },
		.flags = WR_EP_V4,
		.policy_class = WR_CLASS_NOT_ISOLATED,
		.revision = 1,
	};
}

static void put_endpoint(uint32_t ifindex)
{
	const struct wr_endpoint ep = endpoint(ifindex);
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct err err = { 0 };

	assert_ok(dp_open(&dp, &err));
	assert_ok(dp_endpoint_put(&dp, &ep, &err));
}

static void endpoint_policies_are_set(void **state)
{
	const uint32_t crowd[] = { 9, 9 + WR_ENDPOINT_SLOTS, 9 + 2 * WR_ENDPOINT_SLOTS }; /* all hash to one slot */
	struct dp_endpoint_policy set[] = {
		{ crowd[2], 18, 103, 1003 }, { 4711, 19, 104, 1004 },	  { crowd[0], 16, 101, 1001 },
		{ 0, 20, 105, 1005 },	     { crowd[1], 17, 102, 1002 },
	};
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct dp_endpoint_policies *policies;
	struct wr_endpoint ep;
	struct err err = { 0 };
	bool missing[ARRAY_SIZE(set)];

	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
		put_endpoint(crowd[i]);
	assert_ok(dp_endpoint_policies_open(&policies, &err));
	assert_ok(dp_endpoint_policies_set(policies, set, ARRAY_SIZE(set), missing, &err));
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		assert_int_equal(missing[i], i == 1 || i == 3);
	assert_ok(dp_endpoint_policies_set(policies, set, 1, NULL, &err));
	assert_ok(dp_open(&dp, &err));
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
		assert_ok(dp_endpoint_get(&dp, crowd[i], &ep, &err));
		assert_int_equal(ep.policy_class, 16 + i);
		assert_int_equal(ep.revision, 101 + i);
		assert_int_equal(ep.identity, 1001 + i);
		assert_int_equal(ep.addr4.v4, endpoint(crowd[i]).addr4.v4); /* the rest is as it was */
	}
	dp_endpoint_policies_close(policies);
}

struct watched {
	const struct wr_endpoint *slot;
	uint64_t torn, seen;
};

/* Class and revision belong together in every tag that a program may read, and the identity is never older than the tag.
 */
static void watch_policy_tag(void *arg)
{
	struct watched *w = arg;

	for (int i = 0; i < 1000; i++) {
		uint64_t tag =
		    __atomic_load_n((const uint64_t *)(const void *)&w->slot->policy_class, __ATOMIC_ACQUIRE);
		uint64_t identity = __atomic_load_n(&w->slot->identity, __ATOMIC_RELAXED);
		uint32_t policy_class = (uint32_t)tag, revision = (uint32_t)(tag >> 32);

		if (revision < 2)
			continue;
		w->seen++;
		w->torn += policy_class != revision + 16 || identity < revision;
	}
}

static void policy_tags_are_never_torn(void **state)
{
	const size_t bytes = WR_ENDPOINT_SLOTS * sizeof(struct wr_endpoint);
	_cleanup_fd_ int fd = map_fd("endpoints");
	const struct wr_endpoint *slots = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	struct watched watched = { 0 };
	struct background watcher;
	struct dp_endpoint_policies *policies;
	struct err err = { 0 };

	assert_true(slots != MAP_FAILED);
	put_endpoint(9);
	watched.slot = &slots[wr_endpoint_slot(9, 0)];
	assert_ok(dp_endpoint_policies_open(&policies, &err));
	background_start(&watcher, watch_policy_tag, &watched);
	for (uint32_t revision = 2; revision < 2000 || !__atomic_load_n(&watched.seen, __ATOMIC_RELAXED); revision++) {
		struct dp_endpoint_policy some[64];

		for (uint32_t i = 0; i < ARRAY_SIZE(some); i++) {
			uint32_t r = revision * 64 + i;

			some[i] = (struct dp_endpoint_policy){ 9, r + 16, r, r };
		}
		assert_ok(dp_endpoint_policies_set(policies, some, ARRAY_SIZE(some), NULL, &err));
	}
	background_stop(&watcher);
	assert_true(watched.seen > 0);
	assert_int_equal(watched.torn, 0);
	dp_endpoint_policies_close(policies);
	munmap((void *)slots, bytes);
}

struct churn {
	struct dp dp;
	uint64_t wrong, failed, turns;
	struct err err; /* of the last that failed */
};

/* Two endpoints take turns in one slot. */
static void churn_slot(void *arg)
{
	struct churn *c = arg;

	for (int i = 0; i < 2; i++) {
		const struct wr_endpoint ep = endpoint(i ? 9 + WR_ENDPOINT_SLOTS : 9);
		struct wr_endpoint read;

		if (dp_endpoint_put(&c->dp, &ep, &c->err) < 0 ||
		    dp_endpoint_get(&c->dp, ep.ifindex, &read, &c->err) < 0) {
			c->failed++;
			continue;
		}
		if (i && (read.policy_class != WR_CLASS_NOT_ISOLATED || read.identity))
			c->wrong++; /* a policy of the other endpoint */
		if (dp_endpoint_delete(&c->dp, ep.ifindex, &c->err) < 0)
			c->failed++;
	}
	__atomic_add_fetch(&c->turns, 1, __ATOMIC_RELAXED);
}

static void endpoint_policies_and_reused_slots(void **state)
{
	const struct dp_endpoint_policy policy = { 9, 99, 2, 12345 };
	struct churn churn = { .dp = DP_CLOSED };
	struct background thread;
	struct dp_endpoint_policies *policies;
	size_t hit = 0;
	bool missing;
	struct err err = { 0 };

	assert_ok(dp_open(&churn.dp, &err));
	assert_ok(dp_endpoint_policies_open(&policies, &err));
	background_start(&thread, churn_slot, &churn);
	for (int i = 0; i < 3000 || !hit; i++) {
		uint64_t turns = __atomic_load_n(&churn.turns, __ATOMIC_RELAXED);

		assert_ok(dp_endpoint_policies_set(policies, &policy, 1, &missing, &err));
		hit += !missing;
		/* A process that takes a lock again at once keeps it from others, which poll it every other millisecond. */
		while (i % 32 == 31 && __atomic_load_n(&churn.turns, __ATOMIC_RELAXED) == turns)
			sched_yield();
	}
	background_stop(&thread);
	if (churn.failed)
		fail_msg("%s", churn.err.msg);
	assert_int_equal(churn.wrong, 0);
	dp_endpoint_policies_close(policies);
	dp_close(&churn.dp);
}

struct late_policy {
	struct dp_endpoint_policies *policies;
	bool begun;
	int result;
};

static void *set_late(void *arg)
{
	const struct dp_endpoint_policy policy = { 9, 99, 2, 12345 };
	struct late_policy *late = arg;

	__atomic_store_n(&late->begun, true, __ATOMIC_RELEASE);
	late->result = dp_endpoint_policies_set(late->policies, &policy, 1, NULL, NULL);
	return NULL;
}

static void endpoint_policies_wait_for_the_lock(void **state)
{
	_cleanup_fd_ int lock = -1;
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct late_policy late = { 0 };
	struct wr_endpoint ep;
	struct err err = { 0 };
	pthread_t thread;

	put_endpoint(9);
	assert_ok(dp_open(&dp, &err));
	assert_ok(dp_endpoint_policies_open(&late.policies, &err));
	lock = lock_take(LOCK_ENDPOINTS, "", 0, &err);
	assert_true(lock >= 0);
	assert_int_equal(pthread_create(&thread, NULL, set_late, &late), 0);
	while (!__atomic_load_n(&late.begun, __ATOMIC_ACQUIRE))
		sched_yield();
	for (int i = 0; i < 2000; i++) { /* long enough to show that it waits: some milliseconds */
		assert_ok(dp_endpoint_get(&dp, 9, &ep, &err));
		assert_int_equal(ep.policy_class, WR_CLASS_NOT_ISOLATED);
	}
	closep(&lock);
	pthread_join(thread, NULL);
	assert_int_equal(late.result, 0);
	assert_ok(dp_endpoint_get(&dp, 9, &ep, &err));
	assert_int_equal(ep.policy_class, 99);
	dp_endpoint_policies_close(late.policies);
}

/* --- the rest --- */

static void policy_state_round_trip(void **state)
{
	struct wr_policy_state set = { 7, 21, 123456789012345, 3, 1, 2 }, got;
	struct err err = { 0 };

	assert_ok(dp_policy_state_get(&got, &err));
	assert_int_equal(got.revision, 0);
	assert_ok(dp_policy_state_set(&set, &err));
	assert_ok(dp_policy_state_get(&got, &err));
	assert_memory_equal(&got, &set, sizeof(set));
}

static void nothing_is_loaded(void **state)
{
	struct wr_policy_state policy = { 0 };
	struct dp_table *table;
	struct dp_endpoint_policies *policies;
	struct err err = { 0 };

	assert_int_equal(dp_table_open("no_such_map", &table, &err), -ENOENT);
	assert_int_equal(dp_table_open("policy", &table, &err), -ENOENT);
	assert_non_null(strstr(err.hint, "warren node init"));
	assert_int_equal(dp_endpoint_policies_open(&policies, &err), -ENOENT);
	assert_int_equal(dp_policy_state_get(&policy, &err), -ENOENT);
	assert_int_equal(dp_policy_state_set(&policy, &err), -ENOENT);
}

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load_maps, dp_rig_unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(put_replace_delete),
		LOADED(delete_absent_keys),
		LOADED(refused_deletion_forgets_nothing),
		LOADED(one_key_twice_in_a_call),
		LOADED(full_table_takes_none_of_it),
		LOADED(refused_half_way),
		LOADED(grown_to_the_limit),
		LOADED(a_limit_of_its_own),
		LOADED(readers_miss_nothing_while_it_grows),
		LOADED(growth_keeps_values_and_btf),
		LOADED(endpoint_policies_are_set),
		LOADED(policy_tags_are_never_torn),
		LOADED(endpoint_policies_and_reused_slots),
		LOADED(endpoint_policies_wait_for_the_lock),
		LOADED(policy_state_round_trip),
		cmocka_unit_test(nothing_is_loaded),
	};

	return cmocka_run_group_tests_name("tables", tests, dp_rig_make, NULL);
}
