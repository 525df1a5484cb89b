/* SPDX-License-Identifier: BSD-2-Clause */
/* One timerfd for libcurl's timeout and all timers of the client. */
#include <errno.h>
#include <sys/timerfd.h>

#include "api_internal.h"
#include "cleanup.h"
#include "clock.h"

uint64_t api_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void api_arm(struct api *api)
{
	struct api_timer *first = list_first(&api->timers, struct api_timer, entry);
	uint64_t at = first && first->at_ns < api->curl_ns ? first->at_ns : api->curl_ns;
	struct itimerspec spec = { 0 };

	if (api->nudge_ns < at)
		at = api->nudge_ns;
	if (!list_empty(&api->waiting))
		at = 1; /* in the past; 0 would disarm it */
	if (api->in_run || at == api->armed_ns)
		return;
	api->armed_ns = at;
	if (at != API_NEVER) {
		spec.it_value.tv_sec = (time_t)(at / NS_PER_S);
		spec.it_value.tv_nsec = (long)(at % NS_PER_S);
	}
	timerfd_settime(api->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

void api_timer_set(struct api *api, struct api_timer *timer, uint64_t at_ns)
{
	struct api_timer *later, *found = NULL;

	timer->at_ns = at_ns;
	list_remove(&timer->entry);
	list_each(later, &api->timers, entry) {
		if (later->at_ns > at_ns) {
			found = later;
			break;
		}
	}
	list_append(found ? &found->entry : &api->timers, &timer->entry); /* inserts before it */
	api_arm(api);
}

int api_after(struct api *api, unsigned ms, void (*fn)(void *arg), void *arg, struct api_timer **out, struct err *err)
{
	struct api_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return err_errno(err, ENOMEM, "cannot set a timer");
	list_init(&timer->entry);
	timer->fn = fn;
	timer->arg = arg;
	timer->allocated = true;
	api_timer_set(api, timer, api_now() + ms * NS_PER_MS);
	if (out)
		*out = timer;
	return 0;
}

void api_timer_cancel(struct api_timer *timer)
{
	if (!timer)
		return;
	list_remove(&timer->entry);
	free(timer);
}

/* Timers set by a callback fire in the next run, even if due now: one that sets itself again must not loop here. */
void api_timers_fire(struct api *api)
{
	uint64_t now = api_now();

	for (struct api_timer *t; (t = list_first(&api->timers, struct api_timer, entry)) && t->at_ns <= now;)
		list_append(&api->due, &t->entry);
	while (!list_empty(&api->due)) {
		struct api_timer *t = list_first(&api->due, struct api_timer, entry);
		void (*fn)(void *arg) = t->fn;
		void *arg = t->arg;

		list_remove(&t->entry);
		if (t->allocated)
			free(t);
		fn(arg);
	}
}

void api_timers_drop(struct list *timers)
{
	while (!list_empty(timers)) {
		struct api_timer *t = list_first(timers, struct api_timer, entry);

		list_remove(&t->entry);
		if (t->allocated)
			free(t);
	}
}
