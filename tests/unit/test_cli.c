/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of commands and everything derived from it; every command on a node of its own. */
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <signal.h>
#include <time.h>

#include "cli_rig.h"
#include "codec.h"
#include "guard.h"
#include "maps.h"
#include "enum_names.h"

/* --- parsing --- */

/* Numbers that are not given. */
#define NO_NODE_OPTIONS .max_endpoints = -1, .mark_shift = -1, .ct_entries = -1
#define NO_NUMBERS .endpoint = -1, .count = -1, .timeout = -1, .family = -1, .sport = -1, .interval = -1

static const struct {
	const char *words[WORDS_MAX];
	const char *command; /* NULL: refused */
	const char *error;   /* part of the message */
	struct cli_options options;
	const char *args[CLI_ARGS_MAX];
	enum cli_exit exit;
	const char *many[4];
} lines[] = {
	{ { "status" }, "status", .options = CLI_OPTIONS_DEFAULT },
	{ { "--json", "node", "init" }, "node init", .options = { true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "node", "init", "--max-endpoints", "7", "--mark-shift=0", "--ct-entries", "2048" },
	  "node init",
	  .options = { .max_endpoints = 7, .mark_shift = 0, .ct_entries = 2048, NO_NUMBERS } },
	{ { "node", "init", "--ct-entries=auto" },
	  "node init",
	  .options = { .max_endpoints = -1, .mark_shift = -1, .ct_entries = 0, NO_NUMBERS } },
	{ { "node", "init", "--ct-entries", "0" }, .error = "requires auto, or a number from 1024", .exit = CLI_USAGE },
	{ { "node", "init", "--ct-entries", "automatic" }, .error = "not 'automatic'", .exit = CLI_USAGE },
	{ { "node", "init", "--max-endpoints", "auto" }, .error = "requires a number from 1 to 4096", .exit = CLI_USAGE },
	{ { "map", "get", "--raw", "addr4", "--json", "10.0.0.1" },
	  "map get",
	  .args = { "addr4", "10.0.0.1" },
	  .options = { true, .raw = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "map", "get", "--", "addr4", "--x" },
	  "map get",
	  .args = { "addr4", "--x" },
	  .options = CLI_OPTIONS_DEFAULT },
	{ { "monitor", "--reason=runt", "--reason", "arp", "--drops" },
	  "monitor",
	  .options = { .reason = "arp", .drops = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "trace", "a", "b:80/tcp", "--flags", "syn,ack" },
	  "trace",
	  .args = { "a", "b:80/tcp" },
	  .options = { .flags = "syn,ack", NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "trace", "a", "b", "--from-node", "n2", "--identity=world" },
	  "trace",
	  .args = { "a", "b" },
	  .options = { .from_node = "n2", .identity = "world", NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "node", "ping" }, "node ping", .options = CLI_OPTIONS_DEFAULT },
	{ { "node", "ping", "a", "b", "--json", "c" },
	  "node ping",
	  .args = { "a" },
	  .many = { "a", "b", "c" },
	  .options = { true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "deny", "--json", "add", "a", "--force", "b", "--", "--c", "d" },
	  "deny add",
	  .args = { "a" },
	  .many = { "a", "b", "--c", "d" },
	  .options = { true, .force = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "ct", "list", "--dead" }, "ct list", .options = { .dead = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "flows" }, "flows list", .options = CLI_OPTIONS_DEFAULT },
	{ { "flows", "list", "--follow" }, "flows list", .options = { .follow = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "--json", "flows", "--from=shop/web", "--verdict", "denied" },
	  "flows list",
	  .options = { true, .from = "shop/web", .verdict = "denied", NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "flows", "--json", "top", "--to", "world" },
	  "flows top",
	  .options = { true, .to = "world", NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "flows", "--help" }, "help", .options = { .help = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "flows", "--addresses", "top" }, NULL, "'top' is one argument too many" },
	{ { "flows", "--dead" }, NULL, "`warren flows list` has no option --dead" },
	{ { "flows", "bogus" }, NULL, "no command 'flows bogus'" },
	{ { "flows", "top", "--follow" }, NULL, "`warren flows top` has no option --follow" },
	{ { "endpoint", "get", "--help" }, "help", .options = { .help = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "--version" }, "version", .options = { NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "--json", "-V" }, "version", .options = { .json = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "-h" }, "help", .options = { .help = true, NO_NODE_OPTIONS, NO_NUMBERS } },
	{ { "node" }, "help", .options = CLI_OPTIONS_DEFAULT, .exit = CLI_USAGE },
	{ { NULL }, "help", .options = CLI_OPTIONS_DEFAULT, .exit = CLI_USAGE },
	{ { "help", "node", "init" }, "help", .args = { "node", "init" }, .options = CLI_OPTIONS_DEFAULT },
	{ { "bogus" }, NULL, "no command 'bogus'" },
	{ { "node", "bogus" }, NULL, "no command 'node bogus'" },
	{ { "" }, NULL, "no command ''" },
	{ { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
	  NULL,
	  "no command" },
	{ { "--force", "node", "down" }, NULL, "before the command" },
	{ { "status", "--force" }, NULL, "`warren status` has no option --force" },
	{ { "status", "extra" }, NULL, "one argument too many" },
	{ { "endpoint", "get" }, NULL, "ID is missing" },
	{ { "map", "get", "addr4" }, NULL, "KEY is missing" },
	{ { "monitor", "--count" }, NULL, "--count requires a value" },
	{ { "monitor", "--count", "0" }, NULL, "--count requires a number from 1" },
	{ { "monitor", "--count", "-1" }, NULL, "--count requires a number from 1" },
	{ { "monitor", "--count", "1x" }, NULL, "--count requires a number from 1" },
	{ { "monitor", "--count=" }, NULL, "--count requires a number from 1" },
	{ { "monitor", "--endpoint", "99999999999999999999" }, NULL, "--endpoint requires a number from 1 to 4294967295" },
	{ { "node", "init", "--mark-shift", "30" }, NULL, "from 0 to 29" },
	{ { "node", "down", "--force=yes" }, NULL, "--force takes no value" },
	{ { "monitor", "--cou", "1" }, NULL, "has no option --cou" },
	{ { "deny", "add" }, NULL, "PREFIX is missing" },
	{ { "uplink", "xdp", "eth0", "off", "on" }, NULL, "one argument too many" },
	{ { "trace", "a" }, NULL, "DST[:PORT/PROTO] is missing" },
	{ { "trace", "a", "b", "--family", "7" }, NULL, "--family requires a number from 4 to 6" },
	{ { "trace", "a", "b", "--sport", "0" }, NULL, "--sport requires a number from 1 to 65535" },
	{ { "node", "get" }, NULL, "NODE is missing" },
	{ { "node", "get", "a", "b" }, NULL, "one argument too many" },
	{ { "node", "ping", "--count", "0" }, NULL, "--count requires a number from 1 to 10000" },
	{ { "ipcache", "get" }, NULL, "IP is missing" },
	{ { "ct", "flush", "--dead" }, NULL, "`warren ct flush` has no option --dead" },
};

static void assert_options(const char *line, const struct cli_options *have, const struct cli_options *expected)
{
	if (have->json != expected->json || have->help != expected->help || have->all != expected->all ||
	    have->force != expected->force || have->raw != expected->raw || have->btf != expected->btf ||
	    have->max_endpoints != expected->max_endpoints || have->mark_shift != expected->mark_shift ||
	    have->ct_entries != expected->ct_entries ||
	    have->endpoint != expected->endpoint || have->count != expected->count || have->timeout != expected->timeout ||
	    have->drops != expected->drops || have->allows != expected->allows || have->dead != expected->dead ||
	    have->follow != expected->follow || have->addresses != expected->addresses ||
	    strcmp(have->from ?: "", expected->from ?: "") != 0 || strcmp(have->to ?: "", expected->to ?: "") != 0 ||
	    strcmp(have->verdict ?: "", expected->verdict ?: "") != 0 ||
	    have->family != expected->family || have->sport != expected->sport || have->interval != expected->interval ||
	    strcmp(have->from_node ?: "", expected->from_node ?: "") != 0 ||
	    strcmp(have->identity ?: "", expected->identity ?: "") != 0 ||
	    strcmp(have->flags ?: "", expected->flags ?: "") != 0 || strcmp(have->reason ?: "", expected->reason ?: "") != 0)
		fail_msg("%s: other options", line);
}

static void parsing(void **state)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct cli cli = { .commands = warren_commands, .options = CLI_OPTIONS_DEFAULT };
		const char *line = lines[i].words[0] ?: "(nothing)";
		char *argv[WORDS_MAX + 2] = { (char *)"warren" };
		size_t many = 0;
		int r;

		memcpy(argv + 1, lines[i].words, sizeof(lines[i].words));
		r = cli_parse(&cli, argv);
		if (!lines[i].command) {
			assert_int_equal(r, -EINVAL);
			assert_int_equal(cli.exit, CLI_USAGE);
			if (!strstr(cli.err.msg, lines[i].error))
				fail_msg("'%s' says '%s', not '%s'", line, cli.err.msg, lines[i].error);
			assert_true(cli.err.hint[0]);
			continue;
		}
		if (r < 0)
			fail_msg("%s: %s", line, cli.err.msg);
		assert_string_equal(cli.command->name, lines[i].command);
		assert_int_equal(cli.exit, lines[i].exit);
		assert_options(line, &cli.options, &lines[i].options);
		for (int a = 0; a < CLI_ARGS_MAX; a++)
			assert_string_equal(cli.args[a] ?: "", lines[i].args[a] ?: "");
		for (size_t m = 0; m < 4 && lines[i].many[m]; m++, many++)
			assert_string_equal(m < cli.many_count ? cli.many[m] : "", lines[i].many[m]);
		assert_int_equal(cli.many_count, many);
	}
}

