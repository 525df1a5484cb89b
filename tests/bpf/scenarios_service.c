/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows through a service (the address WORLD, port 80; its backends' port is 8080): how they change over time. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "scenario.h"

/* --- acts --- */

/* Makes this the service's only backend; WHO_DEFAULT: it has none. */
static void set_backend(uint32_t who, uint32_t l4_proto)
{
	service_put(l4_proto, now.v6, (enum who[]){ who, WHO_DEFAULT });
}

/* All backends are C's pods but one, which is B; or B is not among them. Clients keep theirs for so many seconds. */
static void affine_with_b(uint32_t seconds, uint32_t l4_proto)
{
	service_put_affine(l4_proto, now.v6, (enum who[]){ POD_C, POD_C2, POD_B, WHO_DEFAULT }, seconds);
}

static void affine_without_b(uint32_t seconds, uint32_t l4_proto)
{
	service_put_affine(l4_proto, now.v6, (enum who[]){ POD_C, WHO_DEFAULT }, seconds);
}

static void affine_b_only(uint32_t seconds, uint32_t l4_proto)
{
	service_put_affine(l4_proto, now.v6, (enum who[]){ POD_B, WHO_DEFAULT }, seconds);
}

/* Another port with the same backend. */
static void add_port(uint32_t port, uint32_t l4_proto)
{
	service_put_too(l4_proto, now.v6, port);
}

static void no_service(uint32_t none, uint32_t no)
{
	services_clear();
}

static void forget_affinity(uint32_t none, uint32_t no)
{
	affinity_forget();
}

/* By all clients together. */
static void remembered_are(uint32_t count, uint32_t none)
{
	assert_int_equal(affinity_remembered(), count);
}

/* As a flood does with those of ct_new; cached verdicts stay. */
static void forget_flows(uint32_t none, uint32_t no)
{
	flows_clear();
}

static bool is_of_no_service(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	return !(ct->flags & WR_CT_SERVICE);
}

/* The list of backends is removed; membership can still be looked up. */
static void forget_lists(uint32_t none, uint32_t no)
{
	map_clear("service_lists");
}

/* Only a flow's own entry is left, without those of its service. */
static void forget_service(uint32_t none, uint32_t no)
{
	flows_each(now.v6, is_of_no_service, NULL);
}

/* Verdicts with NAT cached since the last pass_seconds(), including expired ones. */
static void cached_are(uint32_t count, uint32_t none)
{
	assert_int_equal(verdicts_cached(true), count);
}

/* Checks the last packet's source, or destination: address and port; of the inner packet if it left by a tunnel. */
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
#define REQUEST TO_SERVICE, UDP(.dport = 80)
/* The pod at that device, which has A's addresses now. */
#define REQUEST_FROM_UPLINK                                                                                                \
	{                                                                                                              \
		.program = FROM_POD, .on = DEVICE_UPLINK, .reason = WR_REASON_TO_NODE,                                 \
		.in = { ETH(.smac = MAC_A), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 80) }                         \
	}
#define REPLY_B IP(), UDP(.sport = 8080, .dport = 40000)
#define REPLY_C IP(.src = POD_C, .dst = POD_A), UDP(.sport = 8080, .dport = 40000)
#define SEGMENT(...) TO_SERVICE, TCP(.dport = 80, __VA_ARGS__)
#define SEGMENT_B(...) IP(), TCP(.sport = 8080, .dport = 40000, __VA_ARGS__)
#define SEGMENT_C(...) IP(.src = POD_C, .dst = POD_A), TCP(.sport = 8080, .dport = 40000, __VA_ARGS__)
#define DIRECT(...) IP(), TCP(.dport = 8080, __VA_ARGS__)
#define TO_B SENDS(A, TO_ENDPOINT, SEGMENT()), DO(goes_to, X(POD_B), Y(8080))
#define FROM_B SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(WORLD), Y(80))
#define TO_C SENDS(A, TO_NODE, SEGMENT()), DO(goes_to, X(POD_C), Y(8080))
#define FROM_C ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C()), DO(comes_from, X(WORLD), Y(80))
#define CONNECT_B                                                                                                      \
	DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), \
	SENDS(A, TO_ENDPOINT, SEGMENT())
