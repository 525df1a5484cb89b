/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attachment.h"
#include "cni.h"
#include "rig.h"

#define IPAM "\"ipam\":{\"ranges\":[[{\"subnet\":\"10.1.0.0/24\"}],[{\"subnet\":\"fd00::/64\"}]]}"
#define NET(more) "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"warren-cni\"," IPAM more "}"
#define LABELS(l) NET(",\"args\":{\"cni\":{\"labels\":" l "}}")
#define RANGES(r) "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{\"ranges\":" r "}}"
#define RANGE(r) RANGES("[[{" r "}]]")
#define IPAM_MORE(m) "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{\"ranges\":[[{\"subnet\":\"10.1.0.0/24\"}]]," m "}}"

static const struct {
	const char *conf;
	int code; /* 0: accepted */
	const char *error;
} rows[] = {
	{ NET(""), 0, NULL },
	{ NET(",\"cniVersions\":[\"1.0.0\",\"1.1.0\"],\"capabilities\":{\"ips\":true},\"unknown\":{\"x\":[1]}"), 0, NULL },
	{ NET(",\"mtu\":1400,\"policy\":\"agent\",\"ipMasq\":false,\"logLevel\":\"debug\",\"logFile\":\"/x\""), 0, NULL },
	{ NET(",\"mtu\":null,\"policy\":null,\"dns\":null,\"prevResult\":null,\"runtimeConfig\":null"), 0, NULL },
	/* decoding */
	{ "", CNI_ERR_DECODE, "line 1" },
	{ "{", CNI_ERR_DECODE, "line 1, column 1" },
	{ NET(",\"name\":\"other\""), CNI_ERR_DECODE, "duplicate object key" },
	{ NET(",\"x\":\"\\u0000\""), CNI_ERR_DECODE, "line 1" },
	/* version */
	{ "{\"name\":\"net\"," IPAM "}", CNI_ERR_VERSION, "cniVersion \"0.1.0\" is not supported" },
	{ "{\"cniVersion\":\"0.2.0\",\"name\":\"net\"," IPAM "}", CNI_ERR_VERSION, "0.2.0" },
	{ "{\"cniVersion\":\"2.0.0\",\"name\":\"net\"," IPAM "}", CNI_ERR_VERSION, "2.0.0" },
	{ "{\"cniVersion\":\"1.1\",\"name\":\"net\"," IPAM "}", CNI_ERR_VERSION, "1.1" },
	{ "{\"cniVersion\":1.1,\"name\":\"net\"," IPAM "}", CNI_ERR_CONFIG, "\"cniVersion\" must be a string" },
	/* names */
	{ "{\"cniVersion\":\"1.1.0\"," IPAM "}", CNI_ERR_CONFIG, "\"name\" is missing" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":7," IPAM "}", CNI_ERR_CONFIG, "\"name\" must be a string" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"../x\"," IPAM "}", CNI_ERR_CONFIG, "\"name\" (../x)" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"\"," IPAM "}", CNI_ERR_CONFIG, "\"name\" ()" },
	/* types and values */
	{ NET(",\"mtu\":\"1400\""), CNI_ERR_CONFIG, "\"mtu\" must be an integer" },
	{ NET(",\"mtu\":-1"), CNI_ERR_CONFIG, "\"mtu\" must be from 0" },
	{ NET(",\"mtu\":1279"), CNI_ERR_CONFIG, "1280 for IPv6" },
	{ NET(",\"mtu\":1280"), 0, NULL },
	{ IPAM_MORE("\"x\":1"), 0, NULL },
	{ NET(",\"policy\":\"deny\""), CNI_ERR_CONFIG, "\"policy\" must be" },
	{ NET(",\"policy\":7"), CNI_ERR_CONFIG, "\"policy\" must be a string" },
	{ NET(",\"policyTimeout\":0"), 0, NULL },
	{ NET(",\"policyTimeout\":60,\"policyFailure\":\"fail\""), 0, NULL },
	{ NET(",\"policyTimeout\":null,\"policyFailure\":null"), 0, NULL },
	{ NET(",\"policyTimeout\":61"), CNI_ERR_CONFIG, "\"policyTimeout\" must be from 0 to 60" },
	{ NET(",\"policyTimeout\":-1"), CNI_ERR_CONFIG, "\"policyTimeout\" must be from 0 to 60" },
	{ NET(",\"policyTimeout\":1.5"), CNI_ERR_CONFIG, "\"policyTimeout\" must be an integer" },
	{ NET(",\"policyTimeout\":\"5\""), CNI_ERR_CONFIG, "\"policyTimeout\" must be an integer" },
	{ NET(",\"policyFailure\":\"open\""), CNI_ERR_CONFIG, "\"policyFailure\" must be \"quarantine\" or \"fail\"" },
	{ NET(",\"policyFailure\":true"), CNI_ERR_CONFIG, "\"policyFailure\" must be a string" },
	{ NET(",\"policyFailure\":\"fail\",\"policyTimeout\":0"), CNI_ERR_CONFIG, "needs a \"policyTimeout\"" },
	{ NET(",\"ipMasq\":1"), CNI_ERR_CONFIG, "\"ipMasq\" must be true or false" },
	{ NET(",\"logLevel\":\"loud\""), CNI_ERR_CONFIG, "\"logLevel\" must be" },
	{ NET(",\"dns\":[]"), CNI_ERR_CONFIG, "\"dns\" must be an object" },
	{ NET(",\"prevResult\":[]"), CNI_ERR_CONFIG, "\"prevResult\" must be an object" },
	{ NET(",\"cni.dev/valid-attachments\":{}"), CNI_ERR_CONFIG, "valid-attachments\" must be an array" },
	/* requests */
	{ NET(",\"runtimeConfig\":{\"ips\":[\"10.1.0.9\",\"fd00::9/64\"],\"mac\":\"02:00:00:00:00:01\"}"), 0, NULL },
	{ NET(",\"runtimeConfig\":{\"ips\":[\"10.1.0.9\",\"10.1.0.10\"]}"), CNI_ERR_CONFIG, "two addresses of one family" },
	{ NET(",\"runtimeConfig\":{\"ips\":[9]}"), CNI_ERR_CONFIG, "\"ips\" must be addresses" },
	{ NET(",\"runtimeConfig\":{\"ips\":[\"x\"]}"), CNI_ERR_CONFIG, "runtimeConfig: \"ips\"" },
	{ NET(",\"runtimeConfig\":{\"mac\":\"ff:00:00:00:00:01\"}"), CNI_ERR_CONFIG, "unicast" },
	{ NET(",\"args\":{\"cni\":{\"mac\":3}}"), CNI_ERR_CONFIG, "args.cni: \"mac\" must be a string" },
	{ LABELS("[]"), 0, NULL },
	{ LABELS("null"), 0, NULL },
	{ LABELS("[{\"key\":\"app\",\"value\":\"\",\"more\":1}]"), 0, NULL },
	{ LABELS("{\"app\":\"web\"}"), CNI_ERR_CONFIG, "args.cni: \"labels\" must be an array" },
	{ LABELS("[\"app\"]"), CNI_ERR_CONFIG, "strings \"key\" and \"value\"" },
	{ LABELS("[{\"key\":\"app\"}]"), CNI_ERR_CONFIG, "strings \"key\" and \"value\"" },
	{ LABELS("[{\"key\":\"app\",\"value\":7}]"), CNI_ERR_CONFIG, "strings \"key\" and \"value\"" },
	{ LABELS("[{\"key\":7,\"value\":\"web\"}]"), CNI_ERR_CONFIG, "strings \"key\" and \"value\"" },
	{ LABELS("[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"a\",\"value\":\"1\"}]"), CNI_ERR_CONFIG, "\"a\" twice" },
	{ NET(",\"args\":7"), CNI_ERR_CONFIG, "\"args\" must be an object" },
	/* address management */
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"net\"}", CNI_ERR_CONFIG, "\"ipam\" is missing" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{}}", CNI_ERR_CONFIG, "\"ranges\" is missing" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{\"type\":\"host-local\"}}", 0, NULL },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{\"type\":\"../x\"}}", CNI_ERR_CONFIG, "name of a plugin" },
	{ "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"ipam\":{\"type\":\"\"}}", CNI_ERR_CONFIG, "name of a plugin" },
	{ RANGES("[]"), CNI_ERR_CONFIG, "missing or empty" },
	{ RANGES("[[]]"), CNI_ERR_CONFIG, "array of 1 to 256" },
	{ RANGES("[{}]"), CNI_ERR_CONFIG, "array of 1 to 256" },
	{ RANGES("[[7]]"), CNI_ERR_CONFIG, "a range must be an object" },
	{ RANGE(""), CNI_ERR_CONFIG, "no \"subnet\"" },
	{ RANGE("\"subnet\":\"10.1.0.0\""), CNI_ERR_CONFIG, "prefix length" },
	{ RANGE("\"subnet\":\"10.1.0.1/24\""), CNI_ERR_CONFIG, "host bits" },
	{ RANGE("\"subnet\":\"10.1.0.0/33\""), CNI_ERR_CONFIG, "prefix length" },
	{ RANGE("\"subnet\":\"10.1.0.0/24\",\"gateway\":\"10.2.0.1\""), CNI_ERR_CONFIG, "\"gateway\" (10.2.0.1) is not in" },
	{ RANGE("\"subnet\":\"10.1.0.0/24\",\"rangeStart\":\"fd00::1\""), CNI_ERR_CONFIG, "\"rangeStart\"" },
	{ RANGE("\"subnet\":\"10.1.0.0/24\",\"rangeEnd\":\"10.1.1.0\""), CNI_ERR_CONFIG, "\"rangeEnd\"" },
	{ RANGE("\"subnet\":\"10.1.0.0/24\",\"rangeStart\":\"10.1.0.9\",\"rangeEnd\":\"10.1.0.8\""), CNI_ERR_CONFIG, "empty" },
	{ RANGE("\"subnet\":\"10.1.0.0/24\",\"rangeStart\":\"10.1.0.1\",\"rangeEnd\":\"10.1.0.1\""), CNI_ERR_CONFIG, "gateway" },
	{ RANGES("[[{\"subnet\":\"10.1.0.0/24\"}],[{\"subnet\":\"10.2.0.0/24\"}]]"), CNI_ERR_CONFIG, "two sets" },
	{ RANGES("[[{\"subnet\":\"10.1.0.0/24\"},{\"subnet\":\"fd00::/64\"}]]"), CNI_ERR_CONFIG, "mixes" },
	{ RANGES("[[{\"subnet\":\"10.1.0.0/24\"},{\"subnet\":\"10.1.0.0/16\"}]]"), CNI_ERR_CONFIG, "overlap" },
	{ RANGES("[[{\"subnet\":\"10.1.0.0/24\"},{\"subnet\":\"10.1.1.0/24\"}]]"), 0, NULL },
	{ IPAM_MORE("\"exclude\":[\"10.1.0.8/29\",\"10.1.0.3\"],\"dataDir\":\"/x\",\"rest\":0"), 0, NULL },
	{ IPAM_MORE("\"exclude\":[\"all\"]"), CNI_ERR_CONFIG, "\"exclude\": all is neither" },
	{ IPAM_MORE("\"exclude\":[{}]"), CNI_ERR_CONFIG, "\"exclude\" must be" },
	{ IPAM_MORE("\"dataDir\":\"x\""), CNI_ERR_CONFIG, "absolute" },
	{ IPAM_MORE("\"rest\":-1"), CNI_ERR_CONFIG, "\"rest\" must be from 0" },
};

