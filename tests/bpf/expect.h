/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of packets, and that it is what it should be. */
#ifndef WARREN_TEST_EXPECT_H
#define WARREN_TEST_EXPECT_H

#include "harness.h"

extern const char *const reason_names[WR_REASONS];
bool reason_drops(enum wr_reason reason);
/* What tc returns for it. TOO_BIG: to a sender who may be told. */
int reason_verdict(enum wr_reason reason);
/* A test fails unless they are equal. */
void frame_expect(const struct frame *got, const struct frame *want);
/* ... unless the run was counted, once and as that; NONE: not at all. */
void counter_expect(const struct run *r, enum wr_reason reason);
/* ... one event tells so, of that device's endpoint and of a packet that looked like that. */
void event_expect(const struct run *r, enum wr_reason reason, enum device device, const struct frame *seen);

#endif
