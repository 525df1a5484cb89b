/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The compiler's state:
 *
 *   pod ──► labelset ──► identity
 *   endpoint ─┘  │  └──► peer_class = set of matchers that match it
 *                └─────► class = set of netpols that select it (only with endpoints of this node)
 *   netpol ──► terms ──► matchers, rules        (only while a class contains it)
 *
 * Shared values are interned by a keyed 64-bit hash of their canonical text, and equal hashes are treated as equal
 * values: without the key collisions cannot be crafted, and 2^20 values collide by chance with a probability of 2^-25.
 * Identities, which are shorter and the only hashes that leave the node, are checked for collisions (struct identity).
 */
#ifndef WARREN_POLICY_COMPILER_H
#define WARREN_POLICY_COMPILER_H

#include "array.h"
#include "bounds.h"
#include "list.h"
#include "objects.h"
#include "policy.h"
#include "table.h"

/* A namespace that has an object or contains one. */
struct ns {
	struct table_link by_name;
	size_t refs; /* of its object, pods, label sets, policies and scope */
	struct namespace_object *object; /* NULL: there is none */
	struct list netpols;
	struct list sets;
	struct list local_sets; /* those with endpoints of this node */
	struct list dirty;      /* its object has changed */
	struct scope *own;      /* scope of its own pods; NULL: no matcher needs it */
	struct scope **scopes;  /* scopes whose namespaceSelector matches it */
	size_t scope_count, scope_room;
	struct cost used; /* by its policies and classes */
	char name[];
};

/* Pods that are equal to all policies: same namespace, labels and named ports. */
struct labelset {
	struct table_link by_text;
	size_t refs;  /* pods and endpoints that point here */
	/* of refs: existing pods and endpoints with labels of their own; with 0 it is ignored */
	size_t users;
	struct ns *ns;
	struct labels labels;           /* in one block with their text */
	struct named_port *ports;
	size_t port_count;
	struct identity *identity;
	struct peer_class *peer; /* NULL: no matcher matches */
	struct class *class;     /* NULL: no policy selects it, or no endpoint of this node has it */
	struct list in_ns, in_local, in_identity, in_peer, in_class;
	struct list endpoints;
	struct list pods;
	struct list rematch; /* to be matched against all matchers */
	struct list select;  /* to be matched against all policies of its namespace */
};

/* An identity in use. Two label sets with one number are a collision: neither then matches any selector. */
struct identity {
	struct table_link by_number;
	struct list sets;
	struct list dirty;
	uint64_t reported_peer; /* last reported peer class, or WR_PEER_NONE */
	bool was_used;          /* at the last compile */
	bool collision;
};

struct pod {
	struct table_link by_name;
	struct ns *ns;
	bool present;         /* has an object; else only endpoints refer to it */
	struct labelset *set; /* NULL: no object, or one without an identity (host network, completed) */
	char *uid, *node;
	struct ip ips[2];
	bool terminating;
	bool reported; /* as present */
	struct list oversized; /* in policy.oversized_pods, if it has more labels or ports than it may */
	struct list endpoints, in_set;
	struct list dirty; /* to be reported; a pod that was reported as gone stays until the next compile */
	char name[];
};

struct endpoint {
	struct table_link by_ifindex;
	uint32_t ifindex;
	struct pod *pod;
	char *uid;
	struct labelset *own; /* of its own labels; NULL: none */
	struct labelset *set; /* in effect; NULL: quarantine */
	struct list in_pod, in_set, dirty;
	bool reported;
	uint64_t reported_identity, reported_class;
};

/* The namespaces of a peer's pods: one namespace, or those that a namespaceSelector matches. */
struct scope {
	struct table_link by_hash;
	size_t refs;
	struct ns *ns; /* NULL: `selector` */
	struct selector selector;
	struct list matchers;   /* all of them */
	struct list unanchored; /* matchers that are not in the index of labels */
	size_t anchored;        /* number of the others */
	struct list in_scopes;  /* policy.scopes, if by selector */
	bool fresh;             /* during a compile: has new matchers */
};

/*
 * A selector of pods in a scope. For a named port of an egress rule it has the port's name too: it then matches pods
 * with such a port, together with the port's number.
 */
struct matcher {
	struct table_link by_hash;
	size_t refs;
	struct scope *scope;
	struct selector pods;
	char port_name[16]; /* "": any pod that `pods` matches */
	uint8_t protocol;
	struct list in_scope, in_unanchored;
	struct list fresh; /* new: to be matched against the label sets that are not rematched anyway */
	struct list dead;  /* no term uses it */
	struct list terms;
	struct list peers; /* struct peer_member: peer classes that contain it */
	size_t peer_count;
	struct list touched; /* a peer class that contains it was added or removed */
	struct anchor *anchors;
	size_t anchor_count;
};

/* Index entry: from a label, or a label's key, to a matcher that requires it. */
struct anchor {
	struct table_link by_label;
	struct matcher *matcher;
};

