/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows with other nodes: of A, B and their host with pods of NODE_C and NODE_D, and with the world. */
#include "scenario.h"

#define TO_C IP(.dst = POD_C)
#define FROM_C IP(.src = POD_C, .dst = POD_A)
#define SYN_TO_C TO_C, TCP(.flags = SYN)
#define SYNACK_FROM_C FROM_C, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define ACK_TO_C TO_C, TCP()
#define ACK_FROM_C FROM_C, TCP(.sport = 80, .dport = 40000)
#define UDP_TO_C TO_C, UDP()
#define UDP_FROM_C FROM_C, UDP(.sport = 53, .dport = 40000)
#define C_SYN FROM_C, TCP(.flags = SYN)
#define A_SYNACK TO_C, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)
#define C_ACK FROM_C, TCP()
#define C_TO_WORLD IP(.src = POD_C, .dst = WORLD), UDP(.sport = 53, .dport = 40000)
#define REPLY_TO_WORLD IP(.dst = WORLD), UDP(.sport = 53, .dport = 40000)

/* Between the world and A: through the stack of NODE_C or NODE_D, or A's own connection, in the world's answer by NODE_D. */
#define WORLD_SENDS(node, ...) ARRIVES_FROM(node, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP(__VA_ARGS__))
#define WORLD_ANSWERS(r, ...) ARRIVES_FROM(NODE_D, WR_ID_WORLD, r, IP(.src = WORLD), TCP(.sport = 80, .dport = 40000, __VA_ARGS__))
#define TO_CLIENT(where, ...) SENDS(A, TO_##where, IP(.dst = WORLD), TCP(.sport = 80, .dport = 40000, ##__VA_ARGS__))
#define WORLD_HANDSHAKE WORLD_SENDS(NODE_C, .flags = SYN), TO_CLIENT(NODE, .flags = SYN | ACK), WORLD_SENDS(NODE_C)
/* For over a second. */
#define WORLD_STREAM                                                                                                   \
	ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(pass_seconds, X(2)),  \
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP())

