/* SPDX-License-Identifier: BSD-2-Clause */
/* Plans a run: the step of every class, and how identities move between peer classes. */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "siphash.h"

/* --- endpoints --- */

static int update_endpoints(struct apply *a, const struct policy_changes *changes, bool full)
{
	for (size_t i = 0; i < a->endpoint_count && full; i++)
		a->endpoints[i].compiled = false;
	for (size_t i = 0; i < changes->endpoint_count; i++) {
		const struct policy_endpoint *from = &changes->endpoints[i];
		struct apply_endpoint *ep = endpoint_add(a, from->ifindex);

		if (!ep)
			return -ENOMEM;
		ep->class_key = from->class_key;
		ep->desired_identity = from->identity;
		ep->compiled = true;
	}
	if (!full)
		return 0;
	/* An endpoint without a record: its class is deleted, so it must leave it. */
	a->stale_endpoints = 0;
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];

		if (ep->compiled || !is_policy_class(ep->policy_class))
			continue;
		ep->compiled = true;
		ep->class_key = WR_CLASS_QUARANTINE;
		ep->desired_identity = WR_ID_UNKNOWN;
		a->stale_endpoints++;
	}
	return 0;
}

/* --- classes --- */

static bool same_as(const struct map_class *class, const struct policy_class *compiled)
{
	struct content content;
	bool same;

	if (content_copy(&content, compiled) < 0)
		return false;
	same = content_same(&class->content, &content);
	content_free(&content);
	return same;
}

/*
 * Matches loaded classes to compiled ones by their endpoints: the class of an endpoint is its compiled class, if the
 * content is the same; otherwise it is an earlier version of it.
 */
static void adopt(struct apply *a, const struct policy_changes *changes, bool same)
{
	for (size_t i = 0; i < changes->class_count; i++) {
		const struct policy_class *compiled = &changes->classes[i];

		for (size_t j = 0; j < a->endpoint_count && !class_by_key(a, compiled->key); j++) {
			const struct apply_endpoint *ep = &a->endpoints[j];
			struct map_class *class = class_by_number(a, ep->policy_class);

			if (!ep->compiled || ep->class_key != compiled->key || !class || class->key)
				continue;
			if (same && !same_as(class, compiled))
				continue;
			class_set_key(a, class, compiled->key);
		}
	}
}

static void mark_left(struct apply *a)
{
	struct map_class *class;

	list_each(class, &a->classes, in_classes) {
		class->step = STEP_KEEP;
		class->left = class->changed = false;
	}
	for (size_t i = 0; i < a->endpoint_count; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];

		class = class_by_number(a, ep->policy_class);
		if (class && ep->compiled && ep->class_key != class->key)
			class->left = true;
	}
}

/*
 * Whether `content` may become `next` under the same number. Not if an endpoint leaves the class: it would be evaluated
 * by the new content until it has left. Not if prefixes change together with identities: between the two steps a flow
 * would be evaluated by the new prefixes and the old identities.
 */
static bool may_edit(const struct map_class *class, const struct content *next, bool moving)
{
	if (class->left)
		return false;
	if (moving && !content_same_cidrs(&class->content, next))
		return false;
	return class->denied || content_same_isolation(&class->content, next);
}

static int plan_class(struct apply *a, const struct policy_class *compiled, bool moving)
{
	struct map_class *class = class_by_key(a, compiled->key);
	struct content next;

	if (compiled->gone) {
		if (class)
			class_set_key(a, class, 0);
		return 0;
	}
	if (class && compiled->refused && isolates_all_of(&class->content.info, &compiled->info) &&
	    (!class->denied || isolates_all_of(&compiled->info, &class->content.info))) {
		content_free(&class->next);
		class->behind = !class->denied;
		class->refused = true;
		return 0;
	}
	if (content_copy(&next, compiled) < 0)
		return -ENOMEM;
	if (class && !class->denied && content_same(&class->content, &next)) {
		content_free(&class->next);
		content_free(&next);
		class->behind = class->refused = false;
		return 0;
	}
	if (class && !compiled->refused && may_edit(class, &next, moving)) {
		class->step = STEP_EDIT;
	} else {
		if (class)
			class_set_key(a, class, 0);
		class = class_alloc(a, compiled->key);
		if (class)
			class->step = STEP_NEW;
	}
	if (!class) {
		content_free(&next);
		return -ENOMEM;
	}
	content_free(&class->next);
	class->next = next;
	class->refused = compiled->refused;
	return 0;
}

/* Whether to try again a class that did not fit. */
static bool may_retry(const struct apply *a, const struct map_class *class, bool moving)
{
	return (class->denied || class->behind) && !class->refused && class->step == STEP_KEEP && a->freed &&
	       may_edit(class, &class->next, moving);
}

