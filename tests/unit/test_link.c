/* SPDX-License-Identifier: BSD-2-Clause */
/* Links against the real kernel. */
#include "nl_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void veth_across_namespaces(void **state)
{
	struct rig *rig = *state;
	struct link_info by_index;
	struct err err = { 0 };

	add_pair(rig);
	assert_string_equal(rig->wr0.name, "wr0");
	assert_string_equal(rig->wr0.kind, "veth");
	assert_memory_equal(rig->wr0.mac, host_mac, 6);
	assert_int_equal(rig->wr0.mtu, 1400);
	assert_int_equal(rig->wr0.group, 0x5752);
	assert_int_equal(rig->wr0.flags & (IFF_NOARP | IFF_UP), IFF_NOARP);
	assert_int_equal(rig->wr0.peer_ifindex, rig->eth0.ifindex);
	assert_int_equal(rig->wr0.xdp_prog_id, 0);

	assert_memory_equal(rig->eth0.mac, pod_mac, 6);
	assert_int_equal(rig->eth0.mtu, 1400);
	assert_int_equal(rig->eth0.group, 0);
	assert_int_equal(rig->eth0.flags & (IFF_NOARP | IFF_UP), 0);
	assert_int_equal(rig->eth0.peer_ifindex, rig->wr0.ifindex);

	assert_ok(link_get(&rig->host, NULL, rig->wr0.ifindex, &by_index, &err));
	assert_string_equal(by_index.name, "wr0");
}

static void add_named_pair(struct nl *nl, const char *a_name, const char *b_name)
{
	struct veth_end a = { .name = a_name, .netns_fd = -1 }, b = { .name = b_name, .netns_fd = -1 };
	struct nl_batch batch = { .count = 0 };
	struct err err = { 0 };

	veth_add(nl, &batch, &a, &b);
	assert_ok(nl_batch_run(nl, &batch, &err));
}

static void veth_defaults(void **state)
{
	struct rig *rig = *state;
	struct link_info info;
	struct err err = { 0 };

	add_named_pair(&rig->host, "a", "b");
	assert_ok(link_get(&rig->host, "b", 0, &info, &err));
	assert_int_equal(info.mtu, 1500);
	assert_int_equal(info.flags & IFF_NOARP, 0);
	assert_int_equal(info.mac[0] & 3, 2); /* random: local, unicast */
}

static void veth_name_taken_at_either_end(void **state)
{
	struct rig *rig = *state;
	struct veth_end host = { .name = "wr0", .netns_fd = -1 }, peer = { .name = "new", .netns_fd = rig->pod_ns };
	struct nl_batch b = { .count = 0 };
	struct link_info info;
	struct err err = { 0 };

	add_pair(rig);
	veth_add(&rig->host, &b, &host, &peer);
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "cannot add the veth pair wr0, new"));
	assert_int_equal(err.num, EEXIST);

	host.name = "wr1";
	peer.name = "eth0";
	veth_add(&rig->host, &b, &host, &peer);
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -EEXIST);
	/* A failed attempt leaves nothing. */
	assert_int_equal(link_get(&rig->host, "wr1", 0, &info, &err), -ENODEV);
	assert_int_equal(link_get(&rig->pod, "new", 0, &info, &err), -ENODEV);
}

static void names_too_long(void **state)
{
	struct rig *rig = *state;
	struct veth_end host = { .name = "a234567890123456", .netns_fd = -1 }, peer = { .name = "b", .netns_fd = -1 };
	struct nl_batch b = { .count = 0 };
	struct link_info info;
	struct err err = { 0 };

	veth_add(&rig->host, &b, &host, &peer);
	assert_int_not_equal(nl_batch_run(&rig->host, &b, &err), 0);
	assert_int_equal(link_get(&rig->host, "a23456789012345", 0, &info, &err), -ENODEV);
	assert_int_not_equal(link_get(&rig->host, "a234567890123456", 0, &info, &err), 0);
}

