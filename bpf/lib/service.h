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

OUT_OF_LINE int service_entry_write(const struct addresses *at, const struct nat_context *t, __u32 which, __u32 client)
{
	struct ct_query *q = ct_query();
	struct wr_ct_service *entry;

	if (!at || !t || !q)
		return WR_REASON_CT_FULL;
	service_query(q, t);
	q->begun = true;
	entry = (void *)&q->ct;
	__builtin_memset(entry, 0, sizeof(*entry));
	entry->flags = WR_CT_SERVICE;
	entry->expires = ct_now() + (t->l4_proto == IPPROTO_TCP ? WR_CT_LIFE_TCP_NEW : WR_CT_LIFE_OTHER_NEW);
	entry->initiator = client;
	if (which == ENTRY_REVERSE_NAT) {
		entry->addr = t->service.a6;
		entry->port = t->service_port;
	} else if (which == ENTRY_HAIRPIN) {
		entry->addr = at->saddr.a6;
		entry->port = t->sport;
	} else {
		entry->addr = t->backend.a6;
		entry->port = t->dport;
		entry->list = t->list;
		entry->backend = t->backend_id;
		entry->flags |= t->hairpin ? WR_CT_HAIRPIN : 0;
	}
	entry->flags |= service_entry_key(&q->key, which, at, t) * WR_CT_SWAPPED;
	return ct_write() ? WR_REASON_CT_FULL : WR_REASON_NONE;
}

/* Deletes an entry with the same key from ct. */
OUT_OF_LINE int service_table_delete(const struct addresses *at, const struct nat_context *t, __u32 which)
{
	union ct_key key;

	if (!at || !t)
		return 0;
	service_entry_key(&key, which, at, t);
	IN_FAMILY(t->v6, ct_table_delete, &key);
	return 0;
}

/* Writes an entry to the client's window, replacing one in ct. */
static __always_inline enum wr_reason service_replace(const struct addresses *at, const struct nat_context *t,
						      enum service_entry which, __u32 client)
{
	enum wr_reason reason = service_entry_write(at, t, which, client);

	if (!reason)
		service_table_delete(at, t, which);
	return reason;
}

static __always_inline void service_trace(const struct nat_context *t, __u32 steps, const union addr *addr, __be16 port)
{
	struct wr_trace *trace = trace_get();

	if (!trace)
		return;
	trace->steps |= steps;
	trace->backend = addr->a6;
	trace->backend_port = port;
	trace->backends = t->count;
}

/* The NAT context of a pod's packet to a service, from the selection of a backend until after the verdict. */
SCRATCH(service_choice, struct nat_context, service_choice_get)

/* --- requests ----------------------------------------------------------------------------------------------------- */

/* Whether the packet is for a service (t->resolved), and its backend; t->chosen: the entries must be written. */
static __always_inline enum wr_reason service_resolve(struct __sk_buff *skb, struct addresses *at,
						      struct nat_context *t)
{
	const bool begins = t->flags & (BEGINS | ASSOCIATES);
	enum wr_reason reason;
	__u32 was;

