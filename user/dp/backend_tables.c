/* SPDX-License-Identifier: BSD-2-Clause */
#include "backend_tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "cleanup.h"
#include "internal.h"
#include "maglev.h"

#define MAP "service_tables"

void backend_tables_free(struct backend_tables *t)
{
	struct backend_table *table;

	table_each(table, &t->by_number, by_number)
		free(table);
	table_free(&t->by_number);
	table_free(&t->by_list);
}

struct backend_table *backend_tables_find(const struct backend_tables *t, uint32_t number)
{
	struct backend_table *table;

	table_each_hash(table, &t->by_number, number, by_number)
		return table;
	return NULL;
}

/* --- content --- */

/* The blocks of the table; NULL without memory. */
static struct wr_table_block *blocks_make(const struct backend_tables *t, const struct backend_list *list,
					  const struct dp_backend *backends, uint32_t size)
{
	struct wr_table_block *blocks = calloc(maglev_blocks(size), sizeof(*blocks));
	uint32_t *elements = (uint32_t *)blocks;
	uint8_t key[SIPHASH_KEY_SIZE];

	memcpy(key, t->lists->state->key, sizeof(key));
	if (!blocks || maglev_fill(key, backends, list->count, elements, size) < 0) {
		free(blocks);
		return NULL;
	}
	for (uint32_t i = 0; i < size; i++)
		elements[i] = list->ids[elements[i]];
	return blocks;
}

static bool blocks_are(const struct backend_tables *t, const struct backend_table *table, const struct wr_table_block *blocks)
{
	struct wr_table_block found;

	for (uint32_t n = 0; n < maglev_blocks(table->size); n++) {
		if (bpf_map_lookup_elem(t->fd, &(struct wr_table_key){ table->number, n }, &found) < 0 ||
		    memcmp(&found, &blocks[n], sizeof(found)) != 0)
			return false;
	}
	return true;
}

/* --- in the map --- */

static int blocks_delete(const struct backend_tables *t, const struct backend_table *table, struct err *err)
{
	int r = 0;

	for (uint32_t n = 0; n < maglev_blocks(table->size); n++) {
		if (bpf_map_delete_elem(t->fd, &(struct wr_table_key){ table->number, n }) < 0 && errno != ENOENT)
			r = err_errno(r ? NULL : err, errno, "cannot delete from map " MAP);
	}
	return r;
}

static int blocks_write(const struct backend_tables *t, const struct backend_table *table,
			const struct wr_table_block *blocks, const char *whose, struct err *err)
{
	size_t count = maglev_blocks(table->size);
	_cleanup_free_ struct wr_table_key *keys = calloc(count, sizeof(*keys));
	int r = keys ? 0 : -ENOMEM;

	for (uint32_t n = 0; keys && n < count; n++)
		keys[n] = (struct wr_table_key){ table->number, n };
	if (r == 0 && t->blocks + count > WR_MAX_TABLE_BLOCKS)
		r = -ENOSPC;
	if (r == 0)
		r = elements_write(t->fd, keys, blocks, &count);
	if (r == 0)
		return 0;
	blocks_delete(t, table, NULL);
	return dp_map_not_written(-r, MAP, whose, err);
}

/* --- acquire and release --- */

static struct backend_table *table_record(struct backend_tables *t, uint32_t number, uint32_t size, uint32_t list)
{
	struct backend_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	*table = (struct backend_table){ .number = number, .size = size, .list = list };
	table_add(&t->by_number, &table->by_number, number);
	table_add(&t->by_list, &table->by_list, list);
	t->blocks += maglev_blocks(size);
	return table;
}

static void forget(struct backend_tables *t, struct backend_table *table)
{
	table_remove(&t->by_number, &table->by_number);
	table_remove(&t->by_list, &table->by_list);
	t->blocks -= maglev_blocks(table->size);
	free(table);
}

static struct backend_table *find_like(struct backend_tables *t, const struct backend_list *list, uint32_t size, int content)
{
	struct backend_table *table;

	table_each_hash(table, &t->by_list, list->number, by_list) {
		if (table->list == list->number && table->size == size && (int)table->content == content)
			return table;
	}
	return NULL;
}

static int table_new(struct backend_tables *t, const struct backend_list *list, const struct wr_table_block *blocks,
		     uint32_t size, const char *whose, struct backend_table **out, struct err *err)
{
	struct backend_table table = { .size = size };
	int r;

	do
		r = backend_lists_number(t->lists, &table.number, err);
	while (r == 0 && backend_tables_find(t, table.number));
	if (r == 0)
		r = blocks_write(t, &table, blocks, whose, err);
	if (r < 0)
		return r;
	*out = table_record(t, table.number, size, list->number);
	if (*out)
		return 0;
	blocks_delete(t, &table, NULL);
	return err_errno(err, ENOMEM, "cannot note a table of backends");
}

int backend_tables_acquire(struct backend_tables *t, const struct backend_list *list, const struct dp_backend *backends,
			   uint32_t size, const char *whose, struct backend_table **out, struct err *err)
{
	_cleanup_free_ struct wr_table_block *blocks = NULL;
	struct backend_table *table = find_like(t, list, size, TABLE_RIGHT);
	int r = 0;

	*out = NULL;
	if (!table) {
		blocks = blocks_make(t, list, backends, size);
		if (!blocks)
			return err_errno(err, ENOMEM, "cannot make a table of backends for service %s", whose);
		while (!table && (table = find_like(t, list, size, TABLE_NOTED))) {
			table->content = blocks_are(t, table, blocks) ? TABLE_RIGHT : TABLE_WRONG;
			table = table->content == TABLE_RIGHT ? table : NULL;
		}
	}
	if (!table)
		r = table_new(t, list, blocks, size, whose, &table, err);
	if (r < 0)
		return r;
	table->content = TABLE_RIGHT;
	table->services++;
	*out = table;
	return 0;
}

int backend_tables_release(struct backend_tables *t, struct backend_table *table, struct err *err)
{
	int r;

	if (--table->services)
		return 0;
	r = blocks_delete(t, table, err);
	forget(t, table);
	return r;
}

/* --- tables already in the maps --- */

int backend_tables_note(struct backend_tables *t, uint32_t number, uint32_t size, uint32_t list)
{
	struct backend_table *table = backend_tables_find(t, number);

	if (!table) {
		table = table_record(t, number, size < MAGLEV_SIZE_MAX ? size : MAGLEV_SIZE_MAX, list);
		if (!table)
			return -ENOMEM;
	}
	/* A damaged one is not shared: the next put writes a new one. */
	if (table->size != size || table->list != list)
		table->content = TABLE_WRONG;
	table->services++;
	return 0;
}

void backend_tables_doubt(struct backend_tables *t)
{
	struct backend_table *table;

	table_each(table, &t->by_number, by_number)
		table->content = TABLE_NOTED;
}
