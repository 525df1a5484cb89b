/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of an uplink: replies of this host's processes to clients outside the cluster that use a service
 * (lib/host_backend.h). Everything else passes unchanged: at once what the host only forwards, redirected packets among
 * it, and all packets while there is no such flow.
 */
#include "lib/flow_pass.h"
#include "lib/host_backend.h"
#include "lib/tcp_mss.h"
#include "lib/transport.h"
#include "lib/verdict.h"

/* The client uses this node: the source becomes the service's. The stack has routed the packet to the client. */
static __always_inline enum wr_reason reply_to_client(struct packet *p, struct flow *f)
{
	enum wr_reason reason;

	f->peer_identity = WR_ID_HOST;
	reason = flow_decide(p->skb, p->at, f);
	if (!reason)
		reason = service_passed(p->skb, p->at, f);
	if (!reason)
		reason = fragment_passes(p);
	return reason ? reason : WR_REASON_TO_CLIENT;
}

/* It uses another node, which reverses the NAT. */
static __always_inline enum wr_reason reply_to_node(struct packet *p, struct flow *f, const bool v6)
{
	enum wr_reason reason;

	f->hook = HOOK_FROM_HOST;
	f->to_host = true;
	f->peer_ifindex = f->ct.initiator;
	reason = flow_decide(p->skb, p->at, f);
	p->peer_ifindex = f->peer_ifindex;
	p->peer_identity = WR_ID_WORLD;
	p->tunnelled = true;
	if (!reason)
		reason = fragment_passes(p);
	if (!reason && p->l4_proto == IPPROTO_TCP && (p->flags & TCP_SYN))
		tcp_mss_clamp(p->skb, p->flags >> L4_OFF_SHIFT, p->peer_ifindex & ~WR_REMOTE, v6);
	return reason ? reason : tunnel_send(p, WR_ID_REMOTE_NODE, v6);
}

/* NONE: not a reply to such a client. */
static __always_inline enum wr_reason reply(struct packet *p, const bool v6)
{
	struct flow *f = flow_memory_get();
	struct flow_entry entry = { 0 };
	struct ct_query *q = ct_query();

	if (!f || !q)
		return WR_REASON_NONE;
	entry.swapped = ct_key(p, &q->key, v6);
	flow_fill(p, f, &entry, HOOK_FROM_NODE, v6);
	flow_lookup(p->at, f);
	if (!f->found || ct_expired(&f->ct, ct_now()) || (f->ct.flags & WR_CT_SERVICE) ||
	    f->swapped == (f->ct.flags & WR_CT_SWAPPED))
		return WR_REASON_NONE;
	if (host_flow_is_own(&f->ct))
		return reply_to_client(p, f);
	return host_flow_is_from_node(&f->ct) ? reply_to_node(p, f, v6) : WR_REASON_NONE;
}

/* What cannot be parsed, or begins a flow of the host itself, is no reply. */
static __always_inline enum wr_reason handle_ip(struct packet *p, const bool v6)
{
	p->peer_ifindex = WR_OWN_HOST; /* the owner of the host's fragments */
	if (ip_parse(p, v6) || transport_parse(p, v6) || !has_ports(p->l4_proto) || (p->flags & (BEGINS | ASSOCIATES)))
		return WR_REASON_NONE;
	p->ifindex = 0;
	p->cluster_revision = cluster_revision();
	return reply(p, v6);
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
int to_uplink(struct __sk_buff *skb)
{
	struct scratch s;
	struct packet p = { .skb = skb, .ifindex = skb->ifindex, .direction = WR_EGRESS, .at = &s.at,
			    .rest = &s.transport };
	enum wr_reason reason;

	trace_begin(p.ifindex);
	if (skb->ingress_ifindex || !host_flows_exist())
		return TC_ACT_OK;
	__builtin_memset(&s.at, 0, sizeof(s.at));
	reason = handle_frame(&p);
	p.ifindex = skb->ifindex;
	if (reason != WR_REASON_TO_CLIENT)
		return reason ? verdict(&p, reason) : TC_ACT_OK;
	if (dry_run)
		trace_end(&p, reason);
	else
		metric_count(reason, WR_EGRESS, skb->len);
	return TC_ACT_OK;
}
