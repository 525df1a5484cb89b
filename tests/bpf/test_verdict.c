/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The verdict cache compares whole keys. Release 0.1.0 compared a hash, which gave each TCP flow over IPv4 one UDP
 * partner with the same slot and tag, whatever the secret was: 200 of 200 partners were let through in each direction,
 * under a policy that allows TCP only.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bytes.h"
#include "damage.h"
#include "expect.h"
#include "state.h"

enum { CLASS = 16, RECEIVED = 1 << 8, SET_BITS = 14, SETS = 1 << SET_BITS, SLOT = 64 };

/* A flow from or to A as in a packet: ports and address in network byte order. */
struct tuple {
	uint16_t sport, dport;
	uint32_t far[4];
	uint8_t l4_proto;
};

/* --- packets --- */

static const struct layer sent_tcp[] = { ETH(), IP(.dst = POD_C), TCP(), { 0 } },
			  sent_udp[] = { ETH(), IP(.dst = POD_C), UDP(), { 0 } };
#define FROM_NODE_C                                                                                                    \
	ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),                                                          \
	    UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),                                     \
	    OPT(.n = 8, .identity = IDENTITY_C), ETH(), IP(.src = POD_C, .dst = POD_A)
static const struct layer got_tcp[] = { FROM_NODE_C, TCP(), { 0 } }, got_udp[] = { FROM_NODE_C, UDP(), { 0 } };

struct sample {
	struct frame tcp, udp;
	size_t l4, far;
};

static struct sample sample_make(bool received, bool v6)
{
	struct sample s;
	const size_t inner = 14 + (received ? 20 + 8 + 8 + 12 + 14 : 0);

	frame_build_over(&s.tcp, received ? got_tcp : sent_tcp, received ? &defaults_from_uplink : &defaults_from_pod,
			 v6, false);
	frame_build_over(&s.udp, received ? got_udp : sent_udp, received ? &defaults_from_uplink : &defaults_from_pod,
			 v6, false);
	s.l4 = inner + (v6 ? 40 : 20);
	s.far = inner + (received ? (v6 ? 8 : 12) : (v6 ? 24 : 16));
	return s;
}

/* Whether A's packet passes, or the one for A. */
static bool passes(const struct sample *s, bool received, const struct tuple *t, unsigned flags, bool v6)
{
	struct run r = { .program = received ? FROM_UPLINK : FROM_POD, .on = received ? DEVICE_UPLINK : DEVICE_A };
	struct frame f = t->l4_proto == IPPROTO_TCP ? s->tcp : s->udp;

	memcpy(f.data + s->l4, &t->sport, 2);
	memcpy(f.data + s->l4 + 2, &t->dport, 2);
	memcpy(f.data + s->far, t->far, v6 ? 16 : 4);
	if (t->l4_proto == IPPROTO_TCP)
		f.data[s->l4 + 13] = flags;
	run_quietly(&r, &f);
	return r.verdict != reason_verdict(WR_REASON_EGRESS_DENIED);
}

/* A may begin TCP connections to port 80 of C's pods, and nothing else. */
static void prepare(bool v6)
{
	node_reset(0, v6);
	identity_set_peer(IDENTITY_C, WR_PEER_FIRST);
	for (int d = 0; d < WR_DIRECTIONS; d++)
		class_set(CLASS, d, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, 1u << 16);
	policy_allow(CLASS, WR_EGRESS, WR_PEER_FIRST, IPPROTO_TCP, 80, 16, WR_RULE_FIRST);
	endpoint_set_class(DEVICE_A, CLASS);
	cluster_put(NODE, POD_A, 0);
	node_put(SLOT_C, 0);
	ipcache_put(POD_C, IDENTITY_C);
}

static struct tuple reversed(struct tuple t)
{
	const uint16_t port = t.sport;

	t.sport = t.dport;
	t.dport = port;
	return t;
}

/* Both directions of the connection are in the cache. */
static void fill(const struct sample *out, const struct sample *in, struct tuple t, bool v6)
{
	const struct tuple back = reversed(t);

	assert_true(passes(out, false, &t, SYN, v6));
	assert_true(passes(in, true, &back, SYN | ACK, v6));
	/* The first one establishes the connection. */
	assert_true(passes(out, false, &t, ACK, v6));
	assert_true(passes(out, false, &t, ACK, v6));
	assert_true(passes(in, true, &back, ACK, v6));
}

