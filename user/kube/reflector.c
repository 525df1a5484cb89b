/* SPDX-License-Identifier: BSD-2-Clause */
#include "reflector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "mirror.h"
#include "object_stream.h"
#include "request_path.h"
#include "str.h"

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
/* Delay before all objects are listed again after unreadable ones. */
#define RELIST_MIN_S 30
#define RELIST_MAX_S 600
/* A list from etcd that is older than objects already put is accepted after so long. */
#define OLDER_LIST_S 10

#define BOOKMARK_OF_LIST_END "k8s.io/initial-events-end"

enum state { STOPPED, WAITING, LISTING, WATCH_LISTING, WATCHING };

struct reflector {
	const struct reflector_kind *kind;
	struct reflector_server *server;
	struct mirror mirror;
	struct reflector *peer; /* NULL: none */
	enum state state;
	struct api_call *call;
	struct api_timer *timer;
	struct object_stream *stream;
	uint64_t version;      /* newest version put */
	bool resumable;	       /* a watch may start at `version` */
	bool need_etcd;	       /* the server's cache is out of date: list from etcd next */
	bool silent;	       /* the last watch timed out */
	uint64_t older;	       /* version of the last list that was refused as too old; 0: none */
	uint64_t older_since;
	uint64_t list_version; /* of the running list */
	char *next;	       /* its continue token */
	bool whole;	       /* all its objects were readable */
	bool synced;
	unsigned fields; /* index into kind->fields */
	unsigned delay_ms;
	unsigned watch_s; /* constant, so that repeated errors have equal texts */
	uint64_t begun;	 /* start of the response; 0: not yet */
	uint64_t gone;	 /* time of the last 410; 0: never */
	bool ended_here; /* the reflector ended the stream, without an error */
	struct err broken; /* why the stream was aborted; num 0: it was not */
	bool reported;
	struct err problem;
	bool unreadable; /* reported */
	unsigned relist_s;
	uint64_t relist_at; /* 0: not due */
	struct kube_watch_counts counts;
};

static uint64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* --- problems --- */

/* Reports the reflector's problem when it changes; works() reports that it is resolved. */
static void report_problem(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;

	if (r->reported && strcmp(r->problem.msg, err->msg) == 0)
		return;
	r->problem = *err;
	r->reported = true;
	events->report_problem(events->arg, r->kind->title, &r->problem);
}

static void works(struct reflector *r)
{
	const struct object_events *events = r->server->events;

	if (!r->reported)
		return;
	r->reported = false;
	r->problem = (struct err){ 0 };
	events->report_problem(events->arg, r->kind->title, NULL);
}

/* Reports unreadable objects; NULL: resolved. */
static void problem_unreadable(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;
	char what[96];

	if (!err && !r->unreadable)
		return;
	r->unreadable = err != NULL;
	snprintf(what, sizeof(what), "%s, not readable", r->kind->title);
	events->report_problem(events->arg, what, err);
}

/* --- lists --- */

/* The server's cache may be older than objects already put: list again, from etcd. */
static void require_etcd(struct reflector *r)
{
	r->resumable = false;
	r->need_etcd = true;
}

/*
 * A list from etcd names no version, so the server reads the newest state from etcd. If that is older than objects
 * already put, and stays so, etcd was restored from a backup, and the newer versions will not come back.
 */
static bool etcd_was_restored(struct reflector *r, uint64_t version)
{
	bool goes_back = r->older && version < r->older, from_etcd = r->state == LISTING && r->need_etcd;

	require_etcd(r);
	if (!from_etcd)
		return false;
	if (!r->older || goes_back)
		r->older_since = now();
	r->older = version;
	return now() - r->older_since >= OLDER_LIST_S * NS_PER_S;
}

/* The peer may have ignored newer objects as older than those here: it lists everything again. */
static void restart_versions(struct reflector *r)
{
	r->version = 0;
	mirror_forget_versions(&r->mirror);
	if (r->peer)
		r->peer->relist_at = now();
}

