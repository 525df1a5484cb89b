/* SPDX-License-Identifier: BSD-2-Clause */
#include "flow_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

#define OTHERS 0 /* the index of the end of that kind */

/* With what the filter says of it, so that a flow costs no comparison of strings. */
struct interned_end {
	struct flow_end end;
	bool matches[2]; /* as initiator, as responder */
	bool in_namespace;
	uint32_t rows; /* that it owns */
};

/* A distinct address of the world. */
struct seen_address {
	uint32_t row;
	uint32_t side;
	struct ip ip;
	uint8_t pad[3];
};
_Static_assert(sizeof(struct seen_address) == 28, "no bytes that are not set");

/* --- ends --------------------------------------------------------------------------------------------------------- */

const char *flow_end_kind_name(const struct flow_end *end)
{
	static const char *const names[] = {
		[FLOW_END_OTHERS] = "others", [FLOW_END_PODS] = "pods", [FLOW_END_GONE] = "deleted",
		[FLOW_END_HOST] = "host",     [FLOW_END_NODE] = "node", [FLOW_END_WORLD] = "world",
	};

	return end->kind == FLOW_END_WORKLOAD ? workload_kind_name(end->workload) : names[end->kind];
}

const char *flow_end_format(const struct flow_end *end, char buf[FLOW_END_STRLEN])
{
	switch (end->kind) {
	case FLOW_END_WORKLOAD:
		snprintf(buf, FLOW_END_STRLEN, "%s%s%s", end->namespace, *end->namespace ? "/" : "", end->name);
		break;
	case FLOW_END_PODS:
		if (end->identity)
			snprintf(buf, FLOW_END_STRLEN, "pods %s%sof namespace %s", end->name, *end->name ? " " : "",
				 end->namespace);
		else
			snprintf(buf, FLOW_END_STRLEN, "pods of node %s", end->name);
		break;
	case FLOW_END_NODE:
		snprintf(buf, FLOW_END_STRLEN, "node %s", end->name);
		break;
	case FLOW_END_GONE:
		return "a deleted pod";
	case FLOW_END_OTHERS:
	case FLOW_END_HOST:
	case FLOW_END_WORLD:
		return flow_end_kind_name(end);
	}
	return buf;
}

/* NULL: any. Of pods without a name nothing but the namespace can be named. */
static bool is_named(const struct flow_end *end, const char *text)
{
	char name[FLOW_END_STRLEN];

	if (!text)
		return true;
	switch (end->kind) {
	case FLOW_END_HOST:
	case FLOW_END_WORLD:
		return strcmp(flow_end_kind_name(end), text) == 0;
	case FLOW_END_WORKLOAD:
		return strcmp(end->name, text) == 0 || strcmp(flow_end_format(end, name), text) == 0;
	case FLOW_END_NODE:
		return strcmp(end->name, text) == 0;
	default:
		return false;
	}
}

int flow_table_end(struct flow_table *t, const struct flow_end *end, uint32_t *index)
{
	const struct flow_filter *f = &t->filter;
	struct interned_end added = {
		.end = *end,
		.matches = { is_named(end, f->from), is_named(end, f->to) },
		.in_namespace = !f->namespace || strcmp(end->namespace, f->namespace) == 0,
	};

	if (hashmap_get(&t->end_index, end, index))
		return 0;
	*index = (uint32_t)t->end_count;
	if (array_push(t->ends, t->end_room, t->end_count, added) < 0)
		return -ENOMEM;
	return hashmap_put(&t->end_index, end, index) < 0 ? -ENOMEM : 0;
}

