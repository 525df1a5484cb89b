/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "enum_names.h"
#include "gateway.h"
#include "ip.h"
#include "packet.h"
#include "str.h"

/* Addresses that no host has: TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849). */
static const char *const world_addresses[2] = { "192.0.2.1", "2001:db8::1" };

/* --- the host --- */

static int first_address(const struct prefix *prefix, void *arg)
{
	struct ip *ip = (struct ip *)arg + (prefix->ip.family == AF_INET6);

	if (!ip->family)
		*ip = prefix->ip;
	return 0;
}

/* The addresses of the gateway link: pods see packets of the host from these. */
static int find_host(struct cli *cli, struct flow_side *side)
{
	_cleanup_nl_ struct nl nl = { 0 };
	uint32_t ifindex;
	int r = nl_open(&nl, NETLINK_ROUTE, &cli->err);

	if (r == 0)
		r = node_gateway_ifindex(&ifindex, &cli->err);
	if (r == 0)
		r = addr_each(&nl, ifindex, first_address, side->ip, &cli->err);
	if (r == 0 && !side->ip[0].family && !side->ip[1].family)
		return err_set(&cli->err, EADDRNOTAVAIL,
			       "%s has no address yet: use an address of this node instead of 'host'",
			       WARREN_GATEWAY_LINK);
	return r;
}

static bool is_own_address(const struct ip *ip)
{
	struct own_addresses own = { 0 };
	bool found = own_addresses_load(&own, NULL) == 0 && own_addresses_has(&own, ip);

	own_addresses_free(&own);
	return found;
}

/* The host or the world. */
static void set_place(struct flow_side *side, enum flow_side_kind kind)
{
	char number[NUMBER_STRLEN];

	side->kind = kind;
	side->identity = kind == FLOW_SIDE_HOST ? WR_ID_HOST : WR_ID_WORLD;
	side->known = true;
	str_copy(side->label, sizeof(side->label), identity_name(side->identity, number));
}

/* --- pods --- */

static void set_pod(const struct endpoints *e, struct flow_side *side, const struct endpoint *endpoint)
{
	side->kind = FLOW_SIDE_POD;
	side->endpoint = endpoint;
	side->identity = endpoint->ep.identity;
	side->known = true;
	endpoint_addresses(&endpoint->ep, side->ip);
	endpoint_label(e, endpoint->id, side->label);
}

static int find_id(struct cli *cli, const struct endpoints *e, const char *text, struct flow_side *side)
{
	const struct endpoint *endpoint;
	uint64_t id;

	if (number_parse(text, UINT32_MAX, &id) < 0)
		return cli_usage_error(cli, "'%s' is not an endpoint id", text);
	endpoint = endpoints_find(e, (uint32_t)id);
	if (!endpoint) {
		err_set(&cli->err, ENOENT, "there is no endpoint %s", text);
		return err_hint(&cli->err, "`warren endpoint list` lists them");
	}
	set_pod(e, side, endpoint);
	return 0;
}

/* Matches "namespace/name", "name", and outside Kubernetes the container id, whole or abbreviated as in lists. */
static bool pod_is(const struct pod *pod, const char *text)
{
	const char *slash = strchr(pod->name, '/');
	char label[POD_LABEL_MAX];

	return strcmp(pod_label(pod, label), text) == 0 || (slash && strcmp(slash + 1, text) == 0) ||
	       strcmp(pod->container, text) == 0;
}

/* --- other nodes --- */

/* A pod of another node, or that node itself. */
static void set_remote(const struct endpoints *e, struct flow_side *side, const struct ip *ip,
		       const struct remote_node *node, bool pod)
{
	const struct remote_pod *named = remotes_pod(&e->remotes, ip);
	char label[NODE_LABEL_MAX], name[REMOTE_POD_NAME_MAX];

	side->kind = pod ? FLOW_SIDE_REMOTE : FLOW_SIDE_NODE;
	side->node = node;
	side->ip[ip->family == AF_INET6] = *ip;
	side->known = ipcache_lookup(ip, &side->identity, NULL) == 0;
	if (!side->known)
		side->identity = pod ? WR_ID_SOME_POD : WR_ID_REMOTE_NODE;
	node_label(node, label);
	if (!pod)
		snprintf(side->label, sizeof(side->label), "%s", label);
	else if (named)
		snprintf(side->label, sizeof(side->label), "%s of %s", remote_pod_name(named, name), label);
	else
		snprintf(side->label, sizeof(side->label), "a pod of %s", label);
}

