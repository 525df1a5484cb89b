/* SPDX-License-Identifier: BSD-2-Clause */
/* warren status: one line a check, green or red, and what to do about the red ones. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "attachment.h"
#include "endpoints.h"
#include "node.h"

struct status {
	struct out *out;
	unsigned wrong;
};

/* `advice` is shown if something is wrong. */
static void __attribute__((format(printf, 5, 6)))
check(struct status *s, const char *name, bool good, const char *advice, const char *fmt, ...)
{
	char detail[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	out_record(s->out, NULL);
	out_string(s->out, "check", name);
	out_word(s->out, "state", good ? "ok" : "wrong", good ? OUT_GREEN : OUT_RED);
	out_string(s->out, "detail", detail);
	out_string(s->out, "what_to_do", good ? NULL : advice);
	out_end(s->out);
	s->wrong += !good;
}

static void check_node(struct status *s, const struct node_check *node)
{
	bool full = node->endpoints >= node->endpoints_max;

	check(s, "programs", true, NULL, "loaded by release %s, ABI %d", node->version, WR_ABI_VERSION);
	check(s, "nftables", node->nft_whole, "`warren node init` makes it again",
	      !node->nft_present ? "table inet warren is missing: nothing guards against packets that bypass from_pod"
	      : !node->nft_whole ? "table inet warren has been changed: its guard may not hold"
				 : "table inet warren stands");
	check(s, "gateway link", node->gateway_link, "`warren node init` makes it again", "%s is %s",
	      WARREN_GATEWAY_LINK, node->gateway_link ? "up" : "missing or down");
	check(s, "forwarding IPv4", node->forwarding4, "`sysctl -w net.ipv4.ip_forward=1`", "is %s",
	      node->forwarding4 ? "on" : "off: pods reach nothing outside this node");
	check(s, "forwarding IPv6", node->forwarding6, "`sysctl -w net.ipv6.conf.all.forwarding=1`", "is %s",
	      node->forwarding6 ? "on" : "off: pods reach nothing outside this node");
	check(s, "endpoints", !full, "delete pods; a node made with a smaller --max-endpoints can be made anew: `warren node down`, `warren node init`",
	      "%u of at most %u", node->endpoints, node->endpoints_max);
}

static void check_endpoints(struct status *s, const struct endpoints *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct endpoint *endpoint = &e->list[i];
		json_auto_t *faults = endpoint_faults(endpoint);
		char name[32], label[POD_LABEL_MAX];
		json_t *fault;
		size_t n;

		snprintf(name, sizeof(name), "endpoint %u", endpoint->id);
		pod_label(pods_find(&e->pods, endpoint->id), label);
		json_array_foreach(faults, n, fault) {
			check(s, name, false, endpoint_advice(endpoint), "%s (pod %s): %s",
			      endpoint->device[0] ? endpoint->device : "no device", label, json_string_value(fault));
		}
	}
}

struct strangers {
	struct status *status;
	struct dp dp;
};

/*
 * A pod whose record says that it is wired, but which these maps do not know: their pins were removed under it, and it
 * runs on with programs and maps that nobody can reach any more. Looked up twice, since DEL may be at work.
 */
static int check_stranger(const struct attachment *a, bool damaged, void *arg)
{
	struct strangers *strangers = arg;
	struct wr_endpoint ep;
	struct attachment again;

	if (damaged || dp_endpoint_get(&strangers->dp, a->host_ifindex, &ep, NULL) != -ENOENT ||
	    attachment_load(a->container_id, a->ifname, &again, NULL) < 0 || again.state != ATTACHMENT_READY)
		return 0;
	check(strangers->status, "attachment", false, "delete the pod: its programs are no longer pinned",
	      "%s of container %.64s is recorded, but is no endpoint", a->host_ifname, a->container_id);
	return 0;
}

static int check_strangers(struct status *s, struct cli *cli)
{
	struct strangers strangers = { s, DP_CLOSED };
	int r = cli_open(cli, &strangers.dp);

	if (r == 0)
		r = attachment_each_in(ATTACHMENT_READY, check_stranger, &strangers, &cli->err);
	dp_close(&strangers.dp);
	return r;
}

static void not_loaded(struct cli *cli)
{
	static const char advice[] = "`warren node init` loads it; so does the first pod";

	out_record(cli->out, NULL);
	out_word(cli->out, "warren", "not loaded on this node", OUT_RED);
	out_field(cli->out, "loaded", json_false(), NULL, OUT_PLAIN);
	out_field(cli->out, "healthy", json_false(), NULL, OUT_PLAIN);
	out_string(cli->out, "what_to_do", advice);
	out_end(cli->out);
	cli->exit = CLI_NOT_RUNNING;
}

static void summarise(struct cli *cli, const struct status *s, const struct node_check *node)
{
	char text[64] = "healthy";

	if (s->wrong)
		snprintf(text, sizeof(text), "%u thing%s wrong", s->wrong, s->wrong == 1 ? " is" : "s are");
	out_word(cli->out, "warren", text, s->wrong ? OUT_RED : OUT_GREEN);
	out_field(cli->out, "loaded", json_true(), NULL, OUT_PLAIN);
	out_field(cli->out, "healthy", json_boolean(!s->wrong), NULL, OUT_PLAIN);
	out_field(cli->out, "version", json_string(node->version), NULL, OUT_PLAIN);
	out_field(cli->out, "endpoints", json_integer(node->endpoints), NULL, OUT_PLAIN);
	out_field(cli->out, "endpoints_max", json_integer(node->endpoints_max), NULL, OUT_PLAIN);
	cli->exit = s->wrong ? CLI_FAILED : CLI_OK;
}

int cmd_status(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = ENDPOINTS_NONE;
	struct status s = { cli->out };
	struct node_check node;
	int r = node_check(&node, &cli->err);

	if (r < 0)
		return r;
	if (!node.loaded) {
		not_loaded(cli);
		return 0;
	}
	if (node.faulty)
		r = endpoints_load(cli, &e);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_table(cli->out, "checks", NULL);
	check_node(&s, &node);
	check_endpoints(&s, &e);
	r = check_strangers(&s, cli);
	if (r < 0)
		return r;
	out_end(cli->out);
	summarise(cli, &s, &node);
	out_end(cli->out);
	return 0;
}
