/* SPDX-License-Identifier: BSD-2-Clause */
/* from_uplink and from_host, beyond the rows: round trips, ports, cut packets, packets that are too big. */
#include <endian.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "expect.h"
#include "rows.h"

/* --- from one node to the other --- */

/* This node becomes the one that NODE_C was, and A its POD_C. */
static void prepare_receiver(bool over6, bool keyed)
{
	static const uint64_t tx[] = { RX_TAG(SLOT_C, 0), RX_TAG(SLOT_C, 1) };
	static const uint64_t rx[] = { TX_TAG(SLOT_C, 0), TX_TAG(SLOT_C, 1) };

	node_reset(0, false);
	cluster_put(NODE_C, POD_C, keyed ? WR_CLUSTER_KEY_REQUIRED : 0);
	node_put_as(SLOT_D, NODE, POD_A, over6 ? WR_NODE_OVER6 : 0);
	if (keyed)
		node_set_tags(SLOT_D, tx, rx);
	endpoint_set_address(DEVICE_A, POD_C);
}

#define FROM_NODE ETH(), IP(.tos = 0xb9)
static const struct layer trips[][LAYERS] = {
	{ FROM_NODE, TCP(.flags = SYN) },
	{ FROM_NODE, TCP(.words = 10, .n = 1317) },
	{ FROM_NODE, UDP() },
	{ FROM_NODE, UDP(.n = 1) },
	{ FROM_NODE, ICMP(.n = 56) },
	{ FROM_NODE, SCTP(.n = 16) },
	{ FROM_NODE, RAW(.proto = 47, .n = 99) },
	{ FROM_NODE, RAW(.proto = 50, .n = 1) },
	{ FROM_NODE, FRAG(.more = 1), UDP(.n = 1000) },
};

static void test_trips(void **state)
{
	enum { REDIRECT = 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(trips) / sizeof(trips[0]); i++)
		for (int how = 0; how < 12; how++) {
			/* Without a key; with one, of each of the two places. */
			const bool v6 = how & 1, over6 = how & 2, keyed = how & 12;
			struct run out = { .program = FROM_HOST }, in = { .program = FROM_UPLINK };
			struct frame f, wire;

			cluster_reset(how & 8 ? S_KEYED | S_KEY_ODD : keyed ? S_KEYED : 0, v6, over6);
			frame_build(&f, trips[i], &defaults_from_host, v6);
			run_program(&out, &f);
			assert_int_equal(out.verdict, REDIRECT);
			assert_int_equal(out.out.len, f.len + (over6 ? WR_TUNNEL_OVERHEAD6 : WR_TUNNEL_OVERHEAD4) +
							  (keyed ? WR_TUNNEL_KEY_SIZE : 0));
			wire = out.out;
			memcpy(wire.data, mac_address(MAC_HOST), 6); /* the receiver's */
			prepare_receiver(over6, keyed);
			run_program(&in, &wire);
			assert_int_equal(in.counter, wr_metric_key(WR_REASON_TO_ENDPOINT, WR_INGRESS));
			assert_int_equal(in.verdict, REDIRECT);
			assert_int_equal(in.out.len, f.len);
			assert_memory_equal(in.out.data, mac_address(MAC_A), 6);
			assert_memory_equal(in.out.data + 12, f.data + 12, f.len - 12);
		}
}

/*
 * Where the tag is not required, a packet without the right one is accepted and counted, unless no key is known at all.
 * A dry run counts nothing.
 */
static void test_unkeyed(void **state)
{
	static const struct layer plain[] = { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),
					      UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),
					      OPT(.n = 8, .identity = IDENTITY_C), ETH(), IP(.src = POD_C, .dst = POD_A), TCP(), { 0 } };
	static const struct layer wrong[] = { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),
					      UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),
					      OPT(.n = 8, .identity = IDENTITY_C), OPT(.type = WR_TUNNEL_OPTION_KEY, .n = 8, .identity = 1),
					      ETH(), IP(.src = POD_C, .dst = POD_A), TCP(), { 0 } };
	const uint32_t key = wr_metric_key(WR_REASON_TUNNEL_UNKEYED, WR_INGRESS);

	(void)state;
	for (int how = 0; how < 16; how++) {
		const bool v6 = how & 1, over6 = how & 2, keyed = how & 4;
		struct wr_metric before[WR_METRICS], after[WR_METRICS];
		struct run r = { .program = FROM_UPLINK };
		struct wr_trace trace;
		struct frame f;

		cluster_reset(keyed ? S_KEYED : 0, v6, over6);
		frame_build_over(&f, how & 8 ? wrong : plain, &defaults_from_uplink, v6, over6);
		metrics_read(before);
		run_dry(&r, &f, &trace);
		metrics_read(after);
		assert_int_equal(after[key].packets, before[key].packets);
		run_quietly(&r, &f);
		metrics_read(after);
		assert_int_equal(r.verdict, reason_verdict(WR_REASON_TO_ENDPOINT));
		assert_int_equal(after[key].packets - before[key].packets, keyed);
		assert_int_equal(after[key].bytes - before[key].bytes, keyed ? f.len : 0);
	}
}

