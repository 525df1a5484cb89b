/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The conntrack entries of a flow through a service, besides the flow's own: keys, and their demotion at its end. */
#ifndef WARREN_LIB_SERVICE_ENTRIES_H
#define WARREN_LIB_SERVICE_ENTRIES_H

#include "lib/nat_context.h"

/* The entries of one flow through a service; at->daddr in their keys. */
enum service_entry {
	ENTRY_REVERSE_NAT,  /* between client and backend */
	ENTRY_SERVICE, /* between client and service */
	ENTRY_HAIRPIN, /* between a pod that is client and backend, and the service: its replies */
};

static __always_inline __u32 service_entry_key(union ct_key *key, enum service_entry which, const struct addresses *at,
					       const struct nat_context *t)
{
	const __be16 sport = which == ENTRY_HAIRPIN ? t->dport : t->sport;
	const __be16 dport = which == ENTRY_REVERSE_NAT ? t->dport :
			     which == ENTRY_HAIRPIN     ? t->sport :
							  t->service_port;

	return service_key(key, which == ENTRY_REVERSE_NAT ? WR_CT_REVERSE_NAT : WR_CT_FLOW, at, sport, dport, t);
}

/* Swaps the direction. */
static __always_inline void service_swap(struct addresses *at, struct nat_context *t)
{
	const union addr source = at->saddr;
	const __be16 port = t->sport;

	at->saddr = at->daddr;
	at->daddr = source;
	t->sport = t->dport;
	t->dport = port;
}

/*
 * Demotes an entry to the client's window, marked as closed, so that newer flows evict it first. Between client and
 * service there may be another backend's entry by now, which stays.
 */
OUT_OF_LINE int service_demote(const struct addresses *at, const struct nat_context *t, __u32 which)
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
	if (which == ENTRY_SERVICE &&
	    (entry->port != t->dport || !service_addr_equal(&entry->addr, &t->backend, t->v6)))
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

/* Demotes the service's entries of a flow that has just closed. */
OUT_OF_LINE int service_demote_all(struct addresses *at, struct nat_context *t)
{
	if (!at || !t || !t->closed || dry_run)
		return 0;
	if (t->reply)
		service_swap(at, t);
	t->backend = at->daddr;
	service_demote(at, t, ENTRY_REVERSE_NAT);
	at->daddr = t->service;
	service_demote(at, t, ENTRY_SERVICE);
	if (IN_FAMILY(t->v6, addr_equal, &at->saddr, &t->backend))
		service_demote(at, t, ENTRY_HAIRPIN);
	at->daddr = t->backend;
	if (t->reply)
		service_swap(at, t);
	return 0;
}

#endif
