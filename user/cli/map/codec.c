/* SPDX-License-Identifier: BSD-2-Clause */
#include "codec_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "array.h"
#include "flows.h"
#include "packet.h"
#include "str.h"

#define ANY "any"

/* Numbers of 1 to 8 bytes: in memory the lowest byte comes first on all machines that the programs run on. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers of any size");

static uint64_t number_at(const void *at, size_t size)
{
	uint64_t number = 0;

	memcpy(&number, at, size);
	return number;
}

static int number_put(void *at, size_t size, uint64_t number)
{
	memcpy(at, &number, size);
	return 0;
}

/* From or to network order. */
static uint64_t swapped(uint64_t number, size_t size)
{
	return size == 2 ? htons((uint16_t)number) : htonl((uint32_t)number);
}

static struct ip ip_at(const void *at, size_t size)
{
	return ip_from(size == 4 ? AF_INET : AF_INET6, at);
}

static struct ip ip_either_at(const void *at)
{
	static const char zeros[12];

	return ip_at(at, memcmp((const char *)at + 4, zeros, sizeof(zeros)) == 0 ? 4 : 16);
}

/* --- parsing ----------------------------------------------------------------------------------------------------- */

static int parse_ip(const char *text, void *at, size_t size)
{
	struct ip ip;

	if (ip_parse(text, &ip) < 0 || ip_bytes(&ip) != size)
		return -EINVAL;
	memcpy(at, ip.bytes, size);
	return 0;
}

static int parse_prefix(const struct codec_field *f, const char *text, void *at)
{
	const size_t before = sizeof(uint32_t) + f->arg;
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0 || ip_bytes(&prefix.ip) != f->size - before)
		return -EINVAL;
	memcpy((char *)at + before, prefix.ip.bytes, f->size - before);
	return number_put(at, sizeof(uint32_t), 8 * f->arg + prefix.len);
}

static __be16 *ct_ports(const void *key, size_t size)
{
	return (__be16 *)((char *)key + 2 * size);
}

static int parse_ct_end(const struct codec_field *f, const char *text, void *key)
{
	char host[IP_STRLEN];
	const char *rest;
	uint64_t port;

	if (host_split(text, host, sizeof(host), &rest) < 0 || !rest ||
	    parse_ip(host, (char *)key + f->arg * f->size, f->size) < 0 || number_parse(rest, UINT16_MAX, &port) < 0)
		return -EINVAL;
	ct_ports(key, f->size)[f->arg] = htons((uint16_t)port);
	if (f->arg)
		dp_flow_key_sort(key, f->size); /* the ends may be given in either order */
	return 0;
}

static int parse_port_prefix(const char *text, struct wr_policy_key *key)
{
	const char *slash = strchr(text, '/');
	uint64_t port, bits;
	char number[8];

	if (!slash || (size_t)(slash - text) >= sizeof(number))
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)(slash - text), text);
	if (number_parse(number, UINT16_MAX, &port) < 0 || number_parse(slash + 1, 16, &bits) < 0)
		return -EINVAL;
	key->port = htons((uint16_t)port);
	key->shape |= (__u8)bits;
	return 0;
}

static const char *ct_kind_name(uint32_t kind)
{
	return kind == WR_CT_FLOW ? "flow" : kind == WR_CT_REVERSE_NAT ? "reverse_nat" : NULL;
}

/* The number with this name, of those from 0 that have one. */
static int parse_name(const char *text, const char *(*name)(uint32_t number), uint64_t *number)
{
	for (*number = 0; name((uint32_t)*number); ++*number) {
		if (strcmp(name((uint32_t)*number), text) == 0)
			return 0;
	}
	return -EINVAL;
}

/* Kinds that are a number or a part of one. */
static int parse_number(const struct codec_field *f, const char *text, uint64_t *number)
{
	uint32_t direction = 0;
	uint8_t byte = 0;
	int r;

	switch (f->kind) {
	case NUMBER:
	case BE:
	case HALF_NUMBER:
		return number_parse(text, f->arg, number);
	case IDENTITY:
		return identity_parse(text, number);
	case PEER:
		return peer_parse(text, number);
	case CT_STAT:
		return parse_name(text, ct_stat_name, number);
	case CT_KIND:
		return parse_name(text, ct_kind_name, number);
	case DIRECTION:
	case HALF_DIRECTION:
	case SHAPE_DIRECTION:
		r = direction_parse(text, &direction);
		*number = direction;
		return r;
	case HALF_REASON:
		r = reason_parse(text, &byte);
		break;
	default:
		r = f->kind == ANY_PROTOCOL && strcmp(text, ANY) == 0 ? 0 : l4_proto_parse(text, &byte);
	}
	*number = byte;
	return r;
}

