/* SPDX-License-Identifier: BSD-2-Clause */
#include "ct_size.h"

#include <sys/sysinfo.h>

#include "abi/conntrack.h"
#include "cgroup.h"

/* The kernel's struct htab_elem before the key, and its struct bucket; of these there is one for each element, at
 * least. */
#define ELEMENT 48
#define BUCKET 16
#define ROUNDED(size) (((size) + 7) / 8 * 8)
#define ENTRY(key) (BUCKET + ELEMENT + ROUNDED(sizeof(key)) + ROUNDED(sizeof(struct wr_ct)))
#define FLOW (ENTRY(struct wr_ct4_key) + ENTRY(struct wr_ct6_key))

#define WHOLE 1024 /* entries are counted in these */

uint64_t ct_size_memory(uint32_t entries)
{
	return entries * (uint64_t)FLOW;
}

uint32_t ct_size_auto(uint64_t memory, uint64_t limit)
{
	uint64_t entries = memory / CT_SIZE_MEMORY_PER_FLOW, most = limit / CT_SIZE_PART_OF_LIMIT / FLOW;

	if (entries < CT_SIZE_MIN)
		entries = CT_SIZE_MIN;
	if (entries > CT_SIZE_MAX)
		entries = CT_SIZE_MAX;
	if (most < CT_SIZE_LIMITED_MIN)
		most = CT_SIZE_LIMITED_MIN;
	if (entries > most)
		entries = most;
	return (uint32_t)(entries / WHOLE * WHOLE);
}

uint32_t ct_size_here(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return CT_SIZE_MIN;
	return ct_size_auto((uint64_t)info.totalram * info.mem_unit, cgroup_memory_limit("/proc/self"));
}
