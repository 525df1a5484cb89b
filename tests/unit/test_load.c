/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading this build's programs into the real kernel: the sizes of maps, and errors. */
#include "dp_rig.h"

#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "ct_size.h"
#include "file.h"
#include "flows.h"
#include "loaded.h"
#include "maps.h"
#include "node.h"
#include "progs.h"
#include "warren.skel.h"

static void sizes_are_as_asked_for(void **state)
{
	struct node_options options = { .mark_shift = -1, .ct_entries = 2048 };
	struct dp_flow_stats stats;
	struct err err = { 0 };
	bool fresh;

	assert_ok(load_programs(&options, &fresh, &err));
	assert_true(fresh);
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.capacity[0], 2048);
	assert_int_equal(stats.capacity[1], 2048);
	assert_int_equal(stats.quota, 256);
	/* Again: as loaded, unless another size is requested. */
	options.ct_entries = 0;
	assert_ok(load_programs(&options, &fresh, &err));
	assert_false(fresh);
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.quota, 256);
	options.ct_entries = 4096;
	assert_int_equal(load_programs(&options, &fresh, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "--ct-entries"));
}

/* By this machine's memory; loaded maps keep their size, also if it would be another one now. */
static void sizes_by_memory(void **state)
{
	struct node_options options = { .mark_shift = -1 };
	struct dp_flow_stats stats;
	struct err err = { 0 };
	bool fresh;

	assert_ok(load_programs(&options, &fresh, &err));
	assert_true(fresh);
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.capacity[0], ct_size_here());
	assert_int_equal(stats.capacity[1], ct_size_here());
	assert_int_equal(stats.quota, ct_size_here() >> WR_CT_QUOTA_SHIFT);
	assert_ok(load_unpin(&err));
	options.ct_entries = ct_size_here() + 1;
	assert_ok(load_programs(&options, &fresh, &err));
	options.ct_entries = 0;
	assert_ok(load_programs(&options, &fresh, &err));
	assert_false(fresh);
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.capacity[0], ct_size_here() + 1);
}

static void nodes_of_impossible_sizes(void **state)
{
	static const uint32_t sizes[] = { 1, NODE_CT_ENTRIES_MIN - 1, NODE_CT_ENTRIES_MAX + 1 };
	struct node_report report;
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct node_options options = { .mark_shift = -1, .ct_entries = sizes[i] };

		assert_int_equal(node_init(&options, &report, &err), -EINVAL);
	}
}

static void maps_of_other_flags_are_refused(void **state)
{
	struct node_options options = NODE_OPTIONS_DEFAULT;
	_cleanup_fd_ int fd =
	    bpf_map_create(BPF_MAP_TYPE_ARRAY, "endpoints", 4, sizeof(struct wr_endpoint), WR_ENDPOINT_SLOTS, NULL);
	char path[PIN_PATH_MAX];
	struct err err = { 0 };
	bool fresh;

	pin_path(path, PIN_MAP_DIR, "endpoints");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0); /* everything matches, but the map cannot be mapped into memory */
	assert_int_equal(load_programs(&options, &fresh, &err), -EPROTO);
	assert_non_null(strstr(err.msg, "endpoints"));
}

/* The last program cannot be pinned. Pins of another version stay; pins of this load are removed. */
static void failed_load_takes_back_its_own(void **state)
{
	static const char other[] = WARREN_PIN_ROOT "/v0/maps";
	const struct node_options options = NODE_OPTIONS_DEFAULT;
	struct err err = { 0 };
	bool fresh;

	for (int alone = 0; alone < 2; alone++) {
		if (!alone)
			assert_ok(dir_make(other, &err));
		assert_ok(dir_make(PIN_PROG_DIR "/from_pod", &err));
		assert_int_equal(load_programs(&options, &fresh, &err), -EISDIR);
		assert_true(fresh);
		assert_int_equal(access(PIN_VERSION_DIR, F_OK), -1);
		assert_int_equal(access(WARREN_PIN_ROOT, F_OK), alone ? -1 : 0);
		if (!alone) {
			assert_int_equal(access(other, F_OK), 0);
			assert_ok(load_unpin(&err));
		}
	}
}

