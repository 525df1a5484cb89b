/* SPDX-License-Identifier: BSD-2-Clause */
/* user/nl against the real kernel: links, addresses, routes, neighbours, batches, namespaces. */
#include "nl_rig.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "clock.h"

static const uint8_t other_mac[6] = { 0x02, 1, 2, 3, 4, 5 };

/* A signal's, of which nothing is wanted but that it comes. */
static void tick(int sig)
{
}

/* --- links --- */

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
	/* Nothing is left of an attempt that failed. */
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

/* More links than one dump message holds, so that the answers are collected from several. */
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
	/* What was not consumed of the dump does not confuse the next request. */
	assert_ok(link_get(&rig->host, "a0", 0, &rig->wr0, &err));
}

/* Links come and go while they are listed: a list is of one moment, so it has every lasting link exactly once. */
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
	assert_true(WIFSIGNALED(status)); /* it was still at it */
}

/* --- addresses --- */

struct find_addr {
	const struct prefix *want;
	int seen, found;
};

static int find_addr(const struct prefix *p, void *arg)
{
	struct find_addr *f = arg;

	f->seen++;
	f->found += ip_equal(&p->ip, &f->want->ip) && p->len == f->want->len;
	return 0;
}

static int count_addrs(struct nl *nl, uint32_t ifindex, const char *want)
{
	struct prefix p = prefix(want);
	struct find_addr f = { .want = &p };
	struct err err = { 0 };

	assert_ok(addr_each(nl, ifindex, find_addr, &f, &err));
	assert_true(f.found <= 1);
	return f.found ? f.seen : -1;
}

/* At once usable: a tentative address refuses bind(2). */
static void assert_usable(const char *text)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ip address = ip(text);

	memcpy(&sa.sin6_addr, address.bytes, 16);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
}

static void addresses(void **state)
{
	static const char *const texts[] = { "10.1.2.3/32", "10.9.0.5/24", "fd00::3/128", "2001:db8::5/64" };
	struct rig *rig = *state;
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	for (int i = 0; i < 4; i++) {
		struct prefix p = prefix(texts[i]);

		addr_add(&rig->host, &b, rig->wr0.ifindex, &p);
	}
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_usable("fd00::3");
	for (int i = 0; i < 4; i++) {
		struct prefix p = prefix(texts[i]);

		assert_ok(addr_settle(&p.ip, 5000, &err));
		assert_int_equal(count_addrs(&rig->host, rig->wr0.ifindex, texts[i]), 4); /* and no generated one */
	}
	/* Adding again is no error and adds none. */
	for (int i = 0; i < 4; i++) {
		struct prefix p = prefix(texts[i]);

		addr_add(&rig->host, &b, rig->wr0.ifindex, &p);
	}
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(count_addrs(&rig->host, rig->wr0.ifindex, texts[0]), 4);
	for (int i = 0; i < 4; i++) {
		struct prefix p = prefix(texts[i]);

		addr_delete(&rig->host, &b, rig->wr0.ifindex, &p);
		addr_delete(&rig->host, &b, rig->wr0.ifindex, &p); /* none is no error */
		assert_ok(nl_batch_run(&rig->host, &b, &err));
		assert_true(count_addrs(&rig->host, rig->wr0.ifindex, texts[i]) < 0); /* it is not there */
	}
}

/* In a process of its own: other addresses come and go until it is killed. */
static pid_t restless_addresses(struct rig *rig)
{
	struct prefix p = prefix("fd00:1::77/128");
	struct nl_batch b = { .count = 0 };
	pid_t pid = fork();

	while (pid == 0) {
		addr_add(&rig->host, &b, rig->wr0.ifindex, &p);
		addr_delete(&rig->host, &b, rig->wr0.ifindex, &p);
		if (nl_batch_run(&rig->host, &b, NULL) < 0)
			_exit(1);
		usleep(20000);
	}
	assert_true(pid > 0);
	return pid;
}

/*
 * An address that never comes is waited for as long as was said, whatever else happens to addresses and whichever
 * signals come.
 */
static void settling_ends_in_time(void **state)
{
	const struct itimerval often = { { 0, 7000 }, { 0, 7000 } }, off = { 0 };
	const struct sigaction act = { .sa_handler = tick };
	struct sigaction old;
	const struct ip never = ip("fd00:1::99");
	const pid_t others = restless_addresses(*state);
	const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	struct err err = { 0 };
	uint64_t ms;
	int rc;

	assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
	setitimer(ITIMER_REAL, &often, NULL);
	rc = addr_settle(&never, 300, &err);
	ms = (clock_ns(CLOCK_MONOTONIC) - begin) / NS_PER_MS;
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	kill(others, SIGKILL);
	waitpid(others, NULL, 0);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "fd00:1::99"));
	assert_in_range(ms, 300, 3000);
}

