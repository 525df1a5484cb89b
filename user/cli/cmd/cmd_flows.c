/* SPDX-License-Identifier: BSD-2-Clause */
/* warren flows list, top: the flows of conntrack, counted by workload. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "enum_names.h"
#include "explanation.h"
#include "flow_table.h"
#include "live.h"
#include "packet.h"
#include "peers.h"

#define TOP_COUNT 10
#define INTERVAL 2 /* seconds */

/* With --follow the agent is asked for names this often, and for a pod without a name at most that often. */
#define NAMES_NS (30 * NS_PER_S)
#define UNKNOWN_NS (10 * NS_PER_S)

/* The policies that isolate a class in a direction: the agent is asked at most this many times for one output. */
#define ISOLATIONS_MAX 64
struct isolation {
	uint32_t policy_class, direction;
	char *text; /* NULL: unknown */
};

struct flows {
	struct cli *cli;
	struct flow_filter filter;
	struct flow_names names;
	uint64_t names_read, unknown_read; /* CLOCK_MONOTONIC */
	struct flow_table table;
	bool unknown; /* in `table` */
	struct isolation isolations[ISOLATIONS_MAX];
	size_t isolation_count;
	bool no_agent; /* it did not answer */
};

/* --- one reading of conntrack --- */

static int add_flow(const struct dp_flow *f, void *arg)
{
	struct flow_ends *e = arg;
	uint32_t ends[2];

	return flow_ends_find(e, f, ends) < 0 || flow_table_add(e->table, f, ends) < 0 ? -ENOMEM : 0;
}

static int read_once(struct flows *c, struct flow_ends *ends)
{
	int r;

	flow_table_free(&c->table);
	r = flow_table_init(&c->table, &c->filter, c->cli->options.addresses);
	flow_ends_begin(ends, &c->names, &c->table);
	if (r == 0)
		r = dp_flows_each(false, add_flow, ends, &c->cli->err);
	flow_ends_free(ends);
	return r == -ENOMEM ? err_errno(&c->cli->err, ENOMEM, "cannot count the flows") : r;
}

static int read_table(struct flows *c, enum flow_order order)
{
	struct flow_ends ends;
	int r = read_once(c, &ends);

	/* A pod that is not in the list of endpoints was deleted, or added since that was read. */
	if (r == 0 && ends.gone) {
		r = flow_names_load_local(c->cli, &c->names);
		if (r == 0)
			r = read_once(c, &ends);
	}
	c->unknown = ends.unknown;
	if (r == 0)
		flow_table_sort(&c->table, order);
	return r;
}

/* --- why a row is denied --- */

static void isolations_free(struct flows *c)
{
	for (size_t i = 0; i < c->isolation_count; i++)
		free(c->isolations[i].text);
	c->isolation_count = 0;
}

static const char *find_isolation(struct flows *c, const struct denial *d)
{
	json_auto_t *explanation = NULL;
	struct isolation *added;
	struct err why;

	for (size_t i = 0; i < c->isolation_count; i++) {
		if (c->isolations[i].policy_class == d->policy_class && c->isolations[i].direction == d->direction)
			return c->isolations[i].text;
	}
	if (c->isolation_count == ISOLATIONS_MAX || c->no_agent)
		return NULL;
	explanation = denial_explain(d, &why);
	c->no_agent = !explanation && why.num != ENOENT;
	added = &c->isolations[c->isolation_count++];
	*added = (struct isolation){ d->policy_class, d->direction, explanation ? denial_policies(explanation) : NULL };
	return added->text;
}

/*
 * "isolated by shop/default-deny"; NULL: unknown. Of a verdict that the endpoint's next packet renews nothing is said.
 */
static const char *isolation_of(struct flows *c, const struct dp_flow *f, uint32_t direction)
{
	const uint32_t id = direction == WR_EGRESS ? f->ct.initiator : f->ct.responder;
	const struct wr_policy_verdict *at = &f->ct.at[direction];
	const struct endpoint *endpoint = endpoints_find(&c->names.endpoints, id);
	struct denial d = { .direction = direction,
			    .rule = at->rule,
			    .endpoint = id,
			    .peer_identity = at->peer,
			    .protocol = f->protocol,
			    .port = f->port[1] };

	if (!endpoint || endpoint->ep.revision != at->revision || at->rule == WR_RULE_QUARANTINE)
		return NULL;
	d.policy_class = endpoint->ep.policy_class;
	d.peer_ips[0] = f->ip[direction == WR_EGRESS];
	return find_isolation(c, &d);
}

/* --- rows --- */