/* --- the manual and ARCHITECTURE.md --- */

static char *document(const char *path)
{
	char *text;
	size_t size;
	struct err err = { 0 };

	if (file_read(path, 1 << 20, &text, &size, &err) < 0)
		fail_msg("%s (run from the top directory)", err.msg);
	return text;
}

/* The page's source, without the escapes of '-'. */
static char *manual(void)
{
	char *text = document("user/man/warren.8"), *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == '-')
			from++;
		*to++ = *from;
	}
	*to = '\0';
	return text;
}

/* Every option that a section defines: items ".It Fl -name" or ".It Fl -name Ar VALUE". */
static void assert_section(const char *title, const char *section, const char *end, const struct cli_option *options)
{
	char expected[128];
	int count = 0;

	for (const struct cli_option *o = options; o->name; o++, count++) {
		if (o->value)
			snprintf(expected, sizeof(expected), "\n.It Fl -%s Ar %s\n", o->name, o->value);
		else
			snprintf(expected, sizeof(expected), "\n.It Fl -%s\n", o->name);
		if (!memmem(section, (size_t)(end - section), expected, strlen(expected)))
			fail_msg("the manual's section '%s' does not define --%s", title, o->name);
	}
	for (const char *p = section; (p = strstr(p, "\n.It ")) && p < end; p++)
		count--;
	if (count)
		fail_msg("the manual's section '%s' defines options that the table has not", title);
}

