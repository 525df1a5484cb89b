/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink: tunnel packets of other nodes are decapsulated, judged and delivered; what pretends to be a pod's or
 * this node's own is dropped; everything else passes untouched, and costs a look at its IP header.
 */
#include "lib/arrive.h"
#include "lib/deny.h"
#include "lib/outside.h"
#include "lib/verdict.h"
#include "lib/xdp_meta.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/*
 * Whether the frame, of that family, is one of another node: then it is as that node's sender has sent it, and *v6 its family.
 * NONE with no p->peer_ifindex: none of our business.
 */
static __always_inline enum wr_reason open(struct packet *p, const struct wr_cluster *c, bool *is_v6, const bool v6)
{
	struct tunnel t = { 0 };
	enum wr_reason reason = tunnel_open(p, c, &t, v6);

	if (reason)
		return reason;
	if (!t.node)
		return outside_check(p, c, v6);
	p->peer_identity = t.identity;
	*is_v6 = t.v6;
	return tunnel_decap(p, &t);
}

/* What xdp_uplink has taken apart: it has looked at the outer headers, the rest is as if it had been done here. */
static __always_inline enum wr_reason taken_apart(struct packet *p, const struct xdp_origin *origin, const bool v6)
{
	struct tunnel t = { .slot = origin->slot, .identity = origin->identity, .node = node_get(origin->slot),
			    .inner = ETH_HLEN, .end = p->skb->len, .v6 = v6 };
	enum wr_reason reason;

	if (!t.node)
		return WR_REASON_TUNNEL_SENDER;
	p->peer_ifindex = WR_REMOTE | t.slot;
	reason = v6 ? tunnel6_inner(p, &t) : tunnel4_inner(p, &t);
	if (!reason)
		reason = tunnel_source(p, &t, v6);
	if (reason)
		return reason;
	p->peer_identity = t.identity;
	node_count(t.slot, WR_INGRESS, p->skb->len);
	return WR_REASON_NONE;
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
static __always_inline enum wr_reason judge(struct packet *p, struct scratch *s, const struct xdp_origin *origin)
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
	if (origin->slot)
		reason = v6 ? taken_apart(p, origin, true) : taken_apart(p, origin, false);
	else
		reason = v6 ? open(p, c, &v6, true) : open(p, c, &v6, false);
	if (reason || !p->peer_ifindex)
		return reason;
	/* The world's is nobody's: it only came by that node. */
	if (p->peer_identity == WR_ID_WORLD)
		p->peer_ifindex = 0;
	return v6 ? arrive(p, s, true) : arrive(p, s, false);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_INGRESS, .at = &s.at,
			    .rest = &s.transport };
	struct xdp_origin origin = { 0 };
	enum wr_reason reason;
	enum deny deny;

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	xdp_origin_take(skb, &origin);
	deny = origin.slot ? DENY_NO : judge_denied(&p);
	if (deny == DENY_QUIET) {
		count(&p, WR_REASON_DENYLIST);
		return TC_ACT_SHOT;
	}
	reason = deny ? WR_REASON_DENYLIST : judge(&p, &s, &origin);
	return reason ? verdict(&p, &s.flow, reason) : TC_ACT_OK;
}
