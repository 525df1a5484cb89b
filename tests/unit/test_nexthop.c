/* SPDX-License-Identifier: BSD-2-Clause */
/* Nexthops and the nexthop monitor against the real kernel: a node, and its neighbour at the other end of a veth pair. */
#include "nl_rig.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nexthop_monitor.h"
#include "nexthop.h"

#define TIMEOUT_MS 10000

/* Both families from one table. */
static const struct family {
	const char *own, *next, *beyond, *nowhere, *unreachable, *late;
	const char *flag; /* of ip(8) */
} families[] = {
	{ "192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.1", "198.18.0.1", "192.0.2.99", "-4" },
	{ "fd00:2::1", "fd00:2::2", "fd00:51::7", "fd00:113::1", "fd00:18::1", "fd00:2::99", "-6" },
};
#define FAMILIES ARRAY_SIZE(families)

__attribute__((format(printf, 1, 2))) static void sh(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (system(line) != 0)
		fail_msg("%s", line);
}

/* At the neighbour's. */
#define far_sh(rig, ...)                                                                                               \
	do {                                                                                                           \
		assert_int_equal(setns((rig)->pod_ns, CLONE_NEWNET), 0);                                               \
		sh(__VA_ARGS__);                                                                                       \
		assert_int_equal(setns((rig)->host_ns, CLONE_NEWNET), 0);                                              \
	} while (0)

/* sysctl(8) may be missing; /proc/sys/net is that of the writing process's namespace. */
#define NOTIFY                                                                                                         \
	"echo 1 > /proc/sys/net/ipv4/conf/far0/arp_notify && echo 1 > /proc/sys/net/ipv6/conf/far0/ndisc_notify"

/* Link-local addresses, from which neighbours are solicited, can be used at once. */
#define NO_DAD "for dad in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 > $dad; done; "

/* Waits for reports until one of `expected` is among them; returns all that came. */
static unsigned await(struct nexthop_monitor *watch, unsigned expected)
{
	struct pollfd p = { .fd = nexthop_monitor_fd(watch), .events = POLLIN };
	struct nexthop_change change;
	struct err err = { 0 };
	unsigned all = 0;

	while (!(all & expected)) {
		if (poll(&p, 1, TIMEOUT_MS) != 1)
			fail_msg("nothing of %#x in time, only %#x", expected, all);
		assert_ok(nexthop_monitor_read(watch, &change, &err));
		all |= change.changes;
	}
	return all;
}

/*
 * The reports up to now. The kernel queues a report before the call that caused it returns, except for carriers
 * and IPv6 addresses, which a worker reports: await() those.
 */
static struct nexthop_change read_changes(struct nexthop_monitor *watch)
{
	struct err err = { 0 };
	struct nexthop_change change;

	assert_ok(nexthop_monitor_read(watch, &change, &err));
	return change;
}

static unsigned reported(struct nexthop_monitor *watch)
{
	return read_changes(watch).changes;
}

/* An IPv6 address is tentative until the kernel's worker has run, which holds rtnl until it has reported. */
static unsigned usable_inet6(const char *device)
{
	char line[128], name[IFNAMSIZ];
	unsigned flags, usable = 0;
	FILE *f = fopen("/proc/thread-self/net/if_inet6", "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		assert_int_equal(sscanf(line, "%*s %*x %*x %*x %x %15s", &flags, name), 2);
		usable += strcmp(name, device) == 0 && !(flags & IFA_F_TENTATIVE);
	}
	fclose(f);
	return usable;
}

/* Waits until all changes of make() are reported: up0's carrier, its link-local address and its own one. */
static void settle(struct rig *rig, struct nexthop_monitor *watch)
{
	struct err err = { 0 };

	for (;;) {
		assert_ok(link_get(&rig->host, "up0", 0, &rig->wr0, &err));
		if (rig->wr0.flags & IFF_RUNNING && usable_inet6("up0") == 2)
			break;
		await(watch, NEXTHOP_LINK | NEXTHOP_ADDRESS);
	}
	sh("ip link set lo up"); /* takes rtnl */
}

