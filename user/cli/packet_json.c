/* SPDX-License-Identifier: BSD-2-Clause */
#include "json.h"
#include "enum_names.h"
#include "packet_text.h"

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
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
	if (p->source.family)
		set(o, "hop_limit", json_integer(p->hop_limit));
	if (p->options)
		set(o, "ipv4_option_bytes", json_integer(p->options));
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
	if (p->ports) {
		set(o, "source_port", json_integer(p->source_port));
		set(o, "destination_port", json_integer(p->destination_port));
	}
	if (p->tcp)
		set(o, "tcp_flags", json_string(tcp_flags_format(p->tcp_flags, flags, sizeof(flags))));
	if (p->icmp) {
		set(o, "icmp_type", json_integer(p->icmp_type));
		set(o, "icmp_code", json_integer(p->icmp_code));
	}
	if (p->echo) {
		set(o, "echo_id", json_integer(p->echo_id));
		set(o, "echo_sequence", json_integer(p->echo_seq));
	}
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
		if (p->vlan)
			set(o, "vlan", json_integer(p->vlan_id));
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
