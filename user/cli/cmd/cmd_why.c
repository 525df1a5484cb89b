/* SPDX-License-Identifier: BSD-2-Clause */
/* warren policy why: evaluates both policies of a flow against the pinned maps, as its first packet would be. */
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "enum_names.h"
#include "explanation.h"
#include "lookup.h"
#include "maps.h"
#include "packet.h"
#include "peers.h"

/* --- the pinned maps as tables --- */

/* policy_lookup() handles only -ENOENT: the first other error is kept here. */
struct maps {
	int failed;
	struct err err;
};

static int lookup(struct maps *maps, const char *map, const void *key, void *value)
{
	struct err err;
	int r = dp_map_lookup(map, key, value, &err);

	if (r < 0 && r != -ENOENT && !maps->failed) {
		maps->failed = r;
		maps->err = err;
	}
	return r < 0 ? -ENOENT : 0;
}

static int lookup_class(void *arg, uint32_t policy_class, struct wr_class_info *info)
{
	return lookup(arg, "classes", &policy_class, info);
}

static int lookup_identity(void *arg, uint64_t identity, uint64_t *peer)
{
	return lookup(arg, "identities", &identity, peer);
}

static int lookup_cidr(void *arg, uint32_t policy_class, uint32_t direction, const struct ip *ip, uint64_t *peer)
{
	struct wr_cidr4_key key4 = { WR_CIDR_CLASS_BITS + 32, wr_cidr_class(policy_class, direction) };
	struct wr_cidr6_key key6 = { WR_CIDR_CLASS_BITS + 128, wr_cidr_class(policy_class, direction) };

	memcpy(&key4.addr, ip->bytes, sizeof(key4.addr));
	memcpy(&key6.addr, ip->bytes, sizeof(key6.addr));
	return ip->family == AF_INET ? lookup(arg, "cidrs4", &key4, peer) : lookup(arg, "cidrs6", &key6, peer);
}

static int lookup_entry(void *arg, const struct wr_policy_key *key, uint32_t *rule)
{
	return lookup(arg, "policy", key, rule);
}

/* --- one policy verdict --- */

struct point {
	bool evaluated;
	struct wr_trace_verdict verdict;
	struct denial denial;
	json_t *explanation; /* of a denial, if the agent has one */
};

/* Evaluates the egress policy of flow->from or the ingress policy of flow->to, which must be a local pod. */
static void evaluate(struct maps *maps, const struct flow *flow, uint32_t direction, struct point *point)
{
	const struct lookup_tables tables = { lookup_class, lookup_identity, lookup_cidr, lookup_entry, maps };
	const struct flow_side *evaluated = direction == WR_EGRESS ? &flow->from : &flow->to;
	const struct flow_side *peer = direction == WR_EGRESS ? &flow->to : &flow->from;
	const struct wr_endpoint *ep = &evaluated->endpoint->ep;
	struct lookup_query query = { ep->policy_class,	      direction,      peer->identity,
				      peer->ip[flow->family], flow->protocol, flow->port };
	struct lookup_result result;

	point->evaluated = true;
	point->denial = (struct denial){ .direction = direction,
					 .policy_class = ep->policy_class,
					 .endpoint = evaluated->endpoint->id,
					 .peer_identity = peer->identity,
					 .peer_ips = { query.peer_ip },
					 .protocol = flow->protocol,
					 .port = flow->port };
	policy_lookup(&tables, &query, &result);
	/* A CIDR rule that contains a node's address matches the node, whichever address it sends from. */
	if (result.rule == WR_RULE_NONE && peer->kind == FLOW_SIDE_NODE) {
		query.peer_ip = point->denial.peer_ips[1] = peer->node->dp.remote;
		policy_lookup(&tables, &query, &result);
	}
	point->denial.rule = result.rule;
	point->verdict = (struct wr_trace_verdict){
		.peer_identity = query.peer_identity,
		.peer_class = result.peer_class,
		.cidr_peer = result.cidr_peer,
		.matched = result.rule >= WR_RULE_FIRST ? result.key.peer : WR_PEER_NONE,
		.policy_class = ep->policy_class,
		.revision = ep->revision,
		.rule = result.rule,
		.allowed = result.allowed,
		.port_bits = result.key.shape & 0x7f,
		.l4_proto = result.key.l4_proto,
	};
}

/* --- output --- */

/* "allowed" or "denied", in colour. */
static void out_verdict(struct out *o, bool allowed)
{
	out_word(o, "verdict", allowed ? "allowed" : "denied", allowed ? OUT_GREEN : OUT_RED);
}

/* The entry that matched. */
static void out_matched(struct out *o, const struct wr_trace_verdict *v)
{
	char peer[NUMBER_STRLEN];

	if (v->rule < WR_RULE_FIRST) {
		out_json(o, "matched", json_null());
		return;
	}
	out_json(o, "matched",
		  json_pack("{sssosI}", "peer", peer_name(v->matched, peer), "protocol",
			    v->l4_proto ? json_string(l4_proto_name(v->l4_proto)) : json_null(), "port_bits",
			    (json_int_t)v->port_bits));
}