static int make(void **state)
{
	struct veth_end near = { .name = "up0", .netns_fd = -1 }, far = { .name = "far0" };
	struct nl_batch b = { .count = 0 };
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };
	struct rig *rig;

	rig_make(state);
	rig = *state;
	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	far.netns_fd = rig->pod_ns;
	veth_add(&rig->host, &b, &near, &far);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	far_sh(rig, NOTIFY);
	far_sh(rig, NO_DAD "ip link set far0 up && ip addr add 192.0.2.2/24 dev far0 && ip addr add fd00:2::2/64 dev far0 nodad");
	sh(NO_DAD "ip link set up0 up && ip addr add 192.0.2.1/24 dev up0 && ip addr add fd00:2::1/64 dev up0 nodad");
	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];

		sh("ip %s route add %s via %s mtu 1400", f->flag, f->beyond, f->next);
		sh("ip %s route add unreachable %s", f->flag, f->unreachable);
	}
	settle(rig, &watch);
	assert_ok(link_get(&rig->pod, "far0", 0, &rig->eth0, &err));
	return 0;
}

static struct nexthop find(struct rig *rig, const char *to)
{
	const struct ip address = ip(to);
	struct err err = { 0 };
	struct nexthop nexthop;

	assert_ok(nexthop_find(&rig->host, &address, &nexthop, &err));
	return nexthop;
}

static void keep(struct rig *rig, const struct nexthop *nexthop)
{
	struct nl_batch b = { .count = 0 };
	struct err err = { 0 };

	nexthop_keep(&rig->host, &b, nexthop);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
}

/* Whether the device is among the places, or the neighbour `address` of it unless that is NULL. */
static bool reports(const struct nexthop_change *change, uint32_t ifindex, const char *address)
{
	const struct ip expected = address ? ip(address) : (struct ip){ 0 };

	for (size_t i = 0; i < change->count; i++) {
		if (change->places[i].ifindex == ifindex && ip_equal(&change->places[i].ip, &expected))
			return true;
	}
	return false;
}

static struct nexthop await_resolved(struct rig *rig, struct nexthop_monitor *watch, const char *to, const uint8_t mac[6])
{
	for (;;) {
		struct nexthop nexthop = find(rig, to);

		if (nexthop.resolved && memcmp(nexthop.dmac, mac, 6) == 0)
			return nexthop;
		await(watch, NEXTHOP_NEIGHBOUR);
	}
}

/* --- lookup ------------------------------------------------------------------------------------------------------- */

static void on_link_and_by_gateway(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		const struct ip own = ip(f->own), next = ip(f->next);
		struct nexthop direct = find(rig, f->next), far = find(rig, f->beyond);

		assert_int_equal(direct.ifindex, rig->wr0.ifindex);
		assert_int_equal(direct.mtu, 1500);
		assert_true(ip_equal(&direct.source, &own));
		assert_true(ip_equal(&direct.next, &next));
		assert_false(direct.gateway);
		assert_memory_equal(direct.smac, rig->wr0.mac, 6);
		assert_false(direct.resolved); /* not solicited yet */

		assert_int_equal(far.ifindex, rig->wr0.ifindex);
		assert_int_equal(far.mtu, 1400);
		assert_true(ip_equal(&far.source, &own));
		assert_true(ip_equal(&far.next, &next));
		assert_true(far.gateway);
	}
	sh("ip link set up0 mtu 1350");
	assert_int_equal(find(rig, "198.51.100.7").mtu, 1350); /* the smaller of the route's and the device's */
}

static void no_route(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		const struct ip nowhere = ip(f->nowhere), unreachable = ip(f->unreachable), own = ip(f->own);
		struct err err = { 0 };
		struct nexthop nexthop;

		assert_int_equal(nexthop_find(&rig->host, &nowhere, &nexthop, &err), -ENETUNREACH);
		assert_non_null(strstr(err.msg, f->nowhere));
		assert_int_equal(nexthop_find(&rig->host, &unreachable, &nexthop, &err), -EHOSTUNREACH);
		assert_int_equal(nexthop_find(&rig->host, &own, &nexthop, &err), -EHOSTUNREACH);
		assert_non_null(strstr(err.msg, "of this node"));
		for (size_t k = 0; k < 3; k++) {
			static const char *const kinds[] = { "prohibit", "blackhole", "throw" };

			sh("ip %s route replace %s %s", f->flag, kinds[k], f->unreachable);
			assert_true(nexthop_find(&rig->host, &unreachable, &nexthop, &err) < 0);
			assert_true(err.num == EHOSTUNREACH || err.num == ENETUNREACH);
		}
	}
}

