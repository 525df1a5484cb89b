/* SPDX-License-Identifier: BSD-2-Clause */
/* Every row of the tables in every family, by the program and by the dry run; and that the rows cover every reason. */
#include <string.h>

#include "bytes.h"
#include "cases.h"
#include "expect.h"
#include "rows.h"

/* --- the peer --- */

struct peer {
	uint32_t ifindex;
	uint64_t identity;
};

static struct peer pod(enum device device)
{
	return (struct peer){ device_ifindex(device), device == DEVICE_A ? IDENTITY_A : IDENTITY_B };
}

/* A peer that is no pod, if the packet came that far: by its first IP header. */
static struct peer from_pod_no_pod_peer(const struct row *row)
{
	const struct layer *l = row->in;

	if (row->reason != WR_REASON_TO_STACK && row->reason != WR_REASON_QUARANTINE && row->reason != WR_REASON_NO_CONFIG)
		return (struct peer){ 0, WR_ID_UNKNOWN };
	while (l->kind != L_IP)
		l++;
	return (struct peer){ 0, l->dst == HOST ? WR_ID_HOST : WR_ID_WORLD };
}

static struct peer from_pod_peer(const struct row *row)
{
	const enum wr_reason reason = row->reason;
	const enum device device = reason == WR_REASON_TO_ENDPOINT || reason == WR_REASON_HOP_LIMIT ? DEVICE_B : row->peer;
	struct peer peer = pod(device);

	if (!device)
		return from_pod_no_pod_peer(row);
	if (row->state & S_B_GOING)
		peer.identity = WR_ID_UNKNOWN;
	return peer;
}

static struct peer to_pod_peer(const struct row *row)
{
	if (row->reason == WR_REASON_NO_ENDPOINT)
		return (struct peer){ 0, WR_ID_UNKNOWN };
	if (row->entered == NO_DEVICE)
		return (struct peer){ 0, WR_ID_HOST };
	if (row->entered == DEVICE_UPLINK || row->state & S_B_GOING)
		return (struct peer){ 0, WR_ID_WORLD };
	return pod(row->entered);
}

/* The sending node is known by its address, the sender's identity once all headers were checked. */
static struct peer from_uplink_peer(const struct row *row)
{
	struct peer peer = { WR_REMOTE | (row->state & S_SIBLING ? SLOT_D : SLOT_C), WR_ID_UNKNOWN };

	switch (row->reason) {
	case WR_REASON_NONE:
	case WR_REASON_NOT_TUNNELLED:
	case WR_REASON_TUNNEL_FRAGMENT:
	case WR_REASON_TUNNEL_SENDER:
		peer.ifindex = 0;
		break;
	case WR_REASON_TO_ENDPOINT:
	case WR_REASON_TO_HOST:
	case WR_REASON_NO_ENDPOINT:
	case WR_REASON_IP_OPTIONS:
	case WR_REASON_MULTICAST:
	case WR_REASON_TUNNEL_TARGET:
		peer.identity = row->identity ? row->identity : IDENTITY_C;
		break;
	default:
		peer.ifindex = row->unasked ? 0 : peer.ifindex;
	}
	return peer;
}

/* The node is known once the destination was looked up, the receiver where a pod's policy is evaluated. */
static struct peer from_host_peer(const struct row *row)
{
	switch (row->reason) {
	case WR_REASON_TO_NODE:
		return (struct peer){ WR_REMOTE | SLOT_C, row->entered ? WR_ID_SOME_POD : WR_ID_UNKNOWN };
	case WR_REASON_TOO_BIG:
	case WR_REASON_ENCAP_FAILED:
		return (struct peer){ WR_REMOTE | SLOT_C, WR_ID_UNKNOWN };
	default:
		return (struct peer){ 0, WR_ID_UNKNOWN };
	}
}

static struct peer peer_of(const struct row_case *c)
{
	static struct peer (*const of[])(const struct row *row) = {
		[FROM_POD] = from_pod_peer,
		[TO_POD] = to_pod_peer,
		[FROM_UPLINK] = from_uplink_peer,
		[FROM_HOST] = from_host_peer,
	};

	return of[c->program](c->row);
}

