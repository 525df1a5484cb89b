/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenarios: sequences of packets between A, B, their host, the world and pods of other nodes, and of changes between them.
 * Before every packet the dry-run program runs: it must give the same reason and change nothing.
 */
#ifndef WARREN_TEST_SCENARIO_H
#define WARREN_TEST_SCENARIO_H

#include "state.h"

/* A packet and its expected reason, or an act. */
struct step {
	const char *text;           /* of an act, as it is written */
	enum program program;
	enum device on, entered;
	struct layer in[LAYERS];
	enum wr_reason reason;      /* expected */
	void (*act)(uint32_t x, uint32_t y); /* instead of a packet */
	uint32_t x, y;
};

#define STEPS 36
struct scenario {
	const char *name;
	enum family family;
	uint32_t a, b; /* classes; 0: not isolated */
	struct step steps[STEPS];
};

/*
 * Without other nodes, run in each family; with them, in each combination of an inner and an outer one. They end with name
 * NULL.
 */
extern const struct scenario scenarios_local[], scenarios_remote[], scenarios_service[], scenarios_remap[];

/* The one that runs, and its last packet. */
struct scenario_run {
	bool v6, over6;
	struct run packet;
	struct wr_trace trace;               /* of the dry run */
	uint64_t stats_before[WR_CT_STATS];
	uint16_t remapped;                   /* for which REMAPPED stands, as a port */
	/* Ticks by which the programs' clock is behind: jiffies lost at boot; seconds of them on an emulated machine. */
	uint32_t behind;
	uint32_t cached_in; /* the second of the newest cached verdict, as of forget_flows() */
};
extern struct scenario_run now;

/* --- packets: a pod sends; the stack sends to a pod; the stack sends to another node's; NODE_C sends, as `who`; the LAN --- */

#define SENDS(d, r, ...)                                                                                               \
	{                                                                                                              \
		.program = FROM_POD, .on = DEVICE_##d, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ }           \
	}
