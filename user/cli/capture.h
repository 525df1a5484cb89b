/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures what a function prints, within a time and a size limit. The function runs in a child process, so that its
 * crash or hang does not affect the caller.
 */
#ifndef WARREN_CAPTURE_H
#define WARREN_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct capture {
	char *data; /* the caller frees it */
	size_t size;
	bool truncated; /* the output exceeded the size limit */
	bool timed_out; /* the child was killed at the timeout */
	int exit; /* exit status; -1: killed by a signal */
};

/* Runs in the child; stdout and stderr are captured. Its result is the exit status. */
typedef int (*capture_fn)(void *arg);

int capture_run(capture_fn fn, void *arg, int timeout_ms, size_t most, struct capture *capture, struct err *err);

#endif
