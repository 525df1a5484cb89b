/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes in the maps of the real kernel: order of writes, conflicts, writers killed at every step. */
#include "dp_rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "cleanup.h"
#include "nodes_internal.h"

/* --- a writer that is killed, or refused, at its n-th write --------------------------------------------------------- */

static enum { GOES_ON, IS_KILLED, IS_REFUSED } at_the_end = GOES_ON;
static long writes_left;

/* libbpf's way into the kernel, which is linked into this program. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_bpf && (a[0] == BPF_MAP_UPDATE_ELEM || a[0] == BPF_MAP_DELETE_ELEM) && at_the_end != GOES_ON &&
	    writes_left-- == 0) {
		if (at_the_end == IS_KILLED)
			_exit(9);
		at_the_end = GOES_ON;
		errno = ENOMEM;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------- */

/* The n-th of many: 10.n.0/24 and fd00:n::/64, two addresses of each family, over IPv4 or (odd ones) IPv6. */
static struct dp_node nth(unsigned n)
{
	struct dp_node node = { .address_count = 4, .uplink = 7, .mtu = 1438, .resolved = true,
				.dmac = { 2, 0, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n }, .smac = { 2, 1 } };

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

static struct dp_nodes *open_nodes(void)
{
	struct dp_nodes *nodes = NULL;
	struct err err = { 0 };

