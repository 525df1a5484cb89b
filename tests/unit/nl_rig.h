/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of user/nl run in: two fresh network namespaces of the real kernel. */
#ifndef WARREN_NL_RIG_H
#define WARREN_NL_RIG_H

#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "inet.h"
#include "link.h"
#include "netns.h"
#include "rig.h"

static const uint8_t host_mac[6] = { 0x02, 0x57, 0x52, 0, 0, 1 };
static const uint8_t pod_mac[6] = { 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee };

/* A node's namespace (the caller's) and a pod's, with a socket in each and the veth pair wr0 <-> eth0. */
struct rig {
	struct nl host, pod;
	int host_ns, pod_ns;
	struct link_info wr0, eth0;
};

static inline int rig_make(void **state)
{
	static struct rig rig;
	struct err err = { 0 };

	rig = (struct rig){ .host_ns = -1, .pod_ns = -1 };
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	rig.pod_ns = netns_open_self(&err);
	assert_true(rig.pod_ns >= 0);
	assert_ok(nl_open(&rig.pod, NETLINK_ROUTE, &err));
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	rig.host_ns = netns_open_self(&err);
	assert_true(rig.host_ns >= 0);
	assert_ok(nl_open(&rig.host, NETLINK_ROUTE, &err));
	*state = &rig;
	return 0;
}

static inline int rig_free(void **state)
{
	struct rig *rig = *state;

	nl_close(&rig->host);
	nl_close(&rig->pod);
	closep(&rig->host_ns);
	closep(&rig->pod_ns);
	return 0;
}

static inline void add_pair(struct rig *rig)
{
	struct veth_end host = {
		.name = "wr0", .mac = host_mac, .mtu = 1400, .group = 0x5752, .netns_fd = -1, .noarp = true
	};
	struct veth_end peer = { .name = "eth0", .mac = pod_mac, .mtu = 1400, .netns_fd = rig->pod_ns };
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	veth_add(&rig->host, &b, &host, &peer);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_ok(link_get(&rig->host, "wr0", 0, &rig->wr0, &err));
	assert_ok(link_get(&rig->pod, "eth0", 0, &rig->eth0, &err));
}

static inline void set_up(struct rig *rig)
{
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	link_set_no_addrgen(&rig->host, &b, rig->wr0.ifindex);
	link_set_up(&rig->host, &b, rig->wr0.ifindex);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	link_set_no_addrgen(&rig->pod, &b, rig->eth0.ifindex);
	link_set_up(&rig->pod, &b, rig->eth0.ifindex);
	assert_ok(nl_batch_run(&rig->pod, &b, &err));
}

static inline int rig_make_up(void **state)
{
	rig_make(state);
	add_pair(*state);
	set_up(*state);
	return 0;
}

#endif
