/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The health check ports of Services (healthCheckNodePort): HTTP at this node's addresses, by which a load balancer finds
 * the nodes that have endpoints of a Service with externalTrafficPolicy Local. As kube-proxy's: 200 with endpoints that
 * are ready on this node, 503 without any.
 *
 * One HTTP listener (http.h) serves all of them, so that its bounds hold for all connections together. A port takes a file
 * descriptor at each address. Their number is bounded, and a namespace may have half of them. A port that was open before
 * stays open. What is not open has a problem.
 */
#ifndef WARREN_AGENT_HEALTH_PORTS_H
#define WARREN_AGENT_HEALTH_PORTS_H

#include <uv.h>

#include "balancer.h"

#define HEALTH_SOCKETS_MAX 8192

struct health_ports_options {
	const struct balancer *balancer;
	size_t sockets_max; /* 0: HEALTH_SOCKETS_MAX, or fewer where the process may not have as many files open */
	/* Ports of the agent's own, beside those that no Service may take. */
	uint16_t own_ports[4];
	bool (*is_healthy)(void *arg); /* whether this node programs Services: if not, all ports answer with 503 */
	/* A port has got a problem. */
	void (*report)(void *arg, const char *namespace, const char *name, const char *problem);
	void (*updated)(void *arg); /* the counts may have changed */
	void *arg;
};

struct health_ports;
/* The options are copied; what they point to is borrowed. */
int health_ports_open(uv_loop_t *loop, const struct health_ports_options *options, struct health_ports **out,
		      struct err *err);
void health_ports_close(struct health_ports *h); /* the loop closes the handles after it */
void health_ports_free(struct health_ports *h);	 /* after the loop has closed them */

/* Opens and closes ports, by the balancer's Services and this node's addresses. Without memory it tries again later. */
void health_ports_update(struct health_ports *h);
/* ... after the addresses have changed: the first NODE_PORT_ADDRESSES of them. */
void health_ports_set_addresses(struct health_ports *h, const struct ip *v, size_t count);

/* The Service's port; 0: it has none. *problem: why it is not open; "": it is. */
uint16_t health_ports_find(const struct health_ports *h, const char *namespace, const char *name, const char **problem);
struct health_ports_counts {
	size_t ports, problems, sockets;
	char example[320]; /* one of the problems */
};
void health_ports_count(const struct health_ports *h, struct health_ports_counts *counts);

#endif
