/* SPDX-License-Identifier: BSD-2-Clause */
/* warren node init, show, down; and of the nodes of the cluster: list, get, ping. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "cli.h"
#include "clock.h"
#include "ct_size.h"
#include "gateway.h"
#include "ip.h"
#include "json.h"
#include "maps.h"
#include "node.h"
#include "paths.h"
#include "peers.h"
#include "ping.h"

int cmd_node_init(struct cli *cli)
{
	struct node_options options = NODE_OPTIONS_DEFAULT;
	struct node_report report;
	int r;

	if (cli->options.max_endpoints >= 0)
		options.max_endpoints = (uint32_t)cli->options.max_endpoints;
	if (cli->options.mark_shift >= 0)
		options.mark_shift = (int)cli->options.mark_shift;
	if (cli->options.ct_entries >= 0)
		options.ct_entries = (uint32_t)cli->options.ct_entries;
	options.reload = cli->options.reload;
	options.cgroup = cli->options.cgroup;
	r = node_init(&options, &report, &cli->err);
	if (r == 0 && report.sockets_err.num) {
		cli->err = report.sockets_err;
		r = -cli->err.num;
	}
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_word(cli->out, "node", report.fresh ? "loaded" : "already loaded, now up to date", OUT_GREEN);
	out_json(cli->out, "fresh", json_boolean(report.fresh));
	out_string(cli->out, "version", WARREN_VERSION);
	if (report.upgraded_from) {
		out_uint(cli->out, "upgraded_from_abi", report.upgraded_from);
		out_uint(cli->out, "flows_lost", report.lost_flows);
	}
	out_uint(cli->out, "endpoints_replaced", report.replaced);
	out_uint(cli->out, "ct_entries", report.ct_entries);
	out_uint(cli->out, "ct_memory", ct_size_memory(report.ct_entries));
	out_json(cli->out, "host_sockets", json_boolean(report.sockets));
	out_end(cli->out);
	return 0;
}

int cmd_node_down(struct cli *cli)
{
	int r = node_down(cli->options.force, &cli->err);

	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_string(cli->out, "node", "unloaded");
	out_end(cli->out);
	return 0;
}

/* --- show --- */

static int collect_address(const struct prefix *prefix, void *arg)
{
	return json_array_append_new(arg, json_prefix(prefix)) < 0 ? -ENOMEM : 0;
}

/* Addresses of the gateway link. None without the link, whose absence `status` reports. */
static int gateway_addresses(json_t *array, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	uint32_t ifindex = 0;
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	if (r == 0)
		r = node_gateway_ifindex(&ifindex, err);
	if (r == -ENODEV)
		return 0;
	return r < 0 ? r : addr_each(&nl, ifindex, collect_address, array, err);
}

static int map_memory(uint64_t *memory, struct err *err)
{
	struct dp_map_info info;
	int r = 0;

	for (const struct dp_map *m = dp_maps; m->name && r == 0; m++) {
		r = dp_map_info(m->name, &info, err);
		*memory += info.memory;
	}
	return r;
}

int cmd_node_show(struct cli *cli)
{
	json_auto_t *gateways = json_array();
	struct dp_map_info endpoints = { 0 }, addresses = { 0 }, flows = { 0 };
	char pins[64];
	uint64_t memory = 0;
	int r = cli_open(cli);

	if (r == 0)
		r = map_memory(&memory, &cli->err);
	if (r == 0)
		r = dp_map_info("endpoints", &endpoints, &cli->err);
	if (r == 0)
		r = dp_map_info("addr4", &addresses, &cli->err);
	if (r == 0)
		r = dp_map_describe("ct4", &flows, &cli->err);
	if (r == 0)
		r = gateway_addresses(gateways, &cli->err);
	if (r < 0)
		return r;
	snprintf(pins, sizeof(pins), "%s/v%u", WARREN_PIN_ROOT, cli->dp.config.abi_version);
	out_record(cli->out, NULL);
	out_string(cli->out, "version", cli->dp.config.version);
	out_uint(cli->out, "abi", cli->dp.config.abi_version);
	out_string(cli->out, "pins", pins);
	out_string(cli->out, "state_directory", WARREN_RUN_DIR);
	out_uint(cli->out, "endpoints", endpoints.entries);
	out_uint(cli->out, "max_endpoints", addresses.max_entries);
	out_uint(cli->out, "ct_entries", flows.max_entries);
	out_uint(cli->out, "ct_memory", ct_size_memory(flows.max_entries));
	out_hex(cli->out, "mark_pod", cli->dp.config.mark_pod);
	out_hex(cli->out, "mark_masquerade", cli->dp.config.mark_masquerade);
	out_hex(cli->out, "mark_host_only", cli->dp.config.mark_host_only);
	out_uint(cli->out, "pod_mtu", cli->dp.config.pod_mtu);
	out_string(cli->out, "gateway_link", WARREN_GATEWAY_LINK);
	out_strings(cli->out, "gateway_addresses", take_ptr(gateways), " ");
	out_uint(cli->out, "map_memory", memory);
	out_end(cli->out);
	return 0;
}

