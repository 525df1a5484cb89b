/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Conntrack gc: removes expired entries from ct4 and ct6, which evict nothing. It needs no process: the timer is in map
 * `ct_gc` and runs as long as that map is pinned. Lookups ignore expired entries, whether or not the gc has removed
 * them.
 */
#include <asm-generic/errno.h>

#include "lib/ct_entry.h"
#include "lib/endpoint.h"

#define CLOCK_MONOTONIC 1

struct ct_gc_tally {
	__u32 now;
	bool v6;
	__u32 live;
	__u32 removed;
};

/* A service's entry is rechecked against its flow after this time: two gc runs and a margin. */
#define SERVICE_RECHECK WR_CT_SECONDS(2 * WR_CT_GC_SECONDS + 5)

/*
 * Writes the key of the flow, between client and backend, of a service's entry, and its ends. A reverse-NAT entry has
 * the flow's key but for its kind.
 */
static __always_inline void service_flow_query(struct ct_query *q, const union ct_key *key,
					       const struct wr_ct_service *entry, const bool v6)
{
	const __u32 client = entry->flags & WR_CT_SWAPPED ? 1 : 0;
	struct addresses at = { .daddr.a6 = entry->addr };
	union ct_key *flow = &q->key;
	struct packet p = { .at = &at, .dport = entry->port };

	if (v6) {
		at.saddr.a6 = client ? key->k6.addr[1] : key->k6.addr[0];
		p.sport = client ? key->k6.port[1] : key->k6.port[0];
		p.l4_proto = key->k6.l4_proto;
	} else {
		at.saddr.a4 = client ? key->k4.addr[1] : key->k4.addr[0];
		p.sport = client ? key->k4.port[1] : key->k4.port[0];
		p.l4_proto = key->k4.l4_proto;
	}
	if ((v6 ? key->k6.kind : key->k4.kind) == WR_CT_FLOW) {
		if (entry->client_port)
			p.sport = entry->client_port;
		ct_key(&p, flow, v6);
	} else if (v6) {
		at.daddr.a6 = client ? key->k6.addr[0] : key->k6.addr[1];
		flow->k6 = key->k6;
	} else {
		at.daddr.a4 = client ? key->k4.addr[0] : key->k4.addr[1];
		flow->k4 = key->k4;
	}
	ct_key_set_kind(flow, WR_CT_FLOW, v6);
	/* The flow of a client outside the cluster is in the backend's window. */
	ct_ends(&q->ends, entry->initiator, entry->initiator ? 0 : endpoint_with(&at.daddr, v6));
}

/* Whether the flow of a service's entry is live. */
static __always_inline bool service_flow_lives(const void *key, const struct wr_ct_service *entry,
					       const struct ct_gc_tally *tally)
{
	struct ct_query *q = ct_query();

	if (!q)
		return true;
	IN_FAMILY(tally->v6, service_flow_query, q, key, entry);
	q->v6 = tally->v6;
	return ct_lookup() && (q->ct.flags & WR_CT_TRANSLATED) && !ct_expired(&q->ct, tally->now);
}

/* Flows of a deleted endpoint are dead too: its ifindex is not reused before the next boot. */
static __always_inline bool is_dead(const struct wr_ct *ct, __u32 now)
{
	return ct_expired(ct, now) || (end_is_local(ct->initiator) && !endpoint_get(ct->initiator)) ||
	       (end_is_local(ct->responder) && !endpoint_get(ct->responder));
}

/* Count for the quotas: see count_correct(). */
static __always_inline void count_live(const struct wr_ct *ct, struct ct_gc_tally *tally)
{
	struct wr_ct_usage *usage = ct_usage_of(ct_owner(ct));

	if (usage)
		usage->counted++;
	tally->live++;
}

/* For one entry of ct4 or ct6. */
static int ct_gc_entry(void *map, const void *key, struct wr_ct *ct, struct ct_gc_tally *tally)
{
	const struct wr_ct was = *ct;

	if ((was.flags & WR_CT_SERVICE) && ct_expired(&was, tally->now) &&
	    (!was.initiator || endpoint_get(was.initiator)) && service_flow_lives(key, (const void *)&was, tally)) {
		ct->expires = tally->now + SERVICE_RECHECK;
		count_live(&was, tally);
	} else if (!is_dead(&was, tally->now)) {
		count_live(&was, tally);
	} else if (!bpf_map_delete_elem(map, key)) {
		ct_account(ct_owner(&was), -1, tally->v6);
		tally->removed++;
	}
	return 0;
}

