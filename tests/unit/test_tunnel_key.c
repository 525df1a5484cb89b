/* SPDX-License-Identifier: BSD-2-Clause */
/* user/agent/nodes/tunnel_key.c: files of keys, keyed tags; and user/agent/nodes/cluster.c: which tags are in the maps, and when.
 */
#include "cluster_rig.h"

static const uint8_t cluster_key[POLICY_KEY_SIZE] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

#define SECRET "00112233445566778899aabbccddeeff"

static void files(void **state)
{
	static const struct {
		const char *text, *problem; /* NULL: none */
		uint32_t ids[WR_TUNNEL_KEYS];
		size_t count;
		uint8_t first[2]; /* bytes of each key */
	} rows[] = {
		{ "0\n", NULL, { 0 }, 1, { 0 } },
		{ "7", NULL, { 7 }, 1, { 0 } },
		{ "# the first\n\n 3\t" SECRET "  # a comment\n2\n", NULL, { 3, 2 }, 2, { 0, 0 } },
		{ "4294967295 ff112233445566778899AABBCCDDEEFF\r\n", NULL, { UINT32_MAX }, 1, { 0xff } },
		{ "1 ab112233445566778899aabbccddeeff\n2 cd112233445566778899aabbccddeeff",
		  NULL,
		  { 1, 2 },
		  2,
		  { 0xab, 0xcd } },
		{ "", "there is no key", { 0 }, 0, { 0 } },
		{ "# 1\n", "there is no key", { 0 }, 0, { 0 } },
		{ "1\n3\n", "line 2: of two key ids one must be even", { 0 }, 0, { 0 } },
		{ "1\n1\n", "line 2: of two key ids one must be even", { 0 }, 0, { 0 } },
		{ "1\n2\n3\n", "line 3: there may be two keys", { 0 }, 0, { 0 } },
		{ "one\n", "line 1: a key's id is a number", { 0 }, 0, { 0 } },
		{ "-1\n", "line 1: a key's id is a number", { 0 }, 0, { 0 } },
		{ "4294967296\n", "line 1: a key's id is a number", { 0 }, 0, { 0 } },
		{ "1 00112233445566778899aabbccddeef\n", "line 1: a key is 32 hex digits", { 0 }, 0, { 0 } },
		{ "1 0123456789abcdef\n", "line 1: a key is 32 hex digits", { 0 }, 0, { 0 } }, /* 16 bytes, but text */
		{ "1 g0112233445566778899aabbccddeeff\n", "line 1: a key is 32 hex digits", { 0 }, 0, { 0 } },
		{ "1 " SECRET " 2\n", "line 1: a line is", { 0 }, 0, { 0 } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tunnel_keys keys;
		struct err err = { 0 };
		int ret = tunnel_keys_parse(rows[i].text, cluster_key, &keys, &err);

		assert_int_equal(ret, rows[i].problem ? -EINVAL : 0);
		if (rows[i].problem) {
			if (!strstr(err.msg, rows[i].problem))
				fail_msg("row %zu: %s", i, err.msg);
			continue;
		}
		assert_int_equal(keys.count, rows[i].count);
		for (size_t k = 0; k < keys.count; k++) {
			assert_int_equal(keys.keys[k].id, rows[i].ids[k]);
			assert_int_equal(keys.keys[k].key[0], rows[i].first[k]);
		}
	}
}

/* Computed by another implementation (Python's hmac). */
static void tags(void **state)
{
	static const uint8_t zeros[POLICY_KEY_SIZE];
	static const struct {
		const uint8_t *key;
		uint32_t id;
		const char *from, *to;
		uint64_t tag;
	} rows[] = {
		{ cluster_key, 0, "a", "b", 0xdcc319c770cf9240 },
		{ cluster_key, 0, "b", "a", 0x15d76321a4b7814f },
		{ cluster_key, 1, "a", "b", 0x25ac71aa954900ab },
		{ cluster_key, 0, "ab", "c", 0x1631d3d0e244a46a },
		{ cluster_key, 0, "a", "bc", 0xfbf0aa726dd02c0d },
		{ zeros, 0, "a", "b", 0x4b28d41e24d8844f },
		{ cluster_key, UINT32_MAX, "node-1.example", "node-2.example", 0xda0c1190a4fdf96f },
	};
	char long_name[300] = { 0 };
	struct tunnel_key key = { 0 };
	struct err err = { 0 };
	uint64_t tag;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		key.id = rows[i].id;
		memcpy(key.key, rows[i].key, sizeof(key.key));
		assert_int_equal(tunnel_tag(&key, rows[i].from, rows[i].to, &tag, &err), 0);
		assert_true(tag == rows[i].tag);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	assert_int_equal(tunnel_tag(&key, long_name, "b", &tag, &err), -EINVAL);
}

/* --- in the maps --- */

static uint64_t tag_of(uint32_t id, const char *from, const char *to)
{
	struct tunnel_key key = { .id = id };
	struct err err = { 0 };
	uint64_t tag;

	memcpy(key.key, cluster_key, sizeof(key.key));
	assert_int_equal(tunnel_tag(&key, from, to, &tag, &err), 0);
	return tag;
}

static void set_keys(struct rig *r, const char *text)
{
	struct tunnel_keys keys;
	struct err err = { 0 };

	assert_int_equal(tunnel_keys_parse(text, cluster_key, &keys, &err), 0);
	cluster_set_keys(r->c, &keys);
}

/* The tags of node b, by place: 0 where the id is -1. */
static void expect_tags(struct rig *r, int even, int odd, uint32_t flags)
{
	const int ids[WR_TUNNEL_KEYS] = { even, odd };
	const struct dp_node *b = in_maps(r, "b");

	assert_non_null(b);
	assert_true(b->keyed);
	for (int place = 0; place < WR_TUNNEL_KEYS; place++) {
		assert_true(b->tx_tag[place] == (ids[place] < 0 ? 0 : tag_of((uint32_t)ids[place], "self", "b")));
		assert_true(b->rx_tag[place] == (ids[place] < 0 ? 0 : tag_of((uint32_t)ids[place], "b", "self")));
	}
	assert_int_equal(r->k.cluster.flags & ~(__u32)(WR_CLUSTER_V4 | WR_CLUSTER_POD4 | WR_CLUSTER_SPORTS), flags);
}

static void two(struct rig *r, enum tunnel_key_mode mode)
{
	rig_begin(r);
	r->options.tunnel_key = mode;
	put(r, "self", "10.1.0.0/24", "192.0.2.1");
	put(r, "b", "10.2.0.0/24", "192.0.2.2");
}

static void off_is_the_same_as_no_key(void **state)
{
	const struct dp_node *b;
	struct rig r;

	two(&r, TUNNEL_KEY_OFF);
	assert_int_equal(run(&r), 0);
	b = in_maps(&r, "b");
	assert_false(b->keyed);
	assert_true(!b->tx_tag[0] && !b->tx_tag[1] && !b->rx_tag[0] && !b->rx_tag[1]);
	assert_int_equal(b->mtu, 1438);
	assert_int_equal(r.k.cluster.flags, WR_CLUSTER_V4 | WR_CLUSTER_POD4 | WR_CLUSTER_SPORTS);
	rig_end(&r);
}

static void nothing_runs_without_the_key(void **state)
{
	struct rig r;

	two(&r, TUNNEL_KEY_REQUIRE);
	assert_int_equal(run(&r), -EAGAIN);
	assert_null(in_maps(&r, "b"));
	set_keys(&r, "0");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, 0, -1, WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_REQUIRED);
	assert_int_equal(in_maps(&r, "b")->mtu, 1438 - WR_TUNNEL_KEY_SIZE);
	assert_int_equal(r.k.mtu, 1438 - WR_TUNNEL_KEY_SIZE);
	rig_end(&r);
}

static void rotation(void **state)
{
	const uint32_t both = WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN, odd = WR_CLUSTER_KEY_ODD;
	struct rig r;

	two(&r, TUNNEL_KEY_ACCEPT);
	set_keys(&r, "0");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, 0, -1, WR_CLUSTER_KEY_EVEN_KNOWN);
	set_keys(&r, "0\n1");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, 0, 1, both);
	set_keys(&r, "1\n0");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, 0, 1, both | odd);
	set_keys(&r, "1");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, -1, 1, WR_CLUSTER_KEY_ODD_KNOWN | odd);
	set_keys(&r, "1\n2");
	assert_int_equal(run(&r), 0);
	expect_tags(&r, 2, 1, both | odd);
	assert_int_equal(r.k.cluster.key_id[0], 2);
	assert_int_equal(r.k.cluster.key_id[1], 1);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(tags),
		cmocka_unit_test(off_is_the_same_as_no_key),
		cmocka_unit_test(nothing_runs_without_the_key),
		cmocka_unit_test(rotation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
