/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the balancer share. */
#ifndef WARREN_AGENT_BALANCER_INTERNAL_H
#define WARREN_AGENT_BALANCER_INTERNAL_H

#include <sys/types.h>

#include "balancer.h"
#include "siphash.h"
#include "table.h"

struct service {
	struct table_link by_name;
	struct list dirty;  /* in balancer.dirty: to be looked at */
	struct list failed; /* in balancer.failed: ... again, some time */
	struct list slices, fronts;
	struct service_object *object; /* NULL: there are only slices, or nothing is left */
	char *problem;		       /* NULL: none */
	char *namespace, *name;
};

/* What is kept of an endpoint. */
struct address {
	struct ip ip;
	bool ready, draining, local; /* draining: it serves, and terminates */
};

struct slice {
	struct table_link by_name;
	struct list of_service;
	struct service *service;
	struct address *v;
	size_t count;
	struct slice_port *ports;
	size_t port_count;
	char *namespace, *name;
};

/* An address and port, in the maps or claimed by a Service. In the maps it is the one of the first claimant. */
struct front {
	struct table_link by_key;
	struct list of_service;
	struct list orphans;	 /* in balancer.orphans: it is nobody's, and is to be deleted */
	struct service *service; /* NULL: nobody's */
	struct ip ip;
	uint16_t port;
	uint8_t protocol;
	bool claimed;		 /* by the Service as it is now */
	bool written;		 /* is in the maps, with what has this fingerprint; 0: with whatever */
	size_t index;		 /* in service->object->ports */
	size_t backends;
	uint64_t fingerprint;
};

struct balancer {
	const struct balancer_ops *ops;
	void *arg;
	const char *node_name;
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes */
	struct table services, slices, fronts;
	struct list dirty, failed, orphans;
	bool loaded; /* what is in the maps is known */
	bool again;  /* what has failed is to be tried again */
	struct dp_backend *backends; /* of the service that is being written */
	size_t backend_room;
	uint64_t since_ns; /* of the first change that is not written; 0: there is none */
	unsigned long failures;
	struct histogram latency;
};

/* --- balancer_objects.c --- */

void service_free(struct balancer *b, struct service *s); /* one without slices and fronts */
void slice_free(struct balancer *b, struct slice *slice);

/* --- balancer_fronts.c --- */

int service_cmp(const struct service *a, const struct service *b); /* by namespace and name */
/* Whether it is its Service's, the first of the claimants, or else whose. */
bool front_counts(const struct balancer *b, const struct front *f, const struct service **other);
/* The fronts that the Service claims now, and no others. -ENOMEM leaves it dirty. */
int fronts_update(struct balancer *b, struct service *s);
void front_free(struct balancer *b, struct front *f);
int fronts_load(struct balancer *b, struct err *err); /* what is in the maps */

/* --- balancer_join.c --- */

/* The backends of a front of a Service into balancer.backends: how many, or -ENOMEM. */
ssize_t front_join(struct balancer *b, const struct front *f);
uint64_t backends_fingerprint(const struct balancer *b, const struct dp_service *service);

#endif
