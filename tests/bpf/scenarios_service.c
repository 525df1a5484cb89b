/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows through a service (the address WORLD, port 80; its backends' port is 8080): how they change over time. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "scenario.h"

/* --- acts --- */

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

/* A service for clients outside; the flow of WORLD_FAR's port has C's pod in its table, all others have B. */
static void put_table(uint32_t sport, uint32_t l4_proto)
{
	service_put_table(l4_proto, now.v6, WORLD_FAR, sport, false, true);
}

static void put_affine_table(uint32_t sport, uint32_t l4_proto)
{
	service_put_table(l4_proto, now.v6, WORLD_FAR, sport, true, true);
}

static void put_lost_table(uint32_t sport, uint32_t l4_proto)
{
	service_put_table(l4_proto, now.v6, WORLD_FAR, sport, false, false);
}

/* The service's address is a ClusterIP, of which all ports are known (COMPLETE), or not (0: another proxy has it). */
#define COMPLETE WR_CLUSTER_IP_COMPLETE
static void cluster_ip(uint32_t flags, uint32_t none)
{
	service_address_put(now.v6, flags);
}

/* A ServiceCIDR of this length with that address. */
static void service_cidr(uint32_t who, uint32_t len)
{
	service_cidr_put(now.v6, who, now.v6 && len == 32 ? 128 : len);
}

/* The service is for that client only; WHO_DEFAULT: for none. */
static void restrict_to(uint32_t who, uint32_t l4_proto)
{
	service_restrict(l4_proto, now.v6, who, now.v6 ? 128 : 32);
}

static void no_service(uint32_t none, uint32_t no)
{
	services_clear();
}

/* Port 80 of the host is the pod's port 8080, for all protocols. */
static void host_port(uint32_t device, uint32_t who)
{
	host_port_put(IPPROTO_TCP, now.v6, who, device);
	host_port_put(IPPROTO_UDP, now.v6, who, device);
	host_port_put(IPPROTO_SCTP, now.v6, who, device);
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
	now.cached_in = verdicts_cached(true).latest;
}

/* Since forget_flows(), the packets have gone by cached verdicts alone; unless those have ended with their second. */
static void none_is_tracked(uint32_t none, uint32_t no)
{
	if (verdicts_cached(true).latest == now.cached_in)
		flows_are(0, 0);
	else
		print_message("  a new second: cached verdicts have ended\n");
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

/* Of a client outside the cluster. */
#define ASKED_BY(client, r, port) BARE(MAC_OTHER, r, IP(.src = client, .dst = WORLD), UDP(.sport = port, .dport = 80))

/* Of a client outside, to a hostPort of B's; what B replies to WORLD_FAR. */
#define TO_HOST_PORT(client, r, ...) BARE(MAC_OTHER, r, IP(.src = client, .dst = HOST), __VA_ARGS__)
#define OF_HOST_PORT(r, ...) SENDS(B, r, IP(.src = POD_B, .dst = WORLD_FAR), __VA_ARGS__)

/* A connection of WORLD_FAR with B: by way of another node, at this node's uplink, and B's replies. */
#define BY_NODE(node, r, ...)                                                                                          \
	ARRIVES_FROM(node, WR_ID_WORLD, r, IP(.src = WORLD_FAR, .dst = POD_B), TCP(.sport = 41001, .dport = 8080, __VA_ARGS__))
#define DIRECTLY(r, ...)                                                                                               \
	BARE(MAC_OTHER, r, IP(.src = WORLD_FAR, .dst = WORLD), TCP(.sport = 41001, .dport = 80, __VA_ARGS__))
#define ANSWERED(r, ...)                                                                                               \
	SENDS(B, r, IP(.src = POD_B, .dst = WORLD_FAR), TCP(.sport = 8080, .dport = 41001, __VA_ARGS__))
/* Of the host's process behind the service, to the client outside. */
#define FROM_PROCESS UDP(.sport = 8080, .dport = 40000)
#define SEGMENT_OF_PROCESS(f) TCP(.flags = f, .sport = 8080, .dport = 40000)
#define FORWARDED(r, ...)                                                                                              \
	{                                                                                                              \
		.program = TO_UPLINK, .entered = DEVICE_A, .reason = WR_REASON_##r,                                    \
		.in = { ETH(), IP(.src = NODE, .dst = WORLD_NEAR), __VA_ARGS__ }                                       \
	}

const struct scenario scenarios_service[] = {
	/* --- tables --- */
	{ "an element of the table is a flow's", .steps = {
		DO(put_table, X(41000), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_NODE, 41000), DO(goes_to, X(POD_C), Y(8080)),
		ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41001), DO(goes_to, X(POD_B), Y(8080)), ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41002),
		ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41003), ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41004), ASKED_BY(WORLD_NEAR, TO_ENDPOINT, 41000),
		BARE(MAC_OTHER, NONE, IP(.src = WORLD_FAR, .dst = WORLD), TCP(.flags = SYN, .sport = 41000, .dport = 80)),
		DO(put_table, X(41002), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_NODE, 41000), DO(forget_flows),
		ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41000), ASKED_BY(WORLD_FAR, TO_NODE, 41002) } },
	{ "with affinity it is the client's, until it has a backend", .steps = {
		DO(put_affine_table, X(41000), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_NODE, 41001), ASKED_BY(WORLD_FAR, TO_NODE, 41002),
		ASKED_BY(WORLD_NEAR, TO_ENDPOINT, 41001), DO(put_table, X(41000), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41003),
		DO(put_affine_table, X(41000), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_NODE, 41004) } },
	/* --- flows that move from node to node --- */
	{ "a connection comes from another node, and goes back", .steps = {
		DO(put_table, X(41000), Y(IPPROTO_TCP)), BY_NODE(NODE_C, TO_ENDPOINT, .flags = SYN), ANSWERED(TO_NODE, .flags = SYN | ACK),
		BY_NODE(NODE_C, TO_ENDPOINT), ANSWERED(TO_NODE), DO(peer_is, X(C_)), DIRECTLY(TO_ENDPOINT), DO(goes_to, X(POD_B), Y(8080)),
		ANSWERED(TO_CLIENT), DO(comes_from, X(WORLD), Y(80)), DIRECTLY(TO_ENDPOINT), BY_NODE(NODE_C, TO_ENDPOINT), ANSWERED(TO_NODE),
		DO(comes_from, X(POD_B), Y(8080)), DO(peer_is, X(C_)), DIRECTLY(TO_ENDPOINT), ANSWERED(TO_CLIENT), DO(comes_from, X(WORLD), Y(80)) } },
	{ "to a third node's pod", .steps = {
		DO(put_table, X(41001), Y(IPPROTO_TCP)), DIRECTLY(TO_NODE), DO(goes_to, X(POD_C), Y(8080)),
		ARRIVES(IDENTITY_C, TO_CLIENT, IP(.src = POD_C, .dst = WORLD_FAR), TCP(.sport = 8080, .dport = 41001)),
		DO(comes_from, X(WORLD), Y(80)), DIRECTLY(TO_NODE) } },
	{ "what does not move: to a pod with a policy without a connection, a reset", .b = IN_ONLY, .steps = {
		DO(put_table, X(41000), Y(IPPROTO_TCP)), DIRECTLY(NO_CONNECTION), DIRECTLY(NONE, .flags = RST), DO(flows_are, X(0), Y(0)) } },
	{ "a SYN, and a segment with a number far off, move no connection", .steps = {
		DO(put_table, X(41000), Y(IPPROTO_TCP)), BY_NODE(NODE_C, TO_ENDPOINT, .flags = SYN), ANSWERED(TO_NODE, .flags = SYN | ACK),
		BY_NODE(NODE_C, TO_ENDPOINT), BY_NODE(NODE_D, TO_ENDPOINT, .flags = SYN, .seq = 0x40000000), ANSWERED(TO_NODE), DO(peer_is, X(C_)),
		BY_NODE(NODE_D, TO_ENDPOINT, .seq = 0x40000000), ANSWERED(TO_NODE), DO(peer_is, X(C_)), DIRECTLY(TO_ENDPOINT, .seq = 0x40000000),
		ANSWERED(TO_NODE), DO(peer_is, X(C_)), BY_NODE(NODE_D, TO_ENDPOINT), ANSWERED(TO_NODE), DO(peer_is, X(D_)),
		BY_NODE(NODE_C, TO_ENDPOINT, .ack = 0x40000000), ANSWERED(TO_NODE), DO(peer_is, X(D_)),
		BY_NODE(NODE_C, TO_ENDPOINT, .seq = FIRST_SEQ + 1 - 0x100000), ANSWERED(TO_NODE), DO(peer_is, X(C_)) } },
	{ "datagrams move at once", .steps = {
		DO(put_table, X(41000), Y(IPPROTO_UDP)),
		ARRIVES_FROM(NODE_C, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD_FAR, .dst = POD_B), UDP(.sport = 41001, .dport = 8080)),
		ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41001), SENDS(B, TO_CLIENT, IP(.src = POD_B, .dst = WORLD_FAR), UDP(.sport = 8080, .dport = 41001)),
		DO(comes_from, X(WORLD), Y(80)) } },

	{ "a table that is lost costs its choice only", .steps = {
		DO(put_lost_table, X(41000), Y(IPPROTO_UDP)), ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41000), ASKED_BY(WORLD_FAR, TO_ENDPOINT, 41001) } },

	/* --- SCTP: its checksum covers the ports --- */
