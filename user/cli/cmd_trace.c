/* SPDX-License-Identifier: BSD-2-Clause */
/* warren trace: runs a synthetic packet through the dry-run programs and shows each step. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "gateway.h"
#include "enum_names.h"
#include "packet_text.h"
#include "trace_steps.h"

#define SOURCE_PORT 40000
#define TCP_SYN 0x02

/*
 * The ingress device of a packet from outside. It must not be a pod's device, nor 0, which stands for packets of the
 * host itself; the loopback device fits.
 */
#define OUTSIDE_IFINDEX 1

/* The identity that another node's packet carries if SRC is unknown here; no pod of this node has it. */
#define CARRIED_IDENTITY (WR_ID_SOME_POD | 1)

/* --- the packet --- */

/* "syn,ack" */
static int parse_flags(struct cli *cli, uint8_t *flags)
{
	char copy[64], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", cli->options.flags);
	for (*flags = 0; (word = strsep(&rest, ","));) {
		int bit = tcp_flag_parse(word);

		if (bit < 0)
			return cli_usage_error(
			    cli, "'%s' is not a TCP flag: use fin, syn, rst, psh, ack, urg, ece, cwr", word);
		*flags |= (uint8_t)(1 << bit);
	}
	return 0;
}

/* Builds the frame as the other node would send it: encapsulated, or as it is if that node is on the same link. */
static void wrap_packet(struct trace_run *run)
{
	const struct dp_node *node = &run->sender->dp;
	const struct wr_cluster *cluster = &run->endpoints.remotes.cluster;
	struct frame_tunnel tunnel = {
		.source = node->remote,
		.destination = node->local,
		.port = ntohs(cluster->port),
		.option_class = ntohs(cluster->option_class),
		.vni = cluster->vni,
		.identity = run->carried,
		.tag = node->rx_tag[!!(cluster->flags & WR_CLUSTER_KEY_ODD)] ?: node->rx_tag[0] ?: node->rx_tag[1],
	};
	struct frame direct = run->frame;
	uint8_t inner[FRAME_MAX];

	memcpy(tunnel.mac_source, run->nexthop.dmac, 6);
	memcpy(tunnel.mac_destination, run->link.mac, 6);
	memcpy(direct.mac_source, run->nexthop.dmac, 6);
	memcpy(direct.mac_destination, run->link.mac, 6);
	if (node->direct)
		run->length = frame_make(&direct, run->bytes);
	else
		run->length = frame_encapsulate(&tunnel, inner, frame_make(&run->frame, inner), run->bytes);
}

static int make_packet(struct trace_run *run)
{
	const struct flow *flow = &run->flow;
	struct cli *cli = run->cli;
	struct frame *f = &run->frame;
	int r = 0;

	*f = (struct frame){
		.mac_source = WR_HOST_MAC,
		.mac_destination = WR_HOST_MAC,
		.source = flow->from.ip[flow->family],
		.destination = flow->to.ip[flow->family],
		.protocol = flow->protocol,
		.source_port = cli->options.sport >= 0 ? (uint16_t)cli->options.sport : SOURCE_PORT,
		.destination_port = flow->port,
		.tcp_flags = TCP_SYN,
	};
	if (cli->options.flags && flow->protocol != IPPROTO_TCP)
		return cli_usage_error(cli, "--flags requires TCP, not %s", l4_proto_name(flow->protocol));
	if (cli->options.flags)
		r = parse_flags(cli, &f->tcp_flags);
	if (trace_runs(run, WARREN_PROG_TO_POD))
		memcpy(f->mac_destination, flow->to.endpoint->ep.mac, 6);
	else if (trace_runs(run, WARREN_PROG_FROM_POD))
		memcpy(f->mac_source, flow->from.endpoint->ep.mac, 6);
	if (run->sender)
		wrap_packet(run);
	else
		run->length = frame_make(f, run->bytes);
	return r;
}

/* --- the command --- */

static void describe(struct trace_run *run)
{
	const char *name = reason_name(run->trace.reason);
	char text[PACKET_TEXT_MAX];
	const struct remotes *remotes = &run->endpoints.remotes;
	const struct packet_tunnel tunnel = tunnel_form(&remotes->cluster);
	struct out *o = run->cli->out;
	bool drops = reason_drops(run->trace.reason);
	struct packet p, inner;

	packet_parse(&p, &inner, &tunnel, run->bytes, run->length);
	out_record(o, NULL);
	out_string(o, "packet", packet_format(&p, false, text, sizeof(text)));
	out_json(o, "headers", packet_json(&p));
	out_flow_side(o, "from", remotes, &run->flow.from, &run->frame.source);
	out_flow_side(o, "to", remotes, &run->flow.to, &run->frame.destination);
	if (run->sender)
		snprintf(text, sizeof(text), "%s of %s", run->program, run->link.name);
	else if (trace_runs(run, WARREN_PROG_FROM_HOST))
		snprintf(text, sizeof(text), "%s of %s", run->program, WARREN_GATEWAY_LINK);
	else
		snprintf(text, sizeof(text), "%s of endpoint %u", run->program, run->device);
	out_field(o, "program", json_string(run->program), text, OUT_PLAIN);
	out_json(o, "device", json_integer(run->device));
	out_json(o, "tc_verdict", json_integer(run->tc_verdict));
	out_word(o, "verdict", drops ? "drop" : "pass", drops ? OUT_RED : OUT_GREEN);
	out_string(o, "reason", name);
	out_trace_steps(run);
	if (run->cli->options.json) {
		out_record(o, "trace");
		codec_value(map_codec_find("trace"), o, &run->trace, 1);
		out_end(o);
	}
	out_end(o);
	if (run->flow.any)
		out_note(o, "\nNo PORT/PROTO was given: the packet is for tcp port %u.", FLOW_PORT);
	out_guess(o, &run->flow.to);
}

