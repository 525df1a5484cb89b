/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two sides of a flow, from arguments: an endpoint's id, a pod ("default/web", or "web" if that is unique; pods of
 * other nodes by name only while the agent runs), an address, a node's name, "host" (this node) or "world" (an address
 * outside the cluster).
 */
#ifndef WARREN_FLOW_SIDE_H
#define WARREN_FLOW_SIDE_H

#include "endpoints.h"

enum flow_side_kind {
	FLOW_SIDE_POD,
	FLOW_SIDE_HOST,
	FLOW_SIDE_WORLD,
	FLOW_SIDE_REMOTE, /* a pod of another node: an address in its pod CIDR */
	FLOW_SIDE_NODE,   /* another node's own stack */
};

struct flow_side {
	enum flow_side_kind kind;
	const struct endpoint *endpoint; /* of a pod, else NULL */
	struct ip ip[2];		 /* [0] IPv4, [1] IPv6; family 0: none */
	const struct remote_node *node;	 /* of another node and its pods, else NULL */
	uint64_t identity;		 /* by which policies match it */
	bool known;			 /* the identity is from the maps; else it is a guess */
	char label[REMOTE_LABEL_MAX];	 /* "default/web", "host", "world", "shop/db of node b", "node b" */
};

struct flow {
	struct flow_side from, to;
	int family;	  /* index of the sides' addresses */
	bool any;	  /* no PORT/PROTO was given: the two below are the default */
	uint8_t protocol; /* of the family: IPPROTO_ICMP or IPPROTO_ICMPV6 */
	uint16_t port;	  /* 0 where the protocol has none */
};

/* Defaults without PORT/PROTO. */
#define FLOW_PORT 80
#define FLOW_PROTOCOL IPPROTO_TCP

/*
 * Parses args[0] and args[1], "DST[:PORT/PROTO]" (":icmp": an echo). The family is that of --family, or else the first
 * one in which both sides have an address. `e` must outlive the flow.
 */
int flow_parse(struct cli *cli, const struct endpoints *e, struct flow *flow);

/* Field `key`: "default/web (endpoint 12, 10.1.0.5)", "shop/db of node b (10.2.0.7)"; in JSON an object. */
void out_flow_side(struct out *o, const char *key, const struct remotes *remotes, const struct flow_side *side,
		   const struct ip *ip);
/* Adds a note if its identity is a guess. */
void out_guess(struct out *o, const struct flow_side *side);
/* "tcp to port 80", "icmp". */
#define FLOW_STRLEN 48
const char *flow_format(const struct flow *flow, char buf[FLOW_STRLEN]);

#endif
