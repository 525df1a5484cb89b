/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services (abi/service.h, struct wr_ct_service): a pod's packets to a service are sent to a backend, and the backend's
 * replies come from the service's address. service_select() selects the backend for a pod's packet without a flow of
 * its own; service_reply() translates replies of a flow through a service. Each calls a few functions out of line, one
 * after the other, as for flows. Most packets need neither: lib/verdict_nat.h.
 */
#ifndef WARREN_LIB_SERVICE_H
#define WARREN_LIB_SERVICE_H

#include "lib/service_backend.h"
#include "lib/trace.h"
#include "lib/nat_context.h"
#include "lib/tunnel_port.h"
#include "lib/verdict_nat.h"

/* --- write -------------------------------------------------------------------------------------------------------- */

OUT_OF_LINE int service_entry_write(const struct addresses *at, const struct flow *f, __u32 which)
{
	struct ct_query *q = ct_query();
	struct wr_ct_service *entry;

	if (!at || !f || !q)
		return WR_REASON_CT_FULL;
	service_query(q, f);
	q->begun = true;
	entry = (void *)&q->ct;
	__builtin_memset(entry, 0, sizeof(*entry));
	entry->flags = WR_CT_SERVICE;
	entry->expires = ct_now() + (f->l4_proto == IPPROTO_TCP ? WR_CT_LIFE_TCP_NEW : WR_CT_LIFE_OTHER_NEW);
	entry->initiator = f->nat.client;
	if (which == ENTRY_REVERSE_NAT) {
		entry->addr = f->nat.service.a6;
		entry->port = f->nat.service_port;
	} else if (which == ENTRY_HAIRPIN) {
		entry->addr = at->saddr.a6;
		entry->port = f->sport;
	} else {
		entry->addr = f->nat.backend.a6;
		entry->port = f->dport;
		entry->list = f->nat.list;
		entry->backend = f->nat.backend_id;
		entry->flags |= f->nat.hairpin ? WR_CT_HAIRPIN : 0;
	}
	entry->flags |= service_entry_key(&q->key, which, at, f) * WR_CT_SWAPPED;
	return ct_write() ? WR_REASON_CT_FULL : WR_REASON_NONE;
}

/* Deletes an entry with the same key from ct. */
OUT_OF_LINE int service_table_delete(const struct addresses *at, const struct flow *f, __u32 which)
{
	union ct_key key;

	if (!at || !f)
		return 0;
	service_entry_key(&key, which, at, f);
	IN_FAMILY(f->v6, ct_table_delete, &key);
	return 0;
}

/* Writes an entry to the client's window, replacing one in ct. */
static __always_inline enum wr_reason service_replace(const struct addresses *at, const struct flow *f,
						      enum service_entry which)
{
	enum wr_reason reason = service_entry_write(at, f, which);

	if (!reason)
		service_table_delete(at, f, which);
	return reason;
}

