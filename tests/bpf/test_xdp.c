/* SPDX-License-Identifier: BSD-2-Clause */
/* xdp_uplink: the denylist, every field of a tunnel packet, which ones are decapsulated and with what metadata. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "expect.h"
#include "tunnel_frame.h"

/* --- possible results --- */

static bool frames_equal(const struct frame *a, const struct frame *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static bool is_passed(const struct run *r, const struct frame *in)
{
	return r->verdict == XDP_PASS && !r->meta && frames_equal(&r->out, in);
}

/* The inner packet behind the outer Ethernet addresses, and the metadata with its sender. */
static bool is_decapsulated(const struct run *r, const struct frame *in, size_t outer, uint64_t identity)
{
	struct frame expected = { .len = in->len - outer };

	memcpy(expected.data, in->data + outer, expected.len);
	memcpy(expected.data, in->data, 12);
	return r->verdict == XDP_PASS && r->meta == sizeof(r->xdp_meta) && frames_equal(&r->out, &expected) &&
	       r->xdp_meta.magic == TUNNEL_MAGIC && r->xdp_meta.identity == identity && r->xdp_meta.slot == SLOT_C && !r->xdp_meta.pad;
}

static void expect(const char *name, const struct tunnel_fields *fields, const struct tunnel_frame *t, enum wr_reason reason,
		   bool decap)
{
	struct run r = { .program = XDP_UPLINK };

	print_message("  %s, IPv%d over IPv%d\n", name, fields->inner6 ? 6 : 4, fields->outer6 ? 6 : 4);
	run_program(&r, &t->f);
	counter_expect(&r, reason);
	if (reason) {
		assert_int_equal(r.verdict, XDP_DROP);
		assert_int_equal(r.moved.bytes, t->f.len);
		event_expect(&r, reason, DEVICE_UPLINK, &t->f);
		return;
	}
	assert_int_equal(r.events, 0);
	assert_true(decap ? is_decapsulated(&r, &t->f, t->outer, TUNNEL_IDENTITY) : is_passed(&r, &t->f));
}

/* --- fields --- */

#define D(name) WR_REASON_TUNNEL_##name
static const struct {
	const char *name;
	struct tunnel_fields fields;
	enum wr_reason reason;
	bool decap;
	enum family outer, inner; /* that it is for */
} rows[] = {
	{ "good", { 0 }, 0, true },
	{ "no payload but a byte", { .payload = 1 }, 0, true },
	{ "large", { .payload = 1400 }, 0, true },
	{ "another port", { .port = V(6082) }, 0, false },
	{ "a source port that nodes have", { .sport = WR_TUNNEL_SPORT_FIRST }, 0, true },
	{ "a source port below", { .sport = WR_TUNNEL_SPORT_FIRST - 1 }, D(SPORT) },
	{ "another address", { .elsewhere = true }, 0, false },
	{ "DSCP", { .tos = 0xb8 }, 0, true },
	/* RFC 6040 section 4.2: XDP leaves packets to from_uplink whose ECN field must change. */
	{ "ECN 0 over ECT(0)", { .tos = 0, .inner_tos = 2 }, 0, true },
	{ "ECN alike", { .tos = 2, .inner_tos = 2 }, 0, true },
	{ "CE over CE", { .tos = 3, .inner_tos = 3 }, 0, true },
	{ "CE over ECT(0)", { .tos = 3, .inner_tos = 2 }, 0, false },
	{ "CE over none", { .tos = 3 }, 0, false },
	{ "ECT(1) over ECT(0)", { .tos = 1, .inner_tos = 2 }, 0, false },
	{ "first fragment", { .more = true }, D(FRAGMENT), .outer = V4 },
	{ "later fragment", { .later = true }, 0, false },
	{ "fragment header", { .more = true }, 0, false, .outer = V6 },
	{ "IPv4 options", { .ip_options = true }, 0, false, .outer = V4 },
	{ "IP length short", { .ip_len = -1 }, D(MALFORMED) },
	{ "IP length long", { .ip_len = 1 }, D(MALFORMED) },
	{ "UDP length short", { .udp_len = -1 }, D(MALFORMED) },
	{ "UDP length long", { .udp_len = 1 }, D(MALFORMED) },
	{ "both lengths long", { .ip_len = 1, .udp_len = 1 }, D(MALFORMED) },
	{ "both lengths long, padded", { .ip_len = 1, .udp_len = 1, .padding = 1 }, D(MALFORMED) },
	{ "padding", { .padding = 7 }, 0, false },
	{ "checksum", { .checksum = 0x1234 }, 0, false },
	{ "an unknown peer", { .unknown_sender = true }, D(SENDER) },
	{ "version 1", { .version = 1 }, D(MALFORMED) },
	{ "version 3", { .version = 3 }, D(MALFORMED) },
	{ "control packet", { .flags = 0x80 }, D(OPTION) },
	{ "critical, but no option is", { .flags = 0x40 }, D(MALFORMED) },
	{ "reserved flags", { .flags = 0x3f }, 0, true },
	{ "IPv4 in Geneve", { .protocol = V(0x0800) }, D(MALFORMED) },
	{ "VNI 0", { .vni = V(0) }, D(VNI) },
	{ "VNI one more", { .vni = V(WR_TUNNEL_VNI + 1) }, D(VNI) },
	{ "VNI high byte", { .vni = V(WR_TUNNEL_VNI | 0x800000) }, D(VNI) },
	{ "no option", { .no_option = true }, D(OPTION) },
	{ "option length 0 words", { .words = V(0) }, D(OPTION) },
	{ "options cut", { .words = V(2) }, D(MALFORMED) },
	{ "options beyond the end", { .words = V(63) }, D(MALFORMED) },
	{ "another class", { .option_class = V(0xfff2) }, D(OPTION) },
	{ "another type", { .option_type = V(2) }, D(OPTION) },
	{ "critical type", { .option_type = V(0x81) }, D(OPTION) },
	{ "critical type, and the flag", { .option_type = V(0x81), .flags = 0x40 }, D(OPTION) },
	{ "identity of 4 bytes", { .option_words = V(1) }, D(OPTION) },
	{ "identity of 12 bytes", { .option_words = V(3) }, D(MALFORMED) },
	{ "reserved bits of the option", { .option_words = V(0xe2) }, 0, true },
	{ "identity twice", { .after = 200 }, D(OPTION) },
	{ "another option before", { .before = 1 }, 0, true },
	{ "another option after", { .after = 16 }, 0, true },
	{ "critical option before", { .before = 101, .flags = 0x40 }, D(OPTION) },
	{ "critical option after", { .after = 103, .flags = 0x40 }, D(OPTION) },
	{ "critical option without the flag", { .after = 101 }, D(OPTION) },
	{ "inner ARP", { .inner_type = V(0x0806) }, D(MALFORMED) },
	{ "inner version", { .inner_version = V(5) }, D(MALFORMED) },
	{ "inner length short", { .inner_len = -1 }, D(MALFORMED) },
	{ "inner length long", { .inner_len = 1 }, D(MALFORMED) },
	/* from_uplink checks the rest of the inner packet. */
	{ "inner IHL 4", { .inner_ihl = V(4) }, 0, true, .inner = V4 },
};

/* ... where the tag is required. */
#define RIGHT RX_TAG(SLOT_C, 0)
static const struct keyed_row {
	const char *name;
	struct tunnel_fields fields;
	enum wr_reason reason;
	bool decap;
} keyed_rows[] = {
	{ "a tag", { .tag = RIGHT }, 0, true },
	{ "the other key's", { .tag = RX_TAG(SLOT_C, 1) }, 0, true },
	{ "a tag, large", { .tag = RIGHT, .payload = 1400 }, 0, true },
	{ "a tag, an option behind", { .tag = RIGHT, .after = 4 }, 0, true },
	{ "a tag, a checksum", { .tag = RIGHT, .checksum = 0x1234 }, 0, false },
	{ "a tag, padding", { .tag = RIGHT, .padding = 7 }, 0, false },
	{ "a tag, a critical option behind", { .tag = RIGHT, .after = 101, .flags = 0x40 }, D(OPTION), false },
	{ "a tag, an unknown peer", { .tag = RIGHT, .unknown_sender = true }, D(SENDER), false },
	{ "a tag, another VNI", { .tag = RIGHT, .vni = V(7) }, D(VNI), false },
	{ "a tag, inner ARP", { .tag = RIGHT, .inner_type = V(0x0806) }, D(MALFORMED), false },
	{ "no tag", { 0 }, D(KEY), false },
	{ "no tag, a checksum", { .checksum = 0x1234 }, D(KEY), false },
	{ "no tag, padding", { .padding = 7 }, D(KEY), false },
	{ "no tag, inner ARP", { .inner_type = V(0x0806) }, D(KEY), false },
	{ "no tag, a critical option", { .after = 101, .flags = 0x40 }, D(KEY), false },
	{ "no options", { .no_option = true }, D(KEY), false },
	{ "one bit", { .tag = RIGHT ^ 1ull << 40 }, D(KEY), false },
	{ "what this node sends", { .tag = TX_TAG(SLOT_C, 0) }, D(KEY), false },
	{ "another node's", { .tag = RX_TAG(SLOT_D, 0) }, D(KEY), false },
	{ "another type", { .tag = RIGHT, .tag_type = V(3) }, D(KEY), false },
	{ "a critical type", { .tag = RIGHT, .tag_type = V(0x82), .flags = 0x40 }, D(KEY), false },
	{ "4 bytes", { .tag = RIGHT, .tag_words = V(1) }, D(KEY), false },
	{ "reserved bits", { .tag = RIGHT, .tag_words = V(0xe2) }, 0, true },
	{ "behind another option", { .tag = RIGHT, .before = 2 }, D(KEY), false },
	{ "instead of an identity", { .tag = RIGHT, .no_option = true, .before = 2 }, D(OPTION), false },
	{ "beyond the options", { .tag = RIGHT, .words = V(3) }, D(KEY), false },
};

/* By XDP, and by from_uplink if XDP passes it up: both must give the same reason. */
static void keyed_expect(const struct keyed_row *row, const struct tunnel_fields *fields, bool decap)
{
	struct run r = { .program = FROM_UPLINK };
	struct tunnel_frame t;

	tunnel_build(&t, fields);
	expect(row->name, fields, &t, row->reason, decap && row->decap);
	if (!row->reason)
		return;
	run_program(&r, &t.f);
	assert_int_equal(r.verdict, TC_ACT_SHOT);
	assert_int_equal(r.counter, wr_metric_key(row->reason, WR_INGRESS));
}

static void test_keyed(void **state)
{
	for (int decap = 0; decap < 2; decap++) {
		tunnel_state_keyed(decap, true);
		for (size_t i = 0; i < sizeof(keyed_rows) / sizeof(keyed_rows[0]); i++) {
			for (int families = 0; families < 4; families++) {
				struct tunnel_fields fields = keyed_rows[i].fields;

				fields.outer6 = families & 1;
				fields.inner6 = families >> 1;
				keyed_expect(&keyed_rows[i], &fields, decap);
			}
		}
	}
}

/* Not required: all pass, and XDP counts what it decapsulates without the right tag, since from_uplink cannot see that. */
static void test_unkeyed(void **state)
{
	const uint32_t key = wr_metric_key(WR_REASON_TUNNEL_UNKEYED, WR_INGRESS);

	for (int how = 0; how < 8; how++) {
		const bool decap = how & 1, keyed = how & 2, right = how & 4;
		const struct tunnel_fields fields = { .tag = right ? RIGHT : 0 };
		struct wr_metric before[WR_METRICS], after[WR_METRICS];
		struct run r = { .program = XDP_UPLINK };
		struct tunnel_frame t;

		if (keyed)
			tunnel_state_keyed(decap, false);
		else
			tunnel_state(decap);
		tunnel_build(&t, &fields);
		metrics_read(before);
		run_quietly(&r, &t.f);
		metrics_read(after);
		assert_true(decap ? is_decapsulated(&r, &t.f, t.outer, TUNNEL_IDENTITY) : is_passed(&r, &t.f));
		assert_int_equal(after[key].packets - before[key].packets, decap && keyed && !right);
	}
}

static void test_fields(void **state)
{
	struct tunnel_frame t;

	tunnel_state(true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int families = 0; families < 4; families++) {
			struct tunnel_fields fields = rows[i].fields;

			fields.outer6 = families & 1;
			fields.inner6 = families >> 1;
			if (!family_has(rows[i].outer, fields.outer6) || !family_has(rows[i].inner, fields.inner6))
				continue;
			tunnel_build(&t, &fields);
			expect(rows[i].name, &fields, &t, rows[i].reason, rows[i].decap);
		}
	}
}

