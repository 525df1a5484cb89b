/* SPDX-License-Identifier: BSD-2-Clause */
#include "upgrade_internal.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "lock.h"
#include "progs.h"

#define LAST_PROGRAM WARREN_PROG_FROM_POD /* its pin makes a version count as loaded */

static bool version_is_loaded(unsigned abi)
{
	char path[PIN_PATH_MAX];

	return access(upgrade_path(path, abi, "progs", LAST_PROGRAM), F_OK) == 0;
}

/* The highest loaded version other than this build's; 0: none. */
static unsigned other_version(void)
{
	_cleanup_closedir_ DIR *dir = opendir(WARREN_PIN_ROOT);
	const struct dirent *entry;
	unsigned found = 0;

	while (dir && (entry = readdir(dir))) {
		char *end;
		unsigned long abi = entry->d_name[0] == 'v' ? strtoul(entry->d_name + 1, &end, 10) : 0;

		if (abi && !*end && abi != WR_ABI_VERSION && abi < 1000000 && abi > found && version_is_loaded((unsigned)abi))
			found = (unsigned)abi;
	}
	return found;
}

bool upgrade_is_due(void)
{
	return other_version() != 0;
}

unsigned upgrade_from(const struct upgrade *upgrade)
{
	return upgrade ? upgrade->abi : 0;
}

size_t upgrade_lost_flows(const struct upgrade *upgrade)
{
	return upgrade ? upgrade->lost_flows : 0;
}

/* --- pins of both versions ---------------------------------------------------------------------------------------- */

