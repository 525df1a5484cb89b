/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of warren0, to which the host routes the other nodes' pod CIDRs: packets of the stack to another node's
 * pods. Also tc ingress of warren0's peer device, where segmented packets arrive (LEAVE_SEGMENT).
 *
 * The sender is determined by the device on which the packet entered the host. The identity on the wire is that of the
 * packet's current source address, since the stack may have translated it. Flows that the world initiates through this
 * node get a conntrack entry, so that replies are accepted here.
 */
#include "lib/cluster.h"
#include "lib/fib.h"
#include "lib/flow_pass.h"
#include "lib/node.h"
#include "lib/offload.h"
#include "lib/transport.h"
#include "lib/verdict.h"

/* Whether the source address is the host's own: a FIB lookup as if a packet were sent to it. */
static __always_inline bool source_is_own(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	const struct addresses reversed = { .saddr = at->daddr, .daddr = at->saddr };

	return destination_is_host(skb, &reversed, v6);
}

/*
 * Only TCP GSO packets can be encapsulated. Others continue through warren0, which segments what it sends (the loader
 * turns its offloads off, dp/node.h). The segments arrive in from_host again, at warren0's peer device, where the
 * kernel no longer has the ingress device. So it is stored in cb[], which a veth pair preserves, and which is trusted
 * only there: only packets that from_host has passed arrive at that device.
 */
#define LEAVE_SEGMENT 0x57524355u

enum leave_cb { CB_SEGMENT, CB_ENTERED };

/* Whether warren0 must segment the packet first. */
static __always_inline bool leave_needs_segmentation(struct __sk_buff *skb, __u8 l4_proto)
{
	const struct wr_cluster *c = cluster_get();

	if (!skb->gso_size || l4_proto == IPPROTO_TCP || !c || skb->ifindex != c->host_ifindex)
		return false;
	skb->cb[CB_SEGMENT] = LEAVE_SEGMENT;
	skb->cb[CB_ENTERED] = skb->ingress_ifindex;
	return true;
}

#define ENTERED_UNKNOWN (~0u)

/* The device on which the packet entered this host; 0: the host sent it. */
static __always_inline __u32 leave_entered(struct __sk_buff *skb)
{
	const struct wr_cluster *c = cluster_get();
	__u32 entered = skb->ingress_ifindex, segment = skb->cb[CB_SEGMENT], segment_entered = skb->cb[CB_ENTERED];

	/* Without this, clang selects between the fields' addresses, which the verifier rejects. */
	asm volatile("" : "+r"(entered), "+r"(segment_entered));
	if (!c || skb->ifindex == c->host_ifindex)
		return entered;
	return segment == LEAVE_SEGMENT ? segment_entered : ENTERED_UNKNOWN;
}

/* The sender's identity on the wire; WR_ID_UNKNOWN: it must not send from that address. */
static __always_inline __u64 source_identity(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	const struct wr_cluster *c = cluster_get();
	const struct wr_endpoint *ep;
	const __u32 entered = leave_entered(skb);
	__u32 owner;

	if (entered == ENTERED_UNKNOWN)
		return WR_ID_UNKNOWN;
	if (!entered)
		return WR_ID_REMOTE_NODE;
	owner = endpoint_by_address(&at->saddr, &ep, v6);
	if (owner)
		return owner == entered && ep ? ep->identity : WR_ID_UNKNOWN;
	if (source_is_own(skb, at, v6))
		return WR_ID_REMOTE_NODE;
	if (!c || cluster_holds(c, &at->saddr, v6) || node_by_cidr(&at->saddr, v6) || node_by_address(&at->saddr, v6))
		return WR_ID_UNKNOWN;
	return WR_ID_WORLD;
}

OUT_OF_LINE int leave_identity(struct __sk_buff *skb, const struct addresses *at, __u64 *identity, __u32 v6)
{
	if (!at || !identity)
		return WR_REASON_SPOOFED_OUTSIDE;
	*identity = IN_FAMILY(v6, source_identity, skb, at);
	return *identity ? WR_REASON_NONE : WR_REASON_SPOOFED_OUTSIDE;
}

/*
 * Evaluates the egress policy of the pod on whose device the packet entered, if any. Packets of the world are evaluated
 * at the other node; here they are dropped only if there is no room for the conntrack entry that their replies need.
 */
static __always_inline enum wr_reason leave_flow(struct packet *p, struct scratch *s, __u64 identity, const bool v6)
{
	const __u32 entered = leave_entered(p->skb);
	enum wr_reason reason;

	packet_evaluated_for(p, entered ? endpoint_get(entered) : NULL);
	if (!p->ep && identity != WR_ID_WORLD)
		return WR_REASON_NONE;
	p->ifindex = p->ep ? entered : 0;
	reason = transport_parse(p, v6);
	if (!reason)
		reason = flow_pass(p, NULL, &s->basis, HOOK_FROM_HOST, v6);
	if (!reason)
		reason = fragment_passes(p);
	if (p->ep)
		return reason;
	p->ifindex = p->skb->ifindex;
	return reason == WR_REASON_CT_FULL ? reason : WR_REASON_NONE;
}

/*
 * Whether the packet, which passed ip_parse(), may go to node p->peer_ifindex; *identity is the sender's on the wire.
 */
static __always_inline enum wr_reason leave(struct packet *p, struct scratch *s, __u64 *identity, const bool v6)
{
	enum wr_reason reason;
	__u32 slot;

	if (is_multicast(&p->at->daddr, v6))
		return WR_REASON_MULTICAST;
	p->cluster_revision = cluster_revision();
	slot = node_by_cidr(&p->at->daddr, v6);
	if (!slot)
		return WR_REASON_BAD_DESTINATION;
	p->peer_ifindex = WR_REMOTE | slot;
	reason = leave_identity(p->skb, p->at, identity, v6);
	return reason ? reason : leave_flow(p, s, *identity, v6);
}

/* NONE: must be segmented first. */
static __always_inline enum wr_reason handle_ip(struct packet *p, struct scratch *s, const bool v6)
{
	__u64 identity = WR_ID_UNKNOWN;
	enum wr_reason reason = ip_parse(p, v6);

	if (!reason)
		reason = offload_check(p, false);
	if (!reason && leave_needs_segmentation(p->skb, p->l4_proto))
		return WR_REASON_NONE;
	if (!reason)
		reason = leave(p, s, &identity, v6);
	return reason ? reason : tunnel_send(p, identity, v6);
}

static __always_inline enum wr_reason handle_frame(struct packet *p, struct scratch *s)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (!eth)
		return WR_REASON_RUNT;
	if (p->skb->vlan_present)
		return WR_REASON_ETHERTYPE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return handle_ip(p, s, false);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return handle_ip(p, s, true);
	return WR_REASON_ETHERTYPE;
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS, .at = &s.at,
			    .rest = &s.transport };
	enum wr_reason reason;

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	reason = handle_frame(&p, &s);
	return reason ? verdict(&p, reason) : TC_ACT_OK;
}
