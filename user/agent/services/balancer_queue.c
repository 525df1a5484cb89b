/* SPDX-License-Identifier: BSD-2-Clause */
/* Which Services the next run updates, and in which order it writes them. */
#include "balancer_internal.h"

#include <stdlib.h>

#include "clock.h"

#define SMALL 1000 /* ports and backends of a Service that is written first */

void writing_free(struct writing *w)
{
	if (!w)
		return;
	service_backends_free(&w->resolved);
	free(w->v);
	free(w);
}

void writing_stop(struct service *s)
{
	writing_free(s->writing);
	s->writing = NULL;
}

/* Small Services are written before large ones, since they take little time. */
static bool is_small(const struct service *s)
{
	size_t requested = 0;

	for (int q = 0; q < QUOTAS; q++)
		requested += s->requested[q];
	return requested <= SMALL;
}

void service_queue(struct balancer *b, struct service *s)
{
	writing_stop(s);
	if (!is_small(s)) {
		list_mark(&s->namespace->queue, &s->queued);
		list_mark(&b->busy, &s->namespace->busy);
		return;
	}
	if (list_empty(&s->queued))
		list_prepend(&s->namespace->queue, &s->queued);
	list_prepend(&b->busy, &s->namespace->busy);
}

void service_changed(struct balancer *b, struct service *s)
{
	if (!b->since_ns)
		b->since_ns = clock_ns(CLOCK_MONOTONIC);
	writing_stop(s);
	list_mark(&b->dirty, &s->dirty);
}
