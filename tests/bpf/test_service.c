/* SPDX-License-Identifier: BSD-2-Clause */
/* Services: packets of A to one (the address WORLD, port 80), and the replies. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>

#include "cases.h"
#include "expect.h"
#include "state.h"

#define STEPS 8

struct service_step {
	enum program program;
	enum device on;
	struct layer in[LAYERS];
	enum wr_reason reason;
	struct layer out[LAYERS]; /* empty: not looked at */
	enum device entered;      /* to_pod */
};

struct service_case {
	const char *name;
	bool v6;
	uint8_t protocol;
	enum who backend; /* port 8080; WHO_DEFAULT: there is none; POD_C's node is the one of the cluster */
	struct service_step steps[STEPS];
};

#define TO_POD_OF(mac) ETH(.smac = MAC_HOST, .dmac = mac)
#define FROM_A(...) FROM_POD, DEVICE_A, { ETH(), __VA_ARGS__ }
#define FROM_B(...) FROM_POD, DEVICE_B, { ETH(), __VA_ARGS__ }
/* A packet of the stack from beyond the uplink; a packet of another node. */
#define BY_STACK(...) TO_POD, DEVICE_A, { ETH(), __VA_ARGS__ }
#define BY_NODE(who, ...)                                                                                                   \
	FROM_UPLINK, DEVICE_UPLINK, { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE),                            \
				      UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(),           \
				      OPT(.n = 8, .identity = who),                                                    \
				      ETH(.smac = MAC_GENEVE_FROM, .dmac = MAC_GENEVE_TO), __VA_ARGS__ }
#define FROM_C(...) BY_NODE(IDENTITY_C, IP(.src = POD_C, .dst = POD_A), __VA_ARGS__)
#define FOR_A TO_POD_OF(MAC_A), IP(.src = WORLD, .dst = POD_A)
#define TO_SERVICE IP(.dst = WORLD)
#define AT_B TO_POD_OF(MAC_B), IP(.ttl = 63)
#define AT_A TO_POD_OF(MAC_A), IP(.src = WORLD, .dst = POD_A, .ttl = 63)

