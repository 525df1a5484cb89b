/* SPDX-License-Identifier: BSD-2-Clause */
#include "maps.h"

#include <bpf/btf.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "internal.h"

/* Walks of an LPM trie, an array and the two hashes are the same. */
enum {
	KIND_ARRAY = DP_MAP_TABLE,
	KIND_HASH = DP_MAP_TABLE,
	KIND_LRU_HASH = DP_MAP_TABLE,
	KIND_LPM_TRIE = DP_MAP_TABLE,
	KIND_SLOTS = DP_MAP_SLOTS,
	KIND_PERCPU_ARRAY = DP_MAP_PERCPU,
	KIND_PERCPU_HASH = DP_MAP_PERCPU,
};

const struct dp_map dp_maps[] = {
#define X(name, TYPE, key, value, max, flags, text)                                                                    \
	{ #name, text, (enum dp_map_kind)KIND_##TYPE, BPF_MAP_TYPE_##TYPE, sizeof(key), sizeof(value), flags, max },
	WARREN_MAPS(X)
#undef X
#define X(name, key, value, first, most, text)                                                                         \
	{ #name, text, DP_MAP_GROWING, BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), BPF_F_NO_PREALLOC, most },
	WARREN_GROWING_MAPS(X)
#undef X
#define X(name, bytes, text) { #name, text, DP_MAP_RING, BPF_MAP_TYPE_RINGBUF, 0, 0, 0, 0 },
	WARREN_RINGS(X)
#undef X
#define X(name, value, text)                                                                                           \
	{ #name, text, DP_MAP_SOCKETS, BPF_MAP_TYPE_SK_STORAGE, sizeof(__u32), sizeof(value), BPF_F_NO_PREALLOC, 0 },
	WARREN_SOCKET_MAPS(X)
#undef X
	{ 0 },
};

const struct dp_map *dp_map_find(const char *name, struct err *err)
{
	for (const struct dp_map *m = dp_maps; m->name; m++) {
		if (strcmp(m->name, name) == 0)
			return m;
	}
	err_set(err, ENOENT, "there is no map named '%s'", name);
	err_hint(err, "`warren map list` lists the maps");
	return NULL;
}

int dp_map_fd_info(int fd, const struct dp_map *map, struct bpf_map_info *info, struct err *err)
{
	__u32 len = sizeof(*info);

	*info = (struct bpf_map_info){ 0 };
	if (bpf_obj_get_info_by_fd(fd, info, &len) < 0)
		return err_errno(err, errno, "cannot query map %s", map->name);
	return 0;
}

static int verify(int fd, const struct dp_map *map, const struct dp_map *expected, struct err *err)
{
	struct bpf_map_info info;
	int r = dp_map_fd_info(fd, map, &info, err);

	if (r < 0)
		return r;
	if (info.type == expected->type && info.key_size == expected->key_size && info.value_size == expected->value_size &&
	    info.map_flags == expected->flags)
		return 0;
	err_set(err, EPROTO, "the pinned map %s is not of ABI version %d (type %u, key %u, value %u bytes, flags %#x)",
		map->name, WR_ABI_VERSION, info.type, info.key_size, info.value_size, info.map_flags);
	return err_hint(err, "something else wrote to %s: `warren node down --force`, then `warren node init`",
			PIN_MAP_DIR);
}

int dp_map_verify(int fd, const struct dp_map *map, struct err *err)
{
	static const struct dp_map outer = { .type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .key_size = 4, .value_size = 4 };

	return verify(fd, map, map->kind == DP_MAP_GROWING ? &outer : map, err);
}

/* --- growing maps ------------------------------------------------------------------------------------------------- */

int dp_growing_create(const struct dp_map *map, uint32_t entries, const struct dp_btf *btf, struct err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = map->flags, .btf_fd = (__u32)btf->fd,
		    .btf_key_type_id = btf->key, .btf_value_type_id = btf->value);
	int fd =
	    bpf_map_create((enum bpf_map_type)map->type, map->name, map->key_size, map->value_size, entries, &opts);

	return fd < 0 ? err_errno(err, -fd, "cannot make a map of %u entries for %s", entries, map->name) : fd;
}

int dp_growing_set(int outer, const struct dp_map *map, int inner, struct err *err)
{
	const __u32 zero = 0;

	if (bpf_map_update_elem(outer, &zero, &inner, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot put another map into %s", map->name);
	return 0;
}

int dp_growing_get(int outer, const struct dp_map *map, struct err *err)
{
	const __u32 zero = 0;
	_cleanup_fd_ int fd = -1;
	__u32 id;
	int r;

	/* Between lookup and open the inner map may be replaced and freed. */
	do {
		if (bpf_map_lookup_elem(outer, &zero, &id) < 0)
			return err_errno(err, errno, "cannot read map %s", map->name);
		fd = bpf_map_get_fd_by_id(id);
	} while (fd == -ENOENT);
	if (fd < 0)
		return err_errno(err, -fd, "cannot open the map inside %s", map->name);
	r = verify(fd, map, map, err);
	return r < 0 ? r : take_fd(&fd);
}

/* --- open and describe -------------------------------------------------------------------------------------------- */

int pin_open(const char *dir, const char *name, struct err *err)
{
	char path[PIN_PATH_MAX];
	int fd = bpf_obj_get(pin_path(path, dir, name));

	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return err_errno(err, errno, "cannot open the pin %s", path);
	err_set(err, ENOENT, "Warren is not loaded here: there is no %s", path);
	return err_hint(err, "`warren node init` loads it; so does the first pod");
}

int dp_map_open_pin(const struct dp_map *map, struct err *err)
{
	_cleanup_fd_ int fd = pin_open(PIN_MAP_DIR, map->name, err);
	int r = fd < 0 ? fd : dp_map_verify(fd, map, err);

	return r < 0 ? r : take_fd(&fd);
}

int dp_map_open(const char *name, struct err *err)
{
	const struct dp_map *map = dp_map_find(name, err);
	_cleanup_fd_ int fd = map ? dp_map_open_pin(map, err) : -ENOENT;

	return fd < 0 || map->kind != DP_MAP_GROWING ? take_fd(&fd) : dp_growing_get(fd, map, err);
}

int dp_maps_open(const struct dp_map_fd *maps, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		*maps[i].fd = dp_map_open(maps[i].name, err);
		if (*maps[i].fd < 0)
			return *maps[i].fd;
	}
	return 0;
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

static int describe(int fd, const struct dp_map *map, struct dp_map_info *info, struct err *err)
{
	struct bpf_map_info mi;
	int r = dp_map_fd_info(fd, map, &mi, err);

	if (r < 0)
		return r;
	*info = (struct dp_map_info){
		.id = mi.id,
		.type = mi.type,
		.key_size = mi.key_size,
		.value_size = mi.value_size,
		.max_entries = mi.max_entries,
		.flags = mi.map_flags,
		.limit = map->kind == DP_MAP_GROWING ? map->max_entries : mi.max_entries,
		.type_name = type_name(mi.type),
		.memory = map_memory(fd),
	};
	return 0;
}

int dp_map_describe(const char *name, struct dp_map_info *info, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);

	return fd < 0 ? fd : describe(fd, dp_map_find(name, NULL), info, err);
}

int dp_map_info(const char *name, struct dp_map_info *info, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);
	const struct dp_map *map = dp_map_find(name, NULL);
	int r;

	if (fd < 0)
		return fd;
	r = describe(fd, map, info, err);
	return r < 0 || !dp_map_is_listable(map) ? r : dp_map_walk(fd, map, count_one, &info->entries, err);
}

/* --- elements ----------------------------------------------------------------------------------------------------- */

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
	const struct dp_map *map = dp_map_find(name, NULL);

	return map ? value_room(map) : 0;
}

int dp_map_cpus(const char *name)
{
	const struct dp_map *map = dp_map_find(name, NULL);

	return map ? cpu_count(map) : 1;
}

/*
 * In batches: a call per element takes three times as long, and a walk by keys restarts when its present element is
 * deleted. A bucket of a hash must fit into a batch; buckets have one or two elements.
 */
#define WALK_BATCH 1024

int dp_map_walk(int fd, const struct dp_map *map, dp_map_fn fn, void *arg, struct err *err)
{
	const size_t room = value_room(map);
	_cleanup_free_ char *keys = calloc(WALK_BATCH, map->key_size), *values = calloc(WALK_BATCH, room);
	_cleanup_free_ char *position = calloc(1, map->key_size + sizeof(__u64)); /* a key, or a bucket's number */
	void *from = NULL;
	int last;

	if (!keys || !values || !position)
		return err_errno(err, ENOMEM, "map %s", map->name);
	do {
		__u32 count = WALK_BATCH;

		last = bpf_map_lookup_batch(fd, from, position, keys, values, &count, NULL);
		if (last < 0 && last != -ENOENT)
			return err_errno(err, -last, "cannot walk map %s", map->name);
		for (__u32 i = 0; i < count; i++) {
			const char *value = values + i * room;
			int r = 0;

			if (map->kind != DP_MAP_SLOTS || *(const __u32 *)value)
				r = fn(keys + i * map->key_size, value, cpu_count(map), arg);
			if (r)
				return r;
		}
		from = position;
	} while (last == 0);
	return 0;
}

int dp_map_each(const char *name, dp_map_fn fn, void *arg, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);
	const struct dp_map *map;

	if (fd < 0)
		return fd;
	map = dp_map_find(name, err);
	if (map->kind == DP_MAP_RING) {
		err_set(err, EINVAL, "%s is a ring buffer: it has no entries to list", name);
		return err_hint(err, "`warren monitor` reads it");
	}
	if (map->kind == DP_MAP_SOCKETS) {
		err_set(err, EINVAL, "the values of %s are kept with sockets: it has no entries to list", name);
		return err_hint(err, "`warren service sockets` lists them");
	}
	return dp_map_walk(fd, map, fn, arg, err);
}

