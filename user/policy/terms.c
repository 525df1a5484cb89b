/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiles a NetworkPolicy into terms (each one peer and one port of a rule), while a class contains it. */
#include <errno.h>
#include <stdlib.h>

#include "compiler.h"

struct terms {
	struct policy *p;
	struct netpol *netpol;
	struct term *v;
	size_t count, room;
};

static void terms_free(struct policy *p, struct term *v, size_t count)
{
	/* In reverse order: the lists that are searched are searched from their end. */
	while (count--) {
		struct term *term = &v[count];

		if (term->matcher) {
			list_remove(&term->in_matcher);
			matcher_put(p, term->matcher);
		}
		rule_put(p, term->rule);
	}
	free(v);
}

static uint64_t block_hash(const struct policy *p, const struct policy_peer *peer)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_bytes(&h, &peer->block, sizeof(peer->block));
	siphash_bytes(&h, peer->except, peer->except_count * sizeof(*peer->except));
	return siphash_end(&h);
}

/* Sets the term's peer from that of the rule (NULL: a rule without peers) and its port (NULL: without ports). */
static int term_set_peer(struct terms *t, struct term *term, const struct policy_peer *peer, const struct policy_port *port)
{
	bool resolve = port && port->name[0] && term->direction == POLICY_EGRESS;

	if (peer && peer->is_block) {
		term->kind = TERM_BLOCK;
		term->block = peer;
		term->block_hash = block_hash(t->p, peer);
		return 0;
	}
	if (!resolve && !peer) {
		term->kind = TERM_ANY;
		return 0;
	}
	if (!resolve && peer->has_namespaces && !peer->namespaces.count && !(peer->has_pods && peer->pods.count)) {
		term->kind = TERM_ALL_PODS;
		return 0;
	}
	term->kind = TERM_MATCHER;
	term->matcher = matcher_get(t->p, t->netpol, peer, resolve ? port : NULL);
	return term->matcher ? 0 : -ENOMEM;
}

static int term_add(struct terms *t, int direction, size_t rule, const struct policy_peer *peer,
		    const struct policy_port *port, int port_number)
{
	struct term term = { .direction = (uint8_t)direction, .port_entries = 1, .netpol = t->netpol };

	/*
	 * A named port is resolved by the ports of the destination pod. In egress an ipBlock has addresses and no pod,
	 * so such a pair allows nothing. (The API does not specify it.)
	 */
	if (peer && peer->is_block && port && port->name[0] && direction == POLICY_EGRESS)
		return 0;
	if (port) {
		term.protocol = port->protocol;
		if (port->name[0]) {
			term.port_name = direction == POLICY_INGRESS ? port->name : NULL;
		} else if (!port->all) {
			term.first = port->first;
			term.last = port->last;
			term.port_entries = (uint8_t)ports_entries(port);
		}
	}
	if (array_grow(&t->v, &t->room, t->count, sizeof(*t->v)) < 0)
		return -ENOMEM;
	term.rule = rule_get(t->p, t->netpol, direction, rule, port_number);
	if (!term.rule)
		return -ENOMEM;
	if (term_set_peer(t, &term, peer, port) < 0) {
		rule_put(t->p, term.rule);
		return -ENOMEM;
	}
	t->v[t->count++] = term;
	return 0;
}

