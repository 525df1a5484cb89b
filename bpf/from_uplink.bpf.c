/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink. Tunnel packets of other nodes are decapsulated, evaluated and delivered. Packets with a
 * spoofed source of a pod or of this node are dropped. All others pass unchanged, at the cost of parsing their IP
 * header.
 */
#include <linux/if_packet.h>

#include "lib/client.h"
#include "lib/cluster.h"
#include "lib/deny.h"
#include "lib/fib.h"
#include "lib/flow_pass.h"
#include "lib/host_port.h"
#include "lib/nexthop.h"
#include "lib/node.h"
#include "lib/report.h"
#include "lib/transport.h"
#include "lib/tunnel_decap.h"
#include "lib/tunnel_in.h"
#include "lib/verdict.h"
#include "lib/verdict_address.h"
#include "lib/verdict_hit.h"
#include "lib/vlan.h"
#include "lib/xdp_meta.h"

/* --- VLAN tags; the kernel has removed the first one from the frame --- */

static __always_inline bool is_of_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && (skb->vlan_tci & VLAN_ID);
}

/* Whether a second priority tag follows the first one. */
OUT_OF_LINE int priority_tag_follows(struct __sk_buff *skb)
{
	struct {
		struct ethhdr eth;
		__be16 tci;
	} frame;

	if (is_of_vlan(skb) || bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)) || (frame.tci & bpf_htons(VLAN_ID)))
		return false;
	return is_vlan_type(frame.eth.h_proto);
}

/* --- not through the tunnel --- */

/* Whether the frame arrived on the device and from the MAC address of the nexthop to the node in that slot. */
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
 * Whether the packet, whose source is p->at->saddr, may pass. If the source is a pod of another node, p->peer_ifindex
 * becomes that node, which is verified by the MAC address of the frame: both nodes are on the same link.
 */
