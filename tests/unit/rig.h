/* SPDX-License-Identifier: BSD-2-Clause */
/* Included by every test: cmocka, and helpers for addresses and errors. */
#ifndef WARREN_RIG_H
#define WARREN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "addr.h"
#include "array.h"
#include "err.h"

/* A call that fills in `err` succeeds. */
#define assert_ok(expr)                                                                                                \
	do {                                                                                                           \
		int rc_ = (expr);                                                                                      \
		if (rc_)                                                                                               \
			fail_msg("%s: %d, %s (hint: %s)", #expr, rc_, err.msg, err.hint);                              \
	} while (0)

static inline struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip), 0);
	return ip;
}

static inline struct prefix prefix(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

#endif
