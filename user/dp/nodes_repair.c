/* SPDX-License-Identifier: BSD-2-Clause */
/* Completes or removes, before the first change, what a killed writer has left. */
#include <string.h>

#include "cleanup.h"
#include "nodes_internal.h"

/* --- references to slots --- */

struct repair {
	struct dp_nodes *nodes;
	bool *referenced;	       /* by slot: something leads to it */
	/* keys that refer to no node, or, as prefixes of `family`, to a node with another CIDR */
	struct wr_prefix6 *stale;
	size_t stale_count, room, key_size;
	int family;
};

static int note_stale(struct repair *repair, const void *key)
{
	if (array_grow(&repair->stale, &repair->room, repair->stale_count, sizeof(*repair->stale)) < 0)
		return -ENOMEM;
	memcpy(&repair->stale[repair->stale_count++], key, repair->key_size);
	return 0;
}

static struct node_entry *entry_at(const struct dp_nodes *nodes, uint32_t slot)
{
	return slot < WR_NODE_SLOTS ? nodes->slots[slot] : NULL;
}

static int check_prefix(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct repair *repair = arg;
	const struct node_entry *entry = entry_at(repair->nodes, slot);
	const struct prefix cidr = dp_prefix_of(repair->family, key);

	if (!entry || !node_has_cidr(&entry->node, &cidr))
		return note_stale(repair, key);
	repair->referenced[slot] = true;
	return 0;
}

static int delete_stale_keys(struct repair *repair, int fd, const char *name, struct err *err)
{
	for (; repair->stale_count; repair->stale_count--) {
		if (bpf_map_delete_elem(fd, &repair->stale[repair->stale_count - 1]) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot delete from map %s", name);
	}
	return 0;
}

/* For addresses and counters only the node must exist. Their keys are no longer than prefixes'. */
static int check_address(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct repair *repair = arg;

	if (!entry_at(repair->nodes, slot))
		return note_stale(repair, key);
	repair->referenced[slot] = true;
	return 0;
}

static int check_metric(const void *key, const void *value, int cpus, void *arg)
{
	struct repair *repair = arg;

	return entry_at(repair->nodes, *(const uint32_t *)key / WR_DIRECTIONS) ? 0 : note_stale(repair, key);
}

/* Deletes references without a node, and marks the slots that have a reference. */
static int delete_stale(struct repair *repair, struct err *err)
{
	struct dp_nodes *nodes = repair->nodes;
	const struct {
		const char *name;
		int fd, family;
		dp_map_fn see;
	} passes[] = {
		{ "nodes4", nodes->nodes4, AF_INET, check_prefix },
		{ "nodes6", nodes->nodes6, AF_INET6, check_prefix },
		{ "node_addr4", nodes->node_addr4, AF_INET, check_address },
		{ "node_addr6", nodes->node_addr6, AF_INET6, check_address },
		{ "node_metrics", nodes->metrics, AF_INET, check_metric },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(passes) && r == 0; i++) {
		repair->family = passes[i].family;
		repair->key_size = dp_map_find(passes[i].name, NULL)->key_size;
		r = nodes_walk(passes[i].fd, passes[i].name, passes[i].see, repair, err);
		if (r == 0)
			r = delete_stale_keys(repair, passes[i].fd, passes[i].name, err);
	}
	return r;
}

/* --- nodes, complete or removed --- */

/* The slot to which an address refers; 0: none. */
static uint32_t address_slot(const struct dp_nodes *nodes, const struct ip *ip)
{
	struct wr_node_ref ref = { 0 };

	bpf_map_lookup_elem(ip->family == AF_INET6 ? nodes->node_addr6 : nodes->node_addr4, ip->bytes, &ref);
	return ref.slot < WR_NODE_SLOTS ? ref.slot : 0;
}

/* Whether a newer slot has the node's CIDR or outer address. Slots are visited newest first. */
static bool is_superseded(const struct dp_nodes *nodes, const struct node_entry *entry, const bool *kept)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		if (entry->node.cidrs[i].ip.family && cidr_owner(nodes, &entry->node.cidrs[i], 0))
			return true;
	}
	return kept[address_slot(nodes, &entry->node.remote)];
}

/* Writes the references that the node lacks. */
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

static int by_id_descending(const void *a, const void *b, void *arg)
{
	const struct dp_nodes *nodes = arg;
	uint32_t x = nodes->slots[*(const uint32_t *)a]->raw.id, y = nodes->slots[*(const uint32_t *)b]->raw.id;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* Deletes a slot, and the prefixes and addresses that refer to it and to no newer slot. */
static int remove_slot(struct dp_nodes *nodes, uint32_t slot, struct err *err)
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
 * Visits the nodes, newest first. A node with a reference is kept, and completed if its writer was killed; a node
 * without one, or that a newer one supersedes, is removed.
 */
static int repair_slots(struct dp_nodes *nodes, const bool *referenced, struct err *err)
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
	qsort_r(order, count, sizeof(*order), by_id_descending, nodes);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct node_entry *entry = nodes->slots[order[i]];

		if (!referenced[order[i]] || is_superseded(nodes, entry, kept)) {
			order[gone++] = order[i];
			continue;
		}
		r = cidrs_reserve(nodes, err);
		if (r == 0)
			r = complete(nodes, order[i], entry, err);
		if (r == 0)
			node_cidrs_add(nodes, order[i]);
		kept[order[i]] = true;
	}
	for (size_t i = 0; i < gone && r == 0; i++)
		r = remove_slot(nodes, order[i], err);
	return r;
}

int dp_nodes_open(struct dp_nodes **out, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = NULL;
	_cleanup_free_ bool *referenced = calloc(WR_NODE_SLOTS, sizeof(*referenced));
	struct repair repair;
	int r;

	if (!referenced)
		return err_errno(err, ENOMEM, "map nodes");
	r = nodes_read(&nodes, err);
	if (r < 0)
		return r;
	repair = (struct repair){ .nodes = nodes, .referenced = referenced };
	r = delete_stale(&repair, err);
	free(repair.stale);
	if (r == 0)
		r = repair_slots(nodes, referenced, err);
	if (r < 0)
		return r;
	nodes->dirty = true;
	*out = take_ptr(nodes);
	return 0;
}
