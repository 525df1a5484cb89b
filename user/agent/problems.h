/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Current problems: logged when they appear and when they are resolved, at most 60 lines a minute. `warren status`
 * lists them.
 */
#ifndef WARREN_AGENT_PROBLEMS_H
#define WARREN_AGENT_PROBLEMS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum problem_kind {
	PROBLEM_MANIFEST, /* a file, or their directory: its previous content stays enforced */
	PROBLEM_API,	  /* the API server, or an object from it: the previous objects stay enforced */
	PROBLEM_NODE,	  /* a Node of the cluster */
	PROBLEM_OBJECT,	  /* other objects */
	PROBLEM_AGENT,	  /* this node: anything else */
};

struct problem {
	enum problem_kind kind;
	char *subject, *message;
};

/* Unordered. Zeros: empty. */
struct problems {
	struct problem *v;
	size_t count, room;
	uint64_t minute; /* in which `lines` were logged */
	unsigned lines, lines_suppressed;
};

/* Sets the problem of this subject, which has one at most. `err` NULL: it is resolved. */
void report_problem(struct problems *c, enum problem_kind kind, const char *subject, const struct err *err);
size_t problems_count(const struct problems *c, enum problem_kind kind);
const char *problem_kind_name(enum problem_kind kind);
void problems_free(struct problems *c);

#endif
