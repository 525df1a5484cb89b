/* SPDX-License-Identifier: BSD-2-Clause */
/* Map codecs: every registered map has one, and its keys and values are printed as in the manual. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "codec_internal.h"
#include "maps.h"
#include "enum_names.h"
#include "rig.h"

/* For the types of the fields. */
static const struct codec_field *end_of(const struct codec_field *f)
{
	while (f->name)
		f++;
	return f;
}

static void every_map_has_a_codec(void **state)
{
	const struct map_codec *const *codec = map_codecs;

	for (const struct dp_map *m = dp_maps; m->name; m++) {
		if (!dp_map_is_listable(m)) {
			assert_null(map_codec_find(m->name));
			continue;
		}
		assert_string_equal((*codec)->name, m->name);
		assert_int_equal((*codec)->key_size, m->key_size);
		assert_int_equal((*codec)->value_size, m->value_size);
		assert_int_equal(end_of((*codec)->key)->size, m->key_size);
		assert_int_equal(end_of((*codec)->value)->size, m->value_size);
		codec++;
	}
	assert_null(*codec);
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
	{ "addr_cache", "16383", "ff3f0000", "{\"slot\": 16383}" },
	{ "addr_cache", "16384", NULL, NULL },
	/* Given in the order initiator, responder; the key has its own. */
	{ "ct4", "10.1.0.2:40000,10.1.0.3:80,tcp", "0a010002" "0a010003" "9c40" "0050" "06000000",
	  "{\"end_0\": \"10.1.0.2:40000\", \"end_1\": \"10.1.0.3:80\", \"protocol\": \"tcp\", \"kind\": \"flow\"}" },
	{ "ct4", "10.1.0.3:80,10.1.0.2:40000,tcp", "0a010002" "0a010003" "9c40" "0050" "06000000",
	  "{\"end_0\": \"10.1.0.2:40000\", \"end_1\": \"10.1.0.3:80\", \"protocol\": \"tcp\", \"kind\": \"flow\"}" },
	{ "ct4", "10.1.0.3:7,10.1.0.2:65535,icmp", "0a010002" "0a010003" "ffff" "0007" "01000000",
	  "{\"end_0\": \"10.1.0.2:65535\", \"end_1\": \"10.1.0.3:7\", \"protocol\": \"icmp\", \"kind\": \"flow\"}" },
	{ "ct4", "10.1.0.2:40000,10.1.0.3:80,tcp,reverse_nat", "0a010002" "0a010003" "9c40" "0050" "06010000",
	  "{\"end_0\": \"10.1.0.2:40000\", \"end_1\": \"10.1.0.3:80\", \"protocol\": \"tcp\", \"kind\": \"reverse_nat\"}" },
	{ "ct4", "10.1.0.2:40000,10.1.0.3:80,tcp,other", NULL, NULL },
	{ "ct4", "10.1.0.2:40000,10.1.0.3,tcp", NULL, NULL },
	{ "ct4", "10.1.0.2:40000,10.1.0.3:80", NULL, NULL },
	{ "ct4", "10.1.0.2:65536,10.1.0.3:80,tcp", NULL, NULL },
	{ "ct4", "[fd00::2]:1,[fd00::3]:2,udp", NULL, NULL },
	{ "ct6", "[fd00::3]:2,[fd00::2]:1,udp",
	  "fd000000000000000000000000000002" "fd000000000000000000000000000003" "0001" "0002" "11000000",
	  "{\"end_0\": \"[fd00::2]:1\", \"end_1\": \"[fd00::3]:2\", \"protocol\": \"udp\", \"kind\": \"flow\"}" },
	{ "ct6", "[fd00::2]:1,[fd00::3:2,udp", NULL, NULL },
	{ "ct6", "fd00::2,fd00::3,udp", NULL, NULL },
	{ "ct_new4", "131071", "ffff0100", "{\"slot\": 131071}" },
	{ "ct_new4", "131072", NULL, NULL },
	{ "ct_new6", "7", "07000000", "{\"slot\": 7}" },
	{ "ct_new6", "[fd00::2]:1,[fd00::3]:2,udp", NULL, NULL },
	{ "ct_windows", "0", "00000000", "{\"index\": 0}" },
	{ "ct_windows", "1", NULL, NULL },
	{ "ct_totals", "0", "00000000", "{\"index\": 0}" },
	{ "ct_usage", "258", "02010000", "{\"slot\": 258}" },
	{ "ct_stats", "reevaluated", "04000000", "{\"counter\": \"reevaluated\"}" },
	{ "ct_stats", "evicted", "05000000", "{\"counter\": \"evicted\"}" },
	{ "ct_stats", "6", NULL, NULL },
	{ "ct_gc", "1", NULL, NULL },
	{ "classes", "17", "11000000", "{\"class\": 17}" },
	{ "rules", "0x10", "10000000", "{\"rule\": 16}" },
	{ "cidrs4", "17,egress,10.0.0.0/8", "28000000" "22000000" "0a000000",
	  "{\"class\": 17, \"direction\": \"egress\", \"prefix\": \"10.0.0.0/8\"}" },
	{ "cidrs4", "17,egress,10.0.0.0/33", NULL, NULL },
	{ "cidrs4", "17,egress,fd00::/8", NULL, NULL },
	{ "cidrs6", "16,ingress,fd00::/8", "28000000" "21000000" "fd000000000000000000000000000000",
	  "{\"class\": 16, \"direction\": \"ingress\", \"prefix\": \"fd00::/8\"}" },
	{ "cidrs6", "16,fd00::/8", NULL, NULL },
	{ "policy", "17,ingress,tcp,8080/13,0x1234", "3412000000000000" "11000000" "1f90" "06" "8d",
	  "{\"class\": 17, \"direction\": \"ingress\", \"protocol\": \"tcp\", \"port\": \"8080/13\","
	  "\"peer\": \"0x0000000000001234\"}" },
	{ "policy", "17,egress,any,0/0,all-pods", "0100000000000000" "11000000" "0000" "00" "00",
	  "{\"class\": 17, \"direction\": \"egress\", \"protocol\": \"any\", \"port\": \"0/0\", \"peer\": \"all-pods\"}" },
	{ "policy", "17,egress,any,0/17,any", NULL, NULL },
	{ "policy", "17,egress,any,80,any", NULL, NULL },
	{ "policy", "17,egress,any,0/0", NULL, NULL },
	{ "identities", "0x0200000000000001", "0100000000000002", "{\"identity\": \"0x0200000000000001\"}" },
	{ "identities", "world", "0200000000000000", "{\"identity\": \"world\"}" },
	{ "identities", "worlds", NULL, NULL },
	{ "policy_state", "0", "00000000", "{\"index\": 0}" },
	{ "trace", "1", NULL, NULL },
	{ "cluster", "0", "00000000", "{\"index\": 0}" },
	{ "cluster", "1", NULL, NULL },
	{ "nodes", "258", "02010000", "{\"slot\": 258}" },
	{ "nodes", "16384", NULL, NULL },
	{ "nodes4", "10.2.0.0/24", "18000000" "0a020000", "{\"prefix\": \"10.2.0.0/24\"}" },
	{ "nodes4", "10.2.0.0", NULL, NULL },
	{ "nodes4", "fd00::/64", NULL, NULL },
	{ "nodes6", "fd00:2::/64", "40000000" "fd000002000000000000000000000000", "{\"prefix\": \"fd00:2::/64\"}" },
	{ "node_addr4", "192.0.2.2", "c0000202", "{\"address\": \"192.0.2.2\"}" },
	{ "node_addr6", "2001:db8::2", "20010db8000000000000000000000002", "{\"address\": \"2001:db8::2\"}" },
	{ "ipcache4", "10.2.0.7", "0a020007", "{\"address\": \"10.2.0.7\"}" },
	{ "ipcache6", "10.2.0.7", NULL, NULL },
	{ "ipcache6", "fd00:2::7", "fd000002000000000000000000000007", "{\"address\": \"fd00:2::7\"}" },
	{ "node_metrics", "3/ingress", "07000000", "{\"slot\": 3, \"direction\": \"ingress\"}" },
	{ "node_metrics", "3/egress", "06000000", "{\"slot\": 3, \"direction\": \"egress\"}" },
	{ "node_metrics", "3", NULL, NULL },
	{ "node_metrics", "16384/egress", NULL, NULL },
	{ "node_metrics", "3/up", NULL, NULL },
	{ "nexthops", "258", "02010000", "{\"slot\": 258}" },
	{ "nexthops", "4096", NULL, NULL },
	{ "fragments", "5/ingress", "0b000000", "{\"slot\": 5, \"direction\": \"ingress\"}" },
	{ "fragments", "32767/egress", "feff0000", "{\"slot\": 32767, \"direction\": \"egress\"}" },
	{ "fragments", "32768/egress", NULL, NULL },
	{ "fragments", "5", NULL, NULL },
	{ "deny_state", "1", NULL, NULL },
	{ "cluster_ips4", "10.96.0.1", "0a600001", "{\"address\": \"10.96.0.1\"}" },
	{ "cluster_ips6", "fd00:96::1", "fd000096000000000000000000000001", "{\"address\": \"fd00:96::1\"}" },
	{ "service_cidrs4", "10.96.0.0/12", "0c000000" "0a600000", "{\"prefix\": \"10.96.0.0/12\"}" },
	{ "service_cidrs6", "fd00:96::/108", "6c000000" "fd000096000000000000000000000000", "{\"prefix\": \"fd00:96::/108\"}" },
	{ "source_ranges4", "258,10.0.0.0/8", "28000000" "02010000" "0a000000", "{\"set\": 258, \"prefix\": \"10.0.0.0/8\"}" },
	{ "source_ranges4", "258,fd00::/8", NULL, NULL },
	{ "source_ranges6", "258,fd00::/8", "28000000" "02010000" "fd000000000000000000000000000000",
	  "{\"set\": 258, \"prefix\": \"fd00::/8\"}" },
	{ "deny4", "10.0.0.0/8", "08000000" "0a000000", "{\"prefix\": \"10.0.0.0/8\"}" },
	{ "deny4", "fd00::/8", NULL, NULL },
	{ "deny6", "fd00::/8", "08000000" "fd000000000000000000000000000000", "{\"prefix\": \"fd00::/8\"}" },
	{ "deny6", "fd00::/129", NULL, NULL },
	{ "deny_hits", "258", "02010000", "{\"counter\": 258}" },
	{ "uplinks", "258", "02010000", "{\"ifindex\": 258}" },
	{ "uplinks", "eth0", NULL, NULL },
	{ "services4", "10.96.0.1,443,tcp", "0a600001" "01bb" "06" "00",
	  "{\"address\": \"10.96.0.1\", \"port\": 443, \"protocol\": \"tcp\"}" },
	{ "services4", "fd00::1,443,tcp", NULL, NULL },
	{ "host_ports4", "0.0.0.0,8080,udp", "00000000" "1f90" "11" "00",
	  "{\"address\": \"0.0.0.0\", \"port\": 8080, \"protocol\": \"udp\"}" },
	{ "services4", "10.96.0.1,443", NULL, NULL },
	{ "services4", "10.96.0.1,65536,tcp", NULL, NULL },
	{ "services6", "fd00:96::1,53,udp", "fd000096000000000000000000000001" "0035" "11" "00",
	  "{\"address\": \"fd00:96::1\", \"port\": 53, \"protocol\": \"udp\"}" },
	{ "services6", "10.96.0.1,53,udp", NULL, NULL },
	{ "backends4", "258", "02010000", "{\"backend\": 258}" },
	{ "backends6", "3,1", NULL, NULL },
	{ "service_lists", "3,1", "03000000" "01000000", "{\"list\": 3, \"index\": 1}" },
	{ "service_lists", "3", NULL, NULL },
	{ "service_members", "3,258", "03000000" "02010000", "{\"list\": 3, \"backend\": 258}" },
	{ "service_members", "3", NULL, NULL },
	{ "service_tables", "3,7", "03000000" "07000000", "{\"table\": 3, \"block\": 7}" },
	{ "service_tables", "3", NULL, NULL },
	{ "service_state", "1", NULL, NULL },
	{ "host_flows", "1", NULL, NULL },
	{ "event_state", "1", NULL, NULL },
	{ "event_stats", "1", NULL, NULL },
	{ "event_rate", "65535", "ffff0000", "{\"source\": 65535}" },
	{ "event_rate", "65536", NULL, NULL },
	{ "metrics", "none/egress", "00000000", "{\"reason\": \"none\", \"direction\": \"egress\"}" },
	{ "metrics", "to_endpoint/ingress", "03000000", "{\"reason\": \"to_endpoint\", \"direction\": \"ingress\"}" },
	{ "metrics", "to_endpoint", NULL, NULL },
	{ "metrics", "bogus/egress", NULL, NULL },
	{ "metrics", "none/sideways", NULL, NULL },
};

