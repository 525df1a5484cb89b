/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Other nodes, who their pods are, and how packets get there: Geneve (RFC 8926) over IPv4 or IPv6.
 *
 * On the wire: outer Ethernet, IPv4 (DF, no options) or IPv6 (no extension headers), UDP to `port` (over IPv6 without
 * checksum, RFC 6935), Geneve with one or two options and protocol 0x6558, inner Ethernet, the pod's IP packet. The first
 * option, class `option_class`, type WR_TUNNEL_OPTION, 8 bytes of data, carries the sender's identity in network order.
 * The second one, where the cluster has a tunnel key, is of type WR_TUNNEL_OPTION_KEY: 8 bytes, the keyed word.
 *
 * The keyed word is a MAC (HMAC-SHA256, 64 bits of it) over the names of the sending and the receiving node, under the
 * cluster's key, and the same in every packet between the two. An off-path attacker, who can send to a node with another
 * one's address and sees nothing, has to guess it: one packet in 2^64. A word that is read on one path opens no other.
 * An on-path attacker reads the words of that path: against such a one only encryption helps.
 */
#ifndef WARREN_ABI_NODE_H
#define WARREN_ABI_NODE_H

#include <linux/types.h>

#include "abi/addr.h"

#define WR_TUNNEL_PORT 6081
#define WR_TUNNEL_VNI 1
#define WR_TUNNEL_OPTION_CLASS 0xfff1 /* of the range for experiments, RFC 8926 section 7 */
#define WR_TUNNEL_OPTION 0x01         /* not critical: who does not know it may deliver the packet */
#define WR_TUNNEL_IDENTITY_SIZE 8
#define WR_TUNNEL_OPTION_KEY 0x02     /* neither: releases that do not know it ignore it */
#define WR_TUNNEL_WORD_SIZE 8
#define WR_TUNNEL_KEY_SIZE (4 + WR_TUNNEL_WORD_SIZE) /* of the option: what it adds to the overhead */

/* What encapsulation adds to an inner IP packet: outer IP, UDP, Geneve, identity, inner Ethernet. Without the key. */
#define WR_TUNNEL_HEADERS (8 + 8 + 4 + WR_TUNNEL_IDENTITY_SIZE + 14)
#define WR_TUNNEL_OVERHEAD4 (20 + WR_TUNNEL_HEADERS) /* 62 */
#define WR_TUNNEL_OVERHEAD6 (40 + WR_TUNNEL_HEADERS) /* 82 */

/*
 * Where a peer stands that is no endpoint of this node: in wr_ct.initiator and .responder, in events and in traces the
 * place of an ifindex (which is never that large) may hold WR_REMOTE | its node's slot.
 */
#define WR_REMOTE (1u << 31)

enum wr_node_flags {
	WR_NODE_V4 = 1 << 0,       /* cidr4 is valid */
	WR_NODE_V6 = 1 << 1,       /* cidr6 is valid */
	WR_NODE_OVER6 = 1 << 2,    /* local and remote are IPv6 addresses; else IPv4, in the first word of each */
	WR_NODE_DIRECT = 1 << 3,   /* on the same link, without encapsulation: frames as they are, to the next hop's MAC address */
	/* 1 << 4: releases up to 0.1.0 said by it that they knew the next hop's MAC address */
	WR_NODE_KEYED = 1 << 5,    /* what is encapsulated carries a keyed word; `mtu` leaves room for it */
};

/*
 * Two keys may be known at a time, of which one is sent with; the place of a key in arrays of two is its id modulo 2. So
 * a key that is added never takes the place of the one in use, and which one is sent with changes by one bit for all nodes
 * (WR_CLUSTER_KEY_ODD): no packet carries half a word.
 */
#define WR_TUNNEL_KEYS 2

/*
 * One slot of map `nodes`: another node of the cluster. Written whole before anything leads to it (nodes4/6,
 * node_addr4/6), and emptied, `id` first, after nothing does. What changes in place is only the uplink
 * and keyed words that are not in use; everything else makes a new slot. A flow remembers the slot, and the cluster's revision under
 * which it was found: under another one the address is looked up again, so a slot that has another node by now misleads
 * nobody. (The world's address is in nobody's CIDR: a node takes only answers to what it has forwarded itself.)
 */
struct wr_node {
	__u32 id;     /* never used twice; 0: the slot is empty */
	__u32 flags;  /* enum wr_node_flags */
	__u32 uplink; /* ifindex of the device by which packets left when the agent looked: tunnel packets may come there; used where no route is found */
	__u32 mtu;    /* bytes: the largest inner IP packet */
	struct wr_addr4 cidr4, mask4; /* pod CIDR: address & mask == cidr */
	struct wr_addr6 cidr6, mask6;
	struct wr_addr6 local, remote; /* outer addresses: this node's own, and the other's */
	__u32 last_id; /* stays when the slot is emptied: of all slots, how long each has rested, and which ids there were */
	__u32 pad;
	__u64 tx_word[WR_TUNNEL_KEYS]; /* keyed words, by key: of packets to it ... */
	__u64 rx_word[WR_TUNNEL_KEYS]; /* ... and from it; 0: none */
};
_Static_assert(sizeof(struct wr_node) == 128 && __builtin_offsetof(struct wr_node, tx_word) == 96, "wr_node");

