/* SPDX-License-Identifier: BSD-2-Clause */
#include "load.h"

#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "file.h"
#include "internal.h"
#include "paths.h"
#include "warren.skel.h"

/* libbpf explains failures only through its print callback: keep the last complaint for the error message. */
static char libbpf_complaint[300];

__attribute__((format(printf, 2, 0))) static int keep_complaint(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN && strncmp(fmt, "libbpf: prog '%s': -- BEGIN", 27) != 0)
		vsnprintf(libbpf_complaint, sizeof(libbpf_complaint), fmt, ap);
	if (getenv("WARREN_LIBBPF_LOG"))
		return vfprintf(stderr, fmt, ap);
	return 0;
}

static int load_error(struct err *err, int num, const char *what)
{
	libbpf_complaint[strcspn(libbpf_complaint, "\n")] = '\0';
	err_errno(err, num, "%s", what);
	if (libbpf_complaint[0])
		err_wrap(err, "%s", libbpf_complaint);
	return err_hint(err, "kernel 6.1 or newer with BTF is needed; WARREN_LIBBPF_LOG=1 prints the verifier's log");
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

int load_bpffs(bool *mounted, struct err *err)
{
	*mounted = false;
	if (is_bpffs(WARREN_BPFFS))
		return 0;
	if (mount("bpf", WARREN_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0) {
		*mounted = true;
		return 0;
	}
	err_errno(err, errno, "there is no bpffs at %s and it cannot be mounted", WARREN_BPFFS);
	if (err)
		err->cni_code = 50;
	return err_hint(err, "mount -t bpf bpf %s", WARREN_BPFFS);
}

int load_unpin(struct err *err)
{
	return dir_remove(WARREN_PIN_ROOT, err);
}

static int make_pin_dirs(struct err *err)
{
	static const char *const dirs[] = { WARREN_PIN_ROOT, PIN_VERSION_DIR, PIN_MAP_DIR, PIN_PROG_DIR };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (mkdir(dirs[i], 0700) < 0 && errno != EEXIST)
			return err_errno(err, errno, "cannot make the pin directory %s", dirs[i]);
	}
	return 0;
}

/* Ties the object's map to its pin if there is one; *pinned says so, also on failure. */
static int reuse_map(struct bpf_object *obj, const struct dp_map *map, bool *pinned, struct err *err)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(pin_path(path, PIN_MAP_DIR, map->name));
	int r;

	*pinned = fd >= 0 || errno != ENOENT;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot open the pinned map %s", path);
	r = dp_map_verify(fd, map, err);
	if (r < 0)
		return r;
	r = bpf_map__reuse_fd(bpf_object__find_map_by_name(obj, map->name), fd);
	return r < 0 ? err_errno(err, -r, "cannot use the pinned map %s", path) : 0;
}

static int reuse_maps(struct bpf_object *obj, unsigned *pinned_count, struct err *err)
{
	bool pinned;
	int r;

	*pinned_count = 0;
	for (const struct dp_map *map = dp_maps; map->name; map++) {
		r = reuse_map(obj, map, &pinned, err);
		*pinned_count += pinned;
		if (r < 0)
			return r;
	}
	return 0;
}

/* The addresses' maps are what bounds the number of endpoints; the slots have room for the most there can be. */
static int set_max_endpoints(struct warren_bpf *skel, uint32_t wanted, bool fresh, struct err *err)
{
	uint32_t loaded = bpf_map__max_entries(skel->maps.addr4);

	if (!wanted || (!fresh && wanted == loaded))
		return 0;
	if (!fresh) {
		err_set(err, EBUSY, "the maps are loaded with room for %u endpoints, not %u", loaded, wanted);
		return err_hint(err, "`warren node down` first, or leave --max-endpoints out");
	}
	bpf_map__set_max_entries(skel->maps.addr4, wanted);
	bpf_map__set_max_entries(skel->maps.addr6, wanted);
	return 0;
}

