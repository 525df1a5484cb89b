/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services and their EndpointSlices, joined, into the maps of services by difference. All that it does to the maps is
 * behind struct balancer_ops, so that a test can put a model in their place.
 *
 * A new flow goes to one of the endpoints that are ready; if none is, to those that still serve while they terminate;
 * if there are none of these either, nowhere: it is refused. With internalTrafficPolicy Local only this node's count.
 *
 * An address and port that several Services claim is the first one's by namespace and name.
 *
 * What does not fit a Service's quota (balancer_quota.h) is not programmed, and its problem says so: of its ports the first
 * ones are, of each port's backends the first ones by slice. All else goes on.
 */
#ifndef WARREN_AGENT_BALANCER_H
#define WARREN_AGENT_BALANCER_H

#include "err.h"
#include "histogram.h"
#include "objects.h"
#include "services.h"

struct balancer_ops {
	/* as the functions of services.h */
	int (*put)(void *arg, const struct dp_service *service, uint32_t *list, struct err *err);
	int (*delete)(void *arg, const struct ip *ip, uint16_t port, uint8_t protocol, struct err *err);
	/* ... after the maps have been read anew */
	int (*each)(void *arg, int (*fn)(const struct dp_service *service, void *fn_arg), void *fn_arg,
		    struct err *err);
};

struct balancer;
/* The name of our node is borrowed. NULL without memory. */
struct balancer *balancer_new(const struct balancer_ops *ops, void *arg, const char *node_name);
void balancer_free(struct balancer *b);

/* Each takes its object over, also on failure (-ENOMEM). */
int balancer_put_service(struct balancer *b, struct service_object *object);
int balancer_put_slice(struct balancer *b, struct slice_object *object);
void balancer_remove_service(struct balancer *b, const char *namespace, const char *name);
void balancer_remove_slice(struct balancer *b, const char *namespace, const char *name);

bool balancer_pending(const struct balancer *b); /* the next run has something to do */
void balancer_retry(struct balancer *b);	 /* what has failed is to be tried again by the next run */
void balancer_lost(struct balancer *b);		 /* what the maps hold is not known (any more) */
/*
 * Makes the maps what they should be, or goes on with that: where balancer_pending() afterwards, it has taken long, and
 * something else should have its turn before the next run. What an earlier agent has left and no Service claims goes with the first run, so
 * that everything has to be known before. -EAGAIN: some Services could not be written, or deleted; they keep nobody
 * from the others.
 */
int balancer_run(struct balancer *b, struct err *err);

/* One address and port of a Service. */
struct balancer_front {
	const struct service_object *service;
	const struct service_port *port;
	const struct ip *ip;
	bool written; /* is in the maps, with so many backends: */
	size_t backends;
	const char *problem; /* of the Service; "": none */
};
/* In no order; stops at fn's first non-zero return. */
int balancer_each(const struct balancer *b, int (*fn)(const struct balancer_front *front, void *arg), void *arg);

struct balancer_counts {
	size_t services, slices; /* objects */
	size_t fronts[2], backends[2]; /* in the maps, of IPv4 and of IPv6 */
	size_t problems;	 /* Services with which something is wrong */
	unsigned long failures;	 /* writes, since the start */
	char example[320];	 /* of the problems one */
};
void balancer_count(const struct balancer *b, struct balancer_counts *counts);
const struct histogram *balancer_latency(const struct balancer *b); /* from the first change to the maps */

#endif
