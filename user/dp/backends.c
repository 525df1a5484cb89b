/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "internal.h"

struct backend_ref {
	struct table_link by_value, by_id;
	union backend value;
	uint32_t id;
	bool v6;
	size_t lists; /* references */
};

#define NUMBERS_RESERVED 1024

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
	struct backend_ref *ref;

	table_each(ref, &b->by_id, by_id)
		free(ref);
	table_free(&b->by_value);
	table_free(&b->by_id);
}

static struct backend_ref *find_id(const struct backends *b, uint32_t id)
{
	struct backend_ref *ref;

	table_each_hash(ref, &b->by_id, id, by_id)
		return ref;
	return NULL;
}

static struct backend_ref *find_value(const struct backends *b, bool v6, const union backend *value, uint64_t hash)
{
	struct backend_ref *ref;

	table_each_hash(ref, &b->by_value, hash, by_value) {
		if (ref->v6 == v6 && memcmp(&ref->value, value, value_size(v6)) == 0)
			return ref;
	}
	return NULL;
}

static uint64_t value_hash(const struct backends *b, bool v6, const union backend *value)
{
	return siphash24(b->key, value, value_size(v6));
}

int backends_note(struct backends *b, bool v6, uint32_t id, const union backend *value)
{
	struct backend_ref *ref = calloc(1, sizeof(*ref));

	if (!ref)
		return -ENOMEM;
	memcpy(&ref->value, value, value_size(v6));
	ref->id = id;
	ref->v6 = v6;
	table_add(&b->by_value, &ref->by_value, value_hash(b, v6, value));
	table_add(&b->by_id, &ref->by_id, id);
	b->count[v6]++;
	return 0;
}

static void forget(struct backends *b, struct backend_ref *ref)
{
	table_remove(&b->by_value, &ref->by_value);
	table_remove(&b->by_id, &ref->by_id);
	b->count[ref->v6]--;
	free(ref);
}

int number_next(int state_fd, struct wr_service_state *state, __u32 *reserved, uint32_t *last, struct err *err)
{
	if (*last == *reserved) {
		*reserved += NUMBERS_RESERVED;
		*reserved += !*reserved;
		if (bpf_map_update_elem(state_fd, &(uint32_t){ 0 }, state, BPF_ANY) < 0) {
			*reserved = *last;
			return err_errno(err, errno, "cannot write map service_state");
		}
	}
	++*last;
	*last += !*last;
	return 0;
}

/* A new id that no backend has or has had. */
static int id_draw(struct backends *b, uint32_t *id, struct err *err)
{
	int r;

	do
		r = number_next(b->state_fd, b->state, &b->state->backend, &b->last, err);
	while (r == 0 && find_id(b, b->last));
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
	struct backend_ref *ref = find_value(b, v6, value, value_hash(b, v6, value));
	int r = 0;

	if (!ref) {
		r = id_draw(b, id, err);
		if (r == 0 && backends_note(b, v6, *id, value) < 0)
			r = err_errno(err, ENOMEM, "cannot note a backend");
		if (r)
			return r;
		ref = find_id(b, *id);
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
	struct backend_ref *ref = find_id(b, id);

	if (ref)
		ref->lists++;
}

bool backends_has(const struct backends *b, uint32_t id)
{
	return find_id(b, id) != NULL;
}

static int delete(struct backends *b, struct backend_ref *ref, struct err *err)
{
	if (bpf_map_delete_elem(b->fd[ref->v6], &ref->id) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot delete from map %s", map_names[ref->v6]);
	forget(b, ref);
	return 0;
}

int backends_release(struct backends *b, uint32_t id, struct err *err)
{
	struct backend_ref *ref = find_id(b, id);

	if (!ref || (ref->lists && --ref->lists))
		return 0;
	return delete(b, ref, err);
}

int backends_delete_unused(struct backends *b, struct err *err)
{
	struct backend_ref *ref;
	int r = 0;

	table_each(ref, &b->by_id, by_id) {
		if (r == 0 && !ref->lists)
			r = delete(b, ref, err);
	}
	return r;
}