static int list_begins(struct reflector *r, uint64_t version)
{
	if (!version)
		return err_set(&r->broken, EINVAL, "a list without a resourceVersion");
	if (version < r->version && etcd_was_restored(r, version))
		restart_versions(r);
	if (version < r->version || (r->list_version && version < r->list_version)) {
		err_set(&r->broken, ESTALE, "the list is of version %llu, older than %llu, which was received before",
			(unsigned long long)version, (unsigned long long)r->version);
		return err_hint(&r->broken, "a server that lags behind catches up; if etcd was restored from a backup, its list "
					    "is accepted after %d s", OLDER_LIST_S);
	}
	if (!r->list_version) {
		r->list_version = version;
		r->whole = true;
		mirror_list_begins(&r->mirror);
	}
	return 0;
}

/* A complete list. */
static void list_ends(struct reflector *r, uint64_t version)
{
	r->counts.lists++;
	r->version = version;
	r->resumable = true;
	r->need_etcd = r->silent = false;
	r->older = 0;
	r->list_version = 0;
	if (r->whole) {
		mirror_remove_unseen(&r->mirror);
		problem_unreadable(r, NULL);
		r->relist_s = RELIST_MIN_S;
		r->relist_at = 0;
	} else {
		r->relist_at = now() + r->relist_s * NS_PER_S;
		r->relist_s = r->relist_s * 2 < RELIST_MAX_S ? r->relist_s * 2 : RELIST_MAX_S;
	}
	works(r);
	if (r->synced)
		return;
	r->synced = true;
	r->server->synced(r->server->arg);
}

static int on_head(void *arg, const json_t *list)
{
	struct reflector *r = arg;
	const char *next = json_text_at(json_object_get(list, "metadata"), "continue");
	int ret = list_begins(r, resource_version(list));

	if (ret == 0 && next && *next) {
		r->next = strdup(next);
		if (!r->next)
			return err_errno(&r->broken, ENOMEM, "cannot continue the list");
	}
	return ret;
}

static int on_unreadable(void *arg, const struct err *err)
{
	struct reflector *r = arg;

	r->counts.failures++;
	r->whole = false;
	r->server->no_protobuf |= stream_is_protobuf(r->stream);
	if (r->state == WATCHING && !r->relist_at)
		r->relist_at = now() + r->relist_s * NS_PER_S;
	problem_unreadable(r, err);
	return 0;
}

/* Handles the mirror's return. */
static int check_mirror(struct reflector *r, int ret)
{
	struct err err = { 0 };

	if (ret == 0)
		return 0;
	if (ret == -ENOMEM)
		return err_errno(&r->broken, ENOMEM, "cannot store an object");
	err_set(&err, EINVAL, "an object without a valid name");
	return on_unreadable(r, &err);
}

/* --- events --- */

/* A Status object, which ends the watch. */
static int on_error_event(struct reflector *r, const json_t *status)
{
	const char *message = json_text_at(status, "message"), *reason = json_text_at(status, "reason");
	json_int_t code = json_integer_value(json_object_get(status, "code"));

	if (code == 410 || (reason && (strcmp(reason, "Expired") == 0 || strcmp(reason, "Gone") == 0)))
		r->resumable = false;
	err_set(&r->broken, ECONNRESET, "the server ended the watch: %.200s (%lld)", message ? message : "no reason given",
		(long long)code);
	str_printable(r->broken.msg);
	return -ECONNRESET;
}

static int on_bookmark(struct reflector *r, const json_t *object, uint64_t version)
{
	const json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");

	if (r->state != WATCH_LISTING || !json_object_get(annotations, BOOKMARK_OF_LIST_END))
		return 0;
	if (version < r->version)
		return list_begins(r, version);
	list_ends(r, version);
	r->state = WATCHING;
	r->counts.watches++;
	return 0;
}

