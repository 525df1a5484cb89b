/* SPDX-License-Identifier: BSD-2-Clause */
#include "reflector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "request_path.h"
#include "reflector_internal.h"

#define CHUNK 500
/* A list is computed while it is sent: after so long without a byte the server has stopped. */
#define LIST_SILENCE_S 60
/* Bookmarks come about once a minute. */
#define WATCH_SILENCE_S 130
/* The server ends a watch after this time, plus a random part so that not all end at once. */
#define WATCH_MIN_S 300
#define WATCH_SPREAD_S 300
#define DELAY_MIN_MS 800u
#define DELAY_MAX_MS 30000u
#define RETRY_AFTER_MAX_S 300u
/* A connection that lasted GOOD_S resets the delay; after BRIEF_S its end is no failure: no delay. */
#define GOOD_S 60
#define BRIEF_S 5

static unsigned random_below(unsigned limit)
{
	unsigned number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (unsigned)reflector_now();
	return number % limit;
}

static void run_now(struct reflector *r);

/* --- waiting --- */

static void on_timer(void *arg)
{
	struct reflector *r = arg;

	r->timer = NULL;
	run_now(r);
}

/* Waits at least so long; each time longer. */
static void wait_before_next(struct reflector *r, unsigned at_least_ms)
{
	struct err err = { 0 };
	unsigned ms;

	if (r->begun && reflector_now() - r->begun >= GOOD_S * NS_PER_S)
		r->delay_ms = 0;
	if (r->delay_ms < DELAY_MIN_MS)
		r->delay_ms = DELAY_MIN_MS;
	ms = r->delay_ms + random_below(r->delay_ms / 2);
	if (ms > DELAY_MAX_MS)
		ms = DELAY_MAX_MS - random_below(DELAY_MAX_MS / 4);
	if (ms < at_least_ms)
		ms = at_least_ms + random_below(at_least_ms / 4 + 1);
	r->delay_ms = r->delay_ms * 2 < DELAY_MAX_MS ? r->delay_ms * 2 : DELAY_MAX_MS;
	r->state = WAITING;
	/* Without a timer nothing would be retried. The supervisor restarts the agent; pinned maps keep their state. */
	if (api_after(r->server->api, ms, on_timer, r, &r->timer, &err) < 0)
		abort();
}

static void failed(struct reflector *r, const struct err *err, unsigned retry_after_s)
{
	r->counts.failures++;
	reflector_problem(r, err);
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	wait_before_next(r, retry_after_s * 1000);
}

/* --- the end of a call --- */

static void abandon_list(struct reflector *r)
{
	free(take_ptr(r->next));
	r->list_version = 0;
}

/* The first 410 is retried at once: waiting does not bring the version back. */
static void on_gone(struct reflector *r, const struct err *err)
{
	bool again = r->gone && reflector_now() - r->gone < GOOD_S * NS_PER_S;

	r->resumable = false;
	r->gone = reflector_now();
	if (again)
		failed(r, err, 0);
	else
		run_now(r);
}

/* The server rejects the request: true if a simpler form of it is left. */
static bool fall_back(struct reflector *r, enum state was, int status)
{
	if (status == 400 && !r->fields && r->kind->fields[1]) {
		r->fields = 1;
		return true;
	}
	if ((status == 406 || status == 415) && !r->server->no_protobuf) {
		r->server->no_protobuf = true;
		return true;
	}
	if (was == WATCH_LISTING && (status == 422 || status == 400)) {
		r->server->no_watch_list = true;
		return true;
	}
	return false;
}

static void on_list_done(struct reflector *r, bool complete)
{
	struct err err = { 0 };

	if (complete && !r->next)
		reflector_list_ends(r, r->list_version);
	if (complete) {
		run_now(r);
		return;
	}
	abandon_list(r);
	err_set(&err, EPIPE, "the response ended before the end of the list");
	failed(r, &err, 0);
}

