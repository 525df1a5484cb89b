/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The built-in address management: one JSON file per network (allocations, resting addresses, the address allocated
 * last), read and replaced under LOCK_NETWORK. An owner is an attachment's key.
 */
#ifndef WARREN_CNI_IPAM_H
#define WARREN_CNI_IPAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"
#include "json.h"

struct ip_range {
	struct prefix subnet;
	struct ip first, last; /* allocatable, both included */
	struct ip gateway;     /* never allocated; family 0: the subnet has no room for one */
};

/* Ranges of one family, of which a pod gets one address. */
struct range_set {
	struct ip_range *ranges;
	size_t count; /* 0: none of this family */
};

struct ipam_conf {
	struct range_set set4, set6;
	struct prefix *exclude; /* sorted, none within another */
	size_t exclude_count;
	const char *data_dir;
	unsigned rest; /* seconds */
};

/*
 * Reads "ipam" of the network configuration, whose text `conf` borrows. Ranges have the format of host-local.
 */
int ipam_conf_parse(const json_t *ipam, struct ipam_conf *conf, struct err *err);
void ipam_conf_free(struct ipam_conf *conf);

/* One family's address of a pod; ip.family 0: none. */
struct lease {
	struct ip ip;
	struct prefix subnet; /* of the node's gateway address and of the unreachable route */
	struct ip gateway;    /* family 0: none */
};

struct leases {
	struct lease v4, v6;
};

/* Static requests; family 0: any address. */
struct ip_request {
	struct ip v4, v6;
};

/* Allocates one address of each family that has ranges. Earlier addresses of the owner are freed. */
int ipam_add(const struct ipam_conf *conf, const char *network, const char *owner, const struct ip_request *request,
	     struct leases *leases, struct err *err);
/* Frees all addresses of the owner. */
int ipam_del(const struct ipam_conf *conf, const char *network, const char *owner, struct err *err);
/* Whether the owner has exactly these addresses. */
int ipam_check(const struct ipam_conf *conf, const char *network, const char *owner, const struct ip *ip4,
	       const struct ip *ip6, struct err *err);
/* Whether ipam_add would succeed. Takes no lock. */
int ipam_status(const struct ipam_conf *conf, const char *network, struct err *err);
/* Frees the allocations for whose owner keep() is false; adds their number to *freed. */
int ipam_gc(const struct ipam_conf *conf, const char *network, bool (*keep)(const char *owner, void *arg), void *arg,
	    unsigned *freed, struct err *err);

#endif