static int port_terms(struct terms *t, int direction, size_t number, const struct policy_port *port, int port_number)
{
	const struct policy_rule *rule = &t->netpol->object->rules[direction][number];

	if (!rule->peer_count)
		return term_add(t, direction, number, NULL, port, port_number);
	for (size_t i = 0; i < rule->peer_count; i++) {
		if (term_add(t, direction, number, &rule->peers[i], port, port_number) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int rule_terms(struct terms *t, int direction, size_t number)
{
	const struct policy_rule *rule = &t->netpol->object->rules[direction][number];

	if (!rule->port_count)
		return port_terms(t, direction, number, NULL, -1);
	for (size_t i = 0; i < rule->port_count; i++) {
		if (port_terms(t, direction, number, &rule->ports[i], (int)i) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Rules of a direction that is not in policyTypes, of an invalid policy and of one over a bound have no effect. */
static int all_terms(struct terms *t)
{
	const struct policy_object *object = t->netpol->object;

	if (t->netpol->problem)
		return 0;

	for (int direction = 0; direction < POLICY_DIRECTIONS && !object->invalid; direction++) {
		for (size_t i = 0; object->isolates[direction] && i < object->rule_count[direction]; i++) {
			if (rule_terms(t, direction, i) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* --- bounds --- */

/* Adds the pairs of a prefix and an ipBlock that contains it, of one direction of the policy. */
static int count_prefixes(struct policy *p, const struct policy_object *object, int direction, uint64_t *pairs)
{
	struct block_use *blocks = NULL;
	size_t count = 0, room = 0;
	int r = 0;

	for (size_t i = 0; object->isolates[direction] && i < object->rule_count[direction]; i++) {
		const struct policy_rule *rule = &object->rules[direction][i];

		for (size_t j = 0; j < rule->peer_count && r == 0; j++) {
			const struct policy_peer *peer = &rule->peers[j];

			if (peer->is_block)
				r = array_push(blocks, room, count, (struct block_use){ peer, block_hash(p, peer) });
		}
	}
	count = blocks_sort(blocks, count);
	if (r == 0)
		r = cidrs_count(blocks, count, pairs);
	free(blocks);
	return r;
}

/* Once for each object. */
static int netpol_count(struct policy *p, struct netpol *netpol)
{
	const struct policy_object *object = netpol->object;
	struct cost *cost = &netpol->cost;

	if (netpol->counted)
		return 0;
	*cost = policy_cost(object);
	netpol->over = policy_cost_over(cost);
	if (netpol->over == BOUNDS && !object->invalid) {
		cost->v[BOUND_PREFIXES] = 0;
		for (int d = 0; d < POLICY_DIRECTIONS; d++) {
			if (count_prefixes(p, object, d, &cost->v[BOUND_PREFIXES]) < 0)
				return -ENOMEM;
		}
		netpol->over = policy_cost_over(cost);
	}
	netpol->counted = true;
	return 0;
}

static const enum bound charged[] = { BOUND_TERMS, BOUND_SELECTORS, BOUND_VALUES, BOUND_NAMES };

static void netpol_charge(struct policy *p, struct netpol *netpol, const struct cost *cost)
{
	for (size_t i = 0; i < ARRAY_SIZE(charged); i++)
		bound_charge(p, netpol->ns, charged[i], netpol->charged.v[charged[i]], cost->v[charged[i]]);
	netpol->charged = *cost;
}

static void netpol_clear_problem(struct netpol *netpol)
{
	free(netpol->problem);
	netpol->problem = NULL;
	netpol->waiting = netpol->coarse = false;
	list_remove(&netpol->refused);
}

/* Decides whether the policy's rules are compiled, and charges for them; if not, sets its problem. */
static int netpol_admit(struct policy *p, struct netpol *netpol)
{
	struct cost cost;
	bool fits;

	if (netpol_count(p, netpol) < 0)
		return -ENOMEM;
	cost = netpol->cost;
	fits = netpol->over == BOUNDS;
	netpol_clear_problem(netpol);
	if (!fits)
		netpol->problem =
		    bound_text(netpol->over, cost.v[netpol->over], "a policy", bound_of_policy(netpol->over));
	for (size_t i = 0; i < ARRAY_SIZE(charged) && fits; i++) {
		enum bound bound = charged[i];
		uint64_t limit;

		if (bound_fits(p, netpol->ns, bound, netpol->charged.v[bound], cost.v[bound], &limit))
			continue;
		if (bound == BOUND_NAMES) {
			netpol->coarse = true;
			cost.v[bound] = POLICY_DIRECTIONS;
			continue;
		}
		netpol->waiting = true;
		netpol->problem = bound_text(bound, cost.v[bound], NAMESPACE_LIMIT, limit);
		fits = false;
	}
	if (!fits) {
		if (!netpol->problem)
			return -ENOMEM;
		list_append(&p->refused_netpols, &netpol->refused);
		cost = (struct cost){ 0 };
	}
	netpol_charge(p, netpol, &cost);
	return 0;
}

/* --- from object to terms and back --- */

static void terms_link(struct netpol *netpol)
{
	for (size_t i = 0; i < netpol->term_count; i++) {
		struct term *term = &netpol->terms[i];

		if (term->matcher)
			list_append(&term->matcher->terms, &term->in_matcher);
	}
}

static void terms_drop(struct policy *p, struct netpol *netpol)
{
	terms_free(p, netpol->terms, netpol->term_count);
	netpol->terms = NULL;
	netpol->term_count = 0;
	netpol->compiled = false;
}

void netpol_uncompile(struct policy *p, struct netpol *netpol)
{
	static const struct cost nothing;

	terms_drop(p, netpol);
	netpol_charge(p, netpol, &nothing);
	netpol_clear_problem(netpol);
}

static int netpol_compile(struct policy *p, struct netpol *netpol)
{
	struct terms t = { .p = p, .netpol = netpol };
	bool refused = netpol->compiled && netpol->problem && !netpol->changed;
	struct class_member *member;

	if (netpol_admit(p, netpol) < 0)
		return -ENOMEM;
	if (refused && netpol->problem)
		return 0;
	if (all_terms(&t) < 0) {
		terms_free(p, t.v, t.count);
		return -ENOMEM;
	}
	/* Only now, so that what both versions use keeps a reference. */
	terms_drop(p, netpol);
	netpol->terms = t.v;
	netpol->term_count = t.count;
	netpol->compiled = true;
	netpol->changed = false;
	terms_link(netpol);
	list_each(member, &netpol->classes, in_netpol)
		list_mark(&p->dirty_classes, &member->class->dirty);
	return 0;
}

int netpol_update(struct policy *p, struct netpol *netpol)
{
	bool used = !list_empty(&netpol->classes);

	if (used && (!netpol->compiled || netpol->changed || netpol->waiting))
		return netpol_compile(p, netpol);
	if (!used && netpol->compiled)
		netpol_uncompile(p, netpol);
	return 0;
}
