/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something that the API server is to be told or asked in small requests, one at a time, again and again until it is done:
 * JSON in, JSON out, a pause that grows after each failure, and a complaint meanwhile.
 */
#ifndef WARREN_AGENT_KUBE_TASK_H
#define WARREN_AGENT_KUBE_TASK_H

#include <jansson.h>

#include "api.h"

struct kube_answer {
	int status;	    /* of HTTP; 0: there was none */
	const json_t *json; /* the answer; NULL if there is none (the status is not 2xx, or it could not be read) */
	const struct err *err; /* if there is none: why */
	unsigned retry_after_s;
};

/* Something is wrong (err), or no longer (NULL). */
typedef void kube_complain_fn(void *arg, const char *what, const struct err *err);

struct kube_task {
	struct api *api;
	const char *what; /* in complaints */
	const char *accept; /* of the next calls; NULL: application/json */
	kube_complain_fn *complain;
	void *complain_arg;
	struct api_call *call;	 /* that runs; NULL: none does */
	struct api_timer *timer; /* NULL: none */
	unsigned failures;
	char *text; /* of the answer so far */
	size_t size, room;
	void (*done)(void *arg, const struct kube_answer *answer);
	void (*again)(void *arg);
	void *arg; /* of both */
};

/* Takes `body` over (NULL: none), also if it fails. No other call may be running. */
int kube_task_call(struct kube_task *t, const char *method, const char *path, const char *content_type, json_t *body,
		   void (*done)(void *arg, const struct kube_answer *answer), struct err *err);
/* Complains, and calls `again` after a pause. */
void kube_task_failed(struct kube_task *t, const struct err *err, unsigned retry_after_s, void (*again)(void *arg));
/* There is nothing to complain about (any more). */
void kube_task_succeeded(struct kube_task *t);
/* Calls `again` after so many seconds, half of them up to half as many more: agents that started together part. */
void kube_task_later(struct kube_task *t, unsigned seconds, void (*again)(void *arg));
void kube_task_stop(struct kube_task *t);

#endif
