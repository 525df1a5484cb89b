/* SPDX-License-Identifier: BSD-2-Clause */
/* IP addresses, prefixes and MAC addresses as values. Bytes are in network order. */
#ifndef WARREN_ADDR_H
#define WARREN_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h> /* AF_INET, AF_INET6: struct ip's families */

struct ip {
	uint8_t family;    /* AF_INET, AF_INET6, or 0: none */
	uint8_t bytes[16]; /* 4 or 16 of them, the rest 0 */
};

struct prefix {
	struct ip ip;
	uint8_t len; /* bits */
};

/* The minimum MTU of each family. Below IP6_MTU_MIN the kernel deletes a device's IPv6 addresses. */
#define IP4_MTU_MIN 68   /* RFC 791 */
#define IP6_MTU_MIN 1280 /* RFC 8200 section 5 */

#define IP_STRLEN 46 /* INET6_ADDRSTRLEN */
#define PREFIX_STRLEN 50
#define MAC_STRLEN 18

/* Number of bytes and bits of an address of that family. */
static inline unsigned ip_bytes(const struct ip *ip)
{
	return ip->family == AF_INET ? 4 : 16;
}
static inline unsigned ip_bits(const struct ip *ip)
{
	return ip_bytes(ip) * 8;
}

/* Parse the whole text, else -EINVAL. prefix_parse() requires "address/len" and keeps the host bits. */
int ip_parse(const char *text, struct ip *ip);
int prefix_parse(const char *text, struct prefix *prefix);
int mac_parse(const char *text, uint8_t mac[6]); /* unicast and not zero, else -EINVAL */

/* Format into `buf` and return it. */
const char *ip_format(const struct ip *ip, char buf[IP_STRLEN]);
const char *prefix_format(const struct prefix *prefix, char buf[PREFIX_STRLEN]);
const char *mac_format(const uint8_t mac[6], char buf[MAC_STRLEN]);

/* With a port: "10.1.0.7:80", "[fd00::7]:80". */
#define SOCKET_STRLEN (IP_STRLEN + 8)
const char *socket_format(const struct ip *ip, uint16_t port, char buf[SOCKET_STRLEN]);

struct ip ip_from(int family, const void *bytes);
int ip_cmp(const struct ip *a, const struct ip *b); /* by family, then as a number */
bool ip_equal(const struct ip *a, const struct ip *b);

/* Not loopback, link-local, multicast, unspecified, or IPv4 in IPv6. */
bool ip_is_reachable(const struct ip *ip);

/* The address plus `n` (modulo the size of the address space). */
struct ip ip_add(struct ip ip, uint64_t n);

struct ip prefix_mask(const struct prefix *prefix); /* ones for its length, then zeros */
struct prefix prefix_masked(int family, const void *address, const void *mask); /* of such a mask */
int prefix_cmp(const struct prefix *a, const struct prefix *b); /* by address, then by length */
bool prefix_contains(const struct prefix *prefix, const struct ip *ip);
struct ip prefix_first(const struct prefix *prefix); /* host bits 0 */
struct ip prefix_last(const struct prefix *prefix);  /* host bits 1 */
/*
 * The host's address in a pod CIDR, which is its pods' gateway: the first one after the network address, if there is
 * one.
 */
struct ip cidr_gateway(const struct prefix *cidr);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);

#endif
