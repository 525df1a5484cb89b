/* SPDX-License-Identifier: BSD-2-Clause */
/* warren completion: arrays made from the table of commands, and a function that reads them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "cli.h"
#include "maps.h"
#include "names.h"

static const char script_head[] =
    "# bash completion of warren, made by `warren completion bash`\n"
    "# The words of one column of what a command lists. Names may be strangers', and compgen expands\n"
    "# words, commands in them too: those with any other character are left out.\n"
    "_warren_column()\n"
    "{\n"
    "\twarren $1 2>/dev/null | awk -v n=\"$2\" 'NR > 1 && !NF { exit }\n"
    "\t\tNR > 1 && $n ~ \"^[A-Za-z0-9._/-]+$\" { print $n }'\n"
    "}\n"
    "_warren()\n"
    "{\n"
    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command='' args='' option='' words='' word\n"
    "\t# What may follow a command, whether the same again, which options it has, what their values may be.\n";

static const char script_tail[] = "\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
				  "\t\tif [[ $word == '=' ]]; then\n"
				  "\t\t\tcontinue\n"
				  "\t\telif [[ $option ]]; then\n"
				  "\t\t\toption=''\n"
				  "\t\telif [[ $word == -* ]]; then\n"
				  "\t\t\t[[ ${values[$command $word]+known} ]] && option=$word\n"
				  "\t\telif [[ ${options[${command:+$command }$word]+known} ]]; then\n"
				  "\t\t\tcommand+=${command:+ }$word\n"
				  "\t\telse\n"
				  "\t\t\targs+=\" $word\"\n"
				  "\t\tfi\n"
				  "\tdone\n"
				  "\tif [[ $option ]]; then\n"
				  "\t\twords=${values[$command $option]}\n"
				  "\telif [[ $cur == -* ]]; then\n"
				  "\t\twords=${options[${command:- }]}\n"
				  "\telif [[ ! $args || ${again[${command:- }]+known} ]]; then\n"
				  "\t\twords=${next[${command:- }]}\n"
				  "\tfi\n"
				  "\tcase $words in\n"
				  "\tENDPOINTS) words=$(_warren_column 'endpoint list' 1) ;;\n"
				  "\tPODS) words=\"host world $(_warren_column 'endpoint list' 3)\" ;;\n"
				  "\tPOLICIES) words=$(_warren_column 'policy list' 1) ;;\n"
				  "\tSERVICES) words=$(_warren_column 'service list' 1) ;;\n"
				  "\tNODES) words=$(_warren_column 'node list' 1) ;;\n"
				  "\tIDENTITIES) words=$(_warren_column 'identity list' 1) ;;\n"
				  "\tesac\n"
				  "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
				  "}\n"
				  "complete -F _warren warren\n";

/* The next words of all commands that begin with `prefix`, each once: they stand together in the table. */
static void next_words(FILE *f, const struct command *commands, const char *prefix)
{
	const char *last = "";
	size_t n = strlen(prefix), length = 0;

	for (const struct command *c = commands; c->name; c++) {
		const char *word = c->name + n + (n > 0);

		if (n && (strncmp(c->name, prefix, n) != 0 || c->name[n] != ' '))
			continue;
		if (length == strcspn(word, " ") && strncmp(word, last, length) == 0)
			continue;
		last = word;
		length = strcspn(word, " ");
		fprintf(f, "%.*s ", (int)length, word);
	}
}

