/* SPDX-License-Identifier: BSD-2-Clause */
/* The node's state: endpoints, policy and flows in the maps. */
#ifndef WARREN_TEST_STATE_H
#define WARREN_TEST_STATE_H

#include "harness.h"

/* How the node differs from its usual state: two endpoints, not isolated, with both families. */
enum state {
	S_NO_ENDPOINT = 1 << 0,   /* A is no endpoint */
	S_A_QUARANTINE = 1 << 1,
	S_B_QUARANTINE = 1 << 2,
	S_NO_FAMILY = 1 << 3,     /* A has no address of the packet's family */
	S_NO_CONFIG = 1 << 4,
	S_MASQUERADE = 1 << 5,    /* A's traffic is masqueraded */
	S_B_GOING = 1 << 6,       /* B's address is still known, its endpoint is not */
	S_NOT_CACHED = 1 << 7,    /* addr_cache is empty */
	S_CACHE_WRONG = 1 << 8,   /* addr_cache maps B's addresses to A */
	S_LAST_PLACE = 1 << 9,    /* all endpoints are in the last slot of their probe sequence, other endpoints in the first */
	/* ... and the cluster from its own: NODE_C and NODE_D, each known and reached through a tunnel. */
	S_NO_CLUSTER = 1 << 10,   /* the maps hold no other nodes */
	S_NODE_GONE = 1 << 11,    /* NODE_C's slot is empty */
	S_NO_NODES = 1 << 12,     /* no address or prefix maps to NODE_C or NODE_D */
	S_DIRECT = 1 << 13,       /* NODE_C is on the same link */
	S_DSCP = 1 << 14,
	S_OTHER_FAMILY = 1 << 15, /* this node has no tunnel address of the packet's outer family */
	S_SIBLING = 1 << 16,      /* NODE_D sends in the place of NODE_C, whose pods are not NODE_D's */
	S_KEYED = 1 << 17,        /* tunnel packets carry a keyed tag, and the other nodes' tags are known */
	S_KEY_REQUIRED = 1 << 18, /* ... and must be there */
	S_KEY_ODD = 1 << 19,      /* this node sends with the key of the odd id */
	S_SPORTS = 1 << 20,       /* tunnel packets come from their own source ports only */
};

/* Sets the node to `state` (a set of enum state), without policies and flows; counters as they are, no events. */
void node_reset(unsigned state, bool v6);
/* ... in a cluster, with tunnels over that family; POD_C2's identity is known. */
void cluster_reset(unsigned state, bool v6, bool over6);

/* --- endpoints --- */

/* Those of A and B, no others. */
void endpoints_reset(unsigned state, bool v6);
/* A revision that was not used yet. */
uint32_t revision_next(void);
/* Of A or B, from now on: the class, under a new revision; the identity; the MAC address. */
void endpoint_set_class(enum device d, uint32_t policy_class);
void endpoint_set_identity(enum device d, uint64_t identity);
void endpoint_set_mac(enum device d, enum mac mac);
uint32_t endpoint_revision(enum device d);
void endpoint_clear_slot(uint32_t slot);
uint32_t endpoint_slot(enum device d); /* where it is, else its first one */
void endpoint_set_address(enum device d, enum who who);
/* Its policy tag, where user space writes it while programs run. Mapped for good. */
uint64_t *endpoint_map_tag(enum device d);
void endpoint_remove(enum device d);
void endpoint_restore(enum device d);
/* addr_cache maps the address to that endpoint. */
void cache_set(enum who who, enum device d);
/* The endpoint is removed, and one with the same addresses is added on another device. */
void endpoint_take_address(enum device from, enum device by);

/* --- policy --- */

void class_set(uint32_t policy_class, enum wr_direction direction, uint32_t flags, uint32_t port_bits);
void policy_allow(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto, uint16_t port,
		  unsigned port_bits, uint32_t rule);
void policy_cidr(uint32_t policy_class, enum wr_direction direction, enum who who, unsigned bits, uint64_t peer, bool v6);
void identity_set_peer(uint64_t identity, uint64_t peer);

/* --- other nodes --- */

/* Slots of the nodes that are NODE_C, NODE_D; a free one. */
enum { SLOT_C = 7, SLOT_D = 16383, SLOT_NONE = 9 };
#define TUNNEL_MTU 1400

/* Keyed tags between this node and the one of that slot, under the key with an even id (0), or an odd one (1). */
#define TX_TAG(slot, key) (0xa1b2c3d400000000ull + (slot) * 2 + (key))
#define RX_TAG(slot, key) (0x5fe1d2c300000000ull + (slot) * 2 + (key))

/*
 * This node is `own` and has the pod CIDR that contains `pod`. `flags` (set of enum wr_cluster_flags) are added to the
 * usual ones. Usually NODE, with A's and B's addresses.
 */
