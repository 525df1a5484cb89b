/* SPDX-License-Identifier: BSD-2-Clause */
#include "load.h"

#include <bpf/btf.h>
#include <linux/if_ether.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "array.h"
#include "cleanup.h"
#include "ct_size.h"
#include "file.h"
#include "internal.h"
#include "loaded.h"
#include "paths.h"
#include "progs.h"
#include "tails.h"
#include "warren.skel.h"

/* libbpf explains failures only through its print callback: keep the last problem for the error message. */
static char libbpf_problem[300];

__attribute__((format(printf, 2, 0))) static int keep_problem(enum libbpf_print_level level, const char *fmt,
								va_list ap)
{
	if (getenv("WARREN_LIBBPF_LOG")) {
		va_list again;

		va_copy(again, ap);
		vfprintf(stderr, fmt, again);
		va_end(again);
	}
	if (level == LIBBPF_WARN && strncmp(fmt, "libbpf: prog '%s': -- BEGIN", 27) != 0)
		vsnprintf(libbpf_problem, sizeof(libbpf_problem), fmt, ap);
	return 0;
}

int load_error(struct err *err, int num, const char *what)
{
	libbpf_problem[strcspn(libbpf_problem, "\n")] = '\0';
	err_errno(err, num, "%s", what);
	if (libbpf_problem[0])
		err_wrap(err, "%s", libbpf_problem);
	if (num == ENOMEM)
		return err_hint(err, "the memory cgroup of this process needs a limit of 128 MiB and more, or none");
	return err_hint(err, "Warren needs kernel 6.1 or newer with BTF; WARREN_LIBBPF_LOG=1 prints the verifier's log");
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
		err->code = ERR_NOT_AVAILABLE;
	return err_hint(err, "mount -t bpf bpf %s", WARREN_BPFFS);
}

int load_unpin(struct err *err)
{
	return dir_remove(WARREN_PIN_ROOT, err);
}

/* Removes the pins of this ABI version. */
static void unpin_own(void)
{
	dir_remove(PIN_VERSION_DIR, NULL);
	rmdir(WARREN_PIN_ROOT);
}

static int make_pin_dirs(struct err *err)
{
	static const char *const dirs[] = { WARREN_PIN_ROOT, PIN_VERSION_DIR, PIN_MAP_DIR, PIN_PROG_DIR };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (mkdir(dirs[i], 0700) < 0 && errno != EEXIST)
			return err_errno(err, errno, "cannot make the pin directory %s", dirs[i]);
	}
	return 0;
}

/* Uses the pinned map for the object's map if there is one; *pinned: there is, also on failure. */
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

/* Sizes are fixed when the maps are made: later calls may only request the same. */
static int set_size(struct bpf_map *const maps[2], uint32_t requested, const char *what, const char *option,
		    struct err *err)
{
	uint32_t loaded = bpf_map__max_entries(maps[0]);
	const bool fresh = bpf_map__fd(maps[0]) < 0; /* no pinned map is used */

	if (!requested || (!fresh && requested == loaded))
		return 0;
	if (!fresh) {
		err_set(err, EBUSY, "the maps are loaded with room for %u %s, not %u", loaded, what, requested);
		return err_hint(err, "`warren node down` first, or leave %s out", option);
	}
	bpf_map__set_max_entries(maps[0], requested);
	bpf_map__set_max_entries(maps[1], requested);
	return 0;
}

static int set_sizes(struct warren_bpf *skel, const struct node_options *options, bool fresh, struct err *err)
{
	/* The addresses' maps bound the number of endpoints; the slots have room for the most there can be. */
	struct bpf_map *const addresses[] = { skel->maps.addr4, skel->maps.addr6 };
	struct bpf_map *const flows[] = { skel->maps.ct4, skel->maps.ct6 };
	/* Flows stay where a table is loaded, whatever `auto` would be now. */
	uint32_t ct_entries = options->ct_entries || !fresh ? options->ct_entries : ct_size_here();
	int r = set_size(addresses, options->max_endpoints, "endpoints", "--max-endpoints", err);

	return r < 0 ? r : set_size(flows, ct_entries, "flows", "--ct-entries", err);
}