static void value_words(FILE *f, const struct command *commands, enum cli_complete complete)
{
	switch (complete) {
	case COMPLETE_NOTHING:
		break;
	case COMPLETE_MAP:
		for (const struct dp_map *m = dp_maps; m->name; m++) {
			if (m->kind != DP_MAP_RING)
				fprintf(f, "%s ", m->name);
		}
		break;
	case COMPLETE_REASON:
		for (uint32_t i = 0; i < WR_REASONS; i++)
			fprintf(f, "%s ", reason_name(i));
		break;
	case COMPLETE_ENDPOINT:
		fprintf(f, "ENDPOINTS");
		break;
	case COMPLETE_POD:
		fprintf(f, "PODS");
		break;
	case COMPLETE_POLICY:
		fprintf(f, "POLICIES");
		break;
	case COMPLETE_SERVICE:
		fprintf(f, "SERVICES");
		break;
	case COMPLETE_IDENTITY:
		fprintf(f, "IDENTITIES");
		break;
	case COMPLETE_NODE:
		fprintf(f, "NODES");
		break;
	case COMPLETE_COMMAND:
		next_words(f, commands, "");
		break;
	}
}

static void option_words(FILE *f, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o->name; o++)
		fprintf(f, "--%s ", o->name);
}

/* fn for every command, and for every group with `command` NULL, before its first command. */
static void each_name(FILE *f, const struct command *commands,
		      void (*fn)(FILE *f, const struct command *commands, const char *name,
				 const struct command *command))
{
	char group[TOPIC_MAX] = "", word[TOPIC_MAX];

	for (const struct command *c = commands; c->name; c++) {
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(c->name, " "), c->name);
		if (strchr(c->name, ' ') && strcmp(word, group) != 0) {
			memcpy(group, word, sizeof(group));
			fn(f, commands, group, NULL);
		}
		fn(f, commands, c->name, c);
	}
}

static void entry_next(FILE *f, const struct command *commands, const char *name, const struct command *command)
{
	fprintf(f, "\t\t['%s']='", name);
	if (command)
		value_words(f, commands, command->args[0].complete);
	else
		next_words(f, commands, name);
	fprintf(f, "'\n");
}

/* Whose later words are what the first one is. */
static void entry_again(FILE *f, const struct command *commands, const char *name, const struct command *command)
{
	const struct cli_arg *args = command ? command->args : NULL;

	if (args && args[0].complete != COMPLETE_NOTHING && (args[0].many || args[0].complete == args[1].complete))
		fprintf(f, "\t\t['%s']=\n", name);
}

static void entry_options(FILE *f, const struct command *commands, const char *name, const struct command *command)
{
	fprintf(f, "\t\t['%s']='", name);
	if (command)
		option_words(f, command->options);
	option_words(f, common_options);
	fprintf(f, "'\n");
}

static void entry_values(FILE *f, const struct command *commands, const char *name, const struct command *command)
{
	for (const struct cli_option *o = command ? command->options : NULL; o && o->name; o++) {
		if (!o->value)
			continue;
		fprintf(f, "\t\t['%s --%s']='", name, o->name);
		value_words(f, commands, o->complete);
		fprintf(f, "'\n");
	}
}

int cmd_completion_bash(struct cli *cli)
{
	const struct command *commands = cli->commands;
	_cleanup_free_ char *script = NULL;
	size_t size;
	FILE *f = open_memstream(&script, &size);

	if (!f)
		return err_errno(&cli->err, errno, "cannot write the completion script");
	fputs(script_head, f);
	fputs("\tlocal -A next=(\n\t\t[' ']='", f);
	next_words(f, commands, "");
	fputs("'\n", f);
	each_name(f, commands, entry_next);
	fputs("\t)\n\tlocal -A again=(\n", f);
	each_name(f, commands, entry_again);
	fputs("\t)\n\tlocal -A options=(\n\t\t[' ']='", f);
	option_words(f, common_options);
	fputs("'\n", f);
	each_name(f, commands, entry_options);
	fputs("\t)\n\tlocal -A values=(\n", f);
	each_name(f, commands, entry_values);
	fputs("\t)\n", f);
	fputs(script_tail, f);
	if (fclose(f) != 0)
		return err_errno(&cli->err, errno, "cannot write the completion script");
	out_record(cli->out, NULL);
	out_block(cli->out, "script", script);
	out_end(cli->out);
	return 0;
}
