/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peer classes: the sets of matchers that match some label set. A changed label set is matched again; a new matcher is
 * tried on the label sets of its scope; an unused one is removed from the peer classes that contain it. With many new
 * or unused matchers all affected label sets are matched again once: one matcher at a time would make a new peer class
 * for every label set and every matcher.
 */
#include <errno.h>
#include <stdlib.h>

#include "compiler.h"

static int match_cmp(const void *pa, const void *pb)
{
	const struct match *a = pa, *b = pb;
	uint64_t ha = a->matcher->by_hash.hash, hb = b->matcher->by_hash.hash;

	return ha != hb ? (ha < hb ? -1 : 1) : a->port - b->port;
}

static struct peer_class *peer_class_new(struct policy *p, const struct matches *members, uint64_t number)
{
	struct peer_class *peer = calloc(1, sizeof(*peer) + members->count * sizeof(peer->members[0]));

	if (!peer)
		return NULL;
	peer->number = number;
	peer->count = members->count;
	for (size_t i = 0; i < members->count; i++) {
		struct peer_member *m = &peer->members[i];

		m->matcher = members->v[i].matcher;
		m->port = members->v[i].port;
		m->peer = peer;
		list_append(&m->matcher->peers, &m->in_matcher);
		m->matcher->peer_count++;
	}
	table_add(&p->peers, &peer->by_number, number);
	list_append(&p->touched_peers, &peer->touched);
	return peer;
}

/* *peer: the class of that set of members; NULL for an empty set. */
static int peer_class_get(struct policy *p, struct matches *members, struct peer_class **peer)
{
	struct siphash h;
	uint64_t number;

	*peer = NULL;
	if (!members->count)
		return 0;
	qsort(members->v, members->count, sizeof(*members->v), match_cmp);
	siphash_begin(&h, p->key);
	for (size_t i = 0; i < members->count; i++) {
		siphash_number(&h, members->v[i].matcher->by_hash.hash);
		siphash_number(&h, members->v[i].port);
	}
	number = siphash_end(&h) & ~WR_PEER_CIDR;
	if (number < WR_PEER_FIRST)
		number += WR_PEER_FIRST;
	table_each_hash(*peer, &p->peers, number, by_number)
		return 0;
	*peer = peer_class_new(p, members, number);
	return *peer ? 0 : -ENOMEM;
}

void peer_class_free(struct policy *p, struct peer_class *peer)
{
	for (size_t i = 0; i < peer->count; i++) {
		list_remove(&peer->members[i].in_matcher);
		peer->members[i].matcher->peer_count--;
	}
	table_remove(&p->peers, &peer->by_number);
	list_remove(&peer->touched);
	free(peer);
}

void peer_set(struct policy *p, struct labelset *set, struct peer_class *peer)
{
	if (set->peer == peer)
		return;
	if (set->peer)
		list_mark(&p->touched_peers, &set->peer->touched);
	list_remove(&set->in_peer);
	set->peer = peer;
	if (peer) {
		list_mark(&p->touched_peers, &peer->touched);
		list_append(&peer->sets, &set->in_peer);
	}
	if (set->identity)
		list_mark(&p->dirty_identities, &set->identity->dirty);
}

/* --- updates --- */

static int rematch_all(struct policy *p, struct matches *found)
{
	struct labelset *set, *after;

	list_each_safe(set, after, &p->rematch_sets, rematch) {
		struct peer_class *peer;

		if (matches_find(p, found, set) < 0 || peer_class_get(p, found, &peer) < 0)
			return -ENOMEM;
		peer_set(p, set, peer);
		list_remove(&set->rematch);
	}
	return 0;
}

