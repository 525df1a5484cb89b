/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is done once on a host, with more rights than the agent has: `prepare` and `install` before its first start (an
 * init container), `uninstall` at the end. Each logs what it does; 0, or -errno after the error was logged.
 */
#ifndef WARREN_AGENT_SETUP_H
#define WARREN_AGENT_SETUP_H

#include "options.h"
#include "paths.h"

#define WARREN_PLUGIN "warren-cni"
/* `install` brought the chained plugin: `uninstall` removes it. */
#define PORTMAP_FILE WARREN_STATE_DIR "/portmap-is-ours"

/* bpffs and sysctls: what the agent's own capabilities do not allow. */
int setup_prepare(const struct options *options);
/* The plugin, and the reference plugin that is chained behind it where the host has none. */
int setup_install(const struct options *options);
/* The host as it was before; -EBUSY while pods of Warren are there, unless it may wait for their end. */
int setup_uninstall(const struct options *options);

#endif
