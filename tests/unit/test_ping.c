/* SPDX-License-Identifier: BSD-2-Clause */
/* Echo requests to many addresses at once. */
#include "cli_rig.h"
#include "ip.h"
#include "ping.h"

#define MS 1000000ull
#define TIMEOUT_NS (20000 * MS) /* for expected replies */

static void to_route(struct nl *nl, const char *to, uint8_t type)
{
	const struct route route = { .dst = prefix(to), .type = type };
	struct nl_batch b = { 0 };

	route_replace(nl, &b, &route);
	assert_int_equal(nl_batch_run(nl, &b, NULL), 0);
}

/* The loopback device replies for all of 127/8, and ::1; 10.9.0.0/16 and fd00:9::/32 are unreachable. */
static void echoes(void **state)
{
	struct ping_target targets[] = {
		{ .to = ip("127.0.0.1") }, { .to = ip("127.0.0.9") }, { .to = ip("10.9.0.1") },
		{ .to = ip("::1") },	      { .to = ip("fd00:9::1") },
	};
	struct ping ping = { .source = { ip("127.0.0.1"), ip("::1") }, .count = 20, .interval_ns = MS,
			     .timeout_ns = TIMEOUT_NS, .targets = targets, .target_count = 5 };
	_cleanup_nl_ struct nl nl = { 0 };
	struct timespec begin, end;
	struct err err = { 0 };

	needs_root();
	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	to_route(&nl, "10.9.0.0/16", 7); /* RTN_UNREACHABLE */
	to_route(&nl, "fd00:9::/32", 7);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(ping_run(&ping, &err), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (size_t i = 0; i < 5; i++) {
		const bool refused = i == 2 || i == 4;

		assert_int_equal(targets[i].sent, 20);
		assert_int_equal(targets[i].received, refused ? 0 : 20);
		assert_int_equal(targets[i].error != 0, refused);
		if (refused)
			continue;
		assert_true(targets[i].min_ns && targets[i].min_ns <= targets[i].sum_ns / 20);
		assert_true(targets[i].sum_ns / 20 <= targets[i].max_ns && targets[i].max_ns < TIMEOUT_NS);
	}
	/* No waiting for a target that has replied or cannot: 19 intervals of 1 ms, and what a busy machine adds. */
	assert_true((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 < 15000);
}

/* Many at once: more than a socket has room for. */
static void echoes_of_many(void **state)
{
	static struct ping_target targets[4000];
	struct ping ping = { .source = { ip("127.0.0.1") }, .count = 2, .timeout_ns = TIMEOUT_NS,
			     .targets = targets, .target_count = 4000 };
	const struct ip first = ip("127.1.0.1");

	needs_root();
	for (size_t i = 0; i < ping.target_count; i++)
		targets[i].to = ip_add(first, i);
	assert_int_equal(ping_run(&ping, NULL), 0);
	for (size_t i = 0; i < ping.target_count; i++)
		assert_int_equal(targets[i].received, 2);
}

static void duplicate_and_late_replies_are_ignored(void **state)
{
	struct ping_target target = { .to = ip("127.0.0.1") };
	struct ping ping = { .source = { ip("127.0.0.1") }, .count = 3, .timeout_ns = 1, .targets = &target,
			     .target_count = 1 };
	struct ping_target twice[2] = { { .to = ip("127.0.0.1") }, { .to = ip("127.0.0.1") } };
	struct err err = { 0 };

	needs_root();
	assert_int_equal(ping_run(&ping, NULL), 0);
	assert_int_equal(target.sent, 3);
	assert_int_equal(target.received, 0); /* none comes within a nanosecond */
	ping = (struct ping){ .source = { ip("127.0.0.1") }, .count = 4, .timeout_ns = TIMEOUT_NS, .targets = twice,
			      .target_count = 2 };
	assert_int_equal(ping_run(&ping, NULL), 0);
	assert_int_equal(twice[0].received + twice[1].received, 8);
	ping.source[0] = ip("203.0.113.1");
	assert_int_equal(ping_run(&ping, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.msg, "203.0.113.1"));
}

/* Loopback is up, and there is no other route. */
static int loopback(void **state)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct nl_batch b = { 0 };

	if (geteuid() != 0)
		return 0;
	own_node(state);
	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, NULL), 0);
	link_set_up(&nl, &b, 1);
	assert_int_equal(nl_batch_run(&nl, &b, NULL), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echoes),
		cmocka_unit_test(echoes_of_many),
		cmocka_unit_test(duplicate_and_late_replies_are_ignored),
	};

	return cmocka_run_group_tests_name("ping", tests, loopback, NULL);
}