/* The receiving half of the path from another node. */
static int enter_by_uplink(struct trace_run *run, const struct remote_node *node)
{
	const struct flow_side *from = &run->flow.from;
	struct cli *cli = run->cli;
	char label[NODE_LABEL_MAX];

	if (!node->slot) {
		err_set(&cli->err, ENETUNREACH, "%s is not in the maps: its packets are dropped",
			node_label(node, label));
		return err_hint(&cli->err, "`warren node get %s` shows why", node->name ?: "");
	}
	if (nexthop_find(&run->endpoints.nl, &node->dp.remote, &run->nexthop, NULL) < 0)
		run->nexthop = (struct nexthop){ .ifindex = node->dp.uplink };
	run->program = WARREN_PROG_FROM_UPLINK;
	run->device = run->entered = run->nexthop.ifindex;
	run->sender = node;
	run->carried = from->kind == FLOW_SIDE_NODE		    ? WR_ID_REMOTE_NODE
		       : from->kind == FLOW_SIDE_REMOTE && !from->known ? CARRIED_IDENTITY
							    : from->identity;
	if (cli->options.identity && identity_parse(cli->options.identity, &run->carried) < 0)
		return cli_usage_error(cli, "'%s' is not an identity: use a number from `warren identity list`",
				       cli->options.identity);
	return link_get(&run->endpoints.nl, NULL, run->device, &run->link, &cli->err);
}

static int find_sender(struct trace_run *run, const struct remote_node **node)
{
	const char *name = run->cli->options.from_node;

	*node = run->flow.from.node;
	if (!name)
		return 0;
	*node = remotes_by_text(&run->endpoints.remotes, name);
	if (*node && !(*node)->own)
		return 0;
	err_set(&run->cli->err, ENOENT, "there is no other node '%s'", name);
	return err_hint(&run->cli->err, "`warren node list` lists them");
}

/* Chooses the program that the packet would pass first, and its device. */
static int choose_program(struct trace_run *run)
{
	const struct flow *flow = &run->flow;
	const struct remotes *remotes = &run->endpoints.remotes;
	const struct remote_node *sender, *holder = remotes_by_cidr(remotes, &flow->to.ip[flow->family]);
	int r = find_sender(run, &sender);

	if (r < 0)
		return r;
	if (sender)
		return enter_by_uplink(run, sender);
	if (run->cli->options.identity)
		return cli_usage_error(run->cli, "--identity requires a packet from another node, not from %s",
				       run->cli->args[0]);
	run->carried = flow->from.kind == FLOW_SIDE_HOST ? WR_ID_REMOTE_NODE : flow->from.identity;
	run->entered = flow->from.kind == FLOW_SIDE_WORLD ? OUTSIDE_IFINDEX : 0;
	if (flow->from.kind == FLOW_SIDE_POD) {
		run->program = WARREN_PROG_FROM_POD;
		run->device = flow->from.endpoint->id;
	} else if (flow->to.kind == FLOW_SIDE_POD) {
		run->program = WARREN_PROG_TO_POD;
		run->device = flow->to.endpoint->id;
	} else if (holder && !holder->own) {
		run->program = WARREN_PROG_FROM_HOST;
		run->device = remotes->cluster.host_ifindex;
	} else {
		return cli_usage_error(run->cli,
				       "neither %s nor %s is a pod of this node: no program here handles such a packet",
				       run->cli->args[0], run->cli->args[1]);
	}
	return 0;
}

static int trace(struct trace_run *run)
{
	int r = flow_parse(run->cli, &run->endpoints, &run->flow);

	if (r == 0)
		r = choose_program(run);
	if (r == 0)
		r = make_packet(run);
	if (r == 0)
		r = dp_trace(run->program, run->device, run->entered, run->bytes, run->length, &run->trace,
			     &run->tc_verdict, &run->cli->err);
	return r;
}

int cmd_trace(struct cli *cli)
{
	struct trace_run run = { .cli = cli };
	int r = endpoints_list_all(cli, &run.endpoints);

	if (r == 0)
		r = trace(&run);
	if (r == 0)
		describe(&run);
	endpoints_free(&run.endpoints);
	return r;
}
