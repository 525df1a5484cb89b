/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the compiler keeps, and how it hangs together:
 *
 *   pod ──► labelset ──► identity
 *   endpoint ─┘  │  └──► peer_class = set of matchers that match it
 *                └─────► class = set of netpols that select it (only with endpoints of this node)
 *   netpol ──► terms ──► matchers, rules        (only while a class contains it)
 *
 * Everything that can be shared is interned by a keyed 64-bit hash of its canonical text and taken for the same if the
 * hash is: nobody without the key can make two of them collide, and by chance 2^20 of them do with a probability of
 * 2^-25. Identities, which are shorter and the only ones that leave the node, are checked for collisions (struct
 * identity).
 */
#ifndef WARREN_POLICY_COMPILER_H
#define WARREN_POLICY_COMPILER_H

#include "array.h"
#include "bounds.h"
#include "list.h"
#include "object_hash.h"
#include "policy.h"
#include "table.h"

/* A namespace that has an object, or that something is in. */
struct ns {
	struct table_link by_name;
	size_t refs; /* of its object, pods, label sets, policies and scope */
	struct namespace_object *object; /* NULL: there is none */
	struct list netpols;
	struct list sets;
	struct list local_sets; /* those with endpoints of this node */
	struct list dirty;      /* its object has changed */
	struct scope *own;      /* its pods as peers; NULL: nobody wants them */
	struct scope **scopes;  /* those whose namespaceSelector matches it */
	size_t scope_count, scope_room;
	struct cost used; /* by its policies and classes */
	char name[];
};

/* Pods that policy cannot tell apart: one namespace, one set of labels, one set of named ports. */
struct labelset {
	struct table_link by_text;
	size_t refs;  /* pods and endpoints that point here */
	/* of these, pods that exist and endpoints with labels of their own: 0 is as if it were not there */
	size_t users;
	struct ns *ns;
	struct labels labels;           /* in one block with their text */
	struct named_port *ports;
	size_t port_count;
	struct identity *identity;
	struct peer_class *peer; /* NULL: no matcher matches */
	struct class *class;     /* NULL: no policy selects it, or no endpoint of this node is of it */
	struct list in_ns, in_local, in_identity, in_peer, in_class;
	struct list endpoints;
	struct list pods;
	struct list rematch; /* to be matched against all matchers */
	struct list select;  /* to be matched against all policies of its namespace */
};

/* An identity in use. Two label sets with one number are a collision, and both are then nobody. */
struct identity {
	struct table_link by_number;
	struct list sets;
	struct list dirty;
	uint64_t told; /* peer class as it was last told; WR_PEER_NONE: nothing */
	bool known;    /* it was in use at the last compile */
	bool collision;
};

struct pod {
	struct table_link by_name;
	struct ns *ns;
	bool present;         /* there is an object; else only endpoints wait for one */
	struct labelset *set; /* NULL: no object, or one that is nobody (host network, completed) */
	char *uid, *node;
	struct ip ips[2];
	bool terminating;
	bool told; /* that it is there */
	struct list oversized; /* in policy.oversized_pods, if it has more labels or ports than it may */
	struct list endpoints, in_set;
	struct list dirty; /* to be told; or, if it is gone, was told so and stays until the next compile */
	char name[];
};

struct endpoint {
	struct table_link by_ifindex;
	uint32_t ifindex;
	struct pod *pod;
	char *uid;
	struct labelset *own; /* of its own labels; NULL: it has none */
	struct labelset *set; /* whose policy it has; NULL: quarantine */
	struct list in_pod, in_set, dirty;
	bool told;
	uint64_t told_identity, told_class;
};

/* Where the pods of a peer are: one namespace, or those that a selector matches. Never both parts empty and unset. */
struct scope {
	struct table_link by_hash;
	size_t refs;
	struct ns *ns; /* NULL: `selector` */
	struct selector selector;
	struct list matchers;   /* all of it */
	struct list unanchored; /* those that no label leads to */
	size_t anchored;        /* the others */
	struct list in_scopes;  /* policy.scopes, if it is by selector */
	bool fresh;             /* during a compile: it has matchers that have come */
};

