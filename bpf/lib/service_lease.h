/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Leases (lib/lease.h) of flows through a service: for about a second, to whom such a packet goes and what becomes of the
 * end that is the service's. Without one such a packet takes 600 to 800 ns longer than a direct one, with one 150 to 200
 * (single calls). Several words, which two processors may write at once: the one by which such a lease is believed is a
 * hash of all the others too.
 *
 * Leases are given for what conntrack has just let pass, both ways at once, from the first answer on, under the revisions and
 * identities for which the entry says that it was judged: whoever has others by then finds another word. They are given for
 * entries of ct only, which nobody evicts; where one is replaced, its leases go first (service_leases_end()). What is left of
 * a connection that is over still goes by them, whose entry may be evicted: its ports would have to come again within that
 * second, after more ends of others than ct_new has room for. UDP on its way to a service has none: its backend may have to be
 * another one with each packet.
 */
#ifndef WARREN_LIB_SERVICE_LEASE_H
#define WARREN_LIB_SERVICE_LEASE_H

#include "lib/flow.h"
#include "lib/flow_entry.h"
#include "lib/lease.h"
#include "lib/translation.h"

#define SERVICE_LEASE_BITS 13

struct service_lease {
	__u64 word;
	__u32 tag;  /* of the packet's hash: whether it is worth looking further */
	__u32 peer; /* ifindex of the pod that gets it, or WR_REMOTE | slot of the node that does, or that has sent it */
	union addr addr; /* what its source, */
	__be16 port;
	__u16 answers;   /* if it is from a backend, */
	__u32 pad;       /* else its destination becomes */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SERVICE_LEASE_BITS);
	__type(key, __u32);
	__type(value, struct service_lease);
} service_leases SEC(".maps") __weak;

/* Of a packet as it comes, between an endpoint, p->ifindex, and an address. */
static __always_inline __u64 service_lease_hash(const struct packet *p, const union addr *far, const bool v6)
{
	return lease_mix(lease_mix_address(lease_begin(p, LEASE_SERVICE, v6), far, v6), p->ifindex);
}

static __always_inline struct service_lease *service_lease_at(__u64 hash)
{
	const __u32 slot = hash >> (64 - SERVICE_LEASE_BITS);

	return bpf_map_lookup_elem(&service_leases, &slot);
}

/* All of it but the tag: what it says, and under which revisions and identities. */
static __always_inline __u64 service_lease_word(__u64 h, const struct service_lease *l, __u64 revisions, __u64 own_identity,
						__u64 peer_identity, const bool v6)
{
	h = lease_mix(h, revisions);
	h = lease_mix(h, own_identity + (ct_now() >> LEASE_TICKS_SHIFT));
	h = lease_mix(h, peer_identity);
	h = lease_mix(h, (__u64)l->peer << 32 | (__u32)l->port << 16 | l->answers);
	return lease_mix_address(h, &l->addr, v6);
}

/* What begins has none; what ends only makes its entry end, too. */
#define SERVICE_LEASE_NEVER (TCP_SYN | BEGINS | ASSOCIATES | FOLLOWS)

/* --- taken -------------------------------------------------------------------------------------------------------- */

/* A packet that may have a lease. */
struct service_packet {
	__u32 traits;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	bool failed;   /* it has one, but could not be rewritten */
	__u32 ifindex; /* of the endpoint that it is judged for */
	__u32 node;    /* WR_REMOTE | slot of the node that has sent it, */
	__u64 sender;  /* and as whom; 0: the endpoint has */
	/* What is found; here, since a stack is small. */
	struct service_lease lease;
	struct nat nat;
};

/*
 * The word for a packet that goes to `daddr`. Of a pod elsewhere the cluster's revision counts and, if it is that which has
 * sent the packet, as whom. 0: an end has another address, or is no more.
 */
static __always_inline __u64 service_lease_now(__u64 h, const struct service_lease *l, const struct service_packet *sp,
					       const union addr *daddr, const bool v6)
{
	const struct wr_endpoint *ep = endpoint_get(sp->ifindex), *peer = NULL;
	union policy_word own, theirs = { 0 };

	if (!ep)
		return 0;
	own.both = policy_word_read(ep);
	if (!end_is_local(l->peer))
		return service_lease_word(h, l, (__u64)own.revision << 32 | cluster_revision(), 0, sp->sender, v6);
	peer = endpoint_get(l->peer);
	if (!peer || !addr_is_endpoints(daddr, peer, v6))
		return 0;
	theirs.both = policy_word_read(peer);
	return service_lease_word(h, l, (__u64)own.revision << 32 | theirs.revision, ep->identity, peer->identity, v6);
}

