/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Forwarding of a pod's packet: to another pod of this node, to another node, or to the host's stack. */
#ifndef WARREN_LIB_FORWARD_H
#define WARREN_LIB_FORWARD_H

#include "lib/client.h"
#include "lib/tunnel_out.h"

/* Decrements the hop limit. */
static __always_inline void forward_hop(void *frame, const bool v6)
{
	if (v6) {
		((struct ipv6hdr *)(frame + ETH_HLEN))->hop_limit--;
	} else {
		struct iphdr *ip = frame + ETH_HLEN;
		/* The hop limit is the high byte of a word: the checksum grows by as much as the word shrinks. */
		__u32 check = ip->check + (__u32)bpf_htons(0x0100);

		ip->check = check + (check >= 0xffff);
		ip->ttl--;
	}
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
	forward_hop(frame, v6);
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

/* Sends an allowed packet straight into the other pod, to another node, to a client outside, or to the stack. */
static __always_inline enum wr_reason forward(struct packet *p, const bool v6)
{
	if ((!p->peer_ifindex || p->via_stack) && !p->to_client)
		return forward_stack(p, WR_REASON_TO_STACK);
	if (p->hop_limit <= 1)
		return forward_stack(p, WR_REASON_HOP_LIMIT);
	if (!forward_rewrite(p, v6))
		return WR_REASON_RUNT;
	if (p->to_client)
		return client_look_up(p->skb, v6);
	return p->peer ? WR_REASON_TO_ENDPOINT : tunnel_send(p, p->ep->identity, v6);
}

#endif
