/* SPDX-License-Identifier: BSD-2-Clause */
#include "announce.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

#define ND_HOP_LIMIT 255 /* RFC 4861: a packet with less has passed a router and is invalid */

static int not_sent(const struct ip *ip, struct err *err)
{
	char text[IP_STRLEN];

	return err_errno(err, errno, "cannot speak to the neighbours of %s", ip_format(ip, text));
}

/* --- IPv4 --- */

struct arp_packet {
	struct arphdr head;
	uint8_t from_mac[6], from[4], to_mac[6], to[4];
} __attribute__((packed));

static int announce4(const struct ip *ip, const struct link_info *device, struct err *err)
{
	_cleanup_fd_ int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ARP),
				  .sll_ifindex = (int)device->ifindex,
				  .sll_halen = 6,
				  .sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	struct arp_packet arp = { { htons(ARPHRD_ETHER), htons(ETH_P_IP), 6, 4, htons(ARPOP_REQUEST) } };

	memcpy(arp.from_mac, device->mac, 6);
	memcpy(arp.from, ip->bytes, 4);
	memcpy(arp.to, ip->bytes, 4);
	if (fd < 0 || sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return not_sent(ip, err);
	return 0;
}

/* --- IPv6 --- */

/* A solicitation or an advertisement, with one option: the sender's MAC address. */
struct nd_packet {
	struct icmp6_hdr head; /* the kernel computes the checksum */
	uint8_t target[16];
	struct nd_opt_hdr option;
	uint8_t mac[6];
} __attribute__((packed));

static int nd_send(const struct nd_packet *nd, const struct ip *from, const struct in6_addr *group, uint32_t ifindex,
		   struct err *err)
{
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	struct sockaddr_in6 source = { .sin6_family = AF_INET6, .sin6_scope_id = ifindex }, to = source;
	const int nexthops = ND_HOP_LIMIT, device = (int)ifindex;

	memcpy(&source.sin6_addr, from->bytes, 16);
	to.sin6_addr = *group;
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &nexthops, sizeof(nexthops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &device, sizeof(device)) < 0 ||
	    bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0 ||
	    sendto(fd, nd, sizeof(*nd), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return not_sent(from, err);
	return 0;
}

static struct nd_packet nd_packet(uint8_t type, uint32_t flags, const struct ip *target, uint8_t option,
				  const uint8_t mac[6])
{
	struct nd_packet nd = { .head = { .icmp6_type = type }, .option = { option, 1 } };

	nd.head.icmp6_data32[0] = flags;
	memcpy(nd.target, target->bytes, 16);
	memcpy(nd.mac, mac, 6);
	return nd;
}

/*
 * A node forwards: without the router flag, hosts that use it as a router would stop doing so (RFC 4861 section 7.2.5).
 */
static int announce6(const struct ip *ip, const struct link_info *device, struct err *err)
{
	static const struct in6_addr all_nodes = { { { 0xff, 0x02, [15] = 1 } } };
	const struct nd_packet nd = nd_packet(ND_NEIGHBOR_ADVERT, ND_NA_FLAG_OVERRIDE | ND_NA_FLAG_ROUTER, ip,
					      ND_OPT_TARGET_LINKADDR, device->mac);

	return nd_send(&nd, ip, &all_nodes, device->ifindex, err);
}

int announce_address(const struct ip *ip, const struct link_info *device, struct err *err)
{
	return ip->family == AF_INET ? announce4(ip, device, err) : announce6(ip, device, err);
}

int announce_solicit(const struct nexthop *nexthop, struct err *err)
{
	struct in6_addr group;
	struct nd_packet nd;
	struct ip to;

	if (nexthop->next.family != AF_INET6 || nexthop->source.family != AF_INET6)
		return 0;
	to = nexthop_solicited_node(&nexthop->next);
	memcpy(&group, to.bytes, sizeof(group));
	nd = nd_packet(ND_NEIGHBOR_SOLICIT, 0, &nexthop->next, ND_OPT_SOURCE_LINKADDR, nexthop->smac);
	return nd_send(&nd, &nexthop->source, &group, nexthop->ifindex, err);
}
