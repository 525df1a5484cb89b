/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "internal.h"

struct backend_ref {
	uint32_t id;
	uint32_t lists; /* references */
	uint32_t next[BACKEND_CHAINS]; /* an index + 1; 0: the last of its chain */
	char value[];
};

#define FIRST_ROOM 16
#define NUMBERS_RESERVED 1024
#define NUMBERS_MASK (WR_LIST_HOST_PORT - 1) /* higher ones are hostPorts' */

static const char *const map_names[] = { "backends4", "backends6" };

static size_t value_size(bool v6)
{
	return v6 ? sizeof(struct wr_backend6) : sizeof(struct wr_backend4);
}

int backends_init(struct backends *b, struct err *err)
{
	return getrandom(b->key, sizeof(b->key), 0) == sizeof(b->key) ? 0 : err_errno(err, errno, "no random bytes");
}

void backends_free(struct backends *b)
{
	for (int v6 = 0; v6 < 2; v6++) {
		free(b->pools[v6].refs);
		free(b->pools[v6].heads);
		b->pools[v6] = (struct backend_pool){ 0 };
	}
}

size_t backends_count(const struct backends *b, bool v6)
{
	return b->pools[v6].count;
}

static uint64_t value_hash(const struct backends *b, bool v6, const void *value)
{
	return siphash24(b->key, value, value_size(v6));
}

/* --- pools --- */

static size_t pool_stride(bool v6)
{
	return sizeof(struct backend_ref) + value_size(v6);
}

static struct backend_ref *ref_at(const struct backends *b, bool v6, uint32_t index)
{
	return (struct backend_ref *)(void *)(b->pools[v6].refs + index * pool_stride(v6));
}

static uint64_t ref_hash(const struct backends *b, bool v6, const struct backend_ref *ref, int chain)
{
	return chain == BACKEND_BY_ID ? ref->id : value_hash(b, v6, ref->value);
}

static uint32_t *head_of(const struct backend_pool *pool, uint64_t hash, int chain)
{
	return &pool->heads[hash & pool->mask][chain];
}

/* The first element of the chain, as an index + 1; 0: none. */
static uint32_t chain_first(const struct backend_pool *pool, uint64_t hash, int chain)
{
	return pool->refs && pool->heads ? *head_of(pool, hash, chain) : 0;
}

static void pool_link(const struct backends *b, bool v6, uint32_t index)
{
	struct backend_ref *ref = ref_at(b, v6, index);

	for (int chain = 0; chain < BACKEND_CHAINS; chain++) {
		uint32_t *head = head_of(&b->pools[v6], ref_hash(b, v6, ref, chain), chain);

		ref->next[chain] = *head;
		*head = index + 1;
	}
}

/* What refers to the element in its chain. */
static uint32_t *link_to(const struct backends *b, bool v6, uint32_t index, int chain)
{
	uint32_t *link = head_of(&b->pools[v6], ref_hash(b, v6, ref_at(b, v6, index), chain), chain);

	while (*link != index + 1)
		link = &ref_at(b, v6, *link - 1)->next[chain];
	return link;
}

/* Without memory for more chains they become longer. */
static int heads_grow(struct backends *b, bool v6)
{
	struct backend_pool *pool = &b->pools[v6];
	const size_t size = pool->heads ? 2 * ((size_t)pool->mask + 1) : FIRST_ROOM;
	uint32_t(*heads)[BACKEND_CHAINS] = calloc(size, sizeof(*heads));

	if (!heads)
		return pool->heads ? 0 : -ENOMEM;
	free(pool->heads);
	pool->heads = heads;
	pool->mask = (uint32_t)size - 1;
	for (uint32_t i = 0; i < pool->count; i++)
		pool_link(b, v6, i);
	return 0;
}

static int pool_resize(struct backend_pool *pool, size_t room, bool v6)
{
	char *refs = reallocarray(pool->refs, room, pool_stride(v6));

	if (!refs)
		return -ENOMEM;
	pool->refs = refs;
	pool->room = room;
	return 0;
}

