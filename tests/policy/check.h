/* SPDX-License-Identifier: BSD-2-Clause */
/* Compares the compiler with the naive evaluator. */
#ifndef WARREN_TEST_CHECK_H
#define WARREN_TEST_CHECK_H

#include "cluster.h"
#include "tables.h"

extern const uint8_t check_key[POLICY_KEY_SIZE];

/* A compiler with all objects of a cluster, and its tables. */
struct compiled {
	struct policy *p;
	struct tables tables;
};
void compiled_free(struct compiled *k);
/* Each returns NULL, or an error (valid until the next call). */
const char *check_compile(struct compiled *k, const struct cluster *c);
/* Verdicts of all endpoints, for all peers, both directions, all protocols and some ports. */
const char *check_verdicts(struct compiled *k, const struct cluster *c, struct random *r);

/* Puts the differences from `before` to `now`; < 0: a put failed. */
int check_put(struct policy *p, const struct cluster *before, const struct cluster *now);
/* Whether the endpoint of that pod of an earlier cluster still exists. */
bool check_endpoint_stays(const struct cluster *now, const struct cluster_pod *old);
/* Puts the differences from `before` to `now`, and compiles. */
const char *check_edit(struct compiled *k, const struct cluster *before, const struct cluster *now);

/* The identity of a pod, or that of its packets. */
uint64_t check_identity(const struct cluster *c, const struct cluster_pod *pod);

extern unsigned long check_count; /* verdicts compared so far */

#endif
