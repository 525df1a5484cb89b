/* SPDX-License-Identifier: BSD-2-Clause */
/* Implements balancer_ops by this node's maps. */
#ifndef WARREN_AGENT_BALANCER_DP_H
#define WARREN_AGENT_BALANCER_DP_H

#include "balancer.h"

/* Its arg: struct dp_services *. */
extern const struct balancer_ops balancer_dp_ops;

#endif
