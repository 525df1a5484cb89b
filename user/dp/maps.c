/* SPDX-License-Identifier: BSD-2-Clause */
/* Pinned maps: found, described and walked by name. */
#include "internal.h"

#include <bpf/btf.h>
#include <inttypes.h>
#include <string.h>

#include "cleanup.h"
#include "paths.h"

enum { KIND_ARRAY = DP_MAP_TABLE, KIND_SLOTS = DP_MAP_SLOTS, KIND_HASH = DP_MAP_TABLE, KIND_LRU_HASH = DP_MAP_TABLE, KIND_LPM_TRIE = DP_MAP_TABLE, KIND_PERCPU_ARRAY = DP_MAP_PERCPU };

const struct dp_map dp_maps[] = {
#define X(name, TYPE, key, value, max, flags, text) \
	{ #name, text, (enum dp_map_kind)KIND_##TYPE, BPF_MAP_TYPE_##TYPE, sizeof(key), sizeof(value), max },
	WARREN_MAPS(X)
#undef X
#define X(name, key, value, first, most, text) \
	{ #name, text, DP_MAP_GROWING, BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), most },
	WARREN_GROWING_MAPS(X)
#undef X
#define X(name, bytes, text) { #name, text, DP_MAP_RING, BPF_MAP_TYPE_RINGBUF, 0, 0, 0 },
	WARREN_RINGS(X)
#undef X
	{ 0 },
};

static const struct dp_map *map_find(const char *name, struct err *err)
{
	for (const struct dp_map *m = dp_maps; m->name; m++) {
		if (strcmp(m->name, name) == 0)
			return m;
	}
	err_set(err, ENOENT, "there is no map named '%s'", name);
	err_hint(err, "`warren map list` names them");
	return NULL;
}

int dp_growing_create(const char *name, uint32_t entries, struct err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	const struct dp_map *map = map_find(name, err);
	int fd = map ? bpf_map_create(BPF_MAP_TYPE_HASH, name, map->key_size, map->value_size, entries, &opts) : -ENOENT;

	return fd < 0 ? err_errno(err, -fd, "cannot make a map of %u entries for %s", entries, name) : fd;
}

int dp_map_verify(int fd, const struct dp_map *map, struct err *err)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return err_errno(err, errno, "cannot ask the kernel about map %s", map->name);
	if (map->kind == DP_MAP_GROWING && info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return 0;
	if (info.type != map->type || info.key_size != map->key_size || info.value_size != map->value_size) {
		err_set(err, EPROTO, "the pinned map %s is not of ABI version %d (type %u, key %u, value %u bytes)", map->name,
			WR_ABI_VERSION, info.type, info.key_size, info.value_size);
		return err_hint(err, "something else wrote to %s: `warren node down --force`, then `warren node init`", PIN_MAP_DIR);
	}
	return 0;
}

/* The map that stands in the outer one now. */
static int open_inner(int outer, const struct dp_map *map, struct err *err)
{
	const __u32 zero = 0;
	_cleanup_fd_ int fd = -1;
	__u32 id;
	int r;

	if (bpf_map_lookup_elem(outer, &zero, &id) < 0)
		return err_errno(err, errno, "cannot look into map %s", map->name);
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return err_errno(err, errno, "cannot open the inner map of %s", map->name);
	r = dp_map_verify(fd, map, err);
	return r < 0 ? r : take_fd(&fd);
}

int dp_map_open(const char *name, struct err *err)
{
	const struct dp_map *map = map_find(name, err);
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = -1;
	int r;

	if (!map)
		return -ENOENT;
	fd = bpf_obj_get(pin_path(path, PIN_MAP_DIR, name));
	if (fd < 0) {
		if (errno != ENOENT)
			return err_errno(err, errno, "cannot open the pinned map %s", path);
		err_set(err, ENOENT, "Warren is not loaded here: there is no %s", path);
		return err_hint(err, "`warren node init` loads it; so does the first pod");
	}
	r = dp_map_verify(fd, map, err);
	if (r < 0)
		return r;
	return map->kind == DP_MAP_GROWING ? open_inner(fd, map, err) : take_fd(&fd);
}

static const char *type_name(uint32_t type)
{
	const char *name = libbpf_bpf_map_type_str(type);

	return name ? name : "unknown";
}

/* What the kernel accounts for this map (fdinfo's memlock), in bytes. */
static uint64_t map_memory(int fd)
{
	char path[64], line[128];
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t bytes;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
			return bytes;
	}
	return 0;
}

static int count_one(const void *key, const void *value, int cpus, void *arg)
{
	++*(uint64_t *)arg;
	return 0;
}

int dp_map_info(const char *name, struct dp_map_info *info, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);
	struct bpf_map_info mi = { 0 };
	__u32 len = sizeof(mi);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &mi, &len) < 0)
		return err_errno(err, errno, "cannot ask the kernel about map %s", name);
	*info = (struct dp_map_info){
		.id = mi.id,
		.type = mi.type,
		.key_size = mi.key_size,
		.value_size = mi.value_size,
		.max_entries = mi.max_entries,
		.flags = mi.map_flags,
		.type_name = type_name(mi.type),
		.memory = map_memory(fd),
	};
	if (mi.type == BPF_MAP_TYPE_RINGBUF)
		return 0;
	return dp_map_each(name, count_one, &info->entries, err);
}

static int cpu_count(const struct dp_map *map)
{
	return map->kind == DP_MAP_PERCPU ? libbpf_num_possible_cpus() : 1;
}