static struct tuple connection(unsigned port, bool v6)
{
	struct tuple t = { .sport = htons(port), .dport = htons(80), .l4_proto = IPPROTO_TCP };

	memcpy(t.far, who_address(POD_C, v6), v6 ? 16 : 4);
	return t;
}

/* --- where a flow is, as bpf/lib/verdict_cache.h computes it --- */

static uint64_t nh(const struct verdict_secret *s, uint32_t a, uint32_t b, int n)
{
	return (uint64_t)(uint32_t)(a + s->nh[n]) * (uint32_t)(b + s->nh[n + 1]);
}

static uint32_t set_of(const struct verdict_secret *s, const struct tuple *t, bool received, bool v6)
{
	const uint32_t *w = t->far;
	uint64_t h = nh(s, device_ifindex(DEVICE_A), t->l4_proto | (received ? RECEIVED : 0), 0) +
		     nh(s, t->sport | (uint32_t)t->dport << 16, w[0], 2);

	if (v6)
		h += nh(s, w[1], w[2], 4) + nh(s, w[3], 0, 6);
	return (h + s->seed) * 0x9e3779b97f4a7c15ull >> (64 - SET_BITS);
}

/* The slots of a set, mapped for good. */
static uint8_t *set_at(uint32_t set, bool v6)
{
	static uint8_t *all[2];
	const size_t size = (v6 ? 4 : 2) * SLOT;

	if (!all[v6])
		all[v6] = mmap(NULL, SETS * size, PROT_READ | PROT_WRITE, MAP_SHARED,
			       map_fd(v6 ? "verdicts6" : "verdicts4"), 0);
	if (all[v6] == MAP_FAILED)
		fail_msg("verdicts: %m");
	return all[v6] + set * size;
}

/* Whether the set has a verdict between those ports. */
static bool set_holds(const uint8_t *set, const struct tuple *t)
{
	const uint32_t ports = t->sport | (uint32_t)t->dport << 16;

	return !memcmp(set + 12, &ports, sizeof(ports)) || !memcmp(set + SLOT + 12, &ports, sizeof(ports));
}

/* --- other flows --- */

/* The flow but for one field or several, to or from an address of the same node. No policy allows it, nor does an
 * entry. */
static struct tuple other(struct tuple t, bool v6)
{
	const struct tuple flow = t;
	const unsigned how = random_below(15) + 1;
	uint8_t *last = (uint8_t *)t.far + (v6 ? 15 : 3);

	if (how & 1)
		t.sport = htons(1024 + random_below(30000));
	if (how & 2)
		t.dport = htons(1024 + random_below(30000));
	if (how & 4)
		*last = *last == 200 ? 2 : 200 - random_below(100);
	if (how & 8)
		t.l4_proto = IPPROTO_UDP;
	assert_true(t.sport != flow.sport || t.dport != flow.dport || t.l4_proto != flow.l4_proto ||
		    memcmp(t.far, flow.far, sizeof(t.far)) != 0);
	return t;
}

/* Flows that differ in any field, wherever they are in the cache. */
static void nothing_else_passes(bool received, bool v6)
{
	enum { PACKETS = 100000, FILLS = 64 };
	const int packets = (int)random_rounds(PACKETS);
	const struct sample out = sample_make(false, v6), in = sample_make(true, v6);
	struct tuple t, u;

	prepare(v6);
	random_start(received * 2 + v6);
	for (int i = 0; i < packets; i++) {
		t = connection(40000 + i / 500 % FILLS, v6);
		if (i % 500 == 0)
			fill(&out, &in, t, v6);
		u = other(received ? reversed(t) : t, v6);
		if (passes(received ? &in : &out, received, &u, 0, v6))
			fail_msg("protocol %u from port %u to %u passes", u.l4_proto, ntohs(u.sport), ntohs(u.dport));
	}
}

static void test_near_collisions(void **state)
{
	(void)state;
	for (int n = 0; n < 4; n++)
		nothing_else_passes(n & 1, n & 2);
}

/*
 * Flows that share a set: the flow's set is copied to the set of another packet, as if both hashed to the
 * same, and the packet is sent. The flow's other direction is among them: only the device differs.
 */
