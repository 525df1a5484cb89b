/* SPDX-License-Identifier: BSD-2-Clause */
#include "siphash.h"

#include <endian.h>
#include <string.h>

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void sip_word(struct siphash *h, uint64_t word)
{
	h->v[3] ^= word;
	sip_rounds(h->v, 2);
	h->v[0] ^= word;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return le64toh(word);
}

void siphash_begin(struct siphash *h, const uint8_t key[SIPHASH_KEY_SIZE])
{
	uint64_t k0 = load64(key), k1 = load64(key + 8);

	*h = (struct siphash){ .v = { k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull,
				      k0 ^ 0x6c7967656e657261ull, k1 ^ 0x7465646279746573ull } };
}

/* `word` has so many bytes, at most 8, and zeros above them. */
static void sip_some(struct siphash *h, uint64_t word, size_t bytes)
{
	unsigned used = h->size % 8;

	h->tail |= word << 8 * used;
	h->size += bytes;
	if (used + bytes < 8)
		return;
	sip_word(h, h->tail);
	h->tail = used ? word >> (64 - 8 * used) : 0;
}

void siphash_bytes(struct siphash *h, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t word = 0;

	for (; size >= 8; size -= 8, p += 8)
		sip_some(h, load64(p), 8);
	for (size_t i = 0; i < size; i++)
		word |= (uint64_t)p[i] << 8 * i;
	sip_some(h, word, size);
}

void siphash_number(struct siphash *h, uint64_t number)
{
	sip_some(h, number, sizeof(number));
}

void siphash_string(struct siphash *h, const char *string)
{
	uint64_t size = strlen(string);

	siphash_number(h, size);
	siphash_bytes(h, string, size);
}

uint64_t siphash_end(struct siphash *h)
{
	sip_word(h, h->tail | h->size << 56);
	h->v[2] ^= 0xff;
	sip_rounds(h->v, 4);
	return h->v[0] ^ h->v[1] ^ h->v[2] ^ h->v[3];
}

uint64_t siphash24(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t size)
{
	struct siphash h;

	siphash_begin(&h, key);
	siphash_bytes(&h, data, size);
	return siphash_end(&h);
}
