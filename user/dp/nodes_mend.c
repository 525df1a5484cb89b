/* SPDX-License-Identifier: BSD-2-Clause */
/* What a writer that was killed has left half done: found, and completed or taken back, before the next one begins. */
#include <string.h>

#include "cleanup.h"
#include "nodes_internal.h"

/* --- what leads nowhere --- */

/* What leads to slots, and whether it is what the slot says. */
struct mending {
	struct dp_nodes *nodes;
	bool *led_to;	       /* by slot: something leads to it */
	/* keys that lead to no node, or, as prefixes of `family`, to one that has another CIDR */
	struct wr_prefix6 *stale;
	size_t stale_count, room, key_size;
	int family;
};

static int remember_stale(struct mending *m, const void *key)
{
	if (array_grow(&m->stale, &m->room, m->stale_count, sizeof(*m->stale)) < 0)
		return -ENOMEM;
	memcpy(&m->stale[m->stale_count++], key, m->key_size);
	return 0;
}

static struct node_entry *entry_at(const struct dp_nodes *nodes, uint32_t slot)
{
	return slot < WR_NODE_SLOTS ? nodes->slots[slot] : NULL;
}

static int see_prefix(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct mending *m = arg;
	const struct node_entry *entry = entry_at(m->nodes, slot);
	const struct prefix cidr = dp_prefix_of(m->family, key);

	if (!entry || !node_has_cidr(&entry->node, &cidr))
		return remember_stale(m, key);
	m->led_to[slot] = true;
	return 0;
}

static int delete_stale(struct mending *m, int fd, const char *name, struct err *err)
{
	for (; m->stale_count; m->stale_count--) {
		if (bpf_map_delete_elem(fd, &m->stale[m->stale_count - 1]) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot delete from map %s", name);
	}
	return 0;
}

/* Of addresses and counters only the node must exist. Their keys fit where prefixes' do. */
static int see_address(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct mending *m = arg;

	if (!entry_at(m->nodes, slot))
		return remember_stale(m, key);
	m->led_to[slot] = true;
	return 0;
}

static int see_metric(const void *key, const void *value, int cpus, void *arg)
{
	struct mending *m = arg;

	return entry_at(m->nodes, *(const uint32_t *)key / WR_DIRECTIONS) ? 0 : remember_stale(m, key);
}

/* Deletes what leads nowhere; notes what leads somewhere. */
static int delete_strays(struct mending *m, struct err *err)
{
	struct dp_nodes *nodes = m->nodes;
	const struct {
		const char *name;
		int fd, family;
		dp_map_fn see;
	} passes[] = {
		{ "nodes4", nodes->nodes4, AF_INET, see_prefix },
		{ "nodes6", nodes->nodes6, AF_INET6, see_prefix },
		{ "node_addr4", nodes->node_addr4, AF_INET, see_address },
		{ "node_addr6", nodes->node_addr6, AF_INET6, see_address },
		{ "node_metrics", nodes->metrics, AF_INET, see_metric },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(passes) && r == 0; i++) {
		m->family = passes[i].family;
		m->key_size = dp_map_find(passes[i].name, NULL)->key_size;
		r = nodes_walk(passes[i].fd, passes[i].name, passes[i].see, m, err);
		if (r == 0)
			r = delete_stale(m, passes[i].fd, passes[i].name, err);
	}
	return r;
}

/* --- nodes, whole or not at all --- */

/* The slot that an address leads to; 0: none. */
static uint32_t address_slot(const struct dp_nodes *nodes, const struct ip *ip)
{
	struct wr_node_ref ref = { 0 };

	bpf_map_lookup_elem(ip->family == AF_INET6 ? nodes->node_addr6 : nodes->node_addr4, ip->bytes, &ref);
	return ref.slot < WR_NODE_SLOTS ? ref.slot : 0;
}

/* Whether a newer slot (they come newest first) has taken the node's place, in part or wholly. */
static bool is_superseded(const struct dp_nodes *nodes, const struct node_entry *entry, const bool *kept)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		if (entry->node.cidrs[i].ip.family && cidr_owner(nodes, &entry->node.cidrs[i], 0))
			return true;
	}
	return kept[address_slot(nodes, &entry->node.remote)];
}

