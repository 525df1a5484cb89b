/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The pod's gateway, 169.254.1.1 and fe80::1, is not the address of any device. from_pod answers its ARP, neighbour
 * discovery and echo requests by turning the request into the reply. The reply goes back into the pod by
 * bpf_redirect_peer: plain bpf_redirect would run the device's egress, where to_pod would evaluate and count it again.
 */
#ifndef WARREN_LIB_GATEWAY_H
#define WARREN_LIB_GATEWAY_H

#include <linux/if_packet.h>

#include "lib/checksum.h"
#include "lib/endpoint.h"
#include "lib/l4.h"

#define ND_HOP_LIMIT 255 /* RFC 4861 section 7.1: proves that no router has forwarded it */

/* RFC 826, for IPv4 over Ethernet. (<linux/if_arp.h> needs a C library for the target.) */
struct arp_frame {
	struct ethhdr eth;
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 op;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed, aligned(2)));
#define ARP_HARDWARE_ETHER 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

struct nd_option {
	__u8 type;
	__u8 units; /* of 8 bytes */
	__u8 mac[6];
} __attribute__((packed, aligned(2)));
#define ND_OPT_SOURCE 1
#define ND_OPT_TARGET 2

struct nd_message {
	__u8 type;
	__u8 code;
	__u16 csum;
	__be32 flags;
	__u8 target[16];
} __attribute__((packed, aligned(2)));
#define ND_FLAGS 0xe0000000u /* router, solicited, override */

struct nd_frame {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message nd;
	struct nd_option opt; /* may be absent: then the frame is shorter */
} __attribute__((packed, aligned(2)));
#define ND_FRAME_BARE __builtin_offsetof(struct nd_frame, opt)

static __always_inline bool is_gateway6(const struct wr_addr6 *a)
{
	return a->v6[0] == bpf_htonl(0xfe800000) && !a->v6[1] && !a->v6[2] && a->v6[3] == bpf_htonl(1);
}

/* ff02::1:ff00:1, the solicited-node group of the gateway (RFC 4291 section 2.7.1). */
static __always_inline bool is_gateway6_group(const struct wr_addr6 *a)
{
	return a->v6[0] == bpf_htonl(0xff020000) && !a->v6[1] && a->v6[2] == bpf_htonl(1) &&
	       a->v6[3] == bpf_htonl(0xff000001);
}

