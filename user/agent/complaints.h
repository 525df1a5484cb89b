/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is wrong until it is fixed: logged as it comes and goes, 60 lines a minute at most, shown by `warren status`
 * meanwhile.
 */
#ifndef WARREN_AGENT_COMPLAINTS_H
#define WARREN_AGENT_COMPLAINTS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum complaint_kind {
	COMPLAINT_MANIFEST, /* about a file, or their directory: what it said before is still in force */
	COMPLAINT_API,	    /* about what the API server says, or that it says nothing: the same */
	COMPLAINT_NODE,	    /* about a Node of the cluster */
	COMPLAINT_OBJECT,   /* about what other objects say */
	COMPLAINT_AGENT,    /* about this node: anything else */
};

struct complaint {
	enum complaint_kind kind;
	char *what, *message;
};

/* In no order. Zeros: none. */
struct complaints {
	struct complaint *v;
	size_t count, room;
	uint64_t minute; /* of the lines that are counted; each minute has room for so many, since objects may come and go at will */
	unsigned lines, lines_left_out;
};

/* One complaint each thing (`what`): the last that was said of it, once. `err` NULL: it is in order. */
void complain(struct complaints *c, enum complaint_kind kind, const char *what, const struct err *err);
size_t complaints_count(const struct complaints *c, enum complaint_kind kind);
const char *complaint_kind_name(enum complaint_kind kind);
void complaints_free(struct complaints *c);

#endif
