/* SPDX-License-Identifier: BSD-2-Clause */
/* Namespaces, with or without an object of that name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

uint64_t names_hash(const struct policy *p, const char *a, const char *b)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_string(&h, a);
	siphash_string(&h, b);
	return siphash_end(&h);
}

static struct ns *ns_find(const struct policy *p, const char *name)
{
	struct ns *ns;

	table_each_hash(ns, &p->namespaces, names_hash(p, name, ""), by_name) {
		if (strcmp(ns->name, name) == 0)
			return ns;
	}
	return NULL;
}

struct ns *ns_get(struct policy *p, const char *name)
{
	struct ns *ns = ns_find(p, name);

	if (!ns) {
		ns = calloc(1, sizeof(*ns) + strlen(name) + 1);
		if (!ns)
			return NULL;
		memcpy(ns->name, name, strlen(name) + 1);
		list_append(&p->dirty_namespaces, &ns->dirty);
		table_add(&p->namespaces, &ns->by_name, names_hash(p, name, ""));
	}
	ns->refs++;
	return ns;
}

void ns_put(struct policy *p, struct ns *ns)
{
	if (--ns->refs)
		return;
	table_remove(&p->namespaces, &ns->by_name);
	list_remove(&ns->dirty);
	free(ns->scopes);
	free(ns);
}

int policy_put_namespace(struct policy *p, struct namespace_object *object)
{
	struct ns *ns = ns_get(p, object->name);

	if (!ns) {
		namespace_object_free(object);
		return -ENOMEM;
	}
	if (ns->object) {
		ns->refs--; /* the old object's reference goes to the new one */
		if (labels_equal(&ns->object->labels, &object->labels)) {
			namespace_object_free(object);
			return 0;
		}
	}
	namespace_object_free(ns->object);
	ns->object = object;
	list_mark(&p->dirty_namespaces, &ns->dirty);
	return 0;
}

void policy_remove_namespace(struct policy *p, const char *name)
{
	struct ns *ns = ns_find(p, name);

	if (!ns || !ns->object)
		return;
	namespace_object_free(ns->object);
	ns->object = NULL;
	list_mark(&p->dirty_namespaces, &ns->dirty);
	ns_put(p, ns);
}
