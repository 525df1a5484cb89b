/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes Services with their EndpointSlices' backends into the maps of services, as a difference. All access to the
 * maps is behind struct balancer_ops, so that a test can replace them by a model.
 *
 * A new flow goes to one of the endpoints that are ready; if none is, to one that still serves while it terminates;
 * else it is refused. With internalTrafficPolicy Local only this node's endpoints are backends. If all that are ready
 * have hints (trafficDistribution), those hinted to this node are, if there are any; else those hinted to its zone.
 *
 * An address and port that several Services claim belong to the first of them by namespace and name; but a node port
 * precedes a load balancer's address, and that an external IP.
 *
 * Besides its ClusterIPs a Service has frontends at this node's addresses (its node ports), at its load balancer's
 * addresses, and at its external IPs: at each of them one for pods and the host's sockets, with all of the cluster's
 * endpoints, and one for clients outside the cluster, to which externalTrafficPolicy applies. With Local only this
 * node's endpoints are its backends, and without any its packets are dropped, so that a load balancer in front of the
 * nodes tries another one. loadBalancerSourceRanges apply to both at its load balancer's addresses.
 *
 * The ClusterIPs of all Services are known to the programs, which reject packets to other ports of those that are
 * programmed completely, and drop packets to addresses of a ServiceCIDR that are none. Nothing is rejected or dropped at
 * ClusterIPs of Services that another proxy serves, or that could not be programmed completely. A ServiceCIDR that
 * overlaps a pod CIDR or has a node's address is ignored.
 *
 * A list of backends that is for clients outside the cluster and the same on all nodes has a table (maglev.h), so that all
 * nodes select the same backend for a flow. A Service whose tables exceed the quota has tables for its first ports; at the
 * others backends are selected at random.
 *
 * An external IP or a load balancer's address that is a pod's or a ClusterIP, or that other hosts cannot reach (loopback,
 * link-local, multicast), is not programmed and reported as the Service's problem.
 *
 * What exceeds a Service's quota (balancer_quota.h) is not programmed, and reported as its problem: the first ports are
 * programmed, and of each port the first backends by slice. Other Services are not affected.
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
	int (*delete)(void *arg, const struct dp_service *service, struct err *err);
	/* ... after reading the maps again */
	int (*each)(void *arg, int (*fn)(const struct dp_service *service, void *fn_arg), void *fn_arg,
		    struct err *err);
	int (*put_ip)(void *arg, const struct ip *ip, bool complete, struct err *err);
	int (*delete_ip)(void *arg, const struct ip *ip, struct err *err);
	int (*each_ip)(void *arg, int (*fn)(const struct ip *ip, bool complete, void *fn_arg), void *fn_arg, struct err *err);
	int (*set_cidrs)(void *arg, const struct prefix *v, size_t count, struct err *err);
};

struct balancer_options {
	int node_ports;	  /* 0: only ClusterIPs are programmed */
	int external_ips; /* 0: external IPs are not programmed */
	int table_size;	  /* least size of tables (maglev_size()); 0: no tables */
};

struct balancer;
/* The name of this node is borrowed. NULL without memory. */
struct balancer *balancer_new(const struct balancer_ops *ops, void *arg, const char *node_name,
			      const struct balancer_options *options);
void balancer_free(struct balancer *b);

/* Both take ownership of the object, also on failure (-ENOMEM). */
int balancer_put_service(struct balancer *b, struct service_object *object);
int balancer_put_slice(struct balancer *b, struct slice_object *object);
void balancer_remove_service(struct balancer *b, const char *namespace, const char *name);
void balancer_remove_slice(struct balancer *b, const char *namespace, const char *name);

int balancer_put_cidrs(struct balancer *b, struct service_cidr_object *object); /* likewise */
void balancer_remove_cidrs(struct balancer *b, const char *name);
/*
 * Released: another service proxy (kube-proxy) has the Services. Flows with an entry continue, no new ones begin here. So
 * nothing is programmed but frontends without backends for clients outside, whose packets find their entry by them.
 */
void balancer_release(struct balancer *b, bool released);
bool balancer_released(const struct balancer *b);

