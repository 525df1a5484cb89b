/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats parsed frames as text and JSON. */
#include "packet.h"

#include <ctype.h>
#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_arp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "enum_names.h"
#include "json.h"
#include "str.h"

/* Names of numbers; tables end with name NULL. */
struct name {
	unsigned number;
	const char *name;
};

static const char *find_name(const struct name *names, unsigned number)
{
	while (names->name && names->number != number)
		names++;
	return names->name;
}

static const struct name l4_protos[] = {
	{ IPPROTO_ICMP, "icmp" },     { IPPROTO_IGMP, "igmp" }, { IPPROTO_IPIP, "ipip" },	{ IPPROTO_TCP, "tcp" },
	{ IPPROTO_UDP, "udp" },	      { IPPROTO_IPV6, "ipv6" }, { IPPROTO_GRE, "gre" },		{ IPPROTO_ESP, "esp" },
	{ IPPROTO_ICMPV6, "icmpv6" }, { IPPROTO_SCTP, "sctp" }, { IPPROTO_UDPLITE, "udplite" }, { 0, NULL },
};

static const struct name ext_headers[] = {
	{ IPPROTO_HOPOPTS, "hop-by-hop" },
	{ IPPROTO_ROUTING, "routing" },
	{ IPPROTO_FRAGMENT, "fragment" },
	{ IPPROTO_AH, "authentication" },
	{ IPPROTO_DSTOPTS, "destination" },
	{ IPPROTO_MH, "mobility" },
	{ 139, "host-identity" },
	{ 140, "shim6" },
	{ 0, NULL },
};

static const struct name icmp_types[] = {
	{ ICMP_ECHOREPLY, "echo reply" },
	{ ICMP_DEST_UNREACH, "destination unreachable" },
	{ ICMP_SOURCE_QUENCH, "source quench" },
	{ ICMP_REDIRECT, "redirect" },
	{ ICMP_ECHO, "echo request" },
	{ 9, "router advertisement" },
	{ 10, "router solicitation" },
	{ ICMP_TIME_EXCEEDED, "time exceeded" },
	{ ICMP_PARAMETERPROB, "parameter problem" },
	{ ICMP_TIMESTAMP, "timestamp request" },
	{ ICMP_TIMESTAMPREPLY, "timestamp reply" },
	{ 0, NULL },
};

static const struct name icmpv6_types[] = {
	{ ICMPV6_DEST_UNREACH, "destination unreachable" },
	{ ICMPV6_PKT_TOOBIG, "packet too big" },
	{ ICMPV6_TIME_EXCEED, "time exceeded" },
	{ ICMPV6_PARAMPROB, "parameter problem" },
	{ ICMPV6_ECHO_REQUEST, "echo request" },
	{ ICMPV6_ECHO_REPLY, "echo reply" },
	{ ICMPV6_MGM_QUERY, "multicast listener query" },
	{ ICMPV6_MGM_REPORT, "multicast listener report" },
	{ ICMPV6_MGM_REDUCTION, "multicast listener done" },
	{ 133, "router solicitation" },
	{ 134, "router advertisement" },
	{ 135, "neighbour solicitation" },
	{ 136, "neighbour advertisement" },
	{ 137, "redirect" },
	{ ICMPV6_MLD2_REPORT, "multicast listener report v2" },
	{ 0, NULL },
};

const char *l4_proto_name(uint8_t l4_proto)
{
	return find_name(l4_protos, l4_proto);
}

int l4_proto_parse(const char *text, uint8_t *l4_proto)
{
	uint64_t number;

	for (const struct name *n = l4_protos; n->name; n++) {
		if (strcmp(n->name, text) == 0) {
			*l4_proto = (uint8_t)n->number;
			return 0;
		}
	}
	if (number_parse(text, UINT8_MAX, &number) < 0)
		return -EINVAL;
	*l4_proto = (uint8_t)number;
	return 0;
}

const char *ext_header_name(uint8_t type)
{
	return find_name(ext_headers, type);
}

const char *icmp_type_name(int family, uint8_t type)
{
	return find_name(family == AF_INET ? icmp_types : icmpv6_types, type);
}

static const char *const tcp_flags[8] = { "FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR" };

int tcp_flag_parse(const char *name)
{
	for (int bit = 0; bit < 8; bit++) {
		if (strcasecmp(tcp_flags[bit], name) == 0)
			return bit;
	}
	return -EINVAL;
}

