/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes in at an uplink, and what the stack sends to other nodes' pods. */
#include <netinet/in.h>

#include "rows.h"

/* A tunnel packet's layers, outermost first. */
#define OUTER(...) ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE, ##__VA_ARGS__)
#define TO_PORT(...) UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0), ##__VA_ARGS__)
#define SUMMED(...) UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, ##__VA_ARGS__)
#define HEAD OUTER(), TO_PORT()
#define NAMED(...) OPT(.n = 8, .identity = IDENTITY_C, ##__VA_ARGS__)
#define INNER_ETH ETH(.smac = MAC_GENEVE_FROM, .dmac = MAC_GENEVE_TO)
#define FROM_C IP(.src = POD_C, .dst = POD_A)
#define INNER INNER_ETH, FROM_C, TCP()
#define WITH(who) HEAD, GENEVE(), OPT(.n = 8, .identity = who), INNER_ETH

#define INTO_A .reason = WR_REASON_TO_ENDPOINT
#define AT_A(...) ETH(.smac = MAC_HOST, .dmac = MAC_A), IP(.src = POD_C, .dst = POD_A, ##__VA_ARGS__)
#define A_GETS .out = { AT_A(), TCP() }
#define AT_HOST ETH(.smac = MAC_HOST, .dmac = MAC_HOST)

#define MALFORMED .reason = WR_REASON_TUNNEL_MALFORMED
#define CONTRADICTS MALFORMED, .unasked = true
#define BAD_OPTION .reason = WR_REASON_TUNNEL_OPTION
#define BAD_SOURCE .reason = WR_REASON_TUNNEL_SOURCE
#define BAD_IDENTITY .reason = WR_REASON_TUNNEL_IDENTITY
#define PASSES .reason = WR_REASON_NONE

/* The cluster's key: the word behind the identity. */
#define KEY_REQUIRED .state = S_KEYED | S_KEY_REQUIRED
#define WORD(who, ...) OPT(.type = WR_TUNNEL_OPTION_KEY, .n = 8, .identity = who, ##__VA_ARGS__)
#define RIGHT RX_WORD(SLOT_C, 0)
#define BAD_KEY .reason = WR_REASON_TUNNEL_KEY

#define ECT1 1
#define ECT0 2
#define CE 3
#define ECN_ROW(title, outside, inside, becomes)                                                                       \
	{ "ecn: " title, .in = { OUTER(.tos = outside), TO_PORT(), GENEVE(), NAMED(), INNER_ETH,                       \
				 IP(.src = POD_C, .dst = POD_A, .tos = 0xb8 | (inside)), TCP() },                      \
	  INTO_A, .out = { AT_A(.tos = 0xb8 | (becomes)), TCP() } }

