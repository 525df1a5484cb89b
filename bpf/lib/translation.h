/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a packet of a flow through a service. `at` and t->sport, t->dport are the flow's: between client and
 * backend as soon as there is one. The service that the client sees is t->service.
 */
#ifndef WARREN_LIB_TRANSLATION_H
#define WARREN_LIB_TRANSLATION_H

#include "lib/ct_entry.h"
#include "lib/flow.h"
#include "lib/nat.h"

struct translation {
	/* Of the packet, as in struct flow. */
	__u32 traits;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	__be16 service_port;
	union addr service;   /* as the client sees it */
	union addr backend;
	__u32 list, count;    /* of the service's backends */
	__u32 client;         /* its endpoint, in whose window the entries are */
	bool hairpin : 1;     /* the backend is the client itself */
	bool resolved : 1;    /* the packet is for a service, and has a backend */
	bool found : 1;       /* the flow has a backend already */
	bool lives : 1;       /* ... and goes on with it, if that is up to the flow */
	bool chosen : 1;      /* the backend has been chosen now */
	bool answers : 1;     /* the packet is the backend's */
	bool kept : 1;        /* its origin is where the flow is */
	bool settled : 1;     /* the flow itself is in ct */
	bool cached : 1;      /* the verdict may be, for the next ones */
	bool over : 1;        /* the flow is, by this packet */
	__u32 backend_id;     /* the flow's: only choosing reads and writes it */
};
#define SAME_PLACE(field)                                                                                              \
	_Static_assert(__builtin_offsetof(struct flow, field) == __builtin_offsetof(struct translation, field), #field)
SAME_PLACE(traits);
SAME_PLACE(sport);
SAME_PLACE(dport);
SAME_PLACE(l4_proto);
SAME_PLACE(v6);
_Static_assert(__builtin_offsetof(struct translation, backend_id) <= __builtin_offsetof(struct flow, ct),
	       "what verdict() reports stays");

/* `stored`: in a struct wr_ct_service. */
static __always_inline bool service_addr_equal(const struct wr_addr6 *stored, const union addr *addr, bool v6)
{
	return v6 ? addr6_equal(stored, &addr->a6) : stored->v6[0] == addr->a4.v4;
}

/* The key of what goes from at->saddr to at->daddr; returns whether the former is its end 1. */
static __always_inline __u32 service_key(union ct_key *key, __u8 kind, const struct addresses *at, __be16 sport,
					 __be16 dport, const struct translation *t)
{
	struct packet p = { .at = (void *)at, .sport = sport, .dport = dport, .l4_proto = t->l4_proto };
	const __u32 swapped = IN_FAMILY(t->v6, ct_key, &p, key);

	ct_key_be(key, kind, t->v6);
	return swapped;
}

/* Of an entry of the client's. */
static __always_inline void service_query(struct ct_query *q, const struct translation *t)
{
	ct_ends(&q->ends, t->client, 0);
	q->v6 = t->v6;
}

static __always_inline struct nat service_nat(const struct translation *t, __be16 from, __be16 to, bool source)
{
	return (struct nat){ .l4_off = t->traits >> L4_OFF_SHIFT, .from = from, .to = to, .l4_proto = t->l4_proto,
			     .v6 = t->v6, .source = source, .related = t->traits & RELATED,
			     .later = (t->traits & (FOLLOWS | RELATED)) == FOLLOWS };
}

/* To the backend; to the client itself as if it were from the service. */
OUT_OF_LINE int service_to_backend(struct __sk_buff *skb, const struct addresses *at, const struct translation *t)
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

/* From the backend, as from the service; or (`source` false) what was for the backend is for the service again. */
OUT_OF_LINE int service_to_client(struct __sk_buff *skb, const struct addresses *at, const struct translation *t,
				  __u32 source)
{
	struct nat n;

	if (!at || !t)
		return WR_REASON_RUNT;
	n = service_nat(t, source ? t->sport : t->dport, t->service_port, source);
	return nat_rewrite(skb, source ? &at->saddr : &at->daddr, &t->service, &n);
}

#endif
