/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Map codecs: parse and print the keys and values of each registered map. A map that is added to the registry
 * (abi/maps.h) without a codec (codec_maps.c) does not link.
 */
#ifndef WARREN_CODEC_H
#define WARREN_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "out.h"

struct codec_field; /* codec_internal.h */

struct map_codec {
	const char *name;
	size_t key_size, value_size;
	const char *key_form; /* syntax of a key, for messages and the man page: its fields, separated by ',' or '/' */
	const struct codec_field *key, *value;
};

#define MAP_KEY_MAX 64 /* bytes of the largest key */

extern const struct map_codec *const map_codecs[]; /* in the registry's order; ends with NULL */
const struct map_codec *map_codec_find(const char *name);

int codec_parse_key(const struct map_codec *codec, const char *text, void *key); /* -EINVAL; key is zeroed before */
/* Write the fields into the open record. */
void codec_key(const struct map_codec *codec, struct out *o, const void *key);
void codec_value(const struct map_codec *codec, struct out *o, const void *value, int cpus);

/* Distance between the values of two CPUs: the kernel pads them to 8 bytes. */
static inline size_t map_value_stride(size_t value_size)
{
	return (value_size + 7) & ~(size_t)7;
}

#define HEX_STRLEN(bytes) ((bytes)*3 + 1)
/* "0a 00 00 01". Returns buf, which has HEX_STRLEN(size). */
const char *hex_format(const void *data, size_t size, char *buf);
/* Exactly `size` bytes as hex digits, with or without blanks or colons between them; -EINVAL. */
int hex_parse(const char *text, void *data, size_t size);

#endif
