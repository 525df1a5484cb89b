/* SPDX-License-Identifier: BSD-2-Clause */
/* warren-agent: the node's daemon. */
#include <stdio.h>

#include "agent.h"
#include "setup.h"

static int run(const struct options *options)
{
	switch (options->command) {
	case COMMAND_PREPARE:
		return setup_prepare(options) < 0;
	case COMMAND_INSTALL:
		return setup_install(options) < 0;
	case COMMAND_UNINSTALL:
		return setup_uninstall(options) < 0;
	case COMMAND_AGENT:
		break;
	}
	return agent_run(options);
}

int main(int argc, char **argv)
{
	struct options options;
	struct err err;

	if (options_parse(argc, argv, &options, &err) < 0) {
		fprintf(stderr, "warren-agent: %s\n(see --help)\n", err.msg);
		return 2;
	}
	if (options.help) {
		options_help(stdout);
		return 0;
	}
	if (options.version) {
		puts("warren-agent " WARREN_VERSION);
		return 0;
	}
	if (log_open(options.log_file, options.log_level, "warren-agent", &err) < 0) {
		fprintf(stderr, "warren-agent: %s\n", err.msg);
		return 1;
	}
	for (size_t i = 0; i < options.undefined_count; i++)
		log_warn("%s is not defined: its option has the default; add it to the DaemonSet's ConfigMap", options.undefined[i]);
	return run(&options);
}
