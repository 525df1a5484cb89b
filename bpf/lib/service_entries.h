/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The conntrack entries of a flow through a service, besides the flow's own (struct wr_ct_service): they are written
 * before the first packet leaves, and follow the flow's entry to ct and back.
 */
#ifndef WARREN_LIB_SERVICE_ENTRIES_H
#define WARREN_LIB_SERVICE_ENTRIES_H

#include "lib/ct_entry.h"
#include "lib/flow.h"

/* --- keys --------------------------------------------------------------------------------------------------------- */

/* The entries of one flow through a service; at->daddr in their keys. */
enum service_entry {
	ENTRY_REVERSE_NAT,  /* between client and backend */
	ENTRY_SERVICE, /* between client and service */
	ENTRY_HAIRPIN, /* between a pod that is client and backend, and the service: its replies */
};

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

/* The other port of a flow's client that an entry has, or `port`: the client has one port on both sides. */
static __always_inline __be16 service_client_port(const struct wr_ct_service *entry, __be16 port)
{
	return entry->client_port ? entry->client_port : port;
}

/* Whether the flow has another source port toward the backend than its client's. `f`: as the client sends. */
static __always_inline bool service_is_remapped(const struct flow *f)
{
	return f->nat.client_port != f->sport;
}

static __always_inline __u32 service_entry_key(union ct_key *key, enum service_entry which, const struct addresses *at,
					       const struct flow *f)
{
	const __be16 sport = which == ENTRY_HAIRPIN ? f->dport :
			     which == ENTRY_SERVICE ? f->nat.client_port :
						      f->sport;
	const __be16 dport = which == ENTRY_REVERSE_NAT ? f->dport :
			     which == ENTRY_HAIRPIN     ? f->sport :
							  f->nat.service_port;

	return service_key(key, which == ENTRY_REVERSE_NAT ? WR_CT_REVERSE_NAT : WR_CT_FLOW, at, sport, dport, f);
}

/* Sets the ends for an entry in the client's window. */
static __always_inline void service_query(struct ct_query *q, const struct flow *f)
{
	ct_ends(&q->ends, f->nat.client, 0);
	q->v6 = f->v6;
}

/*
 * Sets the ends for the entry of the flow between client and backend: in the client's window or, if that is no endpoint,
 * in the backend's. `at`: as the client sends.
 */
static __always_inline void service_flow_query(struct ct_query *q, const struct addresses *at, const struct flow *f)
{
	ct_ends(&q->ends, f->nat.client, f->nat.client ? 0 : IN_FAMILY(f->v6, endpoint_with, &at->daddr));
	q->v6 = f->v6;
}

/* Swaps the direction. */
static __always_inline void service_swap(struct addresses *at, struct flow *f)
{
	const union addr source = at->saddr;
	const __be16 port = f->sport;

	at->saddr = at->daddr;
	at->daddr = source;
	f->sport = f->dport;
	f->dport = port;
}

/* --- lookup ------------------------------------------------------------------------------------------------------- */

/* Whether the reverse-NAT entry is of the client's flow through this service. `f`: as the client sends. */
static __always_inline bool service_reverse_is_own(const struct wr_ct_service *reverse, const struct flow *f)
{
	return reverse->port == f->nat.service_port && service_client_port(reverse, f->sport) == f->nat.client_port &&
	       service_addr_equal(&reverse->addr, &f->nat.service, f->v6);
}

/* A flow through any service; through this one; through this one, and not a closed connection. */
enum service_flow { FLOW_OF_ANY, FLOW_OF_THIS, FLOW_OF_THIS_OPEN };

