/* SPDX-License-Identifier: BSD-2-Clause */
/* Parses frames. */
#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>

#include "packet.h"

#define TCP_HEADER 20
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_NEIGHBOUR_ADVERTISEMENT 136

/* The rest of the frame. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

/* Parsing ends in this header. */
static bool stop(struct packet *p, enum packet_end end, const char *name)
{
	p->end = end;
	p->where = name;
	return false;
}

/* Copies the next `size` bytes; NULL header: skips them. False, and the end, if there are fewer. */
static bool pull(struct packet *p, struct cursor *c, void *header, size_t size, const char *name)
{
	if (c->left < size)
		return stop(p, PACKET_CUT, name);
	if (header)
		memcpy(header, c->at, size);
	c->at += size;
	c->left -= size;
	return true;
}

static bool skip(struct packet *p, struct cursor *c, size_t size, const char *name)
{
	return pull(p, c, NULL, size, name);
}

static bool contradiction(struct packet *p, const char *name)
{
	return stop(p, PACKET_CONTRADICTION, name);
}

static void parse_arp(struct packet *p, struct cursor *c)
{
	struct {
		struct arphdr head;
		uint8_t sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
	} arp;

	_Static_assert(sizeof(arp) == 28, "ARP for IPv4 over Ethernet");
	if (!pull(p, c, &arp, sizeof(arp), "ARP"))
		return;
	if (arp.head.ar_hrd != htons(ARPHRD_ETHER) || arp.head.ar_pro != htons(ETH_P_IP) || arp.head.ar_hln != 6 ||
	    arp.head.ar_pln != 4) {
		contradiction(p, "ARP");
		return;
	}
	p->arp = true;
	p->arp_op = ntohs(arp.head.ar_op);
	memcpy(p->arp_mac, arp.sender_mac, 6);
	p->source = ip_from(AF_INET, arp.sender_ip);
	p->destination = ip_from(AF_INET, arp.target_ip);
}

static void parse_icmp(struct packet *p, struct cursor *c)
{
	const char *name = p->l4_proto == IPPROTO_ICMP ? "ICMP" : "ICMPv6";
	bool v6 = p->l4_proto == IPPROTO_ICMPV6;
	struct icmphdr icmp; /* ICMPv6 has the same first eight bytes */
	uint8_t target[16];

	if (!pull(p, c, &icmp, sizeof(icmp), name))
		return;
	p->icmp = true;
	p->icmp_type = icmp.type;
	p->icmp_code = icmp.code;
	if (v6 ? icmp.type == ICMPV6_ECHO_REQUEST || icmp.type == ICMPV6_ECHO_REPLY
	       : icmp.type == ICMP_ECHO || icmp.type == ICMP_ECHOREPLY) {
		p->echo = true;
		p->echo_id = ntohs(icmp.un.echo.id);
		p->echo_seq = ntohs(icmp.un.echo.sequence);
	}
	if (v6 && (icmp.type == ND_NEIGHBOUR_SOLICITATION || icmp.type == ND_NEIGHBOUR_ADVERTISEMENT) &&
	    pull(p, c, target, sizeof(target), name))
		p->nd_target = ip_from(AF_INET6, target);
}

static void parse_transport(struct packet *p, struct cursor *c)
{
	/* TCP up to the flags, UDP: of an encapsulated packet no more may be captured. All these begin with the ports. */
	static const struct {
		uint8_t size;
		const char *name;
	} headers[UINT8_MAX + 1] = {
		[IPPROTO_TCP] = { 14, "TCP" },
		[IPPROTO_UDP] = { sizeof(struct udphdr), "UDP" },
		[IPPROTO_SCTP] = { 4, "transport" },
		[IPPROTO_UDPLITE] = { 4, "transport" },
	};
	const size_t size = headers[p->l4_proto].size;
	uint8_t header[14];
	uint16_t ports[2];

	p->transport = true;
	if (p->fragment && p->fragment_offset)
		return; /* data, not a header */
	if (p->l4_proto == IPPROTO_ICMP || p->l4_proto == IPPROTO_ICMPV6)
		parse_icmp(p, c);
	if (!size || !pull(p, c, header, size, headers[p->l4_proto].name))
		return;
	memcpy(ports, header, sizeof(ports));
	p->ports = true;
	p->source_port = ntohs(ports[0]);
	p->destination_port = ntohs(ports[1]);
	if (p->l4_proto != IPPROTO_TCP)
		return;
	p->tcp = true;
	p->tcp_flags = header[13];
	if (header[12] >> 4 < TCP_HEADER / 4)
		contradiction(p, "TCP");
	else
		skip(p, c, TCP_HEADER - size, "TCP");
}

