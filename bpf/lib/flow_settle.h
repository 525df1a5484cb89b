/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last step of a packet that flow_decide() decides about: what becomes of its flow's entry. */
#ifndef WARREN_LIB_FLOW_SETTLE_H
#define WARREN_LIB_FLOW_SETTLE_H

#include "lib/conntrack.h"
#include "lib/flow.h"
#include "lib/judge.h"

/* The key of f, which a function out of line knows; p is filled in as far as that needs it. */
static __always_inline __u32 flow_key(struct packet *p, struct addresses *at, const struct flow *f, union ct_key *key)
{
	p->at = at;
	p->sport = f->sport;
	p->dport = f->dport;
	p->l4_proto = f->l4_proto;
	return IN_FAMILY(f->v6, ct_key, p, key);
}

/*
 * The responder of a flow that is in ct_new has answered: confirmed by both ends it moves to ct, or stays if it may not. Then
 * a later answer tries again, uncounted. It is in ct before it leaves ct_new, so that nobody finds it in neither. What is over
 * has no business there (any more): see flow_retire().
 */
static __always_inline void flow_answered(const struct flow *f, const union ct_key *key, struct wr_ct *ct)
{
	const bool before = ct_is_confirmed(f->l4_proto, ct->flags);

	ct->flags |= WR_CT_ANSWERED;
	if (f->l4_proto == IPPROTO_TCP && f->answers == FLOW_CONFIRMED)
		ct->flags |= WR_CT_ESTABLISHED;
	ct->expires = ct_now() + ct_life(f->l4_proto, ct->flags);
	if (ct_is_over(f->l4_proto, ct->flags) || f->answers != FLOW_CONFIRMED || !ct_establish(key, ct, before, f->v6)) {
		ct_write(key, ct, false, BPF_EXIST, f->v6);
		return;
	}
	if (!before)
		ct_count(WR_CT_STAT_ANSWERED);
	ct_delete(key, false, f->v6);
}

/* Whether it matters who began the flow: then a packet from its middle does not say what to judge. */
static __always_inline bool is_isolated(const struct flow *f)
{
	return f->policy_class[WR_EGRESS] >= WR_CLASS_FIRST || f->policy_class[WR_INGRESS] >= WR_CLASS_FIRST;
}

static __always_inline enum wr_reason flow_create(struct flow *f, const union ct_key *key, const struct wr_ct *ct,
						  enum wr_reason reason)
{
	trace_entry(ct, 0);
	if ((f->traits & MIDDLE) && (reason || is_isolated(f))) {
		f->judged = 0;
		return reason == WR_REASON_QUARANTINE ? WR_REASON_QUARANTINE : WR_REASON_NO_CONNECTION;
	}
	if (dry_run || f->lives == FLOW_NEVER_REPLACES || (reason && f->lives))
		return reason;
	/* Of two packets at once, which find nothing, the one that is denied must not replace the other's flow. */
	if (ct_write(key, ct, false, reason && f->found == FLOW_NONE ? BPF_NOEXIST : BPF_ANY, f->v6))
		return reason ? reason : WR_REASON_CT_FULL;
	if (f->established)
		ct_forget(key, f->v6);
	ct_count(WR_CT_STAT_CREATED);
	return reason;
}

/* A living, allowed entry in place: its state and its time. */
static __always_inline void flow_move_on(const struct flow *f, const union ct_key *key, const struct wr_ct *next)
{
	bool established;
	struct wr_ct *ct = ct_find(key, &established, f->v6);
	__u32 was = 0;

	if (!ct)
		return;
	if (next->flags & CT_ENDED)
		was = __sync_fetch_and_or(&ct->flags, next->flags & CT_ENDED);
	if (!(next->flags & WR_CT_RESET))
		__sync_fetch_and_and(&ct->flags, ~WR_CT_RESET);
	ct->ack[0] = next->ack[0];
	ct->ack[1] = next->ack[1];
	ct->expires = next->expires;
	/* Both ends may come at once. */
	if (ct_is_over(f->l4_proto, next->flags | (was & CT_FIN_BOTH)))
		ct->expires = ct_now() + WR_CT_LIFE_TCP_CLOSING;
}

/*
 * A connection that is over moves back to ct_new: what is left of it needs an entry for some seconds, but no share of
 * its owner's, of which thousands a second would use up all.
 */
static __always_inline void flow_retire(const struct flow *f, const union ct_key *key, const struct wr_ct *ct)
{
	if (ct_write(key, ct, false, BPF_ANY, f->v6))
		flow_move_on(f, key, ct);
	else
		ct_forget(key, f->v6);
}

/* Writes what has been decided about f->ct. */
static __always_inline void flow_write(const struct flow *f, const union ct_key *key, struct wr_ct *ct, bool denied)
{
	if (f->step == FLOW_STALE)
		ct_count(WR_CT_STAT_REJUDGED);
	if (f->answers && !denied)
		flow_answered(f, key, ct);
	else if (f->established && ct_is_over(f->l4_proto, ct->flags))
		flow_retire(f, key, ct);
	else if (f->step == FLOW_MOVES_ON)
		flow_move_on(f, key, ct);
	else
		/*
		 * Fails only if the entry has gone meanwhile, or without memory: then the next packet is judged again.
		 */
		ct_write(key, ct, f->established, BPF_EXIST, f->v6);
}

OUT_OF_LINE int flow_settle(struct addresses *at, struct flow *f)
{
	struct packet p = { 0 };
	enum wr_reason reason;
	union ct_key key;
	struct wr_ct ct;

	if (!at || !f)
		return WR_REASON_NO_ENDPOINT;
	flow_key(&p, at, f, &key);
	ct = f->ct;
	ct.ack[0] = f->l4_proto == IPPROTO_TCP ? f->ack[0] : 0;
	ct.ack[1] = f->l4_proto == IPPROTO_TCP ? f->ack[1] : 0;
	ct.expires = ct_now() + ct_life(f->l4_proto, ct.flags);
	reason = denial(&ct);
	if (f->step == FLOW_BEGINS)
		return flow_create(f, &key, &ct, reason);
	if (f->turns && f->step != FLOW_DENIED && is_isolated(f)) {
		f->judged = 0;
		return WR_REASON_NO_CONNECTION;
	}
	if (f->step == FLOW_TURNS)
		f->judged = 0;
	if (!dry_run && !(f->traits & FOLLOWS) && f->step != FLOW_DENIED)
		flow_write(f, &key, &ct, reason);
	return reason;
}

#endif
