/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Service frontends: addresses and ports from the maps, with names from the agent; and those that the agent could not
 * write to the maps.
 */
#ifndef WARREN_SERVICE_ROWS_H
#define WARREN_SERVICE_ROWS_H

#include "cli.h"
#include "services.h"

struct service_row {
	struct ip ip;
	uint16_t port;
	uint8_t protocol;
	bool mapped; /* in the maps; the next two are valid */
	uint32_t affinity_seconds;
	size_t backend_count;
	const json_t *agent; /* its entry in the agent's answer; NULL: none */
};

struct service_rows {
	struct service_row *v; /* by address, port, protocol */
	size_t count, room;
};
#define _cleanup_service_rows_ __attribute__((cleanup(service_rows_free)))

/* Queries the agent with cli_agent(): `cli` owns the answer. */
int service_rows_load(struct cli *cli, struct service_rows *rows);
/* Only the agent's answer, without the maps. */
int service_rows_load_named(struct cli *cli, struct service_rows *rows);
void service_rows_free(struct service_rows *rows); /* leaves them empty */
/* NULL: not found. */
const struct service_row *service_rows_find(const struct service_rows *rows, const struct ip *ip, uint16_t port,
					    uint8_t protocol);

/* "default/web"; NULL: unknown. */
#define SERVICE_NAME_MAX 320
const char *service_row_name(const struct service_row *row, char buf[SERVICE_NAME_MAX]);
/* {"address", "port", "name"} of a flow's frontend. `name` may be NULL. */
json_t *service_json(const struct ip *ip, uint16_t port, const char *name);

#endif
