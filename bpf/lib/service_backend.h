/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Selection of the backend of a flow through a service: the one that it has, if still valid, or another one. */
#ifndef WARREN_LIB_SERVICE_BACKEND_H
#define WARREN_LIB_SERVICE_BACKEND_H

#include "lib/endpoint.h"
#include "lib/flow_decide.h"
#include "lib/host_port.h"
#include "lib/service_affinity.h"
#include "lib/service_entries.h"
#include "lib/service_maps.h"
#include "lib/service_table.h"
#include "lib/tcp_segment.h"
#include "lib/tunnel_port.h"

/* --- the service -------------------------------------------------------------------------------------------------- */

/* A pod's hostPort, as a service. */
static __always_inline bool service_host_port(struct flow *f)
{
	const struct wr_host_port *found = host_port_find(&f->nat.service, f->nat.service_port, f->l4_proto, f->v6);

	if (!found)
		return false;
	f->nat.list = host_port_number(found);
	f->nat.count = 1;
	f->nat.table = 0;
	f->nat.affinity = 0;
	f->nat.ranges = 0;
	f->nat.local = false;
	f->nat.moves = false;
	return true;
}

OUT_OF_LINE int service_list(struct flow *f)
{
	const struct wr_service *service;

	if (!f)
		return false;
	service = f->nat.client ? service_find_here(&f->nat.service, f->nat.service_port, f->l4_proto, f->v6) :
				  service_find(&f->nat.service, f->nat.service_port, f->l4_proto, true, f->v6);
	if (!service)
		return service_host_port(f);
	if (service->flags & WR_SERVICE_RELEASED)
		return false;
	f->nat.list = service->list;
	f->nat.count = service->backends;
	f->nat.table = service->table;
	f->nat.table_size = service->table_size;
	f->nat.affinity = service->affinity_seconds;
	f->nat.ranges = service->ranges;
	f->nat.local = service->flags & WR_SERVICE_LOCAL;
	f->nat.moves = service->flags & WR_SERVICE_MOVES;
	return true;
}

/* Whether the client may begin flows through the service. A set that is gone was replaced: the service has another one. */
OUT_OF_LINE int service_admits(const struct addresses *at, struct flow *f)
{
	__u32 set;

	if (!at || !f)
		return false;
#pragma clang loop unroll(disable)
	for (int n = 0; n < SERVICE_TRIES; n++) {
		set = f->nat.ranges;
		if (!set || range_set_has(set, &at->saddr, f->v6))
			return true;
		if (!service_list(f) || f->nat.ranges == set)
			return false;
	}
	return false;
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
	f->nat.backend_id = id;
	if (id & WR_LIST_HOST_PORT)
		return host_port_backend(id, &f->nat.service, f->nat.service_port, f->l4_proto, f->v6, &at->daddr, &f->dport);
	return id && service_backend_get(at, f, id);
}

/* Sets the backend that the service's table has for the flow; false if the table or the backend does not exist (any more). */
OUT_OF_LINE int service_backend_by_table(struct addresses *at, struct flow *f)
{
	__u32 id;

	if (!at || !f)
		return false;
	id = table_backend(at, f);
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
	f->nat.client_port = f->sport;
	entry = (const void *)&f->ct;
	if (!f->found || !(entry->flags & WR_CT_SERVICE) || entry->initiator != client)
		return 0;
	at->daddr.a6 = entry->addr;
	f->dport = entry->port;
	f->sport = service_client_port(entry, f->sport);
	f->nat.list = entry->list;
	f->nat.backend_id = entry->backend;
	f->nat.hairpin = entry->flags & WR_CT_HAIRPIN;
	f->nat.moves = entry->flags & WR_CT_MOVES;
	f->nat.found = true;
	f->nat.usable = (__s32)(entry->expires - ct_now()) >= 0;
	return 0;
}

/*
 * Whether the entry is this flow, of a client outside, which another node has sent here so far. It has selected the same
 * backend.
 */
static __always_inline bool service_flow_came_by_node(const struct flow *f, const struct wr_ct *ct, __u32 swapped)
{
	return !f->nat.client && f->nat.moves && !service_is_remapped(f) && swapped == (ct->flags & WR_CT_SWAPPED) &&
	       end_is_remote(ct->initiator) && ct->at[WR_INGRESS].peer == WR_ID_WORLD && !(ct->flags & WR_CT_DENIED) &&
	       !((f->flags & BEGINS) && tcp_is_open(f->l4_proto, ct->flags));
}

/* Whether the packet begins a connection between the ends of a closed one: the client uses its port again. */
static __always_inline bool ports_are_free(const struct flow *f, __u32 flags)
{
	return (f->flags & BEGINS) && wr_ct_is_closed(f->l4_proto, flags);
}

/*
 * Whether another flow uses the ports between client and backend: the replies of both would look the same. A flow of
 * the client through the same service is this flow, some of whose entries were evicted. A closed connection's ports
 * are free for the next one (ports_are_free()), and it may have lost its reverse-NAT entry. A flow denied from the start
 * has no replies; one denied later has replies as soon as it is allowed again.
 */