/* The output of codec functions, as JSON. */
static json_t *described(const struct map_codec *codec, const void *key, const void *value, int cpus)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	struct out *o = out_new(OUT_JSON, f);
	json_t *json;

	out_record(o, NULL);
	if (key)
		codec_key(codec, o, key);
	if (value)
		codec_value(codec, o, value, cpus);
	out_end(o);
	assert_int_equal(out_flush(o, NULL), 0);
	out_free(o);
	rewind(f);
	json = json_loadf(f, 0, NULL);
	assert_non_null(json);
	return json;
}

static void assert_json(const char *what, const char *expected_text, json_t *have)
{
	json_auto_t *expected = json_loads(expected_text, 0, NULL);
	_cleanup_free_ char *text = json_dumps(have, 0);

	assert_non_null(expected);
	if (!json_equal(expected, have))
		fail_msg("%s: %s, not %s", what, text, expected_text);
}

static void keys_as_people_write_them(void **state)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct map_codec *codec = map_codec_find(keys[i].map);
		uint8_t key[64] __attribute__((aligned(8))) = { 0 }, expected[64];
		json_auto_t *json = NULL;
		int r = codec_parse_key(codec, keys[i].text, key);

		if (!keys[i].hex) {
			if (r != -EINVAL)
				fail_msg("%s took '%s'", keys[i].map, keys[i].text);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(hex_parse(keys[i].hex, expected, codec->key_size), 0);
		assert_memory_equal(key, expected, codec->key_size);
		json = described(codec, key, NULL, 0);
		assert_json(keys[i].map, keys[i].json, json);
	}
}