/*
 * A packet of node C comes by an uplink that may not be the one in the node's slot: then the device of our own address
 * must be that uplink, or the route to the node.
 */
static const struct {
	const char *name;
	enum device uplink, own, route;
	enum wr_reason reason;
} paths[] = {
	{ "the uplink of the slot", DEVICE_UPLINK, DEVICE_B, DEVICE_B, WR_REASON_TO_ENDPOINT },
	{ "the device of our address", DEVICE_B, DEVICE_UPLINK, DEVICE_B, WR_REASON_TO_ENDPOINT },
	{ "the device of the route", DEVICE_B, DEVICE_B, DEVICE_UPLINK, WR_REASON_TO_ENDPOINT },
	{ "a device with another route", DEVICE_B, DEVICE_B, DEVICE_B, WR_REASON_SPOOFED_OUTSIDE },
	{ "a device, and our address on none", DEVICE_B, NO_DEVICE, DEVICE_B, WR_REASON_SPOOFED_OUTSIDE },
};

static void test_paths(void **state)
{
	static const struct layer in[] = { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),
					   UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),
					   OPT(.n = 8, .identity = IDENTITY_C), ETH(), IP(.src = POD_C, .dst = POD_A), TCP(), { 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		for (int family = 0; family < 4; family++) {
			struct run r = { .program = FROM_UPLINK };
			struct wr_trace trace;
			struct frame f;

			print_message("  by %s, IPv%d over IPv%d\n", paths[i].name, family & 1 ? 6 : 4, family & 2 ? 6 : 4);
			route_set(paths[i].route);
			cluster_reset(0, family & 1, family & 2);
			node_set_devices(SLOT_C, paths[i].uplink, paths[i].own);
			frame_build_over(&f, in, &defaults_from_uplink, family & 1, family & 2);
			run_dry(&r, &f, &trace);
			assert_int_equal(trace.reason, paths[i].reason);
			run_program(&r, &f);
			assert_int_equal(r.counter, wr_metric_key(paths[i].reason, WR_INGRESS));
			assert_int_equal(r.verdict, reason_verdict(paths[i].reason));
		}
	route_set(NO_DEVICE);
}

/* The result of a route look-up is cached for a moment, for that node only. */
static void test_path_ends(void **state)
{
	static const struct layer in[] = { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),
					   UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),
					   OPT(.n = 8, .identity = IDENTITY_C), ETH(), IP(.src = POD_C, .dst = POD_A), TCP(), { 0 } };

	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int other = 0; other < 2; other++) {
			struct run r = { .program = FROM_UPLINK };
			struct frame f;
			time_t until;

			route_set(DEVICE_UPLINK);
			cluster_reset(0, v6, v6);
			node_set_devices(SLOT_C, DEVICE_B, DEVICE_B);
			frame_build_over(&f, in, &defaults_from_uplink, v6, v6);
			run_quietly(&r, &f);
			assert_int_equal(r.verdict, reason_verdict(WR_REASON_TO_ENDPOINT));
			route_set(DEVICE_B);
			if (other) {
				node_change_id(SLOT_C);
				run_quietly(&r, &f);
				assert_int_equal(r.verdict, reason_verdict(WR_REASON_SPOOFED_OUTSIDE));
				continue;
			}
			until = time(NULL) + 20;
			while (r.verdict != reason_verdict(WR_REASON_SPOOFED_OUTSIDE) && time(NULL) < until)
				run_quietly(&r, &f);
			assert_int_equal(r.verdict, reason_verdict(WR_REASON_SPOOFED_OUTSIDE));
		}
	route_set(NO_DEVICE);
}

