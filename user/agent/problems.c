/* SPDX-License-Identifier: BSD-2-Clause */
#include "problems.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "clock.h"
#include "log.h"

#define LINES_PER_MINUTE 60

static void problem_free(struct problem *problem)
{
	free(problem->subject);
	free(problem->message);
}

static struct problem *find(const struct problems *c, const char *subject)
{
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->v[i].subject, subject) == 0)
			return &c->v[i];
	}
	return NULL;
}

/* A tenant can break and repair objects as fast as the API server accepts changes, so the log needs a limit. */
static bool has_room_in_log(struct problems *c)
{
	const uint64_t minute = clock_ns(CLOCK_MONOTONIC) / (60 * NS_PER_S);

	if (minute != c->minute) {
		if (c->lines_suppressed)
			log_warn("%u lines about problems were suppressed; `warren status` lists those that remain",
				 c->lines_suppressed);
		c->minute = minute;
		c->lines = c->lines_suppressed = 0;
	}
	if (c->lines < LINES_PER_MINUTE)
		return ++c->lines;
	c->lines_suppressed++;
	return false;
}

void report_problem(struct problems *c, enum problem_kind kind, const char *subject, const struct err *err)
{
	struct problem *old = find(c, subject), problem;
	char message[sizeof(struct err)] = ""; /* fits both of its texts */
	bool log;

	if (err)
		snprintf(message, sizeof(message), "%s%s%s", err->msg, *err->hint ? "; " : "", err->hint);
	if (old ? err && strcmp(old->message, message) == 0 : !err)
		return;
	if (old) {
		problem_free(old);
		*old = c->v[--c->count];
	}
	log = has_room_in_log(c);
	if (!err) {
		if (log)
			log_info("%s: resolved", subject);
		return;
	}
	if (log)
		log_warn("%s: %s", subject, message);
	problem = (struct problem){ kind, strdup(subject), strdup(message) };
	if (!problem.subject || !problem.message || array_push(c->v, c->room, c->count, problem) < 0)
		problem_free(&problem);
}

size_t problems_count(const struct problems *c, enum problem_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < c->count; i++)
		count += c->v[i].kind == kind;
	return count;
}

const char *problem_kind_name(enum problem_kind kind)
{
	static const char *const names[] = {
		[PROBLEM_MANIFEST] = "manifest", [PROBLEM_API] = "api",
		[PROBLEM_OBJECT] = "object",
		[PROBLEM_NODE] = "node",	   [PROBLEM_AGENT] = "agent",
	};

	return names[kind];
}

void problems_free(struct problems *c)
{
	while (c->count)
		problem_free(&c->v[--c->count]);
	free(c->v);
}
