/* SPDX-License-Identifier: BSD-2-Clause */
/* Services and EndpointSlices in, maps of services out; and which elements are written. */
#include "balancer_rig.h"

#define WEB "clusterIP: 10.96.0.1, ports: [{port: 80}]"

/* --- the join --- */

static void joins_in_any_order(void **state)
{
	struct fixture *f = *state;

	assert_true(balancer_pending(f->b));
	run(f);
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1"), "{port: 8080}");
	assert_true(balancer_pending(f->b));
	assert_int_equal(run(f), 0);
	expect_services(&f->maps, "");
	put_service(f->b, "a", WEB);
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n");
	/* A Service without slices refuses. */
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 53, protocol: UDP}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n10.96.0.2:53/U >\n");
	put_slice(f->b, "b1", "b", 4, READY("10.0.0.2"), "{port: 5353, protocol: UDP}");
	put_slice(f->b, "b2", "b", 4, READY("10.0.0.1") "," READY("10.0.0.2"), "{port: 5353, protocol: UDP}");
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n10.96.0.2:53/U > 10.0.0.1:5353 10.0.0.2:5353\n");
	balancer_remove_slice(f->b, "ns", "b2");
	balancer_remove_slice(f->b, "ns", "b2");
	balancer_remove_slice(f->b, "other", "b1");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n10.96.0.2:53/U > 10.0.0.2:5353\n");
	balancer_remove_service(f->b, "ns", "b");
	balancer_remove_service(f->b, "ns", "c");
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n");
}

static void selects_ready_endpoints(void **state)
{
	static const struct {
		const char *endpoints, *out;
	} rows[] = {
		{ "", "" },
		{ READY("10.0.0.1") "," UNREADY("10.0.0.2"), " 10.0.0.1:8080" },
		{ READY("10.0.0.1") "," DRAINING("10.0.0.2"), " 10.0.0.1:8080" },
		{ DRAINING("10.0.0.1") "," UNREADY("10.0.0.2"), " 10.0.0.1:8080" },
		{ UNREADY("10.0.0.1"), "" },
		{ "{addresses: [10.0.0.1], conditions: {ready: false, serving: true}}", "" },
		{ "{addresses: [10.0.0.1], conditions: {ready: false, serving: false, terminating: true}}", "" },
		/* publishNotReadyAddresses: ready although it terminates */
		{ "{addresses: [10.0.0.1], conditions: {ready: true, serving: false, terminating: true}}", " 10.0.0.1:8080" },
		/* moving from one slice to another */
		{ UNREADY("10.0.0.1") "," READY("10.0.0.1") "," READY("10.0.0.1"), " 10.0.0.1:8080" },
	};
	struct fixture *f = *state;

	put_service(f->b, "a", WEB);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char expected[200];

		put_slice(f->b, "a1", "a", 4, rows[i].endpoints, "{port: 8080}");
		run(f);
		snprintf(expected, sizeof(expected), "10.96.0.1:80 >%s\n", rows[i].out);
		expect_services(&f->maps, expected);
	}
}

#define HINTED(a, hints) "{addresses: [\"" a "\"], hints: " hints "}"
#define ZONE(z) "{forZones: [{name: " z "}]}"
#define NODE(n) "{forNodes: [{name: " n "}], forZones: [{name: z1}]}"