/* On a device without decapsulation, good packets go up unchanged, and bad ones are dropped all the same. */
static void test_without_decap(void **state)
{
	struct tunnel_frame t;

	tunnel_state(false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!family_has(rows[i].outer, false))
			continue;
		tunnel_build(&t, &rows[i].fields);
		expect(rows[i].name, &rows[i].fields, &t, rows[i].reason, false);
	}
}

/* from_uplink drops packets that did not come by their node's device. */
static void test_paths(void **state)
{
	static const struct {
		const char *name;
		enum device uplink, own, route;
		bool decap;
	} paths[] = {
		{ "the uplink of the slot", DEVICE_UPLINK, DEVICE_B, DEVICE_B, true },
		{ "the device of our address", DEVICE_B, DEVICE_UPLINK, DEVICE_B, true },
		{ "the device of the route", DEVICE_B, DEVICE_B, DEVICE_UPLINK, true },
		{ "a device with another route", DEVICE_B, DEVICE_B, DEVICE_B, false },
	};

	for (size_t i = 0; i < 2 * sizeof(paths) / sizeof(paths[0]); i++) {
		const struct tunnel_fields fields = { .outer6 = i & 1 };
		struct tunnel_frame t;

		route_set(paths[i / 2].route);
		tunnel_state(true);
		node_set_devices(SLOT_C, paths[i / 2].uplink, paths[i / 2].own);
		tunnel_build(&t, &fields);
		expect(paths[i / 2].name, &fields, &t, WR_REASON_NONE, paths[i / 2].decap);
	}
	route_set(NO_DEVICE);
}

