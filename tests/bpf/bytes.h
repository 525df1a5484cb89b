/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers in network byte order at any place of a packet, and the Internet checksum (RFC 1071). */
#ifndef WARREN_TEST_BYTES_H
#define WARREN_TEST_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline unsigned read16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static inline void put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline void put32(uint8_t *at, uint32_t v)
{
	put16(at, v >> 16);
	put16(at + 2, v);
}

/* Continues from `sum`. 0xffff over data that contains its right checksum. */
static inline uint16_t sum16(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

#endif
