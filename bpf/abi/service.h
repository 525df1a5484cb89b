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
 *
 * A service for clients outside the cluster may have a table (Maglev: Eisenbud et al., NSDI 2016) in addition to its
 * list: a keyed hash of the flow selects an element, which is a backend. The elements follow from the backends'
 * addresses and ports and from the cluster's key, so every node selects the same backend for a flow, and a backend that
 * goes takes few other flows along. A table has a number, never changes, and is replaced in the same order as a list.
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
	__u32 table, table_size; /* number and elements of its table; 0, 0: none, backends are selected at random */
	__u32 ranges; /* only clients in this set of source ranges may begin flows; 0: all may */
};
_Static_assert(sizeof(struct wr_service) == 28, "wr_service");

/* wr_service.flags */
#define WR_SERVICE_LOCAL 1u /* only this node's backends are in the list: without any, packets are dropped, not rejected */
#define WR_SERVICE_ANY_NODE 2u /* a node port: at other nodes' addresses it leads to the same backends */
#define WR_SERVICE_MOVES 4u /* any node may receive a flow's next packet, and selects the same backend */
#define WR_SERVICE_RELEASED 8u /* another service proxy has new flows: only those with an entry continue; in external4/6 */

/*
 * Keys of the LPM tries `source_ranges4` and `source_ranges6`: a prefix of a set (loadBalancerSourceRanges); the value is
 * always 1. Sets are numbered and replaced like lists of backends, with numbers from the same counter. A set without
 * prefixes has no element, and admits no client.
 */
struct wr_range4_key {
	__u32 prefixlen; /* 32 more than the range's: the set counts, too */
	__u32 set;
	struct wr_addr4 addr;
};
struct wr_range6_key {
	__u32 prefixlen;
	__u32 set;
	struct wr_addr6 addr;
};
#define WR_RANGE_SET_BITS 32
_Static_assert(sizeof(struct wr_range4_key) == 12, "wr_range4_key");
_Static_assert(sizeof(struct wr_range6_key) == 24, "wr_range6_key");

/*
 * Value of `cluster_ips4` and `cluster_ips6`; key: the ClusterIP of a Service, also of one that another proxy serves.
 * Values of the LPM tries `service_cidrs4` and `service_cidrs6` are always 1: an address in one of them that is no
 * ClusterIP belongs to no Service.
 */
struct wr_cluster_ip {
	__u32 flags;
};
_Static_assert(sizeof(struct wr_cluster_ip) == 4, "wr_cluster_ip");

/* wr_cluster_ip.flags */
#define WR_CLUSTER_IP_COMPLETE 1u /* all of its ports are in services4/6; others are rejected. Else the stack decides */

/*
 * Value of `host_ports4` and `host_ports6`: a container's port that a pod of this node has at the host's addresses
 * (hostPort). Keys are those of services; address 0: at every address of the host. A Service's element with the same
 * address and port precedes it. warren-cni writes the elements at ADD, and deletes them before the endpoint.
 *
 * To the programs it is a service with one backend. The list's number, and the backend's id, is WR_LIST_HOST_PORT and
 * the endpoint's ifindex, so it differs from any other pod's and from all numbers that are drawn.
 */
struct wr_host_port {
	__u32 ifindex; /* of the pod's host-side device */
	__be16 port;   /* the container's */
	__u16 flags;
};
_Static_assert(sizeof(struct wr_host_port) == 8, "wr_host_port");

/* wr_host_port.flags */
#define WR_HOST_PORT_OWN 1u /* the key's address was this host's at ADD: the host's own sockets use it, too */

#define WR_LIST_HOST_PORT (1u << 31)

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

/* Key of `service_tables`, whose value is a block of the table's elements. */
struct wr_table_key {
	__u32 table;
	__u32 block; /* element / WR_TABLE_BLOCK */
};
_Static_assert(sizeof(struct wr_table_key) == 8, "wr_table_key");

#define WR_TABLE_BLOCK 128
struct wr_table_block {
	__u32 backends[WR_TABLE_BLOCK]; /* their ids; 0 beyond the table's end */
};
_Static_assert(sizeof(struct wr_table_block) == 512, "wr_table_block");

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

/* The one element of `service_state`: for the next writer, and the key for the programs. */
struct wr_service_state {
	__u32 list;    /* the highest number of a list or table that may have been assigned */
	__u32 backend; /* the highest backend id that may have been assigned */
	__u64 key[2];  /* of the flows' hash, by which elements of tables are selected; derived from the cluster's; 0: none */
};
_Static_assert(sizeof(struct wr_service_state) == 24, "wr_service_state");

/*
 * The one element of `host_flows`: until when clients outside the cluster may have flows through a service with this
 * host's processes. Only then to_uplink looks at what the host sends.
 */
struct wr_host_flows {
	__u32 until; /* tick, as in abi/conntrack.h; 0: there was no such flow */
};
_Static_assert(sizeof(struct wr_host_flows) == 4, "wr_host_flows");

/*
 * Max entries of each family; of lists: of both families. While a service is replaced its old and new list both exist.
 */
#define WR_MAX_SERVICES 65536
#define WR_MAX_BACKENDS (1 << 18)
#define WR_MAX_LISTED (1 << 19)
#define WR_MAX_TABLE_BLOCKS (1 << 16)
#define WR_MAX_CLUSTER_IPS (2 * WR_MAX_SERVICES)
#define WR_MAX_SERVICE_CIDRS 1024
#define WR_MAX_SOURCE_RANGES (1 << 16)
#define WR_MAX_HOST_PORTS (1 << 14)

#endif
