/* SPDX-License-Identifier: BSD-2-Clause */
/* service list, get: on a node of three, with and without an agent. */
#include "services.h"
#include "three_nodes_rig.h"

static int node_with_services(void **state)
{
	struct dp_backend web4 = { ip("10.1.0.7"), 8080 }, db4 = { ip("10.2.0.7"), 8080 }, far4 = { ip("198.51.100.9"), 8081 };
	struct dp_backend dns6 = { ip("fd00:2::7"), 5353 };
	const struct dp_backend all[] = { web4, db4, far4, { ip("192.0.2.3"), 1 }, { ip("192.0.2.2"), 2 } };
	const struct dp_service put[] = {
		{ ip("10.96.0.9"), 80, IPPROTO_TCP, 0, all, ARRAY_SIZE(all) },
		{ ip("10.96.0.9"), 53, IPPROTO_UDP, 600, NULL, 0 },
		{ ip("fd00:96::9"), 53, IPPROTO_SCTP, 0, &dns6, 1 },
		{ ip("192.0.2.1"), 30080, IPPROTO_TCP, 0, all, 2 },
		{ ip("192.0.2.1"), 30080, IPPROTO_TCP, 0, all, 1, .external = true },
		{ ip("192.0.2.1"), 30081, IPPROTO_TCP, 0, NULL, 0, .external = true, .local = true },
	};
	struct dp_services *maps;
	struct err err;

	if (node_of_three(state) != 0 || geteuid() != 0)
		return 0;
	assert_ok(dp_services_open(&maps, &err));
	for (size_t i = 0; i < ARRAY_SIZE(put); i++)
		assert_ok(dp_service_put(maps, &put[i], NULL, &err));
	dp_services_close(maps);
	return 0;
}

static void by_the_maps(void **state)
{
	json_auto_t *list = NULL, *found = NULL;
	const json_t *row;

	needs_root();
	list = run_both("service list", 0, "no agent runs on this node: the maps hold no names");
	assert_int_equal(json_array_size(list), 6);
	row = json_array_get(list, 0);
	assert_string_equal(json_text(row, "address"), "10.96.0.9:53");
	assert_string_equal(json_text(row, "protocol"), "udp");
	assert_string_equal(json_text(row, "scope"), "cluster");
	assert_string_equal(json_text(row, "state"), "refuses");
	assert_true(json_is_null(json_object_get(row, "service")));
	row = json_array_get(list, 1);
	assert_int_equal(json_integer_value(json_object_get(row, "backends")), 5);
	assert_string_equal(json_text(row, "state"), "ok");
	expect("service list", 0, "[fd00:96::9]:53  sctp      cluster");
	/* One address with two scopes. */
	expect("service list", 0, "192.0.2.1:30080  tcp       cluster          2  all      ok");
	expect("service list", 0, "192.0.2.1:30080  tcp       external         1  all      ok");
	expect("service list", 0, "192.0.2.1:30081  tcp       external         0  all      drops");
	json_decref(list);
	list = run_both("service get 192.0.2.1:30080", 0, "scope:    external");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "backends")), 2);
	assert_string_equal(json_text(json_array_get(list, 1), "scope"), "external");
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 1), "backends")), 1);
	expect("service get 192.0.2.1:30081", 0, "none on this node: new flows are dropped");
	expect_failure("service list --namespace shop", 1, "no agent runs on this node: the maps hold no names and no namespaces");
	/* By address, with or without a port. */
	found = run_both("service get 10.96.0.9", 0, "none: new flows are refused");
	assert_int_equal(json_array_size(found), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(found, 0), "affinity_seconds")), 600);
	expect("service get 10.96.0.9:80", 0, "10.1.0.7:8080      default/web  this node");
	expect("service get 10.96.0.9:80", 0, "192.0.2.2:2        -            slot 1");
	expect("service get 10.96.0.9:80", 0, "198.51.100.9:8081  -            outside the cluster");
	expect("service get fd00:96::9", 0, "[fd00:2::7]:5353  -    slot 1");
	expect("service get [fd00:96::9]", 2, "");
	expect("service get [fd00:96::9]:53", 0, "[fd00:2::7]:5353");
	expect_failure("service get 10.96.0.9:81", 1, "there is no service 10.96.0.9:81 with an address");
	expect_failure("service get shop/web", 1, "there is no service shop/web with an address: the maps hold no names");
}

