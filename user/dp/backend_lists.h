/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of backends (abi/service.h), reference-counted: services with the same sequence of backends share one list.
 * Used by user/dp/services.c only.
 */
#ifndef WARREN_DP_BACKEND_LISTS_H
#define WARREN_DP_BACKEND_LISTS_H

#include "backends.h"
#include "table.h"

struct backend_list {
	struct table_link by_number, by_content;
	uint32_t number;
	bool whole; /* no backend is missing for lack of room, so it can be shared */
	uint32_t services; /* references */
	uint32_t count;	   /* up to WR_MAX_LISTED */
	uint32_t ids[]; /* in the map's order; 0: not in the map */
};

struct backend_lists {
	int lists_fd, members_fd, state_fd; /* maps service_lists, service_members and service_state: borrowed */
	struct wr_service_state *state;
	uint32_t last; /* number of a list */
	struct backends *backends;
	struct table by_number, by_content;
	size_t elements; /* of all lists */
};

void backend_lists_free(struct backend_lists *l);
struct backend_list *backend_lists_find(const struct backend_lists *l, uint32_t number);

/* Draws a number that no list has had, nor a table or a set of source ranges, whose numbers are drawn here, too. */
int backend_lists_number(struct backend_lists *l, uint32_t *number, struct err *err);

/*
 * Returns a reference to the list of these backends, an existing or a new one. Without room in the maps (-ENOSPC) or
 * kernel memory, *list has only the first backends, as many as fit; NULL: there is no list at all.
 */
int backend_lists_acquire(struct backend_lists *l, bool v6, const union backend *values, size_t count, const char *whose,
		       struct backend_list **list, struct err *err);
/* Drops a reference. The last one deletes the list, and the backends that no other list has. */
int backend_lists_release(struct backend_lists *l, struct backend_list *list, struct err *err);

/* Records what is in the maps: a service has the list; the list has the backend (false: no such list or index). */
int backend_lists_note(struct backend_lists *l, uint32_t number, size_t count);
bool backend_lists_note_element(struct backend_lists *l, uint32_t number, uint32_t index, uint32_t id);
/* Call it when all are recorded: complete lists can be shared from now on. */
void backend_lists_noted(struct backend_lists *l);

#endif
