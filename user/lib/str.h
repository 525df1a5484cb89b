/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounded copies of text into fixed arrays. */
#ifndef WARREN_STR_H
#define WARREN_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copies what fits, NUL-terminated; false if that is not all of it. */
static inline bool str_copy(char *to, size_t room, const char *from)
{
	size_t len = strlen(from), fits = len < room ? len : room - 1;

	memcpy(to, from, fits);
	to[fits] = '\0';
	return fits == len;
}

#endif
