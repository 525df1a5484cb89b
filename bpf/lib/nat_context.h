/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * NAT of a packet of a flow through a service. `at` and f->sport, f->dport are the flow's ends: client and backend, as
 * soon as a backend is selected. f->nat.service is the service's address.
 */
#ifndef WARREN_LIB_NAT_CONTEXT_H
#define WARREN_LIB_NAT_CONTEXT_H

#include "lib/ct_entry.h"
#include "lib/flow.h"
#include "lib/nat.h"

/* `stored`: as in struct wr_ct_service. */
static __always_inline bool service_addr_equal(const struct wr_addr6 *stored, const union addr *addr, bool v6)
{
	return v6 ? addr6_equal(stored, &addr->a6) : stored->v6[0] == addr->a4.v4;
}

/* Writes the key of packets from at->saddr to at->daddr; returns whether at->saddr is its end 1. */
static __always_inline __u32 service_key(union ct_key *key, __u8 kind, const struct addresses *at, __be16 sport,
					 __be16 dport, const struct flow *f)
{
	struct packet p = { .at = (void *)at, .sport = sport, .dport = dport, .l4_proto = f->l4_proto };
	const __u32 swapped = IN_FAMILY(f->v6, ct_key, &p, key);

	ct_key_set_kind(key, kind, f->v6);
	return swapped;
}

/* Sets the ends for an entry in the client's window. */
static __always_inline void service_query(struct ct_query *q, const struct flow *f)
{
	ct_ends(&q->ends, f->nat.client, 0);
	q->v6 = f->v6;
}

static __always_inline struct nat service_nat(const struct flow *f, __be16 from, __be16 to, bool source)
{
	return (struct nat){ .l4_off = f->flags >> L4_OFF_SHIFT, .from = from, .to = to, .l4_proto = f->l4_proto,
			     .v6 = f->v6, .source = source, .related = f->flags & RELATED,
			     .later = (f->flags & (FOLLOWS | RELATED)) == FOLLOWS };
}

/* Destination NAT to the backend; if the backend is the client itself, also source NAT to the service. */
OUT_OF_LINE int service_to_backend(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	enum wr_reason reason;
	struct nat n;

	if (!at || !f)
		return WR_REASON_RUNT;
	n = service_nat(f, f->nat.service_port, f->dport, false);
	reason = nat_rewrite(skb, &f->nat.service, &at->daddr, &n);
	if (reason || !f->nat.hairpin)
		return reason;
	n = service_nat(f, f->sport, f->sport, true);
	return nat_rewrite(skb, &at->saddr, &f->nat.service, &n);
}

/* Reverse NAT of a backend's packet: its source becomes the service; `source` false: undoes destination NAT. */
OUT_OF_LINE int service_to_client(struct __sk_buff *skb, const struct addresses *at, const struct flow *f,
				  __u32 source)
{
	struct nat n;

	if (!at || !f)
		return WR_REASON_RUNT;
	n = service_nat(f, source ? f->sport : f->dport, f->nat.service_port, source);
	return nat_rewrite(skb, source ? &at->saddr : &at->daddr, &f->nat.service, &n);
}

#endif
