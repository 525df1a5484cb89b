/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sequences (seqlocks): a writer of shared data keeps its sequence odd meanwhile; a reader compares the sequence before
 * and after. Kernel 6.1 has no barrier other than an atomic operation with a result, so an address dependency orders
 * loads.
 */
#ifndef WARREN_LIB_SEQUENCE_H
#define WARREN_LIB_SEQUENCE_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * Returns 0, which neither the compiler nor the CPU can compute before `value` is loaded. A load from an address with
 * it added is ordered after the loads of `value`.
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

/* Locks the data if its sequence is still the one that was read. */
static __always_inline bool sequence_lock(__u32 *sequence, __u32 seen)
{
	return !(seen & 1) && __sync_val_compare_and_swap(sequence, seen, seen + 1) == seen;
}

/* False: it was invalidated meanwhile (sequence_move() by 2), and is still locked. */
static __always_inline bool sequence_unlock(__u32 *sequence, __u32 seen)
{
	return __sync_val_compare_and_swap(sequence, seen + 1, seen + 2) == seen + 1;
}

/*
 * By 1: unlocks data that this CPU has locked. By 2: invalidates it, so that no active write or read succeeds. An
 * atomic operation with a result orders all accesses, one without a result orders none (on arm64).
 */
static __always_inline void sequence_move(__u32 *sequence, __u32 by)
{
	const __u32 was = __sync_fetch_and_add(sequence, by);

	asm volatile("" : : "r"(was) : "memory");
}

#endif