struct peer_member {
	struct list in_matcher;
	struct matcher *matcher;
	struct peer_class *peer;
	uint16_t port; /* host order, of a matcher with a port name */
};

struct peer_class {
	struct table_link by_number;
	uint64_t number;
	struct list sets;
	struct list touched; /* label sets were added or removed */
	bool was_live;       /* it had label sets at the last compile */
	size_t count;
	struct peer_member members[]; /* sorted by hash of the matcher, port */
};

/* A rule's name. */
struct rule {
	struct table_link by_text;
	uint32_t number;
	bool reported;
	size_t refs;
	struct list changed; /* perhaps to be reported */
	char text[];
};

enum term_peer { TERM_ANY, TERM_ALL_PODS, TERM_MATCHER, TERM_BLOCK };

/* One peer and one port of a rule: the unit that a policy is compiled to. Freed with the policy's object. */
struct term {
	enum term_peer kind;
	uint8_t direction;
	uint8_t protocol;     /* 0: all */
	uint16_t first, last; /* ports; 0, 0: all, or those of `port_name` or of the matcher */
	uint8_t port_entries; /* number of port prefixes; 1 for a named port */
	const char *port_name; /* of an ingress rule: resolved by the class; NULL: none */
	struct rule *rule;
	struct netpol *netpol;
	struct matcher *matcher;
	struct list in_matcher;
	const struct policy_peer *block;
	uint64_t block_hash;
};

/* A NetworkPolicy. */
struct netpol {
	struct table_link by_name;
	struct ns *ns;
	struct policy_object *object; /* NULL: removed */
	uint64_t content;             /* hash of the object */
	bool has_names;               /* ingress rules have named ports, now or before the last change */
	bool changed;                 /* the terms are of an older object */
	bool compiled;
	bool coarse;   /* its rules share a name for each direction: no room for more */
	char *problem; /* why it is compiled without its rules; NULL: with them */
	bool waiting;  /* others use the room: tried again when some is freed */
	bool counted;	       /* cost and over are valid for this object */
	struct cost cost;
	enum bound over; /* bound that the policy alone exceeds; BOUNDS: none */
	struct cost charged;
	struct list refused; /* in policy.refused_netpols, if it has a problem */
	struct list in_ns;
	struct list edited; /* object changed since the last compile */
	struct list check;  /* perhaps its terms are to be made or freed */
	struct list classes; /* struct class_member */
	struct term *terms;
	size_t term_count;
	char name[];
};

struct class_member {
	struct list in_netpol;
	struct netpol *netpol;
	struct class *class;
};

struct class {
	struct table_link by_key;
	uint64_t key;
	struct list sets;
	struct list dirty;
	bool reported;
	uint64_t reported_content; /* hash of what was last reported */
	size_t entries, cidrs; /* of what was last reported */
	struct cost charged;   /* for what was last reported */
	struct cost requested; /* that exceeded the namespace's limit; zeros: more room would not help */
	char *problem;	       /* why it is not reported as it is now; NULL: it is */
	struct list refused;   /* in policy.refused_classes, if it has a problem */
	struct named_port *ports; /* resolved named ports of the ingress rules */
	size_t port_count;
	size_t count;
	struct class_member members[]; /* sorted by name */
};

/* What a compile outputs. */
struct output {
	struct policy_class *classes;
	size_t class_count, class_room;
	struct policy_identity *identities;
	size_t identity_count, identity_room;
	struct policy_endpoint *endpoints;
	size_t endpoint_count, endpoint_room;
	struct policy_rule_name *rules;
	size_t rule_count, rule_room;
	struct policy_pod *pods;
	size_t pod_count, pod_room;
	bool peers_moved;
};

struct policy {
	uint8_t key[POLICY_KEY_SIZE];
	uint64_t identity_mask;
	uint32_t last_rule;
	bool failed; /* the last compile failed: its state is incomplete */
	bool freed;  /* room was freed since refused policies and classes were last tried */
	uint64_t room[BOUNDS];
	struct cost used;
	bool whole;  /* the next compile reports everything */
	union {
		struct {
			struct table namespaces, pods, endpoints, sets, identities, scope_table, matchers, anchors,
				peers, netpols, classes, rules;
		};
		struct table tables[12];
	};
	struct list scopes; /* by selector */
	struct list dirty_namespaces, idle_sets, rematch_sets, select_sets, dirty_identities, dirty_endpoints,
	    dirty_pods, edited_netpols, check_netpols, dirty_classes, fresh_matchers, dead_matchers, touched_peers,
	    touched_matchers, changed_rules, refused_netpols, refused_classes, oversized_pods;
	struct output out;
};

/* namespaces (namespace.c) */
uint64_t names_hash(const struct policy *p, const char *a, const char *b);
struct ns *ns_get(struct policy *p, const char *name); /* a reference; NULL without memory */
void ns_put(struct policy *p, struct ns *ns);

/* pods and endpoints (pods.c) */
void pod_unneeded(struct policy *p, struct pod *pod); /* frees it if nothing refers to it */

