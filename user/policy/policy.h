/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy compiler: objects in, map entries out. Pure: it uses no maps, files or clock. It keeps its results, so
 * that a change costs only what depends on it.
 *
 *   identity      keyed hash of (namespace, its labels, pod labels, named ports): see identity.h
 *   peer class    distinct set of selectors, of policies that are in use on this node, that match an identity
 *   policy class  distinct set of policies that select an endpoint of this node; named here by a hash of the set (its
 *                 key), numbered by the agent when it writes the maps
 *
 * Only policies that select a local endpoint are compiled, and only their selectors are matched against identities.
 */
#ifndef WARREN_POLICY_H
#define WARREN_POLICY_H

#include "abi/policy.h"
#include "err.h"
#include "objects.h"
#include "siphash.h"

struct policy;

/*
 * A pod with more labels or named ports is handled as a pod without an object: in quarantine, and no selector matches
 * it. (Each label is looked up in each scope. The API limits neither.)
 */
#define POD_LABELS_MAX 256
#define POD_PORTS_MAX 512

#define POLICY_KEY_SIZE SIPHASH_KEY_SIZE /* the cluster key: two nodes compute the same numbers from the same key */

struct policy *policy_new(const uint8_t key[POLICY_KEY_SIZE]); /* NULL without memory */
void policy_free(struct policy *p);

/* For tests of collisions: identities use only the low `bits` of their hash (default 56). Before anything is put. */
void policy_set_identity_bits(struct policy *p, unsigned bits);

/*
 * Adds or replaces objects by namespace and name. The compiler takes ownership, also on failure (-ENOMEM). An object
 * that equals the one that it replaces changes nothing.
 */
int policy_put_namespace(struct policy *p, struct namespace_object *object);
int policy_put_pod(struct policy *p, struct pod_object *object);
int policy_put_policy(struct policy *p, struct policy_object *object);
void policy_remove_namespace(struct policy *p, const char *name);
void policy_remove_pod(struct policy *p, const char *namespace, const char *name);
void policy_remove_policy(struct policy *p, const char *namespace, const char *name);

/*
 * Endpoints of this node. An endpoint has the labels and ports of the pod object of that namespace and name, if their
 * uids are equal or one is unknown: an older object of the same name is not used. `own` (takes ownership; may be NULL)
 * are the labels of an endpoint without a pod object, from the network config. An endpoint with neither is in class
 * quarantine.
 */
int policy_put_endpoint(struct policy *p, uint32_t ifindex, const char *namespace, const char *name, const char *uid,
			struct labels *own);
void policy_remove_endpoint(struct policy *p, uint32_t ifindex);

/* The size of the node's maps (default: abi/maps.h), divided as in bounds.h. Before the first compile. */
void policy_set_room(struct policy *p, size_t entries, size_t prefixes, size_t names);

/* Rule numbers that the maps already hold, so that a new compiler keeps them. Before the first compile. */
int policy_seed_rule(struct policy *p, uint32_t rule, const char *text);

/* --- output --- */

struct policy_cidr {
	struct ip ip;
	uint8_t length;
	uint8_t direction; /* enum wr_direction */
	uint64_t peer;     /* CIDR peer, or WR_PEER_NONE */
};

/* A complete class: all entries, sorted by key (memcmp of wr_policy_key). `policy_class` is 0 in all keys. */
struct policy_class {
	uint64_t key; /* never below WR_CLASS_FIRST */
	bool gone;    /* no endpoint has it any more; nothing else is set */
	/*
	 * It exceeds a bound, and denies all in the isolated directions (WR_CLASS_NO_ROOM in info; no entries). A class
	 * that was reported before is not reported as refused: its last version stays enforced.
	 */
	bool refused;
	struct wr_class_info info;
	struct wr_policy_key *keys;
	struct wr_policy_entry *entries;
	size_t count;
	struct policy_cidr *cidrs; /* sorted by direction, family, address, length */
	size_t cidr_count;
};

struct policy_identity {
	uint64_t identity;
	uint64_t peer; /* peer class; WR_PEER_NONE: remove it from the map */
};

struct policy_endpoint {
	uint32_t ifindex;
	uint64_t identity; /* WR_ID_UNKNOWN without labels */
	uint64_t class_key; /* WR_CLASS_QUARANTINE, WR_CLASS_NOT_ISOLATED, or the key of a class */
};

/* A pod's identity, on any node. */
struct policy_pod {
	const char *namespace, *name;
	const char *node;   /* "": not set */
	struct ip ips[2];   /* family 0: none */
	bool terminating;
	uint64_t identity; /* WR_ID_UNKNOWN: gone, completed, or host network */
};

struct policy_rule_name {
	uint32_t rule;
	bool gone; /* unused; its text is still valid */
	const char *text;
};

/* Changes since the last compile. Valid until the next call of any function here. */
struct policy_changes {
	const struct policy_class *classes;
	size_t class_count;
	const struct policy_identity *identities;
	size_t identity_count;
	const struct policy_endpoint *endpoints; /* new, or with another identity or class */
	size_t endpoint_count;
	const struct policy_rule_name *rules;
	size_t rule_count;
	const struct policy_pod *pods; /* new, or with a changed field */
	size_t pod_count;
	/* a known identity has another peer class: flows of every class must be evaluated again */
	bool peers_moved;
};

/*
 * Computes the changes. After a failure (-ENOMEM) they are lost: call policy_compile_all(), which returns everything,
 * as if nothing had been compiled before.
 */
