/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files balancer_*.c. */
#ifndef WARREN_AGENT_BALANCER_INTERNAL_H
#define WARREN_AGENT_BALANCER_INTERNAL_H

#include <sys/types.h>

#include "balancer.h"
#include "balancer_quota.h"
#include "siphash.h"
#include "table.h"

/* In the order in which they are programmed: what a Service may not use of its quota are the last. */
enum address_kind {
	ADDRESS_CLUSTER_IP,
	ADDRESS_NODE,
	ADDRESS_LOAD_BALANCER,
	ADDRESS_EXTERNAL_IP,
};

/* An address that a Service's object names. */
struct address_claim {
	struct table_link by_ip;
	struct service *service;
	enum address_kind kind;
	struct ip ip;
};

/* Those of a Service, by kind. */
struct claims {
	struct address_claim *v;
	uint32_t count, not_programmed; /* the latter: beyond SERVICE_ADDRESSES_MAX */
};

/* Where a Service has a frontend for each of its ports; at nodes, for each that has a node port. */
struct address {
	struct ip ip;
	enum address_kind kind : 8;
	bool external;
	bool here; /* the backends are this node's endpoints */
};

/* A namespace with Services or slices. */
struct service_namespace {
	struct table_link by_name;
	struct list services;
	struct list queue; /* of its Services that must be written */
	struct list busy;  /* in balancer.busy: the queue is not empty */
	size_t requested[QUOTAS], granted[QUOTAS];
	bool changed[QUOTAS]; /* `requested` or `granted`, since the Services were granted theirs */
	bool bound[QUOTAS];   /* its Services are granted less than they request */
	char *name;
};

/* Whether all ports of a Service are in the maps, since it was written last. */
enum programmed { PROGRAMMED_UNKNOWN, PROGRAMMED_IN_PART, PROGRAMMED };

struct service {
	struct table_link by_name;
	struct list of_namespace;
	struct list dirty;    /* in balancer.dirty: its request and frontends must be updated */
	struct list queued;   /* in namespace.queue */
	struct list failed;   /* in balancer.failed: must be written again */
	struct list problems; /* in balancer.problems: it has one */
	struct list slices, frontends;
	struct service_object *object; /* NULL: there are only slices, or it was removed */
	struct service_namespace *namespace;
	struct claims claims;	   /* of the object */
	struct address *addresses; /* as of the last run */
	uint32_t address_count;
	uint32_t ports_not_programmed; /* ports beyond the first SERVICE_PORTS_MAX */
	uint32_t node_port_count;      /* ports that have one */
	uint32_t local_endpoints;      /* if it has health_port: ready endpoints on this node */
	struct list healths;	       /* in balancer.healths: health_port is not 0 */
	uint16_t health_port;	       /* as of the last run; 0: none */
	bool slices_not_programmed;    /* its slices exceed the maximum */
	enum programmed programmed : 8;
	uint32_t holds[2];	/* elements of lists in the maps, at most */
	uint32_t needed[QUOTAS]; /* without any limit; or UINT32_MAX, if it is more */
	uint32_t requested[QUOTAS], granted[QUOTAS];
	uint16_t *by_port_name; /* indices of object->ports, sorted by the ports' names; NULL: fewer than two */
	char *refused;		/* why an address is not programmed; NULL: all are */
	struct writing *writing; /* the state of a write that the last run did not finish; or NULL */
	char *problem;		/* NULL: none */
	char name[];
};

/*
 * Of a slice's endpoints: ready ones come first, then those that serve while they terminate; of each this node's first.
 * Then those that are no backends.
 */
enum {
	ENDPOINTS_READY_HERE,
	ENDPOINTS_READY,
	ENDPOINTS_DRAINING_HERE,
	ENDPOINTS_DRAINING,
	ENDPOINTS_NOT_READY,
	ENDPOINT_KINDS,
};

/* Hints name nodes and zones whose traffic an endpoint is for. */
enum { HINTS_NODE, HINTS_ZONE, HINT_KINDS };

/* Of a slice that has some. */
struct slice_hints {
	struct slice_object *object; /* this node's zone may change */
	uint8_t *hinted[HINT_KINDS]; /* addresses of ready endpoints with a hint for this node or its zone, as in the slice */
	size_t count[HINT_KINDS];
	bool unhinted[HINT_KINDS]; /* a ready endpoint has no hint of the kind */
};

struct slice_port {
	uint32_t name; /* offset in slice_text() */
	uint16_t port;
	uint8_t protocol;
};

/* In one block of memory, since there are many: the ports, then the addresses, then the texts. */
struct slice {
	struct table_link by_name;
	struct list of_service;
	struct service *service;
	struct slice_hints *hints; /* NULL: none */
	uint32_t ends[ENDPOINT_KINDS]; /* where each kind ends in slice_addresses() */
	uint32_t port_count;
	bool v6;
	struct slice_port ports[];
};

static inline size_t slice_address_size(const struct slice *slice)
{
	return slice->v6 ? 16 : 4;
}

