/* SPDX-License-Identifier: BSD-2-Clause */
/* from_uplink and from_host: every row in every combination of families; round trips; what holds for all packets. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

void tunnel_prepare(unsigned state, bool over6)
{
	const unsigned over = over6 ? WR_NODE_OVER6 : 0;

	node_reset(state & T_B_GOING ? S_B_GOING : 0, false);
	if (state & T_NO_CLUSTER)
		return;
	cluster_put(NODE, POD_A, state & T_DSCP ? WR_CLUSTER_DSCP : 0);
	if (state & T_OTHER_FAMILY)
		cluster_without(over6);
	if (state & T_NO_NODES)
		return;
	if (state & T_SIBLING)
		node_put_as(SLOT_D, NODE_C, POD_D, over | WR_NODE_RESOLVED);
	else
		node_put(SLOT_C, over | WR_NODE_RESOLVED | (state & T_DIRECT ? WR_NODE_DIRECT : 0));
	if (!(state & T_SIBLING))
		node_put(SLOT_D, over | WR_NODE_RESOLVED);
	if (state & T_NODE_GONE)
		node_empty(SLOT_C);
	ipcache_put(POD_C2, IDENTITY_C2);
}

/* One test: a row in one combination of families. */
struct test {
	const struct tunnel_row *row;
	enum program program;
	bool v6, over6;
	char name[128];
};

static void row_build(const struct test *t, const struct layer *layers, struct frame *f)
{
	frame_build_over(f, layers, t->program == FROM_UPLINK ? &defaults_from_uplink : &defaults_from_host, t->v6, t->over6);
}

/* Source port and flow label are the inner flow's: in the range, and else whatever they are. The IPv4 sum is not of them. */
static void outer_copy_hash(struct frame *want, const struct frame *got, bool over6)
{
	const size_t port = over6 ? 54 : 34;
	unsigned sport;

	if (want->len != got->len || want->len < port + 8)
		return;
	sport = got->data[port] << 8 | got->data[port + 1];
	assert_in_range(sport, 49152, 65535);
	memcpy(want->data + port, got->data + port, 2);
	if (!over6)
		return;
	want->data[15] = (want->data[15] & 0xf0) | (got->data[15] & 0x0f);
	memcpy(want->data + 16, got->data + 16, 2);
}

static void check_event(const struct test *t, const struct run *r)
{
	const struct tunnel_row *row = t->row;

	if (!reason_drops(row->reason))
		return;
	assert_int_equal(r->events, 1);
	assert_int_equal(r->event.reason, row->reason);
	assert_int_equal(r->event.direction, t->program == FROM_UPLINK ? WR_INGRESS : WR_EGRESS);
}

/* What a node counts is inner frames that were in order. */
static void check_node_metric(const struct test *t, const struct run *r, const struct frame *in)
{
	const enum wr_reason reason = t->row->reason;
	const enum wr_direction direction = t->program == FROM_UPLINK ? WR_INGRESS : WR_EGRESS;
	struct wr_metric m;

	if (t->row->state & (T_NO_CLUSTER | T_NO_NODES | T_SIBLING))
		return;
	m = node_metric(SLOT_C, direction);
	if (reason == WR_REASON_TO_ENDPOINT || reason == WR_REASON_TO_HOST) {
		assert_int_equal(m.packets, 1);
		assert_int_equal(m.bytes, r->out.len);
	} else if (reason == WR_REASON_TO_NODE) {
		assert_int_equal(m.packets, 1);
		assert_int_equal(m.bytes, in->len);
	} else if (t->row->out[0].kind == L_END) {
		assert_int_equal(m.packets, 0);
	}
	assert_int_equal(node_metric(SLOT_C, !direction).packets, 0);
}