/* A value, and how it reads. */
static void assert_value(const char *map, const void *value, int cpus, const char *expected)
{
	json_auto_t *json = described(map_codec_find(map), NULL, value, cpus);

	assert_json(map, expected, json);
}

/* Bytes of a value that are not shown: padding, secrets, and fields of the kernel or the conntrack gc. */
static const struct {
	const char *map;
	size_t from, count;
} padding[] = {
	{ "endpoints", offsetof(struct wr_endpoint, pad), 4 },
	{ "config", offsetof(struct wr_config, ct_secret[1]), 44 },
	{ "ct_new4", offsetof(struct wr_ct4_slot, key.pad), 2 },
	{ "ct_new6", offsetof(struct wr_ct6_slot, key.pad), 2 },
	{ "ct_usage", offsetof(struct wr_ct_usage, counted), 8 },
	{ "ct_totals", offsetof(struct wr_ct_totals, drift), 8 },
	{ "nodes", offsetof(struct wr_node, pad), 4 },
	{ "ct_gc", 0, sizeof(struct bpf_timer) },
	{ "deny_state", offsetof(struct wr_deny_state, pad), 4 },
	{ "deny_hits", offsetof(struct wr_deny_hits, pad), 4 },
	{ "uplinks", offsetof(struct wr_uplink, pad), 4 },
	{ "event_rate", offsetof(struct wr_event_rate, pad), 4 },
	{ "service_state", offsetof(struct wr_service_state, key[1]), 8 },
	{ "fragments", offsetof(struct wr_fragments, at), sizeof(((struct wr_fragments *)0)->at) },
	{ "affinity", offsetof(struct wr_affinities, at), sizeof(((struct wr_affinities *)0)->at) },
	{ "trace", offsetof(struct wr_trace, verdict[0]) + sizeof(struct wr_trace_verdict) - 1, 1 },
	{ "trace", offsetof(struct wr_trace, verdict[1]) + sizeof(struct wr_trace_verdict) - 1, 1 },
	{ NULL },
};

