/* SPDX-License-Identifier: BSD-2-Clause */
/* What the hot paths cost, as lines of JSON. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static bool shot_is_fine; /* drops are measured */

static int run_repeated(enum program program, enum device on, const struct frame *in, int repeat, unsigned *ns)
{
	struct __sk_buff ctx = { .ifindex = device_ifindex(on) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = repeat);

	if (bpf_prog_test_run_opts(program_fd(program), &opts) || (opts.retval == 2 && !shot_is_fine))
		return fprintf(stderr, "verdict %d: %m\n", opts.retval), -1;
	*ns = opts.duration;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return *(const unsigned *)a < *(const unsigned *)b ? -1 : 1;
}

static int print_median(const char *id, bool v6, unsigned *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), compare);
	printf("{\"id\": \"bpf_%s_v%d\", \"ns\": %u, \"p99\": %u}\n", id, v6 ? 6 : 4, ns[n / 2], ns[n * 99 / 100]);
	return 0;
}

/*
 * A repeated run gets the packet that the run before it left. So the packet must stay valid when it is forwarded:
 * its sender has the MAC address that forwarding writes as source, and the hop limit lasts for one call.
 */
static int bench_repeated(const char *id, enum program program, enum device on, const struct frame *in, bool v6)
{
	enum { CALLS = 2000, REPEAT = 200 };
	static unsigned ns[CALLS];

	for (int i = 0; i < CALLS; i++)
		if (run_repeated(program, on, in, REPEAT, &ns[i]))
			return 1;
	return print_median(id, v6, ns, CALLS);
}

struct path {
	const char *id;
	enum program program;
	struct layer packet[4], reply[4]; /* the reply comes from B, or, from A's host or the world, to A */
};

/* The flow gets its first packet and a reply, so that its entry is where those of most packets are. */
static int bench_path(const struct path *path, bool v6)
{
	struct frame f;
	struct run r = { .program = FROM_POD, .on = DEVICE_B };

	frame_build(&f, path->packet, path->program == FROM_POD ? &defaults_from_pod : &defaults_to_pod, v6);
	run_verdict(path->program, &f);
	if (path->reply[0].kind != L_END) {
		struct frame reply;

		frame_build(&reply, path->reply, &defaults_from_b, v6);
		run_quietly(&r, &reply);
	}
	return bench_repeated(path->id, path->program, DEVICE_A, &f, v6);
}

#define FROM_A ETH(.smac = MAC_HOST), IP(.ttl = 255)
#define ANSWER_TCP { ETH(), IP(), TCP(.sport = 80, .dport = 40000) }
#define ANSWER_UDP { ETH(), IP(), UDP(.sport = 53, .dport = 40000) }
static const struct path paths[] = {
	{ "from_pod_to_pod_tcp", FROM_POD, { FROM_A, TCP() }, ANSWER_TCP },
	{ "from_pod_to_pod_udp", FROM_POD, { FROM_A, UDP(.n = 16) }, ANSWER_UDP },
	{ "from_pod_to_pod_udp_unreplied", FROM_POD, { FROM_A, UDP(.n = 16) }, { { 0 } } },
	{ "from_pod_to_stack_tcp", FROM_POD, { ETH(.smac = MAC_HOST), IP(.dst = WORLD), TCP() }, { { 0 } } },
	{ "to_pod_from_host_tcp", TO_POD, { ETH(), IP(.src = HOST), TCP() }, { { 0 } } },
};

/* --- policy --- */

void policy_fill(unsigned entries)
{
	unsigned have = 0;

	class_set(CLASS, WR_EGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, 1u << 16);
	class_set(CLASS, WR_INGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, 1u << 16);
	identity_set_peer(IDENTITY_A, PEER_OF(0));
	identity_set_peer(IDENTITY_B, PEER_OF(0));
	for (unsigned peer = 0; have < entries; peer++) {
		for (unsigned port = 0; port < 50 && have < entries; port++, have += 2) {
			policy_allow(CLASS, WR_EGRESS, PEER_OF(peer), 17, 1000 + port, 16, WR_RULE_FIRST);
			policy_allow(CLASS, WR_INGRESS, PEER_OF(peer), 17, 1000 + port, 16, WR_RULE_FIRST);
		}
	}
	endpoint_set_class(DEVICE_A, CLASS);
	endpoint_set_class(DEVICE_B, CLASS);
}

