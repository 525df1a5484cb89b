/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is at the ends of a flow: pods and endpoints of this node, other nodes and their pods, services; and the two ends
 * as arguments of a command.
 */
#ifndef WARREN_PEERS_H
#define WARREN_PEERS_H

#include <net/if.h>

#include "attachment.h"
#include "cli.h"
#include "flow_table.h"
#include "flows.h"
#include "nexthop.h"
#include "nl.h"
#include "nodes.h"
#include "packet.h"
#include "services.h"

/* --- pods of this node: attachment records ------------------------------------------------------------------------ */

/* By the ifindex of the host-side device. */
struct pod {
	uint32_t ifindex;
	enum attachment_state state;
	char name[512];	     /* "namespace/name"; "" outside Kubernetes */
	char container[200]; /* id */
};

struct pods {
	struct pod *pod;
	size_t count, room;
};

/* Reads the records (again). */
int pods_load(struct pods *pods, struct err *err);
void pods_free(struct pods *pods);
const struct pod *pods_find(const struct pods *pods, uint32_t ifindex); /* NULL */

#define POD_LABEL_MAX 80
/* Its name, or the start of its container id; "-" for NULL. */
const char *pod_label(const struct pod *pod, char buf[POD_LABEL_MAX]);
json_t *pod_name_json(const struct pod *pod); /* null if it has none */
/* Field `key`: the name in JSON, the label in text. */
void out_pod(struct out *o, const char *key, const struct pod *pod);
const char *attachment_state_name(enum attachment_state state);

/* --- other nodes and their pods ----------------------------------------------------------------------------------- */

/*
 * The maps hold addresses and paths. Names, and why a node is not programmed, are from the agent, and missing if it
 * does not run.
 */
struct remote_node {
	uint32_t slot;	     /* 0: in no map: this node, or one that is not programmed */
	bool own;	     /* this node */
	const char *name;    /* NULL: unknown */
	const char *problem; /* reported by the agent of this node; NULL: none */
	const char *agent;   /* state that its own agent has reported to the API server; NULL: none */
	struct dp_node dp;   /* without a slot: CIDRs and addresses only */
	struct nexthop nexthop;	     /* by the kernel's routes, from remotes_find_nexthops(); ifindex 0: none */
	struct wr_metric totals[WR_DIRECTIONS];
};

struct remote_pod {
	struct ip ip;
	const char *namespace, *name;
	uint64_t identity; /* 0: unknown */
};

struct remotes {
	struct wr_cluster cluster;
	struct remote_node *nodes; /* this node first, then by slot, then those in no map */
	size_t mapped; /* how many are this node or have a slot */
	size_t node_count, node_room;
	struct remote_pod *pods; /* by address */
	size_t pod_count, pod_room;
	bool agent;	 /* the agent has answered */
	struct err why; /* why it has not */
	json_t *answers[2]; /* own the strings above */
};
#define _cleanup_remotes_ __attribute__((cleanup(remotes_free)))

/*
 * Reads the nodes (again), and with `pods` their pods. There are none if this node is in no cluster. An agent that does
 * not answer is not an error.
 */
int remotes_load(struct remotes *r, bool pods, struct err *err);
int remotes_find_nexthops(struct remotes *r, struct err *err); /* for all that are in the maps */
void remotes_free(struct remotes *r);
bool remotes_in_cluster(const struct remotes *r);

/* All return NULL if there is none. */
const struct remote_node *remotes_own(const struct remotes *r);
const struct remote_node *remotes_by_slot(const struct remotes *r, uint32_t slot);
/* By an address of the node itself, including the gateway address of its pod CIDR. */
const struct remote_node *remotes_by_address(const struct remotes *r, const struct ip *ip);
/* By pod CIDR. */
const struct remote_node *remotes_by_cidr(const struct remotes *r, const struct ip *ip);
/* By name, slot or one of its addresses. */
const struct remote_node *remotes_by_text(const struct remotes *r, const char *text);
const struct remote_pod *remotes_pod(const struct remotes *r, const struct ip *ip);

/* Looks up map ipcache4 or ipcache6; -ENOENT. */
int ipcache_lookup(const struct ip *ip, uint64_t *identity, struct err *err);
/* How tunnel packets are recognised in this cluster. */
struct packet_tunnel tunnel_form(const struct wr_cluster *cluster);

/* Sets the error for an unknown node. Returns -ENOENT. */
int node_unknown(struct cli *cli, const struct remotes *r, const char *text);