/* The members of a class, except those of one matcher (NULL: all). */
static int members_of(struct matches *to, const struct peer_class *peer, const struct matcher *without)
{
	to->count = 0;
	for (size_t i = 0; peer && i < peer->count; i++) {
		if (peer->members[i].matcher != without &&
		    matches_add(to, peer->members[i].matcher, peer->members[i].port) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A new or removed peer class changes the entries of every policy class with a term for one of its matchers. */
static void peer_liveness(struct policy *p, struct peer_class *peer)
{
	bool live = !list_empty(&peer->sets);

	list_remove(&peer->touched);
	for (size_t i = 0; live != peer->was_live && i < peer->count; i++)
		list_mark(&p->touched_matchers, &peer->members[i].matcher->touched);
	peer->was_live = live;
	if (!live)
		peer_class_free(p, peer);
}

static void touch_classes(struct policy *p)
{
	struct class_member *member;
	struct matcher *m;
	struct term *term;

	while ((m = list_first(&p->touched_matchers, struct matcher, touched))) {
		list_remove(&m->touched);
		list_each(term, &m->terms, in_matcher) {
			list_each(member, &term->netpol->classes, in_netpol)
				list_mark(&p->dirty_classes, &member->class->dirty);
		}
	}
}

static int matcher_drop(struct policy *p, struct matcher *m, struct matches *found)
{
	struct peer_member *member;

	while ((member = list_first(&m->peers, struct peer_member, in_matcher))) {
		struct peer_class *peer = member->peer, *rest;
		struct labelset *set;

		if (members_of(found, peer, m) < 0 || peer_class_get(p, found, &rest) < 0)
			return -ENOMEM;
		while ((set = list_first(&peer->sets, struct labelset, in_peer)))
			peer_set(p, set, rest);
		peer_liveness(p, peer);
	}
	matcher_free(p, m);
	return 0;
}

static int try_namespace(struct policy *p, struct matcher *m, struct ns *ns, struct matches *found)
{
	struct labelset *set;

	list_each(set, &ns->sets, in_ns) {
		struct matches one = { 0 };
		struct peer_class *peer;
		int r = 0;

		if (!list_empty(&set->rematch))
			continue;
		r = matcher_match(&one, m, set);
		if (r == 0 && one.count) {
			r = members_of(found, set->peer, NULL);
			for (size_t i = 0; r == 0 && i < one.count; i++)
				r = matches_add(found, m, one.v[i].port);
			if (r == 0)
				r = peer_class_get(p, found, &peer);
			if (r == 0)
				peer_set(p, set, peer);
		}
		matches_free(&one);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether some label set is not rematched anyway. In the first compile all are, which saves most of the work there. */
static bool any_settled(const struct policy *p)
{
	const struct labelset *set;

	table_each(set, &p->sets, by_text) {
		if (set->users && list_empty(&set->rematch))
			return true;
	}
	return false;
}

static int matcher_try(struct policy *p, struct matcher *m, struct matches *found)
{
	struct ns *ns;

	if (m->scope->ns)
		return try_namespace(p, m, m->scope->ns, found);
	table_each(ns, &p->namespaces, by_name) {
		if (scope_matches(m->scope, ns) && try_namespace(p, m, ns, found) < 0)
			return -ENOMEM;
	}
	return 0;
}

#define FEW 4

static bool are_few(const struct list *list)
{
	size_t count = 0;

	for (const struct list *e = list_next(list); e != list && count <= FEW; e = e->next)
		count++;
	return count <= FEW;
}

static bool in_fresh_scope(const struct ns *ns)
{
	bool fresh = ns->own && ns->own->fresh;

	for (size_t i = 0; i < ns->scope_count && !fresh; i++)
		fresh = ns->scopes[i]->fresh;
	return fresh;
}

/* Marks label sets that may match a new matcher or did match an unused one, which is removed from the index. */
static void rematch_concerned(struct policy *p)
{
	struct peer_member *member;
	struct labelset *set;
	struct matcher *m;
	struct ns *ns;

	list_each(m, &p->dead_matchers, dead) {
		matcher_hide(p, m);
		list_each(member, &m->peers, in_matcher) {
			list_each(set, &member->peer->sets, in_peer)
				list_append(&p->rematch_sets, &set->rematch);
		}
	}
	list_each(m, &p->fresh_matchers, fresh)
		m->scope->fresh = true;
	table_each(ns, &p->namespaces, by_name) {
		if (!in_fresh_scope(ns))
			continue;
		list_each(set, &ns->sets, in_ns)
			list_append(&p->rematch_sets, &set->rematch);
	}
	while ((m = list_first(&p->fresh_matchers, struct matcher, fresh))) {
		m->scope->fresh = false;
		list_remove(&m->fresh);
	}
}

static int matchers_update_few(struct policy *p, struct matches *found)
{
	bool settled = !list_empty(&p->fresh_matchers) && any_settled(p);
	struct matcher *m;

	while ((m = list_first(&p->dead_matchers, struct matcher, dead))) {
		if (matcher_drop(p, m, found) < 0)
			return -ENOMEM;
	}
	while ((m = list_first(&p->fresh_matchers, struct matcher, fresh))) {
		if (settled && matcher_try(p, m, found) < 0)
			return -ENOMEM;
		list_remove(&m->fresh);
	}
	return 0;
}

int peers_update(struct policy *p)
{
	struct matches found = { 0 };
	struct peer_class *peer, *next;
	struct matcher *m, *after;
	int r = 0;

	if (are_few(&p->dead_matchers) && are_few(&p->fresh_matchers))
		r = matchers_update_few(p, &found);
	else
		rematch_concerned(p);
	if (r == 0)
		r = rematch_all(p, &found);
	matches_free(&found);
	if (r < 0)
		return r;
	list_each_safe(peer, next, &p->touched_peers, touched)
		peer_liveness(p, peer);
	list_each_safe(m, after, &p->dead_matchers, dead)
		matcher_free(p, m);
	touch_classes(p);
	return 0;
}
