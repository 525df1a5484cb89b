/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: settings, counters, endpoints, addresses, fragments. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "codec_pieces.h"
#include "names.h"
#include "packet_text.h"
#include "str.h"

/* --- config --- */

static void config_value(struct out *o, const struct wr_config *cfg, int cpus)
{
	char version[sizeof(cfg->version) + 1] = "";

	memcpy(version, cfg->version, sizeof(cfg->version));
	out_uint(o, "abi_version", cfg->abi_version);
	out_hex(o, "mark_pod", cfg->mark_pod);
	out_hex(o, "mark_masquerade", cfg->mark_masquerade);
	out_hex(o, "mark_host_only", cfg->mark_host_only);
	out_uint(o, "ct_share", cfg->ct_share);
	out_uint(o, "tunnel_port", ntohs(cfg->tunnel_port));
	out_uint(o, "pod_mtu", cfg->pod_mtu);
	out_string(o, "version", version);
}
CODEC(config, "0", only_parse, only_key, config_value);

/* --- metrics --- */

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

void metrics_value(struct out *o, const struct wr_metric *metric, int cpus)
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
CODEC(metrics, "REASON/DIRECTION", metrics_parse, metrics_key, metrics_value);

/* --- endpoints --- */

static int endpoint_slot_parse(const char *text, __u32 *key)
{
	return parse_u32(text, WR_ENDPOINT_SLOTS - 1, key);
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
	out_strings(o, "flags", flags_json(endpoint_flags, ep->flags), ",");
	out_uint(o, "peer_ifindex", ep->peer_ifindex);
	out_field(o, "policy_class", json_integer(ep->policy_class), class_name(ep->policy_class, number), OUT_PLAIN);
	out_uint(o, "revision", ep->revision);
	out_identity(o, "identity", ep->identity);
}
CODEC(endpoints, "SLOT", endpoint_slot_parse, slot_key, endpoints_value);

/* --- addr4, addr6, addr_cache --- */

int addr4_parse(const char *text, struct wr_addr4 *key)
{
	return parse_ip(text, AF_INET, key);
}

int addr6_parse(const char *text, struct wr_addr6 *key)
{
	return parse_ip(text, AF_INET6, key);
}

static int addr_cache_parse(const char *text, __u32 *key)
{
	return parse_u32(text, (1 << WR_ADDR_CACHE_BITS) - 1, key);
}

void addr4_key(struct out *o, const struct wr_addr4 *key)
{
	out_ip(o, "address", ip_from4(key));
}

void addr6_key(struct out *o, const struct wr_addr6 *key)
{
	out_ip(o, "address", ip_from6(key));
}

static void local_value(struct out *o, const struct wr_local *local, int cpus)
{
	out_uint(o, "endpoint", local->ifindex);
}
CODEC(addr4, "IPV4-ADDRESS", addr4_parse, addr4_key, local_value);
CODEC(addr6, "IPV6-ADDRESS", addr6_parse, addr6_key, local_value);
CODEC(addr_cache, "SLOT", addr_cache_parse, slot_key, local_value);

/* --- frag4, frag6 --- */

static const char frag_form[] = "SOURCE,DESTINATION,ID,PROTOCOL,DIRECTION";

static int frag_parse(const char *text, int family, void *source, void *destination, __be32 *id, __u8 *l4_proto,
		      __u8 *direction)
{
	uint32_t number, way;
	struct parts p;

	if (parts_split(text, &p, 5) < 0 || parse_ip(p.part[0], family, source) < 0 ||
	    parse_ip(p.part[1], family, destination) < 0 ||
	    parse_u32(p.part[2], family == AF_INET ? 0xffff : UINT32_MAX, &number) < 0 ||
	    l4_proto_parse(p.part[3], l4_proto) < 0 || direction_parse(p.part[4], &way) < 0)
		return -EINVAL;
	*id = family == AF_INET ? htons((uint16_t)number) : htonl(number);
	*direction = (__u8)way;
	return 0;
}

static void out_frag_key(struct out *o, struct ip source, struct ip destination, uint32_t id, uint8_t l4_proto,
			 uint8_t direction)
{
	out_ip(o, "source", source);
	out_ip(o, "destination", destination);
	out_uint(o, "id", id);
	out_protocol(o, "protocol", l4_proto);
	out_string(o, "direction", direction_name(direction));
}

static int frag4_parse(const char *text, struct wr_frag4_key *key)
{
	return frag_parse(text, AF_INET, &key->saddr, &key->daddr, &key->id, &key->l4_proto, &key->direction);
}

static int frag6_parse(const char *text, struct wr_frag6_key *key)
{
	return frag_parse(text, AF_INET6, &key->saddr, &key->daddr, &key->id, &key->l4_proto, &key->direction);
}

static void frag4_key(struct out *o, const struct wr_frag4_key *key)
{
	out_frag_key(o, ip_from(AF_INET, &key->saddr), ip_from(AF_INET, &key->daddr), ntohs((uint16_t)key->id),
		     key->l4_proto, key->direction);
}

static void frag6_key(struct out *o, const struct wr_frag6_key *key)
{
	out_frag_key(o, ip_from6(&key->saddr), ip_from6(&key->daddr), ntohl(key->id), key->l4_proto, key->direction);
}

static void frag_value(struct out *o, const struct wr_frag *frag, int cpus)
{
	out_uint(o, "source_port", ntohs(frag->sport));
	out_uint(o, "destination_port", ntohs(frag->dport));
	out_uint(o, "end", frag->end);
	out_protocol(o, "transport", frag->l4_proto);
}
CODEC(frag4, frag_form, frag4_parse, frag4_key, frag_value);
CODEC(frag6, frag_form, frag6_parse, frag6_key, frag_value);
