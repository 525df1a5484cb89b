/* SPDX-License-Identifier: BSD-2-Clause */
/* Services: packets of A to one (the address WORLD, port 80), and the replies. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "cases.h"
#include "damage.h"
#include "expect.h"
#include "state.h"

#define STEPS 12

struct service_step {
	enum program program;
	enum device on;
	struct layer in[LAYERS];
	enum wr_reason reason;
	struct layer out[LAYERS]; /* empty: not looked at */
	enum device entered;      /* to_pod */
	bool remaps;              /* into the tunnel, from the port REMAPPED */
};

struct service_case {
	const char *name;
	bool v6;
	uint8_t protocol;
	bool cluster_ip;  /* the address is a ClusterIP, all of whose ports are known */
	bool two_ports;   /* port 81, too, has that backend */
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
/* Stands for the port that replaces 40000, toward the backend. */
#define REMAPPED 1
#define AT(mac) TO_POD_OF(mac), IP(.src = POD_B, .dst = POD_A, .ttl = 63)
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
	{ "a port that the ClusterIP does not have", .protocol = IPPROTO_TCP, .backend = POD_B, .cluster_ip = true, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_NO_SERVICE_PORT },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .dport = 8080) } } } },
	{ "the same for udp", .protocol = IPPROTO_UDP, .backend = POD_B, .cluster_ip = true, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 81, .n = 20)), WR_REASON_NO_SERVICE_PORT },
		{ FROM_A(TO_SERVICE, UDP(.dport = 80, .n = 5)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080, .n = 5) } } } },
	/* kube-proxy's nftables mode rejects all that is new, whatever the protocol. */
	{ "a ping of a ClusterIP", .protocol = IPPROTO_UDP, .backend = POD_B, .cluster_ip = true, .steps = {
		{ FROM_A(TO_SERVICE, ICMP(.n = 20)), WR_REASON_NO_SERVICE_PORT } } },
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
	/* --- one source port, through two frontends to one backend --- */
	{ "the ports are in use to the backend itself", .protocol = IPPROTO_TCP, .backend = POD_B, .steps = {
		{ FROM_A(IP(), TCP(.flags = SYN, .dport = 8080)), WR_REASON_TO_ENDPOINT },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_B(IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT(MAC_A), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000) } },
		{ FROM_B(IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(IP(), TCP(.dport = 8080)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.dport = 8080) } } } },
	{ "two frontends, udp", .protocol = IPPROTO_UDP, .backend = POD_B, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080) } },
		{ FROM_A(TO_SERVICE, UDP(.dport = 81, .n = 5)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.sport = REMAPPED, .dport = 8080, .n = 5) } },
		{ FROM_B(IP(), UDP(.sport = 8080, .dport = REMAPPED, .n = 6)), WR_REASON_TO_ENDPOINT,
		  { AT_A, UDP(.sport = 81, .dport = 40000, .n = 6) } },
		{ FROM_B(IP(), UDP(.sport = 8080, .dport = 40000, .n = 7)), WR_REASON_TO_ENDPOINT,
		  { AT_A, UDP(.sport = 80, .dport = 40000, .n = 7) } },
		{ FROM_A(TO_SERVICE, UDP(.dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.sport = REMAPPED, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, UDP(.dport = 81, .check = V(0))), WR_REASON_TO_ENDPOINT,
		  { AT_B, UDP(.sport = REMAPPED, .dport = 8080, .check = V(0)) } },
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080) } } } },
	{ "two frontends, tcp", .protocol = IPPROTO_TCP, .backend = POD_B, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_B(IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_B(IP(), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.sport = REMAPPED, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 81, .n = 100)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.sport = REMAPPED, .dport = 8080, .n = 100) } },
		{ FROM_B(IP(), TCP(.sport = 8080, .dport = REMAPPED, .n = 33)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.sport = 81, .dport = 40000, .n = 33) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = RST, .dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.flags = RST, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, TCP(.dport = 8080) } } } },
	{ "two frontends, fragments", .protocol = IPPROTO_UDP, .backend = POD_B, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.dport = 8080) } },
		{ FROM_A(TO_SERVICE, FRAG(.more = 1), UDP(.dport = 81, .n = 8, .len = 24)), WR_REASON_TO_ENDPOINT,
		  { AT_B, FRAG(.more = 1), UDP(.sport = REMAPPED, .dport = 8080, .n = 8, .len = 24) } },
		{ FROM_A(TO_SERVICE, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_ENDPOINT,
		  { AT_B, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) } },
		{ FROM_B(IP(), FRAG(.more = 1), UDP(.sport = 8080, .dport = REMAPPED, .n = 8, .len = 24)), WR_REASON_TO_ENDPOINT,
		  { AT_A, FRAG(.more = 1), UDP(.sport = 81, .dport = 40000, .n = 8, .len = 24) } },
		{ FROM_B(IP(), FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8)), WR_REASON_TO_ENDPOINT,
		  { AT_A, FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) } } } },
	{ "two frontends, errors", .protocol = IPPROTO_UDP, .backend = POD_B, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, UDP(.dport = 80)), WR_REASON_TO_ENDPOINT },
		{ FROM_A(TO_SERVICE, UDP(.dport = 81)), WR_REASON_TO_ENDPOINT, { AT_B, UDP(.sport = REMAPPED, .dport = 8080) } },
		{ FROM_B(IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), UDP(.sport = REMAPPED, .dport = 8080, .check = V(0))),
		  WR_REASON_TO_ENDPOINT,
		  { AT_A, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), UDP(.dport = 81, .check = V(0)) } },
		{ FROM_B(IP(), UDP(.sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT },
		{ FROM_A(TO_SERVICE, ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), UDP(.sport = 81, .dport = 40000, .check = V(0))),
		  WR_REASON_TO_ENDPOINT,
		  { AT_B, ICMP(.type = UNREACHABLE), IP(.src = POD_B, .dst = POD_A), UDP(.sport = 8080, .dport = REMAPPED, .check = V(0)) } } } },
	{ "two frontends, by the stack", .protocol = IPPROTO_TCP, .backend = WORLD_FAR, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_STACK, { ETH(), IP(.dst = WORLD_FAR), TCP(.flags = SYN, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_STACK,
		  { ETH(), IP(.dst = WORLD_FAR), TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ BY_STACK(IP(.src = WORLD_FAR), TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_DELIVERED,
		  { ETH(), IP(), TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000) }, .entered = DEVICE_UPLINK },
		{ BY_STACK(IP(.src = WORLD_NEAR), ICMP(.type = TOO_BIG), IP(.src = POD_A, .dst = WORLD_FAR), TCP(.sport = REMAPPED, .dport = 8080)),
		  WR_REASON_DELIVERED, .entered = DEVICE_UPLINK },
		{ BY_STACK(IP(.src = WORLD_FAR), TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_DELIVERED,
		  { ETH(), IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) }, .entered = DEVICE_UPLINK } } },
	{ "two frontends, a backend of another node", .protocol = IPPROTO_TCP, .backend = POD_C, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_NODE },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_NODE, .remaps = true },
		{ FROM_C(TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000) } },
		{ FROM_C(TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 81)), WR_REASON_TO_NODE, .remaps = true },
		{ FROM_C(TCP(.sport = 8080, .dport = REMAPPED, .n = 33)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, TCP(.sport = 81, .dport = 40000, .n = 33) } } } },
	{ "two frontends, and itself", .protocol = IPPROTO_TCP, .backend = POD_A, .two_ports = true, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 80)), WR_REASON_TO_ENDPOINT, { AT_A, TCP(.flags = SYN, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .dport = 81)), WR_REASON_TO_ENDPOINT, { AT_A, TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 81, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN | ACK, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000) } },
		{ FROM_A(TO_SERVICE, TCP(.dport = 81)), WR_REASON_TO_ENDPOINT, { AT_A, TCP(.sport = REMAPPED, .dport = 8080) } } } },
	/* With its own port the direction of its packets would be ambiguous. */
	{ "itself, from the backend's port", .protocol = IPPROTO_TCP, .backend = POD_A, .steps = {
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN, .sport = 8080, .dport = 80)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN, .sport = REMAPPED, .dport = 8080) } },
		{ FROM_A(TO_SERVICE, TCP(.flags = SYN | ACK, .sport = 8080, .dport = REMAPPED)), WR_REASON_TO_ENDPOINT,
		  { AT_A, TCP(.flags = SYN | ACK, .sport = 80, .dport = 8080) } } } },
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
	/* The frames of this table have the right checksum. */
	{ "sctp to another port", .protocol = IPPROTO_SCTP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 20)), WR_REASON_TO_ENDPOINT, { AT_B, SCTP(.dport = 8080, .n = 20) } },
		{ FROM_B(IP(), SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 20)), WR_REASON_TO_ENDPOINT,
		  { AT_A, SCTP(.seq = 7, .sport = 80, .dport = 40000, .n = 20) } },
		{ FROM_A(TO_SERVICE, SCTP(.seq = 9, .dport = 80, .n = 100)), WR_REASON_TO_ENDPOINT, { AT_B, SCTP(.seq = 9, .dport = 8080, .n = 100) } },
		/* By cached verdicts. */
		{ FROM_A(TO_SERVICE, SCTP(.seq = 9, .dport = 80, .n = 1000)), WR_REASON_TO_ENDPOINT, { AT_B, SCTP(.seq = 9, .dport = 8080, .n = 1000) } },
		{ FROM_B(IP(), SCTP(.seq = 7, .sport = 8080, .dport = 40000)), WR_REASON_TO_ENDPOINT,
		  { AT_A, SCTP(.seq = 7, .sport = 80, .dport = 40000) } } } },
	{ "sctp in a padded frame", .protocol = IPPROTO_SCTP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 4), PAD(.n = 9)), WR_REASON_TO_ENDPOINT, { AT_B, SCTP(.dport = 8080, .n = 4), PAD(.n = 9) } } } },
	{ "sctp of a pod and itself", .protocol = IPPROTO_SCTP, .backend = POD_A, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 20)), WR_REASON_TO_ENDPOINT,
		  { TO_POD_OF(MAC_A), IP(.src = WORLD, .dst = POD_A, .ttl = 63), SCTP(.dport = 8080, .n = 20) } },
		{ FROM_A(TO_SERVICE, SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 20)), WR_REASON_TO_ENDPOINT,
		  { AT_A, SCTP(.seq = 7, .sport = 80, .dport = 40000, .n = 20) } } } },
	{ "sctp to a backend of another node", .protocol = IPPROTO_SCTP, .backend = POD_C, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 20)), WR_REASON_TO_NODE },
		{ FROM_C(SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 20)), WR_REASON_TO_ENDPOINT,
		  { FOR_A, SCTP(.seq = 7, .sport = 80, .dport = 40000, .n = 20) } } } },
	{ "sctp to a backend outside, by the stack", .protocol = IPPROTO_SCTP, .backend = WORLD_FAR, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 20)), WR_REASON_TO_STACK, { ETH(), IP(.dst = WORLD_FAR), SCTP(.dport = 8080, .n = 20) } },
		{ BY_STACK(IP(.src = WORLD_FAR), SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 20)), WR_REASON_DELIVERED,
		  { ETH(), IP(), SCTP(.seq = 7, .sport = 80, .dport = 40000, .n = 20) }, .entered = DEVICE_UPLINK } } },
	/* A first fragment without chunks, which would show the packet's length. */
	{ "sctp in fragments", .protocol = IPPROTO_SCTP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, FRAG(.more = 1), SCTP(.dport = 80, .n = 12)), WR_REASON_SERVICE_SCTP },
		{ FROM_A(TO_SERVICE, FRAG(.off = 24), RAW(.proto = IPPROTO_SCTP, .n = 8)), WR_REASON_FRAGMENT },
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80, .n = 20)), WR_REASON_TO_ENDPOINT, { AT_B, SCTP(.dport = 8080, .n = 20) } },
		{ FROM_A(TO_SERVICE, FRAG(.more = 1), SCTP(.seq = 9, .dport = 80, .n = 12)), WR_REASON_SERVICE_SCTP },
		{ FROM_B(IP(), FRAG(.more = 1), SCTP(.seq = 7, .sport = 8080, .dport = 40000, .n = 12)), WR_REASON_SERVICE_SCTP },
		{ FROM_B(IP(), FRAG(.off = 24), RAW(.proto = IPPROTO_SCTP, .n = 8)), WR_REASON_FRAGMENT } } },
	{ "errors about sctp", .protocol = IPPROTO_SCTP, .backend = POD_B, .steps = {
		{ FROM_A(TO_SERVICE, SCTP(.dport = 80)), WR_REASON_TO_ENDPOINT },
		{ FROM_B(IP(), ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = POD_B), SCTP(.dport = 8080, .check = V(77))), WR_REASON_TO_ENDPOINT,
		  { AT_A, ICMP(.type = UNREACHABLE), IP(.src = POD_A, .dst = WORLD), SCTP(.dport = 80, .check = V(77)) } },
		{ FROM_A(TO_SERVICE, ICMP(.type = UNREACHABLE), IP(.src = WORLD, .dst = POD_A), SCTP(.sport = 80, .dport = 40000, .check = V(77))), WR_REASON_TO_ENDPOINT,
		  { AT_B, ICMP(.type = UNREACHABLE), IP(.src = POD_B, .dst = POD_A), SCTP(.sport = 8080, .dport = 40000, .check = V(77)) } } } },
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

