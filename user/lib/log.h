/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs' log: stderr or a file, never stdout. Libraries return errors and do not log. */
#ifndef WARREN_LOG_H
#define WARREN_LOG_H

#include "err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Level from its name (error, warn, info, debug); -EINVAL for any other. */
int log_level_parse(const char *name, enum log_level *level);

/*
 * Where lines go: `file` NULL or "" means stderr; else it is created (0640) and appended to, a line per write, so that
 * concurrent processes do not mix their lines. `prefix` is what each line starts with after time and level (kept by
 * reference). May be called again.
 */
int log_open(const char *file, enum log_level level, const char *prefix, struct err *err);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An error with its hint. */
void log_err(enum log_level level, const struct err *err);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