/* Whether an endpoint stays in it because its new class does not fit, and is not tried again in this run. */
static bool stays_held(const struct apply *a, const struct map_class *class)
{
	bool stays = false;

	for (size_t i = 0; i < a->endpoint_count && !stays; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];
		const struct map_class *next = endpoint_class(a, ep);

		stays = ep->compiled && ep->policy_class == class->number && next && next->step == STEP_KEEP &&
			endpoint_target(a, ep) == class->number;
	}
	return stays;
}

static int plan_classes(struct apply *a, const struct policy_changes *changes, bool full, bool moving)
{
	struct map_class *class;
	int ret = 0;

	if (full) {
		adopt(a, changes, true);
		adopt(a, changes, false);
	}
	mark_left(a);
	for (size_t i = 0; i < changes->class_count && ret == 0; i++)
		ret = plan_class(a, &changes->classes[i], moving);
	list_each(class, &a->classes, in_classes) {
		if (class->key && may_retry(a, class, moving))
			class->step = STEP_EDIT;
	}
	list_each(class, &a->classes, in_classes) {
		if (!class->key && !stays_held(a, class))
			class->step = STEP_GONE;
	}
	return ret;
}

/* --- identities --- */

#define SEVERAL UINT64_MAX

static uint64_t peer_of(const struct apply *a, uint64_t identity)
{
	uint64_t peer = WR_PEER_NONE;

	u64map_get(&a->identities, identity, &peer);
	return peer;
}

/* The identity which this one replaces at endpoints; 0: none, or several. */
static uint64_t replaced_identity(const struct hashmap *replaced, uint64_t identity)
{
	uint64_t was;

	return u64map_get(replaced, identity, &was) && was != SEVERAL ? was : 0;
}

static int find_replaced(const struct apply *a, struct hashmap *replaced)
{
	int ret = 0;

	for (size_t i = 0; i < a->endpoint_count && ret == 0; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];
		uint64_t known;

		if (!ep->compiled || ep->identity == ep->desired_identity || !ep->identity || !ep->desired_identity)
			continue;
		if (!u64map_get(replaced, ep->desired_identity, &known))
			known = ep->identity;
		ret = u64map_set(replaced, ep->desired_identity, known == ep->identity ? known : SEVERAL);
	}
	return ret;
}

static void add_move(struct apply *a, struct plan *plan, const struct hashmap *replaced, uint64_t identity, uint64_t to)
{
	uint64_t from = peer_of(a, identity), as_from = from;

	u64map_remove(&a->not_programmed, identity);
	if (from == WR_PEER_NONE && replaced_identity(replaced, identity))
		as_from = peer_of(a, replaced_identity(replaced, identity));
	if (from == to && as_from == from)
		return;
	plan->moves[plan->move_count++] = (struct move){ identity, from, to, as_from };
	if (as_from != to && as_from != WR_PEER_NONE)
		plan->moving = true;
}

/* Moves of identities that are not in the compiler's changes. */
static void add_unnamed(struct apply *a, struct plan *plan, const struct hashmap *replaced, const struct hashmap *named,
			bool full)
{
	/* A new identity that no selector matches is in no map; the identity which it replaces may be. */
	u64map_for_each(replaced, pair) {
		if (peer_of(a, pair->key) == WR_PEER_NONE && !u64map_get(named, pair->key, NULL))
			add_move(a, plan, replaced, pair->key, WR_PEER_NONE);
	}
	/* Identities that did not fit before. */
	u64map_for_each(&a->not_programmed, pair) {
		if (!a->freed)
			continue;
		plan->moves[plan->move_count++] = (struct move){ pair->key, WR_PEER_NONE, pair->value, WR_PEER_NONE };
		plan->evaluate_all = true;
	}
	u64map_for_each(&a->identities, pair) {
		if (full && !u64map_get(named, pair->key, NULL))
			add_move(a, plan, replaced, pair->key, WR_PEER_NONE);
	}
}

static int plan_identities(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan)
{
	struct hashmap named = { 0 }, replaced = { 0 };
	int ret = find_replaced(a, &replaced);
	size_t max = changes->identity_count + replaced.count + (full ? a->identities.count : 0) +
		     (a->freed ? a->not_programmed.count : 0);

	plan->moves = calloc(max + 1, sizeof(*plan->moves));
	if (!plan->moves)
		ret = -ENOMEM;
	for (size_t i = 0; i < changes->identity_count && ret == 0; i++) {
		const struct policy_identity *id = &changes->identities[i];

		add_move(a, plan, &replaced, id->identity, id->peer);
		ret = u64map_set(&named, id->identity, 1);
	}
	if (ret == 0)
		add_unnamed(a, plan, &replaced, &named, full);
	hashmap_free(&named);
	hashmap_free(&replaced);
	return ret;
}

int transition_cmp(const void *a, const void *b)
{
	return memcmp(a, b, 2 * sizeof(uint64_t));
}

/*
 * The number of a transitional peer class. It differs between runs, since an agent that was killed leaves entries with
 * its numbers.
 */
