/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes in the maps of the real kernel: written by writers that may be killed, listed, and read as programs do. */
#ifndef WARREN_TEST_NODES_RIG_H
#define WARREN_TEST_NODES_RIG_H

#include "dp_rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nodes_internal.h"

/* --- a writer that is killed, refused or put off at its n-th write -------------------------------------------------- */

/* IS_REFUSED: without memory, and so is each try of the same write after it. IS_PUT_OFF: the first try only. */
static enum { CONTINUES, IS_KILLED, IS_REFUSED, IS_PUT_OFF } at_the_end = CONTINUES;
static long writes_left;

/* Whether this is the n-th write, or directly after it one more try: key and value are at the same places. */
static bool is_nth_write(int command, const union bpf_attr *write)
{
	static __u64 key, value;

	if (command != BPF_MAP_UPDATE_ELEM && command != BPF_MAP_DELETE_ELEM)
		return false;
	if (writes_left-- == 0) {
		key = write->key;
		value = write->value;
		return true;
	}
	if (writes_left >= 0 || command != BPF_MAP_UPDATE_ELEM || write->key != key || write->value != value)
		key = 0;
	return key;
}

/* libbpf calls this syscall(), since it is linked into this program. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	const union bpf_attr *attr;
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	memcpy(&attr, &a[1], sizeof(attr));
	if (number == SYS_bpf && at_the_end != CONTINUES && is_nth_write((int)a[0], attr)) {
		if (at_the_end == IS_KILLED)
			_exit(9);
		if (at_the_end == IS_PUT_OFF)
			at_the_end = CONTINUES;
		errno = ENOMEM;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------- */

/* The n-th of many: 10.n.0/24 and fd00:n::/64, two addresses of each family, over IPv4 or (odd ones) IPv6. */
static inline struct dp_node nth(unsigned n)
{
	struct dp_node node = { .address_count = 4, .uplink = 7, .mtu = 1438 };

	node.cidrs[0] = (struct prefix){ ip_add(ip("10.0.0.0"), (uint64_t)n << 8), 24 };
	node.cidrs[1] = prefix("fd00::/64");
	node.addresses[0] = ip_add(ip("172.16.0.0"), 2 * n);
	node.addresses[1] = ip_add(ip("172.16.0.0"), 2 * n + 1);
	node.addresses[2] = ip_add(ip("fc00::"), 2 * n);
	node.addresses[3] = ip_add(ip("fc00::"), 2 * n + 1);
	node.cidrs[1].ip.bytes[6] = (uint8_t)(n >> 8);
	node.cidrs[1].ip.bytes[7] = (uint8_t)n;
	node.local = n % 2 ? ip("fc01::1") : ip("172.31.0.1");
	node.remote = node.addresses[n % 2 ? 2 : 0];
	return node;
}

static inline struct dp_nodes *open_nodes(void)
{
	struct dp_nodes *nodes = NULL;
	struct err err = { 0 };

	assert_ok(dp_nodes_open(&nodes, &err));
	return nodes;
}

static inline uint32_t put(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node)
{
	struct err err = { 0 };
	uint32_t other = 4711;
	int r = dp_node_put(nodes, slot, node, &other, &err);

	if (r <= 0)
		fail_msg("%d, %s", r, err.msg);
	assert_int_equal(other, 0);
	return (uint32_t)r;
}

/* Replaced slots are emptied with the next generation. */
static inline uint32_t put_for_good(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node)
{
	uint32_t now = put(nodes, slot, node);

	assert_int_equal(dp_nodes_commit(nodes, NULL), 0);
	return now;
}

static inline bool same(const struct dp_node *a, const struct dp_node *b)
{
	bool equal = a->address_count == b->address_count && ip_equal(&a->local, &b->local) &&
		     ip_equal(&a->remote, &b->remote) && a->uplink == b->uplink && a->mtu == b->mtu &&
		     a->direct == b->direct;

	for (size_t i = 0; i < NODE_CIDRS && equal; i++)
		equal = !a->cidrs[i].ip.family || node_has_cidr(b, &a->cidrs[i]);
	for (size_t i = 0; i < a->address_count && equal; i++)
		equal = node_has_address(b, &a->addresses[i]);
	return equal;
}

struct listing {
	struct dp_node node[32];
	uint32_t slot[32];
	struct wr_metric totals[32][WR_DIRECTIONS];
	size_t count;
};

static inline int list_one(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg)
{
	struct listing *l = arg;

	l->slot[l->count] = slot;
	l->node[l->count] = *node;
	memcpy(l->totals[l->count], totals, sizeof(l->totals[0]));
	return ++l->count == ARRAY_SIZE(l->node);
}

static inline struct listing list(void)
{
	struct listing l = { .count = 0 };
	struct err err = { 0 };

	assert_ok(dp_node_each(list_one, &l, &err));
	return l;
}

/* --- what a program may read ---------------------------------------------------------------------------------------- */

struct view {
	struct wr_node *slots;
	unsigned prefixes, addresses, metrics, taken;
	bool whole; /* and not only sound */
};

static inline int view_slot(const void *key, const void *value, int cpus, void *arg)
{
	struct view *v = arg;

	v->slots[*(const uint32_t *)key] = *(const struct wr_node *)value;
	v->taken++;
	return 0;
}

static inline int view_prefix4(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_prefix4 *p = key;
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->prefixes++;
	if (!v->slots[slot].id || p->addr.v4 != v->slots[slot].cidr4.v4)
		fail_msg("a prefix leads to slot %u, which is not its node's", slot);
	return 0;
}

static inline int view_prefix6(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_prefix6 *p = key;
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->prefixes++;
	if (!v->slots[slot].id || memcmp(&p->addr, &v->slots[slot].cidr6, 16) != 0)
		fail_msg("a prefix leads to slot %u, which is not its node's", slot);
	return 0;
}

static inline int view_address(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->addresses++;
	if (!v->slots[slot].id)
		fail_msg("an address leads to slot %u, which is empty", slot);
	return 0;
}

static inline int view_metric(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = *(const uint32_t *)key / WR_DIRECTIONS;
	struct view *v = arg;

	v->metrics++;
	if (v->whole && !v->slots[slot].id)
		fail_msg("counters of slot %u, which is empty", slot);
	return 0;
}

/* Always: no address or prefix maps to an empty slot or another node's. When `whole`: no entry is stale or missing. */
static inline struct view look(bool whole)
{
	struct view v = { .slots = calloc(WR_NODE_SLOTS, sizeof(*v.slots)), .whole = whole };
	struct err err = { 0 };

	assert_ok(dp_map_each("nodes", view_slot, &v, &err));
	assert_ok(dp_map_each("nodes4", view_prefix4, &v, &err));
	assert_ok(dp_map_each("nodes6", view_prefix6, &v, &err));
	assert_ok(dp_map_each("node_addr4", view_address, &v, &err));
	assert_ok(dp_map_each("node_addr6", view_address, &v, &err));
	assert_ok(dp_map_each("node_metrics", view_metric, &v, &err));
	if (whole) {
		struct listing l = list();

		assert_int_equal(v.metrics, 2 * v.taken);
		assert_int_equal(v.prefixes, 2 * v.taken);
		for (size_t i = 0; i < l.count; i++)
			assert_true(node_has_address(&l.node[i], &l.node[i].remote));
	}
	free(v.slots);
	return v;
}

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load_maps, dp_rig_unload)

#endif