/*
 * Corrects a counter of entries. The program that adds or removes an entry updates the counter, and can update the
 * wrong one: it reads the owner from an element that may have been reused meanwhile. If two runs in a row find an error
 * in the same direction, the smaller of the two is corrected. Entries that came and went during a run are in one run
 * only.
 */
static __always_inline void count_correct(__u32 *entries, __u32 counted, __s32 *drift)
{
	const __s32 found = counted - *entries, before = *drift;
	__s32 wrong = 0;

	if (found > 0 && before > 0)
		wrong = found < before ? found : before;
	if (found < 0 && before < 0)
		wrong = found > before ? found : before;
	if (wrong)
		__sync_fetch_and_add(entries, wrong);
	*drift = found - wrong;
}

/* A deleted endpoint's counter is cleared: its entries are dead, and its slot may get another endpoint. */
static int usage_correct(void *map, const __u32 *key, struct wr_ct_usage *usage, void *ctx)
{
	const __u32 slot = *key;
	const struct wr_endpoint *ep = bpf_map_lookup_elem(&endpoints, &slot);

	if (!usage->entries && !usage->counted && !usage->drift)
		return 0;
	if (slot != WR_CT_USAGE_UNOWNED && ep && !ep->ifindex) {
		usage->entries = 0;
		usage->drift = 0;
	} else {
		count_correct(&usage->entries, usage->counted, &usage->drift);
	}
	usage->counted = 0;
	return 0;
}

static __noinline int ct_gc_run(struct wr_ct_gc *s)
{
	struct ct_gc_tally tally = { .now = ct_now() };
	struct wr_ct_totals *totals = ct_totals_get();

	bpf_for_each_map_elem(&ct4, ct_gc_entry, &tally, 0);
	s->live[0] = tally.live;
	tally.live = 0;
	tally.v6 = true;
	bpf_for_each_map_elem(&ct6, ct_gc_entry, &tally, 0);
	s->live[1] = tally.live;
	bpf_for_each_map_elem(&ct_usage, usage_correct, &tally, 0);
	if (totals) {
		count_correct(&totals->entries[0], s->live[0], &totals->drift[0]);
		count_correct(&totals->entries[1], s->live[1], &totals->drift[1]);
	}
	s->removed += tally.removed;
	s->runs++;
	s->time_ns = bpf_ktime_get_ns();
	return 0;
}

static int ct_gc_tick(void *map, __u32 *key, struct wr_ct_gc *s)
{
	ct_gc_run(s);
	bpf_timer_start(&s->timer, WR_CT_GC_SECONDS * 1000000000ull, 0);
	return 0;
}

/*
 * The loader runs it once, also after an upgrade: then the timer exists (-EBUSY), and its callback is the old
 * program's.
 */
SEC("tc")
int ct_gc_start(struct __sk_buff *skb)
{
	const __u32 zero = 0;
	struct wr_ct_gc *s = bpf_map_lookup_elem(&ct_gc, &zero);
	int rc;

	if (!s)
		return -ENOENT;
	rc = bpf_timer_init(&s->timer, &ct_gc, CLOCK_MONOTONIC);
	if (rc && rc != -EBUSY)
		return rc;
	rc = bpf_timer_set_callback(&s->timer, ct_gc_tick);
	if (rc)
		return rc;
	/* Distinguishes a timer that has just been started from one that has stopped. */
	s->time_ns = bpf_ktime_get_ns();
	return bpf_timer_start(&s->timer, 0, 0); /* the first run starts immediately */
}

/* Runs the gc synchronously, for tools. */
SEC("tc")
int ct_gc_now(struct __sk_buff *skb)
{
	const __u32 zero = 0;
	struct wr_ct_gc *s = bpf_map_lookup_elem(&ct_gc, &zero);

	return s ? ct_gc_run(s) : -1;
}
