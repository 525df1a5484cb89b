/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Removes dead flows from ct4 and ct6, which evict nothing, without any process: a timer in map `sweep`, which lives as
 * long as the map is pinned. Lookups take a dead entry for absent, swept or not.
 */
#include "lib/conntrack.h"
#include "lib/endpoint.h"

#define CLOCK_MONOTONIC 1

struct sweep_tally {
	__u32 now;
	__u32 live;
	__u32 removed;
};

/* Also a flow of an endpoint that is no more: its ifindex does not come again before the next boot. */
static __always_inline bool is_dead(const struct wr_ct *ct, __u32 now)
{
	return ct_expired(ct, now) || (end_is_local(ct->initiator) && !endpoint_get(ct->initiator)) ||
	       (end_is_local(ct->responder) && !endpoint_get(ct->responder));
}

/* Of ct4 or ct6. */
static int sweep_entry(void *map, const void *key, const struct wr_ct *ct, struct sweep_tally *tally)
{
	const struct wr_ct was = *ct;

	if (!is_dead(&was, tally->now)) {
		tally->live++;
	} else if (!bpf_map_delete_elem(map, key)) {
		ct_usage_drop(ct_owner(&was));
		tally->removed++;
	}
	return 0;
}

static __noinline int sweep_run(struct wr_sweep *s)
{
	struct sweep_tally tally = { .now = ct_now() };

	bpf_for_each_map_elem(&ct4, sweep_entry, &tally, 0);
	s->live[0] = tally.live;
	tally.live = 0;
	bpf_for_each_map_elem(&ct6, sweep_entry, &tally, 0);
	s->live[1] = tally.live;
	s->removed += tally.removed;
	s->runs++;
	s->time_ns = bpf_ktime_get_ns();
	return 0;
}

static int sweep_tick(void *map, __u32 *key, struct wr_sweep *s)
{
	sweep_run(s);
	bpf_timer_start(&s->timer, WR_SWEEP_SECONDS * 1000000000ull, 0);
	return 0;
}

/*
 * Run once by the loader, also after an upgrade: the timer is there then (-EBUSY), its callback is the old program's.
 */
SEC("tc")
int sweep_start(struct __sk_buff *skb)
{
	const __u32 zero = 0;
	struct wr_sweep *s = bpf_map_lookup_elem(&sweep, &zero);

	if (!s)
		return -1;
	bpf_timer_init(&s->timer, &sweep, CLOCK_MONOTONIC);
	if (bpf_timer_set_callback(&s->timer, sweep_tick))
		return -1;
	/* So that a timer which has just been started is told from one that has stopped. */
	s->time_ns = bpf_ktime_get_ns();
	return bpf_timer_start(&s->timer, 0, 0); /* the first time at once */
}

/* At once, for whoever cannot wait. */
SEC("tc")
int sweep_now(struct __sk_buff *skb)
{
	const __u32 zero = 0;
	struct wr_sweep *s = bpf_map_lookup_elem(&sweep, &zero);

	return s ? sweep_run(s) : -1;
}
