/* SPDX-License-Identifier: BSD-2-Clause */
/* Parses argv into a command, its arguments and its options, by the table of commands. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option common_options[] = {
	{ "json", NULL, OPTION_FLAG, offsetof(struct cli_options, json), .summary = "print JSON" },
	{ "help", NULL, OPTION_FLAG, offsetof(struct cli_options, help),
	  .summary = "show the command with its options" },
	{ 0 },
};

const struct command *command_find(const struct command *commands, const char *name)
{
	for (const struct command *c = commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

bool command_is_group(const struct command *commands, const char *word)
{
	size_t n = strlen(word);

	for (const struct command *c = commands; c->name; c++) {
		if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
			return true;
	}
	return false;
}

const struct command *command_default(const struct command *commands, const char *word)
{
	const size_t n = strlen(word);

	for (const struct command *c = commands; c->name; c++) {
		if (n && c->is_default && strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
			return c;
	}
	return NULL;
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t length)
{
	for (; options->name; options++) {
		if (strlen(options->name) == length && strncmp(options->name, name, length) == 0)
			return options;
	}
	return NULL;
}

const struct cli_option *option_find(const struct command *command, const char *name, size_t length)
{
	const struct cli_option *option = find_in(common_options, name, length);

	return option || !command ? option : find_in(command->options, name, length);
}

const char *command_usage(const struct command *command, char *buf, size_t size)
{
	FILE *f = fmemopen(buf, size, "w");

	buf[0] = '\0';
	if (!f)
		return buf;
	if (command->is_default)
		fprintf(f, "warren %.*s [%s]", (int)strcspn(command->name, " "), command->name,
			command->name + strcspn(command->name, " ") + 1);
	else
		fprintf(f, "warren %s", command->name);
	for (const struct cli_arg *a = command->args; a->name; a++)
		fprintf(f, a->optional ? " [%s%s]" : " %s%s", a->name, a->many ? "..." : "");
	for (const struct cli_option *o = command->options; o->name; o++)
		fprintf(f, o->value ? " [--%s %s]" : " [--%s]", o->name, o->value);
	fclose(f);
	buf[size - 1] = '\0';
	return buf;
}

int cli_usage_error(struct cli *cli, const char *fmt, ...)
{
	char text[sizeof(cli->err.msg)], usage[USAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli->exit = CLI_USAGE;
	err_set(&cli->err, EINVAL, "%s", text);
	if (cli->command)
		return err_hint(&cli->err, "usage: %s", command_usage(cli->command, usage, sizeof(usage)));
	return err_hint(&cli->err, "`warren help` lists the commands");
}

/* --- options --- */

static int set_number(struct cli *cli, const struct cli_option *option, const char *value, int64_t *field)
{
	char *end;
	long long n;

	if (option->type == OPTION_AUTO && strcmp(value, "auto") == 0) {
		*field = 0;
		return 0;
	}
	errno = 0;
	n = strtoll(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno || n < option->min || n > option->max)
		return cli_usage_error(cli, "--%s requires %sa number from %lld to %lld, not '%s'", option->name,
				       option->type == OPTION_AUTO ? "auto, or " : "", (long long)option->min,
				       (long long)option->max, value);
	if (option->type == OPTION_FAMILY && n == 5)
		return cli_usage_error(cli, "--%s requires 4 or 6, not 5", option->name);
	*field = n;
	return 0;
}

/* `arg`: "--name" or "--name=value". If the value is a separate argument, reads it from *next and advances *next. */
static int parse_option(struct cli *cli, const char *arg, char ***next)
{
	const char *name = strcmp(arg, "-h") == 0 ? "help" : arg + 2;
	const char *value = strchr(name, '=');
	size_t length = value ? (size_t)(value - name) : strlen(name);
	const struct cli_option *option = option_find(cli->command, name, length);
	char *field;

	if (!option && !cli->command) {
		cli->command = command_default(cli->commands, cli->topic);
		option = option_find(cli->command, name, length);
	}
	if (!option && !cli->command)
		return cli_usage_error(cli, "there is no option %s before the command", arg);
	if (!option)
		return cli_usage_error(cli, "`warren %s` has no option %s", cli->command->name, arg);
	field = (char *)&cli->options + option->field;
	if (option->type == OPTION_FLAG) {
		if (value)
			return cli_usage_error(cli, "--%s takes no value", option->name);
		*(bool *)field = true;
		return 0;
	}
	value = value ? value + 1 : *(*next);
	if (!value)
		return cli_usage_error(cli, "--%s requires a value: %s", option->name, option->value);
	if (value == **next)
		(*next)++;
	if (option->type != OPTION_TEXT)
		return set_number(cli, option, value, (int64_t *)field);
	*(const char **)field = value;
	return 0;
}

/* --- arguments --- */

/* Appends a word to the command's name, which is then a command or a group. */
static int parse_name(struct cli *cli, const char *word)
{
	size_t used = strlen(cli->topic);

	if (used + 1 + strlen(word) >= sizeof(cli->topic))
		return cli_usage_error(cli, "there is no command '%s'", word);
	sprintf(cli->topic + used, "%s%s", used ? " " : "", word);
	cli->command = command_find(cli->commands, cli->topic);
	if (cli->command || command_is_group(cli->commands, cli->topic))
		return 0;
	return cli_usage_error(cli, "there is no command '%s'", cli->topic);
}

/* `at`: the word in argv. Values of a repeatable argument are moved together there: options may separate them. */
static int parse_arg(struct cli *cli, char **at)
{
	char *word = *at;

	for (int i = 0; cli->command->args[i].name; i++) {
		if (cli->args[i] && !cli->command->args[i].many)
			continue;
		if (!cli->args[i])
			cli->args[i] = word;
		if (cli->command->args[i].many) {
			cli->many = cli->many ?: at;
			cli->many[cli->many_count++] = word;
		}
		return 0;
	}
	return cli_usage_error(cli, "'%s' is one argument too many", word);
}

int cli_parse(struct cli *cli, char **argv)
{
	bool words_only = false;
	int r = 0;

	for (char **next = argv + 1; *next && r == 0;) {
		const char *arg = *next++;

		if (!words_only && strcmp(arg, "--") == 0)
			words_only = true;
		else if (!*cli->topic && !words_only && (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0))
			r = parse_name(cli, "version"); /* as `ip` and `bpftool` take it */
		else if (!words_only && (strncmp(arg, "--", 2) == 0 || strcmp(arg, "-h") == 0))
			r = parse_option(cli, arg, &next);
		else if (!cli->command)
			r = parse_name(cli, arg);
		else
			r = parse_arg(cli, next - 1);
	}
	if (r < 0)
		return r;
	if (!cli->command && !cli->options.help)
		cli->command = command_default(cli->commands, cli->topic);
	if (cli->options.help || !cli->command) {
		/* `warren` and `warren node` alone print help, and fail since they did nothing. */
		cli->exit = cli->options.help ? CLI_OK : CLI_USAGE;
		cli->command = command_find(cli->commands, "help");
		memset(cli->args, 0, sizeof(cli->args));
		return 0;
	}
	for (int i = 0; cli->command->args[i].name; i++) {
		if (!cli->args[i] && !cli->command->args[i].optional)
			return cli_usage_error(cli, "%s is missing", cli->command->args[i].name);
	}
	return 0;
}
