/* SPDX-License-Identifier: BSD-2-Clause */
/* warren ct list, get, flush, stats. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "enum_names.h"
#include "flows.h"
#include "packet.h"
#include "peers.h"

/* --- one flow --- */

struct shown {
	struct cli *cli;
	struct endpoints endpoints;
	struct service_rows services; /* loaded with the first flow to a service */
	bool services_loaded;
	const struct flow *filter; /* of `get` */
	size_t count;
};

static void out_side(struct shown *s, const char *key, const struct ip *ip, uint16_t port, uint32_t id)
{
	char socket[SOCKET_STRLEN], label[REMOTE_LABEL_MAX], address[IP_STRLEN];
	json_t *json = json_pack("{sssI}", "address", ip_format(ip, address), "port", (json_int_t)port);

	side_label(&s->endpoints, id, ip, label);
	side_json(&s->endpoints, id, ip, json);
	out_fieldf(s->cli->out, key, json, OUT_PLAIN, "%s%s%s", port ? socket_format(ip, port, socket) : address,
		   *label ? " " : "", label);
}

static void out_flow_state(struct out *o, const struct dp_flow *f)
{
	const enum dp_flow_state state = dp_flow_state(f);

	out_word(o, "state", dp_flow_state_name(state),
		 state == DP_FLOW_DENIED ? OUT_RED : state == DP_FLOW_REPLIED ? OUT_GREEN : OUT_PLAIN);
}

/* The rule by which an enforcement point allows the flow, or why it denies it; "-" if that side is no local pod. */
static void out_point(struct out *o, const struct dp_flow *f, uint32_t direction)
{
	const struct wr_policy_verdict *at = &f->ct.at[direction];
	bool denied = dp_ct_is_denied(&f->ct, direction);
	char text[RULE_STRLEN], number[NUMBER_STRLEN];
	const char *because = dp_flow_is_evaluated(f, direction) ? rule_text(at->rule, 0, text) : NULL;

	out_field(o, direction_name(direction),
		  json_pack("{ss?sbsIsIss}", "because", because, "denied", denied, "rule", (json_int_t)at->rule,
			    "revision", (json_int_t)at->revision, "peer_identity", identity_name(at->peer, number)),
		  because ?: "-", denied ? OUT_RED : OUT_PLAIN);
}

static void out_life(struct out *o, const struct dp_flow *f)
{
	out_fieldf(o, "expires", json_integer(f->expires_in_ms), OUT_PLAIN, f->dead ? "-" : "%u s",
		   (f->expires_in_ms + 999) / 1000);
}

/*
 * The service frontend that the initiator sends to: address, port and name ("hostPort": that of the responder), and the
 * initiator's own port, if that is remapped; "-": it sends to the responder itself.
 */
static int out_service(struct shown *s, const struct dp_flow *f)
{
	char socket[SOCKET_STRLEN], buf[SERVICE_NAME_MAX], from[32] = "";
	const char *name;

	if (f->service.family == AF_UNSPEC) {
		out_field(s->cli->out, "service", json_null(), "-", OUT_PLAIN);
		return 0;
	}
	if (!s->services_loaded && service_rows_load(s->cli, &s->services) < 0)
		return -s->cli->err.num;
	s->services_loaded = true;
	name = service_rows_name(&s->services, f, buf);
	if (f->client_port)
		snprintf(from, sizeof(from), " from port %u", f->client_port);
	out_fieldf(s->cli->out, "service", service_json(f, name), OUT_PLAIN, "%s%s%s%s",
		   socket_format(&f->service, f->service_port, socket), name ? " " : "", name ?: "", from);
	return 0;
}

static void shown_free(struct shown *s)
{
	endpoints_free(&s->endpoints);
	service_rows_free(&s->services);
}

static int describe(const struct dp_flow *f, void *arg)
{
	const char *protocol = l4_proto_name(f->protocol);
	struct shown *s = arg;
	struct out *o = s->cli->out;
	char number[8];
	int r;

	snprintf(number, sizeof(number), "%u", f->protocol);
	out_record(o, NULL);
	out_string(o, "protocol", protocol ?: number);
	out_side(s, "from", &f->ip[0], f->port[0], f->ct.initiator);
	out_side(s, "to", &f->ip[1], f->port[1], f->ct.responder);
	r = out_service(s, f);
	out_flow_state(o, f);
	out_life(o, f);
	out_string(o, "table", f->in_table ? "ct" : "ct_new");
	out_json(o, "flags", flags_json(ct_flags, f->ct.flags));
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		out_point(o, f, i);
	out_end(o);
	s->count++;
	return r;
}

/* --- list --- */

static bool is_of_endpoint(const struct cli *cli, const struct dp_flow *f)
{
	return cli->options.endpoint < 0 || cli->options.endpoint == f->ct.initiator ||
	       cli->options.endpoint == f->ct.responder;
}

