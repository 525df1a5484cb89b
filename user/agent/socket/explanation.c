/* SPDX-License-Identifier: BSD-2-Clause */
/* Why a flow is denied, as JSON; the rule that would allow it as it is written in a NetworkPolicy. */
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "agent.h"
#include "json.h"
#include "enum_names.h"
#include "request.h"

static const char *const match_names[POLICY_MATCHES] = {
	[POLICY_ALLOWS] = "allows",
	[POLICY_WRONG_PORT] = "wrong_port",
	[POLICY_WRONG_PROTOCOL] = "wrong_protocol",
	[POLICY_WRONG_PEER] = "wrong_peer",
};

static json_t *policy_name(const struct policy_object *policy)
{
	return json_sprintf("%s/%s", policy->namespace, policy->name);
}

/* --- the change --- */

static json_t *selector_of(const struct explained_labels *labels)
{
	json_t *match = json_object();

	for (size_t i = 0; i < labels->count; i++)
		json_object_set_new(match, labels->v[i]->key, json_string(labels->v[i]->value));
	return labels->count ? json_pack("{s:o}", "matchLabels", match) : match;
}

static json_t *peer_of(const struct policy_change *change)
{
	const struct prefix host = { change->peer_ip, change->peer_ip.family == AF_INET ? 32 : 128 };

	if (!change->peer_namespace)
		return json_pack("{s:{s:o}}", "ipBlock", "cidr", json_prefix(&host));
	if (change->same_namespace)
		return json_pack("{s:o}", "podSelector", selector_of(&change->peer_pods));
	return json_pack("{s:o, s:o}", "namespaceSelector", selector_of(&change->namespace_labels), "podSelector",
			 selector_of(&change->peer_pods));
}

/* A NetworkPolicy names no protocol without ports: for ICMP the rule is for all protocols. */
static json_t *rule_of(const struct policy_change *change, const struct policy_flow *flow)
{
	json_t *rule = json_pack("{s:[o]}", flow->direction == POLICY_INGRESS ? "from" : "to", peer_of(change));

	if (flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP || flow->protocol == IPPROTO_SCTP)
		json_object_set_new(
		    rule, "ports",
		    json_pack("[{s:s, s:i}]", "protocol", protocol_name(flow->protocol), "port", (int)flow->port));
	return rule;
}

/* Its name depends on its content, so that it replaces no other policy. */
static json_t *new_policy(const struct policy_explanation *e, const struct policy_flow *flow)
{
	static const uint8_t no_key[SIPHASH_KEY_SIZE];
	const char *direction = direction_name(flow->direction);
	json_t *spec =
	    json_pack("{s:o, s:[s], s:[o]}", "podSelector", selector_of(&e->change.pods), "policyTypes",
		      flow->direction == POLICY_INGRESS ? "Ingress" : "Egress", direction, rule_of(&e->change, flow));
	char *text = json_dumps(spec, JSON_COMPACT);
	uint64_t hash = siphash24(no_key, text ? text : "", text ? strlen(text) : 0);

	free(text);
	return json_pack("{s:s, s:s, s:{s:s, s:o}, s:o}", "apiVersion", "networking.k8s.io/v1", "kind", "NetworkPolicy",
			 "metadata", "namespace", e->namespace, "name",
			 json_sprintf("allow-%s-%06x", direction, (unsigned)(hash & 0xffffff)), "spec", spec);
}

static json_t *change_json(const struct policy_explanation *e, const struct policy_flow *flow)
{
	const struct policy_change *change = &e->change;

	if (change->obstacle)
		return json_pack("{s:s}", "obstacle", change->obstacle);
	return json_pack("{s:n, s:o, s:s?, s:o, s:o}", "obstacle", "policy",
			 change->policy ? policy_name(change->policy) : json_null(), "peer_namespace",
			 change->peer_namespace, "rule", rule_of(change, flow), "manifest",
			 change->policy ? json_null() : new_policy(e, flow));
}

/* --- the explanation --- */

static json_t *policies_of(const struct policy_explanation *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->policy_count && i < EXPLAIN_LIST; i++)
		json_array_append_new(list, json_pack("{s:o, s:s?, s:s?}", "policy", policy_name(e->policies[i].object),
						      "invalid", e->policies[i].object->invalid, "problem",
						      e->policies[i].problem));
	return list;
}

static json_t *rules_of(const struct policy_explanation *e, const struct policy_flow *flow)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->rule_count && i < EXPLAIN_LIST; i++) {
		const struct policy_explained_rule *rule = &e->rules[i];

		json_array_append_new(
		    list, json_pack("{s:o, s:s}", "rule",
				    json_sprintf("%s/%s %s[%zu]", rule->policy->namespace, rule->policy->name,
						 direction_name(flow->direction), rule->number),
				    "match", match_names[rule->match]));
	}
	return list;
}

json_t *answer_explanation(struct agent *agent, const struct explain_request *request)
{
	const uint64_t key = apply_class_key(agent->apply, request->policy_class);
	const struct policy_flow *flow = &request->flow;
	json_t *matches;
	struct policy_explanation e;

	if (request->policy_class == WR_CLASS_QUARANTINE)
		return json_pack("{s:{s:s}}", "explanation", "quarantine",
				 policy_explain_quarantine(agent->policy, request->endpoint));
	if (!key || !policy_explain(agent->policy, key, request->endpoint, flow, &e))
		return json_pack("{s:n}", "explanation");
	matches = json_object();
	for (int i = 0; i < POLICY_MATCHES; i++)
		json_object_set_new(matches, match_names[i], json_integer((json_int_t)e.matches[i]));
	return json_pack("{s:{s:n, s:s?, s:I, s:o, s:I, s:o, s:o, s:o}}", "explanation", "quarantine", "problem",
			 e.problem, "policies", (json_int_t)e.policy_count, "isolated_by", policies_of(&e), "rules",
			 (json_int_t)e.rule_count, "matches", matches, "nearest", rules_of(&e, flow), "change",
			 change_json(&e, flow));
}
