/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters and events for tools, for tc and XDP programs. */
#ifndef WARREN_LIB_REPORT_H
#define WARREN_LIB_REPORT_H

#include <stdbool.h>

#include "lib/maps.h"
#include "lib/packet.h"

static __always_inline void metric_add(struct wr_metric *m, __u32 bytes)
{
	if (m) {
		m->packets++;
		m->bytes += bytes;
	}
}

static __always_inline void metric_count(enum wr_reason reason, __u32 direction, __u32 bytes)
{
	__u32 key = wr_metric_key(reason, direction);

	metric_add(bpf_map_lookup_elem(&metrics, &key), bytes);
}

static __always_inline struct wr_event_stats *event_stats_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&event_stats, &zero);
}

/* Whether the ring has a registered reader. */
static __always_inline bool event_has_listener(void)
{
	const __u32 zero = 0;
	const struct wr_event_state *state = bpf_map_lookup_elem(&event_state, &zero);

	return state && state->listens_until && bpf_ktime_get_coarse_ns() < state->listens_until;
}

static __always_inline bool ring_is_half_empty(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2;
}

/* Acquires a token of the source; false: none is left. A CPU that loses the race twice gets none. */
static __always_inline bool event_acquire_token(struct wr_event_rate *rate, bool drops)
{
	const __u64 interval = 1000000000ull / WR_EVENT_RATE;
	const __u64 ahead = (drops ? WR_EVENT_BURST - 1 : WR_EVENT_BURST / 2 - 1) * interval;
	const __u64 now = bpf_ktime_get_coarse_ns();

#pragma clang loop unroll(full)
	for (int n = 0; n < 2; n++) {
		const __u64 next = *(volatile __u64 *)&rate->next_ns;
		const __u64 base = next > now ? next : now;

		if (base - now > ahead)
			return false;
		if (__sync_val_compare_and_swap(&rate->next_ns, next, base + interval) == next)
			return true;
	}
	return false;
}

/*
 * Whether to report a packet. 0: no; else 1 + the number of this source's events that were suppressed before. Every
 * drop calls this: without a listener it is one lookup in an array.
 */
OUT_OF_LINE int event_admit(__u32 ifindex, __u32 direction, __u32 drops)
{
	const __u32 source = wr_event_source(ifindex, direction);
	struct wr_event_stats *stats;
	struct wr_event_rate *rate;

	if (!event_has_listener() || (!drops && !ring_is_half_empty()))
		return 0;
	rate = bpf_map_lookup_elem(&event_rate, &source);
	if (!rate)
		return 0;
	if (event_acquire_token(rate, drops))
		return 1 + (rate->suppressed ? __sync_lock_test_and_set(&rate->suppressed, 0) & 0x3fffffff : 0);
	__sync_fetch_and_add(&rate->suppressed, 1);
	stats = event_stats_get();
	if (stats)
		stats->suppressed++;
	return 0;
}

/* The caller submits the event. If the ring is full the event is lost; the drop is still counted. */
static __always_inline struct wr_event *event_begin(__u32 ifindex, __u32 length, __u32 reason, __u32 direction,
						    __u32 admitted)
{
	struct wr_event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);

	if (!ev) {
		struct wr_event_stats *stats = event_stats_get();

		if (stats)
			stats->lost++;
		return NULL;
	}
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->ifindex = ifindex;
	ev->length = length;
	ev->reason = reason;
	ev->direction = direction;
	ev->suppressed = admitted - 1;
	return ev;
}

#endif
