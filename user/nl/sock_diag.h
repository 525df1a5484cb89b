/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets of this network namespace (NETLINK_SOCK_DIAG). */
#ifndef WARREN_SOCK_DIAG_H
#define WARREN_SOCK_DIAG_H

#include <linux/inet_diag.h>

#include "nl.h"

/*
 * Ends the socket: its process gets ECONNABORTED. 0 also if it is gone; -EOPNOTSUPP: the kernel cannot end sockets.
 */
int sock_destroy(struct nl *nl, uint8_t family, uint8_t protocol, const struct inet_diag_sockid *id, struct err *err);

#endif