/* The source address of an incomplete header, if it was captured. */
static void parse_ip_start(struct packet *p, const struct cursor *c, int family)
{
	const bool v6 = family == AF_INET6;
	const size_t source = v6 ? offsetof(struct ipv6hdr, saddr) : offsetof(struct iphdr, saddr);

	if (c->left < source + (v6 ? 16 : 4))
		return;
	p->source = ip_from(family, c->at + source);
	p->l4_proto = c->at[v6 ? offsetof(struct ipv6hdr, nexthdr) : offsetof(struct iphdr, protocol)];
	p->transport = !ext_header_name(p->l4_proto);
}

static void parse_ipv4(struct packet *p, struct cursor *c)
{
	struct iphdr ip;
	uint16_t frag;

	if (!pull(p, c, &ip, sizeof(ip), "IPv4")) {
		parse_ip_start(p, c, AF_INET);
		return;
	}
	p->source = ip_from(AF_INET, &ip.saddr);
	p->destination = ip_from(AF_INET, &ip.daddr);
	p->hop_limit = ip.ttl;
	if (ip.version != 4 || ip.ihl < 5 || ntohs(ip.tot_len) < ip.ihl * 4) {
		contradiction(p, "IPv4");
		return;
	}
	p->options = (uint8_t)((ip.ihl - 5) * 4);
	p->l4_proto = ip.protocol;
	frag = ntohs(ip.frag_off);
	if (frag & 0x3fff) {
		p->fragment = true;
		p->more_fragments = frag & 0x2000;
		p->fragment_id = ntohs(ip.id);
		p->fragment_offset = (frag & 0x1fffu) * 8;
	}
	if (skip(p, c, p->options, "IPv4 options"))
		parse_transport(p, c);
}

static bool parse_fragment_header(struct packet *p, struct cursor *c, uint8_t *next)
{
	struct {
		uint8_t next, reserved;
		uint16_t offset; /* 13 bits, 2 reserved, 1: more */
		uint32_t id;
	} frag;

	if (!pull(p, c, &frag, sizeof(frag), "fragment header"))
		return false;
	*next = frag.next;
	p->fragment = true;
	p->more_fragments = ntohs(frag.offset) & 1;
	p->fragment_offset = ntohs(frag.offset) & 0xfff8u;
	p->fragment_id = ntohl(frag.id);
	return true;
}

static bool parse_ext_header(struct packet *p, struct cursor *c, uint8_t type, uint8_t *next)
{
	uint8_t head[2];
	size_t length;

	if (p->ext_count < PACKET_EXT_MAX)
		p->ext[p->ext_count++] = type;
	if (type == IPPROTO_FRAGMENT)
		return parse_fragment_header(p, c, next);
	if (!pull(p, c, head, sizeof(head), "IPv6 extension header"))
		return false;
	*next = head[0];
	/* RFC 4302: the authentication header alone counts in words of four bytes, minus two. */
	length = type == IPPROTO_AH ? (head[1] + 2u) * 4 : (head[1] + 1u) * 8;
	return skip(p, c, length - sizeof(head), "IPv6 extension header");
}

static void parse_ipv6(struct packet *p, struct cursor *c)
{
	struct ipv6hdr ip;
	uint8_t next;

	if (!pull(p, c, &ip, sizeof(ip), "IPv6")) {
		parse_ip_start(p, c, AF_INET6);
		return;
	}
	p->source = ip_from(AF_INET6, &ip.saddr);
	p->destination = ip_from(AF_INET6, &ip.daddr);
	p->hop_limit = ip.hop_limit;
	if (ip.version != 6) {
		contradiction(p, "IPv6");
		return;
	}
	next = ip.nexthdr;
	/* Terminates, since every header consumes bytes. A later fragment holds data, not headers. */
	while (ext_header_name(next) && !(p->fragment && p->fragment_offset)) {
		if (!parse_ext_header(p, c, next, &next))
			return;
	}
	p->l4_proto = next;
	parse_transport(p, c);
}