static void test_node_gone(void **state)
{
	const struct tunnel_fields fields = { 0 };
	struct tunnel_frame t;

	tunnel_state(true);
	node_empty(SLOT_C);
	tunnel_build(&t, &fields);
	expect("the node has gone", &fields, &t, WR_REASON_TUNNEL_SENDER, false);
}

static void test_no_cluster(void **state)
{
	const struct tunnel_fields fields = { .version = 3 };
	struct tunnel_frame t;

	tunnel_state(true);
	cluster_clear();
	tunnel_build(&t, &fields);
	expect("no cluster", &fields, &t, WR_REASON_NONE, false);
}

/* Metadata of another program never gets further; where the packet is decapsulated, ours replaces it. */
static void test_metadata_of_other_programs(void **state)
{
	struct tunnel_fields fields = { .port = V(53) };
	struct run r;
	struct tunnel_frame t;

	tunnel_state(true);
	for (size_t size = 4; size <= 32; size += 4) {
		r = (struct run){ .program = XDP_UPLINK, .meta_in = size };
		fields.port = V(53);
		tunnel_build(&t, &fields);
		run_quietly(&r, &t.f);
		assert_true(is_passed(&r, &t.f));
		fields.port = 0;
		tunnel_build(&t, &fields);
		run_quietly(&r, &t.f);
		assert_true(is_decapsulated(&r, &t.f, t.outer, TUNNEL_IDENTITY));
	}
}