/* The mark bits stay as they are unless the caller requests others. */
static int write_config(struct warren_bpf *skel, int mark_shift, struct err *err)
{
	int fd = bpf_map__fd(skel->maps.config);
	struct wr_config cfg = { 0 };
	const __u32 zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, &cfg) < 0)
		return err_errno(err, errno, "cannot read map config");
	if (cfg.abi_version && cfg.abi_version != WR_ABI_VERSION)
		return err_set(err, EPROTO, "what is loaded has ABI version %u, this build has %d", cfg.abi_version,
			       WR_ABI_VERSION);
	if (mark_shift < 0 && !cfg.mark_pod)
		mark_shift = NODE_MARK_SHIFT;
	if (mark_shift >= 0) {
		cfg.mark_pod = 1u << mark_shift;
		cfg.mark_masquerade = 2u << mark_shift;
		cfg.mark_host_only = 4u << mark_shift;
	}
	cfg.abi_version = WR_ABI_VERSION;
	cfg.ct_entries = bpf_map__max_entries(skel->maps.ct4);
	cfg.ct_quota = cfg.ct_entries >> WR_CT_QUOTA_SHIFT;
	/* The secret lives as long as the maps: the places of entries depend on it. */
	if (!cfg.ct_secret[0] && getrandom(cfg.ct_secret, sizeof(cfg.ct_secret), 0) < 0)
		return err_errno(err, errno, "cannot draw a secret");
	memset(cfg.version, 0, sizeof(cfg.version));
	snprintf(cfg.version, sizeof(cfg.version), "%s", WARREN_VERSION);
	if (bpf_map_update_elem(fd, &zero, &cfg, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map config");
	return 0;
}

static __u32 btf_type(const struct btf *btf, const char *c_type)
{
	bool is_struct = strncmp(c_type, "struct ", 7) == 0;
	int id = btf__find_by_name_kind(btf, is_struct ? c_type + 7 : c_type,
					is_struct ? BTF_KIND_STRUCT : BTF_KIND_TYPEDEF);

	return id > 0 ? (__u32)id : 0;
}

static int growing_put_first(int outer, const struct dp_map *map, uint32_t entries, const struct dp_btf *types,
			     struct err *err)
{
	_cleanup_fd_ int inner = dp_growing_create(map, entries, types, err);

	return inner < 0 ? inner : dp_growing_set(outer, map, inner, err);
}

/*
 * Makes the first inner hash of each growing map that has none. The definition of the outer map has no BTF types
 * (bpf/lib/maps.h). Kernels before 6.2 then refuse an inner hash with types (bpf_map_meta_equal() compares timer
 * offsets, and -ENOENT differs from the -EINVAL of a map without BTF). There the hash has no BTF, and dumps show bytes.
 */
static int fill_growing(struct bpf_object *obj, struct err *err)
{
	static const struct {
		const char *name, *key, *value;
		uint32_t first;
	} growing[] = {
#define X(name, key, value, first, most, text) { #name, #key, #value, first },
		WARREN_GROWING_MAPS(X)
#undef X
	};
	const struct btf *btf = bpf_object__btf(obj);
	const __u32 zero = 0;
	__u32 id;

	for (size_t i = 0; i < ARRAY_SIZE(growing); i++) {
		struct dp_btf types = { bpf_object__btf_fd(obj), btf_type(btf, growing[i].key),
					btf_type(btf, growing[i].value) };
		const struct dp_map *map = dp_map_find(growing[i].name, err);
		int outer = bpf_map__fd(bpf_object__find_map_by_name(obj, map->name)), r;

		if (bpf_map_lookup_elem(outer, &zero, &id) == 0)
			continue;
		if (types.fd < 0 || !types.key || !types.value)
			types = (struct dp_btf){ 0 };
		r = growing_put_first(outer, map, growing[i].first, &types, err);
		if (r == -EINVAL)
			r = growing_put_first(outer, map, growing[i].first, &(struct dp_btf){ 0 }, err);
		if (r < 0)
			return r;
	}
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

/* Pins it beside the old pin and renames it, so that there is a program at that path at any moment. */
int load_pin_program(const struct bpf_object *obj, const char *dir, const char *name, struct err *err)
{
	const struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	char path[PIN_PATH_MAX], beside[PIN_PATH_MAX + 8];

	if (!prog)
		return err_set(err, ENOENT, "this build has no program %s", name);
	pin_path(path, dir, name);
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

#define CT_GC_START_TRIES 50
#define CT_GC_RETRY_US 20000

/*
 * Starts the conntrack gc timer, or makes a running one call this build's program. The timer lives as long as map
 * `ct_gc` is pinned or open, and holds a reference to the program. The kernel allocates its memory without sleeping, so
 * an allocation that fails may succeed a moment later; there is no notification for that.
 */
static int start_ct_gc(int prog, struct err *err)
{
	char frame[ETH_ZLEN] = { 0 }; /* a program of this type cannot be run without one */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 1);
	int r, tries = 0;

	do {
		if (tries++)
			usleep(CT_GC_RETRY_US);
		r = bpf_prog_test_run_opts(prog, &opts);
	} while (r == 0 && (int)opts.retval == -ENOMEM && tries < CT_GC_START_TRIES);
	if (r < 0)
		return err_errno(err, -r, "cannot run ct_gc_start");
	return opts.retval ? err_errno(err, -(int)opts.retval, "ct_gc_start could not start its timer") : 0;
}

/* from_pod comes last: readers take the node for loaded once it is pinned. */
static const char *const pinned_programs[] = {
	WARREN_PROG_CT_GC_START,   WARREN_PROG_TO_POD,	       WARREN_PROG_FROM_UPLINK,   WARREN_PROG_FROM_HOST,
	WARREN_PROG_XDP_ORIGIN,	   WARREN_PROG_XDP_UPLINK,     WARREN_PROG_XDP_GENERIC,	  WARREN_PROG_SOCK_CONNECT4,
	WARREN_PROG_SOCK_CONNECT6, WARREN_PROG_SOCK_SEND4,     WARREN_PROG_SOCK_SEND6,	  WARREN_PROG_SOCK_RECEIVE4,
	WARREN_PROG_SOCK_RECEIVE6, WARREN_PROG_SOCK_PEER4,     WARREN_PROG_SOCK_PEER6,	  WARREN_PROG_SOCK_LIST,
	WARREN_PROG_SERVICE_UPLINK, WARREN_PROG_TO_UPLINK,     WARREN_PROG_FROM_POD,
};

/* Programs last. */
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
		r = start_ct_gc(bpf_program__fd(skel->progs.ct_gc_start), err);
	if (r == 0)
		r = tails_pin(skel, PIN_PROG_DIR, err);
	for (size_t i = 0; i < ARRAY_SIZE(pinned_programs) && r == 0; i++) {
		if (bpf_program__autoload(bpf_object__find_program_by_name(skel->obj, pinned_programs[i])))
			r = load_pin_program(skel->obj, PIN_PROG_DIR, pinned_programs[i], err);
	}
	dir_remove(PIN_DRY_RUN_DIR, NULL); /* of the programs that were there before */
	return r;
}

/* fd of the pinned ct_gc_start if all pinned programs are this build's and of one load, else -1. */
static int open_loaded(const struct warren_bpf *skel)
{
	_cleanup_fd_ int ct_gc = -1;
	struct loaded_maps maps;
	uint32_t first = 0, load;
	char path[PIN_PATH_MAX];

	if (!loaded_maps(skel, &maps) || !tails_pinned(PIN_PROG_DIR))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(pinned_programs); i++) {
		_cleanup_fd_ int fd = loaded_open(skel, &maps, pin_path(path, PIN_PROG_DIR, pinned_programs[i]),
						  pinned_programs[i], &load);

		if (fd < 0 || (i && load != first))
			return -1;
		first = load;
		if (i == 0)
			ct_gc = take_fd(&fd);
	}
	return take_fd(&ct_gc);
}

