/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace.h"

#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "internal.h"
#include "load.h"
#include "loaded.h"
#include "lock.h"
#include "progs.h"
#include "tails.h"
#include "warren.skel.h"

static void skel_freep(struct warren_bpf **skel)
{
	warren_bpf__destroy(*skel);
}

/*
 * The tag is a hash of the instructions before the verifier evaluates `dry_run`: equal for both programs of one build.
 */
static int same_program(int dry_run_fd, const char *name, struct err *err)
{
	_cleanup_fd_ int original = prog_open(name, err);
	struct bpf_prog_info infos[2];

	if (original < 0)
		return original;
	if (prog_info(original, &infos[0]) < 0 || prog_info(dry_run_fd, &infos[1]) < 0)
		return err_errno(err, errno, "cannot examine program %s", name);
	if (memcmp(infos[0].tag, infos[1].tag, BPF_TAG_SIZE) == 0)
		return 0;
	err_set(err, EPROTO, "the loaded program %s is not this build's (%s)", name, WARREN_VERSION);
	return err_hint(err, "use the `warren` that loaded it, or upgrade with `warren node init`");
}

static int check_maps(unsigned pinned, struct err *err)
{
	unsigned registered = 0;

	for (const struct dp_map *map = dp_maps; map->name; map++)
		registered++;
	if (pinned == registered)
		return 0;
	err_set(err, ENOENT, "Warren is not loaded here: %u of %u maps are pinned", pinned, registered);
	return err_hint(err, "`warren node init` loads it; so does the first pod");
}

/* The dry-run program that an earlier dry run has pinned, or -1. */
static int dry_run_find(const struct warren_bpf *skel, const char *name)
{
	struct loaded_maps maps;
	char path[PIN_PATH_MAX];
	uint32_t load;

	return loaded_maps(skel, &maps) ? loaded_open(skel, &maps, pin_path(path, PIN_DRY_RUN_DIR, name), name, &load)
					: -1;
}

static int dry_run_load(struct warren_bpf *skel, const char *name, struct err *err)
{
	struct bpf_program *p;
	int r;

	bpf_object__for_each_program(p, skel->obj)
	    bpf_program__set_autoload(p, strcmp(bpf_program__name(p), name) == 0 ||
					 (tails_follow(name) && tails_have(bpf_program__name(p))));
	/* A dry run caches no verdict, so its own cache maps have one entry to save memory. */
	bpf_map__set_max_entries(skel->maps.verdicts4, 1);
	bpf_map__set_max_entries(skel->maps.verdicts6, 1);
	bpf_map__set_max_entries(skel->maps.known_addresses, 1);
	r = tails_follow(name) ? tails_reuse(skel, PIN_DRY_RUN_DIR, err) : 0;
	if (r < 0)
		return r;
	r = warren_bpf__load(skel);
	if (r < 0)
		return load_error(err, -r, "cannot load the program for a dry run");
	/* If it cannot be pinned, the next dry run loads it again. */
	if (mkdir(PIN_DRY_RUN_DIR, 0700) == 0 || errno == EEXIST)
		load_pin_program(skel->obj, PIN_DRY_RUN_DIR, name, NULL);
	if (tails_follow(name)) {
		r = tails_pin(skel, PIN_DRY_RUN_DIR, err);
		if (r < 0)
			return r;
	}
	return dup(bpf_program__fd(bpf_object__find_program_by_name(skel->obj, name)));
}

static int dry_run_open(const char *name, struct err *err)
{
	_cleanup_(skel_freep) struct warren_bpf *skel = NULL;
	_cleanup_fd_ int dry_run_fd = -1;
	unsigned pinned;
	int r = load_open(&skel, &pinned, err);

	if (r == 0)
		r = check_maps(pinned, err);
	if (r < 0)
		return r;
	skel->rodata->dry_run = true;
	dry_run_fd = dry_run_find(skel, name);
	if (dry_run_fd < 0)
		dry_run_fd = dry_run_load(skel, name, err);
	r = dry_run_fd < 0 ? dry_run_fd : same_program(dry_run_fd, name, err);
	return r < 0 ? r : take_fd(&dry_run_fd);
}

static int dry_run_run(int dry_run_fd, uint32_t ifindex, uint32_t entered, const void *frame, size_t length, int *tc_verdict,
		    struct err *err)
{
	struct __sk_buff skb = { .ifindex = ifindex, .ingress_ifindex = entered };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (__u32)length, .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb), .repeat = 1);
	int r = bpf_prog_test_run_opts(dry_run_fd, &opts);

	if (r == -ENODEV)
		return err_set(err, ENODEV, "there is no device %u in this network namespace", ifindex);
	if (r < 0)
		return err_errno(err, -r, "the kernel refuses a dry run");
	*tc_verdict = (int)opts.retval;
	return 0;
}

int dp_trace(const char *program, uint32_t ifindex, uint32_t entered, const void *frame, size_t length,
	     struct wr_trace *trace, int *tc_verdict, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_TRACE, NULL, err);
	_cleanup_fd_ int dry_run_fd = lock < 0 ? lock : dry_run_open(program, err);
	int r;

	if (dry_run_fd < 0)
		return dry_run_fd;
	*trace = (struct wr_trace){ 0 };
	r = dp_value_put("trace", trace, err);
	if (r == 0)
		r = dry_run_run(dry_run_fd, ifindex, entered, frame, length, tc_verdict, err);
	return r < 0 ? r : dp_value_get("trace", trace, err);
}
