/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a sysdump. */
#include "sysdump.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "maps.h"
#include "paths.h"
#include "progs.h"

#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define WORDS_MAX 8
#define FILE_MAX (1 << 20)	/* bytes of a file */
#define LOG_SIZE_MAX (8 << 20)	/* bytes of the end of a log */
#define MAP_ENTRIES_MAX 50000
#define CNI_CONF_DIR "/etc/cni/net.d"
#define AGENT_COMM "warren-agent"

/* --- commands --- */

static size_t copy_words(const char *const *words, char *argv[WORDS_MAX + 1])
{
	size_t count = 0;

	for (; count < WORDS_MAX && words[count]; count++)
		argv[count] = (char *)words[count];
	argv[count] = NULL;
	return count;
}

/* Runs a command of this program. */
static int print_warren(void *arg)
{
	const struct sysdump_part *part = arg;
	char *argv[WORDS_MAX + 1];

	return cli_main(part->commands, (int)copy_words(part->words, argv), argv);
}

static int print_program(void *arg)
{
	const struct sysdump_part *part = arg;
	char *argv[WORDS_MAX + 1];

	copy_words(part->words, argv);
	execvp(argv[0], argv);
	printf("%s: %s\n", argv[0], strerror(errno));
	return 127;
}

static int print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(1));
	putchar('\n');
	return 0;
}

/* Prints an answer of the agent. */
static int print_answer(void *arg)
{
	const struct sysdump_part *part = arg;
	struct err why;
	json_auto_t *answer = cli_query_agent(part->words[0], &why);

	if (!answer) {
		puts(why.msg);
		return 1;
	}
	return print_json(answer);
}

static int print_map(void *arg)
{
	const struct sysdump_part *part = arg;
	const char *name = part->words[3];
	struct dp_map_info info;
	struct err err;

	if (dp_map_info(name, &info, &err) < 0) {
		puts(err.msg);
		return 1;
	}
	if (info.entries > MAP_ENTRIES_MAX) {
		printf("{\"entries\": %" PRIu64 ", \"skipped\": \"more than %d entries: "
		       "`warren map dump %s` prints them\"}\n",
		       info.entries, MAP_ENTRIES_MAX, name);
		return 0;
	}
	return print_warren(arg);
}

struct sysdump_part sysdump_map(const char *const *words, const char *file)
{
	return (struct sysdump_part){ .name = file, .print = print_map, .words = words };
}

/* --- programs --- */

static void describe_program(json_t *list, const char *name)
{
	struct bpf_prog_info info = { 0 };
	struct err err = { 0 };
	_cleanup_fd_ int fd = prog_open(name, &err);
	char tag[2 * BPF_TAG_SIZE + 1] = "";

	if (fd >= 0 && prog_info(fd, &info) < 0)
		err_errno(&err, errno, "cannot read its information");
	for (size_t i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:s?}", "name", name, "id",
					      (json_int_t)info.id, "tag", tag, "loaded_ns", (json_int_t)info.load_time,
					      "verified_instructions", (json_int_t)info.verified_insns, "bytes",
					      (json_int_t)info.jited_prog_len, "maps", (json_int_t)info.nr_map_ids,
					      "problem", err.msg[0] ? err.msg : NULL));
}

static int print_pinned(void *arg)
{
	const struct sysdump_part *part = arg;
	json_auto_t *list = json_array();

	for (const char *const *name = part->words; *name; name++)
		describe_program(list, *name);
	return print_json(list);
}

/* --- files --- */

/* Prints the last `most` bytes. */
static void print_end(const char *path, long most)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char chunk[65536];
	size_t n;

	if (!f) {
		printf("%s\n", strerror(errno));
		return;
	}
	if (fseek(f, -most, SEEK_END) == 0)
		puts("(only the end of the file)");
	else
		rewind(f); /* a shorter file, or one of /proc */
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		fwrite(chunk, 1, n, stdout);
}

/* A file of one line as "PATH = LINE", others below a title. */
static void print_file(const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct err err;
	struct stat st;
	size_t size;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (file_read(path, FILE_MAX, &text, &size, &err) < 0)
		printf("%s: %s\n", path, err.msg);
	else if (size && memchr(text, '\n', size) == text + size - 1)
		printf("%s = %s", path, text);
	else
		printf("==> %s <==\n%s\n", path, text);
}

