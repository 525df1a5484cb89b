/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes, their pods and this node's own part: changes. */
#include "nodes.h"

#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "nodes_internal.h"

/* --- references to slots --- */

static int prefix_map(const struct dp_nodes *nodes, const struct prefix *cidr)
{
	return cidr->ip.family == AF_INET6 ? nodes->nodes6 : nodes->nodes4;
}

int node_prefix_put(struct dp_nodes *nodes, const struct prefix *cidr, uint32_t slot, struct err *err)
{
	const struct wr_node_ref ref = { slot };
	char text[PREFIX_STRLEN];
	const struct wr_prefix6 key = dp_prefix_key(cidr);
	int map = prefix_map(nodes, cidr);

	if (bpf_map_update_elem(map, &key, &ref, BPF_ANY) < 0)
		return dp_map_not_written(errno, map == nodes->nodes4 ? "nodes4" : "nodes6", prefix_format(cidr, text), err);
	return 0;
}

int node_prefix_delete(struct dp_nodes *nodes, const struct prefix *cidr, struct err *err)
{
	char text[PREFIX_STRLEN];
	const struct wr_prefix6 key = dp_prefix_key(cidr);
	int map = prefix_map(nodes, cidr);

	if (bpf_map_delete_elem(map, &key) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot delete node prefix %s", prefix_format(cidr, text));
	return 0;
}

int node_address_put(struct dp_nodes *nodes, const struct ip *ip, uint32_t slot, struct err *err)
{
	int map = ip->family == AF_INET6 ? nodes->node_addr6 : nodes->node_addr4;
	const struct wr_node_ref ref = { slot };
	char text[IP_STRLEN];

	if (bpf_map_update_elem(map, ip->bytes, &ref, BPF_ANY) < 0)
		return dp_map_not_written(errno, map == nodes->node_addr4 ? "node_addr4" : "node_addr6", ip_format(ip, text), err);
	return 0;
}

int node_address_delete(struct dp_nodes *nodes, const struct ip *ip, struct err *err)
{
	int map = ip->family == AF_INET6 ? nodes->node_addr6 : nodes->node_addr4;
	char text[IP_STRLEN];

	if (bpf_map_delete_elem(map, ip->bytes) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot delete node address %s", ip_format(ip, text));
	return 0;
}

/* --- slots --- */

static int slot_write(struct dp_nodes *nodes, uint32_t slot, const struct wr_node *raw, struct err *err)
{
	if (bpf_map_update_elem(nodes->nodes, &slot, raw, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write slot %u of map nodes", slot);
	return 0;
}

/*
 * Only `id` is cleared: a concurrent program sees a node or none, never a part of one. Other fields of an empty slot
 * are meaningless, except last_id. The next dp_nodes_open() deletes counters that could not be deleted here.
 */
int node_slot_clear(struct dp_nodes *nodes, uint32_t slot, const struct wr_node *was, struct err *err)
{
	struct wr_node raw = *was;
	int r;

	raw.id = 0;
	r = slot_write(nodes, slot, &raw, err);
	for (uint32_t direction = 0; direction < WR_DIRECTIONS && r == 0; direction++) {
		const __u32 key = wr_metric_key(slot, direction);

		bpf_map_delete_elem(nodes->metrics, &key);
	}
	return r;
}

/* Counters that start at 0 on every CPU, before a program can find the slot. */
static int metrics_make(struct dp_nodes *nodes, uint32_t slot, struct err *err)
{
	_cleanup_free_ void *zeros = calloc(1, dp_map_value_room("node_metrics"));
	char what[32];
	int r;

	if (!zeros)
		return err_errno(err, ENOMEM, "map node_metrics");
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		const __u32 key = wr_metric_key(slot, direction);

		snprintf(what, sizeof(what), "slot %u", slot);
		r = dp_percpu_write(nodes->metrics, &key, zeros, BPF_ANY);
		if (r < 0)
			return dp_map_not_written(-r, "node_metrics", what, err);
	}
	return 0;
}

/* Round robin: the slot that has been empty for longest. 0: none is. */
static uint32_t slot_free(const struct dp_nodes *nodes)
{
	for (uint32_t n = 1; n < WR_NODE_SLOTS; n++) {
		uint32_t slot = nodes->last_slot + n;

		if (slot >= WR_NODE_SLOTS)
			slot -= WR_NODE_SLOTS - 1;
		if (!nodes->slots[slot])
			return slot;
	}
	return 0;
}

/*
 * A retired slot was replaced by a new one. Flows cache it with the cluster's revision, so it must stay usable until
 * the revision has changed. The grace period (membarrier) covers programs that have read the old revision.
 */
static int retired_reserve(struct dp_nodes *nodes, struct err *err)
{
	if (array_grow(&nodes->retired, &nodes->retired_room, nodes->retired_count, sizeof(*nodes->retired)) < 0)
		return err_errno(err, ENOMEM, "map nodes");
	return 0;
}

static void retired_clear(struct dp_nodes *nodes)
{
	if (nodes->retired_count)
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	while (nodes->retired_count) {
		const uint32_t slot = nodes->retired[--nodes->retired_count];

		/* A slot that cannot be cleared is superseded: the next dp_nodes_open() clears it. */
		node_slot_clear(nodes, slot, &nodes->slots[slot]->raw, NULL);
		free(nodes->slots[slot]);
		nodes->slots[slot] = NULL;
	}
}

/* --- conflicts --- */

static int claimed(const struct dp_nodes *nodes, const char *what, uint32_t by, uint32_t *other, struct err *err)
{
	char text[IP_STRLEN];

	*other = by;
	return err_set(err, EEXIST, "%s belongs to the node at %s (slot %u)", what,
		       ip_format(&nodes->slots[by]->node.remote, text), by);
}

/* The nodes' CIDRs do not overlap each other, so only the one that begins nearest below can overlap this one. */
static int check_cidrs(const struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node, uint32_t *other,
		       struct err *err)
{
	char text[PREFIX_STRLEN], what[PREFIX_STRLEN + 32];

	for (size_t i = 0; i < NODE_CIDRS; i++) {
		uint32_t owner;

		if (!node->cidrs[i].ip.family)
			continue;
		owner = cidr_owner(nodes, &node->cidrs[i], slot);
		snprintf(what, sizeof(what), "pod CIDR %s, or a part of it,", prefix_format(&node->cidrs[i], text));
		if (owner)
			return claimed(nodes, what, owner, other, err);
	}
	return 0;
}

static int check_addresses(const struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node, uint32_t *other,
			   struct err *err)
{
	char text[IP_STRLEN], what[IP_STRLEN + 16];
	struct wr_node_ref ref;

	for (size_t i = 0; i < node->address_count; i++) {
		const struct ip *ip = &node->addresses[i];
		int map = ip->family == AF_INET6 ? nodes->node_addr6 : nodes->node_addr4;

		if (bpf_map_lookup_elem(map, ip->bytes, &ref) < 0 || ref.slot == slot || !nodes->slots[ref.slot])
			continue;
		snprintf(what, sizeof(what), "address %s", ip_format(ip, text));
		return claimed(nodes, what, ref.slot, other, err);
	}
	return 0;
}

static int check_node(const struct dp_node *node, struct err *err)
{
	bool own = false;

	for (size_t i = 0; i < node->address_count && i < NODE_ADDRESSES; i++)
		own |= ip_equal(&node->addresses[i], &node->remote);
	if (node->address_count > NODE_ADDRESSES || !own || node->local.family != node->remote.family)
		return err_set(err, EINVAL, "a node needs an outer address of its own, and one of this node of the same family");
	if (node->cidrs[0].ip.family && node->cidrs[0].ip.family == node->cidrs[1].ip.family)
		return err_set(err, EINVAL, "a node has one pod CIDR of a family");
	return 0;
}

/* --- put --- */

/* Deletes the references to `was` that `now` does not have (NULL: all), prefixes before addresses. */
static int references_delete(struct dp_nodes *nodes, const struct dp_node *was, const struct dp_node *now,
			     struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < NODE_CIDRS && r == 0; i++) {
		if (was->cidrs[i].ip.family && (!now || !node_has_cidr(now, &was->cidrs[i])))
			r = node_prefix_delete(nodes, &was->cidrs[i], err);
	}
	for (size_t i = 0; i < was->address_count && r == 0; i++) {
		if (!now || !node_has_address(now, &was->addresses[i]))
			r = node_address_delete(nodes, &was->addresses[i], err);
	}
	return r;
}

/* Addresses first: replies to packets sent by a prefix are accepted by the node's address. */
static int references_put(struct dp_nodes *nodes, const struct dp_node *node, uint32_t slot, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < node->address_count && r == 0; i++)
		r = node_address_put(nodes, &node->addresses[i], slot, err);
	for (size_t i = 0; i < NODE_CIDRS && r == 0; i++) {
		if (node->cidrs[i].ip.family)
			r = node_prefix_put(nodes, &node->cidrs[i], slot, err);
	}
	return r;
}

/* After a failed write: restores the references of the old node, and deletes those of the new one. */
static void references_restore(struct dp_nodes *nodes, const struct dp_node *node, uint32_t old)
{
	const struct dp_node *was = old ? &nodes->slots[old]->node : NULL;

	if (was)
		references_put(nodes, was, old, NULL); /* these elements exist: no room is needed */
	references_delete(nodes, node, was, NULL);
}

static void entry_forget(struct dp_nodes *nodes, uint32_t slot)
{
	node_cidrs_remove(nodes, slot);
	free(nodes->slots[slot]);
	nodes->slots[slot] = NULL;
}

/* Writes a new slot for a new node, or for one that replaces the node in `old`. */
static int put_new_slot(struct dp_nodes *nodes, uint32_t old, const struct dp_node *node, struct err *err)
{
	_cleanup_free_ struct node_entry *entry = calloc(1, sizeof(*entry));
	uint32_t slot = slot_free(nodes);
	int r;

	if (!slot) {
		retired_clear(nodes);
		slot = slot_free(nodes);
	}
	if (!entry)
		return err_errno(err, ENOMEM, "map nodes");
	if (!slot)
		return err_set(err, ENOSPC, "map nodes is full: %d nodes", WR_NODE_SLOTS - 1);
	entry->node = *node;
	node_raw_encode(node, ++nodes->last_id, &entry->raw);
	nodes->last_slot = slot;
	nodes->dirty = true;
	r = metrics_make(nodes, slot, err);
	if (r == 0)
		r = slot_write(nodes, slot, &entry->raw, err);
	if (r == 0)
		r = cidrs_reserve(nodes, err);
	if (r == 0)
		r = retired_reserve(nodes, err);
	if (r == 0) {
		r = references_put(nodes, node, slot, err);
		if (r == 0 && old)
			r = references_delete(nodes, &nodes->slots[old]->node, node, err);
		if (r < 0)
			references_restore(nodes, node, old);
	}
	if (r < 0) {
		node_slot_clear(nodes, slot, &entry->raw, NULL);
		return r;
	}
	if (old) {
		node_cidrs_remove(nodes, old);
		nodes->retired[nodes->retired_count++] = old;
	}
	nodes->slots[slot] = take_ptr(entry);
	node_cidrs_add(nodes, slot);
	return (int)slot;
}

/* In place, since the uplink is one 32-bit field. */
static int change_uplink(struct dp_nodes *nodes, uint32_t slot, struct node_entry *entry, uint32_t uplink,
			 struct err *err)
{
	struct wr_node raw = entry->raw;
	int r;

	if (raw.uplink == uplink)
		return (int)slot;
	nodes->dirty = true;
	raw.uplink = uplink;
	r = slot_write(nodes, slot, &raw, err);
	if (r < 0)
		return r;
	entry->raw = raw;
	entry->node.uplink = uplink;
	return (int)slot;
}

/*
 * In place too: packets are sent with the tags of one key (wr_cluster.flags), and a rotation changes those of the
 * other. What programs cache does not depend on tags, so there is no new revision.
 */
static int change_tags(struct dp_nodes *nodes, uint32_t slot, struct node_entry *entry, const struct dp_node *node,
			struct err *err)
{
	struct wr_node raw = entry->raw;
	int r;

	memcpy(raw.tx_tag, node->tx_tag, sizeof(raw.tx_tag));
	memcpy(raw.rx_tag, node->rx_tag, sizeof(raw.rx_tag));
	if (memcmp(&raw, &entry->raw, sizeof(raw)) == 0)
		return 0;
	r = slot_write(nodes, slot, &raw, err);
	if (r < 0)
		return r;
	entry->raw = raw;
	memcpy(entry->node.tx_tag, node->tx_tag, sizeof(node->tx_tag));
	memcpy(entry->node.rx_tag, node->rx_tag, sizeof(node->rx_tag));
	return 0;
}

/* Whether both are equal except for the uplink and keyed tags. */
static bool same_node(const struct dp_node *a, const struct dp_node *b)
{
	bool same = a->address_count == b->address_count && ip_equal(&a->local, &b->local) &&
		    ip_equal(&a->remote, &b->remote) && a->mtu == b->mtu && a->direct == b->direct &&
		    a->keyed == b->keyed;

	for (size_t i = 0; i < a->address_count && same; i++)
		same = node_has_address(b, &a->addresses[i]);
	for (size_t i = 0; i < NODE_CIDRS && same; i++)
		same = (!a->cidrs[i].ip.family || node_has_cidr(b, &a->cidrs[i])) &&
		       (!b->cidrs[i].ip.family || node_has_cidr(a, &b->cidrs[i]));
	return same;
}

int dp_node_put(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err)
{
	struct dp_node own = *node;
	int r;

	if (slot >= WR_NODE_SLOTS || (slot && !nodes->slots[slot]))
		return err_set(err, ENOENT, "there is no node in slot %u", slot);
	*other = 0;
	r = check_node(&own, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		if (own.cidrs[i].ip.family)
			own.cidrs[i].ip = prefix_first(&own.cidrs[i]);
	}
	r = check_cidrs(nodes, slot, &own, other, err);
	if (r == 0)
		r = check_addresses(nodes, slot, &own, other, err);
	if (r < 0)
		return r;
	if (slot && same_node(&nodes->slots[slot]->node, &own)) {
		r = change_tags(nodes, slot, nodes->slots[slot], &own, err);
		return r < 0 ? r : change_uplink(nodes, slot, nodes->slots[slot], own.uplink, err);
	}
	return put_new_slot(nodes, slot, &own, err);
}

int dp_node_delete(struct dp_nodes *nodes, uint32_t slot, struct err *err)
{
	struct node_entry *entry = slot < WR_NODE_SLOTS ? nodes->slots[slot] : NULL;
	int r;

	if (!entry)
		return 0;
	nodes->dirty = true;
	r = references_delete(nodes, &entry->node, NULL, err);
	if (r == 0)
		r = node_slot_clear(nodes, slot, &entry->raw, err);
	if (r < 0)
		return r;
	entry_forget(nodes, slot);
	return 0;
}

/* --- ipcache --- */

int dp_ipcache_put(struct dp_nodes *nodes, const struct ip *ip, uint64_t identity, struct err *err)
{
	const bool v6 = ip->family == AF_INET6;
	const char *name = v6 ? "ipcache6" : "ipcache4";
	const struct wr_ipcache value = { identity };
	int map = v6 ? nodes->ipcache6 : nodes->ipcache4;
	char text[IP_STRLEN];

	nodes->dirty = true;
	if (identity == WR_ID_UNKNOWN) {
		if (bpf_map_delete_elem(map, ip->bytes) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot delete %s from map %s", ip_format(ip, text), name);
		return 0;
	}
	if (bpf_map_update_elem(map, ip->bytes, &value, BPF_ANY) < 0)
		return dp_map_not_written(errno, name, ip_format(ip, text), err);
	return 0;
}

/* --- this node's own part --- */

static int cluster_write(struct dp_nodes *nodes, const struct wr_cluster *cluster, struct err *err)
{
	const __u32 zero = 0;

	if (bpf_map_update_elem(nodes->cluster, &zero, cluster, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map cluster");
	return 0;
}

static int cluster_read(const struct dp_nodes *nodes, struct wr_cluster *cluster, struct err *err)
{
	const __u32 zero = 0;

	if (bpf_map_lookup_elem(nodes->cluster, &zero, cluster) < 0)
		return err_errno(err, errno, "cannot read map cluster");
	return 0;
}

int dp_cluster_set(struct dp_nodes *nodes, const struct wr_cluster *cluster, struct err *err)
{
	struct wr_cluster now, desired = *cluster;
	int r = cluster_read(nodes, &now, err);

	if (r < 0)
		return r;
	desired.revision = now.revision;
	if (memcmp(&now, &desired, sizeof(now)) == 0)
		return 0;
	nodes->dirty = true;
	return cluster_write(nodes, &desired, err);
}

int dp_cluster_get(struct wr_cluster *cluster, struct err *err)
{
	return dp_value_get("cluster", cluster, err);
}

int dp_nodes_commit(struct dp_nodes *nodes, struct err *err)
{
	struct wr_cluster cluster;
	int r;

	if (!nodes->dirty)
		return 0;
	r = cluster_read(nodes, &cluster, err);
	if (r < 0)
		return r;
	cluster.revision++;
	r = cluster_write(nodes, &cluster, err);
	if (r < 0)
		return r;
	nodes->dirty = false;
	retired_clear(nodes);
	return 0;
}
