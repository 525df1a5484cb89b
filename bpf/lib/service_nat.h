/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * NAT of a packet of a flow through a service. `at` and f->sport, f->dport are the flow's ends, client and backend;
 * f->nat has the service's address.
 */
#ifndef WARREN_LIB_SERVICE_NAT_H
#define WARREN_LIB_SERVICE_NAT_H

#include "lib/nat.h"
#include "lib/service_entries.h"
#include "lib/trace.h"

/* `client_port`: the one that the client's becomes, if it is another one. */
static __always_inline void service_trace(const struct flow *f, __u32 steps, const union addr *addr, __be16 port,
					  __be16 client_port)
{
	struct wr_trace *trace = trace_get();

	if (!trace)
		return;
	trace->steps |= steps;
	trace->backend = addr->a6;
	trace->backend_port = port;
	trace->client_port = client_port;
	trace->backends = f->nat.count;
}

static __always_inline struct nat service_nat(const struct flow *f, __be16 from, __be16 to, bool source)
{
	return (struct nat){ .l4_off = f->flags >> L4_OFF_SHIFT, .from = from, .to = to, .l4_proto = f->l4_proto,
			     .v6 = f->v6, .source = source, .related = f->flags & RELATED,
			     .first = f->flags & FIRST_FRAGMENT,
			     .later = (f->flags & (FOLLOWS | RELATED)) == FOLLOWS };
}

/* Whether the packet can be rewritten from one port to the other. */
OUT_OF_LINE int service_nat_check(struct __sk_buff *skb, const struct flow *f, __be16 from, __be16 to)
{
	struct nat n;

	if (!f)
		return WR_REASON_RUNT;
	n = service_nat(f, from, to, false);
	return nat_check(skb, &n);
}

/*
 * Destination NAT to the backend. Also source NAT: to the service if the backend is the client itself, and of a port
 * that is remapped.
 */
OUT_OF_LINE int service_to_backend(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	enum wr_reason reason;
	struct nat n;

	if (!at || !f)
		return WR_REASON_RUNT;
	n = service_nat(f, f->nat.service_port, f->dport, false);
	reason = nat_rewrite(skb, &f->nat.service, &at->daddr, &n);
	if (reason || !(f->nat.hairpin || service_is_remapped(f)))
		return reason;
	n = service_nat(f, f->nat.client_port, f->sport, true);
	return nat_rewrite(skb, &at->saddr, f->nat.hairpin ? &f->nat.service : &at->saddr, &n);
}

/* The address and port of the service, as the source or the destination. */
OUT_OF_LINE int service_restore(struct __sk_buff *skb, const struct addresses *at, const struct flow *f, __u32 source)
{
	struct nat n;

	if (!at || !f)
		return WR_REASON_RUNT;
	n = service_nat(f, source ? f->sport : f->dport, f->nat.service_port, source);
	return nat_rewrite(skb, source ? &at->saddr : &at->daddr, &f->nat.service, &n);
}

/* The client's port, if it is remapped: at the other end. */
OUT_OF_LINE int service_restore_port(struct __sk_buff *skb, const struct addresses *at, const struct flow *f, __u32 source)
{
	const union addr *client;
	struct nat n;

	if (!at || !f)
		return WR_REASON_RUNT;
	n = service_nat(f, source ? f->dport : f->sport, f->nat.client_port, !source);
	if (n.from == n.to)
		return WR_REASON_NONE;
	client = source ? &at->daddr : &at->saddr;
	return nat_rewrite(skb, client, client, &n);
}

/*
 * Reverse NAT of a backend's packet: its source becomes the service, and its destination port the client's. `source`
 * false: undoes the NAT of a client's packet.
 */
static __always_inline enum wr_reason service_to_client(struct __sk_buff *skb, const struct addresses *at,
							const struct flow *f, bool source)
{
	const enum wr_reason reason = service_restore(skb, at, f, source);

	return reason ? reason : service_restore_port(skb, at, f, source);
}

/*
 * Undoes destination NAT of a packet that is rejected: the error to the sender must quote the packet as it was sent.
 * The fields are read from the packet, since the caller's stack has no room for them; only packets without
 * fragmentation and extension headers are translated.
 */
OUT_OF_LINE int service_undo_dnat(struct __sk_buff *skb, struct addresses *at, __u32 v6)
{
	struct flow *f = flow_memory_get();
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__be16 ports[2];
	__u8 l4_proto;

	if (!at || !f || dry_run ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + (v6 ? __builtin_offsetof(struct ipv6hdr, nexthdr) :
						     __builtin_offsetof(struct iphdr, protocol)), &l4_proto, 1) ||
	    !has_ports(l4_proto) || bpf_skb_load_bytes(skb, l4_off, ports, sizeof(ports)))
		return WR_REASON_NONE;
	f->flags = l4_off << L4_OFF_SHIFT;
	f->sport = ports[0];
	f->dport = ports[1];
	f->l4_proto = l4_proto;
	f->v6 = v6;
	f->forward = true;
	f->nat.client = skb->ifindex;
	if (!service_flow_lives(at, f, FLOW_OF_ANY) || service_reverse(at, f))
		return WR_REASON_NONE;
	return service_to_client(skb, at, f, false);
}

#endif