static void each_file(const char *pattern, void (*print)(const char *path))
{
	glob_t found = { 0 };

	if (glob(pattern, GLOB_BRACE, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			print(found.gl_pathv[i]);
	}
	globfree(&found);
}

static int print_files(void *arg)
{
	const struct sysdump_part *part = arg;

	for (const char *const *pattern = part->words; *pattern; pattern++)
		each_file(*pattern, print_file);
	return 0;
}

/* --- the agent's process --- */

/* Whether this is the agent's pid in this pid namespace too: in a container it has another one. */
static bool is_agent(int pid, struct err *why)
{
	_cleanup_free_ char *name = NULL;
	char path[64];
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (file_read(path, FILE_MAX, &name, &size, why) < 0)
		return false;
	if (strcmp(name, AGENT_COMM "\n") == 0)
		return true;
	err_set(why, ESRCH, "the agent runs in a container whose processes are not visible here");
	return false;
}

/* Returns the agent's pid, and its command line as NUL-terminated words; 0: no agent. */
static int agent_process(char **line, size_t *size)
{
	char path[64];
	struct err why;
	json_auto_t *answer = cli_query_agent("status", &why);
	int pid = (int)json_integer_value(json_object_get(answer, "pid"));

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (pid > 0 && is_agent(pid, &why) && file_read(path, FILE_MAX, line, size, &why) == 0)
		return pid;
	puts(why.msg);
	return 0;
}

static int print_process(void *arg)
{
	_cleanup_free_ char *line = NULL;
	size_t size;
	int pid = agent_process(&line, &size);
	char path[64];

	if (!pid)
		return 1;
	for (size_t i = 0; i + 1 < size; i++)
		line[i] = line[i] ?: ' ';
	printf("pid %d: %s\n", pid, line);
	for (const char *const *name = WORDS("status", "cgroup", "limits"); *name; name++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, *name);
		print_file(path);
	}
	return 0;
}

/* Prints the agent's log if it is a file. */
static int print_log(void *arg)
{
	static const char option[] = "--log-file";
	_cleanup_free_ char *line = NULL;
	size_t size;
	const char *path = NULL;

	if (!agent_process(&line, &size))
		return 1;
	for (const char *word = line, *next; word < line + size; word = next) {
		next = word + strlen(word) + 1;
		if (strcmp(word, option) == 0 && next < line + size)
			path = next;
		else if (strncmp(word, option, sizeof(option) - 1) == 0 && word[sizeof(option) - 1] == '=')
			path = word + sizeof(option);
	}
	if (path)
		print_end(path, LOG_SIZE_MAX);
	else
		puts("it logs to standard error: see `journalctl -u warren-agent`, or `kubectl logs` of its pod");
	return 0;
}

/* --- network configurations --- */

static bool is_secret(const char *key)
{
	static const char *const parts[] = { "token", "passw", "secret", "key", "credential", "auth" };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcasestr(key, parts[i]))
			return true;
	}
	return false;
}

static void redact(json_t *json)
{
	json_t *member;
	const char *key;
	size_t i;

	json_object_foreach(json, key, member) {
		if (is_secret(key))
			json_object_set_new(json, key, json_string("(redacted)"));
		else
			redact(member);
	}
	json_array_foreach(json, i, member)
		redact(member);
}

/* Keeps only the type of chained plugins. */
static void redact_other_plugins(json_t *conf)
{
	json_t *plugins = json_object_get(conf, "plugins"), *plugin;
	size_t i;

	json_array_foreach(plugins, i, plugin) {
		json_t *type = json_object_get(plugin, "type");

		if (!json_is_string(type) || strcmp(json_string_value(type), "warren-cni") != 0)
			json_array_set_new(plugins, i,
					   json_pack("{s:O?, s:s}", "type", type, "(skipped)", "another plugin"));
	}
}

/*
 * Prints only the name of another plugin's configuration, since its secrets cannot be recognised. The same for one that
 * cannot be parsed, since the parser's error quotes it.
 */
static void print_conf(const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct err err;
	json_auto_t *json = NULL;
	size_t size;

	printf("==> %s <==\n", path);
	if (file_read(path, FILE_MAX, &text, &size, &err) < 0) {
		puts(err.msg);
		return;
	}
	if (!strstr(text, "\"warren-cni\"")) {
		puts("(another plugin's)");
		return;
	}
	json = json_parse_object(text, size, path, &err);
	if (!json) {
		puts("(not a JSON object)");
		return;
	}
	redact_other_plugins(json);
	redact(json);
	print_json(json);
}

static int print_confs(void *arg)
{
	each_file(CNI_CONF_DIR "/*.{conf,conflist,json}", print_conf);
	return 0;
}