static void follows_hints(void **state)
{
	static const struct {
		const char *zone, *endpoints, *out;
	} rows[] = {
		{ "", HINTED("10.0.0.1", ZONE("z1")) "," HINTED("10.0.0.2", ZONE("z2")), " 10.0.0.1:8080 10.0.0.2:8080" },
		{ "z1", HINTED("10.0.0.1", ZONE("z1")) "," HINTED("10.0.0.2", ZONE("z2")), " 10.0.0.1:8080" },
		{ "z2", HINTED("10.0.0.1", ZONE("z1")) "," HINTED("10.0.0.2", "{forZones: [{name: z1}, {name: z2}]}"), " 10.0.0.2:8080" },
		/* no part of a name; none for this zone */
		{ "z", HINTED("10.0.0.1", ZONE("z1")) "," HINTED("10.0.0.2", ZONE("az")), " 10.0.0.1:8080 10.0.0.2:8080" },
		/* one without any */
		{ "z1", HINTED("10.0.0.1", ZONE("z1")) "," READY("10.0.0.2"), " 10.0.0.1:8080 10.0.0.2:8080" },
		/* ... that is not ready */
		{ "z1", HINTED("10.0.0.1", ZONE("z1")) "," DRAINING("10.0.0.2") "," HINTED("10.0.0.3", ZONE("z2")), " 10.0.0.1:8080" },
		/* a node counts more than its zone */
		{ "z1", HINTED("10.0.0.1", NODE("here")) "," HINTED("10.0.0.2", NODE("there")), " 10.0.0.1:8080" },
		{ "z1", HINTED("10.0.0.1", NODE("where")) "," HINTED("10.0.0.2", NODE("there")), " 10.0.0.1:8080 10.0.0.2:8080" },
		/* none is ready */
		{ "z1", "{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}, hints: " ZONE("z2") "}", " 10.0.0.1:8080" },
	};
	struct fixture *f = *state;

	put_service(f->b, "a", WEB);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char expected[200];

		/* the zone is known before or after */
		assert_int_equal(balancer_set_zone(f->b, i % 2 ? rows[i].zone : "other"), 0);
		put_slice(f->b, "a1", "a", 4, rows[i].endpoints, "{port: 8080}");
		assert_int_equal(balancer_set_zone(f->b, rows[i].zone), 0);
		run(f);
		snprintf(expected, sizeof(expected), "10.96.0.1:80 >%s\n", rows[i].out);
		expect_services(&f->maps, expected);
	}
}

