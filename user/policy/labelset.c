/* SPDX-License-Identifier: BSD-2-Clause */
/* Label sets and the identities that are computed from them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "identity.h"

static bool same_ports(const struct labelset *set, const struct named_port *ports, size_t count)
{
	if (set->port_count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (named_port_cmp(&set->ports[i], &ports[i]) != 0)
			return false;
	}
	return true;
}

static uint64_t labelset_hash(const struct policy *p, const struct ns *ns, const struct labels *labels,
			      const struct named_port *ports, size_t port_count)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_string(&h, ns->name);
	siphash_labels(&h, labels);
	siphash_ports(&h, ports, port_count);
	return siphash_end(&h);
}

static char *text_put(char *to, char **text, const char *from)
{
	size_t size = strlen(from) + 1;

	memcpy(to, from, size);
	*text = to;
	return to + size;
}

/* The whole set in one block of memory: there may be as many as pods. */
static struct labelset *labelset_new(const struct labels *labels, const struct named_port *ports, size_t port_count)
{
	size_t size = sizeof(struct labelset) + labels->count * sizeof(struct label) + port_count * sizeof(*ports);
	struct labelset *set;
	char *text;

	for (size_t i = 0; i < labels->count; i++)
		size += strlen(labels->v[i].key) + strlen(labels->v[i].value) + 2;
	set = calloc(1, size);
	if (!set)
		return NULL;
	set->labels.v = (struct label *)(set + 1);
	set->labels.count = labels->count;
	set->ports = (struct named_port *)(set->labels.v + labels->count);
	set->port_count = port_count;
	for (size_t i = 0; i < port_count; i++)
		set->ports[i] = ports[i];
	text = (char *)(set->ports + port_count);
	for (size_t i = 0; i < labels->count; i++) {
		text = text_put(text, &set->labels.v[i].key, labels->v[i].key);
		text = text_put(text, &set->labels.v[i].value, labels->v[i].value);
	}
	return set;
}

struct labelset *labelset_get(struct policy *p, struct ns *ns, const struct labels *labels,
			      const struct named_port *ports, size_t port_count)
{
	uint64_t hash = labelset_hash(p, ns, labels, ports, port_count);
	struct labelset *set;

	table_each_hash(set, &p->sets, hash, by_text) {
		if (set->ns == ns && labels_equal(&set->labels, labels) && same_ports(set, ports, port_count)) {
			set->refs++;
			return set;
		}
	}
	set = labelset_new(labels, ports, port_count);
	if (!set)
		return NULL;
	set->refs = 1;
	set->ns = ns;
	ns->refs++;
	table_add(&p->sets, &set->by_text, hash);
	return set;
}

void labelset_put(struct policy *p, struct labelset *set)
{
	if (!set || --set->refs)
		return;
	/* It may still be reported: the next compile removes it. */
	list_append(&p->idle_sets, &set->rematch);
}

void labelset_use(struct policy *p, struct labelset *set)
{
	if (set && set->users++ == 0) {
		list_append(&set->ns->sets, &set->in_ns);
		list_append(&p->rematch_sets, &set->rematch);
	}
}

void labelset_unuse(struct policy *p, struct labelset *set)
{
	if (set && --set->users == 0)
		list_append(&p->idle_sets, &set->rematch);
}

/* The identity of all pods and endpoints with these labels has changed. */
static void members_dirty(struct policy *p, struct labelset *set)
{
	struct endpoint *ep;
	struct pod *pod;

	list_each(ep, &set->endpoints, in_set)
		list_mark(&p->dirty_endpoints, &ep->dirty);
	list_each(pod, &set->pods, in_set)
		list_mark(&p->dirty_pods, &pod->dirty);
}

void identity_leave(struct policy *p, struct labelset *set)
{
	if (!set->identity)
		return;
	list_remove(&set->in_identity);
	list_mark(&p->dirty_identities, &set->identity->dirty);
	set->identity = NULL;
	members_dirty(p, set);
}

static struct identity *identity_get(struct policy *p, uint64_t number)
{
	struct identity *identity;

	table_each_hash(identity, &p->identities, number, by_number)
		return identity;
	identity = calloc(1, sizeof(*identity));
	if (!identity)
		return NULL;
	identity->reported_peer = WR_PEER_NONE;
	table_add(&p->identities, &identity->by_number, number);
	return identity;
}

int labelset_identify(struct policy *p, struct labelset *set)
{
	const struct namespace_object *object = set->ns->object;
	uint64_t number = identity_compute(p->key, set->ns->name, object ? &object->labels : NULL, &set->labels,
					     set->ports, set->port_count);
	struct identity *identity = identity_get(p, number & p->identity_mask);

	if (!identity)
		return -ENOMEM;
	if (identity == set->identity)
		return 0;
	identity_leave(p, set);
	set->identity = identity;
	list_append(&identity->sets, &set->in_identity);
	list_mark(&p->dirty_identities, &identity->dirty);
	members_dirty(p, set);
	return 0;
}

void labelset_idle(struct policy *p, struct labelset *set)
{
	identity_leave(p, set);
	peer_set(p, set, NULL);
	class_set(p, set, NULL);
	list_remove(&set->in_ns);
	list_remove(&set->rematch);
	list_remove(&set->select);
	if (set->refs)
		return;
	table_remove(&p->sets, &set->by_text);
	list_remove(&set->in_local);
	ns_put(p, set->ns);
	free(set);
}