/* --- the table --- */

#define WARREN(file, ...) { .name = file, .print = print_warren, .words = WORDS("warren", __VA_ARGS__, "--json") }
/* That a check has failed is no failure of the part. */
#define STATUS(file, ...)                                                                                              \
	{ .name = file, .print = print_warren, .words = WORDS("warren", __VA_ARGS__), .status = CLI_FAILED }
#define PROGRAM(file, ...) { .name = file, .print = print_program, .words = WORDS(__VA_ARGS__) }
#define FILES(file, ...) { .name = file, .print = print_files, .words = WORDS(__VA_ARGS__) }
#define ANSWER(method) { .name = "agent/" method ".json", .print = print_answer, .words = WORDS(method) }

#define CONF4 "/proc/sys/net/ipv4/conf/*/{accept_local,arp_ignore,forwarding,proxy_arp,route_localnet,rp_filter}"
#define CONF6 "/proc/sys/net/ipv6/conf/*/{accept_ra,disable_ipv6,forwarding,proxy_ndp}"

/* No environment, no key, no raw map: they contain secrets. */
const struct sysdump_part sysdump_parts[] = {
	WARREN("version.json", "version"),
	STATUS("status.txt", "status"),
	STATUS("status.json", "status", "--json"),
	STATUS("cluster.json", "status", "--cluster", "--json"), /* also fails if the node is in no cluster */
	WARREN("node.json", "node", "show"),
	WARREN("nodes.json", "node", "list"),
	WARREN("endpoints.json", "endpoint", "list"),
	WARREN("identities.json", "identity", "list"),
	WARREN("ipcache.json", "ipcache", "list"),
	WARREN("policies.json", "policy", "list"),
	WARREN("services.json", "service", "list"),
	WARREN("conntrack.json", "ct", "stats"),
	WARREN("denylist.json", "deny", "list"),
	WARREN("uplinks.json", "uplink", "list"),
	WARREN("metrics.json", "metrics", "--all"),
	WARREN("maps.json", "map", "list"),
	{ .name = "programs.json",
	  .print = print_pinned,
	  .words = WORDS(WARREN_PROG_FROM_POD, WARREN_PROG_TO_POD, WARREN_PROG_FROM_HOST, WARREN_PROG_FROM_UPLINK,
			 WARREN_PROG_XDP_UPLINK, WARREN_PROG_XDP_GENERIC, WARREN_PROG_XDP_ORIGIN,
			 WARREN_PROG_CT_GC_START) },
	ANSWER("status"),
	ANSWER("nodes"),
	ANSWER("pods"),
	ANSWER("identities"),
	ANSWER("policies"),
	ANSWER("services"),
	{ .name = "agent/process.txt", .print = print_process },
	{ .name = "agent/log.txt", .print = print_log },
	{ .name = "cni.txt", .print = print_confs },
	FILES("run.txt", WARREN_ATTACHMENT_DIR "/*/*", WARREN_IPAM_DIR "/*.json", WARREN_SYSCTL_FILE),
	FILES("system.txt", "/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo",
	      "/proc/sys/kernel/{hostname,unprivileged_bpf_disabled}", "/proc/sys/net/core/bpf_jit_*"),
	FILES("sysctls.txt", "/proc/sys/net/ipv4/ip_forward", CONF4, CONF6,
	      "/proc/sys/net/netfilter/nf_conntrack_{buckets,count,max}"),
	FILES("net/proc.txt",
	      "/proc/net/{dev,if_inet6,route,ipv6_route,fib_trie,arp,snmp,snmp6,netstat,sockstat,softnet_stat}"),
	PROGRAM("net/links.txt", "ip", "-d", "-s", "link"),
	PROGRAM("net/addresses.txt", "ip", "addr"),
	PROGRAM("net/routes4.txt", "ip", "route", "show", "table", "all"),
	PROGRAM("net/routes6.txt", "ip", "-6", "route", "show", "table", "all"),
	PROGRAM("net/rules4.txt", "ip", "rule"),
	PROGRAM("net/rules6.txt", "ip", "-6", "rule"),
	PROGRAM("net/neighbours.txt", "ip", "neigh"),
	PROGRAM("net/nft.txt", "nft", "list", "table", "inet", "warren"),
	PROGRAM("net/nft-tables.txt", "nft", "list", "tables"),
	PROGRAM("bpf/programs.txt", "bpftool", "prog", "show"),
	PROGRAM("bpf/attached.txt", "bpftool", "net"),
	{ 0 },
};