static uint64_t transition_peer(const struct transition *b, uint64_t run)
{
	static const uint8_t no_key[POLICY_KEY_SIZE]; /* both numbers are keyed hashes already */
	uint64_t text[] = { b->from, b->to, run };
	uint64_t peer = siphash24(no_key, text, sizeof(text)) & ~WR_PEER_CIDR;

	return peer < WR_PEER_FIRST ? peer + WR_PEER_FIRST : peer;
}

static int make_transitions(struct plan *plan, uint64_t run)
{
	plan->transitions = calloc(plan->move_count, sizeof(*plan->transitions));
	if (!plan->transitions)
		return -ENOMEM;
	for (size_t i = 0; i < plan->move_count; i++) {
		const struct move *move = &plan->moves[i];

		if (move->as_from != WR_PEER_NONE && move->as_from != move->to)
			plan->transitions[plan->transition_count++] = (struct transition){ move->as_from, move->to, 0 };
	}
	plan->transition_count = array_sort_unique(plan->transitions, plan->transition_count,
						   sizeof(*plan->transitions), transition_cmp, NULL);
	for (size_t i = 0; i < plan->transition_count; i++)
		plan->transitions[i].peer = transition_peer(&plan->transitions[i], run);
	return 0;
}

int transition_entries(const struct plan *plan, const struct entries *content, bool to, struct entries *out)
{
	int ret = 0;

	for (size_t i = 0; i < plan->transition_count && !plan->no_entries && ret == 0; i++) {
		const struct transition *b = &plan->transitions[i];

		if (!to || b->to != WR_PEER_NONE)
			ret = entries_for_peer(content, to ? b->to : b->from, b->peer, out);
	}
	entries_sort(out);
	return ret;
}

static int class_transitions(struct map_class *class, const struct plan *plan)
{
	const struct entries *had = class->step == STEP_NEW ? NULL : &class->content.entries;
	const struct entries *gets = class->step == STEP_EDIT || class->step == STEP_NEW ? &class->next.entries
				     : class->step == STEP_KEEP				 ? &class->content.entries
											 : NULL;
	int ret = had ? transition_entries(plan, had, false, &class->transition_old) : 0;

	if (ret == 0 && gets)
		ret = transition_entries(plan, gets, true, &class->transition_new);
	return ret;
}

/*
 * An unchanged class that one endpoint leaves and others stay in, and whose entries differ for an endpoint's old and
 * new identity: endpoints that leave need the transitional entries for longer than those that stay may have them. So
 * those that stay move to a duplicate of the class.
 */
static int class_split(struct apply *a, struct map_class *class)
{
	uint64_t key = class->key;
	struct map_class *duplicate;

	class_set_key(a, class, 0);
	duplicate = class_alloc(a, key);
	if (!duplicate)
		return -ENOMEM;
	class->step = STEP_GONE;
	duplicate->step = STEP_NEW;
	duplicate->next.info = class->content.info;
	return content_append(&duplicate->next, &class->content);
}

static int split_left(struct apply *a, const struct plan *plan)
{
	struct map_class *class;

	list_each(class, &a->classes, in_classes) {
		int ret;

		if (!class->left || class->step != STEP_KEEP) /* as class_split()'s, which are appended */
			continue;
		ret = class_transitions(class, plan);
		if (ret == 0 && !entries_same(&class->transition_old, &class->transition_new))
			ret = class_split(a, class);
		entries_free(&class->transition_old);
		entries_free(&class->transition_new);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* --- the plan --- */

/* Whether an endpoint leaves its policy class. */
static bool leaving(const struct apply *a)
{
	bool leaves = false;

	for (size_t i = 0; i < a->endpoint_count && !leaves; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];

		const struct map_class *class = endpoint_class(a, ep);

		leaves =
		    ep->compiled && is_policy_class(ep->policy_class) && (!class || class->number != ep->policy_class);
	}
	return leaves;
}

int plan_make(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan)
{
	int ret = update_endpoints(a, changes, full);
	struct map_class *class;

	if (ret == 0)
		ret = plan_identities(a, changes, full, plan);
	if (ret == 0)
		ret = plan_classes(a, changes, full, plan->moving);
	/* After a start the compiler cannot report peers_moved, since it has no earlier result; the maps have one. */
	plan->evaluate_all |= full ? plan->moving || a->interrupted : changes->peers_moved;
	list_each(class, &a->classes, in_classes)
		class->changed = class->behind && plan->move_count; /* as in class_keep() */
	if (ret < 0 || !plan->moving || !leaving(a))
		return ret;
	ret = make_transitions(plan, (uint64_t)a->state.revision + 1);
	if (ret == 0)
		ret = split_left(a, plan);
	list_each(class, &a->classes, in_classes)
		ret = ret < 0 ? ret : class_transitions(class, plan);
	return ret;
}

void plan_free(struct plan *plan)
{
	free(plan->moves);
	free(plan->transitions);
}