#define INIT SCTP(.dport = 80, .n = 20)
#define CHUNKS SCTP(.seq = 9, .dport = 80, .n = 999)
#define CHUNKS_BACK SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 64)
#define GOES_TO(who) DO(goes_to, X(who), Y(8080)), DO(sctp_sum_is_right)
#define COMES_BACK DO(comes_from, X(WORLD), Y(80)), DO(sctp_sum_is_right)
	{ "sctp of a pod", .steps = {
		DO(pass_seconds, X(1)), DO(set_backend, X(POD_B), Y(IPPROTO_SCTP)), SENDS(A, SERVICE_SCTP, TO_SERVICE, FRAG(.more = 1), INIT),
		DO(flows_are, X(0), Y(0)), SENDS(A, TO_ENDPOINT, TO_SERVICE, INIT), GOES_TO(POD_B), SENDS(B, TO_ENDPOINT, IP(), CHUNKS_BACK),
		COMES_BACK, SENDS(A, TO_ENDPOINT, TO_SERVICE, CHUNKS), GOES_TO(POD_B), DO(cached_are, X(2)), DO(forget_flows),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, CHUNKS), GOES_TO(POD_B), SENDS(B, TO_ENDPOINT, IP(), CHUNKS_BACK), COMES_BACK, DO(none_is_tracked) } },
	{ "sctp of a pod, to another node", .steps = {
		DO(pass_seconds, X(1)), DO(set_backend, X(POD_C), Y(IPPROTO_SCTP)), SENDS(A, TO_NODE, TO_SERVICE, INIT), GOES_TO(POD_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, IP(.src = POD_C, .dst = POD_A), CHUNKS_BACK), COMES_BACK, SENDS(A, TO_NODE, TO_SERVICE, CHUNKS), GOES_TO(POD_C),
		DO(cached_are, X(2)), DO(forget_flows), SENDS(A, TO_NODE, TO_SERVICE, CHUNKS), GOES_TO(POD_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, IP(.src = POD_C, .dst = POD_A), CHUNKS_BACK), COMES_BACK, DO(none_is_tracked) } },
	{ "sctp of a client outside", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_SCTP)), CLIENT_SENDS(SERVICE_SCTP, FRAG(.more = 1), INIT), DO(flows_are, X(0), Y(0)),
		CLIENT_SENDS(TO_ENDPOINT, INIT), GOES_TO(POD_B),
		SENDS(B, TO_CLIENT, IP(.src = POD_B, .dst = WORLD_NEAR), CHUNKS_BACK), COMES_BACK, CLIENT_SENDS(TO_ENDPOINT, CHUNKS), GOES_TO(POD_B),
		SENDS(B, SERVICE_SCTP, IP(.src = POD_B, .dst = WORLD_NEAR), FRAG(.more = 1), SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 12)),
		CLIENT_SENDS(SERVICE_SCTP, FRAG(.more = 1), SCTP(.seq = 9, .dport = 80, .n = 12)) } },
	{ "sctp of a client outside, to another node", .steps = {
		DO(set_backend, X(POD_C), Y(IPPROTO_SCTP)), CLIENT_SENDS(TO_NODE, INIT), GOES_TO(POD_C),
		ARRIVES(IDENTITY_C, TO_CLIENT, IP(.src = POD_C, .dst = WORLD_NEAR), CHUNKS_BACK), COMES_BACK, CLIENT_SENDS(TO_NODE, CHUNKS), GOES_TO(POD_C) } },
	{ "sctp of a client outside, to a process of this host", .steps = {
		DO(set_backend, X(NODE), Y(IPPROTO_SCTP)), CLIENT_SENDS(TO_STACK, INIT), GOES_TO(NODE), HOST_SENDS(TO_CLIENT, CHUNKS_BACK), COMES_BACK,
		CLIENT_SENDS(TO_STACK, CHUNKS), GOES_TO(NODE) } },
	{ "sctp of a client outside, to a process of another node's host", .steps = {
		DO(set_backend, X(NODE_C), Y(IPPROTO_SCTP)), CLIENT_SENDS(TO_NODE, INIT), GOES_TO(NODE_C),
		ARRIVES(WR_ID_REMOTE_NODE, TO_CLIENT, IP(.src = NODE_C, .dst = WORLD_NEAR), CHUNKS_BACK), COMES_BACK, CLIENT_SENDS(TO_NODE, CHUNKS),
		GOES_TO(NODE_C) } },
	/* --- hostPorts --- */
	{ "a hostPort, of a client outside", .steps = {
		DO(host_port, X(DEVICE_B)), TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, TCP(.flags = SYN, .sport = 41000, .dport = 80)),
		DO(goes_to, X(POD_B), Y(8080)), OF_HOST_PORT(TO_CLIENT, TCP(.flags = SYN | ACK, .sport = 8080, .dport = 41000)),
		DO(comes_from, X(HOST), Y(80)), TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, TCP(.sport = 41000, .dport = 80)),
		OF_HOST_PORT(TO_CLIENT, TCP(.sport = 8080, .dport = 41000)), DO(no_service),
		TO_HOST_PORT(WORLD_FAR, NONE, TCP(.sport = 41000, .dport = 80)),
		TO_HOST_PORT(WORLD_FAR, NONE, TCP(.flags = SYN, .sport = 41001, .dport = 80)) } },
	{ "a hostPort: its policy sees the client", .b = WORLD_ONLY, .steps = {
		DO(host_port, X(DEVICE_B)), TO_HOST_PORT(WORLD, TO_ENDPOINT, UDP(.sport = 41000, .dport = 80)),
		TO_HOST_PORT(WORLD_FAR, INGRESS_DENIED, UDP(.sport = 41000, .dport = 80)) } },
	{ "a hostPort, of a pod and of itself", .steps = {
		DO(host_port, X(DEVICE_B)), SENDS(A, TO_ENDPOINT, IP(.dst = HOST), UDP(.dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, REPLY_B), DO(comes_from, X(HOST), Y(80)),
		SENDS(B, TO_ENDPOINT, IP(.src = POD_B, .dst = HOST), UDP(.sport = 41000, .dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		DO(comes_from, X(HOST), Y(41000)) } },
	{ "a hostPort: not at addresses of others, nor for what may be a reply", .steps = {
		DO(host_port, X(DEVICE_B)), DO(host_port, X(DEVICE_B), Y(WORLD)),
		BARE(MAC_OTHER, NONE, IP(.src = WORLD_FAR, .dst = WORLD), UDP(.sport = 41000, .dport = 80)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), UDP(.dport = 80)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN, .dport = 80)),
		TO_HOST_PORT(WORLD_FAR, NONE, TCP(.flags = SYN | ACK, .sport = 41000, .dport = 80)),
		TO_HOST_PORT(WORLD_FAR, NONE, TCP(.sport = 41000, .dport = 80)), TO_HOST_PORT(WORLD_FAR, NONE, UDP(.sport = 41000, .dport = 81)),
		DO(flows_are, X(0), Y(2)) } },
	{ "a hostPort's pod goes: rejected, as long as the map has it; then it is another pod's", .steps = {
		DO(host_port, X(DEVICE_B)), TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, UDP(.sport = 41000, .dport = 80)),
		DO(remove_pod, X(DEVICE_B)), TO_HOST_PORT(WORLD_FAR, NO_BACKEND, TCP(.flags = SYN, .sport = 41000, .dport = 80)),
		DO(no_service), DO(host_port, X(DEVICE_A)), TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, UDP(.sport = 41000, .dport = 80)),
		DO(goes_to, X(POD_A), Y(8080)) } },
	{ "a hostPort of one address precedes that of all, and a Service both", .steps = {
		DO(host_port, X(DEVICE_A)), DO(host_port, X(DEVICE_B), Y(HOST)),
		TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, UDP(.sport = 41000, .dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		DO(set_backend, X(POD_C), Y(IPPROTO_UDP)), DO(host_port, X(DEVICE_B), Y(WORLD)), ASKED_BY(WORLD_FAR, TO_NODE, 41001),
		DO(goes_to, X(POD_C), Y(8080)) } },
	{ "a hostPort of SCTP", .steps = {
		DO(host_port, X(DEVICE_B)), TO_HOST_PORT(WORLD_FAR, TO_ENDPOINT, SCTP(.type = V(1), .sport = 41000, .dport = 80, .n = 20)),
		GOES_TO(POD_B), OF_HOST_PORT(TO_CLIENT, SCTP(.type = V(2), .sport = 8080, .dport = 41000, .n = 20)), DO(comes_from, X(HOST), Y(80)),
		DO(sctp_sum_is_right) } },

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
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.dport = 81)), DO(is_remapped, X(40000)), SENDS(A, TO_ENDPOINT, REQUEST), SENDS(B, TO_ENDPOINT, REPLY_B),
		DO(comes_from, X(WORLD), Y(80)) } },
	{ "a flow the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_B), Y(8080)),
		DO(set_backend, X(POD_A), Y(IPPROTO_UDP)), SENDS(B, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(is_remapped, X(8080)),
		SENDS(B, TO_ENDPOINT, IP(), UDP(.sport = 8080, .dport = 8080)), DO(comes_from, X(WORLD), Y(80)), DO(pass_seconds, X(121)),
		SENDS(B, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 80)), DO(goes_to, X(POD_A), Y(8080)) } },
	{ "a connection the other way through the same service", .a = OPEN, .b = OPEN, .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)),
		DO(set_backend, X(POD_A), Y(IPPROTO_TCP)), SENDS(B, TO_ENDPOINT, TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)), DO(is_remapped, X(8080)),
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
	{ "... also of a connection to the backend itself", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, DIRECT(.flags = SYN)), SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		SENDS(A, TO_ENDPOINT, DIRECT(.flags = FIN | ACK)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = FIN | ACK)), DO(flows_are, X(0), Y(1)),
		SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), DO(comes_from, X(WORLD), Y(80)) } },
	{ "... and through another service", .steps = {
		CONNECT_B, END_B, DO(add_port, X(81), Y(IPPROTO_TCP)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, TCP(.flags = SYN, .dport = 81)), DO(goes_to, X(POD_B), Y(8080)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)),
		DO(comes_from, X(WORLD), Y(81)) } },
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
	{ "the port of a connection to a service that has gone", .steps = {
		CONNECT_B, DO(no_service), TO_B, FROM_B, SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)), TO_B, FROM_B, END_B,
		SENDS(A, TO_STACK, SEGMENT(.flags = SYN)) } },
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

	/* --- ports and addresses that no service has --- */