int dp_map_lookup(const char *name, const void *key, void *value, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, key, value) < 0) {
		if (errno == ENOENT)
			return err_set(err, ENOENT, "map %s has no such entry", name);
		return err_errno(err, errno, "cannot look into map %s", name);
	}
	return 0;
}

int dp_map_update(const char *name, const void *key, const void *value, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open(name, err);

	if (fd < 0)
		return fd;
	return bpf_map_update_elem(fd, key, value, BPF_ANY) < 0 ? err_errno(err, errno, "cannot write map %s", name)
								: 0;
}

#define PERCPU_RETRY_US 1000
#define PERCPU_RETRY_MAX_US 64000 /* with the pauses before it 127 ms */

int dp_percpu_write(int fd, const void *key, const void *values, uint64_t flags)
{
	for (useconds_t pause = PERCPU_RETRY_US;; pause *= 2) {
		if (bpf_map_update_elem(fd, key, values, flags) == 0)
			return 0;
		if (errno != ENOMEM || pause > PERCPU_RETRY_MAX_US)
			return -errno;
		usleep(pause);
	}
}

int dp_map_not_written(int num, const char *map, const char *what, struct err *err)
{
	/* ENOMEM: the kernel has no memory for the map, or the writer's cgroup has reached its limit. */
	if (num != E2BIG && num != ENOSPC && num != ENOMEM)
		return err_errno(err, num, "cannot write %s into map %s", what, map);
	return err_set(err, ENOSPC, "map %s is full: no room for %s", map, what);
}

