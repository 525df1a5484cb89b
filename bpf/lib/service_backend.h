/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Selection of the backend of a flow through a service: the one that it has, if still valid, or another one. */
#ifndef WARREN_LIB_SERVICE_BACKEND_H
#define WARREN_LIB_SERVICE_BACKEND_H

#include "lib/endpoint.h"
#include "lib/service_affinity.h"
#include "lib/service_entries.h"
#include "lib/service_maps.h"

/* --- the service -------------------------------------------------------------------------------------------------- */

OUT_OF_LINE int service_list(struct flow *f)
{
	const struct wr_service *service;

	if (!f)
		return false;
	service = f->nat.client ? service_find_here(&f->nat.service, f->nat.service_port, f->l4_proto, f->v6) :
				  service_find(&f->nat.service, f->nat.service_port, f->l4_proto, true, f->v6);
	if (!service)
		return false;
	f->nat.list = service->list;
	f->nat.count = service->backends;
	f->nat.affinity = service->affinity_seconds;
	f->nat.local = service->flags & WR_SERVICE_LOCAL;
	return true;
}

/* Sets the backend with this id; false if it does not exist (any more). */
static __always_inline bool service_backend_get(struct addresses *at, struct flow *f, __u32 id)
{
	f->nat.backend_id = id;
	return backend_get(id, f->v6, &at->daddr, &f->dport);
}

/* Sets the list's backend with this index; false if it does not exist (any more). */
OUT_OF_LINE int service_backend_at(struct addresses *at, struct flow *f, __u32 index)
{
	__u32 id;

	if (!at || !f)
		return false;
	id = list_backend(f->nat.list, index);
	return id && service_backend_get(at, f, id);
}

/* Whether the flow's backend is in the list. */
OUT_OF_LINE int service_has_backend(const struct flow *f)
{
	return f && list_has_backend(f->nat.list, f->nat.backend_id);
}

/* --- the flow's backend ------------------------------------------------------------------------------------------- */

/*
 * Sets the flow's backend, if it has one, from the entry that flow_lookup() has found. An entry of another endpoint,
 * which had the client's address before, is ignored: it is removed with its owner.
 */
OUT_OF_LINE int service_lookup(struct addresses *at, struct flow *f, __u32 client)
{
	const struct wr_ct_service *entry;

	if (!at || !f)
		return 0;
	f->nat.client = client;
	f->nat.service = at->daddr;
	f->nat.service_port = f->dport;
	entry = (const void *)&f->ct;
	if (!f->found || !(entry->flags & WR_CT_SERVICE) || entry->initiator != client)
		return 0;
	at->daddr.a6 = entry->addr;
	f->dport = entry->port;
	f->nat.list = entry->list;
	f->nat.backend_id = entry->backend;
	f->nat.hairpin = entry->flags & WR_CT_HAIRPIN;
	f->nat.found = true;
	f->nat.usable = (__s32)(entry->expires - ct_now()) >= 0;
	return 0;
}

/*
 * Whether another flow uses the ports between client and backend: the replies of both would look the same. A flow of
 * the client through the same service is this flow, some of whose entries were evicted. A closed flow may have lost its
 * reverse-NAT entry. A flow denied from the start has no replies; one denied later has replies as soon as it is allowed
 * again.
 */
OUT_OF_LINE int service_clashes(const struct addresses *at, const struct flow *f)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();
	__u32 swapped;
	bool closed;

	if (!at || !f || !q)
		return true;
	service_query(q, f);
	ct_ends(&q->ends, f->nat.client, IN_FAMILY(f->v6, endpoint_with, &at->daddr));
	swapped = service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (!ct_lookup() || ct_expired(&q->ct, ct_now()) || ct_is_denied_from_start(q->ct.flags))
		return false;
	if (!(q->ct.flags & WR_CT_TRANSLATED))
		return true;
	closed = ct_is_closed(f->l4_proto, q->ct.flags);
	if (!closed && (swapped ^ (q->ct.flags & WR_CT_SWAPPED)))
		return true; /* the backend initiated it */
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, f->v6);
	if (!ct_lookup())
		return !f->nat.found && !closed;
	reverse = (const void *)&q->ct;
	return reverse->port != f->nat.service_port || !service_addr_equal(&reverse->addr, &f->nat.service, f->v6);
}

/*
 * The same for the replies of a hairpin: at->daddr is the service. With equal ports at both ends the direction would be
 * ambiguous.
 */
OUT_OF_LINE int service_hairpin_clashes(const struct addresses *at, const struct flow *f)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();

	if (!at || !f || !q || f->sport == f->dport)
		return true;
	service_query(q, f);
	service_entry_key(&q->key, ENTRY_HAIRPIN, at, f);
	if (!ct_lookup() || ct_expired(&q->ct, ct_now()))
		return false;
	entry = (const void *)&q->ct;
	return !(entry->flags & WR_CT_SERVICE) || entry->port != f->sport ||
	       !service_addr_equal(&entry->addr, &at->saddr, f->v6);
}

