/* SPDX-License-Identifier: BSD-2-Clause */
/* What the balancer reports of a Service's endpoints: to health check ports, and why one is no backend. */
#include "balancer_external_rig.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "balancer_quota.h"

/* Ready endpoints of this node, each address once. */
static void health_check_ports(void **state)
{
	static const char spec[] = "type: LoadBalancer, clusterIPs: [10.96.0.1, \"fd00:96::1\"], externalTrafficPolicy: Local, "
				   "healthCheckNodePort: 32000, ports: [{port: 80}]";
	struct fixture *f = *state;

	put_service(f->b, "a", spec);
	run(f);
	expect_health(f, "ns/a 32000 0\n");
	assert_true(balancer_health_changed(f->b));
	assert_false(balancer_health_changed(f->b));
	put_slice(f->b, "a4", "a", 4, READY_AT("10.0.0.1", "here") ", " READY_AT("10.0.0.2", "there") ", " DRAINING("10.0.0.3") ", " UNREADY("10.0.0.4"), "{port: 8080}");
	put_slice(f->b, "a6", "a", 6, READY_AT("fd00::1", "here"), "{port: 8080}");
	run(f);
	expect_health(f, "ns/a 32000 1\n");
	put_slice(f->b, "a4b", "a", 4, READY_AT("10.0.0.1", "here") ", " READY_AT("10.0.0.9", "here"), "{port: 8080}");
	run(f);
	expect_health(f, "ns/a 32000 2\n");
	put_slice(f->b, "a4b", "a", 4, READY_AT("10.0.0.9", "here"), "");
	run(f);
	expect_health(f, "ns/a 32000 1\n");
	assert_false(balancer_health_changed(f->b));
	assert_int_equal(balancer_health_endpoints(f->b, "ns", "a"), 1);
	assert_int_equal(balancer_health_endpoints(f->b, "ns", "b"), 0);
	put_service(f->b, "a", "type: LoadBalancer, clusterIP: 10.96.0.1, healthCheckNodePort: 32000, ports: [{port: 80}]");
	run(f);
	expect_health(f, "");
	assert_true(balancer_health_changed(f->b));
	put_service(f->b, "a", spec);
	run(f);
	expect_health(f, "ns/a 32000 1\n");
	balancer_remove_service(f->b, "ns", "a");
	run(f);
	expect_health(f, "");
	assert_int_equal(balancer_health_endpoints(f->b, "ns", "a"), 0);
}

struct endpoints_text {
	FILE *out;
	bool local;
};

static int print_endpoint(const struct balancer_endpoint *e, void *arg)
{
	const struct endpoints_text *text = arg;
	char at[SOCKET_STRLEN];

	assert_false(e->v6);
	if (e->local == text->local)
		fprintf(text->out, "%s: %s, %s\n", socket_format(e->ip, e->target, at), e->state, e->unused ? e->unused : "used");
	return 0;
}

/* At frontends whose backends are this node's endpoints, or at the others. */
static void expect_endpoints(struct fixture *f, bool local, const char *expected)
{
	char text[2048] = "";
	struct endpoints_text to = { fmemopen(text, sizeof(text), "w"), local };

	run(f);
	assert_int_equal(balancer_each_endpoint(f->b, "ns", "a", print_endpoint, &to), 0);
	fclose(to.out);
	assert_string_equal(text, expected);
}

#define HINTED(a, node, hints) "{addresses: [\"" a "\"], nodeName: " node ", hints: {" hints "}}"

