/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and user space agree on, apart from the maps' layouts.
 *
 * The headers in bpf/abi are the only ones that both sides include. Every struct here has fixed-width fields,
 * explicit padding and size asserts; addresses and ports are in network byte order (__be*), all else in host order.
 */
#ifndef WARREN_ABI_ABI_H
#define WARREN_ABI_ABI_H

#include <linux/types.h>

/*
 * Version of everything in bpf/abi. It names the pin directory (<bpffs>/warren/v<N>), so that a program never opens
 * the maps of a version it does not know. Raise it when a layout or a meaning changes.
 */
#define WR_ABI_VERSION 5

/*
 * Every host-side device of a pod has this MAC address, so that a pod's neighbour entry for its gateway never changes;
 * and warren0, to which from_uplink addresses what it hands to the stack.
 */
#define WR_HOST_MAC { 0x02, 0x57, 0x52, 0x00, 0x00, 0x01 }

/*
 * Every pod's gateway: 169.254.1.1 (host order) and fe80::1. They exist only as permanent neighbours and in from_pod.
 */
#define WR_GATEWAY4 0xa9fe0101u
#define WR_GATEWAY6 { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }

/* Interface group (IFLA_GROUP) of every host-side pod device: what the nftables guard matches on ("WR"). */
#define WR_LINK_GROUP 0x5752u

/* Identities: the top byte says of what kind they are. Reserved ones have 0, pods' (a keyed hash of labels) 2. */
#define WR_ID_KIND_SHIFT 56
#define WR_ID_KIND_POD 2ull
enum wr_identity {
	WR_ID_UNKNOWN = 0, /* not known (yet): a pod without an agent, or a packet not yet classified */
	WR_ID_HOST = 1,    /* this node's own stack */
	WR_ID_WORLD = 2,   /* anything that entered through a device which is not a pod's */
	WR_ID_REMOTE_NODE = 3, /* another node's own stack; on the wire, what the sending node's stack has sent */
};
/*
 * A pod of which nobody knows more than that (its address is in another node's pod CIDR): matches rules for all pods
 * only.
 */
#define WR_ID_SOME_POD (WR_ID_KIND_POD << WR_ID_KIND_SHIFT)

/* Policy classes with a fixed meaning. */
enum wr_class {
	WR_CLASS_QUARANTINE = 0,   /* only the own node's host may talk with the pod */
	WR_CLASS_NOT_ISOLATED = 1, /* no policy selects the pod */
	WR_CLASS_FIRST = 16,       /* first of the policy compiler's: see abi/policy.h */
};

/* Which way a packet goes, seen from the pod whose program judges it. */
enum wr_direction {
	WR_EGRESS = 0,  /* from_pod: the pod sent it */
	WR_INGRESS = 1, /* to_pod: it is for the pod */
	WR_DIRECTIONS,
};

/*
 * Node-wide settings, the one element (key 0) of map `config`. Written by the loader before any program is attached.
 *
 * Marks are bits of skb->mark. from_pod sets `mark_pod` on whatever it hands to the stack; the nftables guard drops in
 * input and forward what comes from a pod device without it.
 */
struct wr_config {
	__u32 abi_version;     /* WR_ABI_VERSION */
	__u32 mark_pod;        /* from_pod has seen this packet */
	__u32 mark_masquerade; /* ... and it is to be masqueraded when it leaves the node */
	__u32 mark_host_only;  /* ... and it may go no further than this host (quarantine): dropped in forward */
	char version[32];      /* release that loaded the programs, NUL-terminated */
	__u32 ct_share;        /* how many entries of ct4 and ct6 together one endpoint may own */
	__be16 tunnel_port;    /* nobody but the programs sends UDP to it (the nftables guard); 0: not in a cluster */
	__u16 pod_mtu;         /* of a pod's device where its network names none; 0: as the device of the default route */
	__u32 ct_entries;      /* how many entries ct4 has room for, and ct6 */
	__u32 ct_secret[12];   /* of wr_ct_hash(): drawn when the maps are made */
};
_Static_assert(sizeof(struct wr_config) == 108, "wr_config");

#endif
