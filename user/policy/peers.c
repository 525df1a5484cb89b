/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers: which matchers match which label sets. A changed label set is matched anew, by an index from labels to the
 * matchers that require them; a new matcher is tried on the label sets of its scope; one that nobody uses any more is
 * taken out of the peer classes that have it.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "str.h"

/* --- scopes --- */

/*
 * A namespace without an object is matched by the empty namespaceSelector only: of its labels nothing is known, so that
 * neither In nor NotIn can be said to hold. (The API knows no pods without their namespace; a directory of manifests
 * does.)
 */
static bool scope_matches(const struct scope *scope, const struct ns *ns)
{
	if (scope->ns)
		return scope->ns == ns;
	if (!scope->selector.count)
		return true;
	return ns->object && selector_matches(&scope->selector, &ns->object->labels);
}

static int ns_add_scope(struct ns *ns, struct scope *scope)
{
	if (array_grow(&ns->scopes, &ns->scope_room, ns->scope_count, sizeof(struct scope *)) < 0)
		return -ENOMEM;
	ns->scopes[ns->scope_count++] = scope;
	return 0;
}

static void ns_remove_scope(struct ns *ns, const struct scope *scope)
{
	for (size_t i = 0; i < ns->scope_count; i++) {
		if (ns->scopes[i] == scope) {
			ns->scopes[i] = ns->scopes[--ns->scope_count];
			return;
		}
	}
}

int scopes_of_namespace(struct policy *p, struct ns *ns)
{
	struct scope *scope;

	ns->scope_count = 0;
	list_each(scope, &p->scopes, in_scopes) {
		if (scope_matches(scope, ns) && ns_add_scope(ns, scope) < 0)
			return -ENOMEM;
	}
	return 0;
}

static uint64_t scope_hash(const struct policy *p, const struct ns *ns, const struct selector *selector)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_number(&h, ns != NULL);
	if (ns)
		siphash_string(&h, ns->name);
	else
		siphash_selector(&h, selector);
	return siphash_end(&h);
}

static void scope_put(struct policy *p, struct scope *scope)
{
	struct ns *ns;

	if (--scope->refs)
		return;
	table_remove(&p->scope_table, &scope->by_hash);
	list_remove(&scope->in_scopes);
	if (scope->ns) {
		scope->ns->own = NULL;
		ns_put(p, scope->ns);
	} else {
		table_each(ns, &p->namespaces, by_name)
			ns_remove_scope(ns, scope);
	}
	selector_free(&scope->selector);
	free(scope);
}

