/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network configuration that the container runtime reads: of this node's pods, with its pod CIDRs. That it is there
 * tells the kubelet that the node is ready for pods.
 *
 * A runtime loads its folder again at every change and holds up all ADDs meanwhile, so the file is written only if
 * something is different, and in a way that a runtime which looks at any moment reads the old one or the new one.
 */
#ifndef WARREN_AGENT_CONFLIST_H
#define WARREN_AGENT_CONFLIST_H

#include <stdbool.h>

#include "addr.h"
#include "err.h"
#include "file.h"

/* The text, to be freed; NULL: no memory. */
char *conflist_text(const struct prefix cidrs[2]);
/* What the plugin alone is told of it for GC, with no attachment named as valid; as above. */
char *conflist_gc_text(const struct prefix cidrs[2]);
/*
 * 1: written; 0: it is so already. -ESTALE: its folder was removed on the host, but a container that has it mounted has no
 * other: nothing can be written there any more.
 */
int conflist_write(const char *path, const char *text, struct err *err);
void conflist_folder(const char *path, char folder[FILE_PATH_MAX]); /* where it is */
/*
 * The runtime takes the first configuration by name: 1 (err set) if another one comes before `path`. One of Multus, which
 * calls the others, is none.
 */
int conflist_rival(const char *path, struct err *err);

#endif