/* The new element, which is not linked yet; NULL: no memory. It may move all others. */
static struct backend_ref *pool_add(struct backends *b, bool v6)
{
	struct backend_pool *pool = &b->pools[v6];

	if (pool->count == pool->room && pool_resize(pool, pool->room ? 2 * pool->room : FIRST_ROOM, v6) < 0)
		return NULL;
	if ((!pool->heads || pool->count > pool->mask) && heads_grow(b, v6) < 0)
		return NULL;
	return ref_at(b, v6, pool->count++);
}

/* The last one takes its place. */
static void pool_remove(struct backends *b, bool v6, uint32_t index)
{
	struct backend_pool *pool = &b->pools[v6];
	const uint32_t last = pool->count - 1;
	struct backend_ref *ref = ref_at(b, v6, index);

	for (int chain = 0; chain < BACKEND_CHAINS; chain++) {
		*link_to(b, v6, index, chain) = ref->next[chain];
		if (index != last)
			*link_to(b, v6, last, chain) = index + 1;
	}
	if (index != last)
		memcpy(ref, ref_at(b, v6, last), pool_stride(v6));
	pool->count = last;
	/* Without memory to move it, it stays as large as it is. */
	if (pool->room > FIRST_ROOM && pool->count <= pool->room / 4)
		pool_resize(pool, pool->room / 2, v6);
}

/* --- backends --- */

static struct backend_ref *find_id(const struct backends *b, uint32_t id, bool *v6)
{
	for (int family = 0; family < 2; family++) {
		const struct backend_pool *pool = &b->pools[family];

		for (uint32_t i = chain_first(pool, id, BACKEND_BY_ID); i;) {
			struct backend_ref *ref = ref_at(b, family, i - 1);

			*v6 = family;
			if (ref->id == id)
				return ref;
			i = ref->next[BACKEND_BY_ID];
		}
	}
	return NULL;
}

static struct backend_ref *find_value(const struct backends *b, bool v6, const union backend *value)
{
	const struct backend_pool *pool = &b->pools[v6];

	for (uint32_t i = chain_first(pool, value_hash(b, v6, value), BACKEND_BY_VALUE); i;) {
		struct backend_ref *ref = ref_at(b, v6, i - 1);

		if (memcmp(ref->value, value, value_size(v6)) == 0)
			return ref;
		i = ref->next[BACKEND_BY_VALUE];
	}
	return NULL;
}

/* NULL: no memory. */
static struct backend_ref *note(struct backends *b, bool v6, uint32_t id, const union backend *value)
{
	struct backend_ref *ref = pool_add(b, v6);

	if (!ref)
		return NULL;
	*ref = (struct backend_ref){ .id = id };
	memcpy(ref->value, value, value_size(v6));
	pool_link(b, v6, b->pools[v6].count - 1);
	return ref;
}

int backends_note(struct backends *b, bool v6, uint32_t id, const union backend *value)
{
	return note(b, v6, id, value) ? 0 : -ENOMEM;
}

int number_next(int state_fd, struct wr_service_state *state, __u32 *reserved, uint32_t *last, struct err *err)
{
	if (*last == *reserved) {
		*reserved = (*reserved + NUMBERS_RESERVED) & NUMBERS_MASK;
		*reserved += !*reserved;
		if (bpf_map_update_elem(state_fd, &(uint32_t){ 0 }, state, BPF_ANY) < 0) {
			*reserved = *last;
			return err_errno(err, errno, "cannot write map service_state");
		}
	}
	*last = (*last + 1) & NUMBERS_MASK;
	*last += !*last;
	return 0;
}

/* A new id that no backend has or has had. */
static int id_draw(struct backends *b, uint32_t *id, struct err *err)
{
	int r;

	do
		r = number_next(b->state_fd, b->state, &b->state->backend, &b->last, err);
	while (r == 0 && backends_has(b, b->last));
	*id = b->last;
	return r;
}

