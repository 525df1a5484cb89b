/* SPDX-License-Identifier: BSD-2-Clause */
#include "content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more element of this size. */
static int room_for_one(void **v, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 8;
	void *grown;

	if (count < *room)
		return 0;
	grown = realloc(*v, more * size);
	if (!grown)
		return -ENOMEM;
	*v = grown;
	*room = more;
	return 0;
}

int entries_add(struct entries *list, const struct wr_policy_key *key, uint32_t rule)
{
	int ret = room_for_one((void **)&list->v, &list->room, list->count, sizeof(*list->v));

	if (ret == 0)
		list->v[list->count++] = (struct entry){ *key, { rule } };
	return ret;
}

static int entry_cmp(const void *a, const void *b)
{
	return memcmp(&((const struct entry *)a)->key, &((const struct entry *)b)->key, sizeof(struct wr_policy_key));
}

void entries_sort(struct entries *list)
{
	size_t kept = 0;

	if (list->count < 2)
		return;
	qsort(list->v, list->count, sizeof(*list->v), entry_cmp);
	for (size_t i = 0; i < list->count; i++) {
		if (!kept || entry_cmp(&list->v[kept - 1], &list->v[i]) != 0)
			list->v[kept++] = list->v[i];
	}
	list->count = kept;
}

void entries_free(struct entries *list)
{
	free(list->v);
	*list = (struct entries){ 0 };
}

int cidrs_add(struct cidrs *list, const struct policy_cidr *cidr)
{
	int ret = room_for_one((void **)&list->v, &list->room, list->count, sizeof(*list->v));

	if (ret == 0)
		list->v[list->count++] = *cidr;
	return ret;
}

static int cidr_cmp(const void *a, const void *b)
{
	const struct policy_cidr *x = a, *y = b;
	int cmp = (x->direction > y->direction) - (x->direction < y->direction);

	if (cmp == 0)
		cmp = ip_cmp(&x->ip, &y->ip);
	return cmp ? cmp : (x->length > y->length) - (x->length < y->length);
}

void cidrs_sort(struct cidrs *list)
{
	if (list->count > 1)
		qsort(list->v, list->count, sizeof(*list->v), cidr_cmp);
}

void cidrs_free(struct cidrs *list)
{
	free(list->v);
	*list = (struct cidrs){ 0 };
}

int content_copy(struct content *to, const struct policy_class *from)
{
	*to = (struct content){ .info = from->info };
	to->entries.v = calloc(from->count ? from->count : 1, sizeof(*to->entries.v));
	to->cidrs.v = calloc(from->cidr_count ? from->cidr_count : 1, sizeof(*to->cidrs.v));
	if (!to->entries.v || !to->cidrs.v) {
		content_free(to);
		return -ENOMEM;
	}
	to->entries.room = to->entries.count = from->count;
	to->cidrs.room = to->cidrs.count = from->cidr_count;
	for (size_t i = 0; i < from->count; i++)
		to->entries.v[i] = (struct entry){ from->keys[i], from->entries[i] };
	if (from->cidr_count)
		memcpy(to->cidrs.v, from->cidrs, from->cidr_count * sizeof(*to->cidrs.v));
	return 0;
}

void content_free(struct content *content)
{
	entries_free(&content->entries);
	cidrs_free(&content->cidrs);
}

/*
 * Calls for what is in `a` and not in `b`, both sorted. The two lists differ in their element only: `SAME` says whether
 * two elements of equal key have the same value.
 */
#define MINUS(type, CMP, SAME, ADD)                                                                            \
	size_t j = 0;                                                                                          \
	for (size_t i = 0; i < a->count; i++) {                                                                \
		const type *x = &a->v[i], *y;                                                                  \
		while (j < b->count && CMP(&b->v[j], x) < 0)                                                   \
			j++;                                                                                   \
		y = j < b->count && CMP(&b->v[j], x) == 0 ? &b->v[j] : NULL;                                   \
		if ((!y || (values && !(SAME))) && (ADD) < 0)                                                  \
			return -ENOMEM;                                                                        \
	}                                                                                                      \
	return 0

int entries_minus(const struct entries *a, const struct entries *b, bool values, struct entries *out)
{
	MINUS(struct entry, entry_cmp, x->value.rule == y->value.rule, entries_add(out, &x->key, x->value.rule));
}

int cidrs_minus(const struct cidrs *a, const struct cidrs *b, bool values, struct cidrs *out)
{
	MINUS(struct policy_cidr, cidr_cmp, x->peer == y->peer, cidrs_add(out, x));
}

static bool same_entries(const struct entries *a, const struct entries *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; i < a->count && same; i++)
		same = entry_cmp(&a->v[i], &b->v[i]) == 0 && a->v[i].value.rule == b->v[i].value.rule;
	return same;
}

bool content_same_cidrs(const struct content *a, const struct content *b)
{
	bool same = a->cidrs.count == b->cidrs.count;

	for (size_t i = 0; i < a->cidrs.count && same; i++)
		same = cidr_cmp(&a->cidrs.v[i], &b->cidrs.v[i]) == 0 && a->cidrs.v[i].peer == b->cidrs.v[i].peer;
	return same;
}

bool content_same(const struct content *a, const struct content *b)
{
	return memcmp(&a->info, &b->info, sizeof(a->info)) == 0 && same_entries(&a->entries, &b->entries) &&
	       content_same_cidrs(a, b);
}

bool content_same_isolation(const struct content *a, const struct content *b)
{
	bool same = true;

	for (int d = 0; d < WR_DIRECTIONS; d++)
		same = same && !((a->info.flags[d] ^ b->info.flags[d]) & WR_CLASS_ISOLATED);
	return same;
}

struct wr_class_info info_union(const struct wr_class_info *a, const struct wr_class_info *b)
{
	struct wr_class_info both;

	for (int d = 0; d < WR_DIRECTIONS; d++) {
		both.flags[d] = (a->flags[d] | b->flags[d]) & ~(__u32)WR_CLASS_NO_ROOM;
		both.port_bits[d] = a->port_bits[d] | b->port_bits[d];
	}
	return both;
}

int entries_for_peer(const struct entries *list, uint64_t from, uint64_t to, struct entries *out)
{
	size_t low = 0, high = list->count;

	/* The peer comes first in the key: its entries stand together. */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (memcmp(&list->v[middle].key.peer, &from, sizeof(from)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < list->count && list->v[low].key.peer == from; low++) {
		struct wr_policy_key key = list->v[low].key;

		key.peer = to;
		if (entries_add(out, &key, list->v[low].value.rule) < 0)
			return -ENOMEM;
	}
	return 0;
}
