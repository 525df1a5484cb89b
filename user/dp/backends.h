/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ids of backends (abi/service.h), one for each address, port and protocol, reference-counted by lists. Used by
 * user/dp/services.c and backend_lists.c only.
 */
#ifndef WARREN_DP_BACKENDS_H
#define WARREN_DP_BACKENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/service.h"
#include "siphash.h"

union backend {
	struct wr_backend4 v4;
	struct wr_backend6 v6;
};

enum backend_chain { BACKEND_BY_VALUE, BACKEND_BY_ID, BACKEND_CHAINS };

/* Those of a family, in an array without gaps: a block of memory for each would take three times as much. */
struct backend_pool {
	char *refs; /* of pool_stride() bytes each */
	size_t room;
	uint32_t count;
	uint32_t (*heads)[BACKEND_CHAINS]; /* hash tables: the first element of each chain, as an index + 1; 0: none */
	uint32_t mask;
};

struct backends {
	int fd[2], state_fd; /* maps backends4, backends6 and service_state: borrowed */
	struct wr_service_state *state;
	uint32_t last; /* id */
	struct backend_pool pools[2]; /* of IPv4, of IPv6 */
	uint8_t key[SIPHASH_KEY_SIZE];
};

struct err;
int backends_init(struct backends *b, struct err *err);
void backends_free(struct backends *b);
size_t backends_count(const struct backends *b, bool v6);

/*
 * The next number after *last: never 0, and never one that was used before, also by a killed writer. For that
 * *reserved, a field of *state, is written into the map before any number up to it is used.
 */
int number_next(int state_fd, struct wr_service_state *state, __u32 *reserved, uint32_t *last, struct err *err);

/*
 * Writes the first elements for which the map has room, and their number into *count. 0, or -errno of the next one.
 */
int elements_write(int fd, const void *keys, const void *values, size_t *count);

/* Records a backend that is in the map, without a reference. -ENOMEM */
int backends_note(struct backends *b, bool v6, uint32_t id, const union backend *value);
/*
 * Acquires a reference to each backend and stores the ids. On -ENOSPC and other errors only the first *taken have one.
 */
int backends_acquire(struct backends *b, bool v6, const union backend *values, size_t count, uint32_t *ids, size_t *taken,
		  struct err *err);
/* Acquires a reference by id. */
void backends_acquire_id(struct backends *b, uint32_t id);
bool backends_has(const struct backends *b, uint32_t id);
/* Drops a reference; the last one deletes the backend. */
int backends_release(struct backends *b, uint32_t id, struct err *err);
/* Deletes the backends without a reference. */
int backends_delete_unused(struct backends *b, struct err *err);

#endif
