/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services for the host's own sockets (abi/socket.h): programs of a cgroup for connect(), sendmsg(), recvmsg() and
 * getpeername(). They apply to the network namespace in which Warren was loaded, whatever other namespaces' processes
 * are in the cgroup: pods' packets are translated by from_pod.
 *
 * Processes can be preempted here, also by packets: no memory of a CPU is used (SCRATCH).
 */
#include <linux/in.h>

#include "lib/addr.h"
#include "lib/host_port.h"
#include "lib/maps.h"
#include "lib/report.h"
#include "lib/service_affinity.h"
#include "lib/service_maps.h"

/* Set by the loader: the cookie of the host's network namespace. */
const volatile __u64 host_netns __weak = 0;

enum { REFUSE, PROCEED };

/* The socket's call, as the maps have it. */
struct call {
	struct wr_socket_service to;
	__u32 list, count, affinity;
	__u8 l4_proto;
};

static __always_inline bool is_hosts(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) == host_netns;
}

/* --- the address in the context ----------------------------------------------------------------------------------- */

static __always_inline bool is_mapped(const struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

/* Reads it. Returns the family of the packets: IPv4 for an IPv4-mapped IPv6 address. */
static __always_inline bool address_get(const struct bpf_sock_addr *ctx, struct wr_addr6 *addr, const bool v6)
{
	if (!v6 || is_mapped(ctx)) {
		addr->v6[0] = v6 ? ctx->user_ip6[3] : ctx->user_ip4;
		return false;
	}
	addr->v6[0] = ctx->user_ip6[0];
	addr->v6[1] = ctx->user_ip6[1];
	addr->v6[2] = ctx->user_ip6[2];
	addr->v6[3] = ctx->user_ip6[3];
	return true;
}

/* Replaces it by one of the same family. */
static __always_inline void address_set(struct bpf_sock_addr *ctx, const struct wr_addr6 *addr, __be16 port,
					const bool v6)
{
	ctx->user_port = port;
	if (!v6) {
		ctx->user_ip4 = addr->v6[0];
	} else if (is_mapped(ctx)) {
		ctx->user_ip6[3] = addr->v6[0];
	} else {
		ctx->user_ip6[0] = addr->v6[0];
		ctx->user_ip6[1] = addr->v6[1];
		ctx->user_ip6[2] = addr->v6[2];
		ctx->user_ip6[3] = addr->v6[3];
	}
}

/* --- the services of a socket ------------------------------------------------------------------------------------- */

static __always_inline bool has_service(const struct wr_socket_service *at, const struct wr_socket_service *to)
{
	return at->backend_id && at->service_port == to->service_port && at->v6 == to->v6 &&
	       addr6_equal(&at->service, &to->service);
}

static __always_inline bool has_backend(const struct wr_socket_service *at, const struct wr_addr6 *addr, __be16 port,
					bool v6)
{
	return at->backend_id && at->backend_port == port && at->v6 == v6 && addr6_equal(&at->backend, addr);
}

/* The backend to which the socket has sent before; 0: none. */
static __always_inline __u32 socket_backend(struct wr_socket *socket, const struct wr_socket_service *to)
{
	__u32 id = 0;

	bpf_spin_lock(&socket->lock);
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < WR_SOCKET_SERVICES; n++) {
		if (has_service(&socket->at[n], to)) {
			id = socket->at[n].backend_id;
			break;
		}
	}
	bpf_spin_unlock(&socket->lock);
	return id;
}

/* Finds the service whose backend has this address; false: none. */
static __always_inline bool socket_service(struct wr_socket *socket, const struct wr_addr6 *backend, __be16 port,
					   bool v6, struct wr_socket_service *found)
{
	bool finds = false;

	bpf_spin_lock(&socket->lock);
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < WR_SOCKET_SERVICES; n++) {
		if (has_backend(&socket->at[n], backend, port, v6)) {
			found->service = socket->at[n].service;
			found->service_port = socket->at[n].service_port;
			finds = true;
			break;
		}
	}
	bpf_spin_unlock(&socket->lock);
	return finds;
}

/*
 * Notes the service and its backend. Other services with the same backend are forgotten: replies are taken for the last
 * one's. A connected socket (`connects`) has no other service at all. backend_id 0: only forgets.
 */
