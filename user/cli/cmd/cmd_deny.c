/* SPDX-License-Identifier: BSD-2-Clause */
/* warren deny add, del, list, flush. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "cleanup.h"
#include "deny.h"
#include "deny_places.h"
#include "ip.h"
#include "maps.h"

/* --- addresses that need --force --------------------------------------------------------------------------------- */

struct refusal {
	const struct prefix *prefixes;
	size_t count;
	struct err *err;
	int family;
};

static int refuse_if_covers(const struct refusal *r, const struct ip *ip, const char *what)
{
	char prefix[PREFIX_STRLEN], address[IP_STRLEN];

	for (size_t i = 0; i < r->count; i++) {
		if (!prefix_contains(&r->prefixes[i], ip))
			continue;
		err_set(r->err, EPERM, "%s contains %s, %s", prefix_format(&r->prefixes[i], prefix),
			ip_format(ip, address), what);
		return err_hint(r->err, "remove it from the command, or use --force to cut this node off from it");
	}
	return 0;
}

static int refuse_node(const void *key, const void *value, int cpus, void *arg)
{
	const struct refusal *r = arg;
	const struct ip ip = ip_from(r->family, key);

	return refuse_if_covers(r, &ip, "an address of another node, where its tunnels end");
}

static int refuse_gateway(const struct route *route, void *arg)
{
	if (route->dst.len || !route->gateway.family)
		return 0;
	return refuse_if_covers(arg, &route->gateway, "the default gateway of this node");
}

/* Neighbour discovery sends from link-local addresses: without it IPv6 does not work on a link. */
static int refuse_link_local(const struct refusal *r)
{
	struct prefix link_local = { .len = 10 };
	char prefix[PREFIX_STRLEN];

	ip_parse("fe80::", &link_local.ip);
	for (size_t i = 0; i < r->count; i++) {
		if (!prefix_overlaps(&r->prefixes[i], &link_local))
			continue;
		err_set(r->err, EPERM, "%s overlaps fe80::/10, from which IPv6 neighbour discovery sends",
			prefix_format(&r->prefixes[i], prefix));
		return err_hint(r->err,
				"remove it from the command, or use --force to cut this node off from its IPv6 links");
	}
	return 0;
}

static int refuse_vital(const struct prefix *prefixes, size_t count, struct err *err)
{
	struct refusal refusal = { prefixes, count, err, AF_INET };
	_cleanup_nl_ struct nl nl = { 0 };
	int r = dp_map_each("node_addr4", refuse_node, &refusal, err);

	refusal.family = AF_INET6;
	if (r == 0)
		r = dp_map_each("node_addr6", refuse_node, &refusal, err);
	if (r == 0)
		r = refuse_link_local(&refusal);
	if (r == 0)
		r = nl_open(&nl, NETLINK_ROUTE, err);
	if (r == 0)
		r = route_each(&nl, AF_INET, refuse_gateway, &refusal, err);
	if (r == 0)
		r = route_each(&nl, AF_INET6, refuse_gateway, &refusal, err);
	return r;
}

/* --- where it is enforced ---------------------------------------------------------------------------------------- */

/* If no program enforces the denylist, the command fails: an addition must not be without effect silently. */
static int out_enforced(struct cli *cli, bool matters)
{
	json_t *enforcing = deny_places(cli);
	char text[DENY_PLACES_TEXT_MAX];
	bool nowhere;

	if (!enforcing)
		return -cli->err.num;
	nowhere = !json_array_size(enforcing);
	deny_places_text(enforcing, text);
	out_field(cli->out, "enforced_at", enforcing, text, nowhere && matters ? OUT_RED : OUT_PLAIN);
	if (nowhere && matters) {
		out_string(cli->out, "remedy",
			   "no program enforces the denylist on this node: run `warren uplink xdp DEVICE generic`");
		cli->exit = CLI_FAILED;
	}
	return 0;
}

/* --- add, del, flush --------------------------------------------------------------------------------------------- */

/* An address stands for its /32 or /128. Host bits that are set are an error, since they are most likely a mistake. */
static int prefixes_parse(struct cli *cli, struct prefix *prefixes)
{
	for (size_t i = 0; i < cli->many_count; i++) {
		struct prefix *p = &prefixes[i];
		struct ip first;

		if (prefix_parse(cli->many[i], p) < 0) {
			if (ip_parse(cli->many[i], &p->ip) < 0)
				return cli_usage_error(cli, "'%s' is neither a prefix nor an address", cli->many[i]);
			p->len = (uint8_t)ip_bits(&p->ip);
		}
		first = prefix_first(p);
		if (!ip_equal(&first, &p->ip))
			return cli_usage_error(cli, "'%s' has host bits set", cli->many[i]);
	}
	return 0;
}

/* `what`: key of the number of changed prefixes. */
static int change(struct cli *cli, bool add, const char *what)
{
	_cleanup_free_ struct prefix *prefixes = calloc(cli->many_count, sizeof(*prefixes));
	size_t changed = 0;
	int r;

	if (!prefixes)
		return err_errno(&cli->err, ENOMEM, "cannot read the prefixes");
	r = prefixes_parse(cli, prefixes);
	if (r == 0)
		r = cli_open(cli);
	if (r == 0 && add && !cli->options.force)
		r = refuse_vital(prefixes, cli->many_count, &cli->err);
	if (r == 0)
		r = (add ? dp_deny_add : dp_deny_delete)(prefixes, cli->many_count, &changed, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_uint(cli->out, what, changed);
	r = out_enforced(cli, add);
	out_end(cli->out);
	return r;
}

int cmd_deny_add(struct cli *cli)
{
	return change(cli, true, "added");
}

int cmd_deny_del(struct cli *cli)
{
	return change(cli, false, "removed");
}

int cmd_deny_flush(struct cli *cli)
{
	size_t changed = 0;
	int r = cli_open(cli);

	if (r == 0)
		r = dp_deny_flush(&changed, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_uint(cli->out, "removed", changed);
	out_end(cli->out);
	return 0;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

struct listing {
	struct out *out;
	size_t count;
};

static void out_last(struct out *o, const struct dp_deny *deny)
{
	char iso[32];
	time_t when = time(NULL) - (time_t)(deny->idle_ms / 1000);
	struct tm tm;

	if (!deny->packets) {
		out_string(o, "last_hit", NULL);
		return;
	}
	strftime(iso, sizeof(iso), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
	out_fieldf(o, "last_hit", json_string(iso), OUT_PLAIN, "%" PRIu64 " s ago", deny->idle_ms / 1000);
}

static int describe(const struct dp_deny *deny, void *arg)
{
	struct listing *l = arg;
	char text[PREFIX_STRLEN];

	out_record(l->out, NULL);
	out_string(l->out, "prefix", prefix_format(&deny->prefix, text));
	out_uint(l->out, "packets", deny->packets);
	out_uint(l->out, "bytes", deny->bytes);
	out_last(l->out, deny);
	out_end(l->out);
	l->count++;
	return 0;
}

int cmd_deny_list(struct cli *cli)
{
	struct listing l = { .out = cli->out };
	int r = cli_open(cli);

	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_table(cli->out, "prefixes", "nothing is denied");
	r = dp_deny_each(describe, &l, &cli->err);
	out_end(cli->out);
	if (r == 0)
		r = out_enforced(cli, l.count > 0);
	out_end(cli->out);
	return r;
}