/* Of its endpoints: slice_address_size() bytes each. */
static inline uint8_t *slice_addresses(const struct slice *slice)
{
	return (uint8_t *)&slice->ports[slice->port_count];
}

/* Its name first (its namespace is the Service's), then those of its ports. */
static inline char *slice_text(const struct slice *slice)
{
	return (char *)slice_addresses(slice) + slice->ends[ENDPOINT_KINDS - 1] * slice_address_size(slice);
}

/* The i-th of these addresses, which are the slice's or hinted ones. */
static inline struct ip slice_ip(const struct slice *slice, const uint8_t *addresses, size_t i)
{
	return ip_from(slice->v6 ? AF_INET6 : AF_INET, addresses + i * slice_address_size(slice));
}

/* Whether a ready endpoint has no hint of the kind. */
static inline bool slice_is_unhinted(const struct slice *slice, int kind)
{
	return slice->hints ? slice->hints->unhinted[kind] : slice->ends[ENDPOINTS_READY] > 0;
}

/* What dp_service_put() and dp_service_delete() identify a service by. */
struct frontend_key {
	struct ip ip;
	uint16_t port;
	uint8_t protocol;
	bool external;
};

/* An address and port, in the maps or claimed by a Service. The maps have that of the first claimant. */
struct frontend {
	struct table_link by_key;
	struct list list; /* in service->frontends; without a Service in balancer.stale or .undeleted: must be deleted */
	struct service *service; /* NULL: none claims it */
	struct frontend_key at;
	uint16_t index; /* in service->object->ports */
	enum address_kind kind : 8;
	bool here;    /* as in struct address */
	bool claimed; /* by the current object of the Service */
	bool written; /* is in the maps */
	uint32_t backends;
	uint64_t fingerprint; /* of the backends in the maps; 0: unknown */
};

/* A slice's port that matches a Service's. */
struct target {
	const struct slice *slice;
	uint16_t index; /* in the Service's object->ports */
	uint16_t port;
};

enum backend_source { BACKENDS_READY, BACKENDS_DRAINING, BACKENDS_FOR_NODE, BACKENDS_FOR_ZONE, BACKEND_SOURCES };

/* The backends of a port of the Service at addresses of a family. Ports with the same backends are adjacent. */
struct port_backends {
	uint64_t same; /* a keyed hash of slices and target ports */
	uint16_t index;
	uint8_t protocol;
	bool v6, here;
	enum backend_source source;
	size_t backends;   /* at most: an address may be in several slices */
	size_t granted;	   /* by the quotas */
	bool external;	   /* clients outside the cluster use it, with the same backends on every node */
	bool has_table;	   /* granted by the quota, if any port of the list is external */
};

/* The backends of all ports of a Service; valid until it or its slices change. */
struct service_backends {
	struct target *targets;	      /* in the order of ports */
	size_t target_count, *starts; /* where each port's targets start, and the end */
	struct port_backends *ports;
	size_t port_count;
	bool slices_not_programmed;
};

/* A frontend to write. */
struct placed {
	struct frontend *frontend;
	size_t port; /* its backends: in writing.resolved.ports */
};

/* The state of writing a Service. It ends when the Service's frontends change. */
struct writing {
	struct service_backends resolved;
	struct placed *v; /* by port: those with the same backends are adjacent */
	size_t count, next;
	uint64_t ranges_fingerprint[2]; /* of the granted source ranges */
	bool failed;
	char failure[320], dispute[320];
	uint32_t holds[2];
};

struct balancer {
	const struct balancer_ops *ops;
	void *arg;
	const char *node_name;
	char *hint[HINT_KINDS]; /* this node's name and zone, between commas; NULL: not known */
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes */
	struct balancer_options options;
	struct ip node_addresses[NODE_PORT_ADDRESSES];
	size_t node_address_count;
	struct prefix *pod_cidrs; /* disjoint, sorted */
	size_t pod_cidr_count;
	struct ip *all_node_addresses;
	size_t all_node_address_count;
	struct table namespaces, services, slices, frontends, claims, cluster_ips, cidrs;
	struct list dirty_ips, failed_ips; /* ClusterIPs to write, and to write again */
	bool ips_lost;	     /* some could not be recorded without memory */
	bool cidrs_failed;   /* must be written again */
	bool cidrs_changed;  /* the ServiceCIDRs, or what they must not overlap */
	char *cidrs_problem; /* NULL: none */
	struct list dirty, busy, failed, stale, problems;
	struct list healths;	       /* Services with a health check port */
	bool healths_changed;
	struct list undeleted; /* stale ones whose deletion has failed */
	size_t object_count;
	size_t written[2][2];		/* frontends in the maps; [1] external; of each [0] of IPv4, [1] of IPv6 */
	size_t without_backends;	/* of all of them */
	size_t backends[2];		/* of all of them */
	bool released;			/* balancer_release() */
	bool loaded;			/* the maps have been read */
	bool again;			/* the next run retries what has failed */
	struct dp_backend *v;		/* backends of the list that is being written */
	size_t room;
	uint64_t since_ns; /* when the first unwritten change came; 0: none */
	unsigned long failures;
	struct histogram latency;
};

