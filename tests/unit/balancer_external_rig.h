/* SPDX-License-Identifier: BSD-2-Clause */
/* Services with frontends besides ClusterIPs, for the tests of the balancer. */
#ifndef WARREN_BALANCER_EXTERNAL_RIG_H
#define WARREN_BALANCER_EXTERNAL_RIG_H

#include "balancer_rig.h"

#define PORTS "ports: [{port: 80, nodePort: 30080}]"
#define NODE_PORT "type: NodePort, clusterIP: 10.96.0.1, " PORTS
#define BALANCED "type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{port: 80}]"

/* As put_service(), with the addresses of its load balancer. `more`: metadata. */
#define put_balanced_with(b, name, more, spec, ingress)                                                                \
	put_text(b, "apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: %s, %s}\nspec: {%s}\n"               \
		    "status: {loadBalancer: {ingress: [%s]}}\n", name, more, spec, ingress)
#define put_balanced(b, name, spec, ingress) put_balanced_with(b, name, "uid: u", spec, ingress)

/* As a list of words. */
static inline void set_nodes(struct fixture *f, const char *addresses)
{
	char copy[200], *at = copy;
	struct ip v[NODE_ADDRESSES + 1];
	size_t count = 0;

	snprintf(copy, sizeof(copy), "%s", addresses);
	for (char *word; (word = strsep(&at, " "));) {
		if (*word)
			v[count++] = ip(word);
	}
	balancer_set_node_addresses(f->b, v, count);
}

/* Endpoints here and elsewhere, of both families. */
static inline void put_slices(struct fixture *f, const char *name)
{
	char slice[32];

	snprintf(slice, sizeof(slice), "%s4", name);
	put_slice(f->b, slice, name, 4, READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there"), "{port: 8080}");
	snprintf(slice, sizeof(slice), "%s6", name);
	put_slice(f->b, slice, name, 6, READY_AT("fd00::1", "here") "," READY_AT("fd00::2", "there"), "{port: 8080}");
}

static inline void print_health(const struct balancer_health *health, void *arg)
{
	fprintf(arg, "%s/%s %u %zu\n", health->namespace, health->name, health->port, health->endpoints);
}

static inline void expect_health(struct fixture *f, const char *expected)
{
	char text[256] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	balancer_each_health(f->b, print_health, out);
	fclose(out);
	assert_string_equal(text, expected);
}

#endif
