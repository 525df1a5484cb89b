/* SPDX-License-Identifier: BSD-2-Clause */
#include "reflector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "query.h"
#include "reflector_internal.h"

#define CHUNK 500
/* A list is computed while it is sent: nothing for so long means that nobody computes it any more. */
#define LIST_SILENCE_S 60
/* Bookmarks come about once a minute. */
#define WATCH_SILENCE_S 130
/* Watches end by themselves after so long, not all at once. */
#define WATCH_MIN_S 300
#define WATCH_SPREAD_S 300
#define DELAY_MIN_MS 800u
#define DELAY_MAX_MS 30000u
#define RETRY_AFTER_MAX_S 300u
/* What has worked for so long begins with the shortest delay again, and need not wait before it is asked again at all. */
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

/* At least so long; the next time longer. */
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
	/* Without it nothing would ever be tried again: whoever supervises the agent starts it anew, with what it had. */
	if (api_after(r->server->api, ms, on_timer, r, &r->timer, &err) < 0)
		abort();
}

static void failed(struct reflector *r, const struct err *err, unsigned retry_after_s)
{
	r->counts.failures++;
	reflector_complain(r, err);
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	wait_before_next(r, retry_after_s * 1000);
}

/* --- how a call ends --- */

static void list_is_lost(struct reflector *r)
{
	free(take_ptr(r->next));
	r->list_version = 0;
}

/* The first time at once: what is gone does not come back by waiting. */
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

/* The server has understood and will not have it: true, if there is another way to ask. */
static bool ask_otherwise(struct reflector *r, enum state was, int status)
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
	list_is_lost(r);
	err_set(&err, EPIPE, "the list ended before its end");
	failed(r, &err, 0);
}

/* After an answer without an error. */
static void on_end(struct reflector *r, enum state was, bool complete)
{
	struct err err = { 0 };

	if (was == LISTING) {
		on_list_done(r, complete);
	} else if (was == WATCH_LISTING) {
		list_is_lost(r);
		err_set(&err, EPIPE, "the watch ended before it had listed what there is");
		failed(r, &err, 0);
	} else if (r->begun && reflector_now() - r->begun >= BRIEF_S * NS_PER_S) {
		run_now(r);
	} else {
		wait_before_next(r, 0);
	}
}

/*
 * A list, or watch-list, at a version that the server does not have is refused when it has waited a while. A watch is not: it is silent,
 * without a bookmark even, until the server has come so far. (One such watch may be the fault of whatever is in between.)
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

	/* Whatever it is that our decoder does not understand, JSON is the other way to say it. */
	r->server->no_protobuf |= r->broken.num == EINVAL && stream_is_protobuf(r->stream);
	r->call = NULL;
	r->state = STOPPED;
	stream_free(take_ptr(r->stream));
	if (whole) {
		on_end(r, was, complete);
		return;
	}
	list_is_lost(r);
	/* 410: a continue token has expired, or the cache does not go back so far. */
	if (is_behind(r, was, result) || (was == LISTING && result->status == 410))
		reflector_doubt(r);
	if (r->ended_here || ask_otherwise(r, was, result->status))
		run_now(r);
	else if (result->status == 410 || (was == WATCHING && !r->resumable))
		on_gone(r, err);
	else
		failed(r, err, result->retry_after_s);
}

/* --- asking --- */

/* A field selector, with our node's name where it has '@'. */
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
 * From the API server's watch cache, whole, if what that has will do: any version at first, later none older than what was
 * told. From etcd, by chunks, only in doubt: N agents that start at once would have it read everything N times. (A limit at version
 * 0 is for servers without the cache, which ignores it; at another version it would lead to etcd.)
 */
static void add_list(struct query *q, const struct reflector *r)
{
	if (r->next || r->doubtful || !r->version)
		query_number(q, "limit", CHUNK);
	query_text(q, "continue", r->next);
	if (r->next || r->doubtful)
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

static int ask(struct reflector *r, enum state state, struct err *err)
{
	_cleanup_free_ char *path = path_of(r, state);
	struct stream_sink sink = reflector_sink;
	const struct api_request request = { .method = "GET",
					     .path = path,
					     .accept = r->server->no_protobuf ? STREAM_ACCEPT_JSON : STREAM_ACCEPT,
					     .silence_s = state == LISTING ? LIST_SILENCE_S : WATCH_SILENCE_S,
					     .data = reflector_data,
					     .done = on_done,
					     .arg = r };
	int ret;

	sink.arg = r;
	free(take_ptr(r->next));
	r->stream = path ? stream_open(state == LISTING ? PIECES_LIST : PIECES_EVENTS, object_kind_name(r->kind->kind), &sink) : NULL;
	if (!r->stream)
		return err_errno(err, ENOMEM, "cannot ask for %s", r->kind->title);
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

	if (r->next || (!r->resumable && (r->server->no_watch_list || r->doubtful)))
		state = LISTING;
	if (state == WATCH_LISTING) {
		r->whole = true;
		mirror_list_begins(&r->mirror);
	}
	if (ask(r, state, &err) == 0)
		return;
	list_is_lost(r);
	failed(r, &err, 0);
}

/* --- from outside --- */

int reflector_open(struct reflector **out, const struct reflector_kind *kind, struct reflector_server *server, struct err *err)
{
	struct reflector *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_errno(err, ENOMEM, "cannot follow %s", kind->title);
	r->kind = kind;
	r->server = server;
	r->relist_s = RELIST_MIN_S;
	r->watch_s = WATCH_MIN_S + random_below(WATCH_SPREAD_S);
	r->mirror = (struct mirror){ .kind = kind->kind, .wanted = kind->wanted, .node = server->node, .events = server->events };
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
	a->twin = b;
	b->twin = a;
	a->mirror.twin = &b->mirror;
	b->mirror.twin = &a->mirror;
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
	list_is_lost(r);
	r->state = STOPPED;
}

void reflector_stop(struct reflector *r)
{
	end(r);
	r->resumable = r->synced = false;
	reflector_works(r);
	reflector_complain_unreadable(r, NULL);
	mirror_clear(&r->mirror);
}

bool reflector_synced(const struct reflector *r)
{
	return r->synced;
}

void reflector_watch(const struct reflector *r, struct kubernetes_watch *watch)
{
	*watch = r->counts;
	watch->kind = r->kind->title;
	watch->objects = r->mirror.known.told;
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
