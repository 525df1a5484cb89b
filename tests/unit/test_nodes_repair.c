/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes in the maps of the real kernel: writers that are killed, or refused, at every step. */
#include "nodes_rig.h"

#include <sys/wait.h>

/* --- changes -------------------------------------------------------------------------------------------------------- */

struct change {
	const char *name;
	bool is_new, is_deleted, in_place;
	void (*edit)(struct dp_node *node);
};

static void no_edit(struct dp_node *node)
{
}

static void edit_uplink(struct dp_node *node)
{
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

/* It contains the old one. */
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
	{ "another uplink", false, false, true, edit_uplink },
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

/* Performs it in a process that is killed at write `n`. False: it was complete before. */
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
		_exit(perform(nodes, c, slot, &err) == 0 && dp_nodes_commit(nodes, &err) == 0 ? 0 : 1);
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
		assert_null(found); /* it is listed once */
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

static void repaired(const struct change *c, long n)
{
	struct dp_node old = nth(CHANGING), expected = nth(CHANGING);
	struct dp_nodes *nodes = open_nodes();
	struct listing l = list();
	struct err err = { 0 };
	uint32_t slot = 0;
	const struct dp_node *now = changing(&l, &slot);

	c->edit(&expected);
	look(true);
	if (!now && !c->is_new && !c->is_deleted)
		fail_msg("%s, killed at %ld: the node is gone", c->name, n);
	if (now && !ip_equal(&now->remote, &old.remote) && !ip_equal(&now->remote, &expected.remote))
		fail_msg("%s, killed at %ld: neither the old node nor the new one", c->name, n);
	if (now && c->in_place && now->uplink != old.uplink && now->uplink != expected.uplink)
		fail_msg("%s, killed at %ld: neither the old uplink nor the new one", c->name, n);
	/* The next process completes it. */
	if (c->is_deleted) {
		assert_ok(dp_node_delete(nodes, slot, &err));
		assert_int_equal(list().count, 2);
	} else {
		put_for_good(nodes, slot, &expected);
		l = list();
		now = changing(&l, &slot);
		assert_non_null(now);
		assert_true(same(now, &expected));
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
			repaired(&changes[i], n - 1);
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
#define REPAIR_STEP 11
#else
#define REPAIR_STEP 3
#endif

/* The process that repairs is killed, too. (Not at every step, and only for the changes that write most: it is slow.) */
static void killed_while_repairing(void **state)
{
	for (size_t i = 4; i < ARRAY_SIZE(changes); i += 2) {
		bool killed = true;

		for (long n = 0; killed; n += REPAIR_STEP) {
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
				repaired(&changes[i], n);
				clear_all();
				if (WEXITSTATUS(status) == 0)
					break; /* it was complete */
			}
		}
	}
}

/* No memory at any step: the node stays as before, and the next attempt succeeds. */
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
			at_the_end = CONTINUES;
			if (r == 0)
				assert_ok(dp_nodes_commit(nodes, &err));
			look(false);
			l = list();
			now = changing(&l, &now_slot);
			if (r < 0 && !c->is_deleted && !c->in_place && now_slot == slot) {
				assert_true(c->is_new ? !now : now && same(now, &old));
				look(true);
			}
			dp_nodes_close(nodes);
			repaired(c, n);
			clear_all();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(killed_at_every_step),
		LOADED(killed_while_repairing),
		LOADED(refused_at_every_step),
	};

	return cmocka_run_group_tests_name("nodes_repair", tests, dp_rig_make, NULL);
}
