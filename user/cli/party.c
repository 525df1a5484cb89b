/* SPDX-License-Identifier: BSD-2-Clause */
#include "party.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "node.h"
#include "packet_text.h"
#include "str.h"

/* Addresses that are nobody's: TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849). */
static const char *const world_addresses[2] = { "192.0.2.1", "2001:db8::1" };

/* --- the host --- */

static int take_address(const struct prefix *prefix, void *arg)
{
	struct ip *ip = (struct ip *)arg + (prefix->ip.family == AF_INET6);

	if (!ip->family)
		*ip = prefix->ip;
	return 0;
}

/* By the addresses that pods see it from: those of the gateway link. */
static int find_host(struct cli *cli, struct party *party)
{
	_cleanup_nl_ struct nl nl = { 0 };
	uint32_t ifindex;
	int r = nl_open(&nl, NETLINK_ROUTE, &cli->err);

	if (r == 0)
		r = node_gateway_ifindex(&nl, &ifindex, &cli->err);
	if (r == 0)
		r = addr_each(&nl, ifindex, take_address, party->ip, &cli->err);
	if (r == 0 && !party->ip[0].family && !party->ip[1].family)
		return err_set(&cli->err, EADDRNOTAVAIL, "this node has no address on %s yet: name one of its addresses",
			       WARREN_GATEWAY_LINK);
	return r;
}

/* Not by binding a socket to it: that may be allowed for any address (ip_nonlocal_bind). */
static bool is_own_address(const struct ip *ip)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *a = all; a && !found; a = a->ifa_next) {
		struct ip own;

		if (!a->ifa_addr || a->ifa_addr->sa_family != ip->family)
			continue;
		if (ip->family == AF_INET)
			own = ip_from(AF_INET, &((const struct sockaddr_in *)a->ifa_addr)->sin_addr);
		else
			own = ip_from(AF_INET6, &((const struct sockaddr_in6 *)a->ifa_addr)->sin6_addr);
		found = ip_equal(&own, ip);
	}
	freeifaddrs(all);
	return found;
}

/* --- pods --- */

static void set_pod(const struct endpoints *e, struct party *party, const struct endpoint *endpoint)
{
	party->kind = PARTY_POD;
	party->endpoint = endpoint;
	endpoint_addresses(&endpoint->ep, party->ip);
	endpoint_label(e, endpoint->id, party->label);
}

static int find_id(struct cli *cli, const struct endpoints *e, const char *text, struct party *party)
{
	const struct endpoint *endpoint;
	uint64_t id;

	if (number_parse(text, UINT32_MAX, &id) < 0)
		return cli_usage_error(cli, "'%s' is no endpoint's id", text);
	endpoint = endpoints_find(e, (uint32_t)id);
	if (!endpoint) {
		err_set(&cli->err, ENOENT, "there is no endpoint %s", text);
		return err_hint(&cli->err, "`warren endpoint list` lists them");
	}
	set_pod(e, party, endpoint);
	return 0;
}

/* "namespace/name", "name", or the start of the id of a container outside Kubernetes, as it is shown. */
static bool pod_is(const struct pod *pod, const char *text)
{
	const char *slash = pod->name ? strchr(pod->name, '/') : NULL;
	char label[POD_LABEL_MAX];

	return strcmp(pod_label(pod, label), text) == 0 || (slash && strcmp(slash + 1, text) == 0) ||
	       strcmp(pod->container, text) == 0;
}

static int find_name(struct cli *cli, const struct endpoints *e, const char *text, struct party *party)
{
	const struct endpoint *found = NULL;

	for (size_t i = 0; i < e->count; i++) {
		const struct pod *pod = pods_find(&e->pods, e->list[i].id);

		if (!pod || !pod_is(pod, text))
			continue;
		if (found) {
			err_set(&cli->err, ENOTUNIQ, "more than one pod is named '%s': endpoints %u and %u", text,
				found->id, e->list[i].id);
			return err_hint(&cli->err, "name it by its namespace or by its endpoint's id");
		}
		found = &e->list[i];
	}
	if (!found) {
		err_set(&cli->err, ENOENT, "no pod of this node is named '%s'", text);
		return err_hint(&cli->err, "`warren endpoint list` lists them; an id, an address, 'host' and 'world' do as well");
	}
	set_pod(e, party, found);
	return 0;
}

