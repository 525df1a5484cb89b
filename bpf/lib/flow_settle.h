/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last step of a packet that flow_decide() decides about: what becomes of its flow's entry. */
#ifndef WARREN_LIB_FLOW_SETTLE_H
#define WARREN_LIB_FLOW_SETTLE_H

#include "lib/ct_entry.h"
#include "lib/flow.h"
#include "lib/judge.h"

/*
 * A flow that lasts moves from its window to ct, or stays if it may not; then a later packet tries again. Those that are over
 * within a second or two, which most are, never cost an element of ct.
 */
static __always_inline bool flow_lasts(const struct flow *f)
{
	return f->where != CT_NOWHERE && f->refreshes && (f->ct.flags & WR_CT_ANSWERED) &&
	       ct_is_established(f->l4_proto, f->ct.flags | (f->l4_proto == IPPROTO_TCP ? 0 : WR_CT_ESTABLISHED));
}

/* Whether it matters who began the flow: then a packet from its middle does not say what to judge. */
static __always_inline bool is_isolated(const struct flow *f)
{
	return f->policy_class[WR_EGRESS] >= WR_CLASS_FIRST || f->policy_class[WR_INGRESS] >= WR_CLASS_FIRST;
}

/* Something else with the same key stood elsewhere: another endpoint's window, or ct. */
static __always_inline void flow_replaced(const struct flow *f, const struct ct_query *q, const bool v6)
{
	const struct ct_window *mine = &q->ends.of_own;
	const __u32 first = mine->first + (way_is_out(f->way) ? 0 : mine->half);

	if (f->where == CT_IN_TABLE || f->where - 1 - first >= mine->half)
		ct_delete(&q->key, f->replaced_owner, f->where, v6);
}

static __always_inline enum wr_reason flow_create(struct flow *f, const struct ct_query *q, enum wr_reason reason)
{
	trace_entry(&q->ct, 0);
	if ((f->traits & MIDDLE) && (reason || is_isolated(f))) {
		f->judged = 0;
		return reason == WR_REASON_QUARANTINE ? WR_REASON_QUARANTINE : WR_REASON_NO_CONNECTION;
	}
	if (dry_run || f->lives == FLOW_NEVER_REPLACES || (reason && f->lives))
		return reason;
	if (ct_write())
		return reason ? reason : WR_REASON_CT_FULL;
	if (f->where)
		IN_FAMILY(f->v6, flow_replaced, f, q);
	ct_count(WR_CT_STAT_CREATED);
	return reason;
}

/* The flags of what the packet shows for the first time. */
static __always_inline __u32 flow_shows(const struct flow *f)
{
	if (!f->answers)
		return 0;
	return WR_CT_ANSWERED | (f->answers == FLOW_CONFIRMED ? WR_CT_ESTABLISHED : 0);
}

/* A living, allowed entry: its state and its time. */
static __always_inline void flow_move_on(const struct flow *f, const union ct_key *key, const struct wr_ct *ct, const bool v6)
{
	const __u32 ends = ct->flags & CT_ENDED;
	struct ct_change change = {
		.set = ends | (ct->flags & (WR_CT_ANSWERED | WR_CT_ESTABLISHED)),
		.clear = ~ct->flags & WR_CT_RESET,
		.expires = ct->expires,
		.ack = { ct->ack[0], ct->ack[1] },
	};
	const __u32 was = ct_modify(key, f->where, &change, v6);

	/* Both ends may come at once. */
	if (!ct_is_over(f->l4_proto, ends) && ct_is_over(f->l4_proto, ends | (was & CT_FIN_BOTH))) {
		change.set = change.clear = 0;
		change.expires = ct_now() + WR_CT_LIFE_TCP_CLOSING;
		ct_modify(key, f->where, &change, v6);
	}
}

/*
 * Writes what has been decided about f->ct. `gains`: the flow has replied, or is established, for the first time: that decides
 * over it, so in ct, where a window may have pushed it before, the entry is written whole.
 */
static __always_inline void flow_write(const struct flow *f, struct ct_query *q, __u32 gains, const bool v6)
{
	union ct_key *key = &q->key;
	struct wr_ct *ct = &q->ct;

	if (f->step == FLOW_STALE)
		ct_count(WR_CT_STAT_REJUDGED);
	if (f->where == CT_IN_TABLE && ct_is_over(f->l4_proto, ct->flags)) {
		/* It counts against its owner's quota no longer. */
		q->begun = f->forward == way_is_out(f->way);
		ct_write();
		ct_table_remove(key, ct_owner(ct), v6);
	} else if (f->where != CT_IN_TABLE && flow_lasts(f) && ct_promote(key, ct, f->where, v6)) {
		return;
	} else if (!f->moved && (f->step == FLOW_MOVES_ON || f->step == FLOW_ANSWERED) && !(gains && f->where == CT_IN_TABLE)) {
		flow_move_on(f, key, ct, v6);
	} else {
		/* Fails only if the entry has gone meanwhile, or without memory: then the next packet is evaluated again. */
		ct_rewrite(key, ct, f->where, v6);
	}
}

/* The key is in ct_query(); its ends, if the flow was looked for in windows. */
OUT_OF_LINE int flow_settle(struct flow *f)
{
	struct ct_query *q = ct_query();
	enum wr_reason reason;
	__u32 had;

	if (!f || !q)
		return WR_REASON_NO_ENDPOINT;
	if (f->step == FLOW_MOVES_ON && !f->refreshes && !f->changes)
		return WR_REASON_NONE;
	if (f->where == CT_IN_TABLE)
		ct_ends(&q->ends, f->ifindex, 0);
	q->begun = way_is_out(f->way);
	q->v6 = f->v6;
	ct_copy(&q->ct, &f->ct);
	q->ct.ack[0] = f->l4_proto == IPPROTO_TCP ? f->ack[0] : 0;
	q->ct.ack[1] = f->l4_proto == IPPROTO_TCP ? f->ack[1] : 0;
	had = f->ct.flags;
	if (!(q->ct.flags & CT_DENIED))
		q->ct.flags |= flow_shows(f);
	if (flow_lasts(f))
		q->ct.flags |= WR_CT_ESTABLISHED;
	q->ct.expires = ct_now() + ct_life(f->l4_proto, q->ct.flags);
	f->ct.flags = q->ct.flags;
	reason = denial(&q->ct);
	if (f->step == FLOW_BEGINS)
		return flow_create(f, q, reason);
	if (f->turns && f->step != FLOW_DENIED && is_isolated(f)) {
		f->judged = 0;
		return WR_REASON_NO_CONNECTION;
	}
	if (f->step == FLOW_TURNS)
		f->judged = 0;
	if (!dry_run && !(f->traits & FOLLOWS) && f->step != FLOW_DENIED)
		IN_FAMILY(f->v6, flow_write, f, q, q->ct.flags & ~had & (WR_CT_ANSWERED | WR_CT_ESTABLISHED));
	return reason;
}

#endif
