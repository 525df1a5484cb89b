/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes as the maps have them: read, and mended where a writer was killed half way. */
#include <string.h>

#include "cleanup.h"
#include "nodes_internal.h"

/* --- codec --- */

static struct wr_addr6 addr6(const struct ip *ip)
{
	struct wr_addr6 a = { { 0 } };

	memcpy(&a, ip->bytes, sizeof(a));
	return a;
}

void node_encode(const struct dp_node *node, uint32_t id, struct wr_node *raw)
{
	*raw = (struct wr_node){
		.id = id,
		.flags = (node->local.family == AF_INET6 ? WR_NODE_OVER6 : 0) | (node->direct ? WR_NODE_DIRECT : 0) |
			 (node->resolved ? WR_NODE_RESOLVED : 0),
		.uplink = node->uplink,
		.mtu = node->mtu,
		.local = addr6(&node->local),
		.remote = addr6(&node->remote),
		.last_id = id,
	};
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &node->cidrs[i];
		struct ip mask = prefix_mask(cidr);

		if (cidr->ip.family == AF_INET) {
			raw->flags |= WR_NODE_V4;
			memcpy(&raw->cidr4, cidr->ip.bytes, sizeof(raw->cidr4));
			memcpy(&raw->mask4, mask.bytes, sizeof(raw->mask4));
		} else if (cidr->ip.family == AF_INET6) {
			raw->flags |= WR_NODE_V6;
			raw->cidr6 = addr6(&cidr->ip);
			raw->mask6 = addr6(&mask);
		}
	}
	if (node->resolved) {
		memcpy(raw->dmac, node->dmac, sizeof(raw->dmac));
		memcpy(raw->smac, node->smac, sizeof(raw->smac));
	}
}

static void node_decode(const struct wr_node *raw, struct dp_node *node)
{
	const int outer = raw->flags & WR_NODE_OVER6 ? AF_INET6 : AF_INET;

	*node = (struct dp_node){
		.local = ip_from(outer, &raw->local),
		.remote = ip_from(outer, &raw->remote),
		.uplink = raw->uplink,
		.mtu = raw->mtu,
		.direct = raw->flags & WR_NODE_DIRECT,
		.resolved = raw->flags & WR_NODE_RESOLVED,
	};
	if (raw->flags & WR_NODE_V4)
		node->cidrs[0] = prefix_masked(AF_INET, &raw->cidr4, &raw->mask4);
	if (raw->flags & WR_NODE_V6)
		node->cidrs[1] = prefix_masked(AF_INET6, &raw->cidr6, &raw->mask6);
	memcpy(node->dmac, raw->dmac, sizeof(node->dmac));
	memcpy(node->smac, raw->smac, sizeof(node->smac));
}

int node_prefix_key(const struct dp_nodes *nodes, const struct prefix *cidr, union node_prefix *key)
{
	memset(key, 0, sizeof(*key));
	if (cidr->ip.family == AF_INET) {
		key->v4.prefixlen = cidr->len;
		memcpy(&key->v4.addr, cidr->ip.bytes, sizeof(key->v4.addr));
		return nodes->nodes4;
	}
	key->v6.prefixlen = cidr->len;
	key->v6.addr = addr6(&cidr->ip);
	return nodes->nodes6;
}

bool node_has_cidr(const struct dp_node *node, const struct prefix *cidr)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		if (prefix_cmp(&node->cidrs[i], cidr) == 0)
			return true;
	}
	return false;
}

bool node_has_address(const struct dp_node *node, const struct ip *ip)
{
	for (size_t i = 0; i < node->address_count; i++) {
		if (ip_equal(&node->addresses[i], ip))
			return true;
	}
	return false;
}

/* --- CIDRs in order --- */

static struct cidr_list *list_of(struct dp_nodes *nodes, const struct prefix *cidr)
{
	return &nodes->cidrs[cidr->ip.family == AF_INET6];
}

/* How many of them begin at or before this address. */
static size_t begin_up_to(const struct cidr_list *list, const struct ip *ip)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ip_cmp(&list->at[middle].cidr.ip, ip) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t cidr_owner(const struct dp_nodes *nodes, const struct prefix *cidr, uint32_t but)
{
	const struct cidr_list *list = &nodes->cidrs[cidr->ip.family == AF_INET6];
	const struct ip last = prefix_last(cidr);

	for (size_t i = begin_up_to(list, &last); i > 0 && prefix_overlaps(&list->at[i - 1].cidr, cidr); i--) {
		if (list->at[i - 1].slot != but)
			return list->at[i - 1].slot;
	}
	return 0;
}