static void the_manual_agrees(void **state)
{
	_cleanup_free_ char *text = manual();
	const char *options = strstr(text, "\n.Sh OPTIONS"), *commands_begin = strstr(text, "\n.Sh COMMANDS");
	int sections = 0;

	assert_non_null(options);
	assert_non_null(commands_begin);

	for (const struct command *c = warren_commands; c->name; c++) {
		char usage[USAGE_MAX], title[USAGE_MAX + 8], *section, *end;

		snprintf(title, sizeof(title), "\n.Ss %s\n", command_usage(c, usage, sizeof(usage)));
		assert_true(strlen(usage) < sizeof(usage) - 1);
		section = strstr(text, title);
		if (!section) {
			fail_msg("the manual has no section '%s'", usage);
			return;
		}
		section += strlen(title) - 1;
		end = strstr(section, "\n.S");
		assert_section(usage, section, end, c->options);
		sections++;
	}
	for (const char *p = text; (p = strstr(p, "\n.Ss ")); p++)
		sections--;
	assert_int_equal(sections, 0);
	assert_section("OPTIONS", options, commands_begin, common_options);
	/* The forms of keys that the codecs accept. */
	for (const struct map_codec *const *m = map_codecs; *m; m++) {
		char form[80];

		snprintf(form, sizeof(form), "\n%-12s %s\n", (*m)->name, (*m)->key_form);
		if (!strstr(text, form))
			fail_msg("the manual does not say that a key of %s is %s", (*m)->name, (*m)->key_form);
	}
}

