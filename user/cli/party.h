/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two sides of a flow, as people name them: an endpoint's id, a pod ("default/web", or "web" if there is only one),
 * an address, "host" (this node) or "world" (an address that is nobody's).
 */
#ifndef WARREN_PARTY_H
#define WARREN_PARTY_H

#include "endpoints.h"

enum party_kind { PARTY_POD, PARTY_HOST, PARTY_WORLD };

struct party {
	enum party_kind kind;
	const struct endpoint *endpoint; /* of a pod, else NULL */
	struct ip ip[2];		 /* [0] IPv4, [1] IPv6; family 0: none */
	char label[POD_LABEL_MAX];	 /* "default/web", "host", "world" */
};

struct flow {
	struct party from, to;
	int family;	  /* 0 or 1: which of the parties' addresses */
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

/* The identity that a policy sees it by. */
uint64_t party_identity(const struct party *party);
/* Field `key`: "default/web (endpoint 12, 10.1.0.5)"; in JSON an object. */
void out_party(struct out *o, const char *key, const struct party *party, const struct ip *ip);
/* "tcp to port 80", "icmp". */
#define FLOW_STRLEN 48
const char *flow_format(const struct flow *flow, char buf[FLOW_STRLEN]);

#endif
