/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The exit of every program: counts the packet, reports drops and new flows, and returns the tc action. */
#ifndef WARREN_LIB_VERDICT_H
#define WARREN_LIB_VERDICT_H

#include <linux/pkt_cls.h>

#include "lib/client.h"
#include "lib/flow.h"
#include "lib/reject.h"
#include "lib/report.h"
#include "lib/too_big.h"
#include "lib/tunnel_out.h"

/* One bit per drop reason, from the registry. */
#define WR_KIND_PASS 0ull
#define WR_KIND_DROP 1ull
#define X(NAME, name, KIND, text) | (WR_KIND_##KIND << WR_REASON_##NAME)
static const __u64 drop_reasons = 0 WARREN_REASONS(X);
#undef X
_Static_assert(WR_REASONS <= 64, "drop_reasons has one bit a reason");

static __always_inline void report(const struct packet *p, enum wr_reason reason, bool drops)
{
	const struct flow *f = flow_memory_get();
	const __u32 admitted = event_admit(p->ifindex, p->direction, drops);
	__u32 len = p->skb->len;
	struct wr_event *ev;

	if (!admitted)
		return;
	ev = event_begin(p->ifindex, len, reason, p->direction, admitted);
	if (!ev)
		return;
	ev->peer_identity = p->peer_identity;
	ev->peer_ifindex = p->peer_ifindex;
	ev->evaluated = p->evaluated;
	if (p->evaluated && f) {
		ev->rule[WR_EGRESS] = f->ct.at[WR_EGRESS].rule;
		ev->rule[WR_INGRESS] = f->ct.at[WR_INGRESS].rule;
		ev->policy_class[WR_EGRESS] = f->policy_class[WR_EGRESS];
		ev->policy_class[WR_INGRESS] = f->policy_class[WR_INGRESS];
	}
	/*
	 * A frame is always that long; 6.1's verifier needs a lower bound other than "not 0", and both bounds of one
	 * register: it forgets those of a value that was spilled to the stack.
	 */
	len = p->skb->len;
	asm volatile("" : "+r"(len));
	if (len > WR_EVENT_HEADERS)
		len = WR_EVENT_HEADERS;
	asm volatile("" : "+r"(len));
	if (len >= ETH_HLEN) {
		/* Again in the register that the helper gets: it may have been spilled before the last comparison. */
		asm volatile("if %0 s< 14 goto +1\n\tif %0 s< 169 goto +1\n\t%0 = 14" : "+r"(len));
		if (!bpf_skb_load_bytes(p->skb, 0, ev->headers, len))
			ev->captured = len;
	}
	bpf_ringbuf_submit(ev, 0);
}

/* The endpoint into whose pod a packet is redirected: for sent packets, the other end. */
static __always_inline __u32 receiver(const struct packet *p, enum wr_reason reason)
{
	return reason == WR_REASON_GATEWAY_REPLY || p->direction == WR_INGRESS ? p->ifindex : p->peer_ifindex;
}

/* For a dry run: the device on which packets to the node in that slot leave now. */
OUT_OF_LINE int redirect_uplink(struct __sk_buff *skb, __u32 slot)
{
	struct wr_nexthop nh = { 0 };

	nexthop_look_up(skb, slot, &nh);
	return nh.ifindex;
}

/* For a dry run: the device that the packet would be redirected to, 0: none. */
static __always_inline __u32 redirect_target(const struct packet *p, enum wr_reason reason)
{
	const struct wr_cluster *c = cluster_get();

	if (reason == WR_REASON_TO_ENDPOINT || reason == WR_REASON_GATEWAY_REPLY)
		return receiver(p, reason);
	if (reason == WR_REASON_TO_HOST)
		return c ? c->host_ifindex : 0;
	if (reason == WR_REASON_TO_CLIENT)
		return client_device();
	return reason == WR_REASON_TO_NODE ? redirect_uplink(p->skb, p->peer_ifindex & ~WR_REMOTE) : 0;
}

static __always_inline void trace_end(const struct packet *p, enum wr_reason reason)
{
	struct wr_trace *t = trace_get();

	if (!t)
		return;
	t->reason = reason;
	t->peer_ifindex = p->peer_ifindex;
	t->peer_identity = p->peer_identity;
	t->redirect = redirect_target(p, reason);
	t->mark = p->skb->mark;
}

static __always_inline int verdict(const struct packet *p, enum wr_reason reason)
{
	const bool drops = drop_reasons >> reason & 1;

	if (dry_run) {
		trace_end(p, reason);
	} else {
		metric_count(reason, p->direction, p->skb->len);
		if (drops || p->evaluated)
			report(p, reason, drops);
	}
	if ((reason == WR_REASON_TOO_BIG || reason == WR_REASON_NO_BACKEND || reason == WR_REASON_NO_SERVICE_PORT) && !dry_run)
		return reject(p->skb, p->peer_ifindex & ~WR_REMOTE, reason, p->direction == WR_INGRESS,
			      p->direction == WR_INGRESS || p->tunnelled);
	if (drops)
		return TC_ACT_SHOT;
	/* GATEWAY_REPLY: back into the pod that sent the request. */
	if (reason == WR_REASON_TO_ENDPOINT || reason == WR_REASON_GATEWAY_REPLY)
		return bpf_redirect_peer(receiver(p, reason), 0);
	if (reason == WR_REASON_TO_NODE)
		return tunnel_redirect(p);
	if (reason == WR_REASON_TO_HOST)
		return tunnel_redirect_host();
	if (reason == WR_REASON_TO_CLIENT)
		return client_redirect();
	return TC_ACT_OK;
}

#endif
