/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the two files of a reflector: requests (reflector.c) and their events (reflector_events.c). */
#ifndef WARREN_KUBE_REFLECTOR_INTERNAL_H
#define WARREN_KUBE_REFLECTOR_INTERNAL_H

#include "clock.h"
#include "mirror.h"
#include "object_stream.h"
#include "reflector.h"

/* Delay before all objects are listed again after unreadable ones. */
#define RELIST_MIN_S 30
#define RELIST_MAX_S 600
/* A list from etcd that is older than objects already put is accepted after so long. */
#define OLDER_LIST_S 10

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

static inline uint64_t reflector_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Reports the reflector's problem when it changes; reflector_works() reports that it is resolved. */
void reflector_problem(struct reflector *r, const struct err *err);
void reflector_works(struct reflector *r);
/* Reports unreadable objects; NULL: resolved. */
void reflector_problem_unreadable(struct reflector *r, const struct err *err);

/* The server's cache may be older than objects already put: list again, from etcd. */
void reflector_require_etcd(struct reflector *r);

/* The stream's callbacks; set `arg` to the reflector. */
extern const struct stream_sink reflector_sink;
int reflector_data(void *arg, const void *data, size_t size); /* api_request.data */

void reflector_list_ends(struct reflector *r, uint64_t version); /* a complete list */

#endif