/*
 * One selector of pods; for a named port of an egress rule one selector and one port name: it then matches pods that
 * have such a port, with the port's number.
 */
struct matcher {
	struct table_link by_hash;
	size_t refs;
	struct scope *scope;
	struct selector pods;
	char port_name[16]; /* "": any pod that `pods` matches */
	uint8_t protocol;
	struct list in_scope, in_unanchored;
	struct list fresh; /* not yet matched against the label sets that are not to be rematched */
	struct list dead;  /* no term uses it */
	struct list terms;
	struct list peers; /* struct peer_member: peer classes with it */
	size_t peer_count;
	struct list touched; /* a peer class with it has come or gone */
	struct anchor *anchors;
	size_t anchor_count;
};

/* Leads from a label, or a label's key, to a matcher that requires it. */
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
	struct list touched; /* it has gained or lost label sets */
	bool was_live;       /* it had any at the last compile */
	size_t count;
	struct peer_member members[]; /* sorted by hash of the matcher, port */
};

/* A rule's name. */
struct rule {
	struct table_link by_text;
	uint32_t number;
	bool told;
	size_t refs;
	struct list changed; /* told and unused, or used and untold: may be */
	char text[];
};

enum term_who { TERM_ANY, TERM_ALL_PODS, TERM_MATCHER, TERM_BLOCK };

/* One peer with one port of one rule. Lives as long as the object that it was made from. */
struct term {
	enum term_who who;
	uint8_t direction;
	uint8_t protocol;     /* 0: every one */
	uint16_t first, last; /* ports; 0, 0: every one (or as `port_name`, or as the matcher says) */
	uint8_t port_entries; /* prefixes that they take; 1 where they are named */
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
	bool has_names;               /* ingress rules name ports, now or before the last change */
	bool changed;                 /* the object is not the one that the terms were made of */
	bool compiled;
	bool coarse;   /* its rules have no names of their own: there is no room */
	char *problem; /* why it is compiled without its rules; NULL: it is not */
	bool waits;    /* because others have the room: tried again when some of that comes free */
	bool counted;	       /* cost and over are of this object */
	struct cost cost;
	enum bound over; /* which the object by itself is over; BOUNDS: none */
	struct cost charged;
	struct list refused; /* in policy.refused_netpols, if it has a problem */
	struct list in_ns;
	struct list edited; /* object changed since the last compile */
	struct list check;  /* perhaps its terms are to be made or unmade */
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
	bool told;
	uint64_t told_content; /* hash of what was last told */
	size_t entries, cidrs; /* how many it had then */
	struct cost charged;   /* what it had then */
	struct cost wants;     /* what it has a problem for want of; zeros: none of it would help */
	char *problem;	       /* why it is not told as it should be; NULL: it is */
	struct list refused;   /* in policy.refused_classes, if it has a problem */
	struct named_port *ports; /* what the ingress rules' port names mean here */
	size_t port_count;
	size_t count;
	struct class_member members[]; /* sorted by name */
};

/* What a compile hands out. */
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
	bool failed; /* what was computed is not whole */
	bool freed;  /* something has come free since those that wait were last tried */
	uint64_t room[BOUNDS];
	struct cost used;
	bool whole;  /* the next compile tells everything */
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
void pod_unneeded(struct policy *p, struct pod *pod); /* frees it, if so */

/* label sets (labelset.c) */
struct labelset *labelset_get(struct policy *p, struct ns *ns, const struct labels *labels,
			      const struct named_port *ports, size_t port_count);
void labelset_put(struct policy *p, struct labelset *set);
void labelset_use(struct policy *p, struct labelset *set);
void labelset_unuse(struct policy *p, struct labelset *set);
int labelset_identify(struct policy *p, struct labelset *set); /* computes its identity anew */
void labelset_idle(struct policy *p, struct labelset *set);    /* nobody uses it: leaves all that it is in */
void identity_leave(struct policy *p, struct labelset *set);