const struct row rows_from_uplink[] = {
	/* --- in order --- */
	{ "tcp to a pod", .in = { HEAD, GENEVE(), NAMED(), INNER }, INTO_A, A_GETS },
	{ "udp to a pod", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP(.n = 3) }, INTO_A,
	  .out = { AT_A(), UDP(.n = 3) } },
	{ "empty udp", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP() }, INTO_A, .out = { AT_A(), UDP() } },
	{ "1400 bytes", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP(.n = 1352) }, INTO_A,
	  .out = { AT_A(), UDP(.n = 1352) } },
	{ "the hop limits are nobody's business", .in = { OUTER(.ttl = 1), TO_PORT(), GENEVE(), NAMED(), INNER_ETH,
							  IP(.src = POD_C, .dst = POD_A, .ttl = 1), TCP() }, INTO_A,
	  .out = { AT_A(.ttl = 1), TCP() } },
	{ "with DF, a DSCP and a flow label",
	  .in = { OUTER(.df = 1, .tos = 0xb8, .id = 0x54321), TO_PORT(), GENEVE(), NAMED(), INNER }, INTO_A, A_GETS },
	{ "a padded frame", .in = { HEAD, GENEVE(), NAMED(), INNER, PAD(.n = 6) }, INTO_A, A_GETS },
	{ "any source port", .in = { OUTER(), UDP(.sport = 1, .dport = WR_TUNNEL_PORT, .check = V(0)), GENEVE(), NAMED(), INNER },
	  INTO_A, A_GETS },
	{ "reserved bits", .in = { HEAD, GENEVE(.flags = 0x3f, .code = 0xff), NAMED(.code = 7), INNER }, INTO_A, A_GETS },
	{ "any inner MAC addresses", .in = { HEAD, GENEVE(), NAMED(), ETH(.smac = MAC_BROADCAST, .dmac = MAC_ZERO), FROM_C, TCP() },
	  INTO_A, A_GETS },

	/* --- the outer headers --- */
	{ "no cluster", .state = S_NO_CLUSTER, .in = { HEAD, GENEVE(), NAMED(), INNER }, PASSES },
	{ "no tunnels over that family", .state = S_OTHER_FAMILY, .in = { HEAD, GENEVE(), NAMED(), INNER }, PASSES },
	{ "to another host", .in = { ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE_D), TO_PORT(),
				     GENEVE(), NAMED(), INNER }, PASSES },
	{ "to another port", .in = { OUTER(), UDP(.dport = 6082), GENEVE(), NAMED(), INNER }, PASSES },
	{ "from the port, not to it", .in = { OUTER(), UDP(.sport = WR_TUNNEL_PORT, .dport = 50000), GENEVE(), NAMED(), INNER },
	  PASSES },
	{ "tcp to the port", .in = { OUTER(), TCP(.dport = WR_TUNNEL_PORT) }, PASSES },
	{ "to another MAC address", .in = { ETH(.dmac = MAC_B), IP(.outer = true, .src = NODE_C, .dst = NODE), TO_PORT(),
					    GENEVE(), NAMED(), INNER }, PASSES },
	{ "a broadcast frame", .in = { ETH(.dmac = MAC_BROADCAST), IP(.outer = true, .src = NODE_C, .dst = NODE),
				       TO_PORT(), GENEVE(), NAMED(), INNER }, .reason = WR_REASON_MULTICAST,
	  .out = { ETH(.dmac = MAC_BROADCAST), FROM_C, TCP() } },
	{ "options", .outer = V4, .in = { OUTER(.words = 6), TO_PORT(), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "all the options there can be", .outer = V4, .in = { OUTER(.words = 15), TO_PORT(), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "destination options", .outer = V6, .in = { OUTER(), DST(), TO_PORT(), GENEVE(), NAMED(), INNER }, PASSES },
	{ "a routing header", .outer = V6, .in = { OUTER(), ROUTE(), TO_PORT(), GENEVE(), NAMED(), INNER }, PASSES },
	{ "wrong version", .in = { OUTER(.version = 5), TO_PORT(), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "a first fragment", .in = { OUTER(), FRAG(.more = 1), TO_PORT(), GENEVE(), NAMED(), INNER },
	  .reason = WR_REASON_TUNNEL_FRAGMENT },
	{ "an atomic fragment", .outer = V6, .in = { OUTER(), FRAG(), TO_PORT(), GENEVE(), NAMED(), INNER },
	  .reason = WR_REASON_TUNNEL_FRAGMENT },
	{ "a first fragment from nobody", .in = { ETH(), IP(.outer = true, .src = WORLD, .dst = NODE),
						  FRAG(.more = 1), TO_PORT(), GENEVE(), NAMED(), INNER },
	  .reason = WR_REASON_TUNNEL_FRAGMENT },
	{ "a later fragment", .in = { OUTER(), FRAG(.off = 8), TO_PORT(), GENEVE(), NAMED(), INNER }, PASSES },
	{ "a fragment to another port", .in = { OUTER(), FRAG(.more = 1), UDP(.dport = 53, .n = 64) }, PASSES },
	{ "longer than the frame", .in = { OUTER(.len = 2000), TO_PORT(), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "udp shorter than its packet", .in = { OUTER(), TO_PORT(.len = 60), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "udp longer than its packet", .in = { OUTER(), TO_PORT(.len = 1000), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "udp length 0", .in = { OUTER(), TO_PORT(.len = V(0)), GENEVE(), NAMED(), INNER }, CONTRADICTS },
	{ "nothing behind udp", .in = { OUTER(), TO_PORT() }, MALFORMED },

	{ "a checksum", .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), INNER }, INTO_A, A_GETS },
	{ "a checksum over an odd number of bytes", .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP(.n = 3) }, INTO_A,
	  .out = { AT_A(), UDP(.n = 3) } },
	{ "a checksum over 1400 bytes", .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP(.n = 1352) }, INTO_A,
	  .out = { AT_A(), UDP(.n = 1352) } },
	{ "a checksum over 3000 bytes", .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), INNER_ETH, FROM_C, UDP(.n = 3001) }, INTO_A,
	  .out = { AT_A(), UDP(.n = 3001) } },
	{ "a checksum, and padding that is not under it", .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), INNER, PAD(.n = 6) }, INTO_A, A_GETS },
	{ "a wrong checksum", .in = { OUTER(), SUMMED(.check = 0x1234), GENEVE(), NAMED(), INNER }, MALFORMED },
	{ "a checksum of ones", .in = { OUTER(), SUMMED(.check = 0xffff), GENEVE(), NAMED(), INNER }, MALFORMED },
	{ "a wrong checksum, from nobody", .in = { ETH(), IP(.outer = true, .src = WORLD, .dst = NODE),
						   SUMMED(.check = 1), GENEVE(), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_SENDER },

	/* --- the sender --- */
	{ "from nobody", .in = { ETH(), IP(.outer = true, .src = WORLD, .dst = NODE), TO_PORT(), GENEVE(),
				 NAMED(), INNER }, .reason = WR_REASON_TUNNEL_SENDER },
	{ "from this node's own address", .in = { ETH(), IP(.outer = true, .src = NODE, .dst = NODE),
						  TO_PORT(), GENEVE(), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_SENDER },
	{ "from a pod's address", .in = { ETH(), IP(.outer = true, .src = POD_C, .dst = NODE),
					  TO_PORT(), GENEVE(), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_SENDER },
	{ "from a node that has gone", .state = S_NODE_GONE, .in = { HEAD, GENEVE(), NAMED(), INNER },
	  .reason = WR_REASON_TUNNEL_SENDER },
	{ "from a node that is unknown", .state = S_NO_NODES, .in = { HEAD, GENEVE(), NAMED(), INNER },
	  .reason = WR_REASON_TUNNEL_SENDER },

	/* --- geneve --- */
	{ "version 1", .in = { HEAD, GENEVE(.version = 1), NAMED(), INNER }, MALFORMED },
	{ "version 3", .in = { HEAD, GENEVE(.version = 3), NAMED(), INNER }, MALFORMED },
	{ "a control packet", .in = { HEAD, GENEVE(.flags = 0x80), NAMED(), INNER }, BAD_OPTION },
	{ "not Ethernet", .in = { HEAD, GENEVE(.proto = 0x0800), NAMED(), INNER }, MALFORMED },
	{ "protocol 0", .in = { HEAD, GENEVE(.proto = V(0)), NAMED(), INNER }, MALFORMED },
	{ "another cluster", .in = { HEAD, GENEVE(.vni = 2), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_VNI },
	{ "no cluster's number", .in = { HEAD, GENEVE(.vni = V(0)), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_VNI },
	{ "the highest bit of the VNI", .in = { HEAD, GENEVE(.vni = 0x800001), NAMED(), INNER }, .reason = WR_REASON_TUNNEL_VNI },
	{ "no options", .in = { HEAD, GENEVE(), INNER }, BAD_OPTION },
	{ "options beyond the packet", .in = { HEAD, GENEVE(.words = 63), NAMED(), INNER }, MALFORMED },
	{ "options that leave no room for the inner frame", .in = { HEAD, GENEVE(.words = 13), NAMED(), INNER_ETH, FROM_C, RAW(.n = 0) },
	  .family = V4, MALFORMED },
	{ "an option longer than the options", .in = { HEAD, GENEVE(), NAMED(.words = 3), INNER }, MALFORMED },
	{ "an option shorter than the options", .in = { HEAD, GENEVE(), NAMED(.words = 1), INNER }, BAD_OPTION },
	{ "another class", .in = { HEAD, GENEVE(), NAMED(.class = 0x0100), INNER }, BAD_OPTION },
	{ "another type", .in = { HEAD, GENEVE(), NAMED(.type = 2), INNER }, BAD_OPTION },
	{ "type 0", .in = { HEAD, GENEVE(), NAMED(.type = V(0)), INNER }, BAD_OPTION },
	{ "our type, but critical", .in = { HEAD, GENEVE(.flags = 0x40), NAMED(.type = 0x81), INNER }, BAD_OPTION },
	{ "an identity without data", .in = { HEAD, GENEVE(), OPT(), INNER }, BAD_OPTION },
	{ "an identity of 4 bytes", .in = { HEAD, GENEVE(), OPT(.n = 4), INNER }, BAD_OPTION },
	{ "an identity of 12 bytes", .in = { HEAD, GENEVE(), OPT(.n = 12, .identity = IDENTITY_C), INNER }, BAD_OPTION },
	{ "two identities", .in = { HEAD, GENEVE(), NAMED(), NAMED(), INNER }, BAD_OPTION },
	{ "two different identities", .in = { HEAD, GENEVE(), NAMED(), OPT(.n = 8, .identity = IDENTITY_C2), INNER }, BAD_OPTION },
	{ "an unknown option before", .in = { HEAD, GENEVE(), OPT(.class = 0x0100, .n = 4), NAMED(), INNER }, INTO_A, A_GETS },
	{ "an unknown option behind", .in = { HEAD, GENEVE(), NAMED(), OPT(.class = 0x0104, .type = 0x7f, .n = 16), INNER }, INTO_A,
	  A_GETS },
	{ "an empty one before", .in = { HEAD, GENEVE(), OPT(.class = 0x0100), NAMED(), INNER }, INTO_A, A_GETS },
	{ "three of the longest that there can be, almost",
	  .in = { HEAD, GENEVE(), OPT(.class = 0x0100, .n = 116), OPT(.class = 0x0101, .n = 116), NAMED(), INNER }, INTO_A, A_GETS },
	{ "252 bytes of options",
	  .in = { HEAD, GENEVE(), OPT(.class = 0x0100, .n = 116), OPT(.class = 0x0101, .n = 112), NAMED(), OPT(.class = 0x0102), INNER },
	  INTO_A, A_GETS },
	{ "an unknown critical option", .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), OPT(.class = 0x0100, .type = 0x80, .n = 4), INNER },
	  BAD_OPTION },
	{ "an unknown critical option that the header does not announce",
	  .in = { HEAD, GENEVE(), OPT(.class = 0x0100, .type = 0xff), NAMED(), INNER }, BAD_OPTION },
	{ "a critical option announced that is not there", .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), INNER }, MALFORMED },
	{ "... among others", .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), OPT(.class = 0x0100), INNER }, MALFORMED },

	/* --- the keyed word --- */
	{ "a word", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER }, INTO_A, A_GETS },
	{ "a word of the other key", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RX_WORD(SLOT_C, 1)), INNER }, INTO_A, A_GETS },
	{ "a word, and both keys in use", .state = S_KEYED | S_KEY_REQUIRED | S_KEY_ODD,
	  .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER }, INTO_A, A_GETS },
	{ "a word that is not required", .state = S_KEYED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER }, INTO_A, A_GETS },
	{ "a word where there is no key", .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER }, INTO_A, A_GETS },
	{ "a word, reserved bits", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT, .code = 7), INNER }, INTO_A, A_GETS },
	{ "a word, and an unknown option behind", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), OPT(.class = 0x0100, .n = 4), INNER }, INTO_A, A_GETS },
	{ "a word, padding", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER, PAD(.n = 6) }, INTO_A, A_GETS },
	{ "a word, a checksum", KEY_REQUIRED, .in = { OUTER(), SUMMED(), GENEVE(), NAMED(), WORD(RIGHT), INNER }, INTO_A, A_GETS },
	{ "a word to the host", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER_ETH, IP(.src = POD_C, .dst = HOST), TCP() },
	  .reason = WR_REASON_TO_HOST, .out = { AT_HOST, IP(.src = POD_C, .dst = HOST), TCP() } },
	{ "no word", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), INNER }, BAD_KEY },
	{ "no word, and nothing inside that would fill its place", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, FROM_C, RAW(.proto = 50, .n = 0) }, BAD_KEY },
	{ "no options, a key", KEY_REQUIRED, .in = { HEAD, GENEVE(), INNER }, BAD_KEY },
	{ "word 0", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(0), INNER }, BAD_KEY },
	{ "one bit of the word", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT ^ 1ull << 63), INNER }, BAD_KEY },
	{ "the word that this node sends", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(TX_WORD(SLOT_C, 0)), INNER }, BAD_KEY },
	{ "another node's word", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RX_WORD(SLOT_D, 0)), INNER }, BAD_KEY },
	{ "a word of 4 bytes", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT, .words = 1), INNER }, BAD_KEY },
	{ "a word of 12 bytes", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), OPT(.type = WR_TUNNEL_OPTION_KEY, .n = 12, .identity = RIGHT), INNER }, BAD_KEY },
	{ "a word of another class", KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT, .class = 0x0100), INNER }, BAD_KEY },
	{ "a critical word", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), OPT(.type = 0x82, .n = 8, .identity = RIGHT), INNER }, BAD_KEY },
	{ "a word before the identity", KEY_REQUIRED, .in = { HEAD, GENEVE(), WORD(RIGHT), NAMED(), INNER }, BAD_KEY },
	{ "a word behind another option", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), OPT(.class = 0x0100), WORD(RIGHT), INNER }, BAD_KEY },
	{ "a word beyond the options", KEY_REQUIRED, .in = { HEAD, GENEVE(.words = 3), NAMED(), WORD(RIGHT), INNER }, BAD_KEY },
	{ "a word without an identity", KEY_REQUIRED, .in = { HEAD, GENEVE(), OPT(.class = 0x0100, .n = 8), WORD(RIGHT), INNER }, BAD_OPTION },
	{ "a word, then an unknown critical option", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), WORD(RIGHT), OPT(.class = 0x0100, .type = 0x80), INNER }, BAD_OPTION },
	{ "no word, an unknown critical option", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(.flags = 0x40), NAMED(), OPT(.class = 0x0100, .type = 0x80), INNER }, BAD_KEY },
	{ "a word, a wrong checksum", KEY_REQUIRED, .in = { OUTER(), SUMMED(.check = 0x1234), GENEVE(), NAMED(), WORD(RIGHT), INNER }, MALFORMED },
	{ "no word, a wrong checksum", KEY_REQUIRED, .in = { OUTER(), SUMMED(.check = 0x1234), GENEVE(), NAMED(), INNER }, BAD_KEY },
	{ "no word, a source that is not that node's", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_B, .dst = POD_A), TCP() }, BAD_KEY },
	{ "a word, a source that is not that node's", KEY_REQUIRED,
	  .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER_ETH, IP(.src = POD_B, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "a key that is not known here", .state = S_KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(RIGHT), INNER }, BAD_KEY },
	{ "word 0 of a key that is not known here", .state = S_KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), WORD(0), INNER }, BAD_KEY },
	{ "no word of a key that is not known here", .state = S_KEY_REQUIRED, .in = { HEAD, GENEVE(), NAMED(), INNER }, BAD_KEY },
	{ "a word, from nobody", KEY_REQUIRED, .in = { ETH(), IP(.outer = true, .src = WORLD, .dst = NODE), TO_PORT(), GENEVE(),
						       NAMED(), WORD(RIGHT), INNER }, .reason = WR_REASON_TUNNEL_SENDER },

	/* --- the inner packet --- */
	{ "arp inside", .family = V4, .in = { HEAD, GENEVE(), NAMED(), ETH(.proto = 0x0806), FROM_C, TCP() }, MALFORMED },
	{ "vlan inside", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, VLAN(), FROM_C, TCP() }, MALFORMED },
	{ "802.3 length inside", .in = { HEAD, GENEVE(), NAMED(), ETH(.proto = 46), FROM_C, TCP() }, MALFORMED },
	{ "IPv6 called IPv4", .family = V6, .in = { HEAD, GENEVE(), NAMED(), ETH(.proto = 0x0800), FROM_C, TCP() }, MALFORMED },
	{ "IPv4 called IPv6", .family = V4, .in = { HEAD, GENEVE(), NAMED(), ETH(.proto = 0x86dd), FROM_C, TCP(.n = 40) }, MALFORMED },
	{ "wrong version inside", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_A, .version = 5), TCP() },
	  MALFORMED },
	{ "an inner packet shorter than its room", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_A, .len = 39), TCP() },
	  MALFORMED },
	{ "an inner packet longer than its room", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_A, .len = 61), TCP() },
	  MALFORMED },
	{ "an inner packet of length 0", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_A, .len = V(0)), TCP() },
	  MALFORMED },
	{ "nothing inside", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH }, MALFORMED },
	{ "inner options", .family = V4, .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_A, .words = 6), TCP() },
	  .reason = WR_REASON_IP_OPTIONS, .out = { ETH(), IP(.src = POD_C, .dst = POD_A, .words = 6), TCP() } },

	/* --- ECN: RFC 6040, figure 4, column by column --- */
	ECN_ROW("not-ect outside, not-ect inside", 0, 0, 0),
	ECN_ROW("not-ect outside, ect(0) inside", 0, ECT0, ECT0),
	ECN_ROW("not-ect outside, ect(1) inside", 0, ECT1, ECT1),
	ECN_ROW("not-ect outside, ce inside", 0, CE, CE),
	ECN_ROW("ect(0) outside, not-ect inside", ECT0, 0, 0),
	ECN_ROW("ect(0) outside, ect(0) inside", ECT0, ECT0, ECT0),
	ECN_ROW("ect(0) outside, ect(1) inside", ECT0, ECT1, ECT1),
	ECN_ROW("ect(0) outside, ce inside", ECT0, CE, CE),
	ECN_ROW("ect(1) outside, not-ect inside", ECT1, 0, 0),
	ECN_ROW("ect(1) outside, ect(0) inside", ECT1, ECT0, ECT1),
	ECN_ROW("ect(1) outside, ect(1) inside", ECT1, ECT1, ECT1),
	ECN_ROW("ect(1) outside, ce inside", ECT1, CE, CE),
	{ "ecn: ce outside, not-ect inside", .in = { OUTER(.tos = CE), TO_PORT(), GENEVE(), NAMED(), INNER }, MALFORMED },
	ECN_ROW("ce outside, ect(0) inside", CE, ECT0, CE),
	ECN_ROW("ce outside, ect(1) inside", CE, ECT1, CE),
	ECN_ROW("ce outside, ce inside", CE, CE, CE),

	/* --- trust --- */
	{ "another pod of that node", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C2, .dst = POD_A), TCP() }, INTO_A,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_A), IP(.src = POD_C2, .dst = POD_A), TCP() }, .identity = IDENTITY_C2 },
	{ "another node's pod", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_D, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "another node's pod, by its own node", .state = S_SIBLING, .in = { HEAD, GENEVE(), NAMED(), INNER }, BAD_SOURCE },
	{ "a pod of this node", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_B, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the receiver itself", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_A, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the world, called a pod", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = WORLD, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the node, called a pod", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = NODE_C, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "no identity at all", .in = { WITH(0), FROM_C, TCP() }, BAD_IDENTITY },
	{ "the sender's host", .in = { WITH(WR_ID_HOST), FROM_C, TCP() }, BAD_IDENTITY },
	{ "a reserved identity", .in = { WITH(4), FROM_C, TCP() }, BAD_IDENTITY },
	{ "kind 1", .in = { WITH(0x0100000000000ccc), FROM_C, TCP() }, BAD_IDENTITY },
	{ "kind 255", .in = { WITH(0xff00000000000ccc), FROM_C, TCP() }, BAD_IDENTITY },
	{ "some pod", .in = { WITH(WR_ID_SOME_POD), FROM_C, TCP() }, BAD_IDENTITY },
	{ "the node, by its gateway address", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = GW_C, .dst = POD_A), TCP() }, INTO_A,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_A), IP(.src = GW_C, .dst = POD_A), TCP() }, .identity = WR_ID_REMOTE_NODE },
	{ "the node, by its address", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = NODE_C, .dst = POD_A), TCP() }, INTO_A,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_A), IP(.src = NODE_C, .dst = POD_A), TCP() }, .identity = WR_ID_REMOTE_NODE },
	{ "another node's address", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = NODE_D, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "this node's address, called that node's", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = NODE, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "this node's gateway address, called that node's", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = HOST, .dst = POD_A), TCP() },
	  BAD_SOURCE },
	{ "a pod, called the node", .in = { WITH(WR_ID_REMOTE_NODE), FROM_C, TCP() }, BAD_SOURCE },
	{ "the world, called the node", .in = { WITH(WR_ID_REMOTE_NODE), IP(.src = WORLD, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the world", .in = { WITH(WR_ID_WORLD), IP(.src = WORLD, .dst = POD_A), TCP() }, INTO_A,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_A), IP(.src = WORLD, .dst = POD_A), TCP() }, .identity = WR_ID_WORLD },
	{ "a pod, called the world", .in = { WITH(WR_ID_WORLD), FROM_C, TCP() }, BAD_SOURCE },
	{ "another node's pod, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = POD_D, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "a pod of this node, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = POD_B, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "this node, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = NODE, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "this node's gateway address, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = HOST, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the node, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = NODE_C, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "another node, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = NODE_D, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "loopback, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = LOOPBACK, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "no address, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = ZERO, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "multicast, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = MULTI, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "the gateway, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = GW, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "link-local, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = LINK_LOCAL, .dst = POD_A), TCP() }, BAD_SOURCE },
	{ "a reserved address, called the world", .in = { WITH(WR_ID_WORLD), IP(.src = RESERVED, .dst = POD_A), TCP() }, BAD_SOURCE },

	/* --- for whom --- */
	{ "to another pod", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_B), TCP() }, INTO_A,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_B), IP(.src = POD_C, .dst = POD_B), TCP() } },
	{ "to a pod that is going", .state = S_B_GOING, .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_B), TCP() },
	  .reason = WR_REASON_NO_ENDPOINT, .out = { ETH(), IP(.src = POD_C, .dst = POD_B), TCP() } },
	{ "to this node's gateway address", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = HOST), TCP() },
	  .reason = WR_REASON_TO_HOST, .out = { AT_HOST, IP(.src = POD_C, .dst = HOST), TCP() } },
	{ "to this node's own address", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = NODE), TCP() },
	  .reason = WR_REASON_TO_HOST, .out = { AT_HOST, IP(.src = POD_C, .dst = NODE), TCP() } },
	{ "to an address of the pod CIDR that nobody has", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = POD_D), TCP() },
	  .reason = WR_REASON_TUNNEL_TARGET, .out = { ETH(), IP(.src = POD_C, .dst = POD_D), TCP() } },
	{ "to the world", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = WORLD), TCP() },
	  .reason = WR_REASON_TUNNEL_TARGET, .out = { ETH(), IP(.src = POD_C, .dst = WORLD), TCP() } },
	{ "to loopback", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = LOOPBACK), TCP() },
	  .reason = WR_REASON_TUNNEL_TARGET, .out = { ETH(), IP(.src = POD_C, .dst = LOOPBACK), TCP() } },
	{ "to multicast", .in = { HEAD, GENEVE(), NAMED(), INNER_ETH, IP(.src = POD_C, .dst = MULTI), UDP() },
	  .reason = WR_REASON_TUNNEL_TARGET, .out = { ETH(), IP(.src = POD_C, .dst = MULTI), UDP() } },

	/* --- no tunnel packet --- */
	{ "from the world to this node", .in = { ETH(), IP(.src = WORLD, .dst = NODE), TCP() }, PASSES },
	{ "from the world to a pod", .in = { ETH(), IP(.src = WORLD, .dst = POD_A), TCP() }, PASSES },
	{ "from another node", .in = { ETH(), IP(.src = NODE_C, .dst = NODE), TCP() }, PASSES },
	{ "arp", .family = V4, .in = { ETH(), ARP(.src = NODE_C, .dst = NODE) }, PASSES },
	{ "multicast", .in = { ETH(.dmac = MAC_BROADCAST), IP(.src = WORLD, .dst = MULTI), UDP() }, PASSES },
	{ "a VLAN's", .in = { ETH(), VLAN(), IP(.src = POD_A, .dst = NODE), UDP() }, PASSES },
	{ "a pod of a node on the same link", .state = S_DIRECT, .in = { ETH(), FROM_C, TCP() }, INTO_A, .identity = WR_ID_SOME_POD, A_GETS },
	{ "a pod's address from outside", .in = { ETH(), IP(.src = POD_B, .dst = POD_A), TCP() },
	  .reason = WR_REASON_NOT_TUNNELLED },
	{ "a pod's address from outside, to this node", .in = { ETH(), IP(.src = POD_B, .dst = NODE), TCP() },
	  .reason = WR_REASON_NOT_TUNNELLED },
	{ "a pod's address from outside, in a broadcast frame",
	  .in = { ETH(.dmac = MAC_BROADCAST), IP(.src = POD_B, .dst = NODE), UDP() }, .reason = WR_REASON_NOT_TUNNELLED },
	{ "a pod's address from outside, to another MAC address",
	  .in = { ETH(.dmac = MAC_B), IP(.src = POD_B, .dst = NODE), UDP() }, PASSES },
	{ "this node's own address from outside", .in = { ETH(), IP(.src = NODE, .dst = POD_A), TCP() },
	  .reason = WR_REASON_NOT_TUNNELLED },
	{ "this node's gateway address from outside", .in = { ETH(), IP(.src = HOST, .dst = POD_A), TCP() },
	  .reason = WR_REASON_NOT_TUNNELLED },
	{ 0 }
};