static bool is_padding(const char *map, size_t at)
{
	for (size_t i = 0; padding[i].map; i++) {
		if (strcmp(padding[i].map, map) == 0 && at >= padding[i].from && at < padding[i].from + padding[i].count)
			return true;
	}
	return false;
}

/* Every change of a value changes the output, whatever the flags: every field is shown. */
static void every_byte_is_shown(void **state)
{
	static const uint8_t fills[] = { 0xff, 0x01, 0x00 };

	for (const struct map_codec *const *c = map_codecs; *c; c++)
		for (size_t at = 0; at < (*c)->value_size; at++) {
			bool shown = false;

			for (size_t fill = 0; fill < sizeof(fills) && !shown; fill++) {
				uint8_t value[4096] __attribute__((aligned(8)));
				json_auto_t *before = NULL, *after = NULL;

				assert_true((*c)->value_size <= sizeof(value));
				memset(value, fills[fill], sizeof(value));
				before = described(*c, NULL, value, 1);
				value[at] ^= 0x12;
				after = described(*c, NULL, value, 1);
				shown = !json_equal(before, after);
			}
			if (shown == is_padding((*c)->name, at))
				fail_msg("%s: byte %zu is %sshown", (*c)->name, at, shown ? "" : "not ");
		}
}

static void values_of_the_node(void **state)
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
		.ct_first = 1024,
		.ct_slots = 512,
	};
	const struct wr_metric metric[2] = { { 1, 60 }, { 2, 140 } };
	const struct wr_fragments fragments = { .written = { 1, 2, 3, 4, 5, 6, 7, 8 } };
	struct wr_config cfg = { .abi_version = 2, 1 << 24, 2 << 24, 4 << 24, "", .ct_quota = 32768, .ct_secret = { 1 },
				 .tunnel_port = htons(6081), .pod_mtu = 1438 };

	assert_value("endpoints", &ep, 1,
		     "{\"ifindex\": 9, \"addr4\": \"10.1.0.7\", \"addr6\": null, \"mac\": \"02:00:00:00:00:07\","
		     "\"flags\": [\"v4\", \"masquerade\", \"0x100\"], \"peer_ifindex\": 2, \"policy_class\": 1,"
		     "\"revision\": 3, \"identity\": \"0x0200000000000001\","
		     "\"ct_first\": 1024, \"ct_slots\": 512}");
	assert_value("metrics", metric, 2,
		     "{\"packets\": 3, \"bytes\": 200, \"cpus\": [{\"packets\": 1, \"bytes\": 60},"
		     "{\"packets\": 2, \"bytes\": 140}]}");
	assert_value("fragments", &fragments, 1,
		     "{\"set_0\": 1, \"set_1\": 2, \"set_2\": 3, \"set_3\": 4, \"set_4\": 5, \"set_5\": 6,"
		     "\"set_6\": 7, \"set_7\": 8}");
	memset(cfg.version, 'x', sizeof(cfg.version)); /* without its NUL, as only another program would write it */
	assert_value("config", &cfg, 1,
		     "{\"abi_version\": 2, \"mark_pod\": \"0x01000000\", \"mark_masquerade\": \"0x02000000\","
		     "\"mark_host_only\": \"0x04000000\", \"ct_quota\": 32768, \"ct_entries\": 0, \"ct_secret\": true,"
		     "\"tunnel_port\": 6081, \"pod_mtu\": 1438,"
		     "\"version\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}");
}

