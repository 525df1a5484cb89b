/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sequences: who writes what is shared makes its sequence odd for that time, and who reads it reads the sequence before and
 * after. Kernel 6.1 has no barrier but an atomic operation with a result, so an address dependency orders loads.
 */
#ifndef WARREN_LIB_SEQUENCE_H
#define WARREN_LIB_SEQUENCE_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * 0, which no compiler and no processor knows before it has `value`. A load from an address to which it is added comes
 * after the loads that `value` was made of.
 */
static __always_inline __u64 after(__u64 value)
{
	asm volatile("%0 &= 0" : "+r"(value));
	return value;
}

static __always_inline __u32 sequence_read(const __u32 *sequence, __u64 value)
{
	return *(const volatile __u32 *)((const void *)sequence + after(value));
}

/* Takes what has still the sequence that was seen. */
static __always_inline bool sequence_lock(__u32 *sequence, __u32 seen)
{
	return !(seen & 1) && __sync_val_compare_and_swap(sequence, seen, seen + 1) == seen;
}

/* False: it was voided meanwhile (sequence_move() by 2), and is still locked. */
static __always_inline bool sequence_unlock(__u32 *sequence, __u32 seen)
{
	return __sync_val_compare_and_swap(sequence, seen + 1, seen + 2) == seen + 1;
}

/*
 * By 1: unlocks what this processor has locked. By 2: no write that has begun succeeds, and no read. An atomic operation with
 * a result orders everything, one without it nothing (on arm64).
 */
static __always_inline void sequence_move(__u32 *sequence, __u32 by)
{
	const __u32 was = __sync_fetch_and_add(sequence, by);

	asm volatile("" : : "r"(was) : "memory");
}

#endif
