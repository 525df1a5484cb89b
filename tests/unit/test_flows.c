/* SPDX-License-Identifier: BSD-2-Clause */
/* Conntrack as user space sees it, in the maps of the real kernel, and the gc of the real programs. */
#include "dp_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <time.h>

#include "cleanup.h"
#include "endpoint.h"
#include "flows.h"
#include "progs.h"
#include "put_slot.h"
#include "stop_ct_gc.h"

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
	bool apart;	     /* its reverse-NAT entry is still in a window */
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
static void put_reverse(const struct row *row, union row_key key)
{
	const struct ip service = ip(row->service);
	struct wr_ct_service reverse = { .flags = WR_CT_SERVICE, .port = htons(81), .client_port = htons(99),
					 .expires = tick() + WR_CT_SECONDS(60) };
	struct row at = *row;

	if (row->apart)
		at.map = strchr(row->from, ':') ? "ct_new6" : "ct_new4";
	memcpy(&reverse.addr, service.bytes, ip_bytes(&service));
	if (strchr(row->from, ':'))
		key.v6.kind = WR_CT_REVERSE_NAT;
	else
		key.v4.kind = WR_CT_REVERSE_NAT;
	put_entry(&at, &key, &reverse);
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
		put_reverse(row, *key);
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
		assert_int_equal(flow->client_port, 99);
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

static int see_promoted(const struct dp_flow *flow, void *arg)
{
	assert_flow_is(flow, (const struct row *)arg + flow->ct.initiator);
	return 0;
}

/* Until its reverse-NAT entry is promoted, too. */
static void service_of_a_promoted_flow(void **state)
{
	const struct row promoted[] = {
		{ "ct4", IPPROTO_TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 100, "10.96.0.1", true },
		{ "ct6", IPPROTO_UDP, "fd00::2", 9, "fd00::1", 7, 100, "fd00:96::1", true },
	};
	struct err err = { 0 };

	stop_ct_gc();
	for (size_t i = 0; i < ARRAY_SIZE(promoted); i++)
		put_row(&promoted[i], (uint32_t)i);
	assert_ok(dp_flows_each(false, see_promoted, (void *)promoted, &err));
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
		struct dp_flow flow = { .protocol = row->protocol,
					.ip = { ip(row->to), ip(row->from) },
					.port = { row->to_port, row->from_port } };
		const bool v6 = strchr(row->from, ':');
		struct wr_ct_service reverse = { .flags = WR_CT_SERVICE, .port = htons(81), .client_port = htons(99),
						 .expires = tick() };
		bool swapped;
		union row_key key = *row_key(row, &swapped);

		assert_false(dp_flow_service(&ct, &flow));
		*(v6 ? &key.v6.kind : &key.v4.kind) = WR_CT_REVERSE_NAT;
		put_slot(v6, &key, &reverse, ep.ct_first + (cases[i].other_half ? ep.ct_slots / 2 : 0), ep.ct_slots / 2);
		assert_true(dp_flow_service(&ct, &flow));
		assert_int_equal(flow.service_port, 81);
		assert_int_equal(flow.client_port, 99);
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

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load_maps, dp_rig_unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(flows_listed),
		LOADED(flows_stopped),
		LOADED(service_of_a_promoted_flow),
		LOADED(flows_ended),
		LOADED(flow_ended_while_it_moves),
		LOADED(flow_ended_in_a_locked_set),
		LOADED(service_found_in_windows),
		LOADED(figures),
		LOADED(figures_without_a_walk),
		cmocka_unit_test_teardown(ct_gc_runs_without_its_loader, dp_rig_unload),
	};

	return cmocka_run_group_tests_name("flows", tests, dp_rig_make, NULL);
}
