/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ids of backends (abi/service.h): one for each address, port and protocol, however many lists of services refer to it.
 * For user/dp/services.c alone, which says when a list does, and when it does not any more.
 */
#ifndef WARREN_DP_BACKENDS_H
#define WARREN_DP_BACKENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/service.h"
#include "siphash.h"
#include "table.h"

union backend {
	struct wr_backend4 v4;
	struct wr_backend6 v6;
};

struct backends {
	int fd[2], state_fd; /* maps backends4, backends6 and service_state: borrowed */
	struct wr_service_state *state;
	uint32_t last; /* id */
	struct table by_value, by_id;
	uint8_t key[SIPHASH_KEY_SIZE];
	size_t count[2];
};

struct err;
int backends_init(struct backends *b, struct err *err);
void backends_free(struct backends *b);

/*
 * The next number after *last, never 0 and none that was given before, also by a writer that is killed at once: *reserved, a
 * field of *state, is written into the map before any up to it are given.
 */
int number_next(int state_fd, struct wr_service_state *state, __u32 *reserved, uint32_t *last, struct err *err);

/*
 * Writes elements into a map, the first ones for which there is room: how many is said in *count. 0, or -errno of the next
 * one.
 */
int elements_write(int fd, const void *keys, const void *values, size_t *count);

/* Notes one that is in the map already, to which no list is known to refer. -ENOMEM */
int backends_note(struct backends *b, bool v6, uint32_t id, const union backend *value);
/*
 * One more list refers to each of these: *taken of them, the first ones, have ids then. Fewer than `count` with -ENOSPC and
 * other errors.
 */
int backends_take(struct backends *b, bool v6, const union backend *values, size_t count, uint32_t *ids, size_t *taken,
		  struct err *err);
/* One more refers to this one. */
void backends_take_id(struct backends *b, uint32_t id);
bool backends_has(const struct backends *b, uint32_t id);
/* One list less does: with the last one it goes. */
int backends_drop(struct backends *b, uint32_t id, struct err *err);
/* Those go to which no list refers. */
int backends_drop_unused(struct backends *b, struct err *err);

#endif