/* Marks as loaded, unless the caller asks for others. */
static int write_config(struct warren_bpf *skel, int mark_shift, struct err *err)
{
	int fd = bpf_map__fd(skel->maps.config);
	struct wr_config cfg = { 0 };
	const __u32 zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, &cfg) < 0)
		return err_errno(err, errno, "cannot read map config");
	if (cfg.abi_version && cfg.abi_version != WR_ABI_VERSION)
		return err_set(err, EPROTO, "what is loaded has ABI version %u, this build has %d", cfg.abi_version, WR_ABI_VERSION);
	if (mark_shift < 0 && !cfg.mark_pod)
		mark_shift = NODE_MARK_SHIFT;
	if (mark_shift >= 0) {
		cfg.mark_pod = 1u << mark_shift;
		cfg.mark_masquerade = 2u << mark_shift;
		cfg.mark_host_only = 4u << mark_shift;
	}
	cfg.abi_version = WR_ABI_VERSION;
	cfg.ct_share = bpf_map__max_entries(skel->maps.ct4) >> WR_CT_SHARE_SHIFT;
	memset(cfg.version, 0, sizeof(cfg.version));
	snprintf(cfg.version, sizeof(cfg.version), "%s", WARREN_VERSION);
	if (bpf_map_update_elem(fd, &zero, &cfg, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map config");
	return 0;
}

/* The first inner map of each growing one that has none. */
static int fill_growing(struct bpf_object *obj, struct err *err)
{
	const __u32 zero = 0;
	__u32 id;

#define X(name, key, value, first, most, text)                                                                         \
	do {                                                                                                           \
		int outer = bpf_map__fd(bpf_object__find_map_by_name(obj, #name));                                     \
		_cleanup_fd_ int inner = -1;                                                                           \
                                                                                                                       \
		if (bpf_map_lookup_elem(outer, &zero, &id) == 0)                                                       \
			break;                                                                                         \
		inner = dp_growing_create(#name, first, err);                                                          \
		if (inner < 0)                                                                                         \
			return inner;                                                                                  \
		if (bpf_map_update_elem(outer, &zero, &inner, BPF_ANY) < 0)                                            \
			return err_errno(err, errno, "cannot put the first map into %s", #name);                       \
	} while (0);
	WARREN_GROWING_MAPS(X)
#undef X
	return 0;
}

static int pin_maps(struct bpf_object *obj, struct err *err)
{
	char path[PIN_PATH_MAX];

	for (const struct dp_map *map = dp_maps; map->name; map++) {
		int fd = bpf_map__fd(bpf_object__find_map_by_name(obj, map->name));

		if (bpf_obj_pin(fd, pin_path(path, PIN_MAP_DIR, map->name)) < 0 && errno != EEXIST)
			return err_errno(err, errno, "cannot pin map %s", path);
	}
	return 0;
}

/* Beside the old pin and then over it, so that there is a program at that path at any moment. */
static int pin_program(const struct bpf_program *prog, struct err *err)
{
	char path[PIN_PATH_MAX], beside[PIN_PATH_MAX + 8];

	pin_path(path, PIN_PROG_DIR, bpf_program__name(prog));
	snprintf(beside, sizeof(beside), "%s_new", path);
	if (unlink(beside) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot remove the stale pin %s", beside);
	if (bpf_obj_pin(bpf_program__fd(prog), beside) < 0)
		return err_errno(err, errno, "cannot pin program %s", beside);
	if (rename(beside, path) < 0) {
		int num = errno;

		unlink(beside);
		return err_errno(err, num, "cannot put program %s in place", path);
	}
	return 0;
}

/* Programs last: with them in place a reader takes the node for loaded. */
static int pin_all(struct warren_bpf *skel, int mark_shift, struct err *err)
{
	int r = make_pin_dirs(err);

	if (r == 0)
		r = write_config(skel, mark_shift, err);
	if (r == 0)
		r = fill_growing(skel->obj, err);
	if (r == 0)
		r = pin_maps(skel->obj, err);
	if (r == 0)
		r = pin_program(skel->progs.to_pod, err);
	if (r == 0)
		r = pin_program(skel->progs.from_pod, err);
	return r;
}

int load_programs(const struct node_options *options, bool *fresh, struct err *err)
{
	struct warren_bpf *skel;
	unsigned pinned = 0;
	int r;

	libbpf_set_print(keep_complaint);
	libbpf_set_memlock_rlim(0); /* maps are charged to the memory cgroup since 5.11; runtimes must not raise rlimits */
	libbpf_complaint[0] = '\0';
	skel = warren_bpf__open();
	if (!skel)
		return load_error(err, errno, "cannot open the embedded programs");
	r = reuse_maps(skel->obj, &pinned, err);
	*fresh = pinned == 0;
	if (r == 0)
		r = set_max_endpoints(skel, options->max_endpoints, *fresh, err);
	if (r == 0) {
		r = warren_bpf__load(skel);
		if (r < 0)
			load_error(err, -r, "cannot load the programs");
	}
	if (r == 0) {
		r = pin_all(skel, options->mark_shift, err);
		if (r < 0 && *fresh)
			load_unpin(NULL);
	}
	warren_bpf__destroy(skel);
	return r;
}
