/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "addr.h"
#include "rig.h"

static void assert_ip(const struct ip *have, const char *expected)
{
	struct ip w = ip(expected);
	char text[IP_STRLEN];

	/* The whole struct: bytes beyond an IPv4 address are zero, which ip_cmp relies on. */
	if (have->family != w.family || memcmp(have->bytes, w.bytes, sizeof(w.bytes)) != 0)
		fail_msg("%s instead of %s", ip_format(have, text), expected);
}

static void parse_and_format_ip(void **state)
{
	static const struct {
		const char *text, *canonical; /* NULL: must not parse */
	} table[] = {
		{ "0.0.0.0", "0.0.0.0" },
		{ "10.1.2.3", "10.1.2.3" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "fe80::1", "fe80::1" },
		{ "FD00:0:0:0::00A", "fd00::a" },
		{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
		{ "::ffff:10.1.2.3", "::ffff:10.1.2.3" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "" },
		{ "1" },
		{ "10.1.2" },
		{ "10.1.2.3.4" },
		{ "10.1.2.256" },
		{ "10.1.2.-3" },
		{ "10.01.2.3" }, /* octal in some parsers */
		{ "0x0a.1.2.3" },
		{ " 10.1.2.3" },
		{ "10.1.2.3 " },
		{ "10.1.2.3\n" },
		{ "10.1.2.3/32" },
		{ "localhost" },
		{ ":" },
		{ ":::" },
		{ "1::2::3" },
		{ "1:2:3:4:5:6:7" },
		{ "1:2:3:4:5:6:7:8:9" },
		{ "12345::" },
		{ "g::" },
		{ "fe80::1%lo" },
		{ "fe80::1/64" },
		{ "[::1]" },
		{ "::1.2.3" },
	};
	char text[IP_STRLEN];
	struct ip got;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int rc = ip_parse(table[i].text, &got);

		if (rc != (table[i].canonical ? 0 : -EINVAL))
			fail_msg("\"%s\": %d", table[i].text, rc);
		if (rc)
			continue;
		assert_string_equal(ip_format(&got, text), table[i].canonical);
		assert_int_equal(got.family, strchr(table[i].text, ':') ? AF_INET6 : AF_INET);
		assert_int_equal(ip_bytes(&got), got.family == AF_INET ? 4 : 16);
		assert_int_equal(ip_bits(&got), got.family == AF_INET ? 32 : 128);
	}
	got = (struct ip){ 0 };
	assert_string_equal(ip_format(&got, text), "none");
}

static void parse_and_format_prefix(void **state)
{
	static const struct {
		const char *text, *canonical; /* NULL: must not parse */
	} table[] = {
		{ "10.1.2.3/32", "10.1.2.3/32" },
		{ "10.1.2.3/24", "10.1.2.3/24" }, /* keeps its host bits */
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "::/0", "::/0" },
		{ "FD00::1/64", "fd00::1/64" },
		{ "fd00::1/128", "fd00::1/128" },
		{ "::ffff:10.1.2.3/96", "::ffff:10.1.2.3/96" },
		{ "" },
		{ "/" },
		{ "/24" },
		{ "10.1.2.3" },
		{ "10.1.2.3/" },
		{ "10.1.2.3/33" },
		{ "fd00::1/129" },
		{ "10.1.2.3/-1" },
		{ "10.1.2.3/+1" },
		{ "10.1.2.3/ 1" },
		{ "10.1.2.3/1 " },
		{ "10.1.2.3/1x" },
		{ "10.1.2.3/0x1" },
		{ "10.1.2.3/24/24" },
		{ "10.1.2.3/255.255.255.0" },
		{ "10.1.2.3/256" },		     /* 0 in eight bits */
		{ "10.1.2.3/4294967320" },	     /* 24 in 32 bits */
		{ "10.1.2.3/18446744073709551640" }, /* 24 in 64 bits */
		{ "10.1.2/24" },
		{ "x/24" },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/64" },
	};
	char text[PREFIX_STRLEN];
	struct prefix got;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int rc = prefix_parse(table[i].text, &got);

		if (rc != (table[i].canonical ? 0 : -EINVAL))
			fail_msg("\"%s\": %d", table[i].text, rc);
		if (!rc)
			assert_string_equal(prefix_format(&got, text), table[i].canonical);
	}
	/* The longest text fits. */
	got = prefix("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128");
	assert_string_equal(prefix_format(&got, text), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
}

