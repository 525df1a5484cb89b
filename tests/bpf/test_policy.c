/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verdicts of a class, by the real programs: rows of entries, a peer and a packet; and random classes, whose verdicts must
 * equal those of policy_lookup(), which the compiler's tests and `warren policy why` use.
 */
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "cases.h"
#include "damage.h"
#include "expect.h"
#include "lookup.h"
#include "state.h"

#define CLASS 100
#define PEER 50
#define OTHER 51
#define CIDR (WR_PEER_CIDR | 60)
#define RULE (WR_RULE_FIRST + 7)

/* A's peer. */
enum peer_kind { A_POD, THE_HOST, THE_WORLD };

struct entry {
	uint64_t peer;
	uint8_t l4_proto;
	uint8_t port_bits;
	uint16_t port;
	uint32_t rule;
};

struct cidr {
	enum who who;
	uint8_t bits[2]; /* IPv4, IPv6; 0: of no length; 0xff: none of that family */
	uint64_t peer;
};

#define ENTRIES 4
struct verdict_row {
	const char *name;
	uint32_t flags;          /* of the class; 0: by its entries, isolated */
	uint64_t peer_class;     /* of the other pod's identity; 0: not in `identities` */
	struct entry entries[ENTRIES]; /* end with rule 0 */
	struct cidr cidrs[ENTRIES];    /* end with peer 0 */
	enum peer_kind kind;
	enum who world;          /* THE_WORLD: default WORLD */
	struct layer l4;
	uint32_t rule;           /* expected: that of an entry, or enum wr_rule */
};

