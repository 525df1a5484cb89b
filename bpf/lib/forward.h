/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Forwarding of a pod's packet: the check of its destination, another pod of this node, another node, the host's stack.
 */
#ifndef WARREN_LIB_FORWARD_H
#define WARREN_LIB_FORWARD_H

#include "lib/gateway.h"
#include "lib/tunnel_out.h"

static __always_inline enum wr_reason destination4_check(struct packet *p)
{
	__u32 top = bpf_ntohl(p->at->daddr.a4.v4) >> 24;

	p->to_gateway = p->at->daddr.a4.v4 == bpf_htonl(WR_GATEWAY4);
	if (top == 0 || top == 127 || top >= 224)
		return is_multicast(&p->at->daddr, false) ? WR_REASON_MULTICAST : WR_REASON_BAD_DESTINATION;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason destination6_check(struct packet *p)
{
	const struct wr_addr6 *a = &p->at->daddr.a6;

	p->to_gateway = false;
	if (addr6_is_embedded(a))
		return WR_REASON_BAD_DESTINATION;
	if (is_multicast(&p->at->daddr, true))
		return WR_REASON_MULTICAST;
	if (addr6_is_link_local(a)) {
		p->to_gateway = is_gateway6(a);
		return p->to_gateway ? WR_REASON_NONE : WR_REASON_BAD_DESTINATION;
	}
	return WR_REASON_NONE;
}

/*
 * Checks the destination address, and that the frame was sent to the gateway's MAC address: the stack ignores frames to
 * other MAC addresses, and unicast IP in a broadcast frame is invalid (RFC 1122 section 3.3.6). IPv4 link-local
 * destinations pass: hosts offer services there (169.254.169.254, a node's DNS cache). A pod's own address as
 * destination never leaves a correct pod.
 */
static __always_inline enum wr_reason destination_check(struct packet *p, const bool v6)
{
	enum wr_reason reason = v6 ? destination6_check(p) : destination4_check(p);
	__u32 type = p->skb->pkt_type;

	if (reason)
		return reason;
	if (addr_is_endpoints(&p->at->daddr, p->ep, v6))
		return WR_REASON_BAD_DESTINATION;
	if (type == PACKET_HOST)
		return WR_REASON_NONE;
	return type == PACKET_OTHERHOST ? WR_REASON_BAD_DESTINATION : WR_REASON_MULTICAST;
}

/* Decrements the hop limit and writes the MAC addresses of a local pod; those of another node are written later. */
static __always_inline bool forward_rewrite(const struct packet *p, const bool v6)
{
	void *frame = packet_at(p, 0, ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)));
	struct ethhdr *eth = frame;

	if (!frame)
		return false;
	if (p->peer) {
		mac_copy(eth->h_dest, p->peer->mac);
		mac_write_host(eth->h_source);
	}
	if (v6) {
		((struct ipv6hdr *)(frame + ETH_HLEN))->hop_limit--;
	} else {
		struct iphdr *ip = frame + ETH_HLEN;
		/* The hop limit is the high byte of a word: the checksum grows by as much as the word shrinks. */
		__u32 check = ip->check + (__u32)bpf_htons(0x0100);

		ip->check = check + (check >= 0xffff);
		ip->ttl--;
	}
	return true;
}

/*
 * Passes the packet to the host's stack, with its marks. Without marks nftables would drop it; here the drop has a
 * reason.
 */
static __always_inline enum wr_reason forward_stack(const struct packet *p, enum wr_reason reason)
{
	const struct wr_config *cfg = config_get();
	__u32 mark;

	if (!cfg || !cfg->mark_pod)
		return WR_REASON_NO_CONFIG;
	mark = p->skb->mark & ~(cfg->mark_pod | cfg->mark_masquerade | cfg->mark_host_only);
	mark |= cfg->mark_pod;
	if (p->ep->flags & WR_EP_MASQUERADE)
		mark |= cfg->mark_masquerade;
	if (p->policy_tag.policy_class == WR_CLASS_QUARANTINE)
		mark |= cfg->mark_host_only;
	p->skb->mark = mark;
	return reason;
}

/* Sends an allowed packet straight into the other pod, to another node, or to the stack. */
static __always_inline enum wr_reason forward(struct packet *p, const bool v6)
{
	if (!p->peer_ifindex || p->via_stack)
		return forward_stack(p, WR_REASON_TO_STACK);
	if (p->hop_limit <= 1)
		return forward_stack(p, WR_REASON_HOP_LIMIT);
	if (!forward_rewrite(p, v6))
		return WR_REASON_RUNT;
	return p->peer ? WR_REASON_TO_ENDPOINT : tunnel_send(p, p->ep->identity, v6);
}

#endif