#define GETS(d, from, r, ...)                                                                                          \
	{                                                                                                              \
		.program = TO_POD, .on = DEVICE_##d, .entered = from, .reason = WR_REASON_##r, .in = { ETH(), __VA_ARGS__ } \
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
/* A sequence or acknowledgement number that is none of the connection. */
#define FAR (FIRST_SEQ + (1u << 30))
/* A client outside the cluster, WORLD_NEAR, sends to the uplink; the host sends there, as NODE. */
#define CLIENT_SENDS(r, ...)                                                                                           \
	{                                                                                                              \
		.program = FROM_UPLINK, .reason = WR_REASON_##r,                                                       \
		.in = { ETH(.smac = MAC_OTHER), IP(.src = WORLD_NEAR, .dst = WORLD), __VA_ARGS__ }                     \
	}
#define HOST_SENDS(r, ...)                                                                                             \
	{                                                                                                              \
		.program = TO_UPLINK, .reason = WR_REASON_##r,                                                         \
		.in = { ETH(), IP(.src = NODE, .dst = WORLD_NEAR), __VA_ARGS__ }                                       \
	}
#define DO(f, ...)                                                                                                     \
	{                                                                                                              \
		.text = #f "(" #__VA_ARGS__ ")", .act = f, __VA_ARGS__                                                 \
	}
#define C_ (WR_REMOTE | SLOT_C)
#define D_ (WR_REMOTE | SLOT_D)
#define X(v) .x = (v)
#define Y(v) .y = (v)

/* --- the policies of all scenarios --- */

enum {
	CLIENT = 16, /* egress: TCP 80, UDP 53 and SCTP 5000 to B and POD_C; no ingress */
	SERVER,      /* ingress: the same from A and POD_C; no egress */
	CLOSED,      /* nothing */
	OPEN,        /* everything, by rules */
	HOST_ONLY,   /* egress: the block that is the host's address */
	INGRESS,     /* isolated for ingress only, as SERVER */
	TO_PODS,     /* both: all pods */
	BLOCK,       /* both: the block that is NODE_C's outer address */
	WORLD_ONLY,  /* both: the block that is WORLD */
	IN_ONLY,     /* ingress: everything; egress: nothing */
	OUT_ONLY,    /* the other way round */
	PEER_A = WR_PEER_FIRST,
	PEER_B,
	PEER_C,
	PEER_OTHER,
	RULE = WR_RULE_FIRST,
};
#define IDENTITY_OTHER 0x0200000000000bad

void policies_make(void);
/* This node and two others. */
void nodes_make(void);

/* --- acts --- */

void set_class(uint32_t device, uint32_t policy_class);
void set_identity(uint32_t device, uint32_t low);
void set_quota(uint32_t quota, uint32_t none);
void remove_pod(uint32_t device, uint32_t none);
void restore_pod(uint32_t device, uint32_t none);
void readdress_pod(uint32_t device, uint32_t who);
void replace_pod(uint32_t device, uint32_t by);
void cache_wrongly(uint32_t who, uint32_t device);
void allow_port(uint32_t policy_class, uint32_t port);
void pass_seconds(uint32_t seconds, uint32_t none);
/* Flows have expired long ago, but cached verdicts stay. */
void expire_flows(uint32_t none, uint32_t no);
void ct_gc(uint32_t none, uint32_t no);

/* The pod identity is PEER_C's, too. */
void identify(uint32_t low, uint32_t none);
/* An address elsewhere is IDENTITY_C's or, if `other`, IDENTITY_OTHER's; is a node's. */
void ipcache_add(uint32_t who, uint32_t other);
void ipcache_add_node(uint32_t who, uint32_t none);
/* The cluster gets another generation. */
void new_generation(uint32_t none, uint32_t no);
void forget_nodes(uint32_t none, uint32_t no);
/* The node is there, but that address is not its own any more. */
void forget_address(uint32_t node, uint32_t none);
void node_is(uint32_t slot, uint32_t flags);
/* NODE_C has that slot, and its old one is empty. */
void node_moves(uint32_t slot, uint32_t none);
/* The node in that slot is deleted. */
void node_goes(uint32_t slot, uint32_t none);
/* The node's MAC address is unknown. */
void unresolve(uint32_t slot, uint32_t flags);

/*
 * Of services: the address WORLD, port 80. This is the only backend, at port 8080; WHO_DEFAULT: there is none. Another
 * port of the service, with the same backend.
 */
void set_backend(uint32_t who, uint32_t l4_proto);
void add_port(uint32_t port, uint32_t l4_proto);

/* --- checks --- */

void flows_are(uint32_t established, uint32_t new);
void counted(uint32_t stat, uint32_t times);
void owns(uint32_t device, uint32_t flows);
void counts(uint32_t device, uint32_t entries);
/* The only flow there is. Its ends: devices, or WR_REMOTE | slot. */
void only_flow(struct wr_ct *ct);
void flags_are(uint32_t flags, uint32_t none);
void via_stack(uint32_t yes, uint32_t none);
void lives(uint32_t ticks, uint32_t none);
void is_between(uint32_t initiator, uint32_t responder);
void rules_are(uint32_t egress, uint32_t ingress);
/* The last packet left for that node, or came from there, by the dry run and by the event if there was one. */
void peer_is(uint32_t peer, uint32_t none);
void identity_is(uint32_t low, uint32_t kind);
void redirected_to(uint32_t device, uint32_t none);
/* The last packet's destination, source: address and port; of the inner packet if it left by a tunnel. */
void goes_to(uint32_t who, uint32_t port);
void comes_from(uint32_t who, uint32_t port);
/* Its source port is another one than this, for which REMAPPED stands from now on; its checksum is right. */
#define REMAPPED 6
void is_remapped(uint32_t port, uint32_t none);
/* Verdicts with NAT cached since the last pass_seconds(), including expired ones. */
void cached_are(uint32_t count, uint32_t none);
void sctp_sum_is_right(uint32_t none, uint32_t no); /* of the last packet */
/* The identity on the wire. */
void wire_identity_is(uint32_t low, uint32_t kind);
/* The frame is unchanged but for the Ethernet header (and the hop limit, which the sending node has decremented). */
void is_bare(uint32_t from, uint32_t to);

#endif