static void udp_frame(struct frame *f, unsigned sport, unsigned dport, bool v6)
{
	const struct layer layers[] = { FROM_A, UDP(.n = 16, .sport = (int)sport, .dport = (int)dport), { 0 } };

	frame_build(f, layers, &defaults_from_pod, v6);
}

/* Each packet creates a flow: evaluated at both ends, and written. */
static int bench_new(const char *id, bool v6)
{
	enum { FLOWS = 20000 };
	static unsigned ns[FLOWS];
	struct frame f;

	for (unsigned i = 0; i < FLOWS; i++) {
		udp_frame(&f, 10000 + i, 1000 + i % 50, v6);
		if (run_repeated(FROM_POD, DEVICE_A, &f, 1, &ns[i]))
			return 1;
	}
	return print_median(id, v6, ns, FLOWS);
}

static int bench_policy(unsigned entries, bool v6)
{
	struct frame f;
	char id[64];

	node_reset(0, v6);
	endpoint_set_mac(DEVICE_A, MAC_HOST);
	policy_fill(entries);
	udp_frame(&f, 9999, 1000, v6);
	run_verdict(FROM_POD, &f);
	snprintf(id, sizeof(id), "from_pod_known_flow_policy_%u", entries);
	if (bench_repeated(id, FROM_POD, DEVICE_A, &f, v6))
		return 1;
	snprintf(id, sizeof(id), "from_pod_new_flow_policy_%u", entries);
	return bench_new(id, v6);
}

/* What a flood of denied packets costs: without a listener, and with one that has read everything before each call. */
static int bench_denied(const char *id, bool listener, bool v6)
{
	enum { CALLS = 2000, REPEAT = 200 };
	static unsigned ns[CALLS];
	struct frame f;
	int failed = 0;

	node_reset(0, v6);
	endpoint_set_mac(DEVICE_A, MAC_HOST);
	policy_fill(100);
	udp_frame(&f, 9999, 5, v6);
	events_listen(listener);
	events_are_refilled = false;
	shot_is_fine = true;
	for (int i = 0; i < CALLS && !failed; i++) {
		events_drain(NULL);
		failed = run_repeated(FROM_POD, DEVICE_A, &f, REPEAT, &ns[i]);
	}
	shot_is_fine = false;
	events_are_refilled = true;
	events_listen(true);
	return failed || print_median(id, v6, ns, CALLS);
}

/* --- other nodes --- */

/* A packet to or from a pod of another node leaves changed: each call runs the program once. */
static int bench_single(const char *id, enum program program, enum device on, const struct frame *in, bool v6)
{
	enum { CALLS = 10000 };
	static unsigned ns[CALLS];

	for (int i = 0; i < CALLS; i++)
		if (run_repeated(program, on, in, 1, &ns[i]))
			return 1;
	return print_median(id, v6, ns, CALLS);
}

/* Node n of many: 100.64.0.0/10 has 16384 pod CIDRs; one of its pods is known. */
static void node_add(uint32_t n)
{
	const struct wr_node_ref ref = { .slot = 1000 + n };
	const struct wr_ipcache pod = { IDENTITY_C };
	struct wr_prefix4 cidr4 = { 24, { htonl(0x64400000 | n << 8) } };
	struct wr_prefix6 cidr6 = { 64, { { htonl(0xfd040000), htonl(n) } } };
	const struct wr_addr4 addr4 = { htonl(0xc6120000 | n) }, pod4 = { htonl(0x64400002 | n << 8) };
	const struct wr_addr6 addr6 = { { htonl(0xfd030000), 0, 0, htonl(n) } };
	const struct wr_addr6 pod6 = { { htonl(0xfd040000), htonl(n), 0, htonl(2) } };
	const struct wr_node node = { .id = 1 + ref.slot,
				      .flags = WR_NODE_V4 | WR_NODE_V6,
				      .cidr4 = cidr4.addr,
				      .mask4 = { htonl(0xffffff00) },
				      .cidr6 = cidr6.addr,
				      .mask6 = { { ~0u, ~0u } } };

	map_put("nodes", &ref.slot, &node);
	map_put("nodes4", &cidr4, &ref);
	map_put("nodes6", &cidr6, &ref);
	map_put("node_addr4", &addr4, &ref);
	map_put("node_addr6", &addr6, &ref);
	map_put("ipcache4", &pod4, &pod);
	map_put("ipcache6", &pod6, &pod);
}

