/* SPDX-License-Identifier: BSD-2-Clause */
#include "codec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec_fields.h"
#include "str.h"

/* --- hex --- */

const char *hex_format(const void *data, size_t size, char *buf)
{
	const uint8_t *bytes = data;

	buf[0] = '\0';
	for (size_t i = 0; i < size; i++)
		sprintf(buf + i * 3 - (i > 0), i ? " %02x" : "%02x", bytes[i]);
	return buf;
}

int hex_parse(const char *text, void *data, size_t size)
{
	uint8_t *bytes = data;
	int high, low;

	for (size_t i = 0; i < size; i++, text += 2) {
		if (i && (*text == ' ' || *text == ':'))
			text++;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high * 16 + low);
	}
	return *text ? -EINVAL : 0;
}

/* --- keys and values --- */

int codec_parse_key(const struct map_codec *codec, const char *text, void *key)
{
	const char *separator = strchr(codec->key_form, ',') ? "," : "/";
	char copy[256], *rest = copy;

	if (!codec->key[1].name)
		return field_parse(codec->key, text, key);
	if (!str_copy(copy, sizeof(copy), text))
		return -EINVAL;
	for (const struct codec_field *f = codec->key; f->name; f++) {
		const char *part = strsep(&rest, separator);

		if (!part && f->kind == CT_KIND)
			continue;
		if (!part || field_parse(f, part, key) < 0)
			return -EINVAL;
	}
	return rest ? -EINVAL : 0;
}

void codec_key(const struct map_codec *codec, struct out *o, const void *key)
{
	for (const struct codec_field *f = codec->key; f->name; f++)
		field_print(o, f, key, 1);
}

void codec_value(const struct map_codec *codec, struct out *o, const void *value, int cpus)
{
	for (const struct codec_field *f = codec->value; f->name; f++)
		field_print(o, f, value, cpus);
}

/* --- the table, from the registry --- */

#define X(name, ...) extern const struct map_codec codec_of_##name;
WARREN_MAPS(X) WARREN_GROWING_MAPS(X)
#undef X

const struct map_codec *const map_codecs[] = {
#define X(name, ...) &codec_of_##name,
	WARREN_MAPS(X) WARREN_GROWING_MAPS(X)
#undef X
	NULL,
};

const struct map_codec *map_codec_find(const char *name)
{
	for (const struct map_codec *const *c = map_codecs; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
	}
	return NULL;
}
