/* SPDX-License-Identifier: BSD-2-Clause */
#include "objects.h"

void siphash_labels(struct siphash *h, const struct labels *labels)
{
	siphash_number(h, labels->count);
	for (size_t i = 0; i < labels->count; i++) {
		siphash_string(h, labels->v[i].key);
		siphash_string(h, labels->v[i].value);
	}
}

void siphash_ports(struct siphash *h, const struct named_port *ports, size_t count)
{
	siphash_number(h, count);
	for (size_t i = 0; i < count; i++) {
		siphash_string(h, ports[i].name);
		siphash_number(h, (uint64_t)ports[i].protocol << 16 | ports[i].port);
	}
}

void siphash_selector(struct siphash *h, const struct selector *selector)
{
	siphash_number(h, selector->count);
	for (size_t i = 0; i < selector->count; i++) {
		const struct requirement *r = &selector->v[i];

		siphash_string(h, r->key);
		siphash_number(h, (uint64_t)r->op << 32 | r->value_count);
		for (size_t j = 0; j < r->value_count; j++)
			siphash_string(h, r->values[j]);
	}
}

/* Addresses and prefixes have no padding. */
static void hash_peer(struct siphash *h, const struct policy_peer *peer)
{
	siphash_number(h, peer->is_block | peer->has_namespaces << 1 | peer->has_pods << 2);
	siphash_bytes(h, &peer->block, sizeof(peer->block));
	siphash_number(h, peer->except_count);
	siphash_bytes(h, peer->except, peer->except_count * sizeof(*peer->except));
	siphash_selector(h, &peer->namespaces);
	siphash_selector(h, &peer->pods);
}

static void hash_rule(struct siphash *h, const struct policy_rule *rule)
{
	siphash_number(h, rule->peer_count);
	for (size_t i = 0; i < rule->peer_count; i++)
		hash_peer(h, &rule->peers[i]);
	siphash_number(h, rule->port_count);
	for (size_t i = 0; i < rule->port_count; i++) {
		const struct policy_port *port = &rule->ports[i];

		siphash_string(h, port->name);
		siphash_number(h, (uint64_t)port->all << 40 | (uint64_t)port->protocol << 32 |
				      (uint64_t)port->first << 16 | port->last);
	}
}

void siphash_policy(struct siphash *h, const struct policy_object *policy)
{
	siphash_selector(h, &policy->pods);
	siphash_string(h, policy->invalid ? policy->invalid : "");
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		siphash_number(h, policy->isolates[d]);
		siphash_number(h, policy->rule_count[d]);
		for (size_t i = 0; i < policy->rule_count[d]; i++)
			hash_rule(h, &policy->rules[d][i]);
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
	siphash_string(h, node->zone ?: "");
	siphash_number(h, node->leaving);
}

static void hash_prefix(struct siphash *h, const struct prefix *prefix)
{
	siphash_bytes(h, &prefix->ip, sizeof(prefix->ip));
	siphash_number(h, prefix->len);
}

static void hash_service(struct siphash *h, const struct service_object *service)
{
	siphash_number(h, (uint64_t)service->health_check_port << 16 | (uint64_t)service->type << 4 |
				  (uint64_t)service->other_proxy << 3 | (uint64_t)service->restricted << 2 | (uint64_t)service->external_local << 1 |
				  service->internal_local);
	siphash_number(h, service->affinity_seconds);
	siphash_bytes(h, service->cluster_ips, sizeof(service->cluster_ips));
	siphash_number(h, service->source_range_count);
	for (size_t i = 0; i < service->source_range_count; i++)
		hash_prefix(h, &service->source_ranges[i]);
	siphash_number(h, service->external_ip_count);
	siphash_bytes(h, service->external_ips, service->external_ip_count * sizeof(*service->external_ips));
	siphash_number(h, service->balancer_ip_count);
	siphash_bytes(h, service->balancer_ips, service->balancer_ip_count * sizeof(*service->balancer_ips));
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
		siphash_string(h, ep->for_nodes ?: "");
		siphash_string(h, ep->for_zones ?: "");
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
	case OBJECT_SERVICE_CIDR:
		for (int i = 0; i < 2; i++)
			hash_prefix(&h, &o->service_cidr->cidrs[i]);
		break;
	}
	return siphash_end(&h);
}
