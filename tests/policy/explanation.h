/* SPDX-License-Identifier: BSD-2-Clause */
/* Compares the compiler's explanation of a verdict with the verdict, and tries the change that it proposes. */
#ifndef WARREN_TEST_EXPLANATION_H
#define WARREN_TEST_EXPLANATION_H

#include "naive.h"
#include "policy.h"

/* NULL, or what is wrong. `expected`: whether the flow is allowed. */
const char *check_explanation(const struct policy *p, const struct cluster *c, const struct cluster_pod *pod,
			      uint64_t class_key, const struct policy_flow *flow, const struct naive_peer *peer,
			      bool expected);

extern unsigned long explanation_changes; /* proposed changes tried so far */

#endif