static void values_of_the_cluster(void **state)
{
	const struct wr_cluster cluster = {
		.revision = 3,
		.flags = WR_CLUSTER_V4 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6 | WR_CLUSTER_KEY_ODD_KNOWN | WR_CLUSTER_KEY_ODD |
			 WR_CLUSTER_KEY_REQUIRED | 1 << 20,
		.key_id = { 6, 7 },
		.vni = 1,
		.port = htons(6081),
		.option_class = htons(0xfff1),
		.host_ifindex = 4,
		.addr4_ifindex = 5,
		.addr4 = { htonl(0xc0000201) },
		.cidr4 = { htonl(0x0a010000) },
		.mask4 = { htonl(0xffffff00) },
		.cidr6 = { { htonl(0xfd000001) } },
		.mask6 = { { ~0u, ~0u } },
	};
	const struct wr_node over4 = {
		.id = 7,
		.last_id = 7,
		.flags = WR_NODE_V4 | WR_NODE_KEYED,
		.tx_tag = { 0x1122334455667788, 0 },
		.rx_tag = { 0, 0x99 },
		.uplink = 2,
		.mtu = 1438,
		.cidr4 = { htonl(0x0a020000) },
		.mask4 = { htonl(0xfffffe00) },
		.local.v6 = { htonl(0xc0000201) },
		.remote.v6 = { htonl(0xc0000202) },
	};
	struct wr_node over6 = { .id = 8, .flags = WR_NODE_V6 | WR_NODE_OVER6 | WR_NODE_DIRECT };
	const struct wr_ipcache remote = { WR_ID_REMOTE_NODE }, some = { WR_ID_SOME_POD };
	const struct wr_node_ref ref = { 3 };
	const struct wr_nexthop nexthop = { .id = 7,
					.tick = 9,
					.flags = WR_NEXTHOP_RESOLVED | WR_NEXTHOP_CONFIRM,
					.ifindex = 2,
					.mtu = 1500,
					.dmac = { 2, 0, 0, 0, 0, 2 },
					.smac = { 2, 0, 0, 0, 0, 1 },
					.path_id = 7,
					.path_ifindex = 3,
					.path_v6 = 1,
					.path_tick = 8 };

	assert_value("cluster", &cluster, 1,
		     "{\"revision\": 3, \"flags\": [\"v4\", \"pod4\", \"pod6\", \"key-odd-known\", \"key-odd\", \"key-required\", \"0x100000\"], \"vni\": 1, \"port\": 6081,"
		     "\"option_class\": \"0x0000fff1\", \"host_ifindex\": 4, \"addr4\": \"192.0.2.1\", \"addr6\": null,"
		     "\"cidr4\": \"10.1.0.0/24\", \"cidr6\": \"fd00:1::/64\", \"key_even\": null, \"key_odd\": 7,"
		     "\"addr4_ifindex\": 5, \"addr6_ifindex\": 0}");
	assert_value("nodes", &over4, 1,
		     "{\"id\": 7, \"last_id\": 7, \"flags\": [\"v4\", \"keyed\"], \"cidr4\": \"10.2.0.0/23\","
		     "\"cidr6\": null, \"local\": \"192.0.2.1\", \"remote\": \"192.0.2.2\", \"uplink\": 2, \"mtu\": 1438,"
		     "\"tx_tag_even\": true,"
		     "\"tx_tag_odd\": false, \"rx_tag_even\": false, \"rx_tag_odd\": true}");
	memcpy(&over6.cidr6, "\xfd\0\0\2", 4);
	memset(&over6.mask6, 0xff, sizeof(over6.mask6));
	memcpy(&over6.remote, "\x20\1\x0d\xb8", 4);
	assert_value("nodes", &over6, 1,
		     "{\"id\": 8, \"last_id\": 0, \"flags\": [\"v6\", \"over6\", \"direct\"], \"cidr4\": null,"
		     "\"cidr6\": \"fd00:2::/128\", \"local\": \"::\", \"remote\": \"2001:db8::\", \"uplink\": 0, \"mtu\": 0,"
		     "\"tx_tag_even\": false,"
		     "\"tx_tag_odd\": false, \"rx_tag_even\": false, \"rx_tag_odd\": false}");
	assert_value("nexthops", &nexthop, 1,
		     "{\"id\": 7, \"tick\": 9, \"flags\": [\"resolved\", \"confirm\"], \"ifindex\": 2, \"mtu\": 1500,"
		     "\"dmac\": \"02:00:00:00:00:02\", \"smac\": \"02:00:00:00:00:01\", \"path_id\": 7, \"path_ifindex\": 3,"
		     "\"path_v6\": 1, \"path_tick\": 8}");
	assert_value("nodes6", &ref, 1, "{\"slot\": 3}");
	assert_value("node_addr4", &ref, 1, "{\"slot\": 3}");
	assert_value("ipcache4", &remote, 1, "{\"identity\": \"remote-node\"}");
	assert_value("ipcache6", &some, 1, "{\"identity\": \"some-pod\"}");
}

