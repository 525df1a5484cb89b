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
#define CLI_OPTIONS_MAX 6

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
};

/* Values of the options of all commands. Numbers are -1 when not given. */
struct cli_options {
	bool json, help;
	bool all, force, raw, btf, reload, cluster;
	bool drops, allows, dead;
	int64_t max_endpoints, mark_shift, ct_entries;
	int64_t endpoint, count, timeout;
	int64_t family, sport;
	int64_t interval;
	const char *reason, *flags, *from_node, *identity, *namespace, *output;
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

struct command {
	const char *name; /* one or two words; NULL ends the table */
	struct cli_arg args[CLI_ARGS_MAX + 1];
	struct cli_option options[CLI_OPTIONS_MAX + 1];
	const char *summary;
	bool stream;		     /* prints one document a line */
	int (*run)(struct cli *cli); /* writes its result to cli->out; 0 or -errno with cli->err set */
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
bool command_is_group(const struct command *commands, const char *word); /* "node": a prefix of commands */
const struct cli_option *option_find(const struct command *command, const char *name, size_t length);

/* "warren node init [--max-endpoints N] [--mark-shift N]". Returns buf. */
#define USAGE_MAX 192
const char *command_usage(const struct command *command, char *buf, size_t size);

/* Sets err and exit for a command line that cannot be parsed. Returns -EINVAL. */
int cli_usage_error(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Opens cli->dp once. If Warren is not loaded, the command exits with CLI_NOT_RUNNING. */
int cli_open(struct cli *cli);

/* Sends a request without arguments to the agent. NULL: no answer; `why` is set, and the command goes on. */
json_t *cli_query_agent(const char *method, struct err *why);
/* Returns the array `method` of the agent's answer, valid until the next call; NULL likewise. */
const json_t *cli_agent(struct cli *cli, const char *method);
/* Without an answer of the agent: adds a note why, and what the output `lacks` because of it. */
void out_no_agent(struct cli *cli, const char *lacks);

int cmd_node_init(struct cli *cli);
int cmd_node_show(struct cli *cli);
int cmd_node_down(struct cli *cli);
int cmd_node_list(struct cli *cli);
int cmd_node_get(struct cli *cli);
int cmd_node_ping(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_status_cluster(struct cli *cli);
int cmd_endpoint_list(struct cli *cli);
int cmd_endpoint_get(struct cli *cli);
int cmd_identity_list(struct cli *cli);
int cmd_identity_get(struct cli *cli);
int cmd_ipcache_list(struct cli *cli);
int cmd_ipcache_get(struct cli *cli);
int cmd_policy_list(struct cli *cli);
int cmd_policy_get(struct cli *cli);
int cmd_policy_why(struct cli *cli);
int cmd_service_list(struct cli *cli);
int cmd_service_get(struct cli *cli);
int cmd_trace(struct cli *cli);
int cmd_ct_list(struct cli *cli);
int cmd_ct_get(struct cli *cli);
int cmd_ct_flush(struct cli *cli);
int cmd_ct_stats(struct cli *cli);
int cmd_map_list(struct cli *cli);
int cmd_map_dump(struct cli *cli);
int cmd_map_get(struct cli *cli);
int cmd_deny_add(struct cli *cli);
int cmd_deny_del(struct cli *cli);
int cmd_deny_list(struct cli *cli);
int cmd_deny_flush(struct cli *cli);
int cmd_uplink_list(struct cli *cli);
int cmd_uplink_xdp(struct cli *cli);
int cmd_metrics(struct cli *cli);
int cmd_monitor(struct cli *cli);
int cmd_sysdump(struct cli *cli);
int cmd_completion_bash(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_help(struct cli *cli);

#endif
