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
	case OBJECT_SERVICE:
		service_object_free(o->service);
		break;
	case OBJECT_SLICE:
		slice_object_free(o->slice);
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
					     [OBJECT_NODE] = "Node",
					     [OBJECT_SERVICE] = "Service",
					     [OBJECT_SLICE] = "EndpointSlice" };

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
	} else if (o->kind == OBJECT_SERVICE) {
		*namespace = o->service->namespace;
		*name = o->service->name;
	} else if (o->kind == OBJECT_SLICE) {
		*namespace = o->slice->namespace;
		*name = o->slice->name;
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
	siphash_number(h, (uint64_t)node->created);
	siphash_string(h, node->agent);
}

static void hash_service(struct siphash *h, const struct service_object *service)
{
	siphash_number(h, (uint64_t)service->type << 1 | service->internal_local);
	siphash_number(h, service->affinity_seconds);
	siphash_bytes(h, service->cluster_ips, sizeof(service->cluster_ips));
	siphash_number(h, service->port_count);
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];

		siphash_string(h, port->name);
		siphash_number(h, (uint64_t)port->protocol << 32 | (uint64_t)port->port << 16 | port->node_port);
	}
}

static void hash_slice(struct siphash *h, const struct slice_object *slice)
{
	siphash_string(h, slice->service);
	siphash_number(h, slice->endpoint_count);
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		const struct slice_endpoint *ep = &slice->endpoints[i];

		siphash_bytes(h, &ep->address, sizeof(ep->address));
		siphash_number(h, ep->ready | ep->serving << 1 | ep->terminating << 2);
		siphash_string(h, ep->node);
	}
	siphash_number(h, slice->port_count);
	for (size_t i = 0; i < slice->port_count; i++) {
		siphash_string(h, slice->ports[i].name);
		siphash_number(h, (uint64_t)slice->ports[i].protocol << 16 | slice->ports[i].port);
	}
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
	case OBJECT_SERVICE:
		hash_service(&h, o->service);
		break;
	case OBJECT_SLICE:
		hash_slice(&h, o->slice);
		break;
	}
	return siphash_end(&h);
}
