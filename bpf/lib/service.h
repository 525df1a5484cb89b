/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services: what a pod sends to one goes to a backend, as if the pod had sent it there, and what the backend answers comes
 * from the service (abi/service.h, struct wr_ct_service). service_enter() is asked about what a pod sends and no flow
 * of its own has, service_answer() about what answers a flow that went through a service; each is a few functions out of
 * line, one after the other, as with flows. Most packets come by neither: lib/verdict_nat.h.
 */
#ifndef WARREN_LIB_SERVICE_H
#define WARREN_LIB_SERVICE_H

#include "lib/service_choose.h"
#include "lib/trace.h"
#include "lib/translation.h"
#include "lib/tunnel_port.h"
#include "lib/verdict_nat.h"

/* --- written ------------------------------------------------------------------------------------------------------ */

OUT_OF_LINE int service_remember(const struct addresses *at, const struct translation *t, __u32 which, __u32 client)
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
	if (which == ENTRY_ORIGIN) {
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

/* What stands in ct in its place. */
OUT_OF_LINE int service_forget(const struct addresses *at, const struct translation *t, __u32 which)
{
	union ct_key key;

	if (!at || !t)
		return 0;
	service_entry_key(&key, which, at, t);
	IN_FAMILY(t->v6, ct_table_forget, &key);
	return 0;
}

/* Into the client's window. */
static __always_inline enum wr_reason service_replace(const struct addresses *at, const struct translation *t,
						      enum service_entry which, __u32 client)
{
	enum wr_reason reason = service_remember(at, t, which, client);

	if (!reason)
		service_forget(at, t, which);
	return reason;
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

/*
 * What a pod sends to a service, from the choice of a backend until after the verdict. Of this processor: nothing else runs the
 * program there meanwhile.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct translation);
} service_choice SEC(".maps") __weak;

static __always_inline struct translation *service_choice_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&service_choice, &zero);
}

/* --- what a pod sends --------------------------------------------------------------------------------------------- */

/* Whether the packet is for a service (t->resolved), and then for which backend; t->chosen: which is to be written. */
static __always_inline enum wr_reason service_resolve(struct __sk_buff *skb, struct addresses *at, struct translation *t)
{
	const bool begins = t->traits & (BEGINS | ASSOCIATES);
	enum wr_reason reason;
	__u32 was;

	service_look(at, t, skb->ifindex);
	was = t->list;
	if (t->found && !t->lives)
		t->lives = service_flow_lives(at, t);
	/* What only follows; what a pod answers itself; a connection, whether or not the service has the backend still. */
	t->resolved = t->lives;
	if (t->lives && ((t->traits & FOLLOWS) || !was || (t->l4_proto != IPPROTO_UDP && !begins)))
		return WR_REASON_NONE;
	if ((t->traits & FOLLOWS) || !service_list(t))
		return WR_REASON_NONE;
	if (!begins && t->lives && t->list == was)
		return WR_REASON_NONE;
	reason = service_choose(at, t);
	t->resolved = !reason;
	/* Where a backend is, is not up to who has made the service: the tunnel's port is nobody's. */
	if (!reason && is_tunnel_port(t->l4_proto, t->dport) && tunnel_port_check(skb, at, t->v6)) {
		t->resolved = false;
		return WR_REASON_TUNNEL_PORT;
	}
	return reason;
}

/*
 * What a pod sends: if it is for a service, `at` and f are about the backend from then on, and f->traits says so; if not,
 * nothing has changed.
 */
OUT_OF_LINE int service_enter(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	struct translation *t = service_choice_get();
	enum wr_reason reason;

	if (!at || !f || !t)
		return WR_REASON_NO_CONFIG;
	__builtin_memset(t, 0, sizeof(*t));
	t->sport = f->sport;
	t->dport = f->dport;
	t->l4_proto = f->l4_proto;
	t->v6 = f->v6;
	t->traits = f->traits;
	reason = service_resolve(skb, at, t);
	if (t->resolved) {
		f->dport = t->dport;
		f->traits = t->traits |= TRANSLATED;
		service_trace(t, WR_TRACE_SERVICE | (t->chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, t->dport);
		return WR_REASON_NONE;
	}
	at->daddr = t->service;
	return reason;
}

/* The answers' way first: it has to be there when they come. */
static __always_inline enum wr_reason service_write(struct addresses *at, struct translation *t, __u32 client)
{
	enum wr_reason reason;

	reason = service_replace(at, t, ENTRY_ORIGIN, client);
	t->backend = at->daddr;
	at->daddr = t->service;
	if (!reason && t->hairpin)
		reason = service_replace(at, t, ENTRY_HAIRPIN, client);
	if (!reason)
		reason = service_replace(at, t, ENTRY_SERVICE, client);
	at->daddr = t->backend;
	return reason;
}

/* The flow that has just begun between client and backend. */
OUT_OF_LINE int service_undo(const struct addresses *at, const struct translation *t)
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
 * What has been chosen is written, and the packet rewritten: after the verdict, so that a sender that is denied changes
 * nothing. If its entries cannot be written, a flow that has just begun goes again.
 */
OUT_OF_LINE int service_apply(struct __sk_buff *skb, struct addresses *at, __u32 begins)
{
	struct translation *t = service_choice_get();
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !t)
		return WR_REASON_RUNT;
	if (dry_run)
		return WR_REASON_NONE;
	if (t->chosen) {
		reason = service_write(at, t, skb->ifindex);
		service_verdict_forget(t, skb->ifindex);
	}
	if (!reason)
		return service_to_backend(skb, at, t);
	if (begins)
		service_undo(at, t);
	return reason;
}

/* --- what answers ------------------------------------------------------------------------------------------------- */

/*
 * An entry in the client's window is worth what its flow is: it moves to ct as the flow's has (t->settled), or is established
 * in the window. False: there is no room for it in ct.
 */
OUT_OF_LINE int service_keep(const struct addresses *at, const struct translation *t, __u32 which)
{
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return false;
	service_query(q, t);
	service_entry_key(&q->key, which, at, t);
	if (!ct_lookup() || q->where == CT_IN_TABLE || !(q->ct.flags & WR_CT_SERVICE))
		return true;
	if (t->settled) {
		q->ct.expires = ct_now();
		return IN_FAMILY(t->v6, ct_promote, &q->key, &q->ct, q->where);
	}
	q->ct.flags |= WR_CT_ESTABLISHED | WR_CT_ANSWERED;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP;
	IN_FAMILY(t->v6, ct_rewrite, &q->key, &q->ct, q->where);
	return true;
}

/* What the flow between these two was addressed to; t->settled: the flow is in ct; t->kept: so is the entry. */
OUT_OF_LINE int service_origin(const struct addresses *at, struct translation *t)
{
	const struct wr_ct_service *origin;
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return WR_REASON_SERVICE_UNKNOWN;
	service_query(q, t);
	service_key(&q->key, WR_CT_ORIGIN, at, t->sport, t->dport, t);
	if (!ct_lookup())
		return WR_REASON_SERVICE_UNKNOWN;
	origin = (const void *)&q->ct;
	t->service.a6 = origin->addr;
	t->service_port = origin->port;
	t->kept = q->where == CT_IN_TABLE;
	t->settled = t->kept;
	if (t->kept)
		return WR_REASON_NONE;
	ct_key_be(&q->key, WR_CT_FLOW, t->v6);
	t->settled = IN_FAMILY(t->v6, ct_table_find, &q->key);
	return WR_REASON_NONE;
}

/*
 * The entries of a flow go where the flow has gone. The one between client and service has the client's ends, and so has what
 * a pod answers itself. The origin goes last: as long as it is in a window, each answer that looks it up tries again.
 */
static __always_inline void service_follow(struct addresses *at, struct translation *t)
{
	bool kept;

	t->backend = at->saddr;
	service_turn(at, t);
	at->daddr = t->service;
	kept = service_keep(at, t, ENTRY_SERVICE);
	if (kept && IN_FAMILY(t->v6, addr_equal, &at->saddr, &t->backend))
		kept = service_keep(at, t, ENTRY_HAIRPIN);
	at->daddr = t->backend;
	t->kept = kept && service_keep(at, t, ENTRY_ORIGIN);
	service_turn(at, t);
}

/* What the client sends, by which its flow is established or has moved to ct; service_answer() does it with answers. */
OUT_OF_LINE int service_promote(struct addresses *at, struct translation *t)
{
	if (!at || !t || dry_run || !t->lives || service_origin(at, t))
		return 0;
	service_turn(at, t);
	service_follow(at, t);
	service_turn(at, t);
	return 0;
}

/*
 * The last step of a packet that flow_decide() has let pass: if it answers a flow that went through a service, it is the
 * service's. What is in the way is in f's memory then, of which the entry stays: verdict() reports that.
 */
OUT_OF_LINE int service_answer(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	struct translation *t = (void *)f;
	enum wr_reason reason;
	bool established, begins, over;

	if (!at || !f)
		return WR_REASON_NONE;
	established = f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags);
	begins = f->answers && established;
	over = f->changes && ct_is_over(f->l4_proto, f->ct.flags);
	t->cached = service_is_cached(f);
	t->client = f->ct.initiator;
	t->over = false;
	t->count = 0;
	reason = service_origin(at, t);
	if (reason) {
		t->cached = false;
		return reason;
	}
	service_trace(t, WR_TRACE_ORIGIN, &t->service, t->service_port);
	if (!dry_run && (begins || (t->settled && !t->kept)))
		service_follow(at, t);
	t->answers = true;
	t->over = over;
	t->cached = t->cached && (established || (t->settled && t->kept));
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
	t->client = skb->ifindex;
	if (!service_flow_lives(at, t) || service_origin(at, t))
		return WR_REASON_NONE;
	return service_to_client(skb, at, t, false);
}

#endif
