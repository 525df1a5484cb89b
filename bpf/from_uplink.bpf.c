/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink: tunnel packets of other nodes are decapsulated, judged and delivered; what pretends to be a
 * pod's or this node's own is dropped; everything else passes untouched, and costs a look at its IP header.
 */
#include <linux/if_packet.h>

#include "lib/cluster.h"
#include "lib/deny.h"
#include "lib/fib.h"
#include "lib/flow_pass.h"
#include "lib/nexthop.h"
#include "lib/node.h"
#include "lib/report.h"
#include "lib/transport.h"
#include "lib/tunnel_decap.h"
#include "lib/tunnel_in.h"
#include "lib/verdict.h"
#include "lib/verdict_address.h"
#include "lib/xdp_meta.h"

/* --- VLAN tags, of which the kernel has taken the first one out of the frame --- */

#define VLAN_ID 0xfff /* 0: a priority tag (IEEE 802.1Q), of no VLAN */

static __always_inline bool is_of_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && (skb->vlan_tci & VLAN_ID);
}

/*
 * Whether there is a priority tag behind the first one. Linux takes off as many as there are, and then has a packet
 * that nobody has looked at; honest senders have one.
 */
OUT_OF_LINE int priority_tag_follows(struct __sk_buff *skb)
{
	struct {
		struct ethhdr eth;
		__be16 tci;
	} frame;

	if (is_of_vlan(skb) || bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)) || (frame.tci & bpf_htons(VLAN_ID)))
		return false;
	return frame.eth.h_proto == bpf_htons(ETH_P_8021Q) || frame.eth.h_proto == bpf_htons(ETH_P_8021AD);
}

/* --- not through the tunnel --- */

/* Whether the frame came by the device and from the MAC address by which the node in that slot is reached. */
OUT_OF_LINE int sender_is_next_hop(struct __sk_buff *skb, __u32 slot)
{
	const struct packet p = { .skb = skb };
	const struct wr_node *node = node_get(slot);
	struct wr_nexthop found = { 0 };
	const struct wr_nexthop *nh = &found;
	const struct ethhdr *eth;

	if (!node || !(node->flags & WR_NODE_DIRECT))
		return false;
	if (dry_run)
		nexthop_look_up(skb, slot, &found);
	else
		nh = nexthop_get(skb, slot, node);
	eth = packet_at(&p, 0, sizeof(*eth));
	return nh && eth && (nh->flags & WR_NEXTHOP_RESOLVED) && nh->ifindex == skb->ifindex &&
	       mac_equal(eth->h_source, nh->dmac);
}

/*
 * Whether the packet, whose source is p->at->saddr, may go on. Then p->peer_ifindex is the node that has sent it, if it
 * is one of a pod there: known by the MAC address of the frame, on a link that both nodes are on.
 */
static __always_inline enum wr_reason outside_check(struct packet *p, const struct wr_cluster *c, const bool v6)
{
	const union addr *source = &p->at->saddr;
	const struct wr_node *node;
	struct known_place known = { 0 };
	__u32 slot;

	if (cluster_holds(c, source, v6))
		return WR_REASON_NOT_TUNNELLED;
	if (known_find(&known, KNOWN_OUTSIDE, source, p->cluster_revision, v6))
		return WR_REASON_NONE;
	slot = node_by_cidr(source, v6);
	if (!slot) {
		known_fill(&known, KNOWN_OUTSIDE, source, p->cluster_revision, 1, v6);
		return WR_REASON_NONE;
	}
	node = node_get(slot);
	if (!node || !sender_is_next_hop(p->skb, slot))
		return WR_REASON_NOT_TUNNELLED;
	p->peer_ifindex = WR_REMOTE | slot;
	p->peer_identity = node_has_gateway(node, source, v6) ? WR_ID_REMOTE_NODE : WR_ID_SOME_POD;
	node_count(slot, WR_INGRESS, p->skb->len);
	return WR_REASON_NONE;
}

/* --- from another node --- */

/*
 * Whether the frame, of that family, is one of another node: then it is as that node's sender has sent it, and t->v6
 * its family. NONE with no p->peer_ifindex: none of our business.
 */
static __always_inline enum wr_reason open_frame(struct packet *p, const struct wr_cluster *c, struct tunnel *t,
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
	reason = IN_FAMILY(v6, inner_check, &p, &t);
	if (!reason)
		node_count(slot, WR_INGRESS, skb->len);
	return reason;
}

/* --- for whom it is --- */

/* Whether the destination is this node's own as far as that is known at once: its gateway address, its outer one. */
static __always_inline bool destination_is_near(const struct addresses *at, const bool v6)
{
	const struct wr_cluster *c = cluster_get();

	return c && cluster_has_own(c, &at->daddr, v6);
}

/* ... or any that its stack has. */
static __always_inline bool destination_is_own(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	return !addr_is_strange(&at->daddr, v6) && destination_is_host(skb, at, v6);
}

OUT_OF_LINE int arrive_elsewhere(struct __sk_buff *skb, const struct addresses *at, __u32 v6)
{
	bool own;

	if (!at)
		return WR_REASON_TUNNEL_TARGET;
	own = IN_FAMILY(v6, destination_is_own, skb, at);
	return own ? WR_REASON_TO_HOST : WR_REASON_TUNNEL_TARGET;
}

/*
 * Whose the source is: of a pod this node's own word counts more than the sender's. An error's source is its flow's by
 * now.
 */
