/* SPDX-License-Identifier: BSD-2-Clause */
#include "expect.h"

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
	case WR_REASON_GATEWAY_REPLY:
	case WR_REASON_TOO_BIG:
		return REDIRECT;
	default:
		return reason_drops(reason) ? SHOT : OK;
	}
}

void frame_expect(const struct frame *got, const struct frame *want)
{
	assert_int_equal(got->len, want->len);
	assert_memory_equal(got->data, want->data, want->len);
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
