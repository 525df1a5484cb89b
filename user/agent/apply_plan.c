/* SPDX-License-Identifier: BSD-2-Clause */
/* What is to become of every class, and how identities get from peer class to peer class. */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "siphash.h"

/* --- endpoints --- */

static int take_endpoints(struct apply *a, const struct policy_changes *changes, bool full)
{
	for (size_t i = 0; i < a->endpoint_count && full; i++)
		a->endpoints[i].compiled = false;
	for (size_t i = 0; i < changes->endpoint_count; i++) {
		const struct policy_endpoint *from = &changes->endpoints[i];
		struct apply_endpoint *ep = endpoint_add(a, from->ifindex);

		if (!ep)
			return -ENOMEM;
		ep->class_key = from->class_key;
		ep->wanted_identity = from->identity;
		ep->compiled = true;
	}
	if (!full)
		return 0;
	/* An endpoint that has a class and that nobody answers for: its class is to go, so it must not stay in it. */
	a->strays = 0;
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];

		if (ep->compiled || !is_policy_class(ep->policy_class))
			continue;
		ep->compiled = true;
		ep->class_key = WR_CLASS_QUARANTINE;
		ep->wanted_identity = WR_ID_UNKNOWN;
		a->strays++;
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
 * Classes that were found in the maps are known by their endpoints: one whose class is now this one of the compiler's
 * was in it before, if the content is the same; or else in what it was before somebody changed it.
 */
