/* SPDX-License-Identifier: BSD-2-Clause */
#include "codec_pieces.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "packet_text.h"
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

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
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

/* --- pieces --- */

int parse_u32(const char *text, uint64_t max, __u32 *value)
{
	uint64_t number;
	int r = number_parse(text, max, &number);

	if (r == 0)
		*value = (__u32)number;
	return r;
}

int parse_ip(const char *text, int family, void *bytes)
{
	struct ip ip;

	if (ip_parse(text, &ip) < 0 || ip.family != family)
		return -EINVAL;
	memcpy(bytes, ip.bytes, ip_bytes(&ip));
	return 0;
}

int parts_split(const char *text, struct parts *parts, int count)
{
	char *rest = parts->copy;

	if (!str_copy(parts->copy, sizeof(parts->copy), text))
		return -EINVAL;
	for (int i = 0; i < count; i++)
		parts->part[i] = strsep(&rest, ",");
	return rest || !parts->part[count - 1] ? -EINVAL : 0;
}

int only_parse(const char *text, __u32 *key)
{
	return parse_u32(text, 0, key);
}

void only_key(struct out *o, const __u32 *key)
{
	out_uint(o, "index", *key);
}

void slot_key(struct out *o, const __u32 *key)
{
	out_uint(o, "slot", *key);
}

void out_ip(struct out *o, const char *key, struct ip ip)
{
	char buf[IP_STRLEN];

	out_string(o, key, ip.family ? ip_format(&ip, buf) : NULL);
}

void out_hex(struct out *o, const char *key, uint32_t number)
{
	char buf[NUMBER_STRLEN];

	snprintf(buf, sizeof(buf), "0x%08x", number);
	out_string(o, key, buf);
}

void out_protocol(struct out *o, const char *key, uint32_t l4_proto)
{
	const char *name = l4_proto <= 255 ? l4_proto_name((uint8_t)l4_proto) : NULL;

	if (name)
		out_string(o, key, name);
	else
		out_uint(o, key, l4_proto);
}

void out_identity(struct out *o, const char *key, uint64_t identity)
{
	char buf[NUMBER_STRLEN];

	out_string(o, key, identity_name(identity, buf));
}

void out_peer(struct out *o, const char *key, uint64_t peer)
{
	char buf[NUMBER_STRLEN];

	out_string(o, key, peer_name(peer, buf));
}

void out_end_of(struct out *o, const char *key, uint32_t end)
{
	char text[NUMBER_STRLEN];

	snprintf(text, sizeof(text), "%s%u", end & WR_REMOTE ? "slot " : "", end & ~WR_REMOTE);
	out_field(o, key, json_integer(end), text, OUT_PLAIN);
}

/* --- the table, from the registry --- */

const struct map_codec *const map_codecs[] = {
#define X(name, ...) &codec_##name,
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