static void every_prefix_length_parses(void **state)
{
	char text[PREFIX_STRLEN], again[PREFIX_STRLEN];
	struct prefix got;

	for (int len = 0; len <= 130; len++) {
		snprintf(text, sizeof(text), "10.0.0.0/%d", len);
		assert_int_equal(prefix_parse(text, &got), len <= 32 ? 0 : -EINVAL);
		snprintf(text, sizeof(text), "fd00::/%d", len);
		assert_int_equal(prefix_parse(text, &got), len <= 128 ? 0 : -EINVAL);
		if (len <= 128)
			assert_string_equal(prefix_format(&got, again), text);
	}
}

static void parse_and_format_mac(void **state)
{
	static const struct {
		const char *text, *canonical; /* NULL: must not parse */
	} table[] = {
		{ "02:57:52:00:00:01", "02:57:52:00:00:01" },
		{ "FE:dc:Ba:98:76:54", "fe:dc:ba:98:76:54" },
		{ "00:00:00:00:00:01", "00:00:00:00:00:01" },
		{ "00:00:00:00:00:00" }, /* none */
		{ "01:00:5e:00:00:01" }, /* multicast */
		{ "ff:ff:ff:ff:ff:ff" }, /* broadcast */
		{ "" },
		{ "02:57:52:00:00" },
		{ "02:57:52:00:00:0" },
		{ "02:57:52:00:00:011" },
		{ "02:57:52:00:00:01:02" },
		{ "02-57-52-00-00-01" },
		{ "0257.5200.0001...." },
		{ "02:57:52:00:00:0g" },
		{ "02:57:52:00:00:g0" },
		{ "02:57:52:00:00: 1" },
		{ "02:57:52:00:00:1 " },
		{ "02:57:52:00:00:+1" },
		{ "02:57:52:00:00:0x" },
		{ "2:57:52:00:00:001" },
	};
	char text[MAC_STRLEN];
	uint8_t mac[6];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int rc = mac_parse(table[i].text, mac);

		if (rc != (table[i].canonical ? 0 : -EINVAL))
			fail_msg("\"%s\": %d", table[i].text, rc);
		if (!rc)
			assert_string_equal(mac_format(mac, text), table[i].canonical);
	}
}

