/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a class denies a flow: evaluates the objects of its policies rule by rule, and finds the narrowest rule that
 * would allow the flow. Only when asked: programs look up entries, not rules.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "compiler.h"

struct explain {
	const struct class *class;
	const struct policy_flow *flow;
	const struct labelset *peer; /* NULL: no pod, or none that a selector can match */
	struct policy_explanation *e;
};

/* --- peers --- */

static const struct labelset *find_peer(const struct policy *p, uint64_t number)
{
	const struct identity *identity;

	table_each_hash(identity, &p->identities, number, by_number) {
		if (!identity->collision)
			return list_first(&identity->sets, struct labelset, in_identity);
	}
	return NULL;
}

static bool block_contains(const struct policy_peer *peer, const struct ip *ip)
{
	bool contains = ip->family && prefix_contains(&peer->block, ip);

	for (size_t i = 0; contains && i < peer->except_count; i++)
		contains = !prefix_contains(&peer->except[i], ip);
	return contains;
}

/* As scope_matches(), without a scope. */
static bool namespace_matches(const struct netpol *netpol, const struct policy_peer *peer, const struct ns *ns)
{
	if (!peer->has_namespaces)
		return ns == netpol->ns;
	return !peer->namespaces.count || (ns->object && selector_matches(&peer->namespaces, &ns->object->labels));
}

/* `peer` NULL: a rule without peers. */
static bool peer_matches(const struct explain *x, const struct netpol *netpol, const struct policy_peer *peer)
{
	if (!peer)
		return true;
	if (peer->is_block)
		return block_contains(peer, &x->flow->peer_ips[0]) || block_contains(peer, &x->flow->peer_ips[1]);
	if (peer->has_namespaces && !peer->namespaces.count && !(peer->has_pods && peer->pods.count))
		return x->flow->peer_identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD;
	return x->peer && namespace_matches(netpol, peer, x->peer->ns) &&
	       (!peer->has_pods || selector_matches(&peer->pods, &x->peer->labels));
}

/* --- ports --- */

static bool has_named_port(const struct named_port *ports, size_t count, const struct policy_port *port,
			   uint16_t number)
{
	for (size_t i = 0; i < count; i++) {
		if (ports[i].protocol == port->protocol && ports[i].port == number &&
		    strcmp(ports[i].name, port->name) == 0)
			return true;
	}
	return false;
}

/* A named port is one of the destination's: in egress of the peer; an ipBlock resolves none (see terms.c). */
static bool port_matches(const struct explain *x, const struct policy_port *port, const struct policy_peer *peer)
{
	const struct policy_flow *flow = x->flow;

	if (port->protocol != flow->protocol)
		return false;
	if (!port->name[0])
		return port->all || (flow->port >= port->first && flow->port <= port->last);
	if (flow->direction == POLICY_INGRESS)
		return has_named_port(x->class->ports, x->class->port_count, port, flow->port);
	return x->peer && !(peer && peer->is_block) &&
	       has_named_port(x->peer->ports, x->peer->port_count, port, flow->port);
}

/* --- rules --- */

static enum policy_match match_ports(const struct explain *x, const struct policy_rule *rule,
				     const struct policy_peer *peer)
{
	enum policy_match match = rule->port_count ? POLICY_WRONG_PROTOCOL : POLICY_ALLOWS;

	for (size_t i = 0; i < rule->port_count && match != POLICY_ALLOWS; i++) {
		if (port_matches(x, &rule->ports[i], peer))
			match = POLICY_ALLOWS;
		else if (rule->ports[i].protocol == x->flow->protocol)
			match = POLICY_WRONG_PORT;
	}
	return match;
}

