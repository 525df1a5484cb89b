/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other nodes and their pods as tools name them. What leads where is in the maps; names, and what keeps a node out of
 * the maps, are known to the agent only, and are missing if it does not run.
 */
#ifndef WARREN_REMOTES_H
#define WARREN_REMOTES_H

#include "cli.h"
#include "hops.h"
#include "nodes.h"
#include "packet_text.h"
#include "pods.h"

struct remote_node {
	uint32_t slot;	     /* 0: in no map: our own, or one that is left out */
	bool own;	     /* this node */
	const char *name;    /* NULL: not known */
	const char *problem; /* NULL: none that the agent has said */
	const char *agent;   /* how its own agent is, as it has told the API server; NULL: it has not */
	struct dp_node dp;   /* of our own, and of one that is left out: CIDRs and addresses only */
	struct hop hop;	     /* the way there as the kernel says, after remotes_find_hops(); ifindex 0: none */
	struct wr_metric totals[WR_DIRECTIONS];
};

struct remote_pod {
	struct ip ip;
	const char *namespace, *name;
};

struct remotes {
	struct wr_cluster cluster;
	struct remote_node *nodes; /* our own first, then by slot, then those in no map */
	size_t mapped; /* how many of these are our own or have a slot */
	size_t node_count;
	struct remote_pod *pods; /* by address */
	size_t pod_count;
	bool agent;	 /* it has answered */
	struct err why; /* it has not */
	json_t *answers[2]; /* own the names */
};
#define _cleanup_remotes_ __attribute__((cleanup(remotes_free)))

/*
 * Reads them (again); `pods`: those, too. A node that is in no cluster has none. That the agent does not answer is no
 * failure. -ENOMEM, or what the maps say.
 */
int remotes_load(struct remotes *r, bool pods, struct err *err);
int remotes_find_hops(struct remotes *r, struct err *err); /* of all that are in the maps */
void remotes_free(struct remotes *r);
bool remotes_in_cluster(const struct remotes *r);

/* Each: NULL if there is none. */
const struct remote_node *remotes_own(const struct remotes *r);
const struct remote_node *remotes_by_slot(const struct remotes *r, uint32_t slot);
/* Whose own address it is, the gateway address of its pod CIDR included. */
const struct remote_node *remotes_by_address(const struct remotes *r, const struct ip *ip);
/* In whose pod CIDR it is. */
const struct remote_node *remotes_by_cidr(const struct remotes *r, const struct ip *ip);
/* By name, slot or one of its addresses. */
const struct remote_node *remotes_by_text(const struct remotes *r, const char *text);
const struct remote_pod *remotes_pod(const struct remotes *r, const struct ip *ip);

/* Map ipcache4 or 6 says whose the address is; -ENOENT. */
int ipcache_lookup(const struct ip *ip, uint64_t *identity, struct err *err);
/* How tunnel packets are known here. */
/*
 * Whether tunnel packets have to prove that their sender has the cluster's key, and which key that is: "required: key 2",
 * "not required: key 1, and 2 is taken", "off".
 */
#define TUNNEL_KEY_TEXT_MAX 64
const char *tunnel_key_text(const struct wr_cluster *cluster, char buf[TUNNEL_KEY_TEXT_MAX]);
struct packet_tunnel tunnel_form(const struct wr_cluster *cluster);

/* There is no such node: -ENOENT. */
int node_unknown(struct cli *cli, const struct remotes *r, const char *text);

/* "node b", "node slot 3". */
#define NODE_LABEL_MAX 272
const char *node_label(const struct remote_node *node, char buf[NODE_LABEL_MAX]);
/* The side WR_REMOTE | slot of a flow: "node b pod shop/db", "node b", "node slot 3". `ip` is what it has there. */
#define REMOTE_LABEL_MAX (NODE_LABEL_MAX + 336)
const char *remote_label(const struct remotes *r, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX]);
/* Sets node, slot and pod of an object. */
void remote_json(const struct remotes *r, uint32_t side, const struct ip *ip, json_t *object);

#endif
