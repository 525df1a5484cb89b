/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames: parsed, formatted as text and JSON, and built for dry runs. Pure functions: no I/O, no state. */
#ifndef WARREN_PACKET_H
#define WARREN_PACKET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/node.h"
#include "addr.h"

/* --- parsing and formatting -------------------------------------------------------------------------------------- */

#define PACKET_TEXT_MAX 1024
#define PACKET_EXT_MAX 8

/* The bytes are untrusted: a pod chose them, and most frames shown were dropped as invalid. */

/* How parsing ended: all headers read, out of bytes, or an invalid header. */
enum packet_end { PACKET_COMPLETE, PACKET_CUT, PACKET_CONTRADICTION };

struct packet {
	/* Ethernet */
	bool ethernet;
	uint8_t mac_source[6], mac_destination[6];
	bool vlan;
	uint16_t vlan_id;
	uint16_t eth_proto; /* behind the VLAN tag, if there is one */
	/* ARP */
	bool arp;
	uint16_t arp_op;
	uint8_t arp_mac[6]; /* the sender's */
	/* IP, or sender and target of ARP; family 0: not IP or not captured */
	struct ip source, destination;
	uint8_t hop_limit;
	uint8_t options;			/* bytes of IPv4 options */
	uint8_t ext[PACKET_EXT_MAX], ext_count; /* IPv6 extension headers, in order, as many as fit */
	bool fragment, more_fragments;
	uint32_t fragment_id, fragment_offset; /* offset in bytes */
	/* Transport; a later fragment has only the protocol */
	bool transport; /* l4_proto is valid */
	uint8_t l4_proto;
	bool ports;
	uint16_t source_port, destination_port;
	uint8_t tcp_flags;
	bool tcp, icmp;
	uint8_t icmp_type, icmp_code;
	bool echo;
	uint16_t echo_id, echo_seq;
	struct ip nd_target; /* of a neighbour solicitation or advertisement */
	/* Geneve */
	bool tunnel;
	bool control, critical; /* its O and C bits */
	uint32_t vni;
	bool identified; /* has an identity option */
	uint64_t identity;
	bool keyed; /* has a keyed tag */
	/* the captured part of the encapsulated frame; NULL: none, or not Ethernet */
	const struct packet *inner;
	enum packet_end end;
	const char *where; /* the header at which parsing ended */
};

/* How to recognise a tunnel packet (abi/node.h); host byte order. */
struct packet_tunnel {
	uint16_t port, option_class;
};
/*
 * Parses `size` captured bytes. Never fails: fields that cannot be read are not set. The frame inside a tunnel packet
 * is parsed into *inner, which must outlive *p. NULL tunnel: tunnel packets are not recognised.
 */
void packet_parse(struct packet *p, struct packet *inner, const struct packet_tunnel *tunnel, const uint8_t *data,
		  size_t size);

/* One line of printable ASCII. `macs`: MAC addresses too. Returns buf. */
const char *packet_format(const struct packet *p, bool macs, char *buf, size_t size);

/* The parsed fields as an object. NULL without memory. */
json_t *packet_json(const struct packet *p);

/* "tcp", "icmp", ...; NULL for other protocols. */
const char *l4_proto_name(uint8_t l4_proto);
/* By name or number; -EINVAL. */
int l4_proto_parse(const char *text, uint8_t *l4_proto);
/* "SYN,ACK"; "none" without flags. Returns buf. */
const char *tcp_flags_format(uint8_t flags, char *buf, size_t size);
/* The bit of "syn", "ack", ...; -EINVAL. */
int tcp_flag_parse(const char *name);
/* "echo request"; NULL for other types. `family`: AF_INET or AF_INET6. */
const char *icmp_type_name(int family, uint8_t type);
const char *ext_header_name(uint8_t type);

/* --- building ---------------------------------------------------------------------------------------------------- */

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
