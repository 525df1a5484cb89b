/* SPDX-License-Identifier: BSD-2-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ip_parse(const char *text, struct ip *ip)
{
	*ip = (struct ip){ .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	return inet_pton(ip->family, text, ip->bytes) == 1 ? 0 : -EINVAL;
}

int prefix_parse(const char *text, struct prefix *prefix)
{
	char addr[IP_STRLEN];
	const char *slash = strchr(text, '/');
	unsigned long len;
	char *end;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, slash - text);
	addr[slash - text] = '\0';
	if (ip_parse(addr, &prefix->ip) < 0)
		return -EINVAL;
	if (slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	len = strtoul(slash + 1, &end, 10);
	if (*end || len > ip_bits(&prefix->ip))
		return -EINVAL;
	prefix->len = (uint8_t)len;
	return 0;
}

int mac_parse(const char *text, uint8_t mac[6])
{
	static const uint8_t zero[6];

	if (strlen(text) != MAC_STRLEN - 1)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		char byte[3] = { text[i * 3], text[i * 3 + 1], '\0' };
		char *end;

		if (i < 5 && text[i * 3 + 2] != ':')
			return -EINVAL;
		if (!strchr("0123456789abcdefABCDEF", byte[0]))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(byte, &end, 16);
		if (*end)
			return -EINVAL;
	}
	return (mac[0] & 1) || memcmp(mac, zero, 6) == 0 ? -EINVAL : 0;
}

const char *ip_format(const struct ip *ip, char buf[IP_STRLEN])
{
	if (!inet_ntop(ip->family, ip->bytes, buf, IP_STRLEN))
		snprintf(buf, IP_STRLEN, "none");
	return buf;
}

const char *prefix_format(const struct prefix *prefix, char buf[PREFIX_STRLEN])
{
	char addr[IP_STRLEN];

	snprintf(buf, PREFIX_STRLEN, "%s/%u", ip_format(&prefix->ip, addr), prefix->len);
	return buf;
}

const char *mac_format(const uint8_t mac[6], char buf[MAC_STRLEN])
{
	snprintf(buf, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

const char *socket_format(const struct ip *ip, uint16_t port, char buf[SOCKET_STRLEN])
{
	char address[IP_STRLEN];

	snprintf(buf, SOCKET_STRLEN, ip->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip_format(ip, address), port);
	return buf;
}

struct ip ip_from(int family, const void *bytes)
{
	struct ip ip = { .family = (uint8_t)family };

	memcpy(ip.bytes, bytes, ip_bytes(&ip));
	return ip;
}

int ip_cmp(const struct ip *a, const struct ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return ip_cmp(a, b) == 0;
}

bool ip_is_reachable(const struct ip *ip)
{
	static const uint8_t zeros[16], one[16] = { [15] = 1 };

	if (ip->family == AF_INET)
		return ip->bytes[0] != 0 && ip->bytes[0] != 127 && ip->bytes[0] < 224 &&
		       !(ip->bytes[0] == 169 && ip->bytes[1] == 254);
	return memcmp(ip->bytes, zeros, 16) != 0 && memcmp(ip->bytes, one, 16) != 0 && ip->bytes[0] != 0xff &&
	       !(ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80) &&
	       !(memcmp(ip->bytes, zeros, 10) == 0 && ip->bytes[10] == 0xff && ip->bytes[11] == 0xff);
}

struct ip ip_add(struct ip ip, uint64_t n)
{
	unsigned sum = 0;

	for (int i = (int)ip_bytes(&ip) - 1; i >= 0 && (n || sum); i--) {
		sum += ip.bytes[i] + (unsigned)(n & 0xff); /* n + byte would overflow near UINT64_MAX */
		ip.bytes[i] = (uint8_t)sum;
		sum >>= 8;
		n >>= 8;
	}
	return ip;
}

/* The prefix's host bits set to 0 or to 1. */
static struct ip host_bits(const struct prefix *prefix, bool ones)
{
	struct ip ip = prefix->ip;

	for (unsigned i = prefix->len / 8, kept = prefix->len % 8; i < ip_bytes(&ip); i++, kept = 0) {
		uint8_t mask = (uint8_t)(0xff >> kept);

		ip.bytes[i] = ones ? ip.bytes[i] | mask : ip.bytes[i] & (uint8_t)~mask;
	}
	return ip;
}

struct ip prefix_first(const struct prefix *prefix)
{
	return host_bits(prefix, false);
}

struct ip prefix_last(const struct prefix *prefix)
{
	return host_bits(prefix, true);
}

struct ip prefix_mask(const struct prefix *prefix)
{
	struct prefix ones = { { .family = prefix->ip.family }, prefix->len };

	memset(ones.ip.bytes, 0xff, ip_bytes(&ones.ip));
	return prefix_first(&ones);
}

struct prefix prefix_masked(int family, const void *address, const void *mask)
{
	struct prefix prefix = { .ip = ip_from(family, address) };

	for (size_t i = 0; i < ip_bytes(&prefix.ip); i++)
		prefix.len = (uint8_t)(prefix.len + __builtin_popcount(((const uint8_t *)mask)[i]));
	return prefix;
}

int prefix_cmp(const struct prefix *a, const struct prefix *b)
{
	int c = ip_cmp(&a->ip, &b->ip);

	return c ? c : a->len - b->len;
}

bool prefix_contains(const struct prefix *prefix, const struct ip *ip)
{
	struct ip first = prefix_first(prefix), last = prefix_last(prefix);

	return ip->family == first.family && ip_cmp(&first, ip) <= 0 && ip_cmp(ip, &last) <= 0;
}

struct ip cidr_gateway(const struct prefix *cidr)
{
	struct ip first = prefix_first(cidr);

	return cidr->len < ip_bits(&first) ? ip_add(first, 1) : first;
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return prefix_contains(a, &b->ip) || prefix_contains(b, &a->ip);
}
