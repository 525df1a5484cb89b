/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows: sequences of packets between A, B, their host and the world, and of changes between them. Before every packet the
 * programs' twins are asked what they would do: they must say the same and change nothing.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

struct step {
	const char *text;           /* of an act, as it is written */
	enum program program;
	enum device on, entered;
	struct layer in[LAYERS];
	enum wr_reason reason;      /* expected */
	void (*act)(bool v6, uint32_t x, uint32_t y); /* instead of a packet */
	uint32_t x, y;
};

#define STEPS 24
struct scenario {
	const char *name;
	enum family family;
	uint32_t a, b; /* classes; 0: not isolated */
	struct step steps[STEPS];
};

#define SENDS(d, r, ...)                                                                                               \
	{                                                                                                              \
		.program = FROM_POD, .on = DEVICE_##d, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ }           \
	}
#define GETS(d, from, r, ...)                                                                                          \
	{                                                                                                              \
		.program = TO_POD, .on = DEVICE_##d, .entered = from, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ } \
	}
#define DO(f, ...)                                                                                                     \
	{                                                                                                              \
		.text = #f "(" #__VA_ARGS__ ")", .act = f, __VA_ARGS__                                                 \
	}
#define X(v) .x = (v)
#define Y(v) .y = (v)

#define FROM_HOST NO_DEVICE
#define FROM_A DEVICE_A
#define FROM_B DEVICE_B
#define FROM_WORLD DEVICE_UPLINK

/* --- the policies of all scenarios --- */

enum {
	CLIENT = 16, /* egress: TCP 80, UDP 53 and SCTP 5000 to B; no ingress */
	SERVER,      /* ingress: the same from A; no egress */
	CLOSED,      /* nothing */
	OPEN,        /* everything, by rules */
	HOST_ONLY,   /* egress: the block that is the host's address */
	INGRESS,     /* isolated for ingress only, as SERVER */
	PEER_A = WR_PEER_FIRST,
	PEER_B,
	RULE = WR_RULE_FIRST,
};

#define ISOLATED WR_CLASS_ISOLATED
#define BY_PEER (ISOLATED | WR_CLASS_SELECTORS)

static void allow_services(uint32_t policy_class, enum wr_direction direction, uint64_t peer)
{
	class_set(policy_class, direction, BY_PEER, 1u << 16);
	policy_allow(policy_class, direction, peer, IPPROTO_TCP, 80, 16, RULE);
	policy_allow(policy_class, direction, peer, IPPROTO_UDP, 53, 16, RULE + 1);
	policy_allow(policy_class, direction, peer, IPPROTO_SCTP, 5000, 16, RULE + 2);
}

static void allow_all(enum wr_direction direction)
{
	class_set(OPEN, direction, ISOLATED | WR_CLASS_ANYBODY | WR_CLASS_ANY_PROTO, 0);
	policy_allow(OPEN, direction, WR_PEER_ANY, 0, 0, 0, RULE + 3);
}

static void policies_make(bool v6)
{
	identity_set_peer(IDENTITY_A, PEER_A);
	identity_set_peer(IDENTITY_B, PEER_B);
	allow_services(CLIENT, WR_EGRESS, PEER_B);
	class_set(CLIENT, WR_INGRESS, ISOLATED, 0);
	allow_services(SERVER, WR_INGRESS, PEER_A);
	class_set(SERVER, WR_EGRESS, ISOLATED, 0);
	class_set(CLOSED, WR_EGRESS, ISOLATED, 0);
	class_set(CLOSED, WR_INGRESS, ISOLATED, 0);
	allow_all(WR_EGRESS);
	allow_all(WR_INGRESS);
	class_set(HOST_ONLY, WR_EGRESS, ISOLATED | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO, 0);
	policy_allow(HOST_ONLY, WR_EGRESS, WR_PEER_CIDR | 1, 0, 0, 0, RULE + 4);
	policy_cidr(HOST_ONLY, WR_EGRESS, HOST, v6 ? 128 : 32, WR_PEER_CIDR | 1, v6);
	allow_services(INGRESS, WR_INGRESS, PEER_A);
}

/* --- acts --- */

static void set_class(bool v6, uint32_t device, uint32_t policy_class)
{
	endpoint_set_class(device, policy_class);
}

