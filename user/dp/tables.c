/* SPDX-License-Identifier: BSD-2-Clause */
/* Policy tables: puts and deletes elements in batches, and replaces growing maps. */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "internal.h"
#include "hashmap.h"

struct dp_table {
	const struct dp_map *map;
	int outer;	    /* of a growing map, else -1 */
	int fd;		    /* what holds the elements */
	uint32_t room;	    /* of that */
	size_t max;	    /* elements that it is to have; 0: as many as it can */
	/*
	 * What is in it: the kernel has no exact lookup in an LPM trie (a lookup finds shorter prefixes too, and before
	 * 6.13 an update ignores BPF_NOEXIST), and does not report a map's element count.
	 */
	struct hashmap keys;
};

static void table_closep(struct dp_table **table)
{
	dp_table_close(*table);
}

void dp_table_close(struct dp_table *table)
{
	if (!table)
		return;
	closep(&table->outer);
	closep(&table->fd);
	hashmap_free(&table->keys);
	free(table);
}

static int learn_key(const void *key, const void *value, int cpus, void *arg)
{
	int r = hashmap_put(arg, key, NULL);

	return r < 0 ? r : 0;
}

int dp_table_open(const char *name, struct dp_table **out, struct err *err)
{
	_cleanup_(table_closep) struct dp_table *table = calloc(1, sizeof(*table));
	struct bpf_map_info info;
	int r;

	if (!table)
		return err_errno(err, ENOMEM, "map %s", name);
	table->outer = table->fd = -1;
	table->map = dp_map_find(name, err);
	if (!table->map)
		return -ENOENT;
	table->keys.key_size = table->map->key_size;
	table->fd = dp_map_open_pin(table->map, err);
	if (table->fd >= 0 && table->map->kind == DP_MAP_GROWING) {
		table->outer = table->fd;
		table->fd = dp_growing_get(table->outer, table->map, err);
	}
	if (table->fd < 0)
		return table->fd;
	r = dp_map_fd_info(table->fd, table->map, &info, err);
	if (r < 0)
		return r;
	table->room = info.max_entries;
	r = dp_map_walk(table->fd, table->map, learn_key, &table->keys, err);
	if (r < 0)
		return r == -ENOMEM ? err_errno(err, ENOMEM, "map %s", name) : r;
	*out = take_ptr(table);
	return 0;
}

size_t dp_table_used(const struct dp_table *table)
{
	return table->keys.count;
}

size_t dp_table_limit(const struct dp_table *table)
{
	size_t limit = table->outer >= 0 ? table->map->max_entries : table->room;

	return table->max && table->max < limit ? table->max : limit;
}

void dp_table_limit_to(struct dp_table *table, size_t max)
{
	table->max = max;
}

struct each_element {
	int (*fn)(const void *key, const void *value, void *arg);
	void *arg;
};

static int on_element(const void *key, const void *value, int cpus, void *arg)
{
	struct each_element *each = arg;

	return each->fn(key, value, each->arg);
}

int dp_table_each(struct dp_table *table, int (*fn)(const void *key, const void *value, void *arg), void *arg,
		  struct err *err)
{
	struct each_element each = { fn, arg };

	return dp_map_walk(table->fd, table->map, on_element, &each, err);
}

static int no_room(const struct dp_table *table, struct err *err)
{
	return err_set(err, ENOSPC, "map %s is full: %zu entries are required, it can hold %zu", table->map->name,
		       dp_table_used(table), dp_table_limit(table));
}

static int update_all(int fd, const struct dp_map *map, const void *keys, const void *values, size_t count,
		      struct err *err)
{
	__u32 done = (__u32)count;

	/* ENOMEM: the kernel has no memory for the map, or the agent's cgroup has reached its limit. */
	if (count && bpf_map_update_batch(fd, keys, values, &done, NULL) < 0) {
		int num = errno == E2BIG || errno == ENOMEM ? ENOSPC : errno;

		return err_errno(err, num, "cannot write %zu entries into map %s", count, map->name);
	}
	return 0;
}

struct copy {
	int to;
	const struct dp_map *map;
	size_t count;
	char *keys, *values;
	struct err *err;
};
#define COPY_BATCH 1024

static int copy_flush(struct copy *copy)
{
	int r = update_all(copy->to, copy->map, copy->keys, copy->values, copy->count, copy->err);

	copy->count = 0;
	return r;
}

static int copy_one(const void *key, const void *value, int cpus, void *arg)
{
	struct copy *copy = arg;

	memcpy(copy->keys + copy->count * copy->map->key_size, key, copy->map->key_size);
	memcpy(copy->values + copy->count * copy->map->value_size, value, copy->map->value_size);
	return ++copy->count == COPY_BATCH ? copy_flush(copy) : 0;
}

static int copy_elements(const struct dp_table *table, int to, struct err *err)
{
	_cleanup_free_ char *keys = calloc(COPY_BATCH, table->map->key_size);
	_cleanup_free_ char *values = calloc(COPY_BATCH, table->map->value_size);
	struct copy copy = { to, table->map, 0, keys, values, err };
	int r;

	if (!keys || !values)
		return err_errno(err, ENOMEM, "map %s", table->map->name);
	r = dp_map_walk(table->fd, table->map, copy_one, &copy, err);
	return r < 0 ? r : copy_flush(&copy);
}

