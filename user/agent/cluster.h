/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other nodes of the cluster, from their Node objects into the maps and the routing table, by difference. All that
 * it does to the node is behind struct cluster_ops, so that a test can put a model in its place.
 *
 * Without an object of our own name there is no cluster: no maps, no routes, nothing but the stack leads anywhere.
 *
 * Nodes whose pod CIDRs or addresses overlap cannot all be reached, and any node's kubelet may claim what it likes. Our
 * own stands (its pods are here), then what is established: claimed before, without a break, and not given up since. What
 * the maps hold when an agent starts was there before. Between claims that are all new the Node that was created first
 * stands, then the first by name. Who loses one claim is left out with all of them, with a complaint, until it gives it up;
 * what it had established stays reserved for it meanwhile.
 *
 * A node that no route leads to, but that was reachable, stays in the maps without a next hop, and its CIDRs' routes
 * stay: what is sent to its pods must not take the default route.
 */
#ifndef WARREN_AGENT_CLUSTER_H
#define WARREN_AGENT_CLUSTER_H

#include "histogram.h"
#include "hop_watch.h"
#include "hops.h"
#include "inet.h"
#include "ipcache.h"
#include "link.h"
#include "nodes.h"
#include "tunnel_key.h"
#include "xdp.h"

enum routing_mode {
	ROUTING_TUNNEL,
	ROUTING_DIRECT, /* only where the next hop is the node itself; others cannot be reached */
	ROUTING_AUTO,	/* direct where the next hop is the node itself */
};

struct cluster_options {
	const char *node_name;
	enum routing_mode mode;
	int underlay; /* AF_INET, AF_INET6; 0: IPv4 where both have it */
	enum dp_xdp_mode xdp; /* of the uplinks */
	int any_sport; /* of tunnel packets, 1: other source ports than the programs' own are accepted */
	enum tunnel_key_mode tunnel_key;
};

struct cluster_ops {
	/* as the functions of nodes.h */
	int (*node_put)(void *arg, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err);
	int (*node_delete)(void *arg, uint32_t slot, struct err *err);
	int (*node_each)(void *arg, int (*fn)(uint32_t slot, const struct dp_node *node, void *fn_arg), void *fn_arg,
			 struct err *err);
	int (*cluster_get)(void *arg, struct wr_cluster *cluster, struct err *err);
	int (*cluster_set)(void *arg, const struct wr_cluster *cluster, struct err *err);
	int (*commit)(void *arg, struct err *err);
	int (*uplink_attach)(void *arg, uint32_t ifindex, struct err *err);
	int (*uplink_detach)(void *arg, uint32_t ifindex, struct err *err);
	int (*uplink_xdp)(void *arg, uint32_t ifindex, enum dp_xdp_mode mode, struct err *err); /* as dp_xdp_attach() */
	int (*uplink_each)(void *arg, int (*fn)(uint32_t ifindex, void *fn_arg), void *fn_arg, struct err *err);
	/* as those of config.h */
	int (*tunnel_port)(void *arg, uint16_t port, struct err *err);
	int (*pod_mtu)(void *arg, uint16_t mtu, struct err *err);
	/* Of pods that are there, and of warren0: as pod_mtu_follow(). */
	int (*pods_follow)(void *arg, uint16_t mtu, struct err *err);
	/* the kernel's networking */
	int (*gateway_link)(void *arg, uint32_t *ifindex, struct err *err);
	int (*gateway_add)(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
			   struct err *err);
	/* `gateway` NULL: it stays, the CIDR alone goes. 1: nothing has gone, since pods of that CIDR are there. */
	int (*gateway_delete)(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
			      struct err *err);
	/* The device that has the address; -EADDRNOTAVAIL. */
	int (*device)(void *arg, const struct ip *ip, struct link_info *info, struct err *err);
	/* To the device's neighbours, as announce_address(). */
	int (*announce)(void *arg, const struct ip *ip, const struct link_info *device, struct err *err);
	int (*hop_find)(void *arg, const struct ip *to, struct hop *hop, struct err *err);
	int (*hop_keep)(void *arg, const struct hop *hop, bool keep, struct err *err);
	int (*route_put)(void *arg, const struct route *route, struct err *err);
	int (*route_delete)(void *arg, const struct route *route, struct err *err);
	int (*route_each)(void *arg, int (*fn)(const struct route *route, void *fn_arg), void *fn_arg, struct err *err);
};

