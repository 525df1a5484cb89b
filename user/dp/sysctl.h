/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sysctls that a node needs, each recorded (WARREN_SYSCTL_FILE) before it is changed, so that `down` can restore it.
 */
#ifndef WARREN_SYSCTL_H
#define WARREN_SYSCTL_H

#include "nl.h"

/*
 * Forwarding of both families; accept_ra=2 first on links whose default route came by RA, else forwarding removes it.
 */
int sysctl_setup(struct nl *nl, struct err *err);
int sysctl_restore(struct err *err);
/* Value of /proc/sys/<path>; -1 if it cannot be read (no such family). */
int sysctl_get(const char *path);

#endif
