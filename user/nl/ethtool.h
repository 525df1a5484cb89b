/* SPDX-License-Identifier: BSD-2-Clause */
/* Device features by ethtool netlink (kernel: Documentation/networking/ethtool-netlink.rst). */
#ifndef WARREN_ETHTOOL_H
#define WARREN_ETHTOOL_H

#include <stdbool.h>

#include "nl.h"

/*
 * Turns features off by name; names unknown to this kernel are skipped. -EOPNOTSUPP: the device keeps one on.
 * `nl`: NETLINK_GENERIC, in the device's netns.
 */
int ethtool_features_off(struct nl *nl, uint32_t ifindex, const char *const *names, size_t count, struct err *err);
/* Whether feature `name` is active on the device; -ENOENT: the kernel has no such feature. */
int ethtool_feature_get(struct nl *nl, uint32_t ifindex, const char *name, bool *active, struct err *err);

#endif