/* --- hashes of tables --- */

static inline uint64_t name_hash(const struct balancer *b, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

static inline uint64_t address_hash(const struct balancer *b, const struct ip *ip)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_bytes(&h, ip, sizeof(*ip));
	return siphash_end(&h);
}

/* --- balancer_objects.c --- */

struct service *service_find(const struct balancer *b, const char *namespace, const char *name); /* NULL */
void service_free(struct balancer *b, struct service *s); /* one without slices and frontends */
void slice_free(struct balancer *b, struct slice *slice);
int service_cmp(const struct service *a, const struct service *b); /* by namespace and name */

/* --- balancer_queue.c --- */

void service_changed(struct balancer *b, struct service *s); /* the next run updates and writes it */
void service_queue(struct balancer *b, struct service *s);   /* for writing, from its first port on */
void writing_free(struct writing *w);
void writing_stop(struct service *s);

/* --- balancer_addresses.c --- */


int claims_make(const struct balancer *b, const struct service_object *object, struct claims *claims); /* -ENOMEM */
/* Those of the Service's new object; or none. */
void claims_replace(struct balancer *b, struct service *s, struct claims claims);
int addresses_update(const struct balancer *b, struct service *s); /* -ENOMEM: none */
void addresses_free(struct service *s);

/* --- balancer_cluster_ips.c --- */

void cluster_ips_changed(struct balancer *b, const struct service *s); /* those of the Service, or its state */
bool cluster_ips_write(struct balancer *b); /* false: the next run continues */
bool cluster_ips_failed(const struct balancer *b); /* they, or the ServiceCIDRs, must be written again */
void cluster_ips_retry(struct balancer *b);
int cluster_ips_load(struct balancer *b, struct err *err); /* from the maps */
void cidrs_write(struct balancer *b); /* once all ClusterIPs are written */
void cluster_ips_free(struct balancer *b);

/* --- balancer_ranges.c --- */

/* The Service's source ranges of a family: how many, and the first one. */
size_t source_ranges(const struct service_object *object, bool v6, const struct prefix **first);
/* Whether its source ranges apply to addresses of that family. */
bool has_source_ranges(const struct service *s, bool v6);
/* A keyed hash of the granted ones. */
uint64_t source_ranges_fingerprint(const struct balancer *b, const struct service *s, bool v6);

/* --- balancer_grants.c --- */

/* Updates the Service's requests. -ENOMEM */
int service_measure(struct balancer *b, struct service *s);
/* Updates the grants; marks a Service dirty, or queues it, if its grant has changed. -ENOMEM */
int quotas_grant(struct balancer *b);
/* What exceeds its quotas, as a sentence; "": nothing. */
void quota_problem(const struct service *s, char *text, size_t size);

/* --- balancer_health.c --- */

void health_update(struct balancer *b, struct service *s);

/* --- balancer_frontends.c --- */

/* The Service's frontend; NULL: it has none with this address and port. */
struct frontend *frontend_find(const struct balancer *b, const struct service *s, const struct frontend_key *at);
/* Whether its Service is the first claimant; *first: the Service that is. */
bool frontend_is_first(const struct balancer *b, const struct frontend *f, const struct service **first);
/* The port's number at an address of the kind; 0: it has none there. */
uint16_t frontend_port(const struct service_port *port, enum address_kind kind);
/* Notes whether it is in the maps, and its number of backends. */
void frontend_is_written(struct balancer *b, struct frontend *f, bool written, uint32_t backends);
/* Adds and releases frontends to match the Service's object. -ENOMEM leaves it dirty. */
int frontends_update(struct balancer *b, struct service *s);
void frontend_free(struct balancer *b, struct frontend *f);
int frontends_load(struct balancer *b, struct err *err); /* from the maps */

/* --- balancer_backends.c --- */

int service_backends_resolve(struct balancer *b, const struct service *s, struct service_backends *j); /* -ENOMEM */
void service_backends_free(struct service_backends *j);
#define _cleanup_service_backends_ _cleanup_(service_backends_free)
/* Whether the two share a list. */
bool port_backends_same(const struct port_backends *a, const struct port_backends *b);
/* The blocks of the table for the list that begins with the i-th port; 0: it needs none. */
size_t port_backends_blocks(const struct balancer *b, const struct service_backends *j, size_t i);
/* Writes the granted backends of a port into balancer.v: how many, or -ENOMEM. */
ssize_t port_backends_list(struct balancer *b, const struct service *s, const struct service_backends *j,
			   const struct port_backends *port);
uint64_t backends_fingerprint(const struct balancer *b, const struct dp_service *service); /* of the backends alone */
/* Of the whole service; never 0. */
uint64_t service_fingerprint(const struct balancer *b, const struct dp_service *service, uint64_t backends);

#endif
