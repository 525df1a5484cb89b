/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table: a row is a packet in and what becomes of it. It stands for one test in each family or, where other nodes come
 * in, in each combination of an inner and an outer one.
 */
#ifndef WARREN_TEST_ROWS_H
#define WARREN_TEST_ROWS_H

#include "state.h"

struct row {
	const char *name;
	enum family family, outer;    /* of the packet; from_uplink, from_host: of the tunnel */
	unsigned state;               /* set of enum state */
	enum device entered;          /* to_pod, from_host: where the packet entered the host */
	struct layer before[2][LAYERS]; /* packets that the program sees first */
	struct layer in[LAYERS];
	bool old;                     /* it goes on with what came before: nothing new to report */
	size_t cut;                   /* the frame's length, if it is cut short */
	uint32_t mark_in, gso_size;

	enum wr_reason reason;        /* it gives the verdict; NONE: passes, and nothing of it is counted */
	uint32_t mark;
	struct layer out[LAYERS];     /* empty: as it went in */
	enum device peer;             /* from_pod: the receiver, where the event names it */
	bool unasked;                 /* from_uplink: dropped before anybody asked which node it is from */
	uint64_t identity;            /* from_uplink: of the sender, in the event; default: as the row's option says */
	enum wr_reason twin;          /* what the twin says, if another: it does not encapsulate */
};

/* Of the first four programs. They end with name NULL. */
extern const struct row rows_from_pod[], rows_to_pod[], rows_from_uplink[], rows_from_host[];

struct row_case {
	const struct row *row;
	enum program program;
	bool v6, over6;
};

/* The program's next test (the first one, without a row): false if there is none. */
bool row_next(struct row_case *c);
/* The packets of a row. */
void row_in(const struct row_case *c, struct frame *f);
void row_out(const struct row_case *c, struct frame *f);
/* Puts the node into the row's state and runs what comes before. */
void row_prepare(const struct row_case *c);
bool row_is_padded(const struct row *row);
/* Whether an event tells of it: drops and new flows. */
bool row_is_reported(const struct row_case *c);

#endif