static void values_of_conntrack(void **state)
{
	const struct wr_ct ct = {
		.expires = 100,
		.flags = WR_CT_SWAPPED | WR_CT_REPLIED | 1 << 20,
		.initiator = 9,
		.at = { [WR_EGRESS] = { WR_ID_WORLD, 3, 17 }, [WR_INGRESS] = { 0x0200000000000001ull, 4, 1 } },
		.ack = { 5, 6 },
	};
	const struct wr_ct_service entry = { 7, WR_CT_SERVICE | WR_CT_HAIRPIN, 9, .addr = { { htonl(0x0a010007) } },
					     .port = htons(8080), .client_port = htons(61001), .list = 3, .backend = 5 };
	const uint64_t counter[2] = { 3, 4 };
	const struct wr_ct4_slot slot4 = {
		.tag = 0xff,
		.sequence = 8,
		.key = { { { htonl(0x0a010002) }, { htonl(0x0a010003) } }, { htons(40000), htons(80) }, IPPROTO_TCP },
		.ct = ct,
	};
	struct wr_ct6_slot slot6 = {
		.tag = 1,
		.key = { .addr = { { { htonl(0xfd000000), 0, 0, htonl(2) } }, { { htonl(0xfd000000), 0, 0, htonl(3) } } },
			 .port = { htons(1), htons(2) }, .l4_proto = IPPROTO_UDP, .kind = WR_CT_REVERSE_NAT },
	};
	const struct wr_ct_windows windows = { { 1, 0, 1ull << 63 | 2 } };
	struct wr_ct_gc gc = { .time_ns = 5, .runs = 6, .removed = 7, .live = { 8, 9 } };

	assert_value("ct6", &ct, 1,
		     "{\"expires\": 100, \"flags\": [\"swapped\", \"replied\", \"0x100000\"], \"initiator\": 9,"
		     "\"responder\": 0, \"egress_peer\": \"world\", \"egress_revision\": 3, \"egress_rule\": 17,"
		     "\"ingress_peer\": \"0x0200000000000001\", \"ingress_revision\": 4, \"ingress_rule\": 1,"
		     "\"initiator_ack\": 5, \"responder_ack\": 6,"
		     "\"service_end\": null, \"service_port\": null, \"client_port\": null, \"service_list\": null, \"service_backend\": null}");
	assert_value("ct4", &entry, 1,
		     "{\"expires\": 7, \"flags\": [\"service\", \"hairpin\"], \"initiator\": 9, \"responder\": 0,"
		     "\"egress_peer\": null, \"egress_revision\": null, \"egress_rule\": null, \"ingress_peer\": null,"
		     "\"ingress_revision\": null, \"ingress_rule\": null, \"initiator_ack\": null,"
		     "\"responder_ack\": null, \"service_end\": \"10.1.0.7\","
		     "\"service_port\": 8080, \"client_port\": 61001, \"service_list\": 3, \"service_backend\": 5}");
	assert_value("ct_new4", &slot4, 1,
		     "{\"tag\": \"0x000000ff\", \"sequence\": 8, \"end_0\": \"10.1.0.2:40000\", \"end_1\": \"10.1.0.3:80\","
		     "\"protocol\": \"tcp\", \"kind\": \"flow\","
		     "\"expires\": 100, \"flags\": [\"swapped\", \"replied\", \"0x100000\"], \"initiator\": 9,"
		     "\"responder\": 0, \"egress_peer\": \"world\", \"egress_revision\": 3, \"egress_rule\": 17,"
		     "\"ingress_peer\": \"0x0200000000000001\", \"ingress_revision\": 4, \"ingress_rule\": 1,"
		     "\"initiator_ack\": 5, \"responder_ack\": 6,"
		     "\"service_end\": null, \"service_port\": null, \"client_port\": null, \"service_list\": null, \"service_backend\": null}");
	memcpy(&slot6.ct, &entry, sizeof(slot6.ct));
	assert_value("ct_new6", &slot6, 1,
		     "{\"tag\": \"0x00000001\", \"sequence\": 0, \"end_0\": \"[fd00::2]:1\", \"end_1\": \"[fd00::3]:2\","
		     "\"protocol\": \"udp\", \"kind\": \"reverse_nat\","
		     "\"expires\": 7, \"flags\": [\"service\", \"hairpin\"], \"initiator\": 9, \"responder\": 0,"
		     "\"egress_peer\": null, \"egress_revision\": null, \"egress_rule\": null, \"ingress_peer\": null,"
		     "\"ingress_revision\": null, \"ingress_rule\": null, \"initiator_ack\": null,"
		     "\"responder_ack\": null, \"service_end\": \"a01:7::\","
		     "\"service_port\": 8080, \"client_port\": 61001, \"service_list\": 3, \"service_backend\": 5}");
	assert_value("ct_windows", &windows, 1, "{\"slots_used\": 48}");
	assert_value("ct_totals", &(struct wr_ct_totals){ { 5, 6 }, { 1, -1 } }, 1, "{\"entries4\": 5, \"entries6\": 6}");
	assert_value("ct_usage", &(struct wr_ct_usage){ 5, 4, -1 }, 1, "{\"entries\": 5}");
	assert_value("ct_stats", counter, 2, "{\"flows\": 7}");
	assert_value("ct_gc", &gc, 1,
		     "{\"time_ns\": 5, \"runs\": 6, \"removed\": 7, \"live4\": 8, \"live6\": 9}");
}

