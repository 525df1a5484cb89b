/* SPDX-License-Identifier: BSD-2-Clause */
/* Invariants of every packet: good ones cut at every length, and random damage. */
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "damage.h"
#include "expect.h"
#include "rows.h"

static void cut_everywhere(const struct row_case *c)
{
	struct frame f, cut;

	row_prepare(c);
	row_in(c, &f);
	for (size_t len = 14; len < f.len; len++) {
		cut = f;
		cut.len = len;
		if (frame_runnable(&cut) && run_verdict(c->program, &cut) != reason_verdict(WR_REASON_RUNT))
			fail_msg("%s: %zu of %zu bytes passed", c->row->name, len, f.len);
	}
}

static void cut_table(enum program program)
{
	struct row_case c = { .program = program };

	while (row_next(&c))
		if (!reason_drops(c.row->reason) && !row_is_padded(c.row))
			cut_everywhere(&c);
}

static void test_truncation(void **state)
{
	(void)state;
	cut_table(FROM_POD);
	cut_table(TO_POD);
}

/* --- random damage --- */

/* A packet that from_pod let through has A's addresses, and no forbidden contents. */
static void check_passed_from_pod(const struct frame *f)
{
	unsigned type = read16(f->data + 12);
	const uint8_t *ip = f->data + 14;

	assert_memory_equal(f->data + 6, mac_address(MAC_A), 6);
	if (type == 0x0800) {
		assert_true(f->len >= 34);
		assert_int_equal(ip[0], 0x45);
		assert_in_range(read16(ip + 2), 20, f->len - 14);
		assert_memory_equal(ip + 12, who_address(POD_A, false), 4);
		assert_false(ip[16] == 0 || ip[16] == 127 || ip[16] >= 224);
	} else if (type == 0x86dd) {
		assert_true(f->len >= 54);
		assert_int_equal(ip[0] >> 4, 6);
		assert_in_range(read16(ip + 4), 1, f->len - 54);
		assert_memory_equal(ip + 8, who_address(POD_A, true), 16);
		/* Of multicast, only a solicitation of the gateway. */
		assert_true(ip[24] != 0xff || (ip[6] == 58 && ip[40] == 135));
	} else {
		assert_int_equal(type, 0x0806);
		assert_memory_equal(ip + 8, mac_address(MAC_A), 6);
		assert_memory_equal(ip + 14, who_address(POD_A, false), 4);
		assert_memory_equal(ip + 24, who_address(GW, false), 4);
	}
}

static void check_passed_to_pod(const struct frame *f)
{
	unsigned type = read16(f->data + 12);

	if (type == 0x0800)
		assert_memory_equal(f->data + 30, who_address(POD_A, false), 4);
	else if (type == 0x86dd)
		assert_memory_equal(f->data + 38, who_address(POD_A, true), 16);
	else
		fail_msg("ethertype %#x was delivered", type);
}

#define ROUNDS 300 /* of every good packet */

static struct {
	unsigned runs, passed, events;
} tally;

static void damage_often(const struct row_case *c)
{
	const unsigned rounds = random_rounds(ROUNDS);
	struct frame good, f;

	row_prepare(c);
	row_in(c, &good);
	for (unsigned i = 0; i < rounds; i++) {
		f = good;
		frame_damage(&f);
		tally.runs++;
		if (run_verdict(c->program, &f) != reason_verdict(WR_REASON_RUNT)) {
			tally.passed++;
			if (c->program == FROM_POD)
				check_passed_from_pod(&f);
			else
				check_passed_to_pod(&f);
		}
	}
	tally.events += events_drain(NULL);
}

static void damage_table(enum program program)
{
	struct wr_metric before[WR_METRICS], after[WR_METRICS];
	struct row_case c = { .program = program };
	unsigned counted = 0, drops = 0;

	/* Packets of `before` are counted too, so only rows without them are checked. */
	memset(&tally, 0, sizeof(tally));
	random_start(program);
	metrics_read(before);
	while (row_next(&c))
		if (!reason_drops(c.row->reason) && c.row->before[0][0].kind == L_END)
			damage_often(&c);
	metrics_read(after);
	for (uint32_t key = 0; key < WR_REASONS * WR_DIRECTIONS; key++) {
		unsigned moved = after[key].packets - before[key].packets;

		counted += moved;
		drops += reason_drops(key / WR_DIRECTIONS) ? moved : 0;
	}
	assert_int_equal(counted, tally.runs);
	assert_int_equal(drops, tally.runs - tally.passed);
	/* And of the others those that created a flow. */
	assert_in_range(tally.events, drops, drops + tally.passed);
	assert_true(tally.passed > 0 && drops > 0);
	print_message("%u damaged packets, %u passed\n", tally.runs, tally.passed);
}

static void test_damage_from_pod(void **state)
{
	(void)state;
	damage_table(FROM_POD);
}

static void test_damage_to_pod(void **state)
{
	(void)state;
	damage_table(TO_POD);
}

/* A ring without a reader loses events, but no counts and no verdicts. */
static void test_full_ring(void **state)
{
	static const struct layer layers[] = { ETH(.smac = MAC_B), IP(), TCP(), { 0 } };
	enum { DROPS = 6000 }; /* more than 1 MiB holds */
	struct wr_metric before[WR_METRICS], after[WR_METRICS];
	uint32_t key = wr_metric_key(WR_REASON_SPOOFED_MAC, WR_EGRESS);
	struct frame f;
	int events;

	(void)state;
	node_reset(0, false);
	frame_build(&f, layers, &defaults_from_pod, false);
	metrics_read(before);
	for (int i = 0; i < DROPS; i++) {
		events_refill();
		assert_int_equal(run_verdict(FROM_POD, &f), reason_verdict(WR_REASON_SPOOFED_MAC));
	}
	metrics_read(after);
	assert_int_equal(after[key].packets - before[key].packets, DROPS);
	events = events_drain(NULL);
	assert_in_range(events, 1, DROPS - 1);
}

int run_property_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_damage_from_pod),
		cmocka_unit_test(test_damage_to_pod),
		cmocka_unit_test(test_full_ring),
	};

	return cmocka_run_group_tests_name("bpf_property", tests, harness_setup, NULL);
}
