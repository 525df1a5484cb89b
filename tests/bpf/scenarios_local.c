/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows between A, B, their host and the world. */
#include <netinet/in.h>

#include "expect.h"
#include "scenario.h"

/* --- acts --- */

static void first_fragments(struct run *r, uint32_t count, enum who from)
{
	struct frame f;

	for (uint32_t n = 0; n < count; n++) {
		const struct layer in[] = { ETH(), IP(.src = from), FRAG(.more = 1, .id = 0x8000 + n), UDP(.dport = 54, .n = 8), { 0 } };

		frame_build(&f, in, program_defaults(r->program, r->on), now.v6);
		run_quietly(r, &f);
	}
	events_drain(NULL);
}

/* The device's pod sends `count` first fragments, each of another datagram; or A gets as many from `from`. */
static void sends_firsts(uint32_t device, uint32_t count)
{
	first_fragments(&(struct run){ .program = FROM_POD, .on = device }, count, WHO_DEFAULT);
}

static void gets_firsts(uint32_t from, uint32_t count)
{
	first_fragments(&(struct run){ .program = TO_POD, .on = DEVICE_A, .entered = DEVICE_UPLINK }, count, from);
}

/* --- scenarios --- */

#define SYN_TO_B IP(), TCP(.flags = SYN)
#define SYNACK_TO_A IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define ACK_TO_B IP(), TCP()
#define ACK_TO_A IP(), TCP(.sport = 80, .dport = 40000)
#define TCP_TO_B(...) IP(), TCP(__VA_ARGS__)
#define TCP_TO_A(...) IP(), TCP(.sport = 80, .dport = 40000, __VA_ARGS__)
#define UDP_TO_B IP(), UDP()
#define FIRST FRAG(.more = 1), UDP(.n = 8)
#define LATER(at) FRAG(.off = at, .more = 1), RAW(.proto = IPPROTO_UDP, .n = 8)
#define MANY 6000 /* more than one table for all ever held */
#define UDP_TO_A IP(), UDP(.sport = 53, .dport = 40000)
/* B's packets are denied; A's are allowed and get a reply. */
#define SHADOW(there, back)                                                                                            \
	SENDS(B, EGRESS_DENIED, IP(), back), SENDS(B, EGRESS_DENIED, IP(), back), SENDS(A, TO_ENDPOINT, IP(), there),         \
	DO(is_between, X(DEVICE_A), Y(DEVICE_B)), SENDS(B, TO_ENDPOINT, IP(), back), SENDS(A, TO_ENDPOINT, IP(), there),      \
	DO(flows_are, X(1), Y(0))
#define ESTABLISHED (WR_CT_REPLIED | WR_CT_ESTABLISHED)
/* An established connection that lasts moves to ct. */
#define LASTS DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, ACK_TO_B)
#define HANDSHAKE SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, ACK_TO_B)
#define WORLD_CONNECTION                                                                                               \
	SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)),                                                        \
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),          \
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP())

