/* SPDX-License-Identifier: BSD-2-Clause */
/* warren node init, show, down. */
#include <errno.h>

#include "cleanup.h"
#include "cli.h"
#include "ct_size.h"
#include "gateway.h"
#include "ip.h"
#include "json.h"
#include "maps.h"
#include "node.h"
#include "paths.h"

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
	r = node_init(&options, &report, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_word(cli->out, "node", report.fresh ? "loaded" : "already loaded, now up to date", OUT_GREEN);
	out_json(cli->out, "fresh", json_boolean(report.fresh));
	out_string(cli->out, "version", WARREN_VERSION);
	out_uint(cli->out, "endpoints_replaced", report.replaced);
	out_uint(cli->out, "ct_entries", report.ct_entries);
	out_uint(cli->out, "ct_memory", ct_size_memory(report.ct_entries));
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
