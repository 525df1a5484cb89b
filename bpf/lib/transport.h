/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the transport header to the flow that a packet belongs to. TCP and UDP in one piece are read where they are
 * needed; everything else out of line: fragments, ICMP, whose errors belong to the flow that they are about, and the
 * rest.
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
	t->traits = p.traits;
	t->error = is_icmp_error(&p, t->v6);
	return reason;
}

/* --- ICMP errors --- */

/*
 * The packet that an error is about: t gets its protocol, *saddr and *daddr its addresses, the other way round: the way
 * the error goes. Returns where its transport header is; 0 if that cannot be read: options, a later fragment.
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

/* The same. An extension header is a transport protocol of which there is no flow. */
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
	/* Eight bytes are always quoted (RFC 792). */
	l4 = packet_at(p, off & PACKET_OFF_MAX, ICMP_HEADER_SIZE);
	if (!l4 || off + ICMP_HEADER_SIZE > t->end)
		return false;
	if (is_icmp(p, t->v6)) {
		icmp_ports(p, l4, t->v6);
		t->sport = p->dport;
		t->dport = p->sport;
		return p->traits;
	}
	t->sport = ((const __be16 *)l4)[1];
	t->dport = ((const __be16 *)l4)[0];
	return true;
}

/*
 * An ICMP error becomes a packet of the flow that it is about. One that a pod sends must be about a packet which was
 * sent to it, and go to who sent that: about anybody else's it could cut connections that are not the pod's. One that
 * comes to a pod may be from anybody on the way, about what the pod itself sent. Redirects are never right: a pod is
 * nobody's router.
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
	t->traits = FOLLOWS | RELATED;
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
	p->traits = t->traits;
	return reason;
}

/* Everything of struct packet that flow_pass() goes by. */
static __always_inline enum wr_reason transport_parse(struct packet *p, const bool v6)
{
	enum wr_reason reason = transport_read(p, v6);

	p->traits |= p->l4_off << L4_OFF_SHIFT;
	if (!reason)
		trace_step(WR_TRACE_PARSED);
	return reason;
}

#endif
