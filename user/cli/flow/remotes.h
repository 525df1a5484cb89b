/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other nodes and their pods. The maps hold addresses and paths. Names, and why a node is not programmed, are from the
 * agent, and missing if it does not run.
 */
#ifndef WARREN_REMOTES_H
#define WARREN_REMOTES_H

#include "cli.h"
#include "nexthop.h"
#include "nodes.h"
#include "packet.h"

struct remote_node {
	uint32_t slot;	     /* 0: in no map: this node, or one that is not programmed */
	bool own;	     /* this node */
	const char *name;    /* NULL: unknown */
	const char *problem; /* reported by the agent of this node; NULL: none */
	const char *agent;   /* state that its own agent has reported to the API server; NULL: none */
	struct dp_node dp;   /* without a slot: CIDRs and addresses only */
	struct nexthop nexthop;	     /* by the kernel's routes, from remotes_find_nexthops(); ifindex 0: none */
	struct wr_metric totals[WR_DIRECTIONS];
};

struct remote_pod {
	struct ip ip;
	const char *namespace, *name;
};

struct remotes {
	struct wr_cluster cluster;
	struct remote_node *nodes; /* this node first, then by slot, then those in no map */
	size_t mapped; /* how many are this node or have a slot */
	size_t node_count, node_room;
	struct remote_pod *pods; /* by address */
	size_t pod_count, pod_room;
	bool agent;	 /* the agent has answered */
	struct err why; /* why it has not */
	json_t *answers[2]; /* own the strings above */
};
#define _cleanup_remotes_ __attribute__((cleanup(remotes_free)))

/*
 * Reads the nodes (again), and with `pods` their pods. There are none if this node is in no cluster. An agent that does
 * not answer is not an error.
 */
int remotes_load(struct remotes *r, bool pods, struct err *err);
int remotes_find_nexthops(struct remotes *r, struct err *err); /* for all that are in the maps */
void remotes_free(struct remotes *r);
bool remotes_in_cluster(const struct remotes *r);

/* All return NULL if there is none. */
const struct remote_node *remotes_own(const struct remotes *r);
const struct remote_node *remotes_by_slot(const struct remotes *r, uint32_t slot);
/* By an address of the node itself, including the gateway address of its pod CIDR. */
const struct remote_node *remotes_by_address(const struct remotes *r, const struct ip *ip);
/* By pod CIDR. */
const struct remote_node *remotes_by_cidr(const struct remotes *r, const struct ip *ip);
/* By name, slot or one of its addresses. */
const struct remote_node *remotes_by_text(const struct remotes *r, const char *text);
const struct remote_pod *remotes_pod(const struct remotes *r, const struct ip *ip);

/* Looks up map ipcache4 or ipcache6; -ENOENT. */
int ipcache_lookup(const struct ip *ip, uint64_t *identity, struct err *err);
/* How tunnel packets are recognised in this cluster. */
struct packet_tunnel tunnel_form(const struct wr_cluster *cluster);

/* Sets the error for an unknown node. Returns -ENOENT. */
int node_unknown(struct cli *cli, const struct remotes *r, const char *text);

/* "shop/db". */
#define REMOTE_POD_NAME_MAX 320
const char *remote_pod_name(const struct remote_pod *pod, char buf[REMOTE_POD_NAME_MAX]);
/* "node b", "node slot 3". */
#define NODE_LABEL_MAX 272
const char *node_label(const struct remote_node *node, char buf[NODE_LABEL_MAX]);
/* The side WR_REMOTE | slot of a flow, with address `ip`: "node b pod shop/db", "node b", "node slot 3". */
#define REMOTE_LABEL_MAX (NODE_LABEL_MAX + 336)
const char *remote_label(const struct remotes *r, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX]);
/* Field "node": its name; without one, in text "this node" or "slot 3"; `none` if there is no node. */
void out_node(struct out *o, const struct remote_node *node, const char *none);
/* A note if names are missing, since the agent has not answered. */
void out_no_names(struct out *o, const struct remotes *r);
/* Sets node, slot and pod of an object. */
void remote_json(const struct remotes *r, uint32_t side, const struct ip *ip, json_t *object);

#endif
