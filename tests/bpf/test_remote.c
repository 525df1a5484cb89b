/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows with other nodes: sequences of packets between A, B, their host, pods of NODE_C and NODE_D, and the world, and of
 * changes between them. As in test_flow.c the twins are asked first, and must say the same and change nothing. Every scenario
 * runs in each combination of an inner and an outer family.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

struct step {
	const char *text;
	enum program program;
	enum device on, entered;
	struct layer in[LAYERS];
	enum wr_reason reason;
	void (*act)(bool v6, uint32_t x, uint32_t y); /* instead of a packet */
	uint32_t x, y;
};

#define STEPS 24
struct scenario {
	const char *name;
	uint32_t a; /* class; 0: not isolated */
	struct step steps[STEPS];
};

/* A pod sends; the stack sends to A; the stack sends to NODE_C's pod; NODE_C sends, through the tunnel, as `who`; the LAN. */
#define SENDS(d, r, ...)                                                                                               \
	{                                                                                                              \
		.program = FROM_POD, .on = DEVICE_##d, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ }           \
	}
#define GETS(from, r, ...)                                                                                             \
	{                                                                                                              \
		.program = TO_POD, .on = DEVICE_A, .entered = from, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ } \
	}
#define ROUTED(from, r, ...)                                                                                           \
	{                                                                                                              \
		.program = FROM_HOST, .entered = from, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ }           \
	}
#define ARRIVES_FROM(node, who, r, ...)                                                                                \
	{                                                                                                              \
		.program = FROM_UPLINK, .reason = WR_REASON_##r,                                                       \
		.in = { ETH(), IP(.outer = true, .src = node, .dst = NODE),                                            \
			UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),                         \
			OPT(.n = 8, .identity = who), ETH(), __VA_ARGS__ }                                             \
	}
#define ARRIVES(who, r, ...) ARRIVES_FROM(NODE_C, who, r, __VA_ARGS__)
#define BARE(mac, r, ...)                                                                                              \
	{                                                                                                              \
		.program = FROM_UPLINK, .reason = WR_REASON_##r, .in = { ETH(.smac = mac), __VA_ARGS__ }               \
	}
#define DO(f, ...)                                                                                                     \
	{                                                                                                              \
		.text = #f "(" #__VA_ARGS__ ")", .act = f, __VA_ARGS__                                                 \
	}
#define X(v) .x = (v)
#define Y(v) .y = (v)

/* --- policies --- */

enum {
	CLIENT = 16, /* egress: TCP 80 and UDP 53 to C; no ingress */
	SERVER,      /* ingress: the same from C; no egress */
	TO_PODS,     /* both: all pods */
	CLOSED,
	BLOCK,       /* both: the block that is NODE_C's outer address */
	WORLD_ONLY,  /* both: the block that is WORLD */
	PEER_C = WR_PEER_FIRST,
	PEER_OTHER,
	RULE = WR_RULE_FIRST,
};
#define IDENTITY_OTHER 0x0200000000000bad
#define ISOLATED WR_CLASS_ISOLATED

static void allow_services(uint32_t policy_class, enum wr_direction direction)
{
	class_set(policy_class, direction, ISOLATED | WR_CLASS_SELECTORS, 1u << 16);
	class_set(policy_class, !direction, ISOLATED, 0);
	policy_allow(policy_class, direction, PEER_C, 6, 80, 16, RULE);
	policy_allow(policy_class, direction, PEER_C, 17, 53, 16, RULE + 1);
}

static void policies_make(bool v6, bool over6)
{
	identity_set_peer(IDENTITY_C, PEER_C);
	identity_set_peer(IDENTITY_OTHER, PEER_OTHER);
	allow_services(CLIENT, WR_EGRESS);
	allow_services(SERVER, WR_INGRESS);
	for (int d = 0; d < WR_DIRECTIONS; d++) {
		class_set(CLOSED, d, ISOLATED, 0);
		class_set(TO_PODS, d, ISOLATED | WR_CLASS_ALL_PODS | WR_CLASS_ANY_PROTO, 0);
		policy_allow(TO_PODS, d, WR_PEER_ALL_PODS, 0, 0, 0, RULE + 2);
		class_set(BLOCK, d, ISOLATED | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO, 0);
		policy_allow(BLOCK, d, WR_PEER_CIDR | 1, 0, 0, 0, RULE + 3);
		policy_cidr(BLOCK, d, NODE_C, over6 ? 128 : 32, WR_PEER_CIDR | 1, over6);
		class_set(WORLD_ONLY, d, ISOLATED | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO, 0);
		policy_allow(WORLD_ONLY, d, WR_PEER_CIDR | 2, 0, 0, 0, RULE + 4);
		policy_cidr(WORLD_ONLY, d, WORLD, v6 ? 128 : 32, WR_PEER_CIDR | 2, v6);
	}
}

/* --- acts and checks --- */

static bool outer6; /* of the scenario that runs */

