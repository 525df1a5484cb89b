/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services as tools show them: the addresses and ports that are in the maps, with the names that only the agent knows;
 * and those that it could not write.
 */
#ifndef WARREN_SERVICE_ROWS_H
#define WARREN_SERVICE_ROWS_H

#include "cli.h"
#include "services.h"

struct service_row {
	struct ip ip;
	uint16_t port;
	uint8_t protocol;
	bool mapped; /* in the maps, with: */
	uint32_t affinity_seconds;
	size_t backend_count;
	const json_t *agent; /* what the agent says of it; NULL: nothing */
};

struct service_rows {
	struct service_row *v; /* by address, port, protocol */
	size_t count, room;
};
#define _cleanup_service_rows_ __attribute__((cleanup(service_rows_free)))

/* Asks the agent with cli_agent(): what it answered stays with `cli`. */
int service_rows_load(struct cli *cli, struct service_rows *rows);
/* Only what the agent says, without a look into the maps. */
int service_rows_load_named(struct cli *cli, struct service_rows *rows);
void service_rows_free(struct service_rows *rows); /* they are empty then */
/* NULL: there is none. */
const struct service_row *service_rows_find(const struct service_rows *rows, const struct ip *ip, uint16_t port,
					    uint8_t protocol);

/* "default/web"; NULL: its name is not known. */
#define SERVICE_NAME_MAX 320
const char *service_row_name(const struct service_row *row, char buf[SERVICE_NAME_MAX]);
/* {"address", "port", "name"}: what a flow goes through. `name` may be NULL. */
json_t *service_json(const struct ip *ip, uint16_t port, const char *name);

#endif
