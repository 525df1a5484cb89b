/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables of services (abi/service.h): the backend of a flow of a client outside the cluster, the same one on every
 * node. The hash is SipHash-1-3 under a key of the cluster: who does not have the key cannot tell which flows go to the
 * same backend other than by trying them.
 */
#ifndef WARREN_LIB_SERVICE_TABLE_H
#define WARREN_LIB_SERVICE_TABLE_H

#include "abi/service.h"
#include "lib/flow.h"
#include "lib/maps.h"

struct sip {
	__u64 a, b, c, d;
};

#define SIP_ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

static __always_inline void sip_round(struct sip *s)
{
	s->a += s->b;
	s->b = SIP_ROTATE(s->b, 13) ^ s->a;
	s->a = SIP_ROTATE(s->a, 32);
	s->c += s->d;
	s->d = SIP_ROTATE(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = SIP_ROTATE(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = SIP_ROTATE(s->b, 17) ^ s->c;
	s->c = SIP_ROTATE(s->c, 32);
}

static __always_inline void sip_word(struct sip *s, __u32 low, __u32 high)
{
	const __u64 word = (__u64)high << 32 | low;

	s->d ^= word;
	sip_round(s);
	s->a ^= word;
}

/* The hash of an input whose length is known from its last word. */
static __always_inline __u64 sip_end(struct sip *s)
{
	s->c ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->a ^ s->b ^ s->c ^ s->d;
}

/* `sport` is the client's, or 0 for all of them. */
static __always_inline __u64 table_hash(const struct addresses *at, const struct flow *f, __be16 sport, const __u64 key[2])
{
	struct sip s = { key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
			 key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull };
	const __be32 *client = at->saddr.a6.v6, *service = f->nat.service.a6.v6;

	sip_word(&s, client[0], service[0]);
	if (f->v6) {
		sip_word(&s, client[1], service[1]);
		sip_word(&s, client[2], service[2]);
		sip_word(&s, client[3], service[3]);
	}
	sip_word(&s, (__u32)sport << 16 | f->nat.service_port, (__u32)f->v6 << 8 | f->l4_proto);
	return sip_end(&s);
}

/*
 * The id of the backend that the service's table has for the flow; 0: none (any more). A client of a service with
 * affinity has one backend on every node, so its port does not count.
 */
OUT_OF_LINE __u32 table_backend(const struct addresses *at, const struct flow *f)
{
	const struct wr_table_block *block;
	const struct wr_service_state *state;
	struct wr_table_key key;
	const __u32 zero = 0;
	__u32 element;

	if (!at || !f)
		return 0;
	state = bpf_map_lookup_elem(&service_state, &zero);
	if (!state)
		return 0;
	element = (table_hash(at, f, f->nat.affinity ? 0 : f->sport, state->key) >> 32) * f->nat.table_size >> 32;
	key = (struct wr_table_key){ .table = f->nat.table, .block = element / WR_TABLE_BLOCK };
	block = bpf_map_lookup_elem(&service_tables, &key);
	return block ? block->backends[element % WR_TABLE_BLOCK] : 0;
}

#endif
