/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The check of a pod's packet's destination address. */
#ifndef WARREN_LIB_DESTINATION_H
#define WARREN_LIB_DESTINATION_H

#include "lib/gateway.h"

static __always_inline enum wr_reason destination4_check(struct packet *p)
{
	__u32 top = bpf_ntohl(p->at->daddr.a4.v4) >> 24;

	p->to_gateway = p->at->daddr.a4.v4 == bpf_htonl(WR_GATEWAY4);
	if (top == 0 || top == 127 || top >= 224)
		return is_multicast(&p->at->daddr, false) ? WR_REASON_MULTICAST : WR_REASON_BAD_DESTINATION;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason destination6_check(struct packet *p)
{
	const struct wr_addr6 *a = &p->at->daddr.a6;

	p->to_gateway = false;
	if (addr6_is_embedded(a))
		return WR_REASON_BAD_DESTINATION;
	if (is_multicast(&p->at->daddr, true))
		return WR_REASON_MULTICAST;
	if (addr6_is_link_local(a)) {
		p->to_gateway = is_gateway6(a);
		return p->to_gateway ? WR_REASON_NONE : WR_REASON_BAD_DESTINATION;
	}
	return WR_REASON_NONE;
}

/*
 * Checks the destination address, and that the frame was sent to the gateway's MAC address: the stack ignores frames to
 * other MAC addresses, and unicast IP in a broadcast frame is invalid (RFC 1122 section 3.3.6). IPv4 link-local
 * destinations pass: hosts offer services there (169.254.169.254, a node's DNS cache). A pod's own address as
 * destination never leaves a correct pod.
 */
static __always_inline enum wr_reason destination_check(struct packet *p, const bool v6)
{
	enum wr_reason reason = v6 ? destination6_check(p) : destination4_check(p);
	__u32 type = p->skb->pkt_type;

	if (reason)
		return reason;
	if (addr_is_endpoints(&p->at->daddr, p->ep, v6))
		return WR_REASON_BAD_DESTINATION;
	if (type == PACKET_HOST)
		return WR_REASON_NONE;
	return type == PACKET_OTHERHOST ? WR_REASON_BAD_DESTINATION : WR_REASON_MULTICAST;
}

#endif