static void out_end_of_flow(struct flows *c, const char *key, const struct flow_row *row, int side)
{
	const struct flow_end *end = flow_table_at(&c->table, row->key.end[side]);
	const struct ip *address = &row->key.address[side];
	char text[FLOW_END_STRLEN], ip[IP_STRLEN], extra[48] = "", number[NUMBER_STRLEN];
	json_t *json = json_pack("{sssosossso}", "kind", flow_end_kind_name(end), "namespace",
				 *end->namespace ? json_string(end->namespace) : json_null(), "name",
				 *end->name ? json_string(end->name) : json_null(), "identity",
				 end->identity ? identity_name(end->identity, number) : "", "address",
				 address->family ? json_string(ip_format(address, ip)) : json_null());

	if (!end->identity)
		json_object_del(json, "identity");
	if (end->kind == FLOW_END_WORLD) {
		json_object_set_new(json, "addresses", json_integer(row->addresses[side]));
		json_object_set_new(json, "more_addresses", json_boolean(row->more_addresses[side]));
	}
	if (address->family)
		snprintf(extra, sizeof(extra), " %s", ip_format(address, ip));
	else if (end->kind == FLOW_END_WORLD)
		snprintf(extra, sizeof(extra), " (%s%u address%s)", row->more_addresses[side] ? "over " : "",
			 row->addresses[side], row->addresses[side] == 1 ? "" : "es");
	out_fieldf(c->cli->out, key, json, OUT_PLAIN, "%s%s", flow_end_format(end, text), extra);
}

static void out_port(struct out *o, const struct flow_row_key *key)
{
	const char *name = key->merged ? NULL : l4_proto_name(key->protocol);
	char number[8];

	snprintf(number, sizeof(number), "%u", key->protocol);
	out_json(o, "protocol", key->merged ? json_null() : json_string(name ?: number));
	if (key->port)
		out_fieldf(o, "port", json_integer(key->port), OUT_PLAIN, "%u/%s", key->port, name ?: number);
	else
		out_field(o, "port", json_null(), key->merged ? "-" : name ?: number, OUT_PLAIN);
}

static void out_service(struct flows *c, const struct flow_row *row)
{
	const struct flow_row_key *key = &row->key;
	char socket[SOCKET_STRLEN], buf[SERVICE_NAME_MAX];
	const char *name;
	json_t *json;

	if (!key->service.family) {
		out_field(c->cli->out, "service", json_null(), "-", OUT_PLAIN);
		return;
	}
	name = service_rows_name(&c->names.services, &row->last, buf);
	json = service_json(&row->last, name);
	json_object_del(json, "client_port"); /* that of a single flow */
	out_fieldf(c->cli->out, "service", json, OUT_PLAIN, "%s%s%s",
		   socket_format(&key->service, key->service_port, socket), name ? " " : "", name ?: "");
}

/* The rule by which an enforcement point allows the flows, or why it denies them; "-" if it evaluates none of them. */
static void out_point(struct flows *c, const struct flow_row *row, uint32_t direction)
{
	const bool evaluated = row->key.evaluated >> direction & 1;
	const bool denied = evaluated && row->key.denied >> direction & 1;
	char text[RULE_STRLEN];
	const char *because = NULL;

	if (denied)
		because = isolation_of(c, &row->last, direction);
	if (evaluated && !because)
		because = rule_text(row->key.rule[direction], 0, text);
	out_field(c->cli->out, direction_name(direction),
		  evaluated ? json_pack("{sssbsI}", "because", because, "denied", denied, "rule",
					(json_int_t)row->key.rule[direction])
			    : json_null(),
		  because ?: "-", denied ? OUT_RED : OUT_PLAIN);
}

static void out_fields(struct flows *c, const struct flow_row *row)
{
	const struct flow_row_key *key = &row->key;
	struct out *o = c->cli->out;

	out_end_of_flow(c, "from", row, 0);
	out_end_of_flow(c, "to", row, 1);
	out_port(o, key);
	out_service(c, row);
	out_uint(o, "flows", row->flows);
	out_uint(o, "new", row->unreplied);
	out_uint(o, "replied", row->replied);
	out_uint(o, "closing", row->closing);
	out_fieldf(o, "idle", json_integer(row->idle_ms), OUT_PLAIN, "%u s", row->idle_ms / 1000);
	out_word(o, "verdict", key->denied ? "denied" : "allowed", key->denied ? OUT_RED : OUT_GREEN);
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		out_point(c, row, i);
	out_json(o, "merged", json_boolean(key->merged));
}

/* --- list, top --- */

static int begin(struct cli *cli, struct flows *c)
{
	const char *verdict = cli->options.verdict;

	*c = (struct flows){
		.cli = cli,
		.filter = { .from = cli->options.from, .to = cli->options.to, .namespace = cli->options.namespace }
	};
	if (verdict && strcmp(verdict, "allowed") == 0)
		c->filter.verdict = FLOW_ALLOWED;
	else if (verdict && strcmp(verdict, "denied") == 0)
		c->filter.verdict = FLOW_DENIED;
	else if (verdict)
		return cli_usage_error(cli, "--verdict requires allowed or denied, not '%s'", verdict);
	if (cli->options.interval >= 0 && !cli->options.follow)
		return cli_usage_error(cli, "--interval requires --follow");
	c->names_read = clock_ns(CLOCK_MONOTONIC);
	return flow_names_load(cli, &c->names);
}

