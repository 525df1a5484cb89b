/* SPDX-License-Identifier: BSD-2-Clause */
/* Conntrack as user space sees it, and dry runs, in the maps and programs of the real kernel. */
#include "dp_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <time.h>

#include "cleanup.h"
#include "endpoint.h"
#include "events.h"
#include "file.h"
#include "flows.h"
#include "progs.h"
#include "put_slot.h"
#include "stop_ct_gc.h"
#include "trace.h"

static uint32_t tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)(((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec) >> WR_CT_TICK_SHIFT);
}

/* --- flows in the maps -------------------------------------------------------------------------------------------- */

/* A flow as the programs would write it; the initiator first. */
struct row {
	const char *map;
	uint8_t protocol;
	const char *from;
	uint16_t from_port;
	const char *to;
	uint16_t to_port;
	int seconds; /* left to live */
	const char *service; /* that it goes through, at port 81; NULL: none */
};
static const struct row rows[] = {
	{ "ct4", IPPROTO_TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 100, "10.96.0.1" },
	{ "ct4", IPPROTO_TCP, "10.0.0.2", 40000, "10.0.0.1", 80, 100 },
	{ "ct4", IPPROTO_ICMP, "10.0.0.9", 4711, "10.0.0.2", 0, 100 },
	{ "ct4", IPPROTO_UDP, "10.0.0.1", 53, "10.0.0.1", 5353, 50 },
	{ "ct6", IPPROTO_SCTP, "fd00::1", 9, "fd00::2", 7, 8000, "fd00:96::1" },
	{ "ct6", IPPROTO_ICMPV6, "fd00::2", 0, "fd00::1", 0, 100 },
	{ "ct6", IPPROTO_UDP, "fd00::2", 1000, "2001:db8::1", 53, -100 },
	{ "ct_new4", IPPROTO_UDP, "10.0.0.2", 1000, "192.0.2.1", 53, 30, "10.96.0.2" },
	{ "ct_new4", 47, "10.0.0.2", 0, "192.0.2.1", 0, 30 },
	{ "ct_new6", IPPROTO_TCP, "fd00::9", 1000, "fd00::8", 53, -1 },
	{ "ct_new6", IPPROTO_UDP, "fd00::9", 1000, "fd00::8", 53, 20, "fd00:96::2" },
};

static bool in_window(const struct row *row)
{
	return strstr(row->map, "new");
}

static const union row_key {
	struct wr_ct4_key v4;
	struct wr_ct6_key v6;
} * row_key(const struct row *row, bool *swapped)
{
	static union row_key key;
	const bool echo = row->protocol == IPPROTO_ICMP || row->protocol == IPPROTO_ICMPV6;
	const __be16 port[2] = { htons(row->from_port), echo ? 0xffff : htons(row->to_port) };

	memset(&key, 0, sizeof(key));
	if (strchr(row->from, ':')) {
		struct wr_addr6 addr[2];

		inet_pton(AF_INET6, row->from, &addr[0]);
		inet_pton(AF_INET6, row->to, &addr[1]);
		*swapped = wr_ct6_swapped(&addr[0], port[0], &addr[1], port[1]);
		for (int i = 0; i < 2; i++) {
			key.v6.addr[i ^ *swapped] = addr[i];
			key.v6.port[i ^ *swapped] = port[i];
		}
		key.v6.l4_proto = row->protocol;
	} else {
		struct wr_addr4 addr[2];

		inet_pton(AF_INET, row->from, &addr[0]);
		inet_pton(AF_INET, row->to, &addr[1]);
		*swapped = wr_ct4_swapped(addr[0], port[0], addr[1], port[1]);
		for (int i = 0; i < 2; i++) {
			key.v4.addr[i ^ *swapped] = addr[i];
			key.v4.port[i ^ *swapped] = port[i];
		}
		key.v4.l4_proto = row->protocol;
	}
	return &key;
}

/* Flows of no endpoint: they are in the node's own window. */
static void put_entry(const struct row *row, const union row_key *key, const void *entry)
{
	_cleanup_fd_ int fd = -1;

	if (in_window(row)) {
		put_slot(strchr(row->from, ':'), key, entry, 0, WR_CT_NODE_SLOTS / 2);
		return;
	}
	fd = map_fd(row->map);
	assert_int_equal(bpf_map_update_elem(fd, key, entry, BPF_NOEXIST), 0);
}

/* The entries that programs write in addition to the flow's own. */
static void put_origin(const struct row *row, union row_key key)
{
	const struct ip service = ip(row->service);
	struct wr_ct_service origin = { .flags = WR_CT_SERVICE, .port = htons(81), .expires = tick() + WR_CT_SECONDS(60) };

	memcpy(&origin.addr, service.bytes, ip_bytes(&service));
	if (strchr(row->from, ':'))
		key.v6.kind = WR_CT_REVERSE_NAT;
	else
		key.v4.kind = WR_CT_REVERSE_NAT;
	put_entry(row, &key, &origin);
}

