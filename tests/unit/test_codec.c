/* SPDX-License-Identifier: BSD-2-Clause */
/* Map codecs: every registered map has one, and its keys and values read as the manual says. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cleanup.h"
#include "codec.h"
#include "dp.h"
#include "names.h"

static void every_map_has_a_codec(void **state)
{
	const struct map_codec *codec = map_codecs;

	for (const struct dp_map *m = dp_maps; m->name; m++) {
		if (m->kind == DP_MAP_RING) {
			assert_null(map_codec_find(m->name));
			continue;
		}
		assert_string_equal(codec->name, m->name);
		assert_int_equal(codec->key_size, m->key_size);
		assert_int_equal(codec->value_size, m->value_size);
		codec++;
	}
	assert_null(codec->name);
}

static const struct {
	const char *map, *text;
	const char *hex;  /* of the key; NULL: refused */
	const char *json; /* of the key, decoded */
} keys[] = {
	{ "config", "0", "00000000", "{\"index\": 0}" },
	{ "config", "1", NULL, NULL },
	{ "endpoints", "258", "02010000", "{\"slot\": 258}" },
	{ "endpoints", "", NULL, NULL },
	{ "endpoints", "-1", NULL, NULL },
	{ "endpoints", "4294967296", NULL, NULL },
	{ "endpoints", "eth0", NULL, NULL },
	{ "addr4", "10.1.0.7", "0a010007", "{\"address\": \"10.1.0.7\"}" },
	{ "addr4", "fd00::7", NULL, NULL },
	{ "addr4", "10.1.0.7/24", NULL, NULL },
	{ "addr6", "fd00::7", "fd000000000000000000000000000007", "{\"address\": \"fd00::7\"}" },
	{ "addr6", "10.1.0.7", NULL, NULL },
	{ "frag4", "10.1.0.2,10.1.0.3,4660,udp", "0a0100020a0100031234000011000000",
	  "{\"source\": \"10.1.0.2\", \"destination\": \"10.1.0.3\", \"id\": 4660, \"protocol\": \"udp\"}" },
	{ "frag4", "10.1.0.2,10.1.0.3,65536,udp", NULL, NULL },
	{ "frag4", "10.1.0.2,10.1.0.3,1", NULL, NULL },
	{ "frag4", "10.1.0.2,10.1.0.3,1,udp,", NULL, NULL },
	{ "frag6", "fd00::2,fd00::3,0x12345678,200",
	  "fd000000000000000000000000000002fd000000000000000000000000000003"
	  "12345678c8000000",
	  "{\"source\": \"fd00::2\", \"destination\": \"fd00::3\", \"id\": 305419896, \"protocol\": 200}" },
	{ "frag6", "fd00::2,10.0.0.1,1,udp", NULL, NULL },
	{ "metrics", "none/egress", "00000000", "{\"reason\": \"none\", \"direction\": \"egress\"}" },
	{ "metrics", "to_endpoint/ingress", "03000000", "{\"reason\": \"to_endpoint\", \"direction\": \"ingress\"}" },
	{ "metrics", "to_endpoint", NULL, NULL },
	{ "metrics", "bogus/egress", NULL, NULL },
	{ "metrics", "none/sideways", NULL, NULL },
};

/* What codec functions describe, as JSON. */
static json_t *described(const struct map_codec *codec, const void *key, const void *value, int cpus)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	struct out *o = out_new(OUT_JSON, f);
	json_t *json;

	out_record(o, NULL);
	if (key)
		codec->key(o, key);
	if (value)
		codec->value(o, value, cpus);
	out_end(o);
	assert_int_equal(out_flush(o, NULL), 0);
	out_free(o);
	rewind(f);
	json = json_loadf(f, 0, NULL);
	assert_non_null(json);
	return json;
}

static void assert_json(const char *what, const char *want_text, json_t *have)
{
	json_auto_t *want = json_loads(want_text, 0, NULL);
	_cleanup_free_ char *text = json_dumps(have, 0);

	assert_non_null(want);
	if (!json_equal(want, have))
		fail_msg("%s: %s, not %s", what, text, want_text);
}

