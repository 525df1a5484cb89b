/* SPDX-License-Identifier: BSD-2-Clause */
/* The compiler's state for display. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "compiler.h"

/* --- identities --- */

/* shop/app=web, [team=a]/tier, [*]/app=web:http: namespace or [namespaceSelector], podSelector, port name. */
static char *matcher_text(const struct peer_member *m)
{
	const struct matcher *matcher = m->matcher;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (matcher->scope->ns) {
		fputs(matcher->scope->ns->name, f);
	} else {
		fputc('[', f);
		selector_print(f, &matcher->scope->selector);
		fputc(']', f);
	}
	fputc('/', f);
	selector_print(f, &matcher->pods);
	if (matcher->port_name[0])
		fprintf(f, ":%s", matcher->port_name);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static int text_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void texts_free(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static int ifindex_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int add_ifindexes(uint32_t **v, size_t *count, size_t *room, const struct labelset *set)
{
	struct endpoint *ep;

	list_each(ep, &set->endpoints, in_set) {
		if (array_push(*v, *room, *count, ep->ifindex) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int show_identity(const struct labelset *set, int (*fn)(const struct policy_identity_info *info, void *arg),
			 void *arg)
{
	const struct namespace_object *object = set->ns->object;
	struct policy_identity_info info = {
		.identity = set->identity->by_number.hash,
		.namespace = set->ns->name,
		.namespace_labels = object ? &object->labels : NULL,
		.labels = &set->labels,
		.ports = set->ports,
		.port_count = set->port_count,
		.peer = set->peer && !set->identity->collision ? set->peer->number : WR_PEER_NONE,
		.pods = set->users,
		.collision = set->identity->collision,
	};
	size_t room = 0, count = set->peer && !info.collision ? set->peer->count : 0;
	_cleanup_free_ uint32_t *ifindexes = NULL;
	char **texts = calloc(count ? count : 1, sizeof(*texts));
	int r = texts ? add_ifindexes(&ifindexes, &info.endpoint_count, &room, set) : -ENOMEM;

	for (; r == 0 && info.selector_count < count; info.selector_count++) {
		texts[info.selector_count] = matcher_text(&set->peer->members[info.selector_count]);
		if (!texts[info.selector_count])
			r = -ENOMEM;
	}
	if (r == 0) {
		if (info.endpoint_count)
			qsort(ifindexes, info.endpoint_count, sizeof(*ifindexes), ifindex_cmp);
		qsort(texts, count, sizeof(*texts), text_cmp);
		info.endpoints = ifindexes;
		info.selectors = (const char *const *)texts;
		r = fn(&info, arg);
	}
	texts_free(texts, texts ? count : 0);
	return r;
}

static int set_cmp(const void *pa, const void *pb)
{
	const struct labelset *a = *(struct labelset *const *)pa, *b = *(struct labelset *const *)pb;
	uint64_t na = a->identity->by_number.hash, nb = b->identity->by_number.hash;

	if (na != nb)
		return na < nb ? -1 : 1;
	return (a->by_text.hash > b->by_text.hash) - (a->by_text.hash < b->by_text.hash);
}

int policy_each_identity(struct policy *p, int (*fn)(const struct policy_identity_info *info, void *arg), void *arg)
{
	_cleanup_free_ struct labelset **sets = calloc(p->sets.count + 1, sizeof(struct labelset *));
	struct labelset *set;
	size_t count = 0;
	int r = 0;

	if (!sets)
		return -ENOMEM;
	table_each(set, &p->sets, by_text) {
		if (set->users && set->identity)
			sets[count++] = set;
	}
	qsort(sets, count, sizeof(*sets), set_cmp);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = show_identity(sets[i], fn, arg);
	return r;
}

/* --- policies --- */

static int show_policy(const struct netpol *netpol, int (*fn)(const struct policy_policy_info *info, void *arg),
		       void *arg)
{
	struct policy_policy_info info = { .object = netpol->object,
					   .problem = netpol->problem,
					   .coarse_names = netpol->coarse };
	_cleanup_free_ uint32_t *ifindexes = NULL;
	_cleanup_free_ uint64_t *classes = NULL;
	size_t room = 0, class_room = 0;
	const struct class_member *m;
	const struct labelset *set;

	list_each(m, &netpol->classes, in_netpol) {
		if (array_push(classes, class_room, info.class_count, m->class->key) < 0)
			return -ENOMEM;
		info.entries += m->class->entries;
		info.problem = info.problem ? info.problem : m->class->problem;
		list_each(set, &m->class->sets, in_class) {
			if (add_ifindexes(&ifindexes, &info.endpoint_count, &room, set) < 0)
				return -ENOMEM;
		}
	}
	if (info.endpoint_count)
		qsort(ifindexes, info.endpoint_count, sizeof(*ifindexes), ifindex_cmp);
	info.endpoints = ifindexes;
	info.classes = classes;
	return fn(&info, arg);
}

static int netpol_cmp(const void *pa, const void *pb)
{
	const struct netpol *a = *(struct netpol *const *)pa, *b = *(struct netpol *const *)pb;
	int c = strcmp(a->ns->name, b->ns->name);

	return c ? c : strcmp(a->name, b->name);
}

int policy_each_policy(struct policy *p, int (*fn)(const struct policy_policy_info *info, void *arg), void *arg)
{
	_cleanup_free_ struct netpol **netpols = calloc(p->netpols.count + 1, sizeof(struct netpol *));
	struct netpol *netpol;
	size_t count = 0;
	int r = 0;

	if (!netpols)
		return -ENOMEM;
	table_each(netpol, &p->netpols, by_name) {
		if (netpol->object)
			netpols[count++] = netpol;
	}
	qsort(netpols, count, sizeof(*netpols), netpol_cmp);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = show_policy(netpols[i], fn, arg);
	return r;
}

/* --- counts --- */

void policy_count_refused(const struct policy *p, struct policy_refused *refused)
{
	const struct netpol *netpol;
	const struct class *class;
	const struct pod *pod;

	*refused = (struct policy_refused){ 0 };
	list_each(class, &p->refused_classes, refused) {
		refused->classes++;
		netpol = class->members[0].netpol;
		if (class->problem)
			snprintf(refused->example, sizeof(refused->example), "%s/%s: %s", netpol->ns->name,
				 netpol->name, class->problem);
	}
	list_each(netpol, &p->refused_netpols, refused) {
		refused->policies++;
		snprintf(refused->example, sizeof(refused->example), "%s/%s: %s", netpol->ns->name, netpol->name,
			 netpol->problem);
	}
	list_each(pod, &p->oversized_pods, oversized) {
		refused->pods++;
		snprintf(refused->pod, sizeof(refused->pod), "%s/%s", pod->ns->name, pod->name);
	}
	table_each(netpol, &p->netpols, by_name)
		refused->coarse += netpol->coarse;
}

size_t policy_count_invalid(const struct policy *p)
{
	const struct netpol *netpol;
	size_t count = 0;

	table_each(netpol, &p->netpols, by_name)
		count += netpol->object && netpol->object->invalid;
	return count;
}

static void count_objects(const struct policy *p, struct policy_counts *counts)
{
	const struct netpol *netpol;
	const struct endpoint *ep;
	const struct pod *pod;
	const struct ns *ns;

	table_each(ns, &p->namespaces, by_name)
		counts->namespaces += ns->object != NULL;
	table_each(pod, &p->pods, by_name)
		counts->pods += pod->present;
	table_each(netpol, &p->netpols, by_name)
		counts->policies += netpol->object != NULL;
	counts->policies_invalid = policy_count_invalid(p);
	table_each(ep, &p->endpoints, by_ifindex) {
		counts->endpoints++;
		counts->endpoints_waiting += !ep->set;
	}
}

void policy_count(const struct policy *p, struct policy_counts *counts)
{
	const struct identity *identity;
	const struct class *class;

	*counts = (struct policy_counts){ .identities = p->identities.count,
					  .selectors = p->matchers.count,
					  .peer_classes = p->peers.count,
					  .classes = p->classes.count,
					  .rules = p->rules.count };
	count_objects(p, counts);
	table_each(identity, &p->identities, by_number)
		counts->collisions += identity->collision;
	table_each(class, &p->classes, by_key) {
		counts->entries += class->entries;
		counts->cidrs += class->cidrs;
	}
}
