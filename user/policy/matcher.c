/* SPDX-License-Identifier: BSD-2-Clause */
/* Matchers. An index from labels to the matchers that require them finds the matchers of a label set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "str.h"

static uint64_t label_hash(const struct policy *p, const char *key, const char *value)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_string(&h, key);
	if (value)
		siphash_string(&h, value);
	return siphash_end(&h);
}

/* The index key of the matchers of that scope that require that label. */
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
	m->scope->anchored++;
	for (; m->anchor_count < count; m->anchor_count++) {
		const char *value = r->op == REQUIRE_IN ? r->values[m->anchor_count] : NULL;
		struct anchor *a = &m->anchors[m->anchor_count];

		a->matcher = m;
		table_add(&p->anchors, &a->by_label, anchor_hash(m->scope, label_hash(p, r->key, value)));
	}
	return 0;
}

/* Adds the matcher to the index by the first label that it requires, preferably one with a value. */
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

void matcher_hide(struct policy *p, struct matcher *m)
{
	for (size_t i = 0; i < m->anchor_count; i++)
		table_remove(&p->anchors, &m->anchors[i].by_label);
	m->scope->anchored -= m->anchors != NULL;
	free(m->anchors);
	m->anchors = NULL;
	m->anchor_count = 0;
	list_remove(&m->in_unanchored);
}

void matcher_free(struct policy *p, struct matcher *m)
{
	matcher_hide(p, m);
	table_remove(&p->matchers, &m->by_hash);
	list_remove(&m->in_scope);
	list_remove(&m->fresh);
	list_remove(&m->dead);
	list_remove(&m->touched);
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

/* --- matching --- */

int matches_add(struct matches *to, struct matcher *m, uint16_t port)
{
	return array_push(to->v, to->room, to->count, (struct match){ m, port });
}

/* Adds the matcher if it matches the label set; with a named port, once for each port number of that name. */
int matcher_match(struct matches *to, struct matcher *m, const struct labelset *set)
{
	if (!selector_matches(&m->pods, &set->labels))
		return 0;
	if (!m->port_name[0])
		return matches_add(to, m, 0);
	for (size_t i = 0; i < set->port_count; i++) {
		const struct named_port *port = &set->ports[i];

		if (port->protocol == m->protocol && strcmp(port->name, m->port_name) == 0 &&
		    matches_add(to, m, port->port) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int match_scope(const struct policy *p, struct matches *found, const struct scope *scope,
		       const struct labelset *set)
{
	struct matcher *m;
	struct anchor *a;

	list_each(m, &scope->unanchored, in_unanchored) {
		if (matcher_match(found, m, set) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < set->labels.count && scope->anchored; i++) {
		for (int j = 0; j < 2; j++) {
			table_each_hash(a, &p->anchors, anchor_hash(scope, found->hashes[i][j]), by_label) {
				if (a->matcher->scope == scope && matcher_match(found, a->matcher, set) < 0)
					return -ENOMEM;
			}
		}
	}
	return 0;
}

int matches_find(const struct policy *p, struct matches *found, const struct labelset *set)
{
	const struct ns *ns = set->ns;

	found->count = 0;
	while (found->hash_room < set->labels.count) {
		if (array_grow(&found->hashes, &found->hash_room, found->hash_room, sizeof(*found->hashes)) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < set->labels.count; i++) {
		const struct label *label = &set->labels.v[i];

		found->hashes[i][0] = label_hash(p, label->key, NULL);
		found->hashes[i][1] = label_hash(p, label->key, label->value);
	}
	if (ns->own && match_scope(p, found, ns->own, set) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ns->scope_count; i++) {
		if (match_scope(p, found, ns->scopes[i], set) < 0)
			return -ENOMEM;
	}
	return 0;
}

void matches_free(struct matches *m)
{
	free(m->v);
	free(m->hashes);
}
