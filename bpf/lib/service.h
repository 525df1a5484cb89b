/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services: what a pod sends to one goes to a backend, as if the pod had sent it there, and what the backend answers comes
 * from the service (abi/service.h, struct wr_ct_service). service_enter() is asked about what a pod sends and no flow
 * of its own has, service_answer() about what answers a flow that went through a service; each is a few functions out of
 * line, one after the other, as with flows.
 *
 * `at` and t->sport, t->dport are the flow's: between client and backend as soon as there is one. The service that the
 * client sees is t->service.
 */
#ifndef WARREN_LIB_SERVICE_H
#define WARREN_LIB_SERVICE_H

#include "abi/service.h"
#include "lib/conntrack.h"
#include "lib/flow.h"
#include "lib/nat.h"
#include "lib/trace.h"
#include "lib/tunnel_port.h"

struct translation {
	/* Of the packet, as in struct flow. */
	__u32 traits;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	__be16 service_port;
	union addr service;   /* as the client sees it */
	union addr backend;
	__u32 ifindex;        /* of the client */
	__u32 list, count;    /* of the service's backends */
	__u32 flags;          /* WR_CT_HAIRPIN */
	bool found;           /* the flow has a backend already */
	bool lives;           /* ... and goes on with it, if that is up to the flow */
	bool chosen;          /* the backend has been chosen now */
};
#define SAME_PLACE(field)                                                                                              \
	_Static_assert(__builtin_offsetof(struct flow, field) == __builtin_offsetof(struct translation, field), #field)
SAME_PLACE(traits);
SAME_PLACE(sport);
SAME_PLACE(dport);
SAME_PLACE(l4_proto);
SAME_PLACE(v6);
_Static_assert(sizeof(struct translation) <= __builtin_offsetof(struct flow, ct), "what verdict() reports stays");

/* How many backends are tried for one between which and the client the ports are free. */
#define SERVICE_TRIES 8

static __always_inline bool service_addr_equal(const struct wr_addr6 *stored, const union addr *addr, bool v6)
{
	return v6 ? addr6_equal(stored, &addr->a6) : stored->v6[0] == addr->a4.v4;
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

/* The key of what goes from at->saddr to at->daddr; returns whether the former is its end 1. */
static __always_inline __u32 service_key(union ct_key *key, __u8 kind, const struct addresses *at, __be16 sport,
					 __be16 dport, const struct translation *t)
{
	struct packet p = { .at = (void *)at, .sport = sport, .dport = dport, .l4_proto = t->l4_proto };
	const __u32 swapped = IN_FAMILY(t->v6, ct_key, &p, key);

	if (t->v6)
		key->k6.kind = kind;
	else
		key->k4.kind = kind;
	return swapped;
}

/* The entries of one flow through a service, and what at->daddr is for their keys. */
enum service_entry {
	ENTRY_ORIGIN,  /* between client and backend */
	ENTRY_SERVICE, /* between client and service */
	ENTRY_HAIRPIN, /* between a pod that is both, and the service: what it answers */
};

static __always_inline __u32 service_entry_key(union ct_key *key, enum service_entry which, const struct addresses *at,
					       const struct translation *t)
{
	const __be16 sport = which == ENTRY_HAIRPIN ? t->dport : t->sport;
	const __be16 dport = which == ENTRY_ORIGIN ? t->dport : which == ENTRY_HAIRPIN ? t->sport : t->service_port;

	return service_key(key, which == ENTRY_ORIGIN ? WR_CT_ORIGIN : WR_CT_FLOW, at, sport, dport, t);
}

/* --- the service -------------------------------------------------------------------------------------------------- */

static __always_inline const struct wr_service *service_find(const struct translation *t)
{
	if (t->v6) {
		struct wr_service6_key key = { .addr = t->service.a6, .port = t->service_port, .l4_proto = t->l4_proto };

		return bpf_map_lookup_elem(&services6, &key);
	} else {
		struct wr_service4_key key = { .addr = t->service.a4, .port = t->service_port, .l4_proto = t->l4_proto };

		return bpf_map_lookup_elem(&services4, &key);
	}
}

/* Who finds no service has maybe looked as its element was being replaced. */
OUT_OF_LINE int service_list(struct translation *t)
{
	const struct wr_service *service;

	if (!t)
		return false;
	service = service_find(t);
	if (!service)
		service = service_find(t);
	if (!service)
		return false;
	t->list = service->list;
	t->count = service->backends;
	return true;
}

/* A backend of the list becomes the flow's; false if it is not there (any more). */
OUT_OF_LINE int service_backend(struct addresses *at, struct translation *t, __u32 index)
{
	struct wr_backend_key key;

	if (!at || !t)
		return false;
	key.list = t->list;
	key.index = index;
	if (t->v6) {
		const struct wr_backend6 *b = bpf_map_lookup_elem(&backends6, &key);

		if (!b)
			return false;
		at->daddr.a6 = b->addr;
		t->dport = b->port;
	} else {
		const struct wr_backend4 *b = bpf_map_lookup_elem(&backends4, &key);

		if (!b)
			return false;
		at->daddr.a4 = b->addr;
		t->dport = b->port;
	}
	return true;
}

struct service_search {
	union addr addr;
	__be16 port;
	bool v6, found;
	__u32 list;
};

/* For bpf_loop(). */
static int service_compare(__u32 index, struct service_search *s)
{
	const struct wr_backend_key key = { .list = s->list, .index = index };
	const struct wr_backend6 *b6;
	const struct wr_backend4 *b4;

	if (s->v6) {
		b6 = bpf_map_lookup_elem(&backends6, &key);
		s->found = b6 && b6->port == s->port && addr6_equal(&b6->addr, &s->addr.a6);
		return s->found || !b6;
	}
	b4 = bpf_map_lookup_elem(&backends4, &key);
	s->found = b4 && b4->port == s->port && b4->addr.v4 == s->addr.a4.v4;
	return s->found || !b4;
}

/* Whether the flow's backend is one of the list. */
OUT_OF_LINE int service_has(const struct addresses *at, const struct translation *t)
{
	struct service_search s = { 0 };

	if (!at || !t)
		return false;
	s.addr = at->daddr;
	s.port = t->dport;
	s.v6 = t->v6;
	s.list = t->list;
	bpf_loop(t->count, service_compare, &s, 0);
	return s.found;
}

/* --- the flow's backend ------------------------------------------------------------------------------------------- */

/* Whether the flow with the backend, which the service's client has begun, lives. */
OUT_OF_LINE int service_flow_lives(const struct addresses *at, const struct translation *t)
{
	union ct_key key;
	const struct wr_ct *ct;
	bool established;

	if (!at || !t)
		return false;
	service_key(&key, WR_CT_FLOW, at, t->sport, t->dport, t);
	ct = ct_find(&key, &established, t->v6);
	return ct && (ct->flags & WR_CT_TRANSLATED) && !ct_expired(ct, ct_now());
}

/* The backend that the flow has, if it has one. */
OUT_OF_LINE int service_look(struct addresses *at, struct translation *t)
{
	const struct wr_ct_service *entry;
	union ct_key key;
	bool established;

	if (!at || !t)
		return 0;
	t->service = at->daddr;
	t->service_port = t->dport;
	service_key(&key, WR_CT_FLOW, at, t->sport, t->dport, t);
	entry = (void *)ct_find(&key, &established, t->v6);
	if (!entry || !(entry->flags & WR_CT_SERVICE))
		return 0;
	at->daddr.a6 = entry->addr;
	t->dport = entry->port;
	t->list = entry->list;
	t->flags = entry->flags & WR_CT_HAIRPIN;
	t->found = true;
	t->lives = (__s32)(entry->expires - ct_now()) >= 0;
	return 0;
}

/*
 * Whether the ports are in use between client and backend by another flow: of both the answers would look the same. What
 * is the same service's is this flow's own, of which the rest was forgotten.
 */
OUT_OF_LINE int service_clashes(const struct addresses *at, const struct translation *t)
{
	const struct wr_ct_service *origin;
	union ct_key key;
	const struct wr_ct *ct;
	bool established;

	if (!at || !t)
		return true;
	service_key(&key, WR_CT_FLOW, at, t->sport, t->dport, t);
	ct = ct_find(&key, &established, t->v6);
	if (!ct || ct_expired(ct, ct_now()))
		return false;
	if (!(ct->flags & WR_CT_TRANSLATED))
		return true;
	if (t->v6)
		key.k6.kind = WR_CT_ORIGIN;
	else
		key.k4.kind = WR_CT_ORIGIN;
	origin = (void *)ct_find(&key, &established, t->v6);
	if (!origin)
		return !t->found;
	return origin->port != t->service_port || !service_addr_equal(&origin->addr, &t->service, t->v6);
}

/*
 * The same of what a pod answers itself: at->daddr is the service. With the same port at both ends nothing would say who
 * of them has sent it.
 */
OUT_OF_LINE int service_hairpin_clashes(const struct addresses *at, const struct translation *t)
{
	const struct wr_ct_service *entry;
	union ct_key key;
	bool established;

	if (!at || !t || t->sport == t->dport)
		return true;
	service_entry_key(&key, ENTRY_HAIRPIN, at, t);
	entry = (void *)ct_find(&key, &established, t->v6);
	if (!entry || (__s32)(entry->expires - ct_now()) < 0)
		return false;
	return !(entry->flags & WR_CT_SERVICE) || entry->port != t->sport ||
	       !service_addr_equal(&entry->addr, &at->saddr, t->v6);
}

/* Whether the backend will do. */
static __always_inline enum wr_reason service_suits(struct addresses *at, struct translation *t)
{
	bool clashes;
	const bool hairpin = IN_FAMILY(t->v6, addr_equal, &at->daddr, &at->saddr);
	const bool strange = IN_FAMILY(t->v6, addr_is_strange, &at->daddr);

	t->flags = hairpin ? WR_CT_HAIRPIN : 0;
	if (strange)
		return WR_REASON_BAD_DESTINATION;
	if (t->l4_proto == IPPROTO_SCTP && t->service_port != t->dport)
		return WR_REASON_SERVICE_SCTP;
	clashes = service_clashes(at, t);
	if (hairpin && !clashes) {
		t->backend = at->daddr;
		at->daddr = t->service;
		clashes = service_hairpin_clashes(at, t);
		at->daddr = t->backend;
	}
	return clashes ? WR_REASON_SERVICE_CLASH : WR_REASON_NONE;
}

/* The flow's backend: the one that it has, if it still is one, or any. */
static __always_inline enum wr_reason service_choose(struct addresses *at, struct translation *t)
{
	enum wr_reason reason = WR_REASON_NO_BACKEND;

	t->chosen = true;
	if (t->found && t->count && service_has(at, t) && !service_suits(at, t))
		return WR_REASON_NONE;
	t->found = false;
#pragma clang loop unroll(disable)
	for (int n = 0; n < SERVICE_TRIES && t->count; n++) {
		if (service_backend(at, t, (__u64)bpf_get_prandom_u32() * t->count >> 32)) {
			reason = service_suits(at, t);
			if (!reason)
				return WR_REASON_NONE;
		} else if (!service_list(t)) {
			/* The list is another one by now, or none. */
			return WR_REASON_NO_BACKEND;
		}
	}
	return t->count ? reason : WR_REASON_NO_BACKEND;
}

/* --- written ------------------------------------------------------------------------------------------------------ */

OUT_OF_LINE int service_remember(const struct addresses *at, const struct translation *t, __u32 which)
{
	struct wr_ct_service entry;
	union ct_key key;

	if (!at || !t)
		return WR_REASON_CT_FULL;
	__builtin_memset(&entry, 0, sizeof(entry));
	entry.flags = WR_CT_SERVICE | service_entry_key(&key, which, at, t) * WR_CT_SWAPPED;
	entry.expires = ct_now() + (t->l4_proto == IPPROTO_TCP ? WR_CT_LIFE_TCP_NEW : WR_CT_LIFE_OTHER_NEW);
	entry.initiator = t->ifindex;
	if (which == ENTRY_ORIGIN) {
		entry.addr = t->service.a6;
		entry.port = t->service_port;
	} else if (which == ENTRY_HAIRPIN) {
		entry.addr = at->saddr.a6;
		entry.port = t->sport;
	} else {
		entry.addr = t->backend.a6;
		entry.port = t->dport;
		entry.list = t->list;
		entry.flags |= t->flags;
	}
	return ct_write(&key, (void *)&entry, false, BPF_ANY, t->v6) ? WR_REASON_CT_FULL : WR_REASON_NONE;
}

/* What stands in ct in its place. */
OUT_OF_LINE int service_forget(const struct addresses *at, const struct translation *t, __u32 which)
{
	const struct wr_ct *was;
	union ct_key key;
	__u32 owner;

	if (!at || !t)
		return 0;
	service_entry_key(&key, which, at, t);
	was = t->v6 ? bpf_map_lookup_elem(&ct6, &key.k6) : bpf_map_lookup_elem(&ct4, &key.k4);
	if (!was)
		return 0;
	owner = ct_owner(was);
	if (!ct_delete(&key, true, t->v6))
		ct_usage_drop(owner);
	return 0;
}

/* Into ct_new. */
static __always_inline enum wr_reason service_replace(const struct addresses *at, const struct translation *t,
						      enum service_entry which)
{
	enum wr_reason reason = service_remember(at, t, which);

	if (!reason)
		service_forget(at, t, which);
	return reason;
}

/* --- rewritten ---------------------------------------------------------------------------------------------------- */

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
	if (reason || !(t->flags & WR_CT_HAIRPIN))
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

static __always_inline void service_trace(const struct translation *t, __u32 steps, const union addr *addr, __be16 port)
{
	struct wr_trace *trace = trace_get();

	if (!trace)
		return;
	trace->steps |= steps;
	trace->backend = addr->a6;
	trace->backend_port = port;
	trace->backends = t->count;
}

/* --- what a pod sends --------------------------------------------------------------------------------------------- */

/* Whether the packet is for a service, and then for which backend; t->chosen: which is to be written. */
static __always_inline bool service_resolve(struct __sk_buff *skb, struct addresses *at, struct translation *t,
					    enum wr_reason *reason)
{
	bool begins = t->traits & (BEGINS | ASSOCIATES);
	__u32 was;

	service_look(at, t);
	was = t->list;
	if (t->found && !t->lives)
		t->lives = service_flow_lives(at, t);
	/* What only follows; what a pod answers itself; a connection, whether or not the service has the backend still. */
	if (t->lives && ((t->traits & FOLLOWS) || !was || (t->l4_proto != IPPROTO_UDP && !begins)))
		return true;
	if ((t->traits & FOLLOWS) || !service_list(t))
		return t->lives;
	if (!begins && t->lives && t->list == was)
		return true;
	*reason = service_choose(at, t);
	/* Where a backend is, is not up to who has made the service: the tunnel's port is nobody's. */
	if (!*reason && is_tunnel_port(t->l4_proto, t->dport) && tunnel_port_check(skb, at, t->v6))
		*reason = WR_REASON_TUNNEL_PORT;
	return true;
}

/*
 * What a pod sends: if it is for a service, `at` and t are about the backend from then on, and t->traits says so; if not,
 * nothing has changed.
 */
OUT_OF_LINE int service_enter(struct __sk_buff *skb, struct addresses *at, struct translation *t)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !t)
		return WR_REASON_RUNT;
	if (service_resolve(skb, at, t, &reason) && !reason) {
		t->traits |= TRANSLATED;
		return WR_REASON_NONE;
	}
	at->daddr = t->service;
	t->dport = t->service_port;
	return reason;
}

