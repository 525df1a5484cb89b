/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: policy, and what a dry run found. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec_pieces.h"
#include "names.h"
#include "packet_text.h"

/* --- policy --- */

#define ANY_PROTOCOL "any"

static int port_parse(const char *text, struct wr_policy_key *key, uint32_t direction)
{
	char port[8];
	const char *slash = strchr(text, '/');
	uint32_t number, bits;

	if (!slash || (size_t)(slash - text) >= sizeof(port))
		return -EINVAL;
	memcpy(port, text, (size_t)(slash - text));
	port[slash - text] = '\0';
	if (parse_u32(port, UINT16_MAX, &number) < 0 || parse_u32(slash + 1, 16, &bits) < 0)
		return -EINVAL;
	key->port = htons((uint16_t)number);
	key->shape = wr_policy_shape(direction, bits);
	return 0;
}

static int policy_parse(const char *text, struct wr_policy_key *key)
{
	uint32_t direction, class;
	uint64_t peer;
	struct parts p;

	if (parts_split(text, &p, 5) < 0 || parse_u32(p.part[0], UINT32_MAX, &class) < 0 ||
	    direction_parse(p.part[1], &direction) < 0 ||
	    (strcmp(p.part[2], ANY_PROTOCOL) != 0 && l4_proto_parse(p.part[2], &key->l4_proto) < 0) ||
	    port_parse(p.part[3], key, direction) < 0 || peer_parse(p.part[4], &peer) < 0)
		return -EINVAL;
	key->policy_class = class;
	key->peer = peer;
	return 0;
}

static void policy_key(struct out *o, const struct wr_policy_key *key)
{
	char port[16];

	snprintf(port, sizeof(port), "%u/%u", ntohs(key->port), key->shape & 0x7fu);
	out_uint(o, "class", key->policy_class);
	out_string(o, "direction", direction_name(key->shape >> 7));
	if (key->l4_proto)
		out_protocol(o, "protocol", key->l4_proto);
	else
		out_string(o, "protocol", ANY_PROTOCOL);
	out_string(o, "port", port);
	out_peer(o, "peer", key->peer);
}

static void policy_value(struct out *o, const struct wr_policy_entry *entry, int cpus)
{
	out_uint(o, "rule", entry->rule);
}
CODEC(policy, "CLASS,DIRECTION,PROTOCOL,PORT/BITS,PEER", policy_parse, policy_key, policy_value);

/* --- classes, rules --- */

static int number_key_parse(const char *text, __u32 *key)
{
	return parse_u32(text, UINT32_MAX, key);
}

static void classes_key(struct out *o, const __u32 *key)
{
	out_uint(o, "class", *key);
}

/* The port prefixes' lengths, as numbers. */
static json_t *bits_json(uint32_t bits)
{
	json_t *array = json_array();

	for (int i = 0; i < 32; i++) {
		if (bits >> i & 1)
			json_array_append_new(array, json_sprintf("%d", i));
	}
	return array;
}

static void classes_value(struct out *o, const struct wr_class_info *info, int cpus)
{
	out_strings(o, "egress", flags_json(class_flags, info->flags[WR_EGRESS]), ",");
	out_strings(o, "egress_port_bits", bits_json(info->port_bits[WR_EGRESS]), ",");
	out_strings(o, "ingress", flags_json(class_flags, info->flags[WR_INGRESS]), ",");
	out_strings(o, "ingress_port_bits", bits_json(info->port_bits[WR_INGRESS]), ",");
}
CODEC(classes, "CLASS", number_key_parse, classes_key, classes_value);

static void rules_key(struct out *o, const __u32 *key)
{
	out_uint(o, "rule", *key);
}

static void rules_value(struct out *o, const struct wr_rule_text *rule, int cpus)
{
	char text[sizeof(rule->text) + 1] = "";

	memcpy(text, rule->text, sizeof(rule->text));
	out_string(o, "text", text);
}
CODEC(rules, "RULE", number_key_parse, rules_key, rules_value);

/* --- cidrs4, cidrs6 --- */

static const char cidrs_form[] = "CLASS,DIRECTION,PREFIX";

static int cidr_parse(const char *text, int family, __u32 *prefixlen, __u32 *class_direction, void *address)
{
	uint32_t class, direction;
	struct prefix prefix;
	struct parts p;

	if (parts_split(text, &p, 3) < 0 || parse_u32(p.part[0], UINT32_MAX / 2, &class) < 0 ||
	    direction_parse(p.part[1], &direction) < 0 || prefix_parse(p.part[2], &prefix) < 0 ||
	    prefix.ip.family != family)
		return -EINVAL;
	*prefixlen = WR_CIDR_CLASS_BITS + prefix.len;
	*class_direction = wr_cidr_class(class, direction);
	memcpy(address, prefix.ip.bytes, ip_bytes(&prefix.ip));
	return 0;
}

