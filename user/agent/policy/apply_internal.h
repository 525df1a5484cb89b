/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files apply_*.c. */
#ifndef WARREN_AGENT_APPLY_INTERNAL_H
#define WARREN_AGENT_APPLY_INTERNAL_H

#include <errno.h>

#include "apply.h"
#include "hashmap.h"
#include "table.h"

/* --- apply_content.c: the content of a class without its number, and differences of two contents --- */

/* An entry as in the map; policy_class 0 where it belongs to no number. */
struct entry {
	struct wr_policy_key key;
	struct wr_policy_entry value;
};

/* A list of entries. Zeros: an empty one. */
struct entries {
	struct entry *v;
	size_t count, room;
};
int entries_add(struct entries *list, const struct wr_policy_key *key, uint32_t rule); /* -ENOMEM */
/* By key; of equal keys one is kept. */
void entries_sort(struct entries *list);
bool entries_same(const struct entries *a, const struct entries *b);
void entries_free(struct entries *list);

struct cidrs {
	struct policy_cidr *v;
	size_t count, room;
};
int cidrs_add(struct cidrs *list, const struct policy_cidr *cidr);
void cidrs_sort(struct cidrs *list);
void cidrs_free(struct cidrs *list);

struct content {
	struct wr_class_info info;
	struct entries entries; /* sorted by key (memcmp) */
	struct cidrs cidrs;	/* sorted as those of struct policy_class */
};
int content_copy(struct content *to, const struct policy_class *from);
int content_append(struct content *to, const struct content *from); /* entries and prefixes; -ENOMEM */
void content_free(struct content *content);

bool content_same(const struct content *a, const struct content *b);
bool content_same_cidrs(const struct content *a, const struct content *b);
/* Both isolate the same directions. */
bool content_same_isolation(const struct content *a, const struct content *b);

/* What is in `a` and not in `b`; with `values`, also keys in both whose values differ. */
int entries_minus(const struct entries *a, const struct entries *b, bool values, struct entries *out);
int cidrs_minus(const struct cidrs *a, const struct cidrs *b, bool values, struct cidrs *out);

/* The info of a class that holds the entries of both. */
struct wr_class_info info_union(const struct wr_class_info *a, const struct wr_class_info *b);

/* Appends to `out` the entries for peer `from`, as entries for peer `to`. */
int entries_for_peer(const struct entries *list, uint64_t from, uint64_t to, struct entries *out);

/* --- a run --- */

enum class_step {
	STEP_KEEP, /* unchanged */
	STEP_EDIT, /* in place: `content` becomes `next` */
	STEP_NEW,  /* `next` is to be written; no endpoint is in it yet */
	STEP_GONE, /* no endpoint stays in it: deleted at the end */
};

/* A class in the maps. */
struct map_class {
	struct list in_classes;
	struct table_link by_key, by_number;
	uint32_t number;
	uint64_t key; /* of the compiled class; 0: none (any more) */
	bool denied;  /* does not fit: holds only WR_CLASS_NO_ROOM; `next` is the desired content */
	bool behind;  /* a change does not fit: `content` stays; `next` is the desired content */
	bool refused; /* denied or behind because the compiler refused it: there is no `next` */
	enum class_step step;
	struct content content;			       /* in the maps */
	struct content next;			       /* STEP_EDIT, STEP_NEW, denied: desired */
	struct entries transition_old, transition_new; /* for transitional peers: from `content`, from `next` */
	bool left;				       /* an endpoint in it moves to another class */
	bool changed; /* its content has changed in this run: its endpoints' flows must be evaluated again */
};

/* Identities that change from one peer class to another (WR_PEER_NONE: none). */
struct move {
	uint64_t identity, from, to;
	/* peer class for classes that endpoints leave: `from`, or that of the identity which this one replaces */
	uint64_t as_from;
};

struct transition {
	uint64_t from, to, peer; /* peer: the transitional one */
};

/* One run, besides the classes' steps. */
struct plan {
	struct move *moves;
	size_t move_count;
	struct transition *transitions;
	size_t transition_count;
	bool no_entries;   /* the transitional peers' entries did not fit: they match only what every peer matches */
	bool moving;	   /* the peer class of an identity changes, or that of an endpoint with its identity */
	bool evaluate_all; /* the flows of every policy class must be evaluated again */
};