static __always_inline enum wr_reason outside_check(struct packet *p, const struct wr_cluster *c, const bool v6)
{
	const union addr *source = &p->at->saddr;
	const struct wr_node *node;
	struct outer_place place = { 0 };
	__u32 slot;

	if (cluster_holds(c, source, v6))
		return WR_REASON_NOT_TUNNELLED;
	if (outer_cache_find(&place, OUTER_EXTERNAL, source, p->cluster_revision, v6))
		return WR_REASON_NONE;
	slot = node_by_cidr(source, v6);
	if (!slot) {
		outer_cache_fill(&place, OUTER_EXTERNAL, source, p->cluster_revision, 1, v6);
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
 * If the frame is a tunnel packet of another node, decapsulates it; t->v6 is the inner family then. NONE with
 * p->peer_ifindex 0: the packet is not from another node and passes.
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

/* For packets that xdp_uplink has decapsulated: it has checked the outer headers; the inner ones are checked here. */
static __always_inline enum wr_reason inner_check(struct packet *p, struct tunnel *t, const bool v6)
{
	enum wr_reason reason = v6 ? tunnel6_inner(p, t) : tunnel4_inner(p, t);

	return reason ? reason : tunnel_source(p, t, v6);
}

OUT_OF_LINE int decapsulated(struct __sk_buff *skb, struct addresses *at, __u32 slot, __u64 identity, __u32 v6)
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

/* --- the receiver --- */

/* Whether the destination is this node's gateway address or outer address, which needs no FIB lookup. */
static __always_inline bool destination_is_node_address(const struct addresses *at, const bool v6)
{
	const struct wr_cluster *c = cluster_get();

	return c && cluster_has_own(c, &at->daddr, v6);
}

/* ... or any other address of the host. */
static __always_inline bool destination_is_own(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	return !addr_is_martian(&at->daddr, v6) && destination_is_host(skb, at, v6);
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
 * Identity of the source. For a pod, this node's ipcache takes precedence over the packet's identity. The source of an
 * ICMP error has been replaced by that of its flow.
 */
static __always_inline __u64 arrive_identity(const struct packet *p, const bool v6)
{
	__u64 identity;

	if (p->peer_identity >> WR_ID_KIND_SHIFT != WR_ID_KIND_POD || (p->flags & RELATED))
		return p->peer_identity;
	identity = identity_by_address(&p->at->saddr, v6);
	return identity ? identity : p->peer_identity;
}

/* Passes the packet by its flow: into the pod, or to the stack if the flow is the stack's. */
static __always_inline enum wr_reason arrive_flow(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = transport_parse(p, v6);
	struct verdict_place place = { 0 };

	if (reason)
		return reason;
	if (p->ep && p->peer_ifindex && verdict_cached(p, &place, &s->basis, &reason, VERDICT_RECEIVED, v6))
		return reason ? reason : WR_REASON_TO_ENDPOINT;
	p->peer_identity = arrive_identity(p, v6);
	reason = flow_pass(p, &place, &s->basis, HOOK_FROM_NODE, v6);
	if (!reason)
		reason = fragment_passes(p);
	if (reason)
		return reason;
	return p->via_stack ? WR_REASON_TO_HOST : WR_REASON_TO_ENDPOINT;
}

/*
 * Evaluates the packet by the policy of the receiving endpoint. Other valid receivers are this node, and the world for
 * replies to packets that this node's stack has forwarded; then p->ifindex stays the device's. What the world sends to
 * this node through another one is for a process of this host: its replies must go back to that node.
 */
static __always_inline enum wr_reason arrive_ip(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	p->ifindex = endpoint_by_address(&p->at->daddr, &p->ep, v6);
	p->to_host = false;
	if (p->ifindex && !p->ep)
		return WR_REASON_NO_ENDPOINT;
	packet_evaluated_for(p, p->ifindex ? p->ep : NULL);
	if (p->ifindex) {
		if (v6 && is_neighbour_discovery(p))
			return WR_REASON_NEIGHBOUR;
	} else {
		p->ifindex = p->skb->ifindex;
		p->to_host = destination_is_node_address(p->at, v6);
		if (p->to_host && p->peer_identity != WR_ID_WORLD)
			return WR_REASON_TO_HOST;
		p->ifindex = 0;
	}
	reason = arrive_flow(p, s, v6);
	if (p->ifindex)
		return reason;
	p->ifindex = p->skb->ifindex;
	if (p->to_host) {
		if (reason != WR_REASON_TO_ENDPOINT)
			return reason;
		host_flows_note();
		return WR_REASON_TO_HOST;
	}
	if (p->to_client && reason == WR_REASON_TO_ENDPOINT)
		return client_look_up(p->skb, v6);
	return reason == WR_REASON_TO_HOST ? reason : arrive_elsewhere(p->skb, p->at, v6);
}

/*
 * A packet from node p->peer_ifindex, which was looked up under p->cluster_revision; p->peer_identity is the identity
 * that the packet carries. It goes into the pod, or into the stack through warren0, which has the MAC address of all
 * host-side devices.
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

/* --- entry --- */

/* Stages that end before the evaluation share its memory: 6.1 rounds stack frames up to 32 bytes. */
union memory {
	struct scratch s;
	struct {
		struct addresses at;
		struct xdp_origin origin;
		struct tunnel tunnel;
	} first;
};

/* The denylist comes before everything else and applies to all destinations. */
static __always_inline enum deny denylist_check(const struct packet *p)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (eth && eth->h_proto == bpf_htons(ETH_P_IP))
		return deny_packet(p, false);
	if (eth && eth->h_proto == bpf_htons(ETH_P_IPV6))
		return deny_packet(p, true);
	return DENY_NO;
}

/*
 * Packets to another host's MAC address or of a VLAN device pass unchanged, unless xdp_uplink has decapsulated them: it
 * checks neither, and no other program checks the inner packet. Unicast IP in a broadcast frame is dropped where
 * another node's packet is accepted (RFC 1122 section 3.3.6), since the stack would deliver it.
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
		reason = decapsulated(p->skb, p->at, m->first.origin.slot, m->first.origin.identity, v6);
	} else {
		reason = IN_FAMILY(v6, open_frame, p, c, &m->first.tunnel);
	}
	if (reason || !p->peer_ifindex)
		return reason;
	if (p->skb->pkt_type != PACKET_HOST)
		return WR_REASON_MULTICAST;
	/* Priority tags are not delivered to pods. */
	if (p->skb->vlan_present && bpf_skb_vlan_pop(p->skb))
		return WR_REASON_ENCAP_FAILED;
	return IN_FAMILY(m->first.tunnel.v6, arrive, p, &m->s);
}

/* Only counted: one packet per tick of a flood is reported. */
OUT_OF_LINE int denied_quietly(struct __sk_buff *skb)
{
	metric_count(WR_REASON_DENYLIST, WR_INGRESS, skb->len);
	return TC_ACT_SHOT;
}

/* --- clients outside the cluster --- */

/*
 * Whether the packet, which is not from the cluster, may be for a service. Only service_uplink parses fragments and
 * ICMP errors, which quote a packet of a service.
 */
static __always_inline bool may_be_for_service(struct __sk_buff *skb, const bool v6)
{
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	const struct packet p = { .skb = skb };
	const void *frame = packet_at(&p, 0, l4_off + 2 * sizeof(__be16));
	const struct ipv6hdr *ip6 = frame + ETH_HLEN;
	const struct iphdr *ip4 = frame + ETH_HLEN;
	union addr addr = { 0 };
	__be16 port;
	__u8 l4_proto;

	if (!frame)
		return false;
	l4_proto = v6 ? ip6->nexthdr : ip4->protocol;
	if (!v6 && (ip4->frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_FRAGMENT_OFFSET)))
		return true;
	if (!has_ports(l4_proto))
		return l4_proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || (v6 && l4_proto == IPPROTO_FRAGMENT);
	if (v6)
		__builtin_memcpy(&addr.a6, &ip6->daddr, sizeof(addr.a6));
	else
		addr.a4.v4 = ip4->daddr;
	port = *(const __be16 *)(frame + l4_off + sizeof(__be16));
	return service_lookup_once(&addr, port, l4_proto, true, v6) || host_port_find(&addr, port, l4_proto, v6);
}

OUT_OF_LINE int is_for_service(struct __sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST || is_of_vlan(skb))
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return may_be_for_service(skb, false);
	return skb->protocol == bpf_htons(ETH_P_IPV6) && may_be_for_service(skb, true);
}

/* Programs that others continue in; the loader fills it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WR_TAILS);
	__type(key, __u32);
	__type(value, __u32);
} tails SEC(".maps") __weak;

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
	xdp_origin_read(skb, &m.first.origin);
	deny = m.first.origin.slot ? DENY_NO : denylist_check(&p);
	if (deny == DENY_QUIET)
		return denied_quietly(skb);
	reason = deny ? WR_REASON_DENYLIST : handle_frame(&p, &m);
	if (reason)
		return verdict(&p, reason);
	if (is_for_service(skb))
		bpf_tail_call(skb, &tails, WR_TAIL_SERVICE);
	return TC_ACT_OK;
}
