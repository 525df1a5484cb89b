/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of warren0, to which the host routes the other nodes' pod CIDRs: what the stack sends to another node's pods.
 */
#include "lib/flow.h"
#include "lib/transport.h"
#include "lib/verdict.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/* The sender follows from where the packet entered the host, as in to_pod. */
static __always_inline __u64 name_sender(struct packet *p)
{
	const __u32 entered = p->skb->ingress_ifindex;

	if (!entered)
		return WR_ID_REMOTE_NODE;
	p->ep = endpoint_get(entered);
	if (!p->ep)
		return WR_ID_WORLD;
	p->ifindex = entered;
	return p->ep->identity;
}

static __always_inline enum wr_reason judge_ip(struct packet *p, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);
	__u32 slot;

	if (reason)
		return reason;
	if (is_multicast(&p->at->daddr, v6))
		return WR_REASON_MULTICAST;
	slot = node_by_cidr(&p->at->daddr, v6);
	if (!slot)
		return WR_REASON_BAD_DESTINATION;
	p->peer_ifindex = WR_REMOTE | slot;
	if (!p->fragmented)
		l4_parse(p, v6); /* for the ports */
	return tunnel_send(p, name_sender(p), v6);
}

static __always_inline enum wr_reason judge(struct packet *p)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (!eth)
		return WR_REASON_RUNT;
	if (p->skb->vlan_present)
		return WR_REASON_ETHERTYPE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return judge_ip(p, false);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return judge_ip(p, true);
	return WR_REASON_ETHERTYPE;
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS, .at = &s.at,
			    .rest = &s.transport };

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	return verdict(&p, &s.flow, judge(&p));
}
