/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tc ingress of a pod's host-side device: everything that the pod sends. */
#include "lib/cluster.h"
#include "lib/fib.h"
#include "lib/flow.h"
#include "lib/forward.h"
#include "lib/gateway.h"
#include "lib/node.h"
#include "lib/transport.h"
#include "lib/verdict.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/*
 * Another source address than the pod's. A host that comes up asks about itself with no address or a link-local one
 * (DHCP, duplicate address detection, MLD): that is noise, not a forgery, and is named for what it is.
 */
static __always_inline enum wr_reason foreign_source(const struct packet *p, const bool v6)
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

/* In one piece and right behind the IP header. */
static __always_inline bool is_plain_icmp(const struct packet *p, const bool v6)
{
	return !p->fragmented && is_icmp(p, v6) &&
	       p->l4_off == ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

static __always_inline bool is_for_tunnel_port(const struct packet *p)
{
	const struct wr_cluster *c = cluster_get();

	return p->l4_proto == IPPROTO_UDP && c && c->port && p->dport == c->port && !(p->traits & RELATED);
}

/*
 * Whether the address is a node's own, this one's included. A pod's datagram to the tunnel's port of a node could
 * arrive there with this node's address as source, and be taken for what this node has encapsulated.
 */
OUT_OF_LINE int tunnel_port_check(struct __sk_buff *skb, const struct addresses *at, __u32 v6)
{
	const struct wr_node *node;

	if (!at)
		return true;
	if (IN_FAMILY(v6, node_by_address, &at->daddr))
		return true;
	node = node_get(IN_FAMILY(v6, node_by_cidr, &at->daddr));
	if (node)
		return IN_FAMILY(v6, node_has_gateway, node, &at->daddr);
	return IN_FAMILY(v6, destination_is_host, skb, at);
}

static __always_inline enum wr_reason judge_ip(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	if (!addr_is_endpoints(&p->at->saddr, p->ep, v6))
		return foreign_source(p, v6);
	if (v6 && is_neighbour_discovery(p))
		return gateway_neighbour(p->skb, p->at, p->end, p->hop_limit);
	reason = destination_check(p, v6);
	if (reason)
		return reason;
	reason = transport_parse(p, v6);
	if (reason)
		return reason;
	trace_step(WR_TRACE_PARSED);
	if (p->to_gateway)
		return is_plain_icmp(p, v6) ? gateway_echo(p->skb, v6) : WR_REASON_GATEWAY;
	if (lease_holds(p, &s->lease, v6))
		return forward(p, v6);
	if (is_for_tunnel_port(p) && tunnel_port_check(p->skb, p->at, v6))
		return WR_REASON_TUNNEL_PORT;
	reason = flow_pass(p, s, &s->lease, WAY_FROM_POD, v6);
	return reason ? reason : forward(p, v6);
}

static __always_inline enum wr_reason judge(struct packet *p, struct scratch *s)
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
		return judge_ip(p, s, false);
	if (proto == ETH_P_IPV6)
		return judge_ip(p, s, true);
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
	return verdict(&p, &s.flow, judge(&p, &s));
}