static void ipv4_by_an_ipv6_gateway(void **state)
{
	struct rig *rig = *state;
	const struct ip next = ip("fd00:2::2");
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };
	struct nexthop nexthop;

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	sh("ip route add 203.0.113.0/24 via inet6 fd00:2::2 dev up0");
	nexthop = find(rig, "203.0.113.1");
	assert_true(nexthop.gateway);
	assert_true(ip_equal(&nexthop.next, &next));
	keep(rig, &nexthop);
	await_resolved(rig, &watch, "203.0.113.1", rig->eth0.mac);
}

/* --- keeping ------------------------------------------------------------------------------------------------------ */

static bool is_managed(const char *address)
{
	char line[128];

	snprintf(line, sizeof(line), "ip neigh show dev up0 | grep -q '^%s .*managed'", address);
	return system(line) == 0;
}

/* The kernel's limit does not count it: learned externally, or permanent. */
static bool is_exempt(const char *address, const char *how)
{
	char line[128];

	snprintf(line, sizeof(line), "ip neigh show dev up0 | grep -qi '^%s .*%s'", address, how);
	return system(line) == 0;
}

static void kept_and_forgotten(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		struct nexthop nexthop = find(rig, f->beyond);
		struct nl_batch b = { .count = 0 };

		keep(rig, &nexthop);
		nexthop = await_resolved(rig, &watch, f->beyond, rig->eth0.mac);
		assert_true(is_managed(f->next));
		assert_true(is_exempt(f->next, "extern_learn"));
		assert_int_equal(is_exempt("ff02::1:ff[^ ]*", "permanent"), i == 1);
		keep(rig, &nexthop); /* again: nothing changes */
		assert_true(find(rig, f->next).resolved);

		nexthop_forget(&rig->host, &b, &nexthop);
		assert_ok(nl_batch_run(&rig->host, &b, &err));
		assert_false(is_managed(f->next));
		assert_false(is_exempt(f->next, "extern_learn"));
		assert_false(is_exempt("ff02::1:ff[^ ]*", "permanent"));
		assert_true(find(rig, f->next).resolved); /* an ordinary entry now */
		sh("ip neigh del %s dev up0", f->next);
		nexthop_forget(&rig->host, &b, &nexthop);
		assert_ok(nl_batch_run(&rig->host, &b, &err)); /* it is gone */
		nexthop.ifindex = 4711;
		nexthop_forget(&rig->host, &b, &nexthop);
		assert_ok(nl_batch_run(&rig->host, &b, &err)); /* so is its device */
		nexthop_keep(&rig->host, &b, &nexthop);
		assert_int_equal(nl_batch_run(&rig->host, &b, &err), -ENODEV);
	}
}

/* An administrator's permanent entry is used and not changed. */
static void permanent_entries_stay(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	struct rig *rig = *state;

	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		struct nl_batch b = { .count = 0 };
		struct err err = { 0 };
		struct nexthop nexthop;

		sh("ip neigh replace %s lladdr 02:00:00:00:00:09 dev up0 nud permanent", f->next);
		nexthop = find(rig, f->next);
		assert_true(nexthop.resolved && nexthop.permanent);
		assert_memory_equal(nexthop.dmac, mac, 6);
		nexthop_keep(&rig->host, &b, &nexthop);
		nexthop_forget(&rig->host, &b, &nexthop);
		assert_int_equal(b.count, 0);
		assert_ok(nl_batch_run(&rig->host, &b, &err));
	}
}

