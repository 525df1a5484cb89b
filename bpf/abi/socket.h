/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services for the host's own sockets, those of pods in the host's network included. connect() and sendmsg() to a
 * service's address go to a backend's, so packets have the backend's address and need no translation. getpeername() and
 * recvmsg() return the service's.
 */
#ifndef WARREN_ABI_SOCKET_H
#define WARREN_ABI_SOCKET_H

#include <linux/bpf.h>
#include <linux/types.h>

#include "abi/addr.h"

/* A service that a socket uses. The protocol is the socket's. */
struct wr_socket_service {
	struct wr_addr6 service, backend; /* IPv4: the first word, the others 0 */
	__be16 service_port, backend_port;
	__u8 v6; /* the addresses' family: that of the socket may be IPv6 with IPv4-mapped addresses */
	__u8 pad[3];
	__u32 backend_id; /* 0: empty */
};
_Static_assert(sizeof(struct wr_socket_service) == 44, "wr_socket_service");

/*
 * Value of `sockets`, which the kernel keeps with the socket and frees with it. A connected socket has one service; one
 * that sends datagrams to many keeps the last ones.
 */
#define WR_SOCKET_SERVICES 8 /* a power of two */
struct wr_socket {
	struct bpf_spin_lock lock;
	__u32 written; /* services written so far: the next one replaces the oldest */
	struct wr_socket_service at[WR_SOCKET_SERVICES];
};
_Static_assert(sizeof(struct wr_socket) == 360, "wr_socket");

/* What sock_list writes of each socket that has a wr_socket, which follows. */
struct wr_socket_head {
	struct wr_addr6 local, peer; /* IPv4: the first word, the others 0 */
	__be16 local_port, peer_port;
	__u8 family; /* of the socket */
	__u8 state;  /* TCP_ESTABLISHED, also of a connected UDP socket */
	__u8 l4_proto;
	__u8 pad;
	__u32 uid;
	__u32 bound_ifindex;
	__u64 cookie;
};
_Static_assert(sizeof(struct wr_socket_head) == 56, "wr_socket_head");

struct wr_socket_record {
	struct wr_socket_head head;
	struct wr_socket socket;
};
_Static_assert(sizeof(struct wr_socket_record) == 416, "wr_socket_record");

#endif