/* "namespace/name" or "name". */
static bool remote_pod_is(const struct remote_pod *pod, const char *text)
{
	char name[REMOTE_POD_NAME_MAX];

	return strcmp(pod->name, text) == 0 || strcmp(remote_pod_name(pod, name), text) == 0;
}

/* The addresses of one pod are separate entries of the list. 0: not found; 1: found. */
static int find_remote_pod(struct cli *cli, const struct endpoints *e, const char *text, struct flow_side *side)
{
	const struct remote_pod *found = NULL;

	for (size_t i = 0; i < e->remotes.pod_count; i++) {
		const struct remote_pod *pod = &e->remotes.pods[i];
		const struct remote_node *node = remotes_by_cidr(&e->remotes, &pod->ip);

		if (!remote_pod_is(pod, text) || !node || node->own)
			continue;
		if (found && (strcmp(found->namespace, pod->namespace) != 0 || strcmp(found->name, pod->name) != 0))
			return err_set(&cli->err, ENOTUNIQ, "more than one pod is named '%s': %s/%s and %s/%s", text,
				       found->namespace, found->name, pod->namespace, pod->name);
		found = pod;
		set_remote(e, side, &pod->ip, node, true);
	}
	return found != NULL;
}

/* By name only, since a number is an endpoint's id. Its addresses are those that its stack sends from to pods. */
static bool find_node(const struct endpoints *e, const char *text, struct flow_side *side)
{
	const struct remote_node *node = remotes_by_text(&e->remotes, text);

	if (!node || node->own)
		return false;
	for (int i = 0; i < 2; i++) {
		const struct ip gateway = cidr_gateway(&node->dp.cidrs[i]);

		if (gateway.family)
			set_remote(e, side, &gateway, node, false);
	}
	return side->node;
}

static int find_name(struct cli *cli, const struct endpoints *e, const char *text, struct flow_side *side)
{
	const struct endpoint *found = NULL;
	int r;

	for (size_t i = 0; i < e->count; i++) {
		const struct pod *pod = pods_find(&e->pods, e->list[i].id);

		if (!pod || !pod_is(pod, text))
			continue;
		if (found) {
			err_set(&cli->err, ENOTUNIQ, "more than one pod is named '%s': endpoints %u and %u", text,
				found->id, e->list[i].id);
			return err_hint(&cli->err, "use NAMESPACE/NAME or the endpoint's id");
		}
		found = &e->list[i];
	}
	if (found) {
		set_pod(e, side, found);
		return 0;
	}
	r = find_remote_pod(cli, e, text, side);
	if (r || find_node(e, text, side))
		return r < 0 ? r : 0;
	err_set(&cli->err, ENOENT, "no pod of this node is named '%s'%s", text,
		!remotes_in_cluster(&e->remotes) ? ""
		: e->remotes.agent		 ? ", nor one of another node, nor a node"
				   : "; names of other nodes and their pods need a running agent");
	return err_hint(&cli->err,
			"`warren endpoint list` lists the pods; an id, an address, 'host' and 'world' also work");
}

static void find_address(const struct endpoints *e, const struct ip *ip, struct flow_side *side)
{
	const struct remote_node *node = remotes_by_address(&e->remotes, ip), *pods = remotes_by_cidr(&e->remotes, ip);
	const struct endpoint *endpoint = endpoints_by_address(e, ip);

	if (endpoint) {
		set_pod(e, side, endpoint);
		/* An address selects its family. */
		side->ip[ip->family != AF_INET6] = (struct ip){ 0 };
		return;
	}
	memset(side->ip, 0, sizeof(side->ip));
	side->ip[ip->family == AF_INET6] = *ip;
	if (is_own_address(ip)) {
		set_place(side, FLOW_SIDE_HOST);
	} else if (node && !node->own) {
		set_remote(e, side, ip, node, false);
	} else if (pods && !pods->own) {
		set_remote(e, side, ip, pods, true);
	} else {
		set_place(side, FLOW_SIDE_WORLD);
	}
}

static int find_side(struct cli *cli, const struct endpoints *e, const char *text, struct flow_side *side)
{
	struct ip ip;

	*side = (struct flow_side){ 0 };
	if (strcmp(text, "host") == 0) {
		set_place(side, FLOW_SIDE_HOST);
		return find_host(cli, side);
	}
	if (strcmp(text, "world") == 0) {
		set_place(side, FLOW_SIDE_WORLD);
		for (int i = 0; i < 2; i++)
			(void)ip_parse(world_addresses[i], &side->ip[i]);
		return 0;
	}
	if (ip_parse(text, &ip) == 0) {
		find_address(e, &ip, side);
		return 0;
	}
	if (!text[strspn(text, "0123456789")])
		return find_id(cli, e, text, side);
	return find_name(cli, e, text, side);
}

