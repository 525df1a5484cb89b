/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The registry of maps: the programs' definitions (bpf/lib/maps.h), the pins, the CLI's decoders and its help all come
 * from this list.
 *
 * X(name, TYPE, key type, value type, max entries, text)
 */
#ifndef WARREN_ABI_MAPS_H
#define WARREN_ABI_MAPS_H

#include "abi/abi.h"
#include "abi/endpoint.h"
#include "abi/event.h"
#include "abi/reason.h"

/* An array used as a table with fixed places: an element whose first word is 0 is empty. */
#define BPF_MAP_TYPE_SLOTS BPF_MAP_TYPE_ARRAY

#define WARREN_MAPS(X)                                                                                               \
	X(config, ARRAY, __u32, struct wr_config, 1, "the node's settings")                                          \
	X(endpoints, SLOTS, __u32, struct wr_endpoint, WR_ENDPOINT_SLOTS, "slot (by ifindex of the host-side device) -> endpoint") \
	X(addr4, HASH, struct wr_addr4, struct wr_local, WR_MAX_ENDPOINTS, "pod IPv4 address -> endpoint")           \
	X(addr6, HASH, struct wr_addr6, struct wr_local, WR_MAX_ENDPOINTS, "pod IPv6 address -> endpoint")           \
	X(addr_cache, SLOTS, __u32, struct wr_local, 1 << WR_ADDR_CACHE_BITS, "hash of a pod address -> endpoint, a guess") \
	X(frag4, LRU_HASH, struct wr_frag4_key, struct wr_frag, 4096, "IPv4 datagrams in fragments")                 \
	X(frag6, LRU_HASH, struct wr_frag6_key, struct wr_frag, 4096, "IPv6 datagrams in fragments")                 \
	X(metrics, PERCPU_ARRAY, __u32, struct wr_metric, WR_METRICS, "reason x direction -> packets, bytes")

/* Ring buffers have neither keys nor values: X(name, bytes, text). */
#define WARREN_RINGS(X) X(events, 262144, "drops, as they happen")

#endif