/* "shop/db". */
#define REMOTE_POD_NAME_MAX 320
const char *remote_pod_name(const struct remote_pod *pod, char buf[REMOTE_POD_NAME_MAX]);
/* "node b", "node slot 3". */
#define NODE_LABEL_MAX 272
const char *node_label(const struct remote_node *node, char buf[NODE_LABEL_MAX]);
/* The side WR_REMOTE | slot of a flow, with address `ip`: "node b pod shop/db", "node b", "node slot 3". */
#define REMOTE_LABEL_MAX (NODE_LABEL_MAX + 336)
const char *remote_label(const struct remotes *r, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX]);
/* Field "node": its name; without one, in text "this node" or "slot 3"; `none` if there is no node. */
void out_node(struct out *o, const struct remote_node *node, const char *none);
/* A note if names are missing, since the agent has not answered. */
void out_no_names(struct out *o, const struct remotes *r);
/* Sets node, slot and pod of an object. */
void remote_json(const struct remotes *r, uint32_t side, const struct ip *ip, json_t *object);

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

/* The map's entry and the state of its device. */
struct endpoint {
	uint32_t id; /* ifindex of the host-side device */
	struct wr_endpoint ep;
	char device[IFNAMSIZ]; /* "" if the device is gone */
	unsigned faults;       /* set of enum dp_fault */
};

/* All of them, with their pods; also other nodes and their pods. */
struct endpoints {
	struct nl nl;
	struct pods pods;
	struct remotes remotes;
	struct endpoint *list; /* by id */
	size_t count, room;
};
#define _cleanup_endpoints_ __attribute__((cleanup(endpoints_free)))

/* Reads all endpoints, but not their devices: no device names, no faults. */
int endpoints_list(struct cli *cli, struct endpoints *e);
/* The same, and other nodes with their pods. */
int endpoints_list_all(struct cli *cli, struct endpoints *e);
/* Reads all endpoints and checks their devices. */
int endpoints_load(struct cli *cli, struct endpoints *e);
/* Only the endpoint with this id; -ENOENT. */
int endpoints_load_one(struct cli *cli, struct endpoints *e, uint32_t id);
void endpoints_free(struct endpoints *e);
const struct endpoint *endpoints_find(const struct endpoints *e, uint32_t id); /* NULL */
/* "default/web", or the start of the container's id; "-" if there is no such pod. */
const char *endpoint_label(const struct endpoints *e, uint32_t id, char buf[POD_LABEL_MAX]);
/* A row with id and label. */
void out_endpoint(struct out *o, const struct endpoints *e, uint32_t id);
/*
 * The label of a side of a conntrack entry with that address: "default/web", or on another node "node b pod shop/db";
 * "" for 0.
 */
const char *side_label(const struct endpoints *e, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX]);
/* Sets endpoint and pod, or node, slot and pod of an object; nothing for 0. */
void side_json(const struct endpoints *e, uint32_t side, const struct ip *ip, json_t *object);
const struct endpoint *endpoints_by_address(const struct endpoints *e, const struct ip *ip); /* NULL */
/* The endpoint's addresses: [0] IPv4, [1] IPv6; family 0: none. */
void endpoint_addresses(const struct wr_endpoint *ep, struct ip ip[2]);

/* Array of texts. */
json_t *endpoint_faults(const struct endpoint *endpoint);
/* The remedy for the first fault; NULL: no faults. */
const char *endpoint_remedy(const struct endpoint *endpoint);

/* --- services ----------------------------------------------------------------------------------------------------- */

/*
 * A service frontend: address and port from the maps, with names from the agent; or one that the agent could not write
 * to the maps.
 */
struct service_row {
	struct ip ip;
	uint16_t port;
	uint8_t protocol;
	bool external; /* for clients outside the cluster; else for pods and the host's sockets */
	bool mapped;   /* in the maps; the next four are valid */
	bool local;    /* without backends, packets are dropped */
	bool restricted; /* only for clients in its source ranges */
	bool released; /* another service proxy has new flows */
	uint32_t affinity_seconds;
	uint32_t table_size; /* 0: none */
	size_t backend_count;
	const json_t *agent; /* its entry in the agent's answer; NULL: none */
};

struct service_rows {
	struct service_row *v; /* by address, port, protocol, `external` */
	size_t count, room;
};
#define _cleanup_service_rows_ __attribute__((cleanup(service_rows_free)))

/* Queries the agent with cli_agent(): `cli` owns the answer. */
int service_rows_load(struct cli *cli, struct service_rows *rows);
/* Only the agent's answer, without the maps. */
int service_rows_load_named(struct cli *cli, struct service_rows *rows);
void service_rows_free(struct service_rows *rows); /* leaves them empty */
/* The row for pods, else the one for clients outside the cluster. NULL: not found. */
const struct service_row *service_rows_find(const struct service_rows *rows, const struct ip *ip, uint16_t port,
					    uint8_t protocol);

