/* SPDX-License-Identifier: BSD-2-Clause */
/* Pins and maps of another ABI version. */
#include "cleanup.h"
#include "upgrade_internal.h"

const char *upgrade_path(char buf[PIN_PATH_MAX], unsigned abi, const char *dir, const char *name)
{
	snprintf(buf, PIN_PATH_MAX, WARREN_PIN_ROOT "/v%u/%s%s%s", abi, dir, name[0] ? "/" : "", name);
	return buf;
}

int upgrade_map_open(const struct upgrade *upgrade, const struct dp_map *map, struct err *err)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(upgrade_path(path, upgrade->abi, "maps", map->name));
	int r = fd < 0 ? err_errno(err, errno, "cannot open the pinned map %s", path) : dp_map_verify(fd, map, err);

	return r < 0 ? r : take_fd(&fd);
}

int upgrade_map_each(const struct upgrade *upgrade, const struct dp_map *map, dp_map_fn fn, void *arg, struct err *err)
{
	_cleanup_fd_ int fd = upgrade_map_open(upgrade, map, err);

	return fd < 0 ? fd : dp_map_walk(fd, map, fn, arg, err);
}

int upgrade_value_get(const struct upgrade *upgrade, const char *name, uint32_t size, void *value, struct err *err)
{
	const struct dp_map map = { .name = name, .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = size };
	_cleanup_fd_ int fd = upgrade_map_open(upgrade, &map, err);

	if (fd < 0)
		return fd;
	return bpf_map_lookup_elem(fd, &(__u32){ 0 }, value) < 0 ? err_errno(err, errno, "cannot read map %s", name) : 0;
}
