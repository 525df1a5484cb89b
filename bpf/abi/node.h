/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Other nodes, the identities of their pods, and the tunnel between nodes: Geneve (RFC 8926) over IPv4 or IPv6.
 *
 * On the wire: outer Ethernet, IPv4 (DF, no options) or IPv6 (no extension headers), UDP to `port` (over IPv6 without
 * checksum, RFC 6935), Geneve with one or two options and protocol 0x6558, inner Ethernet, the pod's IP packet. The
 * first option, class `option_class`, type WR_TUNNEL_OPTION, 8 bytes of data, carries the sender's identity in network
 * order. The second one, where the cluster has a tunnel key, is of type WR_TUNNEL_OPTION_KEY: 8 bytes, the keyed tag.
 *
 * The keyed tag is a MAC (HMAC-SHA256, 64 bits of it) over the names of the sending and the receiving node, under the
 * cluster's key. It is the same in every packet between the two. An off-path attacker, which can send to a node with
 * another node's address but sees no packets, has to guess it: one packet in 2^64. A tag that leaks on one path is of
 * no use on any other. An on-path attacker can read the tags of that path: only encryption protects against it.
 */
#ifndef WARREN_ABI_NODE_H
#define WARREN_ABI_NODE_H

#include <linux/types.h>

#include "abi/addr.h"

#define WR_TUNNEL_PORT 6081
#define WR_TUNNEL_VNI 1
#define WR_TUNNEL_OPTION_CLASS 0xfff1 /* from the range for experiments, RFC 8926 section 7 */
#define WR_TUNNEL_OPTION 0x01         /* not critical: a receiver that does not support it may deliver the packet */
#define WR_TUNNEL_IDENTITY_SIZE 8
#define WR_TUNNEL_OPTION_KEY 0x02     /* not critical either: releases without support for it ignore it */
#define WR_TUNNEL_TAG_SIZE 8
#define WR_TUNNEL_KEY_SIZE (4 + WR_TUNNEL_TAG_SIZE) /* size of the option, which is added to the overhead */

/*
 * What encapsulation adds to an inner IP packet: outer IP, UDP, Geneve, identity, inner Ethernet. Without the keyed
 * tag.
 */
#define WR_TUNNEL_HEADERS (8 + 8 + 4 + WR_TUNNEL_IDENTITY_SIZE + 14)
#define WR_TUNNEL_OVERHEAD4 (20 + WR_TUNNEL_HEADERS) /* 62 */
#define WR_TUNNEL_OVERHEAD6 (40 + WR_TUNNEL_HEADERS) /* 82 */

/*
 * A peer on another node: in wr_ct.initiator and .responder, in events and in traces, WR_REMOTE | its node's slot may
 * be in place of an ifindex (which is never that large).
 */
#define WR_REMOTE (1u << 31)
/* This node's own host, as the backend of a client outside the cluster: slot 0 is never another node's. */
#define WR_OWN_HOST WR_REMOTE

enum wr_node_flags {
	WR_NODE_V4 = 1 << 0,       /* cidr4 is valid */
	WR_NODE_V6 = 1 << 1,       /* cidr6 is valid */
	WR_NODE_OVER6 = 1 << 2,    /* local and remote are IPv6 addresses; else IPv4, in the first word of each */
	WR_NODE_DIRECT = 1 << 3,   /* on the same link: no encapsulation, frames go to the nexthop's MAC address */
	/* 1 << 4: in releases up to 0.1.0, the nexthop's MAC address is valid */
	WR_NODE_KEYED = 1 << 5,    /* encapsulated packets carry a keyed tag; `mtu` leaves room for it */
};

/*
 * Up to two keys are valid at a time; packets are sent with one of them. A key's index in arrays of two is its id
 * modulo 2. So a new key never overwrites the one in use, and one bit (WR_CLUSTER_KEY_ODD) switches the key for all
 * nodes: no packet carries a half-written tag.
 */
#define WR_TUNNEL_KEYS 2

/*
 * One slot of map `nodes`: another node of the cluster. It is written in full before any other map refers to it
 * (nodes4/6, node_addr4/6), and emptied, `id` first, after none does. Only the uplink and unused keyed tags change in
 * place; any other change uses a new slot. Conntrack stores the slot and the cluster's revision at the time of the
 * lookup. Under another revision the address is looked up again, so a slot that was reused for another node does no
 * harm. (World addresses are in no pod CIDR: a node accepts only replies to packets that it has forwarded itself.)
 */
struct wr_node {
	__u32 id;     /* never reused; 0: the slot is empty */
	__u32 flags;  /* enum wr_node_flags */
	/*
	 * ifindex of the device of the route at the agent's last lookup: tunnel packets may arrive there; fallback if a
	 * lookup finds no route
	 */
	__u32 uplink;
	__u32 mtu;    /* largest inner IP packet in bytes */
	struct wr_addr4 cidr4, mask4; /* pod CIDR: address & mask == cidr */
	struct wr_addr6 cidr6, mask6;
	struct wr_addr6 local, remote; /* outer addresses of this node and of the other */
	__u32 last_id; /* stays when the slot is emptied: shows how long a slot has been unused, and the highest id */
	__u32 pad;
	__u64 tx_tag[WR_TUNNEL_KEYS]; /* keyed tags, by key: of packets to the node ... */
	__u64 rx_tag[WR_TUNNEL_KEYS]; /* ... and from it; 0: none */
};
_Static_assert(sizeof(struct wr_node) == 128 && __builtin_offsetof(struct wr_node, tx_tag) == 96, "wr_node");

