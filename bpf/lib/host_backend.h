/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Backends in a host's network: pods with hostNetwork, whose address is their node's. A client outside the cluster keeps
 * its address there, too. The packet enters the stack of the backend's node; what that host sends back passes to_uplink,
 * which finds the flow's entry:
 *
 * - the client uses this node: the flow is between 0 (the client) and WR_OWN_HOST, through a service;
 * - it uses another node, which has sent its packets through the tunnel: the flow is between that node and 0. The reply
 *   goes back to it.
 */
#ifndef WARREN_LIB_HOST_BACKEND_H
#define WARREN_LIB_HOST_BACKEND_H

#include "lib/cluster.h"
#include "lib/conntrack.h"
#include "lib/ct_clock.h"
#include "lib/flow.h"

/* Whether the flow is the world's with this host, through another node's service. */
static __always_inline bool host_flow_is_from_node(const struct wr_ct *ct)
{
	return end_is_remote(ct->initiator) && !ct->responder && !(ct->flags & WR_CT_TRANSLATED) &&
	       ct->at[WR_INGRESS].peer == WR_ID_WORLD;
}

/* Whether the flow is a client's outside with this host, through a service of this node. */
static __always_inline bool host_flow_is_own(const struct wr_ct *ct)
{
	return !ct->initiator && ct->responder == WR_OWN_HOST && (ct->flags & WR_CT_TRANSLATED);
}

static __always_inline struct wr_host_flows *host_flows_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&host_flows, &zero);
}

/* Whether there may be flows that to_uplink has to find. */
static __always_inline bool host_flows_exist(void)
{
	const struct wr_host_flows *flows = host_flows_get();

	return flows && flows->until && (__s32)(flows->until - ct_now()) >= 0;
}

/* A packet of such a flow goes to this host. Written at most once a second, so that the cache line stays clean. */
static __always_inline void host_flows_note(void)
{
	struct wr_host_flows *flows = host_flows_get();
	const __u32 until = ct_now() + WR_CT_LIFE_TCP;

	if (flows && !dry_run && until - flows->until > WR_CT_SECONDS(1))
		flows->until = until | 1;
}

/* Sets the ends for a lookup of the host's socket; returns the size of the family's part. */
static __always_inline __u32 socket_tuple(struct bpf_sock_tuple *tuple, const struct addresses *at, __be16 sport,
					  __be16 dport, const bool v6)
{
	if (v6) {
		__builtin_memcpy(tuple->ipv6.saddr, &at->saddr.a6, sizeof(tuple->ipv6.saddr));
		__builtin_memcpy(tuple->ipv6.daddr, &at->daddr.a6, sizeof(tuple->ipv6.daddr));
		tuple->ipv6.sport = sport;
		tuple->ipv6.dport = dport;
		return sizeof(tuple->ipv6);
	}
	tuple->ipv4.saddr = at->saddr.a4.v4;
	tuple->ipv4.daddr = at->daddr.a4.v4;
	tuple->ipv4.sport = sport;
	tuple->ipv4.dport = dport;
	return sizeof(tuple->ipv4);
}

/*
 * Whether the host has another connection between the same ends: one that the client has made to the backend itself. The
 * replies of both would look the same, and a forged SYN to the service would break that connection.
 */
static __always_inline bool host_connection_exists(struct __sk_buff *skb, const struct addresses *at,
						   const struct flow *f, const bool v6)
{
	struct bpf_sock_tuple tuple = { 0 };
	const __u32 size = socket_tuple(&tuple, at, f->sport, f->dport, v6);
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	bool exists;

	if (!sk)
		return false;
	exists = sk->state != BPF_TCP_LISTEN && sk->state != BPF_TCP_TIME_WAIT;
	bpf_sk_release(sk);
	return exists;
}

/*
 * Whether the packet is for a process of this host: one that listens, is connected, or has a UDP socket there. `at`, f:
 * as the packet was sent. Only for the protocols whose sockets a program can look up.
 */
static __always_inline bool host_has_socket(struct __sk_buff *skb, const struct addresses *at, const struct flow *f,
					    const bool v6)
{
	struct bpf_sock_tuple tuple = { 0 };
	const __u32 size = socket_tuple(&tuple, at, f->sport, f->nat.service_port, v6);
	struct bpf_sock *sk;

	if (f->l4_proto == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (f->l4_proto == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

OUT_OF_LINE int host_socket_exists(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	return at && f && IN_FAMILY(f->v6, host_has_socket, skb, at, f);
}

/* For a new flow with this host. `at`, f: between client and backend. */
OUT_OF_LINE int host_flow_check(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	bool exists;

	if (!at || !f || f->l4_proto != IPPROTO_TCP || !(f->flags & BEGINS))
		return WR_REASON_NONE;
	exists = IN_FAMILY(f->v6, host_connection_exists, skb, at, f);
	return exists ? WR_REASON_SERVICE_CLASH : WR_REASON_NONE;
}

#endif