static void only_the_flow_passes(bool received, bool v6)
{
	enum { FLOWS = 100, OTHERS = 20 };
	const struct verdict_secret secret = harness_secret();
	const struct sample out = sample_make(false, v6), in = sample_make(true, v6);

	prepare(v6);
	random_start(4 + received * 2 + v6);
	for (int i = 0; i < FLOWS; i++) {
		const struct tuple t = connection(40000 + i, v6), flow = received ? reversed(t) : t;
		uint8_t *set = set_at(set_of(&secret, &flow, received, v6), v6);
		uint8_t own[2 * SLOT];

		memset(set, 0, sizeof(own)); /* two live ones are not displaced at once */
		fill(&out, &in, t, v6);
		assert_true(set_holds(set, &flow));
		memcpy(own, set, sizeof(own));
		for (int n = 0; n < OTHERS; n++) {
			const bool turned = n == 0;
			const struct tuple u = turned ? flow : other(flow, v6);

			uint8_t *others = set_at(set_of(&secret, &u, received ^ turned, v6), v6);

			memcpy(others, own, sizeof(own));
			assert_false(passes(received ^ turned ? &in : &out, received ^ turned, &u, ACK, v6));
			if (others != set)
				memset(others, 0, sizeof(own));
			assert_true(passes(received ? &in : &out, received, &flow, ACK, v6));
		}
	}
}

static void test_same_set(void **state)
{
	(void)state;
	for (int n = 0; n < 4; n++)
		only_the_flow_passes(n & 1, n & 2);
}

/* --- two processors --- */

static struct {
	struct frame frame[2];
	uint32_t node[2]; /* where each must go */
	atomic_uint wrong, runs;
} race;

static void pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Two flows between the same ports in turn, to pods of two nodes: both are for the same slot. */
static void *race_run(void *arg)
{
	const unsigned rounds = random_rounds(2000000);
	const int fd = program_fd(FROM_POD);
	uint8_t out[FRAME_MAX];

	pin((int)(intptr_t)arg);
	for (unsigned i = 0; i < rounds && !race.wrong; i++) {
		struct __sk_buff ctx = { .ifindex = device_ifindex(DEVICE_A) };
		const unsigned n = i & 1;
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = race.frame[n].data, .data_size_in = race.frame[n].len,
			    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
			    .repeat = 1);

		if (bpf_prog_test_run_opts(fd, &opts))
			break;
		race.runs++;
		/* The outer destination. */
		race.wrong += memcmp(out + 30, &race.node[n], 4) != 0;
	}
	return NULL;
}

static void test_torn(void **state)
{
	const struct verdict_secret secret = harness_secret();
	const struct sample out = sample_make(false, false);
	struct tuple t = connection(40000, false), u = t;
	pthread_t threads[2];
	cpu_set_t was;

	(void)state;
	sched_getaffinity(0, sizeof(was), &was);
	node_reset(0, false);
	cluster_put(NODE, POD_A, 0);
	node_put(SLOT_C, 0);
	node_put(SLOT_D, 0);
	/* The same ports, so the same way; and the same set. */
	for (unsigned port = 1024;; port++) {
		assert_in_range(port, 1024, 0xffff * 20);
		t.sport = u.sport = htons(port);
		t.dport = u.dport = htons(1 + port / 0x10000);
		memcpy(u.far, who_address(POD_D, false), 4);
		((uint8_t *)u.far)[3] = 10 + port % 200;
		if (set_of(&secret, &t, false, false) == set_of(&secret, &u, false, false))
			break;
	}
	for (int n = 0; n < 2; n++) {
		const struct tuple *flow = n ? &u : &t;

		assert_true(passes(&out, false, flow, SYN, false));
		race.frame[n] = out.tcp;
		memcpy(race.frame[n].data + out.l4, &flow->sport, 2);
		memcpy(race.frame[n].data + out.l4 + 2, &flow->dport, 2);
		memcpy(race.frame[n].data + out.far, flow->far, 4);
		memcpy(&race.node[n], who_address(n ? NODE_D : NODE_C, false), 4);
	}
	race.wrong = race.runs = 0;
	for (int n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&threads[n], NULL, race_run, (void *)(intptr_t)n), 0); /* NOLINT(performance-no-int-to-ptr) */
	for (int n = 0; n < 2; n++)
		pthread_join(threads[n], NULL);
	sched_setaffinity(0, sizeof(was), &was);
	print_message("%u packets, %u of them to the wrong node\n", race.runs, race.wrong);
	assert_true(race.runs > 1000);
	assert_int_equal(race.wrong, 0);
}

int run_verdict_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_near_collisions),
		cmocka_unit_test(test_same_set),
		cmocka_unit_test(test_torn),
	};

	return cmocka_run_group_tests_name("bpf_verdict", tests, harness_setup, NULL);
}
