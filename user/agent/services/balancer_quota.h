/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quotas of the maps of services: per Service, per namespace and per node, so that one namespace's objects cannot
 * exhaust them. They are granted by max-min fairness: a request below an equal part is granted in full, whatever the
 * others request. So a Service of a namespace with few Services can always grow.
 */
#ifndef WARREN_AGENT_BALANCER_QUOTA_H
#define WARREN_AGENT_BALANCER_QUOTA_H

#include <stddef.h>

#include "abi/service.h"

/* What has a quota, per family. */
enum quota {
	QUOTA_PORTS4, /* elements of services4 and external4: addresses with their ports */
	QUOTA_PORTS6,
	QUOTA_BACKENDS4, /* elements of lists of IPv4 backends; a list that ports of one Service share counts once */
	QUOTA_BACKENDS6,
	QUOTA_TABLES, /* blocks of the tables of lists, of both families */
	QUOTA_RANGES4, /* source ranges; those beyond it are not programmed: clients in them are refused */
	QUOTA_RANGES6,
	QUOTAS,
};

/* Bounded, since a list is written in one iteration of the agent's loop. */
#define PORT_BACKENDS_MAX 8192
#define SERVICE_PORTS_MAX 4096
#define SERVICE_ADDRESSES_MAX 1024 /* of load balancers, and external IPs */
#define SERVICE_BACKENDS_MAX 16384
#define SERVICE_RANGES_MAX 1024
#define NAMESPACE_RANGES_MAX (NODE_RANGES_MAX / 2)
/* A new set is written before the old one is deleted. */
#define NODE_RANGES_MAX (WR_MAX_SOURCE_RANGES / 2)
#define NAMESPACE_PORTS_MAX (WR_MAX_SERVICES / 2)
#define NAMESPACE_BACKENDS_MAX (WR_MAX_BACKENDS / 2)
#define SERVICE_TABLES_MAX (WR_MAX_TABLE_BLOCKS / 16)
#define NAMESPACE_TABLES_MAX (WR_MAX_TABLE_BLOCKS / 2)
/* New tables are written before the old ones are deleted. */
#define NODE_TABLES_MAX (WR_MAX_TABLE_BLOCKS - WR_MAX_TABLE_BLOCKS / 8)
#define NODE_PORTS_MAX WR_MAX_SERVICES
/* A new list is written before the old one is deleted, so there must be room for the longest. */
#define NODE_BACKENDS_MAX (WR_MAX_BACKENDS - SERVICE_BACKENDS_MAX)
_Static_assert(2 * WR_MAX_BACKENDS <= WR_MAX_LISTED, "lists of both families have room for all of their backends");

extern const size_t service_max[QUOTAS], namespace_max[QUOTAS], node_max[QUOTAS];

struct quota_request {
	size_t requested, granted;
	const char *name; /* of equal requests, the first by name is granted the remainder */
	void *owner;
};
/* Sorts them, and sets `granted`. */
void quota_grant(struct quota_request *v, size_t count, size_t room);

#endif
