/* SPDX-License-Identifier: BSD-2-Clause */
/* runtimeConfig.portMappings: what is accepted, and what it becomes. */
#include <arpa/inet.h>
#include <string.h>

#include "json.h"
#include "pod_ports.h"
#include "rig.h"

#define MAPPING(host, container, more) "{\"hostPort\":" host ",\"containerPort\":" container more "}"
#define OK(more) MAPPING("8080", "80", more)
#define PROTOCOL(name) ",\"protocol\":" name
#define AT(ip) ",\"hostIP\":" ip

static const struct {
	const char *mappings;
	const char *ports; /* as ports_text() writes them */
	const char *error; /* NULL: accepted */
} rows[] = {
	{ "[]", "", NULL },
	{ "[" OK("") "]", "0.0.0.0:8080/TCP>80 [::]:8080/TCP>80 ", NULL },
	{ "[" OK(PROTOCOL("\"\"") AT("\"\"")) "]", "0.0.0.0:8080/TCP>80 [::]:8080/TCP>80 ", NULL },
	{ "[" OK(PROTOCOL("\"UDP\"") AT("\"192.0.2.1\"") ",\"more\":{}") "]", "192.0.2.1:8080/UDP>80 ", NULL },
	{ "[" OK(AT("\"0.0.0.0\"")) "," OK(AT("\"::\"") PROTOCOL("\"udp\"")) "]", "0.0.0.0:8080/TCP>80 [::]:8080/UDP>80 ", NULL },
	{ "[" OK(AT("\"2001:db8::1\"")) "]", "[2001:db8::1]:8080/TCP>80 ", NULL },
	{ "[" MAPPING("1", "65535", "") "]", "0.0.0.0:1/TCP>65535 [::]:1/TCP>65535 ", NULL },
	{ "[" MAPPING("9", "10", PROTOCOL("\"sctp\"")) "]", "0.0.0.0:9/SCTP>10 [::]:9/SCTP>10 ", NULL },
	/* as containerd writes it */
	{ "[{\"HostPort\":8080,\"ContainerPort\":80,\"Protocol\":\"tcp\",\"HostIP\":\"\"}]",
	  "0.0.0.0:8080/TCP>80 [::]:8080/TCP>80 ", NULL },
	{ "[{\"HostPort\":8080,\"hostPort\":80,\"ContainerPort\":80}]", NULL, "it has a member twice" },
	/* ports */
	{ "[" MAPPING("0", "80", "") "]", NULL, "\"portMappings\"[0]: \"hostPort\" must be from 1 to 65535" },
	{ "[" MAPPING("65536", "80", "") "]", NULL, "\"hostPort\" must be from 1 to 65535" },
	{ "[" MAPPING("-1", "80", "") "]", NULL, "\"hostPort\" must be from 1 to 65535" },
	{ "[" MAPPING("8080", "0", "") "]", NULL, "\"containerPort\" must be from 1 to 65535" },
	{ "[" MAPPING("8080", "65536", "") "]", NULL, "\"containerPort\" must be from 1 to 65535" },
	{ "[" MAPPING("\"8080\"", "80", "") "]", NULL, "\"hostPort\" must be an integer" },
	{ "[" MAPPING("80.5", "80", "") "]", NULL, "\"hostPort\" must be an integer" },
	{ "[{\"containerPort\":80}]", NULL, "\"hostPort\" is missing" },
	{ "[" OK("") ",{\"hostPort\":80}]", NULL, "\"portMappings\"[1]: \"containerPort\" is missing" },
	/* protocols and addresses */
	{ "[" OK(PROTOCOL("\"icmp\"")) "]", NULL, "\"protocol\" (icmp) must be tcp, udp or sctp" },
	{ "[" OK(PROTOCOL("6")) "]", NULL, "\"protocol\" must be a string" },
	{ "[" OK(AT("\"192.0.2.1/24\"")) "]", NULL, "\"hostIP\" (192.0.2.1/24) is not an address" },
	{ "[" OK(AT("\"node-1\"")) "]", NULL, "\"hostIP\" (node-1) is not an address" },
	{ "[" OK(AT("7")) "]", NULL, "\"hostIP\" must be a string" },
	/* others */
	{ "[7]", NULL, "\"portMappings\"[0]: it must be an object" },
	{ "[null]", NULL, "it must be an object" },
	{ "[[]]", NULL, "it must be an object" },
};

static void ports_text(const struct pod_ports *ports, char *text, size_t size)
{
	char one[HOST_PORT_STRLEN];

	*text = '\0';
	for (size_t i = 0; i < ports->count; i++) {
		const size_t used = strlen(text);

		snprintf(text + used, size - used, "%s>%u ", dp_host_port_format(&ports->v[i], one), ports->v[i].target);
	}
}

static void mappings_are_checked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_auto_t *mappings = json_loads(rows[i].mappings, 0, NULL);
		struct pod_ports ports;
		struct err err = { 0 };
		char text[256];
		const int ret = pod_ports_parse(mappings, true, true, &ports, &err);

		assert_non_null(mappings);
		if (!rows[i].error != !ret)
			fail_msg("%s: %d, %s", rows[i].mappings, ret, err.msg);
		if (rows[i].error && !strstr(err.msg, rows[i].error))
			fail_msg("%s: message \"%s\" lacks \"%s\"", rows[i].mappings, err.msg, rows[i].error);
		ports_text(&ports, text, sizeof(text));
		assert_string_equal(text, rows[i].ports ?: "");
		pod_ports_free(&ports);
	}
}

static void families_are_the_pods(void **state)
{
	json_auto_t *mappings = json_loads("[" OK("") "," MAPPING("1", "1", AT("\"::\"")) "]", 0, NULL);
	struct pod_ports ports;
	char text[256];

	assert_int_equal(pod_ports_parse(mappings, true, false, &ports, NULL), 0);
	ports_text(&ports, text, sizeof(text));
	assert_string_equal(text, "0.0.0.0:8080/TCP>80 ");
	pod_ports_free(&ports);
	assert_int_equal(pod_ports_parse(mappings, false, true, &ports, NULL), 0);
	ports_text(&ports, text, sizeof(text));
	assert_string_equal(text, "[::]:8080/TCP>80 [::]:1/TCP>1 ");
	pod_ports_free(&ports);
	assert_int_equal(pod_ports_parse(NULL, true, true, &ports, NULL), 0);
	assert_int_equal(ports.count, 0);
	pod_ports_free(&ports);
}

static void many_are_bounded(void **state)
{
	json_auto_t *mappings = json_array();
	struct pod_ports ports;
	struct err err = { 0 };

	for (int i = 1; i <= POD_PORTS_MAX; i++)
		json_array_append_new(mappings, json_pack("{s:i, s:i}", "hostPort", i, "containerPort", 80));
	assert_ok(pod_ports_parse(mappings, true, true, &ports, &err));
	assert_int_equal(ports.count, 2 * POD_PORTS_MAX);
	pod_ports_free(&ports);
	json_array_append_new(mappings, json_pack("{s:i, s:i}", "hostPort", 1, "containerPort", 80));
	assert_int_equal(pod_ports_parse(mappings, true, true, &ports, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "has 1025 mappings; a pod may have 1024"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_checked),
		cmocka_unit_test(families_are_the_pods),
		cmocka_unit_test(many_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
