/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warren-cni, the CNI plugin: reads environment and input, runs one command, and is the one place that reports errors.
 */
#include <string.h>

#include "cleanup.h"
#include "cni.h"
#include "file.h"

static const struct command {
	int (*run)(struct cni *cni, struct err *err);
	enum cni_version since; /* of the specification */
} commands[CNI_COMMANDS] = {
	[CNI_ADD] = { cmd_add, CNI_0_3_0 },	[CNI_DEL] = { cmd_del, CNI_0_3_0 },
	[CNI_CHECK] = { cmd_check, CNI_0_4_0 }, [CNI_STATUS] = { cmd_status, CNI_1_1_0 },
	[CNI_GC] = { cmd_gc, CNI_1_1_0 },
};

static void cni_free(struct cni *cni)
{
	conf_free(&cni->conf);
	free(cni->input);
}

static void print_json(json_t *json)
{
	if (json)
		json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

static int read_input(struct cni *cni, struct err *err)
{
	int ret = file_read_fd(STDIN_FILENO, "standard input", CNI_INPUT_LIMIT, &cni->input, &cni->input_size, err);

	return ret < 0 ? cni_code(err, ret == -EFBIG ? CNI_ERR_DECODE : CNI_ERR_IO) : 0;
}

/* Supports any version of the input, and an empty input. */
static int cmd_version(const struct cni *cni, struct err *err)
{
	const char *asked = cni_version_name(CNI_1_1_0);
	json_auto_t *input = NULL;
	json_t *supported = json_array();

	if (cni->input[strspn(cni->input, " \t\r\n")] || cni->input_size != strlen(cni->input)) {
		input = json_parse_object(cni->input, cni->input_size, "standard input", err);
		if (!input || json_get_string(input, "cniVersion", &asked, err) == -EINVAL) {
			json_decref(supported);
			return cni_code(err, CNI_ERR_DECODE);
		}
	}
	for (int i = 0; i < CNI_VERSIONS; i++)
		json_array_append_new(supported, json_string(cni_version_name(i)));
	print_json(json_pack("{s:s, s:o}", "cniVersion", asked, "supportedVersions", supported));
	return 0;
}

static int cmd_network(struct cni *cni, struct err *err)
{
	const struct command *command = &commands[cni->env.command];
	int ret = conf_parse(cni->input, cni->input_size, &cni->conf, err);

	if (ret < 0)
		return ret;
	if (cni->conf.version < command->since) {
		err_set(err, EPROTO, "%s does not exist in CNI version %s", env_command_name(cni->env.command),
			cni_version_name(cni->conf.version));
		return cni_code(err, CNI_ERR_VERSION);
	}
	ret = log_open(cni->conf.log_file, cni->conf.log_level, "warren-cni", err);
	return ret < 0 ? cni_code(err, CNI_ERR_IO) : command->run(cni, err);
}

static int run(struct cni *cni, struct err *err)
{
	enum cni_command command;
	int ret = env_command(getenv("CNI_COMMAND"), &command, err);

	if (ret < 0)
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	ret = env_read(command, &cni->env, err);
	if (ret == 0)
		ret = read_input(cni, err);
	if (ret < 0)
		return ret;
	return command == CNI_VERSION ? cmd_version(cni, err) : cmd_network(cni, err);
}

/* A message may quote text that is not UTF-8, or be truncated within a character. */
static json_t *printable(char *text)
{
	json_t *json = json_string(text);

	for (char *c = text; !json && *c; c++) {
		if (*c & 0x80)
			*c = '?';
	}
	return json ? json : json_string(text);
}

/* The error object for standard output. */
static json_t *cni_error(struct err *err, enum cni_version version)
{
	return json_pack("{s:s, s:i, s:o, s:o}", "cniVersion", cni_version_name(version), "code", err->code, "msg",
			 printable(err->msg), "details", printable(err->hint));
}

int main(void)
{
	_cleanup_(cni_free) struct cni cni = { .conf.version = CNI_1_1_0 };
	struct err err = { 0 };

	log_open(NULL, LOG_WARN, "warren-cni", NULL);
	if (run(&cni, &err) == 0)
		return 0;
	cni_code(&err, CNI_ERR_IO);
	log_error("%s: %s%s%s", cni.env.container_id && *cni.env.container_id ? cni.env.container_id : "-", err.msg,
		  *err.hint ? "; " : "", err.hint);
	print_json(cni_error(&err, cni.conf.version));
	return 1;
}