#define IN_CIDR { WORLD, { 24, 64 }, CIDR }
#define ISOLATED WR_CLASS_ISOLATED
static const struct verdict_row verdict_rows[] = {
	{ "nothing is allowed", .l4 = TCP(), .rule = WR_RULE_NONE },
	{ "by peer class", .peer_class = PEER, .entries = { { PEER, 0, 0, 0, RULE } }, .l4 = TCP(), .rule = RULE },
	{ "another peer class", .peer_class = OTHER, .entries = { { PEER, 0, 0, 0, RULE } }, .l4 = TCP() },
	{ "an unknown identity", .entries = { { PEER, 0, 0, 0, RULE } }, .l4 = TCP() },
	{ "any peer: a pod", .entries = { { WR_PEER_ANY, 0, 0, 0, RULE } }, .l4 = TCP(), .rule = RULE },
	{ "any peer: the world", .kind = THE_WORLD, .entries = { { WR_PEER_ANY, 0, 0, 0, RULE } }, .l4 = UDP(), .rule = RULE },
	{ "all pods: a pod", .entries = { { WR_PEER_ALL_PODS, 0, 0, 0, RULE } }, .l4 = TCP(), .rule = RULE },
	{ "all pods: the world", .kind = THE_WORLD, .entries = { { WR_PEER_ALL_PODS, 0, 0, 0, RULE } }, .l4 = TCP() },
	{ "a block: the world", .kind = THE_WORLD, .entries = { { CIDR, 0, 0, 0, RULE } }, .cidrs = { IN_CIDR }, .l4 = TCP(),
	  .rule = RULE },
	{ "a block: outside of it", .kind = THE_WORLD, .world = WORLD_FAR, .entries = { { CIDR, 0, 0, 0, RULE } },
	  .cidrs = { IN_CIDR }, .l4 = TCP() },
	{ "a block of everything", .kind = THE_WORLD, .entries = { { CIDR, 0, 0, 0, RULE } },
	  .cidrs = { { WORLD_FAR, { 0, 0 }, CIDR } }, .l4 = TCP(), .rule = RULE },
	{ "a block: a pod", .entries = { { CIDR, 0, 0, 0, RULE } }, .cidrs = { { POD_B, { 32, 128 }, CIDR } }, .l4 = TCP(),
	  .rule = RULE },
	{ "a block with an except: in it", .kind = THE_WORLD, .entries = { { CIDR, 0, 0, 0, RULE } },
	  .cidrs = { IN_CIDR, { WORLD, { 32, 128 }, WR_PEER_NONE } }, .l4 = TCP() },
	{ "a block with an except: beside it", .kind = THE_WORLD, .world = WORLD_NEAR, .entries = { { CIDR, 0, 0, 0, RULE } },
	  .cidrs = { IN_CIDR, { WORLD, { 32, 128 }, WR_PEER_NONE } }, .l4 = TCP(), .rule = RULE },
	{ "an except does not take a selector's allow away", .peer_class = PEER, .entries = { { PEER, 0, 0, 0, RULE } },
	  .cidrs = { { POD_B, { 32, 128 }, WR_PEER_NONE } }, .l4 = TCP(), .rule = RULE },
	{ "block or selector: the block", .peer_class = PEER, .entries = { { PEER, 6, 16, 81, RULE }, { CIDR, 6, 16, 80, RULE + 1 } },
	  .cidrs = { { POD_B, { 32, 128 }, CIDR } }, .l4 = TCP(), .rule = RULE + 1 },
	{ "block or selector: the selector", .peer_class = PEER,
	  .entries = { { PEER, 6, 16, 80, RULE }, { CIDR, 6, 16, 81, RULE + 1 } },
	  .cidrs = { { POD_B, { 32, 128 }, CIDR } }, .l4 = TCP(), .rule = RULE },
	{ "the prefixes of the other direction or class do not count", .flags = ISOLATED | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO,
	  .kind = THE_WORLD, .entries = { { CIDR, 0, 0, 0, RULE } }, .l4 = TCP() },
	{ "a protocol, all its ports", .entries = { { WR_PEER_ANY, 6, 0, 0, RULE } }, .l4 = TCP(), .rule = RULE },
	{ "another protocol", .entries = { { WR_PEER_ANY, 17, 0, 0, RULE } }, .l4 = TCP() },
	{ "sctp", .entries = { { WR_PEER_ANY, 132, 16, 5000, RULE } }, .l4 = SCTP(), .rule = RULE },
	{ "a port", .entries = { { WR_PEER_ANY, 17, 16, 53, RULE } }, .l4 = UDP(), .rule = RULE },
	{ "another port", .entries = { { WR_PEER_ANY, 17, 16, 54, RULE } }, .l4 = UDP() },
	{ "the source port does not matter", .entries = { { WR_PEER_ANY, 17, 16, 40000, RULE } }, .l4 = UDP() },
	{ "icmp by a rule without ports", .entries = { { WR_PEER_ANY, 0, 0, 0, RULE } }, .l4 = ICMP(), .rule = RULE },
	{ "icmp by no other", .entries = { { WR_PEER_ANY, 6, 0, 0, RULE }, { WR_PEER_ANY, 17, 0, 0, RULE } }, .l4 = ICMP() },
	{ "not isolated in this direction", .flags = WR_CLASS_ANY_PEER, .l4 = TCP(), .rule = WR_RULE_NOT_ISOLATED },
	{ "no room", .flags = ISOLATED | WR_CLASS_NO_ROOM | WR_CLASS_ANY_PEER | WR_CLASS_ANY_PROTO,
	  .entries = { { WR_PEER_ANY, 0, 0, 0, RULE } }, .l4 = TCP(), .rule = WR_RULE_NO_ROOM },
	{ 0 },
};

/* --- one verdict --- */

static uint32_t flags_of(const struct verdict_row *row)
{
	uint32_t flags = ISOLATED;

	for (const struct entry *e = row->entries; e < row->entries + ENTRIES && e->rule; e++) {
		flags |= e->peer == WR_PEER_ANY ? WR_CLASS_ANY_PEER : e->peer == WR_PEER_ALL_PODS ? WR_CLASS_ALL_PODS : 0;
		flags |= e->peer & WR_PEER_CIDR || e->peer < WR_PEER_FIRST ? 0 : WR_CLASS_SELECTORS;
		flags |= e->l4_proto ? 0 : WR_CLASS_ANY_PROTO;
	}
	return flags | (row->cidrs[0].peer ? WR_CLASS_CIDRS : 0);
}

