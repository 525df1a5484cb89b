/* SPDX-License-Identifier: BSD-2-Clause */
/* Tunnel packets as data, for the tests of xdp_uplink; and a simple model of the program's result for any bytes. */
#ifndef WARREN_TEST_TUNNEL_FRAME_H
#define WARREN_TEST_TUNNEL_FRAME_H

#include "state.h"

#define TUNNEL_MAGIC 0x1122334455667788ull
#define TUNNEL_IDENTITY 0x0200000000c0ffeeull

/* How a packet differs from a good one. 0: it does not. */
struct tunnel_fields {
	bool outer6, inner6;
	bool unknown_sender; /* from an address that is no node's */
	bool elsewhere;     /* not to this node's address */
	int port;           /* V(n) */
	int sport;          /* V(n) */
	int tos;            /* of the outer IP header */
	int inner_tos;
	bool more, later;   /* fragments */
	bool ip_options;    /* IPv4's, one word */
	int ip_len, udp_len, inner_len; /* added to the right values of these fields */
	int checksum;       /* of UDP */
	int version, vni;   /* V(n) */
	int protocol;       /* V(n) */
	int flags;
	int words;          /* V(n): the options' length */
	int option_class, option_type, option_words; /* V(n) */
	int before, after;  /* further options: n words of data, +100: critical, +200: another identity */
	bool no_option;
	uint64_t tag;       /* the keyed tag, behind the identity; 0: none */
	int tag_type, tag_words; /* V(n) */
	int inner_type, inner_version, inner_ihl; /* V(n) */
	int payload;        /* bytes in the inner packet, 20 by default */
	int padding;        /* bytes behind everything */
};

struct tunnel_frame {
	struct frame f;
	size_t outer; /* bytes before the inner Ethernet header */
};

void tunnel_build(struct tunnel_frame *t, const struct tunnel_fields *fields);
/* The cluster, the node and the uplink that make a good one good. `decap`: XDP decapsulates it. */
void tunnel_state(bool decap);
/* ... in a cluster with a key, which is required or not. */
void tunnel_state_keyed(bool decap, bool required);
void tunnel_forget(void);

struct outcome {
	enum wr_reason reason; /* NONE: passes */
	bool decap;
	size_t outer;
	uint64_t identity;
};
struct outcome tunnel_model(const uint8_t *data, size_t len);

#endif
