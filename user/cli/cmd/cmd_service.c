/* SPDX-License-Identifier: BSD-2-Clause */
/* warren service list, get: frontends, for whom they are, and their backends; sockets: the host's own sockets that use them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "peers.h"
#include "sockets.h"
#include "str.h"

#define NO_NAMES "the maps hold no names"

static void out_row_state(struct out *o, const struct service_row *row)
{
	if (!row->mapped)
		out_word(o, "state", "not in maps", OUT_RED);
	else if (!row->backend_count)
		out_word(o, "state", row->local ? "drops" : "refuses", OUT_YELLOW);
	else
		out_word(o, "state", "ok", OUT_GREEN);
}

static void out_address(struct out *o, const struct service_row *row)
{
	char text[SOCKET_STRLEN];

	out_string(o, "address", socket_format(&row->ip, row->port, text));
	out_string(o, "protocol", l4_proto_name(row->protocol));
	out_string(o, "scope", row->external ? "external" : "cluster");
}

/* --- list --- */

static bool in_namespace(const struct service_row *row, const char *namespace)
{
	return !namespace || (row->agent && strcmp(json_text_at(row->agent, "namespace") ?: "", namespace) == 0);
}

static void out_row(struct out *o, const struct service_row *row)
{
	char name[SERVICE_NAME_MAX];

	out_record(o, NULL);
	out_string(o, "service", service_row_name(row, name));
	out_string(o, "port_name", row->agent ? json_text_at(row->agent, "port_name") : NULL);
	out_address(o, row);
	out_uint(o, "backends", row->backend_count);
	out_row_state(o, row);
	out_json_member(o, "type", row->agent);
	out_json_member(o, "problem", row->agent);
	out_end(o);
}

/* Shows the problem of a Service once, even if it has several frontends. */
static void out_problems(struct out *o, const struct service_rows *rows, const char *namespace)
{
	json_auto_t *shown = json_object();
	char name[SERVICE_NAME_MAX];

	for (size_t i = 0; i < rows->count; i++) {
		const struct service_row *row = &rows->v[i];
		const char *problem = row->agent ? json_text_at(row->agent, "problem") : NULL;

		if (!problem || !in_namespace(row, namespace) || json_object_get(shown, service_row_name(row, name)))
			continue;
		json_object_set_new(shown, name, json_true());
		out_note(o, "\n%s: %s", name, problem);
	}
}

int cmd_service_list(struct cli *cli)
{
	_cleanup_service_rows_ struct service_rows rows = { 0 };
	const char *namespace = cli->options.namespace;
	int r = cli_open(cli);

	if (r == 0)
		r = service_rows_load(cli, &rows);
	if (r < 0)
		return r;
	if (namespace && !cli->answer) {
		err_set(&cli->err, cli->why.num, "%s: " NO_NAMES " and no namespaces", cli->why.msg);
		return err_hint(&cli->err, "run it without --namespace");
	}
	out_table(cli->out, NULL, "no services");
	for (size_t i = 0; i < rows.count; i++) {
		if (in_namespace(&rows.v[i], namespace))
			out_row(cli->out, &rows.v[i]);
	}
	out_end(cli->out);
	out_problems(cli->out, &rows, namespace);
	out_no_agent(cli, NO_NAMES);
	return 0;
}

/* --- get --- */

/* NAMESPACE/NAME, or an address with or without a port. */
struct selector {
	const char *name; /* NULL: by address */
	struct ip ip;
	uint64_t port; /* 0: any */
};

static int selector_parse(struct cli *cli, const char *text, struct selector *s)
{
	char address[IP_STRLEN + 2], *end = address;
	const char *port = NULL;

	*s = (struct selector){ 0 };
	if (strchr(text, '/')) {
		s->name = text;
		return 0;
	}
	if (ip_parse(text, &s->ip) == 0)
		return 0;
	port = strrchr(text, ':');
	if (!port || (size_t)(port - text) >= sizeof(address) || number_parse(port + 1, UINT16_MAX, &s->port) < 0 ||
	    !s->port)
		return cli_usage_error(cli, "'%s' is neither NAMESPACE/NAME nor ADDRESS[:PORT]", text);
	snprintf(address, sizeof(address), "%.*s", (int)(port - text), text);
	if (*address == '[' && (end = strchr(address, ']'))) {
		*end = '\0';
		end = address + 1;
	}
	if (!end || ip_parse(end, &s->ip) < 0)
		return cli_usage_error(cli, "'%s' is neither NAMESPACE/NAME nor ADDRESS[:PORT]", text);
	return 0;
}

static bool selects(const struct selector *s, const struct service_row *row)
{
	char name[SERVICE_NAME_MAX];

	if (s->name)
		return row->agent && strcmp(service_row_name(row, name), s->name) == 0;
	return ip_equal(&row->ip, &s->ip) && (!s->port || row->port == s->port);
}

