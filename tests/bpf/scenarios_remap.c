/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two flows from one port through two frontends (ports 80 and 81 of the address WORLD) to one backend: the second one has
 * another source port toward it, over time. Packet by packet: test_service.c.
 */
#include <netinet/in.h>

#include "scenario.h"

/* --- acts --- */

/* The backends are B and C's pod. */
static void put_two(uint32_t none, uint32_t l4_proto)
{
	service_put(l4_proto, now.v6, (enum who[]){ POD_B, POD_C, WHO_DEFAULT });
}

static void put_affine(uint32_t who, uint32_t l4_proto)
{
	service_put_affine(l4_proto, now.v6, (enum who[]){ who, WHO_DEFAULT }, 60);
}

static void put_affine_two(uint32_t none, uint32_t l4_proto)
{
	service_put_affine(l4_proto, now.v6, (enum who[]){ POD_B, POD_C, WHO_DEFAULT }, 60);
}

/* A service of clients outside whose flows may move from node to node; B is its only backend. */
static void put_moving(uint32_t none, uint32_t l4_proto)
{
	service_put_moving(l4_proto, now.v6, POD_B);
}

/* --- scenarios --- */

#define TWO_PORTS(who, proto) DO(set_backend, X(who), Y(IPPROTO_##proto)), DO(add_port, X(81), Y(IPPROTO_##proto))
#define ASKS(r, port) SENDS(A, r, IP(.dst = WORLD), UDP(.dport = port))
#define SEGMENT(port, ...) IP(.dst = WORLD), TCP(.dport = port, __VA_ARGS__)
#define FROM_B(port) SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 8080, .dport = port))
#define SEGMENT_B(port, ...) IP(), TCP(.sport = 8080, .dport = port, __VA_ARGS__)
#define FROM_C(port) ARRIVES(IDENTITY_C, TO_ENDPOINT, IP(.src = POD_C, .dst = POD_A), UDP(.sport = 8080, .dport = port))
/* Both ends of a packet to B, of a reply. */
#define AT_B(port) DO(comes_from, X(POD_A), Y(port)), DO(goes_to, X(POD_B), Y(8080))
#define AT_A(port) DO(comes_from, X(WORLD), Y(port)), DO(goes_to, X(POD_A), Y(40000))
#define REMAPS DO(is_remapped, X(40000))
#define PASS DO(pass_seconds, X(2))

