/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of packets: by reason, and by node. */
#ifndef WARREN_ABI_METRIC_H
#define WARREN_ABI_METRIC_H

#include <linux/types.h>

#include "abi/reason.h"

/*
 * Value of the per-CPU array `metrics`; key: wr_metric_key(reason, direction). Also of `node_metrics`, whose elements
 * the agent creates with the node; key: wr_metric_key(slot, direction).
 */
struct wr_metric {
	__u64 packets;
	__u64 bytes; /* of the frame, Ethernet header included */
};
_Static_assert(sizeof(struct wr_metric) == 16, "wr_metric");

/* Reasons are added without a new ABI version, so the array is larger than needed. */
#define WR_METRICS 256

static inline __u32 wr_metric_key(__u32 reason, __u32 direction)
{
	return reason * 2 + direction;
}
_Static_assert(WR_REASONS * 2 <= WR_METRICS, "more reasons than the metrics array has room for");

#endif
