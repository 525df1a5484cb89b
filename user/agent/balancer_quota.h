/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of the maps of services one Service, one namespace and all of them may have, so that nobody's objects take the
 * room of others'. What exceeds it is shared out: who asks for less than an equal part gets all of it, whatever the others
 * ask for. So a Service of a modest namespace can always grow.
 */
#ifndef WARREN_AGENT_BALANCER_QUOTA_H
#define WARREN_AGENT_BALANCER_QUOTA_H

#include <stddef.h>

#include "abi/service.h"

/* What there is a quota of, of each family. */
enum quota {
	QUOTA_PORTS4,	 /* elements of services4: addresses with their ports */
	QUOTA_PORTS6,
	QUOTA_BACKENDS4, /* elements of lists of IPv4 backends; ports of one Service with the same ones count once */
	QUOTA_BACKENDS6,
	QUOTAS,
};

/* A list is written in one turn of the agent's loop. */
#define PORT_BACKENDS_MAX 8192
#define SERVICE_PORTS_MAX 4096
#define SERVICE_BACKENDS_MAX 16384
#define NAMESPACE_PORTS_MAX (WR_MAX_SERVICES / 2)
#define NAMESPACE_BACKENDS_MAX (WR_MAX_BACKENDS / 2)
#define NODE_PORTS_MAX WR_MAX_SERVICES
/* A new list is written before the old one goes: there is always room for the longest. */
#define NODE_BACKENDS_MAX (WR_MAX_BACKENDS - SERVICE_BACKENDS_MAX)
_Static_assert(2 * WR_MAX_BACKENDS <= WR_MAX_LISTED, "lists of both families have room for all of their backends");

extern const size_t service_max[QUOTAS], namespace_max[QUOTAS], node_max[QUOTAS];

struct share {
	size_t asks, gets;
	const char *name; /* decides between those that ask for the same: the first has what cannot be divided */
	void *owner;
};
/* Sorts them, and fills in what each gets: all of `room`, if they ask for as much. */
void quota_share(struct share *v, size_t count, size_t room);

#endif
