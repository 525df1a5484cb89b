/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors with context. Functions return 0 or -errno; those that take a `struct err *` also fill it in, so that the
 * program can report once what failed, on what, and what to do next. Callers may pass NULL.
 */
#ifndef WARREN_ERR_H
#define WARREN_ERR_H

/* A code for libraries: a required facility is not on this node. (The number is CNI's for "plugin not available".) */
#define ERR_NOT_AVAILABLE 50

struct err {
	int num;        /* positive errno */
	int code;       /* the program's exit or error code, if the function that failed has set one; else 0 */
	char msg[512];  /* what failed, on what */
	char hint[256]; /* what to do next; may be empty */
};

/* Sets the message (replacing an earlier one) and returns -num. */
int err_set(struct err *e, int num, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and strerror(num) appended. */
int err_errno(struct err *e, int num, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message on the way up. Returns -e->num; if e is NULL, that of the last err_set(). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint: what to do next. Returns as err_wrap(), so that `return err_hint(...)` may end a function. */
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