int elements_write(int fd, const void *keys, const void *values, size_t *count)
{
	__u32 done = (__u32)*count;

	if (!*count || bpf_map_update_batch(fd, keys, values, &done, NULL) == 0)
		return 0;
	/* Without memory the kernel fails before the first element and leaves the count as it was. */
	*count = done < *count ? done : 0;
	return -errno;
}

/* The backends that are not in the map yet. */
struct new_ones {
	__u32 *ids;
	char *values; /* of the map's size */
	size_t *at;   /* in the list */
	size_t count;
};

static void new_ones_free(struct new_ones *n)
{
	free(n->ids);
	free(n->values);
	free(n->at);
}

static int take_one(struct backends *b, bool v6, const union backend *value, size_t at, struct new_ones *n, uint32_t *id,
		    struct err *err)
{
	struct backend_ref *ref = find_value(b, v6, value);
	int r = 0;

	if (!ref) {
		r = id_draw(b, id, err);
		if (r < 0)
			return r;
		ref = note(b, v6, *id, value);
		if (!ref)
			return err_errno(err, ENOMEM, "cannot note a backend");
		n->ids[n->count] = *id;
		n->at[n->count] = at;
		memcpy(n->values + n->count++ * value_size(v6), value, value_size(v6));
	}
	ref->lists++;
	*id = ref->id;
	return 0;
}

int backends_acquire(struct backends *b, bool v6, const union backend *values, size_t count, uint32_t *ids, size_t *taken,
		  struct err *err)
{
	__attribute__((cleanup(new_ones_free))) struct new_ones n = { calloc(count + 1, sizeof(*n.ids)),
								      calloc(count + 1, value_size(v6)),
								      calloc(count + 1, sizeof(*n.at)), 0 };
	size_t noted = 0, fit;
	int r = 0, written;

	*taken = 0;
	if (!n.ids || !n.values || !n.at)
		return err_errno(err, ENOMEM, "cannot note backends");
	for (; r == 0 && noted < count; noted += r == 0)
		r = take_one(b, v6, &values[noted], noted, &n, &ids[noted], err);
	fit = n.count;
	written = elements_write(b->fd[v6], n.ids, n.values, &fit);
	*taken = written < 0 ? n.at[fit] : noted;
	for (size_t i = noted; i > *taken; i--)
		backends_release(b, ids[i - 1], NULL);
	return written < 0 ? dp_map_not_written(-written, map_names[v6], "backends", err) : r;
}

void backends_acquire_id(struct backends *b, uint32_t id)
{
	bool v6;
	struct backend_ref *ref = find_id(b, id, &v6);

	if (ref)
		ref->lists++;
}

bool backends_has(const struct backends *b, uint32_t id)
{
	bool v6;

	return find_id(b, id, &v6) != NULL;
}

static int delete(struct backends *b, bool v6, const struct backend_ref *ref, struct err *err)
{
	if (bpf_map_delete_elem(b->fd[v6], &ref->id) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot delete from map %s", map_names[v6]);
	pool_remove(b, v6, (uint32_t)((size_t)((const char *)ref - b->pools[v6].refs) / pool_stride(v6)));
	return 0;
}

int backends_release(struct backends *b, uint32_t id, struct err *err)
{
	bool v6;
	struct backend_ref *ref = find_id(b, id, &v6);

	if (!ref || (ref->lists && --ref->lists))
		return 0;
	return delete(b, v6, ref, err);
}

int backends_delete_unused(struct backends *b, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2; v6++) {
		/* From the end: an element that takes a deleted one's place was examined. */
		for (uint32_t i = b->pools[v6].count; i > 0 && r == 0; i--) {
			if (!ref_at(b, v6, i - 1)->lists)
				r = delete(b, v6, ref_at(b, v6, i - 1), err);
		}
	}
	return r;
}
