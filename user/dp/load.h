/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading and pinning the programs: the part of node_init() that deals with BPF only. The caller holds LOCK_NODE. */
#ifndef WARREN_LOAD_H
#define WARREN_LOAD_H

#include "node.h"

/* Mounts bpffs at WARREN_BPFFS if nothing of that kind is there (*mounted says so). Its failure has ERR_NOT_AVAILABLE. */
int load_bpffs(bool *mounted, struct err *err);

/*
 * Loads this build's programs over what maps are pinned already, pins what is not, and puts the programs' pins in place
 * atomically. `fresh`: no map was pinned before; then nothing stays pinned on failure.
 */
int load_programs(const struct node_options *options, bool *fresh, struct err *err);

/*
 * A program of this build loaded a second time over the pinned maps, with `dry_run` set: it changes nothing but map
 * trace, and is neither pinned nor attached. -EPROTO if what is loaded is not this build's.
 */
struct load_twin {
	struct warren_bpf *skel;
	int prog; /* borrowed from it */
};
#define LOAD_NO_TWIN { NULL, -1 }
int load_twin(const char *name, struct load_twin *twin, struct err *err);
void load_twin_free(struct load_twin *twin);

/* Sets what the programs take for constant, before they are loaded: their clock, their secrets. */
struct warren_bpf;
void load_constants(struct warren_bpf *skel);

/* Removes every pin, of every ABI version. */
int load_unpin(struct err *err);

#endif