static void by_the_agent(void **state)
{
	json_auto_t *list = NULL, *found = NULL;
	pid_t agent;

	needs_root();
	agent = start_agent();
	list = run_both("service list", 0, "shop/other: 10.96.0.9:80 belongs to Service shop/web");
	assert_int_equal(json_array_size(list), 10);
	expect("service list", 0, "shop/out    http       192.0.2.1:30080  tcp       external         1  all      ok");
	expect("service list", 0, "shop/out    http       192.0.2.1:30081  udp       external         0  all      not in maps");
	expect("service list", 0, "-           -          192.0.2.1:30080  tcp       cluster          2  all      ok");
	expect("service list", 0, "shop/web    dns        10.96.0.9:53     udp       cluster          0  all      refuses");
	expect("service list", 0, "shop/web    http       10.96.0.9:80     tcp       cluster          5  all      ok");
	expect("service list", 0, "shop/other  http       10.96.0.9:80     tcp       cluster          0  all      not in maps");
	expect("service list", 0, "shop/new    -          [fd00:96::1]:7   sctp      cluster          0  all      not in maps");
	expect("service list", 0, "-           -          [fd00:96::9]:53  sctp      cluster          1  all      ok");
	expect("service list --namespace shop", 0, "shop/web");
	expect("service list --namespace bank", 0, "no services");
	found = run_both("service get shop/web", 0, "10.2.0.7:8080      shop/db      b");
	assert_int_equal(json_array_size(found), 2);
	/* What its endpoints are, and why some are not used. */
	expect("service get shop/web", 0, "10.1.0.7:8080      default/web  this node            ready");
	expect("service get shop/web", 0, "10.2.0.7:8080      shop/db      b                    terminating");
	expect("service get shop/web", 0, "10.1.0.7:9     default/web  this node  ready      its hints are for other zones");
	expect("service get shop/web", 0, "10.2.0.8:8080  -            b          not ready  not ready");
	expect("service get shop/web", 0, "it has more endpoints than the agent reports");
	json_decref(list);
	list = json_incref(json_object_get(json_array_get(found, 1), "unused"));
	assert_int_equal(json_array_size(list), 2);
	/* Another Service has the address and port. */
	expect("service list", 0, "shop/late   http       10.96.0.9:80     tcp       cluster          0  all      shop/web has it");
	expect("service list", 0, "shop/late: no luck with its port");
	expect("service get shop/late", 0, "health:    no luck with its port");
	json_decref(found);
	found = run_both("service get shop/late", 0, "state:     shop/web has it");
	assert_string_equal(json_text(json_array_get(found, 0), "state"), "not in maps");
	assert_string_equal(json_text(json_array_get(found, 0), "owner"), "shop/web");
	expect("service get shop/other", 0, "problem:   10.96.0.9:80 belongs to Service shop/web");
	expect_failure("service get shop/none", 1, "there is no service shop/none with an address");
	agent_end(agent);
}

static void addresses_without_a_service(void **state)
{
	static const char *const texts[] = { "web", "10.96.0.9:", "10.96.0.9:0", "10.96.0.9:65536", "10.96.0:80", "[10.96.0.9:80",
					     ":80", "10.96.0.9:80:80" };
	char line[64];

	needs_root();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		snprintf(line, sizeof(line), "service get %s", texts[i]);
		expect_failure(line, 2, "is neither NAMESPACE/NAME nor ADDRESS[:PORT]");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_maps),
		cmocka_unit_test(by_the_agent),
		cmocka_unit_test(addresses_without_a_service),
	};

	return cmocka_run_group_tests(tests, node_with_services, NULL);
}
