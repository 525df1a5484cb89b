/* SPDX-License-Identifier: BSD-2-Clause */
/* The event ring, read by one process at a time. */
#ifndef WARREN_EVENTS_H
#define WARREN_EVENTS_H

#include "abi/maps.h"
#include "err.h"

struct dp_events;
/*
 * One reader at a time (-EBUSY). Old events are skipped. The programs write events only while there is a listener: this
 * call announces one for WR_EVENT_LISTEN_NS, and dp_events_renew() must be called every WR_EVENT_RENEW_NS.
 */
int dp_events_open(struct dp_events **events, struct err *err);
/* An fd to poll for reading. */
int dp_events_fd(struct dp_events *events);
/*
 * Waits up to timeout_ms (-1: for ever) and calls fn for every event; returns how many, or the first non-zero of fn.
 * -EINTR on a signal.
 */
int dp_events_poll(struct dp_events *events, int timeout_ms, int (*fn)(const struct wr_event *ev, void *arg), void *arg,
		   struct err *err);
int dp_events_renew(struct err *err);
/* Over all processors. */
int dp_event_stats(struct wr_event_stats *stats, struct err *err);
void dp_events_close(struct dp_events *events);

#endif