/* Null if it was not looked up or not found. */
static void out_found(struct out *o, const char *key, const struct wr_trace_verdict *v, uint64_t peer)
{
	bool found = v->policy_class >= WR_CLASS_FIRST && peer != WR_PEER_NONE;
	char text[NUMBER_STRLEN];

	out_string(o, key, found ? peer_name(peer, text) : NULL);
}

static void out_details(struct out *o, const struct wr_trace_verdict *v)
{
	char identity[NUMBER_STRLEN];

	out_json(o, "revision", json_integer(v->revision));
	out_json(o, "peer_identity", json_string(identity_name(v->peer_identity, identity)));
	out_found(o, "peer_class", v, v->peer_class);
	out_found(o, "cidr_peer", v, v->cidr_peer);
	out_matched(o, v);
}

static void describe_point(struct out *o, const struct flow *flow, uint32_t direction,
			   const struct point *point)
{
	const struct wr_trace_verdict *v = &point->verdict;
	_cleanup_free_ char *because = denial_text(&point->denial, point->explanation);
	const struct flow_side *evaluated = direction == WR_EGRESS ? &flow->from : &flow->to;
	_cleanup_free_ char *isolated = denial_policies(point->explanation); /* the note has the rest */
	char number[NUMBER_STRLEN], rule[RULE_STRLEN];
	const char *fallback = rule_text(v->rule, v->policy_class, rule);

	out_record(o, NULL);
	out_string(o, "point", direction_name(direction));
	out_string(o, "pod", evaluated->label);
	out_verdict(o, v->allowed);
	out_field(o, "because", json_string(because ?: fallback), isolated ?: because ?: fallback, OUT_PLAIN);
	out_json(o, "rule", json_integer(v->rule));
	out_json(o, "explanation", point->explanation ? json_incref(point->explanation) : json_null());
	out_field(o, "class", json_integer(v->policy_class), class_name(v->policy_class, number), OUT_PLAIN);
	out_details(o, v);
	out_end(o);
}

/* --- the command --- */

static int check_sides(struct cli *cli, const struct flow *flow)
{
	if (flow->from.kind != FLOW_SIDE_POD && flow->to.kind != FLOW_SIDE_POD)
		return cli_usage_error(cli, "neither %s nor %s is a pod of this node: there is no policy to evaluate",
				       cli->args[0], cli->args[1]);
	return 0;
}

/* Why, in more words than a row has room for. */
static void explain(struct out *o, const struct flow *flow, const struct point points[WR_DIRECTIONS], const struct err *why)
{
	bool unexplained = false;

	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		if (points[i].explanation)
			out_denial(o, &points[i].denial, i == WR_EGRESS ? flow->from.label : flow->to.label,
				   points[i].explanation);
		else
			unexplained |= points[i].evaluated && rule_denies(points[i].denial.rule);
	}
	if (unexplained)
		out_note(o, "\n%s: the maps hold no names of the policies that isolate.", why->msg);
}

static bool allows(const struct point *point)
{
	return !point->evaluated || point->verdict.allowed;
}

static void describe(struct out *o, const struct remotes *remotes, const struct flow *flow,
		     const struct point points[WR_DIRECTIONS], const struct err *why)
{
	bool itself = flow->from.endpoint && flow->from.endpoint == flow->to.endpoint;
	char text[FLOW_STRLEN];

	out_record(o, NULL);
	out_verdict(o, itself || (allows(&points[WR_EGRESS]) && allows(&points[WR_INGRESS])));
	out_flow_side(o, "from", remotes, &flow->from, &flow->from.ip[flow->family]);
	out_flow_side(o, "to", remotes, &flow->to, &flow->to.ip[flow->family]);
	out_string(o, "flow", flow_format(flow, text));
	out_json(o, "protocol", json_integer(flow->protocol));
	out_json(o, "port", json_integer(flow->port));
	out_table(o, "evaluated", "nothing: a pod reaches its own address without leaving its namespace");
	for (uint32_t i = 0; i < WR_DIRECTIONS && !itself; i++) {
		if (points[i].evaluated)
			describe_point(o, flow, i, &points[i]);
	}
	out_end(o);
	out_end(o);
	if (!itself)
		explain(o, flow, points, why);
	if (flow->any)
		out_note(o, "\nNo PORT/PROTO was given: %s was evaluated.", text);
	out_guess(o, &flow->from);
	out_guess(o, &flow->to);
}

int cmd_policy_why(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	struct point points[WR_DIRECTIONS] = { 0 };
	struct maps maps = { 0 };
	struct flow flow = { 0 };
	struct err why = { 0 };
	int r = endpoints_list_all(cli, &e);

	if (r == 0)
		r = flow_parse(cli, &e, &flow);
	if (r == 0)
		r = check_sides(cli, &flow);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		if (i == WR_EGRESS ? flow.from.endpoint : flow.to.endpoint)
			evaluate(&maps, &flow, i, &points[i]);
	}
	if (maps.failed) {
		cli->err = maps.err;
		return maps.failed;
	}
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		if (points[i].evaluated && rule_denies(points[i].denial.rule))
			points[i].explanation = denial_explain(&points[i].denial, &why);
	}
	describe(cli->out, &e.remotes, &flow, points, &why);
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		json_decref(points[i].explanation);
	return 0;
}