static void addresses_of_one_device_only(void **state)
{
	struct rig *rig = *state;
	struct prefix p = prefix("10.1.2.3/32");
	struct nl_batch b = { .count = 0 };
	struct find_addr f = { .want = &p };
	struct err err = { 0 };

	addr_add(&rig->host, &b, 1, &p); /* lo */
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(count_addrs(&rig->host, 1, "10.1.2.3/32"), 1);
	assert_ok(addr_each(&rig->host, rig->wr0.ifindex, find_addr, &f, &err));
	assert_int_equal(f.seen, 0);
	assert_int_equal(addr_each(&rig->host, 4711, find_addr, &f, &err), -ENODEV);
}

/* --- routes --- */

struct find_route {
	struct prefix dst;
	struct route found;
	int seen, all;
};

static int find_route(const struct route *r, void *arg)
{
	struct find_route *f = arg;

	f->all++;
	if (r->dst.len == f->dst.len && ip_equal(&r->dst.ip, &f->dst.ip)) {
		f->found = *r;
		f->seen++;
	}
	return 0;
}

/* The routes to `dst`: how many, and the last of them. */
static int get_route(struct nl *nl, const char *dst, struct route *r)
{
	struct find_route f = { .dst = prefix(dst) };
	struct err err = { 0 };

	assert_ok(route_each(nl, f.dst.ip.family, find_route, &f, &err));
	*r = f.found;
	return f.seen;
}

/* One family's worth of addresses: both run through the same tests. */
static const struct family {
	const char *self, *pod, *gateway, *any, *rest;
	uint32_t priority; /* the kernel's default */
} families[] = {
	{ "10.1.0.1/32", "10.1.0.2/32", "169.254.1.1", "0.0.0.0/0", "10.1.0.0/24", 0 },
	{ "fd00:1::1/128", "fd00:1::2/128", "fe80::1", "::/0", "fd00:1::/64", 1024 },
};

static void route_to_pod(struct rig *rig, const struct family *f)
{
	struct prefix self = prefix(f->self), pod = prefix(f->pod);
	struct route r = {
		.dst = pod, .source = self.ip, .ifindex = rig->wr0.ifindex, .type = RTN_UNICAST, .scope = RT_SCOPE_LINK
	};
	struct nl_batch b = { .count = 0 };
	struct route got;
	struct err err = { 0 };

	addr_add(&rig->host, &b, 1, &self);
	link_set_up(&rig->host, &b, 1);
	route_replace(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->pod, &got), 1);
	assert_int_equal(got.ifindex, rig->wr0.ifindex);
	assert_true(ip_equal(&got.source, &self.ip));
	assert_int_equal(got.protocol, WR_RTPROT);
	assert_int_equal(got.priority, f->priority);
	assert_int_equal(got.gateway.family, 0);
	assert_int_equal(got.type, RTN_UNICAST);

	/* Replaced by one through another device, not added beside it. */
	r.ifindex = 1;
	r.mtu = 1300;
	route_replace(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->pod, &got), 1);
	assert_int_equal(got.ifindex, 1);
	assert_int_equal(got.mtu, 1300);

	/* Deleting the one that no longer stands is no error and leaves the one that does. */
	r.ifindex = rig->wr0.ifindex;
	route_delete(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->pod, &got), 1);
	r.ifindex = 1;
	r.scope = RT_SCOPE_UNIVERSE;
	route_delete(&rig->host, &b, &r);
	route_delete(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->pod, &got), 0);
}

static void default_route_in_pod(struct rig *rig, const struct family *f)
{
	struct prefix pod = prefix(f->pod);
	struct route r = { .dst = prefix(f->any),
			   .gateway = ip(f->gateway),
			   .ifindex = rig->eth0.ifindex,
			   .type = RTN_UNICAST,
			   .mtu = 1350,
			   .priority = 5 };
	struct nl_batch b = { .count = 0 };
	struct route got;
	struct err err = { 0 };

	addr_add(&rig->pod, &b, rig->eth0.ifindex, &pod);
	route_replace(&rig->pod, &b, &r);
	assert_ok(nl_batch_run(&rig->pod, &b, &err));
	assert_int_equal(get_route(&rig->pod, f->any, &got), 1);
	assert_true(ip_equal(&got.gateway, &r.gateway));
	assert_int_equal(got.mtu, 1350);
	assert_int_equal(got.priority, 5);
	assert_int_equal(got.ifindex, rig->eth0.ifindex);
}