/* This node's zone; "": none. -ENOMEM: some slices still count for the former one. */
int balancer_set_zone(struct balancer *b, const char *zone);
/* This node's addresses, for node ports: the first NODE_PORT_ADDRESSES of them. */
#define NODE_PORT_ADDRESSES 32
void balancer_set_node_addresses(struct balancer *b, const struct ip *v, size_t count);
/* Where pods have their addresses, without host bits. -ENOMEM: as before. */
int balancer_set_pod_cidrs(struct balancer *b, const struct prefix *v, size_t count);

/* Of all nodes. -ENOMEM: as before. */
int balancer_set_all_node_addresses(struct balancer *b, const struct ip *v, size_t count);

bool balancer_pending(const struct balancer *b); /* the next run has something to do */
void balancer_retry(struct balancer *b);	 /* the next run retries what has failed */
void balancer_lost(struct balancer *b);		 /* the next run reads the maps again */
/*
 * Updates the maps. A run is limited in time: if balancer_pending() afterwards, the caller should handle other events
 * and then run it again. The first run deletes frontends of an earlier agent that no Service claims, so all objects
 * must have been put before it. -EAGAIN: some Services could not be written or deleted; all others were.
 */
int balancer_run(struct balancer *b, struct err *err);

/* One address and port of a Service. */
struct balancer_frontend {
	const struct service_object *service;
	const struct service_port *port;
	const struct ip *ip;
	uint16_t number;     /* port->port, or port->node_port */
	bool external;	     /* for clients outside the cluster */
	bool written;	     /* is in the maps */
	bool local;	     /* its backends are this node's endpoints */
	size_t backends;     /* in the maps */
	const struct service_object *owner; /* the Service that precedes this one there; NULL: none */
	const char *problem; /* of the Service; "": none */
};
/* In no order; stops at fn's first non-zero return. */
int balancer_each(const struct balancer *b, int (*fn)(const struct balancer_frontend *frontend, void *arg), void *arg);

/* An endpoint of a Service's port, and whether it is a backend at the port's frontends of one family and policy. */
struct balancer_endpoint {
	const struct service_port *port;
	bool v6, local; /* of the frontends: as in struct balancer_frontend */
	const struct ip *ip;
	uint16_t target;
	const char *state;  /* "ready", "terminating" (and serving), "not ready" */
	const char *unused; /* why it is no backend; NULL: it is */
};
/* In the order of slices; stops at fn's first non-zero return. -ENOENT: there is no such Service; -ENOMEM. */
int balancer_each_endpoint(struct balancer *b, const char *namespace, const char *name,
			   int (*fn)(const struct balancer_endpoint *endpoint, void *arg), void *arg);

/* A Service with a health check port: of type LoadBalancer, with externalTrafficPolicy Local. */
struct balancer_health {
	const char *namespace, *name;
	uint16_t port;	  /* healthCheckNodePort */
	size_t endpoints; /* ready ones on this node; of the family that has more of them */
};
/* In no order, as of the last run. */
void balancer_each_health(const struct balancer *b, void (*fn)(const struct balancer_health *health, void *arg), void *arg);
/* Its endpoints; 0 too if there is no such Service. */
size_t balancer_health_endpoints(const struct balancer *b, const char *namespace, const char *name);
/* Whether these Services or their ports may have changed since the last call. */
bool balancer_health_changed(struct balancer *b);

struct balancer_counts {
	size_t services, slices;	  /* objects */
	size_t frontends[2], external[2]; /* in the maps of each kind, of IPv4 and of IPv6 */
	size_t backends[2];		  /* of all of them */
	size_t without_backends;	  /* frontends in the maps, of both kinds and families */
	size_t problems;		  /* Services with a problem */
	unsigned long failures;		  /* failed writes since the start */
	char example[320];		  /* one of the problems */
};
void balancer_count(const struct balancer *b, struct balancer_counts *counts);
/* Why a ServiceCIDR is ignored; NULL: none is. */
const char *balancer_cidrs_problem(const struct balancer *b);
/* From the first change until the maps are up to date. */
const struct histogram *balancer_latency(const struct balancer *b);

/* This node's maps; the arg is struct dp_services *. */
extern const struct balancer_ops balancer_dp_ops;

#endif