const struct flow_end *flow_table_at(const struct flow_table *t, uint32_t index)
{
	return &t->ends[index].end;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

int flow_table_init(struct flow_table *t, const struct flow_filter *filter, bool one_by_one)
{
	struct flow_end others;
	uint32_t index;

	*t = (struct flow_table){
		.filter = *filter,
		.one_by_one = one_by_one,
		.end_index = { .key_size = sizeof(struct flow_end), .value_size = sizeof(uint32_t) },
		.row_index = { .key_size = sizeof(struct flow_row_key), .value_size = sizeof(uint32_t) },
		.seen = { .key_size = sizeof(struct seen_address) },
	};
	memset(&others, 0, sizeof(others));
	return flow_table_end(t, &others, &index);
}

void flow_table_free(struct flow_table *t)
{
	free(t->rows);
	free(t->ends);
	hashmap_free(&t->end_index);
	hashmap_free(&t->row_index);
	hashmap_free(&t->seen);
	*t = (struct flow_table){ 0 };
}

/* Bit n: in direction n. */
static uint8_t denied_at(const struct dp_flow *f)
{
	return (uint8_t)(dp_ct_is_denied(&f->ct, WR_EGRESS) << WR_EGRESS | dp_ct_is_denied(&f->ct, WR_INGRESS)
									       << WR_INGRESS);
}

static bool is_counted(const struct flow_table *t, const struct dp_flow *f, const uint32_t ends[2])
{
	const struct interned_end *from = &t->ends[ends[0]], *to = &t->ends[ends[1]];

	if (t->filter.verdict != FLOW_ANY_VERDICT && !denied_at(f) == (t->filter.verdict == FLOW_DENIED))
		return false;
	return from->matches[0] && to->matches[1] && (from->in_namespace || to->in_namespace);
}

/* Its bytes are compared, so all of them are set. */
static void key_of(const struct flow_table *t, const struct dp_flow *f, const uint32_t ends[2],
		   struct flow_row_key *key)
{
	memset(key, 0, sizeof(*key));
	key->service = f->service;
	key->protocol = f->protocol;
	key->port = f->port[1];
	key->service_port = f->service_port;
	key->denied = denied_at(f);
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		key->end[i] = ends[i];
		if (t->one_by_one && t->ends[ends[i]].end.kind == FLOW_END_WORLD)
			key->address[i] = f->ip[i];
		key->rule[i] = f->ct.at[i].rule;
		key->evaluated |= (uint8_t)(dp_flow_is_evaluated(f, i) << i);
	}
}

static bool is_local(uint32_t side)
{
	return side && !(side & WR_REMOTE);
}

/* Which end owns the row; -1: neither is a pod of this node. */
static int owner_of(const struct dp_flow *f)
{
	return is_local(f->ct.initiator) ? 0 : is_local(f->ct.responder) ? 1 : -1;
}

static bool has_room(struct flow_table *t, uint32_t owner)
{
	if (t->ends[owner].rows < FLOW_ROWS_OF_OWNER)
		return true;
	if (t->shared >= FLOW_ROWS_MAX)
		return false;
	t->shared++;
	return true;
}

static int row_add(struct flow_table *t, const struct flow_row_key *key, uint32_t *index)
{
	*index = (uint32_t)t->count;
	if (array_push(t->rows, t->room, t->count, (struct flow_row){ .idle_ms = UINT32_MAX }) < 0)
		return -ENOMEM;
	memcpy(&t->rows[*index].key, key, sizeof(*key));
	return hashmap_put(&t->row_index, key, index) < 0 ? -ENOMEM : 0;
}

/* The row of a flow, which is new, or, if there is no room, its owner's merged one. */
static int row_of(struct flow_table *t, const struct dp_flow *f, const uint32_t ends[2], uint32_t *index)
{
	const int side = owner_of(f);
	const uint32_t owner = side < 0 ? OTHERS : ends[side];
	struct flow_row_key key;

	key_of(t, f, ends, &key);
	if (hashmap_get(&t->row_index, &key, index))
		return 0;
	if (has_room(t, owner)) {
		t->ends[owner].rows++;
		return row_add(t, &key, index);
	}
	memset(&key, 0, sizeof(key));
	for (int i = 0; i < 2; i++)
		key.end[i] = i == side ? owner : OTHERS;
	key.denied = denied_at(f) ? 1 << WR_EGRESS | 1 << WR_INGRESS : 0; /* by whichever */
	key.merged = true;
	return hashmap_get(&t->row_index, &key, index) ? 0 : row_add(t, &key, index);
}

/* A further address of the world at an end of the row. */
static int count_address(struct flow_table *t, uint32_t index, uint32_t side, const struct ip *ip)
{
	struct seen_address seen = { .row = index, .side = side, .ip = *ip };
	struct flow_row *row = &t->rows[index];
	int r;

	if (hashmap_get(&t->seen, &seen, NULL))
		return 0;
	if (row->addresses[side] >= FLOW_ADDRESSES_OF_ROW || t->seen.count >= FLOW_ADDRESSES_MAX) {
		row->more_addresses[side] = true;
		return 0;
	}
	r = hashmap_put(&t->seen, &seen, NULL);
	if (r < 0)
		return r;
	row->addresses[side]++;
	return 0;
}

