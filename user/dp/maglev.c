/* SPDX-License-Identifier: BSD-2-Clause */
#include "maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/service.h"
#include "array.h"
#include "cleanup.h"

/* A backend's permutation of the elements: offset, offset + skip, offset + 2 * skip, ... modulo the size. */
struct permutation {
	const struct dp_backend *backend;
	uint64_t hash;
	uint32_t next, skip;
};

uint32_t maglev_size(uint32_t least, size_t backends)
{
	static const uint32_t sizes[] = { MAGLEV_SIZES };
	size_t i = 0;

	if (!least || backends < 2)
		return 0;
	while (i < ARRAY_SIZE(sizes) - 1 && (sizes[i] < least || sizes[i] / MAGLEV_PER_BACKEND < backends))
		i++;
	return sizes[i];
}

size_t maglev_blocks(uint32_t size)
{
	return (size + WR_TABLE_BLOCK - 1) / WR_TABLE_BLOCK;
}

static int permutation_cmp(const void *pa, const void *pb)
{
	const struct permutation *a = pa, *b = pb;
	int c;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	c = ip_cmp(&a->backend->ip, &b->backend->ip);
	return c ? c : a->backend->port - b->backend->port;
}

static uint64_t backend_hash(const uint8_t key[SIPHASH_KEY_SIZE], const struct dp_backend *backend)
{
	struct siphash h;

	siphash_begin(&h, key);
	siphash_number(&h, backend->ip.family == AF_INET6 ? 6 : 4);
	siphash_bytes(&h, backend->ip.bytes, backend->ip.family == AF_INET6 ? 16 : 4);
	siphash_number(&h, backend->port);
	return siphash_end(&h);
}

int maglev_fill(const uint8_t key[SIPHASH_KEY_SIZE], const struct dp_backend *backends, size_t count, uint32_t *elements,
		uint32_t size)
{
	_cleanup_free_ struct permutation *v = calloc(count + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	if (!count)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		const uint64_t hash = backend_hash(key, &backends[i]);

		v[i] = (struct permutation){ .backend = &backends[i], .hash = hash, .next = (uint32_t)(hash >> 32) % size,
					     .skip = (uint32_t)hash % (size - 1) + 1 };
	}
	qsort(v, count, sizeof(*v), permutation_cmp);
	memset(elements, 0xff, size * sizeof(*elements));
	/* In turn, each backend takes the first free element of its permutation. */
	for (uint32_t taken = 0; taken < size; taken++) {
		struct permutation *p = &v[taken % count];

		while (elements[p->next] != UINT32_MAX) {
			p->next += p->skip;
			p->next -= p->next < size ? 0 : size;
		}
		elements[p->next] = (uint32_t)(p->backend - backends);
	}
	return 0;
}