static void values_of_services(void **state)
{
	const struct wr_service service = { .list = 3, .backends = 2, .affinity_seconds = 10800, .ranges = 6 };
	const struct wr_service tabled = { .list = 3, .backends = 2, .table = 4, .table_size = 1021 };
	const struct wr_backend4 backend4 = { .addr = { htonl(0x0a010007) }, .port = htons(8080), .l4_proto = 6 };
	const struct wr_backend6 backend6 = { .addr = { { htonl(0xfd000001), 0, 0, htonl(7) } }, .port = htons(8080), .l4_proto = 17, .flags = 2 };
	const struct wr_service_state newest = { .list = 3, .backend = 4, .key = { 5, 6 } };
	const uint32_t number = 5;

	assert_value("services4", &service, 1, "{\"list\": 3, \"backends\": 2, \"affinity_seconds\": 10800, \"flags\": \"0x00000000\", "
					       "\"table\": 0, \"table_size\": 0, \"ranges\": 6}");
	assert_value("external6", &tabled, 1, "{\"list\": 3, \"backends\": 2, \"affinity_seconds\": 0, \"flags\": \"0x00000000\", "
					      "\"table\": 4, \"table_size\": 1021, \"ranges\": 0}");
	assert_value("cluster_ips4", &(struct wr_cluster_ip){ 1 }, 1, "{\"flags\": \"0x00000001\"}");
	assert_value("host_ports6", &(struct wr_host_port){ .ifindex = 7, .port = htons(80), .flags = WR_HOST_PORT_OWN }, 1,
		     "{\"endpoint\": 7, \"port\": 80, \"flags\": \"0x00000001\"}");
	assert_value("source_ranges6", &number, 1, "{\"present\": 5}");
	assert_value("service_cidrs4", &number, 1, "{\"present\": 5}");
	assert_value("backends4", &backend4, 1, "{\"address\": \"10.1.0.7\", \"port\": 8080, \"protocol\": \"tcp\", \"flags\": \"0x00000000\"}");
	assert_value("backends6", &backend6, 1, "{\"address\": \"fd00:1::7\", \"port\": 8080, \"protocol\": \"udp\", \"flags\": \"0x00000002\"}");
	assert_value("service_lists", &number, 1, "{\"backend\": 5}");
	assert_value("service_members", &number, 1, "{\"index\": 5}");
	assert_value("service_state", &newest, 1, "{\"list\": 3, \"backend\": 4, \"key\": true}");
	assert_value("host_flows", &(struct wr_host_flows){ 258 }, 1, "{\"until\": 258}");
}

static void values_of_events(void **state)
{
	const struct wr_event_state listener = { .listens_until = 5 };
	const struct wr_event_rate rate = { .next_ns = 6, .suppressed = 7 };
	const struct wr_event_stats stats[2] = { { 1, 2 }, { 3, 4 } };

	assert_value("event_state", &listener, 1, "{\"listens_until\": 5}");
	assert_value("event_rate", &rate, 1, "{\"next_ns\": 6, \"suppressed\": 7}");
	assert_value("event_stats", stats, 2, "{\"suppressed\": 4, \"lost\": 6}");
}

static void values_of_the_denylist(void **state)
{
	const struct wr_deny_state list = { .prefixes = { 1, 2 }, .counter = 3 };
	const struct wr_deny_hits hits[3] = { { 1, 60, 9, 0 }, { 2, 120, 7, 0 }, { 0, 0, 0, 0 } };
	const struct wr_deny deny = { 3 };
	const struct wr_uplink uplink = { .flags = WR_UPLINK_DECAP, .magic = 0x1122334455667788ull };

	assert_value("deny_state", &list, 1, "{\"prefixes4\": 1, \"prefixes6\": 2, \"counter\": 3}");
	assert_value("deny6", &deny, 1, "{\"counter\": 3}");
	assert_value("deny_hits", hits, 3, "{\"packets\": 3, \"bytes\": 180, \"last_tick\": 9}");
	/* The secret is not shown. */
	assert_value("uplinks", &uplink, 1, "{\"flags\": [\"decap\"], \"magic\": true}");
}