static void unreachable_route(struct rig *rig, const struct family *f)
{
	struct route r = { .dst = prefix(f->rest), .type = RTN_UNREACHABLE, .protocol = 99 };
	struct nl_batch b = { .count = 0 };
	struct route got;
	struct err err = { 0 };

	route_replace(&rig->host, &b, &r);
	route_replace(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->rest, &got), 1);
	assert_int_equal(got.type, RTN_UNREACHABLE);
	assert_int_equal(got.protocol, 99);

	/* Somebody else's route of the same name is not ours to delete. */
	r.protocol = 0;
	route_delete(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->rest, &got), 1);
	r.protocol = 99;
	route_delete(&rig->host, &b, &r);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(get_route(&rig->host, f->rest, &got), 0);
}

static void routes(void **state)
{
	for (int i = 0; i < 2; i++) {
		route_to_pod(*state, &families[i]);
		default_route_in_pod(*state, &families[i]);
		unreachable_route(*state, &families[i]);
	}
}

static void routes_where_there_are_none(void **state)
{
	struct rig *rig = *state;
	struct find_route f = { 0 };
	struct err err = { 0 };

	assert_ok(route_each(&rig->host, AF_INET, find_route, &f, &err));
	assert_ok(route_each(&rig->host, AF_INET6, find_route, &f, &err));
	assert_int_equal(f.all, 0);
}

/* --- neighbours --- */

struct find_neigh {
	struct ip want;
	uint8_t mac[6];
	bool permanent;
	int seen;
};

static int find_neigh(const struct neigh *n, void *arg)
{
	struct find_neigh *f = arg;

	if (!ip_equal(&n->ip, &f->want))
		return 0;
	memcpy(f->mac, n->mac, 6);
	f->permanent = n->permanent;
	f->seen++;
	return 0;
}

static void neighbours(void **state)
{
	static const char *const texts[] = { "169.254.1.1", "fe80::1" };
	struct rig *rig = *state;
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	for (int i = 0; i < 2; i++) {
		struct find_neigh f = { .want = ip(texts[i]) }, elsewhere = f;

		neigh_replace(&rig->pod, &b, rig->eth0.ifindex, &f.want, other_mac);
		neigh_replace(&rig->pod, &b, rig->eth0.ifindex, &f.want, host_mac);
		assert_ok(nl_batch_run(&rig->pod, &b, &err));
		assert_ok(neigh_each(&rig->pod, rig->eth0.ifindex, find_neigh, &f, &err));
		assert_int_equal(f.seen, 1);
		assert_true(f.permanent);
		assert_memory_equal(f.mac, host_mac, 6);
		assert_ok(neigh_each(&rig->pod, 1, find_neigh, &elsewhere, &err));
		assert_int_equal(elsewhere.seen, 0);
	}
}

/* --- batches --- */

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
	/* What follows a failure was tried all the same, and the batch is empty again. */
	assert_int_equal(count_addrs(&rig->host, 1, "10.0.0.2/32"), 2);
	assert_int_equal(b.count, 0);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
}

static void batch_tells_what_the_kernel_says(void **state)
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
	struct find_addr f = { .want = &p };
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

static void batch_ignores_only_what_it_was_told(void **state)
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

/* Signals without SA_RESTART while requests run: EINTR is nobody's error. */
static void signals_interrupt_nothing(void **state)
{
	struct rig *rig = *state;
	struct sigaction act = { .sa_handler = tick }, old;
	struct itimerval timer = { { 0, 50 }, { 0, 50 } }, off = { 0 };
	struct prefix p = prefix("fd00::1/128");
	struct nl_batch b = { .count = 0 };
	struct count links;
	struct err err = { 0 };

	assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		links = (struct count){ 0 };
		addr_add(&rig->host, &b, 1, &p);
		assert_ok(nl_batch_run(&rig->host, &b, &err));
		assert_ok(link_each(&rig->host, count_link, &links, &err));
	}
	assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)
#define WIRED(f) cmocka_unit_test_setup_teardown(f, rig_make_up, rig_free)

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
		WIRED(addresses),
		WIRED(settling_ends_in_time),
		WIRED(addresses_of_one_device_only),
		WIRED(routes),
		FRESH(routes_where_there_are_none),
		WIRED(neighbours),
		FRESH(batch_names_the_request_that_failed),
		FRESH(batch_tells_what_the_kernel_says),
		FRESH(batch_of_the_largest_size),
		FRESH(batch_overflow_is_refused),
		FRESH(batch_ignores_only_what_it_was_told),
		FRESH(socket_keeps_its_namespace),
		FRESH(no_namespace),
		FRESH(signals_interrupt_nothing),
	};

	return cmocka_run_group_tests_name("nl", tests, NULL, NULL);
}