/* Whether the client has a live flow with the backend. `which`: enum service_flow. */
OUT_OF_LINE int service_flow_lives(const struct addresses *at, const struct flow *f, __u32 which)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return false;
	service_flow_query(q, at, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_TRANSLATED) || ct_expired(&q->ct, ct_now()))
		return false;
	if (which == FLOW_OF_THIS_OPEN && wr_ct_is_closed(f->l4_proto, q->ct.flags))
		return false;
	service_query(q, f);
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, f->v6);
	return which == FLOW_OF_ANY || (ct_lookup() && service_reverse_is_own((const void *)&q->ct, f));
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
	f->nat.client_port = service_client_port(reverse, f->forward ? f->sport : f->dport);
	f->nat.promoted = q->where == CT_IN_TABLE;
	f->nat.flow_promoted = f->nat.promoted;
	if (f->nat.promoted)
		return WR_REASON_NONE;
	ct_key_set_kind(&q->key, WR_CT_FLOW, f->v6);
	f->nat.flow_promoted = IN_FAMILY(f->v6, ct_table_find, &q->key);
	return WR_REASON_NONE;
}

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
		entry->client_port = service_is_remapped(f) ? f->nat.client_port : 0;
	} else if (which == ENTRY_HAIRPIN) {
		entry->addr = at->saddr.a6;
		entry->port = f->sport;
	} else {
		entry->addr = f->nat.backend.a6;
		entry->port = f->dport;
		entry->client_port = service_is_remapped(f) ? f->sport : 0;
		entry->list = f->nat.list;
		entry->backend = f->nat.backend_id;
		entry->flags |= (f->nat.hairpin ? WR_CT_HAIRPIN : 0) | (f->nat.moves ? WR_CT_MOVES : 0);
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
	service_flow_query(q, at, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (ct_lookup())
		IN_FAMILY(f->v6, ct_delete, &q->key, f->nat.client, q->where);
	return 0;
}

/* --- promotion and demotion --------------------------------------------------------------------------------------- */

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
 * The same for all entries of a flow that is established, or has moved to ct. `at`: as the client sends. The
 * reverse-NAT entry is last: while it is in a window, each reply that looks it up tries again.
 */
static __always_inline void service_promote_all(struct addresses *at, struct flow *f)
{
	bool promoted;

	f->nat.backend = at->daddr;
	at->daddr = f->nat.service;
	promoted = service_refresh(at, f, ENTRY_SERVICE);
	if (promoted && IN_FAMILY(f->v6, addr_equal, &at->saddr, &f->nat.backend))
		promoted = service_refresh(at, f, ENTRY_HAIRPIN);
	at->daddr = f->nat.backend;
	f->nat.promoted = promoted && service_refresh(at, f, ENTRY_REVERSE_NAT);
}

/*
 * Demotes an entry to the client's window, marked as closed, so that newer flows evict it first. Between client and
 * service there may be another backend's entry by now, which stays.
 */
OUT_OF_LINE int service_demote(const struct addresses *at, const struct flow *f, __u32 which)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return 0;
	service_query(q, f);
	service_entry_key(&q->key, which, at, f);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_SERVICE))
		return 0;
	entry = (const void *)&q->ct;
	if (which == ENTRY_SERVICE &&
	    (entry->port != f->dport || service_client_port(entry, f->nat.client_port) != f->sport ||
	     !service_addr_equal(&entry->addr, &f->nat.backend, f->v6)))
		return 0;
	q->ct.flags |= WR_CT_FIN_BOTH;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP_NEW;
	q->begun = true;
	if (q->where == CT_IN_TABLE && !ct_write()) {
		IN_FAMILY(f->v6, ct_table_remove, &q->key, f->nat.client);
	} else {
		IN_FAMILY(f->v6, ct_rewrite, &q->key, &q->ct, q->where);
	}
	return 0;
}

/* The same for all entries of a flow that has just closed. `at`: as the client sends. */
static __always_inline void service_demote_all(struct addresses *at, struct flow *f)
{
	f->nat.backend = at->daddr;
	service_demote(at, f, ENTRY_REVERSE_NAT);
	at->daddr = f->nat.service;
	service_demote(at, f, ENTRY_SERVICE);
	if (IN_FAMILY(f->v6, addr_equal, &at->saddr, &f->nat.backend))
		service_demote(at, f, ENTRY_HAIRPIN);
	at->daddr = f->nat.backend;
}

#endif