/* policies (netpol.c) */
bool netpol_has_names(const struct policy_object *object);
void netpol_free(struct policy *p, struct netpol *netpol);

/* their terms (terms.c) */
int netpol_update(struct policy *p, struct netpol *netpol);
void netpol_uncompile(struct policy *p, struct netpol *netpol);

/* names of rules (rule.c) */
/*
 * A reference to the one of ports[port], or of the whole rule if it has none (-1); if the policy's are coarse, to that of the direction.
 */
struct rule *rule_get(struct policy *p, const struct netpol *netpol, int direction, size_t number, int port);
void rule_put(struct policy *p, struct rule *rule);

/* where the pods of peers are (scope.c) */
struct scope *scope_get(struct policy *p, struct ns *own, const struct selector *selector); /* by selector: own NULL */
void scope_put(struct policy *p, struct scope *scope);
bool scope_matches(const struct scope *scope, const struct ns *ns);
int scopes_of_namespace(struct policy *p, struct ns *ns); /* finds them anew */

/* What matches a label set: matchers, each with the number of the port that it names. */
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
/* The matcher of a peer that is pods (NULL: all there are), with the name of a port if `port` is not NULL. */
struct matcher *matcher_get(struct policy *p, const struct netpol *netpol, const struct policy_peer *peer,
			    const struct policy_port *port);
void matcher_put(struct policy *p, struct matcher *matcher);
void matcher_hide(struct policy *p, struct matcher *matcher); /* no label set finds it any more */
void matcher_free(struct policy *p, struct matcher *matcher);
int matches_add(struct matches *to, struct matcher *matcher, uint16_t port);
int matcher_match(struct matches *to, struct matcher *matcher, const struct labelset *set);
int matches_find(const struct policy *p, struct matches *found, const struct labelset *set);
void matches_free(struct matches *m);

/* peer classes (peer_class.c) */
int peers_update(struct policy *p); /* after all terms are as they should be */
void peer_set(struct policy *p, struct labelset *set, struct peer_class *peer);
void peer_class_free(struct policy *p, struct peer_class *peer);

/* classes (class.c) */
int select_full(struct policy *p, struct labelset *set);
int select_edited(struct policy *p, struct netpol *netpol);
void class_set(struct policy *p, struct labelset *set, struct class *class);
void class_free(struct policy *p, struct class *class);

/* a class's content (build.c, cidr.c) */
/* -E2BIG: it is over a bound; class->problem says so. What was allocated to find that out is no more than the bound of a class. */
int class_build(const struct policy *p, struct class *class, struct policy_class *out);
/* The class as it is told if it does not fit and was never told before. */
uint64_t class_work(const struct class *class); /* what it costs to build it: terms and prefixes */
bool class_may_fit(const struct policy *p, const struct class *class); /* one that has a problem */
void class_charge(struct policy *p, struct class *class, size_t entries, size_t prefixes);
void class_build_denied(const struct class *class, struct policy_class *out);
void policy_class_free(struct policy_class *out);
uint64_t policy_class_content(const struct policy *p, const struct policy_class *out);

/* One ipBlock of a class, in one direction, and the CIDR peers that it is in. */
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
size_t blocks_sort(struct block_use *blocks, size_t count); /* how many are left: no duplicates */
/* Adds to *pairs how many pairs of a prefix and a block that holds there cidrs_build() would make, or more. */
int cidrs_count(const struct block_use *blocks, size_t count, uint64_t *pairs);
int cidrs_build(const struct policy *p, uint8_t direction, const struct block_use *blocks, size_t count,
		struct cidr_build *out);

/* what is told of it all (output.c) */
void output_reset(struct policy *p); /* what the last compile handed out is valid no longer */
int tell_identities(struct policy *p);
int tell_endpoints(struct policy *p);
int tell_pods(struct policy *p);
int tell_rules(struct policy *p);
void drop_gone_pods(struct policy *p); /* those that were told to be gone */
void drop_unused_rules(struct policy *p);

#endif