/* --- list, get --- */

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
	char device[IF_NAMESIZE], local[IP_STRLEN], remote[IP_STRLEN], mac[MAC_STRLEN];
	const bool mapped = node->slot;

	out_more(o, "local", mapped ? ip_format(&dp->local, local) : NULL, full);
	out_string(o, "remote", mapped ? ip_format(&dp->remote, remote) : NULL);
	out_string(o, "uplink", mapped ? if_indextoname(uplink, device) : NULL);
	out_optional(o, "mtu", mapped, dp->mtu);
	out_string(o, "mode", !mapped ? NULL : dp->direct ? "direct" : "tunnel");
	out_json(o, "keyed", mapped ? json_boolean(dp->keyed) : json_null());
	out_json(o, "resolved", mapped ? json_boolean(node->nexthop.resolved) : json_null());
	out_more(o, "dmac", mapped && node->nexthop.resolved ? mac_format(node->nexthop.dmac, mac) : NULL, full);
}

static void out_total(struct out *o, const char *packets, const char *bytes, const struct remote_node *node,
		      enum wr_direction direction)
{
	const struct wr_metric *total = &node->totals[direction];

	out_optional(o, packets, node->slot, total->packets);
	out_optional(o, bytes, node->slot, total->bytes);
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
	out_record(o, NULL);
	out_string(o, "name", node->name);
	out_fieldf(o, "slot", json_integer(node->slot), OUT_PLAIN, node->slot ? "%u" : "-", node->slot);
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

/* --- ping --- */

#define COUNT 5
#define INTERVAL_MS 200
#define TIMEOUT_MS 1000

static void out_ms(struct out *o, const char *key, const struct ping_target *t, uint64_t ns)
{
	out_fieldf(o, key, t->received ? json_real((double)ns / (double)NS_PER_MS) : json_null(), OUT_PLAIN,
		   t->received ? "%.3f ms" : "-", (double)ns / (double)NS_PER_MS);
}

static void describe_ping(struct out *o, const struct node_pings *p, size_t i)
{
	const struct ping_target *t = &p->ping.targets[i];
	const struct remote_node *node = p->nodes[i];
	char address[IP_STRLEN], text[256];
	const char *why = node_pings_explain(p, i, text, sizeof(text));

	out_record(o, NULL);
	out_node(o, node, NULL);
	out_json(o, "slot", json_integer(node->slot));
	out_json(o, "family", json_integer(t->to.family == AF_INET6 ? 6 : 4));
	out_string(o, "address", ip_format(&t->to, address));
	out_uint(o, "sent", t->sent);
	out_uint(o, "received", t->received);
	out_ms(o, "min", t, t->min_ns);
	out_ms(o, "avg", t, t->received ? t->sum_ns / t->received : 0);
	out_ms(o, "max", t, t->max_ns);
	out_json(o, "answers", json_boolean(t->received));
	out_field(o, "result", why ? json_string(why) : json_null(), why ?: "ok",
		  !why ? OUT_GREEN : t->received ? OUT_YELLOW : OUT_RED);
	out_end(o);
}

int cmd_node_ping(struct cli *cli)
{
	_cleanup_node_pings_ struct node_pings p = { 0 };
	int r;

	p.ping.count = cli->options.count >= 0 ? (uint32_t)cli->options.count : COUNT;
	p.ping.interval_ns = (uint64_t)(cli->options.interval >= 0 ? cli->options.interval : INTERVAL_MS) * NS_PER_MS;
	p.ping.timeout_ns = (uint64_t)(cli->options.timeout >= 0 ? cli->options.timeout : TIMEOUT_MS) * NS_PER_MS;
	r = node_pings_run(cli, &p);
	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no other nodes");
	for (size_t i = 0; i < p.ping.target_count; i++) {
		describe_ping(cli->out, &p, i);
		if (!p.ping.targets[i].received)
			cli->exit = CLI_FAILED;
	}
	out_end(cli->out);
	return 0;
}
