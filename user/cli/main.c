/* SPDX-License-Identifier: BSD-2-Clause */
/* warren: the command line tool. */
#include "cli.h"

int main(int argc, char **argv)
{
	return cli_main(warren_commands, argc, argv);
}