const struct scenario scenarios_remote[] = {
	/* --- a pod begins --- */
	{ "tcp to another node's pod", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), DO(peer_is, X(C_)), DO(identity_is, X(0xccc), Y(2)),
		DO(wire_identity_is, X(0xaaa), Y(2)), DO(redirected_to, X(DEVICE_UPLINK)), DO(flows_are, X(0), Y(1)),
		DO(is_between, X(DEVICE_A), Y(C_)), DO(via_stack, X(0)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, SYNACK_FROM_C), DO(peer_is, X(C_)), DO(redirected_to, X(DEVICE_A)), DO(flows_are, X(0), Y(1)),
		SENDS(A, TO_NODE, ACK_TO_C), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)), SENDS(A, TO_NODE, ACK_TO_C), DO(wire_identity_is, X(0xaaa), Y(2)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, ACK_FROM_C), DO(is_between, X(DEVICE_A), Y(C_)) } },
	{ "what policy does not allow", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, EGRESS_DENIED, TO_C, TCP(.flags = SYN, .dport = 81)), DO(peer_is, X(C_)),
		SENDS(A, EGRESS_DENIED, TO_C, UDP(.dport = 54)), ARRIVES(IDENTITY_C, INGRESS_DENIED, C_SYN),
		ARRIVES(IDENTITY_C, NO_CONNECTION, FROM_C, TCP(.sport = 81, .dport = 41000)) } },
	{ "a pod of unknown identity", .a = TO_PODS, .steps = {
		SENDS(A, TO_NODE, UDP_TO_C), DO(identity_is, X(0), Y(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C),
		SENDS(A, TO_NODE, UDP_TO_C), DO(identity_is, X(0xccc), Y(2)) } },
	{ "no selector matches an unknown pod", .a = CLIENT, .steps = { SENDS(A, EGRESS_DENIED, UDP_TO_C) } },
	{ "the identity in the reply is learned", .a = TO_PODS, .steps = {
		SENDS(A, TO_NODE, UDP_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C), DO(set_class, X(DEVICE_A), Y(CLIENT)),
		SENDS(A, TO_NODE, UDP_TO_C), DO(new_generation), SENDS(A, TO_NODE, UDP_TO_C),
		ARRIVES(IDENTITY_OTHER, EGRESS_DENIED, UDP_FROM_C) } },
	{ "this node's own ipcache counts more", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C), ARRIVES(IDENTITY_OTHER, TO_ENDPOINT, UDP_FROM_C),
		DO(ipcache_add, X(POD_C), Y(1)), ARRIVES(IDENTITY_C, EGRESS_DENIED, UDP_FROM_C), SENDS(A, EGRESS_DENIED, UDP_TO_C) } },
	{ "a relabelled pod is evaluated again", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C), SENDS(A, TO_NODE, UDP_TO_C), SENDS(A, TO_NODE, UDP_TO_C),
		DO(ipcache_add, X(POD_C), Y(1)), SENDS(A, EGRESS_DENIED, UDP_TO_C), DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C) } },
	{ "policy changes", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, SYNACK_FROM_C),
		SENDS(A, TO_NODE, ACK_TO_C), SENDS(A, TO_NODE, ACK_TO_C), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		ARRIVES(IDENTITY_C, EGRESS_DENIED, ACK_FROM_C), SENDS(A, EGRESS_DENIED, ACK_TO_C),
		DO(set_class, X(DEVICE_A), Y(CLIENT)), SENDS(A, TO_NODE, ACK_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, ACK_FROM_C) } },
	{ "quarantine", .a = WR_CLASS_QUARANTINE, .steps = { DO(set_class, X(DEVICE_A), Y(WR_CLASS_QUARANTINE)),
		DO(ipcache_add, X(POD_C)), SENDS(A, QUARANTINE, UDP_TO_C), ARRIVES(IDENTITY_C, QUARANTINE, C_SYN),
		ROUTED(DEVICE_A, QUARANTINE, IP(.src = POD_A), UDP(.dport = 99)),
		ARRIVES(WR_ID_REMOTE_NODE, QUARANTINE, IP(.src = GW_C), UDP()) } },
	{ "a cached verdict is for one flow, and until something changes", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C), SENDS(A, TO_NODE, UDP_TO_C), SENDS(A, TO_NODE, UDP_TO_C),
		SENDS(A, EGRESS_DENIED, TO_C, UDP(.dport = 54)), SENDS(A, EGRESS_DENIED, TO_C, SCTP(.dport = 53)),
		SENDS(A, EGRESS_DENIED, IP(.dst = POD_C2), UDP()), SENDS(B, TO_NODE, UDP_TO_C),
		DO(expire_flows), SENDS(A, TO_NODE, UDP_TO_C), DO(flows_are, X(0), Y(5)), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		SENDS(A, EGRESS_DENIED, UDP_TO_C) } },
	{ "a denial does not shadow the other direction: this node's pod's", .a = IN_ONLY, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, EGRESS_DENIED, TO_C, UDP(.sport = 53, .dport = 40000)), ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, UDP()),
		DO(is_between, X(C_), Y(DEVICE_A)), SENDS(A, TO_NODE, TO_C, UDP(.sport = 53, .dport = 40000)), DO(flows_are, X(1), Y(0)) } },
	{ "... the other node's", .a = OUT_ONLY, .steps = {
		DO(ipcache_add, X(POD_C)), ARRIVES(IDENTITY_C, INGRESS_DENIED, UDP_FROM_C), SENDS(A, TO_NODE, UDP_TO_C), DO(is_between, X(DEVICE_A), Y(C_)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C), DO(flows_are, X(1), Y(0)) } },
	{ "... of other protocols", .a = OUT_ONLY, .steps = {
		ARRIVES(IDENTITY_C, INGRESS_DENIED, FROM_C, RAW(.proto = 47, .n = 4)), SENDS(A, TO_NODE, TO_C, RAW(.proto = 47, .n = 4)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, RAW(.proto = 47, .n = 4)),
		ARRIVES(IDENTITY_C, INGRESS_DENIED, FROM_C, SCTP(.sport = 5000, .dport = 40000)), SENDS(A, TO_NODE, TO_C, SCTP()),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, SCTP(.sport = 5000, .dport = 40000)),
		ARRIVES(IDENTITY_C, INGRESS_DENIED, FROM_C, ICMP(.type = V(140))), SENDS(A, TO_NODE, TO_C, ICMP(.type = V(139))),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, ICMP(.type = V(140))), DO(flows_are, X(3), Y(0)) } },
	{ "... both denied", .a = CLOSED, .steps = {
		ARRIVES(IDENTITY_C, INGRESS_DENIED, UDP_FROM_C), SENDS(A, EGRESS_DENIED, UDP_TO_C), ARRIVES(IDENTITY_C, INGRESS_DENIED, UDP_FROM_C) } },
	{ "... of what the stack has translated", .a = IN_ONLY, .steps = {
		DO(ipcache_add, X(POD_C)), ROUTED(DEVICE_A, EGRESS_DENIED, IP(.src = POD_A), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, UDP()) } },
	{ "a reply alone establishes nothing, wherever it is from", .a = OPEN, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, SYNACK_FROM_C), DO(flows_are, X(0), Y(1)),
		DO(lives, X(WR_CT_LIFE_TCP_NEW)), SENDS(A, TO_NODE, TO_C, TCP(.ack = 5)), DO(flows_are, X(0), Y(1)), DO(pass_seconds, X(61)),
		ARRIVES(IDENTITY_C, NO_CONNECTION, ACK_FROM_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN), SENDS(A, TO_NODE, A_SYNACK),
		DO(flows_are, X(0), Y(2)), ARRIVES(IDENTITY_C, TO_ENDPOINT, C_ACK), DO(flows_are, X(1), Y(1)) } },
	{ "a reset of another node's pod", .a = OPEN, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, SYNACK_FROM_C), SENDS(A, TO_NODE, ACK_TO_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, TCP(.flags = RST, .seq = 5, .sport = 80, .dport = 40000)),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)), DO(flows_are, X(0), Y(1)), DO(pass_seconds, X(11)), SENDS(A, NO_CONNECTION, ACK_TO_C) } },
	{ "replies to what the stack sends to another node go through it, whatever is cached of an earlier direct flow", .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C), SENDS(A, TO_NODE, UDP_TO_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C), DO(expire_flows), ROUTED(DEVICE_A, TO_NODE, IP(.src = POD_A), UDP()), DO(via_stack, X(1)),
		ARRIVES(IDENTITY_C, TO_HOST, UDP_FROM_C), SENDS(A, TO_STACK, UDP_TO_C) } },
	{ "hop limit", .steps = { SENDS(A, HOP_LIMIT, IP(.dst = POD_C, .ttl = 1), UDP()) } },

	/* --- another node's pod begins --- */
	{ "tcp from another node's pod", .a = SERVER, .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN), DO(is_between, X(C_), Y(DEVICE_A)), DO(via_stack, X(0)),
		DO(identity_is, X(0xccc), Y(2)), SENDS(A, TO_NODE, A_SYNACK), DO(peer_is, X(C_)), DO(flows_are, X(0), Y(1)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_ACK), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)), ARRIVES(IDENTITY_C, TO_ENDPOINT, C_ACK),
		SENDS(A, TO_NODE, TO_C, TCP(.sport = 80, .dport = 40000)), ARRIVES(IDENTITY_OTHER, INGRESS_DENIED, C_ACK),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_ACK) } },
	{ "it may get replies, not requests", .a = SERVER, .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN), SENDS(A, TO_NODE, A_SYNACK),
		SENDS(A, EGRESS_DENIED, TO_C, TCP(.flags = SYN, .sport = 80, .dport = 40000)),
		SENDS(A, EGRESS_DENIED, TO_C, TCP(.flags = SYN)), ARRIVES(IDENTITY_C, INGRESS_DENIED, FROM_C, TCP(.flags = SYN, .dport = 81)) } },
	{ "an unknown identity matches all-pods rules", .a = TO_PODS, .steps = {
		ARRIVES(0x0200000000001234, TO_ENDPOINT, C_SYN), ARRIVES(WR_ID_REMOTE_NODE, INGRESS_DENIED, IP(.src = GW_C), UDP()) } },
	{ "an identity that becomes known opens what was denied without it", .a = SERVER, .steps = {
		ARRIVES(0x0200000000001234, INGRESS_DENIED, FROM_C, UDP()), ARRIVES(0x0200000000001234, INGRESS_DENIED, FROM_C, UDP()),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(0)), DO(new_generation), ARRIVES(0x0200000000001234, INGRESS_DENIED, FROM_C, UDP()),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(1)), ARRIVES(0x0200000000001234, INGRESS_DENIED, FROM_C, UDP()),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(1)), DO(identify, X(0x1234)), DO(new_generation),
		ARRIVES(0x0200000000001234, TO_ENDPOINT, FROM_C, UDP()), SENDS(A, TO_NODE, TO_C, UDP(.sport = 53, .dport = 40000)),
		ARRIVES(0x0200000000001234, TO_ENDPOINT, FROM_C, UDP()), DO(flows_are, X(1), Y(0)) } },
	{ "... and what was denied to it", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C), Y(1)), SENDS(A, EGRESS_DENIED, UDP_TO_C), DO(new_generation), SENDS(A, EGRESS_DENIED, UDP_TO_C),
		DO(counted, X(WR_CT_STAT_REEVALUATED), Y(1)), SENDS(A, EGRESS_DENIED, UDP_TO_C), DO(counted, X(WR_CT_STAT_REEVALUATED), Y(1)),
		DO(identify, X(0xbad)), DO(new_generation), SENDS(A, TO_NODE, UDP_TO_C), ARRIVES(IDENTITY_OTHER, TO_ENDPOINT, UDP_FROM_C),
		DO(flows_are, X(1), Y(0)) } },
	{ "a pod of the same address on the wrong node", .a = TO_PODS, .steps = {
		ARRIVES_FROM(NODE_D, IDENTITY_C, TUNNEL_SOURCE, C_SYN), DO(peer_is, X(D_)),
		ARRIVES(IDENTITY_C, TUNNEL_SOURCE, IP(.src = POD_B), TCP(.flags = SYN)),
		ARRIVES(IDENTITY_C, TUNNEL_SOURCE, IP(.src = WORLD), TCP(.flags = SYN)) } },
	{ "to no address of this node", .steps = {
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), UDP()),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = POD_D), UDP()),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = MULTI), UDP()),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = LOOPBACK), UDP()) } },
	{ "the world, by another node's stack", .a = WORLD_ONLY, .steps = {
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(is_between, X(C_), Y(DEVICE_A)), DO(via_stack, X(0)),
		DO(peer_is, X(C_)), DO(identity_is, X(WR_ID_WORLD)), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(peer_is, X(C_)), DO(wire_identity_is, X(0xaaa), Y(2)),
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(flows_are, X(1), Y(0)),
		DO(new_generation), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(peer_is, X(C_)), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(is_between, X(C_), Y(DEVICE_A)),
		ARRIVES(WR_ID_WORLD, INGRESS_DENIED, IP(.src = WORLD_NEAR), UDP()), SENDS(A, EGRESS_DENIED, IP(.dst = WORLD_NEAR), UDP()),
		ARRIVES(WR_ID_WORLD, TUNNEL_SOURCE, IP(.src = POD_C), UDP()), ARRIVES(WR_ID_WORLD, TUNNEL_SOURCE, IP(.src = NODE_D), UDP()) } },
	{ "the world's connection by another node's stack", .a = WORLD_ONLY, .steps = {
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP(.flags = SYN)), SENDS(A, TO_NODE, IP(.dst = WORLD), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP()), DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)),
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP()), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		ARRIVES(WR_ID_WORLD, INGRESS_DENIED, IP(.src = WORLD), TCP()), SENDS(A, INGRESS_DENIED, IP(.dst = WORLD), TCP(.sport = 80, .dport = 40000)),
		DO(set_class, X(DEVICE_A), Y(WORLD_ONLY)), SENDS(A, TO_NODE, IP(.dst = WORLD), TCP(.sport = 80, .dport = 40000)), DO(wire_identity_is, X(0xaaa), Y(2)) } },
	{ "the world comes by another path", .a = WORLD_ONLY, .steps = {
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP(.flags = SYN)), SENDS(A, TO_NODE, IP(.dst = WORLD), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP()), DO(is_between, X(D_), Y(DEVICE_A)), DO(via_stack, X(0)),
		SENDS(A, TO_NODE, IP(.dst = WORLD), TCP(.sport = 80, .dport = 40000)), DO(peer_is, X(D_)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP()), DO(is_between, X(NO_DEVICE), Y(DEVICE_A)), DO(via_stack, X(1)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = FIN | ACK, .sport = 80, .dport = 40000)),
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), TCP()), DO(is_between, X(C_), Y(DEVICE_A)), DO(via_stack, X(0)),
		SENDS(A, TO_NODE, IP(.dst = WORLD), TCP(.flags = FIN | ACK, .sport = 80, .dport = 40000)), DO(peer_is, X(C_)), DO(owns, X(DEVICE_A), Y(1)),
		GETS(A, NO_DEVICE, NO_CONNECTION, IP(), TCP()), GETS(A, DEVICE_B, SPOOFED_OUTSIDE, IP(.src = POD_A), TCP()) } },
	{ "forged segments by another path do not move the world's connection", .a = WORLD_ONLY, .steps = {
		WORLD_HANDSHAKE, DO(pass_seconds, X(2)), WORLD_SENDS(NODE_C), DO(flows_are, X(1), Y(0)),
		WORLD_SENDS(NODE_D, .seq = FAR, .ack = FAR), DO(is_between, X(C_), Y(DEVICE_A)), WORLD_SENDS(NODE_D, .ack = FAR), WORLD_SENDS(NODE_D, .flags = SYN, .seq = FAR),
		WORLD_SENDS(NODE_D, .flags = RST, .seq = FAR), WORLD_SENDS(NODE_D, .flags = FIN | ACK, .seq = FAR), WORLD_SENDS(NODE_D, .flags = SYN | ACK, .seq = FAR),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.seq = FAR, .ack = FAR)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN, .seq = FAR)),
		DO(is_between, X(C_), Y(DEVICE_A)), DO(via_stack, X(0)), DO(lives, X(WR_CT_LIFE_TCP)), TO_CLIENT(NODE), DO(peer_is, X(C_)), DO(counted, X(WR_CT_STAT_CREATED), Y(1)),
		WORLD_SENDS(NODE_D, .seq = FIRST_SEQ - 4000), DO(is_between, X(D_), Y(DEVICE_A)), TO_CLIENT(NODE), DO(peer_is, X(D_)),
		WORLD_SENDS(NODE_C, .flags = SYN, .seq = FIRST_SEQ), DO(is_between, X(C_), Y(DEVICE_A)), DO(flows_are, X(1), Y(0)) } },
	{ "... nor before it is established, but a repeated SYN does", .a = WORLD_ONLY, .steps = {
		WORLD_SENDS(NODE_C, .flags = SYN), WORLD_SENDS(NODE_D, .flags = SYN, .seq = FAR), DO(is_between, X(D_), Y(DEVICE_A)),
		WORLD_SENDS(NODE_C, .flags = SYN), DO(is_between, X(C_), Y(DEVICE_A)), TO_CLIENT(NODE, .flags = SYN | ACK), DO(peer_is, X(C_)),
		WORLD_SENDS(NODE_D, .flags = SYN, .seq = FAR), WORLD_SENDS(NODE_D, .seq = FAR, .ack = FAR), TO_CLIENT(NODE, .flags = SYN | ACK), DO(peer_is, X(C_)),
		WORLD_SENDS(NODE_D, .flags = SYN), TO_CLIENT(NODE, .flags = SYN | ACK), DO(peer_is, X(D_)), DO(flows_are, X(0), Y(1)), WORLD_SENDS(NODE_D), DO(flows_are, X(1), Y(0)) } },
	{ "... but it moves if the node has gone by which it came", .a = WORLD_ONLY, .steps = {
		WORLD_HANDSHAKE, DO(node_goes, X(SLOT_C)), WORLD_SENDS(NODE_D, .seq = FAR, .ack = FAR), DO(is_between, X(D_), Y(DEVICE_A)), TO_CLIENT(NODE), DO(peer_is, X(D_)) } },
	{ "forged datagrams by another path do not move what streams", .a = WORLD_ONLY, .steps = {
		WORLD_STREAM, DO(flows_are, X(1), Y(0)), ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(is_between, X(C_), Y(DEVICE_A)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(), UDP()), DO(is_between, X(C_), Y(DEVICE_A)), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(peer_is, X(C_)),
		DO(pass_seconds, X(40)), ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(pass_seconds, X(40)), SENDS(A, TO_NODE, REPLY_TO_WORLD),
		ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(is_between, X(C_), Y(DEVICE_A)), DO(pass_seconds, X(22)),
		ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(is_between, X(D_), Y(DEVICE_A)), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(peer_is, X(D_)),
		DO(counted, X(WR_CT_STAT_CREATED), Y(1)), DO(node_goes, X(SLOT_D)), ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), DO(is_between, X(C_), Y(DEVICE_A)) } },
	{ "a pod's connection with the world, and forged segments by another node", .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), WORLD_ANSWERS(TO_ENDPOINT, .seq = FAR, .ack = FAR), WORLD_ANSWERS(TO_ENDPOINT, .flags = SYN, .seq = FAR),
		WORLD_ANSWERS(TO_ENDPOINT, .flags = RST, .seq = FAR), WORLD_ANSWERS(TO_ENDPOINT, .flags = FIN | ACK, .seq = FAR),
		DO(is_between, X(DEVICE_A), Y(NO_DEVICE)), DO(lives, X(WR_CT_LIFE_TCP)), DO(counted, X(WR_CT_STAT_CREATED), Y(1)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()) } },
	{ "... if the pod accepts no connections", .a = OUT_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP(.flags = SYN)), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), WORLD_ANSWERS(INGRESS_DENIED, .flags = SYN, .seq = FAR), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)),
		DO(lives, X(WR_CT_LIFE_TCP)), SENDS(A, TO_STACK, IP(.dst = WORLD), TCP()), GETS(A, DEVICE_UPLINK, DELIVERED, IP(), TCP(.sport = 80, .dport = 40000)) } },
	{ "... and its datagrams", .a = OUT_ONLY, .steps = {
		SENDS(A, TO_STACK, IP(.dst = WORLD), UDP()), ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP(.sport = 53, .dport = 40000)),
		DO(is_between, X(DEVICE_A), Y(NO_DEVICE)), SENDS(A, TO_STACK, IP(.dst = WORLD), UDP()), DO(set_class, X(DEVICE_A), Y(WR_CLASS_NOT_ISOLATED)), SENDS(A, TO_STACK, IP(.dst = WORLD), UDP()),
		ARRIVES_FROM(NODE_D, WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP(.sport = 53, .dport = 40000)), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), UDP()), DO(counted, X(WR_CT_STAT_CREATED), Y(1)) } },
	{ "the LAN, in the place of another node's host", .a = IN_ONLY, .steps = {
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = NODE_C), TCP(.flags = SYN)), SENDS(A, TO_NODE, IP(.dst = NODE_C), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = NODE_C), TCP()), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = NODE_C), TCP(.flags = SYN, .seq = FAR)),
		DO(is_between, X(C_), Y(DEVICE_A)), ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = NODE_C), TCP()),
		SENDS(A, TO_NODE, IP(.dst = NODE_C), TCP(.sport = 80, .dport = 40000)), DO(peer_is, X(C_)), DO(flows_are, X(1), Y(0)) } },
	{ "the world's reset by another node's stack is exact, whatever is cached", .a = WORLD_ONLY, .steps = {
		WORLD_HANDSHAKE, DO(pass_seconds, X(2)), WORLD_SENDS(NODE_C), TO_CLIENT(NODE, .ack = FIRST_SEQ + 1), TO_CLIENT(NODE, .ack = FIRST_SEQ + 300001), TO_CLIENT(NODE, .ack = FIRST_SEQ + 300002),
		WORLD_SENDS(NODE_C, .flags = RST, .seq = FIRST_SEQ + 1), DO(lives, X(WR_CT_LIFE_TCP)), WORLD_SENDS(NODE_C, .flags = RST, .seq = FIRST_SEQ + 300002),
		DO(lives, X(WR_CT_LIFE_TCP_CLOSING)), DO(flows_are, X(0), Y(1)) } },
	{ "another node's pod, by a device that no such packet enters by", .steps = {
		SENDS(A, TO_NODE, UDP_TO_C), GETS(A, DEVICE_UPLINK, SPOOFED_OUTSIDE, UDP_FROM_C), GETS(A, DEVICE_B, SPOOFED_OUTSIDE, UDP_FROM_C),
		GETS(A, DEVICE_UPLINK, SPOOFED_OUTSIDE, IP(.src = POD_D), UDP()), GETS(A, DEVICE_UPLINK, SPOOFED_OUTSIDE, IP(.src = GW_C), TCP(.flags = SYN)),
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = NODE_C), UDP()), GETS(A, DEVICE_WARREN0, DELIVERED, UDP_FROM_C),
		GETS(A, NO_DEVICE, DELIVERED, UDP_FROM_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C),
		DO(forget_nodes), GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = POD_D), UDP()) } },
	{ "the node has gone by which the world came", .steps = {
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), SENDS(A, TO_NODE, REPLY_TO_WORLD), DO(forget_nodes),
		SENDS(A, TO_STACK, REPLY_TO_WORLD), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)) } },
	{ "errors about what the world has sent by another node", .a = WORLD_ONLY, .steps = {
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD), UDP()), SENDS(A, TO_NODE, REPLY_TO_WORLD),
		SENDS(A, TO_NODE, IP(.dst = WORLD), ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP()), DO(peer_is, X(C_)),
		SENDS(A, ICMP_ERROR, IP(.dst = WORLD), ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP(.dport = 54)),
		ARRIVES(WR_ID_WORLD, TO_ENDPOINT, IP(.src = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = GW_C), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = WORLD), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(WR_ID_WORLD, ICMP_ERROR, IP(.src = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.sport = 54, .dport = 40000)),
		DO(is_between, X(C_), Y(DEVICE_A)) } },
	{ "identities that are local to a node", .steps = {
		ARRIVES(WR_ID_HOST, TUNNEL_IDENTITY, C_SYN), ARRIVES(WR_ID_UNKNOWN, TUNNEL_IDENTITY, C_SYN) } },

	/* --- other nodes themselves --- */
	{ "another node's host begins, by its gateway address", .a = BLOCK, .steps = {
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = GW_C), UDP()), DO(is_between, X(C_), Y(DEVICE_A)),
		SENDS(A, TO_NODE, IP(.dst = GW_C), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(IDENTITY_C, INGRESS_DENIED, IP(.src = POD_C), UDP()),
		ARRIVES_FROM(NODE_D, WR_ID_REMOTE_NODE, INGRESS_DENIED, IP(.src = NODE_D), UDP()) } },
	{ "another node's host begins, by its own address", .a = TO_PODS, .steps = {
		ARRIVES(WR_ID_REMOTE_NODE, INGRESS_DENIED, IP(.src = NODE_C), UDP()), DO(set_class, X(DEVICE_A), Y(BLOCK)),
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = NODE_C), UDP(.sport = 7)),
		SENDS(A, TO_NODE, IP(.dst = NODE_C), UDP(.sport = 53, .dport = 7)), DO(peer_is, X(C_)), DO(new_generation),
		SENDS(A, TO_NODE, IP(.dst = NODE_C), UDP(.sport = 53, .dport = 7)), DO(peer_is, X(C_)) } },
	{ "to another node's gateway address", .a = BLOCK, .steps = {
		SENDS(A, TO_NODE, IP(.dst = GW_C), UDP()), DO(identity_is, X(WR_ID_REMOTE_NODE)), SENDS(A, EGRESS_DENIED, UDP_TO_C),
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = GW_C), UDP(.sport = 53, .dport = 40000)) } },
	{ "to another node's own address", .steps = {
		DO(ipcache_add_node, X(NODE_C)), SENDS(A, TO_STACK, IP(.dst = NODE_C), UDP()), DO(identity_is, X(WR_ID_REMOTE_NODE)),
		DO(is_between, X(DEVICE_A), Y(NO_DEVICE)), SENDS(A, TO_STACK, IP(.dst = NODE_C), UDP()) } },
	{ "to this node", .steps = {
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = HOST), TCP(.flags = SYN)), DO(redirected_to, X(DEVICE_WARREN0)),
		DO(peer_is, X(C_)), DO(is_bare, X(MAC_HOST), Y(MAC_HOST)), ARRIVES(WR_ID_REMOTE_NODE, TO_HOST, IP(.src = GW_C, .dst = NODE), UDP()),
		ARRIVES(WR_ID_REMOTE_NODE, TO_HOST, IP(.src = NODE_C, .dst = HOST), UDP()), DO(flows_are, X(0), Y(0)) } },

	/* --- the stack sends --- */
	{ "this host to another node's pod", .a = CLOSED, .steps = {
		ROUTED(NO_DEVICE, TO_NODE, IP(), UDP()), DO(wire_identity_is, X(WR_ID_REMOTE_NODE)), DO(peer_is, X(C_)), DO(redirected_to, X(DEVICE_UPLINK)),
		ROUTED(NO_DEVICE, TO_NODE, IP(.src = NODE), UDP()), DO(wire_identity_is, X(WR_ID_REMOTE_NODE)), DO(flows_are, X(0), Y(0)) } },
	{ "what the stack has translated for a pod", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), ROUTED(DEVICE_A, TO_NODE, IP(.src = POD_A), TCP(.flags = SYN)), DO(wire_identity_is, X(0xaaa), Y(2)),
		DO(is_between, X(DEVICE_A), Y(C_)), DO(via_stack, X(1)), ROUTED(DEVICE_A, EGRESS_DENIED, IP(.src = POD_A), TCP(.flags = SYN, .dport = 81)),
		ARRIVES(IDENTITY_C, TO_HOST, SYNACK_FROM_C), DO(redirected_to, X(DEVICE_WARREN0)), DO(is_bare, X(MAC_HOST), Y(MAC_HOST)),
		ROUTED(DEVICE_A, TO_NODE, IP(.src = POD_A), TCP()), DO(new_generation), ROUTED(DEVICE_A, TO_NODE, IP(.src = POD_A), TCP()),
		ARRIVES(IDENTITY_C, TO_HOST, ACK_FROM_C), DO(set_class, X(DEVICE_A), Y(CLOSED)),
		ARRIVES(IDENTITY_C, EGRESS_DENIED, ACK_FROM_C), ROUTED(DEVICE_A, EGRESS_DENIED, IP(.src = POD_A), TCP()) } },
	{ "a pod masqueraded as this node is this node", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), ROUTED(DEVICE_A, TO_NODE, IP(), UDP()), DO(wire_identity_is, X(WR_ID_REMOTE_NODE)),
		ROUTED(DEVICE_A, EGRESS_DENIED, IP(), UDP(.dport = 54)) } },
	{ "the world through this node's stack", .steps = {
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(), UDP()), DO(wire_identity_is, X(WR_ID_REMOTE_NODE)), DO(flows_are, X(0), Y(0)),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), UDP()), DO(wire_identity_is, X(WR_ID_WORLD)), DO(peer_is, X(C_)), DO(redirected_to, X(DEVICE_UPLINK)),
		DO(is_between, X(NO_DEVICE), Y(C_)), DO(via_stack, X(1)), DO(flows_are, X(0), Y(1)),
		ARRIVES(IDENTITY_C, TO_HOST, C_TO_WORLD), DO(redirected_to, X(DEVICE_WARREN0)), DO(peer_is, X(C_)), DO(is_bare, X(MAC_HOST), Y(MAC_HOST)),
		DO(flows_are, X(1), Y(0)), DO(owns, X(NO_DEVICE), Y(1)), DO(owns, X(DEVICE_A), Y(0)), ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), UDP()),
		ARRIVES(IDENTITY_C, TO_HOST, C_TO_WORLD), DO(new_generation), ARRIVES(IDENTITY_C, TO_HOST, C_TO_WORLD),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), UDP()), DO(flows_are, X(1), Y(0)) } },
	{ "packets to the world that match no flow of this node's stack", .steps = {
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), UDP()), ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), UDP(.sport = 54, .dport = 40000)),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C2, .dst = WORLD), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD_NEAR), UDP(.sport = 53, .dport = 40000)),
		ARRIVES_FROM(NODE_D, IDENTITY_C, TUNNEL_SOURCE, C_TO_WORLD), ARRIVES_FROM(NODE_D, IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_D, .dst = WORLD), UDP(.sport = 53, .dport = 40000)),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), TCP(.flags = SYN, .sport = 53, .dport = 40000)),
		DO(flows_are, X(0), Y(1)), DO(pass_seconds, X(31)), ARRIVES(IDENTITY_C, TUNNEL_TARGET, C_TO_WORLD), DO(flows_are, X(0), Y(1)) } },
	{ "the world's connection through this node's stack", .steps = {
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), TCP(.flags = SYN)), ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000)),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), TCP()), DO(flows_are, X(1), Y(0)), DO(pass_seconds, X(4000)),
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), TCP(.sport = 80, .dport = 40000)), DO(pass_seconds, X(4001)),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), TCP(.flags = FIN | ACK)),
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), TCP(.flags = FIN | ACK, .sport = 80, .dport = 40000)), DO(flows_are, X(0), Y(1)), DO(owns, X(NO_DEVICE), Y(0)),
		DO(pass_seconds, X(11)), ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), TCP(.sport = 80, .dport = 40000)),
		DO(owns, X(NO_DEVICE), Y(0)) } },
	{ "errors and fragments of the world's, and replies in such", .steps = {
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), FRAG(.more = 1), UDP(.n = 8)), ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), FRAG(.off = 16), RAW(.proto = 17, .n = 8)),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD_NEAR), FRAG(.off = 16), RAW(.proto = 17, .n = 8)), DO(flows_are, X(0), Y(1)),
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_C), UDP()),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_C), UDP(.dport = 54)),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), ICMP(.type = ECHO)), DO(flows_are, X(0), Y(1)),
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD_FAR), ICMP(.type = UNREACHABLE), IP(.src = POD_C, .dst = WORLD), UDP(.sport = 53, .dport = 40000)),
		DO(wire_identity_is, X(WR_ID_WORLD)), DO(flows_are, X(0), Y(1)), ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), FRAG(.more = 1), UDP(.sport = 53, .dport = 40000, .n = 8)),
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), FRAG(.off = 16), RAW(.proto = 17, .n = 8)), DO(flows_are, X(1), Y(0)),
		ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = HOST), FRAG(.off = 16), RAW(.proto = 17, .n = 8)) } },
	{ "the world's echo through this node's stack", .steps = {
		ROUTED(DEVICE_UPLINK, TO_NODE, IP(.src = WORLD), ICMP(.type = ECHO)), ARRIVES(IDENTITY_C, TO_HOST, IP(.src = POD_C, .dst = WORLD), ICMP(.type = ECHO_REPLY)),
		ARRIVES(IDENTITY_C, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), ICMP(.type = ECHO_REPLY, .id = 77)) } },
	{ "spoofed senders", .steps = {
		ROUTED(DEVICE_UPLINK, SPOOFED_OUTSIDE, IP(.src = POD_A), UDP()), ROUTED(DEVICE_B, SPOOFED_OUTSIDE, IP(.src = POD_A), UDP()),
		ROUTED(DEVICE_UPLINK, SPOOFED_OUTSIDE, IP(.src = POD_D), UDP()), ROUTED(DEVICE_UPLINK, SPOOFED_OUTSIDE, IP(.src = NODE_D), UDP()),
		ROUTED(DEVICE_A, SPOOFED_OUTSIDE, IP(.src = POD_C), UDP()), ROUTED(NO_DEVICE, BAD_DESTINATION, IP(.dst = WORLD), UDP()),
		ROUTED(NO_DEVICE, MULTICAST, IP(.dst = MULTI), UDP()) } },

	/* --- not through the tunnel --- */
	{ "spoofed cluster addresses", .steps = {
		BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_B), UDP()), BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = NODE), UDP()),
		BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = HOST), UDP()), BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_C), UDP()),
		BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_D, .dst = WORLD), UDP()), BARE(MAC_OTHER, NONE, IP(.src = WORLD), UDP()),
		BARE(MAC_OTHER, NONE, IP(.src = WORLD), UDP()), BARE(MAC_OTHER, NONE, IP(.src = NODE_C, .dst = NODE), TCP()) } },
	{ "a cached source check is for one address", .steps = {
		BARE(MAC_OTHER, NONE, IP(.src = POD_C_LIKE), UDP()), BARE(MAC_OTHER, NONE, IP(.src = POD_C_LIKE), UDP()),
		BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_C), UDP()), ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN), ARRIVES_FROM(NODE_C_LIKE, IDENTITY_C, TUNNEL_SENDER, C_SYN) } },
	{ "a node's address is accepted as long as it is the node's", .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN), ARRIVES(IDENTITY_C, TO_ENDPOINT, C_SYN),
		DO(forget_address, X(NODE_C)), ARRIVES(IDENTITY_C, TUNNEL_SENDER, C_SYN) } },
	{ "the world's address becomes a pod's", .steps = {
		DO(forget_nodes), BARE(MAC_OTHER, NONE, IP(.src = POD_C), UDP()), BARE(MAC_OTHER, NONE, IP(.src = POD_C), UDP()),
		DO(node_is, X(SLOT_C)), BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_C), UDP()) } },
	{ "a node on the same link", .a = CLIENT, .steps = {
		DO(node_is, X(SLOT_C), Y(WR_NODE_DIRECT)), DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), DO(peer_is, X(C_)),
		DO(is_bare, X(MAC_HOST), Y(MAC_OTHER)), BARE(MAC_OTHER, TO_ENDPOINT, SYNACK_FROM_C), DO(peer_is, X(C_)), DO(is_bare, X(MAC_HOST), Y(MAC_A)),
		DO(is_between, X(DEVICE_A), Y(C_)), SENDS(A, TO_NODE, ACK_TO_C), DO(flows_are, X(1), Y(0)), BARE(MAC_B, NOT_TUNNELLED, ACK_FROM_C),
		BARE(MAC_OTHER, INGRESS_DENIED, C_SYN), BARE(MAC_OTHER, NOT_TUNNELLED, IP(.src = POD_D), UDP()),
		BARE(MAC_OTHER, TO_HOST, IP(.src = POD_C, .dst = HOST), UDP()), BARE(MAC_OTHER, TUNNEL_TARGET, IP(.src = POD_C, .dst = WORLD), UDP()),
		DO(set_class, X(DEVICE_A), Y(CLOSED)), SENDS(A, EGRESS_DENIED, ACK_TO_C), BARE(MAC_OTHER, EGRESS_DENIED, ACK_FROM_C) } },
	{ "on the same link from an unknown sender", .a = TO_PODS, .steps = {
		DO(node_is, X(SLOT_C), Y(WR_NODE_DIRECT)), BARE(MAC_OTHER, TO_ENDPOINT, C_SYN), DO(identity_is, X(0), Y(2)),
		BARE(MAC_OTHER, INGRESS_DENIED, IP(.src = GW_C), UDP()), DO(identity_is, X(WR_ID_REMOTE_NODE)) } },
	{ "its MAC address is not resolved", .steps = {
		DO(unresolve, X(SLOT_C)), SENDS(A, TO_NODE, UDP_TO_C), DO(unresolve, X(SLOT_C), Y(WR_NODE_DIRECT)), SENDS(A, TO_NODE, UDP_TO_C),
		BARE(MAC_OTHER, NOT_TUNNELLED, UDP_FROM_C) } },

	/* --- nodes come and go --- */
	{ "a node comes to where there was none", .steps = {
		DO(forget_nodes), SENDS(A, TO_STACK, UDP_TO_C), SENDS(A, TO_STACK, UDP_TO_C), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)),
		DO(node_is, X(SLOT_C)), SENDS(A, TO_NODE, UDP_TO_C), DO(is_between, X(DEVICE_A), Y(C_)) } },
	{ "a node has another slot", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, SYN_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, SYNACK_FROM_C), SENDS(A, TO_NODE, ACK_TO_C),
		DO(node_moves, X(SLOT_NONE)), SENDS(A, TO_NODE, ACK_TO_C), DO(peer_is, X(WR_REMOTE | SLOT_NONE)),
		DO(is_between, X(DEVICE_A), Y(WR_REMOTE | SLOT_NONE)), ARRIVES(IDENTITY_C, TO_ENDPOINT, ACK_FROM_C), DO(node_moves, X(SLOT_C)),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, ACK_FROM_C), DO(is_between, X(DEVICE_A), Y(C_)), SENDS(A, TO_NODE, ACK_TO_C), DO(peer_is, X(C_)),
		DO(flows_are, X(1), Y(0)), DO(owns, X(DEVICE_A), Y(1)) } },
	{ "a node goes", .steps = {
		SENDS(A, TO_NODE, UDP_TO_C), DO(forget_nodes), SENDS(A, TO_STACK, UDP_TO_C), DO(is_between, X(DEVICE_A), Y(NO_DEVICE)) } },
	{ "the gc removes expired flows with other nodes", .steps = {
		SENDS(A, TO_NODE, UDP_TO_C), ARRIVES(IDENTITY_C, TO_ENDPOINT, UDP_FROM_C), DO(pass_seconds, X(2)),
		SENDS(A, TO_NODE, UDP_TO_C), DO(ct_gc), DO(flows_are, X(1), Y(0)), DO(counts, X(DEVICE_A), Y(1)),
		DO(pass_seconds, X(130)), DO(ct_gc), DO(flows_are, X(0), Y(0)), DO(owns, X(DEVICE_A), Y(0)) } },

	/* --- the tunnel's port --- */
	{ "a pod's datagram to the tunnel's port of a node", .steps = {
		SENDS(A, TUNNEL_PORT, IP(.dst = NODE_C), UDP(.dport = WR_TUNNEL_PORT)), SENDS(A, TUNNEL_PORT, IP(.dst = HOST), UDP(.dport = WR_TUNNEL_PORT)),
		SENDS(A, TUNNEL_PORT, IP(.dst = GW_C), UDP(.dport = WR_TUNNEL_PORT)),
		SENDS(A, TUNNEL_PORT, IP(.dst = NODE_D), FRAG(.more = 1), UDP(.dport = WR_TUNNEL_PORT, .n = 8)),
		SENDS(A, FRAGMENT, IP(.dst = NODE_D), FRAG(.off = 16), RAW(.proto = 17, .n = 8)),
		SENDS(A, TO_STACK, IP(.dst = NODE_C), UDP(.dport = 6082)), SENDS(A, TO_STACK, IP(.dst = NODE_C), TCP(.dport = WR_TUNNEL_PORT)),
		SENDS(A, TO_STACK, IP(.dst = WORLD), UDP(.dport = WR_TUNNEL_PORT)), SENDS(A, TO_NODE, TO_C, UDP(.dport = WR_TUNNEL_PORT)),
		SENDS(A, TO_ENDPOINT, IP(), UDP(.dport = WR_TUNNEL_PORT)) } },
	{ "nor as a reply", .steps = {
		GETS(A, DEVICE_UPLINK, DELIVERED, IP(.src = NODE_C), UDP(.sport = WR_TUNNEL_PORT)),
		SENDS(A, TUNNEL_PORT, IP(.dst = NODE_C), UDP(.sport = 53, .dport = WR_TUNNEL_PORT)) } },

	/* --- errors and fragments --- */
	{ "an error from another node's pod", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C),
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_C), UDP()),
		ARRIVES(IDENTITY_C, ICMP_ERROR, FROM_C, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_C), UDP(.dport = 54)) } },
	{ "an error from a router between", .a = CLIENT, .steps = {
		DO(ipcache_add, X(POD_C)), SENDS(A, TO_NODE, UDP_TO_C),
		ARRIVES(WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = GW_C), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = POD_C), UDP()),
		ARRIVES_FROM(NODE_D, WR_ID_REMOTE_NODE, TO_ENDPOINT, IP(.src = NODE_D), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = POD_C), UDP()),
		DO(is_between, X(DEVICE_A), Y(C_)), ARRIVES(WR_ID_REMOTE_NODE, ICMP_ERROR, IP(.src = GW_C), ICMP(.type = EXCEEDED), IP(.src = POD_A, .dst = POD_D), UDP()) } },
	{ "a pod's own error", .a = SERVER, .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, UDP()), SENDS(A, TO_NODE, TO_C, ICMP(.type = UNREACHABLE), IP(.src = POD_C, .dst = POD_A), UDP()),
		DO(wire_identity_is, X(0xaaa), Y(2)), DO(new_generation), SENDS(A, TO_NODE, TO_C, ICMP(.type = UNREACHABLE), IP(.src = POD_C, .dst = POD_A), UDP()),
		SENDS(A, ICMP_ERROR, TO_C, ICMP(.type = UNREACHABLE), IP(.src = POD_C, .dst = POD_A), UDP(.dport = 54)) } },
	{ "a home address", V6, .a = SERVER, .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, DST(), UDP()), ARRIVES(IDENTITY_C, EXT_HEADERS, FROM_C, DST(.words = 3, .option = 0xc9), UDP()) } },
	{ "fragments", .a = SERVER, .steps = {
		ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, FRAG(.more = 1), UDP(.n = 8)), ARRIVES(IDENTITY_C, TO_ENDPOINT, FROM_C, FRAG(.off = 16), RAW(.proto = 17, .n = 8)),
		SENDS(A, TO_NODE, TO_C, FRAG(.more = 1), UDP(.sport = 53, .dport = 40000, .n = 8)),
		SENDS(A, TO_NODE, TO_C, FRAG(.off = 16), RAW(.proto = 17, .n = 8)), DO(flows_are, X(1), Y(0)) } },
	{ 0 },
};
