/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Session affinity: a client's new flows through a service go to the backend of its last one, until that was as long ago
 * as the service says. Each endpoint, and the host, remembers its own services, so no client makes another one's be
 * forgotten.
 *
 * A remembered backend is found by its whole key. Its slot is written under a sequence (lib/sequence.h); a program that
 * cannot lock it writes nothing.
 */
#ifndef WARREN_LIB_SERVICE_AFFINITY_H
#define WARREN_LIB_SERVICE_AFFINITY_H

#include "abi/service.h"
#include "lib/addr.h"
#include "lib/ct_clock.h"
#include "lib/maps.h"
#include "lib/packet.h"
#include "lib/sequence.h"

/* A key, for which a packet's stack has no room. */
SCRATCH(affinity_memory, struct wr_affinity, affinity_memory_get)

/* Zeros to create an element from. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wr_affinities);
} affinity_none SEC(".maps") __weak;

static __always_inline void affinity_key_set(struct wr_affinity *key, __u32 client, const union addr *service,
					     __be16 port, __u8 l4_proto, bool v6)
{
	const __be32 *w = service->a6.v6;

	key->client = client;
	for (int n = 0; n < 4; n++)
		key->service.v6[n] = n && !v6 ? 0 : w[n];
	key->port = port;
	key->l4_proto = l4_proto;
	key->v6 = v6;
}

static __always_inline __u32 affinity_set(const struct wr_affinity *key)
{
	const __be32 *w = key->service.v6;

	return ((w[0] ^ w[1] ^ w[2] ^ w[3]) + key->port) * 0x9e3779b1u >> (32 - WR_AFFINITY_SET_BITS);
}

static __always_inline __u64 affinity_differs(const volatile struct wr_affinity *a, const struct wr_affinity *key)
{
	__u64 differs = (a->client ^ key->client) | (a->port ^ key->port);

	differs |= (a->l4_proto ^ key->l4_proto) | (a->v6 ^ key->v6);
#pragma unroll
	for (int n = 0; n < 4; n++) {
		asm volatile("" : "+r"(differs)); /* word by word: 6.1's stack has no room for all */
		differs |= a->service.v6[n] ^ key->service.v6[n];
	}
	return differs;
}

static __always_inline struct wr_affinity *affinity_at(struct wr_affinities *all, __u32 set, __u32 way)
{
	__u32 n = set * WR_AFFINITY_WAYS + (way & (WR_AFFINITY_WAYS - 1));

	asm volatile("" : "+r"(n)); /* or clang drops the mask, which the verifier needs */
	return &all->at[n & (WR_AFFINITY_SETS * WR_AFFINITY_WAYS - 1)];
}

static __always_inline struct wr_affinity *affinity_find(struct wr_affinities *all, __u32 set,
							 const struct wr_affinity *key)
{
#pragma clang loop unroll(disable)
	for (__u32 way = 0; way < WR_AFFINITY_WAYS; way++) {
		struct wr_affinity *at = affinity_at(all, set, way);

		if (!affinity_differs(at, key))
			return at;
	}
	return NULL;
}

/* The backend that the client in that slot was given last by the service; 0: none, or more than `seconds` ago. */
OUT_OF_LINE __u32 affinity_lookup(const struct wr_affinity *key, __u32 slot, __u32 seconds)
{
	const volatile struct wr_affinity *v;
	__u32 seen, backend, used;
	struct wr_affinities *all;
	struct wr_affinity *at;

	if (!key)
		return 0;
	all = bpf_map_lookup_elem(&affinity, &slot);
	at = all ? affinity_find(all, affinity_set(key), key) : NULL;
	if (!at)
		return 0;
	seen = sequence_read(&at->sequence, 0);
	v = (void *)at + after(seen);
	backend = v->backend;
	used = v->used;
	if (affinity_differs(v, key) || (seen & 1) || sequence_read(&at->sequence, backend | used) != seen)
		return 0;
	return ct_now() - used > WR_CT_SECONDS(seconds) ? 0 : backend;
}

/* Remembers the backend, whose time is written at most once a second. *key becomes what is written. */
OUT_OF_LINE int affinity_record(struct wr_affinity *key, __u32 slot, __u32 backend)
{
	struct wr_affinities *all;
	struct wr_affinity *at;
	const __u32 zero = 0;
	__u32 set, seen;

	if (!key)
		return 0;
	key->backend = backend;
	key->used = ct_now();
	all = bpf_map_lookup_elem(&affinity, &slot);
	if (!all) {
		all = bpf_map_lookup_elem(&affinity_none, &zero);
		if (all)
			bpf_map_update_elem(&affinity, &slot, all, BPF_NOEXIST);
		all = bpf_map_lookup_elem(&affinity, &slot);
	}
	if (!all)
		return 0;
	set = affinity_set(key) & (WR_AFFINITY_SETS - 1);
	at = affinity_find(all, set, key);
	if (at && at->backend == key->backend && key->used - at->used < WR_CT_SECONDS(1))
		return 0;
	if (!at)
		at = affinity_at(all, set, __sync_fetch_and_add(&all->written[set], 1));
	seen = sequence_read(&at->sequence, 0);
	if (!sequence_lock(&at->sequence, seen))
		return 0;
	__builtin_memcpy(&at->client, &key->client, sizeof(*at) - __builtin_offsetof(struct wr_affinity, client));
	sequence_unlock(&at->sequence, seen);
	return 0;
}

/* --- clients outside the cluster --- */

union client_key {
	struct wr_client4_key k4;
	struct wr_client6_key k6;
};
SCRATCH(client_keys, union client_key, client_key_get)

static __always_inline void client_key_set(union client_key *key, const union addr *client, const union addr *service,
					   __be16 port, __u8 l4_proto, bool v6)
{
	if (v6)
		key->k6 = (struct wr_client6_key){ client->a6, service->a6, port, l4_proto, 0 };
	else
		key->k4 = (struct wr_client4_key){ client->a4, service->a4, port, l4_proto, 0 };
}

static __always_inline struct wr_client_affinity *client_find(const union client_key *key, bool v6)
{
	if (!key)
		return NULL;
	return v6 ? bpf_map_lookup_elem(&clients6, key) : bpf_map_lookup_elem(&clients4, key);
}

/* affinity_lookup() for the client in client_key_get(). */
OUT_OF_LINE __u32 client_affinity_lookup(__u32 seconds, __u32 v6)
{
	const struct wr_client_affinity *found = client_find(client_key_get(), v6);

	return !found || ct_now() - found->used > WR_CT_SECONDS(seconds) ? 0 : found->backend;
}

/* affinity_record() for the same. */
OUT_OF_LINE int client_affinity_record(__u32 backend, __u32 v6)
{
	const struct wr_client_affinity now = { .backend = backend, .used = ct_now() }, *found;
	const union client_key *key = client_key_get();

	found = client_find(key, v6);
	if (!key || (found && found->backend == backend && now.used - found->used < WR_CT_SECONDS(1)))
		return 0;
	if (v6)
		bpf_map_update_elem(&clients6, key, &now, BPF_ANY);
	else
		bpf_map_update_elem(&clients4, key, &now, BPF_ANY);
	return 0;
}

#endif
