/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tc ingress of a pod's host-side device: everything that the pod sends. */
#include "lib/endpoint.h"
#include "lib/forward.h"
#include "lib/fragment.h"
#include "lib/gateway.h"
#include "lib/ip.h"
#include "lib/l4.h"
#include "lib/verdict.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/*
 * Another source address than the pod's. A host that comes up asks about itself with no address or a link-local one
 * (DHCP, duplicate address detection, MLD): that is noise, not a forgery, and is named for what it is.
 */
static __always_inline enum wr_reason foreign_source(const struct packet *p, const bool v6)
{
	const __be32 *s = p->saddr.a6.v6;
	bool unclaimed;

	if (v6)
		unclaimed = !(s[0] | s[1] | s[2] | s[3]) || (s[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
	else
		unclaimed = !p->saddr.a4.v4;
	if (!unclaimed)
		return WR_REASON_SPOOFED_SOURCE;
	if (v6 && is_neighbour_discovery(p))
		return WR_REASON_NEIGHBOUR;
	return is_multicast(&p->daddr, v6) ? WR_REASON_MULTICAST : WR_REASON_SPOOFED_SOURCE;
}

static __always_inline enum wr_reason judge_ip(struct packet *p, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	if (!addr_is_endpoints(&p->saddr, p->ep, v6))
		return foreign_source(p, v6);
	if (v6 && is_neighbour_discovery(p))
		return gateway_neighbour(p);
	reason = destination_check(p, v6);
	if (reason)
		return reason;
	if (!is_later_fragment(p)) {
		reason = l4_parse(p, v6);
		if (reason)
			return reason;
		if (is_icmp_error(p, v6) && !icmp_error_is_ours(p, v6))
			return WR_REASON_ICMP_ERROR;
	}
	if (p->fragmented) {
		reason = fragment_check(p, v6);
		if (reason)
			return reason;
	}
	return p->to_gateway ? gateway_echo(p, v6) : forward(p, v6);
}

static __always_inline enum wr_reason judge(struct packet *p)
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
		return judge_ip(p, false);
	if (proto == ETH_P_IPV6)
		return judge_ip(p, true);
	return gateway_arp(p);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS };

	return verdict(&p, judge(&p));
}
