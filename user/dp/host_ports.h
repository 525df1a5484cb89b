/* SPDX-License-Identifier: BSD-2-Clause */
/* hostPorts of this node's pods, in maps host_ports4 and host_ports6 (abi/service.h). Writers hold LOCK_ENDPOINTS. */
#ifndef WARREN_HOST_PORTS_H
#define WARREN_HOST_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

struct dp_host_port {
	struct ip ip;	  /* of the host; all zeros: each of its addresses of that family */
	uint16_t port;	  /* of the host */
	uint16_t target;  /* of the pod */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	bool own;	  /* the address is this host's: its own sockets use it, too */
	uint32_t ifindex; /* of the endpoint */
};

/*
 * Writes the hostPorts of an endpoint, which is in the maps with the flag WR_EP_HOST_PORTS and is deleted together with
 * them. -EEXIST: another pod has one of them, at the same address or where one of the two is for every address; nothing
 * is written. -ENOSPC: the map is full; the caller deletes the endpoint.
 */
int dp_host_ports_put(uint32_t ifindex, const struct dp_host_port *v, size_t count, struct err *err);
/* Deletes those of the endpoint. The caller holds LOCK_ENDPOINTS. */
int dp_host_ports_delete(uint32_t ifindex, struct err *err);
/* Whether that endpoint has the port of the host's address; true if the maps cannot be read. */
bool dp_host_port_is_of(uint32_t ifindex, const struct ip *ip, uint16_t port, uint8_t protocol);
/* Of all endpoints, in no order; stops at fn's first non-zero return. */
int dp_host_port_each(int (*fn)(const struct dp_host_port *host_port, void *arg), void *arg, struct err *err);
/* "0.0.0.0:8080/TCP" */
#define HOST_PORT_STRLEN (SOCKET_STRLEN + 16)
const char *dp_host_port_format(const struct dp_host_port *host_port, char buf[HOST_PORT_STRLEN]);
bool dp_host_port_is_everywhere(const struct dp_host_port *host_port); /* at each address of its family */

#endif
