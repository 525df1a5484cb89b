/* SPDX-License-Identifier: BSD-2-Clause */
#include "naive.h"

#include <string.h>

static bool has_value(const struct requirement *r, const char *value)
{
	for (size_t i = 0; i < r->value_count; i++) {
		if (strcmp(value, r->values[i]) == 0)
			return true;
	}
	return false;
}

static bool requirement_holds(const struct requirement *r, const struct labels *labels)
{
	const char *value = NULL;

	for (size_t i = 0; i < labels->count; i++) {
		if (strcmp(labels->v[i].key, r->key) == 0)
			value = labels->v[i].value;
	}
	if (r->op == REQUIRE_EXISTS)
		return value != NULL;
	if (r->op == REQUIRE_NOT_EXISTS)
		return value == NULL;
	if (r->op == REQUIRE_IN)
		return value != NULL && has_value(r, value);
	return value == NULL || !has_value(r, value);
}

static bool selects(const struct selector *s, const struct labels *labels)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!requirement_holds(&s->v[i], labels))
			return false;
	}
	return true;
}

static bool covers(const struct prefix *p, const struct ip *ip)
{
	if (p->ip.family != ip->family)
		return false;
	for (unsigned bit = 0; bit < p->len; bit++) {
		if ((p->ip.bytes[bit / 8] ^ ip->bytes[bit / 8]) & (0x80 >> bit % 8))
			return false;
	}
	return true;
}

static const struct namespace_object *namespace_of(const struct cluster *c, const struct pod_object *pod)
{
	for (size_t i = 0; i < c->namespace_count; i++) {
		if (strcmp(c->namespaces[i]->name, pod->namespace) == 0)
			return c->namespaces[i];
	}
	return NULL;
}

bool naive_is_peer(const struct cluster_pod *pod)
{
	return pod->kind == POD_OWN || (!pod->object->host_network && !pod->object->completed);
}

/* An ipBlock matches addresses, also those of pods. */
static bool block_holds(const struct policy_peer *peer, const struct ip *ip)
{
	if (!covers(&peer->block, ip))
		return false;
	for (size_t i = 0; i < peer->except_count; i++) {
		if (covers(&peer->except[i], ip))
			return false;
	}
	return true;
}

static bool peer_holds(const struct cluster *c, const struct policy_object *policy, const struct policy_peer *peer,
		       const struct naive_peer *who)
{
	const struct namespace_object *namespace;
	const struct pod_object *pod;

	if (peer->is_block)
		return block_holds(peer, &who->ip);
	if (!who->pod || !naive_is_peer(who->pod))
		return false;
	pod = who->pod->object;
	if (!peer->has_namespaces && strcmp(pod->namespace, policy->namespace) != 0)
		return false;
	if (peer->has_namespaces && peer->namespaces.count) {
		namespace = namespace_of(c, pod);
		if (!namespace || !selects(&peer->namespaces, &namespace->labels))
			return false;
	}
	return !peer->has_pods || selects(&peer->pods, &pod->labels);
}

static bool pod_has_port(const struct cluster_pod *pod, const struct policy_port *port, uint16_t number)
{
	if (!pod || !naive_is_peer(pod) || pod->kind == POD_OWN)
		return false; /* labels from the network config have no ports */
	for (size_t i = 0; i < pod->object->port_count; i++) {
		const struct named_port *named = &pod->object->ports[i];

		if (strcmp(named->name, port->name) == 0 && named->protocol == port->protocol && named->port == number)
			return true;
	}
	return false;
}

static bool port_holds(const struct policy_port *port, const struct cluster_pod *receiver, uint8_t protocol,
		       uint16_t number)
{
	if (port->protocol != protocol)
		return false;
	if (port->name[0])
		return pod_has_port(receiver, port, number);
	return port->all || (number >= port->first && number <= port->last);
}

static bool pair_holds(const struct cluster *c, const struct policy_object *policy, const struct policy_peer *peer,
		       const struct naive_peer *who, const struct policy_port *port, const struct cluster_pod *receiver,
		       int direction, uint8_t protocol, uint16_t number)
{
	if (peer && !peer_holds(c, policy, peer, who))
		return false;
	/* Not specified; Warren's choice: an ipBlock does not resolve a named port. */
	if (peer && peer->is_block && port && port->name[0] && direction == POLICY_EGRESS)
		return false;
	return !port || port_holds(port, receiver, protocol, number);
}

static bool rule_holds(const struct cluster *c, const struct policy_object *policy, int direction,
		       const struct policy_rule *rule, const struct cluster_pod *pod, const struct naive_peer *who,
		       uint8_t protocol, uint16_t number)
{
	const struct cluster_pod *receiver = direction == POLICY_INGRESS ? pod : who->pod;

	for (size_t i = 0; i < (rule->peer_count ? rule->peer_count : 1); i++) {
		for (size_t j = 0; j < (rule->port_count ? rule->port_count : 1); j++) {
			if (pair_holds(c, policy, rule->peer_count ? &rule->peers[i] : NULL, who,
				       rule->port_count ? &rule->ports[j] : NULL, receiver, direction, protocol,
				       number))
				return true;
		}
	}
	return false;
}

static bool has_policy(const struct cluster_pod *pod)
{
	if (pod->kind == POD_REPLACED && pod->object->uid[0])
		return false; /* the object is another pod's, and there are no other labels */
	return naive_is_peer(pod);
}

bool naive_allows(const struct cluster *c, const struct cluster_pod *pod, int direction, const struct naive_peer *peer,
		  uint8_t protocol, uint16_t port)
{
	bool isolated = false;

	if (peer->own_host && (direction == POLICY_INGRESS || !has_policy(pod)))
		return true;
	if (!has_policy(pod))
		return false;
	for (size_t i = 0; i < c->policy_count; i++) {
		const struct policy_object *policy = c->policies[i];

		if (strcmp(policy->namespace, pod->object->namespace) != 0 ||
		    !selects(&policy->pods, &pod->object->labels))
			continue;
		if (!policy->invalid && !policy->isolates[direction])
			continue;
		isolated = true;
		for (size_t j = 0; !policy->invalid && j < policy->rule_count[direction]; j++) {
			if (rule_holds(c, policy, direction, &policy->rules[direction][j], pod, peer, protocol, port))
				return true;
		}
	}
	return !isolated;
}
