/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Compares a packet with its flow's entry: whether the entry belongs to the packet and is valid, and how the packet
 * changes it.
 */
#ifndef WARREN_LIB_FLOW_ENTRY_H
#define WARREN_LIB_FLOW_ENTRY_H

#include "lib/cluster.h"
#include "lib/ct_table.h"
#include "lib/endpoint.h"
#include "lib/flow.h"

/* `expires` is written only if it changes by more than this, about a second, so that the cache line stays clean. */
#define REFRESH_TICKS 8

/* A packet's conntrack entry. */
struct flow_entry {
	struct wr_ct *ct;
	const struct wr_endpoint *other; /* set by flow_matches(): the other end, if it is an endpoint */
	__u32 swapped;    /* the packet's source is the key's end 1 */
	__u32 flags;      /* the entry's, read once */
	bool forward;     /* the packet goes from initiator to responder */
};

/* Looks up the entry in ct4/6: the pointer is only read; see lib/ct_table.h. */
static __always_inline bool flow_find(struct flow_entry *entry, const union ct_key *key, const bool v6)
{
	entry->ct = ct_table_find(key, v6);
	if (!entry->ct)
		return false;
	entry->flags = entry->ct->flags;
	entry->forward = !(entry->swapped ^ (entry->flags & WR_CT_SWAPPED));
	return !ct_expired(entry->ct, ct_now());
}

/* Whether the endpoint whose policy is evaluated initiated the flow. */
static __always_inline bool flow_is_own(const struct flow_entry *entry, const enum hook hook)
{
	return entry->forward == hook_is_egress(hook);
}

static __always_inline __u32 other_end(const struct wr_ct *ct, bool own)
{
	return own ? ct->responder : ct->initiator;
}

/*
 * The cluster revision at which the other end was located. The mask is for the verifier, which does not track a bool as
 * 0 or 1.
 */
static __always_inline __u32 *other_revision(struct wr_ct *ct, bool own)
{
	__u32 direction = own ? WR_INGRESS : WR_EGRESS;

	asm volatile("" : "+r"(direction));
	return &ct->at[direction & 1].revision;
}

/* The acknowledgement number of an end: 0 the initiator, else the responder. */
static __always_inline __u32 *ack_of(struct wr_ct *ct, bool responder)
{
	__u32 end = responder;

	asm volatile("" : "+r"(end));
	return &ct->ack[end & 1];
}

/*
 * Whether the ends of the entry are the ends of the packet: an address may belong to another endpoint by now. If the
 * stack translates the flow, the other end's address is not compared. The location of an end that is not an endpoint of
 * this node was looked up when the entry was created; for packets that a pod sends, flow_is_current() checks that
 * location.
 */
static __always_inline bool flow_matches(const struct packet *p, struct flow_entry *entry, const enum hook hook,
					 const bool v6)
{
	const struct wr_ct *ct = entry->ct;
	const bool sent = hook_is_egress(hook), own = flow_is_own(entry, hook);
	const __u32 own_end = own ? ct->initiator : ct->responder;
	const __u32 peer_end = other_end(ct, own);
	const struct wr_endpoint *owner;

	entry->other = NULL;
	if (own_end != p->ifindex)
		return false;
	if (hook == HOOK_FROM_HOST && peer_end != p->peer_ifindex)
		return false;
	/*
	 * Replies pass on any device: the stack may have translated them. Packets from another node do not pass the
	 * stack.
	 */
	if (!sent && (entry->forward || hook == HOOK_FROM_NODE) && !(p->flags & RELATED) && peer_end != p->peer_ifindex)
		return false;
	if (end_is_remote(peer_end) || !p->ifindex)
		return end_is_remote(peer_end);
	if (!peer_end)
		return !sent || (entry->flags & WR_CT_VIA_STACK) || !endpoint_by_address(&p->at->daddr, &owner, v6);
	entry->other = endpoint_get(peer_end);
	if (!entry->other)
		return false;
	if (entry->flags & WR_CT_VIA_STACK)
		return true;
	return sent ? addr_is_endpoints(&p->at->daddr, entry->other, v6)
		    : addr_is_endpoints(&p->at->saddr, entry->other, v6);
}

/*
 * The same for an end that is not an endpoint of this node. Flows that the stack translates are not checked: the stack
 * knows their other end. For a flow to a pod, the address alone does not show whether the host or the world initiated
 * it.
 */
static __always_inline bool peer_is_current(const struct packet *p, const struct flow_entry *entry,
					    const enum hook hook)
{
	const bool own = flow_is_own(entry, hook);
	const struct wr_policy_verdict *at = entry->ct->at;
	const __u32 revision = own ? at[WR_INGRESS].revision : at[WR_EGRESS].revision;
	const __u64 identity = own ? at[WR_EGRESS].peer : at[WR_INGRESS].peer;

	if (hook_is_egress(hook))
		return ((entry->flags & WR_CT_VIA_STACK) && !other_end(entry->ct, own)) ||
		       revision == cluster_revision();
	if ((hook == HOOK_TO_POD && !entry->forward) || !p->ifindex)
		return true;
	return (p->flags & RELATED) || identity == p->peer_identity;
}

