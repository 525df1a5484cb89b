/* SPDX-License-Identifier: BSD-2-Clause */
/* Why a policy denied a flow, and what would allow it: from the agent, which has the policies as they were written. */
#ifndef WARREN_EXPLANATION_H
#define WARREN_EXPLANATION_H

#include "addr.h"
#include "cli.h"

/* A denied flow at one enforcement point. */
struct denial {
	uint32_t direction; /* enum wr_direction */
	uint32_t rule;	    /* enum wr_rule */
	uint32_t policy_class;
	uint32_t endpoint; /* 0: unknown */
	uint64_t peer_identity;
	struct ip peer_ips[2]; /* each of which an ipBlock may contain; family 0: none */
	uint8_t protocol;
	uint16_t port; /* of the responder */
};

/* Whether that verdict is a denial. */
bool rule_denies(uint32_t rule);

bool denial_equal(const struct denial *a, const struct denial *b);

/* Asks the agent. NULL: it does not answer (`why`), or does not know the class. The caller owns the reference. */
json_t *denial_explain(const struct denial *denial, struct err *why);

/*
 * "isolated by shop/default-deny and shop/db; of 3 ingress rules none allows: 1 wrong peer, 2 wrong port". The caller
 * frees it. Without an explanation (NULL): NULL.
 */
char *denial_text(const struct denial *denial, const json_t *explanation);
/* Only "isolated by shop/default-deny and shop/db": does not depend on the flow. */
char *denial_policies(const json_t *explanation);

/* In text: the rules that come closest, and the change that would allow the flow, as words and as YAML. */
void out_denial(struct out *o, const struct denial *denial, const char *pod, const json_t *explanation);

#endif
