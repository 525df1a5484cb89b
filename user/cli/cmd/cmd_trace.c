/* SPDX-License-Identifier: BSD-2-Clause */
/* warren trace: runs a synthetic packet through the dry-run programs and shows each step. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "codec.h"
#include "enum_names.h"
#include "explanation.h"
#include "flows.h"
#include "gateway.h"
#include "nexthop.h"
#include "packet.h"
#include "peers.h"
#include "progs.h"
#include "services.h"
#include "trace.h"

#define SOURCE_PORT 40000
#define TCP_SYN 0x02

/*
 * The ingress device of a packet from outside. It must not be a pod's device, nor 0, which stands for packets of the
 * host itself; the loopback device fits.
 */
#define OUTSIDE_IFINDEX 1

/* The identity that another node's packet carries if SRC is unknown here; no pod of this node has it. */
#define CARRIED_IDENTITY (WR_ID_SOME_POD | 1)

/* A synthetic packet, the program that runs on it, and the recorded steps. */
struct trace_run {
	struct cli *cli;
	struct endpoints endpoints;
	struct flow flow;
	const char *program; /* WARREN_PROG_* */
	uint32_t device;     /* to which it is attached: an endpoint's device, an uplink or warren0 */
	uint32_t entered;    /* ingress device of the packet; 0: sent by the host itself */
	const struct remote_node *sender; /* the node that sends the tunnel packet, or NULL */
	struct nexthop nexthop;			  /* of the sender or the client, from the kernel's routes */
	struct link_info link;		  /* the uplink */
	uint64_t carried;		  /* identity in the tunnel packet */
	struct frame frame;
	uint8_t bytes[FRAME_TUNNEL_MAX];
	size_t length;
	struct wr_trace trace;
	int tc_verdict;
	json_t *explanations[WR_DIRECTIONS]; /* of denials, if the agent has one */
};

static bool trace_runs(const struct trace_run *run, const char *program)
{
	return strcmp(run->program, program) == 0;
}

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
	if (run->sender) {
		wrap_packet(run);
		return r;
	}
	if (trace_runs(run, WARREN_PROG_FROM_UPLINK)) {
		memcpy(f->mac_source, run->nexthop.dmac, 6);
		memcpy(f->mac_destination, run->link.mac, 6);
	}
	run->length = frame_make(f, run->bytes);
	return r;
}

/* --- the steps --- */