static void the_readme_of_bpf_names_every_map(void **state)
{
	_cleanup_free_ char *text = document("bpf/README.md");
	char name[64];

	for (const struct dp_map *m = dp_maps; m->name; m++) {
		snprintf(name, sizeof(name), "`%s`", m->name);
		if (!strstr(text, name))
			fail_msg("bpf/README.md does not say what map %s is", m->name);
	}
}

/* Each name after `dashes` in the text is an option of a command. */
static void assert_options_exist(const char *text, const char *dashes)
{
	for (const char *p = text; (p = strstr(p, dashes));) {
		p += strlen(dashes);
		size_t length = strspn(p, "abcdefghijklmnopqrstuvwxyz-");
		bool found = option_find(NULL, p, length);

		for (const struct command *c = warren_commands; c->name && !found; c++)
			found = option_find(c, p, length);
		if (!found)
			fail_msg("the manual names --%.*s", (int)length, p);
	}
}

/* Every option in the manual, in its text or in a usage line, is an option of a command. */
static void the_manual_invents_nothing(void **state)
{
	_cleanup_free_ char *text = manual();

	assert_options_exist(text, "--");
	assert_options_exist(text, "Fl -");
}

/* --- without a node --- */

static void without_a_node(void **state)
{
	expect("version", 0, "version: " WARREN_VERSION);
	expect("help", 0, "endpoint list");
	expect("help node", 0, "node init");
	expect("help map get", 0, "usage:   warren map get NAME KEY [--raw] [--btf]");
	expect("map get --help", 0, "usage:   warren map get NAME KEY [--raw] [--btf]");
	expect("map", 2, "map dump");
	expect("completion bash", 0, "complete -F _warren warren");
	expect_failure("help bogus", 2, "no command 'bogus'");
	expect_failure("map dump bogus", 2, "no map 'bogus'");
	expect_failure("map dump events", 2, "warren monitor");
	expect_failure("map get addr4 x", 2, "IPV4-ADDRESS");
	expect_failure("map dump addr4 --raw --btf", 2, "exclude one another");
	expect_failure("map get addr4 0a --raw", 2, "4 bytes in hex");
	expect_failure("monitor --reason bogus", 2, "not a reason");
	expect_failure("monitor --reason 5", 2, "not a reason");
	expect_failure("endpoint get x", 2, "not an endpoint id");
	expect_failure("endpoint get 4294967296", 2, "not an endpoint id");
	expect_failure("identity get x", 2, "not an identity");
	expect_failure("ipcache get x", 2, "not an IP address");
	expect_failure("node ping --family 5", 2, "--family requires 4 or 6");
	expect("help flows", 0, "flows top");
	expect("help flows list", 0, "usage:   warren flows [list] [--follow]");
	expect_failure("flows --verdict drop", 2, "--verdict requires allowed or denied, not 'drop'");
	expect_failure("flows --interval 3", 2, "--interval requires --follow");
	expect_failure("policy get x", 2, "NAMESPACE/NAME");
}

/* `warren ... | head` must not fail. */
static void closed_pipe_is_no_error(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(status_of(start("help", fds[1], STDERR_FILENO)), 0);
	close(fds[1]);
}

static void output_that_is_lost(void **state)
{
	_cleanup_fd_ int full = open("/dev/full", O_WRONLY);
	_cleanup_fclose_ FILE *err = tmpfile();

	assert_int_equal(status_of(start("help", full, fileno(err))), CLI_FAILED);
}

/* --- completion, by bash itself --- */