/* Whether the flow can use the backend. */
static __always_inline enum wr_reason service_backend_check(struct addresses *at, struct flow *f)
{
	bool clashes;
	const bool hairpin = IN_FAMILY(f->v6, addr_equal, &at->daddr, &at->saddr);
	const bool martian = IN_FAMILY(f->v6, addr_is_martian, &at->daddr);

	f->nat.hairpin = hairpin;
	if (martian)
		return WR_REASON_BAD_DESTINATION;
	if (f->l4_proto == IPPROTO_SCTP && f->nat.service_port != f->dport)
		return WR_REASON_SERVICE_SCTP;
	clashes = service_clashes(at, f);
	if (hairpin && !clashes) {
		f->nat.backend = at->daddr;
		at->daddr = f->nat.service;
		clashes = service_hairpin_clashes(at, f);
		at->daddr = f->nat.backend;
	}
	return clashes ? WR_REASON_SERVICE_CLASH : WR_REASON_NONE;
}

/* The key of the flow's service, in scratch memory, and the client's slot; NULL: the client is no endpoint any more. */
static __always_inline struct wr_affinity *affinity_key(const struct flow *f, __u32 *slot)
{
	struct wr_affinity *key = affinity_memory_get();

	if (!key || !endpoint_find(f->nat.client, slot))
		return NULL;
	affinity_key_set(key, f->nat.client, &f->nat.service, f->nat.service_port, f->l4_proto, f->v6);
	return key;
}

/* The same for a client outside the cluster, at->saddr; false: there is no memory for it. */
OUT_OF_LINE int service_client_key(const struct addresses *at, const struct flow *f)
{
	union client_key *key = client_key_get();

	if (!at || !f || !key)
		return false;
	client_key_set(key, &at->saddr, &f->nat.service, f->nat.service_port, f->l4_proto, f->v6);
	return true;
}

/* The client's next flow through the service gets the same backend. */
OUT_OF_LINE int service_remember(const struct addresses *at, const struct flow *f)
{
	struct wr_affinity *key;
	__u32 slot;

	if (!f)
		return 0;
	if (!f->nat.client)
		return service_client_key(at, f) ? client_affinity_record(f->nat.backend_id, f->v6) : 0;
	key = affinity_key(f, &slot);
	return key ? affinity_record(key, slot, f->nat.backend_id) : 0;
}

/* The id of the backend that the client was given last; 0: none. */
OUT_OF_LINE __u32 service_remembered(const struct addresses *at, const struct flow *f)
{
	struct wr_affinity *key;
	__u32 slot;

	if (!f)
		return 0;
	if (!f->nat.client)
		return service_client_key(at, f) ? client_affinity_lookup(f->nat.affinity, f->v6) : 0;
	key = affinity_key(f, &slot);
	return key ? affinity_lookup(key, slot, f->nat.affinity) : 0;
}

/* Sets the backend that the client was given last, if that is still in the list. */
OUT_OF_LINE int service_affine(struct addresses *at, struct flow *f)
{
	__u32 id;

	if (!at || !f || !f->nat.count)
		return false;
	id = service_remembered(at, f);
	f->nat.found = f->nat.found && f->nat.backend_id == id;
	f->nat.backend_id = id;
	return service_has_backend(f) && service_backend_get(at, f, id);
}

/*
 * Selects the flow's backend. A flow that is continued keeps its present one, if that is still in the list. A new flow
 * through a service with affinity gets the client's. Otherwise a random one is selected.
 */
static __always_inline enum wr_reason service_choose(struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NO_BACKEND;

	f->nat.chosen = true;
	if (f->nat.affinity && (!f->nat.usable || (f->flags & (BEGINS | ASSOCIATES)))) {
		f->nat.remembers = true;
		if (service_affine(at, f) && !service_backend_check(at, f))
			return WR_REASON_NONE;
		f->nat.found = false;
	}
	if (f->nat.found && f->nat.count && service_has_backend(f) && !service_backend_check(at, f))
		return WR_REASON_NONE;
	f->nat.found = false;
#pragma clang loop unroll(disable)
	for (int n = 0; n < SERVICE_TRIES && f->nat.count; n++) {
		if (service_backend_at(at, f, list_random(f->nat.count))) {
			reason = service_backend_check(at, f);
			if (!reason)
				return WR_REASON_NONE;
		} else if (!service_list(f)) {
			/* The list has been replaced, or the service is gone. */
			return WR_REASON_NO_BACKEND;
		}
	}
	return f->nat.count ? reason : WR_REASON_NO_BACKEND;
}

#endif
