/* SPDX-License-Identifier: BSD-2-Clause */
#include "events.h"

#include "cleanup.h"
#include "clock.h"
#include "internal.h"
#include "lock.h"

struct dp_events {
	int lock, map;
	struct ring_buffer *ring;
	int (*fn)(const struct wr_event *ev, void *arg); /* NULL while old events are skipped */
	void *arg;
	int stopped; /* what fn returned to stop */
};

static int on_event(void *ctx, void *data, size_t size)
{
	struct dp_events *events = ctx;

	if (!events->fn || size < sizeof(struct wr_event))
		return 0;
	events->stopped = events->fn(data, events->arg);
	/* libbpf stops only on a negative return. */
	return events->stopped ? -ECANCELED : 0;
}

int dp_events_renew(struct err *err)
{
	const struct wr_event_state state = { clock_ns(CLOCK_MONOTONIC) + WR_EVENT_LISTEN_NS };

	return dp_value_put("event_state", &state, err);
}

static int add_stats(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_event_stats *per_cpu = value;
	struct wr_event_stats *sum = arg;

	(void)key;
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum->suppressed += per_cpu[cpu].suppressed;
		sum->lost += per_cpu[cpu].lost;
	}
	return 0;
}

int dp_event_stats(struct wr_event_stats *stats, struct err *err)
{
	*stats = (struct wr_event_stats){ 0 };
	return dp_map_each("event_stats", add_stats, stats, err);
}

static void events_closep(struct dp_events **events)
{
	dp_events_close(*events);
}

int dp_events_open(struct dp_events **out, struct err *err)
{
	_cleanup_(events_closep) struct dp_events *events = calloc(1, sizeof(*events));
	int r;

	if (!events)
		return err_errno(err, ENOMEM, "event ring");
	events->lock = -1;
	events->map = dp_map_open("events", err);
	if (events->map < 0)
		return events->map;
	events->lock = lock_wait(LOCK_EVENTS, NULL, err);
	if (events->lock == -ETIMEDOUT) {
		err_set(err, EBUSY, "another process reads the events (the ring has one reader)");
		return err_hint(err, "end the other `warren monitor` first");
	}
	if (events->lock < 0)
		return events->lock;
	events->ring = ring_buffer__new(events->map, on_event, events, NULL);
	if (!events->ring)
		return err_errno(err, errno, "cannot map the event ring");
	ring_buffer__consume(events->ring);
	r = dp_events_renew(err);
	if (r < 0)
		return r;
	*out = take_ptr(events);
	return 0;
}

int dp_events_fd(struct dp_events *events)
{
	return ring_buffer__epoll_fd(events->ring);
}

int dp_events_poll(struct dp_events *events, int timeout_ms, int (*fn)(const struct wr_event *ev, void *arg), void *arg,
		   struct err *err)
{
	int n;

	events->fn = fn;
	events->arg = arg;
	events->stopped = 0;
	n = ring_buffer__poll(events->ring, timeout_ms);
	if (events->stopped)
		return events->stopped;
	if (n == -EINTR)
		return n;
	return n < 0 ? err_errno(err, -n, "cannot read the event ring") : n;
}

void dp_events_close(struct dp_events *events)
{
	if (!events)
		return;
	if (events->ring) {
		const struct wr_event_state none = { 0 };

		/* If that fails, the announcement ends by itself. */
		(void)dp_value_put("event_state", &none, NULL);
	}
	ring_buffer__free(events->ring);
	closep(&events->map);
	closep(&events->lock);
	free(events);
}