/* The flow's entry, as by flow_goes_on(): a FIN or RST says that it soon ends. False: that takes more than a look at it. */
OUT_OF_LINE int service_flow_ends(const struct addresses *at, const struct service_packet *sp, __u32 sport, __u32 dport)
{
	struct packet p = { .at = (void *)at };
	struct found found = { 0 };
	struct wr_ct *ct;
	union ct_key key;
	__u32 ends, swapped;

	if (!at || !sp)
		return false;
	p.sport = sport;
	p.dport = dport;
	p.l4_proto = sp->l4_proto;
	p.traits = sp->traits;
	swapped = IN_FAMILY(sp->v6, ct_key, &p, &key);
	ct = ct_established(&key, sp->v6);
	if (!ct || ct_expired(ct, ct_now()))
		return false;
	found.flags = ct->flags;
	if ((found.flags & (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED)) != WR_CT_TRANSLATED)
		return false;
	found.forward = !(swapped ^ (found.flags & WR_CT_SWAPPED));
	ends = tcp_progress(&p, &found);
	if (!ct_is_over(sp->l4_proto, ends))
		ends |= __sync_fetch_and_or(&ct->flags, ends & CT_ENDED) & CT_FIN_BOTH; /* both may come at once */
	if (ct_is_over(sp->l4_proto, ends))
		return false;
	ct->expires = ct_now() + ct_life(sp->l4_proto, ends);
	return true;
}

/* The destination is the backend, and what is remembered is the service; or the other way round. */
static __always_inline void service_lease_swap(struct addresses *at, struct service_lease *l)
{
	const union addr was = at->daddr;

	at->daddr = l->addr;
	l->addr = was;
}

static __always_inline __u32 service_lease_take(struct __sk_buff *skb, struct addresses *at, struct service_packet *sp,
						const bool v6)
{
	const struct packet p = { .ifindex = sp->ifindex, .sport = sp->sport, .dport = sp->dport, .l4_proto = sp->l4_proto };
	const __u64 hash = service_lease_hash(&p, sp->node ? &at->saddr : &at->daddr, v6);
	const struct service_lease *found = service_lease_at(hash);
	struct service_lease *l = &sp->lease;

	if (!found || found->tag != (__u32)hash)
		return 0;
	*l = *found;
	asm volatile("" : : : "memory"); /* what is looked at is what is used */
	/* 0: its flow has been replaced. */
	if (!l->word || (sp->node && l->peer != sp->node) ||
	    l->word != service_lease_now(hash, l, sp, l->answers ? &at->daddr : &l->addr, v6))
		return 0;
	if (!l->answers)
		service_lease_swap(at, l);
	/* Whether a RST is exact takes more than a look at the entry. */
	if ((sp->traits & TCP_RST) ||
	    ((sp->traits & TCP_FIN) && !service_flow_ends(at, sp, sp->sport, l->answers ? sp->dport : l->port))) {
		if (!l->answers)
			service_lease_swap(at, l);
		return 0;
	}
	sp->nat = (struct nat){ .l4_off = sp->traits >> L4_OFF_SHIFT, .from = l->answers ? sp->sport : sp->dport,
				.to = l->port, .l4_proto = sp->l4_proto, .v6 = v6, .source = l->answers };
	sp->failed = l->answers ? !nat_quickly(skb, &at->saddr, &l->addr, &sp->nat, v6)
				: !nat_quickly(skb, &l->addr, &at->daddr, &sp->nat, v6);
	return l->peer;
}

/*
 * Whether the packet has a lease, and then to whom it goes: it has been rewritten, and `at` is about what it has become.
 * All in one function, without helpers as far as possible: with what returns cost on some processors, calls are what is dear.
 */
OUT_OF_LINE int service_lease_use(struct __sk_buff *skb, struct addresses *at, struct service_packet *sp)
{
	if (!at || !sp)
		return 0;
	return IN_FAMILY(sp->v6, service_lease_take, skb, at, sp);
}

/* --- given -------------------------------------------------------------------------------------------------------- */

