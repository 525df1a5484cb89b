/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: other nodes, whose addresses are whose. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "codec_pieces.h"
#include "names.h"

/* A prefix as the data path has it: address and mask. */
static void out_masked(struct out *o, const char *key, bool valid, int family, const void *address, const void *mask)
{
	struct prefix prefix = { .ip = ip_from(family, address) };
	const struct ip bits = ip_from(family, mask);
	char buf[PREFIX_STRLEN];

	for (unsigned i = 0; i < ip_bits(&bits) && bits.bytes[i / 8] >> (7 - i % 8) & 1; i++)
		prefix.len++;
	out_string(o, key, valid ? prefix_format(&prefix, buf) : NULL);
}

/* --- cluster --- */

static const struct flag_name cluster_flags[] = {
	{ WR_CLUSTER_V4, "v4" },	{ WR_CLUSTER_V6, "v6" },     { WR_CLUSTER_POD4, "pod4" },
	{ WR_CLUSTER_POD6, "pod6" }, { WR_CLUSTER_DSCP, "dscp" }, { 0, NULL },
};

static void cluster_value(struct out *o, const struct wr_cluster *c, int cpus)
{
	out_uint(o, "revision", c->revision);
	out_strings(o, "flags", flags_json(cluster_flags, c->flags), ",");
	out_uint(o, "vni", c->vni);
	out_uint(o, "port", ntohs(c->port));
	out_hex(o, "option_class", ntohs(c->option_class));
	out_uint(o, "host_ifindex", c->host_ifindex);
	out_ip(o, "addr4", c->flags & WR_CLUSTER_V4 ? ip_from4(&c->addr4) : (struct ip){ 0 });
	out_ip(o, "addr6", c->flags & WR_CLUSTER_V6 ? ip_from6(&c->addr6) : (struct ip){ 0 });
	out_masked(o, "cidr4", c->flags & WR_CLUSTER_POD4, AF_INET, &c->cidr4, &c->mask4);
	out_masked(o, "cidr6", c->flags & WR_CLUSTER_POD6, AF_INET6, &c->cidr6, &c->mask6);
}
CODEC(cluster, "0", only_parse, only_key, cluster_value);

/* --- nodes --- */

static const struct flag_name node_flags[] = {
	{ WR_NODE_V4, "v4" },	      { WR_NODE_V6, "v6" },	      { WR_NODE_OVER6, "over6" },
	{ WR_NODE_DIRECT, "direct" }, { WR_NODE_RESOLVED, "resolved" }, { 0, NULL },
};

static int node_slot_parse(const char *text, __u32 *key)
{
	return parse_u32(text, WR_NODE_SLOTS - 1, key);
}

static void nodes_value(struct out *o, const struct wr_node *n, int cpus)
{
	const int family = n->flags & WR_NODE_OVER6 ? AF_INET6 : AF_INET;
	char mac[MAC_STRLEN];

	out_uint(o, "id", n->id);
	out_uint(o, "last_id", n->last_id);
	out_strings(o, "flags", flags_json(node_flags, n->flags), ",");
	out_masked(o, "cidr4", n->flags & WR_NODE_V4, AF_INET, &n->cidr4, &n->mask4);
	out_masked(o, "cidr6", n->flags & WR_NODE_V6, AF_INET6, &n->cidr6, &n->mask6);
	out_ip(o, "local", ip_from(family, &n->local));
	out_ip(o, "remote", ip_from(family, &n->remote));
	out_uint(o, "uplink", n->uplink);
	out_uint(o, "mtu", n->mtu);
	out_string(o, "dmac", mac_format(n->dmac, mac));
	out_string(o, "smac", mac_format(n->smac, mac));
}
CODEC(nodes, "SLOT", node_slot_parse, slot_key, nodes_value);

/* --- nodes4, nodes6, node_addr4, node_addr6 --- */

static int prefix_of(const char *text, int family, uint32_t *length, void *address)
{
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0 || prefix.ip.family != family)
		return -EINVAL;
	*length = prefix.len;
	memcpy(address, prefix.ip.bytes, ip_bytes(&prefix.ip));
	return 0;
}

int prefix4_parse(const char *text, struct wr_prefix4 *key)
{
	return prefix_of(text, AF_INET, &key->prefixlen, &key->addr);
}

int prefix6_parse(const char *text, struct wr_prefix6 *key)
{
	return prefix_of(text, AF_INET6, &key->prefixlen, &key->addr);
}

static void out_prefix(struct out *o, struct ip ip, uint32_t length)
{
	const struct prefix prefix = { ip, (uint8_t)length };
	char buf[PREFIX_STRLEN];

	out_string(o, "prefix", prefix_format(&prefix, buf));
}

void prefix4_key(struct out *o, const struct wr_prefix4 *key)
{
	out_prefix(o, ip_from4(&key->addr), key->prefixlen);
}

void prefix6_key(struct out *o, const struct wr_prefix6 *key)
{
	out_prefix(o, ip_from6(&key->addr), key->prefixlen);
}

static void ref_value(struct out *o, const struct wr_node_ref *ref, int cpus)
{
	out_uint(o, "slot", ref->slot);
}
CODEC(nodes4, "IPV4-PREFIX", prefix4_parse, prefix4_key, ref_value);
CODEC(nodes6, "IPV6-PREFIX", prefix6_parse, prefix6_key, ref_value);
CODEC(node_addr4, "IPV4-ADDRESS", addr4_parse, addr4_key, ref_value);
CODEC(node_addr6, "IPV6-ADDRESS", addr6_parse, addr6_key, ref_value);

/* --- node_metrics --- */

static int node_metrics_parse(const char *text, __u32 *key)
{
	char slot[16];
	const char *slash = strchr(text, '/');
	uint32_t number, direction;

	if (!slash || (size_t)(slash - text) >= sizeof(slot))
		return -EINVAL;
	memcpy(slot, text, (size_t)(slash - text));
	slot[slash - text] = '\0';
	if (node_slot_parse(slot, &number) < 0 || direction_parse(slash + 1, &direction) < 0)
		return -EINVAL;
	*key = wr_metric_key(number, direction);
	return 0;
}

static void node_metrics_key(struct out *o, const __u32 *key)
{
	out_uint(o, "slot", *key / WR_DIRECTIONS);
	out_string(o, "direction", direction_name(*key % WR_DIRECTIONS));
}
CODEC(node_metrics, "SLOT/DIRECTION", node_metrics_parse, node_metrics_key, metrics_value);

/* --- ipcache4, ipcache6 --- */

static void ipcache_value(struct out *o, const struct wr_ipcache *entry, int cpus)
{
	out_identity(o, "identity", entry->identity);
}
CODEC(ipcache4, "IPV4-ADDRESS", addr4_parse, addr4_key, ipcache_value);
CODEC(ipcache6, "IPV6-ADDRESS", addr6_parse, addr6_key, ipcache_value);
