/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's options, its manual, and the key of the cluster. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "key.h"
#include "options.h"
#include "private_run.h"
#include "rig.h"
#include "object_names.h"

static int setup(void **state)
{
	return private_run("size=4m");
}

static int fresh(void **state)
{
	return private_run_again("size=4m");
}

/* --- options --- */

static void options(void **state)
{
	static const struct {
		const char *argv[6];
		const char *error; /* NULL: accepted */
	} rows[] = {
		{ { "--manifests", "/d" }, NULL },
		{ { "--manifests=/d", "--metrics", "off", "--log-level", "debug" }, NULL },
		{ { "--help" }, NULL },
		{ { "--version" }, NULL },
		{ { NULL }, "no source of objects: --manifests DIR, --kubernetes or --kubeconfig FILE" },
		{ { "--kubernetes" }, NULL },
		{ { "--kubeconfig", "/k", "--api-server", "https://10.0.0.1:6443" }, NULL },
		{ { "--kubernetes", "--manifests", "/d" },
		  "more than one source of objects: --manifests DIR, --kubernetes or --kubeconfig FILE" },
		{ { "--kubernetes", "--kubeconfig", "/k" },
		  "more than one source of objects: --manifests DIR, --kubernetes or --kubeconfig FILE" },
		{ { "--kubernetes", "--api-server", "http://10.0.0.1" },
		  "--api-server http://10.0.0.1: must be https://HOST[:PORT]" },
		{ { "--kubernetes", "--key-secret", "warren/key", "--conflist", "off" }, NULL },
		{ { "--kubernetes", "--key-secret", "key" }, "--key-secret key: must be NAMESPACE/NAME" },
		{ { "--kubernetes", "--key-secret", "a/b/c" }, "--key-secret a/b/c: must be NAMESPACE/NAME" },
		{ { "--kubernetes", "--key-secret", "a.b/c" }, "--key-secret a.b/c: must be NAMESPACE/NAME" },
		{ { "--kubernetes", "--conflist", "x.conflist" },
		  "--conflist x.conflist: must be a path that begins with '/', or off" },
		{ { "--manifests", "/d", "--conflist", "/x" }, "--conflist: only with --kubernetes or --kubeconfig" },
		{ { "--manifests", "/d", "--startup-taint", "a/b" },
		  "--startup-taint: only with --kubernetes or --kubeconfig" },
		{ { "--manifests" }, "--manifests: needs a value" },
		{ { "--nonsense" }, "--nonsense: no such option" },
		{ { "--manifests", "/d", "more" }, "more: not an option" },
		{ { "--manifests", "/d", "--log-level", "loud" }, "--log-level loud: not error, warn, info or debug" },
		{ { "--manifests", "/d", "--max-policy-entries", "0" }, "--max-policy-entries 0: not a number from 1" },
		{ { "--manifests", "/d", "--max-policy-entries", "-1" },
		  "--max-policy-entries -1: not a number from 1" },
		{ { "--manifests", "/d", "--node-name", "n-1.example" }, NULL },
		{ { "--manifests", "/d", "--node-name", "N_1" }, "--node-name N_1: " NAME_DNS_SUBDOMAIN },
		{ { "--manifests", "/d", "--routing-mode", "auto" }, NULL },
		{ { "--manifests", "/d", "--routing-mode", "bgp" }, "--routing-mode bgp: not tunnel, direct or auto" },
		{ { "--manifests", "/d", "--underlay", "ipv6" }, NULL },
		{ { "--manifests", "/d", "--xdp", "generic" }, NULL },
		{ { "--manifests", "/d", "--xdp", "skb" }, "--xdp skb: not auto, native, generic or off" },
		{ { "--manifests", "/d", "--tunnel-source-ports", "any" }, NULL },
		{ { "--manifests", "/d", "--tunnel-source-ports", "1" }, "--tunnel-source-ports 1: not own or any" },
		{ { "--manifests", "/d", "--underlay", "4" }, "--underlay 4: not auto, ipv4 or ipv6" },
		{ { "--manifests", "/d", "--external-ips", "on" }, NULL },
		{ { "--manifests", "/d", "--node-ports", "off", "--external-ips=off" }, NULL },
		{ { "--manifests", "/d", "--node-ports", "off", "--external-ips=on" },
		  "--external-ips on: needs --node-ports on" },
		{ { "--manifests", "/d", "--nodeport-addresses", "primary" }, NULL },
		{ { "--manifests", "/d", "--nodeport-addresses=$(NODEPORT_ADDRESSES)", "--log-level=$(LOG_LEVEL)" }, NULL },
		{ { "--manifests", "/d", "--log-level=$(LOG_LEVEL" }, "--log-level $(LOG_LEVEL: not error, warn, info or debug" },
		{ { "--manifests", "/d", "--log-level=$(A)$(B)" }, "--log-level $(A)$(B): not error, warn, info or debug" },
		{ { "--manifests", "/d", "--tunnel-key=$(TUNNEL_KEY)" },
		  "--tunnel-key $(TUNNEL_KEY): the variable is not defined; add it to the DaemonSet's ConfigMap" },
		{ { "--manifests", "/d", "--nodeport-addresses", "192.0.2.7/24,2001:db8::/64" }, NULL },
		{ { "--manifests", "/d", "--nodeport-addresses", "" }, "--nodeport-addresses : not primary, nor CIDRs with commas between" },
		{ { "--manifests", "/d", "--nodeport-addresses", "192.0.2.0/24," },
		  "--nodeport-addresses 192.0.2.0/24,: not primary, nor CIDRs with commas between" },
		{ { "--manifests", "/d", "--nodeport-addresses", "primary,::/0" },
		  "--nodeport-addresses primary,::/0: not primary, nor CIDRs with commas between" },
		{ { "--manifests", "/d", "--nodeport-addresses", "::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0,::/0" },
		  "--nodeport-addresses: more than 16 CIDRs" },
		{ { "--manifests", "/d", "--service-healthz", "[::]:10256" }, NULL },
		{ { "--manifests", "/d", "--node-ports", "yes" }, "--node-ports yes: not on or off" },
		{ { "install", "--cni-bin-dir", "/b", "--from", "/f" }, NULL },
		{ { "uninstall", "--wait", "--log-level=debug" }, NULL },
		{ { "prepare" }, NULL },
		{ { "prepare", "--help" }, NULL },
		{ { "prepare", "--manifests", "/d" }, "--manifests: no such option" },
		{ { "install", "more" }, "more: not an option" },
		{ { "remove" }, "remove: no such command" },
		{ { "--cni-bin-dir", "/b" }, "--cni-bin-dir: no such option" },
		{ { "--manifests", "/d", "--ct-entries", "auto" } },
		{ { "--manifests", "/d", "--ct-entries", "1024" } },
		{ { "--manifests", "/d", "--ct-entries", "1023" },
		  "--ct-entries 1023: not auto, nor a number from 1024 to 16777216" },
		{ { "--manifests", "/d", "--ct-entries", "16777217" },
		  "--ct-entries 16777217: not auto, nor a number from 1024 to 16777216" },
		{ { "--manifests", "/d", "--ct-entries", "" }, "--ct-entries : not auto, nor a number from 1024 to 16777216" },
		{ { "--manifests", "/d", "--max-policy-entries", "9x" },
		  "--max-policy-entries 9x: not a number from 1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *argv[8] = { "warren-agent" };
		struct options o;
		struct err err = { 0 };
		int argc = 1, ret;

		for (; argc < 6 && rows[i].argv[argc - 1]; argc++)
			argv[argc] = (char *)rows[i].argv[argc - 1];
		ret = options_parse(argc, argv, &o, &err);
		assert_int_equal(ret, rows[i].error ? -EINVAL : 0);
		if (rows[i].error)
			assert_string_equal(err.msg, rows[i].error);
	}
}

static void options_values(void **state)
{
	char *argv[] = { "warren-agent", "--manifests", "/d", "--cluster-key", "/k", "--max-policy-entries",
			 "77",		 "--log-file",	"/l" };
	struct options o;

	assert_int_equal(options_parse(3, argv, &o, NULL), 0);
	assert_string_equal(o.health, HEALTH_ADDRESS);
	assert_string_equal(o.metrics, METRICS_ADDRESS);
	assert_null(o.key_file);
	assert_int_equal(o.log_level, LOG_INFO);
	assert_int_equal(o.services.node_ports, 1);
	assert_int_equal(o.services.external_ips, 0);
	assert_int_equal(options_parse(9, argv, &o, NULL), 0);
	assert_string_equal(o.manifests, "/d");
	assert_string_equal(o.key_file, "/k");
	assert_string_equal(o.log_file, "/l");
	assert_int_equal(o.max_policy_entries, 77);
	assert_int_equal(o.ct_entries, 0);
	argv[5] = "--ct-entries";
	argv[6] = "2048";
	assert_int_equal(options_parse(9, argv, &o, NULL), 0);
	assert_int_equal(o.ct_entries, 2048);
	argv[6] = "auto";
	assert_int_equal(options_parse(9, argv, &o, NULL), 0);
	assert_int_equal(o.ct_entries, 0);
	assert_int_equal(o.undefined_count, 0);
	argv[6] = "$(CT_ENTRIES)";
	assert_int_equal(options_parse(9, argv, &o, NULL), 0);
	assert_int_equal(o.ct_entries, 0);
	assert_int_equal(o.undefined_count, 1);
	assert_string_equal(o.undefined[0], "$(CT_ENTRIES)");
}

static void options_of_the_cluster(void **state)
{
	char *argv[] = { "warren-agent", "--manifests", "/d", "--node-name", "n1", "--routing-mode", "direct",
			 "--underlay",	 "ipv6",	"--xdp", "off" };
	struct options o;

	assert_int_equal(options_parse(3, argv, &o, NULL), 0);
	assert_ptr_equal(o.cluster.node_name, o.host_name);
	assert_true(*o.host_name);
	assert_int_equal(o.cluster.mode, ROUTING_TUNNEL);
	assert_int_equal(o.cluster.underlay, 0);
	assert_false(o.cluster.any_sport);
	assert_int_equal(o.cluster.xdp, DP_XDP_AUTO);
	assert_int_equal(options_parse(11, argv, &o, NULL), 0);
	assert_string_equal(o.cluster.node_name, "n1");
	assert_int_equal(o.cluster.mode, ROUTING_DIRECT);
	assert_int_equal(o.cluster.underlay, AF_INET6);
	assert_int_equal(o.cluster.xdp, DP_XDP_OFF);
}

static void options_of_commands(void **state)
{
	char *install[] = { "warren-agent", "install", "--cni-bin-dir", "/b", "--from=/f", NULL };
	char *uninstall[] = { "warren-agent", "uninstall", "--wait", "--conflist", "/c", NULL };
	struct options o;

	assert_int_equal(options_parse(5, install, &o, NULL), 0);
	assert_int_equal(o.command, COMMAND_INSTALL);
	assert_string_equal(o.cni_bin_dir, "/b");
	assert_string_equal(o.from, "/f");
	assert_int_equal(options_parse(5, uninstall, &o, NULL), 0);
	assert_int_equal(o.command, COMMAND_UNINSTALL);
	assert_null(o.cni_bin_dir);
	assert_string_equal(o.conflist, "/c");
	assert_true(o.wait);
}

static void options_in_a_pod(void **state)
{
	char *argv[] = { "warren-agent", "--kubernetes", "--conflist", "off", "--startup-taint", "off", "--node-name", "n2" };
	struct err err;
	struct options o;

	setenv("NODE_NAME", "n1", 1);
	assert_int_equal(options_parse(2, argv, &o, NULL), 0);
	assert_true(options_in_kubernetes(&o));
	assert_string_equal(o.cluster.node_name, "n1");
	assert_string_equal(o.conflist, CONFLIST_PATH);
	assert_string_equal(o.startup_taint, STARTUP_TAINT);
	assert_null(o.key_file);
	assert_int_equal(options_parse(8, argv, &o, NULL), 0);
	assert_string_equal(o.cluster.node_name, "n2");
	assert_null(o.conflist);
	assert_null(o.startup_taint);
	setenv("NODE_NAME", "N_1", 1);
	assert_int_equal(options_parse(2, argv, &o, &err), -EINVAL);
	assert_string_equal(err.msg, "NODE_NAME=N_1: " NAME_DNS_SUBDOMAIN);
	unsetenv("NODE_NAME");
}

static char *manual(void)
{
	struct err err = { 0 };
	char *text;
	size_t size;

	if (file_read("user/man/warren-agent.8", 1 << 20, &text, &size, &err) < 0)
		fail_msg("%s (run from the top directory)", err.msg);
	return text;
}

/* The options of --help are those that the manual defines. */
static void the_manual_agrees(void **state)
{
	_cleanup_free_ char *text = manual(), *help = NULL;
	size_t size;
	FILE *f = open_memstream(&help, &size);
	int count = 0;

	options_help(f);
	fclose(f);
	for (const char *p = help; (p = strstr(p, "\n  --")); p++, count++) {
		char name[32], value[32] = "", expected[80];

		sscanf(p, "\n  --%31[a-z-]%*1[ ]%31[A-Z]", name, value);
		for (char *c = value; *c; c++)
			*c |= 0x20;
		snprintf(expected, sizeof(expected), "\n.It Fl -%s%s%s\n", name, *value ? " Ar " : "", value);
		if (!strstr(text, expected))
			fail_msg("the manual does not say '%s'", expected);
	}
	assert_true(count > 0);
	for (const char *p = text; (p = strstr(p, "\n.It Fl -")); p++)
		count--;
	assert_int_equal(count, 0);
}

/* --- the cluster key --- */

static void key_forms(void **state)
{
	static const uint8_t expected[POLICY_KEY_SIZE] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
							 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	static const struct {
		const char *text;
		size_t size;
		int ret;
	} rows[] = {
		{ (const char *)expected, 16, 0 },
		{ "00112233445566778899aabbccddeeff", 32, 0 },
		{ "00112233445566778899AABBCCDDEEFF\n", 33, 0 },
		{ "", 0, -EINVAL },
		{ "0011223344556677", 15, -EINVAL },
		{ "00112233445566778899aabbccddeef", 31, -EINVAL },
		{ "00112233445566778899aabbccddeefg", 32, -EINVAL },
		{ "00112233445566778899aabbccddeeff ", 33, -EINVAL },
		{ "00112233445566778899aabbccddeeff\n\n", 34, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t key[POLICY_KEY_SIZE];

		assert_int_equal(cluster_key_parse(rows[i].text, rows[i].size, key), rows[i].ret);
		if (rows[i].ret == 0)
			assert_memory_equal(key, expected, sizeof(key));
	}
}

static void key_is_made_once(void **state)
{
	uint8_t first[POLICY_KEY_SIZE], second[POLICY_KEY_SIZE];
	struct stat st;
	struct err err;

	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, false, first, &err), -ENOENT);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, first, &err), 0);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, second, &err), 0);
	assert_memory_equal(first, second, sizeof(first));
	assert_int_equal(stat(WARREN_CLUSTER_KEY, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, POLICY_KEY_SIZE);
	assert_int_equal(file_write(WARREN_CLUSTER_KEY, "short", 5, &err), 0);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, second, &err), -EINVAL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(options_values),
		cmocka_unit_test(options_of_the_cluster),
		cmocka_unit_test(options_of_commands),
		cmocka_unit_test(options_in_a_pod),
		cmocka_unit_test(the_manual_agrees),
		cmocka_unit_test(key_forms),
		cmocka_unit_test_setup(key_is_made_once, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