const char *tcp_flags_format(uint8_t flags, char *buf, size_t size)
{
	size_t n = 0;

	snprintf(buf, size, "none");
	for (int bit = 0; bit < 8; bit++) {
		if (flags >> bit & 1 && n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? "," : "", tcp_flags[bit]);
	}
	return buf;
}

/* --- text --- */

struct text {
	char *buf;
	size_t size, used;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->used >= t->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->used, t->size - t->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += (size_t)n;
}

static void add_arp(struct text *t, const struct packet *p)
{
	char source[IP_STRLEN], target[IP_STRLEN], mac[MAC_STRLEN];

	ip_format(&p->source, source);
	ip_format(&p->destination, target);
	if (p->arp_op == ARPOP_REQUEST)
		add(t, "ARP request: who has %s? tell %s", target, source);
	else if (p->arp_op == ARPOP_REPLY)
		add(t, "ARP reply: %s is at %s", source, mac_format(p->arp_mac, mac));
	else
		add(t, "ARP operation %u of %s", p->arp_op, source);
}

static void add_address(struct text *t, const struct ip *ip, bool port_known, uint16_t port)
{
	char buf[SOCKET_STRLEN];

	if (!ip->family)
		add(t, "?");
	else
		add(t, "%s", port_known ? socket_format(ip, port, buf) : ip_format(ip, buf));
}

static void add_icmp(struct text *t, const struct packet *p)
{
	int family = p->l4_proto == IPPROTO_ICMP ? AF_INET : AF_INET6;
	const char *name = icmp_type_name(family, p->icmp_type);
	char target[IP_STRLEN];

	if (name)
		add(t, " %s", name);
	else
		add(t, " type %u", p->icmp_type);
	if (p->icmp_code)
		add(t, " code %u", p->icmp_code);
	if (p->echo)
		add(t, " id %u seq %u", p->echo_id, p->echo_seq);
	if (p->nd_target.family)
		add(t, " for %s", ip_format(&p->nd_target, target));
}

static void add_transport(struct text *t, const struct packet *p)
{
	const char *name = l4_proto_name(p->l4_proto);
	char flags[40];

	if (p->l4_proto == IPPROTO_ICMPV6)
		add(t, " ICMPv6");
	else if (name)
		for (add(t, " "); *name; name++)
			add(t, "%c", toupper((unsigned char)*name));
	else
		add(t, " protocol %u", p->l4_proto);
	if (p->tcp)
		add(t, " %s", tcp_flags_format(p->tcp_flags, flags, sizeof(flags)));
	if (p->icmp)
		add_icmp(t, p);
}

static void add_ip(struct text *t, const struct packet *p)
{
	add_address(t, &p->source, p->ports, p->source_port);
	add(t, " > ");
	add_address(t, &p->destination, p->ports, p->destination_port);
	if (p->transport)
		add_transport(t, p);
	if (p->options)
		add(t, ", %u bytes of IPv4 options", p->options);
	for (int i = 0; i < p->ext_count; i++)
		add(t, "%s%s", i ? "+" : ", IPv6 headers ", ext_header_name(p->ext[i]));
	if (p->fragment)
		add(t, ", %s fragment id %u offset %u",
		    p->more_fragments ? (p->fragment_offset ? "middle" : "first") : "last", p->fragment_id,
		    p->fragment_offset);
}

static void add_tunnel(struct text *t, const struct packet *p)
{
	char number[NUMBER_STRLEN];

	add(t, ", Geneve VNI %u%s%s", p->vni, p->control ? " control" : "", p->critical ? " critical" : "");
	if (p->identified)
		add(t, " identity %s", identity_name(p->identity, number));
	if (p->keyed)
		add(t, " keyed");
}

/* `of`: "inner " for an encapsulated frame. */
static void add_frame(struct text *t, const struct packet *p, bool macs, const char *of)
{
	char mac[MAC_STRLEN];

	if (p->ethernet && (macs || (!p->source.family && !p->arp))) {
		add(t, "%s > ", mac_format(p->mac_source, mac));
		add(t, "%s ", mac_format(p->mac_destination, mac));
	}
	if (p->vlan)
		add(t, "VLAN %u ", p->vlan_id);
	if (p->arp)
		add_arp(t, p);
	else if (p->source.family)
		add_ip(t, p);
	else if (p->ethernet)
		add(t, "ethertype 0x%04x", p->eth_proto);
	if (p->tunnel)
		add_tunnel(t, p);
	if (p->end == PACKET_CUT)
		add(t, "%s(ends within %s%s)", t->used ? " " : "", of, p->where);
	else if (p->end == PACKET_CONTRADICTION)
		add(t, " (%s%s header contradicts itself)", of, p->where);
}