/* --- what the stack sends: by default this node's host, from its gateway address, to POD_C --- */

#define TO_C ETH(), IP()
#define SENT(...)                                                                                                      \
	ETH(.smac = MAC_HOST, .dmac = MAC_OTHER), IP(.outer = true, .src = NODE, .dst = NODE_C, .df = 1, ##__VA_ARGS__), TO_PORT(), GENEVE()
#define AS(who) OPT(.n = 8, .identity = who), INNER_ETH
#define GOES .reason = WR_REASON_TO_NODE
#define HOW_BIG 1400

const struct row rows_from_host[] = {
	{ "the host", .in = { TO_C, TCP() }, GOES, .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), TCP() } },
	{ "the host, udp", .in = { TO_C, UDP(.n = 7) }, GOES, .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), UDP(.n = 7) } },
	{ "the host, echo", .in = { TO_C, ICMP() }, GOES, .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), ICMP() } },
	{ "the host, by its address", .in = { ETH(), IP(.src = NODE), TCP() }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(.src = NODE), TCP() } },
	{ "the host, in fragments", .in = { TO_C, FRAG(.more = 1), UDP(.n = 64) }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), FRAG(.more = 1), UDP(.n = 64) } },
	{ "the host, a later fragment", .in = { TO_C, FRAG(.off = 72), RAW(.proto = IPPROTO_UDP, .n = 9) }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), FRAG(.off = 72), RAW(.proto = IPPROTO_UDP, .n = 9) } },
	{ "a pod", .entered = DEVICE_A, .in = { ETH(), IP(.src = POD_A), TCP() }, GOES,
	  .out = { SENT(), AS(IDENTITY_A), IP(.src = POD_A), TCP() } },
	{ "the world", .entered = DEVICE_UPLINK, .in = { ETH(), IP(.src = WORLD), TCP() }, GOES,
	  .out = { SENT(), AS(WR_ID_WORLD), IP(.src = WORLD), TCP() } },
	{ "the hop limit stays", .in = { ETH(), IP(.ttl = 1), TCP() }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(.ttl = 1), TCP() } },
	{ "a padded frame", .in = { TO_C, UDP(), PAD(.n = 4) }, GOES, .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), UDP() } },
	{ "ecn is seen outside", .in = { ETH(), IP(.tos = 0xb9), TCP() }, GOES,
	  .out = { SENT(.tos = 1), AS(WR_ID_REMOTE_NODE), IP(.tos = 0xb9), TCP() } },
	{ "ce is seen outside", .in = { ETH(), IP(.tos = 3), TCP() }, GOES,
	  .out = { SENT(.tos = 3), AS(WR_ID_REMOTE_NODE), IP(.tos = 3), TCP() } },
	{ "dscp is not", .in = { ETH(), IP(.tos = 0xb8), TCP() }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(.tos = 0xb8), TCP() } },
	{ "dscp is, if that is configured", .state = S_DSCP, .in = { ETH(), IP(.tos = 0xba), TCP() }, GOES,
	  .out = { SENT(.tos = 0xba), AS(WR_ID_REMOTE_NODE), IP(.tos = 0xba), TCP() } },
	{ "with a word", .state = S_KEYED, .in = { TO_C, TCP() }, GOES,
	  .out = { SENT(), OPT(.n = 8, .identity = WR_ID_REMOTE_NODE), WORD(TX_WORD(SLOT_C, 0)), INNER_ETH, IP(), TCP() } },
	{ "with a word, udp", .state = S_KEYED, .in = { TO_C, UDP() }, GOES,
	  .out = { SENT(), OPT(.n = 8, .identity = WR_ID_REMOTE_NODE), WORD(TX_WORD(SLOT_C, 0)), INNER_ETH, IP(), UDP() } },
	{ "with a word of the other key", .state = S_KEYED | S_KEY_ODD, .in = { TO_C, TCP() }, GOES,
	  .out = { SENT(), OPT(.n = 8, .identity = WR_ID_REMOTE_NODE), WORD(TX_WORD(SLOT_C, 1)), INNER_ETH, IP(), TCP() } },
	{ "with a word, nothing behind the IP header", .family = V4, .state = S_KEYED, .in = { ETH(), IP(), RAW(.proto = 50, .n = 0) }, GOES,
	  .out = { SENT(), OPT(.n = 8, .identity = WR_ID_REMOTE_NODE), WORD(TX_WORD(SLOT_C, 0)), INNER_ETH, IP(), RAW(.proto = 50, .n = 0) } },
	{ "without a word, nothing behind the IP header", .family = V4, .in = { ETH(), IP(), RAW(.proto = 50, .n = 0) }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), RAW(.proto = 50, .n = 0) } },
	{ "as large as may be, with a word", .state = S_KEYED, .family = V4, .in = { TO_C, UDP(.n = HOW_BIG - 28) }, GOES,
	  .out = { SENT(), OPT(.n = 8, .identity = WR_ID_REMOTE_NODE), WORD(TX_WORD(SLOT_C, 0)), INNER_ETH, IP(), UDP(.n = HOW_BIG - 28) } },
	{ "to a node on the same link, with a key", .state = S_DIRECT | S_KEYED, .in = { TO_C, TCP() }, GOES,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_OTHER), IP(), TCP() } },
	{ "to a node on the same link", .state = S_DIRECT, .in = { TO_C, TCP() }, GOES,
	  .out = { ETH(.smac = MAC_HOST, .dmac = MAC_OTHER), IP(), TCP() } },
	{ "as large as may be", .family = V4, .in = { TO_C, UDP(.n = HOW_BIG - 28) }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), UDP(.n = HOW_BIG - 28) } },
	{ "as large as may be", .family = V6, .in = { TO_C, UDP(.n = HOW_BIG - 48) }, GOES,
	  .out = { SENT(), AS(WR_ID_REMOTE_NODE), IP(), UDP(.n = HOW_BIG - 48) } },
	{ "a super-packet that the kernel cannot encapsulate is cut first", .gso_size = 1000, .in = { TO_C, UDP(.n = 2000) } },
	{ "a super-packet of segments that are too big", .family = V4, .gso_size = HOW_BIG - 39, .in = { TO_C, TCP(.n = 2000) },
	  .reason = WR_REASON_TOO_BIG },
	{ "a super-packet of segments that are too big", .family = V6, .gso_size = HOW_BIG - 59, .in = { TO_C, TCP(.n = 2000) },
	  .reason = WR_REASON_TOO_BIG },
	{ "... with TCP options", .family = V4, .gso_size = HOW_BIG - 51, .in = { TO_C, TCP(.n = 2000, .words = 8) },
	  .reason = WR_REASON_TOO_BIG },
	{ "a super-packet of segments that fit", .family = V4, .gso_size = HOW_BIG - 40, .in = { TO_C, TCP(.n = 2000) },
	  .reason = WR_REASON_ENCAP_FAILED, .twin = WR_REASON_TO_NODE }, /* which here is as far as it goes: without gso_type it is none of TCP */
	{ "a super-packet of segments that fit", .family = V6, .gso_size = HOW_BIG - 60, .in = { TO_C, TCP(.n = 2000) },
	  .reason = WR_REASON_ENCAP_FAILED, .twin = WR_REASON_TO_NODE },
	{ "to nobody", .in = { ETH(), IP(.dst = WORLD), TCP() }, .reason = WR_REASON_BAD_DESTINATION },
	{ "to a node that has gone", .state = S_NODE_GONE, .in = { TO_C, TCP() }, .reason = WR_REASON_ENCAP_FAILED },
	{ "to a node that is unknown", .state = S_NO_NODES, .in = { TO_C, TCP() }, .reason = WR_REASON_BAD_DESTINATION },
	{ "multicast", .in = { ETH(), IP(.dst = MULTI), UDP() }, .reason = WR_REASON_MULTICAST },
	{ "arp", .family = V4, .in = { ETH(), ARP() }, .reason = WR_REASON_ETHERTYPE },
	{ "vlan", .in = { ETH(), VLAN(), IP(), UDP() }, .reason = WR_REASON_ETHERTYPE },
	{ "options", .family = V4, .in = { ETH(), IP(.words = 6), UDP() }, .reason = WR_REASON_IP_OPTIONS },
	{ 0 }
};
