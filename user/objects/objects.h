/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Kubernetes objects that are used, reduced to the fields that are needed. user/kube decodes and validates them; the
 * compiler (policy.h) owns those that are put into it. Strings are NUL-terminated UTF-8, owned by their object. An
 * object starts zeroed. Its *_free() accepts NULL and half-built objects.
 */
#ifndef WARREN_OBJECTS_H
#define WARREN_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "addr.h"
#include "siphash.h"

struct label {
	char *key, *value;
};

/* Sorted by key (strcmp), keys unique. */
struct labels {
	struct label *v;
	size_t count;
};

/* core/v1 Namespace. The decoder adds the label kubernetes.io/metadata.name, as the API server does. */
struct namespace_object {
	char *name;
	struct labels labels;
};

/* A container port with a name. Protocols are IPPROTO_TCP, _UDP, _SCTP. */
struct named_port {
	char name[16]; /* IANA_SVC_NAME: at most 15 characters */
	uint8_t protocol;
	uint16_t port; /* host order */
};

/* core/v1 Pod. */
struct pod_object {
	char *namespace, *name;
	/* As passed to the runtime (a static pod's differs from its mirror object's); "": a manifest without one. */
	char *uid;
	struct labels labels;
	struct named_port *ports; /* of all containers; sorted by name, protocol, port; no duplicates */
	size_t port_count;
	char *node; /* spec.nodeName; "": not set */
	struct ip ips[2]; /* status.podIPs; family 0: none */
	bool host_network; /* uses the node's identity: no selector matches it */
	bool completed;    /* phase Succeeded or Failed: ignored. A terminating pod is not completed. */
	bool terminating;  /* being deleted: another pod may have its addresses by now */
};

/* core/v1 Node: not used by the compiler. */
#define NODE_ADDRESSES 8
#define NODE_AGENT_ANNOTATION "warren.dev/agent"
#define NODE_AGENT_MAX 64 /* with the NUL; longer ones are truncated */
struct node_object {
	char *name;
	/* spec.podCIDRs (or podCIDR): at most one of each family; host bits zero; family 0: none */
	struct prefix cidrs[2];
	/* status.addresses of type InternalIP, in order: tunnels use the first of a family */
	struct ip addresses[NODE_ADDRESSES];
	size_t address_count;
	char *zone;	 /* label topology.kubernetes.io/zone; "": none */
	bool leaving;	 /* being deleted, or the cluster autoscaler is about to delete it */
	int64_t created; /* metadata.creationTimestamp, seconds since 1970; 0: not set */
	char agent[NODE_AGENT_MAX]; /* state of its agent, from the annotation; "": none */
};

/* One element of the ports of a Service, or of an EndpointSlice, whose names match those of the Service's. */
struct service_port {
	char *name; /* "": none, allowed for a single port */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	uint16_t port, node_port; /* host order; 0: none (the former in slices only, the latter in Services) */
};

enum service_type { SERVICE_CLUSTER_IP, SERVICE_NODE_PORT, SERVICE_LOAD_BALANCER, SERVICE_EXTERNAL_NAME };

/* core/v1 Service: not used by the compiler. One that is not translated by anyone (ExternalName, headless) has no cluster_ips. */
struct service_object {
	char *namespace, *name;
	enum service_type type;
	bool packed; /* by service_object_pack() */
	bool other_proxy; /* labelled for another proxy, or for none: it has no frontend here */
	struct ip cluster_ips[2]; /* spec.clusterIPs (or clusterIP), at most one of a family; family 0: none */
	struct service_port *ports;
	size_t port_count;
	uint32_t affinity_seconds; /* sessionAffinity ClientIP; 0: none */
	bool internal_local;	   /* internalTrafficPolicy Local */
	bool external_local;	   /* externalTrafficPolicy Local */
	bool restricted;	   /* loadBalancerSourceRanges is not empty */
	struct prefix *source_ranges; /* those that are prefixes; host bits zero, sorted, no duplicates */
	size_t source_range_count;
	uint16_t health_check_port; /* healthCheckNodePort, host order; 0: none */
	struct ip *external_ips;   /* spec.externalIPs */
	size_t external_ip_count;
	/* status.loadBalancer.ingress: addresses whose packets reach the nodes unchanged (ipMode VIP, the default) */
	struct ip *balancer_ips;
	size_t balancer_ip_count;
};

/* networking.k8s.io/v1 ServiceCIDR: prefixes of ClusterIPs. */
struct service_cidr_object {
	char *name;
	struct prefix cidrs[2]; /* spec.cidrs: at most one of each family; host bits zero; family 0: none */
};

/* discovery.k8s.io/v1 EndpointSlice: one endpoint, with its first address, as the API specifies. */
struct slice_endpoint {
	struct ip address;
	bool ready, serving, terminating; /* conditions, after defaulting */
	char *node; /* nodeName; "": not set */
	/* hints.forNodes, hints.forZones: names between commas, and one at each end; NULL: none */
	char *for_nodes, *for_zones;
};
/* A slice of address type FQDN has no endpoints here. */
struct slice_object {
	char *namespace, *name;
	char *service; /* label kubernetes.io/service-name; "": none */
	struct slice_endpoint *endpoints; /* sorted by address; all of one family */
	size_t endpoint_count;
	struct service_port *ports;
	size_t port_count;
};

