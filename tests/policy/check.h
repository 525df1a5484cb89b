/* SPDX-License-Identifier: BSD-2-Clause */
/* The compiler against the naive evaluator. */
#ifndef WARREN_TEST_CHECK_H
#define WARREN_TEST_CHECK_H

#include "cluster.h"
#include "tables.h"

extern const uint8_t check_key[POLICY_KEY_SIZE];

/* A compiler that was told everything of the cluster, and its tables. */
struct compiled {
	struct policy *p;
	struct tables tables;
};
void compiled_free(struct compiled *k);
/* Each: NULL, or what went wrong (text that stays until the next call). */
const char *check_compile(struct compiled *k, const struct cluster *c);
/* Every endpoint's verdict about every peer, both directions, all protocols, some ports. */
const char *check_verdicts(struct compiled *k, const struct cluster *c, struct random *r);

/* Puts into the compiler how `now` differs from `before`; < 0: an object was not taken. */
int check_tell(struct policy *p, const struct cluster *before, const struct cluster *now);
/* Whether the endpoint of that pod of an earlier cluster is still there (if it had one). */
bool check_endpoint_stays(const struct cluster *now, const struct cluster_pod *old);
/* Puts into the compiler how `now` differs from `before`, and compiles. */
const char *check_edit(struct compiled *k, const struct cluster *before, const struct cluster *now);

/* The identity that a pod has, or that its packets are taken for. */
uint64_t check_identity(const struct cluster *c, const struct cluster_pod *pod);

extern unsigned long check_count; /* verdicts compared so far */

#endif
