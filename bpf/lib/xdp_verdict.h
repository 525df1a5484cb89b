/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a frame that XDP drops: counted and reported as lib/verdict.h does it for packets. */
#ifndef WARREN_LIB_XDP_VERDICT_H
#define WARREN_LIB_XDP_VERDICT_H

#include "lib/xdp_frame.h"

static __always_inline void xdp_count(__u32 bytes, enum wr_reason reason)
{
	__u32 key = wr_metric_key(reason, WR_INGRESS);
	struct wr_metric *m = bpf_map_lookup_elem(&metrics, &key);

	if (m) {
		m->packets++;
		m->bytes += bytes;
	}
}

OUT_OF_LINE int xdp_report(struct xdp_md *ctx, __u32 reason)
{
	struct wr_event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);
	__u32 len = bpf_xdp_get_buff_len(ctx);

	if (!ev)
		return 0;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->ifindex = ctx->ingress_ifindex;
	ev->length = len;
	ev->reason = reason;
	ev->direction = WR_INGRESS;
	if (len > WR_EVENT_HEADERS)
		len = WR_EVENT_HEADERS;
	if (len >= ETH_HLEN && !bpf_xdp_load_bytes(ctx, 0, ev->headers, len))
		ev->captured = len;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

static __always_inline int xdp_drop(const struct xdp_frame *f, enum wr_reason reason, bool report)
{
	xdp_count(f->len, reason);
	if (report)
		xdp_report(f->ctx, reason);
	return XDP_DROP;
}

#endif