static void put_row(const struct row *row, uint32_t initiator)
{
	bool swapped;
	const union row_key *key = row_key(row, &swapped);
	struct wr_ct ct = {
		.expires =
		    row->seconds < 0 ? tick() - WR_CT_SECONDS(-row->seconds) : tick() + WR_CT_SECONDS(row->seconds),
		.flags = (swapped ? WR_CT_SWAPPED : 0) | WR_CT_VIA_STACK | (row->service ? WR_CT_TRANSLATED : 0),
		.initiator = initiator,
	};

	put_entry(row, key, &ct);
	if (row->service)
		put_origin(row, *key);
}

/* They are of no endpoint: the conntrack gc would remove them. */
static void put_rows(void)
{
	stop_ct_gc();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		put_row(&rows[i], 100 + (uint32_t)i);
}

static void assert_flow_is(const struct dp_flow *flow, const struct row *row)
{
	struct ip from = ip(row->from), to = ip(row->to);
	uint32_t ms = (uint32_t)row->seconds * 1000;

	assert_int_equal(flow->protocol, row->protocol);
	assert_true(ip_equal(&flow->ip[0], &from));
	assert_true(ip_equal(&flow->ip[1], &to));
	assert_int_equal(flow->port[0], row->from_port);
	assert_int_equal(flow->port[1], row->to_port);
	assert_int_equal(flow->in_table, !in_window(row));
	if (in_window(row))
		assert_in_range(flow->slot, 0, WR_CT_NODE_SLOTS / 2 - 1);
	assert_int_equal(flow->dead, row->seconds < 0);
	assert_int_equal(flow->service.family != AF_UNSPEC, row->service != NULL);
	if (row->service) {
		const struct ip service = ip(row->service);

		assert_true(ip_equal(&flow->service, &service));
		assert_int_equal(flow->service_port, 81);
	}
	if (flow->dead)
		assert_int_equal(flow->expires_in_ms, 0);
	else
		assert_in_range(flow->expires_in_ms, ms - 20000, ms + 1000);
}

static int see_flow(const struct dp_flow *flow, void *arg)
{
	unsigned *seen = arg, n = flow->ct.initiator - 100;

	assert_true(n < ARRAY_SIZE(rows));
	assert_flow_is(flow, &rows[n]);
	assert_false(*seen & 1u << n);
	*seen |= 1u << n;
	return 0;
}