static void follows_hints_of_all_slices(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(balancer_set_zone(f->b, "z1"), 0);
	put_service(f->b, "a", WEB);
	put_slice(f->b, "a1", "a", 4, HINTED("10.0.0.1", ZONE("z1")), "{port: 8080}");
	put_slice(f->b, "a2", "a", 4, HINTED("10.0.0.2", ZONE("z2")), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n");
	put_slice(f->b, "a3", "a", 4, READY("10.0.0.3"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080\n");
	balancer_remove_slice(f->b, "ns", "a3");
	assert_int_equal(balancer_set_zone(f->b, "z2"), 0);
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:8080\n");
	put_service(f->b, "a", WEB ", internalTrafficPolicy: Local");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n");
}

static void keeps_to_its_node(void **state)
{
	struct fixture *f = *state;

	put_service(f->b, "a", WEB ", internalTrafficPolicy: Local");
	put_slice(f->b, "a1", "a", 4, READY_AT("10.0.0.1", "there") "," READY("10.0.0.2"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n");
	put_slice(f->b, "a2", "a", 4, READY_AT("10.0.0.3", "here"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.3:8080\n");
	put_service(f->b, "a", WEB);
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080\n");
}

static void joins_ports_by_name_and_families_apart(void **state)
{
	struct fixture *f = *state;

	put_service(f->b, "a",
		    "clusterIPs: [10.96.0.1, \"fd00:96::1\"], sessionAffinity: ClientIP, ports: [{name: web, port: 80}, "
		    "{name: dns, port: 53, protocol: UDP}, {name: sctp, port: 9, protocol: SCTP}]");
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1"),
		  "{name: dns, port: 5353, protocol: UDP}, {name: web, port: 8080}, {name: sctp, port: 9}");
	put_slice(f->b, "a2", "a", 4, READY("10.0.0.2"), "{name: web, port: 8081}, {name: dns, protocol: UDP}");
	put_slice(f->b, "a3", "a", 6, READY("fd00::1"), "{name: web, port: 8080}, {name: sctp, port: 99, protocol: SCTP}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:53/U affinity 10800 > 10.0.0.1:5353\n"
				  "10.96.0.1:80 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8081\n"
				  "10.96.0.1:9/S affinity 10800 >\n"
				  "[fd00:96::1]:53/U affinity 10800 >\n"
				  "[fd00:96::1]:80 affinity 10800 > [fd00::1]:8080\n"
				  "[fd00:96::1]:9/S affinity 10800 > [fd00::1]:99\n");
	/* A slice that becomes another Service's. */
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{name: web, port: 80}]");
	put_slice(f->b, "a2", "b", 4, READY("10.0.0.2"), "{name: web, port: 8081}");
	assert_int_equal(run(f), 2);
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: web, port: 80}]");
	assert_int_equal(run(f), 6);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n10.96.0.2:80 > 10.0.0.2:8081\n");
	/* ... and no Service's. */
	put_text(f->b, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
		       "metadata: {namespace: ns, name: a2}\nendpoints: [{addresses: [10.0.0.2]}]\nports: [{name: web, port: 1}]\n");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080\n10.96.0.2:80 >\n");
}

/* --- addresses that move --- */

static void first_by_name_has_an_address(void **state)
{
	struct fixture *f = *state;

	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1"), "{port: 1}");
	put_slice(f->b, "b1", "b", 4, READY("10.0.0.2"), "{port: 2}");
	put_slice(f->b, "c1", "c", 4, READY("10.0.0.3"), "{port: 3}");
	put_service(f->b, "b", WEB);
	run(f);
	put_service(f->b, "c", WEB);
	assert_int_equal(run(f), 0);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:2\n");
	assert_string_equal(problem(f, 1), "ns/c: 10.96.0.1:80 belongs to Service ns/b");
	/* One that comes before both: the map's entry is replaced, never deleted. */
	put_service(f->b, "a", WEB);
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:1\n");
	assert_string_equal(problem(f, 2), "ns/b: 10.96.0.1:80 belongs to Service ns/a");
	put_service(f->b, "a", "clusterIP: 10.96.0.9, ports: [{port: 80}]");
	assert_int_equal(run(f), 2);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:2\n10.96.0.9:80 > 10.0.0.1:1\n");
	balancer_remove_service(f->b, "ns", "b");
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.3:3\n10.96.0.9:80 > 10.0.0.1:1\n");
	problem(f, 0);
	/* Of the same backends: nothing to write. */
	put_slice(f->b, "b1", "b", 4, READY("10.0.0.3"), "{port: 3}");
	put_service(f->b, "b", WEB);
	assert_int_equal(run(f), 0);
	assert_string_equal(problem(f, 1), "ns/c: 10.96.0.1:80 belongs to Service ns/b");
}

static void address_of_one_that_goes_passes_to_another(void **state)
{
	struct fixture *f = *state;

	put_slice(f->b, "b1", "b", 4, READY("10.0.0.2"), "{port: 2}");
	put_service(f->b, "a", WEB);
	run(f);
	balancer_remove_service(f->b, "ns", "a");
	put_service(f->b, "b", WEB);
	assert_int_equal(run(f), 1);
	assert_int_equal(f->maps.deletes, 0);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:2\n");
	/* Two that change places. */
	put_service(f->b, "c", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	run(f);
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	put_service(f->b, "c", WEB);
	assert_int_equal(run(f), 2);
	assert_int_equal(f->maps.deletes, 0);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 > 10.0.0.2:2\n");
	problem(f, 0);
}

/* --- failures --- */

static void failure_of_one_is_its_own(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	struct balancer_counts counts;

	f->maps.put_error = -EIO;
	f->maps.put_error_port = 81;
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81}, {name: c, port: 82}]");
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	assert_string_equal(err.msg, "10.96.0.1:81: the map says no");
	assert_string_equal(problem(f, 1), "ns/a: 10.96.0.1:81: the map says no");
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.1:82 >\n10.96.0.2:80 >\n");
	/* It is tried again only after balancer_retry(). */
	assert_false(balancer_pending(f->b));
	balancer_retry(f->b);
	assert_true(balancer_pending(f->b));
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	f->maps.put_error = 0;
	balancer_retry(f->b);
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.1:81 >\n10.96.0.1:82 >\n10.96.0.2:80 >\n");
	problem(f, 0);
	balancer_count(f->b, &counts);
	assert_int_equal(counts.failures, 2);
	/* A frontend whose change fails stays as it was; changed back, it is put again, and nothing needs to be written. */
	f->maps.put_error = -EIO;
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1"), "{name: b, port: 1}");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	f->maps.put_error = 0;
	balancer_remove_slice(f->b, "ns", "a1");
	assert_int_equal(run(f), 0);
	problem(f, 0);
	/* One that is gone before it was written. */
	f->maps.put_error = -EIO;
	put_service(f->b, "c", "clusterIP: 10.96.0.3, ports: [{port: 81}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	balancer_remove_service(f->b, "ns", "c");
	assert_int_equal(run(f), 0);
}

/* Of several problems of a Service, the one that is tried again is reported. */
static void failure_comes_before_a_dispute(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	put_service(f->b, "a", WEB);
	f->maps.put_error = -EIO;
	f->maps.put_error_port = 81;
	put_service(f->b, "b", "clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	assert_string_equal(err.msg, "10.96.0.1:81: the map says no");
	assert_string_equal(problem(f, 1), "ns/b: 10.96.0.1:81: the map says no");
	f->maps.put_error = 0;
	balancer_retry(f->b);
	run(f);
	assert_string_equal(problem(f, 1), "ns/b: 10.96.0.1:80 belongs to Service ns/a");
}

static void uses_freed_room(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	f->maps.limit = 2;
	put_service(f->b, "a", WEB);
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	run(f);
	put_service(f->b, "c", "clusterIP: 10.96.0.3, ports: [{port: 80}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	assert_string_equal(problem(f, 1), "ns/c: 10.96.0.3:80: the map is full");
	balancer_remove_service(f->b, "ns", "a");
	assert_int_equal(run(f), 2);
	expect_services(&f->maps, "10.96.0.2:80 >\n10.96.0.3:80 >\n");
	problem(f, 0);
}

static void deletes_until_it_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	put_service(f->b, "a", WEB);
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	run(f);
	f->maps.delete_error = -EIO;
	balancer_remove_service(f->b, "ns", "a");
	balancer_remove_service(f->b, "ns", "b");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	assert_string_equal(err.msg, "cannot delete the frontend of a deleted Service: the map does not let go");
	balancer_retry(f->b);
	assert_true(balancer_pending(f->b));
	f->maps.delete_error = 0;
	/* Meanwhile another Service gets one of the addresses. */
	put_service(f->b, "c", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "10.96.0.2:80 >\n");
}

/* --- another agent's maps --- */

static void continues_with_existing_entries(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	put_service(f->b, "a", "clusterIPs: [10.96.0.1, \"fd00:96::1\"], ports: [{port: 80}]");
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.2") "," READY("10.0.0.1"), "{port: 8080}");
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	put_service(f->b, "c", "clusterIP: 10.96.0.3, ports: [{port: 80}]");
	run(f);
	balancer_free(f->b);
	f->b = begin(&f->maps, 1, 1);
	f->maps.each_error = -EIO;
	assert_int_equal(balancer_run(f->b, &err), -EIO);
	assert_true(balancer_pending(f->b));
	f->maps.each_error = 0;
	put_service(f->b, "a", "clusterIPs: [10.96.0.1, \"fd00:96::1\"], ports: [{port: 80}]");
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1") "," READY("10.0.0.2"), "{port: 8080}");
	put_service(f->b, "c", "clusterIP: 10.96.0.3, ports: [{port: 80}], sessionAffinity: ClientIP");
	assert_int_equal(run(f), 2);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n10.96.0.3:80 affinity 10800 >\n[fd00:96::1]:80 >\n");
}

static void repairs_changes_of_other_programs_to_the_maps(void **state)
{
	struct fixture *f = *state;
	struct dp_service unknown_service = { .ip = ip("10.96.0.7"), .port = 7, .protocol = IPPROTO_TCP };
	struct dp_service known = { .ip = ip("10.96.0.1"), .port = 80, .protocol = IPPROTO_TCP };
	struct ip other = ip("10.96.0.2");
	struct err err = { 0 };

	put_service(f->b, "a", WEB);
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	put_slice(f->b, "b1", "b", 4, READY("10.0.0.1"), "{port: 8080}");
	run(f);
	assert_ok(fake_put(&f->maps, &unknown_service, NULL, &err));
	assert_ok(fake_delete(&f->maps, &known, &err));
	assert_ok(fake_put(&f->maps, &(struct dp_service){ .ip = other, .port = 80, .protocol = IPPROTO_TCP }, NULL, &err));
	assert_false(balancer_pending(f->b));
	balancer_lost(f->b);
	assert_true(balancer_pending(f->b));
	assert_int_equal(run(f), 3);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 > 10.0.0.1:8080\n");
}

/* --- listing --- */

static int tell(const struct balancer_frontend *frontend, void *arg)
{
	char at[SOCKET_STRLEN];

	fprintf(arg, "%s/%s %s %s%s%zu%s%s;", frontend->service->namespace, frontend->service->name,
		socket_format(frontend->ip, frontend->port->port, at), frontend->port->name, frontend->written ? " has " : " not in maps ",
		frontend->backends, *frontend->problem ? ", " : "", frontend->problem);
	return 0;
}

static int stop(const struct balancer_frontend *frontend, void *arg)
{
	return ++*(int *)arg;
}

static void lists_services_and_problems(void **state)
{
	struct fixture *f = *state;
	struct balancer_counts counts;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int calls = 0;

	assert_non_null(out);
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: web, port: 80}]");
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.2") "," READY("10.0.0.1"), "{name: web, port: 8080}");
	put_service(f->b, "headless", "clusterIP: None, ports: [{port: 80}]");
	run(f);
	assert_int_equal(balancer_each(f->b, tell, out), 0);
	/* Its Service has changed since. */
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: web, port: 81}]");
	assert_int_equal(balancer_each(f->b, tell, out), 0);
	fclose(out);
	assert_string_equal(text, "ns/a 10.96.0.1:80 web has 2;");
	free(text);
	balancer_count(f->b, &counts);
	assert_int_equal(counts.services, 2);
	assert_int_equal(counts.slices, 1);
	assert_int_equal(counts.frontends[0], 1);
	assert_int_equal(counts.backends[0], 2);
	assert_int_equal(counts.frontends[1], 0);
	assert_int_equal(counts.failures, 0);
	run(f);
	put_service(f->b, "b", WEB);
	run(f);
	assert_int_equal(balancer_each(f->b, stop, &calls), 1);
	assert_int_equal(balancer_latency(f->b)->count, 3);
}

