/* SPDX-License-Identifier: BSD-2-Clause */
/* The table: a row is a packet in and what becomes of it; most rows stand for two, one of each family. */
#ifndef WARREN_TEST_ROWS_H
#define WARREN_TEST_ROWS_H

#include "state.h"

struct row {
	const char *name;
	enum family family;
	unsigned state;               /* set of enum state */
	enum device entered;          /* to_pod: where the packet entered the host */
	struct layer before[2][LAYERS]; /* packets that the program sees first */
	struct layer in[LAYERS];
	bool old;                     /* it goes on with what came before: nothing new to report */
	size_t cut;                   /* the frame's length, if it is cut short */
	uint32_t mark_in;

	enum wr_reason reason;        /* it gives the verdict */
	uint32_t mark;
	struct layer out[LAYERS];     /* empty: as it went in */
	enum device peer;             /* from_pod: the receiver, where the event names it */
};

extern const struct row rows_from_pod[], rows_to_pod[]; /* end with name NULL */
extern const struct row *const tables[2];

bool row_has_family(const struct row *row, bool v6);
/* The packets of a row. */
void row_in(const struct row *row, enum program program, bool v6, struct frame *f);
void row_out(const struct row *row, enum program program, bool v6, struct frame *f);
/* Puts the node into the row's state and runs what comes before. */
void row_prepare(const struct row *row, enum program program, bool v6);
/* Whether an event tells of it: drops and new flows. */
bool row_is_reported(const struct row *row);

#endif