#define WR_MAX_NODES 8192
#define WR_NODE_SLOTS (2 * WR_MAX_NODES) /* slot 0 is never used; twice as many, so that a slot rests before it is used again */

/*
 * Value of `nexthops`, the programs' own: how packets reach a node now, by the kernel's routes and neighbours. A slot's
 * element is {slot modulo WR_NEXTHOPS}, one for each processor, so that it is never read half-written; nodes that share
 * one look up more often. No process writes or needs it.
 */
struct wr_nexthop {
	__u32 id;      /* wr_node.id: about which node it is */
	__u32 tick;    /* when it was looked up (WR_CT_TICK_SHIFT) */
	__u32 flags;   /* enum wr_nexthop_flags */
	__u32 ifindex; /* the device */
	__u32 mtu;     /* the device's; 0: not known */
	__u8 dmac[6], smac[6];
	/* A device that is not its uplink, by which its tunnel packets may come: as the routes said at path_tick. */
	__u32 path_id; /* wr_node.id; 0: none */
	__u32 path_ifindex, path_v6, path_tick; /* path_v6: 1 for packets over IPv6 */
};
_Static_assert(sizeof(struct wr_nexthop) == 48, "wr_nexthop");

enum wr_nexthop_flags {
	WR_NEXTHOP_RESOLVED = 1 << 0, /* both MAC addresses are valid */
	WR_NEXTHOP_CONFIRM = 1 << 1,  /* the next packet goes by the kernel's neighbour entry, which is confirmed by being used */
};

#define WR_NEXTHOPS 4096

/*
 * Value of nodes4/6 and node_addr4/6. node_addr4/6 hold every address of every other node: a tunnel packet is believed
 * only from one of these.
 */
struct wr_node_ref {
	__u32 slot;
};

/*
 * Value of `ipcache4` and `ipcache6`: whose address it is, if it is not an endpoint's of this node. Pods of other nodes
 * by what their objects say; addresses of other nodes with WR_ID_REMOTE_NODE.
 */
struct wr_ipcache {
	__u64 identity;
};

/* Where a tunnel packet's source ports begin: the dynamic range (RFC 8926 section 3.3, RFC 6335), up to its end. */
#define WR_TUNNEL_SPORT_FIRST 0xc000

enum wr_cluster_flags {
	WR_CLUSTER_V4 = 1 << 0,    /* addr4 is valid: tunnels over IPv4 end here */
	WR_CLUSTER_V6 = 1 << 1,    /* addr6 is valid */
	WR_CLUSTER_POD4 = 1 << 2,  /* cidr4 is valid */
	WR_CLUSTER_POD6 = 1 << 3,
	WR_CLUSTER_DSCP = 1 << 4,  /* the inner DSCP is copied outwards (RFC 2983's uniform model); else 0. ECN always is (RFC 6040). */
	WR_CLUSTER_SPORTS = 1 << 5, /* tunnel packets come from the source ports above; else from any */
	WR_CLUSTER_KEY_EVEN_KNOWN = 1 << 6,  /* key_id[0] is valid */
	WR_CLUSTER_KEY_ODD_KNOWN = 1 << 7,   /* key_id[1] is valid */
	WR_CLUSTER_KEY_ODD = 1 << 8,         /* packets carry the word of key_id[1], else that of key_id[0] */
	WR_CLUSTER_KEY_REQUIRED = 1 << 9,    /* a tunnel packet without the right word is dropped */
};

/*
 * The one element of `cluster`: this node's own place among the others. All zeros: there are no others, and no packet
 * goes anywhere but by the stack. Written whole by the agent; `revision` last.
 */
struct wr_cluster {
	__u32 revision; /* changes after every change of nodes, nodes4/6, node_addr4/6 and ipcache4/6: what was found there may be remembered as long as it stands */
	__u32 flags;    /* enum wr_cluster_flags */
	__u32 vni;      /* 24 bits */
	__be16 port;
	__be16 option_class;
	__u32 host_ifindex; /* warren0 */
	struct wr_addr4 addr4; /* this node's own outer addresses */
	struct wr_addr6 addr6;
	struct wr_addr4 cidr4, mask4; /* this node's own pod CIDR */
	struct wr_addr6 cidr6, mask6;
	__u32 key_id[WR_TUNNEL_KEYS]; /* for those who look; programs need only the words */
	__u32 addr4_ifindex, addr6_ifindex; /* the devices that have addr4 and addr6; 0: no device, or the loopback device */
};
_Static_assert(sizeof(struct wr_cluster) == 96, "wr_cluster");

#endif