/* Flows spread over the source ports, one port for each; the other direction has another port. */
static unsigned port_of(const struct layer *layers, bool v6)
{
	struct run r = { .program = FROM_HOST };
	struct frame f;

	frame_build(&f, layers, &defaults_from_host, v6);
	run_quietly(&r, &f);
	return read16(r.out.data + 34);
}

static void test_ports(void **state)
{
	enum { FLOWS = 2000, ONE_IN = 8 };

	(void)state;
	cluster_reset(0, false, false);
	for (int v6 = 0; v6 < 2; v6++) {
		bool seen[1 << 16] = { false };
		int different = 0;

		for (int i = 0; i < FLOWS; i++) {
			const struct layer there[] = { FROM_NODE, UDP(.sport = 20000 + i, .dport = 53), { 0 } };
			const unsigned port = port_of(there, v6);

			assert_int_equal(port, port_of(there, v6));
			assert_in_range(port, 49152, 65535);
			different += !seen[port];
			seen[port] = true;
		}
		/* 2000 balls in 16384 bins: some 120 meet. */
		assert_in_range(different, FLOWS - FLOWS / ONE_IN, FLOWS);
		for (int i = 0; i < 2; i++) {
			const struct layer there[] = { FROM_NODE, UDP(.sport = 40000 + i, .dport = 40001 - i), { 0 } };
			static unsigned first;

			if (i)
				assert_int_not_equal(first, port_of(there, v6));
			first = port_of(there, v6);
		}
	}
}

/* --- segmented packets --- */

