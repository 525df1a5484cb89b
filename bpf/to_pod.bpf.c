/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of a pod's host-side device: packets that the host's stack sends to the pod. (Packets that from_pod
 * redirects do not pass here.) It delivers normally only: bpf_redirect_peer drops at egress.
 */
#include "lib/cluster.h"
#include "lib/flow_pass.h"
#include "lib/node.h"
#include "lib/transport.h"
#include "lib/verdict.h"

/*
 * The peer is determined by the device on which the packet entered the host, never by its source address. At this hook
 * ingress_ifindex is 0 for packets of the host itself, else the device from which they are forwarded.
 */
static __always_inline void name_peer(struct packet *p)
{
	__u32 entered = p->skb->ingress_ifindex;

	p->peer_identity = WR_ID_HOST;
	if (!entered)
		return;
	p->peer = endpoint_get(entered);
	p->peer_identity = p->peer ? p->peer->identity : WR_ID_WORLD;
	p->peer_ifindex = p->peer ? entered : 0;
}

/*
 * Whether the source is a pod's, or in another node's pod CIDR, and the packet entered on a device where such packets
 * do not arrive. Packets of the host itself are trusted. A pod's packets enter on its own device. Packets of another
 * node's pods enter the stack on warren0 only: from_uplink redirects decapsulated packets to it, and packets of direct
 * nodes, whose MAC address it has verified. On any other device no program has checked the source: a reverse path
 * filter may be loose or off, and IPv6 has none.
 *
 * An address of another node itself, or of this one, is no evidence here: the stack masquerades packets with such
 * addresses. They are evaluated as world.
 */
static __always_inline bool is_spoofed(const struct packet *p, const bool v6)
{
	const __u32 entered = p->skb->ingress_ifindex;
	const struct wr_cluster *c = cluster_get();
	const struct wr_endpoint *ep;
	__u32 owner;

	if (!entered)
		return false;
	owner = endpoint_by_address(&p->at->saddr, &ep, v6);
	if (owner)
		return owner != p->peer_ifindex;
	return c && c->flags && entered != c->host_ifindex && node_by_cidr(&p->at->saddr, v6);
}

static __always_inline enum wr_reason handle_ip(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	if (v6 && is_neighbour_discovery(p))
		return WR_REASON_NEIGHBOUR;
	if (is_multicast(&p->at->daddr, v6))
		return WR_REASON_MULTICAST;
	if (!addr_is_endpoints(&p->at->daddr, p->ep, v6))
		return WR_REASON_NOT_FOR_POD;
	if (is_spoofed(p, v6))
		return WR_REASON_SPOOFED_OUTSIDE;
	reason = transport_parse(p, v6);
	if (reason)
		return reason;
	reason = flow_pass(p, NULL, &s->basis, HOOK_TO_POD, v6);
	if (!reason)
		reason = fragment_passes(p);
	return reason ? reason : WR_REASON_DELIVERED;
}

static __always_inline enum wr_reason handle_frame(struct packet *p, struct scratch *s)
{
	struct ethhdr eth;
	__u16 proto;
	enum wr_reason reason = packet_begin(p, &eth, &proto);

	if (reason)
		return reason;
	name_peer(p);
	if (proto == ETH_P_IP)
		return handle_ip(p, s, false);
	if (proto == ETH_P_IPV6)
		return handle_ip(p, s, true);
	return proto == ETH_P_ARP ? WR_REASON_ARP : WR_REASON_ETHERTYPE;
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_INGRESS, .at = &s.at,
			    .rest = &s.transport };

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	return verdict(&p, handle_frame(&p, &s));
}