/* The pod whose policy is evaluated: the device's own or, at the uplink and the host, the receiver or sender. */
static enum device pod_of(const struct row_case *c)
{
	const struct row *row = c->row;
	const struct layer *to = row->out;

	if (c->program == FROM_HOST && row->entered == DEVICE_A)
		return DEVICE_A;
	if (c->program != FROM_UPLINK || (row->reason != WR_REASON_TO_ENDPOINT && row->reason != WR_REASON_NO_ENDPOINT))
		return program_device(c->program);
	while (to->kind != L_IP)
		to++;
	return to->dst == POD_B ? DEVICE_B : DEVICE_A;
}

/* --- the results of a row --- */

static enum device redirect_of(const struct row_case *c, enum wr_reason reason)
{
	switch (reason) {
	case WR_REASON_TO_ENDPOINT:
		return c->program == FROM_POD ? DEVICE_B : pod_of(c);
	case WR_REASON_GATEWAY_REPLY:
		return DEVICE_A;
	case WR_REASON_TO_NODE:
		return DEVICE_UPLINK;
	case WR_REASON_TO_HOST:
		return DEVICE_WARREN0;
	default:
		return NO_DEVICE;
	}
}

static void check_dry_run(const struct row_case *c, const struct run *r, const struct frame *in)
{
	const enum wr_reason reason = c->row->dry_reason ? c->row->dry_reason : c->row->reason;
	const struct peer peer = peer_of(c);
	struct wr_trace trace;

	dry_run_expect(r, in, reason, false, &trace);
	assert_int_equal(trace.ifindex, device_ifindex(program_device(c->program)));
	assert_int_equal(trace.redirect, device_ifindex(redirect_of(c, reason)));
	assert_int_equal(trace.peer_ifindex, peer.ifindex);
	assert_int_equal(trace.peer_identity, peer.identity);
	if (!reason_drops(reason))
		assert_int_equal(trace.mark, c->row->mark);
}

/* Source port and flow label are hashes of the inner flow: any value in the range. The IPv4 checksum does not cover them. */
static void outer_copy_hash(struct frame *expected, const struct frame *got, bool over6)
{
	const size_t port = over6 ? 54 : 34;
	unsigned sport;

	if (expected->len != got->len || expected->len < port + 8)
		return;
	sport = read16(got->data + port);
	assert_in_range(sport, 49152, 65535);
	memcpy(expected->data + port, got->data + port, 2);
	if (!over6)
		return;
	expected->data[15] = (expected->data[15] & 0xf0) | (got->data[15] & 0x0f);
	memcpy(expected->data + 16, got->data + 16, 2);
}

/* A node's metric counts the inner frames that passed. */
static void check_node_metric(const struct row_case *c, const struct run *r, const struct frame *in)
{
	const enum wr_direction direction = program_direction(c->program);
	struct wr_metric m;

	if (c->program == FROM_POD || c->program == TO_POD || c->row->state & (S_NO_CLUSTER | S_NO_NODES | S_SIBLING))
		return;
	m = node_metric(SLOT_C, direction);
	if (c->row->reason == WR_REASON_TO_ENDPOINT || c->row->reason == WR_REASON_TO_HOST) {
		assert_int_equal(m.packets, 1);
		assert_int_equal(m.bytes, r->out.len);
	} else if (c->row->reason == WR_REASON_TO_NODE) {
		assert_int_equal(m.packets, 1);
		assert_int_equal(m.bytes, in->len);
	} else if (c->row->out[0].kind == L_END) {
		assert_int_equal(m.packets, 0);
	}
	assert_int_equal(node_metric(SLOT_C, !direction).packets, 0);
}