/* "default/web"; NULL: unknown. */
#define SERVICE_NAME_MAX 320
const char *service_row_name(const struct service_row *row, char buf[SERVICE_NAME_MAX]);
/* The name of the service that the flow's initiator sends to; "hostPort": it is one of the responder's; NULL: unknown. */
const char *service_rows_name(const struct service_rows *rows, const struct dp_flow *flow, char buf[SERVICE_NAME_MAX]);
/* {"address", "port", "name", "client_port"} of a flow's frontend. `name` may be NULL. */
json_t *service_json(const struct dp_flow *flow, const char *name);

/* --- the ends of flows, by workload --------------------------------------------------------------------------------- */

/* This node's addresses, sorted. */
struct own_addresses {
	struct ip *v;
	size_t count, room;
};
int own_addresses_load(struct own_addresses *own, struct err *err);
void own_addresses_free(struct own_addresses *own);
bool own_addresses_has(const struct own_addresses *own, const struct ip *ip);

/* What names the ends of flows. Labels are from the agent: without it a pod of this node stands for itself. */
struct flow_names {
	struct endpoints endpoints; /* of this node alone */
	struct remotes remotes;
	struct service_rows services;
	struct own_addresses own;
	json_t *answer;		/* of the agent: identities */
	struct hashmap labels;	/* identity: its index in `answer`, plus 1 */
	struct err why;		/* why there is no answer */
};
int flow_names_load(struct cli *cli, struct flow_names *n); /* (again) */
int flow_names_load_local(struct cli *cli, struct flow_names *n); /* only what is without the agent */
void flow_names_free(struct flow_names *n);

/* Finds the ends of flows in a table. */
struct flow_ends {
	const struct flow_names *names;
	struct flow_table *table;
	struct hashmap indexes; /* of places that were found before */
	bool gone;		/* an endpoint was met that is not in the list */
	bool unknown;		/* a pod was met whose name or labels are unknown: the names may be old */
};
void flow_ends_begin(struct flow_ends *e, const struct flow_names *names, struct flow_table *table);
void flow_ends_free(struct flow_ends *e);
/* -ENOMEM */
int flow_ends_find(struct flow_ends *e, const struct dp_flow *flow, uint32_t ends[2]);

/* --- the two sides of a flow -------------------------------------------------------------------------------------- */

/*
 * From an argument: an endpoint's id, a pod ("default/web", or "web" if that is unique; pods of
 * other nodes by name only while the agent runs), an address, a node's name, "host" (this node) or "world" (an address
 * outside the cluster).
 */
enum flow_side_kind {
	FLOW_SIDE_POD,
	FLOW_SIDE_HOST,
	FLOW_SIDE_WORLD,
	FLOW_SIDE_REMOTE, /* a pod of another node: an address in its pod CIDR */
	FLOW_SIDE_NODE,   /* another node's own stack */
};

struct flow_side {
	enum flow_side_kind kind;
	const struct endpoint *endpoint; /* of a pod, else NULL */
	struct ip ip[2];		 /* [0] IPv4, [1] IPv6; family 0: none */
	const struct remote_node *node;	 /* of another node and its pods, else NULL */
	uint64_t identity;		 /* by which policies match it */
	bool known;			 /* the identity is from the maps; else it is a guess */
	char label[REMOTE_LABEL_MAX];	 /* "default/web", "host", "world", "shop/db of node b", "node b" */
};

struct flow {
	struct flow_side from, to;
	int family;	  /* index of the sides' addresses */
	bool any;	  /* no PORT/PROTO was given: the two below are the default */
	uint8_t protocol; /* of the family: IPPROTO_ICMP or IPPROTO_ICMPV6 */
	uint16_t port;	  /* 0 where the protocol has none */
};

/* Defaults without PORT/PROTO. */
#define FLOW_PORT 80
#define FLOW_PROTOCOL IPPROTO_TCP

/*
 * Parses args[0] and args[1], "DST[:PORT/PROTO]" (":icmp": an echo). The family is that of --family, or else the first
 * one in which both sides have an address. `e` must outlive the flow.
 */
int flow_parse(struct cli *cli, const struct endpoints *e, struct flow *flow);

/* Field `key`: "default/web (endpoint 12, 10.1.0.5)", "shop/db of node b (10.2.0.7)"; in JSON an object. */
void out_flow_side(struct out *o, const char *key, const struct remotes *remotes, const struct flow_side *side,
		   const struct ip *ip);
/* Adds a note if its identity is a guess. */
void out_guess(struct out *o, const struct flow_side *side);
/* "tcp to port 80", "icmp". */
#define FLOW_STRLEN 48
const char *flow_format(const struct flow *flow, char buf[FLOW_STRLEN]);

#endif
