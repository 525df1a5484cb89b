/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading and pinning the programs: the part of node_init() that deals with BPF only. The caller holds LOCK_NODE. */
#ifndef WARREN_LOAD_H
#define WARREN_LOAD_H

#include <stdbool.h>

#include "config.h"

/*
 * Mounts bpffs at WARREN_BPFFS if nothing of that kind is there (*mounted says so). Its failure has ERR_NOT_AVAILABLE.
 */
int load_bpffs(bool *mounted, struct err *err);

/*
 * Loads this build's programs over what maps are pinned already, pins what is not, and puts the programs' pins in place
 * atomically. If they are there already (loaded.h), they stay, unless options->reload. `fresh`: no map was pinned
 * before; then nothing stays pinned on failure.
 */
int load_programs(const struct node_options *options, bool *fresh, struct err *err);

struct bpf_object;
struct warren_bpf;
/*
 * Opens this build's programs over the maps that are pinned, and counts those. To be loaded by the caller, or
 * destroyed.
 */
int load_open(struct warren_bpf **skel, unsigned *pinned, struct err *err);
/* What libbpf said last, with `what` the caller was about. */
int load_error(struct err *err, int num, const char *what);

/* Pins a program that is loaded in that directory, in the place of what is pinned there by its name. */
int load_pin_program(const struct bpf_object *obj, const char *dir, const char *name, struct err *err);

/* Sets what the programs take for constant, before they are loaded: their clock, their secrets. */
void load_constants(struct warren_bpf *skel);

/* Removes every pin, of every ABI version. */
int load_unpin(struct err *err);

#endif