int cidrs_reserve(struct dp_nodes *nodes, struct err *err)
{
	for (size_t i = 0; i < 2; i++) {
		struct cidr_list *list = &nodes->cidrs[i];
		size_t room = list->room ? 2 * list->room : 64;
		struct cidr_slot *at;

		if (list->count < list->room)
			continue;
		at = reallocarray(list->at, room, sizeof(*at));
		if (!at)
			return err_errno(err, ENOMEM, "pod CIDRs");
		list->at = at;
		list->room = room;
	}
	return 0;
}

void cidrs_learn(struct dp_nodes *nodes, uint32_t slot)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &nodes->slots[slot]->node.cidrs[i];
		struct cidr_list *list = list_of(nodes, cidr);
		size_t at;

		if (!cidr->ip.family)
			continue;
		at = begin_up_to(list, &cidr->ip);
		memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof(*list->at));
		list->at[at] = (struct cidr_slot){ *cidr, slot };
		list->count++;
	}
}

void cidrs_forget(struct dp_nodes *nodes, uint32_t slot)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &nodes->slots[slot]->node.cidrs[i];
		struct cidr_list *list = list_of(nodes, cidr);
		size_t at;

		if (!cidr->ip.family)
			continue;
		at = begin_up_to(list, &cidr->ip) - 1;
		list->count--;
		memmove(&list->at[at], &list->at[at + 1], (list->count - at) * sizeof(*list->at));
	}
}

/* --- reading --- */

static const struct {
	const char *name;
	size_t fd;
} node_maps[] = {
#define MAP(name, field) { name, offsetof(struct dp_nodes, field) }
	MAP("nodes", nodes),
	MAP("nodes4", nodes4),
	MAP("nodes6", nodes6),
	MAP("node_addr4", node_addr4),
	MAP("node_addr6", node_addr6),
	MAP("ipcache4", ipcache4),
	MAP("ipcache6", ipcache6),
	MAP("node_metrics", metrics),
	MAP("cluster", cluster),
#undef MAP
};
#define NODE_MAPS (sizeof(node_maps) / sizeof(node_maps[0]))

static int *map_fd(struct dp_nodes *nodes, size_t i)
{
	return (int *)(void *)((char *)nodes + node_maps[i].fd);
}

static void nodes_closep(struct dp_nodes **nodes)
{
	dp_nodes_close(*nodes);
}

void dp_nodes_close(struct dp_nodes *nodes)
{
	if (!nodes)
		return;
	for (size_t i = 0; i < NODE_MAPS; i++)
		closep(map_fd(nodes, i));
	for (uint32_t slot = 0; slot < WR_NODE_SLOTS; slot++)
		free(nodes->slots[slot]);
	free(nodes->cidrs[0].at);
	free(nodes->cidrs[1].at);
	free(nodes);
}

static int read_slot(const void *key, const void *value, int cpus, void *arg)
{
	struct dp_nodes *nodes = arg;
	const struct wr_node *raw = value;
	const uint32_t slot = *(const uint32_t *)key;
	struct node_entry *entry;

	if (raw->last_id > nodes->last_id) {
		nodes->last_id = raw->last_id;
		nodes->last_slot = slot;
	}
	if (!raw->id)
		return 0;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->raw = *raw;
	node_decode(raw, &entry->node);
	nodes->slots[slot] = entry;
	return 0;
}

static int read_address(struct dp_nodes *nodes, const struct ip *ip, const struct wr_node_ref *ref)
{
	struct node_entry *entry = ref->slot < WR_NODE_SLOTS ? nodes->slots[ref->slot] : NULL;

	if (entry && entry->node.address_count < NODE_ADDRESSES)
		entry->node.addresses[entry->node.address_count++] = *ip;
	return 0;
}

static int read_address4(const void *key, const void *value, int cpus, void *arg)
{
	const struct ip ip = ip_from(AF_INET, key);

	return read_address(arg, &ip, value);
}

static int read_address6(const void *key, const void *value, int cpus, void *arg)
{
	const struct ip ip = ip_from(AF_INET6, key);

	return read_address(arg, &ip, value);
}

static int read_metric(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = *(const uint32_t *)key / WR_DIRECTIONS, direction = *(const uint32_t *)key % WR_DIRECTIONS;
	struct dp_nodes *nodes = arg;
	const struct wr_metric *per_cpu = value;

	for (int cpu = 0; slot < WR_NODE_SLOTS && nodes->slots[slot] && cpu < cpus; cpu++) {
		nodes->slots[slot]->totals[direction].packets += per_cpu[cpu].packets;
		nodes->slots[slot]->totals[direction].bytes += per_cpu[cpu].bytes;
	}
	return 0;
}

static int walk(int fd, const char *name, int (*fn)(const void *key, const void *value, int cpus, void *arg), void *arg,
		struct err *err)
{
	struct dp_map map = *dp_map_find(name, NULL);
	int r;

