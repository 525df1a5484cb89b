/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A million damaged packets (fewer on a slow machine) through from_uplink, against a model of what may pass: a second
 * reading of RFC 8926 and of the rules of trust, by offsets in bytes. What the model forbids must not pass; what it allows
 * comes out as it went in.
 */
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "damage.h"
#include "expect.h"
#include "rows.h"

#define PACKETS 1000000

static bool in_cidr(const uint8_t *address, enum who pod, bool v6)
{
	return !memcmp(address, who_address(pod, v6), v6 ? 8 : 3);
}

static bool is_who(const uint8_t *address, enum who who, bool v6)
{
	return !memcmp(address, who_address(who, v6), v6 ? 16 : 4);
}

/* --- the model --- */

enum model { PASSES_BY, FORBIDDEN, ACCEPTED };

/* The inner packet in the frame, if it is accepted. */
struct inner {
	size_t off, len;
	bool v6;
};

/* Neither a pod of the cluster, nor a node, nor a martian. */
static bool may_be_world(const uint8_t *a, bool v6)
{
	static const enum who pods[] = { POD_A, POD_C, POD_D }, nodes[] = { NODE, NODE_C, NODE_D };

	for (int i = 0; i < 3; i++)
		if (in_cidr(a, pods[i], v6) || is_who(a, nodes[i], v6))
			return false;
	if (v6)
		return a[0] != 0xff && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
	return a[0] && a[0] != 127 && a[0] < 224 && !(a[0] == 169 && a[1] == 254);
}

static bool may_claim(uint64_t identity, enum who node, const uint8_t *source, bool v6)
{
	const enum who pod = node == NODE_C ? POD_C : POD_D;
	uint8_t gateway[16];

	memcpy(gateway, who_address(pod, v6), v6 ? 16 : 4);
	gateway[v6 ? 15 : 3] = 1;
	if (identity >> 56 == 2)
		return identity << 8 && in_cidr(source, pod, v6);
	if (identity == WR_ID_REMOTE_NODE)
		return is_who(source, node, v6) || !memcmp(source, gateway, v6 ? 16 : 4);
	return identity == WR_ID_WORLD && may_be_world(source, v6);
}

/* The identity in the options, or 0. */
static uint64_t options_identity(const uint8_t *at, size_t len, bool critical)
{
	uint64_t identity = 0;
	int found = 0;

	while (len) {
		size_t data;

		if (len < 4)
			return 0;
		data = (at[3] & 0x1f) * 4;
		if (4 + data > len || at[2] & 0x80)
			return 0;
		if (read16(at) == WR_TUNNEL_OPTION_CLASS && at[2] == WR_TUNNEL_OPTION) {
			if (data != 8)
				return 0;
			for (int i = 0; i < 8; i++)
				identity = identity << 8 | at[4 + i];
			found++;
		}
		at += 4 + data;
		len -= 4 + data;
	}
	return found == 1 && !critical ? identity : 0;
}

/* Whether the cluster's key is required: then the second option is the tag of that node, and no other. */
static bool keyed;

static bool tag_right(const uint8_t *options, size_t len, enum who node)
{
	const uint32_t slot = node == NODE_C ? SLOT_C : SLOT_D;
	uint64_t tag = 0;

	if (len < 24 || read16(options + 12) != WR_TUNNEL_OPTION_CLASS || options[14] != WR_TUNNEL_OPTION_KEY ||
	    (options[15] & 0x1f) != 2)
		return false;
	for (int i = 0; i < 8; i++)
		tag = tag << 8 | options[16 + i];
	return tag == RX_TAG(slot, 0) || tag == RX_TAG(slot, 1);
}

/* Geneve at f->data[off], up to `end`, sent by `node`. */
static enum model model_geneve(const struct frame *f, size_t off, size_t end, enum who node, unsigned ecn, struct inner *inner)
{
	const uint8_t *g = f->data + off, *ip;
	size_t options = (g[0] & 0x3f) * 4;
	uint64_t identity;
	unsigned inner_ecn;

	if (off + 8 > end || off + 8 + options + 14 + 20 > end || g[0] >> 6 || g[1] & 0x80 || read16(g + 2) != 0x6558 ||
	    g[4] || g[5] || g[6] != WR_TUNNEL_VNI)
		return FORBIDDEN;
	if (keyed && !tag_right(g + 8, options, node))
		return FORBIDDEN;
	identity = options_identity(g + 8, options, g[1] & 0x40);
	*inner = (struct inner){ .off = off + 8 + options + 14 };
	inner->len = end - inner->off;
	ip = f->data + inner->off;
	inner->v6 = read16(ip - 2) == 0x86dd;
	if (!inner->v6 && read16(ip - 2) != 0x0800)
		return FORBIDDEN;
	if (inner->v6 ? inner->len < 40 || ip[0] >> 4 != 6 || read16(ip + 4) + 40 != inner->len
		      : ip[0] != 0x45 || read16(ip + 2) != inner->len)
		return FORBIDDEN;
	inner_ecn = (inner->v6 ? ip[1] >> 4 : ip[1]) & 3;
	if (ecn == 3 && !inner_ecn)
		return FORBIDDEN;
	return may_claim(identity, node, ip + (inner->v6 ? 8 : 12), inner->v6) ? ACCEPTED : FORBIDDEN;
}

