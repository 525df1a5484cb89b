/* SPDX-License-Identifier: BSD-2-Clause */
/* user/nl against the real kernel: a device's tc filters and ethtool features. */
#include "nl_rig.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "ethtool.h"
#include "tc.h"

/* --- tc --- */

/* A program that returns TC_ACT_OK, and its id. */
static int load_program(uint32_t *id)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "pass", "BSD", insns, 2, NULL);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	*id = info.id;
	return fd;
}

static uint32_t attached(struct rig *rig, enum tc_hook hook)
{
	struct err err = { 0 };
	uint32_t id = 4711;

	assert_ok(tc_filter_get(&rig->host, rig->wr0.ifindex, hook, &id, &err));
	return id;
}

static void filters(void **state)
{
	struct rig *rig = *state;
	uint32_t first_id, second_id;
	_cleanup_fd_ int first = load_program(&first_id), second = load_program(&second_id);
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	assert_int_equal(attached(rig, TC_INGRESS), 0); /* no clsact */
	tc_clsact_add(&rig->host, &b, rig->wr0.ifindex);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(attached(rig, TC_INGRESS), 0); /* no filter */
	assert_int_equal(attached(rig, TC_EGRESS), 0);

	tc_filter_replace(&rig->host, &b, rig->wr0.ifindex, TC_INGRESS, first, "from_pod");
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(attached(rig, TC_INGRESS), first_id);
	assert_int_equal(attached(rig, TC_EGRESS), 0);

	/* All of it again, as an upgrade does: clsact stays, programs change places. */
	tc_clsact_add(&rig->host, &b, rig->wr0.ifindex);
	tc_filter_replace(&rig->host, &b, rig->wr0.ifindex, TC_INGRESS, second, "from_pod");
	tc_filter_replace(&rig->host, &b, rig->wr0.ifindex, TC_EGRESS, first, "to_pod");
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(attached(rig, TC_INGRESS), second_id);
	assert_int_equal(attached(rig, TC_EGRESS), first_id);
}

static int count_filter(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);

	*(int *)arg += tcm->tcm_handle == 1; /* the others are the chain and the classifier as a whole */
	return MNL_CB_OK;
}

/* A replace leaves one filter, at prio 1: a second one would be a program run twice, or one that cannot be removed. */
static void one_filter_after_many_replaces(void **state)
{
	struct rig *rig = *state;
	struct nl_batch b = { .count = 0 };
	union nl_query q;
	struct err err = { 0 };
	struct tcmsg *tcm;
	int filters_seen = 0;

	tc_clsact_add(&rig->host, &b, rig->wr0.ifindex);
	for (int i = 0; i < 10; i++) {
		uint32_t id;
		_cleanup_fd_ int prog = load_program(&id);

		tc_filter_replace(&rig->host, &b, rig->wr0.ifindex, TC_INGRESS, prog, "from_pod");
		assert_ok(nl_batch_run(&rig->host, &b, &err));
		assert_int_equal(attached(rig, TC_INGRESS), id);
	}
	tcm = nl_query(&q, RTM_GETTFILTER, NLM_F_DUMP, sizeof(*tcm));
	tcm->tcm_ifindex = (int)rig->wr0.ifindex;
	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	assert_ok(nl_dump(&rig->host, &q.head, count_filter, &filters_seen, &err, "list filters"));
	assert_int_equal(filters_seen, 1);
}

static void filter_errors(void **state)
{
	struct rig *rig = *state;
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };
	uint32_t id;

	assert_int_equal(tc_filter_get(&rig->host, 4711, TC_INGRESS, &id, &err), -ENODEV);
	tc_clsact_add(&rig->host, &b, 4711);
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -ENODEV);
	tc_clsact_add(&rig->host, &b, rig->wr0.ifindex);
	tc_filter_replace(&rig->host, &b, rig->wr0.ifindex, TC_EGRESS, rig->host_ns, "to_pod"); /* no program */
	assert_int_equal(nl_batch_run(&rig->host, &b, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "attach to_pod to the egress of device"));
}

/* --- ethtool --- */

static const char *const offloads[] = { "tx-udp-segmentation",		"tx-no-such-feature",
					"tx-sctp-segmentation",		"tx-udp_tnl-segmentation",
					"tx-udp_tnl-csum-segmentation", "tx-gso-list" };
#define OFFLOADS ARRAY_SIZE(offloads)

static bool active(struct nl *nl, uint32_t ifindex, const char *name)
{
	struct err err = { 0 };
	bool on = false;

	assert_ok(ethtool_feature_get(nl, ifindex, name, &on, &err));
	return on;
}

static void features_off(void **state)
{
	struct rig *rig = *state;
	_cleanup_nl_ struct nl genl = { 0 };
	uint32_t ifindex = rig->wr0.ifindex;
	struct err err = { 0 };
	bool on;

	assert_ok(nl_open(&genl, NETLINK_GENERIC, &err));
	assert_true(active(&genl, ifindex, "tx-udp-segmentation"));
	assert_true(active(&genl, ifindex, "tx-tcp-segmentation"));
	assert_int_equal(ethtool_feature_get(&genl, ifindex, "tx-no-such-feature", &on, &err), -ENOENT);

	assert_ok(ethtool_features_off(&genl, ifindex, offloads + 2, 2, &err)); /* all of them exist */
	assert_false(active(&genl, ifindex, offloads[2]) || active(&genl, ifindex, offloads[3]));
	assert_true(active(&genl, ifindex, offloads[0]) && active(&genl, ifindex, offloads[4]));
	for (int again = 0; again < 2; again++) {
		assert_ok(ethtool_features_off(&genl, ifindex, offloads, OFFLOADS, &err));
		for (size_t i = 0; i < OFFLOADS; i++) {
			if (strcmp(offloads[i], "tx-no-such-feature") != 0)
				assert_false(active(&genl, ifindex, offloads[i]));
		}
		assert_true(active(&genl, ifindex, "tx-tcp-segmentation")); /* not requested */
	}
	assert_ok(ethtool_features_off(&genl, ifindex, offloads + 1, 1, &err)); /* an unknown one alone */
	assert_ok(ethtool_features_off(&genl, ifindex, NULL, 0, &err));
}

static void features_of_no_device(void **state)
{
	_cleanup_nl_ struct nl genl = { 0 };
	struct err err = { 0 };
	bool on;

	assert_ok(nl_open(&genl, NETLINK_GENERIC, &err));
	assert_int_equal(ethtool_features_off(&genl, 4711, offloads, OFFLOADS, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "4711"));
	assert_int_equal(ethtool_feature_get(&genl, 4711, "tx-gso-list", &on, &err), -ENODEV);
}

#define WIRED(f) cmocka_unit_test_setup_teardown(f, rig_make_up, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIRED(filters),	     WIRED(one_filter_after_many_replaces), WIRED(filter_errors),
		WIRED(features_off), WIRED(features_of_no_device),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
