/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses, routes and neighbours against the real kernel. */
#include "nl_rig.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "clock.h"

static const uint8_t other_mac[6] = { 0x02, 1, 2, 3, 4, 5 };

/* --- addresses --- */

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

		assert_ok(addr_wait_ready(&p.ip, 20000, &err));
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
 * The wait for an address that never comes ends after the given time, whatever other addresses change and whichever
 * signals come.
 */
static void settling_ends_in_time(void **state)
{
	const struct ip never = ip("fd00:1::99");
	const pid_t others = restless_addresses(*state);
	const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	struct err err = { 0 };
	uint64_t ms;
	int rc;

	signals_every(7000);
	rc = addr_wait_ready(&never, 300, &err);
	ms = (clock_ns(CLOCK_MONOTONIC) - begin) / NS_PER_MS;
	signals_every(0);
	kill(others, SIGKILL);
	waitpid(others, NULL, 0);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "fd00:1::99"));
	assert_in_range(ms, 300, 15000); /* on a busy machine */
}

static void addresses_of_one_device_only(void **state)
{
	struct rig *rig = *state;
	struct prefix p = prefix("10.1.2.3/32");
	struct nl_batch b = { .count = 0 };
	struct find_addr f = { .expected = &p };
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
		.dst = pod, .source = self.ip, .ifindex = rig->wr0.ifindex, .type = RTN_UNICAST, .scope = RT_SCOPE_LINK,
		.protocol = OWN_PROTOCOL,
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
	assert_int_equal(got.protocol, OWN_PROTOCOL);
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

	/* Deleting the replaced route is no error and leaves the new one. */
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
			   .protocol = OWN_PROTOCOL,
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

	/* A route of another protocol to the same destination is not ours to delete. */
	r.protocol = OWN_PROTOCOL;
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
	struct ip expected;
	uint8_t mac[6];
	bool permanent;
	int seen;
};

static int find_neigh(const struct neigh *n, void *arg)
{
	struct find_neigh *f = arg;

	if (!ip_equal(&n->ip, &f->expected))
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
		struct find_neigh f = { .expected = ip(texts[i]) }, elsewhere = f;

		neigh_replace(&rig->pod, &b, rig->eth0.ifindex, &f.expected, other_mac);
		neigh_replace(&rig->pod, &b, rig->eth0.ifindex, &f.expected, host_mac);
		assert_ok(nl_batch_run(&rig->pod, &b, &err));
		assert_ok(neigh_each(&rig->pod, rig->eth0.ifindex, find_neigh, &f, &err));
		assert_int_equal(f.seen, 1);
		assert_true(f.permanent);
		assert_memory_equal(f.mac, host_mac, 6);
		assert_ok(neigh_each(&rig->pod, 1, find_neigh, &elsewhere, &err));
		assert_int_equal(elsewhere.seen, 0);
	}
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)
#define WIRED(f) cmocka_unit_test_setup_teardown(f, rig_make_up, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIRED(addresses),
		WIRED(settling_ends_in_time),
		WIRED(addresses_of_one_device_only),
		WIRED(routes),
		FRESH(routes_where_there_are_none),
		WIRED(neighbours),
	};

	return cmocka_run_group_tests_name("inet", tests, NULL, NULL);
}