static enum model model_udp(const struct frame *f, size_t udp, size_t end, bool v6, struct inner *inner)
{
	const uint8_t *ip = f->data + 14, *source = ip + (v6 ? 8 : 12);
	const enum who node = is_who(source, NODE_C, v6) ? NODE_C : is_who(source, NODE_D, v6) ? NODE_D : WHO_DEFAULT;

	if (!node || end > f->len || udp + 8 > end || udp + read16(f->data + udp + 4) != end)
		return FORBIDDEN;
	if (read16(f->data + udp + 6) && sum16(sum16(end - udp + 17, source, v6 ? 32 : 8), f->data + udp, end - udp) != 0xffff)
		return FORBIDDEN;
	return model_geneve(f, udp + 8, end, node, (v6 ? ip[1] >> 4 : ip[1]) & 3, inner);
}

/* Not through the tunnel: the source must be no pod and not this node. */
static enum model model_plain(const uint8_t *source, bool v6)
{
	static const enum who pods[] = { POD_A, POD_C, POD_D };

	for (int i = 0; i < 3; i++)
		if (in_cidr(source, pods[i], v6))
			return FORBIDDEN;
	return is_who(source, NODE, v6) ? FORBIDDEN : PASSES_BY;
}

static bool is_port(const struct frame *f, size_t udp)
{
	return udp + 8 <= f->len && read16(f->data + udp + 2) == WR_TUNNEL_PORT;
}

static enum model model_ip(const struct frame *f, struct inner *inner)
{
	const uint8_t *ip = f->data + 14;
	const unsigned type = read16(f->data + 12);
	size_t udp = type == 0x86dd ? 54 : 14 + (ip[0] & 15) * 4;

	if (type != 0x0800 && type != 0x86dd)
		return PASSES_BY;
	if (type == 0x0800) {
		if (ip[9] != 17 || !is_who(ip + 16, NODE, false) || read16(ip + 6) & 0x1fff || !is_port(f, udp))
			return model_plain(ip + 12, false);
		return ip[0] == 0x45 && !(read16(ip + 6) & 0x2000) ? model_udp(f, udp, 14 + read16(ip + 2), false, inner)
								   : FORBIDDEN;
	}
	if (!is_who(ip + 24, NODE, true) || (ip[6] != 17 && ip[6] != 44))
		return model_plain(ip + 8, true);
	if (ip[6] == 44)
		return f->len >= 62 && ip[40] == 17 && !(read16(ip + 42) & 0xfff8) && is_port(f, 62) ? FORBIDDEN
												: model_plain(ip + 8, true);
	if (!is_port(f, udp))
		return model_plain(ip + 8, true);
	return ip[0] >> 4 == 6 ? model_udp(f, udp, 54 + read16(ip + 4), true, inner) : FORBIDDEN;
}

/* To this host's MAC address, or a group's: nodes never send tunnel packets to a group. */
static enum model model(const struct frame *f, struct inner *inner)
{
	enum model may;

	if (!(f->data[0] & 1) && memcmp(f->data, mac_address(MAC_HOST), 6) != 0)
		return PASSES_BY;
	may = model_ip(f, inner);
	return may == ACCEPTED && (f->data[0] & 1) ? FORBIDDEN : may;
}

/* --- damage --- */

/* Sets the lengths right, so that damage reaches the checks behind those of the lengths. */
static void fix_lengths(struct frame *f)
{
	const bool v6 = read16(f->data + 12) == 0x86dd;
	const size_t udp = v6 ? 54 : 34;

	if (f->len < udp + 8)
		return;
	put16(f->data + (v6 ? 18 : 16), f->len - (v6 ? 54 : 14));
	put16(f->data + udp + 4, f->len - udp);
}

static void fix_inner_lengths(struct frame *f)
{
	const size_t geneve = read16(f->data + 12) == 0x86dd ? 62 : 42;
	size_t ip;

	if (f->len < geneve + 8)
		return;
	ip = geneve + 8 + (f->data[geneve] & 0x3f) * 4 + 14;
	if (ip + 40 > f->len)
		return;
	if (read16(f->data + ip - 2) == 0x86dd)
		put16(f->data + ip + 4, f->len - ip - 40);
	else
		put16(f->data + ip + 2, f->len - ip);
}

