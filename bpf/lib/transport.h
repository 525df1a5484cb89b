/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finds the flow of a packet from its transport header. Unfragmented TCP and UDP are parsed inline, all others out of
 * line: fragments, ICMP, whose errors belong to the flow of the packet that they quote, and the rest.
 */
#ifndef WARREN_LIB_TRANSPORT_H
#define WARREN_LIB_TRANSPORT_H

#include "lib/fragment.h"
#include "lib/l4.h"
#include "lib/trace.h"

OUT_OF_LINE int transport_ports(struct __sk_buff *skb, struct transport *t)
{
	struct packet p = { .skb = skb };
	enum wr_reason reason;

	if (!t)
		return WR_REASON_RUNT;
	p.l4_off = t->l4_off;
	p.end = t->end;
	p.l4_proto = t->l4_proto;
	p.fragmented = t->fragmented;
	reason = l4_parse(&p, t->v6);
	t->sport = p.sport;
	t->dport = p.dport;
	t->icmp_type = p.icmp_type;
	t->flags = p.flags;
	t->error = is_icmp_error(&p, t->v6);
	return reason;
}

/* --- ICMP errors --- */

/*
 * Parses the packet that an error quotes: t gets its protocol, *saddr and *daddr its addresses, swapped: in the
 * direction of the error. Returns the offset of its transport header; 0 if it cannot be parsed: options, a later
 * fragment.
 */
static __always_inline __u32 quoted4_parse(const struct packet *p, struct transport *t, union addr *saddr,
					   union addr *daddr)
{
	const __u32 off = t->l4_off + ICMP_HEADER_SIZE;
	const struct iphdr *ip = packet_at(p, off & PACKET_OFF_MAX, sizeof(*ip));

	if (!ip || off + sizeof(*ip) > t->end || ip->version != 4 || ip->ihl != 5 ||
	    (ip->frag_off & bpf_htons(IP4_FRAGMENT_OFFSET)))
		return 0;
	saddr->a4.v4 = ip->daddr;
	daddr->a4.v4 = ip->saddr;
	t->l4_proto = ip->protocol;
	return off + sizeof(*ip);
}

/* The same for IPv6. An extension header counts as a transport protocol, which has no flow. */
static __always_inline __u32 quoted6_parse(const struct packet *p, struct transport *t, union addr *saddr,
					   union addr *daddr)
{
	const __u32 off = t->l4_off + ICMP_HEADER_SIZE;
	const struct ipv6hdr *ip = packet_at(p, off & PACKET_OFF_MAX, sizeof(*ip));

	if (!ip || off + sizeof(*ip) > t->end || ip->version != 6)
		return 0;
	__builtin_memcpy(&saddr->a6, &ip->daddr, sizeof(saddr->a6));
	__builtin_memcpy(&daddr->a6, &ip->saddr, sizeof(daddr->a6));
	t->l4_proto = ip->nexthdr;
	return off + sizeof(*ip);
}

/* The ports of the quoted packet's flow, in the direction opposite to the packet's own. */
static __always_inline bool quoted_ports(struct packet *p, struct transport *t, __u32 off)
{
	const __u8 *l4;

	p->l4_proto = t->l4_proto;
	t->sport = t->dport = 0;
	if (!has_ports(p->l4_proto) && !is_icmp(p, t->v6))
		return true;
	/* At least eight bytes are quoted (RFC 792). */
	l4 = packet_at(p, off & PACKET_OFF_MAX, ICMP_HEADER_SIZE);
	if (!l4 || off + ICMP_HEADER_SIZE > t->end)
		return false;
	if (is_icmp(p, t->v6)) {
		icmp_ports(p, l4, t->v6);
		t->sport = p->dport;
		t->dport = p->sport;
		return p->flags;
	}
	t->sport = ((const __be16 *)l4)[1];
	t->dport = ((const __be16 *)l4)[0];
	return true;
}

/*
 * Makes an ICMP error a packet of the flow that it quotes. An error that a pod sends must quote a packet that was sent
 * to the pod, and go to that packet's sender: else it could reset other pods' connections. An error to a pod may be
 * from any router on the path, about a packet that the pod has sent. Redirects are always dropped: a pod is not a
 * router's client.
 */
OUT_OF_LINE int transport_error(struct __sk_buff *skb, struct addresses *at, struct transport *t)
{
	struct packet p = { .skb = skb };
	union addr saddr, daddr;
	__u32 off;

	if (!at || !t || (!t->v6 && t->icmp_type == ICMP4_REDIRECT))
		return WR_REASON_ICMP_ERROR;
	off = t->v6 ? quoted6_parse(&p, t, &saddr, &daddr) : quoted4_parse(&p, t, &saddr, &daddr);
	if (!off || !quoted_ports(&p, t, off) || !addr_equal(&daddr, &at->daddr, t->v6))
		return WR_REASON_ICMP_ERROR;
	if (t->direction == WR_EGRESS && !addr_equal(&saddr, &at->saddr, t->v6))
		return WR_REASON_ICMP_ERROR;
	at->saddr = saddr;
	t->flags = FOLLOWS | RELATED;
	return WR_REASON_NONE;
}

/* --- */

static __always_inline enum wr_reason transport_rest(struct packet *p, struct transport *t)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!p->later)
		reason = transport_ports(p->skb, t);
	if (!reason && p->fragmented)
		reason = transport_fragment(p->at, t);
	if (!reason && t->error && !p->to_gateway)
		reason = transport_error(p->skb, p->at, t);
	return reason;
}

static __always_inline enum wr_reason transport_read(struct packet *p, const bool v6)
{
	struct transport *t = p->rest;
	enum wr_reason reason;

	if (!p->fragmented && (p->l4_proto == IPPROTO_TCP || p->l4_proto == IPPROTO_UDP))
		return l4_parse(p, v6);
	if (!p->fragmented)
		__builtin_memset(t, 0, sizeof(*t));
	t->l4_off = p->l4_off;
	t->end = p->end;
	t->l4_proto = p->l4_proto;
	t->direction = p->direction;
	t->owner = p->ep ? p->ifindex : p->peer_ifindex;
	t->v6 = v6;
	reason = transport_rest(p, t);
	p->sport = t->sport;
	p->dport = t->dport;
	p->l4_proto = t->l4_proto;
	p->flags = t->flags;
	return reason;
}

/* Sets all fields of struct packet that flow_pass() needs. */
static __always_inline enum wr_reason transport_parse(struct packet *p, const bool v6)
{
	enum wr_reason reason = transport_read(p, v6);

	p->flags |= p->l4_off << L4_OFF_SHIFT;
	if (!reason)
		trace_step(WR_TRACE_PARSED);
	return reason;
}

#endif
