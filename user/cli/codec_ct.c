/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: conntrack. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec_pieces.h"
#include "names.h"
#include "packet_text.h"

/* --- ct4, ct6, ct_new4, ct_new6 --- */

static const char ct_form[] = "ADDRESS:PORT,ADDRESS:PORT,PROTOCOL";

static int end_parse(const char *text, int family, void *address, __be16 *port)
{
	char host[IP_STRLEN];
	const char *rest;
	uint64_t number;

	if (host_split(text, host, sizeof(host), &rest) < 0 || !rest || parse_ip(host, family, address) < 0 ||
	    number_parse(rest, UINT16_MAX, &number) < 0)
		return -EINVAL;
	*port = htons((uint16_t)number);
	return 0;
}

/* The ends may be given in either order: the key has them in its own. */
static int ct4_parse(const char *text, struct wr_ct4_key *key)
{
	struct wr_addr4 a, b;
	__be16 aport, bport;
	struct parts p;
	int swapped;

	if (parts_split(text, &p, 3) < 0 || end_parse(p.part[0], AF_INET, &a, &aport) < 0 ||
	    end_parse(p.part[1], AF_INET, &b, &bport) < 0 || l4_proto_parse(p.part[2], &key->l4_proto) < 0)
		return -EINVAL;
	swapped = wr_ct4_swapped(a, aport, b, bport);
	key->addr[swapped] = a;
	key->port[swapped] = aport;
	key->addr[!swapped] = b;
	key->port[!swapped] = bport;
	return 0;
}

static int ct6_parse(const char *text, struct wr_ct6_key *key)
{
	struct wr_addr6 a, b;
	__be16 aport, bport;
	struct parts p;
	int swapped;

	if (parts_split(text, &p, 3) < 0 || end_parse(p.part[0], AF_INET6, &a, &aport) < 0 ||
	    end_parse(p.part[1], AF_INET6, &b, &bport) < 0 || l4_proto_parse(p.part[2], &key->l4_proto) < 0)
		return -EINVAL;
	swapped = wr_ct6_swapped(&a, aport, &b, bport);
	key->addr[swapped] = a;
	key->port[swapped] = aport;
	key->addr[!swapped] = b;
	key->port[!swapped] = bport;
	return 0;
}

static void out_side_of(struct out *o, const char *key, struct ip ip, __be16 port)
{
	char buf[SOCKET_STRLEN];

	out_string(o, key, socket_format(&ip, ntohs(port), buf));
}

static void ct4_key(struct out *o, const struct wr_ct4_key *key)
{
	out_side_of(o, "end_0", ip_from4(&key->addr[0]), key->port[0]);
	out_side_of(o, "end_1", ip_from4(&key->addr[1]), key->port[1]);
	out_protocol(o, "protocol", key->l4_proto);
}

static void ct6_key(struct out *o, const struct wr_ct6_key *key)
{
	out_side_of(o, "end_0", ip_from6(&key->addr[0]), key->port[0]);
	out_side_of(o, "end_1", ip_from6(&key->addr[1]), key->port[1]);
	out_protocol(o, "protocol", key->l4_proto);
}

static void ct_value(struct out *o, const struct wr_ct *ct, int cpus)
{
	out_uint(o, "expires", ct->expires);
	out_strings(o, "flags", flags_json(ct_flags, ct->flags), ",");
	out_end_of(o, "initiator", ct->initiator);
	out_end_of(o, "responder", ct->responder);
	out_identity(o, "egress_peer", ct->at[WR_EGRESS].peer);
	out_uint(o, "egress_revision", ct->at[WR_EGRESS].revision);
	out_uint(o, "egress_rule", ct->at[WR_EGRESS].rule);
	out_identity(o, "ingress_peer", ct->at[WR_INGRESS].peer);
	out_uint(o, "ingress_revision", ct->at[WR_INGRESS].revision);
	out_uint(o, "ingress_rule", ct->at[WR_INGRESS].rule);
}
CODEC(ct4, ct_form, ct4_parse, ct4_key, ct_value);
CODEC(ct6, ct_form, ct6_parse, ct6_key, ct_value);
CODEC(ct_new4, ct_form, ct4_parse, ct4_key, ct_value);
CODEC(ct_new6, ct_form, ct6_parse, ct6_key, ct_value);

/* --- ct_usage --- */

static int ct_usage_parse(const char *text, __u32 *key)
{
	return parse_u32(text, WR_ENDPOINT_SLOTS - 1, key);
}

static void ct_usage_value(struct out *o, const struct wr_ct_usage *usage, int cpus)
{
	out_uint(o, "entries", usage->entries);
}
CODEC(ct_usage, "SLOT", ct_usage_parse, slot_key, ct_usage_value);

/* --- ct_stats --- */

static int ct_stats_parse(const char *text, __u32 *key)
{
	for (uint32_t i = 0; i < WR_CT_STATS; i++) {
		if (strcmp(ct_stat_name(i), text) == 0) {
			*key = i;
			return 0;
		}
	}
	return -EINVAL;
}

static void ct_stats_key(struct out *o, const __u32 *key)
{
	const char *name = ct_stat_name(*key);

	if (name)
		out_string(o, "counter", name);
	else
		out_uint(o, "counter", *key);
}

static void ct_stats_value(struct out *o, const __u64 *counter, int cpus)
{
	uint64_t sum = 0;

	for (int i = 0; i < cpus; i++)
		sum += counter[i];
	out_uint(o, "flows", sum);
}
CODEC(ct_stats, "COUNTER", ct_stats_parse, ct_stats_key, ct_stats_value);

/* --- sweep --- */

static void sweep_value(struct out *o, const struct wr_sweep *sweep, int cpus)
{
	out_uint(o, "time_ns", sweep->time_ns);
	out_uint(o, "runs", sweep->runs);
	out_uint(o, "removed", sweep->removed);
	out_uint(o, "live4", sweep->live[0]);
	out_uint(o, "live6", sweep->live[1]);
}
CODEC(sweep, "0", only_parse, only_key, sweep_value);