	if (map.kind == DP_MAP_SLOTS)
		map.kind = DP_MAP_TABLE; /* empty ones too */
	r = dp_map_walk(fd, &map, fn, arg, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "map %s", name) : r;
}

/* Opens the maps and reads slots and addresses. */
static int nodes_read(struct dp_nodes **out, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = calloc(1, sizeof(*nodes));
	int r = 0;

	if (!nodes)
		return err_errno(err, ENOMEM, "map nodes");
	for (size_t i = 0; i < NODE_MAPS; i++)
		*map_fd(nodes, i) = -1;
	for (size_t i = 0; i < NODE_MAPS; i++) {
		*map_fd(nodes, i) = dp_map_open(node_maps[i].name, err);
		if (*map_fd(nodes, i) < 0)
			return *map_fd(nodes, i);
	}
	r = walk(nodes->nodes, "nodes", read_slot, nodes, err);
	if (r == 0)
		r = walk(nodes->node_addr4, "node_addr4", read_address4, nodes, err);
	if (r == 0)
		r = walk(nodes->node_addr6, "node_addr6", read_address6, nodes, err);
	if (r == 0)
		*out = take_ptr(nodes);
	return r;
}

int dp_node_each(int (*fn)(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg),
		 void *arg, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = NULL;
	int r = nodes_read(&nodes, err);

	if (r == 0)
		r = walk(nodes->metrics, "node_metrics", read_metric, nodes, err);
	for (uint32_t slot = 1; slot < WR_NODE_SLOTS && r == 0; slot++) {
		if (nodes->slots[slot])
			r = fn(slot, &nodes->slots[slot]->node, nodes->slots[slot]->totals, arg);
	}
	return r;
}

struct each_ipcache {
	int (*fn)(const struct ip *ip, uint64_t identity, void *arg);
	void *arg;
	int family;
};

static int on_ipcache(const void *key, const void *value, int cpus, void *arg)
{
	const struct each_ipcache *each = arg;
	const struct ip ip = ip_from(each->family, key);

	return each->fn(&ip, ((const struct wr_ipcache *)value)->identity, each->arg);
}

int dp_ipcache_each(int (*fn)(const struct ip *ip, uint64_t identity, void *arg), void *arg, struct err *err)
{
	struct each_ipcache each = { fn, arg, AF_INET };
	int r = dp_map_each("ipcache4", on_ipcache, &each, err);

	each.family = AF_INET6;
	return r ? r : dp_map_each("ipcache6", on_ipcache, &each, err);
}

/* --- mending --- */

/* What leads to slots, and whether it is what the slot says. */
struct mending {
	struct dp_nodes *nodes;
	bool *led_to;	       /* by slot: something leads to it */
	union node_prefix *stale; /* keys that lead to no node, or, as prefixes of `family`, to one that has another CIDR */
	size_t stale_count, room, key_size;
	int family;
};

static int remember_stale(struct mending *m, const void *key)
{
	union node_prefix *stale;

	if (m->stale_count == m->room) {
		size_t room = m->room ? 2 * m->room : 16;

		stale = reallocarray(m->stale, room, sizeof(*stale));
		if (!stale)
			return -ENOMEM;
		m->stale = stale;
		m->room = room;
	}
	memcpy(&m->stale[m->stale_count++], key, m->key_size);
	return 0;
}

static struct node_entry *entry_at(const struct dp_nodes *nodes, uint32_t slot)
{
	return slot < WR_NODE_SLOTS ? nodes->slots[slot] : NULL;
}

static int see_prefix(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot, *len = key;
	struct mending *m = arg;
	const struct node_entry *entry = entry_at(m->nodes, slot);
	const struct prefix cidr = { ip_from(m->family, len + 1), (uint8_t)*len };

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
		int (*see)(const void *key, const void *value, int cpus, void *arg);
	} passes[] = {
		{ "nodes4", nodes->nodes4, AF_INET, see_prefix },
		{ "nodes6", nodes->nodes6, AF_INET6, see_prefix },
		{ "node_addr4", nodes->node_addr4, AF_INET, see_address },
		{ "node_addr6", nodes->node_addr6, AF_INET6, see_address },
		{ "node_metrics", nodes->metrics, AF_INET, see_metric },
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && r == 0; i++) {
		m->family = passes[i].family;
		m->key_size = dp_map_find(passes[i].name, NULL)->key_size;
		r = walk(passes[i].fd, passes[i].name, passes[i].see, m, err);
		if (r == 0)
			r = delete_stale(m, passes[i].fd, passes[i].name, err);
	}
	return r;
}

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
 * One node after the other, the newest first: one that something leads to is kept, and made whole if its writer was killed
 * before it was; one that nothing leads to, or whose place a newer one has taken, is removed.
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
