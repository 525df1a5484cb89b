/* SPDX-License-Identifier: BSD-2-Clause */
#include "reflector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "mirror.h"
#include "query.h"
#include "object_stream.h"

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
/* After objects that could not be read, all are listed again. */
#define RELIST_MIN_S 30
#define RELIST_MAX_S 600

#define BOOKMARK_OF_LIST_END "k8s.io/initial-events-end"

enum state { STOPPED, WAITING, LISTING, WATCH_LISTING, WATCHING };

struct reflector {
	const struct reflector_kind *kind;
	struct reflector_server *server;
	struct mirror mirror;
	enum state state;
	struct api_call *call;
	struct api_timer *timer;
	struct object_stream *stream;
	uint64_t version;      /* the newest that was told, and never an older one */
	bool resumable;	       /* a watch may begin there */
	uint64_t list_version; /* of the list that is being made */
	char *next;	       /* its continue token */
	bool whole;	       /* nothing in it was unreadable */
	bool synced;
	unsigned fields; /* which of kind->fields */
	unsigned delay_ms;
	unsigned watch_s; /* the same each time: so is what is said of a watch that fails */
	uint64_t begun;	 /* when the answer began; 0: not yet */
	uint64_t gone;	 /* when the server last said 410; 0: never */
	bool ended_here; /* the stream was ended by us, and not because of an error */
	struct err broken; /* why the stream cannot go on; num 0: it can */
	bool complained;
	struct err problem;
	bool unreadable; /* complained about */
	unsigned relist_s;
	uint64_t relist_at; /* 0: need not be */
	struct kubernetes_watch counts;
};

static uint64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static unsigned random_below(unsigned limit)
{
	unsigned number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (unsigned)now();
	return number % limit;
}

static void run_now(struct reflector *r);

/* --- complaints --- */

static void complain(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;

	if (r->complained && strcmp(r->problem.msg, err->msg) == 0)
		return;
	r->problem = *err;
	r->complained = true;
	events->complain(events->arg, r->kind->title, &r->problem);
}

static void works_again(struct reflector *r)
{
	const struct object_events *events = r->server->events;

	if (!r->complained)
		return;
	r->complained = false;
	r->problem = (struct err){ 0 };
	events->complain(events->arg, r->kind->title, NULL);
}

static void complain_unreadable(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;
	char what[96];

	if (!err && !r->unreadable)
		return;
	r->unreadable = err != NULL;
	snprintf(what, sizeof(what), "%s, not readable", r->kind->title);
	events->complain(events->arg, what, err);
}

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
	/* Without it nothing would ever be tried again: whoever supervises the agent starts it anew, with what it had. */
	if (api_after(r->server->api, ms, on_timer, r, &r->timer, &err) < 0)
		abort();
}

static void failed(struct reflector *r, const struct err *err, unsigned retry_after_s)
{
	r->counts.failures++;
	complain(r, err);
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	wait_before_next(r, retry_after_s * 1000);
}

/* --- what comes in --- */

static int list_begins(struct reflector *r, uint64_t version)
{
	if (!version)
		return err_set(&r->broken, EINVAL, "a list without a resourceVersion");
	if (version < r->version || (r->list_version && version < r->list_version)) {
		err_set(&r->broken, ESTALE, "the list is of version %llu, older than %llu, which was there before",
			(unsigned long long)version, (unsigned long long)r->version);
		return err_hint(&r->broken, "a server that lags behind catches up; if etcd was restored from a backup, restart the agent");
	}
	if (!r->list_version) {
		r->list_version = version;
		r->whole = true;
		mirror_list_begins(&r->mirror);
	}
	return 0;
}

static void list_ends(struct reflector *r, uint64_t version)
{
	r->counts.lists++;
	r->version = version;
	r->resumable = true;
	r->list_version = 0;
	if (r->whole) {
		mirror_sweep(&r->mirror);
		complain_unreadable(r, NULL);
		r->relist_s = RELIST_MIN_S;
		r->relist_at = 0;
	} else {
		r->relist_at = now() + r->relist_s * NS_PER_S;
		r->relist_s = r->relist_s * 2 < RELIST_MAX_S ? r->relist_s * 2 : RELIST_MAX_S;
	}
	works_again(r);
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
			return err_errno(&r->broken, ENOMEM, "cannot go on with the list");
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
	complain_unreadable(r, err);
	return 0;
}

