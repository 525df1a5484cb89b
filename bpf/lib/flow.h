/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet's flow: its entry is found and still right, or it is judged again, or it begins. All programs come by here.
 * from_pod's packets are judged by the pod as sender; to_pod's by the pod as receiver and, if the packet entered by
 * another pod's device, by that one as sender, whose address the stack may have translated; from_host's by the pod that
 * has sent them, likewise; from_uplink's by the pod that gets them. An end on another node is judged there.
 *
 * Nearly every packet goes on with a flow whose judgement holds and whose state stays as it is: flow_goes_on().
 * Everything else is decided out of line (lib/flow_decide.h): flow_fill() copies the entry, flow_locate() finds whose
 * the other address is now, flow_look() says what is to be done, flow_ends() between whom a new flow is, judge_flow()
 * judges, flow_settle() writes. One after the other, since a BPF stack is small: 512 bytes for whoever calls whom, each
 * rounded up to 32.
 *
 * Of an end that is no endpoint of this node the entry's judgement holds, in place of a policy's revision, that of the
 * cluster under which it was found where it is: as long as that stands nothing is looked up.
 *
 * What the stack forwards from the world to another node's pod is judged there; here it has an entry between nobody
 * (packet.ifindex 0) and that node, by which alone the answers are let into the stack.
 */
#ifndef WARREN_LIB_FLOW_H
#define WARREN_LIB_FLOW_H

#include "lib/flow_decide.h"
#include "lib/lease.h"

/* `expires` is written only if it moves by more than that, about a second: a shared line stays clean. */
#define REFRESH_TICKS 8

/* What a program has in memory: the addresses, and one after the other what reading, finding and judging need. */
struct scratch {
	struct addresses at;
	union {
		struct transport transport;
		struct {
			union ct_key key;
			struct lease lease;
		};
		struct flow flow;
	};
};

/* What the functions above are told. */
static __always_inline void flow_fill(const struct packet *p, struct flow *f, const struct found *found,
				      const enum way way, const bool v6)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->ifindex = p->ifindex;
	f->peer_ifindex = p->peer_ifindex;
	f->peer_identity = p->peer_identity;
	f->cluster_revision = way == WAY_FROM_POD || way == WAY_TO_POD ? cluster_revision() : p->cluster_revision;
	f->traits = p->traits;
	f->sport = p->sport;
	f->dport = p->dport;
	f->l4_proto = p->l4_proto;
	f->way = way;
	f->v6 = v6;
	if (!found->ct)
		return;
	f->found = FLOW_LIVES;
	f->established = found->established;
	f->ct = *found->ct;
}

/*
 * Whether the packet just goes on with its flow, whose only change is that it lives on, or, by FIN or RST, that it soon
 * ends. `found` is what else has to be decided by.
 */
static __always_inline bool flow_goes_on(const struct packet *p, union ct_key *key, struct found *found,
					 const enum way way, const bool v6)
{
	__u32 expires, ends;

	found->swapped = ct_key(p, key, v6);
	if (!flow_find(found, key, v6) || dry_run || (p->traits & FOLLOWS))
		return false;
	if ((found->flags & (CT_DENIED | WR_CT_RESET)) || !(found->forward || (found->flags & WR_CT_ANSWERED)))
		return false;
	if (flow_begins_anew(p, found) || !flow_fits(p, found, way, v6) || !flow_is_current(p, found, way))
		return false;
	ends = tcp_progress(p, found);
	expires = found->now + ct_life(p->l4_proto, ends);
	if (ends == found->flags && expires - found->ct->expires + REFRESH_TICKS <= 2 * REFRESH_TICKS)
		return true;
	/* An answered flow that is in ct_new for want of room tries again. */
	if (!found->forward && !found->established)
		return false;
	if (ends != found->flags)
		__sync_fetch_and_or(&found->ct->flags, ends & CT_ENDED);
	found->ct->expires = expires;
	return true;
}

/* Whether the packet just goes on with its flow, and where; lets the next ones go by `lease`, if there can be one. */
static __always_inline bool flow_continues(struct packet *p, struct scratch *s, struct found *found,
					   const struct lease *lease, const enum way way, const bool v6)
{
	if (!flow_goes_on(p, &s->key, found, way, v6))
		return false;
	p->via_stack = found->flags & WR_CT_VIA_STACK;
	if (way == WAY_FROM_POD) {
		p->peer = found->other;
		p->peer_ifindex = other_end(found->ct, found->forward);
		p->peer_identity = p->peer ? p->peer->identity : WR_ID_UNKNOWN;
	}
	if ((way == WAY_FROM_POD || way == WAY_FROM_NODE) && !p->via_stack && p->peer_ifindex)
		lease_give(lease, p->peer_ifindex);
	return true;
}

/* Whether the packet's flow lets it pass. WAY_FROM_POD: p->peer_ifindex is where it goes then, if not to the stack. */
static __always_inline enum wr_reason flow_pass(struct packet *p, struct scratch *s, const struct lease *lease,
						const enum way way, const bool v6)
{
	struct flow *f = &s->flow;
	struct found found = { 0 };
	enum wr_reason reason;

	if (flow_continues(p, s, &found, lease, way, v6))
		return WR_REASON_NONE;
	flow_fill(p, f, &found, way, v6);
	reason = flow_decide(p->skb, p->at, f);
	if (reason && (p->traits & RELATED))
		reason = WR_REASON_ICMP_ERROR;
	p->judged = f->judged;
	p->via_stack = f->via_stack;
	if (!way_is_out(way))
		return reason;
	p->peer_ifindex = f->peer_ifindex;
	p->peer_identity = f->peer_identity;
	p->peer = end_is_local(f->peer_ifindex) ? endpoint_get(f->peer_ifindex) : NULL;
	return !reason && end_is_local(f->peer_ifindex) && !p->peer ? WR_REASON_NO_ENDPOINT : reason;
}

#endif
