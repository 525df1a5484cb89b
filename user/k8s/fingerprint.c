/* SPDX-License-Identifier: BSD-2-Clause */
#include "fingerprint.h"

static void hash_ip(struct siphash *h, const struct ip *ip)
{
	siphash_number(h, ip->family);
	siphash_bytes(h, ip->bytes, sizeof(ip->bytes));
}

static void hash_prefix(struct siphash *h, const struct prefix *prefix)
{
	hash_ip(h, &prefix->ip);
	siphash_number(h, prefix->len);
}

static void hash_pod(struct siphash *h, const struct pod_object *pod)
{
	siphash_string(h, pod->uid);
	siphash_labels(h, &pod->labels);
	siphash_ports(h, pod->ports, pod->port_count);
	hash_ip(h, &pod->ips[0]);
	hash_ip(h, &pod->ips[1]);
	siphash_string(h, pod->node);
	siphash_number(h, pod->host_network | pod->completed << 1 | pod->terminating << 2);
}

static void hash_peer(struct siphash *h, const struct policy_peer *peer)
{
	siphash_number(h, peer->is_block | peer->has_namespaces << 1 | peer->has_pods << 2);
	hash_prefix(h, &peer->block);
	siphash_number(h, peer->except_count);
	for (size_t i = 0; i < peer->except_count; i++)
		hash_prefix(h, &peer->except[i]);
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

		siphash_number(h, (uint64_t)port->protocol << 40 | (uint64_t)port->all << 32 |
				      (uint64_t)port->first << 16 | port->last);
		siphash_string(h, port->name);
	}
}

static void hash_policy(struct siphash *h, const struct policy_object *p)
{
	siphash_selector(h, &p->pods);
	siphash_string(h, p->invalid ? p->invalid : "");
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		siphash_number(h, p->isolates[d]);
		siphash_number(h, p->rule_count[d]);
		for (size_t i = 0; i < p->rule_count[d]; i++)
			hash_rule(h, &p->rules[d][i]);
	}
}

static void hash_node(struct siphash *h, const struct node_object *node)
{
	hash_prefix(h, &node->cidrs[0]);
	hash_prefix(h, &node->cidrs[1]);
	siphash_number(h, node->address_count);
	for (size_t i = 0; i < node->address_count; i++)
		hash_ip(h, &node->addresses[i]);
}

uint64_t object_fingerprint(const uint8_t key[POLICY_KEY_SIZE], const struct object *o)
{
	const char *namespace, *name;
	struct siphash h;

	object_names(o, &namespace, &name);
	siphash_begin(&h, key);
	siphash_number(&h, o->kind);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	if (o->kind == OBJECT_NAMESPACE)
		siphash_labels(&h, &o->namespace->labels);
	else if (o->kind == OBJECT_POD)
		hash_pod(&h, o->pod);
	else if (o->kind == OBJECT_POLICY)
		hash_policy(&h, o->policy);
	else if (o->kind == OBJECT_NODE)
		hash_node(&h, o->node);
	return siphash_end(&h);
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
