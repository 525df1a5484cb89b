/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A million damaged packets each (fewer on a slow machine) through from_pod and to_pod, against a model of what may pass: a second
 * reading of the headers, by offsets in bytes, and a naive evaluator of a policy for both pods. What the model forbids
 * never passes, what it requires passes, and passed packets come out as they went in, but for what forwarding changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "damage.h"
#include "rows.h"

#define PACKETS 1000000
#define CORPUS 1024
#define DROP 2     /* tc's verdicts */
#define PASS 0
#define REDIRECT 7

enum { CLASS_A = 16, CLASS_B, PEER_IS_A = WR_PEER_FIRST, PEER_IS_B, BLOCK_WORLD = 5 };
#define CIDR_WORLD (WR_PEER_CIDR | BLOCK_WORLD)

/* --- the policy, and its naive evaluator --- */

/* proto 0: all there are, with any port. */
static const struct rule {
	enum who pod; /* the policy's pod */
	enum wr_direction direction;
	enum who peer;
	int proto, port;
} rules[] = {
	{ POD_A, WR_EGRESS, POD_B, 6, 80 },    { POD_A, WR_EGRESS, POD_B, 17, 53 },  { POD_A, WR_EGRESS, POD_B, 17, 5353 },
	{ POD_A, WR_EGRESS, POD_B, 132, 5000 }, { POD_A, WR_EGRESS, WORLD, 0, 0 },    { POD_A, WR_INGRESS, POD_B, 6, 80 },
	{ POD_A, WR_INGRESS, POD_B, 17, 53 },   { POD_A, WR_INGRESS, WORLD, 6, 80 },  { POD_A, WR_INGRESS, WORLD, 17, 53 },
	{ POD_B, WR_INGRESS, POD_A, 6, 80 },    { POD_B, WR_INGRESS, POD_A, 6, 81 },  { POD_B, WR_INGRESS, POD_A, 17, 53 },
	{ POD_B, WR_INGRESS, POD_A, 132, 5000 }, { POD_B, WR_EGRESS, POD_A, 6, 80 },  { POD_B, WR_EGRESS, POD_A, 17, 53 },
	{ POD_B, WR_EGRESS, POD_A, 17, 54 },
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

/* A packet's flow; `any` port or protocol for a later fragment, which follows its first one. */
struct tuple {
	int proto, port;
	bool any;
};

static bool allows(enum who pod, enum wr_direction direction, enum who peer, const struct tuple *t)
{
	for (const struct rule *r = rules; r < rules + RULES; r++)
		if (r->pod == pod && r->direction == direction && r->peer == peer &&
		    (t->any || !r->proto || (r->proto == t->proto && r->port == t->port)))
			return true;
	return false;
}

static uint64_t peer_number(enum who peer)
{
	return peer == POD_A ? PEER_IS_A : peer == POD_B ? PEER_IS_B : CIDR_WORLD;
}

static void policy_install(bool v6)
{
	const uint32_t ports = 1u << 16;

	for (const struct rule *r = rules; r < rules + RULES; r++)
		policy_allow(r->pod == POD_A ? CLASS_A : CLASS_B, r->direction, peer_number(r->peer), (uint8_t)r->proto,
			     (uint16_t)r->port, r->proto ? 16 : 0, WR_RULE_FIRST);
	for (enum wr_direction d = 0; d < WR_DIRECTIONS; d++) {
		policy_cidr(CLASS_A, d, WORLD, v6 ? 128 : 32, CIDR_WORLD, v6);
		class_set(CLASS_A, d, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO, ports);
		class_set(CLASS_B, d, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, ports);
	}
	identity_set_peer(IDENTITY_A, PEER_IS_A);
	identity_set_peer(IDENTITY_B, PEER_IS_B);
	endpoint_set_class(DEVICE_A, CLASS_A);
	endpoint_set_class(DEVICE_B, CLASS_B);
}

/* --- the headers, read again --- */

struct reading {
	bool good;             /* it can be parsed, up to the transport header's first bytes */
	bool v6, later, plain; /* plain: in one piece, without extensions, options or anything odd: TCP's SYN, UDP */
	bool error;            /* an ICMP error, `tuple` that of the packet it is about, sent back */
	size_t size, l4, end;  /* of the addresses; where in the frame */
	const uint8_t *source, *destination; /* of the flow; of an ICMP error, those of the packet in it, reversed */
	struct tuple tuple;
};

static bool is_extension(unsigned proto)
{
	return proto == 0 || proto == 43 || proto == 44 || proto == 60;
}

static bool has_ports(int proto)
{
	return proto == 6 || proto == 17 || proto == 132;
}

/* Extension headers, as far as they can be parsed; a packet with a routing header may not pass. */
static unsigned follow(const struct frame *f, struct reading *r, unsigned proto)
{
	for (int n = 0; n < 8 && is_extension(proto) && !r->later; n++) {
		const uint8_t *h = f->data + r->l4;
		const unsigned was = proto;

		if (was == 43 || r->l4 + 8 > r->end)
			return 256;
		proto = h[0];
		if (was == 44)
			r->later = read16(h + 2) & 0xfff8;
		r->l4 += was == 44 ? 8 : (h[1] + 1u) * 8;
	}
	return r->l4 <= r->end ? proto : 256;
}

/* The flow of the packet in an ICMP error. */
static void read_error(const struct frame *f, struct reading *r)
{
	const size_t at = r->l4 + 8, header = r->v6 ? 40 : 20;
	const uint8_t *ip = f->data + at;

	r->error = true;
	r->good = at + header + 8 <= r->end || (at + header <= r->end && !has_ports(ip[r->v6 ? 6 : 9]));
	if (!r->good)
		return;
	r->source = ip + (r->v6 ? 24 : 16);
	r->destination = ip + (r->v6 ? 8 : 12);
	r->tuple = (struct tuple){ .proto = ip[r->v6 ? 6 : 9] };
	if (has_ports(r->tuple.proto))
		r->tuple.port = (int)read16(ip + header);
}

static void read_l4(const struct frame *f, struct reading *r)
{
	const uint8_t *h = f->data + r->l4;
	const size_t len = r->end - r->l4;
	const int proto = r->tuple.proto;

	if (r->later) {
		r->tuple.any = true;
		return;
	}
	if (has_ports(proto)) {
		r->good = len >= 4;
		r->tuple.port = r->good ? (int)read16(h + 2) : 0;
		r->plain = r->plain && ((proto == 17 && len >= 8 && read16(h + 4) >= 8 && read16(h + 4) <= len) ||
					(proto == 6 && len >= 20 && h[12] == 0x50 && h[13] == SYN));
		return;
	}
	r->plain = false;
	if (len && proto == (r->v6 ? 58 : 1) && (r->v6 ? h[0] < 128 : strchr("\3\4\5\13\14", h[0]) && h[0]))
		read_error(f, r);
}

static struct reading read_packet(const struct frame *f)
{
	struct reading r = { 0 };
	const uint8_t *ip = f->data + 14;
	const unsigned type = read16(f->data + 12);
	unsigned proto;

	r.v6 = type == 0x86dd;
	r.size = r.v6 ? 16 : 4;
	r.l4 = 14 + (r.v6 ? 40u : 20u);
	if ((type != 0x0800 && !r.v6) || f->len < r.l4)
		return r;
	r.end = r.v6 ? 54 + read16(ip + 4) : 14 + read16(ip + 2);
	if (r.end > f->len || r.end < r.l4 || ip[0] >> 4 != (r.v6 ? 6 : 4) || (!r.v6 && ip[0] != 0x45) || (r.v6 && r.end == r.l4))
		return r;
	r.source = ip + (r.v6 ? 8 : 12);
	r.destination = ip + (r.v6 ? 24 : 16);
	proto = r.v6 ? ip[6] : ip[9];
	r.plain = r.v6 ? !is_extension(proto) : !(read16(ip + 6) & 0x3fff);
	r.later = !r.v6 && (read16(ip + 6) & 0x1fff);
	if (r.v6)
		proto = follow(f, &r, proto);
	r.good = proto < 256;
	r.tuple.proto = (int)proto;
	if (r.good)
		read_l4(f, &r);
	return r;
}

static bool is_who(const uint8_t *address, enum who who, bool v6)
{
	return !memcmp(address, who_address(who, v6), v6 ? 16 : 4);
}

/* --- from_pod --- */

static struct {
	unsigned passed, demanded;
	struct frame corpus[CORPUS];
	size_t count;
	bool of_v6[CORPUS];
} mutation;

static void fail_with(const struct frame *f, const char *what)
{
	for (size_t i = 0; i < f->len; i++)
		fprintf(stderr, "%02x", f->data[i]);
	fail_msg("\n%s", what);
}

static bool differs(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) != 0;
}