struct apply {
	const struct apply_ops *ops;
	void *arg;
	struct wr_policy_state state;
	struct list classes;
	struct table by_key, by_number; /* of classes; the hash is the key, or the number */
	struct hashmap identities;	  /* identity -> peer class, as in the maps */
	struct hashmap not_programmed;	  /* identities that did not fit */
	struct hashmap rules;		  /* rule -> hash of its text */
	struct hashmap unnamed;		  /* rules whose names did not fit */
	struct apply_endpoint *endpoints; /* by ifindex */
	size_t endpoint_count, endpoint_room;
	size_t stale_endpoints;
	bool interrupted; /* an agent was killed during a run: entries that flows were evaluated by may be deleted */
	bool freed;	  /* elements were freed since something did not fit */
	bool lacks_room;  /* something did not fit */
	struct plan plan; /* of the present run */
	void (*on_identities)(void *arg, const struct policy_changes *changes, bool full); /* may be NULL */
	void *on_identities_arg;
};

static inline bool is_policy_class(uint64_t number)
{
	return number >= WR_CLASS_FIRST;
}

/* Whether `old` isolates every direction that `class` isolates. */
static inline bool isolates_all_of(const struct wr_class_info *old, const struct wr_class_info *class)
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

/* NULL: none. */
struct map_class *class_by_number(const struct apply *a, uint32_t number);
struct map_class *class_by_key(const struct apply *a, uint64_t key);
struct map_class *class_add(struct apply *a, uint32_t number); /* NULL without memory */
/* Adds a class with this key and an unused number, allocated from `state`; NULL without memory. */
struct map_class *class_alloc(struct apply *a, uint64_t key);
void class_remove(struct apply *a, struct map_class *class);
/* Whether an endpoint stays in it because its new class does not fit. */
bool class_is_held(const struct apply *a, const struct map_class *class);
void class_set_key(struct apply *a, struct map_class *class, uint64_t key); /* 0: none */
struct apply_endpoint *endpoint_find(const struct apply *a, uint32_t ifindex);
struct apply_endpoint *endpoint_add(struct apply *a, uint32_t ifindex); /* finds or adds; NULL without memory */
/* The endpoint's desired class, whether it fits or not; NULL: unknown. */
struct map_class *endpoint_class(const struct apply *a, const struct apply_endpoint *ep);
/* The number of the class to write for the endpoint: the desired one, or its current one if that does not fit. */
uint32_t endpoint_target(const struct apply *a, const struct apply_endpoint *ep);
uint64_t text_hash(const char *text);
void apply_forget(struct apply *a); /* all but state */

/* --- apply_plan.c: plans the step of every class; allocates class numbers from `state` --- */

int plan_make(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan); /* or -ENOMEM */
void plan_free(struct plan *plan);
int transition_cmp(const void *a, const void *b); /* by from and to */
/* The entries for the transitional peers that `content` has for their `from`, or `to`; sorted. -ENOMEM */
int transition_entries(const struct plan *plan, const struct entries *content, bool to, struct entries *out);

/* --- apply_class.c --- */

/*
 * Writes the entries for the transitional peers, before any class changes. If they do not fit, the transitional peers
 * have none: flows of identities that move are denied until they have moved, and then evaluated again. (If they moved
 * directly, an endpoint that leaves its class would evaluate their new peer class by its old entries.)
 */
int put_transitions(struct apply *a, struct plan *plan, struct err *err);
/* The steps (apply.h) of a class; each_class() runs one of them for all classes. */
typedef int class_fn(struct apply *a, struct map_class *class, struct err *err);
class_fn class_extend, class_edit_cidrs, class_shrink, class_hold, class_clean;
int each_class(struct apply *a, class_fn *fn, struct err *err);

/* --- apply_identity.c --- */

enum stage {
	ENTER,	/* to the transitional peer classes, or directly to the new ones */
	LEAVE,	/* deletes unused identities and those that no selector matches, after endpoints have their new ones */
	SETTLE, /* from the transitional peer classes to the new ones */
};
int identities_move(struct apply *a, const struct plan *plan, enum stage stage, struct err *err);

#endif
