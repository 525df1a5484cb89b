/* SPDX-License-Identifier: BSD-2-Clause */
#include "codec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "packet_text.h"

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

static int parse_u32(const char *text, uint32_t max, uint32_t *value)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 0);
	if (*end || errno || n > max)
		return -EINVAL;
	*value = (uint32_t)n;
	return 0;
}

static int parse_ip(const char *text, int family, void *bytes)
{
	struct ip ip;

	if (ip_parse(text, &ip) < 0 || ip.family != family)
		return -EINVAL;
	memcpy(bytes, ip.bytes, ip_bytes(&ip));
	return 0;
}

static void out_ip(struct out *o, const char *key, struct ip ip)
{
	char buf[IP_STRLEN];

	out_string(o, key, ip_format(&ip, buf));
}

/* --- config --- */

static const char config_form[] = "0";

static int config_parse(const char *text, __u32 *key)
{
	return parse_u32(text, 0, key);
}

static void config_key(struct out *o, const __u32 *key)
{
	out_uint(o, "index", *key);
}

static void out_mark(struct out *o, const char *key, uint32_t mark)
{
	json_t *text = json_sprintf("0x%08x", mark);

	out_string(o, key, json_string_value(text));
	json_decref(text);
}

static void config_value(struct out *o, const struct wr_config *cfg, int cpus)
{
	char version[sizeof(cfg->version) + 1] = "";

	memcpy(version, cfg->version, sizeof(cfg->version));
	out_uint(o, "abi_version", cfg->abi_version);
	out_mark(o, "mark_pod", cfg->mark_pod);
	out_mark(o, "mark_masquerade", cfg->mark_masquerade);
	out_mark(o, "mark_host_only", cfg->mark_host_only);
	out_string(o, "version", version);
}

/* --- endpoints --- */

static const char endpoints_form[] = "SLOT";

static int endpoints_parse(const char *text, __u32 *key)
{
	return parse_u32(text, WR_ENDPOINT_SLOTS - 1, key);
}

static void endpoints_key(struct out *o, const __u32 *key)
{
	out_uint(o, "slot", *key);
}

static void endpoints_value(struct out *o, const struct wr_endpoint *ep, int cpus)
{
	char mac[MAC_STRLEN], number[NUMBER_STRLEN];

	out_uint(o, "ifindex", ep->ifindex);
	if (ep->flags & WR_EP_V4)
		out_ip(o, "addr4", ip_from4(&ep->addr4));
	else
		out_string(o, "addr4", NULL);
	if (ep->flags & WR_EP_V6)
		out_ip(o, "addr6", ip_from6(&ep->addr6));
	else
		out_string(o, "addr6", NULL);
	out_string(o, "mac", mac_format(ep->mac, mac));
	out_strings(o, "flags", endpoint_flags(ep->flags), ",");
	out_uint(o, "peer_ifindex", ep->peer_ifindex);
	out_string(o, "policy_class", class_name(ep->policy_class, number));
	out_uint(o, "revision", ep->revision);
	out_string(o, "identity", identity_name(ep->identity, number));
}

/* --- addr4, addr6 --- */

static const char addr4_form[] = "IPV4-ADDRESS";
static const char addr6_form[] = "IPV6-ADDRESS";

static int addr4_parse(const char *text, struct wr_addr4 *key)
{
	return parse_ip(text, AF_INET, key);
}

static int addr6_parse(const char *text, struct wr_addr6 *key)
{
	return parse_ip(text, AF_INET6, key);
}

static void addr4_key(struct out *o, const struct wr_addr4 *key)
{
	out_ip(o, "address", ip_from4(key));
}

static void addr6_key(struct out *o, const struct wr_addr6 *key)
{
	out_ip(o, "address", ip_from6(key));
}

static void addr4_value(struct out *o, const struct wr_local *local, int cpus)
{
	out_uint(o, "endpoint", local->ifindex);
}

static void addr6_value(struct out *o, const struct wr_local *local, int cpus)
{
	addr4_value(o, local, cpus);
}

/* --- addr_cache --- */

static const char addr_cache_form[] = "SLOT";

