/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that change the host and need more rights than the agent: `prepare` and `install` before its first start
 * (init containers), and `uninstall`. Each logs its steps. They return 0, or -errno after logging the error.
 */
#ifndef WARREN_AGENT_SETUP_H
#define WARREN_AGENT_SETUP_H

#include "options.h"
#include "paths.h"

#define WARREN_PLUGIN "warren-cni"
/* An earlier release's `install` brought the chained plugin; since then that is in installed.h's record. */
#define PORTMAP_FILE WARREN_STATE_DIR "/portmap-is-ours"

/* Mounts bpffs and sets sysctls, which the agent's capabilities do not allow. */
int setup_prepare(const struct options *options);
/* Installs the plugin, and the chained reference plugin if the host has none. */
int setup_install(const struct options *options);
/* Restores the host; -EBUSY while pods of Warren exist, unless it may wait for their end. */
int setup_uninstall(const struct options *options);

#endif