/* After a response without an error. */
static void on_end(struct reflector *r, enum state was, bool complete)
{
	struct err err = { 0 };

	if (was == LISTING) {
		on_list_done(r, complete);
	} else if (was == WATCH_LISTING) {
		abandon_list(r);
		err_set(&err, EPIPE, "the watch ended before the end of its initial list");
		failed(r, &err, 0);
	} else if (r->begun && reflector_now() - r->begun >= BRIEF_S * NS_PER_S) {
		run_now(r);
	} else {
		wait_before_next(r, 0);
	}
}

/*
 * The server refuses a list or watch-list at a version that it does not have yet with a 504, after a while. It does not
 * refuse such a watch, which stays silent, without bookmarks, until the server has that version. (A single silent watch
 * may be a proxy's fault.)
 */
static bool is_behind(struct reflector *r, enum state was, const struct api_result *result)
{
	bool silent = was == WATCHING && r->begun && result->err.num == ETIMEDOUT, again = silent && r->silent;

	r->silent |= silent;
	return again || ((was == WATCH_LISTING || was == LISTING) && result->status == 504);
}

static void on_done(void *arg, const struct api_result *result)
{
	struct reflector *r = arg;
	enum state was = r->state;
	bool complete = stream_complete(r->stream);
	const struct err *err = r->broken.num ? &r->broken : &result->err;
	bool whole = result->status / 100 == 2 && !r->broken.num;

	/* After protobuf that cannot be decoded use JSON. */
	r->server->no_protobuf |= r->broken.num == EINVAL && stream_is_protobuf(r->stream);
	r->call = NULL;
	r->state = STOPPED;
	stream_free(take_ptr(r->stream));
	if (whole) {
		on_end(r, was, complete);
		return;
	}
	abandon_list(r);
	/* 410: a continue token has expired, or the cache does not go back so far. */
	if (is_behind(r, was, result) || (was == LISTING && result->status == 410))
		reflector_require_etcd(r);
	if (r->ended_here || fall_back(r, was, result->status))
		run_now(r);
	else if (result->status == 410 || (was == WATCHING && !r->resumable))
		on_gone(r, err);
	else
		failed(r, err, result->retry_after_s);
}

/* --- requests --- */

/* Adds a field selector, with this node's name for '@'. */
static void add_fields(struct query *q, const char *form, const char *node)
{
	_cleanup_free_ char *fields = malloc(strlen(form) + 2 * strlen(node) + 1);
	char *to = fields;

	if (!fields) {
		query_fail(q);
		return;
	}
	for (; *form; form++) {
		if (*form == '@')
			to = stpcpy(to, node);
		else
			*to++ = *form;
	}
	*to = '\0';
	query_text(q, "fieldSelector", fields);
}

/*
 * Lists from the API server's watch cache, in one response: any version at first, later none older than objects already
 * put. Lists from etcd, in chunks, only if needed: with N agents that start at once etcd would read everything N times.
 * (The limit at version 0 is for servers without a watch cache; the cache ignores it. At another version a limit would
 * make the server read etcd.)
 */
static void add_list(struct query *q, const struct reflector *r)
{
	if (r->next || r->need_etcd || !r->version)
		query_number(q, "limit", CHUNK);
	query_text(q, "continue", r->next);
	if (r->next || r->need_etcd)
		return;
	query_number(q, "resourceVersion", r->version);
	if (r->version)
		query_text(q, "resourceVersionMatch", "NotOlderThan");
}

static char *path_of(const struct reflector *r, enum state state)
{
	struct query q;

	query_open(&q, r->kind->path);
	query_text(&q, "labelSelector", r->kind->labels);
	if (r->kind->fields[r->fields])
		add_fields(&q, r->kind->fields[r->fields], r->server->node);
	if (state == LISTING) {
		add_list(&q, r);
		return query_take(&q);
	}
	query_text(&q, "watch", "true");
	query_text(&q, "allowWatchBookmarks", "true");
	query_number(&q, "timeoutSeconds", r->watch_s);
	if (state == WATCH_LISTING) {
		query_text(&q, "sendInitialEvents", "true");
		query_text(&q, "resourceVersionMatch", "NotOlderThan");
	}
	if (r->version)
		query_number(&q, "resourceVersion", r->version);
	return query_take(&q);
}