	assert_ok(dp_nodes_open(&nodes, &err));
	return nodes;
}

static uint32_t put(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node)
{
	struct err err = { 0 };
	uint32_t other = 4711;
	int r = dp_node_put(nodes, slot, node, &other, &err);

	if (r <= 0)
		fail_msg("%d, %s", r, err.msg);
	assert_int_equal(other, 0);
	return (uint32_t)r;
}

static bool same(const struct dp_node *a, const struct dp_node *b)
{
	bool equal = a->address_count == b->address_count && ip_equal(&a->local, &b->local) &&
		     ip_equal(&a->remote, &b->remote) && a->uplink == b->uplink && a->mtu == b->mtu &&
		     a->direct == b->direct && a->resolved == b->resolved && memcmp(a->dmac, b->dmac, 6) == 0 &&
		     memcmp(a->smac, b->smac, 6) == 0;

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

static int list_one(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg)
{
	struct listing *l = arg;

	l->slot[l->count] = slot;
	l->node[l->count] = *node;
	memcpy(l->totals[l->count], totals, sizeof(l->totals[0]));
	return ++l->count == ARRAY_SIZE(l->node);
}

static struct listing list(void)
{
	struct listing l = { .count = 0 };
	struct err err = { 0 };

	assert_ok(dp_node_each(list_one, &l, &err));
	return l;
}

/* --- what a program may find ---------------------------------------------------------------------------------------- */

struct view {
	struct wr_node *slots;
	unsigned prefixes, addresses, metrics, taken;
	bool whole; /* and not only sound */
};

static int view_slot(const void *key, const void *value, int cpus, void *arg)
{
	struct view *v = arg;

	v->slots[*(const uint32_t *)key] = *(const struct wr_node *)value;
	v->taken++;
	return 0;
}

static int view_prefix4(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_prefix4 *p = key;
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->prefixes++;
	if (!v->slots[slot].id || p->addr.v4 != v->slots[slot].cidr4.v4)
		fail_msg("a prefix leads to slot %u, which is not its node's", slot);
	return 0;
}

static int view_prefix6(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_prefix6 *p = key;
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->prefixes++;
	if (!v->slots[slot].id || memcmp(&p->addr, &v->slots[slot].cidr6, 16) != 0)
		fail_msg("a prefix leads to slot %u, which is not its node's", slot);
	return 0;
}

static int view_address(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct view *v = arg;

	v->addresses++;
	if (!v->slots[slot].id)
		fail_msg("an address leads to slot %u, which is empty", slot);
	return 0;
}

static int view_metric(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = *(const uint32_t *)key / WR_DIRECTIONS;
	struct view *v = arg;

	v->metrics++;
	if (v->whole && !v->slots[slot].id)
		fail_msg("counters of slot %u, which is empty", slot);
	return 0;
}

/* At any moment: nothing leads to an empty slot or another node's. When `whole`: nothing is left over or lacking either. */
static struct view look(bool whole)
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

/* --- tests ---------------------------------------------------------------------------------------------------------- */

static void put_list_delete(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct err err = { 0 };
	struct listing l;
	uint32_t slot[3];

	assert_int_equal(list().count, 0);
	for (unsigned n = 0; n < 3; n++) {
		struct dp_node node = nth(n);

		node.direct = n == 2;
		slot[n] = put(nodes, 0, &node);
		l = list();
		assert_int_equal(l.count, n + 1);
		assert_int_equal(l.slot[n], slot[n]);
		assert_true(same(&l.node[n], &node));
		look(true);
	}
	/* One family only, and a CIDR that is given with host bits. */
	struct dp_node single = nth(9);
	single.cidrs[0] = prefix("10.77.5.9/16");
	single.cidrs[1] = (struct prefix){ 0 };
	put(nodes, 0, &single);
	single.cidrs[0] = prefix("10.77.0.0/16");
	assert_true(same(&list().node[3], &single));

	for (unsigned n = 0; n < 3; n++) {
		assert_ok(dp_node_delete(nodes, slot[n], &err));
		assert_ok(dp_node_delete(nodes, slot[n], &err)); /* empty already */
		look(false);
	}
	assert_int_equal(list().count, 1);
	dp_nodes_close(nodes);
}

/* Slots rest, and ids are new, also after the agent has started again. */
static void slots_in_turn(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	uint32_t last = 0, id = 0;
	struct err err = { 0 };

	for (unsigned i = 0; i < WR_NODE_SLOTS + 10; i++) {
		uint32_t slot = put(nodes, 0, &node);

		assert_int_equal(slot, last == WR_NODE_SLOTS - 1 ? 1 : last + 1);
		assert_true(nodes->slots[slot]->raw.id > id);
		id = nodes->slots[slot]->raw.id;
		last = slot;
		assert_ok(dp_node_delete(nodes, slot, &err));
		if (i % 1000 == 999 || i == WR_NODE_SLOTS) {
			dp_nodes_close(nodes);
			nodes = open_nodes();
		}
	}
	dp_nodes_close(nodes);
}

static void conflicts(void **state)
{
	static const char *const overlapping[] = { "10.0.1.0/24", "10.0.0.0/16", "10.0.1.128/25", "fd00:0:0:1::/64",
						   "fd00::/48",	  "fd00:0:0:1:8000::/65", "0.0.0.0/0", "::/0" };
	struct dp_nodes *nodes = open_nodes();
	struct dp_node first = nth(1), second = nth(2);
	uint32_t one = put(nodes, 0, &first), two = put(nodes, 0, &second), other;
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(overlapping); i++) {
		const struct prefix cidr = prefix(overlapping[i]);
		struct dp_node node = nth(5);

		node.cidrs[cidr.ip.family == AF_INET6] = cidr;
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_true(other == one || (cidr.len <= 48 && other == two));
		assert_non_null(strstr(err.msg, "pod CIDR"));
	}
	for (size_t i = 0; i < first.address_count; i++) {
		struct dp_node node = nth(5);

		node.addresses[node.address_count++] = first.addresses[i];
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_int_equal(other, one);
		/* Nor may another node take it over. */
		node = second;
		node.addresses[node.address_count++] = first.addresses[i];
		assert_int_equal(dp_node_put(nodes, two, &node, &other, &err), -EEXIST);
	}
	assert_int_equal(list().count, 2);
	/* Its own it may change as it likes: a larger CIDR that holds the old one, an address less. */
	first.cidrs[0] = prefix("10.0.0.0/23");
	first.address_count = 3;
	one = put(nodes, one, &first);
	look(true);
	/* What was freed is free. */
	assert_ok(dp_node_delete(nodes, one, &err));
	second.cidrs[0] = prefix("10.0.0.0/22");
	put(nodes, two, &second);
	look(true);

	struct dp_node wrong = nth(8);
	wrong.remote = ip("192.0.2.1"); /* not one of its addresses */
	assert_int_equal(dp_node_put(nodes, 0, &wrong, &other, &err), -EINVAL);
	wrong = nth(8);
	wrong.local = ip("fc01::1");
	assert_int_equal(dp_node_put(nodes, 0, &wrong, &other, &err), -EINVAL);
	assert_int_equal(dp_node_put(nodes, 99, &second, &other, &err), -ENOENT);
	dp_nodes_close(nodes);
}

static void next_hop_in_place(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	uint32_t slot = put(nodes, 0, &node), id = nodes->slots[slot]->raw.id;

	for (int i = 0; i < 4; i++) {
		node.dmac[5]++;
		node.uplink++;
		node.resolved = i % 2;
		if (!node.resolved)
			memset(node.dmac, 0, sizeof(node.dmac)), memset(node.smac, 0, sizeof(node.smac));
		assert_int_equal(put(nodes, slot, &node), slot);
		assert_int_equal(nodes->slots[slot]->raw.id, id);
		assert_true(same(&list().node[0], &node));
	}
	node.mtu--;
	assert_int_not_equal(put(nodes, slot, &node), slot);
	look(true);
	dp_nodes_close(nodes);
}

/* --- killed at every step ------------------------------------------------------------------------------------------- */

struct change {
	const char *name;
	bool is_new, is_deleted, in_place;
	void (*edit)(struct dp_node *node);
};

static void no_edit(struct dp_node *node)
{
}

static void edit_hop(struct dp_node *node)
{
	memset(node->dmac, 0x55, sizeof(node->dmac));
	memset(node->smac, 0x66, sizeof(node->smac));
	node->uplink = 99;
}

static void edit_mtu(struct dp_node *node)
{
	node->mtu = 1200;
}

static void edit_cidrs(struct dp_node *node)
{
	node->cidrs[0] = prefix("10.200.0.0/16");
	node->cidrs[1] = prefix("fd00:200::/64");
}

/* The old one lies within. */
static void edit_wider(struct dp_node *node)
{
	node->cidrs[0].len = 20;
	node->cidrs[0].ip = prefix_first(&node->cidrs[0]);
}

static void edit_addresses(struct dp_node *node)
{
	for (size_t i = 0; i < node->address_count; i++)
		node->addresses[i] = ip_add(node->addresses[i], 1000);
	node->remote = node->addresses[1];
	node->local = ip("172.31.0.1");
}

static void edit_outer_family(struct dp_node *node)
{
	node->remote = node->addresses[0];
	node->local = ip("172.31.0.1");
}

static const struct change changes[] = {
	{ "a new node", true, false, false, no_edit },
	{ "a node deleted", false, true, false, no_edit },
	{ "another next hop", false, false, true, edit_hop },
	{ "another MTU", false, false, false, edit_mtu },
	{ "other CIDRs", false, false, false, edit_cidrs },
	{ "a wider CIDR", false, false, false, edit_wider },
	{ "other addresses", false, false, false, edit_addresses },
	{ "the other outer family", false, false, false, edit_outer_family },
};

/* The node that changes, between two that do not. */
#define CHANGING 17
static uint32_t setting(struct dp_nodes *nodes, const struct change *c)
{
	struct dp_node neighbours[] = { nth(3), nth(40) }, node = nth(CHANGING);
	uint32_t slot;

	put(nodes, 0, &neighbours[0]);
	slot = c->is_new ? 0 : put(nodes, 0, &node);
	put(nodes, 0, &neighbours[1]);
	return slot;
}

static int perform(struct dp_nodes *nodes, const struct change *c, uint32_t slot, struct err *err)
{
	struct dp_node node = nth(CHANGING);
	uint32_t other;
	int r;

	c->edit(&node);
	r = c->is_deleted ? dp_node_delete(nodes, slot, err) : dp_node_put(nodes, slot, &node, &other, err);
	return r < 0 ? r : 0;
}

/* Performs it in a process that is killed at write `n`. False: it came to its end before. */
static bool killed_at(const struct change *c, long n)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct dp_nodes *nodes;
		struct err err;
		uint32_t slot = 0;

