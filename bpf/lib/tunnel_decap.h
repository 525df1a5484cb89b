/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Decapsulation: turns a tunnel packet into its inner packet. */
#ifndef WARREN_LIB_TUNNEL_DECAP_H
#define WARREN_LIB_TUNNEL_DECAP_H

#include "lib/checksum.h"
#include "lib/node.h"
#include "lib/tunnel_in.h"

/* Writes the ECN field after decapsulation, such that a hardware checksum over the packet stays valid. */
static __always_inline void ecn_write(struct __sk_buff *skb, const struct packet *p, __u8 ecn, const bool v6)
{
	struct iphdr *ip;
	__u8 byte;
	__u16 was;

	if (v6) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 1, &byte, 1))
			return;
		byte = (byte & ~(ECN_MASK << 4)) | ecn << 4;
		bpf_skb_store_bytes(skb, ETH_HLEN + 1, &byte, 1, BPF_F_RECOMPUTE_CSUM);
		return;
	}
	ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	if (!ip)
		return;
	was = *(__u16 *)ip;
	ip->tos = (ip->tos & ~ECN_MASK) | ecn;
	ip->check = csum_replace(ip->check, was, *(__u16 *)ip);
}

/*
 * Removes the outer headers. Left are the outer Ethernet header, with the inner packet's type, and the inner packet.
 *
 * bpf_skb_adjust_room() does not change skb->protocol, which the receiving stack uses after bpf_redirect_peer(). Linux
 * 6.1 has no flag for that. On every kernel bpf_skb_change_proto() sets it: it resizes the outer IP header to the other
 * family's size, and that header is removed right afterwards.
 */
static __always_inline enum wr_reason tunnel_decap(struct packet *p, const struct tunnel *t)
{
	struct __sk_buff *skb = p->skb;
	__s32 strip = t->inner - ETH_HLEN;
	struct ethhdr *eth;

	if (skb->len > t->end && bpf_skb_change_tail(skb, t->end, 0))
		return WR_REASON_ENCAP_FAILED;
	if (t->v6 != t->over6) {
		if (bpf_skb_change_proto(skb, t->v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0))
			return WR_REASON_ENCAP_FAILED;
		strip += t->v6 ? (__s32)PROTO_CHANGE : -(__s32)PROTO_CHANGE;
	}
	if (bpf_skb_adjust_room(skb, -strip, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return WR_REASON_ENCAP_FAILED;
	if (t->v6 != t->over6) {
		eth = packet_at(p, 0, sizeof(*eth));
		if (!eth)
			return WR_REASON_ENCAP_FAILED;
		eth->h_proto = t->v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	}
	if (t->ecn)
		IN_FAMILY(t->v6, ecn_write, skb, p, t->ecn);
	node_count(t->slot, WR_INGRESS, skb->len);
	return WR_REASON_NONE;
}

/* Writes the Ethernet addresses of a decapsulated packet: from this node's host side to `mac`. */
static __always_inline bool tunnel_readdress(const struct packet *p, const void *mac)
{
	struct ethhdr *eth = packet_at(p, 0, sizeof(*eth));

	if (!eth)
		return false;
	mac_copy(eth->h_dest, mac);
	mac_write_host(eth->h_source);
	return true;
}

#endif
