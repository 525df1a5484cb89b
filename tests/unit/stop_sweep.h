/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_TEST_STOP_SWEEP_H
#define WARREN_TEST_STOP_SWEEP_H

#include "abi/conntrack.h"
#include "maps.h"
#include "rig.h"

/*
 * Ends the timer that removes dead flows: on a slow machine it would do so in the middle of a test. (The kernel cancels
 * the timer of an element that user space writes: array_map_update_elem() of kernel/bpf/arraymap.c.)
 */
static inline void stop_sweep(void)
{
	struct wr_sweep sweep;

	assert_int_equal(dp_value_get("sweep", &sweep, NULL), 0);
	assert_int_equal(dp_value_put("sweep", &sweep, NULL), 0);
}

#endif
