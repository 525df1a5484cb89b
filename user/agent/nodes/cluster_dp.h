/* SPDX-License-Identifier: BSD-2-Clause */
/* Implements cluster_ops and ipcache_ops by this node's maps, devices and routing table. */
#ifndef WARREN_AGENT_CLUSTER_DP_H
#define WARREN_AGENT_CLUSTER_DP_H

#include "cluster.h"

struct cluster_kernel;
int cluster_kernel_open(struct cluster_kernel **kernel, struct err *err);
void cluster_kernel_close(struct cluster_kernel *kernel);
/* Their arg: struct cluster_kernel *. */
extern const struct cluster_ops cluster_kernel_ops;
extern const struct ipcache_ops ipcache_kernel_ops;

int cluster_kernel_fd(const struct cluster_kernel *kernel); /* readable after a change; then: */
int cluster_kernel_read(struct cluster_kernel *kernel, struct nexthop_change *change, struct err *err);

#endif
