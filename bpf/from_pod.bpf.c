/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tc ingress of a pod's host-side device: everything that the pod sends. */
#include "lib/flow_pass.h"
#include "lib/destination.h"
#include "lib/forward.h"
#include "lib/gateway.h"
#include "lib/offload.h"
#include "lib/transport.h"
#include "lib/tunnel_port.h"
#include "lib/verdict.h"
#include "lib/verdict_hit.h"

/*
 * The source address is not the pod's. At startup a host sends packets with an unspecified or link-local source (DHCP,
 * duplicate address detection, MLD): these are no forgeries and get their own reasons.
 */
static __always_inline enum wr_reason external_source(const struct packet *p, const bool v6)
{
	const __be32 *s = p->at->saddr.a6.v6;
	bool unclaimed;

	if (v6)
		unclaimed = !(s[0] | s[1] | s[2] | s[3]) || addr6_is_link_local(&p->at->saddr.a6);
	else
		unclaimed = !p->at->saddr.a4.v4;
	if (!unclaimed)
		return WR_REASON_SPOOFED_SOURCE;
	if (v6 && is_neighbour_discovery(p))
		return WR_REASON_NEIGHBOUR;
	return is_multicast(&p->at->daddr, v6) ? WR_REASON_MULTICAST : WR_REASON_SPOOFED_SOURCE;
}

/* Not fragmented, and directly behind the IP header. */
static __always_inline bool is_plain_icmp(const struct packet *p, const bool v6)
{
	return !p->fragmented && is_icmp(p, v6) &&
	       p->l4_off == ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

static __always_inline enum wr_reason handle_ip(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);
	struct verdict_place place = { 0 };

	if (!reason)
		reason = offload_check(p, true);
	if (reason)
		return reason;
	if (!addr_is_endpoints(&p->at->saddr, p->ep, v6))
		return external_source(p, v6);
	if (v6 && is_neighbour_discovery(p))
		return gateway_neighbour(p->skb, p->at, p->end, p->hop_limit);
	reason = destination_check(p, v6);
	if (reason)
		return reason;
	reason = transport_parse(p, v6);
	if (reason)
		return reason;
	if (p->to_gateway)
		return is_plain_icmp(p, v6) ? gateway_echo(p->skb, v6) : WR_REASON_GATEWAY;
	if (!verdict_cached(p, &place, &s->basis, &reason, VERDICT_SENT, v6)) {
		if (is_tunnel_port(p->l4_proto, p->dport) && !(p->flags & RELATED) &&
		    tunnel_port_check(p->skb, p->at, v6))
			return WR_REASON_TUNNEL_PORT;
		reason = flow_pass(p, &place, &s->basis, HOOK_FROM_POD, v6);
		if (!reason)
			reason = fragment_passes(p);
	}
	if (!reason)
		reason = forward(p, v6);
	/* The ICMP error must quote the packet as the pod sent it. */
	if (reason == WR_REASON_TOO_BIG)
		service_undo_dnat(p->skb, p->at, v6);
	return reason;
}

static __always_inline enum wr_reason handle_frame(struct packet *p, struct scratch *s)
{
	struct ethhdr eth;
	__u16 proto;
	enum wr_reason reason = packet_begin(p, &eth, &proto);

	if (reason)
		return reason;
	if (proto != ETH_P_IP && proto != ETH_P_IPV6 && proto != ETH_P_ARP)
		return WR_REASON_ETHERTYPE;
	if (!mac_equal(eth.h_source, p->ep->mac))
		return WR_REASON_SPOOFED_MAC;
	if (proto == ETH_P_IP)
		return handle_ip(p, s, false);
	if (proto == ETH_P_IPV6)
		return handle_ip(p, s, true);
	return gateway_arp(p->skb);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS, .at = &s.at,
			    .rest = &s.transport };

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	return verdict(&p, handle_frame(&p, &s));
}
