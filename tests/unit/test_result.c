/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "result.h"
#include "rig.h"

/* JSON with single quotes for double ones. */
static json_t *parse(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	struct err err = { 0 };
	json_t *json;

	for (char *c = copy; *c; c++) {
		if (*c == '\'')
			*c = '"';
	}
	json = json_parse_object(copy, strlen(copy), "test", &err);
	if (!json)
		fail_msg("%s: %s", text, err.msg);
	return json;
}

static void same(const json_t *got, const char *expected)
{
	json_auto_t *json = parse(expected);
	_cleanup_free_ char *text = json_dumps(got, JSON_COMPACT);

	if (!json_equal(got, json))
		fail_msg("%s instead of %s", text, expected);
}

/* Read in any version's shape. */
static const struct {
	const char *in, *out, *error;
} reads[] = {
	{ "{}", "{'interfaces':[],'ips':[],'routes':[],'dns':{}}", NULL },
	{ "{'cniVersion':'0.2.0','ip4':{'ip':'10.0.0.2/24','gateway':'10.0.0.1','routes':[{'dst':'0.0.0.0/0'}]},"
	  "'ip6':{'ip':'fd00::2/64'},'dns':{'nameservers':['1.1.1.1']}}",
	  "{'interfaces':[],'ips':[{'address':'10.0.0.2/24','gateway':'10.0.0.1'},{'address':'fd00::2/64'}],"
	  "'routes':[{'dst':'0.0.0.0/0'}],'dns':{'nameservers':['1.1.1.1']}}", NULL },
	{ "{'cniVersion':'0.4.0','interfaces':[{'name':'eth0','sandbox':'/n'}],"
	  "'ips':[{'version':'4','interface':0,'address':'10.0.0.2/24'}]}",
	  "{'interfaces':[{'name':'eth0','sandbox':'/n'}],'ips':[{'interface':0,'address':'10.0.0.2/24'}],'routes':[],'dns':{}}",
	  NULL },
	{ "{'interfaces':[{'name':'e','mtu':9000,'socketPath':'/s','pciID':'1'}],"
	  "'routes':[{'dst':'10.0.0.0/8','gw':'10.0.0.1','mtu':1400,'advmss':1300,'priority':5,'table':7,'scope':253}]}",
	  "{'interfaces':[{'name':'e','mtu':9000,'socketPath':'/s','pciID':'1'}],'ips':[],"
	  "'routes':[{'dst':'10.0.0.0/8','gw':'10.0.0.1','mtu':1400,'advmss':1300,'priority':5,'table':7,'scope':253}],'dns':{}}",
	  NULL },
	{ "{'ips':null,'dns':null,'routes':[{'dst':'::/0','gw':''}],'other':1}",
	  "{'interfaces':[],'ips':[],'routes':[{'dst':'::/0'}],'dns':{}}", NULL },
	{ "{'interfaces':{}}", NULL, "\"interfaces\" must be an array" },
	{ "{'interfaces':[7]}", NULL, "\"interfaces\" must hold objects" },
	{ "{'interfaces':[{}]}", NULL, "\"name\" is missing" },
	{ "{'interfaces':[{'name':7}]}", NULL, "\"name\" has the wrong type" },
	{ "{'ips':[{'address':'10.0.0.2'}]}", NULL, "\"address\" has the wrong type" },
	{ "{'ips':[{}]}", NULL, "\"address\" is missing" },
	{ "{'ips':[{'address':'10.0.0.2/24','gateway':'x'}]}", NULL, "\"gateway\" has the wrong type" },
	{ "{'ips':[{'address':'10.0.0.2/24','interface':0}]}", NULL, "\"interface\" 0 is not an index" },
	{ "{'interfaces':[{'name':'e'}],'ips':[{'address':'10.0.0.2/24','interface':-1}]}", NULL, "-1 is not an index" },
	{ "{'routes':[{'gw':'10.0.0.1'}]}", NULL, "\"dst\" is missing" },
	{ "{'dns':{'nameservers':'1.1.1.1'}}", NULL, "\"nameservers\" has the wrong type" },
	{ "{'ip4':{}}", NULL, "\"address\" is missing" },
	{ "{'ip4':[]}", NULL, "\"ip4\" must be an object" },
};

