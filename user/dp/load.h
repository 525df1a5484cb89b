/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading and pinning the programs: the part of node_init() that deals with BPF only. The caller holds LOCK_NODE. */
#ifndef WARREN_LOAD_H
#define WARREN_LOAD_H

#include <stdbool.h>

#include "config.h"

/*
 * Mounts bpffs at WARREN_BPFFS if there is none; *mounted: it did. The code of its error is ERR_NOT_AVAILABLE.
 */
int load_bpffs(bool *mounted, struct err *err);

/*
 * Loads this build's programs with the maps that are pinned already, pins the other maps, and replaces the programs'
 * pins atomically. If this build's programs are loaded (loaded.h), they stay unless options->reload. *fresh: no map was
 * pinned before; then nothing stays pinned on failure.
 */
int load_programs(const struct node_options *options, bool *fresh, struct err *err);

struct bpf_object;
struct warren_bpf;
/*
 * Opens this build's programs with the maps that are pinned, and counts those. The caller loads or destroys *skel.
 */
int load_open(struct warren_bpf **skel, unsigned *pinned, struct err *err);
/*
 * Loads what load_open() has opened, starts the conntrack gc, and pins the maps and those programs that are set to be
 * loaded. `fresh`: nothing stays pinned on failure.
 */
int load_and_pin(struct warren_bpf *skel, int mark_shift, bool fresh, struct err *err);
/* Sets an error from libbpf's last message; `what`: what the caller failed to do. */
int load_error(struct err *err, int num, const char *what);

/* Pins a loaded program in that directory and replaces an earlier pin of that name. */
int load_pin_program(const struct bpf_object *obj, const char *dir, const char *name, struct err *err);

/* Sets the programs' read-only data before they are loaded: clock constants and secrets. */
void load_constants(struct warren_bpf *skel);

/* Removes every pin, of every ABI version. */
int load_unpin(struct err *err);

#endif