#define NO_PORT(r) SENDS(A, r, TO_SERVICE, TCP(.flags = SYN, .sport = 40001, .dport = 81))
	{ "a port that the ClusterIP does not have", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), NO_PORT(TO_STACK), DO(cluster_ip, X(0)), NO_PORT(TO_STACK), DO(forget_flows),
		DO(cluster_ip, X(COMPLETE)), NO_PORT(NO_SERVICE_PORT), SENDS(A, NO_SERVICE_PORT, REQUEST), SENDS(A, NO_SERVICE_PORT, TO_SERVICE, ICMP()),
		SENDS(A, NO_SERVICE_PORT, TO_SERVICE, SCTP(.dport = 80)), DO(flows_are, X(0), Y(0)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)),
		DO(goes_to, X(POD_B), Y(8080)) } },
	{ "a denied client does not learn that", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(cluster_ip, X(COMPLETE)), DO(service_cidr, X(WORLD_FAR), Y(32)),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), NO_PORT(EGRESS_DENIED), SENDS(A, EGRESS_DENIED, TO_SERVICE, ICMP()),
		SENDS(A, EGRESS_DENIED, IP(.dst = WORLD_FAR), UDP(.dport = 80)), DO(flows_are, X(0), Y(0)),
		DO(set_class, X(DEVICE_A), Y(WORLD_ONLY)), NO_PORT(NO_SERVICE_PORT), SENDS(A, EGRESS_DENIED, IP(.dst = WORLD_FAR), UDP(.dport = 80)),
		DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)), NO_PORT(QUARANTINE), DO(flows_are, X(0), Y(0)) } },
	{ "what the stack had before goes on", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), NO_PORT(TO_STACK), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = WORLD), TCP(.flags = SYN | ACK, .sport = 81, .dport = 40001)),
		DO(cluster_ip, X(COMPLETE)), SENDS(A, TO_STACK, TO_SERVICE, TCP(.sport = 40001, .dport = 81)),
		SENDS(A, NO_SERVICE_PORT, TO_SERVICE, TCP(.flags = SYN, .sport = 40002, .dport = 81)), SENDS(A, TO_STACK, TO_SERVICE, TCP(.sport = 40001, .dport = 81)) } },
	{ "the rest of a datagram that is rejected", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(cluster_ip, X(COMPLETE)),
		SENDS(A, NO_SERVICE_PORT, TO_SERVICE, FRAG(.more = 1), UDP(.dport = 81, .n = 8, .len = 24)),
		SENDS(A, FRAGMENT, TO_SERVICE, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)) } },
	{ "an address that no Service has", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(cluster_ip, X(0)), DO(service_cidr, X(WORLD), Y(8)), SENDS(A, NO_SERVICE, IP(.dst = WORLD_NEAR), UDP(.dport = 80)),
		SENDS(A, NO_SERVICE, IP(.dst = WORLD_NEAR), ICMP()), DO(flows_are, X(0), Y(0)), NO_PORT(TO_STACK), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)),
		DO(no_service), SENDS(A, TO_STACK, IP(.dst = WORLD_NEAR), UDP(.dport = 80)) } },
	{ "a ServiceCIDR of all addresses cuts off neither pods nor nodes", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(service_cidr, X(WORLD), Y(0)), SENDS(A, NO_SERVICE, IP(.dst = WORLD_FAR), UDP(.dport = 80)),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = 80)), SENDS(A, TO_NODE, IP(.dst = POD_C), UDP(.dport = 80)), SENDS(A, TO_STACK, IP(.dst = NODE_C), UDP(.dport = 80)),
		SENDS(A, TO_STACK, IP(.dst = HOST), UDP(.dport = 80)) } },

	/* --- source ranges --- */
	{ "source ranges", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(restrict_to, X(POD_A), Y(IPPROTO_TCP)), SENDS(A, TO_ENDPOINT, SEGMENT(.flags = SYN)),
		SENDS(B, TO_ENDPOINT, SEGMENT_B(.flags = SYN | ACK)), TO_B, FROM_B, DO(restrict_to, X(POD_C), Y(IPPROTO_TCP)), NEW(SOURCE_RANGE, 40001), TO_B, FROM_B,
		DO(restrict_to, X(WHO_DEFAULT), Y(IPPROTO_TCP)), NEW(SOURCE_RANGE, 40001), TO_B, DO(restrict_to, X(POD_A), Y(IPPROTO_TCP)), NEW(TO_ENDPOINT, 40001) } },
	{ "a datagram's flow keeps its backend, another one is refused", .steps = {
		DO(set_backend, X(POD_B), Y(IPPROTO_UDP)), DO(restrict_to, X(POD_A), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(restrict_to, X(POD_C), Y(IPPROTO_UDP)),
		SENDS(A, TO_ENDPOINT, REQUEST), SENDS(A, SOURCE_RANGE, TO_SERVICE, UDP(.sport = 40001, .dport = 80)), DO(expire_flows), SENDS(A, SOURCE_RANGE, REQUEST),
		SENDS(A, SOURCE_RANGE, TO_SERVICE, FRAG(.more = 1), UDP(.sport = 40001, .dport = 80, .n = 8, .len = 24)),
		SENDS(A, FRAGMENT, TO_SERVICE, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)) } },

	/* --- itself --- */
	{ "a pod and itself, over time", .steps = {
		DO(set_backend, X(POD_A), Y(IPPROTO_UDP)), SENDS(A, TO_ENDPOINT, REQUEST), DO(comes_from, X(WORLD), Y(40000)), DO(goes_to, X(POD_A), Y(8080)),
		SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(1), Y(3)),
		DO(pass_seconds, X(2)), SENDS(A, TO_ENDPOINT, TO_SERVICE, UDP(.sport = 8080, .dport = 40000)), DO(flows_are, X(4), Y(0)),
		SENDS(A, TO_ENDPOINT, REQUEST), SENDS(A, TO_ENDPOINT, REQUEST), DO(comes_from, X(WORLD), Y(40000)), DO(counts, X(DEVICE_A), Y(4)),
		DO(pass_seconds, X(121)), DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },

	/* --- clients outside the cluster, and backends in a host's network --- */
	{ "a client outside, and a process of this host", .steps = {
		DO(set_backend, X(NODE), Y(IPPROTO_UDP)), HOST_SENDS(NONE, FROM_PROCESS), CLIENT_SENDS(TO_STACK, UDP(.dport = 80)), DO(goes_to, X(NODE), Y(8080)),
		DO(flows_are, X(0), Y(3)), HOST_SENDS(TO_CLIENT, FROM_PROCESS), DO(comes_from, X(WORLD), Y(80)),
		HOST_SENDS(NONE, UDP(.sport = 8081, .dport = 40000)), HOST_SENDS(NONE, UDP(.sport = 8080, .dport = 40001)), DO(new_generation),
		CLIENT_SENDS(TO_STACK, UDP(.dport = 80)), DO(goes_to, X(NODE), Y(8080)), HOST_SENDS(TO_CLIENT, FROM_PROCESS), DO(comes_from, X(WORLD), Y(80)),
		FORWARDED(NONE, FROM_PROCESS), DO(pass_seconds, X(121)), HOST_SENDS(NONE, FROM_PROCESS) } },
	{ "the connection of a client outside with a process of this host", .steps = {
		DO(set_backend, X(NODE), Y(IPPROTO_TCP)), CLIENT_SENDS(NONE, TCP(.dport = 80)), CLIENT_SENDS(TO_STACK, TCP(.flags = SYN, .dport = 80)),
		HOST_SENDS(TO_CLIENT, SEGMENT_OF_PROCESS(SYN | ACK)), DO(comes_from, X(WORLD), Y(80)), HOST_SENDS(NONE, SEGMENT_OF_PROCESS(SYN)),
		CLIENT_SENDS(TO_STACK, TCP(.dport = 80)), DO(goes_to, X(NODE), Y(8080)), DO(pass_seconds, X(2)), CLIENT_SENDS(TO_STACK, TCP(.dport = 80)),
		HOST_SENDS(TO_CLIENT, SEGMENT_OF_PROCESS(ACK)), DO(flows_are, X(3), Y(0)), DO(set_backend, X(POD_B), Y(IPPROTO_TCP)), DO(new_generation), CLIENT_SENDS(TO_STACK, TCP(.dport = 80)),
		DO(goes_to, X(NODE), Y(8080)), HOST_SENDS(TO_CLIENT, SEGMENT_OF_PROCESS(ACK)), CLIENT_SENDS(TO_STACK, TCP(.flags = FIN | ACK, .dport = 80)),
		HOST_SENDS(TO_CLIENT, SEGMENT_OF_PROCESS(FIN | ACK)), DO(flows_are, X(0), Y(3)), CLIENT_SENDS(TO_STACK, TCP(.dport = 80)), DO(pass_seconds, X(11)),
		HOST_SENDS(NONE, SEGMENT_OF_PROCESS(ACK)) } },
	{ "a RST of the process", .steps = {
		DO(set_backend, X(NODE), Y(IPPROTO_TCP)), CLIENT_SENDS(TO_STACK, TCP(.flags = SYN, .dport = 80)), HOST_SENDS(TO_CLIENT, SEGMENT_OF_PROCESS(RST | ACK)),
		DO(comes_from, X(WORLD), Y(80)), DO(flows_are, X(0), Y(3)), DO(pass_seconds, X(11)), HOST_SENDS(NONE, SEGMENT_OF_PROCESS(ACK)) } },
	{ "a client outside, and a process of another node's host", .steps = {
		DO(set_backend, X(NODE_C), Y(IPPROTO_UDP)), CLIENT_SENDS(TO_NODE, UDP(.dport = 80)), DO(wire_identity_is, X(WR_ID_WORLD)), DO(goes_to, X(NODE_C), Y(8080)), DO(flows_are, X(0), Y(3)),
		DO(new_generation), CLIENT_SENDS(TO_NODE, UDP(.dport = 80)),
		ARRIVES(WR_ID_REMOTE_NODE, TO_CLIENT, IP(.src = NODE_C, .dst = WORLD_NEAR), FROM_PROCESS), DO(comes_from, X(WORLD), Y(80)),
		ARRIVES(WR_ID_REMOTE_NODE, TUNNEL_TARGET, IP(.src = NODE_C, .dst = WORLD_FAR), FROM_PROCESS),
		ARRIVES_FROM(NODE_D, WR_ID_REMOTE_NODE, TUNNEL_SOURCE, IP(.src = NODE_C, .dst = WORLD_NEAR), FROM_PROCESS),
		ARRIVES_FROM(NODE_D, WR_ID_REMOTE_NODE, TUNNEL_TARGET, IP(.src = NODE_D, .dst = WORLD_NEAR), FROM_PROCESS) } },
	{ "a client of another node, and a process of this host", .steps = {
		HOST_SENDS(NONE, FROM_PROCESS), ARRIVES(WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), UDP(.dport = 8080)), DO(flows_are, X(0), Y(1)),
		HOST_SENDS(TO_NODE, FROM_PROCESS), DO(peer_is, X(C_)), DO(wire_identity_is, X(WR_ID_REMOTE_NODE)), DO(new_generation),
		HOST_SENDS(TO_NODE, FROM_PROCESS), DO(peer_is, X(C_)), HOST_SENDS(NONE, UDP(.sport = 8081, .dport = 40000)), FORWARDED(NONE, FROM_PROCESS),
		ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), UDP(.dport = 8080)),
		ARRIVES(WR_ID_REMOTE_NODE, TO_HOST, IP(.src = NODE_C, .dst = NODE), UDP(.dport = 8080)), HOST_SENDS(TO_NODE, FROM_PROCESS), DO(peer_is, X(D_)),
		DO(pass_seconds, X(121)), HOST_SENDS(NONE, FROM_PROCESS) } },
	{ "the connection of a client of another node with a process of this host", .steps = {
		ARRIVES(WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), TCP(.flags = SYN, .dport = 8080)), HOST_SENDS(TO_NODE, SEGMENT_OF_PROCESS(SYN | ACK)),
		HOST_SENDS(NONE, SEGMENT_OF_PROCESS(SYN)), ARRIVES(WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), TCP(.dport = 8080)), DO(pass_seconds, X(2)),
		ARRIVES(WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), TCP(.dport = 8080)), HOST_SENDS(TO_NODE, SEGMENT_OF_PROCESS(ACK)), DO(peer_is, X(C_)),
		DO(flows_are, X(1), Y(0)), DO(new_generation), HOST_SENDS(TO_NODE, SEGMENT_OF_PROCESS(ACK)), HOST_SENDS(TO_NODE, SEGMENT_OF_PROCESS(FIN | ACK)),
		ARRIVES(WR_ID_WORLD, TO_HOST, IP(.src = WORLD_NEAR, .dst = NODE), TCP(.flags = FIN | ACK, .dport = 8080)), DO(flows_are, X(0), Y(1)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)) } },
	{ 0 },
};
