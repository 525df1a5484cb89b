/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Optional XDP program of an uplink: handles external packets before the kernel allocates an skb. Drops denied sources
 * and invalid tunnel packets; decapsulates valid ones (native mode, physical devices and TAPs). All others pass
 * unchanged.
 */
#include "lib/deny.h"
#include "lib/vlan.h"
#include "lib/xdp_tunnel.h"
#include "lib/xdp_verdict.h"

/* Removes metadata of other programs: see lib/xdp_meta.h. */
static __always_inline int xdp_pass(struct xdp_md *ctx)
{
	int outer_meta = xdp_meta_length(ctx);

	if (outer_meta > 0 && bpf_xdp_adjust_meta(ctx, outer_meta))
		return XDP_DROP;
	return XDP_PASS;
}

static __always_inline int handle_ip(struct xdp_frame *f, const bool v6)
{
	struct xdp_tunnel t = { 0 };
	enum xdp_decap_result result;
	enum wr_reason reason;
	enum deny deny;

	if (!xdp_outer_parse(f, v6))
		return xdp_pass(f->ctx);
	deny = deny_hit(&f->saddr, f->len, v6);
	if (deny)
		return xdp_drop(f, WR_REASON_DENYLIST, deny == DENY_REPORT);
	if (!f->udp)
		return xdp_pass(f->ctx);
	reason = xdp_tunnel_check(f, &t, v6);
	if (reason)
		return xdp_drop(f, reason, true);
	result = t.whole ? xdp_decap(f, &t) : XDP_NOT_DECAPPED;
	if (result == XDP_DECAP_FAILED)
		return xdp_drop(f, WR_REASON_ENCAP_FAILED, false);
	return result ? XDP_PASS : xdp_pass(f->ctx);
}

/* --- a VLAN tag, unless the device has removed it --- */

static __always_inline enum deny deny_tagged(struct xdp_frame *f, const bool v6)
{
	const __u32 ip = ETH_HLEN + sizeof(struct vlan_tag);
	const void *source = v6 ? xdp_at(f, ip + __builtin_offsetof(struct ipv6hdr, saddr), sizeof(struct in6_addr))
				: xdp_at(f, ip + __builtin_offsetof(struct iphdr, saddr), sizeof(__be32));

	if (!source)
		return DENY_NO;
	if (v6)
		__builtin_memcpy(&f->saddr.a6, source, sizeof(f->saddr.a6));
	else
		f->saddr.a4.v4 = *(const __be32 *)source;
	return deny_hit(&f->saddr, f->len, v6);
}

/* The denylist and a second priority tag, as in from_uplink, which does all other checks. */
static __always_inline int handle_tagged(struct xdp_frame *f)
{
	const struct vlan_tag *tag = xdp_at(f, ETH_HLEN, 2 * sizeof(*tag));
	enum deny deny = DENY_NO;

	if (!tag)
		return xdp_pass(f->ctx);
	if (is_vlan_type(tag->proto) && !((tag[0].tci | tag[1].tci) & bpf_htons(VLAN_ID)))
		return xdp_drop(f, WR_REASON_ETHERTYPE, true);
	if (tag->proto == bpf_htons(ETH_P_IP))
		deny = deny_tagged(f, false);
	else if (tag->proto == bpf_htons(ETH_P_IPV6))
		deny = deny_tagged(f, true);
	return deny ? xdp_drop(f, WR_REASON_DENYLIST, deny == DENY_REPORT) : xdp_pass(f->ctx);
}

/* --- entry --- */

static __always_inline int uplink(struct xdp_md *ctx)
{
	struct xdp_frame f = { .ctx = ctx,
			       .data = (void *)(long)ctx->data,	   /* NOLINT(performance-no-int-to-ptr) */
			       .end = (void *)(long)ctx->data_end, /* NOLINT(performance-no-int-to-ptr) */
			       .len = bpf_xdp_get_buff_len(ctx) };
	const struct ethhdr *eth = f.data;

	if ((const void *)(eth + 1) > f.end)
		return xdp_pass(ctx);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return handle_ip(&f, false);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return handle_ip(&f, true);
	return is_vlan_type(eth->h_proto) ? handle_tagged(&f) : xdp_pass(ctx);
}

SEC("xdp.frags")
int xdp_uplink(struct xdp_md *ctx)
{
	return uplink(ctx);
}

/*
 * For generic mode. A program that supports fragments loses frames there: on 6.18 the kernel passes a frame that it has
 * copied (skb_pp_cow_data() in net/core/skbuff.c) to tc without its Ethernet header.
 */
SEC("xdp")
int xdp_generic(struct xdp_md *ctx)
{
	return uplink(ctx);
}

/* tc ingress, ahead of from_uplink, of a device where xdp_uplink decapsulates: see lib/xdp_meta.h. */
SEC("tc")
int xdp_origin(struct __sk_buff *skb)
{
	xdp_origin_write(skb);
	return TC_ACT_UNSPEC;
}
