/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A flow's entry, next to a packet: whether it is about that packet, still right, and what the packet is to it. */
#ifndef WARREN_LIB_FLOW_ENTRY_H
#define WARREN_LIB_FLOW_ENTRY_H

#include "lib/cluster.h"
#include "lib/conntrack.h"
#include "lib/endpoint.h"

/* What was found of a packet's flow. */
struct found {
	struct wr_ct *ct;
	const struct wr_endpoint *other; /* by flow_fits(): the other side, if it is an endpoint */
	__u32 now;
	__u32 swapped;    /* the packet's source is the key's end 1 */
	__u32 flags;      /* the entry's, read once */
	bool established; /* in ct4/6, not in ct_new4/6 */
	bool forward;     /* the packet goes from initiator to responder */
};

static __always_inline bool flow_find(struct found *found, const union ct_key *key, const bool v6)
{
	found->ct = ct_find(key, &found->established, v6);
	found->now = ct_now();
	if (!found->ct)
		return false;
	found->flags = found->ct->flags;
	found->forward = !(found->swapped ^ (found->flags & WR_CT_SWAPPED));
	return !ct_expired(found->ct, found->now);
}

/* Whether it was the endpoint that the packet is judged for who began the flow. */
static __always_inline bool flow_is_own(const struct found *found, const enum way way)
{
	return found->forward == way_is_out(way);
}

static __always_inline __u32 other_end(const struct wr_ct *ct, bool own)
{
	return own ? ct->responder : ct->initiator;
}

/* Under which revision of the cluster that end was found where it is. The verifier believes no bool to be 0 or 1. */
static __always_inline __u32 *other_revision(struct wr_ct *ct, bool own)
{
	__u32 direction = own ? WR_INGRESS : WR_EGRESS;

	asm volatile("" : "+r"(direction));
	return &ct->at[direction & 1].revision;
}

/*
 * Whether the entry is about those between whom the packet goes: an address may have another owner by now. What the
 * stack has translated is not checked for the other side's address. Where an end is that is no endpoint of this node
 * was looked up when the entry was made: what a pod sends is checked by flow_is_current() for whether that stands.
 */
static __always_inline bool flow_fits(const struct packet *p, struct found *found, const enum way way, const bool v6)
{
	const struct wr_ct *ct = found->ct;
	const bool sent = way_is_out(way), own = flow_is_own(found, way);
	const __u32 mine = own ? ct->initiator : ct->responder;
	const __u32 theirs = other_end(ct, own);
	const struct wr_endpoint *owner;

	found->other = NULL;
	if (mine != p->ifindex)
		return false;
	if (way == WAY_FROM_HOST && theirs != p->peer_ifindex)
		return false;
	/*
	 * Answers pass wherever they enter: the stack may have translated them. What another node sends it does not
	 * touch.
	 */
	if (!sent && (found->forward || way == WAY_FROM_NODE) && !(p->traits & RELATED) && theirs != p->peer_ifindex)
		return false;
	if (end_is_remote(theirs) || !p->ifindex)
		return end_is_remote(theirs);
	if (!theirs)
		return !sent || (found->flags & WR_CT_VIA_STACK) || !endpoint_by_address(&p->at->daddr, &owner, v6);
	found->other = endpoint_get(theirs);
	if (!found->other)
		return false;
	if (found->flags & WR_CT_VIA_STACK)
		return true;
	return sent ? addr_is_endpoints(&p->at->daddr, found->other, v6)
		    : addr_is_endpoints(&p->at->saddr, found->other, v6);
}

/*
 * The same of an end that is no endpoint of this node. Where the stack's translation leads is the stack's business; an
 * address alone does not say whether it was the host or the world that began a flow towards a pod.
 */
static __always_inline bool stranger_is_current(const struct packet *p, const struct found *found, const enum way way)
{
	const bool own = flow_is_own(found, way);
	const struct wr_judgement *at = found->ct->at;
	const __u32 revision = own ? at[WR_INGRESS].revision : at[WR_EGRESS].revision;
	const __u64 identity = own ? at[WR_EGRESS].peer : at[WR_INGRESS].peer;

	if (way_is_out(way))
		return ((found->flags & WR_CT_VIA_STACK) && !other_end(found->ct, own)) ||
		       revision == cluster_revision();
	if ((way == WAY_TO_POD && !found->forward) || !p->ifindex)
		return true;
	return (p->traits & RELATED) || identity == p->peer_identity;
}

/* Whether both sides are still judged by the policy, and taken for whom, that the entry remembers. */
static __always_inline bool flow_is_current(const struct packet *p, const struct found *found, const enum way way)
{
	const bool own = flow_is_own(found, way);
	const struct wr_judgement *mine = own ? &found->ct->at[WR_EGRESS] : &found->ct->at[WR_INGRESS];
	const struct wr_judgement *theirs = own ? &found->ct->at[WR_INGRESS] : &found->ct->at[WR_EGRESS];
	union policy_word word;

	if (mine->revision != p->word.revision)
		return false;
	if (!found->other || !p->ep)
		return stranger_is_current(p, found, way);
	word.both = policy_word_read(found->other);
	return theirs->revision == word.revision && mine->peer == found->other->identity &&
	       theirs->peer == p->ep->identity;
}

/*
 * Whether the packet's addresses are not those that its flow goes by: what its initiator sends to a service and what it
 * sends to the backend itself are never one flow.
 */
static __always_inline bool flow_is_mistranslated(const struct packet *p, const struct found *found, const enum way way)
{
	return way == WAY_FROM_POD && ((found->flags ^ p->traits) & WR_CT_TRANSLATED) &&
	       (found->forward || (p->traits & TRANSLATED));
}

/* The flags that say how far a TCP connection has come. What goes on after a RST shows that nobody believed it. */
static __always_inline __u32 tcp_progress(const struct packet *p, const struct found *found)
{
	if (p->traits & TCP_RST)
		return found->flags | WR_CT_RESET;
	if (p->traits & TCP_FIN)
		return found->flags | (found->forward ? WR_CT_FIN_INITIATOR : WR_CT_FIN_RESPONDER);
	return found->flags & ~WR_CT_RESET;
}

/*
 * Whether the packet is the first of a new flow, although its key has a living entry: a SYN or an echo request against
 * the old one's direction, or a SYN after an end or a denial.
 */
static __always_inline bool flow_begins_anew(const struct packet *p, const struct found *found)
{
	if (!(p->traits & BEGINS))
		return false;
	return !found->forward || (p->l4_proto == IPPROTO_TCP && (found->flags & (CT_DENIED | CT_ENDED)));
}

/* Whether the responder shows by this packet that it takes part in the flow. */
static __always_inline bool packet_answers(const struct packet *p, const struct found *found)
{
	if (found->forward)
		return false;
	return p->l4_proto != IPPROTO_TCP || (p->traits & (TCP_ACK | TCP_RST)) == TCP_ACK;
}

/*
 * Whether the responder's segment neither accepts nor refuses the connection. It is of another one, which it has begun
 * itself between the same ports, and which the initiator's bare SYN is to turn round: where there is policy, who may
 * answer may not be made to answer by that.
 */
static __always_inline bool packet_turns(const struct packet *p, const struct found *found)
{
	if (found->forward || p->l4_proto != IPPROTO_TCP || (found->flags & WR_CT_ANSWERED) ||
	    (p->traits & (TCP_RST | FOLLOWS)))
		return false;
	return (p->traits & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK);
}

#endif
