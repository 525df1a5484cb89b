/* SPDX-License-Identifier: BSD-2-Clause */
/* warren node ping. */
#include <string.h>

#include "clock.h"
#include "node_pings.h"

#define COUNT 5
#define INTERVAL_MS 200
#define TIMEOUT_MS 1000

static void out_ms(struct out *o, const char *key, const struct ping_target *t, uint64_t ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%.3f ms", (double)ns / (double)NS_PER_MS);
	out_field(o, key, t->received ? json_real((double)ns / (double)NS_PER_MS) : json_null(),
		  t->received ? text : "", OUT_PLAIN);
}

static void describe(struct out *o, const struct node_pings *p, size_t i)
{
	const struct ping_target *t = &p->ping.targets[i];
	const struct remote_node *node = p->nodes[i];
	char label[NODE_LABEL_MAX], address[IP_STRLEN], text[256];
	const char *why = node_pings_explain(p, i, text, sizeof(text));

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
	_cleanup_node_pings_ struct node_pings p = { 0 };
	int r;

	p.ping.count = cli->options.count >= 0 ? (uint32_t)cli->options.count : COUNT;
	p.ping.interval_ns = (uint64_t)(cli->options.interval >= 0 ? cli->options.interval : INTERVAL_MS) * NS_PER_MS;
	p.ping.timeout_ns = (uint64_t)(cli->options.timeout >= 0 ? cli->options.timeout : TIMEOUT_MS) * NS_PER_MS;
	r = node_pings_run(cli, &p);
	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no other nodes");
	for (size_t i = 0; i < p.ping.target_count; i++) {
		describe(cli->out, &p, i);
		if (!p.ping.targets[i].received)
			cli->exit = CLI_FAILED;
	}
	out_end(cli->out);
	return 0;
}