static int addr_cache_parse(const char *text, __u32 *key)
{
	return parse_u32(text, (1 << WR_ADDR_CACHE_BITS) - 1, key);
}

static void addr_cache_key(struct out *o, const __u32 *key)
{
	endpoints_key(o, key);
}

static void addr_cache_value(struct out *o, const struct wr_local *local, int cpus)
{
	addr4_value(o, local, cpus);
}

/* --- frag4, frag6 --- */

static const char frag4_form[] = "SOURCE,DESTINATION,ID,PROTOCOL";
static const char frag6_form[] = "SOURCE,DESTINATION,ID,PROTOCOL";

static int frag_parse(const char *text, int family, void *source, void *destination, __be32 *id, __u8 *l4_proto)
{
	char copy[2 * IP_STRLEN + 32], *part[4], *rest = copy;
	uint8_t proto;
	uint32_t number;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	for (int i = 0; i < 4; i++)
		part[i] = strsep(&rest, ",");
	if (rest || !part[3] || parse_ip(part[0], family, source) < 0 || parse_ip(part[1], family, destination) < 0 ||
	    parse_u32(part[2], family == AF_INET ? 0xffff : UINT32_MAX, &number) < 0 ||
	    l4_proto_parse(part[3], &proto) < 0)
		return -EINVAL;
	*id = family == AF_INET ? htons((uint16_t)number) : htonl(number);
	*l4_proto = proto;
	return 0;
}

static void out_frag_key(struct out *o, struct ip source, struct ip destination, uint32_t id, uint32_t l4_proto)
{
	const char *name = l4_proto <= 255 ? l4_proto_name((uint8_t)l4_proto) : NULL;

	out_ip(o, "source", source);
	out_ip(o, "destination", destination);
	out_uint(o, "id", id);
	if (name)
		out_string(o, "protocol", name);
	else
		out_uint(o, "protocol", l4_proto);
}

static int frag4_parse(const char *text, struct wr_frag4_key *key)
{
	return frag_parse(text, AF_INET, &key->saddr, &key->daddr, &key->id, &key->l4_proto);
}

static int frag6_parse(const char *text, struct wr_frag6_key *key)
{
	return frag_parse(text, AF_INET6, &key->saddr, &key->daddr, &key->id, &key->l4_proto);
}

static void frag4_key(struct out *o, const struct wr_frag4_key *key)
{
	out_frag_key(o, ip_from(AF_INET, &key->saddr), ip_from(AF_INET, &key->daddr), ntohs((uint16_t)key->id),
		     key->l4_proto);
}

static void frag6_key(struct out *o, const struct wr_frag6_key *key)
{
	out_frag_key(o, ip_from6(&key->saddr), ip_from6(&key->daddr), ntohl(key->id), key->l4_proto);
}

static void frag4_value(struct out *o, const struct wr_frag *frag, int cpus)
{
	out_uint(o, "source_port", ntohs(frag->sport));
	out_uint(o, "destination_port", ntohs(frag->dport));
	out_uint(o, "end", frag->end);
}

static void frag6_value(struct out *o, const struct wr_frag *frag, int cpus)
{
	frag4_value(o, frag, cpus);
}

/* --- metrics --- */

static const char metrics_form[] = "REASON/DIRECTION";

static int metrics_parse(const char *text, __u32 *key)
{
	const char *slash = strchr(text, '/');
	char name[64];
	uint32_t direction;
	uint8_t reason;

	if (!slash || (size_t)(slash - text) >= sizeof(name))
		return -EINVAL;
	memcpy(name, text, (size_t)(slash - text));
	name[slash - text] = '\0';
	if (reason_parse(name, &reason) < 0 || direction_parse(slash + 1, &direction) < 0)
		return -EINVAL;
	*key = wr_metric_key(reason, direction);
	return 0;
}

static void metrics_key(struct out *o, const __u32 *key)
{
	const char *name = reason_name(*key / 2);

	if (name)
		out_string(o, "reason", name);
	else
		out_uint(o, "reason", *key / 2);
	out_string(o, "direction", direction_name(*key % 2));
}