/* --- flows --- */

/* "80/tcp", "80", "icmp". */
static int parse_port(struct cli *cli, const char *text, struct flow *flow)
{
	const char *slash = strchr(text, '/'), *protocol = slash ? slash + 1 : "tcp";
	char number[8] = "";
	uint64_t port = 0;
	bool has_port;

	if (strcmp(text, "icmp") == 0 || strcmp(text, "icmpv6") == 0) {
		flow->protocol = IPPROTO_ICMP;
		return 0;
	}
	if (l4_proto_parse(protocol, &flow->protocol) < 0)
		return cli_usage_error(cli, "'%s' is not a protocol: use tcp, udp, sctp or icmp", protocol);
	has_port = flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP || flow->protocol == IPPROTO_SCTP;
	if (!has_port)
		return cli_usage_error(cli, "'%s' has no ports: use PORT/tcp, PORT/udp, PORT/sctp, or icmp",
				       protocol);
	if (slash && (size_t)(slash - text) < sizeof(number))
		memcpy(number, text, (size_t)(slash - text));
	if (number_parse(slash ? number : text, UINT16_MAX, &port) < 0 || !port)
		return cli_usage_error(cli, "'%s' is not a port: use a number from 1 to 65535, as in 80/tcp", text);
	flow->port = (uint16_t)port;
	return 0;
}

static int choose_family(struct cli *cli, struct flow *flow)
{
	for (flow->family = 0; flow->family < 2; flow->family++) {
		int number = flow->family ? 6 : 4;

		if ((cli->options.family < 0 || cli->options.family == number) && flow->from.ip[flow->family].family &&
		    flow->to.ip[flow->family].family) {
			if (flow->protocol == IPPROTO_ICMP && flow->family)
				flow->protocol = IPPROTO_ICMPV6;
			return 0;
		}
	}
	if (cli->options.family >= 0)
		return err_set(&cli->err, EAFNOSUPPORT, "%s and %s do not both have an IPv%d address", cli->args[0],
			       cli->args[1], (int)cli->options.family);
	return err_set(&cli->err, EAFNOSUPPORT, "%s and %s have no addresses of the same family", cli->args[0],
		       cli->args[1]);
}

int flow_parse(struct cli *cli, const struct endpoints *e, struct flow *flow)
{
	char host[512];
	const char *port;
	int r = 0;

	*flow = (struct flow){ .protocol = FLOW_PROTOCOL, .port = FLOW_PORT };
	if (host_split(cli->args[1], host, sizeof(host), &port) < 0)
		return cli_usage_error(
		    cli, "'%s' is not DST[:PORT/PROTO], as in default/web:80/tcp or [fd00::7]:53/udp", cli->args[1]);
	flow->any = !port;
	if (port) {
		flow->port = 0;
		r = parse_port(cli, port, flow);
	}
	if (r == 0)
		r = find_side(cli, e, cli->args[0], &flow->from);
	if (r == 0)
		r = find_side(cli, e, host, &flow->to);
	return r < 0 ? r : choose_family(cli, flow);
}

/* --- output --- */

void out_flow_side(struct out *o, const char *key, const struct remotes *remotes, const struct flow_side *side,
		   const struct ip *ip)
{
	char address[IP_STRLEN], number[NUMBER_STRLEN];
	json_t *json = json_pack("{ssss}", "address", ip_format(ip, address), "identity",
				 identity_name(side->identity, number));

	if (side->node)
		remote_json(remotes, WR_REMOTE | side->node->slot, ip, json);
	if (side->kind == FLOW_SIDE_POD) {
		json_object_set_new(json, "endpoint", json_integer(side->endpoint->id));
		json_object_set_new(json, "pod", json_string(side->label));
		out_fieldf(o, key, json, OUT_PLAIN, "%s (endpoint %u, %s)", side->label, side->endpoint->id, address);
	} else {
		out_fieldf(o, key, json, OUT_PLAIN, "%s (%s)", side->label, address);
	}
}

void out_guess(struct out *o, const struct flow_side *side)
{
	if (!side->known && side->kind == FLOW_SIDE_REMOTE)
		out_note(o, "\nThe maps hold no identity for %s: its packets carry it. Without it only rules for all "
			    "pods are certain to match.", side->label);
}

const char *flow_format(const struct flow *flow, char buf[FLOW_STRLEN])
{
	const char *protocol = l4_proto_name(flow->protocol);

	if (flow->port)
		snprintf(buf, FLOW_STRLEN, "%s to port %u", protocol, flow->port);
	else
		snprintf(buf, FLOW_STRLEN, "%s echo", protocol);
	return buf;
}
