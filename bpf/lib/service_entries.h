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
					       const struct flow *f)
{
	const __be16 sport = which == ENTRY_HAIRPIN ? f->dport : f->sport;
	const __be16 dport = which == ENTRY_REVERSE_NAT ? f->dport :
			     which == ENTRY_HAIRPIN     ? f->sport :
							  f->nat.service_port;

	return service_key(key, which == ENTRY_REVERSE_NAT ? WR_CT_REVERSE_NAT : WR_CT_FLOW, at, sport, dport, f);
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
	    (entry->port != f->dport || !service_addr_equal(&entry->addr, &f->nat.backend, f->v6)))
		return 0;
	q->ct.flags |= CT_FIN_BOTH;
	q->ct.expires = ct_now() + WR_CT_LIFE_TCP_NEW;
	if (q->where == CT_IN_TABLE) {
		q->begun = true;
		ct_write();
		IN_FAMILY(f->v6, ct_table_remove, &q->key, f->nat.client);
	} else {
		IN_FAMILY(f->v6, ct_rewrite, &q->key, &q->ct, q->where);
	}
	return 0;
}

/* Demotes the service's entries of a flow that has just closed. */
OUT_OF_LINE int service_demote_all(struct addresses *at, struct flow *f)
{
	if (!at || !f || !f->nat.closed || dry_run)
		return 0;
	if (f->nat.reply)
		service_swap(at, f);
	f->nat.backend = at->daddr;
	service_demote(at, f, ENTRY_REVERSE_NAT);
	at->daddr = f->nat.service;
	service_demote(at, f, ENTRY_SERVICE);
	if (IN_FAMILY(f->v6, addr_equal, &at->saddr, &f->nat.backend))
		service_demote(at, f, ENTRY_HAIRPIN);
	at->daddr = f->nat.backend;
	if (f->nat.reply)
		service_swap(at, f);
	return 0;
}

#endif