/* A byte of Geneve, its options, the inner Ethernet header or IP header. */
static void damage_tunnel(struct frame *f)
{
	static const uint8_t interesting[] = { 0, 1, 2, 3, 4, 0x3f, 0x40, 0x45, 0x60, 0x7f, 0x80, 0x81, 0xc0, 0xff, 0xf1 };
	const size_t geneve = read16(f->data + 12) == 0x86dd ? 62 : 42;

	if (f->len <= geneve)
		return;
	for (uint32_t n = random_below(3) + 1; n; n--) {
		size_t at = geneve + random_below(f->len - geneve < 76 ? f->len - geneve : 76);

		f->data[at] = random_below(2) ? interesting[random_below(sizeof(interesting))] : f->data[at] ^ 1u << random_below(8);
	}
}

/* Sets the UDP checksum right, or to none. */
static void fix_checksum(struct frame *f)
{
	const bool v6 = read16(f->data + 12) == 0x86dd;
	const size_t udp = v6 ? 54 : 34;

	if (f->len < udp + 8)
		return;
	put16(f->data + udp + 6, 0);
	if (random_below(2))
		put16(f->data + udp + 6,
		      ~sum16(sum16(read16(f->data + udp + 4) + 17, f->data + (v6 ? 22 : 26), v6 ? 32 : 8), f->data + udp, f->len - udp));
}

static void damage(struct frame *f)
{
	if (random_below(2))
		damage_tunnel(f);
	else
		frame_damage(f);
	if (random_below(4))
		fix_lengths(f);
	if (random_below(2))
		fix_inner_lengths(f);
	if (random_below(8))
		fix_checksum(f);
}

/* --- */

static struct {
	unsigned runs, taken, forbidden, by;
} tally;

/* The inner packet came out whole, ECN and with it a sum aside, to a MAC address of this node's. */
static void check_taken(const struct frame *in, const struct frame *out, const struct inner *inner)
{
	uint8_t was[4], is[4];

	assert_int_equal(out->len, 14 + inner->len);
	assert_int_equal(read16(out->data + 12), inner->v6 ? 0x86dd : 0x0800);
	memcpy(was, in->data + inner->off, 4);
	memcpy(is, out->data + 14, 4);
	was[1] &= inner->v6 ? ~0x30 : ~3;
	is[1] &= inner->v6 ? ~0x30 : ~3;
	assert_memory_equal(is, was, 4);
	assert_memory_equal(out->data + 14 + 12, in->data + inner->off + 12, inner->len - 12);
}

static void run_one(const struct frame *f)
{
	enum { OK = 0, SHOT = 2, REDIRECT = 7 };
	struct run r = { .program = FROM_UPLINK };
	struct inner inner = { 0 };
	const enum model may = model(f, &inner);

	run_quietly(&r, f);
	tally.runs++;
	tally.taken += r.verdict == REDIRECT;
	tally.forbidden += r.verdict == SHOT;
	tally.by += r.verdict == OK;
	if (r.verdict == REDIRECT && may == ACCEPTED)
		check_taken(f, &r.out, &inner);
	else if (r.verdict == OK && may == PASSES_BY)
		frame_expect(&r.out, f);
	else if (r.verdict != SHOT || may == PASSES_BY) {
		for (size_t i = 0; i < f->len; i++)
			print_message("%02x%s", f->data[i], i % 32 == 31 ? "\n" : "");
		fail_msg("packet %u: verdict %d, model %d", tally.runs, r.verdict, may);
	}
}

static void fuzz(unsigned state, unsigned packets)
{
	enum { MAX = 512 };
	static struct frame seeds[MAX];
	struct row_case c = { .program = FROM_UPLINK };
	size_t count = 0;

	memset(&tally, 0, sizeof(tally));
	random_start(keyed);
	cluster_reset(state, false, false);
	while (row_next(&c) && count < MAX)
		if (c.row->state == state && !c.row->family && !c.row->outer)
			row_in(&c, &seeds[count++]);
	for (size_t i = 0; i < count; i++)
		run_one(&seeds[i]);
	while (tally.runs < packets) {
		struct frame f = seeds[random_below(count)];

		damage(&f);
		if (!frame_runnable(&f))
			continue;
		run_one(&f);
		if (tally.runs % 1024 == 0)
			events_drain(NULL);
	}
	print_message("%u packets: %u taken, %u dropped, %u passed by\n", tally.runs, tally.taken, tally.forbidden, tally.by);
	assert_in_range(tally.taken, tally.runs / 50, tally.runs);
	assert_in_range(tally.forbidden, tally.runs / 50, tally.runs);
	assert_true(tally.by > 0);
}

static void test_fuzz(void **state)
{
	keyed = false;
	fuzz(0, random_rounds(PACKETS));
}

static void test_fuzz_keyed(void **state)
{
	keyed = true;
	fuzz(S_KEYED | S_KEY_REQUIRED, random_rounds(PACKETS / 2));
}

int run_tunnel_fuzz_tests(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_fuzz), cmocka_unit_test(test_fuzz_keyed) };

	return cmocka_run_group_tests_name("bpf_tunnel_fuzz", tests, harness_setup, NULL);
}
