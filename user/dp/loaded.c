/* SPDX-License-Identifier: BSD-2-Clause */
#include "loaded.h"

#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "fnv.h"
#include "internal.h"
#include "progs.h"
#include "warren.skel.h"

/* Hashes the object in the skeleton: warren_bpf__elf_bytes() would link a second copy of it into the binary. */
uint64_t loaded_build(const struct warren_bpf *skel)
{
	return fnv1a(skel->skeleton->data, skel->skeleton->data_sz) ?: 1;
}

static bool map_info_of(int fd, struct bpf_map_info *info)
{
	__u32 len = sizeof(*info);

	*info = (struct bpf_map_info){ 0 };
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, info, &len) == 0;
}

/* A growing map without an inner map was not completed by a loader. */
static bool is_filled(int fd, const struct dp_map *map)
{
	const __u32 zero = 0;
	__u32 id;

	return map->kind != DP_MAP_GROWING || bpf_map_lookup_elem(fd, &zero, &id) == 0;
}

bool loaded_maps(const struct warren_bpf *skel, struct loaded_maps *maps)
{
	maps->count = 0;
	for (const struct dp_map *map = dp_maps; map->name; map++) {
		int fd = bpf_map__fd(bpf_object__find_map_by_name(skel->obj, map->name));
		struct bpf_map_info info;

		if (maps->count == ARRAY_SIZE(maps->ids) || !map_info_of(fd, &info) || !is_filled(fd, map))
			return false;
		maps->ids[maps->count++] = info.id;
	}
	return true;
}

static bool is_pinned(const struct loaded_maps *maps, uint32_t id)
{
	for (unsigned i = 0; i < maps->count; i++) {
		if (maps->ids[i] == id)
			return true;
	}
	return false;
}

/* Whether the read-only data behind fd, of `size` bytes, are what *skel would be loaded with. */
static bool same_constants(const struct warren_bpf *skel, int fd, size_t size)
{
	_cleanup_free_ struct warren_bpf__rodata *found = malloc(size);
	struct warren_bpf__rodata *expected = skel->rodata; /* and unnamed data behind it */
	const __u32 zero = 0;

	if (!found || bpf_map_lookup_elem(fd, &zero, found) < 0)
		return false;
	/* Without a secret no verdict is cached: a new load may succeed in drawing one. */
	if (!found->verdict_secret.seed != !expected->verdict_secret.seed)
		return false;
	memcpy(&found->verdict_secret, &expected->verdict_secret, sizeof(found->verdict_secret));
	return memcmp(found, expected, size) == 0;
}

/*
 * Whether the map is private to the program. A map of the registry is not: a load that was killed has pinned a new one,
 * while the program still uses the old one. *constants is the id of the read-only data, one map per program.
 */
static bool same_own_map(const struct warren_bpf *skel, uint32_t id, uint32_t *constants)
{
	const size_t size = bpf_map__value_size(skel->maps.rodata);
	_cleanup_fd_ int fd = bpf_map_get_fd_by_id(id);
	struct bpf_map_info map;

	if (!map_info_of(fd, &map) || dp_map_find(map.name, NULL))
		return false;
	if (!(map.map_flags & BPF_F_RDONLY_PROG))
		return true;
	if (*constants || map.type != BPF_MAP_TYPE_ARRAY || map.max_entries != 1 || map.value_size != size)
		return false;
	*constants = id;
	return same_constants(skel, fd, size);
}

static bool same_maps(const struct warren_bpf *skel, const struct loaded_maps *maps, const struct bpf_prog_info *info,
		      const uint32_t *ids, uint32_t *constants)
{
	*constants = 0;
	for (__u32 i = 0; i < info->nr_map_ids; i++) {
		if (!is_pinned(maps, ids[i]) && !same_own_map(skel, ids[i], constants))
			return false;
	}
	return *constants != 0;
}

int loaded_open(const struct warren_bpf *skel, const struct loaded_maps *maps, const char *path, const char *name,
		uint32_t *load)
{
	_cleanup_fd_ int fd = bpf_obj_get(path);
	__u32 ids[64];
	struct bpf_prog_info info = { .nr_map_ids = ARRAY_SIZE(ids), .map_ids = (uintptr_t)ids };
	__u32 len = sizeof(info);

	/* An object that is no program has other info, whose name does not match. */
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.nr_map_ids > ARRAY_SIZE(ids) ||
	    strcmp(info.name, name) != 0 || !same_maps(skel, maps, &info, ids, load))
		return -1;
	return take_fd(&fd);
}
