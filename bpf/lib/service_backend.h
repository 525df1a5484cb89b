/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Selection of the backend of a flow through a service: the one that it has, if still valid, or another one. */
#ifndef WARREN_LIB_SERVICE_BACKEND_H
#define WARREN_LIB_SERVICE_BACKEND_H

#include "abi/service.h"
#include "lib/service_entries.h"

/* Backends to try until one has no conflicting flow with the client. */
#define SERVICE_TRIES 8

/* --- the service -------------------------------------------------------------------------------------------------- */

static __always_inline const struct wr_service *service_find(const struct nat_context *t)
{
	if (t->v6) {
		struct wr_service6_key key = { .addr = t->service.a6,
					       .port = t->service_port,
					       .l4_proto = t->l4_proto };

		return bpf_map_lookup_elem(&services6, &key);
	} else {
		struct wr_service4_key key = { .addr = t->service.a4,
					       .port = t->service_port,
					       .l4_proto = t->l4_proto };

		return bpf_map_lookup_elem(&services4, &key);
	}
}

/* The lookup is repeated: it may have missed an element that was being replaced. */
OUT_OF_LINE int service_list(struct nat_context *t)
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

/* Sets the backend with this id; false if it does not exist (any more). */
static __always_inline bool service_backend_get(struct addresses *at, struct nat_context *t, __u32 id)
{
	t->backend_id = id;
	if (t->v6) {
		const struct wr_backend6 *b = bpf_map_lookup_elem(&backends6, &id);

		if (!b)
			return false;
		at->daddr.a6 = b->addr;
		t->dport = b->port;
	} else {
		const struct wr_backend4 *b = bpf_map_lookup_elem(&backends4, &id);

		if (!b)
			return false;
		at->daddr.a4 = b->addr;
		t->dport = b->port;
	}
	return true;
}

/* Sets the list's backend with this index; false if it does not exist (any more). */
OUT_OF_LINE int service_backend_at(struct addresses *at, struct nat_context *t, __u32 index)
{
	struct wr_list_key key;
	const __u32 *id;

	if (!at || !t)
		return false;
	key.list = t->list;
	key.index = index;
	id = bpf_map_lookup_elem(&service_lists, &key);
	return id && service_backend_get(at, t, *id);
}

/* Whether the flow's backend is in the list: one lookup, whatever the list's length. */
OUT_OF_LINE int service_has_backend(const struct nat_context *t)
{
	struct wr_member_key key;

	if (!t)
		return false;
	key.list = t->list;
	key.backend = t->backend_id;
	return key.backend && bpf_map_lookup_elem(&service_members, &key);
}

/* --- the flow's backend ------------------------------------------------------------------------------------------- */

/* Whether the client's flow with the backend is live. */
OUT_OF_LINE int service_flow_lives(const struct addresses *at, const struct nat_context *t)
{
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return false;
	service_query(q, t);
	service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	return ct_lookup() && (q->ct.flags & WR_CT_TRANSLATED) && !ct_expired(&q->ct, ct_now());
}

/*
 * Sets the flow's backend, if it has one, from the entry that flow_lookup() has found. An entry of another endpoint,
 * which had the client's address before, is ignored: it is removed with its owner.
 */
OUT_OF_LINE int service_lookup(struct addresses *at, struct nat_context *t, __u32 client)
{
	const struct wr_ct_service *entry;
	const struct flow *f = flow_memory_get();

	if (!at || !t || !f)
		return 0;
	t->client = client;
	t->service = at->daddr;
	t->service_port = t->dport;
	entry = (const void *)&f->ct;
	if (!f->found || !(entry->flags & WR_CT_SERVICE) || entry->initiator != client)
		return 0;
	at->daddr.a6 = entry->addr;
	t->dport = entry->port;
	t->list = entry->list;
	t->backend_id = entry->backend;
	t->hairpin = entry->flags & WR_CT_HAIRPIN;
	t->found = true;
	t->usable = (__s32)(entry->expires - ct_now()) >= 0;
	return 0;
}

/*
 * Whether another flow uses the ports between client and backend: the replies of both would look the same. A flow of
 * the client through the same service is this flow, some of whose entries were evicted. A closed flow may have lost its
 * reverse-NAT entry. A flow denied from the start has no replies; one denied later has replies as soon as it is allowed
 * again.
 */
OUT_OF_LINE int service_clashes(const struct addresses *at, const struct nat_context *t)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();
	__u32 swapped;
	bool closed;

	if (!at || !t || !q)
		return true;
	service_query(q, t);
	ct_ends(&q->ends, t->client, IN_FAMILY(t->v6, endpoint_with, &at->daddr));
	swapped = service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	if (!ct_lookup() || ct_expired(&q->ct, ct_now()) || ct_is_denied_from_start(q->ct.flags))
		return false;
	if (!(q->ct.flags & WR_CT_TRANSLATED))
		return true;
	closed = ct_is_closed(t->l4_proto, q->ct.flags);
	if (!closed && (swapped ^ (q->ct.flags & WR_CT_SWAPPED)))
		return true; /* the backend initiated it */
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, t->v6);
	if (!ct_lookup())
		return !t->found && !closed;
	reverse = (const void *)&q->ct;
	return reverse->port != t->service_port || !service_addr_equal(&reverse->addr, &t->service, t->v6);
}

/*
 * The same for the replies of a hairpin: at->daddr is the service. With equal ports at both ends the direction would be
 * ambiguous.
 */
OUT_OF_LINE int service_hairpin_clashes(const struct addresses *at, const struct nat_context *t)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();

	if (!at || !t || !q || t->sport == t->dport)
		return true;
	service_query(q, t);
	service_entry_key(&q->key, ENTRY_HAIRPIN, at, t);
	if (!ct_lookup() || ct_expired(&q->ct, ct_now()))
		return false;
	entry = (const void *)&q->ct;
	return !(entry->flags & WR_CT_SERVICE) || entry->port != t->sport ||
	       !service_addr_equal(&entry->addr, &at->saddr, t->v6);
}

/* Whether the flow can use the backend. */
static __always_inline enum wr_reason service_backend_check(struct addresses *at, struct nat_context *t)
{
	bool clashes;
	const bool hairpin = IN_FAMILY(t->v6, addr_equal, &at->daddr, &at->saddr);
	const bool martian = IN_FAMILY(t->v6, addr_is_martian, &at->daddr);

	t->hairpin = hairpin;
	if (martian)
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

/* Selects the flow's backend: its present one if it is still in the list, else a random one. */
static __always_inline enum wr_reason service_choose(struct addresses *at, struct nat_context *t)
{
	enum wr_reason reason = WR_REASON_NO_BACKEND;

	t->chosen = true;
	if (t->found && t->count && service_has_backend(t) && !service_backend_check(at, t))
		return WR_REASON_NONE;
	t->found = false;
#pragma clang loop unroll(disable)
	for (int n = 0; n < SERVICE_TRIES && t->count; n++) {
		if (service_backend_at(at, t, (__u64)bpf_get_prandom_u32() * t->count >> 32)) {
			reason = service_backend_check(at, t);
			if (!reason)
				return WR_REASON_NONE;
		} else if (!service_list(t)) {
			/* The list has been replaced, or the service is gone. */
			return WR_REASON_NO_BACKEND;
		}
	}
	return t->count ? reason : WR_REASON_NO_BACKEND;
}

#endif
