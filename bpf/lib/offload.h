/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Offloads that a sender leaves to the device: a partial checksum (CHECKSUM_PARTIAL), and segmentation of a GSO packet.
 *
 * If a device cannot complete a checksum, the kernel does it after all programs and nftables rules: it writes two bytes
 * at csum_start + csum_offset. A packet socket with PACKET_VNET_HDR (CAP_NET_RAW) sets both fields, so these bytes
 * could be an address or a port that the verdict depends on. Stacks leave only these checksums partial, and only these
 * are allowed:
 *
 * - the checksum of the packet's own TCP, UDP or SCTP header;
 * - one behind the UDP header, or behind the IP header of a protocol without ports here (GRE, IPIP, ...): that of the
 *   innermost header in a pod's own tunnel, or GRE's own. It can only change bytes that no verdict depends on.
 *
 * None is allowed in a fragment: a stack completes the checksum before it fragments the packet.
 */
#ifndef WARREN_LIB_OFFLOAD_H
#define WARREN_LIB_OFFLOAD_H

#include <bpf/bpf_core_read.h>
#include <linux/udp.h>

#include "lib/l4.h"

/*
 * Max segments per verdict. Linux's TCP exceeds this only with segments of less than 128 bytes and a window of more
 * than this many; then it continues with single segments, as after any loss.
 */
#define GSO_FRAMES_MAX 512

/* The fields of the kernel's sk_buff that are used here; the loader relocates their offsets (CO-RE). */
struct sk_buff___offload {
	__u8 ip_summed : 2;
	unsigned char *head, *data;
	struct {
		__u16 csum_start;
		__u16 csum_offset;
	};
} __attribute__((preserve_access_index));
#define CHECKSUM_IS_PARTIAL 3 /* CHECKSUM_PARTIAL of <linux/skbuff.h>, which is not UAPI */

/*
 * From 6.2 on a program can access the sk_buff itself. Before, it is read as kernel memory, with a call for each field:
 * the context of a program is the sk_buff. The enumerator exists in kernels that have the function; libbpf 1.1 cannot
 * test for the function itself.
 */
enum special_kfunc_type___offload { KF_bpf_cast_to_kern_ctx };
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* Offsets count from the start of the frame. */
struct partial_checksum {
	__s32 start;
	__u32 offset; /* from `start` to the checksum field */
};

static __always_inline bool partial_checksum_cast(struct __sk_buff *ctx, struct partial_checksum *c)
{
	const struct sk_buff___offload *skb = bpf_cast_to_kern_ctx(ctx);

	/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): libbpf's macro, of which one branch sets it */
	if (BPF_CORE_READ_BITFIELD(skb, ip_summed) != CHECKSUM_IS_PARTIAL)
		return false;
	c->start = skb->csum_start - (__s32)(skb->data - skb->head);
	c->offset = skb->csum_offset;
	return true;
}

static __always_inline bool partial_checksum_probe(struct __sk_buff *ctx, struct partial_checksum *c)
{
	const struct sk_buff___offload *skb = (const void *)ctx;

	if (BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed) != CHECKSUM_IS_PARTIAL)
		return false;
	c->start = BPF_CORE_READ(skb, csum_start) - (__s32)(BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head));
	c->offset = BPF_CORE_READ(skb, csum_offset);
	return true;
}

/*
 * Whether the packet has a partial checksum, and which. `by_kfunc`: in one program only, since bpftool 7.1 cannot link
 * two objects that declare the function.
 */
static __always_inline bool partial_checksum_read(struct __sk_buff *ctx, struct partial_checksum *c,
						  const bool by_kfunc)
{
	if (by_kfunc && bpf_core_enum_value_exists(enum special_kfunc_type___offload, KF_bpf_cast_to_kern_ctx))
		return partial_checksum_cast(ctx, c);
	return partial_checksum_probe(ctx, c);
}

/* Whether it is one that a stack leaves partial. */
static __always_inline bool partial_checksum_allowed(const struct packet *p, const struct partial_checksum *c)
{
	const __s32 behind = c->start - (__s32)p->l4_off;
	__u32 proto = p->l4_proto;

	/* A separate value, so that the verifier does not walk the rest of the program once for each protocol. */
	asm volatile("%0 += 0" : "+r"(proto));
	if (p->fragmented)
		return false;
	if (proto == IPPROTO_TCP)
		return !behind && c->offset == TCP_CHECK_OFFSET;
	if (proto == IPPROTO_UDP)
		return behind ? behind >= (__s32)sizeof(struct udphdr) : c->offset == UDP_CHECK_OFFSET;
	if (proto == IPPROTO_SCTP)
		return !behind && c->offset == SCTP_CHECK_OFFSET;
	return behind >= 0 && proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6;
}

/* For a packet that passed ip_parse(). */
static __always_inline enum wr_reason offload_check(const struct packet *p, const bool by_kfunc)
{
	const __u32 len = p->skb->len;
	struct partial_checksum c;

	/* Only large packets read gso_size, which is in a cache line that is otherwise not needed. */
	if (len > GSO_FRAMES_MAX && p->skb->gso_size && len > p->skb->gso_size * GSO_FRAMES_MAX)
		return WR_REASON_GSO_SEGMENTS;
	if (partial_checksum_read(p->skb, &c, by_kfunc) && !partial_checksum_allowed(p, &c))
		return WR_REASON_CHECKSUM_OFFSET;
	return WR_REASON_NONE;
}

#endif