const struct scenario scenarios_remap[] = {
	{ "datagrams, over time", .steps = {
		TWO_PORTS(POD_B, UDP), ASKS(TO_ENDPOINT, 80), AT_B(40000), ASKS(TO_ENDPOINT, 81), REMAPS, AT_B(REMAPPED), FROM_B(REMAPPED), AT_A(81),
		FROM_B(40000), AT_A(80), DO(flows_are, X(2), Y(4)), PASS, FROM_B(REMAPPED), FROM_B(40000), DO(flows_are, X(6), Y(0)), DO(counts, X(DEVICE_A), Y(6)),
		ASKS(TO_ENDPOINT, 81), AT_B(REMAPPED), FROM_B(REMAPPED), AT_A(81), DO(pass_seconds, X(100)), ASKS(TO_ENDPOINT, 81), DO(pass_seconds, X(30)),
		DO(ct_gc), DO(flows_are, X(3), Y(0)), DO(counts, X(DEVICE_A), Y(3)), FROM_B(REMAPPED), AT_A(81) } },
	{ "once the first flow has expired, a new one keeps its port", .steps = {
		TWO_PORTS(POD_B, UDP), ASKS(TO_ENDPOINT, 80), ASKS(TO_ENDPOINT, 81), REMAPS, DO(expire_flows), ASKS(TO_ENDPOINT, 81), AT_B(40000),
		ASKS(TO_ENDPOINT, 80), REMAPS, FROM_B(REMAPPED), AT_A(80), FROM_B(40000), AT_A(81) } },
	{ "no verdict is cached of the second connection", .steps = {
		TWO_PORTS(POD_B, TCP), PASS, SENDS(A, TO_ENDPOINT, SEGMENT(80, .flags = SYN)), SENDS(A, TO_ENDPOINT, SEGMENT(81, .flags = SYN)), REMAPS,
		SENDS(B, TO_ENDPOINT, SEGMENT_B(REMAPPED, .flags = SYN | ACK)), AT_A(81), SENDS(A, TO_ENDPOINT, SEGMENT(81)), AT_B(REMAPPED),
		SENDS(A, TO_ENDPOINT, SEGMENT(81)), SENDS(B, TO_ENDPOINT, SEGMENT_B(REMAPPED)), AT_A(81), DO(cached_are, X(0)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(40000, .flags = SYN | ACK)), AT_A(80), SENDS(A, TO_ENDPOINT, SEGMENT(80)), DO(cached_are, X(2)),
		SENDS(A, TO_ENDPOINT, SEGMENT(80)), AT_B(40000), SENDS(A, TO_ENDPOINT, SEGMENT(81)), AT_B(REMAPPED) } },
	{ "a connection ends, and its entries with it", .steps = {
		TWO_PORTS(POD_B, TCP), SENDS(A, TO_ENDPOINT, IP(), TCP(.flags = SYN, .dport = 8080)), SENDS(A, TO_ENDPOINT, SEGMENT(81, .flags = SYN)), REMAPS,
		SENDS(B, TO_ENDPOINT, SEGMENT_B(REMAPPED, .flags = SYN | ACK)), SENDS(A, TO_ENDPOINT, SEGMENT(81)), PASS, SENDS(A, TO_ENDPOINT, SEGMENT(81)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(REMAPPED)), DO(owns, X(DEVICE_A), Y(3)), SENDS(A, TO_ENDPOINT, SEGMENT(81, .flags = FIN | ACK)), AT_B(REMAPPED),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(REMAPPED, .flags = FIN | ACK)), AT_A(81), DO(flows_are, X(0), Y(4)), DO(owns, X(DEVICE_A), Y(0)),
		SENDS(A, TO_ENDPOINT, SEGMENT(81)), AT_B(REMAPPED) } },
	{ "the backend is on another node", .steps = {
		TWO_PORTS(POD_C, UDP), ASKS(TO_NODE, 80), ASKS(TO_NODE, 81), REMAPS, FROM_C(REMAPPED), AT_A(81), FROM_C(40000), AT_A(80), PASS, ASKS(TO_NODE, 81),
		DO(comes_from, X(POD_A), Y(REMAPPED)), FROM_C(REMAPPED), AT_A(81), DO(flows_are, X(4), Y(2)), DO(pass_seconds, X(121)), DO(ct_gc),
		DO(counts, X(DEVICE_A), Y(0)) } },
	{ "datagrams move to another backend, and keep their own port there", .steps = {
		TWO_PORTS(POD_B, UDP), ASKS(TO_ENDPOINT, 80), ASKS(TO_ENDPOINT, 81), REMAPS, TWO_PORTS(POD_C, UDP), ASKS(TO_NODE, 81),
		DO(comes_from, X(POD_A), Y(40000)), FROM_C(40000), AT_A(81), FROM_B(REMAPPED), AT_A(81), ASKS(TO_NODE, 80), REMAPS } },
	{ "another backend comes first, always", .steps = {
		DO(put_two, X(0), Y(IPPROTO_UDP)),
#define TAKEN(port)                                                                                                    \
	SENDS(A, TO_ENDPOINT, IP(), UDP(.sport = port, .dport = 8080)), SENDS(A, TO_NODE, IP(.dst = WORLD), UDP(.sport = port, .dport = 80)), \
	DO(comes_from, X(POD_A), Y(port))
		TAKEN(41000), TAKEN(41001), TAKEN(41002), TAKEN(41003), TAKEN(41004), TAKEN(41005), TAKEN(41006), TAKEN(41007), TAKEN(41008), TAKEN(41009) } },
	{ "... but for a client that has one", .steps = {
		DO(put_affine, X(POD_B), Y(IPPROTO_UDP)), ASKS(TO_ENDPOINT, 80), SENDS(A, TO_ENDPOINT, IP(), UDP(.sport = 41000, .dport = 8080)),
		DO(put_affine_two, X(0), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, IP(.dst = WORLD), UDP(.sport = 41000, .dport = 80)), DO(is_remapped, X(41000)),
		DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a denied client writes nothing, and is not remapped", .a = OPEN, .steps = {
		TWO_PORTS(POD_B, UDP), ASKS(TO_ENDPOINT, 80), DO(set_class, X(DEVICE_B), Y(CLOSED)), ASKS(INGRESS_DENIED, 81), DO(goes_to, X(WORLD), Y(81)),
		DO(comes_from, X(POD_A), Y(40000)), DO(flows_are, X(0), Y(4)), DO(set_class, X(DEVICE_B), Y(OPEN)), ASKS(TO_ENDPOINT, 81), REMAPS } },
	{ "SCTP is not remapped", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_SCTP)), SENDS(A, TO_ENDPOINT, IP(), SCTP(.dport = 8080, .n = 20)),
		SENDS(A, SERVICE_CLASH, IP(.dst = WORLD), SCTP(.dport = 80, .n = 20)) } },

	/* --- clients outside the cluster --- */
