/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files apply_*.c share. */
#ifndef WARREN_AGENT_APPLY_INTERNAL_H
#define WARREN_AGENT_APPLY_INTERNAL_H

#include <errno.h>

#include "apply.h"
#include "apply_content.h"
#include "u64map.h"

enum class_step {
	STEP_KEEP, /* stays as it is */
	STEP_EDIT, /* in place: `content` becomes `next` */
	STEP_NEW,  /* `next` is to be written; nobody is in it yet */
	STEP_GONE, /* no endpoint stays in it: deleted at the end */
};

/* A class in the maps. */
struct map_class {
	uint32_t number;
	uint64_t key; /* of the compiler's class that it is; 0: of none (any more) */
	bool denied;  /* does not fit: holds nothing but WR_CLASS_NO_ROOM, and `next` is what it should be */
	bool behind;  /* a change of it does not fit: `content` stays, and `next` is what it should be */
	bool refused; /* denied or behind because the compiler says so: there is no `next` */
	enum class_step step;
	struct content content;		       /* what the maps hold */
	struct content next;		       /* STEP_EDIT, STEP_NEW, denied: what is to come */
	struct entries bridge_old, bridge_new; /* for transitional peers: what it had, what it will have */
	bool left;			       /* an endpoint that is in it is to be in another one */
	bool changed; /* its content has changed in this run: flows of its endpoints are to be judged again */
};

/* Identities that change from one peer class to another (WR_PEER_NONE: none). */
struct move {
	uint64_t identity, from, to;
	/* whose entries it needs in classes that are left: `from`, or that of who becomes this identity */
	uint64_t as_from;
};

struct bridge {
	uint64_t from, to, peer; /* peer: the transitional one */
};

/* What one run is about, besides the classes' steps. */
struct plan {
	struct move *moves;
	size_t move_count;
	struct bridge *bridges;
	size_t bridge_count;
	bool moving;	/* an identity that was known, or an endpoint's old and new one, have different peer classes */
	bool judge_all; /* flows of every policy class are to be judged again */
};

struct apply {
	const struct apply_ops *ops;
	void *arg;
	struct wr_policy_state state;
	struct map_class **classes; /* in no order */
	size_t class_count, class_room;
	struct u64map by_key; /* key -> class_ref */
	struct u64map by_number;
	struct u64map identities;	  /* identity -> peer class, as in the maps */
	struct u64map left_out;	  /* identities for which there was no room */
	struct u64map rules;		  /* rule -> hash of its text */
	struct u64map unnamed;		  /* rules for whose names there was no room */
	struct apply_endpoint *endpoints; /* by ifindex */
	size_t endpoint_count, endpoint_room;
	size_t strays;
	bool interrupted; /* somebody died while writing: what endpoints were judged by may be gone */
	bool freed;	  /* room has come free since something did not fit */
	bool lacks_room;  /* something did not fit */
	void (*on_identities)(void *arg, const struct policy_changes *changes, bool full); /* may be NULL */
	void *on_identities_arg;
};

/* A class as the value of a map of numbers. */
union class_ref {
	uint64_t number;
	struct map_class *class;
};

static inline struct map_class *class_by(const struct u64map *index, uint64_t number)
{
	union class_ref ref = { .class = NULL };

	return u64map_get(index, number, &ref.number) ? ref.class : NULL;
}

static inline bool is_policy_class(uint64_t number)
{
	return number >= WR_CLASS_FIRST;
}

/* Whether all that `class` is to isolate `old` isolates too. */
static inline bool isolates_as(const struct wr_class_info *old, const struct wr_class_info *class)
{
	bool as = true;

	for (int d = 0; d < WR_DIRECTIONS; d++)
		as = as && !(class->flags[d] & ~old->flags[d] & WR_CLASS_ISOLATED);
	return as;
}

static inline bool no_room(int ret)
{
	return ret == -ENOSPC || ret == -ENOMEM || ret == -E2BIG;
}

/* --- apply_state.c --- */

struct map_class *class_add(struct apply *a, uint32_t number); /* NULL without memory */
/* One with a number that no other has, drawn from `state`, and this key; NULL without memory. */
struct map_class *class_draw(struct apply *a, uint64_t key);
void class_remove(struct apply *a, struct map_class *class);
/* An endpoint stays in it because there is no room for another one. */
bool class_is_held(const struct apply *a, const struct map_class *class);
int class_set_key(struct apply *a, struct map_class *class, uint64_t key);
struct apply_endpoint *endpoint_find(const struct apply *a, uint32_t ifindex);
struct apply_endpoint *endpoint_add(struct apply *a, uint32_t ifindex); /* found or made; NULL without memory */
/* The class that the endpoint is to be in, whether it fits or not; NULL: none is known. */
struct map_class *endpoint_class(const struct apply *a, const struct apply_endpoint *ep);
/* The number of the class that the endpoint gets: of that, or of the one it has if that does not fit. */
uint32_t endpoint_target(const struct apply *a, const struct apply_endpoint *ep);
uint64_t text_hash(const char *text);
void apply_forget(struct apply *a); /* all but state */

/* --- apply_plan.c: decides what becomes of every class, number by number; draws what it needs from `state` --- */

int plan_make(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan); /* or -ENOMEM */
void plan_free(struct plan *plan);
int bridge_cmp(const void *a, const void *b); /* by from and to */

/* --- apply_class.c --- */

/*
 * Entries for the transitional peers, before any class is touched. If they do not fit, identities move straight: some
 * flow of an endpoint that leaves its class may be refused meanwhile, and is judged again at once.
 */
int put_bridges(struct apply *a, struct plan *plan, struct err *err);
/* The steps (apply.h) of a class, and one of them for all. */
typedef int class_fn(struct apply *a, struct map_class *class, struct err *err);
class_fn class_extend, class_edit_cidrs, class_shrink, class_clean;
int each_class(struct apply *a, class_fn *fn, struct err *err);

/* --- apply_identity.c --- */

enum phase {
	ENTER,  /* to the transitional peer classes, where there are any */
	LEAVE,  /* those that no selector matches (or nobody has) any more, after endpoints have got their new ones */
	SETTLE, /* from the transitional ones on to their end */
};
int identities_move(struct apply *a, const struct plan *plan, enum phase phase, struct err *err);

#endif