		if (dp_nodes_open(&nodes, &err) < 0)
			_exit(1);
		for (uint32_t s = 1; s < WR_NODE_SLOTS; s++) {
			if (nodes->slots[s] && node_has_cidr(&nodes->slots[s]->node, &nth(CHANGING).cidrs[0]))
				slot = s;
		}
		writes_left = n;
		at_the_end = IS_KILLED;
		_exit(perform(nodes, c, slot, &err) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 9)
		fail_msg("%s, killed at %ld: it failed", c->name, n);
	return WEXITSTATUS(status) == 9;
}

/* The changing node as it is listed, or NULL. */
static const struct dp_node *changing(const struct listing *l, uint32_t *slot)
{
	const struct dp_node neighbours[] = { nth(3), nth(40) };
	const struct dp_node *found = NULL;

	for (size_t i = 0; i < l->count; i++) {
		if (same(&l->node[i], &neighbours[0]) || same(&l->node[i], &neighbours[1]))
			continue;
		assert_null(found); /* there is one of it */
		found = &l->node[i];
		*slot = l->slot[i];
	}
	return found;
}

static void clear_all(void)
{
	struct dp_nodes *nodes = open_nodes();
	struct listing l = list();
	struct err err = { 0 };
	struct view v;

	for (size_t i = 0; i < l.count; i++)
		assert_ok(dp_node_delete(nodes, l.slot[i], &err));
	dp_nodes_close(nodes);
	v = look(true);
	assert_int_equal(v.taken + v.prefixes + v.addresses + v.metrics, 0);
}