struct wr_prefix6 dp_prefix_key(const struct prefix *prefix)
{
	const struct ip first = prefix_first(prefix);
	struct wr_prefix6 key = { .prefixlen = prefix->len };

	memcpy(&key.addr, first.bytes, ip_bytes(&first));
	return key;
}

struct prefix dp_prefix_of(int family, const void *key)
{
	const struct wr_prefix4 *k = key;

	return (struct prefix){ ip_from(family, &k->addr), (uint8_t)k->prefixlen };
}

int dp_value_get(const char *name, void *value, struct err *err)
{
	return dp_map_lookup(name, &(__u32){ 0 }, value, err);
}

int dp_value_put(const char *name, const void *value, struct err *err)
{
	return dp_map_update(name, &(__u32){ 0 }, value, err);
}

__attribute__((format(printf, 2, 0))) static void print_to(void *ctx, const char *fmt, va_list args)
{
	vfprintf(ctx, fmt, args);
}

int dp_map_print_btf(const char *name, const void *key, const void *value, FILE *out, struct err *err)
{
	LIBBPF_OPTS(btf_dump_type_data_opts, opts, .compact = true, .skip_names = false, .emit_zeroes = true);
	_cleanup_fd_ int fd = dp_map_open(name, err);
	const struct dp_map *map = dp_map_find(name, err);
	struct bpf_map_info info;
	struct btf_dump *dump = NULL;
	struct btf *btf;
	int r;

	if (fd < 0 || !map)
		return fd;
	r = dp_map_fd_info(fd, map, &info, err);
	if (r < 0)
		return r;
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
