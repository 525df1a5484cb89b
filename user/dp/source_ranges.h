/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sets of source ranges (abi/service.h), reference-counted: services with the same ranges share one. Used by
 * user/dp/services.c only.
 */
#ifndef WARREN_DP_SOURCE_RANGES_H
#define WARREN_DP_SOURCE_RANGES_H

#include "addr.h"
#include "backend_lists.h"

struct range_set {
	struct table_link by_number, by_content;
	uint32_t number;
	bool v6;
	bool whole; /* no range is missing for lack of room, so it can be shared */
	size_t services; /* references */
	struct prefix *v; /* sorted, as in the map */
	size_t count, room;
};

struct range_sets {
	int fd[2]; /* maps source_ranges4 and source_ranges6: borrowed */
	struct backend_lists *lists; /* which draw the numbers */
	struct table by_number, by_content;
};

void range_sets_free(struct range_sets *s);
/*
 * Returns a reference to the set of these ranges (masked, sorted, no duplicates), an existing or a new one. Without room
 * in the map (-ENOSPC) or kernel memory, *set has only the first ranges, as many as fit, so it admits fewer clients;
 * NULL: there is no set at all.
 */
int range_sets_acquire(struct range_sets *s, bool v6, const struct prefix *ranges, size_t count, const char *whose,
		       struct range_set **set, struct err *err);
/* Drops a reference to the set of this number, if there is one. The last one deletes it. */
int range_sets_release(struct range_sets *s, uint32_t number, struct err *err);

/* Records what is in the maps: a service has the set (-ENOMEM); the set has the range (-ENOENT: no such set; -ENOMEM). */
int range_sets_note(struct range_sets *s, bool v6, uint32_t number);
int range_sets_note_range(struct range_sets *s, uint32_t number, const struct prefix *range);
/* Call it when all are recorded: they can be shared from now on. */
void range_sets_noted(struct range_sets *s);

#endif