static void flows_listed(void **state)
{
	struct err err = { 0 };
	unsigned seen = 0;

	put_rows();
	assert_ok(dp_flows_each(true, see_flow, &seen, &err));
	assert_int_equal(seen, (1u << ARRAY_SIZE(rows)) - 1);
	seen = 0;
	assert_ok(dp_flows_each(false, see_flow, &seen, &err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(seen >> i & 1, rows[i].seconds >= 0);
}

static int stop_at_first(const struct dp_flow *flow, void *arg)
{
	++*(int *)arg;
	return 7;
}

static void flows_stopped(void **state)
{
	struct err err = { 0 };
	int calls = 0;

	put_rows();
	assert_int_equal(dp_flows_each(true, stop_at_first, &calls, &err), 7);
	assert_int_equal(calls, 1);
}

static int collect(const struct dp_flow *flow, void *arg)
{
	struct dp_flow *flows = arg;

	flows[flow->ct.initiator - 100] = *flow;
	return 0;
}

static void flows_ended(void **state)
{
	struct dp_flow flows[ARRAY_SIZE(rows)] = { 0 }, after[ARRAY_SIZE(rows)] = { 0 };
	struct err err = { 0 };

	put_rows();
	assert_ok(dp_flows_each(true, collect, flows, &err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i += 2)
		assert_ok(dp_flow_end(&flows[i], &err));
	assert_ok(dp_flows_each(true, collect, after, &err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (i % 2 == 0 && in_window(&rows[i])) {
			assert_int_equal(after[i].ct.initiator, 0); /* its slot is empty */
			assert_int_equal(dp_flow_end(&flows[i], &err), -ENOENT);
			continue;
		}
		assert_int_equal(after[i].ct.initiator, 100 + i); /* dead, not deleted */
		assert_int_equal(after[i].dead, i % 2 == 0 || rows[i].seconds < 0);
		assert_int_equal(after[i].ct.flags, flows[i].ct.flags);
	}
	for (size_t i = 1; i < ARRAY_SIZE(rows); i += 2)
		assert_ok(dp_flow_end(&flows[i], &err));
	memset(after, 0, sizeof(after));
	assert_ok(dp_flows_each(false, collect, after, &err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(after[i].ct.initiator, 0);
}

/*
 * A process that ends a flow waits for no lock, not even one that a program holds. An entry that has come into the
 * slot since the flow was listed stays.
 */
static void flow_ended_in_a_locked_set(void **state)
{
	static const struct row row = { "ct_new4", IPPROTO_UDP, "10.0.0.2", 1000, "192.0.2.1", 53, 30 };
	static const struct row later = { "ct_new4", IPPROTO_UDP, "10.0.0.2", 1001, "192.0.2.1", 53, 30 };
	_cleanup_fd_ int fd = map_fd("ct_new4");
	struct dp_flow flows[2] = { 0 };
	struct wr_ct4_slot slot, other;
	struct err err = { 0 };
	uint32_t n, head;

	put_row(&row, 100);
	assert_ok(dp_flows_each(false, collect, flows, &err));
	n = flows[0].slot;
	head = n & ~(WR_CT_WAYS - 1);
	assert_int_equal(bpf_map_lookup_elem(fd, &head, &slot), 0);
	slot.sequence = 7;
	assert_int_equal(bpf_map_update_elem(fd, &head, &slot, BPF_ANY), 0);
	assert_ok(dp_flow_end(&flows[0], &err));
	assert_int_equal(bpf_map_lookup_elem(fd, &head, &slot), 0);
	assert_int_equal(slot.sequence, 7);
	assert_int_equal(dp_flow_end(&flows[0], &err), -ENOENT);

	put_row(&later, 101);
	assert_ok(dp_flows_each(false, collect, flows, &err));
	assert_int_equal(bpf_map_lookup_elem(fd, &flows[1].slot, &other), 0);
	assert_int_equal(bpf_map_update_elem(fd, &n, &other, BPF_ANY), 0);
	assert_int_equal(dp_flow_end(&flows[0], &err), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &n, &slot), 0);
	assert_memory_equal(&slot, &other, sizeof(slot));
}

/* A reverse-NAT entry in the window of either end's endpoint is found, in either half. */
static void service_found_in_windows(void **state)
{
	static const struct {
		struct row row;
		const char *pod; /* the owner of its window */
		bool other_half;
	} cases[] = {
		{ { "ct_new4", IPPROTO_TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 100 }, "10.0.0.1", false },
		{ { "ct_new4", IPPROTO_TCP, "10.0.0.3", 40000, "10.0.0.1", 80, 100 }, "10.0.0.1", true },
		{ { "ct_new6", IPPROTO_TCP, "fd00::2", 40000, "fd00::1", 80, 100 }, "fd00::1", false },
	};
	const struct wr_endpoint pod = { .ifindex = 9,
					 .flags = WR_EP_V4 | WR_EP_V6,
					 .addr4 = { htonl(0x0a000001) },
					 .addr6 = { { htonl(0xfd000000), 0, 0, htonl(1) } } };
	struct dp_conntrack ct = DP_CONNTRACK_CLOSED;
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct wr_endpoint ep;
	struct err err = { 0 };

	assert_ok(dp_open(&dp, &err));
	assert_ok(dp_endpoint_put(&dp, &pod, &err));
	assert_ok(dp_endpoint_get(&dp, 9, &ep, &err));
	assert_ok(dp_conntrack_open(&ct, &err));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct row *row = &cases[i].row;
		const struct dp_flow flow = { .protocol = row->protocol,
					      .ip = { ip(row->to), ip(row->from) },
					      .port = { row->to_port, row->from_port } };
		const bool v6 = strchr(row->from, ':');
		struct wr_ct_service origin = { .flags = WR_CT_SERVICE, .port = htons(81), .expires = tick() };
		struct ip service;
		uint16_t port = 0;
		bool swapped;
		union row_key key = *row_key(row, &swapped);

		assert_false(dp_flow_service(&ct, &flow, &service, &port));
		*(v6 ? &key.v6.kind : &key.v4.kind) = WR_CT_REVERSE_NAT;
		put_slot(v6, &key, &origin, ep.ct_first + (cases[i].other_half ? ep.ct_slots / 2 : 0), ep.ct_slots / 2);
		assert_true(dp_flow_service(&ct, &flow, &service, &port));
		assert_int_equal(port, 81);
	}
	dp_conntrack_close(&ct);
}

/* A flow may be in a window and in ct for a moment: both entries end. For a flow in neither, no entry is created. */
static void flow_ended_while_it_moves(void **state)
{
	static const struct row both[] = {
		{ "ct_new6", IPPROTO_TCP, "fd00::1", 40000, "fd00::2", 80, 100 },
		{ "ct6", IPPROTO_TCP, "fd00::1", 40000, "fd00::2", 80, 100 },
	};
	struct dp_flow flows[2] = { 0 }, gone;
	struct err err = { 0 };

	stop_ct_gc();
	put_row(&both[0], 100);
	assert_ok(dp_flows_each(false, collect, flows, &err));
	gone = flows[0];
	put_row(&both[1], 101);
	assert_ok(dp_flow_end(&flows[0], &err));
	memset(flows, 0, sizeof(flows));
	assert_ok(dp_flows_each(true, collect, flows, &err));
	assert_int_equal(flows[0].protocol, 0);
	assert_true(flows[1].dead);
	gone.port[0]++;
	assert_int_equal(dp_flow_end(&gone, &err), -ENOENT);
	memset(flows, 0, sizeof(flows));
	assert_ok(dp_flows_each(false, collect, flows, &err));
	assert_int_equal(flows[0].protocol, 0);
}

static void figures(void **state)
{
	_cleanup_fd_ int fd = map_fd("ct_stats");
	const int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = calloc((size_t)cpus, sizeof(*values));
	const uint32_t key = WR_CT_STAT_REEVALUATED;
	struct dp_flow_stats stats;
	struct err err = { 0 };

	for (int cpu = 0; cpu < cpus; cpu++)
		values[cpu] = 10 + (uint64_t)cpu;
	assert_int_equal(bpf_map_update_elem(fd, &key, values, BPF_ANY), 0);
	put_rows();
	assert_ok(dp_flow_stats(&stats, &err));
	assert_int_equal(stats.counters[WR_CT_STAT_REEVALUATED], 10 * cpus + cpus * (cpus - 1) / 2);
	assert_int_equal(stats.counters[WR_CT_STAT_CREATED], 0);
	/* Those of services are entries too. */
	assert_int_equal(stats.entries[0], 5);
	assert_int_equal(stats.entries[1], 4);
	assert_int_equal(stats.entries[2], 3);
	assert_int_equal(stats.entries[3], 2); /* expired ones in windows are not counted */
	assert_int_equal(stats.capacity[0], WR_CT_ENTRIES);
	assert_int_equal(stats.capacity[3], WR_CT_NEW_SLOTS);
	assert_int_equal(stats.quota, WR_CT_ENTRIES >> WR_CT_QUOTA_SHIFT);
}

/* As the gc left them, and windows in turn: each call counts some parts; those without an owner are empty. */
static void figures_without_a_walk(void **state)
{
	enum { PART = WR_CT_NEW_SLOTS / DP_WINDOW_PARTS };
	const struct wr_ct6_slot slot = { .tag = 1, .ct.expires = tick() + WR_CT_SECONDS(100) }, empty = { 0 };
	struct dp_window_counts counts = { 0 };
	_cleanup_fd_ int fd = map_fd("ct_new6");
	struct wr_ct_windows windows = { 0 };
	struct dp_flow_stats stats;
	struct wr_ct_gc gc;
	struct err err = { 0 };

	put_rows();
	assert_ok(dp_value_get("ct_gc", &gc, &err));
	gc.live[0] = 70;
	gc.live[1] = 80;
	assert_ok(dp_value_put("ct_gc", &gc, &err));
	for (uint32_t part = 1; part < DP_WINDOW_PARTS; part++)
		assert_int_equal(bpf_map_update_elem(fd, &(uint32_t){ (part + 1) * PART - 1 }, &slot, BPF_ANY), 0);
	memset(&windows, 0xff, sizeof(windows));
	assert_ok(dp_value_put("ct_windows", &windows, &err));
	assert_ok(dp_flow_stats_kept(&counts, &stats, &err));
	assert_int_equal(stats.entries[0], 70);
	assert_int_equal(stats.entries[1], 80);
	assert_int_equal(stats.entries[2], 3);
	assert_in_range(stats.entries[3], 2, 2 + DP_WINDOW_PARTS / 2);
	assert_int_equal(stats.capacity[0], WR_CT_ENTRIES);
	for (int i = 1; i < DP_WINDOW_PARTS; i++)
		assert_ok(dp_flow_stats_kept(&counts, &stats, &err));
	assert_int_equal(stats.entries[3], 2 + DP_WINDOW_PARTS - 1);
	/* One part has no owner any more, in another one a flow has ended. */
	memset(&windows.used[5 * PART / WR_CT_WINDOW_MIN / 64], 0, PART / WR_CT_WINDOW_MIN / 8);
	assert_ok(dp_value_put("ct_windows", &windows, &err));
	assert_int_equal(bpf_map_update_elem(fd, &(uint32_t){ 9 * PART - 1 }, &empty, BPF_ANY), 0);
	for (int i = 1; i < DP_WINDOW_PARTS; i++)
		assert_ok(dp_flow_stats_kept(&counts, &stats, &err));
	assert_int_equal(stats.entries[3], 2 + DP_WINDOW_PARTS - 3);
	/* A new map, of which no endpoint has marked anything. */
	memset(&windows, 0, sizeof(windows));
	assert_ok(dp_value_put("ct_windows", &windows, &err));
	for (int i = 1; i < DP_WINDOW_PARTS; i++)
		assert_ok(dp_flow_stats_kept(&counts, &stats, &err));
	assert_int_equal(stats.entries[3], 2 + DP_WINDOW_PARTS - 2);
}

/* --- the conntrack gc ---------------------------------------------------------------------------------------------------- */

#define TIMEOUT_SECONDS (2 * WR_CT_GC_SECONDS)

/* Polls until fn(arg) returns true, for changes without a notification. */
static bool wait_for(int seconds, bool (*fn)(void *arg), void *arg)
{
	for (int i = 0; i < seconds * 200; i++) {
		if (fn(arg))
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return false;
}

static struct wr_ct_gc ct_gc_read(void)
{
	struct wr_ct_gc gc;
	struct err err = { 0 };

	assert_ok(dp_value_get("ct_gc", &gc, &err));
	return gc;
}

/* So many flows in total: the gc may have run between two of them. */
static bool has_removed(void *arg)
{
	return ct_gc_read().removed >= *(const uint64_t *)arg;
}

/* Whether the program uses that map: other tests may have loaded programs of the same name. */
static bool uses_map(int prog, uint32_t map)
{
	__u32 maps[64], len = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .nr_map_ids = ARRAY_SIZE(maps), .map_ids = (uintptr_t)maps };

	if (bpf_obj_get_info_by_fd(prog, &info, &len) < 0)
		return false;
	for (__u32 i = 0; i < info.nr_map_ids && i < ARRAY_SIZE(maps); i++) {
		if (maps[i] == map)
			return true;
	}
	return false;
}

/* Programs that are alive and use map `ct_gc`: the timer's, since no other process holds one. */
static int count_gc_programs(uint32_t map)
{
	__u32 id = 0;
	int count = 0;

	while (bpf_prog_get_next_id(id, &id) == 0) {
		_cleanup_fd_ int fd = bpf_prog_get_fd_by_id(id);

		count += fd >= 0 && uses_map(fd, map);
	}
	return count;
}

static bool one_gc_program(void *arg)
{
	return count_gc_programs(*(uint32_t *)arg) == 1;
}

static bool no_gc_program(void *arg)
{
	return count_gc_programs(*(uint32_t *)arg) == 0;
}

/* Loads in a process that ends at once. */
static void load_and_exit(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		const struct node_options options = NODE_OPTIONS_DEFAULT;
		struct err err;
		bool fresh;

		_exit(load_programs(&options, &fresh, &err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static uint32_t usage_read(uint32_t ifindex)
{
	_cleanup_fd_ int fd = map_fd("ct_usage");
	struct wr_ct_usage usage;

	assert_int_equal(bpf_map_lookup_elem(fd, &ifindex, &usage), 0);
	return usage.entries;
}

static void usage_write(uint32_t ifindex, uint32_t entries)
{
	_cleanup_fd_ int fd = map_fd("ct_usage");
	struct wr_ct_usage usage = { entries };

	assert_int_equal(bpf_map_update_elem(fd, &ifindex, &usage, BPF_ANY), 0);
}

static int count_flow(const struct dp_flow *flow, void *arg)
{
	++*(int *)arg;
	return 0;
}

/* The only test that takes its time: the conntrack gc's own. */
static void ct_gc_runs_without_its_loader(void **state)
{
	static const struct row flows[] = {
		{ "ct4", IPPROTO_TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 1000 },
		{ "ct4", IPPROTO_TCP, "10.0.0.1", 40001, "10.0.0.2", 80, 1000 },
		{ "ct6", IPPROTO_TCP, "fd00::1", 40000, "fd00::2", 80, 1000 },
	};
	const struct wr_endpoint ep = { .ifindex = 9, .flags = WR_EP_V4, .addr4 = { htonl(0x0a000001) } };
	const struct dp_flow ended[] = {
		{ .protocol = IPPROTO_TCP, .ip = { ip("10.0.0.2"), ip("10.0.0.1") }, .port = { 80, 40000 } },
		{ .protocol = IPPROTO_TCP, .ip = { ip("fd00::1"), ip("fd00::2") }, .port = { 40000, 80 } },
	};
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct dp_map_info map;
	struct err err = { 0 };
	struct wr_ct_gc gc;
	int left = 0;

	load_and_exit();
	assert_true(ct_gc_read().time_ns > 0); /* started, though it has not run: `warren status` must show it as alive */
	assert_ok(dp_map_describe("ct_gc", &map, &err));
	assert_true(wait_for(TIMEOUT_SECONDS, one_gc_program, &map.id));
	assert_ok(dp_open(&dp, &err));
	assert_ok(dp_endpoint_put(&dp, &ep, &err));
	for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
		put_row(&flows[i], 9);
	usage_write(9, ARRAY_SIZE(flows));
	for (size_t i = 0; i < ARRAY_SIZE(ended); i++)
		assert_ok(dp_flow_end(&ended[i], &err));

	assert_true(wait_for(TIMEOUT_SECONDS, has_removed, &(uint64_t){ ARRAY_SIZE(ended) }));
	gc = ct_gc_read();
	assert_int_equal(gc.removed, 2);
	assert_int_equal(gc.live[0], 1);
	assert_int_equal(gc.live[1], 0);
	assert_ok(dp_flows_each(true, count_flow, &left, &err));
	assert_int_equal(left, 1);
	assert_int_equal(usage_read(9), 1);

	/* An upgrade: the timer holds the new program then, and the old one is freed. */
	load_and_exit();
	assert_true(wait_for(TIMEOUT_SECONDS, one_gc_program, &map.id));
	dp_close(&dp);
	assert_ok(load_unpin(&err));
	assert_true(wait_for(TIMEOUT_SECONDS, no_gc_program, &map.id));
}

/* --- dry runs ----------------------------------------------------------------------------------------------------- */

static const uint8_t pod_mac[6] = { 0x02, 0xaa, 0, 0, 0, 1 }, host_mac[6] = WR_HOST_MAC;

/* Two pods of this node: 10.0.0.1, fd00::1 and 10.0.0.2, fd00::2. */
struct pods {
	uint32_t ifindex[2];
};

static void pods_make(struct pods *pods)
{
	_cleanup_nl_ struct nl nl = { 0 };
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct err err = { 0 };

	assert_ok(nl_open(&nl, NETLINK_ROUTE, &err));
	assert_ok(dp_open(&dp, &err));
	for (uint32_t i = 0; i < 2; i++) {
		struct wr_endpoint ep = {
			.flags = WR_EP_V4 | WR_EP_V6,
			.addr4 = { htonl(0x0a000001 + i) },
			.addr6 = { { htonl(0xfd000000), 0, 0, htonl(1 + i) } },
			.policy_class = WR_CLASS_NOT_ISOLATED,
			.revision = 1,
		};
		struct veth_end host = { .netns_fd = -1, .mac = host_mac }, pod = { .netns_fd = -1 };
		struct nl_batch b = { 0 };
		struct link_info info;
		char names[2][16];

		snprintf(names[0], sizeof(names[0]), "wr%u", i);
		snprintf(names[1], sizeof(names[1]), "pod%u", i);
		host.name = names[0];
		pod.name = names[1];
		veth_add(&nl, &b, &host, &pod);
		assert_ok(nl_batch_run(&nl, &b, &err));
		assert_ok(link_get(&nl, host.name, 0, &info, &err));
		b = (struct nl_batch){ 0 };
		link_set_up(&nl, &b, info.ifindex);
		assert_ok(nl_batch_run(&nl, &b, &err));
		pods->ifindex[i] = ep.ifindex = info.ifindex;
		memcpy(ep.mac, pod_mac, sizeof(ep.mac));
		assert_ok(dp_endpoint_put(&dp, &ep, &err));
	}
}

/* A datagram without a checksum (IPv6: with any; programs do not look at it). Returns its length. */
static size_t datagram(uint8_t frame[128], const char *from, const char *to, bool from_pod)
{
	const bool v6 = strchr(from, ':');
	struct ethhdr *eth = (struct ethhdr *)frame;
	struct udphdr udp = { htons(1000), htons(2000), htons(sizeof(udp) + 4), htons(1) };
	size_t at = sizeof(*eth);

	memset(frame, 0, 128);
	memcpy(eth->h_source, from_pod ? pod_mac : host_mac, 6);
	memcpy(eth->h_dest, from_pod ? host_mac : pod_mac, 6);
	eth->h_proto = htons(v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (v6) {
		struct ipv6hdr ip6 = { .version = 6, .payload_len = udp.len, .nexthdr = IPPROTO_UDP, .hop_limit = 64 };

		inet_pton(AF_INET6, from, &ip6.saddr);
		inet_pton(AF_INET6, to, &ip6.daddr);
		memcpy(frame + at, &ip6, sizeof(ip6));
		at += sizeof(ip6);
	} else {
		struct iphdr ip4 = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP };

		ip4.tot_len = htons(sizeof(ip4) + sizeof(udp) + 4);
		inet_pton(AF_INET, from, &ip4.saddr);
		inet_pton(AF_INET, to, &ip4.daddr);
		memcpy(frame + at, &ip4, sizeof(ip4));
		at += sizeof(ip4);
	}
	memcpy(frame + at, &udp, sizeof(udp));
	return at + sizeof(udp) + 4;
}

struct digest {
	const struct dp_map *map;
	uint64_t sum;
};

static int digest_element(const void *key, const void *value, int cpus, void *arg)
{
	struct digest *d = arg;
	uint64_t hash = 0xcbf29ce484222325u;
	const uint8_t *bytes = key;

	for (size_t i = 0; i < d->map->key_size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	bytes = value;
	for (size_t i = 0; i < dp_map_value_room(d->map->name); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	d->sum += hash;
	return 0;
}

/* Of all maps but the one that dry runs write, whatever the order of their elements; and of the events in the event
 * ring. */
static uint64_t digest_all(void)
{
	struct digest d = { 0 };
	struct err err = { 0 };

	for (d.map = dp_maps; d.map->name; d.map++) {
		if (d.map->kind != DP_MAP_RING && strcmp(d.map->name, "trace") != 0)
			assert_ok(dp_map_each(d.map->name, digest_element, &d, &err));
	}
	return d.sum;
}

static int see_event(const struct wr_event *ev, void *arg)
{
	return 0;
}

#define OUTSIDE 99

static const struct dry_row {
	const char *name;
	bool ingress;
	int device, entered; /* of pods; -1: none; OUTSIDE: a device that is no pod's */
	const char *from, *to;
	int tc_verdict;
	enum wr_reason reason;
	int redirect; /* of pods; -1: none */
} dry_rows[] = {
	{ "pod to pod", false, 0, -1, "10.0.0.1", "10.0.0.2", 7, WR_REASON_TO_ENDPOINT, 1 },
	{ "pod to pod", false, 0, -1, "fd00::1", "fd00::2", 7, WR_REASON_TO_ENDPOINT, 1 },
	{ "pod to world", false, 1, -1, "10.0.0.2", "192.0.2.1", 0, WR_REASON_TO_STACK, -1 },
	{ "pod to world", false, 1, -1, "fd00::2", "2001:db8::1", 0, WR_REASON_TO_STACK, -1 },
	{ "spoofed", false, 1, -1, "10.0.0.1", "10.0.0.2", 2, WR_REASON_SPOOFED_SOURCE, -1 },
	{ "spoofed", false, 1, -1, "fd00::1", "fd00::2", 2, WR_REASON_SPOOFED_SOURCE, -1 },
	{ "host to pod", true, 1, -1, "10.0.0.254", "10.0.0.2", 0, WR_REASON_DELIVERED, -1 },
	{ "host to pod", true, 1, -1, "fd00::ff", "fd00::2", 0, WR_REASON_DELIVERED, -1 },
	{ "pod through the stack", true, 1, 0, "10.0.0.1", "10.0.0.2", 0, WR_REASON_DELIVERED, -1 },
	{ "pod through the stack", true, 1, 0, "fd00::1", "fd00::2", 0, WR_REASON_DELIVERED, -1 },
	{ "pod's address, not from there", true, 1, OUTSIDE, "10.0.0.1", "10.0.0.2", 2, WR_REASON_SPOOFED_OUTSIDE, -1 },
	{ "pod's address, not from there", true, 1, OUTSIDE, "fd00::1", "fd00::2", 2, WR_REASON_SPOOFED_OUTSIDE, -1 },
};

static uint32_t entered_by(const struct dry_row *row, const struct pods *pods)
{
	if (row->entered == OUTSIDE)
		return if_nametoindex("lo");
	return row->entered < 0 ? 0 : pods->ifindex[row->entered];
}

static void dry_runs_change_nothing(void **state)
{
	struct dp_events *events;
	struct err err = { 0 };
	struct pods pods;
	uint64_t before;

	pods_make(&pods);
	stop_ct_gc();
	assert_ok(dp_events_open(&events, &err));
	before = digest_all();
	for (size_t i = 0; i < ARRAY_SIZE(dry_rows); i++) {
		const struct dry_row *row = &dry_rows[i];
		struct wr_trace trace;
		uint8_t frame[128];
		size_t length = datagram(frame, row->from, row->to, !row->ingress);
		int tc_verdict = -1;

		assert_ok(dp_trace(row->ingress ? WARREN_PROG_TO_POD : WARREN_PROG_FROM_POD, pods.ifindex[row->device], entered_by(row, &pods), frame, length,
				   &trace, &tc_verdict, &err));
		if (tc_verdict != row->tc_verdict || trace.reason != row->reason)
			fail_msg("%s, %s: tc verdict %d, reason %u", row->name, row->from, tc_verdict, trace.reason);
		assert_int_equal(trace.ifindex, pods.ifindex[row->device]);
		assert_int_equal(trace.redirect, row->redirect < 0 ? 0 : pods.ifindex[row->redirect]);
		assert_true(digest_all() == before);
	}
	assert_int_equal(dp_events_poll(events, 0, see_event, NULL, &err), 0);
	dp_events_close(events);
}

/* Checks the digest itself: the attached program changes maps on one of these packets, and writes an
 * event. */
static void real_runs_change_something(void **state)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct dp_events *events;
	struct err err = { 0 };
	struct pods pods;
	uint8_t frame[128];
	uint64_t before;

	pods_make(&pods);
	assert_ok(dp_open(&dp, &err));
	assert_ok(dp_events_open(&events, &err));
	before = digest_all();
	for (int pod = 0; pod < 2; pod++) {
		struct __sk_buff skb = { .ifindex = pods.ifindex[pod] };
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .ctx_in = &skb, .ctx_size_in = sizeof(skb),
			    .repeat = 1);

		opts.data_size_in = (__u32)datagram(frame, "fd00::1", "fd00::2", true);
		assert_int_equal(bpf_prog_test_run_opts(dp.from_pod, &opts), 0);
		assert_int_equal(opts.retval, pod ? 2 : 7);
		assert_true(digest_all() != before);
		before = digest_all();
	}
	assert_true(dp_events_poll(events, TIMEOUT_SECONDS * 1000, see_event, NULL, &err) > 0);
	dp_events_close(events);
}

static uint32_t pinned_id(const char *dir, const char *name)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(pin_path(path, dir, name));

	return fd < 0 ? 0 : prog_id(fd);
}

static uint32_t dry_run_from_pod(const struct pods *pods)
{
	struct wr_trace trace;
	struct err err = { 0 };
	uint8_t frame[128];
	size_t length = datagram(frame, "10.0.0.1", "10.0.0.2", true);
	int tc_verdict;

	assert_ok(dp_trace(WARREN_PROG_FROM_POD, pods->ifindex[0], 0, frame, length, &trace, &tc_verdict, &err));
	assert_int_equal(trace.reason, WR_REASON_TO_ENDPOINT);
	return pinned_id(PIN_DRY_RUN_DIR, WARREN_PROG_FROM_POD);
}

/* A dry-run program stays for the next dry run; another one pinned in its place, the attached one above all, is never run. */
static void dry_run_programs_are_kept(void **state)
{
	struct node_options options = { .mark_shift = -1, .reload = true };
	char path[PIN_PATH_MAX];
	struct err err = { 0 };
	struct pods pods;
	uint32_t first;
	uint64_t before;
	bool fresh;
	int attached;

	pods_make(&pods);
	stop_ct_gc();
	first = dry_run_from_pod(&pods);
	assert_true(first && first != pinned_id(PIN_PROG_DIR, WARREN_PROG_FROM_POD));
	assert_int_equal(dry_run_from_pod(&pods), first);

	attached = prog_open(WARREN_PROG_FROM_POD, &err);
	assert_int_equal(unlink(pin_path(path, PIN_DRY_RUN_DIR, WARREN_PROG_FROM_POD)), 0);
	assert_int_equal(bpf_obj_pin(attached, path), 0);
	close(attached);
	before = digest_all();
	first = dry_run_from_pod(&pods);
	assert_true(first && first != pinned_id(PIN_PROG_DIR, WARREN_PROG_FROM_POD));
	assert_true(digest_all() == before);

	/* New programs need new dry-run programs; where none can be pinned, one is loaded for this run. */
	assert_ok(load_programs(&options, &fresh, &err));
	assert_int_equal(pinned_id(PIN_DRY_RUN_DIR, WARREN_PROG_FROM_POD), 0);
	assert_ok(dir_make(path, &err));
	assert_int_equal(dry_run_from_pod(&pods), 0);
}

static void dry_runs_refused(void **state)
{
	uint8_t frame[128];
	size_t length = datagram(frame, "10.0.0.1", "10.0.0.2", true);
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	_cleanup_fd_ int other = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "from_pod", "BSD", pass, 2, NULL);
	struct wr_trace trace;
	struct pods pods;
	char path[PIN_PATH_MAX];
	struct err err = { 0 };
	int tc_verdict;

	pods_make(&pods);
	assert_int_equal(dp_trace(WARREN_PROG_FROM_POD, 4711, 0, frame, length, &trace, &tc_verdict, &err), -ENODEV);
	assert_int_equal(dp_trace(WARREN_PROG_FROM_POD, pods.ifindex[0], 0, frame, 3, &trace, &tc_verdict, &err), -EINVAL);
	/* Another build's programs are loaded: a dry run of ours would prove nothing about them. */
	pin_path(path, PIN_PROG_DIR, "from_pod");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(other, path), 0);
	assert_int_equal(dp_trace(WARREN_PROG_FROM_POD, pods.ifindex[0], 0, frame, length, &trace, &tc_verdict, &err), -EPROTO);
	assert_non_null(strstr(err.hint, "warren node init"));
	assert_ok(load_unpin(&err));
	assert_int_equal(dp_trace(WARREN_PROG_FROM_POD, pods.ifindex[0], 0, frame, length, &trace, &tc_verdict, &err), -ENOENT);
}

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load_maps, dp_rig_unload)
#define RUN(f) cmocka_unit_test_setup_teardown(f, dp_rig_load, dp_rig_unload) /* with programs */

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(flows_listed),
		LOADED(flows_stopped),
		LOADED(flows_ended),
		LOADED(flow_ended_while_it_moves),
		LOADED(flow_ended_in_a_locked_set),
		LOADED(service_found_in_windows),
		LOADED(figures),
		LOADED(figures_without_a_walk),
		cmocka_unit_test_teardown(ct_gc_runs_without_its_loader, dp_rig_unload),
		RUN(dry_runs_change_nothing),
		RUN(real_runs_change_something),
		RUN(dry_run_programs_are_kept),
		RUN(dry_runs_refused),
	};

	return cmocka_run_group_tests_name("flows", tests, dp_rig_make, NULL);
}