const char *packet_format(const struct packet *p, bool macs, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	if (size)
		buf[0] = '\0';
	add_frame(&t, p, macs, "");
	if (p->inner) {
		add(&t, ": ");
		add_frame(&t, p->inner, false, "inner ");
	}
	return buf;
}

/* --- JSON --- */

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

static void set_number(json_t *o, bool valid, const char *key, uint32_t number)
{
	if (valid)
		set(o, key, json_integer(number));
}

static void set_mac(json_t *o, const char *key, const uint8_t mac[6])
{
	char buf[MAC_STRLEN];

	set(o, key, json_string(mac_format(mac, buf)));
}

static void set_network(json_t *o, const struct packet *p)
{
	json_t *ext;

	if (p->source.family)
		set(o, p->arp ? "sender" : "source", json_ip(&p->source));
	if (p->destination.family)
		set(o, p->arp ? "target" : "destination", json_ip(&p->destination));
	if (p->arp) {
		set(o, "arp_operation", json_integer(p->arp_op));
		set_mac(o, "sender_mac", p->arp_mac);
		return;
	}
	set_number(o, p->source.family, "hop_limit", p->hop_limit);
	set_number(o, p->options, "ipv4_option_bytes", p->options);
	if (p->ext_count) {
		ext = json_array();
		for (int i = 0; i < p->ext_count; i++)
			json_array_append_new(ext, json_string(ext_header_name(p->ext[i])));
		set(o, "ipv6_headers", ext);
	}
	if (p->fragment)
		set(o, "fragment",
		    json_pack("{sIsIsb}", "id", (json_int_t)p->fragment_id, "offset", (json_int_t)p->fragment_offset,
			      "more", p->more_fragments));
}

static void set_transport(json_t *o, const struct packet *p)
{
	const char *name = l4_proto_name(p->l4_proto);
	char flags[40];

	if (p->transport)
		set(o, "protocol", name ? json_string(name) : json_integer(p->l4_proto));
	set_number(o, p->ports, "source_port", p->source_port);
	set_number(o, p->ports, "destination_port", p->destination_port);
	if (p->tcp)
		set(o, "tcp_flags", json_string(tcp_flags_format(p->tcp_flags, flags, sizeof(flags))));
	set_number(o, p->icmp, "icmp_type", p->icmp_type);
	set_number(o, p->icmp, "icmp_code", p->icmp_code);
	set_number(o, p->echo, "echo_id", p->echo_id);
	set_number(o, p->echo, "echo_sequence", p->echo_seq);
	if (p->nd_target.family)
		set(o, "neighbour", json_ip(&p->nd_target));
}

static void set_tunnel(json_t *o, const struct packet *p)
{
	char number[NUMBER_STRLEN];

	set(o, "tunnel",
	    json_pack("{sssIsbsbso?sbso?}", "protocol", "geneve", "vni", (json_int_t)p->vni, "control", p->control,
		      "critical", p->critical, "identity",
		      p->identified ? json_string(identity_name(p->identity, number)) : NULL, "keyed",
		      p->keyed, "inner",
		      p->inner ? packet_json(p->inner) : NULL));
}

json_t *packet_json(const struct packet *p)
{
	json_t *o = json_object();

	if (p->ethernet) {
		set_mac(o, "source_mac", p->mac_source);
		set_mac(o, "destination_mac", p->mac_destination);
		set_number(o, p->vlan, "vlan", p->vlan_id);
		set(o, "ethertype", json_sprintf("0x%04x", p->eth_proto));
	}
	set_network(o, p);
	set_transport(o, p);
	if (p->tunnel)
		set_tunnel(o, p);
	if (p->end == PACKET_CUT)
		set(o, "ends_within", json_string(p->where));
	else if (p->end == PACKET_CONTRADICTION)
		set(o, "contradicts_itself", json_string(p->where));
	return o;
}
