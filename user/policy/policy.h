/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy compiler: objects in, map entries out. Pure: it knows no maps, no files and no clock. It keeps what it
 * computed, so that a change costs what depends on it.
 *
 *   identity      keyed hash of (namespace, its labels, pod labels, named ports): see identity.h
 *   peer class    distinct set of selectors, of policies that are in use on this node, that match an identity
 *   policy class  distinct set of policies that select an endpoint of this node; named here by a hash of the set (its
 *                 key), numbered by whoever writes it into the maps
 *
 * Only policies that select a local endpoint are compiled, only selectors of those are matched against identities.
 */
#ifndef WARREN_POLICY_H
#define WARREN_POLICY_H

#include "abi/policy.h"
#include "err.h"
#include "objects.h"
#include "siphash.h"

struct policy;

/*
 * A pod of more labels, or named ports, is as one without an object: in quarantine, and matched by no selector. (Each label is looked up
 * in each scope of selectors. The API limits neither.)
 */
#define POD_LABELS_MAX 256
#define POD_PORTS_MAX 512

#define POLICY_KEY_SIZE SIPHASH_KEY_SIZE /* the cluster key: two nodes compute the same numbers from the same key */

struct policy *policy_new(const uint8_t key[POLICY_KEY_SIZE]); /* NULL without memory */
void policy_free(struct policy *p);

/*
 * For tests of collisions: identities have only the low `bits` of their hash (56 unless told). Before anything is put.
 */
void policy_set_identity_bits(struct policy *p, unsigned bits);

/*
 * Objects: added or replaced by namespace and name. Owned by the compiler from here on, also on failure (-ENOMEM). An
 * object that equals the one it replaces changes nothing.
 */
int policy_put_namespace(struct policy *p, struct namespace_object *object);
int policy_put_pod(struct policy *p, struct pod_object *object);
int policy_put_policy(struct policy *p, struct policy_object *object);
void policy_remove_namespace(struct policy *p, const char *name);
void policy_remove_pod(struct policy *p, const char *namespace, const char *name);
void policy_remove_policy(struct policy *p, const char *namespace, const char *name);

/*
 * Endpoints of this node. One belongs to the pod object of that namespace and name, if that has the uid (a uid that
 * either side does not know is no obstacle), and has its labels and ports; an older object of the name never lends
 * them. `own` (taken over; may be NULL) gives labels to an endpoint that has no pod object: those of the network
 * config. With neither, it has no policy: class quarantine.
 */
int policy_put_endpoint(struct policy *p, uint32_t ifindex, const char *namespace, const char *name, const char *uid,
			struct labels *own);
void policy_remove_endpoint(struct policy *p, uint32_t ifindex);

/*
 * What the node's maps can hold; unless told, as much as they ever do (abi/maps.h). How it is divided: see bounds.h. Before the first
 * compile.
 */
void policy_set_room(struct policy *p, size_t entries, size_t prefixes, size_t names);

/* Rule numbers that the maps know already, so that a new compiler goes on with them. Before the first compile. */
int policy_seed_rule(struct policy *p, uint32_t rule, const char *text);

/* --- what comes out --- */

struct policy_cidr {
	struct ip ip;
	uint8_t length;
	uint8_t direction; /* enum wr_direction */
	uint64_t peer;     /* CIDR peer, or WR_PEER_NONE */
};

/* A class whole: all of its entries, sorted by key (memcmp of wr_policy_key). `policy_class` is 0 in all keys. */
struct policy_class {
	uint64_t key; /* never below WR_CLASS_FIRST */
	bool gone;    /* no endpoint is in it any more; nothing else is set */
	/*
	 * It is over a bound, and denies what its policies isolate (info says WR_CLASS_NO_ROOM; no entries). One that was told before is
	 * not told so: what was told of it stays.
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
	uint64_t peer; /* peer class; WR_PEER_NONE: to be removed from the map */
};

struct policy_endpoint {
	uint32_t ifindex;
	uint64_t identity; /* WR_ID_UNKNOWN without labels */
	uint64_t class_key; /* WR_CLASS_QUARANTINE, WR_CLASS_NOT_ISOLATED, or the key of a class */
};

/* Who a pod is, wherever it runs. */
struct policy_pod {
	const char *namespace, *name;
	const char *node;   /* "": not said */
	struct ip ips[2];   /* family 0: none */
	bool terminating;
	uint64_t identity; /* WR_ID_UNKNOWN: it is nobody: gone, completed, or its node (host network) */
};

struct policy_rule_name {
	uint32_t rule;
	bool gone; /* no class uses it any more; its text is still valid */
	const char *text;
};

/* What has changed since the last compile. Valid until the next call of anything here. */
struct policy_changes {
	const struct policy_class *classes;
	size_t class_count;
	const struct policy_identity *identities;
	size_t identity_count;
	const struct policy_endpoint *endpoints; /* those whose identity or class has changed, or is new */
	size_t endpoint_count;
	const struct policy_rule_name *rules;
	size_t rule_count;
	const struct policy_pod *pods; /* those of which anything above has changed, or is new */
	size_t pod_count;
	/* an identity that was known has another peer class: flows of every class are to be judged again */
	bool peers_moved;
};

/*
 * Computes what changed. On failure (-ENOMEM) the changes are lost and the next compile must be a full one: call
 * policy_compile_all(), which returns everything there is, as if nothing had ever been compiled.
 */
int policy_compile(struct policy *p, struct policy_changes *changes, struct err *err);
int policy_compile_all(struct policy *p, struct policy_changes *changes, struct err *err);
/*
 * Large classes are left for the next compile, which has nothing else to wait for. Until then what was told of them stays; new ones are
 * told to be denied.
 */
bool policy_unfinished(const struct policy *p);
/*
 * Whether what was compiled last depends on who other pods are: a policy that selects an endpoint of this node names
 * pods or namespaces. All pods of all namespaces need not be known for that, nor need addresses.
 */
bool policy_needs_pods(const struct policy *p);

/* --- to look at --- */

struct policy_identity_info {
	uint64_t identity;
	const char *namespace;
	const struct labels *namespace_labels, *labels; /* namespace_labels NULL: there is no such namespace object */
	const struct named_port *ports;
	size_t port_count;
	uint64_t peer;       /* its peer class, WR_PEER_NONE: none */
	size_t pods;         /* pod objects (and endpoints with labels of their own) that have it */
	bool collision;      /* two label sets have this number: it matches no selector */
	const uint32_t *endpoints; /* ifindexes of its local endpoints */
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
	const char *problem; /* its rules, or a change of its class, are not enforced: over which bound it is; NULL: they are */
	bool coarse_names;   /* its rules share one name for each direction: there is no room for more */
};
/* In order of namespace and name. */
int policy_each_policy(struct policy *p, int (*fn)(const struct policy_policy_info *info, void *arg), void *arg);

/* Policies and classes that are over a bound. `example`: the first one as "namespace/name: problem", "" without any. */
struct policy_refused {
	size_t policies, classes, coarse /* policies whose rules share names */;
	size_t pods; /* of more labels or named ports than they may have; `pod`: one of them, "namespace/name", or "" */
	char pod[320];
	char example[512];
};
void policy_count_refused(const struct policy *p, struct policy_refused *refused);

struct policy_counts {
	size_t namespaces, pods, policies, policies_invalid, endpoints, endpoints_waiting /* quarantined: no labels */;
	size_t identities, collisions, selectors, peer_classes, classes, entries, cidrs, rules;
};
void policy_count(const struct policy *p, struct policy_counts *counts); /* looks at every object */
size_t policy_count_invalid(const struct policy *p);			 /* at every policy alone */

#endif
