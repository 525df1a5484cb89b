/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of an uplink: tunnel packets of other nodes are decapsulated, judged and delivered; what pretends to be a pod's or
 * this node's own is dropped; everything else passes untouched, and costs a look at its IP header.
 */
#include "lib/arrive.h"
#include "lib/outside.h"
#include "lib/verdict.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/*
 * Whether the frame, of that family, is one of another node: then it is as that node's sender has sent it, and *v6 its family.
 * NONE with no p->peer_ifindex: none of our business.
 */
static __always_inline enum wr_reason open(struct packet *p, const struct wr_cluster *c, bool *is_v6, const bool v6)
{
	struct tunnel t = { 0 };
	enum wr_reason reason = tunnel_open(p, c, &t, v6);

	if (reason)
		return reason;
	if (!t.node)
		return outside_check(p, c, v6);
	p->peer_identity = t.identity;
	*is_v6 = t.v6;
	return tunnel_decap(p, &t);
}

/* What is not addressed to this host, or is of a VLAN's device, is none of our business. */
static __always_inline enum wr_reason judge(struct packet *p, struct scratch *s)
{
	const struct wr_cluster *c = cluster_get();
	const struct ethhdr *eth;
	enum wr_reason reason;
	bool v6;

	p->cluster_revision = cluster_revision();
	if (!c || !c->flags || p->skb->pkt_type != PACKET_HOST || p->skb->vlan_present)
		return WR_REASON_NONE;
	eth = packet_at(p, 0, sizeof(*eth));
	if (!eth || (eth->h_proto != bpf_htons(ETH_P_IP) && eth->h_proto != bpf_htons(ETH_P_IPV6)))
		return WR_REASON_NONE;
	v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	reason = v6 ? open(p, c, &v6, true) : open(p, c, &v6, false);
	if (reason || !p->peer_ifindex)
		return reason;
	/* The world's is nobody's: it only came by that node. */
	if (p->peer_identity == WR_ID_WORLD)
		p->peer_ifindex = 0;
	return v6 ? arrive(p, s, true) : arrive(p, s, false);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_INGRESS, .at = &s.at,
			    .rest = &s.transport };
	enum wr_reason reason;

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	reason = judge(&p, &s);
	return reason ? verdict(&p, &s.flow, reason) : TC_ACT_OK;
}