int flow_table_add(struct flow_table *t, const struct dp_flow *f, const uint32_t ends[2])
{
	const enum dp_flow_state state = dp_flow_state(f);
	const uint32_t idle = dp_flow_idle_ms(f);
	struct flow_row *row;
	uint32_t index;
	int r;

	if (!is_counted(t, f, ends))
		return 0;
	r = row_of(t, f, ends, &index);
	for (uint32_t side = 0; side < 2 && r == 0; side++) {
		if (!t->rows[index].key.merged && t->ends[ends[side]].end.kind == FLOW_END_WORLD)
			r = count_address(t, index, side, &f->ip[side]);
	}
	if (r < 0)
		return r;
	row = &t->rows[index];
	row->flows++;
	row->unreplied += state == DP_FLOW_NEW;
	row->replied += state == DP_FLOW_REPLIED;
	row->closing += state == DP_FLOW_CLOSING || state == DP_FLOW_RESET;
	if (idle < row->idle_ms) {
		row->idle_ms = idle;
		row->last = *f;
	}
	t->flows++;
	t->merged += row->key.merged;
	return 0;
}

/* --- order -------------------------------------------------------------------------------------------------------- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int end_cmp(const struct flow_end *a, const struct flow_end *b)
{
	int c = COMPARE(a->kind, b->kind);

	c = c ?: strcmp(a->namespace, b->namespace);
	c = c ?: strcmp(a->name, b->name);
	c = c ?: COMPARE(a->workload, b->workload);
	return c ?: COMPARE(a->identity, b->identity);
}

/* By what two tables have in common: not by the indexes of ends, and not by the verdict and its rules. */
static int flow_cmp(const struct flow_table *ta, const struct flow_row_key *a, const struct flow_table *tb,
		    const struct flow_row_key *b)
{
	int c = COMPARE(a->merged, b->merged); /* merged rows are last */

	for (int i = 0; i < 2 && !c; i++)
		c = end_cmp(flow_table_at(ta, a->end[i]), flow_table_at(tb, b->end[i]));
	for (int i = 0; i < 2 && !c; i++)
		c = ip_cmp(&a->address[i], &b->address[i]);
	c = c ?: COMPARE(a->protocol, b->protocol);
	c = c ?: COMPARE(a->port, b->port);
	c = c ?: ip_cmp(&a->service, &b->service);
	return c ?: COMPARE(a->service_port, b->service_port);
}

static int by_name(const void *pa, const void *pb, void *table)
{
	const struct flow_row *a = pa, *b = pb;
	int c = flow_cmp(table, &a->key, table, &b->key);

	c = c ?: COMPARE(!!a->key.denied, !!b->key.denied);
	c = c ?: COMPARE(a->key.denied, b->key.denied);
	for (int i = 0; i < WR_DIRECTIONS && !c; i++)
		c = COMPARE(a->key.rule[i], b->key.rule[i]);
	return c ?: COMPARE(a->key.evaluated, b->key.evaluated);
}

static int by_count(const void *pa, const void *pb, void *table)
{
	const struct flow_row *a = pa, *b = pb;

	return COMPARE(b->flows, a->flows) ?: by_name(a, b, table);
}

void flow_table_sort(struct flow_table *t, enum flow_order order)
{
	hashmap_free(&t->row_index);
	hashmap_free(&t->seen);
	if (t->count)
		qsort_r(t->rows, t->count, sizeof(*t->rows), order == FLOW_BY_COUNT ? by_count : by_name, t);
}

int flow_table_compare(const struct flow_table *before, const struct flow_table *after,
		       int (*fn)(const struct flow_row *row, bool changed, void *arg), void *arg)
{
	const struct flow_row_key *reported = NULL;
	size_t first = 0;
	int r = 0;

	for (size_t i = 0; i < after->count && r == 0; i++) {
		const struct flow_row_key *key = &after->rows[i].key;
		bool had[2] = { false, false }; /* allowed, denied */

		while (first < before->count && flow_cmp(before, &before->rows[first].key, after, key) < 0)
			first++;
		for (size_t n = first; n < before->count && flow_cmp(before, &before->rows[n].key, after, key) == 0;
		     n++)
			had[!!before->rows[n].key.denied] = true;
		if (had[!!key->denied] ||
		    (reported && !reported->denied == !key->denied && flow_cmp(after, reported, after, key) == 0))
			continue;
		reported = key;
		r = fn(&after->rows[i], had[!key->denied], arg);
	}
	return r;
}