void nodes_prepare(unsigned nodes, unsigned flags, bool v6)
{
	node_reset(0, v6);
	policy_fill(100);
	identity_set_peer(IDENTITY_C, PEER_OF(0));
	cluster_put(NODE, POD_A, 0);
	node_put(SLOT_C, flags);
	node_put(SLOT_D, 0);
	ipcache_put(POD_C, IDENTITY_C);
	for (unsigned n = 2; n < nodes; n++)
		node_add(n);
}

static void to_c_frame(struct frame *f, unsigned sport, unsigned dport, bool v6)
{
	const struct layer layers[] = { ETH(), IP(.dst = POD_C), UDP(.n = 16, .sport = (int)sport, .dport = (int)dport), { 0 } };

	frame_build(f, layers, &defaults_from_pod, v6);
}

static void from_c_frame(struct frame *f, unsigned sport, unsigned dport, bool v6)
{
	const struct layer layers[] = { FROM_NODE_C, UDP(.n = 16, .sport = (int)sport, .dport = (int)dport), { 0 } };

	frame_build_over(f, layers, &defaults_from_uplink, v6, false);
}

/* Each packet creates a flow with C's pod: evaluated and written. */
static int bench_new_remote(const char *id, enum program program, bool v6)
{
	enum { FLOWS = 5000 };
	static unsigned ns[FLOWS];
	struct frame f;

	for (unsigned i = 0; i < FLOWS; i++) {
		(program == FROM_POD ? to_c_frame : from_c_frame)(&f, 10000 + i, 1000 + i % 50, v6);
		if (run_repeated(program, program == FROM_POD ? DEVICE_A : DEVICE_UPLINK, &f, 1, &ns[i]))
			return 1;
	}
	return print_median(id, v6, ns, FLOWS);
}

/* A has sent to C's pod, which has replied. */
static int bench_nodes(unsigned nodes, bool v6)
{
	struct frame request, reply;
	char id[4][64];

	snprintf(id[0], sizeof(id[0]), "from_pod_to_node_known_flow_nodes_%u", nodes);
	snprintf(id[1], sizeof(id[1]), "from_uplink_to_pod_known_flow_nodes_%u", nodes);
	snprintf(id[2], sizeof(id[2]), "from_pod_to_node_new_flow_nodes_%u", nodes);
	snprintf(id[3], sizeof(id[3]), "from_uplink_to_pod_new_flow_nodes_%u", nodes);
	nodes_prepare(nodes, 0, v6);
	to_c_frame(&request, 9999, 1000, v6);
	from_c_frame(&reply, 1000, 9999, v6);
	return bench_single(id[0], FROM_POD, DEVICE_A, &request, v6) || bench_single(id[1], FROM_UPLINK, DEVICE_UPLINK, &reply, v6) ||
	       bench_new_remote(id[2], FROM_POD, v6) || bench_new_remote(id[3], FROM_UPLINK, v6);
}

/*
 * The same two known flows where the cluster has a key, which is required, and where it has none. All over IPv6: over IPv4
 * 62 bytes fit into the headroom of BPF_PROG_TEST_RUN's packets, but 74 do not, which costs a copy. A pod's UDP packets have
 * less headroom than either, and its TCP packets more.
 */