/* --- cut off --- */

static void check_against_model(const struct frame *f, const char *what)
{
	struct outcome expected = tunnel_model(f->data, f->len);
	struct run r = { .program = XDP_UPLINK };
	bool good;

	run_quietly(&r, f);
	if (expected.reason)
		good = r.verdict == XDP_DROP;
	else if (expected.decap)
		good = is_decapsulated(&r, f, expected.outer, expected.identity);
	else
		good = is_passed(&r, f);
	if (!good) {
		for (size_t i = 0; i < f->len; i++)
			fprintf(stderr, "%02x%s", f->data[i], i + 1 == f->len ? "\n" : "");
		fail_msg("%s of %zu bytes: verdict %d, %zu bytes of metadata; the model gives %d, %d", what, f->len, r.verdict,
			 r.meta, expected.reason, expected.decap);
	}
}

/* The frame ends early; and so does the packet, as far as the outer headers go. */
static void test_cut(void **state)
{
	tunnel_state(true);
	for (int families = 0; families < 4; families++) {
		const struct tunnel_fields fields = { .outer6 = families & 1, .inner6 = families >> 1 };
		const size_t l4 = fields.outer6 ? 54 : 34;
		struct tunnel_frame t;
		size_t whole;

		tunnel_build(&t, &fields);
		whole = t.f.len;
		for (size_t len = whole - 1; len >= 14; len--) {
			t.f.len = len;
			check_against_model(&t.f, "a frame that ends early");
		}
		for (size_t len = whole - 1; len >= l4 + 8; len--) {
			uint16_t l4_len = htons((uint16_t)(len - l4)), total = htons((uint16_t)(len - 14));

			t.f.len = len;
			memcpy(t.f.data + l4 + 4, &l4_len, 2);
			memcpy(t.f.data + (fields.outer6 ? 18 : 16), fields.outer6 ? &l4_len : &total, 2);
			check_against_model(&t.f, "a packet that ends early");
			assert_int_not_equal(tunnel_model(t.f.data, t.f.len).reason, WR_REASON_NONE);
		}
	}
}

