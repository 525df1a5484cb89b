/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads other nodes and their pods from the maps. */
#include <string.h>

#include "cleanup.h"
#include "nodes_internal.h"

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
#define NODE_MAPS ARRAY_SIZE(node_maps)

static int *map_fd(struct dp_nodes *nodes, size_t i)
{
	return (int *)(void *)((char *)nodes + node_maps[i].fd);
}

void nodes_closep(struct dp_nodes **nodes)
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
	free(nodes->retired);
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
	node_raw_decode(raw, &entry->node);
	nodes->slots[slot] = entry;
	return 0;
}

struct reading {
	struct dp_nodes *nodes;
	int family;
};

static int read_address(const void *key, const void *value, int cpus, void *arg)
{
	const struct reading *reading = arg;
	const uint32_t slot = ((const struct wr_node_ref *)value)->slot;
	struct node_entry *entry = slot < WR_NODE_SLOTS ? reading->nodes->slots[slot] : NULL;

	if (entry && entry->node.address_count < NODE_ADDRESSES)
		entry->node.addresses[entry->node.address_count++] = ip_from(reading->family, key);
	return 0;
}

static int read_metric(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t slot = *(const uint32_t *)key / WR_DIRECTIONS,
		       direction = *(const uint32_t *)key % WR_DIRECTIONS;
	struct dp_nodes *nodes = arg;
	const struct wr_metric *per_cpu = value;

	for (int cpu = 0; slot < WR_NODE_SLOTS && nodes->slots[slot] && cpu < cpus; cpu++) {
		nodes->slots[slot]->totals[direction].packets += per_cpu[cpu].packets;
		nodes->slots[slot]->totals[direction].bytes += per_cpu[cpu].bytes;
	}
	return 0;
}

int nodes_walk(int fd, const char *name, dp_map_fn fn, void *arg, struct err *err)
{
	struct dp_map map = *dp_map_find(name, NULL);
	int r;

	if (map.kind == DP_MAP_SLOTS)
		map.kind = DP_MAP_TABLE; /* empty ones too */
	r = dp_map_walk(fd, &map, fn, arg, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "map %s", name) : r;
}

int nodes_read(struct dp_nodes **out, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = calloc(1, sizeof(*nodes));
	int r = 0;

	if (!nodes) {
		err_errno(err, ENOMEM, "map nodes");
		return -ENOMEM;
	}
	for (size_t i = 0; i < NODE_MAPS; i++)
		*map_fd(nodes, i) = -1;
	for (size_t i = 0; i < NODE_MAPS; i++) {
		*map_fd(nodes, i) = dp_map_open(node_maps[i].name, err);
		if (*map_fd(nodes, i) < 0)
			return *map_fd(nodes, i);
	}
	r = nodes_walk(nodes->nodes, "nodes", read_slot, nodes, err);
	if (r == 0)
		r = nodes_walk(nodes->node_addr4, "node_addr4", read_address, &(struct reading){ nodes, AF_INET }, err);
	if (r == 0)
		r = nodes_walk(nodes->node_addr6, "node_addr6", read_address, &(struct reading){ nodes, AF_INET6 },
			       err);
	if (r == 0)
		*out = take_ptr(nodes);
	return r;
}

int dp_node_each(int (*fn)(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS],
			   void *arg),
		 void *arg, struct err *err)
{
	_cleanup_(nodes_closep) struct dp_nodes *nodes = NULL;
	int r = nodes_read(&nodes, err);

	if (r == 0)
		r = nodes_walk(nodes->metrics, "node_metrics", read_metric, nodes, err);
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