/* Not resolved while no neighbour replies, resolved as soon as one does. */
static void neighbour_comes_late(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		struct nexthop nexthop = find(rig, f->late);

		keep(rig, &nexthop);
		assert_false(find(rig, f->late).resolved);
		far_sh(rig, "ip addr add %s/%d dev far0 %s", f->late, i ? 64 : 24, i ? "nodad" : "");
		await_resolved(rig, &watch, f->late, rig->eth0.mac);
	}
}

/* A device without ARP has nexthops without MAC addresses: packets go through the stack. */
static void no_arp(void **state)
{
	struct rig *rig = *state;

	sh("ip link set up0 arp off");
	for (size_t i = 0; i < FAMILIES; i++) {
		struct nexthop nexthop = find(rig, families[i].next);

		assert_int_equal(nexthop.ifindex, rig->wr0.ifindex);
		assert_false(nexthop.resolved);
	}
}

/* --- monitor ------------------------------------------------------------------------------------------------------ */

static void another_mac_address(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 0x77 };
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		struct nexthop nexthop = find(rig, families[i].next);

		keep(rig, &nexthop);
		await_resolved(rig, &watch, families[i].next, rig->eth0.mac);
	}
	reported(&watch);
	far_sh(rig, "ip link set far0 address 02:00:00:00:00:77");
	for (size_t i = 0; i < FAMILIES; i++)
		await_resolved(rig, &watch, families[i].next, mac);
}

/* An entry that goes stale and is confirmed stays usable: no report. */
static void states_that_change_nothing(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		struct nexthop nexthop = find(rig, f->next);
		static const char *const usable[] = { "stale", "reachable", "delay", "probe", "stale" };

		keep(rig, &nexthop);
		await_resolved(rig, &watch, f->next, rig->eth0.mac);
		reported(&watch);
		for (size_t k = 0; k < ARRAY_SIZE(usable); k++)
			sh("ip neigh change %s dev up0 nud %s", f->next, usable[k]);
		assert_int_equal(reported(&watch) & NEXTHOP_NEIGHBOUR, 0);
		sh("ip neigh change %s dev up0 nud failed", f->next);
		assert_int_equal(reported(&watch) & NEXTHOP_NEIGHBOUR, NEXTHOP_NEIGHBOUR);
		sh("ip neigh flush dev up0 nud all");
		reported(&watch);
	}
}

/* An entry from before the monitor was opened, without a report so far, is reported when it fails. */
static void old_entries_count_too(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
		struct err err = { 0 };

		sh("ip neigh replace %s lladdr 02:00:00:00:00:09 dev up0 nud reachable", f->next);
		assert_true(find(rig, f->next).resolved);
		assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
		sh("ip neigh del %s dev up0", f->next);
		assert_int_equal(reported(&watch) & NEXTHOP_NEIGHBOUR, NEXTHOP_NEIGHBOUR);
	}
}

static void links_routes_addresses(void **state)
{
	static const struct {
		const char *command;
		unsigned change;
	} rows[] = {
		{ "ip link set up0 mtu 1400", NEXTHOP_LINK },
		{ "ip link set up0 address 02:00:00:00:00:55", NEXTHOP_LINK },
		{ "ip route add 203.0.113.0/24 via 192.0.2.2", NEXTHOP_ROUTE },
		{ "ip -6 route add fd00:113::/64 via fd00:2::2", NEXTHOP_ROUTE },
		{ "ip rule add from 192.0.2.1 lookup 7", NEXTHOP_ROUTE },
		{ "ip -6 rule add from fd00:2::1 lookup 7", NEXTHOP_ROUTE },
		{ "ip nexthop add id 7 via 192.0.2.2 dev up0", NEXTHOP_ROUTE },
		{ "ip addr add 192.0.2.8/24 dev up0", NEXTHOP_ADDRESS },
		{ "ip addr add fd00:2::8/64 dev up0 nodad", NEXTHOP_ADDRESS },
		{ "ip addr del fd00:2::8/64 dev up0", NEXTHOP_ADDRESS },
		{ "ip link set up0 down", NEXTHOP_LINK },
		{ "ip link set up0 up", NEXTHOP_LINK },
		{ "ip link add a1 type veth peer name a2", NEXTHOP_LINK },
		{ "ip link del a1", NEXTHOP_LINK },
	};
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	assert_int_equal(reported(&watch), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s\n", rows[i].command);
		reported(&watch); /* earlier reports */
		sh("%s", rows[i].command);
		await(&watch, rows[i].change);
	}
}

