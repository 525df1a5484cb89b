/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table: a row is a packet in, its verdict and the packet out. It is one test in each family or, where other nodes come
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
	bool old;                     /* of a flow that `before` created: nothing new to report */
	size_t cut;                   /* the frame's length, if it is cut short */
	uint32_t mark_in, gso_size;

	enum wr_reason reason;        /* determines the verdict; NONE: passes and is not counted */
	uint32_t mark;
	struct layer out[LAYERS];     /* empty: as it went in */
	enum device peer;             /* from_pod: the receiver, where the event names it */
	bool unasked;                 /* from_uplink: dropped before the sending node is looked up */
	uint64_t identity;            /* from_uplink: of the sender, in the event; default: of the row's option */
	enum wr_reason dry_reason;          /* the dry run's reason, if it differs: it does not encapsulate */
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
/* Puts the node into the row's state and runs the packets of `before`. */
void row_prepare(const struct row_case *c);
bool row_is_padded(const struct row *row);
/* Whether an event reports it: drops and new flows. */
bool row_is_reported(const struct row_case *c);

#endif