static int bench_nodes_keyed(bool v6)
{
	const struct layer plain[] = { FROM_NODE_C, UDP(.n = 16, .sport = 1000, .dport = 9999), { 0 } };
	const struct layer keyed[] = { FROM_NODE_C_HEAD, OPT(.type = WR_TUNNEL_OPTION_KEY, .n = 8, .identity = RX_TAG(SLOT_C, 0)),
				       ETH(), IP(.src = POD_C), UDP(.n = 16, .sport = 1000, .dport = 9999), { 0 } };
	struct frame request, reply;
	int failed = 0;

	for (int key = 0; key < 2 && !failed; key++) {
		nodes_prepare(2, WR_NODE_OVER6 | (key ? WR_NODE_KEYED : 0), v6);
		cluster_put(NODE, POD_A, key ? WR_CLUSTER_KEY_REQUIRED : 0);
		to_c_frame(&request, 9999, 1000, v6);
		frame_build_over(&reply, key ? keyed : plain, &defaults_from_uplink, v6, true);
		failed = bench_single(key ? "from_pod_to_node_known_flow_over6_keyed" : "from_pod_to_node_known_flow_over6",
				      FROM_POD, DEVICE_A, &request, v6) ||
			 bench_single(key ? "from_uplink_to_pod_known_flow_over6_keyed" : "from_uplink_to_pod_known_flow_over6",
				      FROM_UPLINK, DEVICE_UPLINK, &reply, v6);
	}
	return failed;
}

/* What the host itself sends out of an uplink: while it has no clients through services, and while it has other ones. */
static int bench_to_uplink(bool v6)
{
	static const struct layer own[] = { ETH(), IP(.src = NODE, .dst = WORLD), TCP(), { 0 } };
	struct wr_host_flows flows = { 0 };
	const uint32_t zero = 0;
	struct frame f;

	nodes_prepare(2, 0, v6);
	map_put("host_flows", &zero, &flows);
	frame_build(&f, own, &defaults_from_host, v6);
	if (bench_repeated("to_uplink_no_flows", TO_UPLINK, DEVICE_UPLINK, &f, v6))
		return 1;
	flows.until = tick_now() + WR_CT_LIFE_TCP;
	map_put("host_flows", &zero, &flows);
	return bench_repeated("to_uplink_other_tcp", TO_UPLINK, DEVICE_UPLINK, &f, v6);
}

/* For comparison: the cost of a call, the stack's own packets, the same without encapsulation, other packets of the uplink. */
static int bench_beside(bool v6)
{
	static const struct layer arp[] = { ETH(), ARP(), { 0 } };
	static const struct layer host[] = { ETH(), IP(), UDP(.n = 16), { 0 } };
	static const struct layer other[] = { ETH(), IP(.dst = NODE), TCP(), { 0 } };
	static const struct layer direct[] = { ETH(.smac = MAC_HOST), IP(.dst = POD_C, .ttl = 255), UDP(.n = 16, .sport = 9999, .dport = 1000), { 0 } };
	struct frame f;

	nodes_prepare(2, 0, v6);
	frame_build(&f, arp, &defaults_from_uplink, false);
	if (bench_single("from_uplink_single_call", FROM_UPLINK, DEVICE_UPLINK, &f, v6))
		return 1;
	frame_build(&f, host, &defaults_from_host, v6);
	if (bench_single("from_host_to_node", FROM_HOST, DEVICE_WARREN0, &f, v6))
		return 1;
	frame_build(&f, other, &defaults_from_uplink, v6);
	if (bench_repeated("from_uplink_other_tcp", FROM_UPLINK, DEVICE_UPLINK, &f, v6))
		return 1;
	nodes_prepare(2, WR_NODE_DIRECT, v6);
	endpoint_set_mac(DEVICE_A, MAC_HOST);
	endpoint_set_class(DEVICE_A, CLASS);
	frame_build(&f, direct, &defaults_from_pod, v6);
	return bench_repeated("from_pod_to_node_direct", FROM_POD, DEVICE_A, &f, v6) || bench_to_uplink(v6);
}

/* --- services --- */

struct call {
	const char *id;
	struct layer packet[4];
	enum device on;
};

