/* SPDX-License-Identifier: BSD-2-Clause */
/* warren status --cluster: each node as this node sees it (maps, echo replies), and what its own agent reports. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "clock.h"
#include "ping.h"

#define COUNT 3
#define INTERVAL_MS 50
#define TIMEOUT_MS 1000

enum reach { REACH_OWN, REACH_OK, REACH_PARTLY, REACH_NOT };

/* A node and its targets. */
struct node_targets {
	const struct remote_node *node;
	size_t first, count; /* range of its targets */
};

static struct node_targets targets_of(const struct node_pings *p, const struct remote_node *node)
{
	struct node_targets s = { .node = node };

	for (size_t i = 0; i < p->ping.target_count; i++) {
		if (p->nodes[i] != node)
			continue;
		if (!s.count)
			s.first = i;
		s.count++;
	}
	return s;
}

/* By how many requests of all families were answered. */
static enum reach reach(const struct node_pings *p, const struct node_targets *s)
{
	uint64_t sent = 0, received = 0;

	if (s->node->own)
		return REACH_OWN;
	for (size_t i = s->first; i < s->first + s->count; i++) {
		sent += p->ping.targets[i].sent;
		received += p->ping.targets[i].received;
	}
	if (!received)
		return REACH_NOT;
	return received < sent || s->node->problem ? REACH_PARTLY : REACH_OK;
}

static void out_state(struct out *o, enum reach reach)
{
	static const struct {
		const char *word;
		enum out_colour colour;
	} states[] = {
		[REACH_OWN] = { "this node", OUT_PLAIN },
		[REACH_OK] = { "ok", OUT_GREEN },
		[REACH_PARTLY] = { "faulty", OUT_YELLOW },
		[REACH_NOT] = { "unreachable", OUT_RED },
	};

	out_word(o, "state", states[reach].word, states[reach].colour);
}

/* "0.210 ms": the average; "no answer"; "-": no requests in that family. */
static void out_time(struct out *o, const char *key, const struct node_pings *p, const struct node_targets *s, int family)
{
	char text[24] = "";
	json_t *ms = json_null();

	for (size_t i = s->first; i < s->first + s->count; i++) {
		const struct ping_target *t = &p->ping.targets[i];

		if (t->to.family != family)
			continue;
		snprintf(text, sizeof(text), "no answer");
		if (t->received) {
			double average = (double)t->sum_ns / t->received / (double)NS_PER_MS;

			snprintf(text, sizeof(text), "%.3f ms", average);
			ms = json_real(average);
		}
	}
	out_field(o, key, ms, text, OUT_PLAIN);
}

/* An agent that reports nothing counts as healthy: not every setup has reports. */
static bool agent_is_healthy(const struct remote_node *node)
{
	return !node->agent || strstr(node->agent, " ok since ");
}

static void out_agent(struct out *o, const struct remote_node *node)
{
	if (node->agent)
		out_word(o, "agent", node->agent, agent_is_healthy(node) ? OUT_GREEN : OUT_RED);
	else
		out_string(o, "agent", NULL);
}

/* The problem that the agent reports, or how far the requests got. */
static const char *problem(const struct node_pings *p, const struct node_targets *s, char *buf, size_t size)
{
	const char *why = s->node->problem;

	for (size_t i = s->first; i < s->first + s->count && !why; i++)
		why = node_pings_explain(p, i, buf, size);
	if (why || s->node->own || s->count)
		return why;
	return "it has no pod CIDR of a family that this node has, so it cannot be reached";
}

static void describe(struct out *o, const struct node_pings *p, const struct node_targets *s)
{
	const struct remote_node *node = s->node;
	char device[IF_NAMESIZE], why[256];
	const bool mapped = node->slot;

	out_record(o, NULL);
	out_node(o, node, NULL);
	out_json(o, "slot", json_integer(node->slot));
	out_state(o, reach(p, s));
	out_agent(o, node);
	out_string(o, "mode", !mapped ? NULL : node->dp.direct ? "direct" : "tunnel");
	out_string(o, "uplink", mapped ? if_indextoname(node->dp.uplink, device) : NULL);
	out_optional(o, "mtu", mapped, node->dp.mtu);
	out_time(o, "ipv4", p, s, AF_INET);
	out_time(o, "ipv6", p, s, AF_INET6);
	out_string(o, "problem", problem(p, s, why, sizeof(why)));
	out_end(o);
}

int cmd_status_cluster(struct cli *cli)
{
	_cleanup_node_pings_ struct node_pings p = {
		.ping = { .count = COUNT,
			  .interval_ns = INTERVAL_MS * NS_PER_MS,
			  .timeout_ns = TIMEOUT_MS * NS_PER_MS },
	};
	size_t counts[REACH_NOT + 1] = { 0 }, others, unhealthy = 0;
	char text[160];
	bool healthy;
	int r = node_pings_run(cli, &p);

	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_table(cli->out, "nodes", NULL);
	for (size_t i = 0; i < p.before.node_count; i++) {
		const struct node_targets s = targets_of(&p, &p.before.nodes[i]);

		counts[reach(&p, &s)]++;
		unhealthy += !agent_is_healthy(s.node);
		describe(cli->out, &p, &s);
	}
	out_end(cli->out);
	healthy = !counts[REACH_PARTLY] && !counts[REACH_NOT] && !unhealthy;
	others = p.before.node_count - counts[REACH_OWN];
	snprintf(text, sizeof(text),
		 "%zu other node%s: %zu ok, %zu faulty, %zu unreachable; agents that report problems: %zu", others,
		 others == 1 ? "" : "s", counts[REACH_OK], counts[REACH_PARTLY], counts[REACH_NOT], unhealthy);
	out_word(cli->out, "cluster", text, healthy ? OUT_GREEN : OUT_RED);
	out_json(cli->out, "healthy", json_boolean(healthy));
	out_end(cli->out);
	out_no_names(cli->out, &p.before);
	cli->exit = healthy ? CLI_OK : CLI_FAILED;
	return 0;
}