static const struct {
	const char *words; /* as typed, the last one being completed */
	const char *expected;  /* all of the candidates */
} completions[] = {
	{ "warren ''", "status node endpoint identity ipcache policy service trace ct flows deny uplink map metrics monitor sysdump completion version help" },
	{ "warren node ''", "init show down list get ping" },
	{ "warren node p", "ping" },
	{ "warren node ping --i", "--interval" },
	{ "warren deny ''", "add del list flush" },
	{ "warren deny add 10.0.0.0/8 --", "--force --json --help" },
	{ "warren ipcache ''", "list get" },
	{ "warren m", "map metrics monitor" },
	{ "warren policy ''", "list get why" },
	{ "warren trace h", "host" },
	{ "warren trace host w", "world" },
	{ "warren trace host world --f", "--family --flags --from-node" },
	{ "warren ct list --", "--endpoint --dead --json --help" },
	{ "warren flows ''", "list top" },
	{ "warren flows --f", "--follow --from" },
	{ "warren flows --verdict d", "denied" },
	{ "warren flows top --", "--count --addresses --from --to --namespace --verdict --json --help" },
	{ "warren flows list --to ''", "host world" },
	{ "warren map dump a", "addr4 addr6 addr_cache affinity" },
	{ "warren map dump --raw a", "addr4 addr6 addr_cache affinity" },
	{ "warren map dump addr4 ''", "" },
	{ "warren map get fr", "fragments" },
	{ "warren node init --m", "--max-endpoints --mark-shift" },
	{ "warren node init --max-endpoints 5 --", "--max-endpoints --mark-shift --ct-entries --cgroup --reload --json --help" },
	{ "warren --json node d", "down" },
	{ "warren monitor --reason spoofed", "spoofed_mac spoofed_source spoofed_outside" },
	{ "warren monitor --reason to_e", "to_endpoint" },
	{ "warren monitor --endpoint 3 --reason = arp", "arp" },
	{ "warren monitor --count ''", "" },
	{ "warren --", "--json --help" },
	{ "warren help no", "node" },
	{ "warren policy get ''", "shop/db" },
	{ "warren trace ''", "host world default/web" },
};

/* A listed name that would be a command. */
#define LISTS "warren() { printf \"A B C\\nshop/db 1 default/web\\n\\$(date) 2 \\$(date)\\n\"; }; "

static void completion(void **state)
{
	char path[] = "/tmp/warren-completion.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(status_of(start("completion bash", fd, STDERR_FILENO)), 0);
	close(fd);
	for (size_t i = 0; i < sizeof(completions) / sizeof(completions[0]); i++) {
		char script[512], have[1024] = "";
		FILE *f;

		snprintf(script, sizeof(script),
			 "bash -c '" LISTS "source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _warren;"
			 " echo -n \"${COMPREPLY[*]}\"'",
			 path, completions[i].words);
		for (char *quote = strstr(script, "''"); quote; quote = strstr(quote + 2, "''"))
			memcpy(quote, "\"\"", 2); /* within the outer quotes */
		f = popen(script, "r");
		assert_non_null(f);
		have[fread(have, 1, sizeof(have) - 1, f)] = '\0';
		assert_int_equal(pclose(f), 0);
		if (strcmp(have, completions[i].expected) != 0)
			fail_msg("%s: '%s', not '%s'", completions[i].words, have, completions[i].expected);
	}
	unlink(path);
}

/* --- on a node of its own --- */

#define POD_DEVICE "wrunittest"
#define POD_PEER "podunittest"
static const uint8_t pod_mac[6] = { 2, 0, 0, 0, 0, 7 };

/* From the pod: a UDP datagram with a source address that is not the pod's, or to an unknown ethertype. */
static void send_frame(uint16_t eth_proto)
{
	static const uint8_t ip[] = {
		0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 9, 10, 1, 0, 3, 0x12, 0x34, 0, 53, 0, 8, 0, 0,
	};
	const struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(POD_PEER) };
	uint8_t frame[14 + sizeof(ip)] = WR_HOST_MAC;
	_cleanup_fd_ int fd = socket(AF_PACKET, SOCK_RAW, 0);

	memcpy(frame + 6, pod_mac, 6);
	frame[12] = (uint8_t)(eth_proto >> 8);
	frame[13] = (uint8_t)eth_proto;
	memcpy(frame + 14, ip, sizeof(ip));
	assert_int_equal(sendto(fd, frame, sizeof(frame), 0, (const struct sockaddr *)&to, sizeof(to)), sizeof(frame));
}

