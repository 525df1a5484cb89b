/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Map codecs: the keys and values of each registered map as a human writes and reads them. A map that is added to
 * the registry (abi/maps.h) without a codec does not link.
 */
#ifndef WARREN_CODEC_H
#define WARREN_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "out.h"

struct map_codec {
	const char *name;
	size_t key_size, value_size;
	const char *key_form;			       /* how a key is written, for messages and the manual */
	int (*parse_key)(const char *text, void *key); /* -EINVAL; key is zeroed before */
	void (*key)(struct out *o, const void *key);   /* fields, into the open record */
	void (*value)(struct out *o, const void *value, int cpus);
};

#define MAP_KEY_MAX 64 /* bytes of the largest key */

extern const struct map_codec *const map_codecs[]; /* in the registry's order; ends with NULL */
const struct map_codec *map_codec_find(const char *name);

/* From one CPU's value to the next: the kernel pads them to 8 bytes. */
static inline size_t map_value_stride(size_t value_size)
{
	return (value_size + 7) & ~(size_t)7;
}

#define HEX_ROOM(bytes) ((bytes)*3 + 1)
/* "0a 00 00 01". Returns buf, which has HEX_ROOM(size). */
const char *hex_format(const void *data, size_t size, char *buf);
/* Exactly `size` bytes as hex digits, with or without blanks or colons between them; -EINVAL. */
int hex_parse(const char *text, void *data, size_t size);

#endif
