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
	S_CACHE_WRONG = 1 << 8,   /* addr_cache takes B's addresses for A's */
	S_LAST_PLACE = 1 << 9,    /* all endpoints are in the last slot they may be in, others' in the first */
	/* ... and the cluster from its own: NODE_C and NODE_D, each known and reached through a tunnel. */
	S_NO_CLUSTER = 1 << 10,   /* nothing is known of other nodes */
	S_NODE_GONE = 1 << 11,    /* NODE_C's slot is empty */
	S_NO_NODES = 1 << 12,     /* nothing leads to NODE_C or NODE_D */
	S_DIRECT = 1 << 13,       /* NODE_C is on the same link */
	S_DSCP = 1 << 14,
	S_OTHER_FAMILY = 1 << 15, /* this node ends no tunnels over the packet's outer family */
	S_SIBLING = 1 << 16,      /* NODE_D in the place of NODE_C: what NODE_D's pods are, NODE_C's are not */
	S_KEYED = 1 << 17,        /* tunnel packets carry a keyed word, and those of the others are known */
	S_KEY_REQUIRED = 1 << 18, /* ... and must be there */
	S_KEY_ODD = 1 << 19,      /* the key with the odd id is sent with */
	S_SPORTS = 1 << 20,       /* tunnel packets come from their own source ports only */
};

/* The node as `state` (a set of enum state) says, without policies and flows; counters as they are, no events. */
void node_reset(unsigned state, bool v6);
/* ... in a cluster, with tunnels over that family; POD_C2's identity is known. */
void cluster_reset(unsigned state, bool v6, bool over6);

/* --- endpoints --- */

/* Those of A and B, no others. */
void endpoints_reset(unsigned state, bool v6);
/* A revision that nothing has had yet. */
uint32_t revision_next(void);
/* Of A or B, from now on: the class, under a new revision; the identity; the MAC address. */
void endpoint_set_class(enum device d, uint32_t policy_class);
void endpoint_set_identity(enum device d, uint64_t identity);
void endpoint_set_mac(enum device d, enum mac mac);
uint32_t endpoint_revision(enum device d);
void endpoint_set_address(enum device d, enum who who);
/* Its policy word, where user space writes it while programs run. Mapped for good. */
uint64_t *endpoint_map_word(enum device d);
void endpoint_remove(enum device d);
void endpoint_restore(enum device d);
/* addr_cache takes the address for that endpoint's. */
void cache_set(enum who who, enum device d);
/* The endpoint goes, and one like it, with the same addresses, comes on another device. */
void endpoint_take_address(enum device from, enum device by);

/* --- policy --- */

void class_set(uint32_t policy_class, enum wr_direction direction, uint32_t flags, uint32_t port_bits);
void policy_allow(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto, uint16_t port,
		  unsigned port_bits, uint32_t rule);
void policy_cidr(uint32_t policy_class, enum wr_direction direction, enum who who, unsigned bits, uint64_t peer, bool v6);
void identity_set_peer(uint64_t identity, uint64_t peer);

/* --- other nodes --- */

/* Slots of the nodes that are NODE_C, NODE_D; one that is nobody's. */
enum { SLOT_C = 7, SLOT_D = 16383, SLOT_NONE = 9 };
#define TUNNEL_MTU 1400

/* Keyed words between this node and the one of that slot, under the key with an even id (0), or an odd one (1). */
#define TX_WORD(slot, key) (0xa1b2c3d400000000ull + (slot) * 2 + (key))
#define RX_WORD(slot, key) (0x5fe1d2c300000000ull + (slot) * 2 + (key))

/*
 * This node is `own` and has the pod CIDR that `pod` is in. `flags` (set of enum wr_cluster_flags) beside what it has of
 * itself. Usually NODE, with A's and B's addresses.
 */
void cluster_put(enum who own, enum who pod, unsigned flags);
void cluster_clear(void);
void node_set_devices(uint32_t slot, enum device uplink, enum device own); /* own: has this node's addresses */
void node_change_id(uint32_t slot); /* as if another node had come into the slot */
void nexthops_clear(void); /* the next packet looks the way up */
/* It ends no tunnels over that family. */
void cluster_without(bool v6);
/* NODE_C or NODE_D, with `flags` (set of enum wr_node_flags) beside what it has of itself. */
void node_put(uint32_t slot, unsigned flags);
void node_put_as(uint32_t slot, enum who own, enum who pod, unsigned flags);
/* Other keyed words than a node in that slot has. */
void node_set_words(uint32_t slot, const uint64_t tx[WR_TUNNEL_KEYS], const uint64_t rx[WR_TUNNEL_KEYS]);
/* Its slot is empty; what leads to it is still there. */
void node_empty(uint32_t slot);
void ipcache_put(enum who who, uint64_t identity);
struct wr_metric node_metric(uint32_t slot, enum wr_direction direction);

/* --- services --- */

/* The only one, at the address WORLD and port 80: with those backends (up to WHO_DEFAULT), at port 8080, as a list of its own. */
void service_put(uint8_t l4_proto, bool v6, const enum who backends[]);
/* The same with so many backends, which are ports of one pod. */
void service_put_ports(uint8_t l4_proto, bool v6, enum who who, unsigned count);
/* The service has this port, too, with the same one backend. */
void service_put_too(uint8_t l4_proto, bool v6, unsigned port);
void services_clear(void);

/* --- flows --- */

/* By what entries say, wherever they are: replied and alive; the others. Or CT_TABLE: those in ct4/6. */
enum table { CT, CT_NEW, CT_TABLE };

/* Calls `keep` for every entry, which it may change; one that it does not keep goes. */
void flows_each(bool v6, bool (*keep)(const void *key, struct wr_ct *ct, bool in_table, void *arg), void *arg);
void flows_clear(void);
unsigned flows_count(enum table table, bool v6);
/* The only flow there is; false if there is none. */
bool flow_only(enum table table, bool v6, struct wr_ct *ct);
/* Time passes for every flow. */
void flows_age(uint32_t ticks);
/* Every flow has expired long ago; but what was cached is cached. */
void flows_kill(void);
/* How many slots of the verdict cache are not empty; `nat`: of those with NAT. */
unsigned verdicts_cached(bool nat);
uint32_t tick_now(void);
/* Entries of that endpoint; NO_DEVICE: of none. */
uint32_t flows_owned(enum table table, enum device d, bool v6);
/* ... as its quota counts those of ct4 and ct6. */
uint32_t flows_counted(enum device d);
uint64_t flow_stat(enum wr_ct_stat stat);
/* How many flows in ct an endpoint may own. */
void flows_set_share(uint32_t share);
void flows_set_unlimited(void);

/*
 * A hash of everything in every map but `trace`, and of how many events wait, which are then forgotten. `slots_too`: also of
 * the large arrays, of which it is otherwise only what A, B and the others own.
 */
uint64_t maps_digest(bool slots_too);

#endif
