/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line: parsing, usage, help, completion and the man page's test all derive from one table (commands.c).
 *
 * With --json, stdout carries exactly one JSON document: the result, or {"error": {...}}. Errors also go to stderr.
 */
#ifndef WARREN_CLI_H
#define WARREN_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "endpoint.h"
#include "err.h"
#include "out.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* the command failed, or `status` found something wrong */
	CLI_USAGE = 2,	     /* unknown command, option or argument */
	CLI_NOT_RUNNING = 3, /* Warren is not loaded on this node */
};

#define CLI_ARGS_MAX 2
#define CLI_OPTIONS_MAX 7

/* How the shell completes an argument or an option's value. */
enum cli_complete {
	COMPLETE_NOTHING,
	COMPLETE_MAP,
	COMPLETE_REASON,
	COMPLETE_ENDPOINT,
	COMPLETE_POD, /* names of pods, 'host' and 'world' */
	COMPLETE_POLICY,
	COMPLETE_SERVICE,
	COMPLETE_IDENTITY,
	COMPLETE_NODE, /* names of nodes */
	COMPLETE_COMMAND,
	COMPLETE_PLACE, /* 'host' and 'world' */
	COMPLETE_VERDICT,
};

/* Values of the options of all commands. Numbers are -1 when not given. */
struct cli_options {
	bool json, help;
	bool all, force, raw, btf, reload, cluster;
	bool drops, allows, dead;
	bool follow, addresses;
	int64_t max_endpoints, mark_shift, ct_entries;
	int64_t endpoint, count, timeout;
	int64_t family, sport;
	int64_t interval;
	const char *reason, *flags, *from_node, *identity, *namespace, *output, *cgroup, *from, *to, *verdict;
};

enum cli_option_type { OPTION_FLAG, OPTION_NUMBER, OPTION_AUTO, OPTION_FAMILY, OPTION_TEXT }; /* AUTO: a number, or "auto": 0 */

struct cli_option {
	const char *name;  /* without the dashes; NULL ends a list */
	const char *value; /* placeholder of its value in usage texts; NULL for a flag */
	enum cli_option_type type;
	size_t field; /* offset in struct cli_options */
	int64_t min, max;
	enum cli_complete complete;
	const char *summary;
};

struct cli_arg {
	const char *name; /* NULL ends a list */
	bool optional;
	enum cli_complete complete;
	bool many; /* repeatable, as the last argument only: cli->many */
};

struct cli;

/* Runs a command: writes its result to cli->out. Returns 0, or -errno with cli->err set. */
typedef int command_fn(struct cli *cli);

struct command {
	const char *name; /* one or two words; NULL ends the table */
	command_fn *run;
	const char *summary;
	struct cli_arg args[CLI_ARGS_MAX + 1];
	struct cli_option options[CLI_OPTIONS_MAX + 1];
	bool stream; /* prints one document a line; also with --follow */
	bool is_default; /* its group's word alone stands for it */
};

extern const struct command warren_commands[];
extern const struct cli_option common_options[]; /* --json, --help */

#define TOPIC_MAX 64
#define CLI_OPTIONS_DEFAULT                                                                                            \
	{                                                                                                              \
		.max_endpoints = -1, .mark_shift = -1, .ct_entries = -1, .endpoint = -1, .count = -1, .timeout = -1,   \
		.family = -1, .sport = -1, .interval = -1                                                              \
	}

struct cli {
	const struct command *commands; /* the whole table */
	const struct command *command;	/* NULL until parsed */
	char topic[TOPIC_MAX];	       /* the words of its name so far */
	struct cli_options options;
	const char *args[CLI_ARGS_MAX];
	char **many; /* all values of the repeatable argument */
	size_t many_count;
	struct out *out;
	struct dp dp;	 /* opened by cli_open() */
	json_t *answer; /* the agent's last answer to cli_agent(); NULL: none */
	struct err why; /* why there is no answer */
	enum cli_exit exit; /* CLI_OK becomes CLI_FAILED if run() fails */
	struct err err;
};

int cli_main(const struct command *commands, int argc, char **argv);

/* Fills in command, args and options. -EINVAL with err and exit set. */
int cli_parse(struct cli *cli, char **argv);
const struct command *command_find(const struct command *commands, const char *name);
const struct command *command_default(const struct command *commands, const char *word); /* of a group; NULL: none */
bool command_is_group(const struct command *commands, const char *word); /* "node": a prefix of commands */
const struct cli_option *option_find(const struct command *command, const char *name, size_t length);

/* "warren node init [--max-endpoints N] [--mark-shift N]". Returns buf. */
#define USAGE_MAX 192
const char *command_usage(const struct command *command, char *buf, size_t size);

/* Sets err and exit for a command line that cannot be parsed. Returns -EINVAL. */
int cli_usage_error(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Opens cli->dp once. If Warren is not loaded, the command exits with CLI_NOT_RUNNING. */
int cli_open(struct cli *cli);

#define AGENT_TIMEOUT_MS 5000
/* Sends a request without arguments to the agent. NULL: no answer; `why` is set, and the command goes on. */
json_t *cli_query_agent(const char *method, struct err *why);
/* Returns the array `method` of the agent's answer, valid until the next call; NULL likewise. */
const json_t *cli_agent(struct cli *cli, const char *method);
/* Without an answer of the agent: adds a note why, and what the output `lacks` because of it. */
void out_no_agent(struct cli *cli, const char *lacks);

command_fn cmd_node_init, cmd_node_show, cmd_node_down, cmd_node_list, cmd_node_get, cmd_node_ping;
command_fn cmd_status, cmd_status_cluster;
command_fn cmd_endpoint_list, cmd_endpoint_get;
command_fn cmd_identity_list, cmd_identity_get;
command_fn cmd_ipcache_list, cmd_ipcache_get;
command_fn cmd_policy_list, cmd_policy_get, cmd_policy_why;
command_fn cmd_service_list, cmd_service_get, cmd_service_hostports, cmd_service_sockets, cmd_service_takeover, cmd_service_release;
command_fn cmd_ct_list, cmd_ct_get, cmd_ct_flush, cmd_ct_stats;
command_fn cmd_flows_list, cmd_flows_top;
command_fn cmd_map_list, cmd_map_dump, cmd_map_get;
command_fn cmd_deny_add, cmd_deny_del, cmd_deny_list, cmd_deny_flush;
command_fn cmd_uplink_list, cmd_uplink_xdp;
command_fn cmd_trace, cmd_metrics, cmd_monitor, cmd_sysdump, cmd_completion_bash, cmd_version, cmd_help;

#endif