static void set_identity(bool v6, uint32_t device, uint32_t identity)
{
	endpoint_set_identity(device, WR_ID_KIND_POD << WR_ID_KIND_SHIFT | identity);
}

static void remove_pod(bool v6, uint32_t device, uint32_t none)
{
	endpoint_remove(device);
}

static void restore_pod(bool v6, uint32_t device, uint32_t none)
{
	endpoint_restore(device);
}

static void readdress_pod(bool v6, uint32_t device, uint32_t who)
{
	endpoint_set_address(device, who);
}

static void replace_pod(bool v6, uint32_t device, uint32_t by)
{
	endpoint_take_address(device, by);
}

static void guess_wrongly(bool v6, uint32_t who, uint32_t device)
{
	cache_set(who, device);
}

static void allow_port(bool v6, uint32_t policy_class, uint32_t port)
{
	policy_allow(policy_class, WR_EGRESS, PEER_B, IPPROTO_TCP, port, 16, RULE);
}

static void pass_seconds(bool v6, uint32_t seconds, uint32_t none)
{
	flows_age(WR_CT_SECONDS(seconds) + 1);
}

static void set_share(bool v6, uint32_t share, uint32_t none)
{
	flows_set_share(share);
}

static void sweep(bool v6, uint32_t x, uint32_t y)
{
	assert_int_equal(run_sweep(SWEEP_NOW), 0);
}

/* --- checks --- */

static uint64_t stats_before[WR_CT_STATS];

static void counted(bool v6, uint32_t stat, uint32_t times)
{
	assert_int_equal(flow_stat(stat) - stats_before[stat], times);
}

static void flows_are(bool v6, uint32_t established, uint32_t new)
{
	assert_int_equal(flows_count(CT, v6), established);
	assert_int_equal(flows_count(CT_NEW, v6), new);
}

static void only_flow(bool v6, struct wr_ct *ct)
{
	if (!flow_only(CT, v6, ct) && !flow_only(CT_NEW, v6, ct))
		fail_msg("there is no flow");
}

/* All but the place in the key, which depends on the addresses. */
static void flags_are(bool v6, uint32_t flags, uint32_t none)
{
	struct wr_ct ct;

	only_flow(v6, &ct);
	assert_int_equal(ct.flags & ~WR_CT_SWAPPED, flags);
}

/* Ticks by which the programs' clock is behind: jiffies that were lost as the machine booted; seconds, if it is emulated. */
static uint32_t behind;

static void lives(bool v6, uint32_t ticks, uint32_t none)
{
	struct wr_ct ct;

	only_flow(v6, &ct);
	assert_in_range(ct.expires + behind - tick_now() + 10, ticks, ticks + 20);
}

static void is_between(bool v6, uint32_t initiator, uint32_t responder)
{
	struct wr_ct ct;

	only_flow(v6, &ct);
	assert_int_equal(ct.initiator, initiator ? device_ifindex(initiator) : 0);
	assert_int_equal(ct.responder, responder ? device_ifindex(responder) : 0);
	if (initiator)
		assert_int_equal(ct.at[WR_EGRESS].revision, endpoint_revision(initiator));
	if (responder)
		assert_int_equal(ct.at[WR_INGRESS].revision, endpoint_revision(responder));
}

static void rules_are(bool v6, uint32_t egress, uint32_t ingress)
{
	struct wr_ct ct;

	only_flow(v6, &ct);
	assert_int_equal(ct.at[WR_EGRESS].rule, egress);
	assert_int_equal(ct.at[WR_INGRESS].rule, ingress);
}

static void owns(bool v6, uint32_t device, uint32_t flows)
{
	assert_int_equal(flows_owned(device), flows);
}

#define SYN_TO_B IP(), TCP(.flags = SYN)
#define SYNACK_TO_A IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define ACK_TO_B IP(), TCP()
#define ACK_TO_A IP(), TCP(.sport = 80, .dport = 40000)
#define TCP_TO_B(...) IP(), TCP(__VA_ARGS__)
#define TCP_TO_A(...) IP(), TCP(.sport = 80, .dport = 40000, __VA_ARGS__)
#define UDP_TO_B IP(), UDP()
#define UDP_TO_A IP(), UDP(.sport = 53, .dport = 40000)
#define HANDSHAKE SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, ACK_TO_B)

#include "scenarios.h"