/* Whether the policies and identities of both ends are still those in the entry. */
static __always_inline bool flow_is_current(const struct packet *p, const struct flow_entry *entry,
					    const enum hook hook)
{
	const bool own = flow_is_own(entry, hook);
	const struct wr_policy_verdict *own_verdict = own ? &entry->ct->at[WR_EGRESS] : &entry->ct->at[WR_INGRESS];
	const struct wr_policy_verdict *peer_verdict = own ? &entry->ct->at[WR_INGRESS] : &entry->ct->at[WR_EGRESS];
	union policy_tag tag;

	if (own_verdict->revision != p->policy_tag.revision)
		return false;
	if (!entry->other || !p->ep)
		return peer_is_current(p, entry, hook);
	tag.both = policy_tag_read(entry->other);
	return peer_verdict->revision == tag.revision && own_verdict->peer == entry->other->identity &&
	       peer_verdict->peer == p->ep->identity;
}

/*
 * Whether the entry's NAT is not the packet's: packets that an initiator sends to a service and packets that it sends
 * to the backend itself are never one flow.
 */
static __always_inline bool flow_nat_differs(const struct packet *p, const struct flow_entry *entry,
					     const enum hook hook)
{
	return hook == HOOK_FROM_POD && ((entry->flags ^ p->flags) & WR_CT_TRANSLATED) &&
	       (entry->forward || (p->flags & TRANSLATED));
}

/* Numbers of a TCP segment, in host byte order. */
struct numbers {
	__u32 seq, ack;
};

/*
 * The TCP state after this packet, except for an exact RST (segment_existing()). A segment after a RST proves that the
 * receiver ignored the RST.
 */
static __always_inline __u32 tcp_progress(const struct packet *p, const struct flow_entry *entry)
{
	if (p->flags & TCP_RST)
		return entry->flags;
	if (p->flags & TCP_FIN)
		return entry->flags | (entry->forward ? WR_CT_FIN_INITIATOR : WR_CT_FIN_RESPONDER);
	return entry->flags & ~WR_CT_RESET;
}

/*
 * Whether the entry is a denial from the start, and the packet belongs to another flow: its direction is the opposite,
 * or it uses the other of a service's and its backend's address. It replies to no packet that was delivered, so it is
 * evaluated in its own direction. A packet that cannot be the first one begins no flow.
 */
static __always_inline bool denial_is_of_other_flow(const struct packet *p, const struct flow_entry *entry)
{
	if (!ct_is_denied_from_start(entry->flags) || (p->flags & (MIDDLE | FOLLOWS)))
		return false;
	return !entry->forward || ((entry->flags ^ p->flags) & WR_CT_TRANSLATED);
}

/*
 * Whether the packet begins a new flow although its key has a live entry: a SYN or an echo request in the opposite
 * direction, a SYN after a close or a denial, or a packet of another flow than the denied one.
 */
static __always_inline bool flow_is_new(const struct packet *p, const struct flow_entry *entry)
{
	if (denial_is_of_other_flow(p, entry))
		return true;
	if (!(p->flags & BEGINS))
		return false;
	return !entry->forward || (p->l4_proto == IPPROTO_TCP &&
				   ((entry->flags & CT_DENIED) || ct_is_closed(p->l4_proto, entry->flags)));
}

/*
 * Whether the entry is a TCP connection that a SYN in the opposite direction must not replace, whatever its sender: its
 * responder has replied, and it is not closed. The SYN itself may pass. A host that has the connection replies with an
 * acknowledgement; if the other end has lost the connection it then sends an exact RST (RFC 9293 section 3.10.7.4).
 */
static __always_inline bool tcp_is_open(__u8 l4_proto, __u32 flags)
{
	return l4_proto == IPPROTO_TCP && (flags & WR_CT_REPLIED) && !(flags & CT_DENIED) &&
	       !ct_is_closed(l4_proto, flags);
}

/*
 * Whether an acknowledgement number is the expected one, or slightly above: data in a SYN or with a SYN-ACK. A blind
 * guess succeeds once in 65,536 times.
 */
static __always_inline bool ack_is_near(__u32 ack, __u32 expected)
{
	return ack - expected <= 0xffff;
}

/*
 * Whether a segment proves that the responder has replied, or that the connection is established. It is established as
 * in nf_conntrack: by the initiator's acknowledgement of the responder's SYN. A connection whose SYN was not seen is
 * established by any reply; if an end has a policy, such a reply is dropped (packet_is_reversed()).
 */