static void configurations_are_checked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		struct conf conf;
		int ret = conf_parse(rows[i].conf, strlen(rows[i].conf), &conf, &err);

		if (!rows[i].code != !ret || err.code != rows[i].code)
			fail_msg("%s: code %d, %s", rows[i].conf, err.code, err.msg);
		if (rows[i].error && !strstr(err.msg, rows[i].error))
			fail_msg("%s: message \"%s\" lacks \"%s\"", rows[i].conf, err.msg, rows[i].error);
		conf_free(&conf);
	}
}

static void members_are_read(void **state)
{
	static const char text[] = NET(",\"mtu\":1400,\"policy\":\"agent\",\"ipMasq\":false,\"logFile\":\"/x\",\"logLevel\":\"info\","
				       "\"runtimeConfig\":{\"ips\":[\"10.1.0.9/24\"]},"
				       "\"policyTimeout\":3,\"policyFailure\":\"fail\","
				       "\"args\":{\"cni\":{\"ips\":[\"10.1.0.8\",\"fd00::8\"],\"mac\":\"02:00:00:00:00:01\","
				       "\"labels\":[{\"key\":\"app\",\"value\":\"web\"},{\"key\":\"x/tier\",\"value\":\"\"}]}}");
	char ip[IP_STRLEN];
	struct conf conf;

	assert_int_equal(conf_parse(text, strlen(text), &conf, NULL), 0);
	assert_int_equal(conf.version, CNI_1_1_0);
	assert_string_equal(conf.name, "net");
	assert_int_equal(conf.mtu, 1400);
	assert_true(conf.agent);
	assert_false(conf.masquerade);
	assert_string_equal(conf.log_file, "/x");
	assert_int_equal(conf.log_level, LOG_INFO);
	assert_null(conf.ipam_type);
	/* The runtime's value has precedence over the configuration's, family by family. */
	assert_string_equal(ip_format(&conf.request.v4, ip), "10.1.0.9");
	assert_string_equal(ip_format(&conf.request.v6, ip), "fd00::8");
	assert_true(conf.has_mac);
	assert_int_equal(conf.policy_wait, 3);
	assert_true(conf.policy_needed);
	assert_string_equal(conf.labels, "{\"app\":\"web\",\"x/tier\":\"\"}");
	conf_free(&conf);
}

