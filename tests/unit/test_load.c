/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading this build's programs into the real kernel: sizes that are chosen, and what is refused. */
#include "dp_rig.h"

#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "flows.h"
#include "node.h"

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
	assert_int_equal(stats.share, 256);
	/* Again: as loaded, unless another size is asked for. */
	options.ct_entries = 0;
	assert_ok(load_programs(&options, &fresh, &err));
	assert_false(fresh);
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.share, 256);
	options.ct_entries = 4096;
	assert_int_equal(load_programs(&options, &fresh, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "--ct-entries"));
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
	assert_int_equal(bpf_obj_pin(fd, path), 0); /* all is as it should be, but it cannot be mapped into memory */
	assert_int_equal(load_programs(&options, &fresh, &err), -EPROTO);
	assert_non_null(strstr(err.msg, "endpoints"));
}

/* The last program cannot be put in its place. What another version has pinned stays; of this one nothing does. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(sizes_are_as_asked_for, dp_rig_unload),
		cmocka_unit_test(nodes_of_impossible_sizes),
		cmocka_unit_test_setup_teardown(maps_of_other_flags_are_refused, dp_rig_load, dp_rig_unload),
		cmocka_unit_test(failed_load_takes_back_its_own),
	};

	return cmocka_run_group_tests_name("load", tests, dp_rig_make, NULL);
}
