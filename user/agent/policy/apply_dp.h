/* SPDX-License-Identifier: BSD-2-Clause */
/* The node's maps as apply.h's tables. */
#ifndef WARREN_AGENT_APPLY_DP_H
#define WARREN_AGENT_APPLY_DP_H

#include "apply.h"

struct apply_tables;
int apply_tables_open(struct apply_tables **tables, size_t max_policy_entries, struct err *err); /* 0: as many as fit */
void apply_tables_close(struct apply_tables *tables);
extern const struct apply_ops apply_tables_ops; /* their arg: struct apply_tables * */

/* Name, number of elements and limit of a table. */
const char *apply_table_name(enum apply_table table);
void apply_table_use(const struct apply_tables *tables, enum apply_table table, size_t *used, size_t *limit);

#endif
