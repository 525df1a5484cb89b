/* SPDX-License-Identifier: BSD-2-Clause */
#include "explanation.h"

#include <netinet/in.h>

unsigned long explanation_changes;

struct selector_room {
	struct requirement v[EXPLAIN_LABELS];
};

static struct selector select_labels(const struct explained_labels *labels, struct selector_room *room)
{
	for (size_t i = 0; i < labels->count; i++)
		room->v[i] = (struct requirement){ .key = labels->v[i]->key,
						   .op = REQUIRE_IN,
						   .values = (char **)&labels->v[i]->value,
						   .value_count = 1 };
	return (struct selector){ room->v, labels->count };
}

/* NetworkPolicies add up: a rule added to a policy is another policy for the same pods. */
static bool change_allows(const struct cluster *c, const struct cluster_pod *pod, const struct policy_change *change,
			  const struct policy_flow *flow, const struct naive_peer *peer)
{
	struct selector_room rooms[3];
	struct policy_peer from = { .is_block = !change->peer_namespace, .block = { .ip = change->peer_ip } };
	struct policy_port port = { .protocol = flow->protocol, .first = flow->port, .last = flow->port };
	struct policy_rule rule = { .peers = &from, .peer_count = 1, .ports = &port };
	struct policy_object added = { .namespace = pod->object->namespace, .name = (char *)"added" };
	struct cluster changed = *c; /* borrows all objects */

	from.block.len = from.block.ip.family == AF_INET ? 32 : 128;
	if (change->peer_namespace) {
		from.has_pods = true;
		from.pods = select_labels(&change->peer_pods, &rooms[0]);
		from.has_namespaces = !change->same_namespace;
		from.namespaces = select_labels(&change->namespace_labels, &rooms[1]);
	}
	rule.port_count =
	    flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP || flow->protocol == IPPROTO_SCTP;
	added.pods = change->policy ? change->policy->pods : select_labels(&change->pods, &rooms[2]);
	added.isolates[flow->direction] = true;
	added.rules[flow->direction] = &rule;
	added.rule_count[flow->direction] = 1;
	changed.policies[changed.policy_count++] = &added;
	return naive_allows(&changed, pod, flow->direction, peer, flow->protocol, flow->port);
}

const char *check_explanation(const struct policy *p, const struct cluster *c, const struct cluster_pod *pod,
			      uint64_t class_key, const struct policy_flow *flow, const struct naive_peer *peer,
			      bool expected)
{
	struct policy_explanation e;
	size_t rules = 0;

	if (!policy_explain(p, class_key, pod->ifindex, flow, &e))
		return "there is no class to explain";
	for (int i = 0; i < POLICY_MATCHES; i++)
		rules += e.matches[i];
	if (rules != e.rule_count)
		return "the rules are not all counted";
	if ((!e.policy_count || e.matches[POLICY_ALLOWS]) != expected)
		return "the explanation disagrees with the verdict";
	if (expected != !!e.matches[POLICY_ALLOWS] && e.policy_count)
		return "no rule is named";
	for (size_t i = 0; e.matches[POLICY_ALLOWS] && i < EXPLAIN_LIST && i < e.rule_count; i++) {
		if (e.rules[i].match == POLICY_ALLOWS)
			break;
		if (i + 1 == EXPLAIN_LIST || i + 1 == e.rule_count)
			return "the rule that allows it is not listed";
	}
	if (expected || e.change.obstacle || c->policy_count == CLUSTER_MAX)
		return NULL;
	explanation_changes++;
	return change_allows(c, pod, &e.change, flow, peer) ? NULL : "the proposed change does not allow the flow";
}
