/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pinned maps by name. Only user/dp uses libbpf. All maps are opened by their pins, so any process may call any of
 * these functions; only the loader takes LOCK_NODE.
 */
#ifndef WARREN_DP_MAPS_H
#define WARREN_DP_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "abi/maps.h"
#include "err.h"

enum dp_map_kind {
	DP_MAP_TABLE,
	DP_MAP_SLOTS,   /* empty elements are skipped */
	DP_MAP_PERCPU,
	DP_MAP_RING,
	DP_MAP_SOCKETS, /* values are kept with sockets (sockets.h) */
	/* the pin is an array of maps; opening it returns the inner hash, which may be replaced by a larger one */
	DP_MAP_GROWING,
};

struct dp_map {
	const char *name, *text; /* from the registry (abi/maps.h) */
	enum dp_map_kind kind;
	uint32_t type; /* BPF_MAP_TYPE_* */
	uint32_t key_size, value_size;
	uint32_t flags; /* BPF_F_* */
	uint32_t max_entries; /* as in the registry: of a growing map, at most */
};
extern const struct dp_map dp_maps[]; /* ends with name NULL */
/* Whether the map has entries that dp_map_each() can list. */
static inline bool dp_map_is_listable(const struct dp_map *map)
{
	return map->kind != DP_MAP_RING && map->kind != DP_MAP_SOCKETS;
}

struct dp_map_info {
	uint32_t id, type, key_size, value_size, max_entries, flags;
	const char *type_name;
	uint32_t limit;   /* max_entries, or what a growing map can grow to */
	uint64_t memory;  /* bytes, as the kernel accounts for them */
	uint64_t entries; /* counted now */
};
int dp_map_open(const char *name, struct err *err); /* fd of the pinned map; -ENOENT */
int dp_map_info(const char *name, struct dp_map_info *info, struct err *err);
/* All of that but `entries`, which takes a walk through the map. */
int dp_map_describe(const char *name, struct dp_map_info *info, struct err *err);
/* Every element. A per-CPU value is the array of all CPUs' values (each padded to 8 bytes): `cpus` says how many. */
typedef int (*dp_map_fn)(const void *key, const void *value, int cpus, void *arg);
int dp_map_each(const char *name, dp_map_fn fn, void *arg, struct err *err);
int dp_map_cpus(const char *name); /* 1, unless it is per CPU */
/* One element; -ENOENT. `value` has room for dp_map_value_room(name) bytes. */
int dp_map_lookup(const char *name, const void *key, void *value, struct err *err);
int dp_map_update(const char *name, const void *key, const void *value, struct err *err);
size_t dp_map_value_room(const char *name);
/* The one element of an array. */
int dp_value_get(const char *name, void *value, struct err *err);
int dp_value_put(const char *name, const void *value, struct err *err);
/* Key and value as the map's BTF describes them, in C-like text, to `out`. */
int dp_map_print_btf(const char *name, const void *key, const void *value, FILE *out, struct err *err);

/* Sum over the CPUs of every counter: totals[WR_METRICS]. */
int dp_metrics_read(struct wr_metric *totals, struct err *err);

#endif