/* A per-CPU value is padded to 8 bytes in what bpf(2) returns. */
static size_t value_room(const struct dp_map *map)
{
	size_t one = map->kind == DP_MAP_PERCPU ? (map->value_size + 7) & ~7u : map->value_size;

	return one * (size_t)cpu_count(map);
}

size_t dp_map_value_room(const char *name)
{
	const struct dp_map *map = map_find(name, NULL);

	return map ? value_room(map) : 0;
}

/* One call for the whole array, since most slots are empty. */
static int each_slot(int fd, const struct dp_map *map, int (*fn)(const void *key, const void *value, int cpus, void *arg),
		     void *arg, struct err *err)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info), next, count;
	_cleanup_free_ char *values = NULL;
	_cleanup_free_ __u32 *keys = NULL;

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return err_errno(err, errno, "cannot ask the kernel about map %s", map->name);
	count = info.max_entries;
	keys = calloc(count, sizeof(*keys));
	values = calloc(count, map->value_size);
	if (!keys || !values)
		return err_errno(err, ENOMEM, "map %s", map->name);
	/* ENOENT: that was the last batch. */
	if (bpf_map_lookup_batch(fd, NULL, &next, keys, values, &count, NULL) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot walk map %s", map->name);
	for (__u32 i = 0; i < count; i++) {
		const char *value = values + (size_t)i * map->value_size;
		int r = *(const __u32 *)value ? fn(&keys[i], value, 1, arg) : 0;

		if (r)
			return r;
	}
	return 0;
}

static int each_key(int fd, const struct dp_map *map, int (*fn)(const void *key, const void *value, int cpus, void *arg),
		    void *arg, struct err *err)
{
	_cleanup_free_ char *keys = calloc(2, map->key_size);
	_cleanup_free_ void *value = calloc(1, value_room(map));
	void *prev = NULL, *next = keys;

	if (!keys || !value)
		return err_errno(err, ENOMEM, "map %s", map->name);
	while (bpf_map_get_next_key(fd, prev, next) == 0) {
		/* An entry that went away since is no error; the kernel then starts again at the front at worst. */
		if (bpf_map_lookup_elem(fd, next, value) == 0) {
			int r = fn(next, value, cpu_count(map), arg);

			if (r)
				return r;
		}
		prev = next;
		next = next == keys ? keys + map->key_size : keys;
	}
	return errno == ENOENT ? 0 : err_errno(err, errno, "cannot walk map %s", map->name);
}

int dp_map_each(const char *name, int (*fn)(const void *key, const void *value, int cpus, void *arg), void *arg,
		struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);
	const struct dp_map *map;

	if (fd < 0)
		return fd;
	map = map_find(name, err);
	if (map->kind == DP_MAP_RING) {
		err_set(err, EINVAL, "%s is a ring buffer: it has no entries to list", name);
		return err_hint(err, "`warren monitor` reads it");
	}
	return map->kind == DP_MAP_SLOTS ? each_slot(fd, map, fn, arg, err) : each_key(fd, map, fn, arg, err);
}

int dp_map_lookup(const char *name, const void *key, void *value, int *cpus, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, key, value) < 0) {
		if (errno == ENOENT)
			return err_set(err, ENOENT, "map %s has no such entry", name);
		return err_errno(err, errno, "cannot look into map %s", name);
	}
	*cpus = cpu_count(map_find(name, NULL));
	return 0;
}

__attribute__((format(printf, 2, 0))) static void print_to(void *ctx, const char *fmt, va_list args)
{
	vfprintf(ctx, fmt, args);
}

int dp_map_print_btf(const char *name, const void *key, const void *value, FILE *out, struct err *err)
{
	LIBBPF_OPTS(btf_dump_type_data_opts, opts, .compact = true, .skip_names = false, .emit_zeroes = true);
	_cleanup_fd_ int fd = dp_map_open(name, err);
	const struct dp_map *map = map_find(name, err);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	struct btf_dump *dump = NULL;
	struct btf *btf;
	int r;

	if (fd < 0 || !map)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return err_errno(err, errno, "cannot ask the kernel about map %s", name);
	btf = info.btf_id ? btf__load_from_kernel_by_id(info.btf_id) : NULL;
	if (!btf)
		return err_set(err, ENOENT, "map %s carries no BTF", name);
	dump = btf_dump__new(btf, print_to, out, NULL);
	if (!dump) {
		btf__free(btf);
		return err_errno(err, errno, "cannot print the BTF of map %s", name);
	}
	r = btf_dump__dump_type_data(dump, info.btf_key_type_id, key, map->key_size, &opts);
	for (int cpu = 0; r >= 0 && cpu < cpu_count(map); cpu++) {
		if (map->kind == DP_MAP_PERCPU)
			fprintf(out, "%s cpu%d ", cpu ? "" : ":", cpu);
		else
			fprintf(out, ": ");
		r = btf_dump__dump_type_data(dump, info.btf_value_type_id,
					     (const char *)value + cpu * (value_room(map) / (size_t)cpu_count(map)),
					     map->value_size, &opts);
	}
	btf_dump__free(dump);
	btf__free(btf);
	return r < 0 ? err_errno(err, -r, "cannot print an entry of map %s", name) : 0;
}

static int add_metric(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_metric *per_cpu = value;
	struct wr_metric *total = (struct wr_metric *)arg + *(const uint32_t *)key;

	for (int cpu = 0; cpu < cpus; cpu++) {
		total->packets += per_cpu[cpu].packets;
		total->bytes += per_cpu[cpu].bytes;
	}
	return 0;
}

int dp_metrics_read(struct wr_metric *totals, struct err *err)
{
	memset(totals, 0, sizeof(*totals) * WR_METRICS);
	return dp_map_each("metrics", add_metric, totals, err);
}