/* --- mutations --- */

static void mutate(struct tunnel_frame *t)
{
	for (uint32_t n = random_below(4) + 1; n; n--) {
		size_t at = random_below(t->outer + 54);
		uint8_t *byte = &t->f.data[at < t->f.len ? at : 12];

		switch (random_below(4)) {
		case 0:
			*byte ^= 1u << random_below(8);
			break;
		case 1:
			*byte = random_below(256);
			break;
		case 2:
			*byte += 1;
			break;
		default:
			if (!random_below(8) && t->f.len > 60)
				t->f.len -= random_below(40);
			else
				*byte = (uint8_t[]){ 0, 0xff, 0x80, 0x7f }[random_below(4)];
		}
	}
}

static void mutations(bool keyed)
{
	const unsigned count = random_rounds(1000000);
	long apart = 0, dropped = 0;

	if (keyed)
		tunnel_state_keyed(true, true);
	else
		tunnel_state(true);
	random_start(keyed);
	for (unsigned i = 0; i < count; i++) {
		const struct tunnel_fields fields = {
			.outer6 = random_below(2),
			.inner6 = random_below(2),
			.before = random_below(4) ? 0 : random_below(17),
			.after = random_below(4) ? 0 : random_below(17),
			.tag = random_below(8) ? keyed * RIGHT : RIGHT,
		};
		struct tunnel_frame t;
		struct outcome o;

		tunnel_build(&t, &fields);
		mutate(&t);
		check_against_model(&t.f, "a mutation");
		o = tunnel_model(t.f.data, t.f.len);
		apart += o.decap;
		dropped += o.reason != WR_REASON_NONE;
	}
	/* All results have occurred. */
	assert_in_range(apart, count / 20, count - count / 20);
	assert_in_range(dropped, count / 20, count - count / 20);
}

static void test_mutations(void **state)
{
	mutations(false);
}

static void test_mutations_keyed(void **state)
{
	mutations(true);
}

/* --- from_uplink behind XDP --- */

#define ORIGIN_TAG 0x57524d44u /* XDP_ORIGIN_TAG (bpf/lib/xdp_meta.h) */

