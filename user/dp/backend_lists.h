/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of backends (abi/service.h): one for each sequence of backends, however many services have it. For
 * user/dp/services.c alone, which says when a service has one, and when it does not any more.
 */
#ifndef WARREN_DP_BACKEND_LISTS_H
#define WARREN_DP_BACKEND_LISTS_H

#include "backends.h"

struct backend_list {
	struct table_link by_number, by_content;
	uint32_t number;
	bool whole; /* it holds all that it was made for, and so can be shared */
	size_t services; /* that have it */
	size_t count;
	uint32_t ids[]; /* in the map's order; 0: not read */
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

/*
 * One more service has a list of these backends: the one that there is, or a new one. Where the maps have no room
 * (-ENOSPC) or the kernel no memory, *list holds the first ones, as many as there was room for; NULL: not even that.
 */
int backend_lists_take(struct backend_lists *l, bool v6, const union backend *values, size_t count, const char *whose,
		       struct backend_list **list, struct err *err);
/* One service less has it: with the last one it goes, and with it the backends that no other list has. */
int backend_lists_drop(struct backend_lists *l, struct backend_list *list, struct err *err);

/* What is in the maps already: a service has the list; the list has the backend (false: there is no such place). */
int backend_lists_note(struct backend_lists *l, uint32_t number, size_t count);
bool backend_lists_note_element(struct backend_lists *l, uint32_t number, uint32_t index, uint32_t id);
/* All have been noted: those that are as they were written can be shared. */
void backend_lists_noted(struct backend_lists *l);

#endif
