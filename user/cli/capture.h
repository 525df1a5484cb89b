/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What something prints, for as long and as much as it may: it runs in a child of its own, so that whatever becomes of
 * it becomes of nobody else.
 */
#ifndef WARREN_CAPTURE_H
#define WARREN_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct capture {
	char *data; /* the caller frees it */
	size_t size;
	bool cut;   /* there was more than that */
	bool late;  /* it was ended, as its time was up */
	int exit;   /* its exit status; -1: none */
};

/* The child: prints to stdout, and to stderr; its result is the exit status. */
typedef int (*capture_fn)(void *arg);

int capture_run(capture_fn fn, void *arg, int timeout_ms, size_t most, struct capture *capture, struct err *err);

#endif