/* Addresses the reply to the pod. */
static __always_inline enum wr_reason gateway_reply(const struct packet *p, struct ethhdr *eth)
{
	mac_copy(eth->h_dest, p->ep->mac);
	mac_write_host(eth->h_source);
	/* The request may have been broadcast; the reply is not. */
	if (p->skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(p->skb, PACKET_HOST);
	return WR_REASON_GATEWAY_REPLY;
}

/* A struct packet for functions out of line. */
static __always_inline bool gateway_packet(struct packet *p, struct __sk_buff *skb, struct addresses *at)
{
	p->skb = skb;
	p->at = at;
	p->ep = endpoint_get(skb->ifindex);
	return p->ep;
}

OUT_OF_LINE int gateway_arp(struct __sk_buff *skb)
{
	struct packet packet, *p = &packet;
	struct arp_frame *f;
	__be32 sender, target;

	if (!gateway_packet(p, skb, NULL))
		return WR_REASON_NO_ENDPOINT;
	f = packet_at(p, 0, sizeof(*f));
	if (!f)
		return WR_REASON_RUNT;
	__builtin_memcpy(&sender, f->sender_ip, 4);
	__builtin_memcpy(&target, f->target_ip, 4);
	if (!mac_equal(f->sender_mac, p->ep->mac))
		return WR_REASON_SPOOFED_MAC;
	/* Without a sender address it is a probe (RFC 5227), which claims no address. */
	if (sender && !((p->ep->flags & WR_EP_V4) && sender == p->ep->addr4.v4))
		return WR_REASON_SPOOFED_SOURCE;
	if (!sender || target != bpf_htonl(WR_GATEWAY4) || f->op != bpf_htons(ARP_REQUEST) ||
	    f->hardware != bpf_htons(ARP_HARDWARE_ETHER) || f->protocol != bpf_htons(ETH_P_IP) ||
	    f->hardware_len != 6 || f->protocol_len != 4)
		return WR_REASON_ARP;
	f->op = bpf_htons(ARP_REPLY);
	mac_copy(f->target_mac, f->sender_mac);
	mac_write_host(f->sender_mac);
	__builtin_memcpy(f->target_ip, &sender, 4);
	__builtin_memcpy(f->sender_ip, &target, 4);
	return gateway_reply(p, &f->eth);
}

/* Turns the solicitation into the advertisement; `option`: with the link-layer address, for which there is room. */
static __always_inline void nd_advertise(const struct packet *p, struct nd_frame *f, const bool option)
{
	const __u32 len = sizeof(f->nd) + (option ? sizeof(f->opt) : 0);
	__s64 sum;

	__builtin_memcpy(&f->ip.saddr, f->nd.target, 16);
	__builtin_memcpy(&f->ip.daddr, &p->at->saddr.a6, 16);
	f->nd.type = ND_ADVERT;
	f->nd.csum = 0;
	f->nd.flags = bpf_htonl(ND_FLAGS);
	if (option) {
		f->opt.type = ND_OPT_TARGET;
		mac_write_host(f->opt.mac);
	}
	/* RFC 8200 section 8.1: addresses, length and protocol are part of the checksum. */
	sum = bpf_csum_diff(NULL, 0, (void *)&f->ip + sizeof(f->ip) - 32, 32, bpf_htonl(len + IPPROTO_ICMPV6));
	sum = bpf_csum_diff(NULL, 0, (void *)&f->nd, len, sum);
	f->nd.csum = csum_fold(sum);
}

/*
 * All neighbour discovery of the pod. Answered are the solicitations of the gateway that Linux sends: with the source
 * link-layer address as the only option or, if unicast, with none (RFC 4861 section 7.2.2; then the reply needs none
 * either).
 */
OUT_OF_LINE int gateway_neighbour(struct __sk_buff *skb, struct addresses *at, __u32 end, __u32 hop_limit)
{
	struct packet packet, *p = &packet;
	struct wr_addr6 target;
	struct nd_frame *f;
	bool unicast;

	if (!at || !gateway_packet(p, skb, at))
		return WR_REASON_NO_ENDPOINT;
	unicast = is_gateway6(&at->daddr.a6);
	f = packet_at(p, 0, ND_FRAME_BARE);
	if (!f)
		return WR_REASON_NEIGHBOUR;
	__builtin_memcpy(&target, f->nd.target, sizeof(target));
	if (f->ip.nexthdr != IPPROTO_ICMPV6 || f->nd.type != ND_SOLICIT || f->nd.code ||
	    hop_limit != ND_HOP_LIMIT || !is_gateway6(&target) || !(unicast || is_gateway6_group(&p->at->daddr.a6)))
		return WR_REASON_NEIGHBOUR;
	if (end == ND_FRAME_BARE && unicast) {
		nd_advertise(p, f, false);
		return gateway_reply(p, &f->eth);
	}
	f = packet_at(p, 0, sizeof(*f));
	if (end != sizeof(*f) || !f || f->opt.type != ND_OPT_SOURCE || f->opt.units != 1)
		return WR_REASON_NEIGHBOUR;
	nd_advertise(p, f, true);
	return gateway_reply(p, &f->eth);
}

static __always_inline void echo_reply4(struct iphdr *ip)
{
	__be32 saddr = ip->saddr;
	__u16 old, new;

	/* Swapping addresses does not change the checksum; the hop limit is in one word with the protocol. */
	ip->saddr = ip->daddr;
	ip->daddr = saddr;
	old = bpf_htons(ip->ttl << 8 | ip->protocol);
	new = bpf_htons(IP_HOP_LIMIT << 8 | ip->protocol);
	ip->ttl = IP_HOP_LIMIT;
	ip->check = csum_replace(ip->check, old, new);
}

static __always_inline void echo_reply6(struct ipv6hdr *ip)
{
	struct in6_addr saddr = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = saddr;
	ip->hop_limit = IP_HOP_LIMIT;
}

static __always_inline enum wr_reason echo_reply(const struct packet *p, const bool v6)
{
	const __u8 request = v6 ? ICMPV6_ECHO_REQUEST : ICMP4_ECHO_REQUEST,
		   reply = v6 ? ICMPV6_ECHO_REPLY : ICMP4_ECHO_REPLY;
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct icmp_start *icmp;
	void *frame;

	frame = packet_at(p, 0, l4_off + ICMP_HEADER_SIZE);
	if (!frame)
		return WR_REASON_GATEWAY;
	icmp = frame + l4_off;
	if (icmp->type != request)
		return WR_REASON_GATEWAY;
	if (v6)
		echo_reply6(frame + ETH_HLEN);
	else
		echo_reply4(frame + ETH_HLEN);
	icmp->type = reply;
	icmp->checksum = csum_replace(icmp->checksum, bpf_htons(request << 8), bpf_htons(reply << 8));
	return gateway_reply(p, frame);
}

/* Replies to an echo request to the gateway, if it is not fragmented and directly behind the IP header. */
OUT_OF_LINE int gateway_echo(struct __sk_buff *skb, __u32 v6)
{
	struct packet p;

	if (!gateway_packet(&p, skb, NULL))
		return WR_REASON_NO_ENDPOINT;
	return IN_FAMILY(v6, echo_reply, &p);
}

#endif
