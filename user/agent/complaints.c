/* SPDX-License-Identifier: BSD-2-Clause */
#include "complaints.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "clock.h"
#include "log.h"

#define LINES_A_MINUTE 60

static void complaint_free(struct complaint *complaint)
{
	free(complaint->what);
	free(complaint->message);
}

static struct complaint *find(const struct complaints *c, const char *what)
{
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->v[i].what, what) == 0)
			return &c->v[i];
	}
	return NULL;
}

/* Who may write objects may make each of them wrong and right again, as fast as the API server takes it. */
static bool has_room_in_log(struct complaints *c)
{
	const uint64_t minute = clock_ns(CLOCK_MONOTONIC) / (60 * NS_PER_S);

	if (minute != c->minute) {
		if (c->lines_left_out)
			log_warn("%u lines about what is wrong were left out: `warren status` shows what still is", c->lines_left_out);
		c->minute = minute;
		c->lines = c->lines_left_out = 0;
	}
	if (c->lines < LINES_A_MINUTE)
		return ++c->lines;
	c->lines_left_out++;
	return false;
}

void complain(struct complaints *c, enum complaint_kind kind, const char *what, const struct err *err)
{
	struct complaint *old = find(c, what), complaint;
	char message[sizeof(struct err)] = ""; /* room for both of its texts */
	bool log;

	if (err)
		snprintf(message, sizeof(message), "%s%s%s", err->msg, *err->hint ? "; " : "", err->hint);
	if (old ? err && strcmp(old->message, message) == 0 : !err)
		return;
	if (old) {
		complaint_free(old);
		*old = c->v[--c->count];
	}
	log = has_room_in_log(c);
	if (!err) {
		if (log)
			log_info("%s: in order again", what);
		return;
	}
	if (log)
		log_warn("%s: %s", what, message);
	complaint = (struct complaint){ kind, strdup(what), strdup(message) };
	if (!complaint.what || !complaint.message || array_push(c->v, c->room, c->count, complaint) < 0)
		complaint_free(&complaint);
}

size_t complaints_count(const struct complaints *c, enum complaint_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < c->count; i++)
		count += c->v[i].kind == kind;
	return count;
}

const char *complaint_kind_name(enum complaint_kind kind)
{
	static const char *const names[] = {
		[COMPLAINT_MANIFEST] = "manifest", [COMPLAINT_API] = "api",
		[COMPLAINT_OBJECT] = "object",
		[COMPLAINT_NODE] = "node",	   [COMPLAINT_AGENT] = "agent",
	};

	return names[kind];
}

void complaints_free(struct complaints *c)
{
	while (c->count)
		complaint_free(&c->v[--c->count]);
	free(c->v);
}