	service_lookup(at, t, skb->ifindex);
	was = t->list;
	if (t->found && !t->usable)
		t->usable = service_flow_lives(at, t);
	/*
	 * Keep the backend for packets that only follow, for replies of a pod to itself, and for connections, even if
	 * the service no longer has the backend.
	 */
	t->resolved = t->usable;
	if (t->usable && ((t->flags & FOLLOWS) || !was || (t->l4_proto != IPPROTO_UDP && !begins)))
		return WR_REASON_NONE;
	if ((t->flags & FOLLOWS) || !service_list(t))
		return WR_REASON_NONE;
	if (!begins && t->usable && t->list == was)
		return WR_REASON_NONE;
	reason = service_choose(at, t);
	t->resolved = !reason;
	/* The creator of a service does not control its backends' addresses: none may send to the tunnel's port. */
	if (!reason && is_tunnel_port(t->l4_proto, t->dport) && tunnel_port_check(skb, at, t->v6)) {
		t->resolved = false;
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
	struct nat_context *t = service_choice_get();
	enum wr_reason reason;

	if (!at || !f || !t)
		return WR_REASON_NO_CONFIG;
	__builtin_memset(t, 0, sizeof(*t));
	t->sport = f->sport;
	t->dport = f->dport;
	t->l4_proto = f->l4_proto;
	t->v6 = f->v6;
	t->flags = f->flags;
	reason = service_resolve(skb, at, t);
	if (t->resolved) {
		f->dport = t->dport;
		f->flags = t->flags |= TRANSLATED;
		service_trace(t, WR_TRACE_SERVICE | (t->chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, t->dport);
		return WR_REASON_NONE;
	}
	at->daddr = t->service;
	return reason;
}

/* The reverse-NAT entry comes first: it must exist when replies arrive. */
static __always_inline enum wr_reason service_entries_write(struct addresses *at, struct nat_context *t, __u32 client)
{
	enum wr_reason reason;

	reason = service_replace(at, t, ENTRY_REVERSE_NAT, client);
	t->backend = at->daddr;
	at->daddr = t->service;
	if (!reason && t->hairpin)
		reason = service_replace(at, t, ENTRY_HAIRPIN, client);
	if (!reason)
		reason = service_replace(at, t, ENTRY_SERVICE, client);
	at->daddr = t->backend;
	return reason;
}

/* Deletes the flow that was just created between client and backend. */
OUT_OF_LINE int service_flow_delete(const struct addresses *at, const struct nat_context *t)
{
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return 0;
	service_query(q, t);
	service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	if (ct_lookup())
		IN_FAMILY(t->v6, ct_delete, &q->key, t->client, q->where);
	return 0;
}

/*
 * Writes the entries and rewrites the packet. This happens after the verdict, so that a denied sender changes nothing.
 * If the entries cannot be written, a flow that was just created is deleted again.
 */
OUT_OF_LINE int service_dnat(struct __sk_buff *skb, struct addresses *at, __u32 begins)
{
	struct nat_context *t = service_choice_get();
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !t)
		return WR_REASON_RUNT;
	if (dry_run)
		return WR_REASON_NONE;
	if (t->chosen) {
		reason = service_entries_write(at, t, skb->ifindex);
		service_verdict_invalidate(t, skb->ifindex);
	}
	if (!reason)
		return service_to_backend(skb, at, t);
	if (begins)
		service_flow_delete(at, t);
	return reason;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

/*
 * Gives an entry in the client's window the same state as its flow: it moves to ct if the flow has (t->flow_promoted),
 * or becomes established in the window. False: there is no room for it in ct.
 */
OUT_OF_LINE int service_refresh(const struct addresses *at, const struct nat_context *t, __u32 which)
{
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return false;
	service_query(q, t);
	service_entry_key(&q->key, which, at, t);
	if (!ct_lookup() || q->where == CT_IN_TABLE || !(q->ct.flags & WR_CT_SERVICE))
		return true;
	if (t->flow_promoted) {
		q->ct.expires = ct_now();
		return IN_FAMILY(t->v6, ct_promote, &q->key, &q->ct, q->where);
	}
	q->ct.flags |= WR_CT_ESTABLISHED | WR_CT_REPLIED;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP;
	IN_FAMILY(t->v6, ct_rewrite, &q->key, &q->ct, q->where);
	return true;
}

/*
 * Looks up the service of the flow between client and backend. t->flow_promoted: the flow is in ct; t->promoted: so is
 * the reverse-NAT entry.
 */
OUT_OF_LINE int service_reverse(const struct addresses *at, struct nat_context *t)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return WR_REASON_SERVICE_UNKNOWN;
	service_query(q, t);
	service_key(&q->key, WR_CT_REVERSE_NAT, at, t->sport, t->dport, t);
	if (!ct_lookup())
		return WR_REASON_SERVICE_UNKNOWN;
	reverse = (const void *)&q->ct;
	t->service.a6 = reverse->addr;
	t->service_port = reverse->port;
	t->promoted = q->where == CT_IN_TABLE;
	t->flow_promoted = t->promoted;
	if (t->promoted)
		return WR_REASON_NONE;
	ct_key_set_kind(&q->key, WR_CT_FLOW, t->v6);
	t->flow_promoted = IN_FAMILY(t->v6, ct_table_find, &q->key);
	return WR_REASON_NONE;
}

/*
 * Promotes a flow's service entries with it. The entries with the service's address have the client's ends, also the
 * one for a hairpin's replies. The reverse-NAT entry is last: while it is in a window, each reply that looks it up
 * tries again.
 */
static __always_inline void service_promote_all(struct addresses *at, struct nat_context *t)
{
	bool promoted;

	t->backend = at->saddr;
	service_swap(at, t);
	at->daddr = t->service;
	promoted = service_refresh(at, t, ENTRY_SERVICE);
	if (promoted && IN_FAMILY(t->v6, addr_equal, &at->saddr, &t->backend))
		promoted = service_refresh(at, t, ENTRY_HAIRPIN);
	at->daddr = t->backend;
	t->promoted = promoted && service_refresh(at, t, ENTRY_REVERSE_NAT);
	service_swap(at, t);
}

/*
 * The same for the client's packet by which the flow is established or has moved to ct; service_reply() does it for
 * replies.
 */
OUT_OF_LINE int service_promote(struct addresses *at, struct nat_context *t)
{
	if (!at || !t || dry_run || !t->promotes || service_reverse(at, t))
		return 0;
	service_swap(at, t);
	service_promote_all(at, t);
	service_swap(at, t);
	return 0;
}

/*
 * The last step of a packet that flow_decide() has passed: if it is a reply of a flow through a service, its source
 * becomes the service. The NAT context overwrites f's memory, but not the entry, which verdict() reports.
 */
OUT_OF_LINE int service_reply(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	struct nat_context *t = (void *)f;
	enum wr_reason reason;
	bool established, begins, closed;

	if (!at || !f)
		return WR_REASON_NONE;
	established = f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags);
	begins = f->reply && established;
	closed = f->changes && ct_is_closed(f->l4_proto, f->ct.flags);
	t->cached = service_is_cached(f);
	t->client = f->ct.initiator;
	t->closed = false;
	t->count = 0;
	reason = service_reverse(at, t);
	if (reason) {
		t->cached = false;
		return reason;
	}
	service_trace(t, WR_TRACE_REVERSE_NAT, &t->service, t->service_port);
	if (!dry_run && (begins || (t->flow_promoted && !t->promoted)))
		service_promote_all(at, t);
	t->reply = true;
	t->closed = closed;
	t->cached = t->cached && (established || (t->flow_promoted && t->promoted));
	return dry_run ? WR_REASON_NONE : service_to_client(skb, at, t, true);
}

/*
 * Undoes destination NAT of a packet that is rejected: the error to the sender must quote the packet as it was sent.
 * The fields are read from the packet, since the caller's stack has no room for them; only packets without
 * fragmentation and extension headers are translated.
 */
OUT_OF_LINE int service_undo_dnat(struct __sk_buff *skb, struct addresses *at, struct nat_context *t, __u32 v6)
{
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__be16 ports[2];
	__u8 l4_proto;

	if (!at || !t || dry_run ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + (v6 ? __builtin_offsetof(struct ipv6hdr, nexthdr) :
						     __builtin_offsetof(struct iphdr, protocol)), &l4_proto, 1) ||
	    !has_ports(l4_proto) || bpf_skb_load_bytes(skb, l4_off, ports, sizeof(ports)))
		return WR_REASON_NONE;
	t->flags = l4_off << L4_OFF_SHIFT;
	t->sport = ports[0];
	t->dport = ports[1];
	t->l4_proto = l4_proto;
	t->v6 = v6;
	t->client = skb->ifindex;
	if (!service_flow_lives(at, t) || service_reverse(at, t))
		return WR_REASON_NONE;
	return service_to_client(skb, at, t, false);
}

#endif
