/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services in the maps (abi/service.h): address, protocol and port, and the backends among which new flows are
 * balanced. The agent, which holds LOCK_AGENT, is the only writer; any process may read.
 */
#ifndef WARREN_DP_SERVICES_H
#define WARREN_DP_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

struct dp_backend {
	struct ip ip;	/* of the service's family */
	uint16_t port;	/* host order */
};

struct dp_service {
	struct ip ip;
	uint16_t port;	  /* host order */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	uint32_t affinity_seconds; /* 0: none */
	const struct dp_backend *backends; /* no duplicates; none: new flows are rejected */
	size_t backend_count;
	bool external; /* for clients outside the cluster, at this node's uplinks; else for pods and the host's sockets */
	bool local;    /* only this node's backends: without any, packets are dropped */
	bool any_node; /* a node port that leads to the same backends at other nodes' addresses; not `external` */
};

struct dp_services;
/* Opens the maps, and completes or removes what a killed writer has left. */
int dp_services_open(struct dp_services **services, struct err *err);
/* Reads the maps again, for when something else may have changed them. */
int dp_services_reload(struct dp_services *services, struct err *err);
void dp_services_close(struct dp_services *services);

/*
 * Adds the service, or replaces the one with its address, protocol, port and `external`: each packet sees the old
 * backends or the new ones. Flows keep their backend while it belongs to the service; the next packet of a UDP flow
 * whose backend is gone selects another one. Unchanged elements are not written.
 *
 * Services with the same backends in the same order share one list of them. `list` (may be NULL) saves the lookup of
 * the list: 0, or the value that an earlier put of the same backends has stored there.
 *
 * -E2BIG: there is no room for all backends; the service has the first ones that fit, possibly none. -ENOSPC: there is
 * no room for the service; nothing has changed.
 */
int dp_service_put(struct dp_services *services, const struct dp_service *service, uint32_t *list, struct err *err);
/*
 * Deletes the service with this address, protocol, port and `external`. Existing flows are not ended; new ones find no
 * service. An absent service is no error.
 */
int dp_service_delete(struct dp_services *services, const struct dp_service *service, struct err *err);
/*
 * Counts the backends in the maps, of IPv4 and of IPv6, each once however many services have it; and the elements of
 * lists.
 */
void dp_services_count(const struct dp_services *services, size_t backends[2], size_t *listed);
/*
 * Every service in the maps, also those of an earlier agent; stops at fn's first non-zero return. The services have the
 * number of their backends only: many may share a long list.
 */
int dp_service_each(int (*fn)(const struct dp_service *service, void *arg), void *arg, struct err *err);
/*
 * The present backends of the service with this address, protocol, port and `external`; the caller frees them. -ENOENT:
 * there is no such service.
 */
int dp_service_backends(const struct dp_service *service, struct dp_backend **backends, size_t *count,
			struct err *err);

/* Whether that service has the backend; true if the maps cannot be read. */
bool dp_service_has_backend(const struct dp_service *service, uint32_t backend_id);
/* Whether a UDP service that the host's sockets use may have lost backends since the last call (dp_sockets_end_stale()). */
bool dp_services_udp_changed(struct dp_services *services);

#endif
