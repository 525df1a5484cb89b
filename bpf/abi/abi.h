/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and user space share, apart from the maps' layouts.
 *
 * The headers in bpf/abi are the only ones that both sides include. Every struct here has fixed-width fields, explicit
 * padding and size asserts. Addresses and ports are in network byte order (__be*), all else in host order.
 */
#ifndef WARREN_ABI_ABI_H
#define WARREN_ABI_ABI_H

#include <linux/types.h>

/*
 * Version of everything in bpf/abi. It names the pin directory (<bpffs>/warren/v<N>), so a program never opens maps of
 * another version. Raise it when a layout or a meaning changes.
 */
#define WR_ABI_VERSION 6

/*
 * The MAC address of every pod's host-side device, so that a pod's neighbour entry for its gateway never changes.
 * warren0 has it too: from_uplink writes it as the destination of packets that go to the stack.
 */
#define WR_HOST_MAC { 0x02, 0x57, 0x52, 0x00, 0x00, 0x01 }

/*
 * Every pod's gateway: 169.254.1.1 (host order) and fe80::1. No device has these addresses: pods have a permanent
 * neighbour entry for them, and from_pod answers for them.
 */
#define WR_GATEWAY4 0xa9fe0101u
#define WR_GATEWAY6 { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }

/* Interface group (IFLA_GROUP) of every host-side pod device, which the nftables guard matches ("WR"). */
#define WR_LINK_GROUP 0x5752u

/* Identities. The top byte is the kind: 0 for reserved ones, 2 for pods (a keyed hash of labels). */
#define WR_ID_KIND_SHIFT 56
#define WR_ID_KIND_POD 2ull
enum wr_identity {
	WR_ID_UNKNOWN = 0, /* not known yet: a pod without an agent, or a packet that is not classified */
	WR_ID_HOST = 1,    /* this node's own stack */
	WR_ID_WORLD = 2,   /* entered through a device that is not a pod's */
	WR_ID_REMOTE_NODE = 3, /* another node's stack; in a tunnel packet: sent by that node's stack */
};
/*
 * A pod with unknown labels (its address is in another node's pod CIDR, and no ipcache entry exists). Matches rules for
 * all pods only.
 */
#define WR_ID_SOME_POD (WR_ID_KIND_POD << WR_ID_KIND_SHIFT)

/* Policy classes with a fixed meaning. */
enum wr_class {
	WR_CLASS_QUARANTINE = 0,   /* only the pod's own node may exchange packets with it */
	WR_CLASS_NOT_ISOLATED = 1, /* no policy selects the pod */
	WR_CLASS_FIRST = 16,       /* the policy compiler's start here: see abi/policy.h */
};

/* A packet's direction, seen from the pod whose program evaluates it. */
enum wr_direction {
	WR_EGRESS = 0,  /* from_pod: the pod sent it */
	WR_INGRESS = 1, /* to_pod: it is for the pod */
	WR_DIRECTIONS,
};

/* Programs that another program continues in by a tail call. */
enum wr_tail {
	WR_TAIL_SERVICE, /* service_uplink */
	WR_TAILS,
};

/*
 * Node-wide settings: the one element (key 0) of map `config`. The loader writes it before it attaches any program.
 *
 * Marks are bits of skb->mark. from_pod sets `mark_pod` on every packet that it passes to the stack. In input and
 * forward, the nftables guard drops packets from a pod device without that mark.
 */
struct wr_config {
	__u32 abi_version;     /* WR_ABI_VERSION */
	__u32 mark_pod;        /* from_pod has passed this packet */
	__u32 mark_masquerade; /* ... which must be masqueraded when it leaves the node */
	__u32 mark_host_only;  /* ... which must not leave this host (quarantine): dropped in forward */
	char version[32];      /* release that loaded the programs, NUL-terminated */
	__u32 ct_quota;        /* entries of ct4 and ct6 together that one endpoint may own */
	__be16 tunnel_port; /* UDP port that only the programs may send to (the nftables guard); 0: not in a cluster */
	/* of a pod's device if its network configures none; 0: that of the device of the default route */
	__u16 pod_mtu;
	__u32 ct_entries;      /* max entries of ct4, and of ct6 */
	__u32 ct_secret[12];   /* key of wr_ct_hash(), random, created with the maps */
};
_Static_assert(sizeof(struct wr_config) == 108, "wr_config");

#endif