/* A change of a device or a neighbour comes with its index and address; each once. */
static void places(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct nexthop_change change;
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		sh("ip neigh replace %s lladdr 02:00:00:00:00:09 dev up0 nud reachable", families[i].late);
		sh("ip neigh replace %s lladdr 02:00:00:00:00:0a dev up0 nud reachable", families[i].late);
	}
	sh("ip link set up0 mtu 1400");
	sh("ip link set up0 mtu 1300");
	change = read_changes(&watch);
	assert_int_equal(change.changes & (NEXTHOP_LINK | NEXTHOP_NEIGHBOUR | NEXTHOP_LOST), NEXTHOP_LINK | NEXTHOP_NEIGHBOUR);
	for (size_t i = 0; i < FAMILIES; i++)
		assert_true(reports(&change, rig->wr0.ifindex, families[i].late));
	assert_true(reports(&change, rig->wr0.ifindex, NULL));
	assert_int_equal(change.count, 3);

	sh("ip route add 203.0.113.0/24 via 192.0.2.2"); /* has no index */
	change = read_changes(&watch);
	assert_int_equal(change.changes, NEXTHOP_ROUTE);
	assert_int_equal(change.count, 0);
}

/* More changes than there is room for: those that fit are named, and NEXTHOP_LOST is set. */
static void more_places_than_fit(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct nl_batch b = { .count = 0 };
	struct nexthop_change change;
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (unsigned count = NEXTHOP_CHANGES_MAX; count <= NEXTHOP_CHANGES_MAX + 1; count++) {
		const struct ip first = ip("192.0.2.100");

		sh("ip neigh flush dev up0 nud all");
		read_changes(&watch);
		for (unsigned i = 0; i < count; i++) {
			const struct ip one = ip_add(first, i);

			neigh_replace(&rig->host, &b, rig->wr0.ifindex, &one, pod_mac);
			assert_ok(nl_batch_run(&rig->host, &b, &err));
		}
		change = read_changes(&watch);
		assert_int_equal(change.changes, count > NEXTHOP_CHANGES_MAX ? NEXTHOP_NEIGHBOUR | NEXTHOP_LOST : NEXTHOP_NEIGHBOUR);
		assert_int_equal(change.count, NEXTHOP_CHANGES_MAX);
		assert_true(reports(&change, rig->wr0.ifindex, "192.0.2.100"));
	}
}

/* Neighbours that do not exist, with which any pod can fill the kernel's table: none is reported. */
static void failed_neighbours_are_not_reported(void **state)
{
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		sh("ip neigh replace %s dev up0 nud failed", families[i].late);
		sh("ip neigh del %s dev up0", families[i].late);
	}
	assert_int_equal(reported(&watch), 0);
	for (size_t i = 0; i < FAMILIES; i++) {
		sh("ip neigh replace %s lladdr 02:00:00:00:00:09 dev up0 nud reachable", families[i].late);
		assert_int_equal(reported(&watch), NEXTHOP_NEIGHBOUR);
		sh("ip neigh replace %s dev up0 nud failed", families[i].late);
		assert_int_equal(reported(&watch), NEXTHOP_NEIGHBOUR);
		sh("ip neigh del %s dev up0", families[i].late);
		assert_int_equal(reported(&watch), 0);
	}
}

/* The kernel's neighbour table filled and emptied twice between two reads: the socket's buffer holds all reports. */
static void table_that_empties(void **state)
{
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (int i = 0; i < 2; i++)
		sh("for what in 'replace %%s dev up0 nud failed' 'del %%s dev up0'; do "
		   "for n in $(seq 500); do printf \"neigh $what\\n\" fd00:2::7:$n; done; done | ip -6 -batch -");
	assert_int_equal(reported(&watch), 0);
}

