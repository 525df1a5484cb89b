/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference plugin after ours in the runtime's configuration. A runtime uses one version of the CNI specification
 * for the whole list, so an old plugin (Debian's supports 1.0.0 at most) limits it.
 */
#ifndef WARREN_AGENT_CHAINED_H
#define WARREN_AGENT_CHAINED_H

#include <stdbool.h>

#include "err.h"

#define CHAINED_PLUGIN "portmap"

/* Runs `path` to read its versions, and stores the result for agents in containers, which cannot run it. */
int chained_probe(const char *path, bool *supported, struct err *err);
/* Whether the list may use CNI 1.1.0: unless the last chained_probe() found otherwise. */
bool chained_supports_latest(void);

#endif