static __always_inline enum flow_reply segment_reply(const struct flow *f, const struct numbers *n)
{
	const __u32 flags = f->ct.flags;

	if ((flags & WR_CT_ESTABLISHED) || (f->flags & (TCP_ACK | TCP_RST)) != TCP_ACK)
		return FLOW_UNREPLIED;
	if (f->flags & TCP_SYN)
		return f->forward ? FLOW_UNREPLIED : FLOW_REPLIED;
	if (f->forward == !(flags & WR_CT_REPLIED))
		return FLOW_UNREPLIED;
	if (f->forward)
		return ack_is_near(n->ack, f->ct.ack[0]) ? FLOW_CONFIRMED : FLOW_UNREPLIED;
	return !f->ct.ack[1] || ack_is_near(n->ack, f->ct.ack[1]) ? FLOW_CONFIRMED : FLOW_UNREPLIED;
}

/*
 * Whether a RST is exact, so that its receiver accepts it: its sequence number is the other end's last acknowledgement
 * (RFC 5961 section 3.2), or it acknowledges the SYN that it rejects.
 */
static __always_inline bool rst_is_exact(const struct flow *f, const struct numbers *n)
{
	const struct wr_ct *ct = &f->ct;

	if (f->forward)
		return n->seq == ct->ack[1];
	if (!(ct->flags & WR_CT_REPLIED) && (f->flags & TCP_ACK))
		return n->ack == ct->ack[1];
	return n->seq == ct->ack[0] && ct->ack[0];
}

/*
 * Whether the sender is the end with the packet's source address. An endpoint's source is checked when it sends, here
 * or at its own node; a node's own source is checked with its tunnel packet (unforgeable only with --tunnel-key). A RST
 * of such a sender closes the flow whatever its number is. The entry's numbers would be too old: most segments between
 * pods use the verdict cache.
 */
static __always_inline bool sender_is_authentic(const struct flow *f)
{
	return f->hook == HOOK_FROM_POD || (f->hook == HOOK_FROM_NODE && f->peer_identity != WR_ID_WORLD);
}

/* Whether a RST of either end cannot be forged (sender_is_authentic()), so that its number does not matter. */
static __always_inline bool ends_are_authentic(const struct wr_ct *ct, __u64 peer)
{
	if (end_is_local(ct->initiator) && end_is_local(ct->responder))
		return true;
	return (end_is_remote(ct->initiator) || end_is_remote(ct->responder)) && peer != WR_ID_WORLD;
}

/* Stores the segment's acknowledgement number, or the one that the other end must send. */
static __always_inline void segment_record(struct flow *f, const struct numbers *n)
{
	struct wr_ct *ct = &f->ct;

	if ((ct->flags & WR_CT_ESTABLISHED) || f->reply == FLOW_CONFIRMED) {
		if ((f->flags & (TCP_ACK | TCP_RST)) != TCP_ACK || ends_are_authentic(ct, f->peer))
			return;
		f->changes |= *ack_of(ct, !f->forward) != n->ack;
		*ack_of(ct, !f->forward) = n->ack;
	} else if (f->forward && (f->flags & BEGINS) && !(ct->flags & WR_CT_REPLIED)) {
		f->changes = true;
		ct->ack[1] = n->seq + 1;
	} else if (f->reply == FLOW_REPLIED && ack_is_near(n->ack, ct->ack[1])) {
		ct->ack[0] = n->seq + 1;
		ct->ack[1] = n->ack;
	}
}

static __always_inline void segment_new(struct flow *f, const struct numbers *n)
{
	f->ct.ack[0] = f->flags & TCP_ACK ? n->ack : 0;
	f->ct.ack[1] = f->flags & TCP_SYN ? n->seq + 1 : 0;
}

/*
 * A segment that may be forged does not extend the timeout: a RST that is not exact, or one that should acknowledge a
 * reply and does not.
 */
static __always_inline void segment_existing(struct flow *f, const struct numbers *n)
{
	const bool rst = f->flags & TCP_RST, exact = rst && (sender_is_authentic(f) || rst_is_exact(f, n));
	const bool unproven = f->forward && (f->ct.flags & (WR_CT_REPLIED | WR_CT_ESTABLISHED)) == WR_CT_REPLIED;

	f->reply = segment_reply(f, n);
	segment_record(f, n);
	if (exact) {
		f->ct.flags |= WR_CT_RESET;
		f->changes = true;
	}
	if (f->step != FLOW_REFRESH && f->step != FLOW_REVALIDATED)
		return;
	if (f->reply)
		f->step = FLOW_PROGRESS;
	else if (!exact && (rst || unproven))
		f->step = FLOW_PASS;
}

/*
 * Whether the responder's first segment is neither a SYN-ACK nor a RST. It belongs to another connection, which the
 * responder itself has initiated between the same ports, and which the initiator's bare SYN would reverse. If an end
 * has a policy, that must not make the segment pass as a reply.
 */
static __always_inline bool packet_is_reversed(const struct packet *p, const struct flow_entry *entry)
{
	if (entry->forward || p->l4_proto != IPPROTO_TCP || (entry->flags & WR_CT_REPLIED) ||
	    (p->flags & (TCP_RST | FOLLOWS)))
		return false;
	return (p->flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK);
}

#endif
