/* SPDX-License-Identifier: BSD-2-Clause */
#include "guard.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include "abi/node.h"
#include "array.h"
#include "gateway.h"
#include "nft.h"

#define TABLE "warren"
#define LOOPBACK_IFINDEX 1 /* of "lo", in every network namespace */

static const struct nft_chain chains[] = {
	{ "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_MANGLE },
	{ "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_MANGLE },
	{ "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC },
	/* Of a cluster's member only. */
	{ "output", "filter", NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER },
	{ "tunnel", "filter", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC + 1 },
};
#define CHAINS_ALONE 3
#define MASQUERADE_PORT_MIN 1024 /* as the kernel's own range */
#define RULES 8

static struct nft_table guard_table(const struct wr_config *cfg, struct nft_rule rules[RULES])
{
	static const char unseen_text[] = "from a pod, but from_pod has not seen it";
	static const char quarantine_text[] = "from a pod in quarantine: no further than this host";
	static const char leaving_text[] = "from a pod, leaving the node";
	static const char pod_text[] = "from a pod to the tunnel's port";
	static const char process_text[] = "from a process to the tunnel's port";
	static const char translated_text[] = "to the tunnel's port, as if it were this node's";
	const struct nft_match from_pod = { NFT_META, NFT_META_IIFGROUP, 0, NFT_CMP_EQ, { WR_LINK_GROUP } };
	const struct nft_match unseen = { NFT_META, NFT_META_MARK, cfg->mark_pod, NFT_CMP_NEQ, { cfg->mark_pod } };
	const struct nft_match host_only = {
		NFT_META, NFT_META_MARK, cfg->mark_host_only, NFT_CMP_EQ, { cfg->mark_host_only }
	};
	const struct nft_match leaving = {
		NFT_META, NFT_META_MARK, cfg->mark_masquerade, NFT_CMP_EQ, { cfg->mark_masquerade }
	};
	const struct nft_match not_to_pod = { NFT_META, NFT_META_OIFGROUP, 0, NFT_CMP_NEQ, { WR_LINK_GROUP } };
	const struct nft_match not_to_self = { NFT_META, NFT_META_OIF, 0, NFT_CMP_NEQ, { LOOPBACK_IFINDEX } };
	const struct nft_match not_to_node = {
		NFT_META, NFT_META_OIFNAME, 0, NFT_CMP_NEQ, { .name = WARREN_GATEWAY_LINK }, IFNAMSIZ
	};
	const struct nft_match udp = { NFT_META, NFT_META_L4PROTO, 0, NFT_CMP_EQ, { .protocol = IPPROTO_UDP }, 1 };
	const struct nft_match tunnel_port = { NFT_TRANSPORT, 2, 0, NFT_CMP_EQ, { .port = cfg->tunnel_port }, 2 };
	/*
	 * UINT32_MAX is no valid uid, so any socket's matches; a packet without a socket has no uid and does not match.
	 */
	const struct nft_match a_process = { NFT_META, NFT_META_SKUID, 0, NFT_CMP_NEQ, { UINT32_MAX } };
	/* Keeps masqueraded packets out of the source ports of this node's tunnel packets. */
	const struct nft_rule leaving_udp = {
		.chain = "postrouting",
		.comment = leaving_text,
		.match = { leaving, not_to_pod, not_to_self, not_to_node, udp },
		.matches = 5,
		.masquerade = true,
		.port_min = htons(MASQUERADE_PORT_MIN),
		.port_max = htons(WR_TUNNEL_SPORT_FIRST - 1),
	};
	const struct nft_match translated = { NFT_CONNTRACK, NFT_CT_STATUS, IPS_SRC_NAT, NFT_CMP_EQ, { IPS_SRC_NAT } };
	size_t n = 0;

	rules[n++] = (struct nft_rule){ "input", unseen_text, { from_pod, unseen }, 2, false };
	rules[n++] = (struct nft_rule){ "forward", unseen_text, { from_pod, unseen }, 2, false };
	rules[n++] = (struct nft_rule){ "forward", quarantine_text, { from_pod, host_only }, 2, false };
	if (cfg->tunnel_port)
		rules[n++] = (struct nft_rule){ "forward", pod_text, { from_pod, udp, tunnel_port }, 3, false };
	if (cfg->tunnel_port)
		rules[n++] = leaving_udp;
	rules[n++] = (struct nft_rule){
		"postrouting", leaving_text, { leaving, not_to_pod, not_to_self, not_to_node }, 4, true
	};
	if (cfg->tunnel_port) {
		rules[n++] = (struct nft_rule){ "output", process_text, { udp, tunnel_port, a_process }, 3, false };
		rules[n++] = (struct nft_rule){ "tunnel", translated_text, { udp, tunnel_port, translated }, 3, false };
	}
	return (struct nft_table){ TABLE, chains, cfg->tunnel_port ? ARRAY_SIZE(chains) : CHAINS_ALONE, rules, n };
}

int guard_replace(const struct wr_config *cfg, struct err *err)
{
	struct nft_rule rules[RULES];
	const struct nft_table table = guard_table(cfg, rules);

	return nft_table_replace(&table, err);
}

int guard_ensure(const struct wr_config *cfg, struct err *err)
{
	bool present, whole;
	int r = guard_check(cfg, &present, &whole, err);

	return r < 0 || whole ? r : guard_replace(cfg, err);
}

int guard_delete(struct err *err)
{
	return nft_table_delete(TABLE, err);
}

int guard_check(const struct wr_config *cfg, bool *present, bool *whole, struct err *err)
{
	struct nft_rule rules[RULES];
	const struct nft_table table = guard_table(cfg, rules);

	return nft_table_check(&table, present, whole, err);
}