static unsigned node_flags(void)
{
	return WR_NODE_RESOLVED | (outer6 ? WR_NODE_OVER6 : 0);
}

static void know(bool v6, uint32_t who, uint32_t other)
{
	ipcache_put(who, other ? IDENTITY_OTHER : IDENTITY_C);
	cluster_put(NODE, POD_A, 0);
}

static void know_node(bool v6, uint32_t who, uint32_t none)
{
	ipcache_put(who, WR_ID_REMOTE_NODE);
	cluster_put(NODE, POD_A, 0);
}

static void set_class(bool v6, uint32_t device, uint32_t policy_class)
{
	endpoint_set_class(device, policy_class);
}

static void revise(bool v6, uint32_t none, uint32_t no)
{
	cluster_put(NODE, POD_A, 0);
}

static void forget_nodes(bool v6, uint32_t none, uint32_t no)
{
	node_reset(0, v6);
	policies_make(v6, outer6);
	cluster_put(NODE, POD_A, 0);
}

/* The node is there, but that address is not its own any more. */
static void forget_address(bool v6, uint32_t node, uint32_t none)
{
	const char *map = outer6 ? "node_addr6" : "node_addr4";

	assert_int_equal(bpf_map_delete_elem(map_fd(map), who_address(node, outer6)), 0);
	cluster_put(NODE, POD_A, 0);
}

static void node_is(bool v6, uint32_t slot, uint32_t flags)
{
	node_put(slot, node_flags() | flags);
	cluster_put(NODE, POD_A, 0);
}

/* NODE_C's slot is NODE_D's by now, and the other way round. */
static void node_moves(bool v6, uint32_t slot, uint32_t none)
{
	node_empty(SLOT_C);
	node_put_as(slot, NODE_C, POD_C, node_flags());
	cluster_put(NODE, POD_A, 0);
}

static void unresolve(bool v6, uint32_t slot, uint32_t flags)
{
	node_put(slot, (node_flags() & ~WR_NODE_RESOLVED) | flags);
}

static void pass_seconds(bool v6, uint32_t seconds, uint32_t none)
{
	flows_age(WR_CT_SECONDS(seconds) + 1);
}

static void die(bool v6, uint32_t none, uint32_t no)
{
	flows_kill();
}

static void sweep(bool v6, uint32_t x, uint32_t y)
{
	assert_int_equal(run_sweep(SWEEP_NOW), 0);
}

static void flows_are(bool v6, uint32_t established, uint32_t new)
{
	assert_int_equal(flows_count(CT, v6), established);
	assert_int_equal(flows_count(CT_NEW, v6), new);
}

static void is_between(bool v6, uint32_t initiator, uint32_t responder)
{
	struct wr_ct ct;

	if (!flow_only(CT, v6, &ct) && !flow_only(CT_NEW, v6, &ct))
		fail_msg("there is no flow");
	assert_int_equal(ct.initiator, initiator & WR_REMOTE ? initiator : device_ifindex(initiator));
	assert_int_equal(ct.responder, responder & WR_REMOTE ? responder : device_ifindex(responder));
}

static void via_stack(bool v6, uint32_t yes, uint32_t none)
{
	struct wr_ct ct;

	if (!flow_only(CT, v6, &ct) && !flow_only(CT_NEW, v6, &ct))
		fail_msg("there is no flow");
	assert_int_equal(!!(ct.flags & WR_CT_VIA_STACK), yes);
}

static void owns(bool v6, uint32_t device, uint32_t flows)
{
	assert_int_equal(flows_owned(device), flows);
}

static struct run last; /* the last packet's */
static struct wr_trace last_trace;

/* The last packet left for that node, or came from there: the twin says so, and the event if there was one. */
static void peer_is(bool v6, uint32_t peer, uint32_t none)
{
	assert_int_equal(last_trace.peer_ifindex, peer);
	if (last.events)
		assert_int_equal(last.event.peer_ifindex, peer);
}

static void identity_is(bool v6, uint32_t low, uint32_t kind)
{
	assert_true(last_trace.peer_identity == ((uint64_t)kind << WR_ID_KIND_SHIFT | low));
}

static void redirected_to(bool v6, uint32_t device, uint32_t none)
{
	assert_int_equal(last_trace.redirect, device_ifindex(device));
}

/* The identity on the wire. */
static void wire_says(bool v6, uint32_t low, uint32_t kind)
{
	const size_t at = outer6 ? 14 + 40 + 8 + 8 + 4 : 14 + 20 + 8 + 8 + 4;
	uint32_t words[2];

	assert_in_range(last.out.len, at + 8, FRAME_MAX);
	memcpy(words, last.out.data + at, 8);
	assert_int_equal(ntohl(words[0]) & 0xff000000, kind << 24);
	assert_int_equal(ntohl(words[1]), low);
}