/* A copy of the present map with more room. Returns its fd. */
static int larger_map(const struct dp_table *table, uint32_t room, struct err *err)
{
	_cleanup_fd_ int btf_fd = -1;
	struct dp_btf btf = { 0 };
	struct bpf_map_info info;
	int r = dp_map_fd_info(table->fd, table->map, &info, err);

	if (r < 0)
		return r;
	if (info.btf_id)
		btf_fd = bpf_btf_get_fd_by_id(info.btf_id);
	if (btf_fd >= 0)
		btf = (struct dp_btf){ btf_fd, info.btf_key_type_id, info.btf_value_type_id };
	return dp_growing_create(table->map, room, &btf, err);
}

/* Fills a larger map with all elements, the new ones included, before any program sees it. */
static int replace_by_larger(struct dp_table *table, const void *keys, const void *values, size_t count,
			     struct err *err)
{
	_cleanup_fd_ int fd = -1;
	uint64_t room = table->room;
	int r;

	while (room < table->keys.count)
		room *= 2;
	if (room > table->map->max_entries)
		room = table->map->max_entries;
	fd = larger_map(table, (uint32_t)room, err);
	if (fd < 0)
		return fd;
	r = copy_elements(table, fd, err);
	if (r == 0)
		r = update_all(fd, table->map, keys, values, count, err);
	if (r == 0)
		r = dp_growing_set(table->outer, table->map, fd, err);
	if (r < 0)
		return r;
	closep(&table->fd);
	table->fd = take_fd(&fd);
	table->room = (uint32_t)room;
	return 0;
}

static const char *key_at(const struct dp_table *table, const void *keys, size_t i)
{
	return (const char *)keys + i * table->map->key_size;
}

/* Adds the keys to the set; `fresh` gets the indexes of the new ones. */
static int add_keys(struct dp_table *table, const void *keys, size_t count, uint32_t *fresh, size_t *fresh_count,
		    struct err *err)
{
	*fresh_count = 0;
	for (size_t i = 0; i < count; i++) {
		int r = hashmap_put(&table->keys, key_at(table, keys, i), NULL);

		if (r < 0)
			return err_errno(err, ENOMEM, "map %s", table->map->name);
		if (r)
			fresh[(*fresh_count)++] = (uint32_t)i;
	}
	return 0;
}

/* Removes the new keys, without allocating: memory may have run out. */
static void take_back(struct dp_table *table, const void *keys, const uint32_t *fresh, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		hashmap_remove(&table->keys, key_at(table, keys, fresh[i]));
		bpf_map_delete_elem(table->fd, key_at(table, keys, fresh[i]));
	}
}

int dp_table_put(struct dp_table *table, const void *keys, const void *values, size_t count, struct err *err)
{
	_cleanup_free_ uint32_t *fresh = malloc(count * sizeof(*fresh) + 1);
	size_t fresh_count = 0;
	int r;

	if (!fresh)
		return err_errno(err, ENOMEM, "map %s", table->map->name);
	r = add_keys(table, keys, count, fresh, &fresh_count, err);
	if (r == 0 && fresh_count && dp_table_used(table) > dp_table_limit(table))
		r = no_room(table, err);
	else if (r == 0 && dp_table_used(table) > table->room)
		r = replace_by_larger(table, keys, values, count, err);
	else if (r == 0)
		r = update_all(table->fd, table->map, keys, values, count, err);
	if (r < 0)
		take_back(table, keys, fresh, fresh_count);
	return r;
}

int dp_table_delete(struct dp_table *table, const void *keys, size_t count, struct err *err)
{
	const size_t key_size = table->map->key_size;
	_cleanup_free_ char *present = malloc(count * key_size + 1);
	size_t found = 0, gone = 0;

	if (!present)
		return err_errno(err, ENOMEM, "map %s", table->map->name);
	for (size_t i = 0; i < count; i++) {
		if (hashmap_remove(&table->keys, key_at(table, keys, i)))
			memcpy(present + found++ * key_size, key_at(table, keys, i), key_size);
	}
	while (gone < found) {
		const __u32 count_left = (__u32)(found - gone);
		__u32 done = count_left;
		int r = bpf_map_delete_batch(table->fd, key_at(table, present, gone), &done, NULL);

		if (r == 0)
			break;
		/* The kernel writes the number of deleted elements, unless it fails before the first. */
		gone += done < count_left ? done : 0;
		if (r == -ENOENT) { /* that one was absent */
			gone++;
			continue;
		}
		for (; gone < found; gone++)
			hashmap_put(&table->keys, key_at(table, present, gone), NULL); /* its slot is still free */
		return err_errno(err, -r, "cannot delete from map %s", table->map->name);
	}
	return 0;
}

/* --- state that outlives the agent -------------------------------------------------------------------------------- */

int dp_policy_state_get(struct wr_policy_state *state, struct err *err)
{
	return dp_value_get("policy_state", state, err);
}

int dp_policy_state_set(const struct wr_policy_state *state, struct err *err)
{
	return dp_value_put("policy_state", state, err);
}