/* Unchanged but for the Ethernet header and the hop limit: an error in the IPv4 header's checksum stays the same. */
static void expect_forwarded(const struct frame *in, const struct run *r, bool v6)
{
	const uint8_t *a = in->data + 14, *b = r->out.data + 14;

	if (r->out.len != in->len || differs(r->out.data, mac_address(MAC_B), 6) || differs(r->out.data + 6, mac_address(MAC_HOST), 6) ||
	    differs(r->out.data + 12, in->data + 12, 2))
		fail_with(in, "another frame came out");
	if (v6 ? a[7] - 1 != b[7] || differs(a, b, 7) || differs(a + 8, b + 8, in->len - 22)
	       : a[8] - 1 != b[8] || differs(a, b, 8) || a[9] != b[9] || differs(a + 12, b + 12, in->len - 26))
		fail_with(in, "another packet came out");
	if (!v6 && sum16(0, a, 20) != sum16(0, b, 20))
		fail_with(in, "another checksum came out");
}

/* A packet that is neither dropped nor for the gateway. */
static bool may_leave(const struct reading *r, bool to_b)
{
	if (!r->good || !is_who(r->source, POD_A, r->v6))
		return false;
	if (to_b)
		return is_who(r->destination, POD_B, r->v6) && allows(POD_A, WR_EGRESS, POD_B, &r->tuple) &&
		       allows(POD_B, WR_INGRESS, POD_A, &r->tuple);
	return is_who(r->destination, WORLD, r->v6) && allows(POD_A, WR_EGRESS, WORLD, &r->tuple);
}