static void parse_ethernet(struct packet *p, struct cursor *c)
{
	struct ethhdr eth;
	uint16_t tag[2];

	*p = (struct packet){ .end = PACKET_COMPLETE };
	if (!pull(p, c, &eth, sizeof(eth), "Ethernet"))
		return;
	p->ethernet = true;
	memcpy(p->mac_source, eth.h_source, 6);
	memcpy(p->mac_destination, eth.h_dest, 6);
	p->eth_proto = ntohs(eth.h_proto);
	if (p->eth_proto == ETH_P_8021Q || p->eth_proto == ETH_P_8021AD) {
		if (!pull(p, c, tag, sizeof(tag), "VLAN"))
			return;
		p->vlan = true;
		p->vlan_id = ntohs(tag[0]) & 0xfff;
		p->eth_proto = ntohs(tag[1]);
	}
	switch (p->eth_proto) {
	case ETH_P_ARP:
		parse_arp(p, c);
		break;
	case ETH_P_IP:
		parse_ipv4(p, c);
		break;
	case ETH_P_IPV6:
		parse_ipv6(p, c);
		break;
	}
}

/* --- Geneve (RFC 8926 sections 3.4, 3.5) --- */

/* Returns the length of the option, or 0 if the bytes end within it. */
static size_t parse_option(struct packet *p, struct cursor *c, uint16_t option_class)
{
	struct {
		uint16_t class;
		uint8_t type, words; /* three reserved bits, five of length */
	} option;
	uint8_t identity[WR_TUNNEL_IDENTITY_SIZE];
	size_t length;

	if (!pull(p, c, &option, sizeof(option), "Geneve option"))
		return 0;
	length = (option.words & 0x1f) * 4u;
	if (ntohs(option.class) != option_class || option.type != WR_TUNNEL_OPTION || length != sizeof(identity)) {
		if (!skip(p, c, length, "Geneve option"))
			return 0;
		/* The tag is a secret: store only that it is there. */
		p->keyed |= ntohs(option.class) == option_class && option.type == WR_TUNNEL_OPTION_KEY &&
			    length == WR_TUNNEL_TAG_SIZE;
		return sizeof(option) + length;
	}
	if (!pull(p, c, identity, sizeof(identity), "Geneve option"))
		return 0;
	p->identified = true;
	p->identity = 0;
	for (size_t i = 0; i < sizeof(identity); i++)
		p->identity = p->identity << 8 | identity[i];
	return sizeof(option) + length;
}

/* False: no Ethernet frame follows. */
static bool parse_geneve(struct packet *p, struct cursor *c, uint16_t option_class)
{
	struct {
		uint8_t version_words, flags;
		uint16_t proto;
		uint8_t vni[3], reserved;
	} geneve;
	size_t options, length;

	if (!pull(p, c, &geneve, sizeof(geneve), "Geneve"))
		return false;
	p->tunnel = true;
	p->control = geneve.flags & 0x80;
	p->critical = geneve.flags & 0x40;
	p->vni = (uint32_t)geneve.vni[0] << 16 | (uint32_t)geneve.vni[1] << 8 | geneve.vni[2];
	if (geneve.version_words >> 6)
		return contradiction(p, "Geneve");
	for (options = (geneve.version_words & 0x3f) * 4u; options; options -= length) {
		length = parse_option(p, c, option_class);
		if (!length)
			return false;
		if (length > options)
			return contradiction(p, "Geneve option");
	}
	return ntohs(geneve.proto) == ETH_P_TEB;
}

void packet_parse(struct packet *p, struct packet *inner, const struct packet_tunnel *tunnel, const uint8_t *data,
		  size_t size)
{
	struct cursor c = { data, size };

	parse_ethernet(p, &c);
	if (!tunnel || p->end != PACKET_COMPLETE || p->fragment || !p->ports || p->l4_proto != IPPROTO_UDP ||
	    p->destination_port != tunnel->port || !parse_geneve(p, &c, tunnel->option_class))
		return;
	parse_ethernet(inner, &c);
	p->inner = inner;
}