/* Does what pin_all() does, except for the programs. On any error the caller loads them again. */
static int keep_loaded(struct warren_bpf *skel, int mark_shift, struct err *err)
{
	_cleanup_fd_ int ct_gc = open_loaded(skel);
	int r = ct_gc < 0 ? -ENOENT : write_config(skel, mark_shift, err);

	return r < 0 ? r : start_ct_gc(ct_gc, err);
}

/* Of this process's network namespace; 0: unknown (before kernel 5.14). */
static uint64_t netns_cookie(void)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/*
 * Jiffies start at -300 seconds in 32 bits (INITIAL_JIFFIES) when CLOCK_MONOTONIC starts at 0; the resolution of the
 * coarse clock is the length of a jiffy. Without these values the programs use a slower clock.
 */
void load_constants(struct warren_bpf *skel)
{
	struct timespec tick;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0 && tick.tv_sec == 0 && tick.tv_nsec > 0) {
		skel->rodata->jiffy_ns = tick.tv_nsec;
		skel->rodata->jiffies_at_boot = (uint32_t)(-300 * (1000000000 / tick.tv_nsec));
	}
	skel->rodata->host_netns = netns_cookie();
	if (getrandom(&skel->rodata->verdict_secret, sizeof(skel->rodata->verdict_secret), GRND_NONBLOCK) < 0)
		skel->rodata->verdict_secret.seed = 0;
	skel->rodata->build = loaded_build(skel);
}

int load_open(struct warren_bpf **out, unsigned *pinned, struct err *err)
{
	struct warren_bpf *skel;
	int r;

	libbpf_set_print(keep_problem);
	libbpf_set_memlock_rlim(0); /* maps are charged to the memory cgroup since 5.11; runtimes must not raise rlimits */
	libbpf_problem[0] = '\0';
	*pinned = 0;
	skel = warren_bpf__open();
	if (!skel)
		return load_error(err, errno, "cannot open the embedded programs");
	load_constants(skel);
	r = reuse_maps(skel->obj, pinned, err);
	if (r < 0)
		warren_bpf__destroy(skel);
	else
		*out = skel;
	return r;
}

int load_and_pin(struct warren_bpf *skel, int mark_shift, bool fresh, struct err *err)
{
	int r;

	bpf_program__set_autoload(skel->progs.ct_gc_now, false); /* for tests, which cannot wait */
	r = tails_reuse(skel, PIN_PROG_DIR, err);
	if (r < 0)
		return r;
	r = warren_bpf__load(skel);
	if (r < 0)
		return load_error(err, -r, "cannot load the programs");
	r = pin_all(skel, mark_shift, err);
	if (r < 0 && fresh)
		unpin_own();
	return r;
}

int load_programs(const struct node_options *options, bool *fresh, struct err *err)
{
	struct warren_bpf *skel = NULL;
	unsigned pinned;
	int r;

	r = load_open(&skel, &pinned, err);
	*fresh = pinned == 0;
	if (!skel)
		return r;
	r = set_sizes(skel, options, *fresh, err);
	if (r == 0 && (options->reload || keep_loaded(skel, options->mark_shift, err) < 0))
		r = load_and_pin(skel, options->mark_shift, *fresh, err);
	warren_bpf__destroy(skel);
	return r;
}
