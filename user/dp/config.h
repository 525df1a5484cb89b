/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings in map config that change while the programs run. -ENOENT: nothing is loaded. */
#ifndef WARREN_CONFIG_H
#define WARREN_CONFIG_H

#include <stdint.h>

#include "err.h"

/* What pods made from now on get as MTU where their network names none; 0: that of the device of the default route. */
int dp_pod_mtu_set(uint16_t mtu, struct err *err);

/*
 * Nobody on this node but the programs may send to this UDP port from now on (the nftables guard): what a cluster's
 * member needs, and what other users of Geneve on a host without a cluster must be spared. 0: no such rules. Changes
 * nothing if all is so already; node_down() ends it.
 */
int dp_tunnel_port_set(uint16_t port, struct err *err);

#endif