/* Pins an object of the old version in this build's directory too. */
static int pin_also(const struct upgrade *upgrade, const char *dir, const char *name, struct err *err)
{
	char from[PIN_PATH_MAX], to[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(upgrade_path(from, upgrade->abi, dir, name));

	if (fd < 0)
		return err_errno(err, errno, "cannot open the pin %s", from);
	if (bpf_obj_pin(fd, upgrade_path(to, WR_ABI_VERSION, dir, name)) < 0 && errno != EEXIST)
		return err_errno(err, errno, "cannot pin %s", to);
	return 0;
}

static bool is_shared(const struct layout *layout, const char *name)
{
	if (!layout->shared)
		return strcmp(name, "config") != 0;
	for (const char *const *shared = layout->shared; *shared; shared++) {
		if (strcmp(*shared, name) == 0)
			return true;
	}
	return false;
}

static int share_maps(const struct upgrade *upgrade, struct err *err)
{
	for (const struct dp_map *map = dp_maps; map->name; map++) {
		_cleanup_fd_ int fd = -1;
		int r;

		if (!is_shared(upgrade->layout, map->name))
			continue;
		fd = upgrade_map_open(upgrade, map, err);
		r = fd < 0 ? fd : pin_also(upgrade, "maps", map->name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A device or a cgroup keeps its link, whose program is replaced. */
static int share_links(const struct upgrade *upgrade, struct err *err)
{
	char path[PIN_PATH_MAX];
	_cleanup_closedir_ DIR *dir = opendir(upgrade_path(path, upgrade->abi, "links", ""));
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot read %s", path);
	while (r == 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			r = pin_also(upgrade, "links", entry->d_name, err);
	}
	return r;
}

static int make_dirs(struct err *err)
{
	static const char *const dirs[] = { PIN_VERSION_DIR, PIN_MAP_DIR, PIN_PROG_DIR, PIN_LINK_DIR };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (mkdir(dirs[i], 0700) < 0 && errno != EEXIST)
			return err_errno(err, errno, "cannot make the pin directory %s", dirs[i]);
	}
	return 0;
}

/* --- a version with this build's layouts -------------------------------------------------------------------------- */

static int same_convert(struct upgrade *upgrade, struct dp *dp, struct err *err)
{
	struct wr_config config;
	int r = upgrade_value_get(upgrade, "config", sizeof(config), &config, err);

	if (r < 0)
		return r;
	config.abi_version = WR_ABI_VERSION;
	memcpy(config.version, dp->config.version, sizeof(config.version));
	return dp_value_put("config", &config, err);
}

/* ABI numbers were raised without a change of a map's layout. */
static const struct layout layout_same = { .convert = same_convert };

static bool has_same_layout(const struct upgrade *upgrade)
{
	for (const struct dp_map *map = dp_maps; map->name; map++) {
		_cleanup_fd_ int fd = upgrade_map_open(upgrade, map, NULL);

		if (fd < 0)
			return false;
	}
	return true;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static const struct layout *const layouts[] = { &layout_abi4 };

static const struct layout *layout_find(const struct upgrade *upgrade)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		if (layouts[i]->abi == upgrade->abi)
			return layouts[i];
	}
	return upgrade->abi == WR_ABI_VERSION - 1 && has_same_layout(upgrade) ? &layout_same : NULL;
}

static int refuse(unsigned abi, struct err *err)
{
	err_set(err, EBUSY, "the node's programs and maps have ABI version %u, this release has %d and cannot take them over",
		abi, WR_ABI_VERSION);
	return err_hint(err, "%s, or drain the node and run `warren node down --force`",
			abi > WR_ABI_VERSION ? "install the newer release again" : "upgrade by way of the release between");
}

/* An agent of the old version would go on writing maps that no program reads. */
static int refuse_with_agent(const struct node_options *options, struct err *err)
{
	_cleanup_fd_ int lock = options->agent ? -1 : lock_take(LOCK_AGENT, NULL, 0, NULL);

	if (options->agent || lock >= 0)
		return 0;
	err_set(err, EBUSY, "the node is to be upgraded to this release, and the agent of another one runs on it");
	return err_hint(err, "restart the agent with this release: it upgrades the node");
}

/*
 * Whether the old version's state was carried over before, and only the removal of its pins was interrupted: it begins
 * with `config`.
 */
static bool is_converted(const struct upgrade *upgrade)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(upgrade_path(path, upgrade->abi, "maps", "config"));
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	return fd < 0 ? errno == ENOENT : bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.value_size == sizeof(__u32);
}

static int config_to_options(const struct upgrade *upgrade, struct node_options *options, struct err *err)
{
	/* Every version's config begins like this. */
	struct { __u32 abi_version, mark_pod; } *config;
	char value[256] = { 0 }, path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(upgrade_path(path, upgrade->abi, "maps", "config"));
	_cleanup_fd_ int ct4 = bpf_obj_get(upgrade_path(path, upgrade->abi, "maps", "ct4"));
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.value_size > sizeof(value) ||
	    bpf_map_lookup_elem(fd, &(__u32){ 0 }, value) < 0)
		return err_errno(err, errno, "cannot read map config of ABI version %u", upgrade->abi);
	config = (void *)value;
	if (options->mark_shift < 0 && config->mark_pod)
		options->mark_shift = __builtin_ctz(config->mark_pod);
	len = sizeof(info);
	if (!options->ct_entries && ct4 >= 0 && bpf_obj_get_info_by_fd(ct4, &info, &len) == 0)
		options->ct_entries = info.max_entries;
	return 0;
}

int upgrade_begin(struct upgrade **out, struct node_options *options, struct err *err)
{
	const unsigned abi = other_version();
	_cleanup_upgrade_ struct upgrade *upgrade = NULL;
	int r;

	*out = NULL;
	if (!abi)
		return 0;
	r = refuse_with_agent(options, err);
	if (r < 0)
		return r;
	upgrade = calloc(1, sizeof(*upgrade));
	if (!upgrade)
		return err_errno(err, ENOMEM, "upgrade");
	upgrade->abi = abi;
	upgrade->had_own = version_is_loaded(WR_ABI_VERSION);
	upgrade->complete = upgrade->had_own && is_converted(upgrade);
	if (upgrade->complete) {
		*out = take_ptr(upgrade);
		return 0;
	}
	upgrade->layout = abi < WR_ABI_VERSION ? layout_find(upgrade) : NULL;
	if (!upgrade->layout)
		return refuse(abi, err);
	r = config_to_options(upgrade, options, err);
	if (r == 0)
		r = make_dirs(err);
	if (r == 0)
		r = share_maps(upgrade, err);
	if (r == 0)
		r = share_links(upgrade, err);
	if (r < 0)
		upgrade_undo(upgrade);
	else
		*out = take_ptr(upgrade);
	return r;
}

