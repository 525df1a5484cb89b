/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds synthetic packets for dry runs. Pure functions. */
#ifndef WARREN_FRAME_H
#define WARREN_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "abi/node.h"
#include "addr.h"

struct frame {
	uint8_t mac_source[6], mac_destination[6];
	struct ip source, destination; /* of one family */
	uint8_t protocol;	       /* IPPROTO_TCP, _UDP, _SCTP, _ICMP, _ICMPV6 (an echo request) */
	uint16_t source_port;	       /* of an echo: its id */
	uint16_t destination_port;
	uint8_t tcp_flags;
};

#define FRAME_MAX 128
/* Returns its length. The transport checksum is 0: no program checks it, and the packet is not sent. */
size_t frame_make(const struct frame *f, uint8_t buf[FRAME_MAX]);

/* The headers that another node would add (abi/node.h). */
struct frame_tunnel {
	uint8_t mac_source[6], mac_destination[6];
	struct ip source, destination; /* of one family, not necessarily that of the frame */
	uint16_t port, option_class;
	uint32_t vni;
	uint64_t identity;
	uint64_t tag; /* the keyed tag; 0: none */
};
#define FRAME_TUNNEL_MAX (FRAME_MAX + 14 + WR_TUNNEL_OVERHEAD6 + WR_TUNNEL_KEY_SIZE)
size_t frame_encapsulate(const struct frame_tunnel *t, const uint8_t *frame, size_t length,
			 uint8_t buf[FRAME_TUNNEL_MAX]);

/* Checksum of an IPv4 header or an ICMP message (RFC 1071); `size` is even. */
uint16_t internet_checksum(const void *data, size_t size);

#endif
