/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What tools see of packets, for programs of either kind: counters, and events. */
#ifndef WARREN_LIB_REPORT_H
#define WARREN_LIB_REPORT_H

#include "lib/maps.h"

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

/* To be submitted. A full ring loses the event and nothing else: the drop is counted all the same. */
static __always_inline struct wr_event *event_begin(__u32 ifindex, __u32 length, __u32 reason, __u32 direction)
{
	struct wr_event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);

	if (!ev)
		return NULL;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->ifindex = ifindex;
	ev->length = length;
	ev->reason = reason;
	ev->direction = direction;
	return ev;
}

static __always_inline bool ring_is_half_empty(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2;
}

#endif
