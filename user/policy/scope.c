/* SPDX-License-Identifier: BSD-2-Clause */
/* Scopes: the namespaces of a peer's pods. */
#include <errno.h>
#include <stdlib.h>

#include "compiler.h"

/*
 * A namespace without an object matches only the empty namespaceSelector: its labels are unknown, so neither In nor
 * NotIn can be evaluated. (In the API every pod has a namespace object, but not in a directory of manifests.)
 */
bool scope_matches(const struct scope *scope, const struct ns *ns)
{
	if (scope->ns)
		return scope->ns == ns;
	if (!scope->selector.count)
		return true;
	return ns->object && selector_matches(&scope->selector, &ns->object->labels);
}

static int ns_add_scope(struct ns *ns, struct scope *scope)
{
	return array_push(ns->scopes, ns->scope_room, ns->scope_count, scope);
}

static void ns_remove_scope(struct ns *ns, const struct scope *scope)
{
	/* From the end: scopes are mostly removed in the reverse order of their addition. */
	for (size_t i = ns->scope_count; i-- > 0;) {
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

void scope_put(struct policy *p, struct scope *scope)
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

/* The part of scope_get() that can fail. */
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

struct scope *scope_get(struct policy *p, struct ns *own, const struct selector *selector)
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
	table_add(&p->scope_table, &scope->by_hash, hash);
	if (scope_fill(p, scope, own, selector) < 0) {
		scope_put(p, scope);
		return NULL;
	}
	return scope;
}