int upgrade_convert(struct upgrade *upgrade, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	int r;

	if (!upgrade || upgrade->complete)
		return 0;
	r = dp_open(&dp, err);
	return r < 0 ? r : upgrade->layout->convert(upgrade, &dp, err);
}

static int copy_flows(struct upgrade *upgrade, bool attached, struct err *err)
{
	if (!upgrade || upgrade->complete || !upgrade->layout->flows)
		return 0;
	return upgrade->layout->flows(upgrade, attached, err);
}

int upgrade_flows(struct upgrade *upgrade, struct err *err)
{
	return copy_flows(upgrade, upgrade && upgrade->had_own, err);
}

int upgrade_catch_up(struct upgrade *upgrade, struct dp *dp, struct err *err)
{
	int r = copy_flows(upgrade, true, err);

	if (r < 0 || !upgrade || upgrade->complete || !upgrade->layout->endpoints)
		return r;
	return upgrade->layout->endpoints(upgrade, dp, err);
}

/* An old release finds a map `config` that is not of its layout, and so changes nothing on this node. */
static int replace_config(const struct upgrade *upgrade, struct err *err)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "upgraded", sizeof(__u32), sizeof(__u32), 1, NULL);

	if (fd < 0)
		return err_errno(err, -fd, "cannot make a map");
	if (unlink(upgrade_path(path, upgrade->abi, "maps", "config")) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot remove the pin %s", path);
	return bpf_obj_pin(fd, path) < 0 ? err_errno(err, errno, "cannot pin %s", path) : 0;
}

/* Every pin in that directory but `last`. */
static int unpin_all(const struct upgrade *upgrade, const char *dir, const char *last, struct err *err)
{
	char path[PIN_PATH_MAX], pin[PIN_PATH_MAX];
	_cleanup_closedir_ DIR *d = opendir(upgrade_path(path, upgrade->abi, dir, ""));
	const struct dirent *entry;

	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot read %s", path);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, last) == 0)
			continue;
		if (unlink(upgrade_path(pin, upgrade->abi, dir, entry->d_name)) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot remove the pin %s", pin);
	}
	return 0;
}

int upgrade_end(struct upgrade *upgrade, struct err *err)
{
	char path[PIN_PATH_MAX];
	int r;

	if (!upgrade)
		return 0;
	r = replace_config(upgrade, err);
	if (r == 0)
		r = unpin_all(upgrade, "maps", "config", err);
	if (r == 0)
		r = unpin_all(upgrade, "links", "", err);
	if (r == 0)
		r = dir_remove(upgrade_path(path, upgrade->abi, "dry-run", ""), err);
	if (r == 0)
		r = unpin_all(upgrade, "progs", LAST_PROGRAM, err);
	if (r < 0)
		return r;
	return unlink(upgrade_path(path, upgrade->abi, "progs", LAST_PROGRAM)) < 0
		   ? err_errno(err, errno, "cannot remove the pin %s", path)
		   : 0;
}

void upgrade_undo(struct upgrade *upgrade)
{
	if (upgrade && !upgrade->had_own)
		dir_remove(PIN_VERSION_DIR, NULL);
}

void upgrade_freep(struct upgrade **p)
{
	struct upgrade *upgrade = *p;

	if (upgrade && upgrade->layout && upgrade->layout->free)
		upgrade->layout->free(upgrade);
	free(upgrade);
}