static void results_are_read(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		json_auto_t *in = parse(reads[i].in), *out;
		struct err err = { 0 };

		out = result_parse(in, "it", &err);
		if (!reads[i].error != !!out)
			fail_msg("%s: %s", reads[i].in, out ? "accepted" : err.msg);
		if (out)
			same(out, reads[i].out);
		else if (!strstr(err.msg, reads[i].error) || strncmp(err.msg, "it: ", 4) != 0)
			fail_msg("%s: message \"%s\" lacks \"%s\"", reads[i].in, err.msg, reads[i].error);
	}
}

static struct lease lease(const char *ip)
{
	struct lease lease = { .gateway.family = 0 };

	assert_int_equal(ip_parse(ip, &lease.ip), 0);
	return lease;
}

static void built_alone_and_chained(void **state)
{
	static const uint8_t host_mac[6] = { 2, 0, 0, 0, 0, 1 }, mac[6] = { 2, 0, 0, 0, 0, 2 };
	struct leases leases = { lease("10.1.0.2"), lease("fd00::2") };
	struct result_pod pod = { "wr1", "eth0", "/n", host_mac, mac, 1400, &leases };
	json_auto_t *dns = parse("{'domain':'d','junk':1}");
	json_auto_t *prev = parse("{'interfaces':[{'name':'x'}],'ips':[{'interface':0,'address':'9.9.9.9/24'}],"
				  "'routes':[{'dst':'9.0.0.0/8'}],'dns':{'search':['s']}}");
	json_auto_t *alone = result_build(NULL, &pod, dns), *chained = result_build(prev, &pod, NULL), *v4 = NULL;

	same(alone, "{'interfaces':[{'name':'wr1','mac':'02:00:00:00:00:01','mtu':1400},"
		    "{'name':'eth0','mac':'02:00:00:00:00:02','mtu':1400,'sandbox':'/n'}],"
		    "'ips':[{'interface':1,'address':'10.1.0.2/32','gateway':'169.254.1.1'},"
		    "{'interface':1,'address':'fd00::2/128','gateway':'fe80::1'}],"
		    "'routes':[{'dst':'0.0.0.0/0','gw':'169.254.1.1'},{'dst':'::/0','gw':'fe80::1'}],'dns':{'domain':'d'}}");
	same(chained, "{'interfaces':[{'name':'x'},{'name':'wr1','mac':'02:00:00:00:00:01','mtu':1400},"
		      "{'name':'eth0','mac':'02:00:00:00:00:02','mtu':1400,'sandbox':'/n'}],"
		      "'ips':[{'interface':0,'address':'9.9.9.9/24'},"
		      "{'interface':2,'address':'10.1.0.2/32','gateway':'169.254.1.1'},"
		      "{'interface':2,'address':'fd00::2/128','gateway':'fe80::1'}],"
		      "'routes':[{'dst':'9.0.0.0/8'},{'dst':'0.0.0.0/0','gw':'169.254.1.1'},{'dst':'::/0','gw':'fe80::1'}],"
		      "'dns':{'search':['s']}}");
	leases.v6.ip.family = 0;
	v4 = result_build(NULL, &pod, NULL);
	assert_int_equal(json_array_size(json_object_get(v4, "ips")), 1);
	assert_int_equal(json_array_size(json_object_get(v4, "routes")), 1);
}

#define ALL                                                                                                            \
	"{'interfaces':[{'name':'e','mac':'m','mtu':9,'sandbox':'/n','socketPath':'/s','pciID':'p'}],"                     \
	"'ips':[{'interface':0,'address':'10.0.0.2/32','gateway':'10.0.0.1'},{'address':'fd00::2/128'}],"                  \
	"'routes':[{'dst':'0.0.0.0/0','gw':'10.0.0.1','mtu':1,'advmss':2,'priority':3,'table':4,'scope':5}],"              \
	"'dns':{'nameservers':['n'],'domain':'d','search':['s'],'options':['o']}}"
#define DNS "'dns':{'nameservers':['n'],'domain':'d','search':['s'],'options':['o']}}"
#define OLD_ARRAYS(v4, v6)                                                                                             \
	"'interfaces':[{'name':'e','mac':'m','sandbox':'/n'}],"                                                            \
	"'ips':[{" v4 "'interface':0,'address':'10.0.0.2/32','gateway':'10.0.0.1'},{" v6 "'address':'fd00::2/128'}],"      \
	"'routes':[{'dst':'0.0.0.0/0','gw':'10.0.0.1'}]," DNS

