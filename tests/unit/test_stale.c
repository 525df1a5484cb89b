/* SPDX-License-Identifier: BSD-2-Clause */
/* Stale attachments that ADD, DEL and GC remove, and live ones that they must keep. */
#include "teardown.h"

#include <errno.h>

#include "cleanup.h"
#include "lock.h"
#include "private_run.h"
#include "rig.h"

static struct cni cni = { .conf.name = "net" };
static struct nl host;

static int setup(void **state)
{
	return private_run(NULL) < 0 ? -1 : nl_open(&host, NETLINK_ROUTE, NULL);
}

static int teardown_group(void **state)
{
	nl_close(&host);
	return 0;
}

static int fresh(void **state)
{
	return private_run_again(NULL);
}

/* Of container c1 in a namespace that lives, without a link. */
static void record(enum attachment_state state)
{
	struct attachment a = {
		.state = state, .container_id = "c1", .ifname = "eth0", .network = "net", .netns = "/proc/self/ns/net"
	};
	struct err err = { 0 };
	struct stat st;

	assert_int_equal(stat(a.netns, &st), 0);
	a.netns_dev = st.st_dev;
	a.netns_inode = st.st_ino;
	assert_ok(boot_id(a.boot_id, &err));
	assert_ok(attachment_save(&a, &err));
}

/* The record once no process holds its lock. */
static int load(struct attachment *a)
{
	struct err err = { 0 };
	_cleanup_fd_ int lock = lock_wait(LOCK_ATTACHMENT, "c1@eth0", &err);

	assert_true(lock >= 0);
	return attachment_load("c1", "eth0", a, &err);
}

static void unfinished_deletion_is_finished(void **state)
{
	struct attachment a;

	record(ATTACHMENT_DELETING);
	assert_true(cleanup_needed(&cni));
	cleanup_deleting(&cni);
	assert_int_equal(load(&a), -ENOENT);
	record(ATTACHMENT_DELETING);
	assert_int_equal(cleanup_dead(&cni, &host), 1);
	assert_int_equal(load(&a), -ENOENT);
	assert_false(cleanup_needed(&cni));
}

static void living_pod_stays(void **state)
{
	struct attachment a;

	record(ATTACHMENT_READY);
	cleanup_deleting(&cni);
	assert_int_equal(cleanup_dead(&cni, &host), 0);
	assert_int_equal(load(&a), 0);
}

/* Its DEL has ended, and it was added again, between the look at the directory and the lock. */
static void recreated_pod_stays(void **state)
{
	struct attachment a;

	record(ATTACHMENT_DELETING);
	record(ATTACHMENT_READY);
	cleanup_deleting(&cni);
	assert_int_equal(load(&a), 0);
	assert_int_equal(a.state, ATTACHMENT_READY);
	assert_int_equal(cleanup_dead(&cni, &host), 0);
	assert_int_equal(load(&a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(unfinished_deletion_is_finished, fresh),
		cmocka_unit_test_setup(living_pod_stays, fresh),
		cmocka_unit_test_setup(recreated_pod_stays, fresh),
	};

	return cmocka_run_group_tests_name("stale", tests, setup, teardown_group);
}
