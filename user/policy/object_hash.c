/* SPDX-License-Identifier: BSD-2-Clause */
#include "object_hash.h"

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
