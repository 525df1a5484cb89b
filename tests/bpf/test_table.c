/* SPDX-License-Identifier: BSD-2-Clause */
/* Every row of the tables, in both families; and that the rows cover every reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

const struct row *const tables[2] = { rows_from_pod, rows_to_pod };
static const struct layer_defaults *const defaults[2] = { &defaults_from_pod, &defaults_to_pod };

bool row_has_family(const struct row *row, bool v6)
{
	return row->family == BOTH || (row->family == V6) == v6;
}

void row_in(const struct row *row, enum program program, bool v6, struct frame *f)
{
	frame_build(f, row->in, defaults[program], v6);
	if (row->cut)
		f->len = row->cut;
}

void row_out(const struct row *row, enum program program, bool v6, struct frame *f)
{
	if (row->out[0].kind == L_END)
		row_in(row, program, v6, f);
	else
		frame_build(f, row->out, defaults[program], v6);
}

void row_prepare(const struct row *row, enum program program, bool v6)
{
	struct frame f;

	node_reset(row->state, v6);
	for (int i = 0; i < 2 && row->before[i][0].kind != L_END; i++) {
		frame_build(&f, row->before[i], defaults[program], v6);
		assert_int_not_equal(run_verdict(program, &f), reason_verdict(WR_REASON_FRAGMENT));
	}
	events_drain(NULL);
}

bool row_is_reported(const struct row *row)
{
	return reason_drops(row->reason) || !(row->old || row->reason == WR_REASON_GATEWAY_REPLY);
}

/* One test: a row in one family. */
struct test {
	const struct row *row;
	enum program program;
	bool v6;
	char name[128];
};

/* Who is at the other end of what a pod sends, if that is no pod and it came that far. */
static uint64_t stranger_of(const struct row *row)
{
	if (row->reason != WR_REASON_TO_STACK && row->reason != WR_REASON_QUARANTINE && row->reason != WR_REASON_NO_CONFIG)
		return WR_ID_UNKNOWN;
	for (const struct layer *l = row->in; l->kind != L_END; l++)
		if (l->kind == L_IP)
			return l->dst == HOST ? WR_ID_HOST : WR_ID_WORLD;
	return WR_ID_UNKNOWN;
}

static void check_peer(const struct test *t, const struct wr_event *ev)
{
	const struct row *row = t->row;
	uint32_t ifindex = 0;
	uint64_t identity = WR_ID_UNKNOWN;

	if (t->program == FROM_POD) {
		enum device peer = row->reason == WR_REASON_TO_ENDPOINT || row->reason == WR_REASON_HOP_LIMIT ? DEVICE_B
														: row->peer;

		ifindex = peer ? device_ifindex(peer) : 0;
		identity = !peer ? stranger_of(row) : row->state & S_B_GOING ? WR_ID_UNKNOWN : IDENTITY_B;
	} else if (row->reason == WR_REASON_NO_ENDPOINT) {
		identity = WR_ID_UNKNOWN;
	} else if (row->entered == NO_DEVICE) {
		identity = WR_ID_HOST;
	} else if (row->entered == DEVICE_UPLINK || row->state & S_B_GOING) {
		identity = WR_ID_WORLD;
	} else {
		ifindex = device_ifindex(row->entered);
		identity = row->entered == DEVICE_A ? IDENTITY_A : IDENTITY_B;
	}
	assert_int_equal(ev->peer_ifindex, ifindex);
	assert_int_equal(ev->peer_identity, identity);
}

static void check_event(const struct test *t, const struct run *r, const struct frame *in)
{
	const struct wr_event *ev = &r->event;
	size_t captured = in->len < WR_EVENT_HEADERS ? in->len : WR_EVENT_HEADERS;

	assert_int_equal(r->events, 1);
	assert_int_equal(ev->reason, t->row->reason);
	assert_int_equal(ev->direction, t->program == FROM_POD ? WR_EGRESS : WR_INGRESS);
	assert_int_equal(ev->ifindex, device_ifindex(DEVICE_A));
	assert_int_equal(ev->length, in->len);
	assert_int_equal(ev->captured, captured);
	/* Forwarded packets are seen as they go on. */
	assert_memory_equal(ev->headers, r->verdict == reason_verdict(WR_REASON_RUNT) ? in->data : r->out.data, captured);
	assert_true(ev->time_ns > 0);
	check_peer(t, ev);
}

