/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a program that is pinned is the one that this build would load in its place: then the verifier, which takes most
 * of a second of CPU for all of them, need not see it again.
 *
 * What a loaded program was built from stands in its read-only data, which is frozen, belongs to it alone, and cannot
 * outlive it: there the loader has put a hash of the whole object (`build`). Whatever is not as expected is no match.
 */
#ifndef WARREN_LOADED_H
#define WARREN_LOADED_H

#include <stdbool.h>
#include <stdint.h>

struct warren_bpf;

/* Of the object that is embedded here; never 0. */
uint64_t loaded_build(const struct warren_bpf *skel);

/* The maps that are pinned, by their ids. */
struct loaded_maps {
	uint32_t ids[64];
	unsigned count;
};
/* `skel`: opened over all the maps that are pinned. false: some are not, or cannot be asked. */
bool loaded_maps(const struct warren_bpf *skel, struct loaded_maps *maps);

/*
 * fd of the program pinned at `path`, if it is `name` of this build, with the same constants as *skel has (its secrets
 * apart, which are another load's), over these maps; else -1. *load tells one load from another.
 */
int loaded_open(const struct warren_bpf *skel, const struct loaded_maps *maps, const char *path, const char *name,
		uint32_t *load);

#endif
