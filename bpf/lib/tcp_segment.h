/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a TCP segment says about its flow's state: by its flags, and by its sequence and acknowledgement numbers. */
#ifndef WARREN_LIB_TCP_SEGMENT_H
#define WARREN_LIB_TCP_SEGMENT_H

#include <linux/tcp.h>
#include "lib/flow_entry.h"

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

/* Updates the state that flow_classify() has set by the TCP segment's numbers. */
static __always_inline void segment(struct __sk_buff *skb, struct flow *f)
{
	struct numbers n = { 0 };

	if (f->step != FLOW_NEW && (f->ct.flags & WR_CT_ESTABLISHED) && !(f->flags & TCP_RST) &&
	    ends_are_authentic(&f->ct, f->peer))
		return;
	if (!(f->flags & FOLLOWS) &&
	    !bpf_skb_load_bytes(skb, (f->flags >> L4_OFF_SHIFT) + __builtin_offsetof(struct tcphdr, seq), &n,
				sizeof(n))) {
		n.seq = bpf_ntohl(n.seq);
		n.ack = bpf_ntohl(n.ack);
		if (f->step == FLOW_NEW)
			segment_new(f, &n);
		else
			segment_existing(f, &n);
	}
}

OUT_OF_LINE int flow_segment(struct __sk_buff *skb, struct flow *f)
{
	if (!f)
		return 0;
	segment(skb, f);
	return 0;
}

#endif