/* The frame is as it came but for the Ethernet header (and the hop limit, which its sender's node has counted). */
static void is_bare(bool v6, uint32_t from, uint32_t to)
{
	assert_memory_equal(last.out.data, mac_address(to), 6);
	assert_memory_equal(last.out.data + 6, mac_address(from), 6);
	assert_int_equal(last.out.data[12] << 8 | last.out.data[13], v6 ? 0x86dd : 0x0800);
}

#define C_ (WR_REMOTE | SLOT_C)
#define D_ (WR_REMOTE | SLOT_D)

#define TO_C IP(.dst = POD_C)
#define FROM_C IP(.src = POD_C, .dst = POD_A)
#define SYN_TO_C TO_C, TCP(.flags = SYN)
#define SYNACK_FROM_C FROM_C, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define ACK_TO_C TO_C, TCP()
#define ACK_FROM_C FROM_C, TCP(.sport = 80, .dport = 40000)
#define UDP_TO_C TO_C, UDP()
#define UDP_FROM_C FROM_C, UDP(.sport = 53, .dport = 40000)
#define C_BEGINS FROM_C, TCP(.flags = SYN)
#define A_ANSWERS TO_C, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define C_GOES_ON FROM_C, TCP()
#define C_TO_WORLD IP(.src = POD_C, .dst = WORLD), UDP(.sport = 53, .dport = 40000)
#define WORLD_ANSWERED IP(.dst = WORLD), UDP(.sport = 53, .dport = 40000)

#include "remote.h"

/* --- running --- */

static const struct layer_defaults *defaults_of(const struct step *s)
{
	if (s->program == FROM_UPLINK)
		return &defaults_from_uplink;
	if (s->program == FROM_HOST)
		return &defaults_from_host;
	if (s->program == TO_POD)
		return &defaults_to_pod;
	return s->on == DEVICE_B ? &defaults_from_b : &defaults_from_pod;
}

static int expected_verdict(enum wr_reason reason)
{
	if (reason == WR_REASON_NONE)
		return 0;
	return reason == WR_REASON_TO_NODE || reason == WR_REASON_TO_HOST ? 7 : reason_verdict(reason);
}

static void run_packet(const struct step *s, bool v6)
{
	const bool in = s->program == FROM_UPLINK || s->program == TO_POD;
	struct frame f;
	uint64_t before;

	last = (struct run){ .program = s->program, .on = s->on, .entered = s->entered };
	frame_build_over(&f, s->in, defaults_of(s), v6, outer6);
	before = maps_digest(false);
	run_dry(&last, &f, &last_trace);
	assert_true(maps_digest(false) == before);
	if (s->reason && last_trace.reason != s->reason)
		fail_msg("the twin says %s, not %s", reason_names[last_trace.reason], reason_names[s->reason]);
	assert_int_equal(last.verdict, expected_verdict(s->reason));
	run_program(&last, &f);
	assert_int_equal(last.counters_moved, s->reason != WR_REASON_NONE);
	if (s->reason && last.counter != wr_metric_key(s->reason, in ? WR_INGRESS : WR_EGRESS))
		fail_msg("counted as %s, not as %s", reason_names[last.counter / 2], reason_names[s->reason]);
	assert_int_equal(last.verdict, expected_verdict(s->reason));
}

struct remote_test {
	const struct scenario *scenario;
	bool v6, over6;
	char name[128];
};

static void test_scenario(void **state)
{
	const struct remote_test *t = *state;
	const struct scenario *sc = t->scenario;

	outer6 = t->over6;
	node_reset(0, t->v6);
	policies_make(t->v6, outer6);
	cluster_put(NODE, POD_A, 0);
	node_put(SLOT_C, node_flags());
	node_put(SLOT_D, node_flags());
	if (sc->a)
		endpoint_set_class(DEVICE_A, sc->a);
	for (int i = 0; i < STEPS; i++) {
		const struct step *s = &sc->steps[i];

		if (!s->act && s->in[0].kind == L_END)
			break;
		print_message("  %d %s\n", i, s->act ? s->text : "packet");
		if (s->act)
			s->act(t->v6, s->x, s->y);
		else
			run_packet(s, t->v6);
	}
}

int run_remote_tests(void)
{
	enum { MAX = 512 };
	static struct remote_test tests[MAX];
	static struct CMUnitTest units[MAX];
	size_t n = 0;

	for (const struct scenario *sc = scenarios; sc->name; sc++) {
		for (int family = 0; family < 4; family++) {
			struct remote_test *t = &tests[n];

			if (n == MAX)
				abort();
			*t = (struct remote_test){ sc, family & 1, family & 2 };
			snprintf(t->name, sizeof(t->name), "v%d over v%d: %s", t->v6 ? 6 : 4, t->over6 ? 6 : 4, sc->name);
			units[n++] = (struct CMUnitTest){ .name = t->name, .test_func = test_scenario, .initial_state = t };
		}
	}
	return _cmocka_run_group_tests("bpf_remote", units, n, harness_setup, NULL);
}
