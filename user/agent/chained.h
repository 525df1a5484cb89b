/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference plugin that comes after ours in the runtime's configuration. A runtime picks one version of the CNI
 * specification for the whole list, so that an old one (Debian's knows 1.0.0) decides for all.
 */
#ifndef WARREN_AGENT_CHAINED_H
#define WARREN_AGENT_CHAINED_H

#include <stdbool.h>

#include "err.h"

#define CHAINED_PLUGIN "portmap"

/* Asks the program at `path`, and keeps the answer for agents that cannot see it. */
int chained_ask(const char *path, bool *knows, struct err *err);
/* Whether the list may be read as CNI 1.1.0: unless the last answer said otherwise. */
bool chained_knows_latest(void);

#endif
