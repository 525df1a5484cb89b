/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `install` has made on the host, so that `uninstall` removes that and nothing else: a file, a path of the host a
 * line, that of a directory with a slash at its end. A path is recorded before it is made.
 */
#ifndef WARREN_AGENT_INSTALLED_H
#define WARREN_AGENT_INSTALLED_H

#include <stdbool.h>

#include "err.h"

/* Nothing is written if the path is recorded. */
int installed_add(const char *path, struct err *err);
bool installed_has(const char *path);
bool installed_any(void);
/* Removes all of it, the last first; a directory only if it is empty. `host`: see struct options. The record stays. */
int installed_remove(const char *host, struct err *err);

#endif
