/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of a cluster share. */
#ifndef WARREN_AGENT_CLUSTER_INTERNAL_H
#define WARREN_AGENT_CLUSTER_INTERNAL_H

#include "cluster.h"

/* A node of the cluster, our own too. */
struct member {
	char *name;
	struct node_object *object; /* NULL: gone; it goes with the next run */
	bool own;
	bool left_out;		    /* one of its claims overlaps another node's, which was there before */
	/* Pod CIDRs and addresses that it had before anybody else claimed them, and has claimed ever since. */
	struct prefix established[2 + NODE_ADDRESSES];
	size_t established_count;
	bool dirty;		    /* to be looked at */
	char problem[256];	    /* what is wrong now */
	char told[256];		    /* ... as it was last told */
	uint64_t since_ns;	    /* when its object came; 0: its joining is over */

	uint32_t slot;		    /* 0: in no map */
	struct dp_node node;	    /* in the maps */
	struct route routes[2];	    /* in the routing table; dst.ip.family 0: none */
	struct hop hop;		    /* the way there, as the kernel said last */
	bool kept;		    /* its neighbour entry is kept resolved */
	struct ip known[NODE_ADDRESSES + 2]; /* its addresses and gateways in ipcache */
	size_t known_count;

	uint32_t words_of; /* keys_version that these follow from */
	uint64_t tx_word[WR_TUNNEL_KEYS], rx_word[WR_TUNNEL_KEYS];
};

struct found_node {
	uint32_t slot;
	struct dp_node node;
};

/* What an earlier agent has left, until somebody turns out to want it. Sorted by first CIDR, by destination. */
struct leftovers {
	struct found_node *nodes;
	size_t node_count, node_room;
	struct route *routes;
	size_t route_count, route_room;
};

struct uplink {
	uint32_t ifindex;
	bool attached, wanted;
	bool own;	  /* it has one of our addresses */
	bool xdp;	  /* is as the options say */
	bool xdp_failed;  /* ... is not, which was complained about */
};

/* One of our own addresses, and where its neighbours were last told that it is. */
struct announced {
	struct ip ip;
	uint32_t ifindex; /* 0: they were not */
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

	/* What the next run is about. */
	bool loaded;	      /* what is in maps and routes is known */
	bool adopted;	      /* what an earlier agent wrote of nodes counts as established */
	bool objects_changed; /* who counts is to be decided again */
	bool own_changed;     /* our own object: everybody is to be looked at */
	bool look_again;      /* next hops may be others, routes may be gone */
	bool pending;	      /* a run has something to do */
	bool again;	      /* something failed that no event will announce */

	struct leftovers left;
	struct uplink *uplinks;
	size_t uplink_count, uplink_room;

	/* This node's own part. */
	struct wr_cluster cluster; /* as in the map, but for the revision */
	uint32_t gateway_ifindex;
	uint32_t own_ifindex[2]; /* the devices that have our first IPv4 and IPv6 address; 0: none, or the loopback device */
	struct prefix *former; /* our pod CIDRs until now, while they have a gateway */
	size_t former_count, former_room;
	struct announced announced[NODE_ADDRESSES]; /* as own->object->addresses */
	int told_port;
	uint32_t own_mtu;    /* the smallest of the devices that have our addresses; 0: none has */
	int told_mtu;	     /* -1: never told */
	int pods_left;	     /* how many pods do not have it; -1: not known */
	char pods_told[512]; /* ... as it was last told */
};

/* --- cluster_member.c --- */

void member_problem(struct member *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const struct ip *member_address(const struct member *m, int family); /* the first; NULL: none */
const struct prefix *member_cidr(const struct member *m, int family);
void member_update(struct cluster *c, struct member *m);
/* Out of maps, routes and ipcache; what cannot be done is tried again by the next run (-errno). */
int member_withdraw(struct cluster *c, struct member *m);

/* --- cluster_claims.c --- */

/* Of what the maps hold (leftover_nodes_load()), each node's is established for the member that it matches best. -ENOMEM. */
int claims_adopt(struct cluster *c);
/* Sets left_out of every member, and says why in `problem`; -ENOMEM. What stands is established from then on. */
int claims_resolve(struct cluster *c);

/* --- cluster_own.c --- */

int own_update(struct cluster *c, struct err *err);
int own_update_keys(struct cluster *c, struct err *err);   /* after the other nodes' words are in the maps */
int own_delete_former(struct cluster *c, struct err *err); /* after routes have another source */
int own_update_mtu(struct cluster *c, struct err *err);	   /* after the other nodes' MTUs are known */
int own_withdraw(struct cluster *c, struct err *err);	   /* there is no cluster (any more) */

/* --- cluster_uplinks.c --- */

int uplinks_load(struct cluster *c, struct err *err);
bool is_uplink(const struct cluster *c, uint32_t ifindex);
/*
 * Sees to it that from_uplink is attached; it stays so if somebody's packets leave there, or it has our address (own).
 */
int uplink_want(struct cluster *c, uint32_t ifindex, bool own, struct err *err);
void uplinks_disown(struct cluster *c); /* none of them has our address, as far as is known */
int uplinks_tidy(struct cluster *c, struct err *err); /* those that nobody wants */
void uplinks_xdp(struct cluster *c);

/* --- cluster_leftovers.c --- */

int leftovers_load(struct cluster *c, struct err *err);
int leftover_nodes_load(struct cluster *c, struct err *err); /* the first part of it */
int leftover_routes_load(struct cluster *c, struct err *err);
void leftovers_free(struct leftovers *left);
/* sets slot and node if there is one */
void leftover_node_take(struct cluster *c, struct member *m, const struct prefix cidrs[2]);
bool leftover_route_take(struct cluster *c, const struct route *route); /* it is there already */
int leftover_nodes_delete(struct cluster *c, struct err *err);		   /* those that nobody has taken */
int leftover_routes_delete(struct cluster *c, struct err *err);
void node_normalize(struct dp_node *node); /* CIDRs by family, addresses sorted */
bool route_same(const struct route *a, const struct route *b);

static inline uint32_t tunnel_overhead(const struct cluster *c, int family)
{
	return (family == AF_INET ? WR_TUNNEL_OVERHEAD4 : WR_TUNNEL_OVERHEAD6) +
	       (c->options->tunnel_key != TUNNEL_KEY_OFF ? WR_TUNNEL_KEY_SIZE : 0);
}

#endif