/* --- running --- */

static int setup(void **state)
{
	static const struct layer udp_to_b[] = { ETH(), IP(), UDP(), { 0 } };
	struct run r = { .program = FROM_POD };
	struct wr_ct ct = { 0 };
	struct frame f;

	harness_setup(state);
	node_reset(0, false);
	frame_build(&f, udp_to_b, &defaults_from_pod, false);
	run_program(&r, &f);
	only_flow(false, &ct);
	behind = tick_now() + WR_CT_LIFE_OTHER_NEW - ct.expires;
	assert_in_range(behind + 1, 0, WR_CT_SECONDS(15));
	return 0;
}

static const struct layer_defaults *const defaults[PROGRAMS][DEVICES] = {
	[FROM_POD] = { [DEVICE_A] = &defaults_from_pod, [DEVICE_B] = &defaults_from_b, [DEVICE_UPLINK] = &defaults_from_b },
	[TO_POD] = { [DEVICE_A] = &defaults_to_pod, [DEVICE_B] = &defaults_to_b, [DEVICE_UPLINK] = &defaults_to_b },
};

static void run_twin(struct run *r, const struct frame *in, const struct step *s, bool slots_too)
{
	uint64_t before = maps_digest(slots_too);
	struct wr_trace trace;
	int verdict = run_dry(r, in, &trace);

	assert_true(maps_digest(slots_too) == before);
	if (trace.reason != s->reason)
		fail_msg("the twin says %s, not %s", reason_names[trace.reason], reason_names[s->reason]);
	assert_int_equal(verdict, reason_verdict(s->reason));
}

static void run_packet(const struct step *s, bool slots_too, bool v6)
{
	struct run r = { .program = s->program, .on = s->on, .entered = s->entered };
	struct frame in;

	frame_build(&in, s->in, defaults[s->program][s->on], v6);
	run_twin(&r, &in, s, slots_too);
	run_program(&r, &in);
	assert_int_equal(r.counters_moved, 1);
	if (r.counter != wr_metric_key(s->reason, s->program == FROM_POD ? WR_EGRESS : WR_INGRESS))
		fail_msg("counted as %s, not as %s", reason_names[r.counter / 2], reason_names[s->reason]);
	assert_int_equal(r.verdict, reason_verdict(s->reason));
}

struct flow_test {
	const struct scenario *scenario;
	bool v6;
	bool slots_too; /* whether the large tables are looked through, too; in some tests only, for their time */
	char name[128];
};

static void test_scenario(void **state)
{
	const struct flow_test *t = *state;
	const struct scenario *sc = t->scenario;

	node_reset(0, t->v6);
	policies_make(t->v6);
	if (sc->a)
		endpoint_set_class(DEVICE_A, sc->a);
	if (sc->b)
		endpoint_set_class(DEVICE_B, sc->b);
	for (int i = 0; i < WR_CT_STATS; i++)
		stats_before[i] = flow_stat(i);
	for (int i = 0; i < STEPS; i++) {
		const struct step *s = &sc->steps[i];

		if (!s->act && s->in[0].kind == L_END)
			break;
		print_message("  %d %s\n", i, s->act ? s->text : s->program == FROM_POD ? "from_pod" : "to_pod");
		if (s->act)
			s->act(t->v6, s->x, s->y);
		else
			run_packet(s, t->slots_too && i == 0, t->v6);
	}
}

int run_flow_tests(void)
{
	enum { MAX = 256 };
	static struct flow_test tests[MAX];
	static struct CMUnitTest units[MAX];
	size_t n = 0;

	for (const struct scenario *sc = scenarios; sc->name; sc++) {
		for (int v6 = 0; v6 < 2; v6++) {
			if (sc->family != BOTH && (sc->family == V6) != v6)
				continue;
			if (n == MAX)
				abort();
			tests[n] = (struct flow_test){ .scenario = sc, .v6 = v6, .slots_too = n % 8 == 0 };
			snprintf(tests[n].name, sizeof(tests[n].name), "v%d: %s", v6 ? 6 : 4, sc->name);
			units[n] = (struct CMUnitTest){ .name = tests[n].name,
							.test_func = test_scenario,
							.initial_state = &tests[n] };
			n++;
		}
	}
	return _cmocka_run_group_tests("bpf_flow", units, n, setup, NULL);
}