static void values_of_policy(void **state)
{
	const struct wr_class_info info = {
		.flags = { [WR_EGRESS] = 0, [WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_CIDRS },
		.port_bits = { [WR_EGRESS] = 0, [WR_INGRESS] = 1 << 16 | 1 },
	};
	const struct wr_peer peer = { WR_PEER_CIDR | 5 };
	const struct wr_policy_state policy_state = { 1, 2, 3, 4, 5, 6 };
	struct wr_rule_text rule = { "shop/db ingress[0]" };
	const struct wr_trace trace = {
		.steps = WR_TRACE_ENDPOINT | WR_TRACE_EVALUATED_INGRESS,
		.reason = WR_REASON_INGRESS_DENIED,
		.ifindex = 9,
		.peer_ifindex = 10,
		.mark = 1,
		.ct = { .flags = WR_CT_VIA_STACK, .initiator = 9 },
		.verdict[WR_INGRESS] = { .policy_class = 17, .peer_class = WR_PEER_NONE, .l4_proto = IPPROTO_TCP },
	};

	assert_value("classes", &info, 1,
		     "{\"egress\": [], \"egress_port_bits\": [], \"ingress\": [\"isolated\", \"cidrs\"],"
		     "\"ingress_port_bits\": [\"0\", \"16\"]}");
	assert_value("identities", &peer, 1, "{\"peer\": \"0x8000000000000005\"}");
	assert_value("policy_state", &policy_state, 1,
		     "{\"revision\": 1, \"class\": 2, \"applied_ns\": 3, \"changes\": 4, \"classes_denied\": 5,"
		     "\"policies_invalid\": 6}");
	assert_value("rules", &rule, 1, "{\"text\": \"shop/db ingress[0]\"}");
	memset(&rule, 'x', sizeof(rule)); /* not ended */
	json_decref(described(map_codec_find("rules"), NULL, &rule, 1));
	assert_value("trace", &trace, 1,
		     "{\"steps\": [\"endpoint\", \"evaluated-ingress\"], \"reason\": \"ingress_denied\", \"ifindex\": 9,"
		     "\"peer_ifindex\": 10, \"peer_identity\": \"unknown\", \"redirect\": 0, \"mark\": \"0x00000001\","
		     "\"ct\": {\"expires\": 0, \"flags\": [\"via-stack\"], \"initiator\": 9, \"responder\": 0,"
		     "\"egress\": {\"peer\": \"unknown\", \"revision\": 0, \"rule\": 0},"
		     "\"ingress\": {\"peer\": \"unknown\", \"revision\": 0, \"rule\": 0},"
		     "\"initiator_ack\": 0, \"responder_ack\": 0},"
		     "\"egress\": {\"allowed\": false, \"rule\": 0, \"class\": 0, \"revision\": 0, \"peer_identity\": \"unknown\","
		     "\"peer_class\": \"any\", \"cidr_peer\": \"any\", \"matched\": \"any\", \"protocol\": 0, \"port_bits\": 0},"
		     "\"ingress\": {\"allowed\": false, \"rule\": 0, \"class\": 17, \"revision\": 0,"
		     "\"peer_identity\": \"unknown\", \"peer_class\": \"none\", \"cidr_peer\": \"any\", \"matched\": \"any\","
		     "\"protocol\": 6, \"port_bits\": 0}, \"backend\": null, \"backend_port\": null, \"client_port\": null, \"backends\": 0}");
}

/* Of either family; no field tells which. */
static void backend_of_a_trace(void **state)
{
	static const struct {
		const char *address;
		uint32_t steps;
		const char *shown; /* NULL: null */
	} rows[] = {
		{ "10.2.0.3", WR_TRACE_SERVICE, "10.2.0.3" },
		{ "fd00:2::3", WR_TRACE_SERVICE | WR_TRACE_CHOSEN, "fd00:2::3" },
		{ "10.96.0.1", WR_TRACE_REVERSE_NAT, "10.96.0.1" },
		{ "10.96.0.1", WR_TRACE_PARSED, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct wr_trace trace = { .steps = rows[i].steps };
		struct ip ip;
		json_t *json;

		assert_int_equal(ip_parse(rows[i].address, &ip), 0);
		memcpy(&trace.backend, ip.bytes, sizeof(ip.bytes));
		json = described(map_codec_find("trace"), NULL, &trace, 1);
		assert_string_equal(json_string_value(json_object_get(json, "backend")) ?: "null", rows[i].shown ?: "null");
		json_decref(json);
	}
}

static void hex(void **state)
{
	char text[HEX_STRLEN(3)];
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
		cmocka_unit_test(backend_of_a_trace),
		cmocka_unit_test(every_map_has_a_codec),
		cmocka_unit_test(keys_as_people_write_them),
		cmocka_unit_test(values_of_the_node),
		cmocka_unit_test(every_byte_is_shown),
		cmocka_unit_test(values_of_the_cluster),
		cmocka_unit_test(values_of_conntrack),
		cmocka_unit_test(values_of_events),
		cmocka_unit_test(values_of_services),
		cmocka_unit_test(values_of_the_denylist),
		cmocka_unit_test(values_of_policy),
		cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
