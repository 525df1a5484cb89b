/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the balancer share. */
#ifndef WARREN_AGENT_BALANCER_INTERNAL_H
#define WARREN_AGENT_BALANCER_INTERNAL_H

#include <sys/types.h>

#include "balancer.h"
#include "balancer_quota.h"
#include "siphash.h"
#include "table.h"

/* One that has Services or slices. */
struct tenant {
	struct table_link by_name;
	struct list services;
	struct list queue; /* those of its Services that are to be written */
	struct list busy;  /* in balancer.busy: there are such */
	size_t asks[QUOTAS], gets[QUOTAS];
	bool changed[QUOTAS]; /* what its Services ask for, or what it gets, since that was shared out */
	bool bound[QUOTAS];   /* its Services get less than they ask for */
	char *name;
};

struct service {
	struct table_link by_name;
	struct list of_tenant;
	struct list dirty;    /* in balancer.dirty: what it asks for is to be looked at */
	struct list queued;   /* in tenant.queue */
	struct list failed;   /* in balancer.failed: ... again, some time */
	struct list problems; /* in balancer.problems: it has one */
	struct list slices, fronts;
	struct service_object *object; /* NULL: there are only slices, or nothing is left */
	size_t ports_left_out;	       /* that object->ports had beyond the first SERVICE_PORTS_MAX */
	uint16_t *by_port_name;	       /* indices of object->ports, sorted by the ports' names */
	size_t needs[QUOTAS];	       /* without any bound */
	size_t asks[QUOTAS], gets[QUOTAS];
	size_t holds[2];	       /* elements of lists, at most */
	struct writing *writing;       /* what the last run has left of it; NULL: nothing */
	bool slices_left_out;	       /* it has more than are looked at */
	char *problem;		       /* NULL: none */
	struct tenant *tenant;
	char *name;
};

/* Of a slice's endpoints: ready ones come first, then those that serve while they terminate; of each this node's first. */
enum { ENDPOINTS_READY_HERE, ENDPOINTS_READY, ENDPOINTS_DRAINING_HERE, ENDPOINTS_DRAINING, ENDPOINT_KINDS };

struct slice {
	struct table_link by_name;
	struct list of_service;
	struct service *service;
	struct ip *v;
	size_t ends[ENDPOINT_KINDS]; /* where those of each kind end in v */
	bool v6;
	struct slice_port *ports;
	size_t port_count;
	char *namespace, *name;
};

/* An address and port, in the maps or claimed by a Service. In the maps it is the one of the first claimant. */
struct front {
	struct table_link by_key;
	struct list of_service;
	struct list orphans;	 /* in balancer.orphans, or .undeleted: it is nobody's, and is to be deleted */
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

/* A slice's port that is a Service's. */
struct target {
	const struct slice *slice;
	uint16_t index; /* in the Service's object->ports */
	uint16_t port;
};

/* A port of the Service at one of its addresses. Those with the same backends come one after another. */
struct joined_port {
	uint64_t same; /* a keyed hash of slices and target ports */
	uint16_t index;
	uint8_t protocol;
	bool v6, draining; /* draining: none is ready */
	size_t backends;   /* at most: an address may be in several slices */
	size_t gets;	   /* of these */
};

/* A Service and its slices, until they change. */
struct join {
	struct target *targets; /* in the order of ports */
	size_t target_count, *starts; /* of each port's targets, and the end */
	struct joined_port *ports;
	size_t port_count;
	bool slices_left_out;
};

/* A Service that is being written. */
struct writing {
	struct join join;
	size_t next; /* of join.ports */
	bool failed;
	char failure[320], dispute[320];
	size_t holds[2];
};

struct balancer {
	const struct balancer_ops *ops;
	void *arg;
	const char *node_name;
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes */
	struct table tenants, services, slices, fronts;
	struct list dirty, busy, failed, orphans, problems;
	struct list undeleted; /* orphans whose deletion has failed */
	size_t problem_count, object_count;
	size_t written[2], backends[2]; /* fronts in the maps, and the backends of all of them */
	bool loaded; /* what is in the maps is known */
	bool again;  /* what has failed is to be tried again */
	struct dp_backend *v; /* backends of the list that is being written */
	size_t room;
	uint64_t since_ns; /* of the first change that is not written; 0: there is none */
	unsigned long failures;
	struct histogram latency;
};

/* --- balancer_objects.c --- */

void service_free(struct balancer *b, struct service *s); /* one without slices and fronts */
void slice_free(struct balancer *b, struct slice *slice);
void service_queue(struct balancer *b, struct service *s); /* it is to be written, from the beginning */
void writing_free(struct writing *w);
int service_cmp(const struct service *a, const struct service *b); /* by namespace and name */

/* --- balancer_share.c --- */

/* What the Service asks for. -ENOMEM */
int service_measure(struct balancer *b, struct service *s);
/* What each gets: those are dirty, or are queued, for whom it is not what it was. -ENOMEM */
int share_all(struct balancer *b);
/* What its quotas have left out, as a sentence; "": nothing. */
void share_problem(const struct service *s, char *text, size_t size);

/* --- balancer_fronts.c --- */

/* The Service's own front; NULL: it claims none such. */
struct front *front_find(const struct balancer *b, const struct service *s, const struct ip *ip, uint16_t port,
			 uint8_t protocol);
/* Whether it is its Service's, the first of the claimants, or else whose. */
bool front_counts(const struct balancer *b, const struct front *f, const struct service **other);
/* It is in the maps with so many backends, or it is not. */
void front_is_written(struct balancer *b, struct front *f, bool written, size_t backends);
/* The fronts that the Service claims now, and no others. -ENOMEM leaves it dirty. */
int fronts_update(struct balancer *b, struct service *s);
void front_free(struct balancer *b, struct front *f);
int fronts_load(struct balancer *b, struct err *err); /* what is in the maps */

/* --- balancer_join.c --- */

int join_make(struct balancer *b, const struct service *s, struct join *j); /* -ENOMEM */
void join_free(struct join *j);
#define _cleanup_join_ _cleanup_(join_free)
/* Whether the two have one list. */
bool join_same(const struct joined_port *a, const struct joined_port *b);
/* The backends of a port into balancer.v, at most as many as it gets: how many, or -ENOMEM. */
ssize_t join_backends(struct balancer *b, const struct service *s, const struct join *j, const struct joined_port *port);
uint64_t backends_fingerprint(const struct balancer *b, const struct dp_service *service);

#endif