/* The inner packet's source port, of one that left by a tunnel whose outer packet has the same family. */
static uint16_t source_port(const struct frame *f, bool tunnelled, bool v6)
{
	const size_t ip = v6 ? 40 : 20, at = 14 + (tunnelled ? ip + 8 + 8 + 12 + 14 : 0);
	const bool fragment = v6 && f->data[at + 6] == IPPROTO_FRAGMENT;

	return read16(f->data + at + ip + (fragment ? 8 : 0));
}

/* Replaces REMAPPED in the layers. */
static void remapped_put(struct layer *to, const struct layer *from, uint16_t port)
{
	memcpy(to, from, LAYERS * sizeof(*to));
	for (size_t i = 0; i < LAYERS; i++) {
		to[i].sport = to[i].sport == REMAPPED ? port : to[i].sport;
		to[i].dport = to[i].dport == REMAPPED ? port : to[i].dport;
	}
}

/* Whether the packet that begins the remapped flow is this one. */
static bool remaps(const struct service_step *s)
{
	bool found = s->remaps;

	for (size_t i = 0; i < LAYERS; i++)
		found |= s->out[i].sport == REMAPPED;
	return found;
}

static void test_services(void **state)
{
	const struct service_case *c = *state;
	struct layer layers[LAYERS];
	uint16_t port = 0;

	if (c->backend == POD_C)
		cluster_reset(0, c->v6, c->v6);
	else
		node_reset(0, c->v6);
	service_put(c->protocol, c->v6, (enum who[]){ c->backend, WHO_DEFAULT });
	if (c->two_ports)
		service_put_too(c->protocol, c->v6, 81);
	if (c->cluster_ip)
		service_address_put(c->v6, WR_CLUSTER_IP_COMPLETE);
	for (const struct service_step *s = c->steps; s < c->steps + STEPS && s->reason; s++) {
		const struct layer_defaults *defaults = program_defaults(s->program, s->on);
		struct run r = { .program = s->program, .on = s->on, .entered = s->entered };
		struct wr_trace trace;
		struct frame in, out;

		remapped_put(layers, s->in, port);
		frame_build_over(&in, layers, defaults, c->v6, c->v6);
		run_dry(&(struct run){ .program = s->program, .on = s->on, .entered = s->entered }, &in, &trace);
		assert_string_equal(reason_names[trace.reason], reason_names[s->reason]);
		run_program(&r, &in);
		counter_expect(&r, s->reason);
		if (s->reason == WR_REASON_NO_BACKEND || s->reason == WR_REASON_NO_SERVICE_PORT)
			refusal_expect(c, &r, &in);
		if (!port && remaps(s)) {
			port = source_port(&r.out, s->reason == WR_REASON_TO_NODE, c->v6);
			assert_in_range(port, 32768, 65535);
			assert_int_not_equal(port, 40000);
			assert_int_equal(port % 2, 0);
		}
		if (s->remaps)
			assert_int_equal(source_port(&r.out, s->reason == WR_REASON_TO_NODE, c->v6), port);
		if (s->out[0].kind) {
			remapped_put(layers, s->out, port);
			frame_build(&out, layers, defaults, c->v6);
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

/*
 * A packet between the service's client and its backend, of random length, random bytes and extension headers, in a padded
 * frame. Half of them have a wrong checksum. After the NAT it is off by as much, so it is right if it was.
 */
static void sctp_packet_expect(bool v6, bool reply)
{
	const struct layer layers[LAYERS] = {
		ETH(), IP(.dst = reply ? POD_A : WORLD), v6 && random_below(2) ? (struct layer)DST(.proto = IPPROTO_SCTP) : (struct layer)FRAG(),
		RAW(.proto = IPPROTO_SCTP, .n = 12 + (int)random_below(3400)), PAD(.n = (int)random_below(20)),
	};
	const enum device on = reply ? DEVICE_B : DEVICE_A;
	struct run r = { .program = FROM_POD, .on = on };
	const size_t len = (size_t)layers[3].n;
	uint32_t off_by = random_below(2) ? 1 + random_below(~0u) : 0;
	struct frame f;
	uint8_t *l4;

	frame_build(&f, layers, program_defaults(FROM_POD, on), v6);
	l4 = f.data + f.len - layers[4].n - len;
	for (size_t i = 0; i < len; i++)
		l4[i] = (uint8_t)random_below(256);
	put16(l4, reply ? 8080 : 40000);
	put16(l4 + 2, reply ? 40000 : 80);
	l4[4] |= 1; /* not INIT's tag */
	sctp_sum_put(l4, sctp_sum(l4, len) ^ off_by);
	run_quietly(&r, &f);
	assert_int_equal(r.verdict, TC_ACT_REDIRECT);
	assert_int_equal(r.out.len, f.len);
	put16(l4, reply ? 80 : 40000);
	put16(l4 + 2, reply ? 40000 : 8080);
	sctp_sum_put(l4, sctp_sum(l4, len) ^ off_by);
	assert_memory_equal(r.out.data + (l4 - f.data), l4, f.len - (size_t)(l4 - f.data));
}

/* A, the service's client, and its backend have begun. */
static void sctp_begin(bool v6)
{
	static const struct layer init[LAYERS] = { ETH(), TO_SERVICE, SCTP(.dport = 80, .n = 20) };
	struct frame f;

	node_reset(0, v6);
	service_put(IPPROTO_SCTP, v6, (enum who[]){ POD_B, WHO_DEFAULT });
	frame_build(&f, init, program_defaults(FROM_POD, DEVICE_A), v6);
	run_quietly(&(struct run){ .program = FROM_POD, .on = DEVICE_A }, &f);
}

static void test_sctp_checksums(void **state)
{
	(void)state;
	random_start(9000);
	for (int v6 = 0; v6 < 2; v6++) {
		sctp_begin(v6);
		for (int n = 0; n < 1000; n++)
			sctp_packet_expect(v6, n % 2);
	}
}

/* The part of an SCTP packet from `off` on, as a fragment; it is replaced by what arrives of it. Returns the verdict. */
static int sctp_fragment_run(bool v6, bool reply, uint32_t id, uint8_t *packet, size_t off, size_t size, bool more)
{
	const struct layer layers[LAYERS] = {
		ETH(), IP(.dst = reply ? POD_A : WORLD), FRAG(.id = id, .off = (int)off, .more = more),
		RAW(.proto = IPPROTO_SCTP, .n = (int)size),
	};
	struct run r = { .program = FROM_POD, .on = reply ? DEVICE_B : DEVICE_A };
	struct frame f;

	frame_build(&f, layers, program_defaults(FROM_POD, r.on), v6);
	memcpy(f.data + f.len - size, packet + off, size);
	run_quietly(&r, &f);
	assert_int_equal(r.out.len, f.len);
	memcpy(packet + off, r.out.data + f.len - size, size);
	return r.verdict;
}

/*
 * A packet of a few small chunks and a large one, as its stack fragments it when the path's MTU has shrunk: the large chunk
 * is cut. `between`: it is not, so the first fragment does not show where the packet ends.
 */
static void sctp_fragments_expect(bool v6, bool reply, uint32_t id, bool between)
{
	const uint32_t off_by = random_below(2) ? 1 + random_below(~0u) : 0;
	const int verdict = between ? TC_ACT_SHOT : TC_ACT_REDIRECT;
	uint8_t packet[4096] = { 0 }, expected[sizeof(packet)];
	size_t last = 12, len, cut;

	for (uint32_t small = between ? 1 : random_below(3); small; small--) {
		packet[last] = 3;
		put16(packet + last + 2, between ? 9 : 4 + random_below(30));
		last += (read16(packet + last + 2) + 3) & ~3u;
	}
	put16(packet + last + 2, 100 + random_below(2000));
	len = last + ((read16(packet + last + 2) + 3) & ~3u);
	cut = between ? last : (last + 4 + 7) / 8 * 8 + 8 * (size_t)random_below(10);
	for (size_t i = last + 4; i < len; i++)
		packet[i] = (uint8_t)random_below(256);
	put16(packet, reply ? 8080 : 40000);
	put16(packet + 2, reply ? 40000 : 80);
	put32(packet + 4, 7);
	memcpy(expected, packet, len);
	sctp_sum_put(packet, sctp_sum(packet, len) ^ off_by);
	put16(expected + (reply ? 0 : 2), reply ? 80 : 8080);
	sctp_sum_put(expected, sctp_sum(expected, len) ^ off_by);
	assert_int_equal(sctp_fragment_run(v6, reply, id, packet, 0, cut, true), verdict);
	assert_int_equal(sctp_fragment_run(v6, reply, id, packet, cut, len - cut, false), verdict);
	if (!between)
		assert_memory_equal(packet, expected, len);
}

static void test_sctp_fragments(void **state)
{
	(void)state;
	random_start(9002);
	for (int v6 = 0; v6 < 2; v6++) {
		sctp_begin(v6);
		for (uint32_t n = 0; n < 200; n++)
			sctp_fragments_expect(v6, n % 2, 1000 + n, n < 2);
	}
}

static void flow_of_a_put(bool v6, unsigned sport)
{
	struct wr_ct ct = { .expires = tick_now() + WR_CT_LIFE_OTHER, .initiator = device_ifindex(DEVICE_A),
			    .responder = device_ifindex(DEVICE_B) };
	struct wr_ct4_key key4 = { .port = { htons(sport), htons(8080) }, .l4_proto = IPPROTO_UDP };
	struct wr_ct6_key key6 = { .port = { htons(sport), htons(8080) }, .l4_proto = IPPROTO_UDP };

	memcpy(&key4.addr[0], who_address(POD_A, false), 4);
	memcpy(&key4.addr[1], who_address(POD_B, false), 4);
	memcpy(&key6.addr[0], who_address(POD_A, true), 16);
	memcpy(&key6.addr[1], who_address(POD_B, true), 16);
	map_put(v6 ? "ct6" : "ct4", v6 ? (const void *)&key6 : &key4, &ct);
}

/* While the client has flows with the backend from all ports that may be tried, its next one through the service is dropped. */
static void test_all_ports_taken(void **state)
{
	const struct layer syn[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80) };

	harness_use_other_tables(1 << 15);
	for (int v6 = 0; v6 < 2; v6++) {
		struct run r = { .program = FROM_POD, .on = DEVICE_A };
		struct frame f;

		node_reset(0, v6);
		service_put(IPPROTO_UDP, v6, (enum who[]){ POD_B, WHO_DEFAULT });
		for (unsigned sport = 32768; sport < 61000; sport += 2)
			flow_of_a_put(v6, sport);
		frame_build(&f, syn, program_defaults(FROM_POD, DEVICE_A), v6);
		run_program(&r, &f);
		counter_expect(&r, WR_REASON_TO_ENDPOINT);
		assert_in_range(source_port(&r.out, false, v6), 61000, 65534);
		node_reset(0, v6);
		service_put(IPPROTO_UDP, v6, (enum who[]){ POD_B, WHO_DEFAULT });
		for (unsigned sport = 32768; sport < 65536; sport += 2)
			flow_of_a_put(v6, sport);
		run_program(&r, &f);
		counter_expect(&r, WR_REASON_SERVICE_CLASH);
		assert_int_equal(flows_count(CT_NEW, v6), 0);
		assert_int_equal(flows_count(CT_TABLE, v6), 16384);
	}
	harness_use_usual_tables();
}

/* Too big for the path to the backend's node: the ICMP error quotes the packet as sent, with the service's address. */
static void test_service_too_big(void **state)
{
	static const struct layer syn[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80) };
	static const struct layer big[LAYERS] = { ETH(), TO_SERVICE, UDP(.dport = 80, .n = TUNNEL_MTU) };
	/* The quoted packet has a decremented hop limit. */
	static const struct layer seen[LAYERS] = { ETH(), IP(.dst = WORLD, .ttl = 63), UDP(.dport = 80, .n = TUNNEL_MTU) };
	static const struct layer direct[LAYERS] = { ETH(), IP(.dst = POD_C), UDP(.dport = 8080) };
	const struct layer_defaults *defaults = program_defaults(FROM_POD, DEVICE_A);

	/* Also with a port that is remapped, since it is in use on the backend. */
	for (int family = 0; family < 8; family++) {
		const bool v6 = family & 1;

		cluster_reset(0, v6, family & 2);
		service_put(IPPROTO_UDP, v6, (enum who[]){ POD_C, WHO_DEFAULT });
		if (family & 4) {
			struct run r = { .program = FROM_POD, .on = DEVICE_A };
			struct frame f;

			frame_build(&f, direct, defaults, v6);
			run_program(&r, &f);
			counter_expect(&r, WR_REASON_TO_NODE);
		}
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
	case_add(&cases, test_sctp_checksums, NULL, 0, "sctp checksums");
	case_add(&cases, test_sctp_fragments, NULL, 0, "sctp fragments");
	case_add(&cases, test_service_too_big, NULL, 0, "too big for the way to a backend");
	case_add(&cases, test_all_ports_taken, NULL, 0, "all ports are taken");
	case_add(&cases, test_service_unknown, NULL, 0, "a reply of an unknown service");
	return cases_run(&cases, "bpf_service", harness_setup);
}
