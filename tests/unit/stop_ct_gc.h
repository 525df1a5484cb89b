/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_STOP_CT_GC_H
#define WARREN_TEST_STOP_CT_GC_H

#include "abi/conntrack.h"
#include "maps.h"
#include "rig.h"

/*
 * Ends the timer that removes expired flows: on a slow machine it would run in the middle of a test. (The kernel cancels
 * the timer of an element that user space writes: array_map_update_elem() of kernel/bpf/arraymap.c.)
 */
static inline void stop_ct_gc(void)
{
	struct wr_ct_gc gc;

	assert_int_equal(dp_value_get("ct_gc", &gc, NULL), 0);
	assert_int_equal(dp_value_put("ct_gc", &gc, NULL), 0);
}

#endif