static void no_such_link(void **state)
{
	struct rig *rig = *state;
	struct link_info info;
	struct err err = { 0 };

	assert_int_equal(link_get(&rig->host, "nothing", 0, &info, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "nothing"));
	assert_int_equal(link_get(&rig->host, NULL, 4711, &info, &err), -ENODEV);
	assert_int_equal(link_get(&rig->host, NULL, 0, &info, &err), -ENODEV);
	assert_int_equal(link_delete(&rig->host, 4711, &err), -ENODEV);
	assert_int_equal(link_delete(&rig->host, 0, &err), -ENODEV);
}

static void delete_takes_both_ends(void **state)
{
	struct rig *rig = *state;
	struct link_info info;
	struct err err = { 0 };

	add_pair(rig);
	assert_ok(link_delete(&rig->host, rig->wr0.ifindex, &err));
	assert_int_equal(link_get(&rig->host, "wr0", 0, &info, &err), -ENODEV);
	assert_int_equal(link_get(&rig->pod, "eth0", 0, &info, &err), -ENODEV);
	assert_int_equal(link_delete(&rig->host, rig->wr0.ifindex, &err), -ENODEV);
}

static void add_pairs(struct nl *nl, int pairs)
{
	char a[IFNAMSIZ], b[IFNAMSIZ];

	for (int i = 0; i < pairs; i++) {
		snprintf(a, sizeof(a), "a%d", i);
		snprintf(b, sizeof(b), "b%d", i);
		add_named_pair(nl, a, b);
	}
}

struct count {
	int seen, stop_at, rc;
};

static int count_link(const struct link_info *info, void *arg)
{
	struct count *c = arg;

	assert_int_not_equal(info->ifindex, 0);
	return ++c->seen == c->stop_at ? c->rc : 0;
}

/* More links than one dump message holds, so that the dump has several. */
static void each_link(void **state)
{
	enum { PAIRS = 150 };
	struct rig *rig = *state;
	struct count all = { 0 }, some = { .stop_at = 2, .rc = 77 };
	struct err err = { 0 };

	add_pairs(&rig->host, PAIRS);
	assert_ok(link_each(&rig->host, count_link, &all, &err));
	assert_true(all.seen >= 2 * PAIRS + 1);
	assert_int_equal(link_each(&rig->host, count_link, &some, &err), 77);
	assert_int_equal(some.seen, 2);
	/* The unread part of a dump does not confuse the next request. */
	assert_ok(link_get(&rig->host, "a0", 0, &rig->wr0, &err));
}

/* Links come and go while they are listed: a list is consistent, so it has every lasting link exactly once. */
static int count_lasting(const struct link_info *info, void *arg)
{
	*(int *)arg += info->name[0] == 'a' || info->name[0] == 'b';
	return 0;
}

/* In a process of its own: no assertions. */
static void churn(void)
{
	struct veth_end a = { .name = "churn0", .netns_fd = -1 }, b = { .name = "churn1", .netns_fd = -1 };
	struct nl_batch batch = { .count = 0 };
	struct link_info info;
	struct nl nl;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || nl_open(&nl, NETLINK_ROUTE, NULL))
		_exit(1);
	for (;;) {
		veth_add(&nl, &batch, &a, &b);
		if (nl_batch_run(&nl, &batch, NULL) || link_get(&nl, "churn0", 0, &info, NULL) ||
		    link_delete(&nl, info.ifindex, NULL))
			_exit(1);
	}
}

static void each_link_under_change(void **state)
{
	enum { PAIRS = 100, LISTS = 200 };
	struct rig *rig = *state;
	struct err err = { 0 };
	int status;
	pid_t pid;

	add_pairs(&rig->host, PAIRS);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		churn();
	for (int i = 0; i < LISTS; i++) {
		int lasting = 0, rc = link_each(&rig->host, count_lasting, &lasting, &err);

		if (rc || lasting != 2 * PAIRS) {
			kill(pid, SIGKILL);
			fail_msg("list %d: %d, %d links, %s", i, rc, lasting, err.msg);
		}
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status)); /* it was still running */
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(veth_across_namespaces),
		FRESH(veth_defaults),
		FRESH(veth_name_taken_at_either_end),
		FRESH(names_too_long),
		FRESH(no_such_link),
		FRESH(delete_takes_both_ends),
		FRESH(each_link),
		FRESH(each_link_under_change),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
