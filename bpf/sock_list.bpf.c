/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An iterator over the values of map `sockets`: writes a struct wr_socket_record for each socket that has one. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "abi/socket.h"
#include "lib/addr.h"
#include "lib/maps.h"

/* Those fields of the kernel's types that are read; the loader finds them in the running kernel's. */
#define KERNEL __attribute__((preserve_access_index))

struct in6_addr_words {
	__be32 words[4];
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	struct in6_addr_words skc_v6_daddr, skc_v6_rcv_saddr;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct {
		__u32 val;
	} sk_uid;
} KERNEL;

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	struct wr_socket *value;
};

SEC("iter/bpf_sk_storage_map")
int sock_list(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct wr_socket_head head = { 0 };
	struct wr_socket *value = ctx->value;
	struct sock *sk = ctx->sk;

	/* A closed socket may wait to be freed: it has no port any more. */
	if (!sk || !value || !sk->__sk_common.skc_num)
		return 0;
	head.family = sk->__sk_common.skc_family;
	head.state = sk->__sk_common.skc_state;
	head.l4_proto = sk->sk_protocol;
	head.local_port = bpf_htons(sk->__sk_common.skc_num);
	head.peer_port = sk->__sk_common.skc_dport;
	head.bound_ifindex = sk->__sk_common.skc_bound_dev_if;
	head.uid = sk->sk_uid.val;
	head.cookie = bpf_get_socket_cookie(sk);
	if (head.family == FAMILY_INET) {
		head.local.v6[0] = sk->__sk_common.skc_rcv_saddr;
		head.peer.v6[0] = sk->__sk_common.skc_daddr;
	} else {
#pragma unroll
		for (int n = 0; n < 4; n++) {
			head.local.v6[n] = sk->__sk_common.skc_v6_rcv_saddr.words[n];
			head.peer.v6[n] = sk->__sk_common.skc_v6_daddr.words[n];
		}
	}
	/* If the second one does not fit into the buffer, the kernel drops the first and calls this again. */
	bpf_seq_write(ctx->meta->seq, &head, sizeof(head));
	bpf_seq_write(ctx->meta->seq, value, sizeof(*value));
	return 0;
}
