/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Endpoints: the data path's state of each pod of this node. */
#ifndef WARREN_ABI_ENDPOINT_H
#define WARREN_ABI_ENDPOINT_H

#include <linux/types.h>

#include "abi/addr.h"

enum wr_endpoint_flags {
	WR_EP_V4 = 1 << 0,         /* addr4 is valid; else every IPv4 packet of the pod is dropped as spoofed */
	WR_EP_V6 = 1 << 1,         /* addr6 is valid; likewise */
	WR_EP_MASQUERADE = 1 << 2, /* masquerade its traffic that leaves the node */
	WR_EP_HOST_PORTS = 1 << 3, /* it may have elements in host_ports4 and host_ports6 */
};

/*
 * One slot of map `endpoints`. An endpoint's id in every tool is the ifindex of the pod's host-side device (which is
 * not reused before the next boot). Its slot is one of the few that wr_endpoint_slot() allows for that ifindex, nearly
 * always the first. So a lookup is an array access that the kernel inlines, not a hash lookup: measured, two hash
 * lookups per packet were half of from_pod's time.
 *
 * An empty slot is all zeros, and zeros allow nothing (no address, no MAC, quarantine). The element is copied in and
 * out non-atomically, so a program that reads a half-written one drops. Owner: warren-cni writes it at ADD, before the
 * device is up, and clears it at DEL, before the device is removed.
 */
struct wr_endpoint {
	__u32 ifindex;      /* of the host-side device; 0: the slot is empty */
	struct wr_addr4 addr4;
	struct wr_addr6 addr6;
	__u8 mac[6];        /* of the pod's side */
	__u16 flags;        /* enum wr_endpoint_flags */
	/*
	 * The policy tag: one aligned 64-bit word, so that class and revision change in a single store (the map can be
	 * mmapped). Programs read it in one load, before they look up the policy.
	 */
	__u32 policy_class __attribute__((aligned(8))); /* enum wr_class, or a class of the policy compiler */
	__u32 revision;
	__u64 identity;     /* enum wr_identity or a pod's identity */
	__u32 peer_ifindex; /* of the pod's side, in the pod's netns */
	__u32 ct_first;     /* its window in ct_new4 and ct_new6 (abi/conntrack.h): the first slot */
	__u32 ct_slots;     /* number of slots in the window, a power of two; 0: no window */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_endpoint) == 64, "wr_endpoint");
_Static_assert(__builtin_offsetof(struct wr_endpoint, policy_class) == 32, "policy tag");

/* Four slots per endpoint, so that with eight probes even the last endpoint finds a free slot (except 1 in 65,000). */
#define WR_MAX_ENDPOINTS 4096
#define WR_ENDPOINT_SLOTS (4 * WR_MAX_ENDPOINTS) /* a power of two */
#define WR_ENDPOINT_PROBES 8

/* The n-th slot (0 to WR_ENDPOINT_PROBES - 1) where the endpoint of that device may be. */
static inline __u32 wr_endpoint_slot(__u32 ifindex, __u32 n)
{
	return (ifindex + n * 0x9e37u) & (WR_ENDPOINT_SLOTS - 1);
}

/* Value of `addr4` and `addr6`: the endpoint that has this address. */
struct wr_local {
	__u32 ifindex; /* of its host-side device: see wr_endpoint_slot() */
};
_Static_assert(sizeof(struct wr_local) == 4, "wr_local");

/*
 * Key of `addr_cache`: Fibonacci hash of an address' words, XORed. A value is a guess, valid only if that endpoint has
 * the address, so a stale or colliding entry does no harm. The hash lookup of the address was the most expensive part
 * of from_pod: a correct guess takes 52 ns instead of 75, and 155 instead of 220 in live traffic, where the hash's
 * cache lines are cold.
 */
#define WR_ADDR_CACHE_BITS 14
static inline __u32 wr_addr_cache_key(__u32 words)
{
	return (words * 0x9e3779b1u) >> (32 - WR_ADDR_CACHE_BITS);
}

#endif
