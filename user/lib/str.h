/* SPDX-License-Identifier: BSD-2-Clause */
/* Strings in fixed arrays, and parsing of strings. */
#ifndef WARREN_STR_H
#define WARREN_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Copies what fits, NUL-terminated; false if that is not all of it. */
static inline bool str_copy(char *to, size_t room, const char *from)
{
	size_t len = strlen(from), fits = len < room ? len : room - 1;

	memcpy(to, from, fits);
	to[fits] = '\0';
	return fits == len;
}

/* Replaces all but printable ASCII, so that external text can be put into an error, a log and JSON. */
static inline void str_printable(char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

int hex_digit(char c); /* its value; -1: it is none */

/* The whole text as a number (decimal, or hex after 0x) of at most `max`; -EINVAL. */
int number_parse(const char *text, uint64_t max, uint64_t *number);

/*
 * Splits "HOST:REST" at the colon ("[IPV6]:REST" if HOST is an IPv6 address, which needs no brackets without REST).
 * *rest is NULL if there is no colon. -EINVAL.
 */
int host_split(const char *text, char *host, size_t room, const char **rest);

#endif
