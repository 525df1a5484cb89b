/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a sender leaves to the device: a checksum that is still to be completed (CHECKSUM_PARTIAL), and a GSO packet
 * that is still to be cut.
 *
 * Where a device cannot complete a checksum the kernel does it, after every program and every nftables rule: two bytes
 * are written at csum_start + csum_offset. A packet socket with PACKET_VNET_HDR (CAP_NET_RAW) chooses both, so those
 * bytes could be an address or a port that the verdict was about. Stacks only ever leave these checksums open, and they
 * are the only ones that pass:
 *
 * - that of the packet's own TCP, UDP or SCTP header;
 * - one behind the UDP header, or behind the IP header of a protocol that has no ports here (GRE, IPIP, ...): that of
 * the innermost header in a pod's own tunnel, or GRE's own. It can only change what no verdict is about.
 *
 * None of them in a fragment: a stack completes the checksum before it cuts the packet.
 */
#ifndef WARREN_LIB_OFFLOAD_H
#define WARREN_LIB_OFFLOAD_H

#include <bpf/bpf_core_read.h>
#include <linux/udp.h>

#include "lib/l4.h"

/*
 * How many frames one verdict is good for. Linux's TCP comes to more only with segments of less than 128 bytes and a
 * window of more than that many; then it goes on with single segments, as after any loss.
 */
#define GSO_FRAMES_MAX 512

/* Of the kernel's sk_buff what is needed here; the loader finds out where it is (CO-RE). */
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
 * From 6.2 on the kernel shows a program the sk_buff itself. Before, it is read as any kernel memory can be, at the
 * price of a call for each field: the context of a program is the sk_buff. The enumerator is in kernels that have the
 * function; whether a function is there libbpf 1.1 cannot say.
 */
enum special_kfunc_type___offload { KF_bpf_cast_to_kern_ctx };
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* Offsets count from the start of the frame. */
struct partial_checksum {
	__s32 start;
	__u32 offset; /* from there to where it is written */
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
 * Whether a checksum of the packet is still to be completed, and which. `quickly`: in one program only, as bpftool 7.1 links
 * no two that name the function.
 */
static __always_inline bool partial_checksum_read(struct __sk_buff *ctx, struct partial_checksum *c, const bool quickly)
{
	if (quickly && bpf_core_enum_value_exists(enum special_kfunc_type___offload, KF_bpf_cast_to_kern_ctx))
		return partial_checksum_cast(ctx, c);
	return partial_checksum_probe(ctx, c);
}

/* Whether it is one that a stack leaves to a device. */
static __always_inline bool partial_checksum_allowed(const struct packet *p, const struct partial_checksum *c)
{
	const __s32 behind = c->start - (__s32)p->l4_off;
	__u32 proto = p->l4_proto;

	/* A value of its own, so that the verifier does not go through all that follows once for each protocol. */
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

/* Of a packet that ip_parse() has found in order. */
static __always_inline enum wr_reason offload_check(const struct packet *p, const bool quickly)
{
	const __u32 len = p->skb->len;
	struct partial_checksum c;

	/* gso_size is in memory that a small packet's verdict needs for nothing else; and it becomes no more frames. */
	if (len > GSO_FRAMES_MAX && p->skb->gso_size && len > p->skb->gso_size * GSO_FRAMES_MAX)
		return WR_REASON_GSO_SEGMENTS;
	if (partial_checksum_read(p->skb, &c, quickly) && !partial_checksum_allowed(p, &c))
		return WR_REASON_CHECKSUM_OFFSET;
	return WR_REASON_NONE;
}

#endif
