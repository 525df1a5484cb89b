/* SPDX-License-Identifier: BSD-2-Clause */
/* Declarations shared by the files of user/dp only. */
#ifndef WARREN_DP_INTERNAL_H
#define WARREN_DP_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addr.h"
#include "maps.h"
#include "paths.h"

#define PIN_STR_(n) #n
#define PIN_STR(n) PIN_STR_(n)
#define PIN_VERSION_DIR WARREN_PIN_ROOT "/v" PIN_STR(WR_ABI_VERSION)
#define PIN_MAP_DIR PIN_VERSION_DIR "/maps"
#define PIN_PROG_DIR PIN_VERSION_DIR "/progs"
#define PIN_LINK_DIR PIN_VERSION_DIR "/links"
#define PIN_DRY_RUN_DIR PIN_VERSION_DIR "/dry-run"
#define PIN_PATH_MAX 128

/* Path of a map's or a program's pin. */
static inline const char *pin_path(char buf[PIN_PATH_MAX], const char *dir, const char *name)
{
	snprintf(buf, PIN_PATH_MAX, "%s/%s", dir, name);
	return buf;
}

/* fd of the object pinned there; -ENOENT (with a hint): nothing is loaded. */
int pin_open(const char *dir, const char *name, struct err *err);

/* NULL with err set: there is no such map in the registry. */
const struct dp_map *dp_map_find(const char *name, struct err *err);

/* -EPROTO if the pinned map differs from the registry (`max_entries` may differ). */
int dp_map_verify(int fd, const struct dp_map *map, struct err *err);
/* The pinned map; of a growing map, the outer one. */
int dp_map_open_pin(const struct dp_map *map, struct err *err);
int dp_map_fd_info(int fd, const struct dp_map *map, struct bpf_map_info *info, struct err *err);
/* Every element of the map behind fd (of a growing map: of the hash inside), as dp_map_each() does. */
int dp_map_walk(int fd, const struct dp_map *map, dp_map_fn fn, void *arg, struct err *err);

/*
 * Writes an element of a per-CPU hash: 0, or -errno. The kernel takes its memory without sleeping, from pages that a
 * kernel worker provides (mm/percpu.c). -ENOMEM often means that the worker has not run yet, and there is no
 * notification for its end: the write is tried again, for 127 ms at most.
 */
int dp_percpu_write(int fd, const void *key, const void *values, uint64_t flags);
/*
 * Sets the error of an element that could not be written: -ENOSPC for each of the kernel's errnos for a lack of room,
 * else -num.
 */
int dp_map_not_written(int num, const char *map, const char *what, struct err *err);

/* Prefix to key, without host bits, and back: struct wr_prefix4 is a prefix of wr_prefix6. */
struct wr_prefix6 dp_prefix_key(const struct prefix *prefix);
struct prefix dp_prefix_of(int family, const void *key);

/* Opens several maps by name. After a failure the caller closes those that are open. */
struct dp_map_fd {
	const char *name;
	int *fd;
};
int dp_maps_open(const struct dp_map_fd *maps, size_t count, struct err *err);

/* BTF for the hash of a growing map, so that dumps are readable. All zero: no BTF. */
struct dp_btf {
	int fd;
	__u32 key, value; /* types in it */
};
/* A new hash for a growing map, with room for `entries`. Returns its fd. */
int dp_growing_create(const struct dp_map *map, uint32_t entries, const struct dp_btf *btf, struct err *err);
/* Replaces the inner hash. When this returns, no program reads the old one any more. */
int dp_growing_set(int outer, const struct dp_map *map, int inner, struct err *err);
/* The present inner hash. */
int dp_growing_get(int outer, const struct dp_map *map, struct err *err);

#endif