static void end(struct flows *c)
{
	isolations_free(c);
	flow_table_free(&c->table);
	flow_names_free(&c->names);
}

static void out_notes(const struct flows *c)
{
	if (c->table.merged)
		out_note(c->cli->out,
			 "\n%" PRIu64 " of %" PRIu64
			 " flows are in rows with 'others': a workload has %u rows to itself, and all"
			 " share %u more. --from, --to and --namespace show fewer flows in full.",
			 c->table.merged, c->table.flows, FLOW_ROWS_OF_OWNER, FLOW_ROWS_MAX);
	if (!c->names.answer)
		out_note(c->cli->out, "\n%s: without labels each pod is shown by itself.", c->names.why.msg);
}

static int show(struct cli *cli, enum flow_order order, size_t count)
{
	struct flows c;
	int r = begin(cli, &c);

	if (r == 0)
		r = read_table(&c, order);
	out_table(cli->out, NULL, "no flows");
	for (size_t i = 0; i < c.table.count && i < count && r == 0; i++) {
		out_record(cli->out, NULL);
		out_fields(&c, &c.table.rows[i]);
		out_end(cli->out);
	}
	out_end(cli->out);
	if (r == 0)
		out_notes(&c);
	end(&c);
	return r;
}

/* --- follow --- */

/* -EINTR: a signal came. */
static int print_row(const struct flow_row *row, bool changed, void *arg)
{
	struct flows *c = arg;
	struct out *o = c->cli->out;

	if (!live_writable())
		return -EINTR;
	out_record(o, NULL);
	out_time(o, clock_ns(CLOCK_BOOTTIME));
	out_field(o, "change", json_string(changed ? "verdict" : "new"), changed ? "verdict" : "new", OUT_PLAIN);
	out_fields(c, row);
	out_end(o);
	return out_flush_line(o, &c->cli->err);
}

/* Reads the flows with names that are not old, and with those of new pods. */
static int read_again(struct flows *c)
{
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);
	const bool old = now - c->names_read >= NAMES_NS;
	int r = old ? flow_names_load(c->cli, &c->names) : flow_names_load_local(c->cli, &c->names);

	if (old)
		c->names_read = now;
	if (r == 0)
		r = read_table(c, FLOW_BY_NAME);
	if (r < 0 || !c->unknown || old || (c->unknown_read && now - c->unknown_read < UNKNOWN_NS))
		return r;
	c->names_read = c->unknown_read = now;
	r = flow_names_load(c->cli, &c->names);
	return r < 0 ? r : read_table(c, FLOW_BY_NAME);
}

static int print_changes(struct flows *c)
{
	_cleanup_flow_table_ struct flow_table before = c->table;
	int r;

	c->table = (struct flow_table){ 0 };
	isolations_free(c);
	c->no_agent = false;
	r = read_again(c);
	if (r == 0 && c->table.merged && !before.merged)
		fprintf(stderr, "%" PRIu64 " of %" PRIu64 " flows are in rows with 'others': there are too many rows\n",
			c->table.merged, c->table.flows);
	return r < 0 ? r : flow_table_compare(&before, &c->table, print_row, c);
}

/* Waits at least as long as it has read: whatever the number of flows, it uses at most half of a processor. */
static int follow(struct flows *c)
{
	const uint64_t interval =
	    (uint64_t)(c->cli->options.interval >= 0 ? c->cli->options.interval : INTERVAL) * NS_PER_S;
	int r = read_table(c, FLOW_BY_NAME);
	uint64_t took = 0;

	if (r == 0)
		fprintf(stderr, "following ... Ctrl-C ends\n");
	while (r == 0) {
		const uint64_t wait = took > interval ? took : interval;
		uint64_t start;

		r = live_wait(-1, (int)(wait / NS_PER_MS), &c->cli->err);
		if (r < 0 || r == LIVE_END)
			break;
		start = clock_ns(CLOCK_MONOTONIC);
		r = print_changes(c);
		took = clock_ns(CLOCK_MONOTONIC) - start;
	}
	return r == -EINTR || r == LIVE_END ? 0 : r;
}

int cmd_flows_list(struct cli *cli)
{
	struct flows c;
	int r;

	if (!cli->options.follow)
		return show(cli, FLOW_BY_NAME, SIZE_MAX);
	r = begin(cli, &c);
	if (r == 0)
		r = live_begin(&cli->err);
	if (r == 0)
		r = follow(&c);
	live_end();
	end(&c);
	return r;
}

int cmd_flows_top(struct cli *cli)
{
	return show(cli, FLOW_BY_COUNT, cli->options.count >= 0 ? (size_t)cli->options.count : TOP_COUNT);
}