enum requirement_op { REQUIRE_IN, REQUIRE_NOT_IN, REQUIRE_EXISTS, REQUIRE_NOT_EXISTS };

/* matchLabels become requirements of one value. */
struct requirement {
	char *key;
	enum requirement_op op;
	char **values; /* sorted, unique */
	size_t value_count;
};

/*
 * A label selector: matches if all requirements do; an empty one matches everything. NotIn and DoesNotExist match where
 * the key is absent (k8s.io/apimachinery labels.Requirement.Matches).
 */
struct selector {
	struct requirement *v; /* sorted by key, op, values */
	size_t count;
};

/*
 * One element of from/to: either an ipBlock, or pods. Without `namespaces`: of the policy's own namespace; without
 * `pods`: all pods of the selected namespaces.
 */
struct policy_peer {
	bool is_block;
	struct prefix block;   /* host bits zero */
	struct prefix *except; /* each inside block */
	size_t except_count;
	bool has_namespaces, has_pods;
	struct selector namespaces, pods;
};

/* One element of ports. */
struct policy_port {
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	bool all;         /* no port: all of the protocol */
	char name[16];    /* if not empty: a named port, resolved by the ports of the destination pod */
	uint16_t first, last; /* host order; last = endPort, or first */
};

struct policy_rule {
	struct policy_peer *peers; /* none: every peer (from/to missing or empty) */
	size_t peer_count;
	struct policy_port *ports; /* none: every port of every protocol, ICMP included */
	size_t port_count;
};

enum { POLICY_EGRESS, POLICY_INGRESS, POLICY_DIRECTIONS }; /* as enum wr_direction */

/* networking.k8s.io/v1 NetworkPolicy. */
struct policy_object {
	char *namespace, *name;
	struct selector pods;
	bool isolates[POLICY_DIRECTIONS]; /* policyTypes, after defaulting */
	struct policy_rule *rules[POLICY_DIRECTIONS];
	size_t rule_count[POLICY_DIRECTIONS];
	/*
	 * NULL, or why the object is invalid. It then isolates the selected pods in both directions, without rules; if
	 * its selector is unreadable, all pods of its namespace.
	 */
	char *invalid;
};

enum object_kind {
	OBJECT_NONE,
	OBJECT_NAMESPACE,
	OBJECT_POD,
	OBJECT_POLICY,
	OBJECT_NODE,
	OBJECT_SERVICE,
	OBJECT_SLICE,
	OBJECT_SERVICE_CIDR
};

/* One object of any kind. Zeroed: no object. */
struct object {
	enum object_kind kind;
	union {
		void *any;
		struct namespace_object *namespace;
		struct pod_object *pod;
		struct policy_object *policy;
		struct node_object *node;
		struct service_object *service;
		struct slice_object *slice;
		struct service_cidr_object *service_cidr;
	};
};

void labels_free(struct labels *labels);
void selector_free(struct selector *selector);
void namespace_object_free(struct namespace_object *object);
void pod_object_free(struct pod_object *object);
void policy_object_free(struct policy_object *object);
void node_object_free(struct node_object *object);
void service_object_free(struct service_object *object);
/* Moves it into one block of memory, which is smaller: for many that are kept. Without memory it stays where it is. */
struct service_object *service_object_pack(struct service_object *object);
void slice_object_free(struct slice_object *object);
void service_cidr_object_free(struct service_cidr_object *object);
void object_free(struct object *o);

/* The name of its kind, as in manifests. */
const char *object_kind_name(enum object_kind kind);
/* Both borrowed; the namespace is "" for a kind that is not namespaced. */
void object_names(const struct object *o, const char **namespace, const char **name);

/* The value of `key`, or NULL. */
const char *labels_get(const struct labels *labels, const char *key);
bool selector_matches(const struct selector *selector, const struct labels *labels);
bool labels_equal(const struct labels *a, const struct labels *b); /* both sorted */
int selector_copy(struct selector *to, const struct selector *from);
void selector_print(FILE *f, const struct selector *selector); /* app=web,tier in (a,b); everything: * */

/* Sort as specified above, and remove duplicates; -EEXIST: a duplicate key. */
int labels_sort(struct labels *labels);
void selector_sort(struct selector *selector);
void slice_sort(struct slice_object *object); /* (one address may be there more than once) */
int named_port_cmp(const void *a, const void *b); /* by name, protocol, port */
size_t named_ports_sort(struct named_port *ports, size_t count); /* how many are left */

/* --- object_hash.c: different objects have different hashed texts --- */

void siphash_labels(struct siphash *h, const struct labels *labels);
void siphash_ports(struct siphash *h, const struct named_port *ports, size_t count);
void siphash_selector(struct siphash *h, const struct selector *selector);
void siphash_policy(struct siphash *h, const struct policy_object *policy); /* all but its names */
/* A keyed hash of all fields, its name included: detects changes without a copy of the object. */
uint64_t object_fingerprint(const uint8_t key[SIPHASH_KEY_SIZE], const struct object *o);

#endif