static __always_inline void socket_note(struct wr_socket *socket, const struct wr_socket_service *to,
					const bool connects)
{
	__u32 at = WR_SOCKET_SERVICES;

	bpf_spin_lock(&socket->lock);
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < WR_SOCKET_SERVICES; n++) {
		if (to->backend_id && has_service(&socket->at[n], to))
			at = n;
		else if (connects || has_backend(&socket->at[n], &to->backend, to->backend_port, to->v6))
			socket->at[n].backend_id = 0;
	}
	if (to->backend_id) {
		if (at == WR_SOCKET_SERVICES)
			at = socket->written++;
		socket->at[at & (WR_SOCKET_SERVICES - 1)] = *to;
	}
	bpf_spin_unlock(&socket->lock);
}

/* --- selection of the backend ------------------------------------------------------------------------------------- */

static __always_inline bool is_loopback(const union addr *addr, bool v6)
{
	const __be32 *w = addr->a6.v6;

	return v6 ? !w[0] && !w[1] && !w[2] && w[3] == bpf_htonl(1) : bpf_ntohl(addr->a4.v4) >> 24 == 127;
}

/*
 * A hostPort of a pod of this node. Without a packet there is no route to be looked up: a hostPort of every address is
 * here at loopback addresses and at those that the cluster knows this node by.
 */
static __always_inline bool call_host_port(struct call *call, const union addr *addr)
{
	const struct wr_host_port *found = host_port_find(addr, call->to.service_port, call->l4_proto, call->to.v6);
	const struct wr_cluster *c = cluster_get();
	const bool v6 = call->to.v6;

	if (!found)
		return false;
	if (!(found->flags & WR_HOST_PORT_OWN) && !is_loopback(addr, v6) && !(c && IN_FAMILY(v6, cluster_has_own, c, addr)))
		return false;
	call->list = host_port_number(found);
	call->count = 1;
	call->affinity = 0;
	return true;
}

static __always_inline bool call_service(struct call *call)
{
	const union addr addr = { .a6 = call->to.service };
	const struct wr_service *service = service_find_here(&addr, call->to.service_port, call->l4_proto, call->to.v6);

	if (!service)
		return call_host_port(call, &addr);
	call->list = service->list;
	call->count = service->backends;
	call->affinity = service->affinity_seconds;
	return true;
}

/* Sets the backend with this id; false if it is gone, or no address that a host may send to. */
static __always_inline bool call_backend(struct call *call, __u32 id)
{
	union addr addr = { .a6 = { { 0 } } };
	const union addr at = { .a6 = call->to.service };
	bool exists;

	if (id & WR_LIST_HOST_PORT)
		exists = host_port_backend(id, &at, call->to.service_port, call->l4_proto, call->to.v6, &addr,
					   &call->to.backend_port);
	else
		exists = backend_get(id, call->to.v6, &addr, &call->to.backend_port);
	if (!exists || IN_FAMILY(call->to.v6, addr_is_martian, &addr))
		return false;
	call->to.backend = addr.a6;
	call->to.backend_id = id;
	return true;
}

static __always_inline bool choose_random(struct call *call)
{
#pragma clang loop unroll(disable)
	for (int n = 0; n < SERVICE_TRIES && call->count; n++) {
		if (call_backend(call, list_backend(call->list, list_random(call->count))))
			return true;
		if (!call_service(call)) /* it may have been replaced */
			return false;
	}
	return false;
}

/* Sets this backend if the service (still) has it. */
static __always_inline bool call_keep(struct call *call, __u32 id)
{
	return list_has_backend(call->list, id) && call_backend(call, id);
}

/* Sets the backend that the host was given last by the service; else a random one, which the host is given then. */
static __always_inline bool choose_affine(struct call *call)
{
	const union addr addr = { .a6 = call->to.service };
	struct wr_affinity key = { 0 };
	bool chosen;

	affinity_key_set(&key, WR_AFFINITY_HOST, &addr, call->to.service_port, call->l4_proto, call->to.v6);
	chosen = call_keep(call, affinity_lookup(&key, WR_AFFINITY_HOST, call->affinity)) || choose_random(call);
	if (chosen)
		affinity_record(&key, WR_AFFINITY_HOST, call->to.backend_id);
	return chosen;
}

/* Selects a backend: `before`, if the service still has it; else the host's by affinity; else a random one. */
OUT_OF_LINE int call_choose(struct call *call, __u32 before)
{
	if (!call)
		return false;
	if (call_keep(call, before))
		return true;
	return call->affinity ? choose_affine(call) : choose_random(call);
}

