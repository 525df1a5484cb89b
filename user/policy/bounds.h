/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of a node a NetworkPolicy, a namespace and all of them may take. Counted before anything is allocated, with arithmetic that
 * saturates: a policy of a quarter of a megabyte can stand for millions of entries.
 *
 * What a policy takes by itself (struct cost) is limited for each policy, and for its namespace and the node while a class contains it.
 * What a class takes (entries and prefixes, after its terms were multiplied by peer classes) is limited for each class, for its
 * namespace and the node.
 *
 * A namespace may hold as much as a fraction of what is left free after it has taken it (bounds.c has the fractions), or as little as
 * the floor says. So k greedy namespaces, whatever they do, leave free what another such one may take; there is no order in which
 * namespaces could come that leaves the last one nothing.
 */
#ifndef WARREN_POLICY_BOUNDS_H
#define WARREN_POLICY_BOUNDS_H

#include "objects.h"

enum bound {
	BOUND_TERMS,	 /* pairs of a peer and a port, of policies that classes contain */
	BOUND_SELECTORS, /* of their peers */
	BOUND_VALUES,	 /* requirements of these, and their values */
	BOUND_NAMES,	 /* of rules */
	BOUND_ENTRIES,	 /* of map `policy`, of classes */
	BOUND_PREFIXES,	 /* of maps `cidrs4` and `cidrs6`, of classes; each once for every ipBlock that it is in */
	BOUNDS
};

/* Zeros: nothing. */
struct cost {
	uint64_t v[BOUNDS];
};

struct policy;
struct ns;

void bounds_init(struct policy *p);
/* What the policy takes by itself: entries as if each selector and each ipBlock were one peer. Without its prefixes' nesting. */
struct cost policy_cost(const struct policy_object *object);
/* The first bound that an object alone is over; BOUNDS: none. */
enum bound policy_cost_over(const struct cost *cost);
/* As text, for a report: "16,385 selectors, a policy may have 512". NULL without memory. */
char *bound_text(enum bound bound, uint64_t count, const char *whose, uint64_t limit);
uint64_t bound_of_policy(enum bound bound);
uint64_t bound_of_class(enum bound bound);

/*
 * Whether `ns` may have `takes` in the place of `had`: always, if that is no more. *limit: what it may have in all, if it may not.
 */
bool bound_fits(const struct policy *p, const struct ns *ns, enum bound bound, uint64_t had, uint64_t takes, uint64_t *limit);
void bound_charge(struct policy *p, struct ns *ns, enum bound bound, uint64_t had, uint64_t takes);

uint64_t selector_values(const struct selector *selector); /* requirements, and their values */
uint64_t ports_entries(const struct policy_port *port); /* prefixes that the port, or range of ports, takes */
uint64_t saturating_add(uint64_t a, uint64_t b);
uint64_t saturating_multiply(uint64_t a, uint64_t b);

#endif