static int list_flow(const struct dp_flow *f, void *arg)
{
	struct shown *s = arg;

	return is_of_endpoint(s->cli, f) ? describe(f, s) : 0;
}

int cmd_ct_list(struct cli *cli)
{
	struct shown s = { .cli = cli };
	int r = endpoints_list_all(cli, &s.endpoints);

	out_table(cli->out, NULL, "no flows");
	if (r == 0)
		r = dp_flows_each(cli->options.dead, list_flow, &s, &cli->err);
	out_end(cli->out);
	shown_free(&s);
	return r;
}

/* --- get --- */

static bool is_side(const struct flow_side *side, const struct ip *ip)
{
	return ip_equal(&side->ip[ip->family == AF_INET6], ip);
}

/* Flows of both families match, so `icmp` stands for ICMP and ICMPv6. */
static bool is_protocol(const struct flow *filter, uint8_t protocol)
{
	bool icmp = filter->protocol == IPPROTO_ICMP || filter->protocol == IPPROTO_ICMPV6;

	return filter->any || filter->protocol == protocol ||
	       (icmp && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6));
}

static int get_flow(const struct dp_flow *f, void *arg)
{
	struct shown *s = arg;

	if (is_side(&s->filter->from, &f->ip[0]) && is_side(&s->filter->to, &f->ip[1]) &&
	    is_protocol(s->filter, f->protocol) && (s->filter->any || s->filter->port == f->port[1]))
		return describe(f, s);
	return 0;
}

int cmd_ct_get(struct cli *cli)
{
	struct shown s = { .cli = cli };
	struct flow filter;
	int r = endpoints_list_all(cli, &s.endpoints);

	if (r == 0)
		r = flow_parse(cli, &s.endpoints, &filter);
	s.filter = &filter;
	out_list(cli->out, NULL, NULL);
	if (r == 0)
		r = dp_flows_each(true, get_flow, &s, &cli->err);
	out_end(cli->out);
	shown_free(&s);
	if (r == 0 && !s.count) {
		err_set(&cli->err, ENOENT, "there is no flow from %s to %s", cli->args[0], cli->args[1]);
		r = err_hint(&cli->err, "name the initiator of the flow first; `warren ct list` lists all flows");
	}
	return r;
}

/* --- flush --- */

struct flush {
	struct cli *cli;
	uint64_t ended;
};

static int end_flow(const struct dp_flow *f, void *arg)
{
	struct flush *flush = arg;
	int r;

	if (!is_of_endpoint(flush->cli, f))
		return 0;
	r = dp_flow_end(f, &flush->cli->err);
	flush->ended += r == 0;
	return r == -ENOENT ? 0 : r;
}

int cmd_ct_flush(struct cli *cli)
{
	struct flush flush = { .cli = cli };
	int r = cli_open(cli);

	if (r == 0)
		r = dp_flows_each(false, end_flow, &flush, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_uint(cli->out, "flows_ended", flush.ended);
	out_end(cli->out);
	return 0;
}

/* --- stats --- */

static void describe_table(struct out *o, const char *name, uint64_t entries, uint64_t capacity, const char *what)
{
	out_record(o, NULL);
	out_string(o, "table", name);
	out_uint(o, "entries", entries);
	out_uint(o, "room", capacity);
	out_string(o, "what", what);
	out_end(o);
}

static void describe_stats(struct out *o, const struct dp_flow_stats *stats)
{
	static const struct {
		const char *name, *what;
	} tables[4] = {
		{ "ct4", "IPv4: established, or moved out of a full window" },
		{ "ct6", "IPv6: established, or moved out of a full window" },
		{ "ct_new4", "IPv4: new, unreplied, denied or closed" },
		{ "ct_new6", "IPv6: new, unreplied, denied or closed" },
	};

	out_record(o, NULL);
	out_table(o, "tables", NULL);
	for (int i = 0; i < 4; i++)
		describe_table(o, tables[i].name, stats->entries[i], stats->capacity[i], tables[i].what);
	out_end(o);
	out_table(o, "flows", NULL);
	for (uint32_t i = 0; i < WR_CT_STATS; i++) {
		out_record(o, NULL);
		out_string(o, "counter", ct_stat_name(i));
		out_uint(o, "flows", stats->counters[i]);
		out_string(o, "meaning", ct_stat_text(i));
		out_end(o);
	}
	out_end(o);
	out_uint(o, "quota_of_one_endpoint", stats->quota);
	out_uint(o, "gc_runs", stats->ct_gc.runs);
	out_uint(o, "gc_removed", stats->ct_gc.removed);
	out_end(o);
}

int cmd_ct_stats(struct cli *cli)
{
	struct dp_flow_stats stats;
	int r = cli_open(cli);

	if (r == 0)
		r = dp_flow_stats(&stats, &cli->err);
	if (r == 0)
		describe_stats(cli->out, &stats);
	return r;
}