static void row_install(const struct verdict_row *row, enum wr_direction direction, bool v6)
{
	uint32_t bits = 0;

	for (const struct entry *e = row->entries; e < row->entries + ENTRIES && e->rule; e++) {
		policy_allow(CLASS, direction, e->peer, e->l4_proto, e->port, e->port_bits, e->rule);
		/* In no other direction, and in no other class. */
		bits |= e->l4_proto ? 1u << e->port_bits : 0;
	}
	for (const struct cidr *c = row->cidrs; c < row->cidrs + ENTRIES && c->peer; c++)
		policy_cidr(CLASS, direction, c->who, c->bits[v6], c->peer, v6);
	policy_cidr(CLASS + 1, direction, WORLD, 0, CIDR, v6);
	policy_cidr(CLASS, !direction, WORLD, 0, CIDR, v6);
	if (row->peer_class)
		identity_set_peer(IDENTITY_B, row->peer_class);
	class_set(CLASS, direction, row->flags ? row->flags : flags_of(row), bits);
	/* The other direction lets everything pass. */
	class_set(CLASS, !direction, 0, 0);
	endpoint_set_class(DEVICE_A, CLASS);
}

/* The flow's first packet, and the program that evaluates it. */
static void row_packet(const struct verdict_row *row, enum wr_direction direction, bool v6, struct run *r, struct frame *f)
{
	static const enum who whos[] = { [A_POD] = POD_B, [THE_HOST] = HOST };
	static const enum device entered[] = { [A_POD] = DEVICE_B, [THE_HOST] = NO_DEVICE, [THE_WORLD] = DEVICE_UPLINK };
	enum who who = row->kind == THE_WORLD ? (row->world ? row->world : WORLD) : whos[row->kind];
	struct layer out[] = { ETH(), IP(.dst = who), row->l4, { 0 } };
	struct layer in[] = { ETH(), IP(.src = who), row->l4, { 0 } };

	if (row->l4.kind == L_TCP)
		out[2].flags = in[2].flags = SYN;
	*r = (struct run){ .program = FROM_POD, .on = DEVICE_A };
	if (direction == WR_EGRESS) {
		frame_build(f, out, &defaults_from_pod, v6);
	} else if (row->kind == A_POD) {
		r->on = DEVICE_B;
		in[1].dst = POD_A;
		frame_build(f, in, &defaults_from_b, v6);
	} else {
		r->program = TO_POD;
		r->entered = entered[row->kind];
		frame_build(f, in, &defaults_to_pod, v6);
	}
}

static bool rule_allows(uint32_t rule)
{
	return rule >= WR_RULE_FIRST || rule == WR_RULE_NOT_ISOLATED || rule == WR_RULE_OWN_NODE;
}

static enum wr_reason denial_of(enum wr_direction direction, uint32_t rule)
{
	if (rule == WR_RULE_QUARANTINE)
		return WR_REASON_QUARANTINE;
	return direction == WR_EGRESS ? WR_REASON_EGRESS_DENIED : WR_REASON_INGRESS_DENIED;
}

/* Program and dry run give the same verdict, and the event reports it. */
static void expect_rule(struct run *r, const struct frame *in, enum wr_direction direction, uint32_t rule)
{
	struct wr_trace trace;
	int dry = run_dry(r, in, &trace);
	const struct wr_trace_verdict *j = &trace.verdict[direction];

	run_program(r, in);
	assert_int_equal(r->events, 1);
	assert_true(r->event.evaluated >> direction & 1);
	assert_int_equal(r->event.rule[direction], rule);
	assert_int_equal(r->event.policy_class[direction], CLASS);
	if (rule_allows(rule)) {
		assert_int_not_equal(r->verdict, reason_verdict(WR_REASON_EGRESS_DENIED));
		assert_false(reason_drops(r->event.reason));
	} else {
		assert_int_equal(r->verdict, reason_verdict(WR_REASON_EGRESS_DENIED));
		assert_int_equal(r->event.reason, denial_of(direction, rule));
	}
	assert_int_equal(dry, r->verdict);
	assert_int_equal(trace.reason, r->event.reason);
	assert_true(trace.steps & (direction == WR_EGRESS ? WR_TRACE_EVALUATED_EGRESS : WR_TRACE_EVALUATED_INGRESS));
	assert_int_equal(j->rule, rule);
	assert_int_equal(j->allowed, rule_allows(rule));
	assert_int_equal(j->policy_class, CLASS);
	assert_int_equal(j->revision, endpoint_revision(DEVICE_A));
	assert_true(j->peer_identity == r->event.peer_identity || direction == WR_INGRESS);
}

