/* SPDX-License-Identifier: BSD-2-Clause */
#include "ping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void node_pings_free(struct node_pings *p)
{
	free(p->ping.targets);
	free(p->nodes);
	remotes_free(&p->before);
	remotes_free(&p->after);
}

/* --- targets --- */

/* Adds the node's gateway addresses in the requested families in which this node has a source address. */
static void add_node(struct cli *cli, struct node_pings *p, const struct remote_node *node)
{
	for (int i = 0; i < 2; i++) {
		const struct ip to = cidr_gateway(&node->dp.cidrs[i]);

		if (!to.family || !p->ping.source[i].family ||
		    (cli->options.family >= 0 && cli->options.family != (i ? 6 : 4)))
			continue;
		p->nodes[p->ping.target_count] = node;
		p->ping.targets[p->ping.target_count++] = (struct ping_target){ .to = to };
	}
}

static int add_named(struct cli *cli, struct node_pings *p, const char *name)
{
	const struct remote_node *node = remotes_by_text(&p->before, name);

	if (!node)
		return node_unknown(cli, &p->before, name);
	if (node->own)
		return cli_usage_error(cli, "%s is this node", name);
	add_node(cli, p, node);
	return 0;
}

static int choose(struct cli *cli, struct node_pings *p)
{
	const struct remotes *remotes = &p->before;
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
		return err_errno(&cli->err, ENOMEM, "cannot allocate %zu ping targets", most);
	for (size_t i = 0; !cli->many_count && i < remotes->node_count; i++) {
		if (!remotes->nodes[i].own)
			add_node(cli, p, &remotes->nodes[i]);
	}
	for (size_t i = 0; i < cli->many_count && r == 0; i++)
		r = add_named(cli, p, cli->many[i]);
	return r;
}

int node_pings_run(struct cli *cli, struct node_pings *p)
{
	int r = cli_open(cli);

	if (r == 0)
		r = remotes_load(&p->before, false, &cli->err);
	if (r == 0)
		r = choose(cli, p);
	if (r == 0)
		r = ping_run(&p->ping, &cli->err);
	if (r == 0)
		r = remotes_load(&p->after, false, &cli->err);
	return r < 0 ? r : remotes_find_nexthops(&p->before, &cli->err);
}

/* --- results --- */

static uint64_t counted(const struct remotes *after, const struct remote_node *before, enum wr_direction direction)
{
	const struct remote_node *node = remotes_by_slot(after, before->slot);

	return node ? node->totals[direction].packets - before->totals[direction].packets : 0;
}

/* How far the requests got, by the node's packet counters. These include all other traffic, so this is an estimate. */
const char *node_pings_explain(const struct node_pings *p, size_t target, char *buf, size_t size)
{
	const struct ping_target *t = &p->ping.targets[target];
	const struct remote_node *node = p->nodes[target];

	if (t->received == t->sent)
		return NULL;
	if (t->received)
		snprintf(buf, size, "%u lost", t->sent - t->received);
	else if (!node->slot)
		snprintf(buf, size, "not in the maps%s%s", node->problem ? ": " : "", node->problem ?: "");
	else if (t->error)
		snprintf(buf, size, "refused: %s", strerror(t->error));
	else if (!node->dp.direct && !counted(&p->after, node, WR_EGRESS))
		snprintf(buf, size, "no answer: no packet is sent to it");
	else if (!node->nexthop.resolved)
		snprintf(buf, size, "no answer: its next hop is unresolved");
	else if (!node->dp.direct && !counted(&p->after, node, WR_INGRESS))
		snprintf(buf, size, "no answer: packets are sent to it, none is received from it");
	else
		snprintf(buf, size, "no answer");
	return buf;
}