void cluster_put(enum who own, enum who pod, unsigned flags);
void cluster_clear(void);
void node_set_devices(uint32_t slot, enum device uplink, enum device own); /* own: has this node's addresses */
void node_change_id(uint32_t slot); /* as if another node had come into the slot */
void nexthops_clear(void); /* the next packet looks up its nexthop */
/* This node has no tunnel address of that family. */
void cluster_without(bool v6);
/* NODE_C or NODE_D, with `flags` (set of enum wr_node_flags) added to the usual ones. */
void node_put(uint32_t slot, unsigned flags);
void node_put_as(uint32_t slot, enum who own, enum who pod, unsigned flags);
/* Replaces the keyed tags of the node in that slot. */
void node_set_tags(uint32_t slot, const uint64_t tx[WR_TUNNEL_KEYS], const uint64_t rx[WR_TUNNEL_KEYS]);
/* Its slot is empty; addresses and prefixes still map to it. */
void node_empty(uint32_t slot);
void ipcache_put(enum who who, uint64_t identity);
struct wr_metric node_metric(uint32_t slot, enum wr_direction direction);

/* --- services --- */

/* The only service, at the address WORLD and port 80, with these backends (up to WHO_DEFAULT) at port 8080 in a new list. */
void service_put(uint8_t l4_proto, bool v6, const enum who backends[]);
/* The same with session affinity. */
void service_put_affine(uint8_t l4_proto, bool v6, const enum who backends[], uint32_t seconds);
void affinity_forget(void);
unsigned affinity_remembered(void); /* services, of all clients together */
void affinity_age(uint32_t ticks);
/* The same with so many backends, which are ports of one pod. */
void service_put_ports(uint8_t l4_proto, bool v6, enum who who, unsigned count);
/* The service has this port, too, with the same one backend. */
/* Port 80 of this host's address (WHO_DEFAULT: of all) is port 8080 of the pod there. */
void host_port_put(uint8_t l4_proto, bool v6, enum who who, enum device device);
void service_put_too(uint8_t l4_proto, bool v6, unsigned port);
/* The only service; flows of clients outside may move from node to node. */
void service_put_moving(uint8_t l4_proto, bool v6, enum who backend);
/*
 * A service for clients outside the cluster whose flows may move, at the same address and port, with the backends B and C's pod, and a table
 * in which the flow from `client` and this port has C's pod, and all others have B. With affinity its other flows have
 * C's pod, too. `whole` false: the table has no elements,
 * and both backends are B.
 */
void service_put_table(uint8_t l4_proto, bool v6, enum who client, uint16_t sport, bool affine, bool whole);
/* Flags of the service's address as a ClusterIP. The prefix in which addresses that are none belong to no Service. */
void service_address_put(bool v6, uint32_t flags);
void service_cidr_put(bool v6, enum who who, unsigned len);
/* The service is for clients in that one's prefix only; WHO_DEFAULT: for none. */
void service_restrict(uint8_t l4_proto, bool v6, enum who who, unsigned len);
void services_clear(void);

/* --- flows --- */

/* By their flags, wherever they are: replied and alive; the others. Or CT_TABLE: those in ct4/6. */
enum table { CT, CT_NEW, CT_TABLE };

/* Calls `keep` for every entry, which it may change; if it returns false, the entry is deleted. */
void flows_each(bool v6, bool (*keep)(const void *key, struct wr_ct *ct, bool in_table, void *arg), void *arg);
void flows_clear(void);
unsigned flows_count(enum table table, bool v6);
/* The only flow there is; false if there is none. */
bool flow_only(enum table table, bool v6, struct wr_ct *ct);
/* Cached verdicts end, as they do with each second. */
void verdicts_clear(void);
/* Time passes for every flow. */
void flows_age(uint32_t ticks);
/* Every flow has expired long ago; cached verdicts stay. */
void flows_kill(void);
/* The slots of the verdict cache that are not empty; `nat`: of those with NAT. */
struct cached {
	unsigned count;
	uint32_t latest; /* the second in which the newest was filled; a verdict ends with its second */
};
struct cached verdicts_cached(bool nat);
uint32_t tick_now(void);
/* Entries of that endpoint; NO_DEVICE: of none. */
uint32_t flows_owned(enum table table, enum device d, bool v6);
/* ... as its quota counts those of ct4 and ct6. */
uint32_t flows_counted(enum device d);
uint32_t usage_of_slot(uint32_t slot);
uint64_t flow_stat(enum wr_ct_stat stat);
/* How many flows in ct an endpoint may own. */
void flows_set_quota(uint32_t quota);
void flows_set_unlimited(void);

/*
 * A hash of the contents of every map but `trace`, and of the number of waiting events, which are drained. `slots_too`: also
 * of all of the large arrays, of which only the slots of A, B and the others are read otherwise.
 */
uint64_t maps_digest(bool slots_too);

#endif
