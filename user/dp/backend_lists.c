/* SPDX-License-Identifier: BSD-2-Clause */
#include "backend_lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "cleanup.h"
#include "internal.h"

void backend_lists_free(struct backend_lists *l)
{
	struct backend_list *list;

	table_each(list, &l->by_number, by_number)
		free(list);
	table_free(&l->by_number);
	table_free(&l->by_content);
}

struct backend_list *backend_lists_find(const struct backend_lists *l, uint32_t number)
{
	struct backend_list *list;

	table_each_hash(list, &l->by_number, number, by_number)
		return list;
	return NULL;
}

static struct backend_list *list_new(size_t count)
{
	struct backend_list *list = calloc(1, sizeof(*list) + count * sizeof(*list->ids));

	if (list)
		list->count = (uint32_t)count;
	return list;
}

/* --- by content --- */

static uint64_t content_hash(const struct backend_lists *l, const struct backend_list *list)
{
	return siphash24(l->backends->key, list->ids, list->count * sizeof(*list->ids));
}

static struct backend_list *find_content(const struct backend_lists *l, const struct backend_list *like, uint64_t hash)
{
	struct backend_list *list;

	table_each_hash(list, &l->by_content, hash, by_content) {
		if (list->count == like->count && memcmp(list->ids, like->ids, like->count * sizeof(*like->ids)) == 0)
			return list;
	}
	return NULL;
}

/* --- in the maps --- */

int backend_lists_number(struct backend_lists *l, uint32_t *number, struct err *err)
{
	int r;

	do
		r = number_next(l->state_fd, l->state, &l->state->list, &l->last, err);
	while (r == 0 && backend_lists_find(l, l->last));
	*number = l->last;
	return r;
}

static int element_delete(const struct backend_lists *l, uint32_t number, uint32_t index, uint32_t id, struct err *err)
{
	const struct wr_member_key member = { .list = number, .backend = id };
	const struct wr_list_key key = { .list = number, .index = index };

	if ((bpf_map_delete_elem(l->members_fd, &member) < 0 && errno != ENOENT) ||
	    (bpf_map_delete_elem(l->lists_fd, &key) < 0 && errno != ENOENT))
		return err_errno(err, errno, "cannot delete from the lists of backends");
	return 0;
}

static int drop_ids(struct backend_lists *l, const uint32_t *ids, size_t count, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		if (backends_release(l->backends, ids[i], r ? NULL : err) < 0)
			r = -EIO;
	}
	return r;
}

/* Writes the list, and shortens it to the elements that could be written. */
static int list_write(struct backend_lists *l, struct backend_list *list, const char *whose, struct err *err)
{
	_cleanup_free_ struct wr_member_key *members = calloc(list->count + 1, sizeof(*members));
	_cleanup_free_ struct wr_list_key *keys = calloc(list->count + 1, sizeof(*keys));
	_cleanup_free_ __u32 *indices = calloc(list->count + 1, sizeof(*indices));
	const bool memory = members && keys && indices;
	size_t fit = memory ? list->count : 0, listed;
	int member_error, list_error;

	for (uint32_t i = 0; i < fit; i++) {
		members[i] = (struct wr_member_key){ .list = list->number, .backend = list->ids[i] };
		keys[i] = (struct wr_list_key){ .list = list->number, .index = i };
		indices[i] = i;
	}
	member_error = memory ? elements_write(l->members_fd, members, indices, &fit) : -ENOMEM;
	listed = fit;
	list_error = elements_write(l->lists_fd, keys, list->ids, &listed);
	for (size_t i = listed; i < fit; i++)
		bpf_map_delete_elem(l->members_fd, &members[i]);
	drop_ids(l, list->ids + listed, list->count - listed, NULL);
	list->count = (uint32_t)listed;
	if (list_error)
		return dp_map_not_written(-list_error, "service_lists", whose, err);
	return member_error ? dp_map_not_written(-member_error, "service_members", whose, err) : 0;
}

/* --- acquire and release --- */

int backend_lists_acquire(struct backend_lists *l, bool v6, const union backend *values, size_t count, const char *whose,
		       struct backend_list **out, struct err *err)
{
	struct backend_list *list = list_new(count), *existing;
	int r, written;

	*out = NULL;
	if (!list)
		return err_errno(err, ENOMEM, "cannot make a list of backends for service %s", whose);
	r = backends_acquire(l->backends, v6, values, count, list->ids, &count, err);
	list->count = (uint32_t)count;
	existing = r == 0 ? find_content(l, list, content_hash(l, list)) : NULL;
	if (existing) {
		drop_ids(l, list->ids, list->count, NULL);
		free(list);
		existing->services++;
		*out = existing;
		return 0;
	}
	written = backend_lists_number(l, &list->number, err);
	if (written < 0) {
		drop_ids(l, list->ids, list->count, NULL);
		free(list);
		return written;
	}
	written = list_write(l, list, whose, r ? NULL : err);
	r = r ? r : written;
	list->whole = r == 0;
	list->services = 1;
	table_add(&l->by_number, &list->by_number, list->number);
	if (list->whole)
		table_add(&l->by_content, &list->by_content, content_hash(l, list));
	l->elements += list->count;
	*out = list;
	return r;
}

int backend_lists_release(struct backend_lists *l, struct backend_list *list, struct err *err)
{
	int r = 0;

	if (--list->services)
		return 0;
	l->elements -= list->count;
	for (uint32_t i = 0; i < list->count; i++) {
		if (element_delete(l, list->number, i, list->ids[i], r ? NULL : err) < 0 ||
		    backends_release(l->backends, list->ids[i], r ? NULL : err) < 0)
			r = -EIO;
	}
	table_remove(&l->by_number, &list->by_number);
	if (list->whole)
		table_remove(&l->by_content, &list->by_content);
	free(list);
	return r;
}

/* --- lists already in the maps --- */

int backend_lists_note(struct backend_lists *l, uint32_t number, size_t count)
{
	struct backend_list *list = backend_lists_find(l, number);

	if (!list) {
		list = list_new(count < WR_MAX_BACKENDS ? count : WR_MAX_BACKENDS);
		if (!list)
			return -ENOMEM;
		list->number = number;
		l->elements += list->count;
		table_add(&l->by_number, &list->by_number, number);
	}
	list->services++;
	return 0;
}

bool backend_lists_note_element(struct backend_lists *l, uint32_t number, uint32_t index, uint32_t id)
{
	struct backend_list *list = backend_lists_find(l, number);

	if (!list || index >= list->count)
		return false;
	list->ids[index] = id;
	return true;
}

void backend_lists_noted(struct backend_lists *l)
{
	struct backend_list *list;

	table_each(list, &l->by_number, by_number) {
		list->whole = true;
		for (size_t i = 0; i < list->count && list->whole; i++)
			list->whole = backends_has(l->backends, list->ids[i]);
		/* A list damaged by another program is not shared: the next put writes a new one. */
		if (list->whole)
			table_add(&l->by_content, &list->by_content, content_hash(l, list));
	}
}
