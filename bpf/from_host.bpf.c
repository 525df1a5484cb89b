/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of warren0, to which the host routes the other nodes' pod CIDRs: what the stack sends to another node's
 * pods. And tc ingress of warren0's other end, where the pieces of what had to be cut arrive (lib/leave.h).
 */
#include "lib/leave.h"
#include "lib/verdict.h"

char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/* NONE: to be cut first. */
static __always_inline enum wr_reason judge_ip(struct packet *p, struct scratch *s, const bool v6)
{
	__u64 identity = WR_ID_UNKNOWN;
	enum wr_reason reason = ip_parse(p, v6);

	if (!reason && leave_is_to_be_cut(p->skb, p->l4_proto))
		return WR_REASON_NONE;
	if (!reason)
		reason = leave(p, s, &identity, v6);
	return reason ? reason : tunnel_send(p, identity, v6);
}

static __always_inline enum wr_reason judge(struct packet *p, struct scratch *s)
{
	const struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (!eth)
		return WR_REASON_RUNT;
	if (p->skb->vlan_present)
		return WR_REASON_ETHERTYPE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return judge_ip(p, s, false);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return judge_ip(p, s, true);
	return WR_REASON_ETHERTYPE;
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS, .at = &s.at,
			    .rest = &s.transport };
	enum wr_reason reason;

	__builtin_memset(&s.at, 0, sizeof(s.at));
	trace_begin(p.ifindex);
	reason = judge(&p, &s);
	return reason ? verdict(&p, &s.flow, reason) : TC_ACT_OK;
}
