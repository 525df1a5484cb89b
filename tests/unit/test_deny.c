/* SPDX-License-Identifier: BSD-2-Clause */
/* The denylist in the maps of the real kernel: prefixes that are on it already, or not any more. */
#include "dp_rig.h"

#include <bpf/bpf.h>

#include "cleanup.h"
#include "deny.h"

static const char *const texts[] = { "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "fd00::/8", "fd00::/64", "::/0" };
#define COUNT ARRAY_SIZE(texts)

static size_t elements(const char *map)
{
	_cleanup_fd_ int fd = map_fd(map);
	char key[64], *at = NULL;
	size_t count = 0;

	for (; bpf_map_get_next_key(fd, at, key) == 0; at = key)
		count++;
	return count;
}

static void assert_denied(size_t v4, size_t v6)
{
	struct wr_deny_state state;

	assert_int_equal(dp_value_get("deny_state", &state, NULL), 0);
	assert_int_equal(state.prefixes[0], v4);
	assert_int_equal(state.prefixes[1], v6);
	assert_int_equal(elements("deny4"), v4);
	assert_int_equal(elements("deny6"), v6);
	assert_int_equal(elements("deny_hits"), v4 + v6);
}

/* A counter for each prefix, however often it is added; in one call, and in several. */
static void existing_prefixes_keep_their_counters(void **state)
{
	struct prefix all[COUNT + 1];
	struct err err = { 0 };
	size_t changed;

	for (size_t i = 0; i < COUNT; i++)
		all[i] = prefix(texts[i]);
	all[COUNT] = all[0];
	assert_ok(dp_deny_add(all, COUNT + 1, &changed, &err));
	assert_int_equal(changed, COUNT);
	assert_denied(4, 3);
	for (size_t i = 0; i < COUNT; i++) {
		assert_ok(dp_deny_add(&all[i], 1, &changed, &err));
		assert_int_equal(changed, 0);
	}
	assert_denied(4, 3);
	assert_ok(dp_deny_delete(&all[1], 1, &changed, &err));
	assert_int_equal(changed, 1);
	assert_denied(3, 3);
	assert_ok(dp_deny_add(&all[1], 1, &changed, &err));
	assert_int_equal(changed, 1);
	assert_ok(dp_deny_delete(all, COUNT + 1, &changed, &err));
	assert_int_equal(changed, COUNT);
	assert_denied(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(existing_prefixes_keep_their_counters, dp_rig_load_maps, dp_rig_unload),
	};

	return cmocka_run_group_tests(tests, dp_rig_make, NULL);
}
