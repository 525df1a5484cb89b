/* SPDX-License-Identifier: BSD-2-Clause */
/* What the codecs (codec_*.c) are made of. */
#ifndef WARREN_CODEC_PIECES_H
#define WARREN_CODEC_PIECES_H

#include "abi/maps.h"
#include "addr.h"
#include "codec.h"

/* Key and value types of every map, and the declaration of its codec, from the registry. */
#define X(name, TYPE, key_type, value_type, max, flags, text)                                                          \
	typedef key_type name##_map_key;                                                                               \
	typedef value_type name##_map_value;                                                                           \
	_Static_assert(sizeof(key_type) <= MAP_KEY_MAX, #name);                                                        \
	extern const struct map_codec codec_##name;
#define GROWING(name, key_type, value_type, first, most, text) X(name, HASH, key_type, value_type, most, 0, text)
WARREN_MAPS(X)
WARREN_GROWING_MAPS(GROWING)
#undef GROWING
#undef X

/* Defines the codec of a map by three functions that take pointers to its own types. */
#define CODEC(name, form, parse_fn, key_fn, value_fn)                                                                  \
	static int name##_parse_any(const char *text, void *key)                                                       \
	{                                                                                                              \
		return parse_fn(text, (name##_map_key *)key);                                                          \
	}                                                                                                              \
	static void name##_key_any(struct out *o, const void *key)                                                     \
	{                                                                                                              \
		key_fn(o, (const name##_map_key *)key);                                                                \
	}                                                                                                              \
	static void name##_value_any(struct out *o, const void *value, int cpus)                                       \
	{                                                                                                              \
		value_fn(o, (const name##_map_value *)value, cpus);                                                    \
	}                                                                                                              \
	const struct map_codec codec_##name = { #name, sizeof(name##_map_key), sizeof(name##_map_value), form,         \
						name##_parse_any, name##_key_any, name##_value_any }

/* A key of the map with one element. */
int only_parse(const char *text, __u32 *key);
void only_key(struct out *o, const __u32 *key);
/* A key that is a slot's number; parse_u32() reads it. */
void slot_key(struct out *o, const __u32 *key);

int parse_u32(const char *text, uint64_t max, __u32 *value);
int parse_ip(const char *text, int family, void *bytes);
/* Splits a copy of `text` at the commas; -EINVAL unless there are exactly `count` parts. */
#define PARTS_MAX 5
struct parts {
	char copy[256];
	const char *part[PARTS_MAX];
};
int parts_split(const char *text, struct parts *parts, int count);

/* A key that is an address. */
int addr4_parse(const char *text, struct wr_addr4 *key);
int addr6_parse(const char *text, struct wr_addr6 *key);
void addr4_key(struct out *o, const struct wr_addr4 *key);
void addr6_key(struct out *o, const struct wr_addr6 *key);
/* A key that is a prefix: "10.0.0.0/8". */
int prefix4_parse(const char *text, struct wr_prefix4 *key);
int prefix6_parse(const char *text, struct wr_prefix6 *key);
void prefix4_key(struct out *o, const struct wr_prefix4 *key);
void prefix6_key(struct out *o, const struct wr_prefix6 *key);
/* Packets and bytes, summed up and by CPU. */
void metrics_value(struct out *o, const struct wr_metric *metric, int cpus);

void out_ip(struct out *o, const char *key, struct ip ip); /* family 0: none */
void out_hex(struct out *o, const char *key, uint32_t number); /* 0x01000000 */
void out_protocol(struct out *o, const char *key, uint32_t l4_proto);
void out_identity(struct out *o, const char *key, uint64_t identity);
void out_peer(struct out *o, const char *key, uint64_t peer);
/* Where a side of a flow is: an endpoint's id, or "slot 3" for a node's pod. In JSON the number that is in the map. */
void out_end_of(struct out *o, const char *key, uint32_t end);

#endif