static void __attribute__((format(printf, 4, 5)))
step(struct trace_run *run, const char *name, enum out_colour colour, const char *fmt, ...)
{
	char text[REMOTE_LABEL_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_record(run->cli->out, NULL);
	out_string(run->cli->out, "step", name);
	out_word(run->cli->out, "result", text, colour);
	out_end(run->cli->out);
}

/* The arrival of a packet from another node. */
static void step_tunnel(struct trace_run *run)
{
	char label[NODE_LABEL_MAX], from[IP_STRLEN], to[IP_STRLEN], number[NUMBER_STRLEN];
	const struct dp_node *node = &run->sender->dp;

	if (node->direct)
		step(run, "uplink", OUT_PLAIN, "%s, from %s without a tunnel: on the same link", run->link.name,
		     node_label(run->sender, label));
	else
		step(run, "uplink", OUT_PLAIN, "%s, from %s: Geneve VNI %u from %s to %s, identity %s carried",
		     run->link.name, node_label(run->sender, label), run->endpoints.remotes.cluster.vni,
		     ip_format(&node->remote, from), ip_format(&node->local, to), identity_name(run->carried, number));
}

/* The endpoint whose device the program is attached to; on an uplink, the local end of the flow. */
static uint32_t evaluated_endpoint(const struct trace_run *run)
{
	const struct wr_trace *t = &run->trace;

	if (!trace_runs(run, WARREN_PROG_FROM_UPLINK))
		return t->ifindex;
	return t->ct.responder & WR_REMOTE ? t->ct.initiator : t->ct.responder;
}

static void step_endpoint(struct trace_run *run)
{
	const uint32_t id = evaluated_endpoint(run);
	const struct endpoint *endpoint = endpoints_find(&run->endpoints, id);
	char label[POD_LABEL_MAX], identity[NUMBER_STRLEN], class[NUMBER_STRLEN];

	if (endpoint)
		step(run, "endpoint", OUT_PLAIN, "%u %s, identity %s, %s, revision %u", id,
		     endpoint_label(&run->endpoints, id, label), identity_name(endpoint->ep.identity, identity),
		     class_name(endpoint->ep.policy_class, class), endpoint->ep.revision);
	else if (trace_runs(run, WARREN_PROG_FROM_POD) || trace_runs(run, WARREN_PROG_TO_POD))
		step(run, "endpoint", OUT_RED, "device %u belongs to no endpoint", run->device);
}

static void step_peer(struct trace_run *run)
{
	const bool sent = trace_runs(run, WARREN_PROG_FROM_POD) || trace_runs(run, WARREN_PROG_FROM_HOST);
	char label[REMOTE_LABEL_MAX], number[NUMBER_STRLEN];
	const struct wr_trace *t = &run->trace;
	const char *identity = identity_name(t->peer_identity, number);
	/* Of a client outside, the trace has the backend's node. */
	const bool outside = trace_runs(run, WARREN_PROG_FROM_UPLINK) && !run->sender;

	if ((t->peer_ifindex & WR_REMOTE) && !outside) /* the world: forwarded by that node's stack */
		step(run, "peer", OUT_PLAIN, "%s%s, identity %s", t->peer_identity == WR_ID_WORLD ? "world by " : "",
		     remote_label(&run->endpoints.remotes, t->peer_ifindex,
				  sent ? &run->frame.destination : &run->frame.source, label),
		     identity);
	else if (t->peer_ifindex && !outside)
		step(run, "peer", OUT_PLAIN, "endpoint %u %s, identity %s", t->peer_ifindex,
		     endpoint_label(&run->endpoints, t->peer_ifindex, label), identity);
	else
		step(run, "peer", OUT_PLAIN, "%s", identity);
}

/* The backend, or of a reply the service, that an address becomes; and the client's port, if that becomes another one. */
#define TRANSLATED_STRLEN (SOCKET_STRLEN + 48)
static const char *translated(const struct trace_run *run, char buf[TRANSLATED_STRLEN])
{
	const struct wr_trace *t = &run->trace;
	const struct ip ip = ip_from(run->frame.destination.family, &t->backend);
	const char *end = t->steps & WR_TRACE_REVERSE_NAT ? "destination" : "source";
	char socket[SOCKET_STRLEN];
	int n = snprintf(buf, TRANSLATED_STRLEN, "%s", socket_format(&ip, ntohs(t->backend_port), socket));

	if (t->client_port)
		snprintf(buf + n, TRANSLATED_STRLEN - (size_t)n, ", the %s port becomes %u", end, ntohs(t->client_port));
	return buf;
}

/* Comes first, as in the program: all later steps see the backend's address. */
static void step_service(struct trace_run *run)
{
	const struct wr_trace *t = &run->trace;
	char text[TRANSLATED_STRLEN];

	if (t->steps & WR_TRACE_CHOSEN)
		step(run, "service", OUT_GREEN, "to backend %s, selected of %u: the next run may select another one",
		     translated(run, text), t->backends);
	else if (t->steps & WR_TRACE_SERVICE)
		step(run, "service", OUT_GREEN, "to backend %s, as for earlier packets of the flow",
		     translated(run, text));
}

/* Comes last, as in the program: all earlier steps see the backend's address. */
static void step_reverse_nat(struct trace_run *run)
{
	char text[TRANSLATED_STRLEN];

	if (run->trace.steps & WR_TRACE_REVERSE_NAT)
		step(run, "service", OUT_GREEN, "a reply: its source becomes service %s", translated(run, text));
}

static void step_conntrack(struct trace_run *run)
{
	uint32_t steps = run->trace.steps;
	const char *state = run->trace.ct.flags & WR_CT_REPLIED ? "replied" : "unreplied";

	if (run->trace.ct.flags & (WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS))
		state = "denied";
	if (!(steps & WR_TRACE_CT_FOUND))
		step(run, "conntrack", OUT_PLAIN, "no entry for this flow");
	else if (steps & WR_TRACE_CT_STALE)
		step(run, "conntrack", OUT_PLAIN, "a stale entry: this packet begins a new flow");
	else
		step(run, "conntrack", OUT_PLAIN, "an entry, %s%s%s%s%s", state,
		     steps & WR_TRACE_CT_REPLY ? ", this is a reply" : "",
		     steps & WR_TRACE_CT_RELATED ? ", this is an error about it" : "",
		     run->trace.ct.flags & WR_CT_VIA_STACK ? ", through the host's stack" : "",
		     steps & WR_TRACE_CT_REEVALUATED ? ", evaluated again since policy or identity has changed" : "");
}

/* Class and peer, if rules were looked up. */
static const char *details(const struct wr_trace_verdict *v, char *buf, size_t size)
{
	char peer[NUMBER_STRLEN], class[32] = "";
	int n;

	if (v->rule != WR_RULE_NONE && v->rule < WR_RULE_FIRST)
		return "";
	if (v->rule != WR_RULE_NONE) /* else the text names it already */
		snprintf(class, sizeof(class), "class %u, ", v->policy_class);
	n = snprintf(buf, size, " (%speer class %s", class, peer_name(v->peer_class, peer));
	if (v->cidr_peer != WR_PEER_NONE)
		n += snprintf(buf + n, size - (size_t)n, ", CIDR peer %s", peer_name(v->cidr_peer, peer));
	snprintf(buf + n, size - (size_t)n, ")");
	return buf;
}

/* What the enforcement point evaluates; of a reply, the flow's ends are the packet's in the other order. */
static struct denial denial_of(const struct trace_run *run, uint32_t direction)
{
	const struct wr_trace *t = &run->trace;
	const bool reply = t->steps & WR_TRACE_CT_REPLY, service = t->steps & WR_TRACE_SERVICE;
	const struct flow_side *initiator = reply ? &run->flow.to : &run->flow.from;
	const struct flow_side *responder = reply ? &run->flow.from : &run->flow.to;
	const struct flow_side *evaluated = direction == WR_EGRESS ? initiator : responder;
	const struct flow_side *peer = direction == WR_EGRESS ? responder : initiator;
	const struct ip backend = ip_from(run->frame.destination.family, &t->backend);
	const struct ip *destination = service ? &backend : &run->frame.destination;
	struct denial d = { .direction = direction, .protocol = run->frame.protocol };

	d.endpoint = evaluated->endpoint ? evaluated->endpoint->id : 0;
	d.peer_ips[0] = (direction == WR_EGRESS) == reply ? run->frame.source : *destination;
	if (peer->kind == FLOW_SIDE_NODE)
		d.peer_ips[1] = peer->node->dp.remote;
	d.port = reply ? run->frame.source_port : service ? ntohs(t->backend_port) : run->frame.destination_port;
	return d;
}

/* Why, if the verdict is a denial that the agent can explain; else NULL. The caller frees it. */
static char *explain(struct trace_run *run, uint32_t direction, uint64_t peer, uint32_t policy_class, uint32_t rule)
{
	struct denial d = denial_of(run, direction);
	json_t **explanation = &run->explanations[direction];
	struct err why;

	if (!rule_denies(rule) || run->trace.steps & WR_TRACE_CT_RELATED)
		return NULL;
	d.rule = rule;
	d.policy_class = policy_class;
	d.peer_identity = peer;
	*explanation = denial_explain(&d, &why);
	return denial_text(&d, *explanation);
}

/* The class by which an entry's verdict was made: known while the endpoint has the revision of then. */
static bool class_of_then(const struct trace_run *run, uint32_t direction, uint32_t *policy_class)
{
	const struct endpoint *ep = endpoints_find(&run->endpoints, denial_of(run, direction).endpoint);

	if (!ep || ep->ep.revision != run->trace.ct.at[direction].revision)
		return false;
	*policy_class = ep->ep.policy_class;
	return true;
}

static void step_verdict(struct trace_run *run, uint32_t direction)
{
	const struct wr_trace *t = &run->trace;
	const struct wr_trace_verdict *v = &t->verdict[direction];
	bool evaluated = t->steps & (direction == WR_EGRESS ? WR_TRACE_EVALUATED_EGRESS : WR_TRACE_EVALUATED_INGRESS);
	bool tracked = (t->steps & WR_TRACE_CT_FOUND) && !(t->steps & WR_TRACE_CT_STALE);
	bool denied = dp_ct_is_denied(&t->ct, direction);
	uint32_t rule = t->ct.at[direction].rule;
	_cleanup_free_ char *why = NULL;
	char text[RULE_STRLEN], more[96];
	uint32_t policy_class;

	if (evaluated) {
		why = v->allowed ? NULL : explain(run, direction, v->peer_identity, v->policy_class, v->rule);
		step(run, direction_name(direction), v->allowed ? OUT_GREEN : OUT_RED, "%s: %s%s",
		     v->allowed ? "allowed" : "denied", why ?: rule_text(v->rule, v->policy_class, text),
		     details(v, more, sizeof(more)));
	} else if (tracked && (rule != WR_RULE_NONE || denied)) {
		if (denied && class_of_then(run, direction, &policy_class))
			why = explain(run, direction, t->ct.at[direction].peer, policy_class, rule);
		step(run, direction_name(direction), denied ? OUT_RED : OUT_GREEN, "%s before: %s",
		     denied ? "denied" : "allowed", why ?: rule_text(rule, 0, text));
	} else {
		step(run, direction_name(direction), OUT_PLAIN, "not evaluated");
	}
}

/* The host stack's handling of a packet from from_pod. */
static void step_stack(struct trace_run *run)
{
	const struct wr_config *cfg = &run->cli->dp.config;
	const struct flow_side *to = &run->flow.to;
	uint32_t mark = run->trace.mark;
	char marks[96];

	snprintf(marks, sizeof(marks), "0x%08x:%s%s%s", mark, mark & cfg->mark_pod ? " from a pod" : "",
		 mark & cfg->mark_masquerade ? ", to be masqueraded" : "",
		 mark & cfg->mark_host_only ? ", not further than this host" : "");
	step(run, "forwarding", OUT_GREEN, "to the host's stack, with mark %s", marks);
	if (to->kind == FLOW_SIDE_HOST)
		step(run, "stack", OUT_PLAIN, "its input chain, then a socket of this host");
	else if (mark & cfg->mark_host_only)
		step(run, "stack", OUT_YELLOW, "its forward chain drops it");
	else if (to->kind == FLOW_SIDE_POD)
		step(run, "stack", OUT_PLAIN,
		     "reverses its own NAT; to_pod of the pod behind it evaluates the result");
	else
		step(run, "stack", OUT_PLAIN, "its routes and its forward chain%s",
		     mark & cfg->mark_masquerade ? "; it leaves with the node's address as source" : "");
}

/* Through an uplink to another node. */
static void step_node(struct trace_run *run)
{
	const struct remote_node *node = remotes_by_slot(&run->endpoints.remotes, run->trace.peer_ifindex & ~WR_REMOTE);
	char label[NODE_LABEL_MAX], from[IP_STRLEN], to[IP_STRLEN], number[NUMBER_STRLEN], uplink[IF_NAMESIZE],
	    mac[MAC_STRLEN];
	const char *device;
	struct nexthop nexthop;

	if (!node) {
		step(run, "forwarding", OUT_GREEN, "%s", reason_text(run->trace.reason));
		return;
	}
	node_label(node, label);
	device = if_indextoname(run->trace.redirect, uplink) ?: "(gone)";
	if (node->dp.direct && run->carried != WR_ID_WORLD) /* the world's packets are always encapsulated */
		step(run, "forwarding", OUT_GREEN, "to %s: without a tunnel, by uplink %s", label, device);
	else
		step(run, "forwarding", OUT_GREEN,
		     "to %s: encapsulated, Geneve VNI %u from %s to %s by uplink %s, identity %s%s", label,
		     run->endpoints.remotes.cluster.vni, ip_format(&node->dp.local, from),
		     ip_format(&node->dp.remote, to), device, identity_name(run->carried, number),
		     node->dp.keyed ? ", keyed" : "");
	if (nexthop_find(&run->endpoints.nl, &node->dp.remote, &nexthop, NULL) < 0)
		step(run, "next hop", OUT_YELLOW, "no route to it now: the uplink is the last one that was found");
	else if (nexthop.resolved)
		step(run, "next hop", OUT_PLAIN, "%s, which is %s%s", mac_format(nexthop.dmac, mac),
		     nexthop.gateway ? "gateway " : "", ip_format(&nexthop.next, to));
	else
		step(run, "next hop", OUT_YELLOW, "%s%s is not resolved yet: the packet would make the kernel resolve it",
		     nexthop.gateway ? "gateway " : "", ip_format(&nexthop.next, to));
}

static void step_forwarding(struct trace_run *run)
{
	const struct wr_trace *t = &run->trace;
	char label[POD_LABEL_MAX];

	if (reason_drops(t->reason))
		step(run, "forwarding", OUT_RED, "dropped: %s", reason_text(t->reason));
	else if (t->reason == WR_REASON_TO_ENDPOINT)
		step(run, "forwarding", OUT_GREEN, "redirected into the pod of endpoint %u %s", t->redirect,
		     endpoint_label(&run->endpoints, t->redirect, label));
	else if (t->reason == WR_REASON_TO_NODE)
		step_node(run);
	else if (t->reason == WR_REASON_TO_HOST)
		step(run, "forwarding", OUT_GREEN, "decapsulated, to this host's own stack by %s%s",
		     WARREN_GATEWAY_LINK,
		     run->flow.to.kind == FLOW_SIDE_WORLD ? ", which has forwarded the request" : "");
	else if (t->reason == WR_REASON_NONE && trace_runs(run, WARREN_PROG_FROM_UPLINK))
		step(run, "forwarding", OUT_GREEN, "not evaluated: passed to the host's stack unchanged");
	else if (trace_runs(run, WARREN_PROG_FROM_POD) &&
		 (t->reason == WR_REASON_TO_STACK || t->reason == WR_REASON_HOP_LIMIT))
		step_stack(run);
	else
		step(run, "forwarding", OUT_GREEN, "%s", reason_text(t->reason) ?: "passed");
}

/* Table "steps", in the order of the packet's path. */
static void out_trace_steps(struct trace_run *run)
{
	const struct wr_trace *t = &run->trace;

	out_table(run->cli->out, "steps", NULL);
	if (run->sender)
		step_tunnel(run);
	else if (trace_runs(run, WARREN_PROG_FROM_UPLINK))
		step(run, "uplink", OUT_PLAIN, "%s, from a client outside the cluster", run->link.name);
	step_endpoint(run);
	if (t->steps & WR_TRACE_PARSED) {
		step_service(run);
		step_peer(run);
		step_conntrack(run);
		step_verdict(run, WR_EGRESS);
		step_verdict(run, WR_INGRESS);
		step_reverse_nat(run);
	}
	step_forwarding(run);
	out_end(run->cli->out);
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
	if (run->link.name[0] || trace_runs(run, WARREN_PROG_FROM_HOST))
		out_fieldf(o, "program", json_string(run->program), OUT_PLAIN, "%s of %s", run->program,
			   run->link.name[0] ? run->link.name : WARREN_GATEWAY_LINK);
	else
		out_fieldf(o, "program", json_string(run->program), OUT_PLAIN, "%s of endpoint %u", run->program,
			   run->device);
	out_json(o, "device", json_integer(run->device));
	out_json(o, "tc_verdict", json_integer(run->tc_verdict));
	out_word(o, "verdict", drops ? "drop" : "pass", drops ? OUT_RED : OUT_GREEN);
	out_string(o, "reason", name);
	out_trace_steps(run);
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		out_json(o, i == WR_EGRESS ? "egress_explanation" : "ingress_explanation",
			 run->explanations[i] ? json_incref(run->explanations[i]) : json_null());
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

/* Whether it is a client's packet from outside the cluster, to this node or to a service that clients outside use. */
static bool is_from_outside(const struct trace_run *run)
{
	const struct flow *flow = &run->flow;
	const struct dp_service service = { .ip = flow->to.ip[flow->family],
					    .port = flow->port,
					    .protocol = flow->protocol,
					    .external = true };
	_cleanup_free_ struct dp_backend *backends = NULL;
	size_t count;

	return flow->from.kind == FLOW_SIDE_WORLD &&
	       (flow->to.kind == FLOW_SIDE_HOST || dp_service_backends(&service, &backends, &count, NULL) == 0);
}

static int enter_from_outside(struct trace_run *run)
{
	const struct ip *client = &run->flow.from.ip[run->flow.family];
	struct cli *cli = run->cli;
	char text[IP_STRLEN];

	if (nexthop_find(&run->endpoints.nl, client, &run->nexthop, &cli->err) < 0)
		return err_wrap(&cli->err, "cannot find the device on which packets of %s arrive", ip_format(client, text));
	run->program = WARREN_PROG_FROM_UPLINK;
	run->device = run->entered = run->nexthop.ifindex;
	run->carried = WR_ID_WORLD;
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
	} else if (is_from_outside(run)) {
		return enter_from_outside(run);
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
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		json_decref(run.explanations[i]);
	endpoints_free(&run.endpoints);
	return r;
}
