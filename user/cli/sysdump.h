/* SPDX-License-Identifier: BSD-2-Clause */
/* What `warren sysdump` collects: one table. Each part prints to stdout, in a child (capture.h). */
#ifndef WARREN_SYSDUMP_H
#define WARREN_SYSDUMP_H

#include "capture.h"
#include "cli.h"

struct sysdump_part {
	const char *name;	    /* of the file in the archive; NULL ends the table */
	capture_fn print;	    /* gets the part */
	/* what print() does it with: a command's words, patterns of paths; NULL ends them */
	const char *const *words;
	int status;		    /* exit status that is no failure either */
	const struct command *commands; /* of this program, set by who runs it */
};
extern const struct sysdump_part sysdump_parts[];

/* The part that dumps map `name`, as a file of that name. */
struct sysdump_part sysdump_map(const char *const *words, const char *file);

#endif
