/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets as data: a list of layers, outermost first, is built into bytes for one address family. Lengths, next-header
 * fields and checksums are computed from what follows unless a layer says otherwise; so an expected packet, built from
 * scratch, also checks whatever a program updated incrementally.
 */
#ifndef WARREN_TEST_LAYERS_H
#define WARREN_TEST_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 4096
#define LAYERS 16

struct frame {
	size_t len;
	uint8_t data[FRAME_MAX];
};

/* Of a test: the families that it is for. */
enum family { BOTH, V4, V6 };

static inline bool family_has(enum family family, bool v6)
{
	return family == BOTH || (family == V6) == v6;
}

/* Addresses by role: one of each family. 0 means the layer's default. */
enum who {
	WHO_DEFAULT,
	POD_A, /* the endpoint under test */
	POD_B, /* another pod of the node */
	HOST,
	WORLD,
	GW,
	GW_GROUP, /* solicited-node group of the gateway; IPv4: all hosts */
	MULTI,
	BROADCAST, /* limited broadcast; IPv6: all nodes */
	LOOPBACK,
	ZERO,
	RESERVED, /* 240/4; IPv6: an IPv4-mapped address */
	METADATA, /* 169.254.169.254; IPv6: fd00:ec2::254 */
	LINK_LOCAL, /* of neither the pod nor the host */
	WORLD_NEAR, /* differs from WORLD in the last bit */
	WORLD_FAR, /* shares only the first quarter with WORLD */
	/* Other nodes, and this one as they see it. */
	NODE,     /* this node's outer address */
	NODE_C,   /* another node's ... */
	GW_C,     /* ... the first of its pod CIDR: its gateway address ... */
	POD_C,    /* ... and a pod of it */
	POD_C2,   /* another one */
	NODE_D,   /* a third node ... */
	POD_D,    /* ... and its pod */
	/* Unassigned; they differ only in bits that cancel out where words are hashed one after the other. */
	NODE_C_LIKE,
	POD_C_LIKE,
	WHOS,
};

enum mac { MAC_DEFAULT, MAC_A, MAC_B, MAC_HOST, MAC_OTHER, MAC_BROADCAST, MAC_ZERO, MAC_GENEVE_FROM, MAC_GENEVE_TO, MACS };

/* An explicit value where 0 means "as it should be". */
#define V(x) ((x) | 0x1000000)

/* ICMP types by meaning; V(n) for any other. */
enum icmp_type { ECHO = 1, ECHO_REPLY, UNREACHABLE, TOO_BIG, EXCEEDED, PARAMETER };

#define FIRST_SEQ 1000
enum tcp_flag { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

enum layer_kind {
	L_END,
	L_ETH,
	L_VLAN,
	L_ARP,
	L_IP,
	L_HOP,   /* IPv6 hop-by-hop options */
	L_DST,   /* IPv6 destination options */
	L_ROUTE, /* IPv6 routing header */
	L_FRAG,  /* IPv6 fragment header; IPv4: fields of the IP header before it */
	L_TCP,
	L_UDP,
	L_ICMP,
	L_ND,
	L_SCTP,
	L_GENEVE,
	L_OPT,   /* an option of it; n bytes of data: `identity`, as far as it goes */
	L_RAW,   /* n bytes of protocol proto */
	L_PAD,   /* n bytes behind the packet, in no length field */
};

struct layer {
	enum layer_kind kind;
	enum mac smac, dmac;          /* ETH, ARP; ND: smac is the option's */
	enum who src, dst;            /* IP, ARP */
	int version, words, ttl, len; /* IP (words: ihl), TCP (words: data offset), UDP len, options (words of 8 bytes) */
	int flags;                    /* TCP; default: ACK */
	uint32_t seq, ack;            /* TCP; default: as if both ends began at FIRST_SEQ and have sent no data. SCTP: seq is the tag */
	int sport, dport;             /* TCP, UDP, SCTP */
	int proto;                    /* the header's next-header field; RAW: that of the header before it */
	int off, more;                /* FRAG; off in bytes */
	uint32_t id;                  /* FRAG; ICMP: identifier and sequence number */
	int type, code;               /* ICMP, ND, ARP (operation), ROUTE */
	int option;                   /* ND, HOP, DST: type of the option, 0 for none */
	enum who target;              /* ND */
	bool outer;                   /* IP: of the outer packet's family, as are the layers up to the next IP header */
	int tos, df;                  /* IP */
	int check;                    /* UDP, SCTP */
	int vni, class;               /* GENEVE (flags, version: as they are there); OPT (type: 1) */
	uint64_t identity;            /* OPT */
	int n;                        /* RAW, PAD; payload bytes behind TCP, UDP, ICMP and SCTP; negative: so many are cut off */
};

#define ETH(...) { .kind = L_ETH, ##__VA_ARGS__ }
#define VLAN(...) { .kind = L_VLAN, ##__VA_ARGS__ }
#define ARP(...) { .kind = L_ARP, ##__VA_ARGS__ }
#define IP(...) { .kind = L_IP, ##__VA_ARGS__ }
#define HOP(...) { .kind = L_HOP, ##__VA_ARGS__ }
#define DST(...) { .kind = L_DST, ##__VA_ARGS__ }
#define ROUTE(...) { .kind = L_ROUTE, ##__VA_ARGS__ }
#define FRAG(...) { .kind = L_FRAG, ##__VA_ARGS__ }
#define TCP(...) { .kind = L_TCP, ##__VA_ARGS__ }
#define UDP(...) { .kind = L_UDP, ##__VA_ARGS__ }
#define ICMP(...) { .kind = L_ICMP, ##__VA_ARGS__ }
#define ND(...) { .kind = L_ND, ##__VA_ARGS__ }
#define SCTP(...) { .kind = L_SCTP, ##__VA_ARGS__ }
#define GENEVE(...) { .kind = L_GENEVE, ##__VA_ARGS__ }
#define OPT(...) { .kind = L_OPT, ##__VA_ARGS__ }
#define RAW(...) { .kind = L_RAW, ##__VA_ARGS__ }
#define PAD(...) { .kind = L_PAD, ##__VA_ARGS__ }

/* The values of MAC_DEFAULT and WHO_DEFAULT. */
struct layer_defaults {
	enum mac smac, dmac;
	enum who src, dst;
};
extern const struct layer_defaults defaults_from_pod, defaults_to_pod; /* A's */
extern const struct layer_defaults defaults_from_b, defaults_to_b;
extern const struct layer_defaults defaults_from_uplink, defaults_from_host;

const uint8_t *who_address(enum who who, bool v6); /* 4 or 16 bytes */
const uint8_t *mac_address(enum mac mac);

void frame_build(struct frame *f, const struct layer *layers, const struct layer_defaults *defaults, bool v6);
/* `over6`: the family of outer headers. */
void frame_build_over(struct frame *f, const struct layer *layers, const struct layer_defaults *defaults, bool v6, bool over6);

#endif
