/* SPDX-License-Identifier: BSD-2-Clause */
/* warren help, version. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* --- help --- */

static void help_option(struct out *o, const struct cli_option *option)
{
	char text[64];

	snprintf(text, sizeof(text), "--%s%s%s", option->name, option->value ? " " : "", option->value ?: "");
	out_record(o, NULL);
	out_string(o, "option", text);
	out_string(o, "meaning", option->summary);
	out_end(o);
}

static void help_on(struct out *o, const struct command *command)
{
	char usage[USAGE_MAX];

	out_record(o, NULL);
	out_string(o, "usage", command_usage(command, usage, sizeof(usage)));
	out_string(o, "summary", command->summary);
	out_table(o, "options", NULL);
	for (const struct cli_option *option = command->options; option->name; option++)
		help_option(o, option);
	for (const struct cli_option *option = common_options; option->name; option++)
		help_option(o, option);
	out_end(o);
	out_end(o);
}

/* All commands, or those of a group. */
static void help_list(struct out *o, const struct command *commands, const char *group)
{
	size_t n = strlen(group);
	char usage[USAGE_MAX];

	out_table(o, NULL, NULL);
	for (const struct command *c = commands; c->name; c++) {
		if (n && (strncmp(c->name, group, n) != 0 || c->name[n] != ' '))
			continue;
		out_record(o, NULL);
		out_string(o, "command", c->name);
		out_json(o, "usage", json_string(command_usage(c, usage, sizeof(usage))));
		out_string(o, "what_it_does", c->summary);
		out_end(o);
	}
	out_end(o);
	out_note(o, "\nEvery command accepts --json and --help: `warren %s --help`. Manual: `man warren`.",
		 n ? group : "status");
}

int cmd_help(struct cli *cli)
{
	const struct command *command;

	if (cli->args[0])
		snprintf(cli->topic, sizeof(cli->topic), "%s%s%s", cli->args[0], cli->args[1] ? " " : "",
			 cli->args[1] ?: "");
	else if (strcmp(cli->topic, "help") == 0)
		cli->topic[0] = '\0';
	command = command_find(cli->commands, cli->topic);
	if (command)
		help_on(cli->out, command);
	else if (!cli->topic[0] || command_is_group(cli->commands, cli->topic))
		help_list(cli->out, cli->commands, cli->topic);
	else
		return cli_usage_error(cli, "there is no command '%s'", cli->topic);
	return 0;
}

/* --- version --- */

int cmd_version(struct cli *cli)
{
	out_record(cli->out, NULL);
	out_string(cli->out, "version", WARREN_VERSION);
	out_uint(cli->out, "abi", WR_ABI_VERSION);
	out_end(cli->out);
	return 0;
}
