/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a pinned program equals the one that this build would load: then the verifier, which takes most of a second
 * of CPU for all programs, need not run again.
 *
 * The loader stores a hash of the whole object (`build`) in the programs' read-only data. That map is frozen, belongs
 * to one load, and lives no longer than its programs. Any deviation is no match.
 */
#ifndef WARREN_LOADED_H
#define WARREN_LOADED_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/maps.h"

struct warren_bpf;

/* The hash of the embedded object; never 0. */
uint64_t loaded_build(const struct warren_bpf *skel);

/* The maps that are pinned, by their ids: there is room for the whole registry. */
#define LOADED_ONE(...) +1
enum {
	LOADED_MAPS_MAX = WARREN_MAPS(LOADED_ONE) WARREN_GROWING_MAPS(LOADED_ONE) WARREN_RINGS(LOADED_ONE)
			  WARREN_SOCKET_MAPS(LOADED_ONE)
};
struct loaded_maps {
	uint32_t ids[LOADED_MAPS_MAX];
	unsigned count;
};
/* `skel`: opened with the pinned maps. false: a map is not pinned, or cannot be queried. */
bool loaded_maps(const struct warren_bpf *skel, struct loaded_maps *maps);

/*
 * fd of the program pinned at `path` if it is program `name` of this build, with the constants of *skel (except the
 * secrets, which each load draws) and these maps; else -1. *load identifies the load.
 */
int loaded_open(const struct warren_bpf *skel, const struct loaded_maps *maps, const char *path, const char *name,
		uint32_t *load);

#endif
