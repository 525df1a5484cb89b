/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks of what a program does with a packet. */
#ifndef WARREN_TEST_EXPECT_H
#define WARREN_TEST_EXPECT_H

#include "state.h"

extern const char *const reason_names[WR_REASONS];
bool reason_drops(enum wr_reason reason);
/* What tc returns for it. TOO_BIG, NO_BACKEND: for a packet that may be rejected with an ICMP error. */
int reason_verdict(enum wr_reason reason);
/* ... of that program. */
int program_verdict(enum program program, enum wr_reason reason);
/* A test fails unless the frames are equal, ... */
void frame_expect(const struct frame *got, const struct frame *expected);
/* ... unless the run was counted once, under that reason (NONE: not at all), ... */
void counter_expect(const struct run *r, enum wr_reason reason);
/* ... unless one event reports that reason, the device and the packet `seen`. */
void event_expect(const struct run *r, enum wr_reason reason, enum device device, const struct frame *seen);
/*
 * ... unless the dry-run program, run before the program, gives that reason and changes nothing. `slots_too`: see
 * maps_digest(). A dry run rejects without an ICMP error.
 */
void dry_run_expect(const struct run *r, const struct frame *in, enum wr_reason reason, bool slots_too, struct wr_trace *trace);
/* ... unless `got` is the ICMP error for the sender of `in`: the packet quoted, the addresses and the checksums. */
void icmp_error_expect(const struct frame *in, const struct frame *got, bool v6);

#endif
