/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Turns a packet that exceeds the path MTU to another node into an ICMP error to its sender: frag-needed (RFC 1191) or
 * Packet Too Big (RFC 4443 section 3.2), with the path MTU. One error for each packet, and smaller: no rate limit is
 * needed.
 *
 * IPv4 without DF is not fragmented here, and its sender gets the error, too: Linux stores the MTU of a destination
 * whatever DF is, and fragments from then on. Tunnel packets are never fragmented.
 */
#ifndef WARREN_LIB_TOO_BIG_H
#define WARREN_LIB_TOO_BIG_H

#include <linux/pkt_cls.h>

#include "lib/cluster.h"
#include "lib/endpoint.h"
#include "lib/icmp_error.h"
#include "lib/nexthop.h"
#include "lib/node.h"

#define ICMP4_FRAG_NEEDED 4 /* code of ICMP4_DEST_UNREACH */

/* The length that one bpf_csum_diff() can sum: enough to quote the inner headers of a pod's own tunnel. */
#define TOO_BIG_MESSAGE 512
#define TOO_BIG_QUOTED (TOO_BIG_MESSAGE - sizeof(struct icmp_error_header))

static __always_inline bool too_big_make(const struct packet *p, __u32 mtu, const bool v6)
{
	const struct icmp_error error = { .type = v6 ? ICMPV6_PKT_TOOBIG : ICMP4_DEST_UNREACH,
					  .code = v6 ? 0 : ICMP4_FRAG_NEEDED,
					  .rest = bpf_htonl(v6 ? mtu : mtu & 0xffff) };

	return icmp_error_make(p, &error, TOO_BIG_QUOTED, v6);
}

/*
 * Turns a packet that is too big for that node into the error; false: there is none. To a direct node, packets of the
 * world are encapsulated (tunnel_is_direct()): those of a client outside, what the host replies to one (`tunnelled`),
 * and what would fit without a tunnel.
 */
static __always_inline bool too_big_write(struct __sk_buff *skb, __u32 slot, bool tunnelled)
{
	const struct packet p = { .skb = skb };
	const struct wr_node *node = node_get(slot);
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 mtu;

	if (!node || !IN_FAMILY(v6, icmp_error_allowed, &p))
		return false;
	mtu = nexthop_mtu(nexthop_element(slot), node, node->flags & WR_NODE_DIRECT);
	if ((node->flags & WR_NODE_DIRECT) && (tunnelled || (!skb->gso_size && skb->len - ETH_HLEN <= mtu)))
		mtu = nexthop_mtu(nexthop_element(slot), node, false);
	return IN_FAMILY(v6, too_big_make, &p, mtu);
}

/*
 * Returns the tc action for the error: into the pod that sent the packet, or to the stack. The packet may have had the
 * MAC addresses of an uplink.
 */
static __always_inline int too_big_return(struct __sk_buff *skb)
{
	const struct packet p = { .skb = skb };
	const struct wr_cluster *c = cluster_get();
	struct ethhdr *eth;

	if (endpoint_get(skb->ifindex))
		return bpf_redirect_peer(skb->ifindex, 0);
	eth = packet_at(&p, 0, sizeof(*eth));
	if (!eth)
		return TC_ACT_SHOT;
	mac_write_host(eth->h_dest);
	return c ? bpf_redirect(c->host_ifindex, BPF_F_INGRESS) : TC_ACT_SHOT;
}

#endif
