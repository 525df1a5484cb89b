/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two sides of a flow, as people name them: an endpoint's id, a pod ("default/web", or "web" if there is only one;
 * those of other nodes are known by name while the agent runs), an address, a node's name, "host" (this node) or
 * "world" (an address that is nobody's).
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
	const struct remote_node *node;	 /* where it is, if not here: of a node or of its pod */
	uint64_t identity;		 /* what a policy sees it by */
	bool known;			 /* that is what the maps say; else it is a guess */
	char label[REMOTE_LABEL_MAX];	 /* "default/web", "host", "world", "shop/db of node b", "node b" */
};

struct flow {
	struct flow_side from, to;
	int family;	  /* 0 or 1: which of the sides' addresses */
	bool any;	  /* no PORT/PROTO was given: the two below are the default */
	uint8_t protocol; /* of the family: IPPROTO_ICMP or IPPROTO_ICMPV6 */
	uint16_t port;	  /* 0 where the protocol has none */
};

/* What a flow is asked about without PORT/PROTO. */
#define FLOW_PORT 80
#define FLOW_PROTOCOL IPPROTO_TCP

/*
 * The flow from args[0] to args[1], "DST[:PORT/PROTO]" (":icmp": an echo), in the family of --family, or else the first
 * one in which both have an address. `e` must stay.
 */
int flow_parse(struct cli *cli, const struct endpoints *e, struct flow *flow);

/* Field `key`: "default/web (endpoint 12, 10.1.0.5)", "shop/db of node b (10.2.0.7)"; in JSON an object. */
void out_flow_side(struct out *o, const char *key, const struct remotes *remotes, const struct flow_side *side,
		   const struct ip *ip);
/* A note, if its identity is a guess. */
void out_guess(struct out *o, const struct flow_side *side);
/* "tcp to port 80", "icmp". */
#define FLOW_STRLEN 48
const char *flow_format(const struct flow *flow, char buf[FLOW_STRLEN]);

#endif