static void metrics_value(struct out *o, const struct wr_metric *metric, int cpus)
{
	struct wr_metric sum = { 0 };
	json_t *each = json_array();

	for (int i = 0; i < cpus; i++) {
		sum.packets += metric[i].packets;
		sum.bytes += metric[i].bytes;
		json_array_append_new(each, json_pack("{sIsI}", "packets", (json_int_t)metric[i].packets, "bytes",
						      (json_int_t)metric[i].bytes));
	}
	out_uint(o, "packets", sum.packets);
	out_uint(o, "bytes", sum.bytes);
	out_field(o, "cpus", each, NULL, OUT_PLAIN);
}
_Static_assert(sizeof(struct wr_metric) % 8 == 0, "per-CPU values are padded to 8 bytes");

#define OPAQUE(name, key_t, value_t)                                                                                   \
	static const char name##_form[] = "bytes in hex";                                                              \
	static int name##_parse(const char *t, key_t *key)                                                             \
	{                                                                                                              \
		return hex_parse(t, key, sizeof(*key));                                                                \
	}                                                                                                              \
	static void name##_key(struct out *o, const key_t *key)                                                        \
	{                                                                                                              \
		char buf[HEX_ROOM(sizeof(*key))];                                                                      \
		out_string(o, "key", hex_format(key, sizeof(*key), buf));                                              \
	}                                                                                                              \
	static void name##_value(struct out *o, const value_t *value, int cpus)                                        \
	{                                                                                                              \
		char buf[HEX_ROOM(sizeof(*value))];                                                                    \
		out_string(o, "value", hex_format(value, sizeof(*value), buf));                                        \
	}
OPAQUE(ct4, struct wr_ct4_key, struct wr_ct)
OPAQUE(ct6, struct wr_ct6_key, struct wr_ct)
OPAQUE(ct_new4, struct wr_ct4_key, struct wr_ct)
OPAQUE(ct_new6, struct wr_ct6_key, struct wr_ct)
OPAQUE(ct_usage, __u32, struct wr_ct_usage)
OPAQUE(ct_stats, __u32, __u64)
OPAQUE(sweep, __u32, struct wr_sweep)
OPAQUE(classes, __u32, struct wr_class_info)
OPAQUE(cidrs4, struct wr_cidr4_key, struct wr_peer)
OPAQUE(cidrs6, struct wr_cidr6_key, struct wr_peer)
OPAQUE(rules, __u32, struct wr_rule_text)
OPAQUE(policy_state, __u32, struct wr_policy_state)
OPAQUE(trace, __u32, struct wr_trace)
OPAQUE(policy, struct wr_policy_key, struct wr_policy_entry)
OPAQUE(identities, __u64, struct wr_peer)

/* --- the table, from the registry --- */

#define X(name, TYPE, key_t, value_t, max, flags, text)                                                                    \
	_Static_assert(sizeof(key_t) <= MAP_KEY_MAX, #name);                                                           \
	static int name##_parse_any(const char *t, void *key)                                                          \
	{                                                                                                              \
		return name##_parse(t, (key_t *)key);                                                                  \
	}                                                                                                              \
	static void name##_key_any(struct out *o, const void *key)                                                     \
	{                                                                                                              \
		name##_key(o, (const key_t *)key);                                                                     \
	}                                                                                                              \
	static void name##_value_any(struct out *o, const void *value, int cpus)                                       \
	{                                                                                                              \
		name##_value(o, (const value_t *)value, cpus);                                                         \
	}
WARREN_MAPS(X)
#define GROWING(name, key_t, value_t, first, most, text) X(name, HASH, key_t, value_t, first, 0, text)
WARREN_GROWING_MAPS(GROWING)
#undef X

const struct map_codec map_codecs[] = {
#define X(name, TYPE, key_t, value_t, max, flags, text)                                                                    \
	{ #name, sizeof(key_t), sizeof(value_t), name##_form, name##_parse_any, name##_key_any, name##_value_any },
	WARREN_MAPS(X) WARREN_GROWING_MAPS(GROWING)
#undef GROWING
#undef X
	{ NULL },
};

const struct map_codec *map_codec_find(const char *name)
{
	for (const struct map_codec *c = map_codecs; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}