const struct scenario scenarios_local[] = {
	/* --- TCP --- */
	{ "tcp from the first packet to the last", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(0)), DO(lives, X(WR_CT_LIFE_TCP_NEW)),
		DO(is_between, X(DEVICE_A), Y(DEVICE_B)), DO(rules_are, X(RULE), Y(RULE)),
		SENDS(B, TO_ENDPOINT, SYNACK_TO_A),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(WR_CT_REPLIED)), DO(lives, X(WR_CT_LIFE_TCP_NEW)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(flows_are, X(1), Y(0)), DO(flags_are, X(ESTABLISHED)), DO(lives, X(WR_CT_LIFE_TCP)),
		DO(owns, X(DEVICE_A), Y(1)), DO(owns, X(DEVICE_B), Y(0)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = FIN | ACK)),
		DO(flags_are, X(ESTABLISHED | WR_CT_FIN_INITIATOR)), DO(lives, X(WR_CT_LIFE_TCP)),
		SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = FIN | ACK)),
		DO(flags_are, X(ESTABLISHED | WR_CT_FIN_INITIATOR | WR_CT_FIN_RESPONDER)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)), DO(flows_are, X(0), Y(1)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)),
		DO(flows_are, X(0), Y(1)),
		DO(counted, X(WR_CT_STAT_CREATED), Y(1)) } },
	{ "a new connection in the place of one that has ended", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = FIN | ACK)), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = FIN | ACK)),
		SENDS(A, TO_ENDPOINT, SYN_TO_B),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(0)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)) } },
	{ "a repeated syn changes nothing", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(flows_are, X(1), Y(0)), DO(counted, X(WR_CT_STAT_CREATED), Y(1)) } },
	{ "a reset that is accepted", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = RST)),
		DO(flags_are, X(ESTABLISHED | WR_CT_RESET)), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)),
		SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(flags_are, X(0)), DO(flows_are, X(0), Y(1)) } },
	{ "a reset that is not accepted", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = RST | ACK)), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)),
		DO(flows_are, X(0), Y(1)), SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(flags_are, X(ESTABLISHED)), DO(lives, X(WR_CT_LIFE_TCP)),
		DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)) } },
	{ "a pod's own reset ends its connection, whatever its number is", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = RST, .seq = FIRST_SEQ + 2)), DO(flows_are, X(0), Y(1)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ "a wrong reset from the world", .a = OPEN, .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), DO(flows_are, X(1), Y(0)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = RST, .seq = 77, .sport = 80, .dport = 40000)),
		DO(lives, X(WR_CT_LIFE_TCP)), DO(pass_seconds, X(11)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.ack = FIRST_SEQ + 7)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.ack = FIRST_SEQ + 8)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = RST, .seq = FIRST_SEQ + 7, .sport = 80, .dport = 40000)), DO(lives, X(WR_CT_LIFE_TCP)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = RST, .seq = FIRST_SEQ + 8, .sport = 80, .dport = 40000)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ "a forged FIN of the world does not close what the pod has half closed", .a = OPEN, .steps = {
		WORLD_CONNECTION, GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = FIN | ACK, .seq = FAR, .ack = FAR, .sport = 80, .dport = 40000)),
		DO(flags_are, X(ESTABLISHED)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = FIN | ACK)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = FIN | ACK, .seq = FAR, .sport = 80, .dport = 40000)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = FIN | ACK, .ack = FAR, .seq = FIRST_SEQ + 2, .sport = 80, .dport = 40000)),
		DO(flags_are, X(ESTABLISHED | WR_CT_FIN_INITIATOR)), DO(lives, X(WR_CT_LIFE_TCP)), DO(pass_seconds, X(11)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.n = 100, .sport = 80, .dport = 40000)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.ack = FIRST_SEQ + 101)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = FIN | ACK, .seq = FIRST_SEQ + 2000, .sport = 80, .dport = 40000)), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ "a FIN that is far ahead of what is acknowledged", .a = OPEN, .steps = {
		WORLD_CONNECTION, SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = FIN | ACK)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = FIN | ACK, .seq = FIRST_SEQ + 900000, .sport = 80, .dport = 40000)), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ "the world's reset with data that is not yet acknowledged", .a = OPEN, .steps = {
		WORLD_CONNECTION, GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = RST | ACK, .seq = FIRST_SEQ + 3000, .ack = FAR, .sport = 80, .dport = 40000)),
		DO(lives, X(WR_CT_LIFE_TCP)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = RST | ACK, .seq = FIRST_SEQ + 3000, .sport = 80, .dport = 40000)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "a pod's reset through the stack", .steps = {
		GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), TCP(.flags = SYN)), SENDS(B, TO_STACK, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), TCP()), GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), TCP(.flags = RST, .seq = 5)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ "a reply alone establishes nothing", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, SYN_TO_B),
		SENDS(B, TO_ENDPOINT, SYNACK_TO_A), DO(flows_are, X(0), Y(1)), DO(lives, X(WR_CT_LIFE_TCP_NEW)), DO(owns, X(DEVICE_A), Y(0)),
		DO(pass_seconds, X(61)), SENDS(B, NO_CONNECTION, ACK_TO_A), SENDS(A, NO_CONNECTION, ACK_TO_B) } },
	{ "nor does an acknowledgement of something else", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A), DO(pass_seconds, X(30)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.ack = 0xdead0000)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.ack = FIRST_SEQ)),
		DO(flows_are, X(0), Y(1)), DO(lives, X(WR_CT_LIFE_TCP_NEW - WR_CT_SECONDS(30))), SENDS(A, TO_ENDPOINT, ACK_TO_B),
		DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "another syn, before there is a reply", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN, .seq = 5000000)),
		SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN | ACK, .ack = 5000001)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.seq = 5000001)),
		DO(flows_are, X(1), Y(0)) } },
	{ "a reply to something else does not take the right one's place", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A),
		SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN | ACK, .seq = 90000000, .ack = 90000000)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(flows_are, X(1), Y(0)) } },
	{ "data with a syn-ack", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN | ACK, .n = 100)),
		SENDS(B, TO_ENDPOINT, TCP_TO_A(.seq = FIRST_SEQ + 101, .n = 100)), DO(flows_are, X(0), Y(1)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.ack = FIRST_SEQ + 201)), DO(flows_are, X(1), Y(0)) } },
	{ "an initiator that refuses the reply", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = RST)),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(WR_CT_REPLIED | WR_CT_RESET)), DO(lives, X(WR_CT_LIFE_TCP_CLOSING)),
		DO(owns, X(DEVICE_A), Y(0)), SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(flags_are, X(0)) } },
	{ "both ends begin at once", .a = OPEN, .b = OPEN, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN)), DO(flags_are, X(0)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN | ACK)), SENDS(B, TO_ENDPOINT, SYNACK_TO_A),
		DO(flows_are, X(0), Y(1)), DO(lives, X(WR_CT_LIFE_TCP_NEW)), SENDS(A, TO_ENDPOINT, ACK_TO_B), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "a syn never replaces a connection", .a = OPEN, .b = OPEN, .steps = {
		HANDSHAKE, SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN, .seq = 7)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN, .seq = 7)),
		DO(is_between, X(DEVICE_A), Y(DEVICE_B)), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)), DO(flags_are, X(ESTABLISHED)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), SENDS(B, TO_ENDPOINT, ACK_TO_A), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = RST)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN, .seq = 7)),
		DO(is_between, X(DEVICE_B), Y(DEVICE_A)), DO(flows_are, X(0), Y(1)) } },
	{ "nor does one from the world to a pod isolated for egress only", .a = WORLD_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.sport = 80, .dport = 40000)),
		DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "a fin and a syn do not cut", .a = SERVER, .b = SERVER, .steps = {
		DO(set_class, X(DEVICE_A), Y(CLIENT)), HANDSHAKE, SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = FIN | ACK, .seq = 77)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN, .seq = 77)), DO(flows_are, X(1), Y(0)), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		DO(pass_seconds, X(61)), SENDS(B, TO_ENDPOINT, ACK_TO_A), SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "a refused connection is none", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = RST | ACK)),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(WR_CT_RESET)) } },
	{ "in the middle of nothing, isolated", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, NO_CONNECTION, ACK_TO_B), SENDS(A, NO_CONNECTION, TCP_TO_B(.flags = SYN | ACK)),
		SENDS(A, NO_CONNECTION, TCP_TO_B(.flags = FIN)), SENDS(A, NO_CONNECTION, TCP_TO_B(.flags = RST)),
		SENDS(A, NO_CONNECTION, TCP_TO_B(.flags = SYN | FIN)), SENDS(A, NO_CONNECTION, TCP_TO_B(.flags = V(0))),
		DO(flows_are, X(0), Y(0)) } },
	{ "in the middle of nothing, one side isolated", .b = INGRESS, .steps = {
		SENDS(A, NO_CONNECTION, ACK_TO_B), SENDS(B, NO_CONNECTION, ACK_TO_A), DO(flows_are, X(0), Y(0)) } },
	{ "in the middle of something, neither side isolated", .steps = {
		SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(flows_are, X(0), Y(1)), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_TCP)) } },
	{ "too late", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(pass_seconds, X(7000)), SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(lives, X(WR_CT_LIFE_TCP)),
		DO(pass_seconds, X(8000)), SENDS(A, NO_CONNECTION, ACK_TO_B), SENDS(B, NO_CONNECTION, ACK_TO_A),
		SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(flows_are, X(0), Y(1)), DO(owns, X(DEVICE_A), Y(0)) } },

	/* --- the responder --- */
	{ "the responder may reply and not begin", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, SENDS(B, EGRESS_DENIED, IP(), TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		DO(flows_are, X(1), Y(0)), SENDS(A, TO_ENDPOINT, ACK_TO_B), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		SENDS(B, EGRESS_DENIED, IP(), TCP(.flags = SYN, .sport = 81, .dport = 40000)) } },
	{ "a responder that may begin takes over a closed flow", .a = OPEN, .b = OPEN, .steps = {
		HANDSHAKE, DO(is_between, X(DEVICE_A), Y(DEVICE_B)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = RST)),
		SENDS(B, TO_ENDPOINT, IP(), TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		DO(is_between, X(DEVICE_B), Y(DEVICE_A)), DO(flows_are, X(0), Y(1)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a denial is not opened from the other side", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, TCP_TO_B(.flags = SYN, .dport = 81)),
		DO(flags_are, X(WR_CT_DENIED_EGRESS)), DO(lives, X(WR_CT_LIFE_DENIED)),
		SENDS(B, EGRESS_DENIED, IP(), TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000)),
		SENDS(B, EGRESS_DENIED, IP(), TCP(.sport = 81, .dport = 40000)),
		SENDS(A, EGRESS_DENIED, TCP_TO_B(.dport = 81)), DO(counted, X(WR_CT_STAT_CREATED), Y(1)),
		DO(pass_seconds, X(10)), SENDS(B, NO_CONNECTION, IP(), TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000)) } },
	{ "nor is one of udp: the other side's datagrams are evaluated as its own", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 54)), SENDS(B, INGRESS_DENIED, IP(), UDP(.sport = 54, .dport = 40000)),
		DO(flows_are, X(0), Y(1)), SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 54)), DO(pass_seconds, X(10)),
		SENDS(B, INGRESS_DENIED, IP(), UDP(.sport = 54, .dport = 40000)), DO(is_between, X(DEVICE_B), Y(DEVICE_A)) } },
	{ "a denial does not shadow the other direction: udp", .a = OUT_ONLY, .b = IN_ONLY, .steps = { SHADOW(UDP(), UDP(.sport = 53, .dport = 40000)) } },
	{ "... a protocol without ports", .a = OUT_ONLY, .b = IN_ONLY, .steps = { SHADOW(RAW(.proto = 47, .n = 4), RAW(.proto = 47, .n = 4)) } },
	{ "... sctp", .a = OUT_ONLY, .b = IN_ONLY, .steps = { SHADOW(SCTP(), SCTP(.sport = 5000, .dport = 40000)) } },
	{ "... icmp without an id", .a = OUT_ONLY, .b = IN_ONLY, .steps = { SHADOW(ICMP(.type = V(139)), ICMP(.type = V(140))) } },
	{ "... an icmp timestamp", .a = OUT_ONLY, .b = IN_ONLY, .steps = { SHADOW(ICMP(.type = V(13)), ICMP(.type = V(14))) }, .family = V4 },
	{ "... nor if the receiver denies", .b = OUT_ONLY, .steps = {
		SENDS(A, INGRESS_DENIED, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(is_between, X(DEVICE_B), Y(DEVICE_A)),
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(flows_are, X(1), Y(0)) } },
	{ "... nor what the world sends", .a = OUT_ONLY, .steps = {
		GETS(A, DEVICE_UPLINK, INGRESS_DENIED, IP(), UDP(.sport = 53, .dport = 40000)), SENDS(A, TO_STACK, IP(.dst = WORLD), UDP()),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), UDP(.sport = 53, .dport = 40000)), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)) } },
	{ "a denial does not replace what is allowed", .a = OUT_ONLY, .b = IN_ONLY, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), SENDS(B, EGRESS_DENIED, IP(), UDP(.sport = 54, .dport = 40000)),
		SENDS(B, TO_ENDPOINT, UDP_TO_A), SENDS(B, EGRESS_DENIED, IP(), UDP(.sport = 54, .dport = 40000)), DO(flows_are, X(1), Y(1)) } },
	{ "both directions are denied, each by its own policy", .a = CLOSED, .b = IN_ONLY, .steps = {
		SENDS(A, EGRESS_DENIED, UDP_TO_B), DO(rules_are, X(WR_RULE_NONE), Y(RULE + 3)), SENDS(B, EGRESS_DENIED, UDP_TO_A),
		SENDS(A, EGRESS_DENIED, UDP_TO_B), DO(flows_are, X(0), Y(1)) } },
	{ "what was established stays denied both ways", .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(set_class, X(DEVICE_A), Y(HOST_ONLY)),
		SENDS(A, EGRESS_DENIED, UDP_TO_B), SENDS(B, EGRESS_DENIED, UDP_TO_A), SENDS(B, EGRESS_DENIED, UDP_TO_A), DO(is_between, X(DEVICE_A), Y(DEVICE_B)) } },
	{ "nor is what has passed once, replied to or not, as long as it lives", .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(set_class, X(DEVICE_A), Y(HOST_ONLY)), SENDS(B, EGRESS_DENIED, UDP_TO_A),
		SENDS(A, EGRESS_DENIED, UDP_TO_B), SENDS(B, EGRESS_DENIED, UDP_TO_A), DO(is_between, X(DEVICE_A), Y(DEVICE_B)),
		DO(pass_seconds, X(11)), SENDS(B, TO_ENDPOINT, UDP_TO_A) } },
	{ "fragments and errors do not turn a denial", .a = OUT_ONLY, .b = IN_ONLY, .steps = {
		SENDS(B, EGRESS_DENIED, IP(), FRAG(.more = 1), UDP(.sport = 53, .dport = 40000, .n = 8, .len = 100)),
		SENDS(A, ICMP_ERROR, IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_B, .dst = POD_A), UDP(.sport = 53, .dport = 40000)),
		DO(is_between, X(DEVICE_B), Y(DEVICE_A)), SENDS(A, TO_ENDPOINT, UDP_TO_B) } },
	{ "denied by the receiver", .b = SERVER, .steps = {
		SENDS(A, INGRESS_DENIED, TCP_TO_B(.flags = SYN, .dport = 81)), DO(flags_are, X(WR_CT_DENIED_INGRESS)),
		DO(rules_are, X(WR_RULE_NOT_ISOLATED), Y(WR_RULE_NONE)) } },
	{ "denied by both", .a = CLOSED, .b = CLOSED, .steps = {
		SENDS(A, EGRESS_DENIED, SYN_TO_B), DO(flags_are, X(WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS)) } },
	{ "only a syn has a denial evaluated again", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, TCP_TO_B(.flags = SYN, .dport = 81)), DO(allow_port, X(CLIENT), Y(81)),
		SENDS(A, EGRESS_DENIED, TCP_TO_B(.dport = 81)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN, .dport = 81)),
		DO(flags_are, X(0)), SENDS(B, TO_ENDPOINT, IP(), TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000)) } },

	/* --- the policy changes --- */
	{ "a deny cuts a live connection, an allow revives it", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ACK_TO_B),
		DO(flows_are, X(0), Y(1)), DO(flags_are, X(ESTABLISHED | WR_CT_DENIED_EGRESS)), DO(lives, X(WR_CT_LIFE_DENIED)), SENDS(B, EGRESS_DENIED, ACK_TO_A),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(1)), DO(set_class, X(DEVICE_A), Y(CLIENT)),
		SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(flags_are, X(ESTABLISHED)), DO(lives, X(WR_CT_LIFE_TCP)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(counted, X(WR_CT_STAT_REEVALUATED), Y(2)) } },
	{ "a deny at the receiver, seen from the sender and from the receiver", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(B, INGRESS_DENIED, ACK_TO_A),
		SENDS(A, INGRESS_DENIED, ACK_TO_B), DO(flags_are, X(ESTABLISHED | WR_CT_DENIED_INGRESS)) } },
	{ "a flow that is still allowed continues", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_A), Y(CLIENT)), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		DO(set_class, X(DEVICE_B), Y(SERVER)), SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(flows_are, X(1), Y(0)),
		DO(is_between, X(DEVICE_A), Y(DEVICE_B)), DO(owns, X(DEVICE_A), Y(1)),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(2)) } },
	{ "evaluated again in the initiator's direction, from either side's packet", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_A), Y(CLIENT)), DO(set_class, X(DEVICE_B), Y(SERVER)),
		SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(rules_are, X(RULE), Y(RULE)) } },
	{ "a reply under a new policy", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(set_class, X(DEVICE_A), Y(CLIENT)), SENDS(B, TO_ENDPOINT, UDP_TO_A),
		DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)), DO(is_between, X(DEVICE_A), Y(DEVICE_B)) } },
	{ "a reply under a policy that denies", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(B, EGRESS_DENIED, UDP_TO_A),
		DO(flows_are, X(0), Y(1)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a fin under a new policy counts", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_A), Y(CLIENT)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = FIN | ACK)),
		DO(flags_are, X(ESTABLISHED | WR_CT_FIN_INITIATOR)) } },
	{ "a syn from the other side does not revive what was denied", .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_A), Y(HOST_ONLY)), SENDS(A, EGRESS_DENIED, ACK_TO_B),
		SENDS(B, TO_ENDPOINT, TCP_TO_A(.flags = SYN)), SENDS(A, NO_CONNECTION, TCP_TO_B(.n = 20)),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = SYN | ACK)), SENDS(A, TO_ENDPOINT, ACK_TO_B) } },
	/* RFC 9293 section 3.5.1. Nothing but an acknowledgement passes, and it opens nothing, whatever its number. */
	{ "a syn meets an old connection of the responder's", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, TO_ENDPOINT, TCP_TO_A(.ack = 77)), DO(flags_are, X(0)),
		SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(flags_are, X(0)), SENDS(B, NO_CONNECTION, TCP_TO_A(.n = 1)),
		SENDS(B, NO_CONNECTION, TCP_TO_A(.flags = FIN | ACK)), SENDS(B, NO_CONNECTION, TCP_TO_A(.flags = V(0))),
		SENDS(A, TO_ENDPOINT, TCP_TO_B(.flags = RST, .seq = 77)), SENDS(A, TO_ENDPOINT, SYN_TO_B),
		SENDS(B, TO_ENDPOINT, SYNACK_TO_A), SENDS(A, TO_ENDPOINT, ACK_TO_B), SENDS(B, TO_ENDPOINT, TCP_TO_A(.n = 1)) } },
	{ "... in two fragments, with data in the second one", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(B, NO_CONNECTION, IP(), FRAG(.more = 1), TCP(.words = 6, .sport = 80, .dport = 40000)) } },
	{ "... under a new policy", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(set_class, X(DEVICE_A), Y(CLIENT)), SENDS(B, TO_ENDPOINT, ACK_TO_A),
		SENDS(B, NO_CONNECTION, TCP_TO_A(.n = 1)), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(B, EGRESS_DENIED, ACK_TO_A) } },
	{ "quarantine cuts", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_class, X(DEVICE_B), Y(WR_CLASS_QUARANTINE)), SENDS(A, QUARANTINE, ACK_TO_B),
		SENDS(B, QUARANTINE, ACK_TO_A) } },
	{ "the receiver's identity changes", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_identity, X(DEVICE_B), Y(0xddd)), SENDS(A, EGRESS_DENIED, ACK_TO_B),
		DO(set_identity, X(DEVICE_B), Y(0xbbb)), SENDS(A, TO_ENDPOINT, ACK_TO_B) } },
	{ "the sender's identity changes", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_identity, X(DEVICE_A), Y(0xddd)), SENDS(B, INGRESS_DENIED, ACK_TO_A) } },
	{ "the sender's identity changes, and it sends", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(set_identity, X(DEVICE_A), Y(0xddd)), SENDS(A, INGRESS_DENIED, ACK_TO_B) } },
	{ "a half-written class", .a = CLIENT, .b = CLIENT + 1000, .steps = {
		SENDS(A, INGRESS_DENIED, SYN_TO_B), DO(rules_are, X(RULE), Y(WR_RULE_NO_CLASS)) } },

	/* --- addresses that move --- */
	{ "another pod gets the address", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(replace_pod, X(DEVICE_B), Y(DEVICE_UPLINK)), SENDS(A, NO_CONNECTION, ACK_TO_B),
		{ .program = FROM_POD, .on = DEVICE_UPLINK, .reason = WR_REASON_NO_CONNECTION, .in = { ETH(), ACK_TO_A } },
		SENDS(A, TO_ENDPOINT, SYN_TO_B), DO(is_between, X(DEVICE_A), Y(DEVICE_UPLINK)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "another pod gets the sender's address", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(replace_pod, X(DEVICE_A), Y(DEVICE_UPLINK)), SENDS(B, NO_CONNECTION, ACK_TO_A),
		DO(flows_are, X(1), Y(0)) } },
	{ "another pod gets the address of one that has another now", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, DO(replace_pod, X(DEVICE_B), Y(DEVICE_UPLINK)), DO(readdress_pod, X(DEVICE_B), Y(WORLD_NEAR)),
		DO(set_class, X(DEVICE_B), Y(SERVER)), SENDS(A, NO_CONNECTION, ACK_TO_B), SENDS(A, TO_ENDPOINT, SYN_TO_B),
		DO(is_between, X(DEVICE_A), Y(DEVICE_UPLINK)) } },
	{ "a pod comes to where there was none", .steps = {
		DO(remove_pod, X(DEVICE_B)), SENDS(A, TO_STACK, UDP_TO_B), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)),
		DO(restore_pod, X(DEVICE_B)), SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(is_between, X(DEVICE_A), Y(DEVICE_B)) } },
	{ "a pod goes", .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(remove_pod, X(DEVICE_B)),
		SENDS(A, TO_STACK, UDP_TO_B), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)), DO(owns, X(DEVICE_A), Y(0)) } },

	/* --- the verdict cache: packets that skip conntrack for a second --- */
	{ "replies to a flow through the stack go through it, whatever is cached of an earlier direct flow", .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), SENDS(A, TO_ENDPOINT, UDP_TO_B),
		SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(expire_flows), GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), UDP()),
		DO(via_stack, X(1)), SENDS(B, TO_STACK, UDP_TO_A), SENDS(A, TO_STACK, UDP_TO_B) } },
	{ "a cached verdict is for one flow", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(A, TO_ENDPOINT, UDP_TO_B),
		SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 54)), SENDS(A, EGRESS_DENIED, IP(), SCTP(.dport = 53)),
		DO(cache_wrongly, X(HOST), Y(DEVICE_B)), SENDS(A, EGRESS_DENIED, IP(.dst = HOST), UDP()) } },
	{ "a cached policy verdict holds for the next connections to the same port, until something changes", .a = CLIENT, .b = SERVER,
	  .steps = {
		SENDS(A, TO_ENDPOINT, SYN_TO_B), SENDS(A, TO_ENDPOINT, TCP_TO_B(.sport = 41000, .flags = SYN)),
		SENDS(A, EGRESS_DENIED, TCP_TO_B(.sport = 41001, .dport = 81, .flags = SYN)), SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 80)),
		DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, TCP_TO_B(.sport = 41002, .flags = SYN)),
		DO(set_class, X(DEVICE_B), Y(SERVER)), SENDS(A, TO_ENDPOINT, TCP_TO_B(.sport = 41003, .flags = SYN)),
		DO(set_identity, X(DEVICE_B), Y(0xbad)), SENDS(A, EGRESS_DENIED, TCP_TO_B(.sport = 41004, .flags = SYN)) } },
	{ "a denial ends a cached verdict, and has none", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(A, TO_ENDPOINT, UDP_TO_B),
		DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, UDP_TO_B), SENDS(A, INGRESS_DENIED, UDP_TO_B),
		SENDS(A, INGRESS_DENIED, UDP_TO_B) } },

	/* --- other protocols --- */
	{ "udp", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(lives, X(WR_CT_LIFE_OTHER_NEW)), SENDS(B, TO_ENDPOINT, UDP_TO_A),
		DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_OTHER_NEW)), DO(pass_seconds, X(2)), DO(counts, X(DEVICE_A), Y(0)),
		SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(lives, X(WR_CT_LIFE_OTHER)), DO(counts, X(DEVICE_A), Y(1)), DO(pass_seconds, X(100)),
		SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(lives, X(WR_CT_LIFE_OTHER)),
		DO(pass_seconds, X(120)), SENDS(B, EGRESS_DENIED, UDP_TO_A) } },
	{ "sctp", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), SCTP()), DO(lives, X(WR_CT_LIFE_OTHER_NEW)), DO(rules_are, X(RULE + 2), Y(RULE + 2)),
		SENDS(B, TO_ENDPOINT, IP(), SCTP(.sport = 5000, .dport = 40000)), DO(flows_are, X(1), Y(0)),
		DO(lives, X(WR_CT_LIFE_SCTP)), SENDS(A, EGRESS_DENIED, IP(), SCTP(.dport = 5001)) } },
	{ "a protocol without ports", .a = OPEN, .b = OPEN, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), RAW(.proto = 47, .n = 4)), DO(lives, X(WR_CT_LIFE_OTHER_NEW)),
		SENDS(B, TO_ENDPOINT, IP(), RAW(.proto = 47, .n = 4)), DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_OTHER_NEW)),
		DO(counted, X(WR_CT_STAT_CREATED), Y(1)) } },
	{ "a protocol without ports needs a rule without ports", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), RAW(.proto = 47, .n = 4)) } },
	{ "an echo", .a = OPEN, .b = SERVER, .steps = {
		DO(set_class, X(DEVICE_B), Y(OPEN)), SENDS(A, TO_ENDPOINT, IP(), ICMP()), DO(set_class, X(DEVICE_B), Y(OPEN)),
		SENDS(B, TO_ENDPOINT, IP(), ICMP(.type = ECHO_REPLY)), DO(flows_are, X(1), Y(0)), DO(lives, X(WR_CT_LIFE_OTHER_NEW)),
		SENDS(A, TO_ENDPOINT, IP(), ICMP()), SENDS(B, TO_ENDPOINT, IP(), ICMP()), DO(flows_are, X(1), Y(1)) } },
	{ "an echo needs a rule without ports", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), ICMP()), SENDS(B, EGRESS_DENIED, IP(), ICMP(.type = ECHO_REPLY)) } },
	{ "an unsolicited echo reply", .a = OPEN, .b = OPEN, .steps = {
		SENDS(B, NO_CONNECTION, IP(), ICMP(.type = ECHO_REPLY)), DO(flows_are, X(0), Y(0)) } },
	{ "an echo request is no reply", .b = HOST_ONLY, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), ICMP(.id = 0xffff0001u)), SENDS(B, EGRESS_DENIED, IP(), ICMP(.id = 0xffff0001u)),
		DO(is_between, X(DEVICE_A), Y(DEVICE_B)),
		SENDS(B, TO_ENDPOINT, IP(), ICMP(.type = ECHO_REPLY, .id = 0xffff0001u)), DO(flows_are, X(1), Y(0)) } },

	/* --- ICMP errors --- */
	{ "an error about a live flow", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(flags_are, X(0)),
		SENDS(B, TO_ENDPOINT, IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP()),
		DO(flags_are, X(0)), DO(flows_are, X(0), Y(1)), DO(pass_seconds, X(20)),
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = POD_B), UDP()),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = POD_B), UDP()),
		GETS(B, NO_DEVICE, ICMP_ERROR, IP(.src = HOST), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = POD_B), UDP()),
		DO(lives, X(WR_CT_LIFE_OTHER_NEW - WR_CT_SECONDS(20))), DO(pass_seconds, X(10)),
		SENDS(B, ICMP_ERROR, IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP()) } },
	{ "an error about a denied flow", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 54)),
		SENDS(B, ICMP_ERROR, IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP(.dport = 54)) } },
	{ "an error about a flow that is denied by now", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, UDP_TO_B), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		SENDS(B, ICMP_ERROR, IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP()),
		DO(flags_are, X(0)), DO(counted, X(WR_CT_STAT_REEVALUATED), Y(0)) } },
	{ "time exceeded", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, HOP_LIMIT, IP(.ttl = 1), UDP()),
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = POD_B), UDP()) } },

	/* --- fragments --- */
	{ "later fragments only follow", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FRAG(.more = 1), UDP(.n = 8, .len = 100)), DO(pass_seconds, X(20)),
		SENDS(A, TO_ENDPOINT, IP(), FRAG(.off = 16, .more = 1), RAW(.proto = IPPROTO_UDP, .n = 8)),
		DO(lives, X(WR_CT_LIFE_OTHER_NEW - WR_CT_SECONDS(20))), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		SENDS(A, EGRESS_DENIED, IP(), FRAG(.off = 24, .more = 1), RAW(.proto = IPPROTO_UDP, .n = 8)), DO(flags_are, X(0)),
		DO(set_class, X(DEVICE_A), Y(CLIENT)), DO(pass_seconds, X(10)),
		SENDS(A, FRAGMENT, IP(), FRAG(.off = 32, .more = 1), RAW(.proto = IPPROTO_UDP, .n = 8)), DO(flows_are, X(0), Y(1)) } },
	{ "fragments of a denied flow", .a = CLOSED, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), FRAG(.more = 1), UDP(.n = 8, .len = 24)),
		SENDS(A, FRAGMENT, IP(), FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)) } },
	{ "denied first fragments displace no datagram, neither another pod's nor the own", .a = CLIENT, .b = SERVER, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FIRST), GETS(B, DEVICE_UPLINK, INGRESS_DENIED, IP(.src = WORLD), FIRST), DO(sends_firsts, X(DEVICE_B), Y(MANY)),
		SENDS(A, TO_ENDPOINT, IP(), LATER(16)), DO(sends_firsts, X(DEVICE_A), Y(MANY)), SENDS(A, TO_ENDPOINT, IP(), LATER(24)) } },
	{ "what a pod sends displaces its own datagrams, the oldest first", .a = OPEN, .b = OPEN, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FIRST), SENDS(B, TO_ENDPOINT, IP(), FIRST), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), FIRST),
		DO(sends_firsts, X(DEVICE_A), Y(8)), SENDS(A, TO_ENDPOINT, IP(), LATER(16)), DO(sends_firsts, X(DEVICE_A), Y(MANY)),
		SENDS(A, FRAGMENT, IP(), LATER(24)), SENDS(B, TO_ENDPOINT, IP(), LATER(16)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), LATER(16)) } },
	{ "what comes from one sender displaces none of another's, nor what the pod sends", .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FIRST), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = WORLD), FIRST), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = WORLD_NEAR), FIRST),
		DO(gets_firsts, X(WORLD_NEAR), Y(MANY)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = WORLD), LATER(16)),
		GETS(A, DEVICE_UPLINK, FRAGMENT, IP(.src = WORLD_NEAR), LATER(16)), SENDS(A, TO_ENDPOINT, IP(), LATER(16)) } },
	{ "a first fragment in the place of an older one with its id", .a = OPEN, .b = OPEN, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FIRST), SENDS(A, TO_ENDPOINT, IP(), LATER(16)), SENDS(A, FRAGMENT_OVERLAP, IP(), LATER(16)),
		SENDS(A, TO_ENDPOINT, IP(), FIRST), SENDS(A, TO_ENDPOINT, IP(), LATER(16)), DO(set_class, X(DEVICE_B), Y(CLOSED)),
		SENDS(A, INGRESS_DENIED, IP(), FIRST), SENDS(A, INGRESS_DENIED, IP(), LATER(24)) } },
	{ "fragments of an echo", .a = OPEN, .b = OPEN, .steps = {
		SENDS(A, TO_ENDPOINT, IP(), FRAG(.more = 1), ICMP(.n = 8)),
		SENDS(A, TO_ENDPOINT, IP(), FRAG(.off = 16), RAW(.proto = IPPROTO_ICMP, .n = 8)) }, .family = V4 },

	/* --- host and world --- */
	{ "the own node's host may begin, and gets a reply", .a = CLOSED, .steps = {
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), TCP(.flags = SYN)), DO(flags_are, X(WR_CT_VIA_STACK)),
		DO(is_between, X(NO_DEVICE), Y(DEVICE_A)), DO(rules_are, X(0), Y(WR_RULE_OWN_NODE)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, EGRESS_DENIED, IP(.dst = HOST), TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), TCP()), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)) } },
	{ "a pod is evaluated on its way to its node", .a = CLOSED, .steps = {
		SENDS(A, EGRESS_DENIED, IP(.dst = HOST), TCP(.flags = SYN)), DO(rules_are, X(WR_RULE_NONE), Y(0)) } },
	{ "a block that holds the node's address", .a = HOST_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN)), DO(rules_are, X(RULE + 4), Y(0)), DO(flags_are, X(0)),
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP()), DO(flows_are, X(1), Y(0)), SENDS(A, EGRESS_DENIED, IP(.dst = WORLD), TCP(.flags = SYN)) } },
	{ "the world", .a = SERVER, .steps = {
		GETS(A, DEVICE_UPLINK, INGRESS_DENIED, IP(), TCP(.flags = SYN)), DO(flags_are, X(WR_CT_VIA_STACK | WR_CT_DENIED_INGRESS)),
		SENDS(A, INGRESS_DENIED, IP(.dst = WORLD), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)) } },
	{ "the world replies", .a = OPEN, .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), DO(flows_are, X(1), Y(0)), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		GETS(A, DEVICE_UPLINK, EGRESS_DENIED, IP(), TCP(.sport = 80, .dport = 40000)) } },
	{ "a quarantined pod replies to its host, also in the middle of a connection", .steps = {
		DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)), GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), UDP()),
		SENDS(A, TO_STACK, IP(.dst = HOST), UDP(.sport = 53, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP()), GETS(A, DEVICE_UPLINK, QUARANTINE, IP(), TCP()) } },
	{ "the world in the host's place", .a = CLOSED, .steps = {
		GETS(A, NO_DEVICE, DELIVERED, IP(), UDP()), GETS(A, DEVICE_UPLINK, INGRESS_DENIED, IP(), UDP()),
		GETS(A, NO_DEVICE, DELIVERED, IP(), UDP()), DO(flows_are, X(0), Y(1)) } },
	{ "a pod in the host's place", .a = CLOSED, .steps = {
		GETS(A, NO_DEVICE, DELIVERED, IP(.src = HOST), UDP()), GETS(A, DEVICE_B, INGRESS_DENIED, IP(.src = HOST), UDP()),
		DO(is_between, X(NO_DEVICE), Y(DEVICE_A)), SENDS(A, TO_STACK, IP(.dst = HOST), UDP(.sport = 53, .dport = 40000)) } },

	/* --- through the stack --- */
	{ "a pod by the node's address: both entries, both ways", .steps = {
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN, .dport = 8080)),
		GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), TCP(.flags = SYN)), DO(flows_are, X(0), Y(2)),
		SENDS(B, TO_STACK, SYNACK_TO_A), DO(flows_are, X(0), Y(2)),
		GETS(A, DEVICE_B, DELIVERED, IP(.src = HOST), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.dport = 8080)), DO(flows_are, X(1), Y(1)),
		GETS(B, DEVICE_A, DELIVERED, IP(.src = POD_A), TCP()), DO(flows_are, X(2), Y(0)), SENDS(B, TO_STACK, ACK_TO_A), SENDS(B, TO_STACK, ACK_TO_A) } },
	{ "a pod by the node's address, masqueraded", .steps = {
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN, .dport = 8080)),
		GETS(B, DEVICE_A, DELIVERED, IP(.src = HOST), TCP(.flags = SYN, .sport = 5555)),
		SENDS(B, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN | ACK, .sport = 80, .dport = 5555)),
		GETS(B, DEVICE_A, DELIVERED, IP(.src = HOST), TCP(.sport = 5555)), DO(flows_are, X(1), Y(1)) } },
	{ "a pod that reaches itself by the node's address", .a = HOST_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN, .dport = 8080)),
		GETS(A, DEVICE_A, EGRESS_DENIED, IP(.src = HOST), TCP(.flags = SYN, .sport = 5555)),
		DO(set_class, X(DEVICE_A), Y(OPEN)), GETS(A, DEVICE_A, DELIVERED, IP(.src = HOST), TCP(.flags = SYN, .sport = 5555)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN | ACK, .sport = 80, .dport = 5555)) } },
	{ "what the stack has translated is evaluated again", .a = HOST_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN, .dport = 8080)),
		GETS(B, DEVICE_A, EGRESS_DENIED, IP(.src = POD_A), TCP(.flags = SYN)) } },
	{ "out of quarantine by the node's address", .steps = {
		DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)),
		SENDS(A, TO_STACK, IP(.dst = HOST), TCP(.flags = SYN, .dport = 8080)),
		GETS(B, DEVICE_A, QUARANTINE, IP(.src = POD_A), TCP(.flags = SYN)),
		GETS(B, DEVICE_A, QUARANTINE, IP(.src = HOST), TCP(.flags = SYN)) } },

	/* --- room --- */
	{ "an endpoint's quota of ct, and no more", .a = OPEN, .b = OPEN, .steps = {
		DO(set_quota, X(1)), SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A), HANDSHAKE, DO(pass_seconds, X(2)),
		SENDS(B, TO_ENDPOINT, UDP_TO_A), DO(counts, X(DEVICE_A), Y(1)),
		SENDS(A, TO_ENDPOINT, ACK_TO_B), DO(counted, X(WR_CT_STAT_OVER_QUOTA), Y(1)), DO(owns, X(DEVICE_A), Y(2)),
		DO(counts, X(DEVICE_A), Y(1)), SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(pass_seconds, X(121)), DO(ct_gc),
		DO(flows_are, X(1), Y(0)), DO(counts, X(DEVICE_A), Y(0)), DO(lives, X(WR_CT_LIFE_TCP - WR_CT_SECONDS(121))),
		SENDS(B, TO_ENDPOINT, ACK_TO_A), DO(counted, X(WR_CT_STAT_OVER_QUOTA), Y(1)), DO(counts, X(DEVICE_A), Y(1)) } },
	{ "each endpoint has its own quota", .a = OPEN, .b = OPEN, .steps = {
		DO(set_quota, X(1)), SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, UDP_TO_A),
		SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 1)), SENDS(A, TO_ENDPOINT, IP(), UDP(.sport = 53, .dport = 1)),
		DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, UDP_TO_B), SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 1)),
		DO(flows_are, X(2), Y(0)), DO(counts, X(DEVICE_A), Y(1)), DO(counts, X(DEVICE_B), Y(1)) } },
	{ "the gc removes expired flows", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, LASTS, DO(ct_gc), DO(flows_are, X(1), Y(0)), DO(counts, X(DEVICE_A), Y(1)), DO(pass_seconds, X(8000)), DO(ct_gc),
		DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "the gc removes denied flows", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, LASTS, DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ACK_TO_B),
		DO(counts, X(DEVICE_A), Y(1)), DO(pass_seconds, X(10)),
		DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "the gc removes flows of a pod that has gone", .a = CLIENT, .b = SERVER, .steps = {
		HANDSHAKE, LASTS, DO(counts, X(DEVICE_A), Y(1)), DO(remove_pod, X(DEVICE_B)), DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ 0 },
};
