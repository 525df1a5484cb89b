/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The array of programs that others continue in by a tail call (enum wr_tail). The kernel empties such an array when its
 * last file descriptor and pin are gone, so it is pinned beside the programs. A new load of the same ABI version uses
 * the pinned array: programs that are still attached continue in the new ones.
 */
#ifndef WARREN_TAILS_H
#define WARREN_TAILS_H

#include <stdbool.h>

#include "err.h"

struct warren_bpf;

/* Before the programs are loaded: uses the array that is pinned in `dir`, if there is one. */
int tails_reuse(struct warren_bpf *skel, const char *dir, struct err *err);
/* After the load: fills the array with the programs that are loaded, and pins it in `dir`. */
int tails_pin(struct warren_bpf *skel, const char *dir, struct err *err);
/* Whether the array that is pinned in `dir` has a program for every tail call. */
bool tails_pinned(const char *dir);

/* Whether programs of that name may tail-call, so that a load of that one alone needs the others too. */
bool tails_follow(const char *name);
/* Whether it is one of the programs in the array. */
bool tails_have(const char *name);

#endif