/* --- programs that are there already --- */

static const char *const programs[] = { "ct_gc_start", "to_pod", "from_uplink", "from_host", "xdp_origin", "xdp_uplink", "xdp_generic", "from_pod" };

struct pinned_ids {
	uint32_t ids[ARRAY_SIZE(programs)];
};

static struct pinned_ids pinned_ids(void)
{
	struct pinned_ids p = { 0 };
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_fd_ int fd = prog_open(programs[i], &err);

		p.ids[i] = prog_id(fd);
		assert_true(p.ids[i]);
	}
	return p;
}

static uint64_t ct_gc_ns(void)
{
	struct wr_ct_gc gc;
	struct err err = { 0 };

	assert_ok(dp_value_get("ct_gc", &gc, &err));
	return gc.time_ns;
}

/* Loads once more; returns whether that replaced the programs: all of them, or none. */
static bool load_again(bool reload)
{
	const struct node_options options = { .mark_shift = 8, .reload = reload };
	const struct pinned_ids before = pinned_ids();
	struct pinned_ids after;
	struct wr_config config;
	struct err err = { 0 };
	uint64_t last_ran = ct_gc_ns();
	unsigned changed = 0;
	bool fresh;

	assert_ok(load_programs(&options, &fresh, &err));
	assert_false(fresh);
	after = pinned_ids();
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		changed += before.ids[i] != after.ids[i];
	if (changed && changed != ARRAY_SIZE(programs))
		fail_msg("%u programs are new", changed);
	/* The other parts of a load are done in any case. */
	assert_ok(dp_value_get("config", &config, &err));
	assert_int_equal(config.mark_pod, 1 << 8);
	assert_true(ct_gc_ns() > last_ran);
	return changed;
}

static void pin_over(const char *path, int fd)
{
	unlink(path);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
}

/* A load that was killed between two pins: one program is another load's, of this build. */
static void programs_of_one_load_stay(void **state)
{
	char path[PIN_PATH_MAX];
	struct warren_bpf *skel;
	struct err err = { 0 };
	unsigned pinned;

	assert_true(load_again(true));
	assert_false(load_again(false));
	assert_ok(load_open(&skel, &pinned, &err));
	assert_int_equal(warren_bpf__load(skel), 0);
	pin_over(pin_path(path, PIN_PROG_DIR, "xdp_origin"), bpf_program__fd(skel->progs.xdp_origin));
	warren_bpf__destroy(skel);
	assert_true(load_again(false));
	assert_false(load_again(false));
	/* One is missing. */
	assert_int_equal(unlink(path), 0);
	assert_ok(load_programs(&(struct node_options)NODE_OPTIONS_DEFAULT, &(bool){ 0 }, &err));
	assert_false(load_again(false));
}

/* --- one program, the smallest --- */

#define SMALL WARREN_PROG_CT_GC_START
#define SMALL_PIN PIN_VERSION_DIR "/small"

/* Whether the pinned object is accepted as that program. */
static bool is_found(void)
{
	struct loaded_maps maps;
	struct warren_bpf *skel;
	struct err err = { 0 };
	unsigned pinned;
	uint32_t load;
	_cleanup_fd_ int fd = -1;

	assert_ok(load_open(&skel, &pinned, &err));
	if (loaded_maps(skel, &maps))
		fd = loaded_open(skel, &maps, SMALL_PIN, SMALL, &load);
	warren_bpf__destroy(skel);
	return fd >= 0;
}