/* Whether what has just passed is one of many that will. What it is in is looked at besides. */
static __always_inline bool service_lease_is_for(const struct flow *f)
{
	if (dry_run || !lease_secret.seed || (f->traits & (TCP_FIN | TCP_RST | FOLLOWS)) || f->via_stack)
		return false;
	if (!f->ct.initiator || !f->ct.responder || f->ct.initiator == f->ct.responder)
		return false;
	return f->step == FLOW_MOVES_ON || f->step == FLOW_FOUND_AGAIN || f->step == FLOW_ANSWERED || f->step == FLOW_STALE;
}

/*
 * For `ifindex`, and what it sends or gets, between the ports `sport` and `dport` and `far`; l: all but tag and word. `own`: it
 * is the initiator. Under what the entry says that it was judged: service_lease_now() finds that if nothing has changed.
 */
static __always_inline void service_lease_put(struct packet *p, const union addr *far, const struct service_lease *l,
					      const struct wr_ct *ct, bool own, const bool v6)
{
	const struct wr_judgement *mine = own ? &ct->at[WR_EGRESS] : &ct->at[WR_INGRESS];
	const struct wr_judgement *theirs = own ? &ct->at[WR_INGRESS] : &ct->at[WR_EGRESS];
	const bool local = end_is_local(l->peer);
	const __u64 hash = service_lease_hash(p, far, v6);
	struct service_lease *to = service_lease_at(hash);

	if (!to)
		return;
	to->tag = hash;
	to->peer = l->peer;
	to->addr = l->addr;
	to->port = l->port;
	to->answers = l->answers;
	to->word = service_lease_word(hash, l, (__u64)mine->revision << 32 | theirs->revision, local ? theirs->peer : 0,
				      local || l->answers ? mine->peer : 0, v6);
}

/* Whether what the client sends to the service goes to this backend now: a former one may still answer. */
OUT_OF_LINE int service_is_backends(const struct addresses *at, const struct translation *t, __u32 client)
{
	const struct wr_ct_service *entry;
	struct addresses asked;
	union ct_key key;

	if (!at || !t || !t->leased || t->l4_proto == IPPROTO_UDP)
		return false;
	asked = (struct addresses){ .saddr = t->answers ? at->daddr : at->saddr, .daddr = t->service };
	service_key(&key, WR_CT_FLOW, &asked, t->answers ? t->dport : t->sport, t->service_port, t);
	entry = (void *)ct_established(&key, t->v6);
	return entry && (entry->flags & WR_CT_SERVICE) && entry->initiator == client &&
	       entry->port == (t->answers ? t->sport : t->dport) &&
	       service_addr_equal(&entry->addr, t->answers ? &at->saddr : &at->daddr, t->v6);
}

/* For what the client sends to the service. */
static __always_inline void service_lease_put_asked(const struct addresses *at, const struct translation *t,
						    const struct wr_ct *ct, const bool v6)
{
	const struct service_lease l = { .peer = ct->responder, .addr = t->answers ? at->saddr : at->daddr,
					 .port = t->answers ? t->sport : t->dport };
	struct packet p = { .sport = t->answers ? t->dport : t->sport, .dport = t->service_port, .l4_proto = t->l4_proto,
			    .ifindex = ct->initiator };

	service_lease_put(&p, &t->service, &l, ct, true, v6);
}

OUT_OF_LINE int service_lease_give_asked(const struct addresses *at, const struct translation *t, const struct wr_ct *ct)
{
	if (at && t && ct)
		IN_FAMILY(t->v6, service_lease_put_asked, at, t, ct);
	return 0;
}

/* For what the backend answers, at its endpoint or, of one elsewhere, at the client's. */
static __always_inline void service_lease_put_answers(const struct addresses *at, const struct translation *t,
						      const struct wr_ct *ct, const bool v6)
{
	const bool remote = end_is_remote(ct->responder);
	const union addr *client = t->answers ? &at->daddr : &at->saddr, *backend = t->answers ? &at->saddr : &at->daddr;
	const struct service_lease l = { .peer = remote ? ct->responder : ct->initiator, .addr = t->service,
					 .port = t->service_port, .answers = true };
	struct packet p = { .sport = t->answers ? t->sport : t->dport, .dport = t->answers ? t->dport : t->sport,
			    .l4_proto = t->l4_proto, .ifindex = remote ? ct->initiator : ct->responder };

	service_lease_put(&p, remote ? backend : client, &l, ct, remote, v6);
}

OUT_OF_LINE int service_lease_give_answers(const struct addresses *at, const struct translation *t,
					   const struct wr_ct *ct)
{
	if (at && t && ct && t->leased)
		IN_FAMILY(t->v6, service_lease_put_answers, at, t, ct);
	return 0;
}