/* It is for the gateway: only such packets get a reply. */
static bool is_for_gateway(const struct frame *f, const struct reading *r)
{
	const unsigned type = read16(f->data + 12);

	if (type == 0x0806)
		return f->len >= 42 && !memcmp(f->data + 14 + 14, who_address(POD_A, false), 4) &&
		       !memcmp(f->data + 14 + 24, who_address(GW, false), 4);
	if (!r->source || !is_who(r->source, POD_A, r->v6))
		return false;
	return is_who(f->data + 14 + (r->v6 ? 24 : 16), GW, r->v6) ||
	       (r->v6 && f->data[14 + 24] == 0xff && f->len > 54 && f->data[54] == 135);
}

static void check_from_pod(const struct frame *in, const struct run *r)
{
	const struct reading reading = read_packet(in);
	const uint8_t nexthop = reading.good ? in->data[14 + (reading.v6 ? 7 : 8)] : 0;
	const bool demanded = reading.plain && reading.good && !memcmp(in->data, mac_address(MAC_HOST), 6) &&
			      !memcmp(in->data + 6, mac_address(MAC_A), 6) && (may_leave(&reading, true) || may_leave(&reading, false)) &&
			      !(reading.tuple.proto == 17 && reading.tuple.port == WR_TUNNEL_PORT);

	mutation.passed += r->verdict != DROP;
	mutation.demanded += demanded;
	if (r->verdict == DROP) {
		if (demanded)
			fail_with(in, "what policy allows was dropped");
		return;
	}
	if (differs(in->data + 6, mac_address(MAC_A), 6))
		fail_with(in, "a spoofed MAC address passed");
	if (r->verdict == REDIRECT && is_for_gateway(in, &reading)) {
		if (differs(r->out.data, mac_address(MAC_A), 6))
			fail_with(in, "a reply for another receiver");
		return;
	}
	if (r->verdict == REDIRECT) {
		if (!may_leave(&reading, true) || nexthop <= 1)
			fail_with(in, "a denied packet passed to a pod");
		expect_forwarded(in, r, reading.v6);
		return;
	}
	if (r->verdict != PASS || !(r->mark & MARK_POD))
		fail_with(in, "to the stack without a mark");
	if (!may_leave(&reading, false) && !(nexthop <= 1 && may_leave(&reading, true)))
		fail_with(in, "a denied packet passed to the stack");
	if (r->out.len != in->len || differs(r->out.data, in->data, in->len))
		fail_with(in, "another packet went to the stack");
}

/* --- to_pod --- */

/*
 * The peer is determined by the device where it entered; A's policy sees its source in a block, B's in none. An error comes
 * from any router, about any flow that may exist.
 */
static bool may_arrive(const struct reading *r, enum device entered)
{
	const bool world = r->source && is_who(r->source, WORLD, r->v6) && allows(POD_A, WR_INGRESS, WORLD, &r->tuple);
	const bool pod = allows(POD_B, WR_EGRESS, POD_A, &r->tuple) && (allows(POD_A, WR_INGRESS, POD_B, &r->tuple) || world);

	if (!r->good || !is_who(r->destination, POD_A, r->v6))
		return false;
	if (entered == NO_DEVICE)
		return true;
	if (r->error)
		return world || pod;
	return entered == DEVICE_UPLINK ? world : pod;
}

