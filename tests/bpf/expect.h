/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of packets, and that it is what it should be. */
#ifndef WARREN_TEST_EXPECT_H
#define WARREN_TEST_EXPECT_H

#include "state.h"

extern const char *const reason_names[WR_REASONS];
bool reason_drops(enum wr_reason reason);
/* What tc returns for it. TOO_BIG, NO_BACKEND: to a sender who may be told. */
int reason_verdict(enum wr_reason reason);
/* A test fails unless the frames are equal, ... */
void frame_expect(const struct frame *got, const struct frame *want);
/* ... unless the run was counted once, as that (NONE: not at all), ... */
void counter_expect(const struct run *r, enum wr_reason reason);
/* ... unless one event tells so, of that device and of a packet that looked like that. */
void event_expect(const struct run *r, enum wr_reason reason, enum device device, const struct frame *seen);
/*
 * ... unless the twin, asked before the program, says so and changes nothing. `slots_too`: see maps_digest(). It tells no
 * sender why a packet goes no further.
 */
void twin_expect(const struct run *r, const struct frame *in, enum wr_reason reason, bool slots_too, struct wr_trace *trace);
/* ... unless `got` is the error that the sender of `in` gets: what it quotes, whom it names, that its sums are right. */
void told_expect(const struct frame *in, const struct frame *got, bool v6);

#endif
