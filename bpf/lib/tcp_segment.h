/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a TCP segment says about its flow's state: by its flags, and by its sequence and acknowledgement numbers. */
#ifndef WARREN_LIB_TCP_SEGMENT_H
#define WARREN_LIB_TCP_SEGMENT_H

#include <linux/tcp.h>
#include "lib/flow_entry.h"

#define TCP_LENGTH_OFF 12 /* of the header's length, in the byte's upper half */

/* Numbers of a TCP segment, in host byte order. */
struct numbers {
	__u32 seq, ack;
};

/* --- the sender --------------------------------------------------------------------------------------------------- */

/*
 * Whether the sender is the end with the packet's source address. An endpoint's source is checked when it sends, here
 * or at its own node; a node's own source is checked with its tunnel packet (unforgeable only with --tunnel-key). What
 * an endpoint sends through the stack, which may translate it, is named by the device where it entered; the host's own
 * replies to the world through another node come from its stack (to_uplink). A FIN or RST of such a sender counts
 * whatever its number is: the entry's numbers would be too old, since most segments between pods use the verdict cache.
 */
static __always_inline bool sender_is_authentic(const struct flow *f)
{
	if (f->hook == HOOK_TO_POD)
		return end_is_local(f->peer_ifindex) && f->peer_ifindex == other_end(&f->ct, !f->forward);
	if (f->hook == HOOK_FROM_HOST)
		return f->ifindex || (f->to_host && !f->forward);
	return f->hook == HOOK_FROM_POD || f->peer_identity != WR_ID_WORLD;
}

/* Whether all segments of the flow have such a sender. `peer`: identity of the end that is no endpoint of this node. */
static __always_inline bool ends_are_authentic(const struct wr_ct *ct, __u64 peer)
{
	return ct->initiator && ct->responder && peer != WR_ID_WORLD;
}

/* --- the state ---------------------------------------------------------------------------------------------------- */

static __always_inline __u32 tcp_fin_flag(bool forward)
{
	return forward ? WR_CT_FIN_INITIATOR : WR_CT_FIN_RESPONDER;
}

/*
 * The TCP state after this packet, except for a RST, and a FIN that may be forged (segment_existing()). A segment after
 * a RST proves that the receiver ignored the RST.
 */
static __always_inline __u32 tcp_progress(const struct flow *f, const struct packet *p, const struct flow_entry *entry)
{
	if (p->flags & TCP_RST)
		return entry->flags;
	if (p->flags & TCP_FIN)
		return entry->flags | (sender_is_authentic(f) ? tcp_fin_flag(entry->forward) : 0);
	return entry->flags & ~WR_CT_RESET;
}

/*
 * Whether the entry is a TCP connection that a SYN in the opposite direction must not replace, whatever its sender: its
 * responder has replied, and it is not closed. The SYN itself may pass. A host that has the connection replies with an
 * acknowledgement; if the other end has lost the connection it then sends an exact RST (RFC 9293 section 3.10.7.4).
 */