struct verdict_test {
	const struct verdict_row *row;
	enum wr_direction direction;
	bool v6;
};

static void test_verdict(void **state)
{
	const struct verdict_test *t = *state;
	struct run r;
	struct frame in;

	node_reset(0, t->v6);
	row_install(t->row, t->direction, t->v6);
	row_packet(t->row, t->direction, t->v6, &r, &in);
	expect_rule(&r, &in, t->direction, t->row->rule);
}

/* Each port prefix length: the ports at its ends are in, those beside them are not. */
static void port_prefix(enum wr_direction direction, unsigned bits, bool v6)
{
	const uint16_t first = 0x6a35 & ~(0xffffu >> bits), last = first | 0xffffu >> bits;
	const unsigned ports[] = { first, last, first - 1u, last + 1u };
	struct verdict_row row = { .entries = { { WR_PEER_ANY, IPPROTO_UDP, bits, first, RULE } }, .l4 = UDP() };
	struct frame in;
	struct run r;

	for (int i = 0; i < 4; i++) {
		if (ports[i] > 0xffff)
			continue;
		node_reset(0, v6);
		row_install(&row, direction, v6);
		row.l4.dport = V((int)ports[i]);
		row_packet(&row, direction, v6, &r, &in);
		expect_rule(&r, &in, direction, i < 2 ? RULE : WR_RULE_NONE);
	}
}

static void test_port_prefixes(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits <= 16; bits++)
		for (int direction = 0; direction < WR_DIRECTIONS; direction++)
			for (int v6 = 0; v6 < 2; v6++)
				port_prefix(direction, bits, v6);
}

/* --- random classes --- */

static int look_class(void *arg, uint32_t policy_class, struct wr_class_info *info)
{
	return bpf_map_lookup_elem(map_fd("classes"), &policy_class, info);
}

static int look_identity(void *arg, uint64_t identity, uint64_t *peer)
{
	struct wr_peer value;
	int r = bpf_map_lookup_elem(map_fd("identities"), &identity, &value);

	if (r == 0)
		*peer = value.peer;
	return r;
}

static int look_cidr(void *arg, uint32_t policy_class, uint32_t direction, const struct ip *ip, uint64_t *peer)
{
	const uint32_t class_direction = wr_cidr_class(policy_class, direction);
	struct wr_cidr4_key k4 = { .prefixlen = WR_CIDR_CLASS_BITS + 32, .class_direction = class_direction };
	struct wr_cidr6_key k6 = { .prefixlen = WR_CIDR_CLASS_BITS + 128, .class_direction = class_direction };
	bool v6 = ip->family == AF_INET6;
	struct wr_peer value;
	int r;

	memcpy(v6 ? (void *)&k6.addr : &k4.addr, ip->bytes, v6 ? 16 : 4);
	r = bpf_map_lookup_elem(map_fd(v6 ? "cidrs6" : "cidrs4"), v6 ? (void *)&k6 : &k4, &value);
	if (r == 0)
		*peer = value.peer;
	return r;
}

static int look_entry(void *arg, const struct wr_policy_key *key, uint32_t *rule)
{
	struct wr_policy_entry entry;
	int r = bpf_map_lookup_elem(map_fd("policy"), key, &entry);

	if (r == 0)
		*rule = entry.rule;
	return r;
}