/* What the twin says of a packet, without a trace anywhere but in its own map. */
static void check_twin(struct run *r, const struct frame *in, const struct row *row)
{
	uint64_t before = maps_digest(false);
	struct wr_trace trace;

	assert_int_equal(run_dry(r, in, &trace), reason_verdict(row->reason));
	assert_true(maps_digest(false) == before);
	if (trace.reason != row->reason)
		fail_msg("the twin says %s, not %s", reason_names[trace.reason], reason_names[row->reason]);
	assert_int_equal(trace.ifindex, device_ifindex(DEVICE_A));
	assert_int_equal(trace.redirect, row->reason == WR_REASON_TO_ENDPOINT   ? device_ifindex(DEVICE_B)
					 : row->reason == WR_REASON_GATEWAY_REPLY ? device_ifindex(DEVICE_A)
										  : 0);
	if (!reason_drops(row->reason))
		assert_int_equal(trace.mark, row->mark);
}

static void test_row(void **state)
{
	const struct test *t = *state;
	const struct row *row = t->row;
	struct run r = { .program = t->program, .entered = row->entered, .mark_in = row->mark_in };
	enum wr_direction direction = t->program == FROM_POD ? WR_EGRESS : WR_INGRESS;
	struct frame in, want;

	row_prepare(row, t->program, t->v6);
	row_in(row, t->program, t->v6, &in);
	check_twin(&r, &in, row);
	run_program(&r, &in);

	assert_int_equal(r.counters_moved, 1);
	if (r.counter != wr_metric_key(row->reason, direction))
		fail_msg("counted as %s in direction %u, not as %s", reason_names[r.counter / 2], r.counter % 2,
			 reason_names[row->reason]);
	assert_int_equal(r.moved.packets, 1);
	assert_int_equal(r.moved.bytes, in.len);
	assert_int_equal(r.verdict, reason_verdict(row->reason));
	row_out(row, t->program, t->v6, &want);
	frame_expect(&r.out, &want);
	if (!reason_drops(row->reason))
		assert_int_equal(r.mark, row->mark);
	if (row_is_reported(row))
		check_event(t, &r, &in);
	else
		assert_int_equal(r.events, 0);
}

/* Everything in the registry has a row; NONE is what no packet may be. */
static void test_coverage(void **state)
{
	/* Elsewhere: by policy (test_policy.c), by flows (test_flow.c, test_remote.c), of XDP (test_xdp.c). */
	bool seen[WR_REASONS] = { [WR_REASON_NONE] = true,	     [WR_REASON_EGRESS_DENIED] = true,
				  [WR_REASON_INGRESS_DENIED] = true, [WR_REASON_NO_CONNECTION] = true,
				  [WR_REASON_CT_FULL] = true,	     [WR_REASON_TUNNEL_PORT] = true,
				  [WR_REASON_DENYLIST] = true };
	struct wr_metric totals[WR_METRICS];

	(void)state;
	for (int program = 0; program < 2; program++)
		for (const struct row *row = tables[program]; row->name; row++)
			seen[row->reason] = true;
	for (const struct tunnel_row *row = rows_from_uplink; row->name; row++)
		seen[row->reason] = true;
	for (const struct tunnel_row *row = rows_from_host; row->name; row++)
		seen[row->reason] = true;
	for (int reason = 0; reason < WR_REASONS; reason++)
		if (!seen[reason])
			fail_msg("no row expects the reason %s", reason_names[reason]);
	metrics_read(totals);
	assert_int_equal(totals[wr_metric_key(WR_REASON_NONE, WR_EGRESS)].packets, 0);
	assert_int_equal(totals[wr_metric_key(WR_REASON_NONE, WR_INGRESS)].packets, 0);
}

static bool test_add(struct test *t, struct CMUnitTest *u, const struct row *row, enum program program, bool v6)
{
	struct frame f;

	row_in(row, program, v6, &f);
	if (!row_has_family(row, v6) || !frame_runnable(&f))
		return false;
	*t = (struct test){ .row = row, .program = program, .v6 = v6 };
	snprintf(t->name, sizeof(t->name), "%s v%d: %s", program == FROM_POD ? "from_pod" : "to_pod", v6 ? 6 : 4,
		 row->name);
	*u = (struct CMUnitTest){ .name = t->name, .test_func = test_row, .initial_state = t };
	return true;
}

int run_table_tests(void)
{
	enum { MAX = 1024 };
	static struct test tests[MAX];
	static struct CMUnitTest units[MAX + 1];
	size_t n = 0;

	for (int program = 0; program < 2; program++)
		for (const struct row *row = tables[program]; row->name; row++)
			for (int v6 = 0; v6 < 2; v6++) {
				if (n == MAX)
					abort();
				n += test_add(&tests[n], &units[n], row, program, v6);
			}
	units[n++] = (struct CMUnitTest)cmocka_unit_test(test_coverage);
	return _cmocka_run_group_tests("bpf_table", units, n, harness_setup, NULL);
}