/* The best match of its peers. */
static enum policy_match match_rule(const struct explain *x, const struct netpol *netpol,
				    const struct policy_rule *rule)
{
	enum policy_match best = POLICY_WRONG_PEER, match;

	for (size_t i = 0; i < (rule->peer_count ? rule->peer_count : 1) && best != POLICY_ALLOWS; i++) {
		const struct policy_peer *peer = rule->peer_count ? &rule->peers[i] : NULL;

		if (!peer_matches(x, netpol, peer))
			continue;
		match = match_ports(x, rule, peer);
		if (match < best)
			best = match;
	}
	return best;
}

static void note_rule(struct policy_explanation *e, const struct policy_object *policy, size_t number,
		      enum policy_match match)
{
	size_t at = e->rule_count++;

	e->matches[match]++;
	if (at >= EXPLAIN_LIST) { /* those that come closest are listed */
		for (at = 0; at < EXPLAIN_LIST && e->rules[at].match <= match; at++)
			;
		if (at == EXPLAIN_LIST)
			return;
	}
	e->rules[at] = (struct policy_explained_rule){ policy, number, match };
}

/* How near the policy comes to one that should be extended: the more the better; 0: not at all. */
static unsigned nearness(const struct netpol *netpol, unsigned direction, enum policy_match best)
{
	if (netpol->problem || netpol->object->invalid || !netpol->object->pods.count)
		return 0; /* (one for all pods of the namespace would open all of them) */
	return netpol->object->rule_count[direction] ? 2 + POLICY_MATCHES - best : 1;
}

static void explain_policy(struct explain *x, const struct netpol *netpol, unsigned *nearest)
{
	const struct policy_object *object = netpol->object;
	struct policy_explanation *e = x->e;
	enum policy_match best = POLICY_WRONG_PEER;
	unsigned near;

	/* A policy that has been removed stays a member of the class until the next compile. */
	if (!object || (!object->isolates[x->flow->direction] && !object->invalid))
		return;
	if (e->policy_count < EXPLAIN_LIST)
		e->policies[e->policy_count] = (struct policy_explained_policy){ object, netpol->problem };
	e->policy_count++;
	/* Rules of an invalid policy and of one over a bound have no effect. */
	for (size_t i = 0; !object->invalid && !netpol->problem && i < object->rule_count[x->flow->direction]; i++) {
		enum policy_match match = match_rule(x, netpol, &object->rules[x->flow->direction][i]);

		note_rule(e, object, i, match);
		best = match < best ? match : best;
	}
	near = nearness(netpol, x->flow->direction, best);
	if (near > *nearest) {
		*nearest = near;
		e->change.policy = object;
	}
}

/* --- the change that would allow it --- */

/* Labels by which rollouts and controllers distinguish pods of one workload. */
static bool is_stable(const char *key)
{
	static const char *const changing[] = {
		"apps.kubernetes.io/pod-index",
		"controller-revision-hash",
		"controller-uid",
		"helm.sh/chart",
		"job-name",
		"pod-template-generation",
		"pod-template-hash",
		"statefulset.kubernetes.io/pod-name",
		"app.kubernetes.io/version",
		"app.kubernetes.io/managed-by",
	};

	for (size_t i = 0; i < ARRAY_SIZE(changing); i++) {
		if (strcmp(key, changing[i]) == 0)
			return false;
	}
	return strncmp(key, "batch.kubernetes.io/", strlen("batch.kubernetes.io/")) != 0;
}

/* The labels that select pods like these. Of pods with changing labels only: these. */
static void choose_labels(struct explained_labels *to, const struct labels *labels)
{
	for (int stable = 1; stable >= 0 && !to->count; stable--) {
		for (size_t i = 0; i < labels->count && to->count < EXPLAIN_LABELS; i++) {
			if (is_stable(labels->v[i].key) == stable)
				to->v[to->count++] = &labels->v[i];
		}
	}
}

