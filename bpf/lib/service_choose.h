/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which backend a flow through a service has, or gets: whether it lives, whether it still is one, which will do. */
#ifndef WARREN_LIB_SERVICE_CHOOSE_H
#define WARREN_LIB_SERVICE_CHOOSE_H

#include "abi/service.h"
#include "lib/translation.h"

/* How many backends are tried for one between which and the client the ports are free. */
#define SERVICE_TRIES 8

/* --- entries ------------------------------------------------------------------------------------------------------ */

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

/* As if the packet went the other way. */
static __always_inline void service_turn(struct addresses *at, struct translation *t)
{
	const union addr source = at->saddr;
	const __be16 port = t->sport;

	at->saddr = at->daddr;
	at->daddr = source;
	t->sport = t->dport;
	t->dport = port;
}

/*
 * In the client's window, and makes way for newer flows there. Between client and service there may be another backend's
 * by now, which stays.
 */
OUT_OF_LINE int service_retire(const struct addresses *at, const struct translation *t, __u32 which)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return 0;
	service_query(q, t);
	service_entry_key(&q->key, which, at, t);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_SERVICE))
		return 0;
	entry = (const void *)&q->ct;
	if (which == ENTRY_SERVICE && (entry->port != t->dport || !service_addr_equal(&entry->addr, &t->backend, t->v6)))
		return 0;
	q->ct.flags |= CT_FIN_BOTH;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP_NEW;
	if (q->where == CT_IN_TABLE) {
		q->begun = true;
		ct_write();
		IN_FAMILY(t->v6, ct_table_remove, &q->key, t->client);
	} else {
		IN_FAMILY(t->v6, ct_rewrite, &q->key, &q->ct, q->where);
	}
	return 0;
}

/* Its flow has just been retired: so are the service's entries. */
OUT_OF_LINE int service_over(struct addresses *at, struct translation *t)
{
	if (!at || !t || !t->over || dry_run)
		return 0;
	if (t->answers)
		service_turn(at, t);
	t->backend = at->daddr;
	service_retire(at, t, ENTRY_ORIGIN);
	at->daddr = t->service;
	service_retire(at, t, ENTRY_SERVICE);
	if (IN_FAMILY(t->v6, addr_equal, &at->saddr, &t->backend))
		service_retire(at, t, ENTRY_HAIRPIN);
	at->daddr = t->backend;
	if (t->answers)
		service_turn(at, t);
	return 0;
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

/* The backend with this id becomes the flow's; false if there is none (any more). */
static __always_inline bool service_take(struct addresses *at, struct translation *t, __u32 id)
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

/* A backend of the list becomes the flow's; false if it is not there (any more). */
OUT_OF_LINE int service_backend(struct addresses *at, struct translation *t, __u32 index)
{
	struct wr_list_key key;
	const __u32 *id;

	if (!at || !t)
		return false;
	key.list = t->list;
	key.index = index;
	id = bpf_map_lookup_elem(&service_lists, &key);
	return id && service_take(at, t, *id);
}

/* Whether the flow's backend is one of the list: one lookup, however many there are. */
OUT_OF_LINE int service_has(const struct translation *t)
{
	struct wr_member_key key;

	if (!t)
		return false;
	key.list = t->list;
	key.backend = t->backend_id;
	return key.backend && bpf_map_lookup_elem(&service_members, &key);
}

/* --- the flow's backend ------------------------------------------------------------------------------------------- */

/* Whether the flow with the backend, which the service's client has begun, lives. */
OUT_OF_LINE int service_flow_lives(const struct addresses *at, const struct translation *t)
{
	struct ct_query *q = ct_query();

	if (!at || !t || !q)
		return false;
	service_query(q, t);
	service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	return ct_lookup() && (q->ct.flags & WR_CT_TRANSLATED) && !ct_expired(&q->ct, ct_now());
}

/*
 * The backend that the flow has, if it has one: as flow_lookup() has found it. What another endpoint has begun, which had the address before, is no flow of
 * this client's: its entries end with their owner.
 */
OUT_OF_LINE int service_look(struct addresses *at, struct translation *t, __u32 client)
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
	t->lives = (__s32)(entry->expires - ct_now()) >= 0;
	return 0;
}

/*
 * Whether the ports are in use between client and backend by another flow: of both the answers would look the same. What
 * the client has begun through the same service is this flow's own, of which the rest was forgotten; what is over may have
 * lost its origin. A denied flow of which nothing has ever passed has no answers. One that is denied after something has
 * passed has, as soon as it is allowed again.
 */
OUT_OF_LINE int service_clashes(const struct addresses *at, const struct translation *t)
{
	const struct wr_ct_service *origin;
	struct ct_query *q = ct_query();
	__u32 swapped;
	bool over;

	if (!at || !t || !q)
		return true;
	service_query(q, t);
	ct_ends(&q->ends, t->client, IN_FAMILY(t->v6, endpoint_with, &at->daddr));
	swapped = service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	if (!ct_lookup() || ct_expired(&q->ct, ct_now()) || ct_is_denied_from_start(q->ct.flags))
		return false;
	if (!(q->ct.flags & WR_CT_TRANSLATED))
		return true;
	over = ct_is_over(t->l4_proto, q->ct.flags);
	if (!over && (swapped ^ (q->ct.flags & WR_CT_SWAPPED)))
		return true; /* the backend is its client */
	ct_key_be(&q->key, WR_CT_ORIGIN, t->v6);
	if (!ct_lookup())
		return !t->found && !over;
	origin = (const void *)&q->ct;
	return origin->port != t->service_port || !service_addr_equal(&origin->addr, &t->service, t->v6);
}

/*
 * The same of what a pod answers itself: at->daddr is the service. With the same port at both ends nothing would say who
 * of them has sent it.
 */
OUT_OF_LINE int service_hairpin_clashes(const struct addresses *at, const struct translation *t)
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

/* Whether the backend will do. */
static __always_inline enum wr_reason service_suits(struct addresses *at, struct translation *t)
{
	bool clashes;
	const bool hairpin = IN_FAMILY(t->v6, addr_equal, &at->daddr, &at->saddr);
	const bool strange = IN_FAMILY(t->v6, addr_is_strange, &at->daddr);

	t->hairpin = hairpin;
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
	if (t->found && t->count && service_has(t) && !service_suits(at, t))
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

#endif
