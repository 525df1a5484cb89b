/* SPDX-License-Identifier: BSD-2-Clause */
/* What the host's stack sends to A. Defaults: from the world to A, the host's MAC address to A's, made by the host. */
#include <netinet/in.h>

#include "rows.h"

#define FROM_HOST NO_DEVICE
#define DELIVERED .reason = WR_REASON_DELIVERED

const struct row rows_to_pod[] = {
	{ "from the host", .in = { ETH(), IP(.src = HOST), TCP() }, DELIVERED },
	{ "an error made by the host", .in = { ETH(), IP(.src = HOST), ICMP(.type = UNREACHABLE),
	  IP(.src = POD_A, .dst = WORLD), UDP() }, DELIVERED },
	{ "the host answers for another address", .in = { ETH(), IP(.src = WORLD), TCP() }, DELIVERED },
	{ "from the world", .entered = DEVICE_UPLINK, .in = { ETH(), IP(), TCP() }, DELIVERED },
	{ "from a pod through the stack", .entered = DEVICE_B, .in = { ETH(), IP(.src = POD_B), TCP() }, DELIVERED },
	{ "from a pod, masqueraded", .entered = DEVICE_B, .in = { ETH(), IP(.src = HOST), TCP() }, DELIVERED },
	{ "its own, translated back to it", .entered = DEVICE_A, .in = { ETH(), IP(.src = POD_A), TCP() }, DELIVERED },
	{ "marks are the host's business", .mark_in = 77, .in = { ETH(), IP(), TCP() }, DELIVERED, .mark = 77 },
	{ "hop limit 1 is enough", .entered = DEVICE_UPLINK, .in = { ETH(), IP(.ttl = 1), TCP() }, DELIVERED },
	{ "a later fragment", .entered = DEVICE_UPLINK,
	  .in = { ETH(), IP(), FRAG(.off = 16), RAW(.proto = IPPROTO_UDP, .n = 8) }, DELIVERED },
	{ "extension headers", V6, .entered = DEVICE_UPLINK, .in = { ETH(), IP(), HOP(), DST(), TCP() }, DELIVERED },
	{ "no settings", .state = S_NO_CONFIG, .in = { ETH(), IP(.src = HOST), TCP() }, DELIVERED },

	{ "a pod's address from outside", .entered = DEVICE_UPLINK, .in = { ETH(), IP(.src = POD_B), TCP() },
	  .reason = WR_REASON_SPOOFED_OUTSIDE },
	{ "its own address from outside", .entered = DEVICE_UPLINK, .in = { ETH(), IP(.src = POD_A), TCP() },
	  .reason = WR_REASON_SPOOFED_OUTSIDE },
	{ "its own address from another pod", .entered = DEVICE_B, .in = { ETH(), IP(.src = POD_A), TCP() },
	  .reason = WR_REASON_SPOOFED_OUTSIDE },

	{ "quarantined, from the host", .state = S_A_QUARANTINE, .in = { ETH(), IP(.src = HOST), TCP() }, DELIVERED },
	{ "quarantined, from the world", .state = S_A_QUARANTINE, .entered = DEVICE_UPLINK,
	  .in = { ETH(), IP(), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "quarantined, from a pod", .state = S_A_QUARANTINE, .entered = DEVICE_B,
	  .in = { ETH(), IP(.src = POD_B), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "from a quarantined pod", .state = S_B_QUARANTINE, .entered = DEVICE_B,
	  .in = { ETH(), IP(.src = POD_B), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "from a quarantined pod that was crowded out of its first slot", .state = S_B_QUARANTINE | S_LAST_PLACE,
	  .entered = DEVICE_B, .in = { ETH(), IP(.src = POD_B), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "from a quarantined pod, masqueraded", .state = S_B_QUARANTINE, .entered = DEVICE_B,
	  .in = { ETH(), IP(.src = HOST), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "a pod that the cache takes for another", .state = S_CACHE_WRONG | S_A_QUARANTINE, .entered = DEVICE_B,
	  .in = { ETH(), IP(.src = POD_B), TCP() }, .reason = WR_REASON_QUARANTINE },
	{ "a pod that is going counts as outside", .state = S_B_GOING, .entered = DEVICE_B,
	  .in = { ETH(), IP(.src = POD_B), TCP() }, .reason = WR_REASON_SPOOFED_OUTSIDE },

	{ "no endpoint", .state = S_NO_ENDPOINT, .in = { ETH(), IP(), TCP() }, .reason = WR_REASON_NO_ENDPOINT },
	{ "no IP header", .in = { ETH(), IP(), TCP() }, .cut = 20, .reason = WR_REASON_RUNT },
	{ "not IP", .in = { ETH(.proto = 0x88cc), IP() }, .reason = WR_REASON_ETHERTYPE },
	{ "vlan", .in = { ETH(), VLAN(), IP(), TCP() }, .reason = WR_REASON_ETHERTYPE },
	{ "wrong version", .in = { ETH(), IP(.version = 5), TCP() }, .reason = WR_REASON_MALFORMED_IP },
	{ "longer than the frame", .in = { ETH(), IP(.len = 100), TCP() }, .reason = WR_REASON_MALFORMED_IP },
	{ "options", V4, .in = { ETH(), IP(.words = 6), TCP() }, .reason = WR_REASON_IP_OPTIONS },
	{ "a routing header", V6, .in = { ETH(), IP(), ROUTE(), TCP() }, .reason = WR_REASON_EXT_HEADERS },
	{ "multicast", .in = { ETH(), IP(.dst = MULTI), UDP() }, .reason = WR_REASON_MULTICAST },
	{ "broadcast", .in = { ETH(), IP(.dst = BROADCAST), UDP() }, .reason = WR_REASON_MULTICAST },
	{ "to another address", .in = { ETH(), IP(.dst = POD_B), TCP() }, .reason = WR_REASON_NOT_FOR_POD },
	{ "a family the pod has not", .state = S_NO_FAMILY, .in = { ETH(), IP(), TCP() },
	  .reason = WR_REASON_NOT_FOR_POD },
	{ "arp", V4, .in = { ETH(), ARP(.src = HOST, .dst = POD_A) }, .reason = WR_REASON_ARP },
	{ "solicitation", V6, .in = { ETH(), IP(.src = HOST, .ttl = 255), ND(.target = POD_A, .option = 1) },
	  .reason = WR_REASON_NEIGHBOUR },
	{ "router advertisement from outside", V6, .entered = DEVICE_UPLINK,
	  .in = { ETH(), IP(.ttl = 255), ICMP(.type = V(134), .n = 8) }, .reason = WR_REASON_NEIGHBOUR },
	{ 0 },
};
