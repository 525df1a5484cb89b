/* SPDX-License-Identifier: BSD-2-Clause */
/* A small random cluster: input of the compiler and of the naive evaluator. */
#ifndef WARREN_TEST_CLUSTER_H
#define WARREN_TEST_CLUSTER_H

#include "objects.h"

struct random {
	uint64_t state;
};
uint32_t random_below(struct random *r, uint32_t n);
bool random_chance(struct random *r, uint32_t percent);

enum pod_kind {
	POD_REMOTE,   /* an object without an endpoint here */
	POD_LOCAL,    /* ... with one */
	POD_OWN,      /* an endpoint with labels of its own, without an object */
	POD_REPLACED, /* an object of an older pod of that name, whose uid is not the endpoint's */
};

struct cluster_pod {
	struct pod_object *object;
	enum pod_kind kind;
	uint32_t ifindex; /* of its endpoint */
};

#define CLUSTER_MAX 16
struct cluster {
	struct namespace_object *namespaces[CLUSTER_MAX];
	struct cluster_pod pods[CLUSTER_MAX];
	struct policy_object *policies[CLUSTER_MAX];
	size_t namespace_count, pod_count, policy_count;
	uint32_t last_ifindex, last_name;
};

void cluster_random(struct cluster *c, struct random *r);
void cluster_free(struct cluster *c);
void cluster_copy(struct cluster *to, const struct cluster *from);
void cluster_print(const struct cluster *c);

/* Makes one small change; returns it as text. */
const char *cluster_edit(struct cluster *c, struct random *r);

/* Makes the cluster simpler by the n-th possible step; false: there are fewer. */
bool cluster_reduce(struct cluster *c, size_t n);

struct namespace_object *namespace_copy(const struct namespace_object *from);
struct pod_object *pod_copy(const struct pod_object *from);
struct policy_object *policy_copy(const struct policy_object *from);
struct labels labels_copy(const struct labels *from);

/* The ports that rules and checks use. */
extern const uint16_t cluster_ports[];
extern const size_t cluster_port_count;
/* Addresses without a pod. */
extern const char *const cluster_outside[];
extern const size_t cluster_outside_count;

#endif
