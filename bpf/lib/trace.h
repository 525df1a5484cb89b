/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Dry runs: what a twin of an attached program writes instead of everything else. */
#ifndef WARREN_LIB_TRACE_H
#define WARREN_LIB_TRACE_H

#include <stdbool.h>

#include "lib/maps.h"

/* Set in the twins that `warren trace` runs; in the attached programs the verifier removes what depends on it. */
const volatile bool dry_run __weak = false;

/* Where a dry run writes, NULL in the attached programs. */
static __always_inline struct wr_trace *trace_get(void)
{
	const __u32 key = 0;

	return dry_run ? bpf_map_lookup_elem(&trace, &key) : NULL;
}

static __always_inline void trace_begin(__u32 ifindex)
{
	struct wr_trace *t = trace_get();

	if (!t)
		return;
	__builtin_memset(t, 0, sizeof(*t));
	t->ifindex = ifindex;
}

static __always_inline void trace_step(__u32 steps)
{
	struct wr_trace *t = trace_get();

	if (t)
		t->steps |= steps;
}

#endif
