/* SPDX-License-Identifier: BSD-2-Clause */
/* Dry runs (user/dp/trace.h), by the programs of this build in the real kernel. */
#include "dp_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/in.h>

#include "cleanup.h"
#include "endpoint.h"
#include "events.h"
#include "file.h"
#include "progs.h"
#include "stop_ct_gc.h"
#include "trace.h"

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

/* Of all maps but the one that dry runs write, whatever the order of their elements. */
static uint64_t digest_all(void)
{
	struct digest d = { 0 };
	struct err err = { 0 };

	for (d.map = dp_maps; d.map->name; d.map++) {
		if (dp_map_is_listable(d.map) && strcmp(d.map->name, "trace") != 0)
			assert_ok(dp_map_each(d.map->name, digest_element, &d, &err));
	}
	return d.sum;
}

static int see_event(const struct wr_event *ev, void *arg)
{
	return 0;
}

#define OUTSIDE 99
#define EVENT_TIMEOUT_MS 20000

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

/* Checks the digest itself: the attached program changes maps on one of these packets, and writes an event. */
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
	assert_true(dp_events_poll(events, EVENT_TIMEOUT_MS, see_event, NULL, &err) > 0);
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

#define LOADED(f) cmocka_unit_test_setup_teardown(f, dp_rig_load, dp_rig_unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(dry_runs_change_nothing),
		LOADED(real_runs_change_something),
		LOADED(dry_run_programs_are_kept),
		LOADED(dry_runs_refused),
	};

	return cmocka_run_group_tests_name("dry_run", tests, dp_rig_make, NULL);
}