static void monitor_shows_a_drop(uint32_t id)
{
	FILE *out = tmpfile();
	char text[4096], line[128];
	json_auto_t *json = NULL;
	pid_t pid;

	/* The filters let the second and third through, the count only the second. */
	snprintf(line, sizeof(line), "monitor --json --count 1 --timeout 20 --endpoint %u --reason spoofed_source", id);
	pid = start_monitor(line, out);
	send_frame(0x88cc);
	send_frame(0x0800);
	send_frame(0x0800);
	assert_ends_soon(pid);
	read_back(out, text, sizeof(text));
	json = json_loads(text, 0, NULL);
	if (!json)
		fail_msg("the monitor prints: %s", text);
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "spoofed_source");
	assert_string_equal(json_string_value(json_object_get(json, "direction")), "egress");
	assert_string_equal(json_string_value(json_object_get(json, "pod")), "default/web");
	assert_int_equal(json_integer_value(json_object_get(json, "endpoint")), id);
	assert_int_equal(json_integer_value(json_object_get(json, "length")), 42);
	assert_string_equal(json_string_value(json_object_get(json, "packet")), "10.1.0.9:4660 > 10.1.0.3:53 UDP");

	out = tmpfile();
	/* The devices have just come up, and still send multicast reports. */
	pid = start_monitor("monitor --count 1 --timeout 20 --reason ethertype", out);
	send_frame(0x88cc);
	assert_ends_soon(pid);
	read_back(out, text, sizeof(text));
	if (!strstr(text, "ethertype 0x88cc, 42 bytes: neither IPv4"))
		fail_msg("the monitor prints: %s", text);

	out = tmpfile();
	pid = start_monitor("monitor --endpoint 1 --timeout 1", out);
	send_frame(0x88cc);
	assert_ends_soon(pid);
	read_back(out, text, sizeof(text));
	assert_string_equal(text, "");
}

static void monitor_ends(void)
{
	static struct output output;
	FILE *out = tmpfile();
	int fds[2];
	pid_t pid;

	for (const int *sig = (const int[]){ SIGINT, SIGTERM, 0 }; *sig; sig++) {
		pid = start_monitor("monitor --timeout 20", out);
		/* One reader at a time. */
		run("monitor", &output);
		assert_int_equal(output.exit, CLI_FAILED);
		assert_non_null(strstr(output.err, "one reader"));
		kill(pid, *sig);
		assert_ends_soon(pid);
	}
	fclose(out);
	run("monitor --timeout 1", &output);
	assert_int_equal(output.exit, 0);
	/* The reader of its output closes: it ends without waiting for another drop. */
	assert_int_equal(pipe(fds), 0);
	out = fdopen(fds[1], "w");
	pid = start_monitor("monitor --timeout 20", out);
	fclose(out);
	close(fds[0]);
	assert_ends_soon(pid);
}

static void follow_ends(void)
{
	FILE *out = tmpfile();
	char text[64];
	int fds[2];
	pid_t pid;

	for (const int *sig = (const int[]){ SIGINT, SIGTERM, 0 }; *sig; sig++) {
		pid = start_stream("flows --follow", out, "following");
		kill(pid, *sig);
		assert_ends_soon(pid);
	}
	read_back(out, text, sizeof(text));
	assert_string_equal(text, "");
	/* The reader of its output closes. */
	assert_int_equal(pipe(fds), 0);
	out = fdopen(fds[1], "w");
	pid = start_stream("flows --follow --interval 3600", out, "following");
	fclose(out);
	close(fds[0]);
	assert_ends_soon(pid);
}