int policy_compile(struct policy *p, struct policy_changes *changes, struct err *err);
int policy_compile_all(struct policy *p, struct policy_changes *changes, struct err *err);
/*
 * Large classes are deferred to the next compile, which can be called at once. Until then their last version stays; new
 * ones are reported as denied.
 */
bool policy_unfinished(const struct policy *p);
/*
 * Whether the compiled policies depend on the identities of other pods: one of them has a selector of pods or
 * namespaces. A rule for all pods of all namespaces does not, nor does an ipBlock.
 */
bool policy_needs_pods(const struct policy *p);

/* --- for display --- */

struct policy_identity_info {
	uint64_t identity;
	const char *namespace;
	const struct labels *namespace_labels, *labels; /* namespace_labels NULL: no namespace object */
	const struct named_port *ports;
	size_t port_count;
	uint64_t peer;       /* its peer class, or WR_PEER_NONE */
	size_t pods;         /* pod objects (and endpoints with labels of their own) that have it */
	bool collision;      /* two label sets have this number: it matches no selector */
	const uint32_t *endpoints; /* ifindexes of local endpoints with it */
	size_t endpoint_count;
	const char *const *selectors; /* those that match, as text */
	size_t selector_count;
};
/* In order of identity; stops at the first non-zero return of fn and returns it. The info is valid during the call. */
int policy_each_identity(struct policy *p, int (*fn)(const struct policy_identity_info *info, void *arg), void *arg);

struct policy_policy_info {
	const struct policy_object *object;
	const uint32_t *endpoints; /* local endpoints that it selects */
	size_t endpoint_count;
	size_t entries; /* in the classes that contain it; 0 if it selects no local endpoint */
	const uint64_t *classes; /* keys of the classes that contain it */
	size_t class_count;
	const char *problem; /* the exceeded bound, if its rules or a change of its class are not enforced; NULL: they are */
	bool coarse_names;   /* its rules share one name for each direction: no room for more */
};
/* In order of namespace and name. */
int policy_each_policy(struct policy *p, int (*fn)(const struct policy_policy_info *info, void *arg), void *arg);

/* Policies and classes that exceed a bound. `example`: one of them, "namespace/name: problem", or "". */
struct policy_refused {
	size_t policies, classes, coarse /* policies whose rules share names */;
	size_t pods; /* with too many labels or named ports; `pod`: one of them, "namespace/name", or "" */
	char pod[320];
	char example[512];
};
void policy_count_refused(const struct policy *p, struct policy_refused *refused);

/* --- why a flow is denied --- */

/* A flow as the enforcement point at one of its ends evaluates it. */
struct policy_flow {
	uint8_t direction; /* POLICY_EGRESS: the endpoint is the initiator */
	uint8_t protocol;
	uint16_t port; /* of the responder, host order; 0 where the protocol has none */
	uint64_t peer_identity;
	struct ip peer_ips[2]; /* each of which an ipBlock may contain; family 0: none */
};

/* How far a rule matches a flow, the nearest first. */
enum policy_match { POLICY_ALLOWS, POLICY_WRONG_PORT, POLICY_WRONG_PROTOCOL, POLICY_WRONG_PEER, POLICY_MATCHES };

#define EXPLAIN_LIST 8 /* policies and rules that are listed; the others are counted */
#define EXPLAIN_LABELS 8

struct explained_labels {
	const struct label *v[EXPLAIN_LABELS];
	size_t count;
};

/* The narrowest rule that would allow the flow: from or to one peer, on one port. */
struct policy_change {
	const char *obstacle; /* why there is none; NULL: there is one */
	const struct policy_object *policy; /* gets the rule; NULL: a new policy, for the pods with labels `pods` */
	struct explained_labels pods;
	const char *peer_namespace; /* of a pod, else NULL: its address */
	bool same_namespace;
	struct explained_labels namespace_labels, peer_pods; /* no peer_pods: all pods of the namespace */
	struct ip peer_ip;
};

struct policy_explanation {
	const char *namespace; /* of the class's policies */
	const char *problem;   /* why the class's rules, or their last change, are not enforced; NULL: they are */
	size_t policy_count;   /* that isolate the endpoint in this direction; 0: it is not isolated */
	size_t rule_count, matches[POLICY_MATCHES]; /* rules of these, and how far they match */
	struct policy_explained_policy {
		const struct policy_object *object;
		const char *problem; /* the bound that it exceeds; its rules are not enforced */
	} policies[EXPLAIN_LIST];
	struct policy_explained_rule {
		const struct policy_object *policy;
		size_t number;
		enum policy_match match;
	} rules[EXPLAIN_LIST]; /* if there are more: the nearest */
	struct policy_change change;
};

/*
 * Why the class denies the flow (or which rules allow it), by the objects as they are now. `ifindex`: the endpoint, of
 * whose labels a proposal is made. False: there is no such class. Valid until the next call of another function.
 */
bool policy_explain(const struct policy *p, uint64_t class_key, uint32_t ifindex, const struct policy_flow *flow,
		    struct policy_explanation *e);
/* Why the endpoint is in quarantine. */
const char *policy_explain_quarantine(const struct policy *p, uint32_t ifindex);

struct policy_counts {
	size_t namespaces, pods, policies, policies_invalid, endpoints, endpoints_waiting /* quarantined: no labels */;
	size_t identities, collisions, selectors, peer_classes, classes, entries, cidrs, rules;
};
void policy_count(const struct policy *p, struct policy_counts *counts); /* visits every object */
size_t policy_count_invalid(const struct policy *p);			 /* visits every policy */

#endif
