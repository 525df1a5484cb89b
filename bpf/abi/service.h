/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services: an address, protocol and port that no host owns, and the backends, one of which is selected for each new
 * flow. Conntrack stores the selection (struct wr_ct_service).
 *
 * A backend (address, port, protocol) has an id, which stays the same as long as any service of this node has the
 * backend. A service's list refers to backends by id, and so does conntrack. An id is not reused before all others have
 * been used.
 *
 * A list has a number and never changes. To change a service, a new list is written under a new number, then the
 * service's element is replaced, then the old list is deleted if no other service has it, then the backends in no list.
 * So a reader that looks up the element, then an id in its list, then the backend, finds a backend that was the
 * service's a moment ago, or none: then it starts again. Whether a backend is in a list is one lookup. Services with
 * the same backends (mostly the ports of one Service) share a list.
 */
#ifndef WARREN_ABI_SERVICE_H
#define WARREN_ABI_SERVICE_H

#include <linux/types.h>

#include "abi/addr.h"
#include "abi/endpoint.h"

/*
 * Keys of `services4` and `services6`: addresses that pods and the host's sockets use. Also keys of `external4` and
 * `external6`: addresses that clients outside the cluster use, at this node's uplinks (a node's address with a NodePort,
 * a load balancer's address, an external address). Both kinds of maps have the same values, and share lists and backends.
 */
struct wr_service4_key {
	struct wr_addr4 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 pad;
};
struct wr_service6_key {
	struct wr_addr6 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 pad;
};
_Static_assert(sizeof(struct wr_service4_key) == 8, "wr_service4_key");
_Static_assert(sizeof(struct wr_service6_key) == 20, "wr_service6_key");

struct wr_service {
	__u32 list;     /* number of its list of backends; never 0 */
	__u32 backends; /* number of backends in the list; 0: clients are rejected */
	__u32 affinity_seconds; /* how long a client keeps its backend after its last new flow; 0: no affinity */
	__u32 flags;
};
_Static_assert(sizeof(struct wr_service) == 16, "wr_service");

/* wr_service.flags */
#define WR_SERVICE_LOCAL 1u /* only this node's backends are in the list: without any, packets are dropped, not rejected */
#define WR_SERVICE_ANY_NODE 2u /* a node port: at other nodes' addresses it leads to the same backends */

/* Key of `service_lists`, whose value is a backend's id. */
struct wr_list_key {
	__u32 list;
	__u32 index; /* below wr_service.backends */
};
_Static_assert(sizeof(struct wr_list_key) == 8, "wr_list_key");

/* Key of `service_members`: the backend is in the list; value: its index. */
struct wr_member_key {
	__u32 list;
	__u32 backend; /* its id */
};
_Static_assert(sizeof(struct wr_member_key) == 8, "wr_member_key");

/* Value of `backends4` and `backends6`; key: the id, unique across both families, never 0. */
struct wr_backend4 {
	struct wr_addr4 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 flags; /* none yet */
};
struct wr_backend6 {
	struct wr_addr6 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 flags;
};
_Static_assert(sizeof(struct wr_backend4) == 8, "wr_backend4");
_Static_assert(sizeof(struct wr_backend6) == 20, "wr_backend6");

/* The backend that a client was given by a service. */
struct wr_affinity {
	__u32 sequence;		 /* odd: being written */
	__u32 client;		 /* ifindex of the endpoint, or WR_AFFINITY_HOST; 0: empty */
	struct wr_addr6 service; /* IPv4: the first word, the others 0 */
	__be16 port;
	__u8 l4_proto;
	__u8 v6;
	__u32 backend; /* its id */
	__u32 used;    /* tick of the last new flow, as in abi/conntrack.h */
};
_Static_assert(sizeof(struct wr_affinity) == 36, "wr_affinity");

/*
 * Value of `affinity`; key: slot of the client's endpoint, or WR_AFFINITY_HOST. In each set the next service replaces
 * the oldest one. The map has room for every endpoint, so no element is ever removed; a slot of a former endpoint has
 * another client.
 */
#define WR_AFFINITY_HOST WR_ENDPOINT_SLOTS /* the client is the host itself (abi/socket.h) */
#define WR_AFFINITY_SET_BITS 3
#define WR_AFFINITY_SETS (1 << WR_AFFINITY_SET_BITS)
#define WR_AFFINITY_WAYS 8
struct wr_affinities {
	__u32 written[WR_AFFINITY_SETS]; /* services written to the set */
	struct wr_affinity at[WR_AFFINITY_SETS * WR_AFFINITY_WAYS];
};
_Static_assert(sizeof(struct wr_affinities) == 2336, "wr_affinities");

/*
 * Keys and value of `clients4` and `clients6`: the backend that a client outside the cluster, which has no slot, was
 * given by a service. The map evicts the client that was not used for longest: a flood of clients costs others their
 * affinity, and nothing else.
 */
struct wr_client4_key {
	struct wr_addr4 client, service;
	__be16 port; /* the service's */
	__u8 l4_proto;
	__u8 pad;
};
struct wr_client6_key {
	struct wr_addr6 client, service;
	__be16 port;
	__u8 l4_proto;
	__u8 pad;
};
_Static_assert(sizeof(struct wr_client4_key) == 12, "wr_client4_key");
_Static_assert(sizeof(struct wr_client6_key) == 36, "wr_client6_key");
struct wr_client_affinity {
	__u32 backend; /* its id */
	__u32 used;    /* tick of the last new flow, as in abi/conntrack.h */
};
#define WR_MAX_AFFINE_CLIENTS (1 << 14)

/* The one element of `service_state`: for the next writer. */
struct wr_service_state {
	__u32 list;    /* the highest list number that may have been assigned */
	__u32 backend; /* the highest backend id that may have been assigned */
};
_Static_assert(sizeof(struct wr_service_state) == 8, "wr_service_state");

/*
 * Max entries of each family; of lists: of both families. While a service is replaced its old and new list both exist.
 */
#define WR_MAX_SERVICES 65536
#define WR_MAX_BACKENDS (1 << 18)
#define WR_MAX_LISTED (1 << 19)

#endif