/* One label whose text as an object is as long as a record has room for, and one byte more. */
static void labels_have_a_limit(void **state)
{
	const int fits = sizeof(((struct attachment *)0)->labels) - 1 - strlen("{\"a\":\"\"}");

	for (int more = 0; more <= 1; more++) {
		struct err err = { 0 };
		struct conf conf;
		char text[6000];
		int ret;

		snprintf(text, sizeof(text), LABELS("[{\"key\":\"a\",\"value\":\"%0*d\"}]"), fits + more, 0);
		ret = conf_parse(text, strlen(text), &conf, &err);
		assert_int_equal(ret, more ? -EINVAL : 0);
		assert_int_equal(err.code, more ? CNI_ERR_CONFIG : 0);
		if (more)
			assert_non_null(strstr(err.msg, "\"labels\" are longer than 4095 bytes"));
		conf_free(&conf);
	}
}

static void defaults(void **state)
{
	struct conf conf;

	assert_int_equal(conf_parse(NET(""), strlen(NET("")), &conf, NULL), 0);
	assert_int_equal(conf.mtu, 0);
	assert_false(conf.agent);
	assert_int_equal(conf.policy_wait, 5);
	assert_false(conf.policy_needed);
	assert_null(conf.labels);
	assert_true(conf.masquerade);
	assert_int_equal(conf.log_level, LOG_WARN);
	assert_int_equal(conf.ipam.rest, 30);
	assert_null(conf.ipam.data_dir);
	conf_free(&conf);
}

