/* SPDX-License-Identifier: BSD-2-Clause */
/* The environment of user/nl's tests: two fresh network namespaces of the real kernel. */
#ifndef WARREN_NL_RIG_H
#define WARREN_NL_RIG_H

#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "cleanup.h"
#include "ip.h"
#include "link.h"
#include "netns.h"
#include "rig.h"

/* The group of wr0, and the protocol of the routes to it. */
#define OWN_GROUP 0x5752
#define OWN_PROTOCOL 87

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
		.name = "wr0", .mac = host_mac, .mtu = 1400, .group = OWN_GROUP, .netns_fd = -1, .noarp = true
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

struct find_addr {
	const struct prefix *expected;
	int seen, found;
};

static inline int find_addr(const struct prefix *p, void *arg)
{
	struct find_addr *f = arg;

	f->seen++;
	f->found += ip_equal(&p->ip, &f->expected->ip) && p->len == f->expected->len;
	return 0;
}

/* How many addresses the device has, if `expected` is among them; else -1. */
static inline int count_addrs(struct nl *nl, uint32_t ifindex, const char *expected)
{
	struct prefix p = prefix(expected);
	struct find_addr f = { .expected = &p };
	struct err err = { 0 };

	assert_ok(addr_each(nl, ifindex, find_addr, &f, &err));
	assert_true(f.found <= 1);
	return f.found ? f.seen : -1;
}

static inline void tick(int sig)
{
}

/* Signals without SA_RESTART every `us` microseconds; 0 stops them. Only the interruption matters. */
static inline void signals_every(long us)
{
	const struct sigaction act = { .sa_handler = us ? tick : SIG_DFL };
	const struct itimerval timer = { { 0, us }, { 0, us } };

	/* None may come while there is no handler. */
	if (!us)
		assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	if (us)
		assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static inline int rig_make_up(void **state)
{
	rig_make(state);
	add_pair(*state);
	set_up(*state);
	return 0;
}

#endif
