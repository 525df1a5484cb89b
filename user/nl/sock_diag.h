/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets of this network namespace (NETLINK_SOCK_DIAG). */
#ifndef WARREN_SOCK_DIAG_H
#define WARREN_SOCK_DIAG_H

#include <linux/inet_diag.h>

#include "addr.h"
#include "nl.h"

/*
 * Ends the socket: its process gets ECONNABORTED. 0 also if it is gone; -EOPNOTSUPP: the kernel cannot end sockets.
 */
int sock_destroy(struct nl *nl, uint8_t family, uint8_t protocol, const struct inet_diag_sockid *id, struct err *err);

/* A socket; `dual`: an IPv6 socket at every address that is IPv4's, too. */
struct sock_bound {
	struct ip ip; /* all zeros: at every address */
	uint16_t port;
	bool dual;
};
/*
 * Sockets of a family and protocol that any sender may reach: TCP sockets that listen, UDP sockets that are
 * not connected. Stops at fn's first non-zero return, which is returned. -ENOENT: the kernel does not list them.
 */
int sock_each_bound(struct nl *nl, uint8_t family, uint8_t protocol,
		    int (*fn)(const struct sock_bound *bound, void *arg), void *arg, struct err *err);

#endif
