/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers in network byte order at any place of a packet, the Internet checksum (RFC 1071), and SCTP's. */
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

/* Offset of the checksum in an SCTP header, where it is in little-endian order. */
#define SCTP_SUM 8

static inline uint32_t sctp_sum_read(const uint8_t *sctp)
{
	const uint8_t *at = sctp + SCTP_SUM;

	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void sctp_sum_put(uint8_t *sctp, uint32_t sum)
{
	for (int i = 0; i < 4; i++)
		sctp[SCTP_SUM + i] = (uint8_t)(sum >> 8 * i);
}

/* The right one of a packet of `len` bytes: its CRC32c (RFC 9260 appendix A), bit by bit, in which its own field is 0. */
static inline uint32_t sctp_sum(const uint8_t *sctp, size_t len)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= i / 4 == SCTP_SUM / 4 ? 0 : sctp[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

#endif
