/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static int log_fd = STDERR_FILENO;
static enum log_level log_threshold = LOG_WARN;
static const char *log_prefix = "";

int log_level_parse(const char *name, enum log_level *level)
{
	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = i;
			return 0;
		}
	}
	return -EINVAL;
}

int log_open(const char *file, enum log_level level, const char *prefix, struct err *err)
{
	int fd = STDERR_FILENO;

	if (file && *file) {
		fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
		if (fd < 0)
			return err_errno(err, errno, "cannot open the log file %s", file);
	}
	if (log_fd != STDERR_FILENO)
		close(log_fd);
	log_fd = fd;
	log_threshold = level;
	log_prefix = prefix;
	return 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1400];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;
	int m;

	if (level > log_threshold)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s[%d]: ", ts.tv_nsec / 1000000, level_names[level],
		      log_prefix, (int)getpid());
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (m > 0)
		n += (size_t)m < sizeof(line) - n - 1 ? (size_t)m : sizeof(line) - n - 2;
	/* A message may quote text from the network: keep it on one line. */
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	line[n++] = '\n';
	if (write(log_fd, line, n) < 0)
		return; /* a full disk must not fail the operation that is being logged */
}

void log_err(enum log_level level, const struct err *err)
{
	log_line(level, "%s%s%s", err->msg, *err->hint ? "; " : "", err->hint);
}