static int on_event(struct reflector *r, const char *type, const json_t *object, uint64_t version)
{
	struct err err = { 0 };

	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		return check_mirror(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "DELETED") == 0)
		return check_mirror(r, mirror_delete(&r->mirror, object));
	if (strcmp(type, "BOOKMARK") == 0)
		return on_bookmark(r, object, version);
	err_set(&err, EINVAL, "an event of the unknown type \"%.32s\"", type);
	str_printable(err.msg);
	return on_unreadable(r, &err);
}

/* All events of a watch, bookmarks too, are newer than its start. */
static int check_order(struct reflector *r, uint64_t version)
{
	r->silent = false;
	if (r->state != WATCHING || version >= r->version)
		return 0;
	require_etcd(r);
	return err_set(&r->broken, ESTALE, "the watch is at version %llu, older than %llu, which was received before",
		       (unsigned long long)version, (unsigned long long)r->version);
}

/* Whether to list everything again because of unreadable objects. */
static bool is_relist_due(const struct reflector *r)
{
	return r->state == WATCHING && r->relist_at && now() >= r->relist_at;
}

static int on_object(void *arg, const char *type, const json_t *object)
{
	struct reflector *r = arg;
	uint64_t version;
	int ret;

	if (!type)
		return check_mirror(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "ERROR") == 0)
		return on_error_event(r, object);
	r->counts.events++;
	version = resource_version(object);
	if (!version)
		return err_set(&r->broken, EINVAL, "an event whose object has no resourceVersion");
	ret = check_order(r, version);
	ret = ret < 0 ? ret : on_event(r, type, object, version);
	if (ret < 0 || r->state != WATCHING)
		return ret;
	works(r);
	if (version > r->version)
		r->version = version;
	if (!is_relist_due(r))
		return 0;
	r->resumable = false;
	r->ended_here = true;
	return -ECANCELED;
}

static int on_data(void *arg, const void *data, size_t size)
{
	struct reflector *r = arg;

	r->counts.bytes += size;
	if (!r->begun)
		r->begun = now();
	if (!size && r->state == WATCHING) /* the response begins */
		works(r);
	return stream_feed(r->stream, data, size, &r->broken);
}

/* --- waiting --- */

static unsigned random_below(unsigned limit)
{
	unsigned number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (unsigned)now();
	return number % limit;
}

static void run_now(struct reflector *r);

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

	if (r->begun && now() - r->begun >= GOOD_S * NS_PER_S)
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
	report_problem(r, err);
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	wait_before_next(r, retry_after_s * 1000);
}

/* The server has no objects of this kind. After an upgrade it may. */
static void kind_is_absent(struct reflector *r)
{
	works(r);
	wait_before_next(r, RETRY_AFTER_MAX_S * 1000);
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
	bool again = r->gone && now() - r->gone < GOOD_S * NS_PER_S;

	r->resumable = false;
	r->gone = now();
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
		list_ends(r, r->list_version);
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
	} else if (r->begun && now() - r->begun >= BRIEF_S * NS_PER_S) {
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
		require_etcd(r);
	if (r->ended_here || fall_back(r, was, result->status))
		run_now(r);
	else if (result->status == 404 && r->kind->optional)
		kind_is_absent(r);
	else if (result->status == 410 || (was == WATCHING && !r->resumable))
		on_gone(r, err);
	else
		failed(r, err, result->retry_after_s);
}

/* --- requests --- */

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
	query_form(&q, "fieldSelector", r->kind->fields[r->fields], r->server->node);
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
	const struct stream_sink sink = { on_head, on_object, on_unreadable, r };
	const struct api_request request = { .method = "GET",
					     .path = path,
					     .accept = r->server->no_protobuf ? STREAM_ACCEPT_JSON : STREAM_ACCEPT,
					     .idle_timeout_s = state == LISTING ? LIST_SILENCE_S : WATCH_SILENCE_S,
					     .data = on_data,
					     .done = on_done,
					     .arg = r };
	int ret;

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
	works(r);
	problem_unreadable(r, NULL);
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
