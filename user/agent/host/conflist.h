/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The container runtime's network configuration of this node's pods, with its pod CIDRs. While it exists, the runtime
 * reports the node's network as ready to the kubelet.
 *
 * A runtime loads its directory again at every change and delays all ADDs meanwhile, so the file is written only if it
 * differs, and atomically: a runtime reads the old file or the new one.
 */
#ifndef WARREN_AGENT_CONFLIST_H
#define WARREN_AGENT_CONFLIST_H

#include <stdbool.h>

#include "addr.h"
#include "err.h"
#include "file.h"

/* Whose work hostPorts are. */
enum host_ports {
	HOST_PORTS_PORTMAP, /* the chained plugin's */
	HOST_PORTS_NATIVE,  /* warren-cni's */
	HOST_PORTS_CHANGED, /* warren-cni's; portmap is in the list for DELs of pods that have theirs by it */
};

/* The text, which the caller frees; NULL: no memory. */
char *conflist_text(const struct prefix cidrs[2], enum host_ports host_ports);
/* HOST_PORTS_NATIVE, or _CHANGED while there are pods of HOST_PORTS_PORTMAP, or of an earlier release. */
enum host_ports conflist_native(void);
/* The plugin's part of it as the input of a GC without valid attachments; as above. */
char *conflist_gc_text(const struct prefix cidrs[2]);
/*
 * 1: written; 0: unchanged. -ESTALE: its directory was removed on the host while this container has it mounted: it
 * cannot be written until the container is restarted.
 */
int conflist_write(const char *path, const char *text, struct err *err);
void conflist_directory(const char *path, char directory[FILE_PATH_MAX]); /* of the file */
/*
 * The runtime uses the first configuration by name: 1 (err set) if another one sorts before `path`. That of Multus is
 * ignored, since it delegates to the others.
 */
int conflist_preceding(const char *path, struct err *err);

#endif