/* The answers' way first: it has to be there when they come. */
static __always_inline enum wr_reason service_write(struct addresses *at, struct translation *t)
{
	enum wr_reason reason;

	reason = service_replace(at, t, ENTRY_ORIGIN);
	t->backend = at->daddr;
	at->daddr = t->service;
	if (!reason && (t->flags & WR_CT_HAIRPIN))
		reason = service_replace(at, t, ENTRY_HAIRPIN);
	if (!reason)
		reason = service_replace(at, t, ENTRY_SERVICE);
	at->daddr = t->backend;
	return reason;
}

/* The packet, too, and what has been chosen for it is kept, unless service_enter() has said otherwise. */
OUT_OF_LINE int service_apply(struct __sk_buff *skb, struct addresses *at, struct translation *t, __u32 reason)
{
	if (!at || !t || reason || !(t->traits & TRANSLATED))
		return reason;
	service_trace(t, WR_TRACE_SERVICE | (t->chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, t->dport);
	if (dry_run)
		return WR_REASON_NONE;
	if (t->chosen)
		reason = service_write(at, t);
	return reason ? reason : service_to_backend(skb, at, t);
}

/* --- what answers ------------------------------------------------------------------------------------------------- */

/* Moves an entry from ct_new to ct, as its flow's has been. */
OUT_OF_LINE int service_keep(const struct addresses *at, const struct translation *t, __u32 which)
{
	const struct wr_ct *found;
	union ct_key key;
	struct wr_ct entry;

	if (!at || !t)
		return 0;
	service_entry_key(&key, which, at, t);
	found = t->v6 ? bpf_map_lookup_elem(&ct_new6, &key.k6) : bpf_map_lookup_elem(&ct_new4, &key.k4);
	if (!found || !(found->flags & WR_CT_SERVICE))
		return 0;
	entry = *found;
	if (ct_establish(&key, &entry, true, t->v6))
		ct_delete(&key, false, t->v6);
	return 0;
}

/*
 * What the flow between these two was addressed to; t->lives: the flow is in ct, and the entry is not.
 */
OUT_OF_LINE int service_origin(const struct addresses *at, struct translation *t)
{
	const struct wr_ct_service *origin;
	union ct_key key;
	bool established;

	if (!at || !t)
		return WR_REASON_SERVICE_UNKNOWN;
	service_key(&key, WR_CT_ORIGIN, at, t->sport, t->dport, t);
	origin = (void *)ct_find(&key, &established, t->v6);
	if (!origin)
		return WR_REASON_SERVICE_UNKNOWN;
	t->service.a6 = origin->addr;
	t->service_port = origin->port;
	if (established || dry_run)
		return WR_REASON_NONE;
	if (t->v6) {
		key.k6.kind = WR_CT_FLOW;
		t->lives = bpf_map_lookup_elem(&ct6, &key.k6);
	} else {
		key.k4.kind = WR_CT_FLOW;
		t->lives = bpf_map_lookup_elem(&ct4, &key.k4);
	}
	return WR_REASON_NONE;
}

/* The entries of a flow that has been answered go where the flow has gone. Their keys are the client's. */
static __always_inline void service_answered(struct addresses *at, struct translation *t)
{
	const __be16 port = t->sport;

	t->backend = at->saddr;
	t->sport = t->dport;
	t->dport = port;
	service_keep(at, t, ENTRY_ORIGIN);
	at->saddr = at->daddr;
	at->daddr = t->service;
	service_keep(at, t, ENTRY_SERVICE);
	if (IN_FAMILY(t->v6, addr_equal, &at->saddr, &t->backend))
		service_keep(at, t, ENTRY_HAIRPIN);
	at->daddr = at->saddr;
	at->saddr = t->backend;
	t->dport = t->sport;
	t->sport = port;
}

/*
 * The last step of a packet that flow_decide() has decided about: if it answers a flow that went through a service, it is
 * the service's. What is in the way is in f's memory then, of which the entry stays: verdict() reports that.
 */
OUT_OF_LINE int service_answer(struct __sk_buff *skb, struct addresses *at, struct flow *f, __u32 reason)
{
	struct translation *t = (void *)f;

	if (!at || !f || reason || f->forward || !(f->ct.flags & WR_CT_TRANSLATED))
		return reason;
	t->lives = false;
	t->count = 0;
	reason = service_origin(at, t);
	if (reason)
		return reason;
	service_trace(t, WR_TRACE_ORIGIN, &t->service, t->service_port);
	if (t->lives)
		service_answered(at, t);
	return dry_run ? WR_REASON_NONE : service_to_client(skb, at, t, true);
}

/*
 * What was for a backend, and gets no further, is for the service again: its sender is to see what it has sent. Read
 * from the packet, for which the caller has no room: what is whole and has no extension headers, if it is translated at
 * all.
 */
OUT_OF_LINE int service_return(struct __sk_buff *skb, struct addresses *at, struct translation *t, __u32 v6)
{
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__be16 ports[2];
	__u8 l4_proto;

	if (!at || !t || dry_run ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + (v6 ? __builtin_offsetof(struct ipv6hdr, nexthdr) :
						     __builtin_offsetof(struct iphdr, protocol)), &l4_proto, 1) ||
	    !has_ports(l4_proto) || bpf_skb_load_bytes(skb, l4_off, ports, sizeof(ports)))
		return WR_REASON_NONE;
	t->traits = l4_off << L4_OFF_SHIFT;
	t->sport = ports[0];
	t->dport = ports[1];
	t->l4_proto = l4_proto;
	t->v6 = v6;
	if (!service_flow_lives(at, t) || service_origin(at, t))
		return WR_REASON_NONE;
	return service_to_client(skb, at, t, false);
}

#endif