/* The sender is the one of the first run, whatever device the second run's packet comes by. */
static const struct {
	enum device entered;
	struct layer in[LAYERS];
	enum wr_reason reason;
	uint64_t identity;
} pieces[] = {
	{ NO_DEVICE, { FROM_NODE, UDP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_REMOTE_NODE },
	{ NO_DEVICE, { FROM_NODE, SCTP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_REMOTE_NODE },
	{ DEVICE_A, { ETH(), IP(.src = POD_A), UDP(.n = 1000) }, WR_REASON_TO_NODE, IDENTITY_A },
	{ DEVICE_A, { ETH(), IP(.src = POD_B), UDP(.n = 1000) }, WR_REASON_SPOOFED_OUTSIDE, 0 },
	{ DEVICE_UPLINK, { ETH(), IP(.src = WORLD), UDP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_WORLD },
	{ DEVICE_UPLINK, { ETH(), IP(.src = POD_A), UDP(.n = 1000) }, WR_REASON_SPOOFED_OUTSIDE, 0 },
};

/* The option's data: in front of the inner Ethernet header. */
static uint64_t identity_sent(const struct frame *f, const struct frame *inner)
{
	__be64 identity;

	memcpy(&identity, f->data + f->len - inner->len - sizeof(identity), sizeof(identity));
	return be64toh(identity);
}

static void test_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		for (int family = 0; family < 4; family++) {
			struct run r = { .program = FROM_HOST, .entered = pieces[i].entered, .gso_size = 500 }, forged = { 0 };
			struct frame f;

			cluster_reset(0, family & 1, family & 2);
			frame_build(&f, pieces[i].in, &defaults_from_host, family & 1);
			run_program(&r, &f);
			assert_int_equal(r.verdict, reason_verdict(WR_REASON_NONE));
			assert_int_equal(r.counters_moved, 0);
			frame_expect(&r.out, &f);
			/* At the other end of warren0, which is any other device, where the kernel reports it as received. */
			r.on = r.entered = DEVICE_UPLINK;
			r.gso_size = 0;
			forged = r;
			run_program(&r, &f);
			assert_int_equal(r.counter, wr_metric_key(pieces[i].reason, WR_EGRESS));
			assert_int_equal(r.verdict, reason_verdict(pieces[i].reason));
			if (pieces[i].identity)
				assert_int_equal(identity_sent(&r.out, &f), pieces[i].identity);
			memset(forged.cb, 0, sizeof(forged.cb));
			run_program(&forged, &f);
			assert_int_equal(forged.counter, wr_metric_key(WR_REASON_SPOOFED_OUTSIDE, WR_EGRESS));
		}
}

/* --- too big --- */

#define BIG(...) { ETH(), IP(__VA_ARGS__), UDP(.n = TUNNEL_MTU) }
static const struct {
	const char *name;
	struct layer in[LAYERS];
	enum family family;
	uint32_t gso_size;
	bool reported; /* to the sender, by an ICMP error */
} bigs[] = {
	{ "udp", BIG(), .reported = true },
	{ "without DF too", BIG(.df = 1), .reported = true },
	{ "one byte too much", { FROM_NODE, UDP(.n = TUNNEL_MTU - 27) }, V4, .reported = true },
	{ "one byte too much", { FROM_NODE, UDP(.n = TUNNEL_MTU - 47) }, V6, .reported = true },
	{ "a GSO packet", { FROM_NODE, TCP(.n = 3000) }, .gso_size = TUNNEL_MTU, .reported = true },
	{ "echo", { FROM_NODE, ICMP(.n = TUNNEL_MTU) }, .reported = true },
	{ "echo reply", { FROM_NODE, ICMP(.type = ECHO_REPLY, .n = TUNNEL_MTU) }, .reported = true },
	{ "a first fragment", { FROM_NODE, FRAG(.more = 1), UDP(.n = TUNNEL_MTU) }, .reported = true },
	{ "a later fragment", { FROM_NODE, FRAG(.off = 1600), RAW(.proto = 17, .n = TUNNEL_MTU) } },
	{ "an error", { FROM_NODE, ICMP(.type = UNREACHABLE, .n = TUNNEL_MTU) } },
	{ "an error that quotes one", { FROM_NODE, ICMP(.type = TOO_BIG, .n = TUNNEL_MTU) } },
	{ "time exceeded", { FROM_NODE, ICMP(.type = EXCEEDED, .n = TUNNEL_MTU) } },
};

static void test_too_big(void **state)
{
	enum { SHOT = 2, REDIRECT = 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(bigs) / sizeof(bigs[0]); i++)
		for (int family = 0; family < 4; family++) {
			struct run r = { .program = FROM_HOST, .gso_size = bigs[i].gso_size };
			struct frame f;

			if (!family_has(bigs[i].family, family & 1))
				continue;
			cluster_reset(family & 2 ? S_DIRECT : 0, family & 1, false); /* it makes no difference */
			frame_build(&f, bigs[i].in, &defaults_from_host, family & 1);
			run_program(&r, &f);
			assert_int_equal(r.counter, wr_metric_key(WR_REASON_TOO_BIG, WR_EGRESS));
			assert_int_equal(r.moved.bytes, f.len);
			assert_int_equal(r.event.length, f.len);
			assert_int_equal(r.event.peer_ifindex, WR_REMOTE | SLOT_C);
			if (r.verdict != (bigs[i].reported ? REDIRECT : SHOT))
				fail_msg("%s: %s", bigs[i].name, r.verdict == SHOT ? "not reported" : "reported");
			if (bigs[i].reported)
				icmp_error_expect(&f, &r.out, family & 1);
			else
				frame_expect(&r.out, &f);
		}
}

/* --- cut short --- */

/* Cut at every length behind the outer IP header; frame_runnable() on shorter ones. */
static void cut_everywhere(const struct row_case *c)
{
	const size_t udp = c->over6 ? 54 : 34;
	struct frame f;

	row_prepare(c);
	row_in(c, &f);
	for (size_t len = udp; len < f.len; len++) {
		struct run r = { .program = FROM_UPLINK };
		struct frame cut = f;

		cut.len = len;
		run_program(&r, &cut);
		/* Without the port it is no tunnel packet; the stack will see that it is cut. */
		if (len < udp + 8)
			assert_int_equal(r.verdict, 0);
		else if (r.counter != wr_metric_key(WR_REASON_TUNNEL_MALFORMED, WR_INGRESS) || r.verdict != 2)
			fail_msg("%s: %zu of %zu bytes: %s", c->row->name, len, f.len, reason_names[r.counter / 2]);
		frame_expect(&r.out, &cut);
	}
}

static void test_cut(void **state)
{
	struct row_case c = { .program = FROM_UPLINK };

	(void)state;
	while (row_next(&c))
		if (c.row->reason == WR_REASON_TO_ENDPOINT && !(c.row->state & S_DIRECT) && !row_is_padded(c.row))
			cut_everywhere(&c);
}

int run_tunnel_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trips),
		cmocka_unit_test(test_unkeyed), cmocka_unit_test(test_paths), cmocka_unit_test(test_path_ends),
		cmocka_unit_test(test_ports), cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_too_big), cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests_name("bpf_tunnel", tests, harness_setup, NULL);
}
