/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a command and reports its result. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent_socket.h"

int cli_open(struct cli *cli)
{
	int r = cli->dp.endpoints >= 0 ? 0 : dp_open(&cli->dp, &cli->err);

	if (r == -ENOENT)
		cli->exit = CLI_NOT_RUNNING;
	return r;
}

json_t *cli_query_agent(const char *method, struct err *why)
{
	json_t *answer = NULL;

	*why = (struct err){ 0 };
	return agent_request(json_pack("{ss}", "method", method), AGENT_TIMEOUT_MS, &answer, why) < 0 ? NULL : answer;
}

const json_t *cli_agent(struct cli *cli, const char *method)
{
	json_decref(cli->answer);
	cli->answer = cli_query_agent(method, &cli->why);
	return json_object_get(cli->answer, method);
}

void out_no_agent(struct cli *cli, const char *lacks)
{
	if (!cli->answer)
		out_note(cli->out, "\n%s: %s.", cli->why.msg, lacks);
}

static void report(struct cli *cli)
{
	const struct err *err = &cli->err;

	if ((err->num == EPERM || err->num == EACCES) && !err->hint[0] && geteuid() != 0)
		err_hint(&cli->err, "run it as root");
	fflush(stdout);
	fprintf(stderr, "warren: %s\n", err->msg[0] ? err->msg : strerror(err->num));
	if (err->hint[0])
		fprintf(stderr, "%s\n", err->hint);
	if (!cli->out || !cli->options.json)
		return;
	out_drop(cli->out);
	out_record(cli->out, NULL);
	out_record(cli->out, "error");
	out_string(cli->out, "message", err->msg);
	out_string(cli->out, "hint", err->hint[0] ? err->hint : NULL);
	out_string(cli->out, "errno", strerrorname_np(err->num));
	out_uint(cli->out, "exit", cli->exit);
	out_end(cli->out);
	out_end(cli->out);
	if (cli->command && (cli->command->stream || cli->options.follow))
		out_flush_line(cli->out, NULL);
	else
		out_flush(cli->out, NULL);
}

/* Parsing may fail before it reaches --json; the error is to be JSON all the same. */
static bool has_json_option(char **argv)
{
	for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
		if (strcmp(*argv, "--json") == 0)
			return true;
	}
	return false;
}

int cli_main(const struct command *commands, int argc, char **argv)
{
	struct cli cli = { .commands = commands, .options = CLI_OPTIONS_DEFAULT, .dp = DP_CLOSED };
	int r;

	/* A reader that closes the pipe (`| head`) must not kill this process in the middle of an operation. */
	signal(SIGPIPE, SIG_IGN);
	r = argc > 0 ? cli_parse(&cli, argv) : -EINVAL;
	if (r < 0 && !cli.options.json)
		cli.options.json = has_json_option(argv);
	cli.out = out_new(cli.options.json ? OUT_JSON : OUT_TEXT, stdout);
	if (!cli.out)
		r = err_errno(&cli.err, ENOMEM, "cannot start");
	if (r == 0)
		r = cli.command->run(&cli);
	if (r == 0)
		r = out_flush(cli.out, &cli.err);
	if (r < 0 && r != -EPIPE) {
		if (cli.exit == CLI_OK)
			cli.exit = CLI_FAILED;
		report(&cli);
	}
	out_free(cli.out);
	json_decref(cli.answer);
	dp_close(&cli.dp);
	return cli.exit;
}