/* Everything that must lead to it does. */
static int complete(struct dp_nodes *nodes, uint32_t slot, struct node_entry *entry, struct err *err)
{
	int r = 0;

	if (!node_has_address(&entry->node, &entry->node.remote)) {
		r = node_address_put(nodes, &entry->node.remote, slot, err);
		if (r == 0 && entry->node.address_count < NODE_ADDRESSES)
			entry->node.addresses[entry->node.address_count++] = entry->node.remote;
	}
	for (size_t i = 0; i < NODE_CIDRS && r == 0; i++) {
		if (entry->node.cidrs[i].ip.family)
			r = node_prefix_put(nodes, &entry->node.cidrs[i], slot, err);
	}
	return r;
}

static int by_id_falling(const void *a, const void *b, void *arg)
{
	const struct dp_nodes *nodes = arg;
	uint32_t x = nodes->slots[*(const uint32_t *)a]->raw.id, y = nodes->slots[*(const uint32_t *)b]->raw.id;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* What a slot that is given up still has: prefixes and addresses that lead to it and to no newer one. */
static int give_up(struct dp_nodes *nodes, uint32_t slot, struct err *err)
{
	struct node_entry *entry = nodes->slots[slot];
	int r = 0;

	for (size_t i = 0; i < NODE_CIDRS && r == 0; i++) {
		const struct prefix *cidr = &entry->node.cidrs[i];
		uint32_t owner = cidr->ip.family ? cidr_owner(nodes, cidr, 0) : 0;

		if (cidr->ip.family && !(owner && node_has_cidr(&nodes->slots[owner]->node, cidr)))
			r = node_prefix_delete(nodes, cidr, err);
	}
	for (size_t i = 0; i < entry->node.address_count && r == 0; i++) {
		if (address_slot(nodes, &entry->node.addresses[i]) == slot)
			r = node_address_delete(nodes, &entry->node.addresses[i], err);
	}
	if (r == 0)
		r = node_slot_clear(nodes, slot, &entry->raw, err);
	free(entry);
	nodes->slots[slot] = NULL;
	return r;
}

/*
 * One node after the other, the newest first: one that something leads to is kept, and made whole if its writer was
 * killed before it was; one that nothing leads to, or whose place a newer one has taken, is removed.
 */
static int settle(struct dp_nodes *nodes, const bool *led_to, struct err *err)
{
	_cleanup_free_ uint32_t *order = calloc(WR_NODE_SLOTS, sizeof(*order));
	_cleanup_free_ bool *kept = calloc(WR_NODE_SLOTS, sizeof(*kept));
	size_t count = 0, gone = 0;
	int r = 0;

	if (!order || !kept)
		return err_errno(err, ENOMEM, "map nodes");
	for (uint32_t slot = 1; slot < WR_NODE_SLOTS; slot++) {
		if (nodes->slots[slot])
			order[count++] = slot;
	}
	qsort_r(order, count, sizeof(*order), by_id_falling, nodes);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct node_entry *entry = nodes->slots[order[i]];

		if (!led_to[order[i]] || is_superseded(nodes, entry, kept)) {
			order[gone++] = order[i];
			continue;
		}
		r = cidrs_reserve(nodes, err);
		if (r == 0)
			r = complete(nodes, order[i], entry, err);
		if (r == 0)
			cidrs_learn(nodes, order[i]);
		kept[order[i]] = true;
	}
	for (size_t i = 0; i < gone && r == 0; i++)
		r = give_up(nodes, order[i], err);
	return r;
}

int dp_nodes_open(struct dp_nodes **out, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = NULL;
	_cleanup_free_ bool *led_to = calloc(WR_NODE_SLOTS, sizeof(*led_to));
	struct mending mending;
	int r;

	if (!led_to)
		return err_errno(err, ENOMEM, "map nodes");
	r = nodes_read(&nodes, err);
	if (r < 0)
		return r;
	mending = (struct mending){ .nodes = nodes, .led_to = led_to };
	r = delete_strays(&mending, err);
	free(mending.stale);
	if (r == 0)
		r = settle(nodes, led_to, err);
	if (r < 0)
		return r;
	nodes->dirty = true;
	*out = take_ptr(nodes);
	return 0;
}
