/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps, from the registry in abi/maps.h. They are weak: every object that includes this defines all of them, and
 * `bpftool gen object` makes one of each.
 */
#ifndef WARREN_LIB_MAPS_H
#define WARREN_LIB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/maps.h"

#define X(name_, TYPE, key_type, value_type, entries, text)                                                            \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                                     \
		__uint(max_entries, entries);                                                                          \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	} name_ SEC(".maps") __weak;
WARREN_MAPS(X)
#undef X

#define X(name_, bytes, text)                                                                                          \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                                    \
		__uint(max_entries, bytes);                                                                            \
	} name_ SEC(".maps") __weak;
WARREN_RINGS(X)
#undef X

#endif
