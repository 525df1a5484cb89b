/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The clock of conntrack and of the caches: ticks of WR_CT_TICK_SHIFT. */
#ifndef WARREN_LIB_CT_CLOCK_H
#define WARREN_LIB_CT_CLOCK_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi/conntrack.h"

/*
 * Set by the loader: the length of a jiffy, and the number of jiffies when CLOCK_MONOTONIC began. Jiffies advance with
 * that clock, and reading them is free, while bpf_ktime_get_coarse_ns() takes 15 ns.
 */
const volatile __u32 jiffy_ns __weak = 0;
const volatile __u64 jiffies_at_boot __weak = 0;

static __always_inline __u32 ct_now(void)
{
	if (!jiffy_ns)
		return bpf_ktime_get_coarse_ns() >> WR_CT_TICK_SHIFT;
	return (bpf_jiffies64() - jiffies_at_boot) * jiffy_ns >> WR_CT_TICK_SHIFT;
}

#endif
