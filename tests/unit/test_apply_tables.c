/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's endpoint policies in the maps of the real kernel, while the plugin writes endpoints there. */
#include "dp_rig.h"

#include "apply.h"
#include "endpoint.h"

enum { ROUNDS = 200, IFINDEX = 9 };

struct plugin {
	struct dp dp;
	int result;
};

static void *put_endpoint(void *arg)
{
	const struct wr_endpoint ep = { .ifindex = IFINDEX, .flags = WR_EP_V4, .policy_class = WR_CLASS_QUARANTINE };
	struct plugin *plugin = arg;

	plugin->result = dp_endpoint_put(&plugin->dp, &ep, NULL);
	return NULL;
}

/* Whenever it comes: an endpoint that is not reported as missing is not tried again, so it must have its policy. */
static void an_endpoint_comes_meanwhile(void **state)
{
	const struct dp_endpoint_policy policy = { IFINDEX, WR_CLASS_NOT_ISOLATED, 7, 12345 };
	struct plugin plugin = { .dp = DP_CLOSED };
	struct apply_tables *tables;
	struct err err = { 0 };
	size_t waited = 0;

	assert_ok(dp_open(&plugin.dp, &err));
	assert_ok(apply_tables_open(&tables, 0, &err));
	for (int i = 0; i < ROUNDS || !waited; i++) {
		struct wr_endpoint ep;
		pthread_t thread;
		bool missing;

		assert_int_equal(pthread_create(&thread, NULL, put_endpoint, &plugin), 0);
		do {
			missing = false;
			assert_ok(apply_tables_ops.set_endpoints(tables, &policy, 1, &missing, &err));
			waited += missing;
		} while (missing);
		pthread_join(thread, NULL);
		assert_int_equal(plugin.result, 0);
		assert_ok(dp_endpoint_get(&plugin.dp, IFINDEX, &ep, &err));
		assert_int_equal(ep.policy_class, policy.policy_class);
		assert_int_equal(ep.identity, policy.identity);
		assert_ok(dp_endpoint_delete(&plugin.dp, IFINDEX, &err));
	}
	apply_tables_close(tables);
	dp_close(&plugin.dp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_endpoint_comes_meanwhile, dp_rig_load_maps, dp_rig_unload),
	};

	return cmocka_run_group_tests_name("apply_tables", tests, dp_rig_make, NULL);
}
