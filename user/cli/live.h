/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that print lines until a signal comes, or until the reader of their output closes it. */
#ifndef WARREN_LIVE_H
#define WARREN_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "out.h"

/* SIGINT and SIGTERM end the command from now on, not the process. */
int live_begin(struct err *err);
void live_end(void);
/* Waits until stdout accepts more. False: a signal came, which must end the command also if its reader has stalled. */
bool live_writable(void);

/* Waits for input, at most this long. `fd` -1: for none. */
enum live_event { LIVE_NOTHING, LIVE_INPUT, LIVE_END };
int live_wait(int fd, int timeout_ms, struct err *err); /* -errno, or enum live_event */

/* Field "time" of a CLOCK_BOOTTIME, as events carry it: local time in text, UTC in JSON. */
void out_time(struct out *o, uint64_t boot_ns);

#endif
