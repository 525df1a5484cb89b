/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clients outside the cluster that use a service: a NodePort, a load balancer's address, an external address. A tail
 * call from from_uplink, for packets whose destination is in external4/6 and that are not tunnel packets. What is not
 * for a service passes to the stack unchanged.
 */
#include <linux/if_packet.h>

#include "lib/client.h"
#include "lib/flow_pass.h"
#include "lib/forward.h"
#include "lib/offload.h"
#include "lib/service_external.h"
#include "lib/tcp_mss.h"
#include "lib/transport.h"
#include "lib/tunnel_decap.h"
#include "lib/verdict.h"

/*
 * A source that no client outside has. from_uplink has checked it against the cluster's addresses; where there is no
 * cluster, only the pods of this node are known.
 */
static __always_inline bool is_client(const struct packet *p, const bool v6)
{
	return !addr_is_martian(&p->at->saddr, v6) && !addr_equal(&p->at->saddr, &p->at->daddr, v6) &&
	       !endpoint_with(&p->at->saddr, v6);
}

/* Into the backend's pod, to its node, or to this host's stack. A hop limit that is used up stays 1: the NodePort was the destination. */
static __always_inline enum wr_reason deliver(struct packet *p, const struct flow *f, const bool v6)
{
	void *frame = packet_at(p, 0, ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)));
	enum wr_reason reason = WR_REASON_TO_ENDPOINT;

	if (!frame)
		return WR_REASON_RUNT;
	if (!p->ep && p->peer_ifindex == WR_OWN_HOST) {
		host_flows_note();
		return WR_REASON_TO_STACK;
	}
	if (p->hop_limit > 1)
		forward_hop(frame, v6);
	if (p->ep)
		return tunnel_readdress(p, p->ep->mac) ? reason : WR_REASON_RUNT;
	if (p->l4_proto == IPPROTO_TCP && (p->flags & TCP_SYN))
		tcp_mss_clamp(p->skb, p->flags >> L4_OFF_SHIFT, p->peer_ifindex & ~WR_REMOTE, v6);
	reason = tunnel_send(p, WR_ID_WORLD, v6);
	/* The ICMP error must quote the packet as the client sent it. */
	if (reason == WR_REASON_TOO_BIG)
		service_to_client(p->skb, p->at, f, false);
	return reason;
}

/* NONE: not for a service. */
static __always_inline enum wr_reason from_client(struct packet *p, const bool v6)
{
	struct flow *f = flow_memory_get();
	struct ct_query *q = ct_query();
	struct flow_entry entry = { 0 };
	enum wr_reason reason;

	if (!f || !q)
		return WR_REASON_NONE;
	entry.swapped = ct_key(p, &q->key, v6);
	flow_fill(p, f, &entry, HOOK_FROM_NODE, v6);
	reason = external_decide(p->skb, p->at, f);
	if (!reason && !f->nat.resolved)
		return WR_REASON_NONE;
	p->flags = f->flags;
	p->evaluated = f->evaluated;
	p->peer_ifindex = f->peer_ifindex;
	p->ep = f->ifindex ? endpoint_get(f->ifindex) : NULL;
	if (p->ep)
		p->ifindex = f->ifindex;
	if (reason)
		return p->flags & RELATED ? WR_REASON_ICMP_ERROR : reason;
	if (!p->ep && !p->peer_ifindex)
		return WR_REASON_NO_ENDPOINT;
	reason = fragment_passes(p);
	return reason ? reason : deliver(p, f, v6);
}

/* What cannot be parsed is not for a service: the stack decides. */
static __always_inline enum wr_reason handle_ip(struct packet *p, const bool v6)
{
	enum wr_reason reason;

	p->peer_ifindex = WR_REMOTE; /* the owner of the client's fragments: node 0, which does not exist */
	if (ip_parse(p, v6) || transport_parse(p, v6) || !has_ports(p->l4_proto) || !is_client(p, v6))
		return WR_REASON_NONE;
	p->peer_ifindex = 0;
	p->peer_identity = WR_ID_WORLD;
	p->cluster_revision = cluster_revision();
	reason = offload_check(p, false);
	return reason ? reason : from_client(p, v6);
}

static __always_inline enum wr_reason handle_frame(struct packet *p)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (eth && eth->h_proto == bpf_htons(ETH_P_IP))
		return handle_ip(p, false);
	if (eth && eth->h_proto == bpf_htons(ETH_P_IPV6))
		return handle_ip(p, true);
	return WR_REASON_NONE;
}

SEC("tc")
int service_uplink(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_INGRESS, .at = &s.at,
			    .rest = &s.transport };
	enum wr_reason reason;

	__builtin_memset(&s.at, 0, sizeof(s.at));
	reason = handle_frame(&p);
	return reason ? verdict(&p, reason) : TC_ACT_OK;
}