static void mended(const struct change *c, long n)
{
	struct dp_node old = nth(CHANGING), want = nth(CHANGING);
	struct dp_nodes *nodes = open_nodes();
	struct listing l = list();
	struct err err = { 0 };
	uint32_t slot = 0;
	const struct dp_node *now = changing(&l, &slot);

	c->edit(&want);
	look(true);
	if (!now && !c->is_new && !c->is_deleted)
		fail_msg("%s, killed at %ld: the node is gone", c->name, n);
	if (now && !ip_equal(&now->remote, &old.remote) && !ip_equal(&now->remote, &want.remote))
		fail_msg("%s, killed at %ld: neither the old node nor the new one", c->name, n);
	if (now && c->in_place && now->resolved && memcmp(now->dmac, old.dmac, 6) != 0 &&
	    (memcmp(now->dmac, want.dmac, 6) != 0 || memcmp(now->smac, want.smac, 6) != 0 || now->uplink != want.uplink))
		fail_msg("%s, killed at %ld: half a next hop", c->name, n);
	/* Who comes next brings it to its end. */
	if (c->is_deleted) {
		assert_ok(dp_node_delete(nodes, slot, &err));
		assert_int_equal(list().count, 2);
	} else {
		put(nodes, slot, &want);
		l = list();
		now = changing(&l, &slot);
		assert_non_null(now);
		assert_true(same(now, &want));
	}
	look(true);
	dp_nodes_close(nodes);
}

static void killed_at_every_step(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		long n = 0;
		bool killed;

		do {
			struct dp_nodes *nodes = open_nodes();

			setting(nodes, &changes[i]);
			dp_nodes_close(nodes);
			killed = killed_at(&changes[i], n++);
			look(false);
			mended(&changes[i], n - 1);
			clear_all();
		} while (killed);
		assert_true(n > 2);
	}
}

/*
 * Under a sanitizer every fork copies its shadow memory, and steps that differ only in what the kernel holds show it nothing new:
 * fewer of them do.
 */
#if defined(__SANITIZE_ADDRESS__)
#define MENDING_STEP 11
#else
#define MENDING_STEP 3
#endif

/* And so that whoever mends is killed, too. (Not every step, and of those changes that write most: it takes its time.) */
static void killed_while_mending(void **state)
{
	for (size_t i = 4; i < ARRAY_SIZE(changes); i += 2) {
		bool killed = true;

		for (long n = 0; killed; n += MENDING_STEP) {
			for (long m = 0; m < 4; m++) {
				struct dp_nodes *nodes = open_nodes();
				pid_t pid;
				int status;

				setting(nodes, &changes[i]);
				dp_nodes_close(nodes);
				killed = killed_at(&changes[i], n);
				pid = fork();
				assert_true(pid >= 0);
				if (pid == 0) {
					writes_left = m;
					at_the_end = IS_KILLED;
					_exit(dp_nodes_open(&nodes, NULL) < 0);
				}
				assert_int_equal(waitpid(pid, &status, 0), pid);
				assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
				look(false);
				mended(&changes[i], n);
				clear_all();
				if (WEXITSTATUS(status) == 0)
					break; /* it had no more to do */
			}
		}
	}
}

