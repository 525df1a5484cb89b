/* SPDX-License-Identifier: BSD-2-Clause */
/* How many flows conntrack's tables have room for where nobody says it: `--ct-entries auto`. */
#ifndef WARREN_CT_SIZE_H
#define WARREN_CT_SIZE_H

#include <stdint.h>

/*
 * A flow of each family for 64 KiB of memory: half a percent of it when both tables are full, and what 16 GiB had
 * before the size followed the memory. (Cilium's --bpf-map-dynamic-size-ratio comes to about as much; nf_conntrack
 * counts a bucket for 16 KiB, but no more than 262,144.)
 */
#define CT_SIZE_MEMORY_PER_FLOW (64 << 10)
#define CT_SIZE_MIN (64 << 10)
#define CT_SIZE_MAX (2 << 20)
/* The tables are charged to the cgroup of who makes them: they take no more than a quarter of its limit. */
#define CT_SIZE_PART_OF_LIMIT 4
#define CT_SIZE_LIMITED_MIN (16 << 10) /* but have room for that many */

/* For a machine with so much memory, and a cgroup with that limit (UINT64_MAX: none), in bytes. */
uint32_t ct_size_auto(uint64_t memory, uint64_t limit);
/* The same for this process, here. */
uint32_t ct_size_here(void);
/* What the tables of both families take when they are full, in bytes. */
uint64_t ct_size_memory(uint32_t entries);

#endif