/* Pins it, loaded with other constants. Maps that are not pinned are its own; one of those is pinned if requested. */
static void pin_small(void (*edit)(struct warren_bpf *skel), const char *own_map)
{
	char path[PIN_PATH_MAX];
	struct bpf_program *p;
	struct warren_bpf *skel;
	struct err err = { 0 };
	unsigned pinned;

	assert_ok(load_open(&skel, &pinned, &err));
	bpf_object__for_each_program(p, skel->obj) bpf_program__set_autoload(p, strcmp(bpf_program__name(p), SMALL) == 0);
	if (edit)
		edit(skel);
	assert_int_equal(warren_bpf__load(skel), 0);
	pin_over(SMALL_PIN, bpf_program__fd(skel->progs.ct_gc_start));
	if (own_map)
		pin_over(pin_path(path, PIN_MAP_DIR, own_map),
			 bpf_map__fd(bpf_object__find_map_by_name(skel->obj, own_map)));
	warren_bpf__destroy(skel);
}

static void other_build(struct warren_bpf *skel)
{
	skel->rodata->build++;
}

static void other_clock(struct warren_bpf *skel)
{
	skel->rodata->jiffy_ns++;
}

static void dry(struct warren_bpf *skel)
{
	skel->rodata->dry_run = true;
}

static void nothing_cached(struct warren_bpf *skel)
{
	skel->rodata->verdict_secret.seed = 0;
}

static void other_secret(struct warren_bpf *skel)
{
	skel->rodata->verdict_secret.nh[5]++;
}

static void other_constants_are_another_program(void **state)
{
	static void (*const others[])(struct warren_bpf *) = { other_build, other_clock, dry, nothing_cached };

	assert_false(is_found());
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		pin_small(others[i], NULL);
		if (is_found())
			fail_msg("constants %zu", i);
		pin_small(other_secret, NULL);
		assert_true(is_found());
	}
}

/* A map, another program of the same name, another one of ours. */
static void odd_pins(void **state)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	_cleanup_fd_ int unknown_prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, SMALL, "BSD", pass, ARRAY_SIZE(pass), NULL);
	_cleanup_fd_ int map = map_fd("config"), other = prog_open(WARREN_PROG_TO_POD, NULL);
	const int odd[] = { unknown_prog, map, other };

	pin_small(NULL, NULL);
	assert_true(is_found());
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		pin_over(SMALL_PIN, odd[i]);
		if (is_found())
			fail_msg("pin %zu", i);
	}
}

/* A load that was killed after it had pinned the maps: a program still uses the one whose pin was lost. */
static void other_maps(void **state)
{
	static const char *const maps[] = { "ct_gc", "ct4" };
	char path[PIN_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		_cleanup_fd_ int lost = map_fd(maps[i]);

		pin_small(NULL, NULL);
		assert_true(is_found());
		assert_int_equal(unlink(pin_path(path, PIN_MAP_DIR, maps[i])), 0);
		assert_false(is_found()); /* one is missing */
		pin_small(NULL, maps[i]);
		assert_true(is_found());
		pin_over(path, lost);
		assert_false(is_found());
	}
}

/* One that is not filled yet, as if the load had been killed before that. */
static void unfilled_maps(void **state)
{
	const __u32 zero = 0;
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int outer = bpf_obj_get(pin_path(path, PIN_MAP_DIR, "policy"));

	pin_small(NULL, NULL);
	assert_true(is_found());
	assert_int_equal(bpf_map_delete_elem(outer, &zero), 0);
	assert_false(is_found());
}

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load, dp_rig_unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(sizes_are_as_asked_for, dp_rig_unload),
		cmocka_unit_test_teardown(sizes_by_memory, dp_rig_unload),
		cmocka_unit_test(nodes_of_impossible_sizes),
		LOADED(maps_of_other_flags_are_refused),
		cmocka_unit_test(failed_load_takes_back_its_own),
		LOADED(programs_of_one_load_stay),
		LOADED(other_constants_are_another_program),
		LOADED(odd_pins),
		LOADED(other_maps),
		LOADED(unfilled_maps),
	};

	return cmocka_run_group_tests_name("load", tests, dp_rig_make, NULL);
}
