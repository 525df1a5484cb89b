/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Dry runs: a dry-run program writes to map `trace` only, and changes nothing else. */
#ifndef WARREN_LIB_TRACE_H
#define WARREN_LIB_TRACE_H

#include <stdbool.h>

#include "lib/maps.h"

/*
 * Set in the dry-run programs that `warren trace` runs. In attached programs it is 0, and the verifier removes the code
 * for it.
 */
const volatile bool dry_run __weak = false;

/* The element of `trace`; NULL in the attached programs. */
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
