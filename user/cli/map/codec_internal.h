/* SPDX-License-Identifier: BSD-2-Clause */
/* The fields of keys and values: one description of each, for parsing and printing. */
#ifndef WARREN_CODEC_INTERNAL_H
#define WARREN_CODEC_INTERNAL_H

#include "abi/maps.h"
#include "codec.h"
#include "enum_names.h"

/* Numbers have 1, 2, 4 or 8 bytes. Kinds that occur in keys are also parsed. */
enum codec_kind {
	NUMBER, /* arg: maximum in a key */
	BE,	/* in network order; arg: maximum in a key */
	HEX,	/* 0x01000000 */
	BE_HEX,
	SECRET, /* shown as set or not */
	FLAGS,	/* by name, from `flags` */
	BITS,	/* numbers of the bits that are set */
	REASON,
	DIRECTION,
	PROTOCOL,
	ANY_PROTOCOL, /* 0: any */
	CT_STAT,
	IDENTITY,
	PEER,
	CLASS, /* in JSON the number */
	SIDE,  /* of a flow: an endpoint's id, "slot 3" for a pod of a node; in JSON the number */
	SUM,   /* of a 64-bit counter over all CPUs; arg: size of one CPU's value */
	/* Parts of an integer that is number * 2 + direction. */
	HALF_NUMBER, /* arg: maximum */
	HALF_REASON,
	HALF_DIRECTION,

	TEXT, /* without a NUL if it fills the field */
	MAC,
	IP,	/* 4 or 16 bytes */
	IP_EITHER, /* 16 bytes; IPv4: 4 bytes of address and 12 of 0, which no IPv6 address of a host has */
	IP_OF,	/* 16 bytes if a wr_node's flags have arg, else 4 */
	PREFIX, /* length, then arg bytes which the length includes, then the address */
	MASKED, /* an address followed by its mask */
	CT_KIND, /* of a wr_ct4_key and wr_ct6_key; optional when parsed */
	CT_END, /* arg: 0 or 1; of a key that begins with two addresses of this size and two ports */
	SHAPE_DIRECTION, /* of a wr_policy_key */
	PORT_PREFIX,
	EACH_CPU,  /* a wr_metric of each CPU */
	WINDOWS,   /* of a wr_ct_windows: number of slots that endpoints own */
	LAST_TICK, /* the latest of all CPUs' wr_deny_hits */
	/* Compound fields are shown in JSON only: in text a value is one line. */
	NUMBERS, /* of 4 bytes each */
	TRACE_CT,
	POLICY_VERDICT,
};

struct codec_field {
	const char *name; /* NULL ends a list; `size` is then the size of the whole key or value */
	enum codec_kind kind;
	size_t offset, size;
	uint64_t arg;
	const struct flag_name *flags;
	struct {
		size_t offset, size;
		uint32_t bit; /* 0: always valid */
		bool unless;  /* valid if the bit is not set */
	} valid; /* depends on a bit of a flags field */
};

#define FIELD_AS(type, label, member, kind, ...)                                                                       \
	{                                                                                                              \
		label, kind, offsetof(type, member), sizeof(((type *)0)->member), __VA_ARGS__                          \
	}
#define FIELD(type, member, kind, ...) FIELD_AS(type, #member, member, kind, __VA_ARGS__)
/* The key or value as a whole. */
#define WHOLE(type, label, kind, ...)                                                                                  \
	{                                                                                                              \
		label, kind, 0, sizeof(type), __VA_ARGS__                                                              \
	}
#define END_OF(type)                                                                                                   \
	{                                                                                                              \
		.size = sizeof(type)                                                                                   \
	}

int field_parse(const struct codec_field *f, const char *text, void *key); /* -EINVAL */
/* `base`: the whole key or value, or the values of all CPUs. */
void field_print(struct out *o, const struct codec_field *f, const void *base, int cpus);

#endif