/*
 * Packets to a pod and its replies, directly and by a service: each call runs the program once, since NAT changes the
 * packet, and all in turn, since they are compared.
 */
static int bench_services(bool v6)
{
	enum { CALLS = 10000, KINDS = 4 };
	static const struct call calls[KINDS] = {
		{ "from_pod_single_direct", { ETH(), IP(), TCP(.sport = 40001, .dport = 8080) }, DEVICE_A },
		{ "from_pod_single_to_service", { ETH(), IP(.dst = WORLD), TCP(.dport = 80) }, DEVICE_A },
		{ "from_pod_single_direct_answer", { ETH(), IP(), TCP(.sport = 8080, .dport = 40001) }, DEVICE_B },
		{ "from_pod_single_service_answer", { ETH(), IP(), TCP(.sport = 8080, .dport = 40000) }, DEVICE_B },
	};
	static unsigned ns[KINDS][CALLS];
	struct frame f[KINDS], syn;

	node_reset(0, v6);
	service_put(6, v6, (enum who[]){ POD_B, WHO_DEFAULT });
	frame_build(&syn, (struct layer[]){ ETH(), IP(.dst = WORLD), TCP(.flags = SYN, .dport = 80), { 0 } }, &defaults_from_pod, v6);
	run_verdict(FROM_POD, &syn);
	for (int k = 0; k < KINDS; k++)
		frame_build(&f[k], calls[k].packet, k < 2 ? &defaults_from_pod : &defaults_from_b, v6);
	for (int i = 0; i < CALLS; i++)
		for (int k = 0; k < KINDS; k++)
			if (run_repeated(FROM_POD, calls[k].on, &f[k], 1, &ns[k][i]))
				return 1;
	for (int k = 0; k < KINDS; k++)
		print_median(calls[k].id, v6, ns[k], CALLS);
	services_clear();
	return 0;
}

/* SYNs to a service with so many backends: a fixed set of connections in turn. */
static int bench_repeated_syn(unsigned backends, bool v6)
{
	enum { CALLS = 10000, FLOWS = 100 };
	static unsigned ns[CALLS];
	struct frame f[FLOWS];
	char id[64];

	node_reset(0, v6);
	service_put_ports(6, v6, POD_B, backends);
	for (int i = 0; i < FLOWS; i++) {
		const struct layer layers[] = { ETH(), IP(.dst = WORLD), TCP(.flags = SYN, .sport = 40000 + i, .dport = 80), { 0 } };

		frame_build(&f[i], layers, &defaults_from_pod, v6);
		run_verdict(FROM_POD, &f[i]);
	}
	for (int i = 0; i < CALLS; i++)
		if (run_repeated(FROM_POD, DEVICE_A, &f[i % FLOWS], 1, &ns[i]))
			return 1;
	services_clear();
	snprintf(id, sizeof(id), "from_pod_repeated_syn_backends_%u", backends);
	return print_median(id, v6, ns, CALLS);
}

int bench(void)
{
	static const unsigned sizes[] = { 100, 100000 };
	int failed = 0;

	harness_use_large_tables();
	harness_setup(NULL);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			node_reset(0, v6);
			endpoint_set_mac(DEVICE_A, MAC_HOST);
			failed |= bench_path(&paths[i], v6);
		}
	}
	for (int v6 = 0; v6 < 2; v6++)
		failed |= bench_beside(v6) | bench_services(v6) | bench_connections(v6) | bench_denied("from_pod_denied", false, v6) |
			  bench_denied("from_pod_denied_listener", true, v6) | bench_repeated_syn(2, v6) | bench_repeated_syn(5000, v6);
	failed |= bench_verdicts();
	/* Several times, one after the other: they are compared. */
	for (int i = 0; i < 10; i++)
		for (int v6 = 0; v6 < 2; v6++)
			failed |= bench_nodes(2, v6) | bench_nodes_keyed(v6) | bench_nodes(5000, v6);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int v6 = 0; v6 < 2; v6++)
			failed |= bench_policy(sizes[i], v6);
	harness_teardown(NULL);
	return failed;
}
