/* SPDX-License-Identifier: BSD-2-Clause */
#include "base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t size)
{
	const uint8_t *in = data;
	char *text, *out;

	if (size > SIZE_MAX / 2)
		return NULL;
	out = text = malloc((size + 2) / 3 * 4 + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i += 3) {
		size_t have = size - i < 3 ? size - i : 3;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (have > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (have > 2)
			bits |= in[i + 2];
		for (size_t k = 0; k < 4; k++, bits <<= 6)
			*out++ = k <= have ? digits[bits >> 18 & 63] : '=';
	}
	*out = '\0';
	return text;
}

int base64_decode(const char *text, char **data, size_t *size)
{
	size_t used = 0, quads = 0, padding = 0;
	_cleanup_free_ char *out = malloc(strlen(text) / 4 * 3 + 3);
	uint32_t bits = 0;

	if (!out)
		return -ENOMEM;
	for (; *text; text++) {
		const char *digit = strchr(digits, *text);

		if (strchr(" \t\r\n", *text))
			continue;
		if (*text == '=' ? quads % 4 < 2 : !digit || padding)
			return -EINVAL;
		padding += *text == '=';
		bits = bits << 6 | (digit ? (uint32_t)(digit - digits) : 0);
		if (++quads % 4)
			continue;
		for (size_t k = 0; k < 3 - padding; k++)
			out[used++] = (char)(bits >> (16 - 8 * k));
		/* Unused bits must be 0, so that each value has one encoding, and nothing may follow the padding. */
		if (padding && (bits & ((1u << 8 * padding) - 1)))
			return -EINVAL;
		bits = 0;
	}
	if (quads % 4)
		return -EINVAL;
	out[used] = '\0';
	*size = used;
	*data = take_ptr(out);
	return 0;
}