static void find_address(const struct endpoints *e, const struct ip *ip, struct party *party)
{
	for (size_t i = 0; i < e->count; i++) {
		endpoint_addresses(&e->list[i].ep, party->ip);
		if (ip_equal(&party->ip[ip->family == AF_INET6], ip)) {
			set_pod(e, party, &e->list[i]);
			/* Who names an address means its family. */
			party->ip[ip->family != AF_INET6] = (struct ip){ 0 };
			return;
		}
	}
	memset(party->ip, 0, sizeof(party->ip));
	party->ip[ip->family == AF_INET6] = *ip;
	party->kind = is_own_address(ip) ? PARTY_HOST : PARTY_WORLD;
	str_copy(party->label, sizeof(party->label), party->kind == PARTY_HOST ? "host" : "world");
}

static int find_party(struct cli *cli, const struct endpoints *e, const char *text, struct party *party)
{
	struct ip ip;

	*party = (struct party){ 0 };
	if (strcmp(text, "host") == 0) {
		party->kind = PARTY_HOST;
		str_copy(party->label, sizeof(party->label), text);
		return find_host(cli, party);
	}
	if (strcmp(text, "world") == 0) {
		party->kind = PARTY_WORLD;
		str_copy(party->label, sizeof(party->label), text);
		for (int i = 0; i < 2; i++)
			(void)ip_parse(world_addresses[i], &party->ip[i]);
		return 0;
	}
	if (ip_parse(text, &ip) == 0) {
		find_address(e, &ip, party);
		return 0;
	}
	if (!text[strspn(text, "0123456789")])
		return find_id(cli, e, text, party);
	return find_name(cli, e, text, party);
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
		return cli_usage_error(cli, "'%s' is no protocol: tcp, udp, sctp or icmp", protocol);
	has_port = flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP || flow->protocol == IPPROTO_SCTP;
	if (!has_port)
		return cli_usage_error(cli, "'%s' has no ports: tcp, udp and sctp have, and :icmp stands alone", protocol);
	if (slash && (size_t)(slash - text) < sizeof(number))
		memcpy(number, text, (size_t)(slash - text));
	if (number_parse(slash ? number : text, UINT16_MAX, &port) < 0 || !port)
		return cli_usage_error(cli, "'%s' is no port: a number from 1 to 65535, as in 80/tcp", text);
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
		return err_set(&cli->err, EAFNOSUPPORT, "%s and %s have not both an IPv%d address", cli->args[0], cli->args[1],
			       (int)cli->options.family);
	return err_set(&cli->err, EAFNOSUPPORT, "%s and %s have no addresses of the same family", cli->args[0], cli->args[1]);
}

int flow_parse(struct cli *cli, const struct endpoints *e, struct flow *flow)
{
	char host[512];
	const char *port;
	int r = 0;

	*flow = (struct flow){ .protocol = FLOW_PROTOCOL, .port = FLOW_PORT };
	if (cli->options.family >= 0 && cli->options.family != 4 && cli->options.family != 6)
		return cli_usage_error(cli, "--family is 4 or 6, not %d", (int)cli->options.family);
	if (host_split(cli->args[1], host, sizeof(host), &port) < 0)
		return cli_usage_error(cli, "'%s' is not DST[:PORT/PROTO], as in default/web:80/tcp or [fd00::7]:53/udp",
				       cli->args[1]);
	flow->any = !port;
	if (port) {
		flow->port = 0;
		r = parse_port(cli, port, flow);
	}
	if (r == 0)
		r = find_party(cli, e, cli->args[0], &flow->from);
	if (r == 0)
		r = find_party(cli, e, host, &flow->to);
	return r < 0 ? r : choose_family(cli, flow);
}

/* --- words --- */

uint64_t party_identity(const struct party *party)
{
	switch (party->kind) {
	case PARTY_POD:
		return party->endpoint->ep.identity;
	case PARTY_HOST:
		return WR_ID_HOST;
	case PARTY_WORLD:
		break;
	}
	return WR_ID_WORLD;
}

void out_party(struct out *o, const char *key, const struct party *party, const struct ip *ip)
{
	char text[POD_LABEL_MAX + IP_STRLEN + 32], address[IP_STRLEN], number[NUMBER_STRLEN];
	json_t *json = json_pack("{ssss}", "address", ip_format(ip, address), "identity",
				 identity_name(party_identity(party), number));

	if (party->kind == PARTY_POD) {
		json_object_set_new(json, "endpoint", json_integer(party->endpoint->id));
		json_object_set_new(json, "pod", json_string(party->label));
		snprintf(text, sizeof(text), "%s (endpoint %u, %s)", party->label, party->endpoint->id, address);
	} else {
		snprintf(text, sizeof(text), "%s (%s)", party->label, address);
	}
	out_field(o, key, json, text, OUT_PLAIN);
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
