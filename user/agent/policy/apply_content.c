/* SPDX-License-Identifier: BSD-2-Clause */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

int entries_add(struct entries *list, const struct wr_policy_key *key, uint32_t rule)
{
	return array_push(list->v, list->room, list->count, (struct entry){ *key, { rule } });
}

static int entry_cmp(const void *a, const void *b)
{
	return memcmp(&((const struct entry *)a)->key, &((const struct entry *)b)->key, sizeof(struct wr_policy_key));
}

void entries_sort(struct entries *list)
{
	list->count = array_sort_unique(list->v, list->count, sizeof(*list->v), entry_cmp, NULL);
}

void entries_free(struct entries *list)
{
	free(list->v);
	*list = (struct entries){ 0 };
}

int cidrs_add(struct cidrs *list, const struct policy_cidr *cidr)
{
	return array_push(list->v, list->room, list->count, *cidr);
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

int content_append(struct content *to, const struct content *from)
{
	int ret = 0;

	for (size_t i = 0; i < from->entries.count && ret == 0; i++)
		ret = entries_add(&to->entries, &from->entries.v[i].key, from->entries.v[i].value.rule);
	for (size_t i = 0; i < from->cidrs.count && ret == 0; i++)
		ret = cidrs_add(&to->cidrs, &from->cidrs.v[i]);
	entries_sort(&to->entries);
	return ret;
}

void content_free(struct content *content)
{
	entries_free(&content->entries);
	cidrs_free(&content->cidrs);
}

/* Two sorted arrays of one kind of element. */
struct kind {
	size_t size;
	int (*cmp)(const void *a, const void *b);   /* compares keys */
	bool (*same)(const void *a, const void *b); /* compares values, if the keys are equal */
	int (*add)(void *list, const void *element);
};

static int minus(const struct kind *kind, const void *a, size_t a_count, const void *b, size_t b_count, bool values,
		 void *out)
{
	const char *y = b, *end = b_count ? y + b_count * kind->size : y; /* no arithmetic on NULL */
	int ret = 0;

	for (size_t i = 0; i < a_count && ret == 0; i++) {
		const char *x = (const char *)a + i * kind->size;

		while (y < end && kind->cmp(y, x) < 0)
			y += kind->size;
		if (y == end || kind->cmp(y, x) != 0 || (values && !kind->same(x, y)))
			ret = kind->add(out, x);
	}
	return ret;
}

static bool entry_same(const void *a, const void *b)
{
	return ((const struct entry *)a)->value.rule == ((const struct entry *)b)->value.rule;
}

static int entry_add(void *list, const void *element)
{
	const struct entry *entry = element;

	return entries_add(list, &entry->key, entry->value.rule);
}

static bool cidr_same(const void *a, const void *b)
{
	return ((const struct policy_cidr *)a)->peer == ((const struct policy_cidr *)b)->peer;
}

static int cidr_add(void *list, const void *element)
{
	return cidrs_add(list, element);
}

static const struct kind entry_kind = { sizeof(struct entry), entry_cmp, entry_same, entry_add };
static const struct kind cidr_kind = { sizeof(struct policy_cidr), cidr_cmp, cidr_same, cidr_add };

int entries_minus(const struct entries *a, const struct entries *b, bool values, struct entries *out)
{
	return minus(&entry_kind, a->v, a->count, b->v, b->count, values, out);
}

int cidrs_minus(const struct cidrs *a, const struct cidrs *b, bool values, struct cidrs *out)
{
	return minus(&cidr_kind, a->v, a->count, b->v, b->count, values, out);
}

static bool same(const struct kind *kind, const void *a, size_t a_count, const void *b, size_t b_count)
{
	bool equal = a_count == b_count;

	for (size_t i = 0; i < a_count && equal; i++) {
		const char *x = (const char *)a + i * kind->size, *y = (const char *)b + i * kind->size;

		equal = kind->cmp(x, y) == 0 && kind->same(x, y);
	}
	return equal;
}

bool content_same_cidrs(const struct content *a, const struct content *b)
{
	return same(&cidr_kind, a->cidrs.v, a->cidrs.count, b->cidrs.v, b->cidrs.count);
}

bool entries_same(const struct entries *a, const struct entries *b)
{
	return same(&entry_kind, a->v, a->count, b->v, b->count);
}

bool content_same(const struct content *a, const struct content *b)
{
	return memcmp(&a->info, &b->info, sizeof(a->info)) == 0 && content_same_cidrs(a, b) &&
	       entries_same(&a->entries, &b->entries);
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

/* The peer comes first in the key: its entries are adjacent. */
static int peer_cmp(const void *peer, const void *entry)
{
	return memcmp(peer, &((const struct entry *)entry)->key.peer, sizeof(uint64_t));
}

int entries_for_peer(const struct entries *list, uint64_t from, uint64_t to, struct entries *out)
{
	size_t i = array_lower_bound(&from, list->v, list->count, sizeof(*list->v), peer_cmp);

	for (; i < list->count && list->v[i].key.peer == from; i++) {
		struct wr_policy_key key = list->v[i].key;

		key.peer = to;
		if (entries_add(out, &key, list->v[i].value.rule) < 0)
			return -ENOMEM;
	}
	return 0;
}