struct cluster_events {
	/*
	 * Something is wrong (err), or no longer (NULL); `what` names it: a Node (cluster_each() has its problem too),
	 * or else.
	 */
	void (*complain_node)(void *arg, const char *what, const struct err *err);
	void (*complain)(void *arg, const char *what, const struct err *err);
	void *arg;
};

struct cluster;
/* Options and ipcache are borrowed. NULL without memory. */
struct cluster *cluster_open(const struct cluster_ops *ops, void *arg, const struct cluster_options *options,
			    struct ipcache *ipcache, const struct cluster_events *events);
void cluster_close(struct cluster *c);

/*
 * The keys of tunnel packets, from the next run on; unless the options say that there are none, nothing runs without. Of
 * two keys, one at a time is added, sent with, or left out: each step is done by all nodes before the next.
 */
void cluster_set_keys(struct cluster *c, const struct tunnel_keys *keys);

int cluster_put_node(struct cluster *c, struct node_object *object); /* takes it over, also on failure (-ENOMEM) */
void cluster_remove_node(struct cluster *c, const char *name);

/*
 * Who counts, after changes of objects. Returns 1 if our own place has changed: then ipcache wants to hear of every pod
 * again. Or 0; or -errno, and the next call tries again.
 */
int cluster_resolve(struct cluster *c, struct err *err);
/* Next hops are to be looked at again: of nodes that the news is about, or of all. */
void cluster_look_again(struct cluster *c, const struct hop_news *news);
/* What the maps and the routing table hold is not known (any more). */
void cluster_lost(struct cluster *c);
/* After a run that failed, or that has left pods. */
void cluster_retry(struct cluster *c);
/* pods without the MTU that they should have: worth another try, some time */
bool cluster_pods_left(const struct cluster *c);
bool cluster_pending(const struct cluster *c); /* the next run has something to do */
/*
 * Makes maps, routes and devices what they should be. What concerns one node only is a complaint; -EAGAIN: some of
 * these will be tried again by another run, and nothing announces when.
 */
int cluster_run(struct cluster *c, struct err *err);

struct cluster_node {
	const struct node_object *object;
	bool own;
	uint32_t slot;		    /* 0: in no map */
	const struct dp_node *node; /* as in the maps; NULL: in none */
	const struct hop *hop;	    /* the way there as the kernel said last; NULL: in no map */
	const char *problem;	    /* "": none */
};
const struct node_object *cluster_own(const struct cluster *c); /* our own Node, member or not; NULL: there is none */
/* Our own pod CIDRs, once this node is a member with them: gateways and routes are there. */
bool cluster_own_cidrs(const struct cluster *c, struct prefix cidrs[2]);
/* By name; stops at fn's first non-zero return. */
int cluster_each(const struct cluster *c, int (*fn)(const struct cluster_node *node, void *arg), void *arg);

struct cluster_counts {
	bool on;		    /* there is a cluster, and we are in it */
	size_t nodes;		    /* other nodes that there are objects of */
	size_t in_maps, unresolved; /* of these in the maps; of these whose next hop the kernel has not resolved */
	size_t problems;
	uint32_t pod_mtu; /* 0: no cluster */
};
void cluster_count(const struct cluster *c, struct cluster_counts *counts);
const struct histogram *cluster_joins(const struct cluster *c); /* from the object's coming to the maps */

#endif
