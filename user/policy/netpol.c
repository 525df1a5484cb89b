/* SPDX-License-Identifier: BSD-2-Clause */
/* NetworkPolicies, and which of them have changed since the last compile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

static struct netpol *netpol_find(const struct policy *p, const char *namespace, const char *name)
{
	struct netpol *netpol;

	table_each_hash(netpol, &p->netpols, names_hash(p, namespace, name), by_name) {
		if (strcmp(netpol->name, name) == 0 && strcmp(netpol->ns->name, namespace) == 0)
			return netpol;
	}
	return NULL;
}

static struct netpol *netpol_get(struct policy *p, const char *namespace, const char *name)
{
	struct netpol *netpol = netpol_find(p, namespace, name);

	if (netpol)
		return netpol;
	netpol = calloc(1, sizeof(*netpol) + strlen(name) + 1);
	if (!netpol)
		return NULL;
	netpol->ns = ns_get(p, namespace);
	if (!netpol->ns) {
		free(netpol);
		return NULL;
	}
	memcpy(netpol->name, name, strlen(name) + 1);
	list_append(&netpol->ns->netpols, &netpol->in_ns);
	table_add(&p->netpols, &netpol->by_name, names_hash(p, namespace, name));
	return netpol;
}

void netpol_free(struct policy *p, struct netpol *netpol)
{
	table_remove(&p->netpols, &netpol->by_name);
	list_remove(&netpol->in_ns);
	list_remove(&netpol->edited);
	list_remove(&netpol->check);
	policy_object_free(netpol->object);
	list_remove(&netpol->refused);
	free(netpol->problem);
	ns_put(p, netpol->ns);
	free(netpol);
}

/* Whether its ingress rules have named ports: a class then depends on the ports of its pods. */
bool netpol_has_names(const struct policy_object *object)
{
	for (size_t i = 0; i < object->rule_count[POLICY_INGRESS]; i++) {
		const struct policy_rule *rule = &object->rules[POLICY_INGRESS][i];

		for (size_t j = 0; j < rule->port_count; j++) {
			if (rule->ports[j].name[0])
				return true;
		}
	}
	return false;
}

/*
 * A podSelector is matched against every label set of its namespace. One over the bound is handled like an unreadable
 * one: the policy isolates all of its namespace.
 */
static int bound_selector(struct policy_object *object)
{
	uint64_t values = selector_values(&object->pods), limit = bound_of_policy(BOUND_VALUES);

	if (values <= limit)
		return 0;
	free(object->invalid);
	object->invalid = bound_text(BOUND_VALUES, values, "spec.podSelector", limit);
	selector_free(&object->pods);
	return object->invalid ? 0 : -ENOMEM;
}

int policy_put_policy(struct policy *p, struct policy_object *object)
{
	struct netpol *netpol = bound_selector(object) < 0 ? NULL : netpol_get(p, object->namespace, object->name);
	struct siphash h;
	uint64_t content;

	siphash_begin(&h, p->key);
	siphash_policy(&h, object);
	content = siphash_end(&h);
	if (!netpol || (netpol->object && netpol->content == content)) {
		policy_object_free(object);
		return netpol ? 0 : -ENOMEM;
	}
	policy_object_free(netpol->object);
	netpol->object = object;
	netpol->content = content;
	netpol->has_names |= netpol_has_names(object);
	netpol->changed = true;
	netpol->counted = false;
	list_mark(&p->edited_netpols, &netpol->edited);
	list_mark(&p->check_netpols, &netpol->check);
	return 0;
}

void policy_remove_policy(struct policy *p, const char *namespace, const char *name)
{
	struct netpol *netpol = netpol_find(p, namespace, name);

	if (!netpol || !netpol->object)
		return;
	policy_object_free(netpol->object);
	netpol->object = NULL;
	netpol->has_names = false;
	netpol->changed = true;
	list_mark(&p->edited_netpols, &netpol->edited);
	list_mark(&p->check_netpols, &netpol->check);
}
