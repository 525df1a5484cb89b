/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows of endpoints in ct_new4 and ct_new6 (abi/conntrack.h): which slots are whose. Callers hold LOCK_ENDPOINTS.
 *
 * Map `endpoints` is authoritative; the bits of `ct_windows` avoid a walk through it. A bit is set before the endpoint
 * is written and cleared after it is deleted, so no two endpoints share a slot, wherever a process is killed. Bits that
 * no endpoint uses are cleared when slots run short.
 *
 * A window is cleared when it is allocated and when it is freed. Only lists and counts need that: an entry has its
 * ends' ifindexes, which the kernel does not reuse before the next boot, so it never matches a later endpoint's flow.
 */
#ifndef WARREN_DP_WINDOWS_H
#define WARREN_DP_WINDOWS_H

#include "endpoint.h"

/* Sets ep->ct_first and ep->ct_slots; both 0 if no slots are left: then the endpoint shares the node's window. */
int dp_window_alloc(struct dp *dp, struct wr_endpoint *ep, struct err *err);
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

/* The n-th mapped slot: a struct wr_ct4_slot or wr_ct6_slot, which begins with the tag. */
static inline void *dp_slot(const struct dp_slots *slots, uint32_t n)
{
	return (char *)slots->first + n * slots->size;
}

#endif