/* What the mirror says of an object. */
static int taken(struct reflector *r, int ret)
{
	struct err err = { 0 };

	if (ret == 0)
		return 0;
	if (ret == -ENOMEM)
		return err_errno(&r->broken, ENOMEM, "an object cannot be taken over");
	err_set(&err, EINVAL, "an object without a name that one can have");
	return on_unreadable(r, &err);
}

/* A Status: the watch ends with it. */
static int on_error_event(struct reflector *r, const json_t *status)
{
	const char *message = json_text_at(status, "message"), *reason = json_text_at(status, "reason");
	json_int_t code = json_integer_value(json_object_get(status, "code"));

	if (code == 410 || (reason && (strcmp(reason, "Expired") == 0 || strcmp(reason, "Gone") == 0)))
		r->resumable = false;
	return err_set(&r->broken, ECONNRESET, "the server ended the watch: %.200s (%lld)", message ? message : "no reason given",
		       (long long)code);
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
		return taken(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "DELETED") == 0)
		return taken(r, mirror_delete(&r->mirror, object));
	if (strcmp(type, "BOOKMARK") == 0)
		return on_bookmark(r, object, version);
	err_set(&err, EINVAL, "an event of the unknown type \"%.32s\"", type);
	return on_unreadable(r, &err);
}

/* Time to list everything again, because of what could not be read. */
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
		return taken(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "ERROR") == 0)
		return on_error_event(r, object);
	r->counts.events++;
	version = resource_version(object);
	if (!version)
		return err_set(&r->broken, EINVAL, "an event about something without a resourceVersion");
	ret = on_event(r, type, object, version);
	if (ret < 0 || r->state != WATCHING)
		return ret;
	works_again(r);
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
	if (!size && r->state == WATCHING) /* the answer begins */
		works_again(r);
	return stream_feed(r->stream, data, size, &r->broken);
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
	bool again = r->gone && now() - r->gone < GOOD_S * NS_PER_S;

	r->resumable = false;
	r->gone = now();
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
		list_ends(r, r->list_version);
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
	} else if (r->begun && now() - r->begun >= BRIEF_S * NS_PER_S) {
		run_now(r);
	} else {
		wait_before_next(r, 0);
	}
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

static char *path_of(const struct reflector *r, enum state state)
{
	struct query q;

	query_open(&q, r->kind->path);
	query_text(&q, "labelSelector", r->kind->labels);
	if (r->kind->fields[r->fields])
		add_fields(&q, r->kind->fields[r->fields], r->server->node);
	if (state == LISTING) {
		query_number(&q, "limit", CHUNK);
		query_text(&q, "continue", r->next);
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
	const struct stream_sink sink = { on_head, on_object, on_unreadable, r };
	const struct api_request request = { .method = "GET",
					     .path = path,
					     .accept = r->server->no_protobuf ? STREAM_ACCEPT_JSON : STREAM_ACCEPT,
					     .silence_s = state == LISTING ? LIST_SILENCE_S : WATCH_SILENCE_S,
					     .data = on_data,
					     .done = on_done,
					     .arg = r };
	int ret;

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

	if (r->next || (!r->resumable && r->server->no_watch_list))
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

	if (!r)
		return err_errno(err, ENOMEM, "cannot follow %s", kind->title);
	r->kind = kind;
	r->server = server;
	r->relist_s = RELIST_MIN_S;
	r->watch_s = WATCH_MIN_S + random_below(WATCH_SPREAD_S);
	r->mirror = (struct mirror){ .kind = kind->kind, .wanted = kind->wanted, .node = server->node, .events = server->events };
	if (mirror_init(&r->mirror, err) < 0) {
		free(r);
		return -EIO;
	}
	*out = r;
	return 0;
}

void reflector_pair(struct reflector *a, struct reflector *b)
{
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
	works_again(r);
	complain_unreadable(r, NULL);
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