/* A lost carrier removes the entry; keeping it again after the carrier is back restores it. */
static void flap(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	for (size_t i = 0; i < FAMILIES; i++) {
		const struct family *f = &families[i];
		struct nexthop nexthop = find(rig, f->next);

		keep(rig, &nexthop);
		await_resolved(rig, &watch, f->next, rig->eth0.mac);
		reported(&watch);
		far_sh(rig, "ip link set far0 down");
		await(&watch, NEXTHOP_LINK);
		far_sh(rig, "ip link set far0 up && ip addr replace fd00:2::2/64 dev far0 nodad"); /* removed with the carrier */
		await(&watch, NEXTHOP_LINK);
		keep(rig, &nexthop);
		await_resolved(rig, &watch, f->next, rig->eth0.mac);
	}
}

/* Pods come and go without a report. */
static void pods_are_not_reported(void **state)
{
	struct rig *rig = *state;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct nl_batch b = { .count = 0 };
	const struct ip pod = ip("10.1.2.3");
	struct route route = { .dst = { pod, 32 }, .type = 1 /* RTN_UNICAST */, .scope = 253 /* RT_SCOPE_LINK */,
			       .protocol = OWN_PROTOCOL };
	struct link_info up0 = rig->wr0;
	struct err err = { 0 };

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	add_pair(rig);
	set_up(rig);
	route.ifindex = rig->wr0.ifindex;
	route_replace(&rig->host, &b, &route);
	neigh_replace(&rig->host, &b, rig->wr0.ifindex, &pod, pod_mac);
	assert_ok(nl_batch_run(&rig->host, &b, &err));
	assert_int_equal(reported(&watch), 0);
	nexthop_monitor_close(&watch); /* also of pods that were there before */
	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	sh("ip link set wr0 down");
	sh("ip link set wr0 up");
	assert_ok(link_delete(&rig->host, rig->wr0.ifindex, &err));
	assert_int_equal(reported(&watch), 0);
	rig->wr0 = up0;
}

/* More reports than the socket holds: NEXTHOP_LOST, once. The state of then is kept, so a report of the same is no change. */
static void overrun(void **state)
{
	struct rig *rig = *state;
	const int little = 4096;
	_cleanup_nexthop_monitor_ struct nexthop_monitor watch = { 0 };
	struct err err = { 0 };
	struct nexthop nexthop;

	assert_ok(nexthop_monitor_open(&watch, OWN_GROUP, OWN_PROTOCOL, &err));
	nexthop = find(rig, "192.0.2.2");
	keep(rig, &nexthop);
	await_resolved(rig, &watch, "192.0.2.2", rig->eth0.mac);
	reported(&watch);
	assert_int_equal(setsockopt(nexthop_monitor_fd(&watch), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	for (int i = 0; i < 64; i++)
		sh("ip link set up0 mtu %d", 1300 + i);
	assert_int_equal(reported(&watch) & NEXTHOP_LOST, NEXTHOP_LOST);
	assert_int_equal(reported(&watch), 0);
	sh("ip neigh change 192.0.2.2 dev up0 nud stale");
	assert_int_equal(reported(&watch), 0);
	sh("ip neigh change 192.0.2.2 dev up0 nud failed");
	assert_int_equal(reported(&watch) & NEXTHOP_NEIGHBOUR, NEXTHOP_NEIGHBOUR);
}

#define WIRED(f) cmocka_unit_test_setup_teardown(f, make, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIRED(on_link_and_by_gateway),
		WIRED(no_route),
		WIRED(ipv4_by_an_ipv6_gateway),
		WIRED(kept_and_forgotten),
		WIRED(permanent_entries_stay),
		WIRED(neighbour_comes_late),
		WIRED(no_arp),
		WIRED(another_mac_address),
		WIRED(states_that_change_nothing),
		WIRED(old_entries_count_too),
		WIRED(links_routes_addresses),
		WIRED(places),
		WIRED(more_places_than_fit),
		WIRED(failed_neighbours_are_not_reported),
		WIRED(table_that_empties),
		WIRED(flap),
		WIRED(pods_are_not_reported),
		WIRED(overrun),
	};

	return cmocka_run_group_tests_name("nexthop", tests, NULL, NULL);
}
