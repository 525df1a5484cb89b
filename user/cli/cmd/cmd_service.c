/* SPDX-License-Identifier: BSD-2-Clause */
/* warren service list, get: frontends, for whom they are, and their backends; sockets: the host's own sockets that use them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_socket.h"
#include "array.h"
#include "cleanup.h"
#include "json.h"
#include "peers.h"
#include "sockets.h"
#include "str.h"

#define NO_NAMES "the maps hold no names"

static void out_row_state(struct out *o, const struct service_row *row)
{
	const char *owner = row->agent ? json_text_at(row->agent, "owner") : NULL;

	if (owner)
		out_fieldf(o, "state", json_string("not in maps"), OUT_RED, "%s has it", owner);
	else if (!row->mapped)
		out_word(o, "state", "not in maps", OUT_RED);
	else if (row->released)
		out_word(o, "state", "released", OUT_YELLOW);
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
	out_word(o, "clients", row->restricted ? "source ranges" : "all", OUT_PLAIN);
	out_row_state(o, row);
	out_json_member(o, "type", row->agent);
	out_json_member(o, "owner", row->agent);
	out_json_member(o, "health", row->agent);
	out_json_member(o, "problem", row->agent);
	out_end(o);
}

/* Shows the problems of a Service once, even if it has several frontends. */
static void out_problems(struct out *o, const struct service_rows *rows, const char *namespace)
{
	json_auto_t *shown = json_object();
	char name[SERVICE_NAME_MAX];

	for (size_t i = 0; i < rows->count; i++) {
		const struct service_row *row = &rows->v[i];
		const char *problem = row->agent ? json_text_at(row->agent, "problem") : NULL;

		const json_t *port = row->agent ? json_object_get(row->agent, "health") : NULL;
		const char *health = port ? json_text_at(port, "problem") : NULL;

		if ((!problem && !health) || !in_namespace(row, namespace) || json_object_get(shown, service_row_name(row, name)))
			continue;
		json_object_set_new(shown, name, json_true());
		if (problem)
			out_note(o, "\n%s: %s", name, problem);
		if (health)
			out_note(o, "\n%s: %s", name, health);
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

/* An endpoint, as the agent reports it for the frontends of a row. */
struct reported {
	struct dp_backend backend;
	const char *state, *unused;
};

struct reports {
	struct reported *v; /* by address and port */
	size_t count, room;
};

static int backend_cmp(const struct dp_backend *a, const struct dp_backend *b)
{
	const int c = ip_cmp(&a->ip, &b->ip);

	return c ? c : a->port - b->port;
}

static int reported_cmp(const void *pa, const void *pb)
{
	const struct reported *a = pa, *b = pb;
	const int c = backend_cmp(&a->backend, &b->backend);

	/* An address may be in several slices: the one that is used is first. */
	return c ? c : (a->unused != NULL) - (b->unused != NULL);
}

static int reported_find(const void *key, const void *element)
{
	return backend_cmp(key, &((const struct reported *)element)->backend);
}

static bool is_of_row(const json_t *endpoint, const struct service_row *row)
{
	const char *protocol = json_text_at(endpoint, "protocol"), *port = json_text_at(endpoint, "port_name");

	return json_integer_value(json_object_get(endpoint, "family")) == (row->ip.family == AF_INET6 ? 6 : 4) &&
	       json_is_true(json_object_get(endpoint, "local")) == json_is_true(json_object_get(row->agent, "local")) &&
	       protocol && port && strcmp(protocol, json_text_at(row->agent, "protocol") ?: "") == 0 &&
	       strcmp(port, json_text_at(row->agent, "port_name") ?: "") == 0;
}

/* `endpoints`: of the row's Service. -ENOMEM */
static int reports_make(struct reports *reports, const json_t *endpoints, const struct service_row *row)
{
	json_t *endpoint;
	size_t i;

	json_array_foreach(endpoints, i, endpoint) {
		struct reported r = { .state = json_text_at(endpoint, "state"), .unused = json_text_at(endpoint, "unused") };

		r.backend.port = (uint16_t)json_integer_value(json_object_get(endpoint, "port"));
		if (!is_of_row(endpoint, row) || ip_parse(json_text_at(endpoint, "address") ?: "", &r.backend.ip) < 0)
			continue;
		if (array_push(reports->v, reports->room, reports->count, r) < 0)
			return -ENOMEM;
	}
	if (reports->count)
		qsort(reports->v, reports->count, sizeof(*reports->v), reported_cmp);
	return 0;
}

/* `state` NULL: not known. */
static void out_backend(struct out *o, const struct endpoints *e, const struct dp_backend *backend, const char *state)
{
	const struct endpoint *endpoint = endpoints_by_address(e, &backend->ip);
	const struct remote_pod *pod = endpoint ? NULL : remotes_pod(&e->remotes, &backend->ip);
	const struct remote_node *node =
		remotes_by_address(&e->remotes, &backend->ip) ?: remotes_by_cidr(&e->remotes, &backend->ip);
	char text[SOCKET_STRLEN], label[POD_LABEL_MAX], name[REMOTE_POD_NAME_MAX], slot[16];

	out_string(o, "backend", socket_format(&backend->ip, backend->port, text));
	out_string(o, "pod", endpoint ? endpoint_label(e, endpoint->id, label) : pod ? remote_pod_name(pod, name) : NULL);
	snprintf(slot, sizeof(slot), "slot %u", node ? node->slot : 0);
	out_field(o, "node", node && node->name ? json_string(node->name) : json_null(),
		  endpoint || (node && node->own) ? "this node"
		  : node			  ? node->name ?: slot
						  : "outside the cluster",
		  OUT_PLAIN);
	out_string(o, "state", state);
}

static void out_backends(struct out *o, const struct endpoints *e, const struct service_row *row, const struct reports *reports,
			 const struct dp_backend *backends, size_t count)
{
	out_table(o, "backends", !row->mapped || row->released ? "none"
				 : row->local		       ? "none on this node: new flows are dropped"
							       : "none: new flows are refused");
	for (size_t i = 0; i < count; i++) {
		const struct reported *r = reports->count ? bsearch(&backends[i], reports->v, reports->count, sizeof(*reports->v), reported_find) : NULL;

		out_record(o, NULL);
		out_backend(o, e, &backends[i], r ? r->state : NULL);
		out_end(o);
	}
	out_end(o);
}

static void out_ranges(struct out *o, const struct prefix *ranges, size_t count)
{
	char text[PREFIX_STRLEN];

	out_table(o, "source_ranges", "none of this address family: no client may begin a flow");
	for (size_t i = 0; i < count; i++) {
		out_record(o, NULL);
		out_string(o, "range", prefix_format(&ranges[i], text));
		out_end(o);
	}
	out_end(o);
}

static void out_unused(struct out *o, const struct endpoints *e, const struct reports *reports)
{
	out_table(o, "unused", "none");
	for (size_t i = 0; i < reports->count; i++) {
		const struct reported *r = &reports->v[i];

		if (!r->unused || (i && backend_cmp(&r->backend, &reports->v[i - 1].backend) == 0))
			continue;
		out_record(o, NULL);
		out_backend(o, e, &r->backend, r->state);
		out_string(o, "why", r->unused);
		out_end(o);
	}
	out_end(o);
}

static void out_health(struct out *o, const json_t *health)
{
	const char *problem = json_text_at(health, "problem");
	const int status = (int)json_integer_value(json_object_get(health, "status"));

	if (problem)
		out_field(o, "health", json_incref((json_t *)health), problem, OUT_RED);
	else
		out_fieldf(o, "health", json_incref((json_t *)health), status == 200 ? OUT_GREEN : OUT_YELLOW,
			   "port %lld answers %d: %lld endpoints on this node", json_integer_value(json_object_get(health, "port")), status,
			   json_integer_value(json_object_get(health, "endpoints")));
}

static void out_frontend(struct out *o, const struct service_row *row)
{
	const json_t *agent = row->agent, *health = agent ? json_object_get(agent, "health") : NULL;
	char name[SERVICE_NAME_MAX];

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
	if (health)
		out_health(o, health);
	if (row->table_size)
		out_uint(o, "maglev_table", row->table_size);
	out_row_state(o, row);
	out_json_member(o, "owner", agent);
	if (agent && json_text_at(agent, "problem"))
		out_field(o, "problem", json_incref(json_object_get(agent, "problem")), json_text_at(agent, "problem"),
			  OUT_RED);
}

/* `endpoints`: of its Service, as the agent reports them; NULL: not known. A service that was deleted meanwhile has no backends. */
static int describe(struct cli *cli, const struct endpoints *e, const struct service_row *row, const json_t *endpoints)
{
	_cleanup_free_ struct dp_backend *backends = NULL;
	const struct dp_service service = { .ip = row->ip, .port = row->port, .protocol = row->protocol,
					    .external = row->external };
	struct reports reports = { 0 };
	_cleanup_free_ struct prefix *ranges = NULL;
	size_t count = 0, range_count = 0;
	bool restricted = false;
	int r = row->mapped ? dp_service_backends(&service, &backends, &count, &cli->err) : 0;

	if (r == 0 && row->restricted)
		r = dp_service_ranges(&service, &restricted, &ranges, &range_count, &cli->err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (endpoints && reports_make(&reports, endpoints, row) < 0) {
		free(reports.v);
		return err_errno(&cli->err, ENOMEM, "cannot list the endpoints of a service");
	}
	out_record(cli->out, NULL);
	out_frontend(cli->out, row);
	out_backends(cli->out, e, row, &reports, backends, count);
	if (endpoints)
		out_unused(cli->out, e, &reports);
	if (restricted)
		out_ranges(cli->out, ranges, range_count);
	out_end(cli->out);
	free(reports.v);
	return 0;
}

/* The endpoints of the row's Service, as the agent reports them. NULL: an agent of another release, or none. */
static json_t *query_endpoints(const struct service_row *row)
{
	json_t *answer = NULL;

	if (!row->agent ||
	    agent_request(json_pack("{ss, ss?, ss?}", "method", "service", "namespace", json_text_at(row->agent, "namespace"),
				    "name", json_text_at(row->agent, "name")),
			  AGENT_TIMEOUT_MS, &answer, NULL) < 0)
		return NULL;
	return answer;
}

int cmd_service_get(struct cli *cli)
{
	_cleanup_service_rows_ struct service_rows rows = { 0 };
	_cleanup_endpoints_ struct endpoints e = { 0 };
	char name[SERVICE_NAME_MAX], last[SERVICE_NAME_MAX] = "";
	json_t *answer = NULL;
	bool truncated;
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
		/* Frontends of one Service may be between those of others. */
		if (rows.v[i].agent && strcmp(service_row_name(&rows.v[i], name), last) != 0) {
			json_decref(answer);
			answer = query_endpoints(&rows.v[i]);
			snprintf(last, sizeof(last), "%s", name);
		}
		r = describe(cli, &e, &rows.v[i], rows.v[i].agent ? json_object_get(answer, "service") : NULL);
		found++;
	}
	truncated = json_is_true(json_object_get(answer, "truncated"));
	json_decref(answer);
	out_end(cli->out);
	if (r < 0)
		return r;
	if (!found) {
		err_set(&cli->err, ENOENT, "there is no service %s with an address%s", cli->args[0],
			cli->answer || !selector.name ? "" : ": " NO_NAMES);
		return err_hint(&cli->err, "`warren service list` lists them%s%s", cli->answer ? "" : "; ",
				cli->why.msg);
	}
	if (truncated)
		out_note(cli->out, "\nit has more endpoints than the agent reports, and more are not used than are listed");
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
