/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "cni.h"
#include "rig.h"

#define POD "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=uid"

static const struct {
	const char *args, *error; /* error: part of the message; NULL: accepted */
} args_rows[] = {
	{ "", NULL },
	{ POD, NULL },
	{ "IgnoreUnknown=1;" POD ";K8S_POD_INFRA_CONTAINER_ID=abc;FOO=bar", NULL },
	{ POD ";FOO=bar;IgnoreUnknown=TRUE", NULL },
	{ "IgnoreUnknown=0;" POD, NULL },
	{ "IgnoreUnknown=1;FOO=", NULL },
	{ "IP=10.0.0.1;MAC=02:00:00:00:00:01", NULL },
	{ "IP=fd00::1", NULL },
	{ "K8S_POD_NAMESPACE=;K8S_POD_NAME=My_pod.1", NULL },
	{ "K8S_POD_NAME=a/b", "K8S_POD_NAME must be letters" },
	{ "K8S_POD_NAME=a b", "K8S_POD_NAME must be letters" },
	{ "K8S_POD_NAME=-a", "K8S_POD_NAME must be letters" },
	{ "K8S_POD_NAMESPACE=a\033[2J", "K8S_POD_NAMESPACE must be letters" },
	{ "K8S_POD_NAMESPACE=\xc3\xa9", "K8S_POD_NAMESPACE must be letters" },
	{ "K8S_POD_UID=../x", "K8S_POD_UID must be letters" },
	{ "FOO=bar", "key \"FOO\" is unknown" },
	{ "IgnoreUnknown=false;FOO=bar", "key \"FOO\" is unknown" },
	{ "IgnoreUnknown=maybe", "neither true nor false" },
	{ "IgnoreUnknown=1;FOO", "\"FOO\" is not KEY=value" },
	{ "IgnoreUnknown=1;FOO=a=b", "is not KEY=value" },
	{ "IgnoreUnknown=1;", "\"\" is not KEY=value" },
	{ ";", "is not KEY=value" },
	{ "IP=10.0.0.1/24", "is not an address" },
	{ "IP=", "is not an address" },
	{ "MAC=01:00:00:00:00:01", "unicast" },
	{ "MAC=0200.0000.0001", "unicast" },
};

static void args_are_checked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(args_rows); i++) {
		struct err err = { 0 };
		struct cni_args args;
		int ret = args_parse(args_rows[i].args, &args, &err);

		if (!args_rows[i].error != !ret)
			fail_msg("%s: %d, %s", args_rows[i].args, ret, err.msg);
		if (args_rows[i].error && !strstr(err.msg, args_rows[i].error))
			fail_msg("%s: message \"%s\" lacks \"%s\"", args_rows[i].args, err.msg, args_rows[i].error);
	}
}

static void args_are_read(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	struct cni_args args;
	struct ip ip;
	char text[400] = "K8S_POD_UID=";

	assert_int_equal(args_parse(POD ";IP=10.0.0.1;MAC=02:00:00:00:00:01", &args, NULL), 0);
	assert_string_equal(args.pod_namespace, "ns");
	assert_string_equal(args.pod_name, "pod");
	assert_string_equal(args.pod_uid, "uid");
	assert_int_equal(ip_parse("10.0.0.1", &ip), 0);
	assert_true(ip_equal(&args.ip, &ip));
	assert_true(args.has_mac);
	assert_memory_equal(args.mac, mac, 6);
	memset(text + strlen(text), 'x', sizeof(args.pod_uid));
	assert_true(args_parse(text, &args, NULL) < 0);
}

static const struct {
	const char *name;
	bool id, ifname;
} names[] = {
	{ "a", true, true },    { "c1.d-e_f", true, true }, { "", false, false },   { ".", false, false },
	{ "..", false, false }, { "-a", false, true },      { "_a", false, true },  { "a b", false, false },
	{ "a\tb", false, false }, { "a\nb", false, false }, { "a/b", false, false }, { "a:b", false, false },
	{ "a@b", false, true }, { "eth%d", false, false },  { "a\xc3\xa9", false, true },
	{ "exactly15bytes_", true, true }, { "sixteen_bytes_xx", true, false },
};

static void names_are_checked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (name_valid(names[i].name) != names[i].id || ifname_valid(names[i].name) != names[i].ifname)
			fail_msg("\"%s\"", names[i].name);
	}
}

/* One row: an environment and the result. */
static const struct {
	enum cni_command command;
	const char *id, *ifname, *netns, *args, *error;
} env_rows[] = {
	{ CNI_ADD, "c1", "eth0", "/n", NULL, NULL },
	{ CNI_ADD, NULL, "eth0", "/n", NULL, "CNI_CONTAINERID is not set" },
	{ CNI_ADD, "c/1", "eth0", "/n", NULL, "CNI_CONTAINERID \"c/1\"" },
	{ CNI_ADD, "c1", NULL, "/n", NULL, "CNI_IFNAME is not set" },
	{ CNI_ADD, "c1", "..", "/n", NULL, "CNI_IFNAME \"..\"" },
	{ CNI_ADD, "c1", "eth0", NULL, NULL, "CNI_NETNS is not set" },
	{ CNI_ADD, "c1", "eth0", "", NULL, "CNI_NETNS is not set" },
	{ CNI_ADD, "c1", "eth0", "/n", "X=1", "unknown" },
	{ CNI_CHECK, "c1", "eth0", NULL, NULL, "CNI_NETNS is not set" },
	{ CNI_DEL, "c1", "eth0", NULL, NULL, NULL },
	{ CNI_DEL, "c1", "eth0", NULL, "X=1", NULL },
	{ CNI_DEL, NULL, "eth0", "/n", NULL, "CNI_CONTAINERID is not set" },
	{ CNI_DEL, "c1", NULL, "/n", NULL, "CNI_IFNAME is not set" },
	{ CNI_GC, NULL, NULL, NULL, "X=1", NULL },
	{ CNI_STATUS, NULL, NULL, NULL, NULL, NULL },
	{ CNI_VERSION, NULL, NULL, NULL, NULL, NULL },
};

static void set(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

static void environment_is_checked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(env_rows); i++) {
		struct err err = { 0 };
		struct cni_env env;
		int ret;

		set("CNI_CONTAINERID", env_rows[i].id);
		set("CNI_IFNAME", env_rows[i].ifname);
		set("CNI_NETNS", env_rows[i].netns);
		set("CNI_ARGS", env_rows[i].args);
		set("CNI_PATH", NULL);
		ret = env_read(env_rows[i].command, &env, &err);
		if (!env_rows[i].error != !ret)
			fail_msg("row %zu: %d, %s", i, ret, err.msg);
		if (!ret)
			continue;
		assert_int_equal(err.code, CNI_ERR_ENVIRONMENT);
		if (!strstr(err.msg, env_rows[i].error))
			fail_msg("row %zu: message \"%s\" lacks \"%s\"", i, err.msg, env_rows[i].error);
	}
}

static void commands_are_known(void **state)
{
	enum cni_command command;

	for (int i = 0; i < CNI_COMMANDS; i++) {
		assert_int_equal(env_command(env_command_name(i), &command, NULL), 0);
		assert_int_equal(command, i);
	}
	assert_true(env_command("add", &command, NULL) < 0);
	assert_true(env_command("", &command, NULL) < 0);
	assert_true(env_command(NULL, &command, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(args_are_checked),       cmocka_unit_test(args_are_read),
		cmocka_unit_test(names_are_checked),      cmocka_unit_test(environment_is_checked),
		cmocka_unit_test(commands_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
