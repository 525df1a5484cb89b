/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables of backends (abi/service.h, maglev.h), reference-counted: services with the same list share its table. Used by
 * user/dp/services.c only.
 */
#ifndef WARREN_DP_BACKEND_TABLES_H
#define WARREN_DP_BACKEND_TABLES_H

#include "backend_lists.h"
#include "services.h"

struct backend_table {
	struct table_link by_number, by_list;
	uint32_t number, size, list;
	enum { TABLE_NOTED, TABLE_RIGHT, TABLE_WRONG } content; /* NOTED: found in the maps, compare it before it is shared */
	size_t services; /* references */
};

struct backend_tables {
	int fd; /* map service_tables: borrowed */
	struct backend_lists *lists;
	struct table by_number, by_list;
	size_t blocks; /* of all tables */
};

void backend_tables_free(struct backend_tables *t);
struct backend_table *backend_tables_find(const struct backend_tables *t, uint32_t number);

/*
 * Returns a reference to the table of this size of the list, which has these backends; an existing or a new one. On an
 * error nothing has changed.
 */
int backend_tables_acquire(struct backend_tables *t, const struct backend_list *list, const struct dp_backend *backends,
			   uint32_t size, const char *whose, struct backend_table **table, struct err *err);
/* Drops a reference; the last one deletes the table. */
int backend_tables_release(struct backend_tables *t, struct backend_table *table, struct err *err);

/* Records what is in the maps: a service has the table, of that list. -ENOMEM */
int backend_tables_note(struct backend_tables *t, uint32_t number, uint32_t size, uint32_t list);
/* The key has changed: all tables are compared before they are shared. */
void backend_tables_doubt(struct backend_tables *t);

#endif
