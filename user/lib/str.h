/* SPDX-License-Identifier: BSD-2-Clause */
/* Text in fixed arrays, and text taken apart. */
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

/* Of what others wrote only printable ASCII is kept, so that it can stand in an error, in a log and in JSON. */
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
 * Takes "HOST:REST" apart at the colon ("[IPV6]:REST" if HOST is an IPv6 address, which may stand alone without
 * brackets).
 * *rest is NULL if there is no colon. -EINVAL.
 */
int host_split(const char *text, char *host, size_t room, const char **rest);

#endif
