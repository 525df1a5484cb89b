/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows through a service (the address WORLD, port 80; its backends' port is 8080): what becomes of them in time. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "scenario.h"

/* --- acts --- */

/* The service's backends are this one; WHO_DEFAULT: there is none. */
static void lead(uint32_t who, uint32_t l4_proto)
{
	service_put(l4_proto, now.v6, (enum who[]){ who, WHO_DEFAULT });
}

/* Another port leads to the same backend. */
static void lead_too(uint32_t port, uint32_t l4_proto)
{
	service_put_too(l4_proto, now.v6, port);
}

static void no_service(uint32_t none, uint32_t no)
{
	services_clear();
}

/* As a flood does with those of ct_new; but what is cached stays. */
static void forget_flows(uint32_t none, uint32_t no)
{
	flows_clear();
}

static bool is_of_no_service(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	return !(ct->flags & WR_CT_SERVICE);
}

/* Which backends it has cannot be read any more, only whether one is among them. */
static void forget_lists(uint32_t none, uint32_t no)
{
	map_clear("service_lists");
}

/* Of a flow through a service only its own entry is left. */
static void forget_service(uint32_t none, uint32_t no)
{
	flows_each(now.v6, is_of_no_service, NULL);
}

/* How many verdicts with NAT have been cached since time passed, also those whose second is over. */
static void cached_are(uint32_t count, uint32_t none)
{
	assert_int_equal(verdicts_cached(true), count);
}

/* Of the last packet, the end that says `source`: its address and port. Inside its tunnel, if it has left by one. */
static void end_is(bool source, uint32_t who, uint32_t port)
{
	const size_t outer = now.trace.reason == WR_REASON_TO_NODE ? (now.over6 ? 40 : 20) + 8 + 8 + 12 + 14 : 0;
	const size_t ip = 14 + outer, size = now.v6 ? 16 : 4, at = ip + (now.v6 ? 8 : 12) + (source ? 0 : size);
	const size_t ports = ip + (now.v6 ? 40 : 20);
	const struct frame *f = &now.packet.out;

	assert_in_range(f->len, ports + 4, FRAME_MAX);
	assert_memory_equal(f->data + at, who_address(who, now.v6), size);
	assert_int_equal(read16(f->data + ports + (source ? 0 : 2)), port);
}

static void goes_to(uint32_t who, uint32_t port)
{
	end_is(false, who, port);
}

static void comes_from(uint32_t who, uint32_t port)
{
	end_is(true, who, port);
}

/* --- scenarios --- */

#define TO_SERVICE IP(.dst = WORLD)
#define ASK TO_SERVICE, UDP(.dport = 80)
/* A pod at that device, which has A's addresses by now. */
#define ASK_FROM_UPLINK                                                                                                \
	{                                                                                                              \
		.program = FROM_POD, .on = DEVICE_UPLINK, .reason = WR_REASON_TO_NODE,                                 \
		.in = { ETH(.smac = MAC_A), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80) }                         \
	}
#define ANSWER_B IP(), UDP(.sport = 8080, .dport = 40000)
#define ANSWER_C IP(.src = POD_C, .dst = POD_A), UDP(.sport = 8080, .dport = 40000)
#define SEGMENT(...) TO_SERVICE, TCP(.dport = 80, __VA_ARGS__)
#define SEGMENT_B(...) IP(), TCP(.sport = 8080, .dport = 40000, __VA_ARGS__)
#define SEGMENT_C(...) IP(.src = POD_C, .dst = POD_A), TCP(.sport = 8080, .dport = 40000, __VA_ARGS__)
#define DIRECT(...) IP(), TCP(.dport = 8080, __VA_ARGS__)
#define TO_B SENDS(A, TO_ENDPOINT, SEGMENT()), DO(goes_to, X(POD_B), Y(8080))
#define FROM_B SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(WORLD), Y(80))
#define TO_C SENDS(A, TO_NODE, SEGMENT()), DO(goes_to, X(POD_C), Y(8080))
#define FROM_C ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C()), DO(comes_from, X(WORLD), Y(80))
#define CONNECT_B                                                                                                      \
	DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), \
	SENDS(A, TO_ENDPOINT, SEGMENT())
