/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "log.h"

#define RESPONSE_SIZE_MAX (1 << 20) /* bytes; a Node with many images has some 50 KB */
#define CALL_SECONDS 30
#define PAUSE_MS 1000
#define PAUSE_MS_MAX 30000

/* --- a call --- */

static int on_data(void *arg, const void *data, size_t size)
{
	struct kube_task *t = arg;

	if (!size) /* start of the body */
		return 0;
	return size > RESPONSE_SIZE_MAX - t->response.size ? -EMSGSIZE : stream_append(&t->response, data, size);
}

static void on_done(void *arg, const struct api_result *result)
{
	struct kube_task *t = arg;
	json_auto_t *json = NULL;
	struct err err = result->err;

	t->call = NULL;
	if (result->status / 100 == 2)
		json = json_parse_object(t->response.data ?: "", t->response.size, "the API server's answer", &err);
	stream_buffer_free(&t->response);
	t->done(t->arg, &(struct kube_response){ result->status, json, &err, result->retry_after_s });
}

/* --- pauses --- */

static void on_timer(void *arg)
{
	struct kube_task *t = arg;

	t->timer = NULL;
	t->retry(t->arg);
}

static void pause_ms(struct kube_task *t, unsigned ms)
{
	unsigned short jitter = 0;
	struct err err;

	if (getrandom(&jitter, sizeof(jitter), 0) < 0)
		jitter = 0;
	api_timer_cancel(t->timer);
	t->timer = NULL;
	/* Without a timer the request is never repeated; the supervisor (kubelet, systemd) restarts the agent. */
	if (api_after(t->api, ms / 2 + (unsigned)((unsigned long long)ms * jitter / 65536), on_timer, t, &t->timer, &err) < 0)
		abort();
}

void kube_task_later(struct kube_task *t, unsigned seconds)
{
	pause_ms(t, 1000 * seconds);
}

void kube_task_failed(struct kube_task *t, const struct err *err, unsigned retry_after_s)
{
	unsigned ms = PAUSE_MS;

	for (unsigned i = 0; i < t->failures && ms < PAUSE_MS_MAX; i++)
		ms *= 2;
	t->failures++;
	t->report_problem(t->report_arg, t->subject, err);
	if (ms < 1000 * retry_after_s)
		ms = retry_after_s < 600 ? 2000 * retry_after_s : 1200000; /* pause_ms() may halve it */
	pause_ms(t, ms < PAUSE_MS_MAX || retry_after_s ? ms : PAUSE_MS_MAX);
}

void kube_task_succeeded(struct kube_task *t)
{
	t->failures = 0;
	t->report_problem(t->report_arg, t->subject, NULL);
}

void kube_task_stop(struct kube_task *t)
{
	api_cancel(t->call);
	t->call = NULL;
	api_timer_cancel(t->timer);
	t->timer = NULL;
	stream_buffer_free(&t->response);
}

/* --- starting one --- */

static int start_call(struct kube_task *t, const char *method, const char *path, const char *content_type, const json_t *body,
		      struct err *err)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct api_request request = {
		.method = method,
		.path = path,
		.accept = t->accept,
		.content_type = content_type,
		.body = text,
		.body_size = text ? strlen(text) : 0,
		.timeout_s = CALL_SECONDS,
		.data = on_data,
		.done = on_done,
		.arg = t,
	};

	if (!path || (!text && strcmp(method, "GET") != 0))
		return err_set(err, ENOMEM, "no memory for a request");
	return api_start(t->api, &request, &t->call, err);
}

void kube_task_call(struct kube_task *t, const char *method, const char *path, const char *content_type, json_t *body,
		    void (*done)(void *arg, const struct kube_response *response))
{
	struct err err;
	int ret;

	t->done = done;
	ret = start_call(t, method, path, content_type, body, &err);
	json_decref(body);
	if (ret < 0 && t->retry)
		kube_task_failed(t, &err, 0);
	else if (ret < 0)
		log_err(LOG_WARN, &err);
}

/* --- rates, times --- */

unsigned kube_rate_wait_s(struct kube_rate *r, unsigned burst, unsigned interval_s)
{
	const uint64_t one = interval_s * NS_PER_S, all = burst * one, now = clock_ns(CLOCK_MONOTONIC), passed = now - r->counted_ns;

	r->used_ns -= passed < r->used_ns ? passed : r->used_ns;
	r->counted_ns = now;
	if (r->used_ns + one > all)
		return (unsigned)((r->used_ns + one - all) / NS_PER_S) + 1;
	r->used_ns += one;
	return 0;
}

const char *kube_time(char text[KUBE_TIME_STRLEN])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, KUBE_TIME_STRLEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}
