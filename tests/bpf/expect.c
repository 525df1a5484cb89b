/* SPDX-License-Identifier: BSD-2-Clause */
#include "expect.h"

#include "bytes.h"

#define X(NAME, name, KIND, text) #name,
const char *const reason_names[WR_REASONS] = { WARREN_REASONS(X) };
#undef X

bool reason_drops(enum wr_reason reason)
{
	enum { PASS, DROP };
#define X(NAME, name, KIND, text) KIND,
	static const bool drops[WR_REASONS] = { WARREN_REASONS(X) };
#undef X

	return drops[reason];
}

int reason_verdict(enum wr_reason reason)
{
	enum { OK = 0, SHOT = 2, REDIRECT = 7 };

	switch (reason) {
	case WR_REASON_TO_ENDPOINT:
	case WR_REASON_TO_NODE:
	case WR_REASON_TO_HOST:
	case WR_REASON_TO_CLIENT:
	case WR_REASON_GATEWAY_REPLY:
	case WR_REASON_TOO_BIG:
	case WR_REASON_NO_BACKEND:
	case WR_REASON_NO_SERVICE_PORT:
		return REDIRECT;
	default:
		return reason_drops(reason) ? SHOT : OK;
	}
}

/* The stack has routed what to_uplink passes. */
int program_verdict(enum program program, enum wr_reason reason)
{
	return reason_verdict(program == TO_UPLINK && reason == WR_REASON_TO_CLIENT ? WR_REASON_TO_STACK : reason);
}

void frame_expect(const struct frame *got, const struct frame *expected)
{
	assert_int_equal(got->len, expected->len);
	assert_memory_equal(got->data, expected->data, expected->len);
}

void counter_expect(const struct run *r, enum wr_reason reason)
{
	assert_int_equal(r->counters_moved, reason != WR_REASON_NONE);
	if (reason == WR_REASON_NONE)
		return;
	if (r->counter != wr_metric_key(reason, program_direction(r->program)))
		fail_msg("counted as %s in direction %u, not as %s", reason_names[r->counter / WR_DIRECTIONS],
			 r->counter % WR_DIRECTIONS, reason_names[reason]);
	assert_int_equal(r->moved.packets, 1);
}

void event_expect(const struct run *r, enum wr_reason reason, enum device device, const struct frame *seen)
{
	const struct wr_event *ev = &r->event;

	assert_int_equal(r->events, 1);
	assert_int_equal(ev->reason, reason);
	assert_int_equal(ev->direction, program_direction(r->program));
	assert_int_equal(ev->ifindex, device_ifindex(device));
	assert_int_equal(ev->length, seen->len);
	assert_int_equal(ev->captured, seen->len < WR_EVENT_HEADERS ? seen->len : WR_EVENT_HEADERS);
	assert_memory_equal(ev->headers, seen->data, ev->captured);
	assert_true(ev->time_ns > 0);
}

void dry_run_expect(const struct run *r, const struct frame *in, enum wr_reason reason, bool slots_too, struct wr_trace *trace)
{
	const uint64_t before = maps_digest(slots_too);
	const bool rejects = reason == WR_REASON_TOO_BIG || reason == WR_REASON_NO_BACKEND || reason == WR_REASON_NO_SERVICE_PORT;
	struct run dry = *r;

	run_dry(&dry, in, trace);
	assert_true(maps_digest(slots_too) == before);
	if (trace->reason != reason)
		fail_msg("the dry run gives %s, not %s", reason_names[trace->reason], reason_names[reason]);
	assert_int_equal(dry.verdict, program_verdict(r->program, rejects ? WR_REASON_RUNT : reason));
}

void icmp_error_expect(const struct frame *in, const struct frame *got, bool v6)
{
	const size_t ip = v6 ? 40 : 20, message = 512, quoted = message - 8;
	const uint8_t *at = got->data + 14, *icmp = at + ip, *was = in->data + 14;

	assert_int_equal(got->len, 14 + ip + message);
	assert_memory_equal(got->data, in->data + 6, 6);
	assert_memory_equal(got->data + 6, in->data, 6);
	assert_memory_equal(got->data + 12, in->data + 12, 2);
	if (v6) {
		assert_int_equal(at[0], 0x60);
		assert_int_equal(read16(at + 4), message);
		assert_int_equal(at[6], 58);
		assert_memory_equal(at + 8, was + 24, 16);
		assert_memory_equal(at + 24, was + 8, 16);
		assert_int_equal(icmp[0], 2);
		assert_int_equal(icmp[1], 0);
		assert_int_equal(sum16(sum16(message + 58, at + 8, 32), icmp, message), 0xffff);
	} else {
		assert_int_equal(read16(at), 0x4500);
		assert_int_equal(read16(at + 2), ip + message);
		assert_int_equal(at[9], 1);
		assert_memory_equal(at + 12, was + 16, 4);
		assert_memory_equal(at + 16, was + 12, 4);
		assert_int_equal(sum16(0, at, ip), 0xffff);
		assert_int_equal(icmp[0], 3);
		assert_int_equal(icmp[1], 4);
		assert_int_equal(sum16(0, icmp, message), 0xffff);
	}
	assert_int_equal(read16(icmp + 4), 0);
	assert_int_equal(read16(icmp + 6), TUNNEL_MTU);
	assert_memory_equal(icmp + 8, was, quoted);
}
