/* SPDX-License-Identifier: BSD-2-Clause */
/* Policy classes: which policies select a label set that has endpoints on this node. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

struct selection {
	struct netpol **v;
	size_t count, room;
	struct named_port *ports;
	size_t port_count, port_room;
};

static void selection_free(struct selection *s)
{
	free(s->v);
	free(s->ports);
}

static int selection_add(struct selection *s, struct netpol *netpol)
{
	return array_push(s->v, s->room, s->count, netpol);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct netpol *const *)a)->name, (*(struct netpol *const *)b)->name);
}

/* Resolves a named port of a rule for this label set: to any number of ports, also none. */
static int resolve_port(struct selection *s, const struct labelset *set, const struct policy_port *port)
{
	for (size_t i = 0; port->name[0] && i < set->port_count; i++) {
		if (set->ports[i].protocol != port->protocol || strcmp(set->ports[i].name, port->name) != 0)
			continue;
		if (array_push(s->ports, s->port_room, s->port_count, set->ports[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int resolve_policy(struct selection *s, const struct labelset *set, const struct policy_object *object)
{
	for (size_t i = 0; i < object->rule_count[POLICY_INGRESS]; i++) {
		const struct policy_rule *rule = &object->rules[POLICY_INGRESS][i];

		for (size_t j = 0; j < rule->port_count; j++) {
			if (resolve_port(s, set, &rule->ports[j]) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int resolve(struct selection *s, const struct labelset *set)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->v[i]->has_names && resolve_policy(s, set, s->v[i]->object) < 0)
			return -ENOMEM;
	}
	s->port_count = named_ports_sort(s->ports, s->port_count);
	return 0;
}

static struct class *class_new(struct policy *p, struct selection *s, uint64_t key)
{
	struct class *class = calloc(1, sizeof(*class) + s->count * sizeof(class->members[0]));

	if (!class)
		return NULL;
	class->key = key;
	class->ports = s->ports;
	class->port_count = s->port_count;
	s->ports = NULL;
	class->count = s->count;
	for (size_t i = 0; i < s->count; i++) {
		struct class_member *m = &class->members[i];

		m->netpol = s->v[i];
		m->class = class;
		list_append(&m->netpol->classes, &m->in_netpol);
		list_mark(&p->check_netpols, &m->netpol->check);
	}
	table_add(&p->classes, &class->by_key, key);
	list_append(&p->dirty_classes, &class->dirty);
	return class;
}

void class_free(struct policy *p, struct class *class)
{
	class_charge(p, class, 0, 0);
	for (size_t i = 0; i < class->count; i++) {
		list_remove(&class->members[i].in_netpol);
		list_mark(&p->check_netpols, &class->members[i].netpol->check);
	}
	table_remove(&p->classes, &class->by_key);
	list_remove(&class->dirty);
	list_remove(&class->refused);
	free(class->problem);
	free(class->ports);
	free(class);
}

void class_set(struct policy *p, struct labelset *set, struct class *class)
{
	struct endpoint *ep;

	if (set->class == class)
		return;
	if (set->class)
		list_mark(&p->dirty_classes, &set->class->dirty);
	list_remove(&set->in_class);
	set->class = class;
	if (class) {
		list_mark(&p->dirty_classes, &class->dirty);
		list_append(&class->sets, &set->in_class);
	}
	list_each(ep, &set->endpoints, in_set)
		list_mark(&p->dirty_endpoints, &ep->dirty);
}

/* Sets the label set's class to that of these policies, all of one namespace; without policies to NULL. */
static int class_choose(struct policy *p, struct labelset *set, struct selection *s)
{
	struct class *class = NULL;
	struct siphash h;
	uint64_t key;

	if (!s->count) {
		class_set(p, set, NULL);
		return 0;
	}
	qsort(s->v, s->count, sizeof(*s->v), by_name);
	if (resolve(s, set) < 0)
		return -ENOMEM;
	siphash_begin(&h, p->key);
	siphash_string(&h, set->ns->name);
	siphash_number(&h, s->count);
	for (size_t i = 0; i < s->count; i++)
		siphash_string(&h, s->v[i]->name);
	siphash_ports(&h, s->ports, s->port_count);
	key = siphash_end(&h);
	if (key < WR_CLASS_FIRST)
		key += WR_CLASS_FIRST;
	table_each_hash(class, &p->classes, key, by_key)
		break;
	if (!class)
		class = class_new(p, s, key);
	if (!class)
		return -ENOMEM;
	class_set(p, set, class);
	return 0;
}

int select_full(struct policy *p, struct labelset *set)
{
	struct selection s = { 0 };
	struct netpol *netpol;
	int r = 0;

	list_each(netpol, &set->ns->netpols, in_ns) {
		if (r == 0 && netpol->object && selector_matches(&netpol->object->pods, &set->labels))
			r = selection_add(&s, netpol);
	}
	if (r == 0)
		r = class_choose(p, set, &s);
	selection_free(&s);
	return r;
}

static bool class_has(const struct class *class, const struct netpol *netpol)
{
	for (size_t i = 0; class && i < class->count; i++) {
		if (class->members[i].netpol == netpol)
			return true;
	}
	return false;
}

/* Updates the label set's policies by one that was added or removed. */
static int select_other(struct policy *p, struct labelset *set, struct netpol *netpol, bool selected)
{
	struct selection s = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && set->class && i < set->class->count; i++) {
		if (set->class->members[i].netpol != netpol)
			r = selection_add(&s, set->class->members[i].netpol);
	}
	if (r == 0 && selected)
		r = selection_add(&s, netpol);
	if (r == 0)
		r = class_choose(p, set, &s);
	selection_free(&s);
	return r;
}

/* After a policy was added, changed or removed: updates the local label sets that it selects, or selected. */
int select_edited(struct policy *p, struct netpol *netpol)
{
	struct labelset *set;

	list_each(set, &netpol->ns->local_sets, in_local) {
		bool was = class_has(set->class, netpol);
		bool is = netpol->object && selector_matches(&netpol->object->pods, &set->labels);

		if (!list_empty(&set->select) || (was == is && !(is && netpol->has_names)))
			continue;
		if (select_other(p, set, netpol, is) < 0)
			return -ENOMEM;
	}
	return 0;
}