/* label sets (labelset.c) */
struct labelset *labelset_get(struct policy *p, struct ns *ns, const struct labels *labels,
			      const struct named_port *ports, size_t port_count);
void labelset_put(struct policy *p, struct labelset *set);
void labelset_use(struct policy *p, struct labelset *set);
void labelset_unuse(struct policy *p, struct labelset *set);
int labelset_identify(struct policy *p, struct labelset *set); /* recomputes its identity */
void labelset_idle(struct policy *p, struct labelset *set);    /* no users: removes it from all lists */
void identity_leave(struct policy *p, struct labelset *set);

/* policies (netpol.c) */
bool netpol_has_names(const struct policy_object *object);
void netpol_free(struct policy *p, struct netpol *netpol);

/* their terms (terms.c) */
int netpol_update(struct policy *p, struct netpol *netpol);
void netpol_uncompile(struct policy *p, struct netpol *netpol);

/* names of rules (rule.c) */
/* A reference to the name of ports[port], or of the rule (port -1); with coarse names to that of the direction. */
struct rule *rule_get(struct policy *p, const struct netpol *netpol, int direction, size_t number, int port);
void rule_put(struct policy *p, struct rule *rule);

/* scopes: namespaces of peers (scope.c) */
struct scope *scope_get(struct policy *p, struct ns *own, const struct selector *selector); /* own NULL: by selector */
void scope_put(struct policy *p, struct scope *scope);
bool scope_matches(const struct scope *scope, const struct ns *ns);
int scopes_of_namespace(struct policy *p, struct ns *ns); /* recomputes them */

/* The matchers of a label set, each with the number of its named port. */
struct match {
	struct matcher *matcher;
	uint16_t port;
};
struct matches {
	struct match *v;
	size_t count, room;
	uint64_t (*hashes)[2]; /* of the label set's labels: key, key and value */
	size_t hash_room;
};

/* matchers (matcher.c) */
/* The matcher of a peer of pods (NULL: all pods), with a named port if `port` is not NULL. */
struct matcher *matcher_get(struct policy *p, const struct netpol *netpol, const struct policy_peer *peer,
			    const struct policy_port *port);
void matcher_put(struct policy *p, struct matcher *matcher);
void matcher_hide(struct policy *p, struct matcher *matcher); /* removes it from the index */
void matcher_free(struct policy *p, struct matcher *matcher);
int matches_add(struct matches *to, struct matcher *matcher, uint16_t port);
int matcher_match(struct matches *to, struct matcher *matcher, const struct labelset *set);
int matches_find(const struct policy *p, struct matches *found, const struct labelset *set);
void matches_free(struct matches *m);

/* peer classes (peer_class.c) */
int peers_update(struct policy *p); /* after update_netpols() */
void peer_set(struct policy *p, struct labelset *set, struct peer_class *peer);
void peer_class_free(struct policy *p, struct peer_class *peer);

/* classes (class.c) */
int select_full(struct policy *p, struct labelset *set);
int select_edited(struct policy *p, struct netpol *netpol);
void class_set(struct policy *p, struct labelset *set, struct class *class);
void class_free(struct policy *p, struct class *class);

/* a class's content (build.c, cidr.c) */
/* -E2BIG: it exceeds a bound, see class->problem. It allocates no more than the bound of a class allows. */
int class_build(const struct policy *p, struct class *class, struct policy_class *out);
uint64_t class_work(const struct class *class); /* to build it: terms and prefixes */
bool class_may_fit(const struct policy *p, const struct class *class); /* a refused one, by what it requested */
void class_charge(struct policy *p, struct class *class, size_t entries, size_t prefixes);
/* The output for a class that does not fit and was never reported. */
void class_build_denied(const struct class *class, struct policy_class *out);
void policy_class_free(struct policy_class *out);
uint64_t policy_class_content(const struct policy *p, const struct policy_class *out);

/* One ipBlock of a class, in one direction, and its CIDR peers. */
struct block_use {
	const struct policy_peer *block;
	uint64_t hash;
};
struct block_peer {
	uint64_t hash; /* of the block */
	uint64_t peer;
};
struct cidr_build {
	struct policy_cidr *cidrs;
	size_t count, room;
	struct block_peer *peers; /* sorted, no duplicates */
	size_t peer_count, peer_room;
};
size_t blocks_sort(struct block_use *blocks, size_t count); /* removes duplicates; returns how many are left */
/* Adds to *pairs an upper bound of cidrs_build()'s pairs of a prefix and a block that contains it. */
int cidrs_count(const struct block_use *blocks, size_t count, uint64_t *pairs);
int cidrs_build(const struct policy *p, uint8_t direction, const struct block_use *blocks, size_t count,
		struct cidr_build *out);

/* the output of a compile (output.c) */
void output_reset(struct policy *p); /* frees the last compile's output */
int report_identities(struct policy *p);
int report_endpoints(struct policy *p);
int report_pods(struct policy *p);
int report_rules(struct policy *p);
void drop_gone_pods(struct policy *p); /* those that were reported as gone */
void drop_unused_rules(struct policy *p);

#endif