static void keys_as_people_write_them(void **state)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct map_codec *codec = map_codec_find(keys[i].map);
		uint8_t key[64] __attribute__((aligned(8))) = { 0 }, want[64];
		json_auto_t *json = NULL;
		int r = codec->parse_key(keys[i].text, key);

		if (!keys[i].hex) {
			if (r != -EINVAL)
				fail_msg("%s took '%s'", keys[i].map, keys[i].text);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(hex_parse(keys[i].hex, want, codec->key_size), 0);
		assert_memory_equal(key, want, codec->key_size);
		json = described(codec, key, NULL, 0);
		assert_json(keys[i].map, keys[i].json, json);
	}
}

static void values(void **state)
{
	const struct wr_endpoint ep = {
		.addr4.v4 = htonl(0x0a010007),
		.mac = { 2, 0, 0, 0, 0, 7 },
		.flags = WR_EP_V4 | WR_EP_MASQUERADE | 0x100,
		.ifindex = 9,
		.peer_ifindex = 2,
		.policy_class = WR_CLASS_NOT_ISOLATED,
		.revision = 3,
		.identity = 0x0200000000000001ull,
	};
	const struct wr_metric metric[2] = { { 1, 60 }, { 2, 140 } };
	const struct wr_frag frag = { htons(1), htons(2), 1480 };
	struct wr_config cfg = { 1, 1 << 24, 2 << 24, 4 << 24, "" };
	json_t *json;

	json = described(map_codec_find("endpoints"), NULL, &ep, 1);
	assert_json(
	    "endpoints",
	    "{\"ifindex\": 9, \"addr4\": \"10.1.0.7\", \"addr6\": null, \"mac\": \"02:00:00:00:00:07\","
	    "\"flags\": [\"v4\", \"masquerade\", \"0x0100\"], \"peer_ifindex\": 2, \"policy_class\": \"not-isolated\","
	    "\"revision\": 3, \"identity\": \"0x0200000000000001\"}",
	    json);
	json_decref(json);
	json = described(map_codec_find("metrics"), NULL, metric, 2);
	assert_json("metrics",
		    "{\"packets\": 3, \"bytes\": 200, \"cpus\": [{\"packets\": 1, \"bytes\": 60},"
		    "{\"packets\": 2, \"bytes\": 140}]}",
		    json);
	json_decref(json);
	json = described(map_codec_find("frag6"), NULL, &frag, 1);
	assert_json("frag6", "{\"source_port\": 1, \"destination_port\": 2, \"end\": 1480}", json);
	json_decref(json);
	memset(cfg.version, 'x', sizeof(cfg.version)); /* not ended, as only a foreign writer leaves it */
	json = described(map_codec_find("config"), NULL, &cfg, 1);
	assert_json("config",
		    "{\"abi_version\": 1, \"mark_pod\": \"0x01000000\", \"mark_masquerade\": \"0x02000000\","
		    "\"mark_host_only\": \"0x04000000\", \"version\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
		    json);
	json_decref(json);
}

static void hex(void **state)
{
	char text[HEX_ROOM(3)];
	uint8_t bytes[3];

	assert_string_equal(hex_format("\x01\xab\xff", 3, text), "01 ab ff");
	assert_string_equal(hex_format("", 0, text), "");
	assert_int_equal(hex_parse("01 AB:ff", bytes, 3), 0);
	assert_memory_equal(bytes, "\x01\xab\xff", 3);
	for (const char *const *bad = (const char *[]){ "01ab", "01abff00", "01abf", "01abfg", " 1abff", "", NULL };
	     *bad; bad++)
		assert_int_equal(hex_parse(*bad, bytes, 3), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_map_has_a_codec),
		cmocka_unit_test(keys_as_people_write_them),
		cmocka_unit_test(values),
		cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