/*
 * What a client has sent to a service and goes on: in f's place is a translation then, which says whether it is to be
 * leased, or is over; t->lives: the packet has established it.
 */
OUT_OF_LINE int service_goes_on(const struct addresses *at, struct flow *f)
{
	struct translation *t = (void *)f;
	const struct wr_ct_service *origin;
	union ct_key key;
	bool over, established, confirmed;

	if (!at || !f)
		return 0;
	confirmed = f->answers == FLOW_CONFIRMED;
	over = f->established && ct_is_over(f->l4_proto, f->ct.flags);
	t->leased = f->l4_proto != IPPROTO_UDP && f->established && service_lease_is_for(f);
	t->over = false;
	t->lives = confirmed;
	if (!t->leased && !over)
		return 0;
	service_key(&key, WR_CT_ORIGIN, at, f->sport, f->dport, t);
	origin = (void *)ct_find(&key, &established, f->v6);
	if (!origin) {
		t->leased = false;
		return 0;
	}
	t->service.a6 = origin->addr;
	t->service_port = origin->port;
	t->answers = false;
	t->over = over;
	t->leased = t->leased && established && !over;
	return 0;
}

/* --- over before their second is ---------------------------------------------------------------------------------- */

static __always_inline void service_lease_drop(const struct packet *p, const union addr *far, const bool v6)
{
	struct service_lease *l = service_lease_at(service_lease_hash(p, far, v6));

	if (l)
		l->word = 0;
}

/* What the client sends to the service goes to another backend from now on. */
OUT_OF_LINE int service_lease_forget(const struct translation *t, __u32 client)
{
	struct packet p = { 0 };

	if (!t)
		return 0;
	p.sport = t->sport;
	p.dport = t->service_port;
	p.l4_proto = t->l4_proto;
	p.ifindex = client;
	IN_FAMILY(t->v6, service_lease_drop, &p, &t->service);
	return 0;
}

/* Both ways, where an endpoint is one of the ends. */
static __always_inline void service_lease_drop_both(struct packet *p, __u32 ifindex, const union addr *far, const bool v6)
{
	const __be16 port = p->sport;

	p->ifindex = ifindex;
	service_lease_drop(p, far, v6);
	p->sport = p->dport;
	p->dport = port;
	service_lease_drop(p, far, v6);
	p->dport = p->sport;
	p->sport = port;
}

/* What the responder's answers had by a flow between the same ports, which was none through a service. */
static __always_inline void lease_drop_answers(struct packet *p, const union addr *responder, __u32 initiator_ifindex,
					       __u32 responder_ifindex, const bool v6)
{
	const __be16 port = p->sport;
	__u64 *lease = NULL;

	p->sport = p->dport;
	p->dport = port;
	p->ep = endpoint_get(initiator_ifindex);
	if (end_is_local(responder_ifindex)) {
		p->ifindex = responder_ifindex;
		p->peer_ifindex = initiator_ifindex;
		lease = lease_by_hash(lease_local_hash(p, v6));
	} else if (p->ep) {
		p->ifindex = initiator_ifindex;
		p->word.both = policy_word_read(p->ep);
		lease = lease_by_hash(lease_remote_hash(p, LEASE_FROM_NODE, responder, v6));
	}
	if (lease)
		*lease = 0;
	p->dport = p->sport;
	p->sport = port;
}

static __always_inline void leases_drop(struct packet *p, const struct addresses *at, const struct flow *f, const bool v6)
{
	if (end_is_local(f->ct.initiator)) {
		service_lease_drop_both(p, f->ct.initiator, &at->daddr, v6);
		if (f->ct.flags & WR_CT_TRANSLATED)
			lease_drop_answers(p, &at->daddr, f->ct.initiator, f->ct.responder, v6);
	}
	if (end_is_local(f->ct.responder))
		service_lease_drop_both(p, f->ct.responder, &at->saddr, v6);
}

/*
 * A flow begins which goes through a service, or in the place of one that did: what was between the same ends and ports
 * before has no leases any more. An entry of ct_new may have been evicted, and its leases have not.
 */
OUT_OF_LINE int service_leases_end(const struct addresses *at, const struct flow *f)
{
	struct packet p = { 0 };

	if (!at || !f)
		return 0;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	IN_FAMILY(f->v6, leases_drop, &p, at, f);
	return 0;
}

#endif