static void choose_namespace(struct policy_change *change, const struct ns *ns, const struct netpol *of)
{
	static const char metadata_name[] = "kubernetes.io/metadata.name";
	const struct labels *labels = ns->object ? &ns->object->labels : NULL;

	change->peer_namespace = ns->name;
	change->same_namespace = ns == of->ns;
	for (size_t i = 0; labels && i < labels->count; i++) {
		if (strcmp(labels->v[i].key, metadata_name) == 0) {
			change->namespace_labels = (struct explained_labels){ { &labels->v[i] }, 1 };
			return;
		}
	}
	if (labels)
		choose_labels(&change->namespace_labels, labels);
	if (!change->same_namespace && !change->namespace_labels.count)
		change->obstacle =
		    labels ? "the peer's namespace has no label that selects it" : "the peer's namespace has no object";
}

static void propose(struct explain *x, const struct labelset *own)
{
	struct policy_change *change = &x->e->change;
	const struct policy_flow *flow = x->flow;

	for (size_t i = 0; i < ARRAY_SIZE(flow->peer_ips); i++) {
		if (flow->peer_ips[i].family)
			change->peer_ip = flow->peer_ips[i];
	}
	if (own)
		choose_labels(&change->pods, &own->labels);
	if (x->e->matches[POLICY_ALLOWS] || !x->e->policy_count) {
		change->obstacle = "it is allowed by now";
	} else if (x->e->problem) {
		change->obstacle = "the rules do not fit";
	} else if (x->peer) {
		choose_labels(&change->peer_pods, &x->peer->labels);
		choose_namespace(change, x->peer->ns, x->class->members[0].netpol);
	} else if (flow->peer_identity != WR_ID_WORLD && flow->peer_identity != WR_ID_HOST &&
		   flow->peer_identity != WR_ID_REMOTE_NODE) {
		change->obstacle = "the peer is a pod whose labels are unknown here";
	} else if (!change->peer_ip.family) {
		change->obstacle = "the peer's address is unknown";
	}
}

/* --- a class, a quarantined endpoint --- */

static const struct endpoint *find_endpoint(const struct policy *p, uint32_t ifindex)
{
	const struct endpoint *ep;

	table_each_hash(ep, &p->endpoints, ifindex, by_ifindex)
		return ep;
	return NULL;
}

bool policy_explain(const struct policy *p, uint64_t class_key, uint32_t ifindex, const struct policy_flow *flow,
		    struct policy_explanation *e)
{
	const struct endpoint *ep = find_endpoint(p, ifindex);
	struct explain x = { .flow = flow, .e = e, .peer = find_peer(p, flow->peer_identity) };
	const struct class *class;
	unsigned nearest = 0;

	*e = (struct policy_explanation){ 0 };
	table_each_hash(class, &p->classes, class_key, by_key)
		x.class = class;
	if (!x.class)
		return false;
	e->namespace = x.class->members[0].netpol->ns->name;
	e->problem = x.class->problem;
	if (!e->problem && !list_empty(&x.class->dirty))
		e->problem = "its rules are still being compiled";
	for (size_t i = 0; i < x.class->count; i++)
		explain_policy(&x, x.class->members[i].netpol, &nearest);
	propose(&x, ep && ep->set && ep->set->class == x.class ? ep->set
							       : list_first(&x.class->sets, struct labelset, in_class));
	return true;
}

const char *policy_explain_quarantine(const struct policy *p, uint32_t ifindex)
{
	const struct endpoint *ep = find_endpoint(p, ifindex);

	if (!ep)
		return "the agent has not read its attachment record yet";
	if (ep->set && ep->set->identity && ep->set->identity->collision)
		return "another pod's labels have the same identity number";
	if (ep->set)
		return "its policy is being applied";
	if (!list_empty(&ep->pod->oversized))
		return "its pod object has more labels or named ports than the limit";
	if (!ep->pod->present)
		return "there is no pod object of that name";
	return ep->pod->set ? "the pod object of that name is another pod's (its uid differs)"
			    : "its pod object has completed, or is of the host's network";
}
