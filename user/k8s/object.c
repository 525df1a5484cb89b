/* SPDX-License-Identifier: BSD-2-Clause */
#include "object.h"

#include "object_hash.h"

void object_free(struct object *o)
{
	switch (o->kind) {
	case OBJECT_NONE:
		break;
	case OBJECT_NAMESPACE:
		namespace_object_free(o->namespace);
		break;
	case OBJECT_POD:
		pod_object_free(o->pod);
		break;
	case OBJECT_POLICY:
		policy_object_free(o->policy);
		break;
	case OBJECT_NODE:
		node_object_free(o->node);
		break;
	}
	*o = (struct object){ 0 };
}

const char *object_kind_name(enum object_kind kind)
{
	static const char *const names[] = { [OBJECT_NONE] = "nothing",
					     [OBJECT_NAMESPACE] = "Namespace",
					     [OBJECT_POD] = "Pod",
					     [OBJECT_POLICY] = "NetworkPolicy",
					     [OBJECT_NODE] = "Node" };

	return names[kind];
}

void object_names(const struct object *o, const char **namespace, const char **name)
{
	*namespace = *name = "";
	if (o->kind == OBJECT_NAMESPACE) {
		*name = o->namespace->name;
	} else if (o->kind == OBJECT_POD) {
		*namespace = o->pod->namespace;
		*name = o->pod->name;
	} else if (o->kind == OBJECT_POLICY) {
		*namespace = o->policy->namespace;
		*name = o->policy->name;
	} else if (o->kind == OBJECT_NODE) {
		*name = o->node->name;
	}
}

static void hash_pod(struct siphash *h, const struct pod_object *pod)
{
	siphash_string(h, pod->uid);
	siphash_labels(h, &pod->labels);
	siphash_ports(h, pod->ports, pod->port_count);
	siphash_bytes(h, pod->ips, sizeof(pod->ips));
	siphash_string(h, pod->node);
	siphash_number(h, pod->host_network | pod->completed << 1 | pod->terminating << 2);
}

static void hash_node(struct siphash *h, const struct node_object *node)
{
	siphash_bytes(h, node->cidrs, sizeof(node->cidrs));
	siphash_number(h, node->address_count);
	siphash_bytes(h, node->addresses, node->address_count * sizeof(node->addresses[0]));
}

uint64_t object_fingerprint(const uint8_t key[SIPHASH_KEY_SIZE], const struct object *o)
{
	const char *namespace, *name;
	struct siphash h;

	object_names(o, &namespace, &name);
	siphash_begin(&h, key);
	siphash_number(&h, o->kind);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	switch (o->kind) {
	case OBJECT_NONE:
		break;
	case OBJECT_NAMESPACE:
		siphash_labels(&h, &o->namespace->labels);
		break;
	case OBJECT_POD:
		hash_pod(&h, o->pod);
		break;
	case OBJECT_POLICY:
		siphash_policy(&h, o->policy);
		break;
	case OBJECT_NODE:
		hash_node(&h, o->node);
		break;
	}
	return siphash_end(&h);
}
