/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first bytes of a frame, taken apart and put into words. The bytes are hostile: a pod chose them, and they are
 * shown because something was wrong with them. Pure functions: no I/O, no state.
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

/* Where the bytes ended, or what they contradict. */
enum packet_end { PACKET_COMPLETE, PACKET_CUT, PACKET_CONTRADICTION };

struct packet {
	/* Ethernet */
	bool ethernet;
	uint8_t mac_source[6], mac_destination[6];
	bool vlan;
	uint16_t vlan_id;
	uint16_t eth_proto; /* of what is inside the tag, if there is one */
	/* ARP */
	bool arp;
	uint16_t arp_op;
	uint8_t arp_mac[6]; /* the sender's */
	/* IP, also the sender's and the target's address of ARP; family 0: not IP or not seen */
	struct ip source, destination;
	uint8_t hop_limit;
	uint8_t options;			/* bytes of IPv4 options */
	uint8_t ext[PACKET_EXT_MAX], ext_count; /* IPv6 extension headers, in order, as far as there is room */
	bool fragment, more_fragments;
	uint32_t fragment_id, fragment_offset; /* offset in bytes */
	/* Transport; of a later fragment only the protocol is known */
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
	bool identified; /* there is an identity option */
	uint64_t identity;
	bool keyed; /* there is a keyed word */
	/* what the tunnel carries, as far as it was captured; NULL: nothing, or no Ethernet */
	const struct packet *inner;
	/* Why nothing more is known */
	enum packet_end end;
	const char *where; /* which header */
};

/* How to know a tunnel packet (abi/node.h); host order. */
struct packet_tunnel {
	uint16_t port, option_class;
};
/*
 * `size` bytes were captured. Never fails: what cannot be read is not set. What a tunnel packet carries is taken apart
 * into
 * *inner, which must stay as long as *p; NULL tunnel: none is known as one.
 */
void packet_parse(struct packet *p, struct packet *inner, const struct packet_tunnel *tunnel, const uint8_t *data,
		  size_t size);

/* One line of printable ASCII. `macs`: MAC addresses too. Returns buf. */
const char *packet_format(const struct packet *p, bool macs, char *buf, size_t size);

/* The same as an object of what is known. NULL without memory. */
json_t *packet_json(const struct packet *p);

/* "tcp", "icmp", ...; NULL for a protocol without a name here. */
const char *l4_proto_name(uint8_t l4_proto);
/* By name or number; -EINVAL. */
int l4_proto_parse(const char *text, uint8_t *l4_proto);
/* "SYN,ACK"; "none" without flags. Returns buf. */
const char *tcp_flags_format(uint8_t flags, char *buf, size_t size);
/* The bit of "syn", "ack", ...; -EINVAL. */
int tcp_flag_parse(const char *name);
/* "echo request"; NULL for a type without a name here. `family`: AF_INET or AF_INET6. */
const char *icmp_type_name(int family, uint8_t type);
const char *ext_header_name(uint8_t type);

#endif
