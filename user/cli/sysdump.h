/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of parts that `warren sysdump` collects. Each part prints to stdout in a child process (capture.h). */
#ifndef WARREN_SYSDUMP_H
#define WARREN_SYSDUMP_H

#include "capture.h"
#include "cli.h"

struct sysdump_part {
	const char *name;	    /* of the file in the archive; NULL ends the table */
	capture_fn print;	    /* its argument is the part */
	/* input of print(): words of a command, or patterns of paths; ends with NULL */
	const char *const *words;
	int status;		    /* a second exit status that means success */
	const struct command *commands; /* of this program; the caller sets it */
};
extern const struct sysdump_part sysdump_parts[];

/* A part that dumps a map into `file`. */
struct sysdump_part sysdump_map(const char *const *words, const char *file);

#endif
