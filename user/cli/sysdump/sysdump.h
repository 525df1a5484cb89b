/* SPDX-License-Identifier: BSD-2-Clause */
/* What `warren sysdump` is made of: the table of its parts, what each part prints, and the archive. */
#ifndef WARREN_SYSDUMP_H
#define WARREN_SYSDUMP_H

#include <time.h>
#include <zlib.h>

#include "cli.h"

struct sysdump_part {
	const char *name;	  /* of the file in the archive; NULL ends the table */
	int (*print)(void *part); /* prints to stdout; its result is the exit status */
	/* input of print(): words of a command, or patterns of paths; ends with NULL */
	const char *const *words;
	int status;		    /* a second exit status that means success */
	const struct command *commands; /* of this program; the caller sets it */
};
extern const struct sysdump_part sysdump_parts[];

/* A part that dumps a map into `file`. */
struct sysdump_part sysdump_map(const char *const *words, const char *file);

/* --- output of a part -------------------------------------------------------------------------------------------- */

struct capture {
	char *data; /* the caller frees it */
	size_t size;
	bool truncated; /* the output exceeded the size limit */
	bool timed_out; /* the child was killed at the timeout */
	int exit;	/* exit status; -1: killed by a signal */
};

/* Runs fn in a child process, so that its crash or hang does not affect the caller; captures its stdout and stderr. */
int capture_run(int (*fn)(void *arg), void *arg, int timeout_ms, size_t most, struct capture *capture, struct err *err);

/* --- the archive ------------------------------------------------------------------------------------------------- */

/*
 * A compressed archive: POSIX ustar, which every tar reads, through zlib. It is written as the parts are captured:
 * tar(1) needs them as files, and in the agent's container only a tmpfs is writable. (libarchive would add four shared
 * libraries to every start of `warren`, for one fixed header.)
 */
struct archive {
	gzFile file;
	const char *directory; /* prefix of all names */
	time_t when;	       /* modification time of all files */
};

#define ARCHIVE_NAME_MAX 100 /* of a file name in it, with the NUL */
int archive_add(const struct archive *archive, const char *name, const void *data, size_t size, struct err *err);
/* Finishes the archive if r is 0, else closes it as it is. Returns r, or why it cannot be finished. */
int archive_close(const struct archive *archive, int r, struct err *err);

#endif
