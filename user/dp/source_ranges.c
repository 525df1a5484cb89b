/* SPDX-License-Identifier: BSD-2-Clause */
#include "source_ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "array.h"
#include "internal.h"

static const char *const map_names[] = { "source_ranges4", "source_ranges6" };

static void set_free(struct range_set *set)
{
	free(set->v);
	free(set);
}

void range_sets_free(struct range_sets *s)
{
	struct range_set *set;

	table_each(set, &s->by_number, by_number)
		set_free(set);
	table_free(&s->by_number);
	table_free(&s->by_content);
}

static struct range_set *set_find(const struct range_sets *s, uint32_t number)
{
	struct range_set *set;

	table_each_hash(set, &s->by_number, number, by_number)
		return set;
	return NULL;
}

/* --- by content --- */

static uint64_t content_hash(const struct range_sets *s, bool v6, const struct prefix *v, size_t count)
{
	struct siphash h;

	siphash_begin(&h, s->lists->backends->key);
	siphash_number(&h, (uint64_t)count << 1 | v6);
	for (size_t i = 0; i < count; i++) {
		siphash_bytes(&h, &v[i].ip, sizeof(v[i].ip));
		siphash_number(&h, v[i].len);
	}
	return siphash_end(&h);
}

static bool set_is(const struct range_set *set, bool v6, const struct prefix *v, size_t count)
{
	if (set->v6 != v6 || set->count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (prefix_cmp(&set->v[i], &v[i]))
			return false;
	}
	return true;
}

/* --- in the maps --- */

static struct wr_range6_key key_of(uint32_t number, const struct prefix *range)
{
	struct wr_range6_key key = { .prefixlen = WR_RANGE_SET_BITS + range->len, .set = number };

	memcpy(&key.addr, range->ip.bytes, range->ip.family == AF_INET6 ? sizeof(struct wr_addr6) : sizeof(struct wr_addr4));
	return key;
}

/* Writes the set, and shortens it to the ranges that could be written. */
static int set_write(const struct range_sets *s, struct range_set *set, const char *whose, struct err *err)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct wr_range6_key key = key_of(set->number, &set->v[i]);

		if (bpf_map_update_elem(s->fd[set->v6], &key, &(__u32){ 1 }, BPF_ANY) == 0)
			continue;
		set->count = i;
		return dp_map_not_written(errno, map_names[set->v6], whose, err);
	}
	return 0;
}

static int set_delete(const struct range_sets *s, const struct range_set *set, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < set->count; i++) {
		const struct wr_range6_key key = key_of(set->number, &set->v[i]);

		if (bpf_map_delete_elem(s->fd[set->v6], &key) < 0 && errno != ENOENT)
			r = err_errno(r ? NULL : err, errno, "cannot delete from map %s", map_names[set->v6]);
	}
	return r;
}

/* --- acquire and release --- */

static struct range_set *set_new(bool v6, const struct prefix *ranges, size_t count)
{
	struct range_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->v = calloc(count + 1, sizeof(*set->v));
	if (!set->v) {
		free(set);
		return NULL;
	}
	if (count)
		memcpy(set->v, ranges, count * sizeof(*set->v));
	set->v6 = v6;
	set->count = count;
	set->services = 1;
	return set;
}

static int number_draw(struct range_sets *s, uint32_t *number, struct err *err)
{
	int r;

	do
		r = backend_lists_number(s->lists, number, err);
	while (r == 0 && set_find(s, *number));
	return r;
}

int range_sets_acquire(struct range_sets *s, bool v6, const struct prefix *ranges, size_t count, const char *whose,
		       struct range_set **out, struct err *err)
{
	const uint64_t hash = content_hash(s, v6, ranges, count);
	struct range_set *set;
	int r;

	*out = NULL;
	table_each_hash(set, &s->by_content, hash, by_content) {
		if (set_is(set, v6, ranges, count)) {
			set->services++;
			*out = set;
			return 0;
		}
	}
	set = set_new(v6, ranges, count);
	if (!set)
		return err_errno(err, ENOMEM, "cannot make the source ranges of service %s", whose);
	r = number_draw(s, &set->number, err);
	if (r < 0) {
		set_free(set);
		return r;
	}
	r = set_write(s, set, whose, err);
	set->whole = r == 0;
	table_add(&s->by_number, &set->by_number, set->number);
	if (set->whole)
		table_add(&s->by_content, &set->by_content, hash);
	*out = set;
	return r;
}

int range_sets_release(struct range_sets *s, uint32_t number, struct err *err)
{
	struct range_set *set = number ? set_find(s, number) : NULL;
	int r;

	if (!set || --set->services)
		return 0;
	r = set_delete(s, set, err);
	table_remove(&s->by_number, &set->by_number);
	if (set->whole)
		table_remove(&s->by_content, &set->by_content);
	set_free(set);
	return r;
}

/* --- sets already in the maps --- */

int range_sets_note(struct range_sets *s, bool v6, uint32_t number)
{
	struct range_set *set = set_find(s, number);

	if (!number)
		return 0;
	if (set) {
		set->services++;
		return 0;
	}
	set = set_new(v6, NULL, 0);
	if (!set)
		return -ENOMEM;
	set->number = number;
	table_add(&s->by_number, &set->by_number, number);
	return 0;
}

int range_sets_note_range(struct range_sets *s, uint32_t number, const struct prefix *range)
{
	struct range_set *set = set_find(s, number);

	if (!set)
		return -ENOENT;
	return array_push(set->v, set->room, set->count, *range) < 0 ? -ENOMEM : 0;
}

static int range_cmp(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

void range_sets_noted(struct range_sets *s)
{
	struct range_set *set;

	table_each(set, &s->by_number, by_number) {
		if (set->count)
			qsort(set->v, set->count, sizeof(*set->v), range_cmp);
		set->whole = true;
		table_add(&s->by_content, &set->by_content, content_hash(s, set->v6, set->v, set->count));
	}
}
