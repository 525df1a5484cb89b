/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last step of flow_decide(): creates, updates or promotes the flow's entry. */
#ifndef WARREN_LIB_FLOW_COMMIT_H
#define WARREN_LIB_FLOW_COMMIT_H

#include "lib/ct_entry.h"
#include "lib/flow.h"
#include "lib/evaluate.h"

/*
 * Whether the flow is to move from its window to ct. If the quota does not allow it, a later packet tries again. Flows
 * that end within a second or two, which most do, never need an element of ct.
 */
static __always_inline bool flow_lasts(const struct flow *f)
{
	return f->where != CT_NOWHERE && f->refreshes && (f->ct.flags & WR_CT_REPLIED) &&
	       ct_is_established(f->l4_proto, f->ct.flags | (f->l4_proto == IPPROTO_TCP ? 0 : WR_CT_ESTABLISHED));
}

/*
 * Whether an end has a policy, so that it matters which end initiated the flow: a packet in the middle of a flow does
 * not prove that.
 */
static __always_inline bool is_isolated(const struct flow *f)
{
	return f->policy_class[WR_EGRESS] >= WR_CLASS_FIRST || f->policy_class[WR_INGRESS] >= WR_CLASS_FIRST;
}

/* Deletes a replaced entry with the same key from another location: another endpoint's window, or ct. */
static __always_inline void flow_replaced(const struct flow *f, const struct ct_query *q, const bool v6)
{
	const struct ct_window *own = &q->ends.of_own;
	const __u32 first = own->first + (hook_is_egress(f->hook) ? 0 : own->half);

	if (f->where == CT_IN_TABLE || f->where - 1 - first >= own->half)
		ct_delete(&q->key, f->replaced_owner, f->where, v6);
}

static __always_inline enum wr_reason flow_create(struct flow *f, const struct ct_query *q, enum wr_reason reason)
{
	trace_entry(&q->ct, 0);
	if ((f->flags & MIDDLE) && (reason || is_isolated(f))) {
		f->evaluated = 0;
		return reason == WR_REASON_QUARANTINE ? WR_REASON_QUARANTINE : WR_REASON_NO_CONNECTION;
	}
	if (dry_run || f->replace == FLOW_REPLACE_NEVER || (reason && f->replace))
		return reason;
	if (ct_write())
		return reason ? reason : WR_REASON_CT_FULL;
	if (f->where)
		IN_FAMILY(f->v6, flow_replaced, f, q);
	ct_count(WR_CT_STAT_CREATED);
	return reason;
}

/* The flags for f->reply. */
static __always_inline __u32 flow_reply_flags(const struct flow *f)
{
	if (!f->reply)
		return 0;
	return WR_CT_REPLIED | (f->reply == FLOW_CONFIRMED ? WR_CT_ESTABLISHED : 0);
}

/* Updates state and timeout of a live, allowed entry. */
static __always_inline void flow_update(const struct flow *f, const union ct_key *key, const struct wr_ct *ct,
					const bool v6)
{
	const __u32 ends = ct->flags & CT_ENDED;
	struct ct_change change = {
		.set = ends | (ct->flags & (WR_CT_REPLIED | WR_CT_ESTABLISHED)),
		.clear = ~ct->flags & WR_CT_RESET,
		.expires = ct->expires,
		.ack = { ct->ack[0], ct->ack[1] },
	};
	const __u32 was = ct_modify(key, f->where, &change, v6);

	/* Both ends' FINs may be processed at once. */
	if (!wr_ct_is_closed(f->l4_proto, ends) && wr_ct_is_closed(f->l4_proto, ends | (was & WR_CT_FIN_BOTH))) {
		change.set = change.clear = 0;
		change.expires = ct_now() + WR_CT_LIFE_TCP_CLOSING;
		ct_modify(key, f->where, &change, v6);
	}
}

/*
 * Writes f->ct. `gains`: flags by which the flow has just become replied or established. These decide over the flow, so
 * in ct, where its window may have evicted it, the entry is written whole.
 */
static __always_inline void flow_write(const struct flow *f, struct ct_query *q, __u32 gains, const bool v6)
{
	union ct_key *key = &q->key;
	struct wr_ct *ct = &q->ct;

	if (f->step == FLOW_STALE)
		ct_count(WR_CT_STAT_REEVALUATED);
	if (f->where == CT_IN_TABLE && wr_ct_is_closed(f->l4_proto, ct->flags)) {
		/* A closed flow no longer counts against its owner's quota, unless its window has no room for it. */
		q->begun = f->forward == hook_is_egress(f->hook);
		if (ct_write())
			ct_rewrite(key, ct, f->where, v6);
		else
			ct_table_remove(key, ct_owner(ct), v6);
	} else if (f->where != CT_IN_TABLE && flow_lasts(f) && ct_promote(key, ct, f->where, v6)) {
		return;
	} else if (!f->moved && (f->step == FLOW_REFRESH || f->step == FLOW_PROGRESS) &&
		   !(gains && f->where == CT_IN_TABLE)) {
		flow_update(f, key, ct, v6);
	} else {
		/*
		 * Fails only if the entry was deleted meanwhile, or without memory: then the next packet is evaluated
		 * again.
		 */
		ct_rewrite(key, ct, f->where, v6);
	}
}

/* ct_query() holds the key, and the ends if the flow was looked up in windows. */
OUT_OF_LINE int flow_commit(struct flow *f)
{
	struct ct_query *q = ct_query();
	enum wr_reason reason;
	__u32 had;

	if (!f || !q)
		return WR_REASON_NO_ENDPOINT;
	if (f->step == FLOW_REFRESH && !f->refreshes && !f->changes)
		return WR_REASON_NONE;
	if (f->where == CT_IN_TABLE)
		ct_ends(&q->ends, f->ifindex, 0);
	q->begun = hook_is_egress(f->hook);
	q->v6 = f->v6;
	ct_copy(&q->ct, &f->ct);
	had = f->ct.flags;
	if (!(q->ct.flags & WR_CT_DENIED))
		q->ct.flags |= flow_reply_flags(f);
	if (flow_lasts(f))
		q->ct.flags |= WR_CT_ESTABLISHED;
	q->ct.expires = ct_now() + wr_ct_life(f->l4_proto, q->ct.flags);
	f->ct.flags = q->ct.flags;
	reason = denial(&q->ct);
	if (f->step == FLOW_NEW)
		return flow_create(f, q, reason);
	if (f->reversed && f->step != FLOW_DENIED && is_isolated(f)) {
		f->evaluated = 0;
		f->ct.flags = had;
		f->step = FLOW_REVERSED; /* no verdict is cached */
		return f->reversed == FLOW_IS_HALF_OPEN ? reason : WR_REASON_NO_CONNECTION;
	}
	if (f->step == FLOW_REVERSED)
		f->evaluated = 0;
	if (!dry_run && !(f->flags & FOLLOWS) && f->step != FLOW_DENIED)
		IN_FAMILY(f->v6, flow_write, f, q, q->ct.flags & ~had & (WR_CT_REPLIED | WR_CT_ESTABLISHED));
	return reason;
}

#endif
