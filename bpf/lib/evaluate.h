/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Evaluates a flow, always in its initiator's direction: by the initiator's egress policy and the responder's ingress
 * policy, if these are endpoints of this node. The verdicts are stored in the entry, their classes in
 * flow.policy_class.
 */
#ifndef WARREN_LIB_EVALUATE_H
#define WARREN_LIB_EVALUATE_H

#include "lib/endpoint.h"
#include "lib/flow.h"
#include "lib/policy.h"
#include "lib/policy_cache.h"

/* The policy maps must be read after the revision under which the verdict is stored. */
static __always_inline void read_barrier(void)
{
	/* An atomic operation with a result orders everything. */
	__u64 scratch = 0, was = __sync_fetch_and_add(&scratch, 0);

	asm volatile("" : : "r"(was) : "memory");
}

static __always_inline bool rule_allows(__u32 rule)
{
	return rule >= WR_RULE_FIRST || rule == WR_RULE_NOT_ISOLATED || rule == WR_RULE_OWN_NODE;
}

static __always_inline __u32 point_rule(const struct addresses *at, const struct flow *f, __u32 direction,
					__u64 peer_identity)
{
	const __u32 policy_class = f->policy_class[direction];

	if (peer_identity == WR_ID_HOST && (direction == WR_INGRESS || policy_class == WR_CLASS_QUARANTINE))
		return WR_RULE_OWN_NODE;
	if (policy_class == WR_CLASS_QUARANTINE)
		return WR_RULE_QUARANTINE;
	if (policy_class == WR_CLASS_NOT_ISOLATED)
		return WR_RULE_NOT_ISOLATED;
	return policy_verdict(at, f, direction, peer_identity);
}

static __always_inline void trace_verdict(const struct flow *f, __u32 direction)
{
	struct wr_trace *t = trace_get();
	const struct wr_policy_verdict *at = &f->ct.at[direction];

	if (!t)
		return;
	t->steps |= direction == WR_EGRESS ? WR_TRACE_EVALUATED_EGRESS : WR_TRACE_EVALUATED_INGRESS;
	t->verdict[direction].peer_identity = at->peer;
	t->verdict[direction].policy_class = f->policy_class[direction];
	t->verdict[direction].revision = at->revision;
	t->verdict[direction].rule = at->rule;
	t->verdict[direction].allowed = rule_allows(at->rule);
	if (!t->verdict[direction].peer_class)
		t->verdict[direction].peer_class = WR_PEER_NONE;
	if (!t->verdict[direction].cidr_peer)
		t->verdict[direction].cidr_peer = WR_PEER_NONE;
}

static __always_inline void evaluate_point(const struct addresses *at, struct flow *f, __u32 direction,
					   __u64 peer_identity)
{
	struct wr_policy_verdict *v = &f->ct.at[direction];

	v->peer = peer_identity;
	v->rule = point_rule(at, f, direction, peer_identity);
	if (!rule_allows(v->rule))
		f->ct.flags |= direction == WR_EGRESS ? WR_CT_DENIED_EGRESS : WR_CT_DENIED_INGRESS;
	trace_verdict(f, direction);
}

/* Reads an endpoint's current policy tag and identity; true: they have changed. A deleted endpoint is in quarantine. */
static __always_inline bool point_read(struct flow *f, __u32 direction, __u32 ifindex, __u64 *identity)
{
	const struct wr_endpoint *ep = end_is_local(ifindex) ? endpoint_get(ifindex) : NULL;
	const union policy_tag tag = { .both = ep ? policy_tag_read(ep) : 0 };
	const __u64 was = *identity;

	if (!end_is_local(ifindex))
		return false;
	*identity = ep ? *(const volatile __u64 *)&ep->identity : WR_ID_UNKNOWN;
	if (f->ct.at[direction].revision == tag.revision && f->policy_class[direction] == tag.policy_class &&
	    *identity == was)
		return false;
	f->policy_class[direction] = tag.policy_class;
	f->ct.at[direction].revision = tag.revision;
	return true;
}

/* Reads the current tag and identity of both ends; false: they are unchanged. */
static __always_inline bool ends_read(struct flow *f, __u64 *initiator, __u64 *responder)
{
	const bool one = point_read(f, WR_EGRESS, f->ct.initiator, initiator);

	return point_read(f, WR_INGRESS, f->ct.responder, responder) || one;
}

/* A denial takes effect after two evaluations; the number of rounds is bounded, since the policy may keep changing. */
#define EVALUATE_ROUNDS 6

/*
 * Evaluates f->ct at both points, also when the first one denies, so that the entry has a verdict of each. If the
 * entry's verdicts are still valid, only the classes are looked up: those of the entry's revisions.
 *
 * A denial is evaluated again: a lookup may have missed an element that was being replaced (abi/policy.h). So is a flow
 * whose ends have changed meanwhile: their former class or identity may be in no map any more.
 */
OUT_OF_LINE int evaluate_flow(const struct addresses *at, struct flow *f)
{
	__u64 initiator, responder;
	__u32 revision[WR_DIRECTIONS];

	if (!at || !f)
		return 0;
	revision[WR_EGRESS] = f->ct.at[WR_EGRESS].revision;
	revision[WR_INGRESS] = f->ct.at[WR_INGRESS].revision;
	f->evaluated = (end_is_local(f->ct.initiator) ? 1 << WR_EGRESS : 0) |
		    (end_is_local(f->ct.responder) ? 1 << WR_INGRESS : 0);
	initiator = responder = f->peer;
	f->policy_class[WR_EGRESS] = f->policy_class[WR_INGRESS] = 0;
	ends_read(f, &initiator, &responder);
	if (f->step == FLOW_DENIED || f->step == FLOW_REVERSED) {
		/* Only classes were looked up: if the policy has changed just now, the next packet is evaluated. */
		f->ct.at[WR_EGRESS].revision = revision[WR_EGRESS];
		f->ct.at[WR_INGRESS].revision = revision[WR_INGRESS];
		return 0;
	}
	if (policy_cached(at, f, initiator, responder))
		return 0;
#pragma clang loop unroll(disable)
	for (int round = 1; round <= EVALUATE_ROUNDS; round++) {
		f->ct.flags &= ~WR_CT_DENIED;
		read_barrier();
		if (end_is_local(f->ct.initiator))
			evaluate_point(at, f, WR_EGRESS, responder);
		if (end_is_local(f->ct.responder))
			evaluate_point(at, f, WR_INGRESS, initiator);
		if (!(f->ct.flags & WR_CT_DENIED)) {
			policy_cache_fill(at, f, initiator, responder);
			break;
		}
		read_barrier();
		if (!ends_read(f, &initiator, &responder) && round > 1)
			break;
	}
	return 0;
}

/* The reason of the entry's denial; WR_REASON_NONE: it allows the flow. */
static __always_inline enum wr_reason denial(const struct wr_ct *ct)
{
	if (!(ct->flags & WR_CT_DENIED))
		return WR_REASON_NONE;
	if (ct->at[WR_EGRESS].rule == WR_RULE_QUARANTINE || ct->at[WR_INGRESS].rule == WR_RULE_QUARANTINE)
		return WR_REASON_QUARANTINE;
	return ct->flags & WR_CT_DENIED_EGRESS ? WR_REASON_EGRESS_DENIED : WR_REASON_INGRESS_DENIED;
}

#endif
