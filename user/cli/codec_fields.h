/* SPDX-License-Identifier: BSD-2-Clause */
/* What keys and values are made of: one description of each field, by which it is read and shown. */
#ifndef WARREN_CODEC_FIELDS_H
#define WARREN_CODEC_FIELDS_H

#include "abi/maps.h"
#include "codec.h"
#include "names.h"

/* Numbers are of 1, 2, 4 or 8 bytes. Where a key may have it, text is read, too. */
enum codec_kind {
	NUMBER, /* arg: a key's largest */
	BE,	/* in network order; arg: a key's largest */
	HEX,	/* 0x01000000 */
	BE_HEX,
	SECRET, /* only whether there is one */
	FLAGS,	/* flags: their names */
	BITS,	/* numbers of those that are set */
	REASON,
	DIRECTION,
	PROTOCOL,
	ANY_PROTOCOL, /* 0: any */
	CT_STAT,
	IDENTITY,
	PEER,
	CLASS, /* in JSON the number */
	SIDE,  /* of a flow: an endpoint's id, "slot 3" for a node's pod; in JSON the number */
	SUM,   /* of a 64-bit counter, over all CPUs; arg: size of one CPU's value */
	/* Parts of a word that is number * 2 + direction. */
	HALF_NUMBER, /* arg: the largest */
	HALF_REASON,
	HALF_DIRECTION,

	TEXT, /* without a NUL where it fills its room */
	MAC,
	IP,	/* 4 or 16 bytes */
	IP_EITHER, /* 16 bytes; an IPv4 address in the first word, the rest 0, as no host's IPv6 address has it */
	IP_OF,	/* 4 bytes of it, or 16 if a wr_node's flags have arg */
	PREFIX, /* length, and arg bytes before the address that it counts, too */
	MASKED, /* an address, and the mask behind it */
	CT_KIND, /* of a wr_ct4_key and wr_ct6_key; where text is read it may be left out */
	CT_END, /* arg: 0 or 1; of a key that begins with two addresses of this size and two ports */
	SHAPE_DIRECTION, /* of a wr_policy_key */
	PORT_PREFIX,
	EACH_CPU,  /* a wr_metric of each */
	WINDOWS,   /* of a wr_ct_windows: how many slots are some endpoint's */
	LAST_TICK, /* of all CPUs' wr_deny_hits */
	/* What has parts is shown in JSON only: in text a value is one line. */
	TRACE_CT,
	JUDGEMENT,
};

struct codec_field {
	const char *name; /* NULL ends a list; `size` is then that of the key or value */
	enum codec_kind kind;
	size_t offset, size;
	uint64_t arg;
	const struct flag_name *flags;
	struct {
		size_t offset, size;
		uint32_t bit; /* 0: it always is */
		bool unless;  /* that bit is not set */
	} valid; /* by a bit of a word of flags */
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
/* `base`: the whole key or value, or those of all CPUs. */
void field_print(struct out *o, const struct codec_field *f, const void *base, int cpus);

#endif
