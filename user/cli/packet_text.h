/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parses the first bytes of a frame and formats them as text or JSON. The bytes are untrusted: a pod chose them, and
 * most frames shown were dropped as invalid. Pure functions: no I/O, no state.
 */
#ifndef WARREN_PACKET_TEXT_H
#define WARREN_PACKET_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define PACKET_TEXT_MAX 1024
#define PACKET_EXT_MAX 8

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

#endif
