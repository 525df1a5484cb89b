/* SPDX-License-Identifier: BSD-2-Clause */
#include "ct_size.h"

#include <sys/sysinfo.h>

#include "abi/conntrack.h"
#include "cgroup.h"

/*
 * Sizes of the kernel's struct htab_elem before the key, and of its struct bucket, of which there is one per element.
 */
#define ELEMENT 48
#define BUCKET 16
#define ROUNDED(size) (((size) + 7) / 8 * 8)
#define ENTRY(key) (BUCKET + ELEMENT + ROUNDED(sizeof(key)) + ROUNDED(sizeof(struct wr_ct)))
#define FLOW (ENTRY(struct wr_ct4_key) + ENTRY(struct wr_ct6_key))

#define WHOLE 1024 /* the number of entries is a multiple of this */

uint64_t ct_size_memory(uint32_t entries)
{
	return entries * (uint64_t)FLOW;
}

uint32_t ct_size_auto(uint64_t memory, uint64_t limit)
{
	uint64_t entries = memory / CT_SIZE_MEMORY_PER_FLOW, max = limit / CT_SIZE_PART_OF_LIMIT / FLOW;

	if (entries < CT_SIZE_MIN)
		entries = CT_SIZE_MIN;
	if (entries > CT_SIZE_MAX)
		entries = CT_SIZE_MAX;
	if (max < CT_SIZE_LIMITED_MIN)
		max = CT_SIZE_LIMITED_MIN;
	if (entries > max)
		entries = max;
	return (uint32_t)(entries / WHOLE * WHOLE);
}

uint32_t ct_size_here(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return CT_SIZE_MIN;
	return ct_size_auto((uint64_t)info.totalram * info.mem_unit, cgroup_memory_limit("/proc/self"));
}
