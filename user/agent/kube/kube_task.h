/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small requests to the API server, one at a time, with JSON in both directions. A failed one is repeated after a pause
 * that grows, and reported as a problem until one succeeds.
 */
#ifndef WARREN_AGENT_KUBE_TASK_H
#define WARREN_AGENT_KUBE_TASK_H

#include <jansson.h>
#include <stdint.h>

#include "api.h"
#include "stream.h"

struct kube_response {
	int status;	    /* of HTTP; 0: no response */
	const json_t *json; /* NULL: the request failed, the status is not 2xx, or the body is not valid */
	const struct err *err; /* without `json`: the reason */
	unsigned retry_after_s;
};

/* Sets (err) or resolves (NULL) a problem. */
typedef void kube_problem_fn(void *arg, const char *subject, const struct err *err);

struct kube_task {
	struct api *api;
	const char *subject; /* subject of problems */
	const char *accept; /* for the next calls; NULL: application/json */
	kube_problem_fn *report_problem;
	void *report_arg;
	struct api_call *call;	 /* the running one; NULL: none */
	struct api_timer *timer; /* NULL: none */
	unsigned failures;
	struct stream_buffer response; /* so far */
	void (*done)(void *arg, const struct kube_response *response);
	void (*retry)(void *arg); /* starts again; NULL: failures are only logged */
	void *arg; /* of both */
};

/*
 * Takes over `body` (of a GET: NULL). No other call may be running. One that cannot be started has failed, also without
 * a path or a body that the method needs: there was no memory for it.
 */
void kube_task_call(struct kube_task *t, const char *method, const char *path, const char *content_type, json_t *body,
		    void (*done)(void *arg, const struct kube_response *response));
/* Reports the problem, and retries after a pause. */
void kube_task_failed(struct kube_task *t, const struct err *err, unsigned retry_after_s);
/* Resolves the problem. */
void kube_task_succeeded(struct kube_task *t);
/* Starts again after 0.5 to 1.5 times the seconds: the jitter spreads agents that started together. */
void kube_task_later(struct kube_task *t, unsigned seconds);
void kube_task_stop(struct kube_task *t);

/* A rate: `burst` in a row, then one in an interval. Zeroed: none has been counted. */
struct kube_rate {
	uint64_t used_ns, counted_ns;
};
/* Seconds until the next one is allowed; 0: now, and it is counted. */
unsigned kube_rate_wait_s(struct kube_rate *r, unsigned burst, unsigned interval_s);

/* The time as in objects of the API. */
#define KUBE_TIME_STRLEN 32
const char *kube_time(char text[KUBE_TIME_STRLEN]);

#endif