/* A decapsulated packet is evaluated or dropped, whatever MAC address its frame had: none reaches the stack unchecked. */
static void test_for_others(void **state)
{
	static const enum wr_reason reasons[] = { WR_REASON_TUNNEL_TARGET, WR_REASON_MULTICAST };
	const struct tunnel_fields good = { 0 };
	struct tunnel_frame t;
	struct frame f;

	tunnel_state(true);
	tunnel_build(&t, &good);
	for (int group = 0; group < 2; group++) {
		struct run r = { .program = FROM_UPLINK,
				 .cb = { ORIGIN_TAG, (uint32_t)TUNNEL_MAGIC, (uint32_t)(TUNNEL_IDENTITY >> 32),
					 (uint32_t)TUNNEL_IDENTITY, SLOT_C } };

		f.len = t.f.len - t.outer;
		memcpy(f.data, t.f.data + t.outer, f.len);
		f.data[0] = (uint8_t)(0x06 | group); /* of no device */
		run_program(&r, &f);
		assert_int_equal(r.counter, wr_metric_key(reasons[group], WR_INGRESS));
		assert_int_equal(r.verdict, TC_ACT_SHOT);
	}
}

/* --- the denylist --- */

static void deny_set(const void *address, unsigned bits, bool v6, bool on)
{
	struct wr_deny deny = { v6 ? 6 : 4 };
	struct wr_deny_state state = { { !v6 && on, v6 && on }, 6, 0 };
	struct wr_deny_hits zeros[libbpf_num_possible_cpus()];
	struct wr_prefix6 key = { .prefixlen = bits };
	const char *trie = v6 ? "deny6" : "deny4";
	const uint32_t zero = 0;

	memset(zeros, 0, sizeof(zeros));
	memcpy(&key.addr, address, v6 ? 16 : 4);
	map_put("deny_state", &zero, &state);
	map_put("deny_hits", &deny.counter, zeros);
	if (on)
		map_put(trie, &key, &deny);
	else
		assert_int_equal(bpf_map_delete_elem(map_fd(trie), &key), 0);
}

static uint64_t deny_counted(bool v6, uint64_t *bytes)
{
	uint64_t hits[sizeof(struct wr_deny_hits) / sizeof(uint64_t)];

	percpu_sum("deny_hits", v6 ? 6 : 4, hits, sizeof(hits) / sizeof(hits[0]));
	*bytes = hits[1];
	return hits[0];
}

static void test_denylist(void **state)
{
	tunnel_state(true);
	for (int v6 = 0; v6 < 2; v6++) {
		/* A good tunnel packet, and one without a transport header that XDP parses. */
		const struct tunnel_fields good = { .outer6 = v6 }, other = { .outer6 = v6, .later = true, .elsewhere = true };
		struct tunnel_frame t;
		struct run r = { .program = XDP_UPLINK };
		uint64_t bytes;

		deny_set(who_address(NODE_C, v6), v6 ? 64 : 30, v6, true);
		tunnel_build(&t, &good);
		expect("denied", &good, &t, WR_REASON_DENYLIST, false);
		assert_int_equal(deny_counted(v6, &bytes), 1);
		assert_int_equal(bytes, t.f.len);
		/* In a flood only the first of a tick is reported; each is counted. */
		for (int i = 0; i < 1000; i++) {
			run_program(&r, &t.f);
			assert_int_equal(r.verdict, XDP_DROP);
			assert_int_equal(r.counter, wr_metric_key(WR_REASON_DENYLIST, WR_INGRESS));
			if (!r.events)
				break;
		}
		assert_int_equal(r.events, 0);
		tunnel_build(&t, &other);
		run_program(&r, &t.f);
		assert_int_equal(r.verdict, XDP_DROP);
		deny_set(who_address(NODE_C, v6), v6 ? 64 : 30, v6, false);
		tunnel_build(&t, &good);
		expect("no longer denied", &good, &t, WR_REASON_NONE, true);
		/* The neighbouring prefix. */
		deny_set(who_address(NODE_C, v6), v6 ? 128 : 32, v6, true);
		tunnel_build(&t, &(struct tunnel_fields){ .outer6 = v6, .unknown_sender = true });
		expect("the one beside it is", &good, &t, WR_REASON_TUNNEL_SENDER, false);
		deny_set(who_address(NODE_C, v6), v6 ? 128 : 32, v6, false);
	}
}

/* --- VLAN tags --- */