/* --- many --- */

#define MANY 5000

static void writes_only_changed_services(void **state)
{
	struct fixture *f = *state;
	char name[32], spec[80], endpoints[600] = "";

	for (int i = 1; i <= 10; i++)
		sprintf(endpoints + strlen(endpoints), "%s{addresses: [10.1.0.%d]}", i > 1 ? "," : "", i);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		snprintf(spec, sizeof(spec), "clusterIP: 10.96.%d.%d, ports: [{port: 80}]", i / 250, i % 250 + 1);
		put_service(f->b, name, spec);
		put_slice(f->b, name, name, 4, endpoints, "{port: 8080}");
	}
	assert_int_equal(run(f), MANY);
	put_slice(f->b, "s77", "s77", 4, READY("10.1.0.1"), "{port: 8080}");
	assert_int_equal(run(f), 1);
	balancer_lost(f->b);
	assert_int_equal(run(f), 0);
	balancer_remove_service(f->b, "ns", "s78");
	assert_int_equal(run(f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(joins_in_any_order),
		TEST(selects_ready_endpoints),
		TEST(follows_hints),
		TEST(follows_hints_of_all_slices),
		TEST(keeps_to_its_node),
		TEST(joins_ports_by_name_and_families_apart),
		TEST(first_by_name_has_an_address),
		TEST(address_of_one_that_goes_passes_to_another),
		TEST(failure_of_one_is_its_own),
		TEST(failure_comes_before_a_dispute),
		TEST(uses_freed_room),
		TEST(deletes_until_it_is_deleted),
		TEST(continues_with_existing_entries),
		TEST(repairs_changes_of_other_programs_to_the_maps),
		TEST(lists_services_and_problems),
		TEST(writes_only_changed_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