static void maps_of_a_node(uint32_t id)
{
	json_auto_t *raw = NULL, *one = NULL;
	char line[64];

	expect("map list", 0, "endpoints");
	for (const struct map_codec *const *m = map_codecs; *m; m++) {
		for (const char *const *how = (const char *[]){ "", " --raw", " --btf", NULL }; *how; how++) {
			snprintf(line, sizeof(line), "map dump %s%s", (*m)->name, *how);
			expect(line, 0, strcmp((*m)->name, "addr4") == 0 && !**how ? "10.1.0.7" : "");
		}
	}
	snprintf(line, sizeof(line), "map get endpoints %u", wr_endpoint_slot(id, 0));
	one = run_both(line, 0, "10.1.0.7");
	assert_string_equal(json_string_value(json_object_get(json_object_get(one, "value"), "addr4")), "10.1.0.7");
	expect_failure("map get endpoints 999999", 2, "SLOT");
	expect("map get addr4 10.1.0.7 --btf", 0, "wr_local");
	raw = run_both("map get --raw addr4 0a:01:00:07", 0, "0a 01 00 07");
	assert_string_equal(json_string_value(json_object_get(raw, "key")), "0a 01 00 07");
	expect("map get metrics spoofed_source/egress", 0, "packets");
	expect("map dump metrics --all", 0, "not_for_pod");
}

static void every_command(void **state)
{
	const struct wr_endpoint web = {
		.addr4.v4 = htonl(0x0a010007), .flags = WR_EP_V4, .policy_class = WR_CLASS_NOT_ISOLATED
	};
	_cleanup_nl_ struct nl nl = { 0 };
	struct err err = { 0 };
	uint32_t id;
	char line[64];

	needs_root();
	expect("status", 3, "not loaded");
	for (const char *const *c =
		 (const char *[]){ "node show", "endpoint list", "endpoint get 1", "map list", "map dump config",
				   "map get config 0", "metrics", "monitor", "node list", "node get 1", "node ping",
				   "ipcache list", "ipcache get 10.0.0.1", "flows", "flows top", "flows --follow", NULL };
	     *c; c++)
		expect_failure(*c, CLI_NOT_RUNNING, "not loaded");

	expect("node init --max-endpoints 64 --mark-shift 8 --ct-entries 1024", 0, "ct entries:         1024");
	expect("node show", 0, "0x00000100");
	expect("status", 0, "healthy");
	expect("endpoint list", 0, "no endpoints");
	expect("node list", 0, "this node is in no cluster");
	expect_failure("node get 1", 1, "this node is in no cluster");
	expect_failure("node ping", 1, "this node is in no cluster");
	expect("ipcache list", 0, "the ipcache is empty");
	expect("flows", 0, "no flows");
	expect("ipcache get 10.1.0.9", 0, "outside the cluster");
	assert_int_equal(nl_open(&nl, NETLINK_ROUTE, &err), 0);
	id = make_pod(&nl, POD_DEVICE, POD_PEER, pod_mac, &web);
	expect("endpoint list", 0, "no record");
	record_pod(id, POD_DEVICE, "web");
	monitor_shows_a_drop(id);
	monitor_ends();
	follow_ends();
	maps_of_a_node(id);
	expect("metrics", 0, "spoofed_source  egress");
	expect("metrics --all", 0, "not_for_pod");
	expect("endpoint list", 0, POD_DEVICE "  default/web  10.1.0.7   unknown   not isolated         0  v4     ok");
	expect_failure("endpoint get 999999", 1, "no endpoint 999999");
	snprintf(line, sizeof(line), "endpoint get %u", id);
	expect(line, 0, "10.1.0.7");
	expect(line, 0, "container:     0123456789abcdef");
	expect("status", 0, "healthy");

	assert_int_equal(guard_delete(&err), 0);
	expect("status", 1, "table inet warren is missing");
	assert_int_equal(link_delete(&nl, id, &err), 0);
	expect("status", 1, "its device is gone");
	expect("endpoint list", 0, "faulty");
	expect(line, 0, "its device is gone");
	expect_failure("node down", 1, "endpoint");
	expect("node init", 0, "up to date");
	expect("node down --force", 0, "unloaded");
	expect("status", 3, "not loaded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),
		cmocka_unit_test(the_manual_agrees),
		cmocka_unit_test(the_manual_invents_nothing),
		cmocka_unit_test(the_readme_of_bpf_names_every_map),
		cmocka_unit_test(without_a_node),
		cmocka_unit_test(closed_pipe_is_no_error),
		cmocka_unit_test(output_that_is_lost),
		cmocka_unit_test(completion),
		cmocka_unit_test_setup(every_command, own_node),
	};

	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
