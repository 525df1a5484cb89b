/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes the other nodes of the cluster, from their Node objects, into the maps and the routing table, as a difference.
 * All access to the kernel is behind struct cluster_ops, so that a test can replace it by a model.
 *
 * Without a Node object of this node's name there is no cluster: no maps, no routes; the stack routes all packets.
 *
 * A kubelet can write any pod CIDR and address into its Node, also those of another node. A prefix that several nodes
 * claim belongs to this node, if it is one of them (its pods are here); then to the node that has established it, which
 * means claimed it before the others and ever since; nodes in the maps when the agent starts have established theirs.
 * Between new claims the Node that was created first is the owner, then the first by name. A node that loses one claim
 * is not programmed at all and has a problem, until it withdraws the claim; what it has established stays reserved for
 * it.
 *
 * If the route to a node is gone, the node stays in the maps without a nexthop, and the routes of its CIDRs stay:
 * packets to its pods must not take the default route.
 */
#ifndef WARREN_AGENT_CLUSTER_H
#define WARREN_AGENT_CLUSTER_H

#include "histogram.h"
#include "nexthop_monitor.h"
#include "nexthop.h"
#include "ip.h"
#include "ipcache.h"
#include "link.h"
#include "nodes.h"
#include "tunnel_key.h"
#include "xdp.h"

enum routing_mode {
	ROUTING_TUNNEL,
	ROUTING_DIRECT, /* only if the nexthop is the node itself; other nodes cannot be reached */
	ROUTING_AUTO,	/* direct if the nexthop is the node itself, else by tunnel */
};

struct cluster_options {
	const char *node_name;
	enum routing_mode mode;
	int underlay;	      /* AF_INET, AF_INET6; 0: IPv4 if both nodes have it */
	enum dp_xdp_mode xdp; /* of the uplinks */
	int any_sport;	      /* 1: tunnel packets with source ports that the programs do not use are accepted */
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
	/* Of existing pods, and of warren0: as pod_mtu_follow(). */
	int (*pods_follow)(void *arg, uint16_t mtu, struct err *err);
	/* the kernel's networking */
	int (*gateway_link)(void *arg, uint32_t *ifindex, struct err *err);
	int (*gateway_add)(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
			   struct err *err);
	/*
	 * `gateway` NULL: only the CIDR's route is deleted. 1: nothing was deleted, since the node has pods of the
	 * CIDR.
	 */
	int (*gateway_delete)(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
			      struct err *err);
	/* The device that has the address; -EADDRNOTAVAIL. */
	int (*device)(void *arg, const struct ip *ip, struct link_info *info, struct err *err);
	/* As announce_address(). */
	int (*announce)(void *arg, const struct ip *ip, const struct link_info *device, struct err *err);
	int (*nexthop_find)(void *arg, const struct ip *to, struct nexthop *nexthop, struct err *err);
	int (*nexthop_keep)(void *arg, const struct nexthop *nexthop, bool keep, struct err *err);
	int (*route_put)(void *arg, const struct route *route, struct err *err);
	int (*route_delete)(void *arg, const struct route *route, struct err *err);
	int (*route_each)(void *arg, int (*fn)(const struct route *route, void *fn_arg), void *fn_arg, struct err *err);
};

struct cluster_events {
	/*
	 * A problem (err), or its end (NULL). `what` is the subject: a Node (cluster_each() reports its problem too),
	 * or something else.
	 */
	void (*report_node_problem)(void *arg, const char *what, const struct err *err);
	void (*report_problem)(void *arg, const char *what, const struct err *err);
	void *arg;
};

struct cluster;
/* Options and ipcache are borrowed. NULL without memory. */
struct cluster *cluster_open(const struct cluster_ops *ops, void *arg, const struct cluster_options *options,
			     struct ipcache *ipcache, const struct cluster_events *events);
void cluster_close(struct cluster *c);

/*
 * The keys of tunnel packets, from the next run on. With keys enabled, runs fail until they are set. To change a key,
 * add the new one, send with it, then remove the old one; all nodes must have done a step before the next one.
 */
void cluster_set_keys(struct cluster *c, const struct tunnel_keys *keys);

int cluster_put_node(struct cluster *c, struct node_object *object); /* takes ownership, also on failure (-ENOMEM) */
void cluster_remove_node(struct cluster *c, const char *name);

/*
 * Decides after changes of objects which nodes are programmed. Returns 1 if this node's membership has changed: then
 * ipcache needs a full run. Else 0, or -errno: the next call tries again.
 */
int cluster_resolve(struct cluster *c, struct err *err);
/* The next run looks up nexthops again: those of the nodes concerned, or all. */
void cluster_look_again(struct cluster *c, const struct nexthop_change *change);
/* The next run reads the maps and the routing table again. */
void cluster_lost(struct cluster *c);
/* After a run that failed, or that has left pods without their MTU. */
void cluster_retry(struct cluster *c);
/* Some pods do not have their MTU: retry later. */
bool cluster_mtu_pending(const struct cluster *c);
bool cluster_pending(const struct cluster *c); /* the next run has something to do */
/*
 * Updates maps, routes and devices. A failure that concerns one node only is a problem of that node. -EAGAIN: there are
 * such failures without an event that announces their end; the caller must run it again.
 */
int cluster_run(struct cluster *c, struct err *err);

struct cluster_node {
	const struct node_object *object;
	bool own;
	uint32_t slot;		       /* 0: in no map */
	const struct dp_node *node;    /* as in the maps; NULL: in none */
	const struct nexthop *nexthop; /* as the kernel reported last; NULL: in no map */
	const char *problem;	       /* "": none */
};
const struct node_object *cluster_own(const struct cluster *c); /* this node's Node, member or not; NULL: none */
/* This node's pod CIDRs, once their gateways and routes are set up; else false. */
bool cluster_own_cidrs(const struct cluster *c, struct prefix cidrs[2]);
/* By name; stops at fn's first non-zero return. */
int cluster_each(const struct cluster *c, int (*fn)(const struct cluster_node *node, void *arg), void *arg);

struct cluster_counts {
	bool on;		    /* this node is a member of the cluster */
	size_t nodes;		    /* other nodes with objects */
	size_t in_maps, unresolved; /* of these, those in the maps; of those, nodes with an unresolved nexthop */
	size_t problems;
	uint32_t pod_mtu; /* 0: no cluster */
};
void cluster_count(const struct cluster *c, struct cluster_counts *counts);
/* From the arrival of the object until the node is in the maps. */
const struct histogram *cluster_joins(const struct cluster *c);

/* --- this node's maps, devices and routing table (cluster_dp.c) --- */

struct cluster_kernel;
int cluster_kernel_open(struct cluster_kernel **kernel, struct err *err);
void cluster_kernel_close(struct cluster_kernel *kernel);
/* Their arg: struct cluster_kernel *. */
extern const struct cluster_ops cluster_kernel_ops;
extern const struct ipcache_ops ipcache_kernel_ops;

int cluster_kernel_fd(const struct cluster_kernel *kernel); /* readable after a change; then: */
int cluster_kernel_read(struct cluster_kernel *kernel, struct nexthop_change *change, struct err *err);
/*
 * This node's addresses in one of the CIDRs, on devices other than loopback, pods' and warren0; sorted, up to `max`.
 * Returns how many there are.
 */
ssize_t cluster_kernel_addresses(struct cluster_kernel *kernel, const struct prefix *cidrs, size_t cidr_count, struct ip *v,
				 size_t max, struct err *err);

#endif