/* No memory at any step: as it was before, and the next attempt succeeds. */
static void refused_at_every_step(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const struct change *c = &changes[i];
		int r = -1;

		for (long n = 0; r != 0; n++) {
			struct dp_nodes *nodes = open_nodes();
			uint32_t slot = setting(nodes, c), now_slot = 0;
			struct dp_node old = nth(CHANGING);
			const struct dp_node *now;
			struct err err = { 0 };
			struct listing l;

			writes_left = n;
			at_the_end = IS_REFUSED;
			r = perform(nodes, c, slot, &err);
			at_the_end = GOES_ON;
			look(false);
			l = list();
			now = changing(&l, &now_slot);
			if (r < 0 && !c->is_deleted && !c->in_place && now_slot == slot) {
				assert_true(c->is_new ? !now : now && same(now, &old));
				look(true);
			}
			dp_nodes_close(nodes);
			mended(c, n);
			clear_all();
		}
	}
}

/* --- many ----------------------------------------------------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int count_nodes(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

static void five_thousand(void **state)
{
	enum { MANY = 5000 };
	struct dp_nodes *nodes = open_nodes();
	uint32_t other;
	double begin = seconds(), written, opened, walked;
	unsigned count = 0;
	struct err err = { 0 };

	for (unsigned n = 0; n < MANY; n++) {
		struct dp_node node = nth(n);

		put(nodes, 0, &node);
	}
	written = seconds();
	dp_nodes_close(nodes);
	nodes = open_nodes();
	opened = seconds();
	assert_ok(dp_node_each(count_nodes, &count, &err));
	walked = seconds();
	assert_int_equal(count, MANY);
	look(false);
	print_message("%d nodes: written in %.0f ms, opened in %.0f ms, walked in %.0f ms\n", MANY, 1e3 * (written - begin),
		      1e3 * (opened - written), 1e3 * (walked - opened));
	/* Each still has its own. */
	for (unsigned n = 0; n < MANY; n += 499) {
		struct dp_node node = nth(n);

		node.addresses[0] = ip("192.0.2.1");
		node.address_count = 1;
		node.remote = node.addresses[0];
		node.local = ip("172.31.0.1");
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_int_equal(other, n + 1);
	}
	/* As many as there is room for, and one more: refused, and nothing of it stays. */
	for (unsigned n = MANY; n < WR_MAX_NODES; n++) {
		struct dp_node node = nth(n);

		put(nodes, 0, &node);
	}
	struct dp_node more = nth(WR_MAX_NODES);
	assert_int_equal(dp_node_put(nodes, 0, &more, &other, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "is full"));
	count = 0;
	assert_ok(dp_node_each(count_nodes, &count, &err));
	assert_int_equal(count, WR_MAX_NODES);
	look(false);
	dp_nodes_close(nodes);
}

/* --- counters, addresses, this node's own part ---------------------------------------------------------------------- */

static void counters(void **state)
{
	_cleanup_fd_ int map = map_fd("node_metrics");
	struct dp_nodes *nodes = open_nodes();
	const int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct wr_metric *values = calloc((size_t)cpus, sizeof(*values));
	struct dp_node node = nth(1);
	uint32_t slot = put(nodes, 0, &node);
	struct err err = { 0 };
	struct listing l;

	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		const __u32 key = wr_metric_key(slot, direction);

		for (int cpu = 0; cpu < cpus; cpu++)
			values[cpu] = (struct wr_metric){ direction + 1, 100 };
		assert_int_equal(bpf_map_update_elem(map, &key, values, BPF_EXIST), 0); /* they were made */
	}
	l = list();
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		assert_int_equal(l.totals[0][direction].packets, (direction + 1) * (unsigned)cpus);
		assert_int_equal(l.totals[0][direction].bytes, 100 * cpus);
	}
	assert_ok(dp_node_delete(nodes, slot, &err));
	look(true); /* they have gone along */
	put(nodes, 0, &node);
	assert_int_equal(list().totals[0][WR_EGRESS].packets, 0);
	dp_nodes_close(nodes);
}

