/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two halves of a reflector share: what it asks (reflector.c), and what comes of it (reflector_events.c). */
#ifndef WARREN_K8S_REFLECTOR_INTERNAL_H
#define WARREN_K8S_REFLECTOR_INTERNAL_H

#include "clock.h"
#include "mirror.h"
#include "object_stream.h"
#include "reflector.h"

/* After objects that could not be read, all are listed again. */
#define RELIST_MIN_S 30
#define RELIST_MAX_S 600
/* A list that is older than what was told is believed after so long, if etcd itself says no other. */
#define DOUBT_S 10

enum state { STOPPED, WAITING, LISTING, WATCH_LISTING, WATCHING };

struct reflector {
	const struct reflector_kind *kind;
	struct reflector_server *server;
	struct mirror mirror;
	struct reflector *twin; /* NULL: none */
	enum state state;
	struct api_call *call;
	struct api_timer *timer;
	struct object_stream *stream;
	uint64_t version;      /* the newest that was told, and never an older one */
	bool resumable;	       /* a watch may begin there */
	bool doubtful;	       /* what the server has cached will not do: the next list is to come from etcd */
	bool silent;	       /* the last watch ended so */
	uint64_t older;	       /* the version of the list that was refused last; 0: none was */
	uint64_t older_since;
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

static inline uint64_t reflector_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* The one complaint about a reflector as a whole: told when it is another one, and when it is over. */
void reflector_complain(struct reflector *r, const struct err *err);
void reflector_works(struct reflector *r);
/* That about objects that cannot be read; NULL: there are none any more. */
void reflector_complain_unreadable(struct reflector *r, const struct err *err);

/* What the server has may be older than what was told: it is to be listed, and from etcd. */
void reflector_doubt(struct reflector *r);

/* For a stream, whose `arg` is the reflector. */
extern const struct stream_sink reflector_sink;
int reflector_data(void *arg, const void *data, size_t size); /* of a call */

void reflector_list_ends(struct reflector *r, uint64_t version); /* and all of it was there */

#endif
