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
#include "siphash.h"

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
	uint32_t table_size; /* of its table (maglev_size()); 0: none, backends are selected at random. Only `external` */
	bool moves;    /* WR_SERVICE_MOVES. Only `external` */
	bool restricted; /* only clients in `ranges` may begin flows; without any range, none */
	const struct prefix *ranges; /* of the service's family, without host bits, sorted, no duplicates */
	size_t range_count;
	bool any_node; /* a node port that leads to the same backends at other nodes' addresses; not `external` */
	bool released; /* another service proxy has new flows: only those with an entry continue; `external`, no backends */
};

struct dp_services;
/* Opens the maps, and completes or removes what a killed writer has left. */
int dp_services_open(struct dp_services **services, struct err *err);
/* Reads the maps again, for when something else may have changed them. */
int dp_services_reload(struct dp_services *services, struct err *err);
/*
 * The cluster's key, on which tables depend. Without it, and without an earlier one in the maps, services have no tables.
 * 1: it has changed, and every service with a table must be put again.
 */
int dp_services_set_key(struct dp_services *services, const uint8_t cluster[SIPHASH_KEY_SIZE], struct err *err);
void dp_services_close(struct dp_services *services);

/*
 * Adds the service, or replaces the one with its address, protocol, port and `external`: each packet sees the old
 * backends or the new ones. Flows keep their backend while it belongs to the service; the next packet of a UDP flow
 * whose backend is gone selects another one. Unchanged elements are not written.
 *
 * Services with the same backends in the same order share one list of them. `list` (may be NULL) saves the lookup of
 * the list: 0, or the value that an earlier put of the same backends has stored there.
 *
 * -E2BIG: there is no room for all backends, or for all ranges; the service has the first ones that fit, possibly none.
 * Or there is none for its table, and backends are selected at random. -ENOSPC: there is no room for the service; nothing
 * has changed.
 */
int dp_service_put(struct dp_services *services, const struct dp_service *service, uint32_t *list, struct err *err);
/*
 * Deletes the service with this address, protocol, port and `external`. Existing flows are not ended; new ones find no
 * service. An absent service is no error.
 */
int dp_service_delete(struct dp_services *services, const struct dp_service *service, struct err *err);
/*
 * Counts the backends in the maps, of IPv4 and of IPv6, each once however many services have it; and the elements of
 * lists; and the blocks of tables.
 */
void dp_services_count(const struct dp_services *services, size_t backends[2], size_t *listed, size_t *blocks);
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

/*
 * A ClusterIP of a Service. `complete`: all of its ports are in the maps, and packets to others are rejected; else the
 * stack has them. Deleting an absent one is no error. -ENOSPC
 */
int dp_cluster_ip_put(struct dp_services *services, const struct ip *ip, bool complete, struct err *err);
int dp_cluster_ip_delete(struct dp_services *services, const struct ip *ip, struct err *err);
int dp_cluster_ip_each(int (*fn)(const struct ip *ip, bool complete, void *arg), void *arg, struct err *err);
/* The prefixes of ClusterIPs become these: packets to other addresses in them are dropped. No duplicates. -ENOSPC */
int dp_service_cidrs_set(struct dp_services *services, const struct prefix *v, size_t count, struct err *err);

/* The source ranges of a service; the caller frees them. *restricted false: it has none. -ENOENT: no such service. */
int dp_service_ranges(const struct dp_service *service, bool *restricted, struct prefix **ranges, size_t *count,
		      struct err *err);

/* Whether that service has the backend; true if the maps cannot be read. */
bool dp_service_has_backend(const struct dp_service *service, uint32_t backend_id);
/* Whether a UDP service that the host's sockets use may have lost backends since the last call (dp_sockets_end_stale()). */
bool dp_services_udp_changed(struct dp_services *services);

#endif