static void out_backend(struct out *o, const struct endpoints *e, const struct dp_backend *backend)
{
	const struct endpoint *endpoint = endpoints_by_address(e, &backend->ip);
	const struct remote_pod *pod = endpoint ? NULL : remotes_pod(&e->remotes, &backend->ip);
	const struct remote_node *node =
		remotes_by_address(&e->remotes, &backend->ip) ?: remotes_by_cidr(&e->remotes, &backend->ip);
	char text[SOCKET_STRLEN], label[POD_LABEL_MAX], name[REMOTE_POD_NAME_MAX], slot[16];

	out_record(o, NULL);
	out_string(o, "backend", socket_format(&backend->ip, backend->port, text));
	out_string(o, "pod", endpoint ? endpoint_label(e, endpoint->id, label) : pod ? remote_pod_name(pod, name) : NULL);
	snprintf(slot, sizeof(slot), "slot %u", node ? node->slot : 0);
	out_field(o, "node", node && node->name ? json_string(node->name) : json_null(),
		  endpoint || (node && node->own) ? "this node"
		  : node			  ? node->name ?: slot
						  : "outside the cluster",
		  OUT_PLAIN);
	out_end(o);
}

/* A service that was deleted meanwhile has no backends. */
static int describe(struct cli *cli, const struct endpoints *e, const struct service_row *row)
{
	_cleanup_free_ struct dp_backend *backends = NULL;
	const struct dp_service service = { .ip = row->ip, .port = row->port, .protocol = row->protocol,
					    .external = row->external };
	const json_t *agent = row->agent;
	struct out *o = cli->out;
	char name[SERVICE_NAME_MAX];
	size_t count = 0;
	int r = row->mapped ? dp_service_backends(&service, &backends, &count, &cli->err) : 0;

	if (r < 0 && r != -ENOENT)
		return r;

	out_record(o, NULL);
	out_string(o, "service", service_row_name(row, name));
	if (agent) {
		out_member(o, "type", agent);
		out_string(o, "port_name", json_text_at(agent, "port_name"));
		if (json_integer_value(json_object_get(agent, "node_port")))
			out_member(o, "node_port", agent);
	}
	out_address(o, row);
	if (row->affinity_seconds)
		out_uint(o, "affinity_seconds", row->affinity_seconds);
	out_row_state(o, row);
	if (agent && json_text_at(agent, "problem"))
		out_field(o, "problem", json_incref(json_object_get(agent, "problem")), json_text_at(agent, "problem"),
			  OUT_RED);
	out_table(o, "backends", !row->mapped ? "none" : row->local ? "none on this node: new flows are dropped"
								    : "none: new flows are refused");
	for (size_t i = 0; i < count; i++)
		out_backend(o, e, &backends[i]);
	out_end(o);
	out_end(o);
	return 0;
}

int cmd_service_get(struct cli *cli)
{
	_cleanup_service_rows_ struct service_rows rows = { 0 };
	_cleanup_endpoints_ struct endpoints e = { 0 };
	struct selector selector;
	size_t found = 0;
	int r = selector_parse(cli, cli->args[0], &selector);

	if (r == 0)
		r = endpoints_list_all(cli, &e);
	if (r == 0)
		r = service_rows_load(cli, &rows);
	if (r < 0)
		return r;
	out_list(cli->out, NULL, "");
	for (size_t i = 0; i < rows.count && r == 0; i++) {
		if (!selects(&selector, &rows.v[i]))
			continue;
		r = describe(cli, &e, &rows.v[i]);
		found++;
	}
	out_end(cli->out);
	if (r < 0)
		return r;
	if (!found) {
		err_set(&cli->err, ENOENT, "there is no service %s with an address%s", cli->args[0],
			cli->answer || !selector.name ? "" : ": " NO_NAMES);
		return err_hint(&cli->err, "`warren service list` lists them%s%s", cli->answer ? "" : "; ",
				cli->why.msg);
	}
	out_no_agent(cli, NO_NAMES);
	return 0;
}

/* --- sockets --- */

static int out_socket(const struct dp_socket *socket, void *arg)
{
	struct out *o = arg;
	char text[SOCKET_STRLEN];

	for (size_t i = 0; i < socket->service_count; i++) {
		const struct dp_socket_service *s = &socket->services[i];

		out_record(o, NULL);
		out_string(o, "protocol", l4_proto_name(socket->protocol));
		out_string(o, "local", socket_format(&socket->local, socket->local_port, text));
		out_string(o, "service", socket_format(&s->service, s->service_port, text));
		out_string(o, "backend", socket_format(&s->backend, s->backend_port, text));
		out_json(o, "connected", json_boolean(socket->connected));
		out_uint(o, "uid", socket->uid);
		out_end(o);
	}
	return 0;
}

int cmd_service_sockets(struct cli *cli)
{
	int r = cli_open(cli);

	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no socket of this host uses a service");
	r = dp_socket_each(out_socket, cli->out, &cli->err);
	out_end(cli->out);
	if (r == 0 && !sockets_are_attached())
		out_note(cli->out, "\nservices are not for this host's own sockets: see `warren status`");
	return r;
}
