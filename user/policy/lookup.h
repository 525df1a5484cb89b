/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Computes a policy verdict as the data path does (bpf/lib/policy.h, with the real maps), over any tables: the
 * compiler's output in tests, the pinned maps in `warren policy why`.
 */
#ifndef WARREN_POLICY_LOOKUP_H
#define WARREN_POLICY_LOOKUP_H

#include "abi/policy.h"
#include "addr.h"

struct lookup_tables {
	/* Each: 0, or -ENOENT. */
	int (*class_info)(void *arg, uint32_t policy_class, struct wr_class_info *info);
	int (*identity)(void *arg, uint64_t identity, uint64_t *peer);
	/* longest match */
	int (*cidr)(void *arg, uint32_t policy_class, uint32_t direction, const struct ip *ip, uint64_t *peer);
	int (*entry)(void *arg, const struct wr_policy_key *key, uint32_t *rule);
	void *arg;
};

struct lookup_query {
	uint32_t policy_class;
	uint32_t direction;     /* enum wr_direction */
	uint64_t peer_identity;
	struct ip peer_ip;
	uint8_t protocol;
	uint16_t port;          /* of the responder, host order; 0 where the protocol has none */
};

struct lookup_result {
	bool allowed;
	uint32_t rule;            /* enum wr_rule, or a key of map `rules` */
	struct wr_policy_key key; /* of the entry that matched, if rule >= WR_RULE_FIRST */
	uint64_t peer_class, cidr_peer; /* of the peer; WR_PEER_NONE: none, or not looked up */
};

void policy_lookup(const struct lookup_tables *tables, const struct lookup_query *query, struct lookup_result *result);

#endif
