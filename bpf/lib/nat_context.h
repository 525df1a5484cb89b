/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * NAT of a packet of a flow through a service. `at` and t->sport, t->dport are the flow's ends: client and backend, as
 * soon as a backend is selected. t->service is the service's address.
 */
#ifndef WARREN_LIB_NAT_CONTEXT_H
#define WARREN_LIB_NAT_CONTEXT_H

#include "lib/ct_entry.h"
#include "lib/flow.h"
#include "lib/nat.h"

struct nat_context {
	/* The packet, as in struct flow. */
	__u32 flags;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	__be16 service_port;
	union addr service;     /* the client's destination */
	union addr backend;
	__u32 list, count;      /* of the service's backends */
	__u32 client;           /* ifindex of the client's endpoint, whose window has the entries */
	bool hairpin : 1;       /* the backend is the client itself */
	bool resolved : 1;      /* the packet is for a service, and a backend is selected */
	bool found : 1;         /* the flow has an entry with a backend */
	bool usable : 1;        /* ... which the flow may keep using */
	bool chosen : 1;        /* the backend has been selected now: entries must be written */
	bool reply : 1;         /* the packet is from the backend */
	bool promoted : 1;      /* the reverse-NAT entry is in ct */
	bool flow_promoted : 1; /* the flow's entry is in ct */
	bool cached : 1;        /* the verdict may be cached for the next packets */
	bool closed : 1;        /* this packet has closed the flow */
	bool promotes : 1;      /* with this packet the flow is established, or has moved to ct */
	__u32 backend_id;       /* used only while a backend is selected */
};
#define SAME_OFFSET(field)                                                                                              \
	_Static_assert(__builtin_offsetof(struct flow, field) == __builtin_offsetof(struct nat_context, field), #field)
SAME_OFFSET(flags);
SAME_OFFSET(sport);
SAME_OFFSET(dport);
SAME_OFFSET(l4_proto);
SAME_OFFSET(v6);
_Static_assert(__builtin_offsetof(struct nat_context, backend_id) <= __builtin_offsetof(struct flow, ct),
	       "the entry that verdict() reports is kept");

/* `stored`: as in struct wr_ct_service. */
static __always_inline bool service_addr_equal(const struct wr_addr6 *stored, const union addr *addr, bool v6)
{
	return v6 ? addr6_equal(stored, &addr->a6) : stored->v6[0] == addr->a4.v4;
}

/* Writes the key of packets from at->saddr to at->daddr; returns whether at->saddr is its end 1. */
static __always_inline __u32 service_key(union ct_key *key, __u8 kind, const struct addresses *at, __be16 sport,
					 __be16 dport, const struct nat_context *t)
{
	struct packet p = { .at = (void *)at, .sport = sport, .dport = dport, .l4_proto = t->l4_proto };
	const __u32 swapped = IN_FAMILY(t->v6, ct_key, &p, key);

	ct_key_set_kind(key, kind, t->v6);
	return swapped;
}

/* Sets the ends for an entry in the client's window. */
static __always_inline void service_query(struct ct_query *q, const struct nat_context *t)
{
	ct_ends(&q->ends, t->client, 0);
	q->v6 = t->v6;
}

static __always_inline struct nat service_nat(const struct nat_context *t, __be16 from, __be16 to, bool source)
{
	return (struct nat){ .l4_off = t->flags >> L4_OFF_SHIFT, .from = from, .to = to, .l4_proto = t->l4_proto,
			     .v6 = t->v6, .source = source, .related = t->flags & RELATED,
			     .later = (t->flags & (FOLLOWS | RELATED)) == FOLLOWS };
}

/* Destination NAT to the backend; if the backend is the client itself, also source NAT to the service. */
OUT_OF_LINE int service_to_backend(struct __sk_buff *skb, const struct addresses *at, const struct nat_context *t)
{
	enum wr_reason reason;
	struct nat n;

	if (!at || !t)
		return WR_REASON_RUNT;
	n = service_nat(t, t->service_port, t->dport, false);
	reason = nat_rewrite(skb, &t->service, &at->daddr, &n);
	if (reason || !t->hairpin)
		return reason;
	n = service_nat(t, t->sport, t->sport, true);
	return nat_rewrite(skb, &at->saddr, &t->service, &n);
}

/* Reverse NAT of a backend's packet: its source becomes the service; `source` false: undoes destination NAT. */
OUT_OF_LINE int service_to_client(struct __sk_buff *skb, const struct addresses *at, const struct nat_context *t,
				  __u32 source)
{
	struct nat n;

	if (!at || !t)
		return WR_REASON_RUNT;
	n = service_nat(t, source ? t->sport : t->dport, t->service_port, source);
	return nat_rewrite(skb, source ? &at->saddr : &at->daddr, &t->service, &n);
}

#endif
