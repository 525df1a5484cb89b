/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one way out of every program: counts the packet, reports a drop, and says what tc is to do. */
#ifndef WARREN_LIB_VERDICT_H
#define WARREN_LIB_VERDICT_H

#include <linux/pkt_cls.h>

#include "lib/maps.h"
#include "lib/packet.h"

/* Set in the twins that `warren trace` runs; in the attached programs the verifier removes what depends on it. */
const volatile bool dry_run __weak = false;

/* One bit for each reason that drops, from the registry. */
#define WR_KIND_PASS 0ull
#define WR_KIND_DROP 1ull
#define X(NAME, name, KIND, text) | (WR_KIND_##KIND << WR_REASON_##NAME)
static const __u64 drop_reasons = 0 WARREN_REASONS(X);
#undef X
_Static_assert(WR_REASONS <= 64, "drop_reasons has one bit a reason");

static __always_inline void count(const struct packet *p, enum wr_reason reason)
{
	__u32 key = wr_metric_key(reason, p->direction);
	struct wr_metric *m = dry_run ? NULL : bpf_map_lookup_elem(&metrics, &key);

	if (m) {
		m->packets++;
		m->bytes += p->skb->len;
	}
}

/* A full ring loses the event and nothing else: the drop is counted all the same. */
static __always_inline void report(const struct packet *p, enum wr_reason reason)
{
	struct wr_event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);
	__u32 len = p->skb->len;

	if (!ev)
		return;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->peer_identity = p->peer_identity;
	ev->ifindex = p->ifindex;
	ev->peer_ifindex = p->peer_ifindex;
	ev->length = len;
	ev->reason = reason;
	ev->direction = p->direction;
	if (len > WR_EVENT_HEADERS)
		len = WR_EVENT_HEADERS;
	/* A frame always is that long; 6.1's verifier needs a lower bound that is no mere "not 0". */
	if (len >= ETH_HLEN && !bpf_skb_load_bytes(p->skb, 0, ev->headers, len))
		ev->captured = len;
	bpf_ringbuf_submit(ev, 0);
}

static __always_inline int verdict(const struct packet *p, enum wr_reason reason)
{
	count(p, reason);
	if (drop_reasons >> reason & 1) {
		report(p, reason);
		return TC_ACT_SHOT;
	}
	if (reason == WR_REASON_TO_ENDPOINT || reason == WR_REASON_GATEWAY_REPLY)
		return bpf_redirect_peer(p->redirect, 0);
	return TC_ACT_OK;
}

#endif
