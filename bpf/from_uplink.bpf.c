/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink: tunnel packets of other nodes are decapsulated and delivered; what pretends to be a pod's or this
 * node's own is dropped; everything else passes untouched, and costs a look at its IP header.
 */
#include "lib/deny.h"
#include "lib/flow.h"
#include "lib/transport.h"
#include "lib/verdict.h"
#include "lib/xdp_meta.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/* Not through the tunnel: NONE lets it pass. p->at->saddr is its source. */
static __always_inline enum wr_reason judge_plain(struct packet *p, const struct wr_cluster *c, const bool v6)
{
	return cluster_holds(c, &p->at->saddr, v6) ? WR_REASON_NOT_TUNNELLED : WR_REASON_NONE;
}

/* To this node's own stack. */
static __always_inline enum wr_reason deliver_host(struct packet *p)
{
	const __u8 mac[6] __attribute__((aligned(2))) = WR_HOST_MAC;

	return tunnel_readdress(p, mac) ? WR_REASON_TO_HOST : WR_REASON_RUNT;
}

/* The inner packet, which is the frame's only one now. */
static __always_inline enum wr_reason judge_inner(struct packet *p, const struct wr_cluster *c, const struct tunnel *t,
						  const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);
	__u32 owner;

	if (reason)
		return reason;
	p->peer_identity = tunnel_identity(p, t, v6);
	owner = endpoint_by_address(&p->at->daddr, &p->ep, v6);
	if (owner) {
		p->ifindex = owner;
		if (!p->ep)
			return WR_REASON_NO_ENDPOINT;
		return tunnel_readdress(p, p->ep->mac) ? WR_REASON_TO_ENDPOINT : WR_REASON_RUNT;
	}
	if (cluster_has_own(c, &p->at->daddr, v6))
		return deliver_host(p);
	return WR_REASON_TUNNEL_TARGET;
}

static __always_inline enum wr_reason judge_outer(struct packet *p, const struct wr_cluster *c, const bool v6)
{
	struct tunnel t = { 0 };
	enum wr_reason reason = tunnel_open(p, c, &t, v6);

	if (reason)
		return reason;
	if (!t.node)
		return judge_plain(p, c, v6);
	reason = tunnel_decap(p, &t);
	if (reason)
		return reason;
	return t.v6 ? judge_inner(p, c, &t, true) : judge_inner(p, c, &t, false);
}

/* What xdp_uplink has taken apart, and looked at from outside: the rest is as if it had been done here. */
static __always_inline enum wr_reason judge_taken_apart(struct packet *p, const struct wr_cluster *c,
							const struct xdp_origin *origin, const bool v6)
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
	node_count(t.slot, WR_INGRESS, p->skb->len);
	return judge_inner(p, c, &t, v6);
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
static __always_inline enum wr_reason judge(struct packet *p, const struct xdp_origin *origin)
{
	const struct wr_cluster *c = cluster_get();
	const struct ethhdr *eth;

	if (!c || !c->flags || p->skb->pkt_type != PACKET_HOST || p->skb->vlan_present)
		return WR_REASON_NONE;
	eth = packet_at(p, 0, sizeof(*eth));
	if (!eth)
		return WR_REASON_NONE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return origin->slot ? judge_taken_apart(p, c, origin, false) : judge_outer(p, c, false);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return origin->slot ? judge_taken_apart(p, c, origin, true) : judge_outer(p, c, true);
	return WR_REASON_NONE;
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
	reason = deny ? WR_REASON_DENYLIST : judge(&p, &origin);
	return reason ? verdict(&p, &s.flow, reason) : TC_ACT_OK;
}
