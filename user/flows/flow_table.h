/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows of conntrack, counted by who talks to whom: a row for each (source, destination, protocol, port, service,
 * verdict, rules). In bounded memory, whatever number of rows the flows' senders cause. No I/O, no output.
 */
#ifndef WARREN_FLOWS_FLOW_TABLE_H
#define WARREN_FLOWS_FLOW_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "flows.h"
#include "hashmap.h"
#include "workload.h"

/* --- ends of flows ------------------------------------------------------------------------------------------------ */

enum flow_end_kind {
	FLOW_END_OTHERS,   /* of a merged row: several ends */
	FLOW_END_WORKLOAD, /* pods of one owner, of this node and of others */
	FLOW_END_PODS,	   /* pods of other nodes whose names are unknown: by labels, else by node */
	FLOW_END_GONE,	   /* an endpoint of this node that was deleted */
	FLOW_END_HOST,	   /* this node */
	FLOW_END_NODE,	   /* another node */
	FLOW_END_WORLD,
};

/* Equal bytes are the same end: all that is not set is zero. */
struct flow_end {
	enum flow_end_kind kind;
	enum workload_kind workload;  /* of kind WORKLOAD */
	uint64_t identity;	      /* of kind PODS; 0: unknown */
	char namespace[64];	      /* "": none is known */
	char name[WORKLOAD_NAME_MAX]; /* of a workload or node; of PODS "app=web,tier=front", or a node's name without
					 identity */
};

const char *flow_end_kind_name(const struct flow_end *end); /* of a workload its kind: "deployment" */
/* "shop/web", "host", "node b", "world", "pods app=web of namespace shop". */
#define FLOW_END_STRLEN 352
const char *flow_end_format(const struct flow_end *end, char buf[FLOW_END_STRLEN]);

/* --- which flows count -------------------------------------------------------------------------------------------- */

enum flow_verdict { FLOW_ANY_VERDICT, FLOW_ALLOWED, FLOW_DENIED };

/* NULL: any. The strings must outlive the table. */
struct flow_filter {
	const char *from, *to; /* "shop/web", "web" of any namespace, "host", "world", a node's name */
	const char *namespace; /* of either end */
	enum flow_verdict verdict;
};

/* --- rows --------------------------------------------------------------------------------------------------------- */

/*
 * The owner of a row is the workload of this node that initiated its flows, or else that answers them. An owner has
 * this many rows to itself, whatever the others do. Beyond those all owners share FLOW_ROWS_MAX. When these are used
 * up, its further flows are counted in one merged row for each verdict and direction.
 */
#define FLOW_ROWS_OF_OWNER 32
#define FLOW_ROWS_MAX 10000
/* Distinct addresses of the world that are counted: in all rows, and at one end of a row. */
#define FLOW_ADDRESSES_MAX 262144
#define FLOW_ADDRESSES_OF_ROW 16384

struct flow_row_key {
	uint32_t end[2];      /* index in `ends`; [0] the initiator's */
	struct ip address[2]; /* of the world, if it is shown one by one; else family 0 */
	struct ip service;    /* family 0: none */
	uint8_t protocol;
	uint16_t port, service_port; /* the responder's, and the service's; 0: none */
	bool merged;
	uint8_t evaluated, denied; /* bit n: at the enforcement point of direction n */
	uint32_t rule[WR_DIRECTIONS];
};

struct flow_row {
	struct flow_row_key key;
	uint64_t flows, unreplied, replied, closing; /* the last three, of allowed ones: `closing` has FIN or RST */
	uint32_t idle_ms;	/* since the last packet of the most recent flow; exact to about a second */
	uint32_t addresses[2];	/* distinct ones of the world at each end, where `end` is the world */
	bool more_addresses[2]; /* ... there are more */
	struct dp_flow last;	/* one of its flows */
};

struct flow_table {
	bool one_by_one; /* addresses of the world */
	struct flow_filter filter;
	struct flow_row *rows;
	size_t count, room;
	uint64_t flows, merged; /* flows in rows; those of them in merged rows */
	struct interned_end *ends;
	size_t end_count, end_room;
	size_t shared; /* rows beyond their owners' own */
	struct hashmap end_index, row_index, seen;
};
#define _cleanup_flow_table_ __attribute__((cleanup(flow_table_free)))

int flow_table_init(struct flow_table *t, const struct flow_filter *filter, bool one_by_one); /* -ENOMEM */
void flow_table_free(struct flow_table *t);						      /* also of all zeros */

/* The index of an end, which is the same for equal ones; -ENOMEM. */
int flow_table_end(struct flow_table *t, const struct flow_end *end, uint32_t *index);
const struct flow_end *flow_table_at(const struct flow_table *t, uint32_t index);

/* Counts a live flow between these ends, unless the filter excludes it. -ENOMEM */
int flow_table_add(struct flow_table *t, const struct dp_flow *flow, const uint32_t ends[2]);

/* Sorts the rows; no flow may be added afterwards. */
enum flow_order { FLOW_BY_NAME, FLOW_BY_COUNT };
void flow_table_sort(struct flow_table *t, enum flow_order order);

/*
 * Rows of `after` with no counterpart of the same verdict in `before`, both sorted by name. `changed`: there is a
 * counterpart of the other verdict. Stops at the first non-zero return of `fn` and returns it.
 */
int flow_table_compare(const struct flow_table *before, const struct flow_table *after,
		       int (*fn)(const struct flow_row *row, bool changed, void *arg), void *arg);

#endif
