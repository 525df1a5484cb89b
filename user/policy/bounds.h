/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits of a node's resources for a policy, a namespace and all namespaces together. Costs are counted before anything
 * is allocated, with saturating arithmetic: a policy of 250 kB can expand to millions of entries.
 *
 * The cost of a policy (struct cost) is limited for each policy, and for its namespace and the node while a class
 * contains it. The cost of a class (entries and prefixes, after its terms were multiplied by peer classes) is limited
 * for each class, for its namespace and the node.
 *
 * A namespace may use up to a fraction of what it leaves free (bounds.c has the fractions), and at least the floor. So
 * any number of greedy namespaces leave room for another one, in whatever order they come.
 */
#ifndef WARREN_POLICY_BOUNDS_H
#define WARREN_POLICY_BOUNDS_H

#include "objects.h"

enum bound {
	BOUND_TERMS,	 /* pairs of a peer and a port, of policies that classes contain */
	BOUND_SELECTORS, /* of their peers */
	BOUND_VALUES,	 /* requirements of selectors, and their values */
	BOUND_NAMES,	 /* of rules */
	BOUND_ENTRIES,	 /* of map `policy`, of classes */
	BOUND_PREFIXES,	 /* of maps `cidrs4` and `cidrs6`, of classes; counted once for each ipBlock that contains it */
	BOUNDS
};

struct cost {
	uint64_t v[BOUNDS];
};

struct policy;
struct ns;

void bounds_init(struct policy *p);
/* Counts a policy alone: each selector and each ipBlock as one peer, nested prefixes once. */
struct cost policy_cost(const struct policy_object *object);
/* The first bound that the policy alone exceeds; BOUNDS: none. */
enum bound policy_cost_over(const struct cost *cost);
/* The problem as text: "16385 selectors; the limit for a policy is 256". NULL without memory. */
char *bound_text(enum bound bound, uint64_t count, const char *subject, uint64_t limit);
#define NAMESPACE_LIMIT "all policies of the namespace, given what other namespaces use," /* subject */
uint64_t bound_of_policy(enum bound bound);
uint64_t bound_of_class(enum bound bound);

/* Whether `ns` may use `needs` instead of `had`; always if that is no more. If not, *limit is what it may use. */
bool bound_fits(const struct policy *p, const struct ns *ns, enum bound bound, uint64_t had, uint64_t needs, uint64_t *limit);
void bound_charge(struct policy *p, struct ns *ns, enum bound bound, uint64_t had, uint64_t needs);

uint64_t selector_values(const struct selector *selector); /* requirements, and their values */
uint32_t port_prefix_size(uint32_t at, uint32_t last); /* ports of the largest port prefix from `at` on */
uint64_t ports_entries(const struct policy_port *port); /* port prefixes of the port or range */
uint64_t saturating_add(uint64_t a, uint64_t b);
uint64_t saturating_multiply(uint64_t a, uint64_t b);

#endif
