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
	struct wr_ct_service entry;
	union ct_key key;

	if (!at || !t)
		return WR_REASON_CT_FULL;
	__builtin_memset(&entry, 0, sizeof(entry));
	entry.flags = WR_CT_SERVICE;
	entry.expires = ct_now() + (t->l4_proto == IPPROTO_TCP ? WR_CT_LIFE_TCP_NEW : WR_CT_LIFE_OTHER_NEW);
	entry.initiator = client;
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
		entry.backend = t->backend_id;
		entry.flags |= t->hairpin ? WR_CT_HAIRPIN : 0;
	}
	entry.flags |= service_entry_key(&key, which, at, t) * WR_CT_SWAPPED;
	return ct_write(&key, (void *)&entry, false, BPF_ANY, t->v6) ? WR_REASON_CT_FULL : WR_REASON_NONE;
}

/* What stands in ct in its place. */
OUT_OF_LINE int service_forget(const struct addresses *at, const struct translation *t, __u32 which)
{
	union ct_key key;

	if (!at || !t)
		return 0;
	service_entry_key(&key, which, at, t);
	ct_forget(&key, t->v6);
	return 0;
}

/* Into ct_new. */
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
 * From the choice of a backend until after the verdict, in which the packet's flow has the caller's memory. Of this
 * processor: nothing else runs the program there meanwhile.
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

/* Whether the packet is for a service, and then for which backend; t->chosen: which is to be written. */
static __always_inline bool service_resolve(struct __sk_buff *skb, struct addresses *at, struct translation *t,
					    enum wr_reason *reason)
{
	bool begins = t->traits & (BEGINS | ASSOCIATES);
	__u32 was;

	service_look(at, t, skb->ifindex);
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
	struct translation *choice;

	if (!at || !t)
		return WR_REASON_RUNT;
	if (service_resolve(skb, at, t, &reason) && !reason) {
		t->traits |= TRANSLATED;
		service_trace(t, WR_TRACE_SERVICE | (t->chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, t->dport);
		choice = service_choice_get();
		if (!choice)
			return WR_REASON_CT_FULL;
		*choice = *t;
		return WR_REASON_NONE;
	}
	at->daddr = t->service;
	t->dport = t->service_port;
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
	union ct_key key;

	if (!at || !t)
		return 0;
	service_key(&key, WR_CT_FLOW, at, t->sport, t->dport, t);
	ct_delete(&key, false, t->v6);
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

/* Moves an entry from ct_new to ct, as its flow's has been; false: it has to stay. */
OUT_OF_LINE int service_keep(const struct addresses *at, const struct translation *t, __u32 which)
{
	const struct wr_ct *found;
	union ct_key key;
	struct wr_ct entry;

	if (!at || !t)
		return false;
	service_entry_key(&key, which, at, t);
	found = t->v6 ? bpf_map_lookup_elem(&ct_new6, &key.k6) : bpf_map_lookup_elem(&ct_new4, &key.k4);
	if (!found || !(found->flags & WR_CT_SERVICE))
		return true;
	entry = *found;
	if (!ct_establish(&key, &entry, true, t->v6))
		return false;
	ct_delete(&key, false, t->v6);
	return true;
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
	t->kept = established;
	if (established || dry_run)
		return WR_REASON_NONE;
	ct_key_be(&key, WR_CT_FLOW, t->v6);
	t->lives = ct_established(&key, t->v6);
	return WR_REASON_NONE;
}

/*
 * The entries of a flow that has been answered go where the flow has gone. The one between client and service has the
 * client's ends, and so has what a pod answers itself. The origin goes last: as long as it is in ct_new, each answer
 * tries again.
 */
static __always_inline void service_answered(struct addresses *at, struct translation *t)
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

/* The client's segment has established its flow, as service_answer() does with what an answer establishes. */
OUT_OF_LINE int service_promote(struct addresses *at, struct translation *t)
{
	if (!at || !t || dry_run || !t->lives)
		return 0;
	t->lives = false;
	if (service_origin(at, t) || !t->lives)
		return 0;
	service_turn(at, t);
	service_answered(at, t);
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

	if (!at || !f)
		return WR_REASON_NONE;
	t->cached = service_is_cached(f);
	t->settled = f->established;
	t->lives = false;
	t->over = false;
	t->count = 0;
	reason = service_origin(at, t);
	if (reason) {
		t->cached = false;
		return reason;
	}
	service_trace(t, WR_TRACE_ORIGIN, &t->service, t->service_port);
	if (t->lives)
		service_answered(at, t);
	t->answers = true;
	t->over = t->settled && ct_is_over(t->l4_proto, f->ct.flags);
	t->cached = t->cached && t->kept && !t->over && (t->settled || t->lives);
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
