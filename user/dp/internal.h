/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of user/dp share and nobody else sees. */
#ifndef WARREN_DP_INTERNAL_H
#define WARREN_DP_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dp.h"

#define PIN_STR_(n) #n
#define PIN_STR(n) PIN_STR_(n)
#define PIN_VERSION_DIR WARREN_PIN_ROOT "/v" PIN_STR(WR_ABI_VERSION)
#define PIN_MAP_DIR PIN_VERSION_DIR "/maps"
#define PIN_PROG_DIR PIN_VERSION_DIR "/progs"
#define PIN_PATH_MAX 128

/* Path of a map's or a program's pin. */
static inline const char *pin_path(char buf[PIN_PATH_MAX], const char *dir, const char *name)
{
	snprintf(buf, PIN_PATH_MAX, "%s/%s", dir, name);
	return buf;
}

/* -EPROTO if the map behind fd is not what the registry says it is (`max_entries` may differ). */
int dp_map_verify(int fd, const struct dp_map *map, struct err *err);

/* A new inner map for the growing map `name`, with room for `entries`. Returns its fd. */
int dp_growing_create(const char *name, uint32_t entries, struct err *err);

/* Id of the program behind fd, 0 if that cannot be said. */
uint32_t dp_prog_id(int fd);

#endif