static __always_inline void service_trace(const struct flow *f, __u32 steps, const union addr *addr, __be16 port)
{
	struct wr_trace *trace = trace_get();

	if (!trace)
		return;
	trace->steps |= steps;
	trace->backend = addr->a6;
	trace->backend_port = port;
	trace->backends = f->nat.count;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

/* Whether the packet is for a service (nat.resolved), and its backend; nat.chosen: the entries must be written. */
static __always_inline enum wr_reason service_resolve(struct __sk_buff *skb, struct addresses *at,
						      struct flow *f)
{
	const bool begins = f->flags & (BEGINS | ASSOCIATES);
	enum wr_reason reason;
	__u32 was;

	service_lookup(at, f, skb->ifindex);
	was = f->nat.list;
	if (f->nat.found && !f->nat.usable)
		f->nat.usable = service_flow_lives(at, f);
	/*
	 * Keep the backend for packets that only follow, for replies of a pod to itself, and for connections, even if
	 * the service no longer has the backend.
	 */
	f->nat.resolved = f->nat.usable;
	if (f->nat.usable && ((f->flags & FOLLOWS) || !was || (f->l4_proto != IPPROTO_UDP && !begins)))
		return WR_REASON_NONE;
	if ((f->flags & FOLLOWS) || !service_list(f))
		return WR_REASON_NONE;
	if (!begins && f->nat.usable && f->nat.list == was)
		return WR_REASON_NONE;
	reason = service_choose(at, f);
	f->nat.resolved = !reason;
	/* The creator of a service does not control its backends' addresses: none may send to the tunnel's port. */
	if (!reason && is_tunnel_port(f->l4_proto, f->dport) && tunnel_port_check(skb, at, f->v6)) {
		f->nat.resolved = false;
		return WR_REASON_TUNNEL_PORT;
	}
	return reason;
}

/*
 * For a pod's packet. If it is for a service, `at` and f are those of the flow with the backend afterwards, with
 * TRANSLATED in f->flags; else they are unchanged.
 */
OUT_OF_LINE int service_select(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	if (!at || !f)
		return WR_REASON_NO_CONFIG;
	__builtin_memset(&f->nat, 0, sizeof(f->nat));
	reason = service_resolve(skb, at, f);
	if (f->nat.resolved) {
		f->flags |= TRANSLATED;
		service_trace(f, WR_TRACE_SERVICE | (f->nat.chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, f->dport);
		return WR_REASON_NONE;
	}
	at->daddr = f->nat.service;
	f->dport = f->nat.service_port;
	return reason;
}

/* The reverse-NAT entry comes first: it must exist when replies arrive. */
static __always_inline enum wr_reason service_entries_write(struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	reason = service_replace(at, f, ENTRY_REVERSE_NAT);
	f->nat.backend = at->daddr;
	at->daddr = f->nat.service;
	if (!reason && f->nat.hairpin)
		reason = service_replace(at, f, ENTRY_HAIRPIN);
	if (!reason)
		reason = service_replace(at, f, ENTRY_SERVICE);
	at->daddr = f->nat.backend;
	return reason;
}

/* Deletes the flow that was just created between client and backend. */
OUT_OF_LINE int service_flow_delete(const struct addresses *at, const struct flow *f)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return 0;
	service_query(q, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (ct_lookup())
		IN_FAMILY(f->v6, ct_delete, &q->key, f->nat.client, q->where);
	return 0;
}

/*
 * Writes the entries and rewrites the packet. This happens after the verdict, so that a denied sender changes nothing.
 * If the entries cannot be written, a flow that was just created is deleted again.
 */
OUT_OF_LINE int service_dnat(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !f)
		return WR_REASON_RUNT;
	if (dry_run)
		return WR_REASON_NONE;
	if (f->nat.chosen) {
		reason = service_entries_write(at, f);
		service_verdict_invalidate(f);
	}
	if (!reason)
		return service_to_backend(skb, at, f);
	if (f->step == FLOW_NEW)
		service_flow_delete(at, f);
	return reason;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

/*
 * Gives an entry in the client's window the same state as its flow: it moves to ct if the flow has (nat.flow_promoted),
 * or becomes established in the window. False: there is no room for it in ct.
 */
OUT_OF_LINE int service_refresh(const struct addresses *at, const struct flow *f, __u32 which)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return false;
	service_query(q, f);
	service_entry_key(&q->key, which, at, f);
	if (!ct_lookup() || q->where == CT_IN_TABLE || !(q->ct.flags & WR_CT_SERVICE))
		return true;
	if (f->nat.flow_promoted) {
		q->ct.expires = ct_now();
		return IN_FAMILY(f->v6, ct_promote, &q->key, &q->ct, q->where);
	}
	q->ct.flags |= WR_CT_ESTABLISHED | WR_CT_REPLIED;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP;
	IN_FAMILY(f->v6, ct_rewrite, &q->key, &q->ct, q->where);
	return true;
}

/*
 * Looks up the service of the flow between client and backend. nat.flow_promoted: the flow is in ct; nat.promoted: so is
 * the reverse-NAT entry.
 */
OUT_OF_LINE int service_reverse(const struct addresses *at, struct flow *f)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return WR_REASON_SERVICE_UNKNOWN;
	service_query(q, f);
	service_key(&q->key, WR_CT_REVERSE_NAT, at, f->sport, f->dport, f);
	if (!ct_lookup())
		return WR_REASON_SERVICE_UNKNOWN;
	reverse = (const void *)&q->ct;
	f->nat.service.a6 = reverse->addr;
	f->nat.service_port = reverse->port;
	f->nat.promoted = q->where == CT_IN_TABLE;
	f->nat.flow_promoted = f->nat.promoted;
	if (f->nat.promoted)
		return WR_REASON_NONE;
	ct_key_set_kind(&q->key, WR_CT_FLOW, f->v6);
	f->nat.flow_promoted = IN_FAMILY(f->v6, ct_table_find, &q->key);
	return WR_REASON_NONE;
}

/*
 * Promotes a flow's service entries with it. The entries with the service's address have the client's ends, also the
 * one for a hairpin's replies. The reverse-NAT entry is last: while it is in a window, each reply that looks it up
 * tries again.
 */
static __always_inline void service_promote_all(struct addresses *at, struct flow *f)
{
	bool promoted;

	f->nat.backend = at->saddr;
	service_swap(at, f);
	at->daddr = f->nat.service;
	promoted = service_refresh(at, f, ENTRY_SERVICE);
	if (promoted && IN_FAMILY(f->v6, addr_equal, &at->saddr, &f->nat.backend))
		promoted = service_refresh(at, f, ENTRY_HAIRPIN);
	at->daddr = f->nat.backend;
	f->nat.promoted = promoted && service_refresh(at, f, ENTRY_REVERSE_NAT);
	service_swap(at, f);
}

/*
 * The same for the client's packet by which the flow is established or has moved to ct; service_reply() does it for
 * replies.
 */
OUT_OF_LINE int service_promote(struct addresses *at, struct flow *f)
{
	if (!at || !f || dry_run || !f->nat.promotes || service_reverse(at, f))
		return 0;
	service_swap(at, f);
	service_promote_all(at, f);
	service_swap(at, f);
	return 0;
}

/* For a reply of a flow through a service, which flow_decide() has passed: its source becomes the service. */
OUT_OF_LINE int service_reply(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;
	bool established, begins, closed;

	if (!at || !f)
		return WR_REASON_NONE;
	established = f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags);
	begins = f->reply && established;
	closed = f->changes && ct_is_closed(f->l4_proto, f->ct.flags);
	f->nat.cached = service_is_cached(f);
	f->nat.client = f->ct.initiator;
	f->nat.closed = false;
	f->nat.count = 0;
	reason = service_reverse(at, f);
	if (reason) {
		f->nat.cached = false;
		return reason;
	}
	service_trace(f, WR_TRACE_REVERSE_NAT, &f->nat.service, f->nat.service_port);
	if (!dry_run && (begins || (f->nat.flow_promoted && !f->nat.promoted)))
		service_promote_all(at, f);
	f->nat.reply = true;
	f->nat.closed = closed;
	f->nat.cached = f->nat.cached && (established || (f->nat.flow_promoted && f->nat.promoted));
	return dry_run ? WR_REASON_NONE : service_to_client(skb, at, f, true);
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
	f->nat.client = skb->ifindex;
	if (!service_flow_lives(at, f) || service_reverse(at, f))
		return WR_REASON_NONE;
	return service_to_client(skb, at, f, false);
}

#endif