OUT_OF_LINE int service_clashes(const struct addresses *at, const struct flow *f)
{
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
	if (ports_are_free(f, q->ct.flags))
		return false;
	closed = wr_ct_is_closed(f->l4_proto, q->ct.flags);
	if (!(q->ct.flags & WR_CT_TRANSLATED))
		return !service_flow_came_by_node(f, &q->ct, swapped);
	if (!closed && (swapped ^ (q->ct.flags & WR_CT_SWAPPED)))
		return true; /* the backend initiated it */
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, f->v6);
	if (!ct_lookup())
		return !f->nat.found && !closed;
	return !service_reverse_is_own((const void *)&q->ct, f);
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

/* Whether the flow can use the backend with its source port. */
static __always_inline enum wr_reason service_backend_check(struct addresses *at, struct flow *f)
{
	bool clashes;
	const bool hairpin = IN_FAMILY(f->v6, addr_equal, &at->daddr, &at->saddr);
	const bool martian = IN_FAMILY(f->v6, addr_is_martian, &at->daddr);

	f->nat.hairpin = hairpin;
	if (martian)
		return WR_REASON_BAD_DESTINATION;
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
	if (!f->nat.found)
		f->sport = f->nat.client_port;
	return service_has_backend(f) && service_backend_get(at, f, id);
}

/*
 * Another source port toward the backend. The first tries are above the range from which Linux takes a client's ports
 * by default (ip_local_port_range), so that the client's next flows, which may be with the backend itself, do not find
 * it in use; the others are of all ports that systems take, as one client may have thousands. At random, so that they
 * cannot have been taken on purpose. Never the tunnel's, nor a privileged one. The parity stays (RFC 4787 section 4.2.2).
 */
#define REMAP_TRIES 4
static __always_inline __be16 remap_port_random(__be16 port, __u32 n)
{
	const __u32 first = n < REMAP_TRIES / 2 ? 61000 : 32768;
	const __u32 random = first + list_random(65536 - first);

	return bpf_htons((random & ~1u) | (bpf_ntohs(port) & 1));
}

/*
 * Whether the client's connection with the backend has come by another node so far, perhaps through the same service. A
 * forged SYN must not turn aside its packets, which may come here next.
 */
OUT_OF_LINE int service_connection_may_come(const struct addresses *at, const struct flow *f)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return true;
	if (f->nat.client || !f->nat.moves || f->l4_proto != IPPROTO_TCP)
		return false;
	service_flow_query(q, at, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	return ct_lookup() && !(q->ct.flags & WR_CT_TRANSLATED) && end_is_remote(q->ct.initiator);
}

/* Whether the backend is a process of this host, with which a client outside that begins a flow has a connection. */
OUT_OF_LINE int service_host_is_connected(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	bool here;

	if (!at || !f || f->nat.client)
		return false;
	here = IN_FAMILY(f->v6, is_outer_address, &at->daddr);
	return here && host_flow_check(skb, at, f);
}

OUT_OF_LINE int service_remap_try(struct __sk_buff *skb, struct addresses *at, struct flow *f, __u32 n)
{
	if (!at || !f)
		return WR_REASON_SERVICE_CLASH;
	f->sport = remap_port_random(f->nat.client_port, n);
	if (is_tunnel_port(f->l4_proto, f->sport) || service_host_is_connected(skb, at, f))
		return WR_REASON_SERVICE_CLASH;
	return service_backend_check(at, f);
}

/*
 * Selects the flow's backend. A flow that is continued keeps its present one, if that is still in the list. A new flow
 * through a service with affinity gets the client's. Otherwise the service's table selects one, and where it has none, or
 * the flow cannot use that backend, a random one is selected, or one of those after it in the list. SERVICE_CLASH: the
 * port is in use on all that were tried, at most half of SERVICE_TRIES; service_remap() has the other half.
 */
#define CLASH_TRIES 4
static __always_inline enum wr_reason service_choose(struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NO_BACKEND;
	__u32 table, index;

	f->nat.chosen = true;
	/* A connection keeps its port, even if its entry was missed while it was being replaced. */
	if (!f->nat.usable && (f->l4_proto != IPPROTO_TCP || (f->flags & BEGINS)))
		f->sport = f->nat.client_port;
	if (f->nat.affinity && (!f->nat.usable || (f->flags & (BEGINS | ASSOCIATES)))) {
		f->nat.remembers = true;
		if (service_affine(at, f)) {
			reason = service_backend_check(at, f);
			if (!reason || (reason == WR_REASON_SERVICE_CLASH && f->l4_proto != IPPROTO_SCTP))
				return reason;
		}
		f->nat.found = false;
	}
	if (f->nat.found && f->nat.count && service_has_backend(f) && !service_backend_check(at, f))
		return WR_REASON_NONE;
	f->nat.found = false;
	f->sport = f->nat.client_port;
	index = list_random(f->nat.count);
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < SERVICE_TRIES && f->nat.count; n++) {
		if (f->nat.table ? service_backend_by_table(at, f) :
				   service_backend_at(at, f, index)) {
			reason = service_backend_check(at, f);
			if (!reason || (reason == WR_REASON_SERVICE_CLASH && (n >= CLASH_TRIES - 1 || n >= f->nat.count)))
				return reason;
			f->nat.table = 0;
		} else {
			table = f->nat.table;
			/* The list and the table have been replaced, or the service is gone. */
			if (!service_list(f))
				return WR_REASON_NO_BACKEND;
			f->nat.table = f->nat.table == table ? 0 : f->nat.table;
		}
		index = index + 1 < f->nat.count ? index + 1 : 0;
	}
	return f->nat.count ? reason : WR_REASON_NO_BACKEND;
}

#endif