static const char *const shapes[CNI_VERSIONS] = {
	[CNI_0_3_0] = "{'cniVersion':'0.3.0'," OLD_ARRAYS("'version':'4',", "'version':'6',"),
	[CNI_0_3_1] = "{'cniVersion':'0.3.1'," OLD_ARRAYS("'version':'4',", "'version':'6',"),
	[CNI_0_4_0] = "{'cniVersion':'0.4.0'," OLD_ARRAYS("'version':'4',", "'version':'6',"),
	[CNI_1_0_0] = "{'cniVersion':'1.0.0'," OLD_ARRAYS("", ""),
	[CNI_1_1_0] = "{'cniVersion':'1.1.0',"
		      "'interfaces':[{'name':'e','mac':'m','mtu':9,'sandbox':'/n','socketPath':'/s','pciID':'p'}],"
		      "'ips':[{'interface':0,'address':'10.0.0.2/32','gateway':'10.0.0.1'},{'address':'fd00::2/128'}],"
		      "'routes':[{'dst':'0.0.0.0/0','gw':'10.0.0.1','mtu':1,'advmss':2,'priority':3,'table':4,'scope':5}]," DNS,
};

static void converted_to_every_version(void **state)
{
	json_auto_t *all = parse(ALL);

	for (int v = 0; v < CNI_VERSIONS; v++) {
		json_auto_t *out = result_convert(all, v), *back;

		same(out, shapes[v]);
		back = result_parse(out, "back", NULL);
		assert_non_null(back);
		if (v == CNI_1_1_0)
			assert_true(json_equal(back, all));
	}
}

static void found_by_name_and_sandbox(void **state)
{
	json_auto_t *r = parse("{'interfaces':[{'name':'a'},{'name':'a','sandbox':'/n'},{'name':'b','sandbox':''}],"
			       "'ips':[{'interface':1,'address':'10.0.0.2/32'},{'interface':0,'address':'10.0.0.9/32'},"
			       "{'interface':1,'address':'fd00::2/128'}]}");
	struct ip ip4, ip6, none = { 0 };

	ip_parse("10.0.0.2", &ip4);
	ip_parse("fd00::2", &ip6);
	assert_int_equal(result_find_interface(r, "a", NULL), 0);
	assert_int_equal(result_find_interface(r, "a", "/n"), 1);
	assert_int_equal(result_find_interface(r, "b", NULL), 2);
	assert_true(result_find_interface(r, "b", "/n") < 0);
	assert_true(result_find_interface(r, "c", NULL) < 0);
	assert_true(result_has_addresses(r, 1, &ip4, &ip6));
	assert_false(result_has_addresses(r, 1, &ip4, &none));
	assert_false(result_has_addresses(r, 0, &ip4, &none));
	assert_true(result_has_addresses(r, 2, &none, &none));
	ip4 = ip_add(ip4, 1);
	assert_false(result_has_addresses(r, 1, &ip4, &ip6));
}

static const struct {
	const char *result, *v4, *v6, *error;
} leased[] = {
	{ "{'ips':[{'address':'10.0.0.2/24','gateway':'10.0.0.1'}]}", "10.0.0.2/24", NULL, NULL },
	{ "{'ips':[{'address':'fd00::2/64'},{'address':'10.0.0.2/24'}]}", "10.0.0.2/24", "fd00::2/64", NULL },
	{ "{'ips':[]}", NULL, NULL, "no address" },
	{ "{'ips':[{'address':'10.0.0.2/24'},{'address':'10.0.0.3/24'}]}", NULL, NULL, "two addresses" },
	{ "{'ips':[{'address':'10.0.0.2/24','gateway':'fd00::1'}]}", NULL, NULL, "does not fit" },
};

static void leases_are_taken_out(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(leased); i++) {
		json_auto_t *json = parse(leased[i].result);
		struct leases leases;
		struct err err = { 0 };
		char text[PREFIX_STRLEN];
		int ret = result_leases(json, &leases, &err);

		assert_int_equal(!ret, !leased[i].error);
		if (leased[i].error && !strstr(err.msg, leased[i].error))
			fail_msg("%s: %s", leased[i].result, err.msg);
		if (leased[i].v4)
			assert_string_equal(prefix_format(&leases.v4.subnet, text), leased[i].v4);
		if (leased[i].v6)
			assert_string_equal(prefix_format(&leases.v6.subnet, text), leased[i].v6);
		if (!ret)
			assert_int_equal(!leases.v6.ip.family, !leased[i].v6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_are_read),           cmocka_unit_test(built_alone_and_chained),
		cmocka_unit_test(converted_to_every_version), cmocka_unit_test(found_by_name_and_sandbox),
		cmocka_unit_test(leases_are_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