#define CLIENT(r, port) CLIENT_SENDS(r, UDP(.dport = port))
#define ANSWERS(r, port) SENDS(B, r, IP(.src = POD_B, .dst = WORLD_NEAR), UDP(.sport = 8080, .dport = port))
#define AT_CLIENT(port) DO(comes_from, X(WORLD), Y(port)), DO(goes_to, X(WORLD_NEAR), Y(40000))
	{ "a client outside, and a pod of this node", .steps = {
		TWO_PORTS(POD_B, UDP), CLIENT(TO_ENDPOINT, 80), CLIENT(TO_ENDPOINT, 81), REMAPS, DO(goes_to, X(POD_B), Y(8080)), ANSWERS(TO_CLIENT, REMAPPED),
		AT_CLIENT(81), ANSWERS(TO_CLIENT, 40000), AT_CLIENT(80), PASS, CLIENT(TO_ENDPOINT, 81), DO(comes_from, X(WORLD_NEAR), Y(REMAPPED)),
		ANSWERS(TO_CLIENT, REMAPPED), AT_CLIENT(81), DO(flows_are, X(4), Y(2)), DO(pass_seconds, X(121)), DO(ct_gc), DO(flows_are, X(0), Y(3)) } },
	{ "after another node's service", .steps = {
		TWO_PORTS(POD_B, UDP), ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD_NEAR, .dst = POD_B), UDP(.dport = 8080)), CLIENT(TO_ENDPOINT, 80), REMAPS,
		ANSWERS(TO_CLIENT, REMAPPED), AT_CLIENT(80), ANSWERS(TO_NODE, 40000), DO(peer_is, X(C_)) } },
	{ "a connection after another node's service", .steps = {
		TWO_PORTS(POD_B, TCP), ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD_NEAR, .dst = POD_B), TCP(.flags = SYN, .dport = 8080)),
		CLIENT_SENDS(TO_ENDPOINT, TCP(.flags = SYN, .dport = 80)), REMAPS,
		SENDS(B, TO_CLIENT, IP(.src = POD_B, .dst = WORLD_NEAR), TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), AT_CLIENT(80),
		SENDS(B, TO_NODE, IP(.src = POD_B, .dst = WORLD_NEAR), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), DO(peer_is, X(C_)),
		CLIENT_SENDS(TO_ENDPOINT, TCP(.dport = 80)), DO(comes_from, X(WORLD_NEAR), Y(REMAPPED)) } },
#define BY_NODE(r, f)                                                                                                  \
	ARRIVES(WR_ID_WORLD, r, IP(.src = WORLD_FAR, .dst = POD_B), TCP(.flags = f, .sport = 41001, .dport = 8080))
#define DIRECTLY(r, f) BARE(MAC_OTHER, r, IP(.src = WORLD_FAR, .dst = WORLD), TCP(.flags = f, .sport = 41001, .dport = 80))
#define ANSWERED(r, f) SENDS(B, r, IP(.src = POD_B, .dst = WORLD_FAR), TCP(.flags = f, .sport = 8080, .dport = 41001))
	{ "a SYN, which may be forged, does not turn aside a connection that may come from another node", .steps = {
		DO(put_moving, X(0), Y(IPPROTO_TCP)), BY_NODE(TO_ENDPOINT, SYN), ANSWERED(TO_NODE, SYN | ACK), BY_NODE(TO_ENDPOINT, ACK), ANSWERED(TO_NODE, ACK),
		DIRECTLY(SERVICE_CLASH, SYN), DO(flows_are, X(1), Y(0)), DIRECTLY(TO_ENDPOINT, ACK), DO(comes_from, X(WORLD_FAR), Y(41001)),
		ANSWERED(TO_CLIENT, ACK) } },
	{ "a client outside, and another node's pod", .steps = {
		TWO_PORTS(POD_C, UDP), CLIENT(TO_NODE, 80), CLIENT(TO_NODE, 81), REMAPS,
		ARRIVES(IDENTITY_C, TO_CLIENT, IP(.src = POD_C, .dst = WORLD_NEAR), UDP(.sport = 8080, .dport = REMAPPED)), AT_CLIENT(81),
		ARRIVES(IDENTITY_C, TO_CLIENT, IP(.src = POD_C, .dst = WORLD_NEAR), UDP(.sport = 8080, .dport = 40000)), AT_CLIENT(80) } },
	{ "a client outside, and a process of this host", .steps = {
		TWO_PORTS(NODE, TCP), CLIENT_SENDS(TO_STACK, TCP(.flags = SYN, .dport = 80)), CLIENT_SENDS(TO_STACK, TCP(.flags = SYN, .dport = 81)), REMAPS,
		DO(goes_to, X(NODE), Y(8080)), HOST_SENDS(TO_CLIENT, TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), AT_CLIENT(81),
		CLIENT_SENDS(TO_STACK, TCP(.dport = 81)), DO(comes_from, X(WORLD_NEAR), Y(REMAPPED)),
		HOST_SENDS(TO_CLIENT, TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), AT_CLIENT(80) } },
	{ 0 },
};