static __always_inline bool tcp_is_open(__u8 l4_proto, __u32 flags)
{
	return l4_proto == IPPROTO_TCP && (flags & WR_CT_REPLIED) && !(flags & WR_CT_DENIED) &&
	       !wr_ct_is_closed(l4_proto, flags);
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

/* --- numbers of a sender that is not authentic -------------------------------------------------------------------- */

/* The sequence number that the other end expects, its last acknowledgement; 0: unknown. */
static __always_inline __u32 seq_expected(const struct flow *f)
{
	return *ack_of((struct wr_ct *)&f->ct, f->forward);
}

static __always_inline bool number_is_near(__u32 number, __u32 expected, __u32 distance)
{
	return number - expected + distance <= 2 * distance;
}

/*
 * Whether both numbers are near what the other end, whose source is checked, has sent last: its acknowledgement, and
 * its sequence number. What the sender itself has sent before is no evidence: that may be forged, too. Wide enough for
 * what is under way or lost on a fast path: data that is not acknowledged yet, and a retransmission of what is. A blind
 * guess succeeds once in 2^25 times.
 */
#define SEQ_NEAR (1u << 20)
#define ACK_NEAR (1u << 17)
static __always_inline bool segment_is_near(const struct flow *f, const struct numbers *n)
{
	const __u32 expected = seq_expected(f);

	return (f->flags & TCP_ACK) && expected && number_is_near(n->seq, expected, SEQ_NEAR) &&
	       number_is_near(n->ack, *ack_of((struct wr_ct *)&f->ct, !f->forward), ACK_NEAR);
}

/*
 * Whether a FIN or RST counts. Its receiver accepts it if its sequence number is exactly the expected one (RFC 5961
 * section 3.2), or if it acknowledges the SYN that it rejects. Data before it may not be acknowledged yet: then both
 * numbers must be near.
 */
static __always_inline bool segment_ends(const struct flow *f, const struct numbers *n)
{
	const __u32 expected = seq_expected(f);

	if (!f->forward && !(f->ct.flags & WR_CT_REPLIED) && (f->flags & TCP_ACK))
		return n->ack == f->ct.ack[1];
	return (expected && n->seq == expected) || segment_is_near(f, n);
}

/*
 * Whether the world's segment proves that the flow has moved to the path by which it came: by its numbers, or without
 * an acknowledgement by the exact one, as a repeated SYN. Nothing is lost to the first SYN before there is a reply.
 */
static __always_inline bool segment_moves(const struct flow *f, const struct numbers *n)
{
	const __u32 expected = seq_expected(f);

	if (f->flags & TCP_ACK)
		return segment_is_near(f, n);
	if (!(f->ct.flags & WR_CT_REPLIED))
		return f->flags & BEGINS;
	return expected && (n->seq == expected || n->seq + 1 == expected);
}

/* --- what is stored ----------------------------------------------------------------------------------------------- */

/* The sequence number is only compared with ACK_NEAR: it is stored only if it differs by more than this. */
#define SEQ_SLACK (1u << 14)

/*
 * Stores the numbers of a segment whose sender is authentic, as required of the other end (abi/conntrack.h). Returns
 * whether they have changed.
 */
static __always_inline bool numbers_record(struct wr_ct *ct, bool forward, const struct numbers *n)
{
	__u32 *ack = ack_of(ct, !forward), *other = ack_of(ct, forward);
	const bool changed = *ack != n->ack, far = !number_is_near(n->seq, *other, SEQ_SLACK);

	if (changed)
		*ack = n->ack;
	if (far)
		*other = n->seq;
	return changed || far;
}

/* Stores the segment's numbers, or during the handshake the acknowledgement that the other end must send. */
static __always_inline void segment_record(struct flow *f, const struct numbers *n)
{
	struct wr_ct *ct = &f->ct;

	if ((ct->flags & WR_CT_ESTABLISHED) || f->reply == FLOW_CONFIRMED) {
		if ((f->flags & (TCP_ACK | TCP_RST)) == TCP_ACK && sender_is_authentic(f) &&
		    !ends_are_authentic(ct, f->peer))
			f->changes |= numbers_record(ct, f->forward, n);
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
 * A segment that may be forged does not extend the timeout: a RST that does not count, or one that should acknowledge a
 * reply and does not.
 */
static __always_inline void segment_existing(struct flow *f, const struct numbers *n)
{
	const bool rst = f->flags & TCP_RST;
	const bool ends = (f->flags & (TCP_RST | TCP_FIN)) && (sender_is_authentic(f) || segment_ends(f, n));
	const __u32 end = rst ? WR_CT_RESET : tcp_fin_flag(f->forward);
	const bool unproven = f->forward && (f->ct.flags & (WR_CT_REPLIED | WR_CT_ESTABLISHED)) == WR_CT_REPLIED;

	f->reply = segment_reply(f, n);
	segment_record(f, n);
	if (ends) {
		f->changes |= rst || !(f->ct.flags & end);
		f->ct.flags |= end;
	}
	if (f->step != FLOW_REFRESH && f->step != FLOW_REVALIDATED)
		return;
	if (f->reply)
		f->step = FLOW_PROGRESS;
	else if (!ends && (rst || (unproven && !f->moved)))
		f->step = FLOW_PASS;
}

/* Reads the numbers of a packet with these flags; false: it has none. */
static __always_inline bool numbers_read(struct __sk_buff *skb, __u32 flags, struct numbers *n)
{
	const __u32 off = (flags >> L4_OFF_SHIFT) + __builtin_offsetof(struct tcphdr, seq);

	if ((flags & FOLLOWS) || bpf_skb_load_bytes(skb, off, n, sizeof(*n)))
		return false;
	n->seq = bpf_ntohl(n->seq);
	n->ack = bpf_ntohl(n->ack);
	return true;
}

/*
 * Whether the segment acknowledges and does nothing else: it has no data, and no later fragment of it follows. So an end
 * replies to a SYN that has met a connection which the other end no longer has; the other end then resets that one
 * (RFC 9293 section 3.5.1). A padded frame counts as one with data. `room`: for a byte, as the stack has no more.
 */
static __always_inline bool segment_acknowledges(struct __sk_buff *skb, const struct flow *f, __u8 *room)
{
	const __u32 off = f->flags >> L4_OFF_SHIFT;

	if ((f->flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | FOLLOWS | FIRST_FRAGMENT)) != TCP_ACK ||
	    bpf_skb_load_bytes(skb, off + TCP_LENGTH_OFF, room, sizeof(*room)))
		return false;
	return off + (*room >> 4) * 4 == skb->len;
}

/* Updates the state that flow_classify() has set by the TCP segment's numbers. */
static __always_inline void segment(struct __sk_buff *skb, struct flow *f)
{
	struct numbers n = { 0 };

	if (f->step != FLOW_NEW && (f->ct.flags & WR_CT_ESTABLISHED) && !(f->flags & TCP_RST) &&
	    ends_are_authentic(&f->ct, f->peer))
		return;
	if (!numbers_read(skb, f->flags, &n))
		return;
	if (f->step == FLOW_NEW)
		segment_new(f, &n);
	else
		segment_existing(f, &n);
	if (f->reversed && segment_acknowledges(skb, f, (__u8 *)&n))
		f->reversed = FLOW_IS_HALF_OPEN;
}

OUT_OF_LINE int flow_segment(struct __sk_buff *skb, struct flow *f)
{
	if (!f)
		return 0;
	segment(skb, f);
	return 0;
}

#endif
