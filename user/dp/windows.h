/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows of endpoints in ct_new4 and ct_new6 (abi/conntrack.h): which slots are whose. Callers hold LOCK_ENDPOINTS.
 *
 * Map `endpoints` decides; the bits of `ct_windows` spare a walk through it. A bit is set before the endpoint is
 * written and cleared after the endpoint is gone, so no two endpoints have a slot in common, wherever a process is
 * killed. What is marked and no endpoint has is found when slots run short.
 *
 * What is in a window is cleared when it is taken and when it is freed. That is for lists and counts, and does without
 * a proof: an entry names its ends by ifindex, which no later endpoint has before the next boot, and so is no flow of
 * another endpoint's.
 */
#ifndef WARREN_DP_WINDOWS_H
#define WARREN_DP_WINDOWS_H

#include "endpoint.h"

/* Sets ep->ct_first and ep->ct_slots; both 0 if no slots are left: then the endpoint shares the node's window. */
int dp_window_take(struct dp *dp, struct wr_endpoint *ep, struct err *err);
void dp_window_free(struct dp *dp, const struct wr_endpoint *ep);

/* --- slots, mapped into memory -------------------------------------------------------------------------------------
 */

struct dp_slots {
	void *mapped, *first;
	size_t length, size; /* of what is mapped, and of a slot */
};
int dp_slots_map(struct dp_slots *slots, bool v6, uint32_t first, uint32_t count, struct err *err);
void dp_slots_unmap(struct dp_slots *slots);
#define _cleanup_slots_ _cleanup_(dp_slots_unmap)

/* The n-th one of those mapped: a struct wr_ct4_slot or wr_ct6_slot, in front its tag. */
static inline void *dp_slot(const struct dp_slots *slots, uint32_t n)
{
	return (char *)slots->first + n * slots->size;
}

#endif
