/* SPDX-License-Identifier: BSD-2-Clause */
/* Which frontends have a table, of which size, and whose flows may move from node to node. */
#include "balancer_external_rig.h"

static void tabled(struct fixture *f, int size)
{
	balancer_free(f->b);
	f->b = begin_with(&f->maps, 1, 1, size);
	set_nodes(f, "192.0.2.1");
}

/* For clients outside, where the backends are the same on every node, and more than one. */
static void tables_are_for_clients_outside(void **state)
{
	struct fixture *f = *state;

	tabled(f, 1021);
	put_slices(f, "a");
	put_service(f->b, "a", NODE_PORT);
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 192.0.2.1:30080 table 1021 > 10.0.0.1:8080 10.0.0.2:8080\n");
	put_service(f->b, "a", NODE_PORT ", externalTrafficPolicy: Local");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external local 192.0.2.1:30080 > 10.0.0.1:8080\n");
	put_service(f->b, "a", NODE_PORT);
	put_slice(f->b, "a4", "a", 4, READY_AT("10.0.0.2", "there"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:8080\n192.0.2.1:30080 > 10.0.0.2:8080\n"
				  "external 192.0.2.1:30080 > 10.0.0.2:8080\n");
	problem(f, 0);
}

/* To a load balancer's address, which a router may send to any node; not to a node's own. */
static void flows_move_where_no_node_has_the_address(void **state)
{
	struct fixture *f = *state;

	tabled(f, 1021);
	put_slices(f, "a");
	put_balanced(f->b, "a", BALANCED, "{ip: 203.0.113.1}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "203.0.113.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 203.0.113.1:80 table 1021 moves > 10.0.0.1:8080 10.0.0.2:8080\n");
	put_slice(f->b, "a4", "a", 4, READY_AT("10.0.0.2", "there"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:8080\n203.0.113.1:80 > 10.0.0.2:8080\n"
				  "external 203.0.113.1:80 moves > 10.0.0.2:8080\n");
	put_balanced(f->b, "a", BALANCED ", externalTrafficPolicy: Local", "{ip: 203.0.113.1}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.2:8080\n203.0.113.1:80 > 10.0.0.2:8080\n"
				  "external local 203.0.113.1:80 >\n");
}

/* More backends have a larger table. */
static void tables_grow_with_their_lists(void **state)
{
	struct fixture *f = *state;
	char text[1024] = "", *at = text;

	tabled(f, 1021);
	put_service(f->b, "a", NODE_PORT);
	for (int i = 1; i <= 11; i++)
		at += sprintf(at, "%s{addresses: [\"10.0.1.%d\"]}", i > 1 ? "," : "", i);
	put_slice(f->b, "a4", "a", 4, text, "{port: 8080}");
	run(f);
	for (size_t i = 0; i < f->maps.count; i++)
		assert_int_equal(f->maps.v[i].service.table_size, f->maps.v[i].service.external ? 4093 : 0);
	assert_int_equal(f->maps.count, 3);
}

/* The first ports have one; who requests less is not affected. */
static void quotas_bound_tables(void **state)
{
	struct fixture *f = *state;
	char ports[1000] = "", targets[1000] = "", *p = ports, *t = targets;
	size_t tables = 0;

	tabled(f, 65521); /* 512 blocks each, and a Service may have 4096 */
	for (int i = 0; i < 9; i++) {
		p += sprintf(p, "%s{name: p%d, port: %d, nodePort: %d}", i ? "," : "", i, 80 + i, 30080 + i);
		t += sprintf(t, "%s{name: p%d, port: %d}", i ? "," : "", i, 8080 + i);
	}
	put_text(f->b, "apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: a}\n"
		       "spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [%s]}\n", ports);
	put_slice(f->b, "a4", "a", 4, READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there"), targets);
	put_slices(f, "b");
	put_service(f->b, "b", "type: NodePort, clusterIP: 10.96.0.2, ports: [{port: 80, nodePort: 31000}]");
	run(f);
	for (size_t i = 0; i < f->maps.count; i++) {
		const struct dp_service *s = &f->maps.v[i].service;
		const bool has = s->external && s->port != 30088;

		assert_int_equal(s->table_size, has ? 65521 : 0);
		tables += has;
	}
	assert_int_equal(tables, 9);
	assert_string_equal(problem(f, 1), "ns/a: 4096 of its 4608 blocks of tables are programmed: a Service may have 4096");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tables_are_for_clients_outside),
		TEST(flows_move_where_no_node_has_the_address),
		TEST(tables_grow_with_their_lists),
		TEST(quotas_bound_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