#define CONNECT_C                                                                                                      \
	DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), \
	SENDS(A, TO_NODE, SEGMENT())
#define END_B SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK))

const struct scenario scenarios_service[] = {
	/* --- the backend goes --- */
	{ "datagrams move", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_ENDPOINT, ASK), SENDS(A, TO_ENDPOINT, ASK),
		DO(lead, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, ASK), DO(goes_to, X(POD_C), Y(8080)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C), DO(comes_from, X(WORLD), Y(80)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_NODE, ASK),
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)) } },
	{ "datagrams that nobody is left for", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B), SENDS(A, TO_ENDPOINT, ASK),
		DO(lead, X(WHO_DEFAULT), Y(IPPROTO_UDP)), SENDS(A, NO_BACKEND, ASK), DO(lead, X(POD_B), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a connection stays, a new one does not", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(lead, X(POD_C), Y(IPPROTO_TCP)), TO_B, FROM_B, TO_B,
		SENDS(A, TO_NODE, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)), DO(goes_to, X(POD_C), Y(8080)),
		DO(lead, X(WHO_DEFAULT), Y(IPPROTO_TCP)), TO_B, FROM_B,
		SENDS(A, NO_BACKEND, TO_SERVICE, TCP(.flags = SYN, .sport = 40002, .dport = 80)) } },
	{ "the service goes, its connection does not", .steps = {
		CONNECT_B, TO_B, DO(no_service), TO_B, FROM_B, TO_B, FROM_B,
		SENDS(A, TO_STACK, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)) } },

	/* --- two flows between the same ports --- */
	{ "of a flow that is denied after it was answered the origin stays", .a = OPEN, .b = OPEN, .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), DO(lead_too, X(81), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ASK), DO(set_class, X(DEVICE_A), Y(OPEN)),
		SENDS(A, SERVICE_CLASH, TO_SERVICE, UDP(.dport = 81)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(comes_from, X(WORLD), Y(80)) } },
	{ "a flow the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		DO(lead, X(POD_A), Y(IPPROTO_UDP)), SENDS(B, SERVICE_CLASH, TO_SERVICE, UDP(.sport = 8080, .dport = 80)),
		SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 8080, .dport = 8080)), DO(comes_from, X(WORLD), Y(80)), DO(pass_seconds, X(121)),
		SENDS(B, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_A), Y(8080)) } },
	{ "a connection the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)),
		DO(lead, X(POD_A), Y(IPPROTO_TCP)), SENDS(B, SERVICE_CLASH, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)),
		SENDS(B, TO_ENDPOINT, IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 8080)), DO(comes_from, X(WORLD), Y(80)) } },

	/* --- time --- */
	{ "entries of a flow that nobody has answered", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(flows_are, X(1), Y(2)), DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)), DO(counts, X(DEVICE_B), Y(0)) } },
	{ "all of them are swept with their flow", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(sweep), DO(flows_are, X(3), Y(0)), DO(pass_seconds, X(121)), DO(sweep), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "to another node too", .steps = {
		DO(lead, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, ASK), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C),
		DO(pass_seconds, X(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C),
		DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)), DO(pass_seconds, X(121)), DO(sweep), DO(flows_are, X(0), Y(0)),
		DO(owns, X(DEVICE_A), Y(0)) } },
	{ "none is as long as it lives", .steps = {
		CONNECT_B, DO(pass_seconds, X(100)), DO(sweep), DO(flows_are, X(3), Y(0)), TO_B, FROM_B, DO(pass_seconds, X(7900)),
		DO(sweep), DO(flows_are, X(3), Y(0)), TO_B, FROM_B, DO(pass_seconds, X(8000)), DO(sweep), DO(flows_are, X(0), Y(0)),
		DO(owns, X(DEVICE_A), Y(0)), SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "a flow that has ended", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(owns, X(DEVICE_A), Y(3)), END_B, DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "what is left of it", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, END_B, TO_B, DO(pass_seconds, X(9)), TO_B, FROM_B, DO(pass_seconds, X(9)), END_B, DO(comes_from, X(WORLD), Y(80)),
		DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)), DO(pass_seconds, X(11)),
		SENDS(A, NO_CONNECTION, SEGMENT(.flags = FIN | ACK)), SENDS(B, NO_CONNECTION, SEGMENT_B(.flags = FIN | ACK)) } },
	{ "the end that the backend sends last", .steps = {
		CONNECT_B, TO_B, FROM_B, SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)),
		DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)), FROM_B, TO_B } },
	{ "its ports are free again, whatever is left of its entries", .steps = {
		CONNECT_B, END_B, DO(forget_service), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(0), Y(3)), TO_B,
		DO(flows_are, X(3), Y(0)), DO(owns, X(DEVICE_A), Y(3)) } },
	{ "not so those of one to the backend itself", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, DIRECT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(A, TO_ENDPOINT, DIRECT(.flags = FIN | ACK)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), DO(flows_are, X(0), Y(1)),
		SENDS(A, SERVICE_CLASH, SEGMENT(.flags = SYN)), DO(pass_seconds, X(11)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)),
		DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a former backend's end is not that of the connection after it", .steps = {
		CONNECT_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), TO_C, DO(flows_are, X(5), Y(0)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(3), Y(2)),
		DO(owns, X(DEVICE_A), Y(3)), DO(pass_seconds, X(2)), TO_C } },
	{ "a service's entries are established with their flow", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)), TO_B,
		DO(flows_are, X(3), Y(0)), DO(owns, X(DEVICE_A), Y(3)), DO(pass_seconds, X(100)), DO(sweep), TO_B, FROM_B, DO(flows_are, X(3), Y(0)) } },
	{ "not by a wrong acknowledgement", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(A, TO_ENDPOINT, SEGMENT(.ack = 5)), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)) } },
	{ "a denied flow is no clash: the backend's own", .a = GIVES, .b = TAKES, .steps = {
		SENDS(B, EGRESS_DENIED, ANSWER_B), DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_ENDPOINT, ASK), DO(flows_are, X(1), Y(2)) } },
	{ "... of a connection", .a = GIVES, .b = TAKES, .steps = {
		SENDS(B, EGRESS_DENIED, SEGMENT_B(.flags = SYN)), CONNECT_B, DO(goes_to, X(POD_B), Y(8080)), FROM_B, DO(flows_are, X(3), Y(0)) } },
	{ "... nor the client's to the backend itself, under an earlier policy", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, DIRECT(.flags = SYN)), DO(allow_port, X(CLIENT), Y(8080)), DO(set_class, X(DEVICE_A), Y(CLIENT)),
		CONNECT_B, DO(goes_to, X(POD_B), Y(8080)), FROM_B } },
	{ "... of datagrams, and the other way round", .a = CLOSED, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 8080)), DO(set_class, X(DEVICE_A), Y(GIVES)), DO(lead, X(POD_B), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)),
		DO(forget_flows), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ASK), DO(set_class, X(DEVICE_A), Y(GIVES)),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "a backend's reset ends a service's connection, whatever its number is", .steps = {
		CONNECT_B, TO_B, FROM_B, SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = RST, .seq = 5)), DO(comes_from, X(WORLD), Y(80)),
		DO(flows_are, X(0), Y(3)) } },
	{ "a service's entries end with their flow, wherever its origin is", .steps = {
		DO(set_share, X(2)), CONNECT_B, DO(pass_seconds, X(2)), TO_B, DO(counts, X(DEVICE_A), Y(2)), DO(flows_are, X(3), Y(0)), END_B,
		DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a flow whose backend's pod has gone", .steps = {
		CONNECT_B, DO(pass_seconds, X(2)), TO_B, DO(remove_pod, X(DEVICE_B)), DO(sweep), DO(flows_are, X(2), Y(0)),
		DO(pass_seconds, X(60)), DO(sweep),
		DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a dead flow, not swept", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, TO_B, DO(pass_seconds, X(8000)), SENDS(B, NO_CONNECTION, SEGMENT_B()), SENDS(A, NO_CONNECTION, SEGMENT()),
		DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_C), Y(8080)) } },
	{ "no room for what was answered", .steps = {
		DO(set_share, X(0)), DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(flows_are, X(1), Y(2)), DO(comes_from, X(WORLD), Y(80)), DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, ASK),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)), DO(counts, X(DEVICE_A), Y(0)), DO(set_share, X(3)),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)) } },

	{ "room for some of it only", .steps = {
		DO(set_share, X(2)), DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(flows_are, X(2), Y(1)), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(flows_are, X(2), Y(1)), DO(set_share, X(3)), DO(pass_seconds, X(2)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(flows_are, X(3), Y(0)), DO(comes_from, X(WORLD), Y(80)) } },
	{ "the client's address is another pod's by now", .steps = {
		DO(lead, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, ASK), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C),
		DO(pass_seconds, X(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C), DO(counts, X(DEVICE_A), Y(3)),
		DO(replace_pod, X(DEVICE_A), Y(DEVICE_UPLINK)), ASK_FROM_UPLINK,
		DO(sweep), DO(counts, X(DEVICE_A), Y(0)), DO(flows_are, X(0), Y(3)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C),
		DO(comes_from, X(WORLD), Y(80)), DO(owns, X(DEVICE_UPLINK), Y(1)),
		ASK_FROM_UPLINK, DO(goes_to, X(POD_C), Y(8080)) } },

	/* --- the verdict cache --- */
	{ "a cached verdict is for both directions, and until something changes", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, SEGMENT()),
		SENDS(B, INGRESS_DENIED, SEGMENT_B()), DO(set_class, X(DEVICE_B), Y(OPEN)), TO_B, TO_B, DO(set_class, X(DEVICE_A), Y(CLOSED)),
		SENDS(B, EGRESS_DENIED, SEGMENT_B()), SENDS(A, EGRESS_DENIED, SEGMENT()) } },
	{ "a cached verdict is for one flow", .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, SENDS(A, TO_STACK, TO_SERVICE, TCP(.dport = 81)),
		SENDS(A, TO_STACK, TO_SERVICE, UDP(.dport = 80)), SENDS(B, TO_ENDPOINT, IP(), TCP(.sport = 8081, .dport = 40000)),
		DO(comes_from, X(POD_B), Y(8081)), SENDS(A, SERVICE_CLASH, DIRECT()),
		SENDS(B, TO_ENDPOINT, SEGMENT()), DO(goes_to, X(POD_B), Y(8080)), DO(comes_from, X(WORLD), Y(40000)) } },
	{ "cached: to another node, and from there", .a = OPEN, .steps = {
		CONNECT_C, TO_C, TO_C, TO_C, FROM_C, FROM_C, DO(revise), TO_C, TO_C, FROM_C, ARRIVES_FROM(NODE_D, IDENTITY_C, TUNNEL_SOURCE, SEGMENT_C()),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), ARRIVES(IDENTITY_C, EGRESS_DENIED, SEGMENT_C()), SENDS(A, EGRESS_DENIED, SEGMENT()) } },
	{ "a connection's verdicts: once it is established, by whatever comes", .steps = {
		DO(pass_seconds), CONNECT_B, DO(cached_are, X(2)), FROM_B, DO(cached_are, X(2)), TO_B, FROM_B, DO(pass_seconds), TO_B, DO(cached_are, X(2)), FROM_B,
		DO(pass_seconds), FROM_B, DO(cached_are, X(2)), TO_B } },
	{ "to another node and from there, likewise", .steps = {
		DO(pass_seconds), CONNECT_C, DO(cached_are, X(2)), TO_C, DO(cached_are, X(2)), TO_C, FROM_C, DO(pass_seconds), TO_C, DO(cached_are, X(2)), FROM_C,
		DO(pass_seconds), FROM_C, DO(cached_are, X(2)), TO_C } },
	{ "what the first answer gives ends with the policy", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, SEGMENT()), SENDS(B, INGRESS_DENIED, SEGMENT_B()),
		SENDS(A, INGRESS_DENIED, SEGMENT(.flags = FIN | ACK)), SENDS(B, INGRESS_DENIED, SEGMENT_B(.flags = RST)) } },
	{ "... and with who the other pod is", .a = CLIENT, .steps = {
		DO(allow_port, X(CLIENT), Y(8080)), CONNECT_B, DO(set_identity, X(DEVICE_B), Y(0xbad)), SENDS(A, EGRESS_DENIED, SEGMENT()),
		SENDS(B, EGRESS_DENIED, SEGMENT_B()), SENDS(A, EGRESS_DENIED, SEGMENT(.flags = FIN | ACK)) } },
	{ "... and of another node, which is closed to", .a = OPEN, .steps = {
		CONNECT_C, DO(set_class, X(DEVICE_A), Y(CLOSED)), ARRIVES(IDENTITY_C, EGRESS_DENIED, SEGMENT_C(.flags = FIN | ACK)),
		SENDS(A, EGRESS_DENIED, SEGMENT(.flags = FIN | ACK)), ARRIVES(IDENTITY_C, EGRESS_DENIED, SEGMENT_C()) } },
	{ "an end goes by the cache only with an entry", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, DO(forget_flows), SENDS(A, NO_CONNECTION, SEGMENT(.flags = FIN | ACK)), SENDS(B, NO_CONNECTION, SEGMENT_B(.flags = RST)) } },
	{ "both ends of a connection to another node", .steps = {
		CONNECT_C, SENDS(A, TO_NODE, SEGMENT(.flags = FIN | ACK)), DO(goes_to, X(POD_C), Y(8080)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = FIN | ACK)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(0), Y(3)),
		DO(owns, X(DEVICE_A), Y(0)), TO_C, DO(pass_seconds, X(2)), TO_C, FROM_C } },
	{ "one end of a connection", .steps = {
		CONNECT_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), DO(pass_seconds, X(100)), DO(sweep), DO(flows_are, X(3), Y(0)), FROM_B } },
	{ "a verdict that is out of date is none, whatever has become of the other end", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, END_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(readdress_pod, X(DEVICE_B), Y(WORLD_NEAR)),
		SENDS(A, NO_CONNECTION, SEGMENT()) } },
	{ "a reset", .steps = {
		CONNECT_B, TO_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = RST)), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)),
		DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a reset that nobody believed", .steps = {
		CONNECT_B, TO_B, SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = RST)), DO(comes_from, X(WORLD), Y(80)), TO_B, DO(pass_seconds, X(2)), TO_B,
		DO(pass_seconds, X(100)), FROM_B, DO(flows_are, X(3), Y(0)), DO(owns, X(DEVICE_A), Y(3)), TO_B, FROM_B } },
	{ "datagrams' verdicts: of the answers only", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(pass_seconds, X(2)),
		SENDS(A, TO_ENDPOINT, ASK), SENDS(A, TO_ENDPOINT, ASK), DO(cached_are, X(0)), SENDS(B, TO_ENDPOINT, ANSWER_B), DO(cached_are, X(1)) } },
	{ "no datagram's verdict is cached that may be evicted", .steps = {
		DO(pass_seconds), DO(set_share, X(0)), DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, ASK), SENDS(B, TO_ENDPOINT, ANSWER_B),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(cached_are, X(0)) } },
	{ "what a former backend sends late leads nobody to it", .steps = {
		CONNECT_B, TO_B, FROM_B, END_B, DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), TO_C,
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, SEGMENT_B()), TO_C } },
	{ "what a former backend sends late, of a connection that was not closed", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), TO_C,
		DO(pass_seconds, X(2)), TO_C, SENDS(B, TO_ENDPOINT, SEGMENT_B()), TO_C } },
	{ "a new connection from the same port goes elsewhere at once", .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, END_B, DO(lead, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), TO_C } },
	{ "a connection to the backend itself after one through the service", .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, END_B, SENDS(A, TO_ENDPOINT, DIRECT(.flags = SYN)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(comes_from, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "through the service after the backend itself, whose flow was evicted", .steps = {
		DO(set_share, X(0)), DO(lead, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), SENDS(B, TO_ENDPOINT, ANSWER_B),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), DO(set_share, X(9)), SENDS(B, TO_ENDPOINT, ANSWER_B), SENDS(B, TO_ENDPOINT, ANSWER_B),
		DO(comes_from, X(POD_B), Y(8080)), DO(forget_flows), SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)) } },
	{ "the same of another node", .steps = {
		DO(set_share, X(9)), DO(lead, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, IP(.dst = POD_C), UDP(.dport = 8080)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C), DO(comes_from, X(POD_C), Y(8080)), DO(forget_flows),
		SENDS(A, TO_NODE, ASK), DO(goes_to, X(POD_C), Y(8080)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ANSWER_C), DO(comes_from, X(WORLD), Y(80)) } },

	{ "whether its backend still is one is one lookup, not a search", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), DO(forget_lists), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(A, NO_BACKEND, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)) } },

	/* --- who is denied --- */
	{ "who may not send changes nothing", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_UDP)), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ASK), DO(goes_to, X(WORLD), Y(80)),
		DO(flows_are, X(0), Y(1)), SENDS(A, EGRESS_DENIED, ASK), DO(goes_to, X(WORLD), Y(80)), DO(flows_are, X(0), Y(1)),
		DO(set_class, X(DEVICE_A), Y(OPEN)), SENDS(A, TO_ENDPOINT, ASK), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)),
		SENDS(B, TO_ENDPOINT, ANSWER_B), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(1), Y(2)) } },
	{ "who may not be sent to is changed nothing for", .steps = {
		DO(lead, X(POD_B), Y(IPPROTO_TCP)), DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, SEGMENT(.flags = SYN)),
		DO(goes_to, X(WORLD), Y(80)), DO(flows_are, X(0), Y(1)), SENDS(A, INGRESS_DENIED, SEGMENT(.flags = SYN)), DO(flows_are, X(0), Y(1)) } },
	{ "who may not send does not learn that there is no backend", .steps = {
		DO(lead, X(WHO_DEFAULT), Y(IPPROTO_UDP)), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ASK), DO(flows_are, X(0), Y(0)),
		DO(set_class, X(DEVICE_A), Y(WORLD_ONLY)), SENDS(A, NO_BACKEND, ASK), DO(flows_are, X(0), Y(0)),
		DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)), SENDS(A, QUARANTINE, ASK), DO(flows_are, X(0), Y(0)) } },

	/* --- itself --- */
	{ "a pod and itself, in time", .steps = {
		DO(lead, X(POD_A), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, ASK), DO(comes_from, X(WORLD), Y(40000)), DO(goes_to, X(POD_A), Y(8080)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(1), Y(3)),
		DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(flows_are, X(4), Y(0)),
		SENDS(A, TO_ENDPOINT, ASK), SENDS(A, TO_ENDPOINT, ASK), DO(comes_from, X(WORLD), Y(40000)), DO(counts, X(DEVICE_A), Y(4)),
		DO(pass_seconds, X(121)), DO(sweep), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ 0 },
};
