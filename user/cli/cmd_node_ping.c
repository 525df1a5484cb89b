/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warren node ping: from this node's gateway address to those of others, which are the first of their pod CIDRs. So both
 * ways lead where those of pods' packets do: warren0, the tunnel, the other node's stack, and back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "ping.h"
#include "remotes.h"

#define COUNT 5
#define INTERVAL_MS 200
#define TIMEOUT_MS 1000

struct pings {
	struct ping ping;
	const struct remote_node **nodes; /* of each target */
};

static void pings_free(struct pings *p)
{
	free(p->ping.targets);
	free(p->nodes);
}

/* --- whom --- */

/* Its gateway addresses of the families that are asked for, as far as this node has one to send from. */
static void add_node(struct cli *cli, struct pings *p, const struct remote_node *node)
{
	for (int i = 0; i < 2; i++) {
		const struct ip to = cidr_gateway(&node->dp.cidrs[i]);

		if (!to.family || !p->ping.source[i].family || (cli->options.family >= 0 && cli->options.family != (i ? 6 : 4)))
			continue;
		p->nodes[p->ping.target_count] = node;
		p->ping.targets[p->ping.target_count++] = (struct ping_target){ .to = to };
	}
}

static int add_named(struct cli *cli, struct pings *p, const struct remotes *remotes, const char *name)
{
	const struct remote_node *node = remotes_by_text(remotes, name);

	if (!node)
		return node_unknown(cli, remotes, name);
	if (node->own)
		return cli_usage_error(cli, "%s is this node", name);
	add_node(cli, p, node);
	return 0;
}

static int choose(struct cli *cli, struct pings *p, const struct remotes *remotes)
{
	const struct remote_node *own = remotes_own(remotes);
	const size_t most = 2 * (remotes->node_count + cli->many_count + 1);
	int r = 0;

	if (!own)
		return err_set(&cli->err, ENONET, "this node is in no cluster");
	for (int i = 0; i < 2; i++)
		p->ping.source[i] = cidr_gateway(&own->dp.cidrs[i]);
	p->nodes = calloc(most, sizeof(*p->nodes));
	p->ping.targets = calloc(most, sizeof(*p->ping.targets));
	if (!p->nodes || !p->ping.targets)
		return err_errno(&cli->err, ENOMEM, "cannot ping so many nodes");
	for (size_t i = 0; !cli->many_count && i < remotes->node_count; i++) {
		if (!remotes->nodes[i].own)
			add_node(cli, p, &remotes->nodes[i]);
	}
	for (size_t i = 0; i < cli->many_count && r == 0; i++)
		r = add_named(cli, p, remotes, cli->many[i]);
	return r;
}

/* --- what came of it --- */

static uint64_t came(const struct remotes *after, const struct remote_node *before, enum wr_direction direction)
{
	const struct remote_node *node = remotes_by_slot(after, before->slot);

	return node ? node->totals[direction].packets - before->totals[direction].packets : 0;
}

/* How far it went, as far as the counters tell; they count everybody's packets. */
static const char *explain(const struct ping_target *t, const struct remote_node *node, const struct remotes *after,
			   char *buf, size_t size)
{
	if (t->received == t->sent)
		return NULL;
	if (t->received)
		snprintf(buf, size, "%u lost", t->sent - t->received);
	else if (!node->slot)
		snprintf(buf, size, "not in the maps%s%s", node->problem ? ": " : "", node->problem ?: "");
	else if (t->error)
		snprintf(buf, size, "refused: %s", strerror(t->error));
	else if (!node->dp.direct && !came(after, node, WR_EGRESS))
		snprintf(buf, size, "no answer: nothing leaves for it");
	else if (!node->dp.resolved)
		snprintf(buf, size, "no answer: its next hop is unresolved");
	else if (!node->dp.direct && !came(after, node, WR_INGRESS))
		snprintf(buf, size, "no answer: packets leave for it, none comes from it");
	else
		snprintf(buf, size, "no answer");
	return buf;
}

static void out_ms(struct out *o, const char *key, const struct ping_target *t, uint64_t ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%.3f ms", (double)ns / (double)NS_PER_MS);
	out_field(o, key, t->received ? json_real((double)ns / (double)NS_PER_MS) : json_null(), t->received ? text : "",
		  OUT_PLAIN);
}

static void describe(struct out *o, const struct ping_target *t, const struct remote_node *node, const struct remotes *after)
{
	char label[NODE_LABEL_MAX], address[IP_STRLEN], text[256];
	const char *why = explain(t, node, after, text, sizeof(text));

	node_label(node, label);
	out_record(o, NULL);
	out_field(o, "node", node->name ? json_string(node->name) : json_null(), label + strlen("node "), OUT_PLAIN);
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
	_cleanup_remotes_ struct remotes before = { 0 }, after = { 0 };
	_cleanup_(pings_free) struct pings p = { 0 };
	int r;

	p.ping.count = cli->options.count >= 0 ? (uint32_t)cli->options.count : COUNT;
	p.ping.interval_ns = (uint64_t)(cli->options.interval >= 0 ? cli->options.interval : INTERVAL_MS) * NS_PER_MS;
	p.ping.timeout_ns = (uint64_t)(cli->options.timeout >= 0 ? cli->options.timeout : TIMEOUT_MS) * NS_PER_MS;
	r = cli_open(cli);
	if (r == 0)
		r = remotes_load(&before, false, &cli->err);
	if (r == 0)
		r = choose(cli, &p, &before);
	if (r == 0)
		r = ping_run(&p.ping, &cli->err);
	if (r == 0)
		r = remotes_load(&after, false, &cli->err);
	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no other nodes");
	for (size_t i = 0; i < p.ping.target_count; i++) {
		describe(cli->out, &p.ping.targets[i], p.nodes[i], &after);
		if (!p.ping.targets[i].received)
			cli->exit = CLI_FAILED;
	}
	out_end(cli->out);
	return 0;
}
