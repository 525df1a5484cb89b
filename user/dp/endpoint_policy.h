/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes the endpoints' policy tags {class, revision} by mmap, with one 64-bit store each. The identity is written
 * before the tag.
 */
#ifndef WARREN_ENDPOINT_POLICY_H
#define WARREN_ENDPOINT_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct dp_endpoint_policies;
struct dp_endpoint_policy {
	uint32_t ifindex;
	uint32_t policy_class;
	uint32_t revision;
	uint64_t identity;
};
int dp_endpoint_policies_open(struct dp_endpoint_policies **policies, struct err *err);
void dp_endpoint_policies_close(struct dp_endpoint_policies *policies);
/*
 * Takes LOCK_ENDPOINTS. An absent endpoint is skipped and missing[i] set (`missing` may be NULL). A lookup after this
 * call is no substitute: it may find an endpoint that was added since and has no tag yet.
 */
int dp_endpoint_policies_set(struct dp_endpoint_policies *policies, const struct dp_endpoint_policy *set, size_t count, bool *missing, struct err *err);

#endif
