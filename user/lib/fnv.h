/* SPDX-License-Identifier: BSD-2-Clause */
/* FNV-1a (Fowler, Noll, Vo), 64 bits, for input that no attacker controls. Else: siphash.h. */
#ifndef WARREN_FNV_H
#define WARREN_FNV_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t fnv1a(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

#endif
