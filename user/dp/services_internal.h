/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys and values of the maps of services, for services.c, which writes them, and services_read.c. */
#ifndef WARREN_DP_SERVICES_INTERNAL_H
#define WARREN_DP_SERVICES_INTERNAL_H

#include <arpa/inet.h>
#include <string.h>

#include "backend_lists.h"
#include "services.h"

static const char *const service_maps[2][2] = { { "services4", "services6" }, { "external4", "external6" } };
static const char *const backend_maps[] = { "backends4", "backends6" };
static const char *const range_maps[] = { "source_ranges4", "source_ranges6" };

union service_key {
	struct wr_service4_key v4;
	struct wr_service6_key v6;
};

static inline bool service_is_v6(const struct dp_service *service)
{
	return service->ip.family == AF_INET6;
}

static inline const char *service_map(const struct dp_service *service)
{
	return service_maps[service->external][service_is_v6(service)];
}

static inline void service_key_make(const struct dp_service *service, union service_key *key)
{
	memset(key, 0, sizeof(*key));
	if (service_is_v6(service)) {
		memcpy(&key->v6.addr, service->ip.bytes, sizeof(key->v6.addr));
		key->v6.port = htons(service->port);
		key->v6.l4_proto = service->protocol;
	} else {
		memcpy(&key->v4.addr, service->ip.bytes, sizeof(key->v4.addr));
		key->v4.port = htons(service->port);
		key->v4.l4_proto = service->protocol;
	}
}

static inline struct dp_backend backend_of(const union backend *from, bool v6)
{
	return (struct dp_backend){
		.ip = v6 ? ip_from(AF_INET6, &from->v6.addr) : ip_from(AF_INET, &from->v4.addr),
		.port = ntohs(v6 ? from->v6.port : from->v4.port),
	};
}

static inline struct prefix range_of(const void *key, bool v6)
{
	const struct wr_range6_key *range = key; /* wr_range4_key is its beginning */

	return (struct prefix){ ip_from(v6 ? AF_INET6 : AF_INET, &range->addr), (uint8_t)(range->prefixlen - WR_RANGE_SET_BITS) };
}

#endif
