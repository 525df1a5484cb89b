/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A flow's entry, next to a packet: whether it is about that packet, still right, and what the packet is to it. */
#ifndef WARREN_LIB_FLOW_ENTRY_H
#define WARREN_LIB_FLOW_ENTRY_H

#include "lib/cluster.h"
#include "lib/ct_table.h"
#include "lib/endpoint.h"
#include "lib/flow.h"

/* `expires` is written only if it moves by more than that, about a second: a shared line stays clean. */
#define REFRESH_TICKS 8

/* What was found of a packet's flow. */
struct found {
	struct wr_ct *ct;
	const struct wr_endpoint *other; /* by flow_fits(): the other side, if it is an endpoint */
	__u32 swapped;    /* the packet's source is the key's end 1 */
	__u32 flags;      /* the entry's, read once */
	bool forward;     /* the packet goes from initiator to responder */
};

/* In ct4/6: by a pointer, which is only read; see lib/ct_table.h. */
static __always_inline bool flow_find(struct found *found, const union ct_key *key, const bool v6)
{
	found->ct = ct_table_find(key, v6);
	if (!found->ct)
		return false;
	found->flags = found->ct->flags;
	found->forward = !(found->swapped ^ (found->flags & WR_CT_SWAPPED));
	return !ct_expired(found->ct, ct_now());
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

/* The acknowledgement of that end: 0 the initiator, else the responder. */
static __always_inline __u32 *ack_of(struct wr_ct *ct, bool responder)
{
	__u32 end = responder;

	asm volatile("" : "+r"(end));
	return &ct->ack[end & 1];
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

/* A TCP segment's, in host byte order. */
struct numbers {
	__u32 seq, ack;
};

/*
 * The flags that say how far a TCP connection has come; a RST that is exact comes on top (segment_goes_on()). What goes on
 * after a RST shows that nobody believed it.
 */
static __always_inline __u32 tcp_progress(const struct packet *p, const struct found *found)
{
	if (p->traits & TCP_RST)
		return found->flags;
	if (p->traits & TCP_FIN)
		return found->flags | (found->forward ? WR_CT_FIN_INITIATOR : WR_CT_FIN_RESPONDER);
	return found->flags & ~WR_CT_RESET;
}

/*
 * Whether the entry is a denial of a flow of which nothing has ever passed, and the packet belongs to another one: it goes
 * against the denied direction, or by the other one of a service's addresses and its backend's. It answers nothing that was
 * delivered, so it is evaluated in its own direction. What must be the middle of a flow begins none.
 */
static __always_inline bool denial_is_of_another(const struct packet *p, const struct found *found)
{
	if (!ct_is_denied_from_start(found->flags) || (p->traits & (MIDDLE | FOLLOWS)))
		return false;
	return !found->forward || ((found->flags ^ p->traits) & WR_CT_TRANSLATED);
}

/*
 * Whether the packet is the first of a new flow, although its key has a living entry: a SYN or an echo request against
 * the old one's direction, a SYN after an end or a denial, or what a denial is not about.
 */
static __always_inline bool flow_begins_anew(const struct packet *p, const struct found *found)
{
	if (denial_is_of_another(p, found))
		return true;
	if (!(p->traits & BEGINS))
		return false;
	return !found->forward || (p->l4_proto == IPPROTO_TCP &&
				   ((found->flags & CT_DENIED) || ct_is_over(p->l4_proto, found->flags)));
}

/*
 * Whether the entry is a connection that a SYN against its direction leaves alone, wherever that is from: its responder has
 * answered, and it is not over. The SYN itself may pass; a host that has the connection answers with an acknowledgement,
 * which gets it reset by an exact RST if the other end has none any more (RFC 9293 section 3.10.7.4).
 */
static __always_inline bool connection_stands(__u8 l4_proto, __u32 flags)
{
	return l4_proto == IPPROTO_TCP && (flags & WR_CT_ANSWERED) && !(flags & CT_DENIED) && !ct_is_over(l4_proto, flags);
}

/*
 * Whether an acknowledgement number is the expected one, or acknowledges a little more: data in a SYN or with a SYN-ACK. Who
 * does not see the other end's segments meets it once in 65,536 times.
 */
static __always_inline bool ack_is_near(__u32 ack, __u32 expected)
{
	return ack - expected <= 0xffff;
}

/*
 * What a segment shows of a connection: that its responder takes part in it, or that both ends do. It is established as in nf_conntrack: by the initiator's acknowledgement of the responder's SYN. One whose SYN was not seen, by
 * any answer: such an answer is refused where there is policy (packet_turns()).
 */
static __always_inline enum flow_answers segment_answers(const struct flow *f, const struct numbers *n)
{
	const __u32 flags = f->ct.flags;

	if ((flags & WR_CT_ESTABLISHED) || (f->traits & (TCP_ACK | TCP_RST)) != TCP_ACK)
		return FLOW_NO_ANSWER;
	if (f->traits & TCP_SYN)
		return f->forward ? FLOW_NO_ANSWER : FLOW_REPLIED;
	if (f->forward == !(flags & WR_CT_ANSWERED))
		return FLOW_NO_ANSWER;
	if (f->forward)
		return ack_is_near(n->ack, f->ct.ack[0]) ? FLOW_CONFIRMED : FLOW_NO_ANSWER;
	return !f->ct.ack[1] || ack_is_near(n->ack, f->ct.ack[1]) ? FLOW_CONFIRMED : FLOW_NO_ANSWER;
}

/*
 * Whether a RST is exact, so that its receiver believes it: its sequence number is the other end's last acknowledgement (RFC
 * 5961 section 3.2), or it answers a SYN and acknowledges that.
 */
static __always_inline bool rst_is_exact(const struct flow *f, const struct numbers *n)
{
	const struct wr_ct *ct = &f->ct;

	if (f->forward)
		return n->seq == ct->ack[1];
	if (!(ct->flags & WR_CT_ANSWERED) && (f->traits & TCP_ACK))
		return n->ack == ct->ack[1];
	return n->seq == ct->ack[0] && ct->ack[0];
}

/*
 * Whether the packet is from the end that its source address says: an endpoint's source is checked as it sends, here or at
 * its own node, and a node's own as its tunnel packet comes in (as far as that is known to be a node's: --tunnel-key). Such a RST ends the flow whatever its number is: it is that end's own, which may also fall silent. Most of the
 * segments between pods go by the verdict cache, so the entry's numbers are older than the last one.
 */
static __always_inline bool sender_is_the_end(const struct flow *f)
{
	return f->way == WAY_FROM_POD || (f->way == WAY_FROM_NODE && f->peer_identity != WR_ID_WORLD);
}

/* Whether nobody can forge a RST of either end: sender_is_the_end(). Then its number does not matter. */
static __always_inline bool ends_are_checked(const struct wr_ct *ct, __u64 stranger)
{
	if (end_is_local(ct->initiator) && end_is_local(ct->responder))
		return true;
	return (end_is_remote(ct->initiator) || end_is_remote(ct->responder)) && stranger != WR_ID_WORLD;
}

/* The segment's acknowledgement, or what it makes the other end acknowledge. */
static __always_inline void segment_note(struct flow *f, const struct numbers *n)
{
	struct wr_ct *ct = &f->ct;

	if ((ct->flags & WR_CT_ESTABLISHED) || f->answers == FLOW_CONFIRMED) {
		if ((f->traits & (TCP_ACK | TCP_RST)) != TCP_ACK || ends_are_checked(ct, f->stranger))
			return;
		f->changes |= *ack_of(ct, !f->forward) != n->ack;
		*ack_of(ct, !f->forward) = n->ack;
	} else if (f->forward && (f->traits & BEGINS) && !(ct->flags & WR_CT_ANSWERED)) {
		f->changes = true;
		ct->ack[1] = n->seq + 1;
	} else if (f->answers == FLOW_REPLIED && ack_is_near(n->ack, ct->ack[1])) {
		ct->ack[0] = n->seq + 1;
		ct->ack[1] = n->ack;
	}
}

static __always_inline void segment_begins(struct flow *f, const struct numbers *n)
{
	f->ct.ack[0] = f->traits & TCP_ACK ? n->ack : 0;
	f->ct.ack[1] = f->traits & TCP_SYN ? n->seq + 1 : 0;
}

/*
 * What may be forged does not extend an entry's life: a RST that is not exact, or what should acknowledge an answer and does
 * not.
 */
static __always_inline void segment_goes_on(struct flow *f, const struct numbers *n)
{
	const bool rst = f->traits & TCP_RST, exact = rst && (sender_is_the_end(f) || rst_is_exact(f, n));
	const bool unproven = f->forward && (f->ct.flags & (WR_CT_ANSWERED | WR_CT_ESTABLISHED)) == WR_CT_ANSWERED;

	f->answers = segment_answers(f, n);
	segment_note(f, n);
	if (exact) {
		f->ct.flags |= WR_CT_RESET;
		f->changes = true;
	}
	if (f->step != FLOW_MOVES_ON && f->step != FLOW_FOUND_AGAIN)
		return;
	if (f->answers)
		f->step = FLOW_ANSWERED;
	else if (!exact && (rst || unproven))
		f->step = FLOW_PASSES;
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