static void test_row(void **state)
{
	const struct test *t = *state;
	const struct tunnel_row *row = t->row;
	const enum wr_direction direction = t->program == FROM_UPLINK ? WR_INGRESS : WR_EGRESS;
	struct run r = { .program = t->program, .entered = row->entered, .gso_size = row->gso_size };
	struct frame in, want;

	tunnel_prepare(row->state, t->over6);
	row_build(t, row->in, &in);
	run_program(&r, &in);
	if (row->reason == WR_REASON_NONE) {
		assert_int_equal(r.counters_moved, 0);
		assert_int_equal(r.events, 0);
	} else {
		assert_int_equal(r.counters_moved, 1);
		if (r.counter != wr_metric_key(row->reason, direction))
			fail_msg("counted as %s in direction %u, not as %s", reason_names[r.counter / 2], r.counter % 2,
				 reason_names[row->reason]);
	}
	assert_int_equal(r.verdict, reason_verdict(row->reason));
	check_event(t, &r);
	if (row->reason == WR_REASON_TOO_BIG)
		return; /* what becomes of it: test_too_big() */
	row_build(t, row->out[0].kind == L_END ? row->in : row->out, &want);
	if (row->reason == WR_REASON_TO_NODE && !(row->state & T_DIRECT))
		outer_copy_hash(&want, &r.out, t->over6);
	frame_expect(&r.out, &want);
	check_node_metric(t, &r, &in);
}

/* --- from one node to the other --- */

/* This node becomes the one that NODE_C was, and A its POD_C. */
static void prepare_receiver(bool over6)
{
	node_reset(0, false);
	cluster_put(NODE_C, POD_C, 0);
	node_put_as(SLOT_D, NODE, POD_A, WR_NODE_RESOLVED | (over6 ? WR_NODE_OVER6 : 0));
	endpoint_set_address(DEVICE_A, POD_C);
}

#define FROM_NODE ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(.tos = 0xb9)
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
		for (int family = 0; family < 4; family++) {
			const bool v6 = family & 1, over6 = family & 2;
			struct run out = { .program = FROM_HOST }, in = { .program = FROM_UPLINK };
			struct frame f, wire;

			tunnel_prepare(0, over6);
			frame_build(&f, trips[i], &defaults_from_host, v6);
			run_program(&out, &f);
			assert_int_equal(out.verdict, REDIRECT);
			assert_int_equal(out.out.len, f.len + (over6 ? WR_TUNNEL_OVERHEAD6 : WR_TUNNEL_OVERHEAD4));
			wire = out.out;
			memcpy(wire.data, mac_address(MAC_HOST), 6); /* the receiver's */
			prepare_receiver(over6);
			run_program(&in, &wire);
			assert_int_equal(in.counter, wr_metric_key(WR_REASON_TO_ENDPOINT, WR_INGRESS));
			assert_int_equal(in.verdict, REDIRECT);
			assert_int_equal(in.out.len, f.len);
			assert_memory_equal(in.out.data, mac_address(MAC_A), 6);
			assert_memory_equal(in.out.data + 12, f.data + 12, f.len - 12);
		}
}

/* Flows spread over the source ports, and each has one; the other direction's is another. */
static unsigned port_of(const struct layer *layers, bool v6)
{
	struct run r = { .program = FROM_HOST };
	struct frame f;

	frame_build(&f, layers, &defaults_from_host, v6);
	run_quietly(&r, &f);
	return r.out.data[34] << 8 | r.out.data[35];
}