/* Whether a process of this host has the port, which a hostPort has, too: then it is that process's. */
static __always_inline bool process_has_port(struct bpf_sock_addr *ctx, const struct call *call)
{
	const bool v6 = call->to.v6;
	struct bpf_sock_tuple tuple = { 0 };
	struct bpf_sock *sk;
	__u32 size;

	if (v6) {
		__builtin_memcpy(tuple.ipv6.daddr, &call->to.service, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.dport = call->to.service_port;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.daddr = call->to.service.v6[0];
		tuple.ipv4.dport = call->to.service_port;
		size = sizeof(tuple.ipv4);
	}
	sk = call->l4_proto == IPPROTO_TCP ? bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0) :
					     bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* --- the programs ------------------------------------------------------------------------------------------------- */

#define ENOBUFS 105
#define ECONNREFUSED 111
#define EHOSTUNREACH 113

/* The call fails with this error. */
static __always_inline int refuse(int error)
{
	bpf_set_retval(-error);
	return REFUSE;
}

/* ... which is counted. To an address that no Service has it fails at once, too: nothing would answer. */
static __always_inline int refuse_for(enum wr_reason reason)
{
	const __u32 key = wr_metric_key(reason, WR_EGRESS);
	struct wr_metric *m = bpf_map_lookup_elem(&metrics, &key);

	if (m)
		__sync_fetch_and_add(&m->packets, 1);
	return refuse(reason == WR_REASON_NO_SERVICE ? EHOSTUNREACH : ECONNREFUSED);
}

/* The destination is no service's. A socket that is connected to another address has no service any more. */
static __always_inline int not_a_service(struct bpf_sock_addr *ctx, struct call *call, const bool connects)
{
	const union addr addr = { .a6 = call->to.service };
	const enum wr_reason reason = IN_FAMILY(call->to.v6, service_missing, &addr);
	struct wr_socket *socket;

	if (reason)
		return refuse_for(reason);
	socket = connects ? bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0) : NULL;
	if (socket)
		socket_note(socket, &call->to, true);
	return PROCEED;
}

static __always_inline int to_backend(struct bpf_sock_addr *ctx, const bool connects, const bool v6)
{
	struct call call = { 0 };
	struct wr_socket *socket;

	if (!is_hosts(ctx))
		return PROCEED;
	call.l4_proto = ctx->protocol;
	call.to.service_port = ctx->user_port;
	call.to.v6 = address_get(ctx, &call.to.service, v6);
	if (!call_service(&call) || ((call.list & WR_LIST_HOST_PORT) && process_has_port(ctx, &call)))
		return not_a_service(ctx, &call, connects);
	socket = bpf_sk_storage_get(&sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return refuse(ENOBUFS);
	if (!call_choose(&call, connects ? 0 : socket_backend(socket, &call.to)))
		return refuse_for(WR_REASON_NO_BACKEND);
	socket_note(socket, &call.to, connects);
	address_set(ctx, &call.to.backend, call.to.backend_port, v6);
	return PROCEED;
}

static __always_inline int to_service(struct bpf_sock_addr *ctx, const bool v6)
{
	struct wr_socket *socket = is_hosts(ctx) ? bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0) : NULL;
	struct wr_socket_service found;
	struct wr_addr6 from = { 0 };
	bool family;

	if (!socket)
		return PROCEED;
	family = address_get(ctx, &from, v6);
	if (socket_service(socket, &from, ctx->user_port, family, &found))
		address_set(ctx, &found.service, found.service_port, v6);
	return PROCEED;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, true, false);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, true, true);
}

SEC("cgroup/sendmsg4")
int sock_send4(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, false, false);
}

SEC("cgroup/sendmsg6")
int sock_send6(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, false, true);
}

SEC("cgroup/recvmsg4")
int sock_receive4(struct bpf_sock_addr *ctx)
{
	return to_service(ctx, false);
}

SEC("cgroup/recvmsg6")
int sock_receive6(struct bpf_sock_addr *ctx)
{
	return to_service(ctx, true);
}

SEC("cgroup/getpeername4")
int sock_peer4(struct bpf_sock_addr *ctx)
{
	return to_service(ctx, false);
}

SEC("cgroup/getpeername6")
int sock_peer6(struct bpf_sock_addr *ctx)
{
	return to_service(ctx, true);
}