static const struct service_case table[] = {
	{ "tcp there and back", .protocol = IPPROTO_TCP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .dport = 8080) } },
		{ FROM_B(IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 80, .n = 100)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.dport = 8080, .n = 100) } },
		{ FROM_B(IP(), TCP(.sport = 8080, .dport = 40000, .n = 33)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.sport = 80, .dport = 40000, .n = 33) } },
		/* The same ports to the backend itself are another flow, whose replies would look the same. */
		{ FROM_A(IP(), TCP(.flags = ACK, .dport = 8080)), WR_REASON_SERVICE_CLASH } } },
	{ "udp there and back", .protocol = IPPROTO_UDP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80, .n = 5)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080, .n = 5) } },
		{ FROM_B(IP(), UDP(.sport = 8080, .dport = 40000, .n = 6)), WR_REASON_TO_ENDPOINT,
		  { AT_A, UDP(.sport = 80, .dport = 40000, .n = 6) } },
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080) } } } },
	{ "a port that is no service's", .protocol = IPPROTO_TCP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_STACK },
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_STACK } } },
	{ "a pod and itself", .protocol = IPPROTO_TCP, .backend = POD_A, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT,
		  { TO_POD_OF(MAC_A), IP(.src = WORLD, .dst = POD_A, .ttl = 63), TCP(.flags = SYN, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_A, TCP(.dport = 8080) } } } },
	{ "no backend", .protocol = IPPROTO_TCP, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_NO_BACKEND } } },
	{ "no backend for udp", .protocol = IPPROTO_UDP, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80, .n = 20)), WR_REASON_NO_BACKEND } } },
	{ "the ports are in use to the backend itself", .protocol = IPPROTO_TCP, .backend = POD_B, .steps = {
		{ FROM_A(IP(), TCP(.flags = SYN, .dport = 8080)), WR_REASON_TO_ENDPOINT },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_SERVICE_CLASH } } },
	{ "a backend outside, by the stack", .protocol = IPPROTO_TCP, .backend = WORLD_FAR, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_STACK, { ETH(), IP(.dst = WORLD_FAR), TCP(.flags = SYN, .dport = 8080) } },
		{ BY_STACK(IP(.src = WORLD_FAR), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_DELIVERED,
		  { ETH(), IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) }, .entered = DEVICE_UPLINK },
		{ FROM_A(TO_SERVICE, TCP(.dport = 80, .n = 9)), WR_REASON_TO_STACK, { ETH(), IP(.dst = WORLD_FAR), TCP(.dport = 8080, .n = 9) } },
		{ BY_STACK(IP(.src = WORLD_FAR), TCP(.sport = 8080, .dport = 40000, .n = 33)), WR_REASON_DELIVERED,
		  { ETH(), IP(), TCP(.sport = 80, .dport = 40000, .n = 33) }, .entered = DEVICE_UPLINK } } },
	{ "a router's error about it", .protocol = IPPROTO_UDP, .backend = WORLD_FAR, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_STACK, { ETH(), IP(.dst = WORLD_FAR), UDP(.dport = 8080) } },
		{ BY_STACK(IP(.src = WORLD_NEAR), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = WORLD_FAR), UDP(.dport = 8080, .check = V(0))),
		  WR_REASON_DELIVERED,
		  { ETH(), IP(.src = WORLD_NEAR), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80, .check = V(0)) },
		  .entered = DEVICE_UPLINK },
		/* The backend's own is the service's. */
		{ BY_STACK(IP(.src = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD_FAR), UDP(.dport = 8080, .check = V(0))),
		  WR_REASON_DELIVERED,
		  { ETH(), IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80, .check = V(0)) },
		  .entered = DEVICE_UPLINK },
		{ BY_STACK(IP(.src = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD_FAR), UDP(.dport = 8081)),
		  WR_REASON_ICMP_ERROR, .entered = DEVICE_UPLINK } } },
	{ "a backend of another node", .protocol = IPPROTO_TCP, .backend = POD_C, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_NODE },
		{ FROM_C(TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 80)), WR_REASON_TO_NODE },
		{ FROM_C(TCP(.sport = 8080, .dport = 40000, .n = 33)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, TCP(.sport = 80, .dport = 40000, .n = 33) } } } },
	{ "fragments", .protocol = IPPROTO_UDP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, FRAG(.more = 1), UDP(.dport = 80, .n = 8, .len = 24)), WR_REASON_TO_ENDPOINT,
		  { AT_B, FRAG(.more = 1), UDP(.dport = 8080, .n = 8, .len = 24) } },
		{ FROM_A(TO_SERVICE, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_ENDPOINT,
		  { AT_B, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) } },
		{ FROM_B(IP(), FRAG(.more = 1), UDP(.sport = 8080, .dport = 40000, .n = 8, .len = 24)), WR_REASON_TO_ENDPOINT,
		  { AT_A, FRAG(.more = 1), UDP(.sport = 80, .dport = 40000, .n = 8, .len = 24) } },
		{ FROM_B(IP(), FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_ENDPOINT,
		  { AT_A, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) } } } },
	{ "a pod's error about what came from a client of the service", .protocol = IPPROTO_UDP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT },
		{ FROM_B(IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP(.dport = 8080, .check = V(0))), WR_REASON_TO_ENDPOINT,
		  { AT_A, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80, .check = V(0)) } } } },
	{ "fragments from another node", .protocol = IPPROTO_UDP, .backend = POD_C, .steps = {
		{ FROM_A(TO_SERVICE, FRAG(.more = 1), UDP(.dport = 80, .n = 8, .len = 24)), WR_REASON_TO_NODE },
		{ FROM_A(TO_SERVICE, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_NODE },
		{ FROM_C(FRAG(.more = 1), UDP(.sport = 8080, .dport = 40000, .n = 8, .len = 24)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, FRAG(.more = 1), UDP(.sport = 80, .dport = 40000, .n = 8, .len = 24) } },
		{ FROM_C(FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) } } } },
	{ "errors of another node, and of its pod", .protocol = IPPROTO_UDP, .backend = POD_C, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_NODE },
		{ FROM_C(ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_C), UDP(.dport = 8080, .check = V(0))), WR_REASON_TO_ENDPOINT,
		  { FOR_A, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80, .check = V(0)) } },
		{ BY_NODE(WR_ID_REMOTE_NODE, IP(.src = GW_C, .dst = POD_A), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = POD_C), UDP(.dport = 8080, .check = V(0))),
		  WR_REASON_TO_ENDPOINT,
		  { TO_POD_OF(MAC_A), IP(.src = GW_C, .dst = POD_A), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80, .check = V(0)) } },
		{ FROM_C(ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_C), UDP(.dport = 8081)), WR_REASON_ICMP_ERROR } } },
	{ "a client's error about the reply", .protocol = IPPROTO_UDP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT },
		{ FROM_B(IP(), UDP(.sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT },
		{ FROM_A(TO_SERVICE, ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP(.sport = 80, .dport = 40000, .check = V(0))), WR_REASON_TO_ENDPOINT,
		  { AT_B, ICMP(.type = UNREACHABLE), IP(.src = POD_B, .dst = POD_A), UDP(.sport = 8080, .dport = 40000, .check = V(0)) } },
		/* About no flow. */
		{ FROM_A(TO_SERVICE, ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP(.sport = 81, .dport = 40000)), WR_REASON_ICMP_ERROR },
		{ FROM_A(IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_B, .dst = POD_A), UDP(.sport = 8080, .dport = 40000)), WR_REASON_ICMP_ERROR } } },
	{ "a client's error about the world's reply", .protocol = IPPROTO_UDP, .backend = WORLD_FAR, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_STACK },
		{ BY_STACK(IP(.src = WORLD_FAR), UDP(.sport = 8080, .dport = 40000)), WR_REASON_DELIVERED, .entered = DEVICE_UPLINK },
		{ FROM_A(TO_SERVICE, ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP(.sport = 80, .dport = 40000, .check = V(0))), WR_REASON_TO_STACK,
		  { ETH(), IP(.dst = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = WORLD_FAR, .dst = POD_A), UDP(.sport = 8080, .dport = 40000, .check = V(0)) } } } },
	{ "sctp to another port", .protocol = IPPROTO_SCTP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 4)), WR_REASON_SERVICE_SCTP } } },
};

