/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of requests, sockets and namespaces against the real kernel. */
#include "nl_rig.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void batch_names_the_request_that_failed(void **state)
{
	struct rig *rig = *state;
	struct prefix good = prefix("10.0.0.1/32"), also = prefix("10.0.0.2/32");
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	addr_add(&rig->host, &b, 1, &good);
	addr_add(&rig->host, &b, 4711, &good);
	link_set_up(&rig->host, &b, 4712);
	addr_add(&rig->host, &b, 1, &also);
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "cannot add address 10.0.0.1/32 to device 4711: No such device"));
	/* Requests behind the failed one were sent all the same, and the batch is empty again. */
	assert_int_equal(count_addrs(&rig->host, 1, "10.0.0.2/32"), 2);
	assert_int_equal(b.count, 0);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
}

static void batch_reports_the_kernels_message(void **state)
{
	struct rig *rig = *state;
	struct route r = { .dst = prefix("10.5.0.0/16"), .gateway = ip("10.0.0.1"), .ifindex = 1, .type = RTN_UNICAST };
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	route_replace(&rig->host, &b, &r); /* lo is down */
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -ENETDOWN);
	assert_non_null(strstr(err.msg, "kernel: "));
	assert_int_equal(nl_batch_run(&rig->host, &b, NULL), 0);
	route_replace(&rig->host, &b, &r);
	assert_int_equal(nl_batch_run(&rig->host, &b, NULL), -ENETDOWN);
}

static void batch_of_the_largest_size(void **state)
{
	struct rig *rig = *state;
	struct prefix p = prefix("fd00::1/128");
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	for (int i = 0; i < NL_BATCH_MAX; i++) {
		p.ip = ip_add(p.ip, 1);
		addr_add(&rig->host, &b, 1, &p);
	}
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(count_addrs(&rig->host, 1, "fd00::2/128"), NL_BATCH_MAX);
}

static void batch_overflow_is_refused(void **state)
{
	struct rig *rig = *state;
	struct prefix p = prefix("10.0.0.1/32");
	struct nl_batch b = { .count = 0 };
	struct find_addr f = { .expected = &p };
	struct err err = { 0 };

	for (int i = 0; i < 3 * NL_BATCH_MAX; i++)
		addr_add(&rig->host, &b, 1, &p);
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -E2BIG);
	assert_ok(addr_each(&rig->host, 1, find_addr, &f, &err));
	assert_int_equal(f.seen, 0);
	addr_add(&rig->host, &b, 1, &p);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(count_addrs(&rig->host, 1, "10.0.0.1/32"), 1);
}

static void batch_ignores_only_the_errors_named(void **state)
{
	struct rig *rig = *state;
	struct nl_batch b = { .count = 0 };
	struct ifinfomsg *ifi;
	struct err err = { 0 };

	ifi = mnl_nlmsg_put_extra_header(nl_request(&rig->host, &b, RTM_DELLINK, 0, ENODEV, "delete nothing"),
					 sizeof(*ifi));
	ifi->ifi_index = 4711;
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	ifi = mnl_nlmsg_put_extra_header(nl_request(&rig->host, &b, RTM_DELLINK, 0, EEXIST, "delete %s", "nothing"),
					 sizeof(*ifi));
	ifi->ifi_index = 4711;
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -ENODEV);
	assert_string_equal(err.msg, "cannot delete nothing: No such device");
}

/* A socket stays in the namespace it was opened in. */
static void socket_keeps_its_namespace(void **state)
{
	struct rig *rig = *state;
	uint64_t dev, host_ino, pod_ino, ino;
	_cleanup_fd_ int self = -1;
	struct link_info info;
	struct err err = { 0 };

	add_pair(rig);
	assert_ok(netns_id(rig->host_ns, &dev, &host_ino, &err));
	assert_ok(netns_id(rig->pod_ns, &dev, &pod_ino, &err));
	assert_true(host_ino != pod_ino);
	assert_ok(netns_enter(rig->pod_ns, &err));
	self = netns_open_self(&err);
	assert_true(self >= 0);
	assert_ok(netns_id(self, &dev, &ino, &err));
	assert_true(ino == pod_ino);
	assert_ok(link_get(&rig->host, "wr0", 0, &info, &err));
	assert_ok(netns_enter(rig->host_ns, &err));
}

static void no_namespace(void **state)
{
	struct err err = { 0 };

	assert_int_equal(netns_open("/run/netns/warren-no-such", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/run/netns/warren-no-such"));
	assert_int_equal(netns_open("/proc/self/ns/mnt", &err), -EINVAL);
	assert_int_equal(netns_open("/proc/self/status", &err), -EINVAL);
	assert_int_equal(netns_open("/", &err), -EINVAL);
	assert_int_equal(netns_enter(-1, &err), -EBADF);
	assert_int_equal(nl_open(&(struct nl){ 0 }, 31, &err), -EPROTONOSUPPORT);
}

static int count_link(const struct link_info *info, void *arg)
{
	++*(int *)arg;
	return 0;
}

/* Signals while requests run: EINTR is never returned to the caller. */
static void signals_interrupt_nothing(void **state)
{
	struct rig *rig = *state;
	struct prefix p = prefix("fd00::1/128");
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };
	int links;

	signals_every(50);
	for (int i = 0; i < 2000; i++) {
		links = 0;
		addr_add(&rig->host, &b, 1, &p);
		assert_ok(nl_batch_run(&rig->host, &b, &err));
		assert_ok(link_each(&rig->host, count_link, &links, &err));
	}
	signals_every(0);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(batch_names_the_request_that_failed),
		FRESH(batch_reports_the_kernels_message),
		FRESH(batch_of_the_largest_size),
		FRESH(batch_overflow_is_refused),
		FRESH(batch_ignores_only_the_errors_named),
		FRESH(socket_keeps_its_namespace),
		FRESH(no_namespace),
		FRESH(signals_interrupt_nothing),
	};

	return cmocka_run_group_tests_name("nl", tests, NULL, NULL);
}