/* The assignable part of a range, and its gateway. */
static const struct {
	const char *range, *first, *last, *gateway;
} bounds[] = {
	{ "\"subnet\":\"10.1.0.0/24\"", "10.1.0.1", "10.1.0.254", "10.1.0.1" },
	{ "\"subnet\":\"10.1.0.0/30\"", "10.1.0.1", "10.1.0.2", "10.1.0.1" },
	{ "\"subnet\":\"10.1.0.0/31\"", "10.1.0.0", "10.1.0.1", "10.1.0.0" },
	{ "\"subnet\":\"10.1.0.7/32\"", "10.1.0.7", "10.1.0.7", "none" },
	{ "\"subnet\":\"0.0.0.0/0\"", "0.0.0.1", "255.255.255.254", "0.0.0.1" },
	{ "\"subnet\":\"fd00::/64\"", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::1" },
	{ "\"subnet\":\"fd00::/126\"", "fd00::1", "fd00::3", "fd00::1" },
	{ "\"subnet\":\"fd00::/127\"", "fd00::", "fd00::1", "fd00::" },
	{ "\"subnet\":\"fd00::7/128\"", "fd00::7", "fd00::7", "none" },
	{ "\"subnet\":\"10.1.0.0/24\",\"rangeStart\":\"10.1.0.0\",\"rangeEnd\":\"10.1.0.255\"", "10.1.0.1", "10.1.0.254", "10.1.0.1" },
	{ "\"subnet\":\"10.1.0.0/24\",\"rangeStart\":\"10.1.0.9\",\"rangeEnd\":\"10.1.0.9\"", "10.1.0.9", "10.1.0.9", "10.1.0.1" },
	{ "\"subnet\":\"10.1.0.0/24\",\"gateway\":\"10.1.0.254\"", "10.1.0.1", "10.1.0.254", "10.1.0.254" },
};

static void ranges_have_bounds(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		char text[300], ip[IP_STRLEN];
		const struct ip_range *range;
		struct conf conf;

		snprintf(text, sizeof(text), RANGE("%s"), bounds[i].range);
		assert_int_equal(conf_parse(text, strlen(text), &conf, NULL), 0);
		range = conf.ipam.set4.count ? conf.ipam.set4.ranges : conf.ipam.set6.ranges;
		assert_string_equal(ip_format(&range->first, ip), bounds[i].first);
		assert_string_equal(ip_format(&range->last, ip), bounds[i].last);
		assert_string_equal(ip_format(&range->gateway, ip), bounds[i].gateway);
		conf_free(&conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations_are_checked),
		cmocka_unit_test(members_are_read),
		cmocka_unit_test(labels_have_a_limit),
		cmocka_unit_test(defaults),
		cmocka_unit_test(ranges_have_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
