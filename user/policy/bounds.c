/* SPDX-License-Identifier: BSD-2-Clause */
#include "bounds.h"

#include <stdio.h>

#include "compiler.h"

/*
 * policy: limit of one policy. All prefixes of a large cloud (10,000) with one port fit, and so do 1,000 ipBlocks with
 * 16 ports. Such a policy is compiled and written in some 10 ms and 3 MB.
 * class: limit of the policies of one pod together, times the peer classes that their selectors match: some 50 ms and
 * 12 MB.
 * node: the size of the maps, or (terms, selectors, values) what needs 100 MB.
 * share: a namespace may use 1/share of what it leaves free: of the entries of an empty node 127,100.
 * floor: a namespace may always use this much while there is room: enough for 4096 endpoints in as many namespaces.
 */
static const struct {
	const char *what;
	uint64_t policy, class, node, share, floor;
} bounds[BOUNDS] = {
	[BOUND_TERMS] = { "pairs of a peer and a port", UINT64_MAX, 0, 1 << 20, 16, 256 },
	[BOUND_SELECTORS] = { "selectors", 256, 0, 1 << 16, 16, 16 },
	[BOUND_VALUES] = { "selector values", 4096, 0, 1 << 18, 16, 64 },
	[BOUND_NAMES] = { "names of rules", UINT64_MAX, 0, 1 << 15, 4, 2 },
	[BOUND_ENTRIES] = { "entries", 1 << 14, 1 << 16, 1 << 22, 32, 1024 },
	[BOUND_PREFIXES] = { "prefixes", 1 << 14, 1 << 16, 1 << 20, 32, 256 },
};

uint64_t saturating_add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t saturating_multiply(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* --- cost of one policy --- */

uint32_t port_prefix_size(uint32_t at, uint32_t last)
{
	uint32_t size = 1;

	while (size < 0x10000 && !(at & size) && at + 2 * size - 1 <= last)
		size *= 2;
	return size;
}

uint64_t ports_entries(const struct policy_port *port)
{
	uint64_t count = 0;

	if (port->all || port->name[0])
		return 1;
	for (uint32_t at = port->first; at <= port->last; at += port_prefix_size(at, port->last))
		count++;
	return count;
}

uint64_t selector_values(const struct selector *selector)
{
	uint64_t count = selector->count;

	for (size_t i = 0; i < selector->count; i++)
		count = saturating_add(count, selector->v[i].value_count);
	return count;
}

static void charge(struct cost *cost, enum bound bound, uint64_t count)
{
	cost->v[bound] = saturating_add(cost->v[bound], count);
}

/* `resolved`: named ports of an egress rule, each of which needs a matcher of its own per selector. */
static void peer_cost(struct cost *cost, const struct policy_peer *peer, uint64_t resolved)
{
	if (peer->is_block) {
		charge(cost, BOUND_PREFIXES, saturating_add(1, peer->except_count));
		return;
	}
	charge(cost, BOUND_SELECTORS, 1 + resolved);
	charge(cost, BOUND_VALUES,
	       saturating_multiply(1 + resolved, selector_values(&peer->pods) + selector_values(&peer->namespaces)));
}

static void rule_cost(struct cost *cost, const struct policy_rule *rule, int direction)
{
	uint64_t peers = rule->peer_count ? rule->peer_count : 1, ports = rule->port_count ? rule->port_count : 1;
	uint64_t entries = rule->port_count ? 0 : 1, resolved = 0;

	for (size_t i = 0; i < rule->port_count; i++) {
		entries = saturating_add(entries, ports_entries(&rule->ports[i]));
		resolved += direction == POLICY_EGRESS && rule->ports[i].name[0];
	}
	charge(cost, BOUND_TERMS, saturating_multiply(peers, ports));
	charge(cost, BOUND_ENTRIES, saturating_multiply(peers, entries));
	charge(cost, BOUND_NAMES, ports);
	if (!rule->peer_count)
		charge(cost, BOUND_SELECTORS, resolved);
	for (size_t i = 0; i < rule->peer_count; i++)
		peer_cost(cost, &rule->peers[i], resolved);
}

struct cost policy_cost(const struct policy_object *object)
{
	struct cost cost = { 0 };

	for (int d = 0; d < POLICY_DIRECTIONS && !object->invalid; d++) {
		for (size_t i = 0; object->isolates[d] && i < object->rule_count[d]; i++)
			rule_cost(&cost, &object->rules[d][i], d);
	}
	return cost;
}

enum bound policy_cost_over(const struct cost *cost)
{
	int over = 0;

	while (over < BOUNDS && cost->v[over] <= bounds[over].policy)
		over++;
	return (enum bound)over;
}

char *bound_text(enum bound bound, uint64_t count, const char *subject, uint64_t limit)
{
	char *text;

	if (asprintf(&text, "%llu%s %s; the limit for %s is %llu", (unsigned long long)count,
		     count == UINT64_MAX ? " or more" : "", bounds[bound].what, subject, (unsigned long long)limit) < 0)
		return NULL;
	return text;
}

uint64_t bound_of_policy(enum bound bound)
{
	return bounds[bound].policy;
}

uint64_t bound_of_class(enum bound bound)
{
	return bounds[bound].class;
}

/* --- limits of namespaces and the node --- */

void bounds_init(struct policy *p)
{
	for (int b = 0; b < BOUNDS; b++)
		p->room[b] = bounds[b].node;
}

void policy_set_room(struct policy *p, size_t entries, size_t prefixes, size_t names)
{
	p->room[BOUND_ENTRIES] = entries;
	p->room[BOUND_PREFIXES] = prefixes;
	p->room[BOUND_NAMES] = names;
}

bool bound_fits(const struct policy *p, const struct ns *ns, enum bound bound, uint64_t had, uint64_t needs, uint64_t *limit)
{
	uint64_t others = p->used.v[bound] - had, own = ns->used.v[bound] - had, left, share;

	if (needs <= had)
		return true;
	left = p->room[bound] > others ? p->room[bound] - others : 0;
	/* The largest x with own + x <= (left - x) / share. */
	share = left > bounds[bound].share * own ? (left - bounds[bound].share * own) / (bounds[bound].share + 1) : 0;
	if (own + share < bounds[bound].floor)
		share = bounds[bound].floor - own;
	if (share > left)
		share = left;
	*limit = own + share;
	return needs <= share;
}

void bound_charge(struct policy *p, struct ns *ns, enum bound bound, uint64_t had, uint64_t needs)
{
	p->used.v[bound] += needs - had;
	ns->used.v[bound] += needs - had;
	p->freed |= needs < had;
}
