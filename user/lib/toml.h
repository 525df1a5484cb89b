/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The strings of a TOML text (toml.io, 1.0), for the few that are used of a container runtime's configuration: Debian 12
 * has no TOML library for C. What is not a string is skipped.
 */
#ifndef WARREN_TOML_H
#define WARREN_TOML_H

#include <stddef.h>

#include "err.h"

/*
 * Calls `string` for each string, in the order of the text. `key` is its whole name, the parts joined by '/':
 * [a."b.c"] with d = "x" is a/b.c/d. `index` is the place in an array, else 0; strings in arrays of arrays or of tables
 * are skipped, as multi-line ones are. -EINVAL, with the line: the text is not TOML; strings before it were reported.
 */
int toml_strings(const char *text, void (*string)(const char *key, size_t index, const char *value, void *arg),
		 void *arg, struct err *err);

#endif