/* Why an endpoint is no backend. */
static void endpoints_that_are_not_used(void **state)
{
	static const char both[] = "type: NodePort, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, " PORTS;
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	assert_int_equal(balancer_each_endpoint(f->b, "ns", "a", print_endpoint, NULL), -ENOENT);
	put_service(f->b, "a", both);
	put_slice(f->b, "a4", "a", 4, READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there") "," DRAINING("10.0.0.3") "," UNREADY("10.0.0.4"), "{port: 80}");
	put_slice(f->b, "a6", "a", 6, READY("fd00::1"), "{port: 80}");
	expect_endpoints(f, false, "10.0.0.1:80: ready, used\n"
			    "10.0.0.2:80: ready, used\n"
			    "10.0.0.3:80: terminating, it terminates, and others are ready\n"
			    "10.0.0.4:80: not ready, not ready\n"
			    "[fd00::1]:80: ready, the Service has no address of its family\n");
	expect_endpoints(f, true, "10.0.0.1:80: ready, used\n"
			    "10.0.0.2:80: ready, on another node: the traffic policy is Local\n"
			    "10.0.0.3:80: terminating, on another node: the traffic policy is Local\n"
			    "10.0.0.4:80: not ready, not ready\n"
			    "[fd00::1]:80: ready, the Service has no address of its family\n");
	/* The last resort. */
	balancer_remove_slice(f->b, "ns", "a6");
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{port: 80}]");
	put_slice(f->b, "a4", "a", 4, DRAINING("10.0.0.3") "," UNREADY("10.0.0.4"), "{port: 80}");
	expect_endpoints(f, false, "10.0.0.3:80: terminating, used\n10.0.0.4:80: not ready, not ready\n");
	/* Hints. */
	assert_int_equal(balancer_set_zone(f->b, "z1"), 0);
	put_slice(f->b, "a4", "a", 4, HINTED("10.0.0.1", "there", "forZones: [{name: z1}]") "," HINTED("10.0.0.2", "there", "forZones: [{name: z2}]"), "{port: 80}");
	expect_endpoints(f, false, "10.0.0.1:80: ready, used\n10.0.0.2:80: ready, its hints are for other zones\n");
	put_slice(f->b, "a4", "a", 4, HINTED("10.0.0.1", "here", "forNodes: [{name: here}]") "," HINTED("10.0.0.2", "there", "forNodes: [{name: there}]"), "{port: 80}");
	expect_endpoints(f, false, "10.0.0.1:80: ready, used\n10.0.0.2:80: ready, its hints are for other nodes\n");
}

static char *copy(const char *text)
{
	char *made = strdup(text);

	assert_non_null(made);
	return made;
}

static struct service_port *many_ports(size_t count)
{
	struct service_port *v = calloc(count, sizeof(*v));

	assert_non_null(v);
	for (size_t i = 0; i < count; i++) {
		v[i] = (struct service_port){ .protocol = IPPROTO_TCP, .port = (uint16_t)(i + 1) };
		assert_true(asprintf(&v[i].name, "p%zu", i) > 0);
	}
	return v;
}

/* More backends than 32 bits count, in objects that a file of manifests can hold: they exceed the quota all the same. */
static void more_backends_than_are_counted(void **state)
{
	const size_t endpoints = 150000, slices = 7;
	struct service_object *service = calloc(1, sizeof(*service));
	struct fixture *f = *state;

	assert_true(slices * SERVICE_PORTS_MAX * endpoints > UINT32_MAX);
	assert_non_null(service);
	*service = (struct service_object){ .namespace = copy("ns"), .name = copy("a"), .cluster_ips = { ip("10.96.0.1") },
					    .ports = many_ports(SERVICE_PORTS_MAX), .port_count = SERVICE_PORTS_MAX };
	assert_int_equal(balancer_put_service(f->b, service), 0);
	for (size_t n = 0; n < slices; n++) {
		struct slice_object *slice = calloc(1, sizeof(*slice));

		assert_non_null(slice);
		*slice = (struct slice_object){ .namespace = copy("ns"), .service = copy("a"), .ports = many_ports(SERVICE_PORTS_MAX),
						.port_count = SERVICE_PORTS_MAX, .endpoint_count = endpoints };
		assert_true(asprintf(&slice->name, "a%zu", n) > 0);
		slice->endpoints = calloc(endpoints, sizeof(*slice->endpoints));
		assert_non_null(slice->endpoints);
		for (size_t i = 0; i < endpoints; i++)
			slice->endpoints[i] = (struct slice_endpoint){ .address = ip_add(ip("10.0.0.0"), n * endpoints + i + 1),
								       .ready = true, .serving = true, .node = copy("") };
		assert_int_equal(balancer_put_slice(f->b, slice), 0);
	}
	run(f);
	assert_string_equal(problem(f, 1), "ns/a: 16384 of its 4294967295 IPv4 backends are programmed: a Service may have 16384");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(health_check_ports),
		TEST(endpoints_that_are_not_used),
		TEST(more_backends_than_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