int field_parse(const struct codec_field *f, const char *text, void *key)
{
	void *at = (char *)key + f->offset;
	uint64_t number;

	switch (f->kind) {
	case IP:
		return parse_ip(text, at, f->size);
	case PREFIX:
		return parse_prefix(f, text, at);
	case CT_END:
		return parse_ct_end(f, text, key);
	case PORT_PREFIX:
		return parse_port_prefix(text, key);
	default:
		if (parse_number(f, text, &number) < 0)
			return -EINVAL;
	}
	switch (f->kind) {
	case BE:
		return number_put(at, f->size, swapped(number, f->size));
	case HALF_NUMBER:
	case HALF_REASON:
		return number_put(at, f->size, number_at(at, f->size) + number * WR_DIRECTIONS);
	case HALF_DIRECTION:
		return number_put(at, f->size, number_at(at, f->size) + number);
	case SHAPE_DIRECTION:
		((struct wr_policy_key *)key)->shape |= wr_policy_shape((uint32_t)number, 0);
		return 0;
	default:
		return number_put(at, f->size, number);
	}
}

/* --- printing ---------------------------------------------------------------------------------------------------- */

static json_t *bits_json(uint64_t bits)
{
	json_t *array = json_array();

	for (int i = 0; i < 32; i++) {
		if (bits >> i & 1)
			json_array_append_new(array, json_sprintf("%d", i));
	}
	return array;
}

static json_t *numbers_json(const uint32_t *v, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_integer(v[i]));
	return array;
}

static uint64_t sum(const struct codec_field *f, const void *at, int cpus)
{
	uint64_t sum = 0;

	for (int i = 0; i < cpus; i++)
		sum += number_at((const char *)at + (size_t)i * map_value_stride(f->arg), f->size);
	return sum;
}

static void print_number(struct out *o, const struct codec_field *f, const void *at, int cpus)
{
	const uint64_t n = number_at(at, f->size);
	const uint32_t n32 = (uint32_t)n;
	char text[NUMBER_STRLEN];

	switch (f->kind) {
	case BE:
		return out_uint(o, f->name, swapped(n, f->size));
	case HEX:
		return out_hex(o, f->name, n32);
	case BE_HEX:
		return out_hex(o, f->name, (uint32_t)swapped(n, f->size));
	case SECRET:
		return out_bool(o, f->name, n);
	case FLAGS:
		return out_strings(o, f->name, flags_json(f->flags, n32), ",");
	case BITS:
		return out_strings(o, f->name, bits_json(n), ",");
	case REASON:
		return out_named(o, f->name, reason_name(n32), n);
	case DIRECTION:
		return out_string(o, f->name, direction_name(n32));
	case ANY_PROTOCOL:
	case PROTOCOL:
		return out_named(o, f->name, f->kind == ANY_PROTOCOL && !n ? ANY : l4_proto_name((uint8_t)n), n);
	case CT_KIND:
		return out_named(o, f->name, ct_kind_name(n32), n);
	case CT_STAT:
		return out_named(o, f->name, ct_stat_name(n32), n);
	case IDENTITY:
		return out_string(o, f->name, identity_name(n, text));
	case PEER:
		return out_string(o, f->name, peer_name(n, text));
	case CLASS:
		return out_field(o, f->name, json_integer(n32), class_name(n32, text), OUT_PLAIN);
	case SIDE:
		snprintf(text, sizeof(text), "%s%u", n & WR_REMOTE ? "slot " : "", n32 & ~WR_REMOTE);
		return out_field(o, f->name, json_integer(n32), text, OUT_PLAIN);
	case SUM:
		return out_uint(o, f->name, sum(f, at, cpus));
	case HALF_NUMBER:
		return out_uint(o, f->name, n / WR_DIRECTIONS);
	case HALF_REASON:
		return out_named(o, f->name, reason_name(n32 / WR_DIRECTIONS), n / WR_DIRECTIONS);
	case HALF_DIRECTION:
		return out_string(o, f->name, direction_name(n32 % WR_DIRECTIONS));
	default:
		return out_uint(o, f->name, n);
	}
}

static void print_prefix(struct out *o, const struct codec_field *f, const char *at)
{
	const size_t before = sizeof(uint32_t) + f->arg;
	struct prefix prefix;
	char buf[PREFIX_STRLEN];

	if (f->kind == MASKED)
		prefix = prefix_masked(f->size == 4 ? AF_INET : AF_INET6, at, at + f->size);
	else
		prefix = (struct prefix){ ip_at(at + before, f->size - before),
					  (uint8_t)(number_at(at, sizeof(uint32_t)) - 8 * f->arg) };
	out_string(o, f->name, prefix_format(&prefix, buf));
}

static json_t *each_cpu_json(const struct wr_metric *metric, int cpus)
{
	json_t *each = json_array();

	for (int i = 0; i < cpus; i++)
		json_array_append_new(each, json_pack("{sIsI}", "packets", (json_int_t)metric[i].packets, "bytes",
						      (json_int_t)metric[i].bytes));
	return each;
}
_Static_assert(sizeof(struct wr_metric) % 8 == 0, "per-CPU values are padded to 8 bytes");

