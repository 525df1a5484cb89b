/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files cluster_*.c. */
#ifndef WARREN_AGENT_CLUSTER_INTERNAL_H
#define WARREN_AGENT_CLUSTER_INTERNAL_H

#include "cluster.h"

/* A node of the cluster, this one included. */
struct member {
	char *name;
	struct node_object *object; /* NULL: deleted; the next run removes the member */
	bool own;
	bool not_programmed; /* one of its claims overlaps another node's, which takes precedence */
	/* Pod CIDRs and addresses that it claimed before others did, and ever since. */
	struct prefix established[2 + NODE_ADDRESSES];
	size_t established_count;
	bool dirty;	    /* must be updated */
	char problem[256];  /* "": none */
	char reported[256]; /* the problem as last reported */
	uint64_t since_ns;  /* when its object came; 0: it has joined */

	uint32_t slot;			      /* 0: in no map */
	struct dp_node node;		      /* in the maps */
	struct route routes[2];		      /* in the routing table; dst.ip.family 0: none */
	struct nexthop nexthop;		      /* as the kernel reported last */
	bool kept;			      /* its neighbour entry is kept resolved */
	struct ip cached[NODE_ADDRESSES + 2]; /* its addresses and gateways in ipcache */
	size_t cached_count;

	uint32_t tags_version; /* the keys_version from which the tags were computed */
	uint64_t tx_tag[WR_TUNNEL_KEYS], rx_tag[WR_TUNNEL_KEYS];
};

struct found_node {
	uint32_t slot;
	struct dp_node node;
};

/* Nodes and routes of an earlier agent that no member has adopted yet. Sorted by CIDRs, and by destination. */
struct stale {
	struct found_node *nodes;
	size_t node_count, node_room;
	struct route *routes;
	size_t route_count, route_room;
};

struct uplink {
	uint32_t ifindex;
	bool attached, in_use;
	bool own;	 /* it has one of this node's addresses */
	bool xdp;	 /* its XDP mode is the configured one */
	bool xdp_failed; /* it could not be set, which was reported */
};

/* One of this node's addresses, as last announced to the neighbours. */
struct announced {
	struct ip ip;
	uint32_t ifindex; /* 0: not announced */
	uint8_t mac[6];
};

struct cluster {
	const struct cluster_ops *ops;
	void *arg;
	const struct cluster_options *options;
	struct ipcache *ipcache;
	struct cluster_events events;
	struct tunnel_keys keys;
	uint32_t keys_version; /* 0: there are none (yet) */

	struct member **members; /* by name */
	size_t count, room;
	struct member *own; /* NULL: there is no cluster */
	struct histogram joins;

	/* What the next run must do. */
	bool loaded;	      /* maps and routes have been read */
	bool adopted;	      /* the claims of nodes that an earlier agent programmed are established */
	bool objects_changed; /* claims must be resolved again */
	bool own_changed;     /* this node's object: all members must be updated */
	bool look_again;      /* nexthops may have changed, routes may be gone */
	bool pending;	      /* a run has something to do */
	bool again;	      /* a failure whose end no event announces */

	struct stale stale;
	struct uplink *uplinks;
	size_t uplink_count, uplink_room;

	/* This node's own part. */
	struct wr_cluster cluster; /* as in the map, but for the revision */
	uint32_t gateway_ifindex;
	uint32_t own_ifindex[2]; /* of the first IPv4 and IPv6 address; 0: none, or the loopback device */
	struct prefix *former;	 /* former pod CIDRs of this node that still have a gateway */
	size_t former_count, former_room;
	struct announced announced[NODE_ADDRESSES]; /* as own->object->addresses */
	int written_port;			    /* -1: never written */
	uint32_t own_mtu;	 /* the smallest MTU of the devices with this node's addresses; 0: none */
	int written_mtu;	 /* -1: never written */
	int pods_left;		 /* how many pods do not have it; -1: unknown */
	char pods_reported[512]; /* the problem as last reported */
};

/* --- cluster_member.c --- */

void member_problem(struct member *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const struct ip *member_address(const struct member *m, int family); /* the first; NULL: none */
const struct prefix *member_cidr(const struct member *m, int family);
void member_update(struct cluster *c, struct member *m);
/* Removes it from maps, routes and ipcache; after a failure (-errno) the next run tries again. */
int member_withdraw(struct cluster *c, struct member *m);

/* --- cluster_conflicts.c --- */

/*
 * Establishes the prefixes of each node in the maps (stale_nodes_load()) for the member that claims most of them.
 * -ENOMEM.
 */
int conflicts_adopt(struct cluster *c);
/* Sets not_programmed of every member, and `problem`. The others' claims are established from then on. -ENOMEM. */
int conflicts_resolve(struct cluster *c);

/* --- cluster_own.c --- */

int own_update(struct cluster *c, struct err *err);
int own_update_keys(struct cluster *c, struct err *err);   /* after the other nodes' tags are in the maps */
int own_delete_former(struct cluster *c, struct err *err); /* after routes have another source */
int own_update_mtu(struct cluster *c, struct err *err);	   /* after the other nodes' MTUs are in the maps */
int own_withdraw(struct cluster *c, struct err *err);	   /* there is no cluster (any more) */

/* --- cluster_uplinks.c --- */

int uplinks_load(struct cluster *c, struct err *err);
bool is_uplink(const struct cluster *c, uint32_t ifindex);
/*
 * Attaches from_uplink, if it is not. uplinks_detach_unused() keeps it if packets to a member leave there, or if the
 * device has one of this node's addresses (own).
 */
int uplink_require(struct cluster *c, uint32_t ifindex, bool own, struct err *err);
void uplinks_clear_own(struct cluster *c); /* clears `own` of all uplinks */
int uplinks_detach_unused(struct cluster *c, struct err *err);
void uplinks_xdp(struct cluster *c);

/* --- cluster_stale.c --- */

int stale_load(struct cluster *c, struct err *err);
int stale_nodes_load(struct cluster *c, struct err *err); /* stale_load() without the routes */
int stale_routes_load(struct cluster *c, struct err *err);
void stale_free(struct stale *stale);
/* Sets the member's slot and node, if there is a stale one with these CIDRs. */
void stale_node_adopt(struct cluster *c, struct member *m, const struct prefix cidrs[2]);
bool stale_route_adopt(struct cluster *c, const struct route *route); /* whether the same route exists */
int stale_nodes_delete(struct cluster *c, struct err *err);	      /* those that no member has adopted */
int stale_routes_delete(struct cluster *c, struct err *err);
void node_normalize(struct dp_node *node); /* CIDRs by family, addresses sorted */
bool route_same(const struct route *a, const struct route *b);

/* --- pod_mtu.c --- */

/*
 * Sets the MTU of both ends of every attachment whose network configuration sets none. `nl`: NETLINK_ROUTE in the
 * node's netns. Returns how many failed (err: one of them, and why); the others have it. -errno: they could not be
 * listed.
 */
int pod_mtu_follow(struct nl *nl, uint32_t mtu, struct err *err);
/* Sets the MTU of both ends of warren0. */
int pod_mtu_gateway(struct nl *nl, uint32_t mtu, struct err *err);

static inline uint32_t tunnel_overhead(const struct cluster *c, int family)
{
	return (family == AF_INET ? WR_TUNNEL_OVERHEAD4 : WR_TUNNEL_OVERHEAD6) +
	       (c->options->tunnel_key != TUNNEL_KEY_OFF ? WR_TUNNEL_KEY_SIZE : 0);
}

#endif