#define CONNECT_C                                                                                                      \
	DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), \
	SENDS(A, TO_NODE, SEGMENT())
/* A's next connection. */
#define NEW(r, port) SENDS(A, r, TO_SERVICE, TCP(.flags = SYN, .sport = port, .dport = 80))
#define END_B SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK))

const struct scenario scenarios_service[] = {
	/* --- the backend goes --- */
	{ "datagrams move", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(A, TO_ENDPOINT, REQUEST),
		DO(set_backend, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, REQUEST), DO(goes_to, X(POD_C), Y(8080)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C), DO(comes_from, X(WORLD), Y(80)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_NODE, REQUEST),
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)) } },
	{ "datagrams without any backend left", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B), SENDS(A, TO_ENDPOINT, REQUEST),
		DO(set_backend, X(WHO_DEFAULT), Y(IPPROTO_UDP)), SENDS(A, NO_BACKEND, REQUEST), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a connection stays, a new one does not", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), TO_B, FROM_B, TO_B,
		SENDS(A, TO_NODE, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)), DO(goes_to, X(POD_C), Y(8080)),
		DO(set_backend, X(WHO_DEFAULT), Y(IPPROTO_TCP)), TO_B, FROM_B,
		SENDS(A, NO_BACKEND, TO_SERVICE, TCP(.flags = SYN, .sport = 40002, .dport = 80)) } },
	{ "the service goes, its connection does not", .steps = {
		CONNECT_B, TO_B, DO(no_service), TO_B, FROM_B, TO_B, FROM_B,
		SENDS(A, TO_STACK, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)) } },

	/* --- session affinity --- */
	{ "a client keeps its backend", .steps = {
		DO(affine_b_only, X(60), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 41000), DO(affine_with_b, X(60), Y(IPPROTO_TCP)),
		NEW(TO_ENDPOINT, 41001), NEW(TO_ENDPOINT, 41002), NEW(TO_ENDPOINT, 41003), NEW(TO_ENDPOINT, 41004), NEW(TO_ENDPOINT, 41005),
		NEW(TO_ENDPOINT, 41006), NEW(TO_ENDPOINT, 41007), DO(pass_seconds, X(50)), NEW(TO_ENDPOINT, 41008), DO(pass_seconds, X(50)),
		NEW(TO_ENDPOINT, 41009), NEW(TO_ENDPOINT, 41010), DO(affine_without_b, X(60), Y(IPPROTO_TCP)), NEW(TO_NODE, 41011),
		DO(affine_with_b, X(60), Y(IPPROTO_TCP)), NEW(TO_NODE, 41012), NEW(TO_NODE, 41013), NEW(TO_NODE, 41014), NEW(TO_NODE, 41015) } },
	{ "... also for a port that it has used with another one", .steps = {
		DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), NEW(TO_NODE, 41000), DO(affine_b_only, X(60), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 41001),
		DO(affine_with_b, X(60), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 41000), NEW(TO_ENDPOINT, 41001) } },
	{ "datagrams of a flow stay with its backend, those of a new one go to the client's", .steps = {
		DO(affine_without_b, X(60), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, REQUEST), DO(affine_with_b, X(60), Y(IPPROTO_UDP)),
		DO(forget_affinity), SENDS(A, TO_NODE, REQUEST), DO(affine_b_only, X(60), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41001, .dport = 80)), DO(affine_with_b, X(60), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41002, .dport = 80)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41003, .dport = 80)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41004, .dport = 80)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41005, .dport = 80)) } },
	{ "... and so do those of a flow that has expired", .steps = {
		DO(affine_without_b, X(60), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, REQUEST), DO(affine_b_only, X(60), Y(IPPROTO_UDP)),
		DO(forget_affinity), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 41001, .dport = 80)), DO(pass_seconds, X(40)),
		DO(affine_with_b, X(60), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST) } },
	{ "a client that is denied remembers nothing", .a = OPEN, .b = CLOSED, .steps = {
		DO(affine_b_only, X(60), Y(IPPROTO_TCP)), NEW(INGRESS_DENIED, 41000), DO(remembered_are, X(0)), DO(set_class, X(DEVICE_B), Y(OPEN)),
		NEW(TO_ENDPOINT, 41001), DO(remembered_are, X(1)), NEW(TO_ENDPOINT, 41002), DO(remembered_are, X(1)) } },
	{ "each client has its own", .steps = {
		DO(affine_without_b, X(60), Y(IPPROTO_TCP)), SENDS(B, TO_NODE, IP(.src = POD_B, .dst = WORLD), TCP(.flags = SYN, .dport = 80)),
		DO(affine_b_only, X(60), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 41000), DO(affine_with_b, X(60), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 41001),
		SENDS(B, TO_NODE, IP(.src = POD_B, .dst = WORLD), TCP(.flags = SYN, .sport = 41001, .dport = 80)), NEW(TO_ENDPOINT, 41002),
		SENDS(B, TO_NODE, IP(.src = POD_B, .dst = WORLD), TCP(.flags = SYN, .sport = 41002, .dport = 80)), NEW(TO_ENDPOINT, 41003),
		DO(remembered_are, X(2)) } },

	/* --- two flows between the same ports --- */
	{ "a flow that is denied after a reply keeps its NAT entry", .a = OPEN, .b = OPEN, .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), DO(add_port, X(81), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, REQUEST), DO(set_class, X(DEVICE_A), Y(OPEN)),
		SENDS(A, SERVICE_CLASH, TO_SERVICE, UDP(.dport = 81)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(comes_from, X(WORLD), Y(80)) } },
	{ "a flow the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		DO(set_backend, X(POD_A), Y(IPPROTO_UDP)), SENDS(B, SERVICE_CLASH, TO_SERVICE, UDP(.sport = 8080, .dport = 80)),
		SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 8080, .dport = 8080)), DO(comes_from, X(WORLD), Y(80)), DO(pass_seconds, X(121)),
		SENDS(B, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_A), Y(8080)) } },
	{ "a connection the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)),
		DO(set_backend, X(POD_A), Y(IPPROTO_TCP)), SENDS(B, SERVICE_CLASH, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)),
		SENDS(B, TO_ENDPOINT, IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 8080)), DO(comes_from, X(WORLD), Y(80)) } },

	/* --- time --- */
	{ "entries of a flow that has no reply", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(flows_are, X(1), Y(2)), DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)), DO(counts, X(DEVICE_B), Y(0)) } },
	{ "the gc removes all of them with their flow", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(ct_gc), DO(flows_are, X(3), Y(0)), DO(pass_seconds, X(121)), DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "to another node too", .steps = {
		DO(set_backend, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, REQUEST), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C),
		DO(pass_seconds, X(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C),
		DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)), DO(pass_seconds, X(121)), DO(ct_gc), DO(flows_are, X(0), Y(0)),
		DO(owns, X(DEVICE_A), Y(0)) } },
	{ "none is removed as long as it lives", .steps = {
		CONNECT_B, DO(pass_seconds, X(100)), DO(ct_gc), DO(flows_are, X(3), Y(0)), TO_B, FROM_B, DO(pass_seconds, X(7900)),
		DO(ct_gc), DO(flows_are, X(3), Y(0)), TO_B, FROM_B, DO(pass_seconds, X(8000)), DO(ct_gc), DO(flows_are, X(0), Y(0)),
		DO(owns, X(DEVICE_A), Y(0)), SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "a flow that has ended", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(owns, X(DEVICE_A), Y(3)), END_B, DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "late packets of a closed connection", .a = OPEN, .b = OPEN, .steps = {
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
	{ "the ports of a closed connection to the backend itself are not", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, DIRECT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(A, TO_ENDPOINT, DIRECT(.flags = FIN | ACK)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), DO(flows_are, X(0), Y(1)),
		SENDS(A, SERVICE_CLASH, SEGMENT(.flags = SYN)), DO(pass_seconds, X(11)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)),
		DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a former backend's end is not that of the connection after it", .steps = {
		CONNECT_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), TO_C, DO(flows_are, X(5), Y(0)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(3), Y(2)),
		DO(owns, X(DEVICE_A), Y(3)), DO(pass_seconds, X(2)), TO_C } },
	{ "a service's entries are established with their flow", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)), TO_B,
		DO(flows_are, X(3), Y(0)), DO(owns, X(DEVICE_A), Y(3)), DO(pass_seconds, X(100)), DO(ct_gc), TO_B, FROM_B, DO(flows_are, X(3), Y(0)) } },
	{ "not by a wrong acknowledgement", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(A, TO_ENDPOINT, SEGMENT(.ack = 5)), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)) } },
	{ "a denied flow is no clash: the backend's own", .a = OUT_ONLY, .b = IN_ONLY, .steps = {
		SENDS(B, EGRESS_DENIED, REPLY_B), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)), SENDS(A, TO_ENDPOINT, REQUEST), DO(flows_are, X(1), Y(2)) } },
	{ "... of a connection", .a = OUT_ONLY, .b = IN_ONLY, .steps = {
		SENDS(B, EGRESS_DENIED, SEGMENT_B(.flags = SYN)), CONNECT_B, DO(goes_to, X(POD_B), Y(8080)), FROM_B, DO(flows_are, X(3), Y(0)) } },
	{ "... nor the client's to the backend itself, under an earlier policy", .a = CLIENT, .steps = {
		SENDS(A, EGRESS_DENIED, DIRECT(.flags = SYN)), DO(allow_port, X(CLIENT), Y(8080)), DO(set_class, X(DEVICE_A), Y(CLIENT)),
		CONNECT_B, DO(goes_to, X(POD_B), Y(8080)), FROM_B } },
	{ "... of datagrams, and the other way round", .a = CLOSED, .steps = {
		SENDS(A, EGRESS_DENIED, IP(), UDP(.dport = 8080)), DO(set_class, X(DEVICE_A), Y(OUT_ONLY)), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)),
		DO(forget_flows), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, REQUEST), DO(set_class, X(DEVICE_A), Y(OUT_ONLY)),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "a backend's reset ends a service's connection, whatever its number is", .steps = {
		CONNECT_B, TO_B, FROM_B, SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = RST, .seq = 5)), DO(comes_from, X(WORLD), Y(80)),
		DO(flows_are, X(0), Y(3)) } },
	{ "a service's entries end with their flow, wherever its reverse-NAT entry is", .steps = {
		DO(set_quota, X(2)), CONNECT_B, DO(pass_seconds, X(2)), TO_B, DO(counts, X(DEVICE_A), Y(2)), DO(flows_are, X(3), Y(0)), END_B,
		DO(flows_are, X(0), Y(3)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a flow whose backend's pod has gone", .steps = {
		CONNECT_B, DO(pass_seconds, X(2)), TO_B, DO(remove_pod, X(DEVICE_B)), DO(ct_gc),
		DO(pass_seconds, X(60)), DO(ct_gc),
		DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ "an expired flow before the gc runs", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, TO_B, DO(pass_seconds, X(8000)), SENDS(B, NO_CONNECTION, SEGMENT_B()), SENDS(A, NO_CONNECTION, SEGMENT()),
		DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_C), Y(8080)) } },
	{ "no room for replied flows", .steps = {
		DO(set_quota, X(0)), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(flows_are, X(1), Y(2)), DO(comes_from, X(WORLD), Y(80)), DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, REQUEST),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)), DO(counts, X(DEVICE_A), Y(0)), DO(set_quota, X(3)),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)) } },

	{ "room for some of it only", .steps = {
		DO(set_quota, X(2)), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(flows_are, X(2), Y(1)), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(flows_are, X(2), Y(1)), DO(set_quota, X(3)), DO(pass_seconds, X(2)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(flows_are, X(3), Y(0)), DO(comes_from, X(WORLD), Y(80)) } },
	{ "the client's address is another pod's by now", .steps = {
		DO(set_backend, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, REQUEST), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C),
		DO(pass_seconds, X(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C), DO(counts, X(DEVICE_A), Y(3)),
		DO(replace_pod, X(DEVICE_A), Y(DEVICE_UPLINK)), REQUEST_FROM_UPLINK,
		DO(ct_gc), DO(counts, X(DEVICE_A), Y(0)), DO(flows_are, X(0), Y(3)), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C),
		DO(comes_from, X(WORLD), Y(80)), DO(owns, X(DEVICE_UPLINK), Y(1)),
		REQUEST_FROM_UPLINK, DO(goes_to, X(POD_C), Y(8080)) } },

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
		CONNECT_C, TO_C, TO_C, TO_C, FROM_C, FROM_C, DO(new_generation), TO_C, TO_C, FROM_C, ARRIVES_FROM(NODE_D, IDENTITY_C, TUNNEL_SOURCE, SEGMENT_C()),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), ARRIVES(IDENTITY_C, EGRESS_DENIED, SEGMENT_C()), SENDS(A, EGRESS_DENIED, SEGMENT()) } },
	{ "a connection's verdicts: once it is established, by whatever comes", .steps = {
		DO(pass_seconds), CONNECT_B, DO(cached_are, X(2)), FROM_B, DO(cached_are, X(2)), TO_B, FROM_B, DO(pass_seconds), TO_B, DO(cached_are, X(2)), FROM_B,
		DO(pass_seconds), FROM_B, DO(cached_are, X(2)), TO_B } },
	{ "to another node and from there, likewise", .steps = {
		DO(pass_seconds), CONNECT_C, DO(cached_are, X(2)), TO_C, DO(cached_are, X(2)), TO_C, FROM_C, DO(pass_seconds), TO_C, DO(cached_are, X(2)), FROM_C,
		DO(pass_seconds), FROM_C, DO(cached_are, X(2)), TO_C } },
	{ "a verdict cached by the first reply ends with the policy", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, SEGMENT()), SENDS(B, INGRESS_DENIED, SEGMENT_B()),
		SENDS(A, INGRESS_DENIED, SEGMENT(.flags = FIN | ACK)), SENDS(B, INGRESS_DENIED, SEGMENT_B(.flags = RST)) } },
	{ "... and with the other pod's identity", .a = CLIENT, .steps = {
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
		CONNECT_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = FIN | ACK)), DO(pass_seconds, X(100)), DO(ct_gc), DO(flows_are, X(3), Y(0)), FROM_B } },
	{ "a verdict that is out of date is none, whatever has become of the other end", .a = OPEN, .b = OPEN, .steps = {
		CONNECT_B, END_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(readdress_pod, X(DEVICE_B), Y(WORLD_NEAR)),
		SENDS(A, NO_CONNECTION, SEGMENT()) } },
	{ "a reset", .steps = {
		CONNECT_B, TO_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = RST)), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)),
		DO(owns, X(DEVICE_A), Y(0)) } },
	{ "a reset that was not accepted", .steps = {
		CONNECT_B, TO_B, SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = RST)), DO(comes_from, X(WORLD), Y(80)), TO_B, DO(pass_seconds, X(2)), TO_B,
		DO(pass_seconds, X(100)), FROM_B, DO(flows_are, X(3), Y(0)), DO(owns, X(DEVICE_A), Y(3)), TO_B, FROM_B } },
	{ "datagrams' verdicts: of the replies only", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B), DO(pass_seconds, X(2)),
		SENDS(A, TO_ENDPOINT, REQUEST), SENDS(A, TO_ENDPOINT, REQUEST), DO(cached_are, X(0)), SENDS(B, TO_ENDPOINT, REPLY_B), DO(cached_are, X(1)) } },
	{ "no verdict is cached for a datagram flow that may be evicted", .steps = {
		DO(pass_seconds), DO(set_quota, X(0)), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(cached_are, X(0)) } },
	{ "a former backend's late packet does not move the connection back", .steps = {
		CONNECT_B, TO_B, FROM_B, END_B, DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), TO_C,
		DO(pass_seconds, X(2)), SENDS(B, TO_ENDPOINT, SEGMENT_B()), TO_C } },
	{ "what a former backend sends late, of a connection that was not closed", .steps = {
		CONNECT_B, TO_B, FROM_B, DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SEGMENT_C(.flags = SYN | ACK)), TO_C,
		DO(pass_seconds, X(2)), TO_C, SENDS(B, TO_ENDPOINT, SEGMENT_B()), TO_C } },
	{ "a new connection from the same port goes elsewhere at once", .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, END_B, DO(set_backend, X(POD_C), Y(IPPROTO_TCP)), SENDS(A, TO_NODE, SEGMENT(.flags = SYN)), TO_C } },
	{ "a connection to the backend itself after one through the service", .steps = {
		CONNECT_B, TO_B, TO_B, FROM_B, FROM_B, END_B, SENDS(A, TO_ENDPOINT, DIRECT(.flags = SYN)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(comes_from, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B()), DO(comes_from, X(POD_B), Y(8080)) } },
	{ "through the service after the backend itself, whose flow was evicted", .steps = {
		DO(set_quota, X(0)), DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), SENDS(B, TO_ENDPOINT, REPLY_B),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 8080)), DO(set_quota, X(9)), SENDS(B, TO_ENDPOINT, REPLY_B), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(comes_from, X(POD_B), Y(8080)), DO(forget_flows), SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)) } },
	{ "the same of another node", .steps = {
		DO(set_quota, X(9)), DO(set_backend, X(POD_C), Y(IPPROTO_UDP)), SENDS(A, TO_NODE, IP(.dst = POD_C), UDP(.dport = 8080)), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C), DO(comes_from, X(POD_C), Y(8080)), DO(forget_flows),
		SENDS(A, TO_NODE, REQUEST), DO(goes_to, X(POD_C), Y(8080)), ARRIVES(IDENTITY_C, TO_ENDPOINT, REPLY_C), DO(comes_from, X(WORLD), Y(80)) } },

	{ "checking that a backend is current is one lookup, not a search", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(forget_lists), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(A, NO_BACKEND, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 80)) } },

	/* --- denied --- */
	{ "a denied client creates no NAT entries", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, REQUEST), DO(goes_to, X(WORLD), Y(80)),
		DO(flows_are, X(0), Y(1)), SENDS(A, EGRESS_DENIED, REQUEST), DO(goes_to, X(WORLD), Y(80)), DO(flows_are, X(0), Y(1)),
		DO(set_class, X(DEVICE_A), Y(OPEN)), SENDS(A, TO_ENDPOINT, REQUEST), DO(goes_to, X(POD_B), Y(8080)), DO(flows_are, X(0), Y(3)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(1), Y(2)) } },
	{ "nor does a denied backend", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(set_class, X(DEVICE_B), Y(CLOSED)), SENDS(A, INGRESS_DENIED, SEGMENT(.flags = SYN)),
		DO(goes_to, X(WORLD), Y(80)), DO(flows_are, X(0), Y(1)), SENDS(A, INGRESS_DENIED, SEGMENT(.flags = SYN)), DO(flows_are, X(0), Y(1)) } },
	{ "a denied client does not learn that there is no backend", .steps = {
		DO(set_backend, X(WHO_DEFAULT), Y(IPPROTO_UDP)), DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, REQUEST), DO(flows_are, X(0), Y(0)),
		DO(set_class, X(DEVICE_A), Y(WORLD_ONLY)), SENDS(A, NO_BACKEND, REQUEST), DO(flows_are, X(0), Y(0)),
		DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)), SENDS(A, QUARANTINE, REQUEST), DO(flows_are, X(0), Y(0)) } },

	/* --- itself --- */
	{ "a pod and itself, over time", .steps = {
		DO(set_backend, X(POD_A), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(comes_from, X(WORLD), Y(40000)), DO(goes_to, X(POD_A), Y(8080)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(1), Y(3)),
		DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(flows_are, X(4), Y(0)),
		SENDS(A, TO_ENDPOINT, REQUEST), SENDS(A, TO_ENDPOINT, REQUEST), DO(comes_from, X(WORLD), Y(40000)), DO(counts, X(DEVICE_A), Y(4)),
		DO(pass_seconds, X(121)), DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },
	{ 0 },
};
