/* SPDX-License-Identifier: BSD-2-Clause */
/* Services for the host's own sockets: the programs of bpf/sock_service.bpf.c at a cgroup, and their choices. */
#ifndef WARREN_DP_SOCKETS_H
#define WARREN_DP_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/socket.h"
#include "addr.h"
#include "err.h"

#define SOCKETS_OFF "off"

/*
 * Attaches the programs for the processes of this cgroup, which must be the root of all that use the host's network
 * namespace; those in other namespaces are not affected. Attached programs are replaced in place.
 *
 * `cgroup`: a directory of cgroup v2, or one with such a directory `unified`; SOCKETS_OFF: none; NULL: as attached
 * before, else /sys/fs/cgroup. *attached is false, without an error, if `cgroup` is NULL and there is no cgroup v2.
 */
int sockets_attach(const char *cgroup, bool *attached, struct err *err);
bool sockets_are_attached(void);

struct dp_socket_service {
	struct ip service, backend;
	uint16_t service_port, backend_port; /* host order */
	uint32_t backend_id;
};

/* A socket of the host that uses services. */
struct dp_socket {
	uint8_t protocol;
	bool connected;
	struct ip local;
	uint16_t local_port;
	uint32_t uid;
	struct dp_socket_service services[WR_SOCKET_SERVICES];
	size_t service_count;
};
/* Stops at fn's first non-zero return. */
int dp_socket_each(int (*fn)(const struct dp_socket *socket, void *arg), void *arg, struct err *err);

/*
 * Ends connected UDP sockets whose backend is the service's no longer, so that their processes connect again. Others
 * need no such help: a connection ends by itself, and each datagram of an unconnected socket gets a present backend.
 * Where the kernel cannot end sockets they stay as they are. *ended: how many were.
 */
int dp_sockets_end_stale(size_t *ended, struct err *err);

#endif
