/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops a frame in XDP: counted and reported as in lib/verdict.h. */
#ifndef WARREN_LIB_XDP_VERDICT_H
#define WARREN_LIB_XDP_VERDICT_H

#include "lib/report.h"
#include "lib/xdp_frame.h"

OUT_OF_LINE int xdp_report(struct xdp_md *ctx, __u32 reason)
{
	const __u32 admitted = event_admit(ctx->ingress_ifindex, WR_INGRESS, true);
	__u32 len = bpf_xdp_get_buff_len(ctx);
	struct wr_event *ev;

	if (!admitted)
		return 0;
	ev = event_begin(ctx->ingress_ifindex, len, reason, WR_INGRESS, admitted);
	if (!ev)
		return 0;
	if (len > WR_EVENT_HEADERS)
		len = WR_EVENT_HEADERS;
	if (len >= ETH_HLEN && !bpf_xdp_load_bytes(ctx, 0, ev->headers, len))
		ev->captured = len;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

static __always_inline int xdp_drop(const struct xdp_frame *f, enum wr_reason reason, bool report)
{
	metric_count(reason, WR_INGRESS, f->len);
	if (report)
		xdp_report(f->ctx, reason);
	return XDP_DROP;
}

#endif