static void out_cidr_key(struct out *o, uint32_t prefixlen, uint32_t class_direction, struct ip ip)
{
	struct prefix prefix = { ip, (uint8_t)(prefixlen - WR_CIDR_CLASS_BITS) };
	char buf[PREFIX_STRLEN];

	out_uint(o, "class", class_direction / WR_DIRECTIONS);
	out_string(o, "direction", direction_name(class_direction % WR_DIRECTIONS));
	out_string(o, "prefix", prefix_format(&prefix, buf));
}

static int cidrs4_parse(const char *text, struct wr_cidr4_key *key)
{
	return cidr_parse(text, AF_INET, &key->prefixlen, &key->class_direction, &key->addr);
}

static int cidrs6_parse(const char *text, struct wr_cidr6_key *key)
{
	return cidr_parse(text, AF_INET6, &key->prefixlen, &key->class_direction, &key->addr);
}

static void cidrs4_key(struct out *o, const struct wr_cidr4_key *key)
{
	out_cidr_key(o, key->prefixlen, key->class_direction, ip_from4(&key->addr));
}

static void cidrs6_key(struct out *o, const struct wr_cidr6_key *key)
{
	out_cidr_key(o, key->prefixlen, key->class_direction, ip_from6(&key->addr));
}

static void peer_value(struct out *o, const struct wr_peer *peer, int cpus)
{
	out_peer(o, "peer", peer->peer);
}
CODEC(cidrs4, cidrs_form, cidrs4_parse, cidrs4_key, peer_value);
CODEC(cidrs6, cidrs_form, cidrs6_parse, cidrs6_key, peer_value);

/* --- identities --- */

static int identities_parse(const char *text, __u64 *key)
{
	uint64_t identity;
	int r = identity_parse(text, &identity);

	if (r == 0)
		*key = identity;
	return r;
}

static void identities_key(struct out *o, const __u64 *key)
{
	out_identity(o, "identity", *key);
}
CODEC(identities, "IDENTITY", identities_parse, identities_key, peer_value);

/* --- policy_state --- */

static void policy_state_value(struct out *o, const struct wr_policy_state *state, int cpus)
{
	out_uint(o, "revision", state->revision);
	out_uint(o, "class", state->policy_class);
	out_uint(o, "applied_ns", state->applied_ns);
	out_uint(o, "changes", state->changes);
	out_uint(o, "classes_denied", state->classes_denied);
	out_uint(o, "policies_invalid", state->policies_invalid);
}
CODEC(policy_state, "0", only_parse, only_key, policy_state_value);

/* --- trace --- */

static json_t *identity_json(uint64_t identity)
{
	char buf[NUMBER_STRLEN];

	return json_string(identity_name(identity, buf));
}

static json_t *peer_json(uint64_t peer)
{
	char buf[NUMBER_STRLEN];

	return json_string(peer_name(peer, buf));
}

static json_t *judgement_json(const struct wr_trace_judgement *j)
{
	return json_pack("{sbsIsIsIsosososososI}", "allowed", j->allowed, "rule", (json_int_t)j->rule, "class",
			 (json_int_t)j->policy_class, "revision", (json_int_t)j->revision, "peer_identity",
			 identity_json(j->peer_identity), "peer_class", peer_json(j->peer_class), "cidr_peer",
			 peer_json(j->cidr_peer), "matched", peer_json(j->matched), "protocol",
			 json_integer(j->l4_proto), "port_bits", (json_int_t)j->port_bits);
}

static json_t *judged_json(const struct wr_judgement *j)
{
	return json_pack("{sosIsI}", "peer", identity_json(j->peer), "revision", (json_int_t)j->revision, "rule",
			 (json_int_t)j->rule);
}

/* In text it has one line: the parts that have parts are shown in JSON only. */
static void trace_value(struct out *o, const struct wr_trace *trace, int cpus)
{
	const struct wr_ct *ct = &trace->ct;
	const char *reason = reason_name(trace->reason);

	out_strings(o, "steps", flags_json(trace_steps, trace->steps), ",");
	if (reason)
		out_string(o, "reason", reason);
	else
		out_uint(o, "reason", trace->reason);
	out_uint(o, "ifindex", trace->ifindex);
	out_end_of(o, "peer_ifindex", trace->peer_ifindex);
	out_identity(o, "peer_identity", trace->peer_identity);
	out_uint(o, "redirect", trace->redirect);
	out_hex(o, "mark", trace->mark);
	out_field(o, "ct",
		  json_pack("{sIsosIsIsoso}", "expires", (json_int_t)ct->expires, "flags", flags_json(ct_flags, ct->flags),
			    "initiator", (json_int_t)ct->initiator, "responder", (json_int_t)ct->responder,
			    direction_name(WR_EGRESS), judged_json(&ct->at[WR_EGRESS]), direction_name(WR_INGRESS),
			    judged_json(&ct->at[WR_INGRESS])),
		  NULL, OUT_PLAIN);
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++)
		out_field(o, direction_name(i), judgement_json(&trace->judgement[i]), NULL, OUT_PLAIN);
}
CODEC(trace, "0", only_parse, only_key, trace_value);
