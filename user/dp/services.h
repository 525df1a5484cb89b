/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services in the maps (abi/service.h): an address, protocol and port, and the backends one of which a new flow goes
 * to. Written by the agent, read by everybody. One writer at a time: who holds LOCK_AGENT.
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
	const struct dp_backend *backends; /* none: new flows are rejected; each once */
	size_t backend_count;
};

struct dp_services;
/* mends what a writer that was killed has left half done */
int dp_services_open(struct dp_services **services, struct err *err);
/* Reads the maps anew, after something else may have changed them. */
int dp_services_reload(struct dp_services *services, struct err *err);
void dp_services_close(struct dp_services *services);

/*
 * Adds the service, or replaces what there is for its address, protocol and port: each packet sees the old backends or
 * the new ones. Flows go on with their backend as long as it is one of the service's; a UDP flow whose backend is gone
 * gets another one with its next packet. What is in the maps as it should be is not written.
 *
 * Services with the same backends in the same order share one list of them. `list` (may be NULL) saves the search for it:
 * 0, or what an earlier put of the same backends has left there.
 *
 * -E2BIG: there is no room for all its backends. It has the first ones then, as many as fit, and no others: also where that
 * is none. -ENOSPC: there is no room for the service; nothing has changed.
 */
int dp_service_put(struct dp_services *services, const struct dp_service *service, uint32_t *list, struct err *err);
/* Its flows end as they end; new ones are nobody's. No error if there is none. */
int dp_service_delete(struct dp_services *services, const struct ip *ip, uint16_t port, uint8_t protocol,
		      struct err *err);
/*
 * How many backends there are in the maps, of IPv4 and of IPv6: each once, however many services have it; and how many
 * elements of lists.
 */
void dp_services_count(const struct dp_services *services, size_t backends[2], size_t *listed);
/*
 * What is in the maps, also what an earlier agent has left; stops at fn's first non-zero return. Of their backends the
 * services have the number only: many may share a long list.
 */
int dp_service_each(int (*fn)(const struct dp_service *service, void *arg), void *arg, struct err *err);
/* The backends that the service has now, the caller's to free(). -ENOENT: there is no such service. */
int dp_service_backends(const struct ip *ip, uint16_t port, uint8_t protocol, struct dp_backend **backends,
			size_t *count, struct err *err);

#endif
