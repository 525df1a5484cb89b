/* SPDX-License-Identifier: BSD-2-Clause */
/* warren service hostports: the ports of this host that lead to pods. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "host_ports.h"
#include "json.h"
#include "peers.h"
#include "services.h"

struct listing {
	struct dp_host_port *v;
	bool *hidden; /* of each: a Service precedes it, at one address at least */
	size_t count, room;
};

static int add(const struct dp_host_port *host_port, void *arg)
{
	struct listing *l = arg;

	return array_push(l->v, l->room, l->count, *host_port);
}

static int cmp(const void *pa, const void *pb)
{
	const struct dp_host_port *a = pa, *b = pb;
	const int c = ip_cmp(&a->ip, &b->ip) ?: a->port - b->port;

	return c ? c : a->protocol - b->protocol;
}

static int hide(const struct dp_service *service, void *arg)
{
	struct listing *l = arg;

	for (size_t i = 0; service->external && i < l->count; i++) {
		const struct dp_host_port *port = &l->v[i];

		l->hidden[i] |= port->port == service->port && port->protocol == service->protocol &&
				port->ip.family == service->ip.family &&
				(dp_host_port_is_everywhere(port) || ip_equal(&port->ip, &service->ip));
	}
	return 0;
}

static void out_host_port(struct out *o, const struct endpoints *e, const struct dp_host_port *port, bool hidden)
{
	const struct endpoint *endpoint = endpoints_find(e, port->ifindex);
	struct ip ips[2] = { { 0 }, { 0 } }, *ip = &ips[port->ip.family == AF_INET6];
	char text[SOCKET_STRLEN];

	if (endpoint)
		endpoint_addresses(&endpoint->ep, ips);
	out_record(o, NULL);
	out_string(o, "address", socket_format(&port->ip, port->port, text));
	out_string(o, "protocol", l4_proto_name(port->protocol));
	out_pod(o, "pod", pods_find(&e->pods, port->ifindex));
	out_string(o, "target", ip->family ? socket_format(ip, port->target, text) : NULL);
	if (!ip->family)
		out_word(o, "state", "no pod", OUT_RED);
	else if (hidden)
		out_word(o, "state", "a Service has it", OUT_YELLOW);
	else
		out_word(o, "state", "ok", OUT_GREEN);
	out_end(o);
}

static int load(struct listing *l, struct err *err)
{
	int r = dp_host_port_each(add, l, err);

	if (r < 0)
		return r;
	if (l->count)
		qsort(l->v, l->count, sizeof(*l->v), cmp);
	l->hidden = calloc(l->count + 1, sizeof(*l->hidden));
	return l->hidden ? dp_service_each(hide, l, err) : err_errno(err, ENOMEM, "cannot list the hostPorts");
}

int cmd_service_hostports(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	struct listing l = { 0 };
	int r = endpoints_list(cli, &e);

	if (r == 0)
		r = load(&l, &cli->err);
	if (r == 0) {
		out_table(cli->out, NULL, "no pod of this node has a hostPort");
		for (size_t i = 0; i < l.count; i++)
			out_host_port(cli->out, &e, &l.v[i], l.hidden[i]);
		out_end(cli->out);
	}
	free(l.v);
	free(l.hidden);
	return r;
}