static uint32_t revision(void)
{
	struct wr_cluster cluster;
	struct err err = { 0 };

	assert_ok(dp_cluster_get(&cluster, &err));
	return cluster.revision;
}

/* Whether commit draws a new revision: it does if something has changed. */
static bool commit_draws(struct dp_nodes *nodes)
{
	uint32_t before = revision();
	struct err err = { 0 };

	assert_ok(dp_nodes_commit(nodes, &err));
	assert_true(revision() == before || revision() == before + 1);
	return revision() != before;
}

static void a_new_revision_after_changes(void **state)
{
	const struct wr_cluster cluster = { .revision = 4711, .flags = WR_CLUSTER_V4, .vni = 1, .port = 0xc117 };
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	const struct ip pod = ip("10.9.9.9");
	struct wr_cluster got;
	struct err err = { 0 };
	uint32_t slot;

	assert_true(commit_draws(nodes)); /* after an opening */
	assert_false(commit_draws(nodes));
	slot = put(nodes, 0, &node);
	assert_true(commit_draws(nodes));
	put(nodes, slot, &node);
	assert_false(commit_draws(nodes));
	node.dmac[0] = 0x12;
	put(nodes, slot, &node);
	assert_true(commit_draws(nodes));
	assert_ok(dp_node_delete(nodes, slot, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_SOME_POD, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_SOME_POD, &err));
	assert_false(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_UNKNOWN, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_UNKNOWN, &err));
	assert_false(commit_draws(nodes));
	assert_ok(dp_cluster_set(nodes, &cluster, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_cluster_set(nodes, &cluster, &err));
	assert_false(commit_draws(nodes));
	assert_ok(dp_cluster_get(&got, &err));
	assert_true(got.revision < 100); /* the writer's own count, not the caller's number */
	got.revision = 4711;
	assert_memory_equal(&got, &cluster, sizeof(got));
	dp_nodes_close(nodes);
}

static int see_ipcache(const struct ip *address, uint64_t identity, void *arg)
{
	*(uint64_t *)arg += identity * (address->family == AF_INET6 ? 1000 : 1);
	return 0;
}

static void whose_address(void **state)
{
	const struct ip v4 = ip("10.1.2.3"), v6 = ip("fd00::9");
	struct dp_nodes *nodes = open_nodes();
	struct err err = { 0 };
	uint64_t sum = 0;

	assert_ok(dp_ipcache_put(nodes, &v4, 5, &err));
	assert_ok(dp_ipcache_put(nodes, &v4, 7, &err));
	assert_ok(dp_ipcache_put(nodes, &v6, 3, &err));
	assert_ok(dp_ipcache_each(see_ipcache, &sum, &err));
	assert_int_equal(sum, 3007);
	assert_ok(dp_ipcache_put(nodes, &v4, WR_ID_UNKNOWN, &err));
	sum = 0;
	assert_ok(dp_ipcache_each(see_ipcache, &sum, &err));
	assert_int_equal(sum, 3000);
	at_the_end = IS_REFUSED;
	writes_left = 0;
	assert_int_equal(dp_ipcache_put(nodes, &v4, 5, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "ipcache4"));
	dp_nodes_close(nodes);
}

static void nothing_is_loaded(void **state)
{
	struct dp_nodes *nodes = NULL;
	struct wr_cluster cluster;
	struct listing l = { .count = 0 };
	struct err err = { 0 };

	assert_int_equal(dp_nodes_open(&nodes, &err), -ENOENT);
	assert_int_equal(dp_node_each(list_one, &l, &err), -ENOENT);
	assert_int_equal(dp_cluster_get(&cluster, &err), -ENOENT);
}

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load, dp_rig_unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(put_list_delete),
		LOADED(slots_in_turn),
		LOADED(conflicts),
		LOADED(next_hop_in_place),
		LOADED(killed_at_every_step),
		LOADED(killed_while_mending),
		LOADED(refused_at_every_step),
		LOADED(five_thousand),
		LOADED(counters),
		LOADED(a_new_revision_after_changes),
		LOADED(whose_address),
		cmocka_unit_test(nothing_is_loaded),
	};

	return cmocka_run_group_tests_name("nodes", tests, dp_rig_make, NULL);
}