static void from_bytes(void **state)
{
	const uint8_t bytes[16] = { 10, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	struct ip v4 = ip_from(AF_INET, bytes), v6 = ip_from(AF_INET6, bytes);

	assert_ip(&v4, "10.1.2.3");
	assert_ip(&v6, "a01:203:506:708:90a:b0c:d0e:f10");
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* In ascending order: every pair is compared both ways. */
static void ordering(void **state)
{
	static const char *const sorted[] = {
		"0.0.0.0",
		"0.0.0.1",
		"9.255.255.255",
		"10.0.0.0",
		"127.0.0.1",
		"128.0.0.0",
		"255.255.255.255",
		"::",
		"::1",
		"::ffff:10.0.0.0",
		"7fff::",
		"8000::",
		"fd00::1",
		"fd00::2",
		"fd00::100",
		"fd00:0:0:1::",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
			struct ip a = ip(sorted[i]), b = ip(sorted[j]);

			assert_int_equal(sign(ip_cmp(&a, &b)), sign((int)i - (int)j));
			assert_int_equal(ip_equal(&a, &b), i == j);
		}
	}
}

static void adding(void **state)
{
	static const struct {
		const char *a;
		uint64_t n;
		const char *b; /* a + n */
	} table[] = {
		{ "10.0.0.0", 0, "10.0.0.0" },
		{ "10.0.0.255", 1, "10.0.1.0" },
		{ "10.255.255.255", 1, "11.0.0.0" },
		{ "10.0.0.0", 0xffffff, "10.255.255.255" },
		{ "0.0.0.0", 0xffffffff, "255.255.255.255" },
		{ "255.255.255.255", 1, "0.0.0.0" },
		{ "10.0.0.1", 0x100000000, "10.0.0.1" },
		{ "10.0.0.1", UINT64_MAX, "10.0.0.0" },
		{ "fd00::", 1, "fd00::1" },
		{ "fd00::ffff", 1, "fd00::1:0" },
		{ "fd00::ffff:ffff:ffff:ffff", 1, "fd00:0:0:1::" },
		{ "fd00::", UINT64_MAX, "fd00::ffff:ffff:ffff:ffff" },
		{ "fd00::1", UINT64_MAX, "fd00:0:0:1::" },
		{ "fd00::ff", UINT64_MAX, "fd00:0:0:1::fe" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, "::" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", UINT64_MAX, "::ffff:ffff:ffff:fffe" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct ip a = ip(table[i].a), b = ip_add(a, table[i].n);

		assert_ip(&b, table[i].b);
	}
}

static void first_and_last(void **state)
{
	static const struct {
		const char *prefix, *first, *last;
	} table[] = {
		{ "10.1.2.3/32", "10.1.2.3", "10.1.2.3" },
		{ "10.1.2.3/31", "10.1.2.2", "10.1.2.3" },
		{ "10.1.2.3/25", "10.1.2.0", "10.1.2.127" },
		{ "10.1.2.3/24", "10.1.2.0", "10.1.2.255" },
		{ "10.1.2.3/9", "10.0.0.0", "10.127.255.255" },
		{ "10.1.2.3/1", "0.0.0.0", "127.255.255.255" },
		{ "10.1.2.3/0", "0.0.0.0", "255.255.255.255" },
		{ "fd00::3/128", "fd00::3", "fd00::3" },
		{ "fd00::3/127", "fd00::2", "fd00::3" },
		{ "fd00::3/64", "fd00::", "fd00::ffff:ffff:ffff:ffff" },
		{ "fd00::3/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "fd00::3/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct prefix p = prefix(table[i].prefix);
		struct ip first = prefix_first(&p), last = prefix_last(&p), mask = prefix_mask(&p);
		struct prefix again = prefix_masked(p.ip.family, p.ip.bytes, mask.bytes);

		assert_ip(&first, table[i].first);
		assert_ip(&last, table[i].last);
		for (size_t b = 0; b < ip_bytes(&p.ip); b++) /* only host bits differ */
			assert_int_equal(mask.bytes[b], (uint8_t)~(first.bytes[b] ^ last.bytes[b]));
		assert_int_equal(prefix_cmp(&again, &p), 0);
	}
}

static void containing(void **state)
{
	static const struct {
		const char *prefix, *ip;
		bool contains;
	} table[] = {
		{ "10.1.2.3/24", "10.1.2.0", true },
		{ "10.1.2.3/24", "10.1.2.255", true },
		{ "10.1.2.3/24", "10.1.1.255", false },
		{ "10.1.2.3/24", "10.1.3.0", false },
		{ "10.1.2.3/32", "10.1.2.3", true },
		{ "10.1.2.3/32", "10.1.2.2", false },
		{ "10.1.2.3/32", "10.1.2.4", false },
		{ "0.0.0.0/0", "0.0.0.0", true },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "::", false },
		{ "::/0", "0.0.0.0", false },
		{ "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
		{ "::ffff:10.1.2.0/120", "10.1.2.3", false },
		{ "fd00::/64", "fd00::ffff:ffff:ffff:ffff", true },
		{ "fd00::/64", "fd00:0:0:1::", false },
		{ "fd00::1/128", "fd00::1", true },
		{ "fd00::1/128", "fd00::", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct prefix p = prefix(table[i].prefix);
		struct ip a = ip(table[i].ip);

		if (prefix_contains(&p, &a) != table[i].contains)
			fail_msg("%s, %s", table[i].prefix, table[i].ip);
	}
}

static void overlapping(void **state)
{
	static const struct {
		const char *a, *b;
		bool overlap;
	} table[] = {
		{ "10.0.0.0/8", "10.1.2.3/24", true },
		{ "10.1.2.0/24", "10.1.2.128/25", true },
		{ "10.1.2.0/25", "10.1.2.128/25", false },
		{ "10.1.2.77/24", "10.1.2.3/24", true }, /* host bits do not matter */
		{ "10.1.2.0/24", "10.1.3.0/24", false },
		{ "10.1.2.3/32", "10.1.2.3/32", true },
		{ "0.0.0.0/0", "255.0.0.0/8", true },
		{ "0.0.0.0/0", "::/0", false },
		{ "fd00::/8", "fd12:3456::/48", true },
		{ "fd00::/64", "fd00:0:0:1::/64", false },
		{ "::/0", "fd00::1/128", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct prefix a = prefix(table[i].a), b = prefix(table[i].b);

		if (prefix_overlaps(&a, &b) != table[i].overlap || prefix_overlaps(&b, &a) != table[i].overlap)
			fail_msg("%s, %s", table[i].a, table[i].b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_and_format_ip),
		cmocka_unit_test(parse_and_format_prefix),
		cmocka_unit_test(every_prefix_length_parses),
		cmocka_unit_test(parse_and_format_mac),
		cmocka_unit_test(from_bytes),
		cmocka_unit_test(ordering),
		cmocka_unit_test(adding),
		cmocka_unit_test(first_and_last),
		cmocka_unit_test(containing),
		cmocka_unit_test(overlapping),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