static int adopt(struct apply *a, const struct policy_changes *changes, bool same)
{
	for (size_t i = 0; i < changes->class_count; i++) {
		const struct policy_class *compiled = &changes->classes[i];

		for (size_t j = 0; j < a->endpoint_count && !class_by(&a->by_key, compiled->key); j++) {
			const struct apply_endpoint *ep = &a->endpoints[j];
			struct map_class *class = class_by(&a->by_number, ep->policy_class);

			if (!ep->compiled || ep->class_key != compiled->key || !class || class->key)
				continue;
			if (same && !same_as(class, compiled))
				continue;
			if (class_set_key(a, class, compiled->key) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static void mark_left(struct apply *a)
{
	for (size_t i = 0; i < a->class_count; i++) {
		struct map_class *class = a->classes[i];

		class->step = STEP_KEEP;
		class->left = class->changed = false;
	}
	for (size_t i = 0; i < a->endpoint_count; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];
		struct map_class *class = class_by(&a->by_number, ep->policy_class);

		if (class && ep->compiled && ep->class_key != class->key)
			class->left = true;
	}
}

/*
 * Whether `content` may become `next` under the number that it has. Not if somebody leaves the class, who would see the
 * new content on the way out; and not if prefixes change together with identities, of which a flow may need the one
 * that has changed or the one that has not.
 */
static bool may_edit(const struct map_class *class, const struct content *next, bool moving)
{
	if (class->left)
		return false;
	if (moving && !content_same_cidrs(&class->content, next))
		return false;
	return class->denied || content_same_isolation(&class->content, next);
}

static int take_class(struct apply *a, const struct policy_class *compiled, bool moving)
{
	struct map_class *class = class_by(&a->by_key, compiled->key);
	struct content next;

	if (compiled->gone)
		return class ? class_set_key(a, class, 0) : 0;
	if (class && compiled->refused && isolates_as(&class->content.info, &compiled->info) &&
	    (!class->denied || isolates_as(&compiled->info, &class->content.info))) {
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
		class = class_draw(a, compiled->key);
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

/* Whether what did not fit is to be tried again. */
static bool try_again(const struct apply *a, const struct map_class *class, bool moving)
{
	return (class->denied || class->behind) && !class->refused && class->step == STEP_KEEP && a->freed &&
	       may_edit(class, &class->next, moving);
}

/* Whether an endpoint stays in it because the one that it is to be in does not fit, and will not in this run. */
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

static int take_classes(struct apply *a, const struct policy_changes *changes, bool full, bool moving)
{
	int ret = 0;

	if (full) {
		ret = adopt(a, changes, true);
		if (ret == 0)
			ret = adopt(a, changes, false);
	}
	mark_left(a);
	for (size_t i = 0; i < changes->class_count && ret == 0; i++)
		ret = take_class(a, &changes->classes[i], moving);
	for (size_t i = 0; i < a->class_count; i++) {
		struct map_class *class = a->classes[i];

		if (class->key && try_again(a, class, moving))
			class->step = STEP_EDIT;
	}
	for (size_t i = 0; i < a->class_count; i++) {
		if (!a->classes[i]->key && !stays_held(a, a->classes[i]))
			a->classes[i]->step = STEP_GONE;
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

/* The identity that endpoints have which are to have this one; 0: none, or there are several. */
static uint64_t former(const struct u64map *formers, uint64_t identity)
{
	uint64_t was;

	return u64map_get(formers, identity, &was) && was != SEVERAL ? was : 0;
}

static int find_formers(const struct apply *a, struct u64map *formers)
{
	int ret = 0;

	for (size_t i = 0; i < a->endpoint_count && ret == 0; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];
		uint64_t known;

		if (!ep->compiled || ep->identity == ep->wanted_identity || !ep->identity || !ep->wanted_identity)
			continue;
		if (!u64map_get(formers, ep->wanted_identity, &known))
			known = ep->identity;
		ret = u64map_set(formers, ep->wanted_identity, known == ep->identity ? known : SEVERAL);
	}
	return ret;
}

static void add_move(struct apply *a, struct plan *plan, const struct u64map *formers, uint64_t identity, uint64_t to)
{
	uint64_t from = peer_of(a, identity), as_from = from;

	u64map_remove(&a->left_out, identity);
	if (from == WR_PEER_NONE && former(formers, identity))
		as_from = peer_of(a, former(formers, identity));
	if (from == to && as_from == from)
		return;
	plan->moves[plan->move_count++] = (struct move){ identity, from, to, as_from };
	if (as_from != to && as_from != WR_PEER_NONE)
		plan->moving = true;
}

/* What the compiler does not name in its changes. */
static void add_unnamed(struct apply *a, struct plan *plan, const struct u64map *formers, const struct u64map *named,
			bool full)
{
	/* New ones that no selector matches are in no map; those whose place they take may be. */
	u64map_for_each(formers, pair) {
		if (peer_of(a, pair->key) == WR_PEER_NONE && !u64map_get(named, pair->key, NULL))
			add_move(a, plan, formers, pair->key, WR_PEER_NONE);
	}
	/* Those that are still waiting. */
	u64map_for_each(&a->left_out, pair) {
		if (!a->freed)
			continue;
		plan->moves[plan->move_count++] =
		    (struct move){ pair->key, WR_PEER_NONE, pair->value, WR_PEER_NONE };
		plan->judge_all = true;
	}
	u64map_for_each(&a->identities, pair) {
		if (full && !u64map_get(named, pair->key, NULL))
			add_move(a, plan, formers, pair->key, WR_PEER_NONE);
	}
}

static int take_identities(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan)
{
	struct u64map named = { 0 }, formers = { 0 };
	int ret = find_formers(a, &formers);
	size_t most = changes->identity_count + formers.count + (full ? a->identities.count : 0) +
		      (a->freed ? a->left_out.count : 0);

	plan->moves = calloc(most + 1, sizeof(*plan->moves));
	if (!plan->moves)
		ret = -ENOMEM;
	for (size_t i = 0; i < changes->identity_count && ret == 0; i++) {
		const struct policy_identity *id = &changes->identities[i];

		add_move(a, plan, &formers, id->identity, id->peer);
		ret = u64map_set(&named, id->identity, 1);
	}
	if (ret == 0)
		add_unnamed(a, plan, &formers, &named, full);
	u64map_free(&named);
	u64map_free(&formers);
	return ret;
}

int bridge_cmp(const void *a, const void *b)
{
	return memcmp(a, b, 2 * sizeof(uint64_t));
}

/*
 * The number of a transitional peer class: another one in each run, as an agent that was killed leaves entries for its
 * own.
 */
static uint64_t bridge_peer(const struct bridge *b, uint64_t run)
{
	static const uint8_t no_key[POLICY_KEY_SIZE]; /* both numbers are keyed hashes already */
	uint64_t text[] = { b->from, b->to, run };
	uint64_t peer = siphash24(no_key, text, sizeof(text)) & ~WR_PEER_CIDR;

	return peer < WR_PEER_FIRST ? peer + WR_PEER_FIRST : peer;
}

static int make_bridges(struct plan *plan, uint64_t run)
{
	plan->bridges = calloc(plan->move_count, sizeof(*plan->bridges));
	if (!plan->bridges)
		return -ENOMEM;
	for (size_t i = 0; i < plan->move_count; i++) {
		const struct move *move = &plan->moves[i];

		if (move->as_from != WR_PEER_NONE && move->as_from != move->to)
			plan->bridges[plan->bridge_count++] = (struct bridge){ move->as_from, move->to, 0 };
	}
	plan->bridge_count =
		array_sort_unique(plan->bridges, plan->bridge_count, sizeof(*plan->bridges), bridge_cmp, NULL);
	for (size_t i = 0; i < plan->bridge_count; i++)
		plan->bridges[i].peer = bridge_peer(&plan->bridges[i], run);
	return 0;
}

static int class_bridges(struct map_class *class, const struct plan *plan)
{
	const struct entries *had = class->step == STEP_NEW ? NULL : &class->content.entries;
	const struct entries *gets = class->step == STEP_EDIT || class->step == STEP_NEW ? &class->next.entries
				     : class->step == STEP_KEEP				 ? &class->content.entries
											 : NULL;
	int ret = 0;

	for (size_t i = 0; i < plan->bridge_count && ret == 0; i++) {
		const struct bridge *b = &plan->bridges[i];

		if (had)
			ret = entries_for_peer(had, b->from, b->peer, &class->bridge_old);
		if (ret == 0 && gets && b->to != WR_PEER_NONE)
			ret = entries_for_peer(gets, b->to, b->peer, &class->bridge_new);
	}
	entries_sort(&class->bridge_old);
	entries_sort(&class->bridge_new);
	return ret;
}

/*
 * A class that stays as it is, which one endpoint leaves and others stay in, while it treats an endpoint's new identity
 * otherwise than the old one: those that leave need the transitional entries for longer than those that stay may have
 * them. So who stays gets another one of the same content.
 */
static int class_split(struct apply *a, struct map_class *class)
{
	uint64_t key = class->key;
	struct map_class *twin;
	int ret = class_set_key(a, class, 0);

	twin = ret == 0 ? class_draw(a, key) : NULL;
	if (!twin)
		return -ENOMEM;
	class->step = STEP_GONE;
	twin->step = STEP_NEW;
	twin->next.info = class->content.info;
	return content_append(&twin->next, &class->content);
}

static int split_left(struct apply *a, const struct plan *plan)
{
	int ret = 0;

	for (size_t i = 0, count = a->class_count; i < count && ret == 0; i++) {
		struct map_class *class = a->classes[i];

		if (!class->left || class->step != STEP_KEEP)
			continue;
		ret = class_bridges(class, plan);
		if (ret == 0 && !entries_same(&class->bridge_old, &class->bridge_new))
			ret = class_split(a, class);
		entries_free(&class->bridge_old);
		entries_free(&class->bridge_new);
	}
	return ret;
}

/* --- the plan --- */

/* An endpoint goes from one policy class to another, or out of it. */
static bool leaving(const struct apply *a)
{
	bool leaves = false;

	for (size_t i = 0; i < a->endpoint_count && !leaves; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];

		const struct map_class *class = endpoint_class(a, ep);

		leaves = ep->compiled && is_policy_class(ep->policy_class) && (!class || class->number != ep->policy_class);
	}
	return leaves;
}

int plan_make(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan)
{
	int ret = take_endpoints(a, changes, full);

	if (ret == 0)
		ret = take_identities(a, changes, full, plan);
	if (ret == 0)
		ret = take_classes(a, changes, full, plan->moving);
	/* A compiler that has just begun does not know what was known; the maps do. */
	plan->judge_all |= full ? plan->moving || a->interrupted : changes->peers_moved;
	if (ret < 0 || !plan->moving || !leaving(a))
		return ret;
	ret = make_bridges(plan, (uint64_t)a->state.revision + 1);
	if (ret == 0)
		ret = split_left(a, plan);
	for (size_t i = 0; i < a->class_count && ret == 0; i++)
		ret = class_bridges(a->classes[i], plan);
	return ret;
}

void plan_free(struct plan *plan)
{
	free(plan->moves);
	free(plan->bridges);
}
