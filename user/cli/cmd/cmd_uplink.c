/* SPDX-License-Identifier: BSD-2-Clause */
/* warren uplink list, xdp. */
#include "deny_places.h"
#include "link.h"

static int describe(const struct dp_uplink_progs *progs, void *arg)
{
	struct out *o = arg;
	char other_id[BPF_OBJ_NAME_LEN + 32];

	snprintf(other_id, sizeof(other_id), "%s (id %u)", progs->other_name, progs->other_id);
	out_record(o, NULL);
	out_string(o, "device", progs->name);
	out_json(o, "ifindex", json_integer(progs->ifindex));
	out_string(o, "xdp", dp_xdp_mode_name(progs->xdp));
	out_field(o, "other_xdp", progs->other_id ? json_string(other_id) : json_null(),
		  progs->other_id ? other_id : "-", progs->other_id ? OUT_YELLOW : OUT_PLAIN);
	out_bool(o, "from_uplink", progs->from_uplink);
	out_string(o, "tunnels_end_in", progs->decap ? "xdp" : progs->from_uplink ? "tc" : NULL);
	out_string(o, "denylist", deny_place(progs));
	out_end(o);
	return 0;
}

int cmd_uplink_list(struct cli *cli)
{
	int r = cli_open(cli);

	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no uplinks");
	r = dp_uplink_progs_each(describe, cli->out, &cli->err);
	out_end(cli->out);
	return r;
}

int cmd_uplink_xdp(struct cli *cli)
{
	_cleanup_nl_ struct nl nl = { 0 };
	enum dp_xdp_mode mode, now = DP_XDP_OFF;
	struct link_info link;
	int r;

	if (dp_xdp_mode_parse(cli->args[1], &mode) < 0)
		return cli_usage_error(cli, "'%s' is not a mode: use auto, native, generic or off", cli->args[1]);
	r = cli_open(cli);
	if (r == 0)
		r = nl_open(&nl, NETLINK_ROUTE, &cli->err);
	if (r == 0)
		r = link_get(&nl, cli->args[0], 0, &link, &cli->err);
	if (r == 0)
		r = dp_xdp_attach(link.ifindex, mode, &now, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_string(cli->out, "device", link.name);
	out_string(cli->out, "xdp", dp_xdp_mode_name(now));
	out_end(cli->out);
	return 0;
}
