/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink: tunnel packets of other nodes are decapsulated, judged and delivered; what pretends to be a
 * pod's or this node's own is dropped; everything else passes untouched, and costs a look at its IP header.
 */
#include <linux/if_packet.h>

#include "lib/arrive.h"
#include "lib/cluster.h"
#include "lib/deny.h"
#include "lib/node.h"
#include "lib/outside.h"
#include "lib/verdict.h"
#include "lib/xdp_meta.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/* What is over before anything is judged has the same memory: 6.1 counts every 32 bytes of the stack. */
union memory {
	struct scratch s;
	struct {
		struct addresses at;
		struct xdp_origin origin;
		struct tunnel tunnel;
	} first;
};

/*
 * Whether the frame, of that family, is one of another node: then it is as that node's sender has sent it, and t->v6
 * its family. NONE with no p->peer_ifindex: none of our business.
 */
static __always_inline enum wr_reason open(struct packet *p, const struct wr_cluster *c, struct tunnel *t,
					   const bool v6)
{
	enum wr_reason reason = tunnel_open(p, c, t, v6);

	if (reason)
		return reason;
	if (!t->node)
		return outside_check(p, c, v6);
	p->peer_identity = t->identity;
	return tunnel_decap(p, t);
}

/* What xdp_uplink has taken apart: it has looked at the outer headers, the rest is as if it had been done here. */
static __always_inline enum wr_reason inner_check(struct packet *p, struct tunnel *t, const bool v6)
{
	enum wr_reason reason = v6 ? tunnel6_inner(p, t) : tunnel4_inner(p, t);

	return reason ? reason : tunnel_source(p, t, v6);
}

OUT_OF_LINE int taken_apart(struct __sk_buff *skb, struct addresses *at, __u32 slot, __u64 identity, __u32 v6)
{
	struct tunnel t = {
		.slot = slot, .identity = identity, .node = node_get(slot), .inner = ETH_HLEN, .end = skb->len
	};
	struct packet p = { .skb = skb, .at = at };
	enum wr_reason reason;

	if (!at || !t.node)
		return WR_REASON_TUNNEL_SENDER;
	reason = v6 ? inner_check(&p, &t, true) : inner_check(&p, &t, false);
	if (!reason)
		node_count(slot, WR_INGRESS, skb->len);
	return reason;
}

/* The denylist, before everything else, and for whomever the packet is. */
static __always_inline enum deny judge_denied(const struct packet *p)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (eth && eth->h_proto == bpf_htons(ETH_P_IP))
		return deny_packet(p, false);
	if (eth && eth->h_proto == bpf_htons(ETH_P_IPV6))
		return deny_packet(p, true);
	return DENY_NO;
}

/* What is not addressed to this host, or is of a VLAN's device, is none of our business. */
static __always_inline enum wr_reason judge(struct packet *p, union memory *m)
{
	const struct wr_cluster *c = cluster_get();
	const struct ethhdr *eth;
	enum wr_reason reason;
	bool v6;

	p->cluster_revision = cluster_revision();
	if (!c || !c->flags || p->skb->pkt_type != PACKET_HOST || p->skb->vlan_present)
		return WR_REASON_NONE;
	eth = packet_at(p, 0, sizeof(*eth));
	if (!eth || (eth->h_proto != bpf_htons(ETH_P_IP) && eth->h_proto != bpf_htons(ETH_P_IPV6)))
		return WR_REASON_NONE;
	v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	m->first.tunnel.v6 = v6;
	if (m->first.origin.slot) {
		p->peer_ifindex = WR_REMOTE | m->first.origin.slot;
		p->peer_identity = m->first.origin.identity;
		reason = taken_apart(p->skb, p->at, m->first.origin.slot, m->first.origin.identity, v6);
	} else {
		reason = v6 ? open(p, c, &m->first.tunnel, true) : open(p, c, &m->first.tunnel, false);
	}
	if (reason || !p->peer_ifindex)
		return reason;
	return m->first.tunnel.v6 ? arrive(p, &m->s, true) : arrive(p, &m->s, false);
}

/* Counted only: of a flood one packet a tick is reported. */
OUT_OF_LINE int denied_quietly(struct __sk_buff *skb)
{
	const struct packet p = { .skb = skb, .direction = WR_INGRESS };

	count(&p, WR_REASON_DENYLIST);
	return TC_ACT_SHOT;
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	union memory m;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_INGRESS, .at = &m.s.at,
			    .rest = &m.s.transport };
	enum wr_reason reason;
	enum deny deny;

	__builtin_memset(&m.first, 0, sizeof(m.first));
	trace_begin(p.ifindex);
	xdp_origin_take(skb, &m.first.origin);
	deny = m.first.origin.slot ? DENY_NO : judge_denied(&p);
	if (deny == DENY_QUIET)
		return denied_quietly(skb);
	reason = deny ? WR_REASON_DENYLIST : judge(&p, &m);
	return reason ? verdict(&p, &m.s.flow, reason) : TC_ACT_OK;
}
