/* SPDX-License-Identifier: BSD-2-Clause */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * The number of the last error: err_wrap() and err_hint() return it to callers that pass NULL.
 */
static _Thread_local int last_num = EINVAL;

static int status(const struct err *e)
{
	if (!e)
		return -last_num;
	return e->num ? -e->num : -EINVAL;
}

static void __attribute__((format(printf, 3, 0))) set(struct err *e, int num, const char *fmt, va_list ap)
{
	last_num = num;
	if (!e)
		return;
	*e = (struct err){ .num = num };
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
}

int err_set(struct err *e, int num, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(e, num, fmt, ap);
	va_end(ap);
	return -num;
}

int err_errno(struct err *e, int num, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(e, num, fmt, ap);
	va_end(ap);
	if (e) {
		size_t n = strlen(e->msg);

		snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(num));
	}
	return -num;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char text[sizeof(e->msg)];
	va_list ap;
	size_t n;

	if (!e)
		return status(e);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, ": %s", e->msg);
	memcpy(e->msg, text, sizeof(e->msg));
	return status(e);
}

int err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
		va_end(ap);
	}
	return status(e);
}