static void test_row(void **state)
{
	const struct row_case *c = *state;
	const enum wr_reason reason = c->row->reason;
	struct run r = {
		.program = c->program, .entered = c->row->entered, .mark_in = c->row->mark_in, .gso_size = c->row->gso_size
	};
	struct frame in, expected;
	const struct frame *seen = reason == WR_REASON_TOO_BIG ? &in : &r.out; /* as it goes on, not the ICMP error */

	row_prepare(c);
	row_in(c, &in);
	check_dry_run(c, &r, &in);
	run_program(&r, &in);
	counter_expect(&r, reason);
	if (r.counters_moved)
		assert_int_equal(r.moved.bytes, seen->len);
	assert_int_equal(r.verdict, reason_verdict(reason));
	if (!reason_drops(reason))
		assert_int_equal(r.mark, c->row->mark);
	if (row_is_reported(c)) {
		event_expect(&r, reason, pod_of(c), seen);
		assert_int_equal(r.event.peer_ifindex, peer_of(c).ifindex);
		assert_int_equal(r.event.peer_identity, peer_of(c).identity);
	} else {
		assert_int_equal(r.events, 0);
	}
	if (reason == WR_REASON_TOO_BIG)
		return; /* the ICMP error: test_too_big() */
	row_out(c, &expected);
	if (reason == WR_REASON_TO_NODE && !(c->row->state & S_DIRECT))
		outer_copy_hash(&expected, &r.out, c->over6);
	frame_expect(&r.out, &expected);
	check_node_metric(c, &r, &in);
}

/* Every reason in the registry has a row; no packet may be counted as NONE. */
static void test_coverage(void **state)
{
	/*
	 * Elsewhere: by policy (test_policy.c), by flows (test_scenario.c), of XDP (test_xdp.c), through services (test_service.c); by
	 * checksums that are left to a device, of which a test run has none (tests/attack/test_partial_checksum.py).
	 */
	bool seen[WR_REASONS] = { [WR_REASON_NONE] = true,	     [WR_REASON_EGRESS_DENIED] = true,
				  [WR_REASON_INGRESS_DENIED] = true, [WR_REASON_NO_CONNECTION] = true,
				  [WR_REASON_CT_FULL] = true,	     [WR_REASON_TUNNEL_PORT] = true,
				  [WR_REASON_DENYLIST] = true,	     [WR_REASON_NO_BACKEND] = true,
				  [WR_REASON_SERVICE_CLASH] = true,  [WR_REASON_SERVICE_SCTP] = true,
				  [WR_REASON_SERVICE_UNKNOWN] = true, [WR_REASON_CHECKSUM_OFFSET] = true,
				  [WR_REASON_TO_CLIENT] = true,	      [WR_REASON_NO_ROUTE] = true,
				  [WR_REASON_NO_LOCAL_BACKEND] = true, [WR_REASON_NO_SERVICE_PORT] = true,
				  [WR_REASON_NO_SERVICE] = true,      [WR_REASON_SOURCE_RANGE] = true,
				  /* Counted beside another reason: test_tunnel.c, test_xdp.c. */
				  [WR_REASON_TUNNEL_UNKEYED] = true };
	struct wr_metric totals[WR_METRICS];

	(void)state;
	for (int program = FROM_POD; program <= FROM_HOST; program++)
		for (struct row_case c = { .program = program }; row_next(&c);)
			seen[c.row->reason] = true;
	for (int reason = 0; reason < WR_REASONS; reason++)
		if (!seen[reason])
			fail_msg("no row expects the reason %s", reason_names[reason]);
	metrics_read(totals);
	assert_int_equal(totals[wr_metric_key(WR_REASON_NONE, WR_EGRESS)].packets, 0);
	assert_int_equal(totals[wr_metric_key(WR_REASON_NONE, WR_INGRESS)].packets, 0);
}

static void add(struct cases *cases, const struct row_case *c)
{
	const char *program = program_name(c->program);
	struct frame f;

	row_in(c, &f);
	if (!frame_runnable(&f))
		return;
	if (c->program == FROM_POD || c->program == TO_POD)
		case_add(cases, test_row, c, sizeof(*c), "%s v%d: %s", program, c->v6 ? 6 : 4, c->row->name);
	else
		case_add(cases, test_row, c, sizeof(*c), "%s v%d over v%d: %s", program, c->v6 ? 6 : 4, c->over6 ? 6 : 4,
			 c->row->name);
}

int run_table_tests(void)
{
	struct cases cases = { 0 };

	for (int program = FROM_POD; program <= FROM_HOST; program++)
		for (struct row_case c = { .program = program }; row_next(&c);)
			add(&cases, &c);
	case_add(&cases, test_coverage, NULL, 0, "test_coverage");
	return cases_run(&cases, "bpf_table", harness_setup);
}
