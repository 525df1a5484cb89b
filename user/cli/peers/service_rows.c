/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "array.h"
#include "host_ports.h"
#include "json.h"
#include "packet.h"

void service_rows_free(struct service_rows *rows)
{
	free(rows->v);
	*rows = (struct service_rows){ 0 };
}

const char *service_row_name(const struct service_row *row, char buf[SERVICE_NAME_MAX])
{
	if (!row->agent)
		return NULL;
	snprintf(buf, SERVICE_NAME_MAX, "%s/%s", json_text_at(row->agent, "namespace") ?: "",
		 json_text_at(row->agent, "name") ?: "");
	return buf;
}

json_t *service_json(const struct dp_flow *flow, const char *name)
{
	char address[IP_STRLEN];

	return json_pack("{sssIss?so}", "address", ip_format(&flow->service, address), "port",
			 (json_int_t)flow->service_port, "name", name, "client_port",
			 flow->client_port ? json_integer(flow->client_port) : json_null());
}

static int row_cmp(const void *pa, const void *pb)
{
	const struct service_row *a = pa, *b = pb;
	int c = ip_cmp(&a->ip, &b->ip);

	if (c == 0)
		c = a->port - b->port;
	if (c == 0)
		c = a->protocol - b->protocol;
	return c ? c : a->external - b->external;
}

const struct service_row *service_rows_find(const struct service_rows *rows, const struct ip *ip, uint16_t port,
					    uint8_t protocol)
{
	struct service_row row = { .ip = *ip, .port = port, .protocol = protocol };
	const struct service_row *found = NULL;

	for (int external = 0; external < 2 && !found && rows->count; external++) {
		row.external = external;
		found = bsearch(&row, rows->v, rows->count, sizeof(row), row_cmp);
	}
	return found;
}

const char *service_rows_name(const struct service_rows *rows, const struct dp_flow *flow, char buf[SERVICE_NAME_MAX])
{
	const struct service_row *row = service_rows_find(rows, &flow->service, flow->service_port, flow->protocol);

	if (row)
		return service_row_name(row, buf);
	return dp_host_port_is_of(flow->ct.responder, &flow->service, flow->service_port, flow->protocol) ? "hostPort" : NULL;
}

static int add_mapped(const struct dp_service *service, void *arg)
{
	struct service_rows *rows = arg;

	return array_push(rows->v, rows->room, rows->count,
			  (struct service_row){ .ip = service->ip,
						.port = service->port,
						.protocol = service->protocol,
						.external = service->external,
						.mapped = true,
						.local = service->local,
						.released = service->released,
						.affinity_seconds = service->affinity_seconds,
						.table_size = service->table_size,
						.restricted = service->restricted,
						.backend_count = service->backend_count });
}

/* A frontend that the agent reports as written has a row from the maps, unless it has just changed. */
static int add_named(struct service_rows *rows, const json_t *named, size_t mapped)
{
	const char *address = json_text_at(named, "address"), *protocol = json_text_at(named, "protocol");
	const char *scope = json_text_at(named, "scope") ?: "cluster";
	struct service_row row = { .agent = named,
				   .port = (uint16_t)json_integer_value(json_object_get(named, "port")) };
	struct service_row *found = NULL;

	if (!address || !protocol || ip_parse(address, &row.ip) < 0)
		return 0;
	row.protocol = strcasecmp(protocol, "tcp") == 0 ? 6 : strcasecmp(protocol, "udp") == 0 ? 17 : 132;
	row.external = strcmp(scope, "external") == 0;
	if (json_is_true(json_object_get(named, "written")) && mapped)
		found = bsearch(&row, rows->v, mapped, sizeof(row), row_cmp);
	if (found)
		found->agent = named;
	return found ? 0 : array_push(rows->v, rows->room, rows->count, row);
}

static void sort(struct service_rows *rows)
{
	if (rows->count)
		qsort(rows->v, rows->count, sizeof(*rows->v), row_cmp);
}

int service_rows_load_named(struct cli *cli, struct service_rows *rows)
{
	const json_t *named = cli_agent(cli, "services");
	size_t i, mapped = rows->count;
	json_t *service;
	int r = 0;

	json_array_foreach(named, i, service) {
		if (r == 0 && add_named(rows, service, mapped) < 0)
			r = err_errno(&cli->err, ENOMEM, "cannot list the services");
	}
	sort(rows);
	return r;
}

int service_rows_load(struct cli *cli, struct service_rows *rows)
{
	int r = dp_service_each(add_mapped, rows, &cli->err);

	sort(rows);
	return r < 0 ? r : service_rows_load_named(cli, rows);
}
