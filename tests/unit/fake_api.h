/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An API server under the test's control: the functions of api.h, whose calls and timers wait until the test answers them
 * or lets them fire. The clock is the test's too: it moves only when the test moves it.
 */
#ifndef WARREN_TEST_FAKE_API_H
#define WARREN_TEST_FAKE_API_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "rig.h"
#include "str.h"

struct api_call {
	char path[512], body[2048];
	struct api_request request;
	unsigned number; /* counted from the first call */
	bool used;
};

struct api_timer {
	unsigned ms;
	void (*fn)(void *arg);
	void *arg;
	bool used;
};

static struct api_call calls[32];
static struct api_timer timers[32];
static unsigned calls_started;
static int start_failures; /* so many calls fail to start */
static time_t clock_now = 1700000000; /* of every clock */

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	*ts = (struct timespec){ .tv_sec = clock_now };
	return 0;
}

static inline void clock_forward(unsigned seconds)
{
	clock_now += seconds;
}

int api_start(struct api *api, const struct api_request *request, struct api_call **call, struct err *err)
{
	if (start_failures) {
		start_failures--;
		return err_set(err, ENOMEM, "no memory for a call");
	}
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].used)
			continue;
		calls[i].used = true;
		calls[i].number = ++calls_started;
		calls[i].request = *request;
		assert_true(str_copy(calls[i].path, sizeof(calls[i].path), request->path));
		calls[i].request.path = calls[i].path;
		assert_true(request->body_size < sizeof(calls[i].body));
		memcpy(calls[i].body, request->body_size ? request->body : "", request->body_size);
		calls[i].body[request->body_size] = '\0';
		*call = &calls[i];
		return 0;
	}
	fail_msg("too many calls");
	return -ENOSPC;
}

void api_cancel(struct api_call *call)
{
	if (!call)
		return;
	assert_true(call->used);
	call->used = false;
}

int api_after(struct api *api, unsigned ms, void (*fn)(void *arg), void *arg, struct api_timer **timer, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		if (timers[i].used)
			continue;
		timers[i] = (struct api_timer){ ms, fn, arg, true };
		*timer = &timers[i];
		return 0;
	}
	fail_msg("too many timers");
	return -ENOSPC;
}

void api_timer_cancel(struct api_timer *timer)
{
	if (!timer)
		return;
	assert_true(timer->used);
	timer->used = false;
}

/* The open call for a path that contains `part`. */
static inline struct api_call *asked(const char *part)
{
	struct api_call *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (!calls[i].used || !strstr(calls[i].path, part))
			continue;
		if (found)
			fail_msg("two calls with %s: %s, %s", part, found->path, calls[i].path);
		found = &calls[i];
	}
	if (!found)
		fail_msg("no call is open for %s", part);
	return found;
}

static inline size_t calls_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		n += calls[i].used;
	return n;
}

static inline void done_with(struct api_call *call, const struct api_result *result)
{
	assert_true(call->used);
	call->used = false;
	call->request.done(call->request.arg, result);
}

static inline struct api_result answer_of(int status, const char *reason, const char *message)
{
	struct api_result result = { .status = status, .reason = reason };

	if (status / 100 != 2)
		err_set(&result.err, EREMOTEIO, "%s", message);
	return result;
}

/* A part of the body; if the receiver refuses more, the call ends with that. */
static inline void answers_bytes(struct api_call *call, const void *data, size_t size)
{
	int ret = call->request.data(call->request.arg, data, size);
	struct api_result result = answer_of(0, "", "ended by the receiver");

	if (ret == 0)
		return;
	result.err.num = -ret;
	done_with(call, &result);
}

static inline void answers(struct api_call *call, const char *text)
{
	answers_bytes(call, text, strlen(text));
}

static inline void ends(struct api_call *call)
{
	const struct api_result result = answer_of(200, "", "");

	done_with(call, &result);
}

static inline void refuses(struct api_call *call, int status, const char *reason, const char *message)
{
	const struct api_result result = answer_of(status, reason, message);

	done_with(call, &result);
}

/* The only running timer. */
static inline struct api_timer *waiting(void)
{
	struct api_timer *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		if (!timers[i].used)
			continue;
		assert_null(found);
		found = &timers[i];
	}
	assert_non_null(found);
	return found;
}

/* Lets it fire; how long it was for. */
static inline unsigned waited(void)
{
	struct api_timer *timer = waiting();

	timer->used = false;
	timer->fn(timer->arg);
	return timer->ms;
}

static inline bool anything_left(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		if (timers[i].used)
			return true;
	}
	return calls_open() > 0;
}

#endif
