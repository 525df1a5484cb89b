/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps, from the registry in abi/maps.h. They are weak: every object that includes this header defines all of them,
 * and `bpftool gen object` links them to one each.
 */
#ifndef WARREN_LIB_MAPS_H
#define WARREN_LIB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/maps.h"

#define X(name_, TYPE, key_type, value_type, entries, flags, text)                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                                     \
		__uint(max_entries, entries);                                                                          \
		__uint(map_flags, flags);                                                                              \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	} name_ SEC(".maps") __weak;
WARREN_MAPS(X)
#undef X

/*
 * The loader inserts the first inner map. It has sizes, not types: bpftool 7.1 cannot link an inner map with types. The
 * pointer is never dereferenced; it puts the types into the BTF from which the loader creates that map.
 */
#define X(name_, key_type, value_type, first, most, text)                                                              \
	struct name_##_inner {                                                                                         \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, first);                                                                            \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__uint(key_size, sizeof(key_type));                                                                    \
		__uint(value_size, sizeof(value_type));                                                                \
	};                                                                                                             \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, 1);                                                                                \
		__uint(key_size, sizeof(__u32));                                                                       \
		__uint(value_size, sizeof(__u32));                                                                     \
		__array(values, struct name_##_inner);                                                                 \
	} name_ SEC(".maps") __weak;                                                                                   \
	const volatile struct name_##_element {                                                                        \
		key_type key;                                                                                          \
		value_type value;                                                                                      \
	} *const volatile name_##_types __weak = NULL;
WARREN_GROWING_MAPS(X)
#undef X

#define X(name_, bytes, text)                                                                                          \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                                    \
		__uint(max_entries, bytes);                                                                            \
	} name_ SEC(".maps") __weak;
WARREN_RINGS(X)
#undef X

#define X(name_, value_type, text)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_SK_STORAGE);                                                                 \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, __u32);                                                                                    \
		__type(value, value_type);                                                                             \
	} name_ SEC(".maps") __weak;
WARREN_SOCKET_MAPS(X)
#undef X

/*
 * Scratch memory of a program, for which its stack has no room; `get` returns it. Per-CPU: tc, XDP and timer programs
 * run with softirqs disabled, so none of them interrupts another one. One map has all of it, since the kernel accepts
 * 64 maps in a program.
 */
enum scratch_use {
	SCRATCH_flow_memory,
	SCRATCH_fragment_memory,
	SCRATCH_client_routes,
	SCRATCH_verdict_memory,
	SCRATCH_affinity_memory,
	SCRATCH_client_keys,
	SCRATCH_ct_queries,
	SCRATCHES,
};

struct scratch_element {
	__u64 words[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch_element);
} scratch_memory SEC(".maps") __weak;

#define SCRATCH(name_, value_type, get)                                                                                \
	_Static_assert(sizeof(value_type) <= sizeof(struct scratch_element), #name_);                                  \
	static __always_inline value_type *get(void)                                                                   \
	{                                                                                                              \
		const __u32 index = SCRATCH_##name_;                                                                   \
                                                                                                               \
		return bpf_map_lookup_elem(&scratch_memory, &index);                                                   \
	}

/* A cache; not in the registry. Elements of mmapable arrays are page-aligned: an element of 64 bytes is a cache line. */
#define CACHE(name_, bits, value_type)                                                                                 \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__uint(max_entries, 1 << (bits));                                                                      \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                     \
		__type(key, __u32);                                                                                    \
		__type(value, value_type);                                                                             \
	} name_ SEC(".maps") __weak;

static __always_inline const struct wr_config *config_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* Every object needs a licence, too. */
char LICENSE[] __weak SEC("license") = "Dual BSD/GPL";

/* Identifies the build: a hash that the loader sets, and compares in loaded programs. No program reads it. */
const volatile __u64 build __weak = 0;

#endif