/* The ones' complement sum over the range of a transport checksum: 0xffff if it is right. */
static uint32_t transport_sum(const struct frame *f, bool v6, uint8_t protocol)
{
	const size_t addresses = v6 ? 14 + 8 : 14 + 12, l4 = v6 ? 54 : 34;
	const bool pseudo = v6 || protocol == IPPROTO_TCP; /* ICMP of IPv4 has none */
	uint32_t sum = pseudo ? (uint32_t)(f->len - l4) + protocol : 0;

	for (size_t i = pseudo ? addresses : l4; i + 1 < f->len; i += 2)
		sum += (uint32_t)f->data[i] << 8 | f->data[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Back to the pod, from the service: a reset that acknowledges the SYN, or port unreachable about the packet. */
static void refusal_expect(const struct service_case *c, const struct run *r, const struct frame *in)
{
	const size_t l4 = c->v6 ? 54 : 34, size = c->v6 ? 16 : 4, source = c->v6 ? 14 + 8 : 14 + 12;
	const bool tcp = c->protocol == IPPROTO_TCP;
	const uint8_t *at = r->out.data + l4;
	uint32_t seq, ack;

	assert_int_equal(r->verdict, TC_ACT_REDIRECT);
	assert_int_equal(r->out.len, l4 + (tcp ? 20 : 8 + l4 - 14 + 8));
	assert_memory_equal(r->out.data, mac_address(MAC_A), 6);
	assert_memory_equal(r->out.data + source, who_address(WORLD, c->v6), size);
	assert_memory_equal(r->out.data + source + size, who_address(POD_A, c->v6), size);
	assert_int_equal(transport_sum(&r->out, c->v6, tcp ? IPPROTO_TCP : c->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP), 0xffff);
	if (!tcp) {
		assert_int_equal(at[0], c->v6 ? 1 : 3);
		assert_int_equal(at[1], c->v6 ? 4 : 3);
		assert_memory_equal(at + 8, in->data + 14, l4 - 14 + 8);
		return;
	}
	assert_memory_equal(at, in->data + l4 + 2, 2);
	assert_memory_equal(at + 2, in->data + l4, 2);
	memcpy(&seq, in->data + l4 + 4, sizeof(seq));
	memcpy(&ack, at + 8, sizeof(ack));
	assert_int_equal(ntohl(ack), ntohl(seq) + 1);
	assert_int_equal(at[13], RST | ACK);
}

static void test_services(void **state)
{
	const struct service_case *c = *state;

	if (c->backend == POD_C)
		cluster_reset(0, c->v6, c->v6);
	else
		node_reset(0, c->v6);
	service_put(c->protocol, c->v6, (enum who[]){ c->backend, WHO_DEFAULT });
	for (const struct service_step *s = c->steps; s < c->steps + STEPS && s->reason; s++) {
		const struct layer_defaults *defaults = program_defaults(s->program, s->on);
		struct run r = { .program = s->program, .on = s->on, .entered = s->entered };
		struct wr_trace trace;
		struct frame in, out;

		frame_build_over(&in, s->in, defaults, c->v6, c->v6);
		run_dry(&(struct run){ .program = s->program, .on = s->on, .entered = s->entered }, &in, &trace);
		assert_string_equal(reason_names[trace.reason], reason_names[s->reason]);
		run_program(&r, &in);
		counter_expect(&r, s->reason);
		if (s->reason == WR_REASON_NO_BACKEND)
			refusal_expect(c, &r, &in);
		if (s->out[0].kind) {
			frame_build(&out, s->out, defaults, c->v6);
			frame_expect(&r.out, &out);
		}
	}
}

struct some_key {
	const void *key;
	size_t size;
};

static bool differs_from(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	const struct some_key *one = arg;

	return memcmp(key, one->key, one->size) != 0;
}

/* Without the reverse-NAT entry, replies are dropped. */
static void test_service_unknown(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		const struct layer there[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80) };
		const struct layer back[LAYERS] = { ETH(), IP(), UDP(.sport = 8080, .dport = 40000) };
		struct run r = { .program = FROM_POD, .on = DEVICE_A };
		struct wr_ct4_key key4 = { .l4_proto = IPPROTO_UDP, .kind = WR_CT_REVERSE_NAT };
		struct wr_ct6_key key6 = { .l4_proto = IPPROTO_UDP, .kind = WR_CT_REVERSE_NAT };
		struct frame f;

		node_reset(0, v6);
		service_put(IPPROTO_UDP, v6, (enum who[]){ POD_B, WHO_DEFAULT });
		frame_build(&f, there, program_defaults(FROM_POD, DEVICE_A), v6);
		run_program(&r, &f);
		counter_expect(&r, WR_REASON_TO_ENDPOINT);
		memcpy(&key4.addr[0], who_address(POD_A, false), 4);
		memcpy(&key4.addr[1], who_address(POD_B, false), 4);
		memcpy(&key6.addr[0], who_address(POD_A, true), 16);
		memcpy(&key6.addr[1], who_address(POD_B, true), 16);
		key4.port[0] = key6.port[0] = htons(40000);
		key4.port[1] = key6.port[1] = htons(8080);
		flows_each(v6, differs_from, v6 ? &(struct some_key){ &key6, sizeof(key6) } : &(struct some_key){ &key4, sizeof(key4) });
		frame_build(&f, back, program_defaults(FROM_POD, DEVICE_B), v6);
		r = (struct run){ .program = FROM_POD, .on = DEVICE_B };
		run_program(&r, &f);
		counter_expect(&r, WR_REASON_SERVICE_UNKNOWN);
	}
}