static void test_ports(void **state)
{
	enum { FLOWS = 2000, ONE_IN = 8 };

	(void)state;
	tunnel_prepare(0, false);
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

/* --- what has been cut --- */

/* By whom it was sent is what the first run has found, whatever the second one's packet says of its way. */
static const struct {
	enum device entered;
	struct layer in[LAYERS];
	enum wr_reason reason;
	uint64_t identity;
} pieces[] = {
	{ NO_DEVICE, { FROM_NODE, UDP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_REMOTE_NODE },
	{ NO_DEVICE, { FROM_NODE, SCTP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_REMOTE_NODE },
	{ DEVICE_A, { ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(.src = POD_A), UDP(.n = 1000) }, WR_REASON_TO_NODE, IDENTITY_A },
	{ DEVICE_A, { ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(.src = POD_B), UDP(.n = 1000) }, WR_REASON_SPOOFED_OUTSIDE, 0 },
	{ DEVICE_UPLINK, { ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(.src = WORLD), UDP(.n = 1000) }, WR_REASON_TO_NODE, WR_ID_WORLD },
	{ DEVICE_UPLINK, { ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(.src = POD_A), UDP(.n = 1000) }, WR_REASON_SPOOFED_OUTSIDE, 0 },
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

			tunnel_prepare(0, family & 2);
			frame_build(&f, pieces[i].in, &defaults_from_host, family & 1);
			run_program(&r, &f);
			assert_int_equal(r.verdict, reason_verdict(WR_REASON_NONE));
			assert_int_equal(r.counters_moved, 0);
			frame_expect(&r.out, &f);
			/* At the other end of warren0, which is any other device, and as the kernel says, where it has entered. */
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

static unsigned read16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static uint16_t sum16(uint32_t sum, const uint8_t *at, size_t len)
{
	for (; len > 1; len -= 2, at += 2)
		sum += read16(at);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The error that the sender of `in` gets: what it quotes, whom it names, that its sums are right. */
static void check_told(const struct frame *in, const struct frame *got, bool v6)
{
	const size_t ip = v6 ? 40 : 20, message = 512, quoted = message - 8;
	const uint8_t *at = got->data + 14, *icmp = at + ip, *was = in->data + 14;

	assert_int_equal(got->len, 14 + ip + message);
	assert_memory_equal(got->data, in->data + 6, 6);
	assert_memory_equal(got->data + 6, in->data, 6);
	assert_memory_equal(got->data + 12, in->data + 12, 2);
	if (v6) {
		assert_int_equal(at[0], 0x60);
		assert_int_equal(read16(at + 4), message);
		assert_int_equal(at[6], 58);
		assert_memory_equal(at + 8, was + 24, 16);
		assert_memory_equal(at + 24, was + 8, 16);
		assert_int_equal(icmp[0], 2);
		assert_int_equal(icmp[1], 0);
		assert_int_equal(sum16(sum16(message + 58, at + 8, 32), icmp, message), 0xffff);
	} else {
		assert_int_equal(read16(at), 0x4500);
		assert_int_equal(read16(at + 2), ip + message);
		assert_int_equal(at[9], 1);
		assert_memory_equal(at + 12, was + 16, 4);
		assert_memory_equal(at + 16, was + 12, 4);
		assert_int_equal(sum16(0, at, ip), 0xffff);
		assert_int_equal(icmp[0], 3);
		assert_int_equal(icmp[1], 4);
		assert_int_equal(sum16(0, icmp, message), 0xffff);
	}
	assert_int_equal(read16(icmp + 4), 0);
	assert_int_equal(read16(icmp + 6), TUNNEL_MTU);
	assert_memory_equal(icmp + 8, was, quoted);
}

#define BIG(...) { ETH(.smac = MAC_HOST, .dmac = MAC_HOST), IP(__VA_ARGS__), UDP(.n = TUNNEL_MTU) }
static const struct {
	const char *name;
	struct layer in[LAYERS];
	enum family family;
	uint32_t gso_size;
	bool told;
} bigs[] = {
	{ "udp", BIG(), .told = true },
	{ "without DF too", BIG(.df = 1), .told = true },
	{ "one byte too much", { FROM_NODE, UDP(.n = TUNNEL_MTU - 27) }, V4, .told = true },
	{ "one byte too much", { FROM_NODE, UDP(.n = TUNNEL_MTU - 47) }, V6, .told = true },
	{ "a super-packet", { FROM_NODE, TCP(.n = 3000) }, .gso_size = TUNNEL_MTU, .told = true },
	{ "echo", { FROM_NODE, ICMP(.n = TUNNEL_MTU) }, .told = true },
	{ "echo reply", { FROM_NODE, ICMP(.type = ECHO_REPLY, .n = TUNNEL_MTU) }, .told = true },
	{ "a first fragment", { FROM_NODE, FRAG(.more = 1), UDP(.n = TUNNEL_MTU) }, .told = true },
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
			tunnel_prepare(family & 2 ? T_DIRECT : 0, false); /* it makes no difference */
			frame_build(&f, bigs[i].in, &defaults_from_host, family & 1);
			run_program(&r, &f);
			assert_int_equal(r.counter, wr_metric_key(WR_REASON_TOO_BIG, WR_EGRESS));
			assert_int_equal(r.moved.bytes, f.len);
			assert_int_equal(r.event.length, f.len);
			assert_int_equal(r.event.peer_ifindex, WR_REMOTE | SLOT_C);
			if (r.verdict != (bigs[i].told ? REDIRECT : SHOT))
				fail_msg("%s: %s", bigs[i].name, r.verdict == SHOT ? "not told" : "told");
			if (bigs[i].told)
				check_told(&f, &r.out, family & 1);
			else
				frame_expect(&r.out, &f);
		}
}

/* --- cut short --- */

/* The outer IP header is the one that the frame's length decides by; all after it is the tunnel's. */
static void test_cut(void **state)
{
	(void)state;
	for (const struct tunnel_row *row = rows_from_uplink; row->name; row++)
		for (int family = 0; family < 4; family++) {
			const struct test t = { row, FROM_UPLINK, family & 1, family & 2 };
			const struct layer *l = row->in;
			struct frame f;

			while (l->kind != L_END && l->kind != L_PAD)
				l++;
			if (row->reason != WR_REASON_TO_ENDPOINT || l->kind == L_PAD || !family_has(row->inner, t.v6) || !family_has(row->outer, t.over6))
				continue;
			tunnel_prepare(row->state, t.over6);
			row_build(&t, row->in, &f);
			for (size_t len = t.over6 ? 54 : 34; len < f.len; len++) {
				struct run r = { .program = FROM_UPLINK };
				struct frame cut = f;
				const size_t ports = (t.over6 ? 54 : 34) + 8;

				cut.len = len;
				run_program(&r, &cut);
				/* Without the port it is nobody's; the stack will see that it is cut. */
				if (len < ports)
					assert_int_equal(r.verdict, 0);
				else if (r.counter != wr_metric_key(WR_REASON_TUNNEL_MALFORMED, WR_INGRESS) || r.verdict != 2)
					fail_msg("%s: %zu of %zu bytes: %s", row->name, len, f.len, reason_names[r.counter / 2]);
				frame_expect(&r.out, &cut);
			}
		}
}

int run_tunnel_tests(void)
{
	enum { MAX = 2048 };
	static struct test tests[MAX];
	static struct CMUnitTest units[MAX + 4];
	static const struct tunnel_row *const tables_[] = { rows_from_uplink, rows_from_host };
	size_t n = 0;

	for (int table = 0; table < 2; table++)
		for (const struct tunnel_row *row = tables_[table]; row->name; row++)
			for (int family = 0; family < 4; family++) {
				struct test *t = &tests[n];

				if (!family_has(row->inner, family & 1) || !family_has(row->outer, family & 2))
					continue;
				if (n == MAX)
					abort();
				*t = (struct test){ row, table ? FROM_HOST : FROM_UPLINK, family & 1, family & 2 };
				snprintf(t->name, sizeof(t->name), "%s v%d over v%d: %s", table ? "from_host" : "from_uplink",
					 t->v6 ? 6 : 4, t->over6 ? 6 : 4, row->name);
				units[n++] = (struct CMUnitTest){ .name = t->name, .test_func = test_row, .initial_state = t };
			}
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_trips);
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_ports);
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_pieces);
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_too_big);
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_cut);
	return _cmocka_run_group_tests("bpf_tunnel", units, n, harness_setup, NULL);
}