static void check_to_pod(const struct frame *in, const struct run *r)
{
	const struct reading reading = read_packet(in);
	const uint8_t *source = in->data + 14 + (reading.v6 ? 8 : 12);

	mutation.passed += r->verdict != DROP;
	if (r->verdict == DROP) {
		const bool pods = reading.good && (is_who(source, POD_A, reading.v6) || is_who(source, POD_B, reading.v6));
		const bool demanded = reading.plain && !pods && may_arrive(&reading, r->entered);

		mutation.demanded += demanded;
		if (demanded)
			fail_with(in, "what policy allows was dropped");
		return;
	}
	if (!may_arrive(&reading, r->entered))
		fail_with(in, "what policy forbids arrived");
	if (r->entered != NO_DEVICE && (is_who(source, POD_A, reading.v6) || (r->entered != DEVICE_B && is_who(source, POD_B, reading.v6))))
		fail_with(in, "a pod's address arrived from elsewhere");
	if (r->verdict != PASS || r->out.len != in->len || differs(r->out.data, in->data, in->len))
		fail_with(in, "another packet arrived");
}

/* --- mutation --- */

/* Random damage seldom makes another good packet, so addresses and ports of the lab are put in. */
static void frame_turn(struct frame *f, bool v6)
{
	static const enum who whos[] = { POD_A, POD_B, WORLD, WORLD_NEAR, HOST, GW, METADATA, NODE_C, POD_C };
	static const unsigned ports[] = { 80, 81, 53, 54, 5353, 5000, 6081, 40000 };
	const size_t at = 14 + (v6 ? 8u : 12u), size = v6 ? 16 : 4, l4 = 14 + (v6 ? 40u : 20u);

	if (f->len >= l4 && !random_below(8))
		memcpy(f->data + at, who_address(whos[random_below(sizeof(whos) / sizeof(*whos))], v6), size);
	if (f->len >= l4 && !random_below(3))
		memcpy(f->data + at + size, who_address(whos[random_below(sizeof(whos) / sizeof(*whos))], v6), size);
	if (f->len >= l4 + 20 && !random_below(3))
		put16(f->data + l4 + 2, ports[random_below(sizeof(ports) / sizeof(*ports))]);
	if (f->len >= l4 + 20 && !random_below(6))
		put16(f->data + l4, ports[random_below(sizeof(ports) / sizeof(*ports))]);
	if (f->len >= l4 + 20 && !random_below(4))
		f->data[l4 + 13] = (uint8_t)random_below(2) ? SYN : (uint8_t)random_below(64);
}

static void corpus_fill(enum program program)
{
	struct row_case c = { .program = program };

	mutation.count = 0;
	while (row_next(&c) && mutation.count < CORPUS) {
		row_in(&c, &mutation.corpus[mutation.count]);
		mutation.of_v6[mutation.count++] = c.v6;
	}
}

/* `host`: to_pod gets packets of the host itself, which skip A's policy; else packets of others. */
static void mutate(enum program program, unsigned packets, bool host)
{
	static const enum device entered[] = { DEVICE_B, DEVICE_UPLINK };
	unsigned n;

	mutation.passed = mutation.demanded = 0;
	random_start((uint64_t)program * 2 + host);
	corpus_fill(program);
	node_reset(0, false);
	policy_install(false);
	policy_install(true);
	for (n = 0; n < packets; n++) {
		static struct run r;
		static struct frame f;
		const size_t of = random_below((uint32_t)mutation.count);

		f.len = mutation.corpus[of].len;
		memcpy(f.data, mutation.corpus[of].data, f.len);
		frame_turn(&f, mutation.of_v6[of]);
		if (random_below(4))
			frame_damage(&f);
		if (!frame_runnable(&f))
			continue;
		r.program = program;
		r.on = DEVICE_A;
		r.mark_in = 0;
		memset(r.cb, 0, sizeof(r.cb));
		r.entered = program == TO_POD && !host ? entered[random_below(2)] : NO_DEVICE;
		run_quietly(&r, &f);
		(program == FROM_POD ? check_from_pod : check_to_pod)(&f, &r);
	}
	events_drain(NULL);
	print_message("%s: %u mutated packets, %u passed\n", program_name(program), n, mutation.passed);
	assert_true(mutation.passed > n / 1000);
}

static void test_mutations_from_pod(void **state)
{
	(void)state;
	mutate(FROM_POD, random_rounds(PACKETS), false);
	assert_true(mutation.demanded > 0);
}

static void test_mutations_to_pod(void **state)
{
	(void)state;
	mutate(TO_POD, random_rounds(PACKETS), false);
	mutate(TO_POD, random_rounds(PACKETS / 10), true);
}

int run_mutation_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutations_from_pod),
		cmocka_unit_test(test_mutations_to_pod),
	};

	return cmocka_run_group_tests_name("bpf_mutation", tests, harness_setup, NULL);
}