/* Too big for the path to the backend's node: the ICMP error quotes the packet as sent, with the service's address. */
static void test_service_too_big(void **state)
{
	static const struct layer syn[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80) };
	static const struct layer big[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80, .n = TUNNEL_MTU) };
	/* The quoted packet has a decremented hop limit. */
	static const struct layer seen[LAYERS] = { ETH(), IP(.dst = WORLD, .ttl = 63), UDP(.dport = 80, .n = TUNNEL_MTU) };
	const struct layer_defaults *defaults = program_defaults(FROM_POD, DEVICE_A);

	for (int family = 0; family < 4; family++) {
		const bool v6 = family & 1;

		cluster_reset(0, v6, family & 2);
		service_put(IPPROTO_UDP, v6, (enum who[]){ POD_C, WHO_DEFAULT });
		/* The first packet, one of an established flow, one with a cached verdict. */
		for (int n = 0; n < 4; n++) {
			struct run r = { .program = FROM_POD, .on = DEVICE_A };
			struct frame in, sent;

			frame_build(&in, n == 1 ? syn : big, defaults, v6);
			run_program(&r, &in);
			counter_expect(&r, n == 1 ? WR_REASON_TO_NODE : WR_REASON_TOO_BIG);
			frame_build(&sent, seen, defaults, v6);
			if (n != 1)
				icmp_error_expect(&sent, &r.out, v6);
		}
	}
}

int run_service_tests(void)
{
	struct cases cases = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
			struct service_case c = table[i];

			c.v6 = v6;
			case_add(&cases, test_services, &c, sizeof(c), "service v%d: %s", v6 ? 6 : 4, c.name);
		}
	}
	case_add(&cases, test_service_too_big, NULL, 0, "too big for the way to a backend");
	case_add(&cases, test_service_unknown, NULL, 0, "a reply of an unknown service");
	return cases_run(&cases, "bpf_service", harness_setup);
}