#define WR_MAX_NODES 8192
#define WR_NODE_SLOTS (2 * WR_MAX_NODES) /* slot 0 is never used; twice as many, to delay the reuse of slots */

/*
 * Value of `nexthops`, which only the programs use: how packets reach a node now, by the kernel's routes and
 * neighbours. A slot's element is {slot modulo WR_NEXTHOPS}, one for each CPU, so that it is never read half-written.
 * Nodes that share an element repeat lookups more often.
 */
struct wr_nexthop {
	__u32 id;      /* wr_node.id of the node */
	__u32 tick;    /* when the lookup was made (WR_CT_TICK_SHIFT) */
	__u32 flags;   /* enum wr_nexthop_flags */
	__u32 ifindex; /* the device */
	__u32 mtu;     /* the device's; 0: not known */
	__u8 dmac[6], smac[6];
	/* Another device than the uplink on which the node's tunnel packets may arrive, by the routes at path_tick. */
	__u32 path_id; /* wr_node.id; 0: none */
	__u32 path_ifindex, path_v6, path_tick; /* path_v6: 1 for packets over IPv6 */
};
_Static_assert(sizeof(struct wr_nexthop) == 48, "wr_nexthop");

enum wr_nexthop_flags {
	WR_NEXTHOP_RESOLVED = 1 << 0, /* both MAC addresses are valid */
	WR_NEXTHOP_CONFIRM = 1 << 1,  /* the next packet uses the kernel's neighbour entry, which is confirmed by use */
};

#define WR_NEXTHOPS 4096

/*
 * Value of nodes4/6 and node_addr4/6. node_addr4/6 hold every address of every other node: a tunnel packet is accepted
 * only from one of these.
 */
struct wr_node_ref {
	__u32 slot;
};

/*
 * Value of `ipcache4` and `ipcache6`: identity of an address that is not an endpoint of this node. Pods of other nodes,
 * from their Pod objects; addresses of other nodes, with WR_ID_REMOTE_NODE.
 */
struct wr_ipcache {
	__u64 identity;
};

/* First source port of tunnel packets: the dynamic range (RFC 8926 section 3.3, RFC 6335), up to its end. */
#define WR_TUNNEL_SPORT_FIRST 0xc000

enum wr_cluster_flags {
	WR_CLUSTER_V4 = 1 << 0,    /* addr4 is valid: this node receives tunnel packets over IPv4 */
	WR_CLUSTER_V6 = 1 << 1,    /* addr6 is valid */
	WR_CLUSTER_POD4 = 1 << 2,  /* cidr4 is valid */
	WR_CLUSTER_POD6 = 1 << 3,
	/*
	 * copy the inner DSCP to the outer header (RFC 2983's uniform model); else 0. ECN is always copied (RFC 6040).
	 */
	WR_CLUSTER_DSCP = 1 << 4,
	WR_CLUSTER_SPORTS = 1 << 5, /* tunnel packets must come from the source ports above; else from any */
	WR_CLUSTER_KEY_EVEN_KNOWN = 1 << 6,  /* key_id[0] is valid */
	WR_CLUSTER_KEY_ODD_KNOWN = 1 << 7,   /* key_id[1] is valid */
	WR_CLUSTER_KEY_ODD = 1 << 8,         /* send the tag of key_id[1], else that of key_id[0] */
	WR_CLUSTER_KEY_REQUIRED = 1 << 9,    /* drop tunnel packets without a valid tag */
};

/*
 * The one element of `cluster`: this node's own addresses and settings in the cluster. All zeros: there is no cluster,
 * and packets to other nodes go through the stack. The agent writes it in full, `revision` last.
 */
struct wr_cluster {
	/*
	 * changes after every change of nodes, nodes4/6, node_addr4/6 and ipcache4/6: a lookup's result is valid as
	 * long as it is the same
	 */
	__u32 revision;
	__u32 flags;    /* enum wr_cluster_flags */
	__u32 vni;      /* 24 bits */
	__be16 port;
	__be16 option_class;
	__u32 host_ifindex; /* warren0 */
	struct wr_addr4 addr4; /* outer addresses of this node */
	struct wr_addr6 addr6;
	struct wr_addr4 cidr4, mask4; /* pod CIDR of this node */
	struct wr_addr6 cidr6, mask6;
	__u32 key_id[WR_TUNNEL_KEYS]; /* for tools only; programs need only the tags */
	__u32 addr4_ifindex, addr6_ifindex; /* the devices with addr4 and addr6; 0: none, or the loopback device */
};
_Static_assert(sizeof(struct wr_cluster) == 96, "wr_cluster");

#endif