static const uint64_t some_peers[] = { WR_PEER_ANY, WR_PEER_ALL_PODS, PEER, OTHER, CIDR, CIDR + 1 };
static const uint8_t some_protocols[] = { 0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
static const struct layer some_l4[] = { TCP(), UDP(), SCTP(), ICMP(), RAW(.proto = 47, .n = 4) };
static const int some_numbers[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP, 47 };

static void random_row(struct verdict_row *row)
{
	static const enum who whos[] = { WORLD, WORLD_NEAR, WORLD_FAR, POD_B, HOST };
	unsigned entries = random_below(ENTRIES + 1), cidrs = random_below(ENTRIES + 1);

	memset(row, 0, sizeof(*row));
	for (unsigned i = 0; i < entries; i++) {
		struct entry *e = &row->entries[i];

		e->peer = some_peers[random_below(6)];
		e->l4_proto = some_protocols[random_below(4)];
		e->port_bits = e->l4_proto ? random_below(17) : 0;
		e->port = (random_below(4) ? 80 : random_below(65536)) & ~(0xffffu >> e->port_bits);
		e->rule = RULE + i;
	}
	for (unsigned i = 0; i < cidrs; i++)
		row->cidrs[i] = (struct cidr){ whos[random_below(5)],
					       { random_below(33), random_below(129) },
					       random_below(3) ? CIDR + random_below(2) : WR_PEER_NONE };
	row->peer_class = random_below(3) ? (uint64_t)PEER + random_below(2) : 0;
	row->kind = random_below(3);
	row->world = whos[random_below(3)];
	if (!random_below(10))
		row->flags = random_below(1u << 7);
}

static uint32_t lookup_rule(const struct verdict_row *row, enum wr_direction direction, bool v6, unsigned l4)
{
	const struct lookup_tables maps = { look_class, look_identity, look_cidr, look_entry, NULL };
	static const uint64_t identities[] = { [A_POD] = IDENTITY_B, [THE_HOST] = WR_ID_HOST, [THE_WORLD] = WR_ID_WORLD };
	static const enum who whos[] = { [A_POD] = POD_B, [THE_HOST] = HOST };
	struct lookup_query q = { .policy_class = CLASS,
				  .direction = direction,
				  .peer_identity = identities[row->kind],
				  .peer_ip = { .family = v6 ? AF_INET6 : AF_INET },
				  .protocol = l4 == 3 && v6 ? IPPROTO_ICMPV6 : some_numbers[l4],
				  .port = l4 < 3 ? row->l4.dport : 0 };
	struct lookup_result result;

	memcpy(q.peer_ip.bytes, who_address(row->kind == THE_WORLD ? row->world : whos[row->kind], v6), v6 ? 16 : 4);
	policy_lookup(&maps, &q, &result);
	return result.rule;
}

static void test_random_classes(void **state)
{
	enum { ROUNDS = 3000 };
	const unsigned most = random_rounds(ROUNDS);
	unsigned rounds, allowed = 0;
	struct verdict_row row;
	struct frame in;
	struct run r;

	(void)state;
	for (rounds = 0; rounds < most; rounds++) {
		const unsigned i = rounds;
		bool v6 = i & 1;
		enum wr_direction direction = i >> 1 & 1;
		unsigned l4;
		uint32_t rule;

		random_start(i);
		random_row(&row);
		l4 = random_below(5);
		row.l4 = some_l4[l4];
		row.l4.dport = random_below(3) ? 80 : 1 + random_below(65535);
		node_reset(0, v6);
		row_install(&row, direction, v6);
		row_packet(&row, direction, v6, &r, &in);
		rule = lookup_rule(&row, direction, v6, l4);
		allowed += rule_allows(rule);
		print_message("round %u\n", i);
		expect_rule(&r, &in, direction, rule);
	}
	/* Allow and deny both happen often enough. */
	assert_in_range(allowed, rounds / 10, rounds * 9 / 10);
}

int run_policy_tests(void)
{
	struct cases cases = { 0 };

	for (const struct verdict_row *row = verdict_rows; row->name; row++)
		for (int i = 0; i < 4; i++) {
			const struct verdict_test t = { .row = row, .direction = i >> 1, .v6 = i & 1 };

			case_add(&cases, test_verdict, &t, sizeof(t), "%s v%d: %s", i >> 1 ? "ingress" : "egress", t.v6 ? 6 : 4,
				 row->name);
		}
	case_add(&cases, test_port_prefixes, NULL, 0, "test_port_prefixes");
	case_add(&cases, test_random_classes, NULL, 0, "test_random_classes");
	return cases_run(&cases, "bpf_policy", harness_setup);
}