/* All that can fail of a new scope. */
static int scope_fill(struct policy *p, struct scope *scope, struct ns *own, const struct selector *selector)
{
	struct ns *ns;

	if (own) {
		scope->ns = own;
		own->own = scope;
		own->refs++;
		return 0;
	}
	if (selector_copy(&scope->selector, selector) < 0)
		return -ENOMEM;
	list_append(&p->scopes, &scope->in_scopes);
	table_each(ns, &p->namespaces, by_name) {
		if (scope_matches(scope, ns) && ns_add_scope(ns, scope) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct scope *scope_get(struct policy *p, struct ns *own, const struct selector *selector)
{
	uint64_t hash = scope_hash(p, own, selector);
	struct scope *scope;

	table_each_hash(scope, &p->scope_table, hash, by_hash) {
		scope->refs++;
		return scope;
	}
	scope = calloc(1, sizeof(*scope));
	if (!scope)
		return NULL;
	scope->refs = 1;
	list_init(&scope->matchers);
	list_init(&scope->unanchored);
	list_init(&scope->in_scopes);
	table_add(&p->scope_table, &scope->by_hash, hash);
	if (scope_fill(p, scope, own, selector) < 0) {
		scope_put(p, scope);
		return NULL;
	}
	return scope;
}

/* --- matchers --- */

static uint64_t label_hash(const struct policy *p, const char *key, const char *value)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_string(&h, key);
	if (value)
		siphash_string(&h, value);
	return siphash_end(&h);
}

/* Where the index holds the matchers of that scope which require that label. */
static uint64_t anchor_hash(const struct scope *scope, uint64_t label)
{
	uint64_t x = (scope->by_hash.hash ^ label) * 0x9e3779b97f4a7c15ull;

	return x ^ x >> 32;
}

static int anchors_make(struct policy *p, struct matcher *m, const struct requirement *r)
{
	size_t count = r->op == REQUIRE_IN ? r->value_count : 1;

	m->anchors = calloc(count ? count : 1, sizeof(*m->anchors));
	if (!m->anchors)
		return -ENOMEM;
	for (; m->anchor_count < count; m->anchor_count++) {
		const char *value = r->op == REQUIRE_IN ? r->values[m->anchor_count] : NULL;
		struct anchor *a = &m->anchors[m->anchor_count];

		a->matcher = m;
		table_add(&p->anchors, &a->by_label, anchor_hash(m->scope, label_hash(p, r->key, value)));
	}
	return 0;
}

/* Puts the matcher where a label set that it matches will find it: by the first label that it requires, values
 * preferred. */
static int matcher_index(struct policy *p, struct matcher *m)
{
	const struct requirement *exists = NULL;

	for (size_t i = 0; i < m->pods.count; i++) {
		if (m->pods.v[i].op == REQUIRE_IN)
			return anchors_make(p, m, &m->pods.v[i]);
		if (m->pods.v[i].op == REQUIRE_EXISTS)
			exists = &m->pods.v[i];
	}
	if (exists)
		return anchors_make(p, m, exists);
	list_append(&m->scope->unanchored, &m->in_unanchored);
	return 0;
}

void matcher_free(struct policy *p, struct matcher *m)
{
	for (size_t i = 0; i < m->anchor_count; i++)
		table_remove(&p->anchors, &m->anchors[i].by_label);
	free(m->anchors);
	table_remove(&p->matchers, &m->by_hash);
	list_remove(&m->in_scope);
	list_remove(&m->in_unanchored);
	list_remove(&m->fresh);
	list_remove(&m->dead);
	scope_put(p, m->scope);
	selector_free(&m->pods);
	free(m);
}

static struct matcher *matcher_new(struct policy *p, struct scope *scope, const struct selector *pods,
				   const struct policy_port *port, uint64_t hash)
{
	struct matcher *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	list_init(&m->in_scope);
	list_init(&m->in_unanchored);
	list_init(&m->fresh);
	list_init(&m->dead);
	list_init(&m->terms);
	list_init(&m->peers);
	m->scope = scope;
	scope->refs++;
	if (port) {
		str_copy(m->port_name, sizeof(m->port_name), port->name);
		m->protocol = port->protocol;
	}
	table_add(&p->matchers, &m->by_hash, hash);
	list_append(&scope->matchers, &m->in_scope);
	if (selector_copy(&m->pods, pods) < 0 || matcher_index(p, m) < 0) {
		matcher_free(p, m);
		return NULL;
	}
	list_append(&p->fresh_matchers, &m->fresh);
	return m;
}

/* The matcher of a peer that is pods (NULL: all there are), with the name of a port if `port` is not NULL. */
struct matcher *matcher_get(struct policy *p, const struct netpol *netpol, const struct policy_peer *peer,
			    const struct policy_port *port)
{
	static const struct selector everything;
	const struct selector *pods = peer && peer->has_pods ? &peer->pods : &everything;
	bool own = peer && !peer->has_namespaces;
	struct scope *scope = scope_get(p, own ? netpol->ns : NULL, peer ? &peer->namespaces : &everything);
	struct matcher *m;
	struct siphash h;
	uint64_t hash;

	if (!scope)
		return NULL;
	siphash_begin(&h, p->key);
	siphash_number(&h, scope->by_hash.hash);
	siphash_selector(&h, pods);
	siphash_string(&h, port ? port->name : "");
	siphash_number(&h, port ? port->protocol : 0);
	hash = siphash_end(&h);
	table_each_hash(m, &p->matchers, hash, by_hash)
		goto found;
	m = matcher_new(p, scope, pods, port, hash);
found:
	if (m) {
		m->refs++;
		list_remove(&m->dead);
	}
	scope_put(p, scope);
	return m;
}

void matcher_put(struct policy *p, struct matcher *m)
{
	if (--m->refs == 0)
		list_append(&p->dead_matchers, &m->dead);
}

/* --- peer classes --- */

struct member {
	struct matcher *matcher;
	uint16_t port;
};

struct members {
	struct member *v;
	size_t count, room;
};

static int members_add(struct members *to, struct matcher *m, uint16_t port)
{
	if (array_grow(&to->v, &to->room, to->count, sizeof(*to->v)) < 0)
		return -ENOMEM;
	to->v[to->count++] = (struct member){ m, port };
	return 0;
}

static int member_cmp(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;
	uint64_t ha = a->matcher->by_hash.hash, hb = b->matcher->by_hash.hash;

	return ha != hb ? (ha < hb ? -1 : 1) : a->port - b->port;
}

/* Adds what the matcher finds in the label set: nothing, itself, or the numbers of the port that it names. */
static int match(struct members *to, struct matcher *m, const struct labelset *set)
{
	if (!selector_matches(&m->pods, &set->labels))
		return 0;
	if (!m->port_name[0])
		return members_add(to, m, 0);
	for (size_t i = 0; i < set->port_count; i++) {
		const struct named_port *port = &set->ports[i];

		if (port->protocol == m->protocol && strcmp(port->name, m->port_name) == 0 &&
		    members_add(to, m, port->port) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct peer_class *peer_class_new(struct policy *p, const struct members *members, uint64_t number)
{
	struct peer_class *peer = calloc(1, sizeof(*peer) + members->count * sizeof(peer->members[0]));

	if (!peer)
		return NULL;
	peer->number = number;
	peer->count = members->count;
	list_init(&peer->sets);
	list_init(&peer->touched);
	for (size_t i = 0; i < members->count; i++) {
		struct peer_member *m = &peer->members[i];

		m->matcher = members->v[i].matcher;
		m->port = members->v[i].port;
		m->peer = peer;
		list_init(&m->in_matcher);
		list_append(&m->matcher->peers, &m->in_matcher);
	}
	table_add(&p->peers, &peer->by_number, number);
	list_append(&p->touched_peers, &peer->touched);
	return peer;
}

/* *peer: the class of that set of members, NULL for the empty one. */
static int peer_class_get(struct policy *p, struct members *members, struct peer_class **peer)
{
	struct siphash h;
	uint64_t number;

	*peer = NULL;
	if (!members->count)
		return 0;
	qsort(members->v, members->count, sizeof(*members->v), member_cmp);
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
	for (size_t i = 0; i < peer->count; i++)
		list_remove(&peer->members[i].in_matcher);
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
	if (set->number)
		list_mark(&p->dirty_numbers, &set->number->dirty);
}

/* --- keeping them up to date --- */

static int rematch_scope(struct policy *p, struct members *found, const struct scope *scope,
			 const uint64_t (*hashes)[2], const struct labelset *set)
{
	struct matcher *m;
	struct anchor *a;

	list_each(m, &scope->unanchored, in_unanchored) {
		if (match(found, m, set) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < set->labels.count; i++) {
		for (int j = 0; j < 2; j++) {
			table_each_hash(a, &p->anchors, anchor_hash(scope, hashes[i][j]), by_label) {
				if (a->matcher->scope == scope && match(found, a->matcher, set) < 0)
					return -ENOMEM;
			}
		}
	}
	return 0;
}

static int rematch(struct policy *p, struct labelset *set, struct members *found, uint64_t (*hashes)[2])
{
	const struct ns *ns = set->ns;
	struct peer_class *peer;

	found->count = 0;
	for (size_t i = 0; i < set->labels.count; i++) {
		hashes[i][0] = label_hash(p, set->labels.v[i].key, NULL);
		hashes[i][1] = label_hash(p, set->labels.v[i].key, set->labels.v[i].value);
	}
	if (ns->own && rematch_scope(p, found, ns->own, hashes, set) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ns->scope_count; i++) {
		if (rematch_scope(p, found, ns->scopes[i], hashes, set) < 0)
			return -ENOMEM;
	}
	if (peer_class_get(p, found, &peer) < 0)
		return -ENOMEM;
	peer_set(p, set, peer);
	return 0;
}

static int rematch_all(struct policy *p, struct members *found)
{
	struct labelset *set, *after;
	uint64_t(*hashes)[2] = NULL;
	size_t room = 0;
	int r = 0;

	list_each_safe(set, after, &p->rematch_sets, rematch) {
		while (r == 0 && room < set->labels.count)
			r = array_grow(&hashes, &room, room, sizeof(*hashes));
		if (r == 0)
			r = rematch(p, set, found, hashes);
		if (r < 0)
			break;
		list_remove(&set->rematch);
	}
	free(hashes);
	return r;
}

/* The members of a class, all, or all but those of one matcher. */
static int members_of(struct members *to, const struct peer_class *peer, const struct matcher *without)
{
	to->count = 0;
	for (size_t i = 0; peer && i < peer->count; i++) {
		if (peer->members[i].matcher != without &&
		    members_add(to, peer->members[i].matcher, peer->members[i].port) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A class that has come or gone changes the entries of every policy class that has a term for one of its matchers. */
static void peer_liveness(struct policy *p, struct peer_class *peer)
{
	bool live = !list_empty(&peer->sets);

	list_remove(&peer->touched);
	for (size_t i = 0; live != peer->was_live && i < peer->count; i++) {
		struct term *term;

		list_each(term, &peer->members[i].matcher->terms, in_matcher) {
			struct class_member *member;

			list_each(member, &term->netpol->classes, in_netpol)
				list_mark(&p->dirty_classes, &member->class->dirty);
		}
	}
	peer->was_live = live;
	if (!live)
		peer_class_free(p, peer);
}

static int matcher_drop(struct policy *p, struct matcher *m, struct members *found)
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

static int try_namespace(struct policy *p, struct matcher *m, struct ns *ns, struct members *found)
{
	struct labelset *set;

	list_each(set, &ns->sets, in_ns) {
		struct members one = { 0 };
		struct peer_class *peer;
		int r = 0;

		if (!list_empty(&set->rematch))
			continue;
		r = match(&one, m, set);
		if (r == 0 && one.count) {
			r = members_of(found, set->peer, NULL);
			for (size_t i = 0; r == 0 && i < one.count; i++)
				r = members_add(found, m, one.v[i].port);
			if (r == 0)
				r = peer_class_get(p, found, &peer);
			if (r == 0)
				peer_set(p, set, peer);
		}
		free(one.v);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether there is a label set that is not to be rematched anyway: not so in the first compile, where it saves most. */
static bool any_settled(const struct policy *p)
{
	const struct labelset *set;

	table_each(set, &p->sets, by_text) {
		if (set->users && list_empty(&set->rematch))
			return true;
	}
	return false;
}

static int matcher_try(struct policy *p, struct matcher *m, struct members *found)
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

static int matchers_update(struct policy *p, struct members *found)
{
	bool settled = !list_empty(&p->fresh_matchers) && any_settled(p);
	struct peer_class *peer, *next;
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
	if (rematch_all(p, found) < 0)
		return -ENOMEM;
	list_each_safe(peer, next, &p->touched_peers, touched)
		peer_liveness(p, peer);
	return 0;
}

int peers_update(struct policy *p)
{
	struct members found = { 0 };
	int r = matchers_update(p, &found);

	free(found.v);
	return r;
}