static uint32_t slots_used(const struct wr_ct_windows *windows)
{
	uint32_t used = 0;

	for (size_t i = 0; i < sizeof(windows->used) / sizeof(windows->used[0]); i++)
		used += (uint32_t)__builtin_popcountll(windows->used[i]) * WR_CT_WINDOW_MIN;
	return used;
}

static uint32_t last_tick(const struct wr_deny_hits *hits, int cpus)
{
	uint32_t last = 0;

	for (int cpu = 0; cpu < cpus; cpu++) {
		if (hits[cpu].packets && (!last || (int32_t)(hits[cpu].last - last) > 0))
			last = hits[cpu].last;
	}
	return last;
}

static json_t *ct_verdict_json(const struct wr_policy_verdict *v)
{
	char identity[NUMBER_STRLEN];

	return json_pack("{sssIsI}", "peer", identity_name(v->peer, identity), "revision", (json_int_t)v->revision,
			 "rule", (json_int_t)v->rule);
}

static json_t *trace_ct_json(const struct wr_ct *ct)
{
	return json_pack("{sIsosIsIsososIsI}", "expires", (json_int_t)ct->expires, "flags", flags_json(ct_flags, ct->flags),
			 "initiator", (json_int_t)ct->initiator, "responder", (json_int_t)ct->responder,
			 direction_name(WR_EGRESS), ct_verdict_json(&ct->at[WR_EGRESS]), direction_name(WR_INGRESS),
			 ct_verdict_json(&ct->at[WR_INGRESS]), "initiator_ack", (json_int_t)ct->ack[0], "responder_ack",
			 (json_int_t)ct->ack[1]);
}

static json_t *policy_verdict_json(const struct wr_trace_verdict *v)
{
	char identity[NUMBER_STRLEN], class[NUMBER_STRLEN], cidr[NUMBER_STRLEN], matched[NUMBER_STRLEN];

	return json_pack("{sbsIsIsIsssssssssisI}", "allowed", v->allowed, "rule", (json_int_t)v->rule, "class",
			 (json_int_t)v->policy_class, "revision", (json_int_t)v->revision, "peer_identity",
			 identity_name(v->peer_identity, identity), "peer_class", peer_name(v->peer_class, class),
			 "cidr_peer", peer_name(v->cidr_peer, cidr), "matched", peer_name(v->matched, matched),
			 "protocol", (int)v->l4_proto, "port_bits", (json_int_t)v->port_bits);
}

static void print_end(struct out *o, const struct codec_field *f, const void *key)
{
	const struct ip ip = ip_at((const char *)key + f->arg * f->size, f->size);
	char text[SOCKET_STRLEN];

	out_string(o, f->name, socket_format(&ip, ntohs(ct_ports(key, f->size)[f->arg]), text));
}

static bool is_valid(const struct codec_field *f, const void *base)
{
	bool set;

	if (!f->valid.bit)
		return true;
	set = number_at((const char *)base + f->valid.offset, f->valid.size) & f->valid.bit;
	return set != f->valid.unless;
}

void field_print(struct out *o, const struct codec_field *f, const void *base, int cpus)
{
	const void *at = (const char *)base + f->offset;
	const struct wr_policy_key *key = base;
	char text[WR_RULE_TEXT + 1];
	struct ip ip;

	if (!is_valid(f, base))
		return out_string(o, f->name, NULL);
	switch (f->kind) {
	case TEXT:
		snprintf(text, sizeof(text), "%.*s", (int)f->size, (const char *)at);
		return out_string(o, f->name, text);
	case MAC:
		return out_string(o, f->name, mac_format(at, text));
	case IP:
		ip = ip_at(at, f->size);
		return out_string(o, f->name, ip_format(&ip, text));
	case IP_EITHER:
		ip = ip_either_at(at);
		return out_string(o, f->name, ip_format(&ip, text));
	case IP_OF:
		ip = ip_at(at, ((const struct wr_node *)base)->flags & f->arg ? 16 : 4);
		return out_string(o, f->name, ip_format(&ip, text));
	case PREFIX:
	case MASKED:
		return print_prefix(o, f, at);
	case CT_END:
		return print_end(o, f, at);
	case SHAPE_DIRECTION:
		return out_string(o, f->name, direction_name(key->shape >> 7));
	case PORT_PREFIX:
		snprintf(text, sizeof(text), "%u/%u", ntohs(key->port), key->shape & 0x7fu);
		return out_string(o, f->name, text);
	case EACH_CPU:
		return out_json(o, f->name, each_cpu_json(base, cpus));
	case WINDOWS:
		return out_uint(o, f->name, slots_used(base));
	case LAST_TICK:
		return out_uint(o, f->name, last_tick(base, cpus));
	case NUMBERS:
		return out_json(o, f->name, numbers_json(at, f->size / sizeof(uint32_t)));
	case TRACE_CT:
		return out_json(o, f->name, trace_ct_json(at));
	case POLICY_VERDICT:
		return out_json(o, f->name, policy_verdict_json(at));
	default:
		return print_number(o, f, at, cpus);
	}
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