static int send_request(struct reflector *r, enum state state, struct err *err)
{
	_cleanup_free_ char *path = path_of(r, state);
	struct stream_sink sink = reflector_sink;
	const struct api_request request = { .method = "GET",
					     .path = path,
					     .accept = r->server->no_protobuf ? STREAM_ACCEPT_JSON : STREAM_ACCEPT,
					     .idle_timeout_s = state == LISTING ? LIST_SILENCE_S : WATCH_SILENCE_S,
					     .data = reflector_data,
					     .done = on_done,
					     .arg = r };
	int ret;

	sink.arg = r;
	free(take_ptr(r->next));
	r->stream = path ? stream_open(state == LISTING ? STREAM_LIST : STREAM_EVENTS, object_kind_name(r->kind->kind), &sink) : NULL;
	if (!r->stream)
		return err_errno(err, ENOMEM, "cannot list or watch %s", r->kind->title);
	r->state = state;
	r->begun = 0;
	r->ended_here = false;
	r->broken = (struct err){ 0 };
	ret = api_start(r->server->api, &request, &r->call, err);
	if (ret < 0)
		stream_free(take_ptr(r->stream));
	else if (state == WATCHING)
		r->counts.watches++;
	return ret;
}

static void run_now(struct reflector *r)
{
	enum state state = r->resumable ? WATCHING : WATCH_LISTING;
	struct err err = { 0 };

	if (r->next || (!r->resumable && (r->server->no_watch_list || r->need_etcd)))
		state = LISTING;
	if (state == WATCH_LISTING) {
		r->whole = true;
		mirror_list_begins(&r->mirror);
	}
	if (send_request(r, state, &err) == 0)
		return;
	abandon_list(r);
	failed(r, &err, 0);
}

/* --- public functions --- */

int reflector_open(struct reflector **out, const struct reflector_kind *kind, struct reflector_server *server, struct err *err)
{
	struct reflector *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_errno(err, ENOMEM, "cannot create a watch of %s", kind->title);
	r->kind = kind;
	r->server = server;
	r->relist_s = RELIST_MIN_S;
	r->watch_s = WATCH_MIN_S + random_below(WATCH_SPREAD_S);
	r->mirror = (struct mirror){ .kind = kind->kind, .filter = kind->filter, .node = server->node, .events = server->events };
	ret = mirror_init(&r->mirror, err);
	if (ret < 0) {
		free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void reflector_pair(struct reflector *a, struct reflector *b)
{
	a->peer = b;
	b->peer = a;
	a->mirror.peer = &b->mirror;
	b->mirror.peer = &a->mirror;
}

void reflector_start(struct reflector *r)
{
	if (r->state == STOPPED)
		run_now(r);
}

static void end(struct reflector *r)
{
	api_cancel(take_ptr(r->call));
	api_timer_cancel(take_ptr(r->timer));
	stream_free(take_ptr(r->stream));
	abandon_list(r);
	r->state = STOPPED;
}

void reflector_stop(struct reflector *r)
{
	end(r);
	r->resumable = r->synced = false;
	reflector_works(r);
	reflector_problem_unreadable(r, NULL);
	mirror_clear(&r->mirror);
}

bool reflector_synced(const struct reflector *r)
{
	return r->synced;
}

void reflector_watch(const struct reflector *r, struct kube_watch_counts *watch)
{
	*watch = r->counts;
	watch->kind = r->kind->title;
	watch->objects = r->mirror.held;
	watch->synced = r->synced;
	watch->connected = r->begun && (r->state == WATCHING || r->state == WATCH_LISTING);
	watch->problem = r->problem.msg;
}

void reflector_close(struct reflector *r)
{
	if (!r)
		return;
	end(r);
	mirror_free(&r->mirror);
	free(r);
}