static __always_inline __u64 arrive_identity(const struct packet *p, const bool v6)
{
	__u64 known;

	if (p->peer_identity >> WR_ID_KIND_SHIFT != WR_ID_KIND_POD || (p->traits & RELATED))
		return p->peer_identity;
	known = identity_by_address(&p->at->saddr, v6);
	return known ? known : p->peer_identity;
}

/* By its flow, whose way is for the stack if it began there. */
static __always_inline enum wr_reason arrive_flow(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = transport_parse(p, v6);
	struct verdict_place place = { 0 };

	if (reason)
		return reason;
	if (p->ep && p->peer_ifindex && verdict_cached(p, s, &place, &reason, VERDICT_RECEIVED, v6))
		return reason ? reason : WR_REASON_TO_ENDPOINT;
	p->peer_identity = arrive_identity(p, v6);
	reason = flow_pass(p, s, &place, WAY_FROM_NODE, v6);
	if (!reason)
		reason = fragment_passes(p);
	if (reason)
		return reason;
	return p->via_stack ? WR_REASON_TO_HOST : WR_REASON_TO_ENDPOINT;
}

/*
 * Judged by the endpoint that it is for. For whom else: this node; or the world, if it answers what this node's stack
 * has forwarded from there. Then p->ifindex stays the device's.
 */
static __always_inline enum wr_reason arrive_ip(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	p->ifindex = endpoint_by_address(&p->at->daddr, &p->ep, v6);
	if (p->ifindex && !p->ep)
		return WR_REASON_NO_ENDPOINT;
	packet_judged_for(p, p->ifindex ? p->ep : NULL);
	if (p->ifindex) {
		if (v6 && is_neighbour_discovery(p))
			return WR_REASON_NEIGHBOUR;
	} else {
		p->ifindex = p->skb->ifindex;
		if (destination_is_near(p->at, v6))
			return WR_REASON_TO_HOST;
		p->ifindex = 0;
	}
	reason = arrive_flow(p, s, v6);
	if (p->ifindex)
		return reason;
	p->ifindex = p->skb->ifindex;
	return reason == WR_REASON_TO_HOST ? reason : arrive_elsewhere(p->skb, p->at, v6);
}

/*
 * What another node has sent: p->peer_ifindex, found under p->cluster_revision; p->peer_identity is whom it says that
 * the packet is from. Into the pod, or into the stack by warren0, which has the same MAC address as all of the node's
 * host side.
 */
static __always_inline enum wr_reason arrive(struct packet *p, struct scratch *s, const bool v6)
{
	const __u8 host[6] __attribute__((aligned(2))) = WR_HOST_MAC;
	enum wr_reason reason = arrive_ip(p, s, v6);

	if (reason == WR_REASON_TO_ENDPOINT && p->ep)
		return tunnel_readdress(p, p->ep->mac) ? reason : WR_REASON_RUNT;
	if (reason == WR_REASON_TO_HOST)
		return tunnel_readdress(p, host) ? reason : WR_REASON_RUNT;
	return reason;
}

/* --- all of it --- */

/* What is over before anything is judged has the same memory: 6.1 counts every 32 bytes of the stack. */
union memory {
	struct scratch s;
	struct {
		struct addresses at;
		struct xdp_origin origin;
		struct tunnel tunnel;
	} first;
};

/* The denylist, before everything else, and for whomever the packet is. */
static __always_inline enum deny denylist_ask(const struct packet *p)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (eth && eth->h_proto == bpf_htons(ETH_P_IP))
		return deny_packet(p, false);
	if (eth && eth->h_proto == bpf_htons(ETH_P_IPV6))
		return deny_packet(p, true);
	return DENY_NO;
}

/*
 * What is addressed to another host, or is of a VLAN's device, is none of our business; but not if xdp_uplink has taken
 * it apart, which sees neither: nobody has looked at the inner packet. Unicast IP in a broadcast frame is a trick (RFC
 * 1122 section 3.3.6), which the stack falls for: it may say no more than one that was sent to this host.
 */
static __always_inline enum wr_reason handle_frame(struct packet *p, union memory *m)
{
	const struct wr_cluster *c = cluster_get();
	const struct ethhdr *eth;
	enum wr_reason reason;
	bool v6;

	if (p->skb->vlan_present && priority_tag_follows(p->skb))
		return WR_REASON_ETHERTYPE;
	p->cluster_revision = cluster_revision();
	if (!c || !c->flags || p->skb->pkt_type > PACKET_MULTICAST || is_of_vlan(p->skb))
		return m->first.origin.slot ? WR_REASON_TUNNEL_TARGET : WR_REASON_NONE;
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
		reason = IN_FAMILY(v6, open_frame, p, c, &m->first.tunnel);
	}
	if (reason || !p->peer_ifindex)
		return reason;
	if (p->skb->pkt_type != PACKET_HOST)
		return WR_REASON_MULTICAST;
	/* A priority tag has come as far as this; it is not the pod's. */
	if (p->skb->vlan_present && bpf_skb_vlan_pop(p->skb))
		return WR_REASON_ENCAP_FAILED;
	return IN_FAMILY(m->first.tunnel.v6, arrive, p, &m->s);
}

/* Counted only: of a flood one packet a tick is reported. */
OUT_OF_LINE int denied_quietly(struct __sk_buff *skb)
{
	metric_count(WR_REASON_DENYLIST, WR_INGRESS, skb->len);
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
	deny = m.first.origin.slot ? DENY_NO : denylist_ask(&p);
	if (deny == DENY_QUIET)
		return denied_quietly(skb);
	reason = deny ? WR_REASON_DENYLIST : handle_frame(&p, &m);
	return reason ? verdict(&p, reason) : TC_ACT_OK;
}
