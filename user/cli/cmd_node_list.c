/* SPDX-License-Identifier: BSD-2-Clause */
/* warren node list, get: the nodes of the cluster. */
#include <net/if.h>
#include <stdio.h>

#include "json.h"
#include "remotes.h"

/* In text only with `full`. */
static void out_more(struct out *o, const char *key, const char *value, bool full)
{
	out_field(o, key, value ? json_string(value) : json_null(), full ? value ?: "" : NULL, OUT_PLAIN);
}

/* The path to the node. */
static void out_path(struct out *o, const struct remote_node *node, bool full)
{
	const struct dp_node *dp = &node->dp;
	const uint32_t uplink = node->nexthop.ifindex ? node->nexthop.ifindex : dp->uplink;
	char device[IF_NAMESIZE], local[IP_STRLEN], remote[IP_STRLEN], mac[MAC_STRLEN], mtu[16];
	const bool mapped = node->slot;

	out_more(o, "local", mapped ? ip_format(&dp->local, local) : NULL, full);
	out_string(o, "remote", mapped ? ip_format(&dp->remote, remote) : NULL);
	out_string(o, "uplink", mapped ? if_indextoname(uplink, device) : NULL);
	snprintf(mtu, sizeof(mtu), "%u", dp->mtu);
	out_field(o, "mtu", mapped ? json_integer(dp->mtu) : json_null(), mapped ? mtu : "", OUT_PLAIN);
	out_string(o, "mode", !mapped ? NULL : dp->direct ? "direct" : "tunnel");
	out_json(o, "keyed", mapped ? json_boolean(dp->keyed) : json_null());
	out_json(o, "resolved", mapped ? json_boolean(node->nexthop.resolved) : json_null());
	out_more(o, "dmac", mapped && node->nexthop.resolved ? mac_format(node->nexthop.dmac, mac) : NULL, full);
}

static void out_total(struct out *o, const char *packets, const char *bytes, const struct remote_node *node,
		      enum wr_direction direction)
{
	const struct wr_metric *total = &node->totals[direction];

	if (node->slot) {
		out_uint(o, packets, total->packets);
		out_uint(o, bytes, total->bytes);
	} else {
		out_string(o, packets, NULL);
		out_string(o, bytes, NULL);
	}
}

static void out_state(struct out *o, const struct remote_node *node)
{
	if (node->problem)
		out_word(o, "state", node->slot ? "faulty" : "not programmed", OUT_RED);
	else if (node->own)
		out_word(o, "state", "this node", OUT_PLAIN);
	else if (!node->slot)
		out_word(o, "state", "not in the maps", OUT_YELLOW);
	else if (!node->nexthop.resolved)
		out_word(o, "state", "unresolved", OUT_YELLOW);
	else
		out_word(o, "state", "ok", OUT_GREEN);
}

static void describe(struct out *o, const struct remote_node *node, bool full)
{
	char slot[16];

	out_record(o, NULL);
	out_string(o, "name", node->name);
	snprintf(slot, sizeof(slot), "%u", node->slot);
	out_field(o, "slot", json_integer(node->slot), node->slot ? slot : "", OUT_PLAIN);
	out_json(o, "own", json_boolean(node->own));
	out_strings(o, "cidrs", json_prefixes(node->dp.cidrs, 2), " ");
	if (full)
		out_strings(o, "addresses", json_ips(node->dp.addresses, node->dp.address_count), " ");
	else
		out_json(o, "addresses", json_ips(node->dp.addresses, node->dp.address_count));
	out_path(o, node, full);
	out_total(o, "packets_sent", "bytes_sent", node, WR_EGRESS);
	out_total(o, "packets_received", "bytes_received", node, WR_INGRESS);
	out_state(o, node);
	out_more(o, "problem", node->problem, full);
	out_end(o);
}

static void out_problems(struct out *o, const struct remotes *remotes)
{
	char label[NODE_LABEL_MAX];

	for (size_t i = 0; i < remotes->node_count; i++) {
		if (remotes->nodes[i].problem)
			out_note(o, "\n%s: %s", node_label(&remotes->nodes[i], label), remotes->nodes[i].problem);
	}
}

static void out_no_names(struct out *o, const struct remotes *remotes)
{
	if (remotes_in_cluster(remotes) && !remotes->agent)
		out_note(o, "\n%s: the maps hold no names.", remotes->why.msg);
}

static int load(struct cli *cli, struct remotes *remotes)
{
	int r = cli_open(cli);

	if (r == 0)
		r = remotes_load(remotes, false, &cli->err);
	return r < 0 ? r : remotes_find_nexthops(remotes, &cli->err);
}

int cmd_node_list(struct cli *cli)
{
	_cleanup_remotes_ struct remotes remotes = { 0 };
	int r = load(cli, &remotes);

	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no nodes: this node is in no cluster");
	for (size_t i = 0; i < remotes.node_count; i++)
		describe(cli->out, &remotes.nodes[i], false);
	out_end(cli->out);
	out_problems(cli->out, &remotes);
	out_no_names(cli->out, &remotes);
	return 0;
}

int cmd_node_get(struct cli *cli)
{
	_cleanup_remotes_ struct remotes remotes = { 0 };
	const struct remote_node *node;
	int r = load(cli, &remotes);

	if (r < 0)
		return r;
	node = remotes_by_text(&remotes, cli->args[0]);
	if (!node)
		return node_unknown(cli, &remotes, cli->args[0]);
	describe(cli->out, node, true);
	out_no_names(cli->out, &remotes);
	return 0;
}