#define VLAN_7 0xa007   /* of priority 5 */
#define PRIORITY 0xa000 /* of no VLAN */

static const struct {
	const char *name;
	int tags[3]; /* 0: no more */
	bool provider; /* the first one's type */
	enum wr_reason reason, denied; /* ... while the source is on the denylist */
} tagged_rows[] = {
	{ "a VLAN", { VLAN_7 }, .denied = WR_REASON_DENYLIST },
	{ "a provider's VLAN", { VLAN_7 }, .provider = true, .denied = WR_REASON_DENYLIST },
	{ "a priority", { PRIORITY }, .denied = WR_REASON_DENYLIST },
	{ "a provider's priority", { PRIORITY }, .provider = true, .denied = WR_REASON_DENYLIST },
	{ "two priorities", { PRIORITY, PRIORITY }, false, WR_REASON_ETHERTYPE, WR_REASON_ETHERTYPE },
	{ "two kinds of priorities", { PRIORITY, PRIORITY }, true, WR_REASON_ETHERTYPE, WR_REASON_ETHERTYPE },
	{ "three priorities", { PRIORITY, PRIORITY, PRIORITY }, false, WR_REASON_ETHERTYPE, WR_REASON_ETHERTYPE },
	/* Only a VLAN's device accepts these: from_uplink looks at them there, if it is an uplink. */
	{ "two VLANs", { VLAN_7, VLAN_7 } },
	{ "a priority and a VLAN", { PRIORITY, VLAN_7 } },
	{ "a VLAN and a priority", { VLAN_7, PRIORITY } },
};

static void tag(struct frame *f, const int tags[3], bool provider)
{
	for (int i = 2; i >= 0; i--) {
		const uint16_t words[] = { htons(provider && !i ? 0x88a8 : 0x8100), htons((uint16_t)tags[i]) };

		if (!tags[i])
			continue;
		memmove(f->data + 16, f->data + 12, f->len - 12);
		memcpy(f->data + 12, words, sizeof(words));
		f->len += sizeof(words);
	}
}

/* No tunnel packet is decapsulated behind a tag. */
static void test_tagged(void **state)
{
	tunnel_state(true);
	for (size_t i = 0; i < 4 * sizeof(tagged_rows) / sizeof(tagged_rows[0]); i++) {
		const bool v6 = i & 1, denied = i & 2;
		const struct tunnel_fields good = { .outer6 = v6 };
		struct tunnel_frame t;

		tunnel_build(&t, &good);
		tag(&t.f, tagged_rows[i / 4].tags, tagged_rows[i / 4].provider);
		deny_set(who_address(NODE_C, v6), v6 ? 128 : 32, v6, true);
		if (!denied)
			deny_set(who_address(NODE_C, v6), v6 ? 128 : 32, v6, false);
		expect(tagged_rows[i / 4].name, &good, &t, denied ? tagged_rows[i / 4].denied : tagged_rows[i / 4].reason, false);
		if (denied)
			deny_set(who_address(NODE_C, v6), v6 ? 128 : 32, v6, false);
	}
	for (size_t len = 14; len < 14 + 4 + 40; len++) {
		struct run r = { .program = XDP_UPLINK };
		struct tunnel_frame t;

		tunnel_build(&t, &(struct tunnel_fields){ .outer6 = len & 1 });
		tag(&t.f, tagged_rows[0].tags, false);
		t.f.len = len;
		run_program(&r, &t.f);
		assert_true(is_passed(&r, &t.f));
	}
}

static int forget(void **state)
{
	tunnel_forget();
	return 0;
}

int run_xdp_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_keyed),
		cmocka_unit_test(test_unkeyed),
		cmocka_unit_test(test_without_decap),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_node_gone),
		cmocka_unit_test(test_no_cluster),
		cmocka_unit_test(test_metadata_of_other_programs),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_mutations_keyed),
		cmocka_unit_test(test_denylist),
		cmocka_unit_test(test_tagged),
		cmocka_unit_test(test_for_others),
	};

	return cmocka_run_group_tests_name("bpf_xdp", tests, harness_setup, forget);
}
