/* SPDX-License-Identifier: BSD-2-Clause */
/* One NetworkPolicy: from its object to terms (one peer, one port, one rule), while a class contains it. */
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
	for (size_t i = 0; i < count; i++) {
		if (v[i].matcher) {
			list_remove(&v[i].in_matcher);
			matcher_put(p, v[i].matcher);
		}
		rule_put(p, v[i].rule);
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

/* Who a peer (NULL: a rule without any) is, in this direction and with this port (NULL: a rule without). */
static int term_who(struct terms *t, struct term *term, const struct policy_peer *peer, const struct policy_port *port)
{
	bool resolve = port && port->name[0] && term->direction == POLICY_EGRESS;

	if (peer && peer->is_block) {
		term->who = TERM_BLOCK;
		term->block = peer;
		term->block_hash = block_hash(t->p, peer);
		return 0;
	}
	if (!resolve && !peer) {
		term->who = TERM_ANY;
		return 0;
	}
	if (!resolve && peer->has_namespaces && !peer->namespaces.count && !(peer->has_pods && peer->pods.count)) {
		term->who = TERM_ALL_PODS;
		return 0;
	}
	term->who = TERM_MATCHER;
	term->matcher = matcher_get(t->p, t->netpol, peer, resolve ? port : NULL);
	return term->matcher ? 0 : -ENOMEM;
}

static int term_add(struct terms *t, int direction, size_t rule, const struct policy_peer *peer,
		    const struct policy_port *port, int port_number)
{
	struct term term = { .direction = (uint8_t)direction, .netpol = t->netpol };

	/*
	 * The name of a port is resolved by the pod that the flow goes to. An ipBlock names addresses, not pods: in
	 * egress there is nobody to resolve it, so such a pair allows nothing. (The API's text leaves it open.)
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
		}
	}
	if (array_grow(&t->v, &t->room, t->count, sizeof(*t->v)) < 0)
		return -ENOMEM;
	term.rule = rule_get(t->p, t->netpol, direction, rule, port_number);
	if (!term.rule)
		return -ENOMEM;
	if (term_who(t, &term, peer, port) < 0) {
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

/* Rules of a direction that policyTypes does not name have no effect; an invalid policy's have none either. */
static int all_terms(struct terms *t)
{
	const struct policy_object *object = t->netpol->object;

	for (int direction = 0; direction < POLICY_DIRECTIONS && !object->invalid; direction++) {
		for (size_t i = 0; object->isolates[direction] && i < object->rule_count[direction]; i++) {
			if (rule_terms(t, direction, i) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static void terms_link(struct netpol *netpol)
{
	for (size_t i = 0; i < netpol->term_count; i++) {
		struct term *term = &netpol->terms[i];

		list_init(&term->in_matcher);
		if (term->matcher)
			list_append(&term->matcher->terms, &term->in_matcher);
	}
}

void netpol_uncompile(struct policy *p, struct netpol *netpol)
{
	terms_free(p, netpol->terms, netpol->term_count);
	netpol->terms = NULL;
	netpol->term_count = 0;
	netpol->compiled = false;
}

static int netpol_compile(struct policy *p, struct netpol *netpol)
{
	struct terms t = { .p = p, .netpol = netpol };
	struct class_member *member;

	if (all_terms(&t) < 0) {
		for (size_t i = 0; i < t.count; i++)
			list_init(&t.v[i].in_matcher);
		terms_free(p, t.v, t.count);
		return -ENOMEM;
	}
	/* Only now: what both versions use is never without a user. */
	netpol_uncompile(p, netpol);
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
	bool wanted = !list_empty(&netpol->classes);

	if (wanted && (!netpol->compiled || netpol->changed))
		return netpol_compile(p, netpol);
	if (!wanted && netpol->compiled)
		netpol_uncompile(p, netpol);
	return 0;
}
