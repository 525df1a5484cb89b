/* SPDX-License-Identifier: BSD-2-Clause */
/* The default size of conntrack's tables: `--ct-entries auto`. */
#ifndef WARREN_CT_SIZE_H
#define WARREN_CT_SIZE_H

#include <stdint.h>

/*
 * One flow of each family per 64 KiB of memory: half a percent of it when both tables are full. (Cilium's
 * --bpf-map-dynamic-size-ratio is about the same; nf_conntrack has a bucket per 16 KiB, but no more than 262,144.)
 */
#define CT_SIZE_MEMORY_PER_FLOW (64 << 10)
#define CT_SIZE_MIN (64 << 10)
#define CT_SIZE_MAX (2 << 20)
/* The tables are charged to the cgroup of the process that makes them: they take at most a quarter of its limit. */
#define CT_SIZE_PART_OF_LIMIT 4
#define CT_SIZE_LIMITED_MIN (16 << 10) /* but never fewer entries */

/* Entries for a machine with `memory` bytes and a cgroup limit of `limit` bytes (UINT64_MAX: none). */
uint32_t ct_size_auto(uint64_t memory, uint64_t limit);
/* The same for this process, here. */
uint32_t ct_size_here(void);
/* Memory of the full tables of both families, in bytes. */
uint64_t ct_size_memory(uint32_t entries);

#endif
