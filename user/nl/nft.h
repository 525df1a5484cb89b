/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole nftables table of family inet, replaced, compared and deleted in one transaction each, by libnftnl. */
#ifndef WARREN_NFT_H
#define WARREN_NFT_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* A base chain with policy accept. */
struct nft_chain {
	const char *name, *type;
	uint32_t hook;
	int32_t priority;
};

/* One condition: a value under `mask` (0: all bits) is, or is not, this one. */
struct nft_match {
	enum { NFT_META, NFT_CONNTRACK, NFT_TRANSPORT } of;
	uint32_t key; /* enum nft_meta_keys, enum nft_ct_keys, or offset in the transport header */
	uint32_t mask;
	uint32_t op; /* enum nft_cmp_ops */
	union {
		uint32_t number;
		uint16_t port; /* network order */
		uint8_t protocol;
		char name[IFNAMSIZ];
	} value;
	uint32_t size; /* 0: 4 */
};

/* Counts packets that meet all conditions, and drops or masquerades them. */
struct nft_rule {
	const char *chain, *comment;
	struct nft_match match[5];
	int matches;
	bool masquerade; /* else drop */
	uint16_t port_min, port_max; /* source ports of masqueraded packets, network order; 0: the kernel's range */
};

struct nft_table {
	const char *name;
	const struct nft_chain *chains;
	size_t chain_count;
	const struct nft_rule *rules; /* in the order of the chains, as a dump gives them */
	size_t rule_count;
};

/*
 * Replaces the table atomically. Replacing an existing one takes about 10 ms: the kernel frees it after a grace period
 * when the socket is closed.
 */
int nft_table_replace(const struct nft_table *table, struct err *err);
int nft_table_delete(const char *name, struct err *err); /* absent is no error */
/* A table of another program, of `family` (NFPROTO_IPV4, ...). *present: whether there is one; `delete`: there was. */
int nft_external_table(uint8_t family, const char *name, bool delete, bool *present, struct err *err);
/*
 * *whole: the table is as nft_table_replace() makes it (every chain with its hook, priority and rules, and nothing
 * else). *present: there is a table of that name.
 */
int nft_table_check(const struct nft_table *table, bool *present, bool *whole, struct err *err);

#endif
