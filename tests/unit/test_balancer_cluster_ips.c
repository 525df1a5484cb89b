/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs know of ClusterIPs besides their ports; ServiceCIDRs; quotas of source ranges. */
#include "balancer_quota.h"
#include "balancer_rig.h"

/* "10.96.0.1 complete, 10.96.0.2 / 10.96.0.0/12", sorted. */
static char *addresses_text(const struct fake_services *maps)
{
	char **lines = calloc(maps->ip_count + 1, sizeof(*lines)), buf[PREFIX_STRLEN], *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(lines);
	assert_non_null(out);
	for (size_t i = 0; i < maps->ip_count; i++)
		assert_true(asprintf(&lines[i], "%s%s", ip_format(&maps->ips[i].ip, buf), maps->ips[i].complete ? " complete" : "") > 0);
	qsort(lines, maps->ip_count, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < maps->ip_count; i++) {
		fprintf(out, "%s%s", i ? ", " : "", lines[i]);
		free(lines[i]);
	}
	fputs(" /", out);
	for (size_t i = 0; i < maps->cidr_count; i++)
		fprintf(out, " %s", prefix_format(&maps->cidrs[i], buf));
	fclose(out);
	free(lines);
	return text;
}

static void expect_addresses(const struct fixture *f, const char *expected)
{
	char *text = addresses_text(&f->maps);

	assert_string_equal(text, expected);
	free(text);
}

#define put_cidrs(b, name, cidrs) \
	put_text(b, "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: %s}\nspec: {cidrs: [%s]}\n", name, cidrs)
#define put_others(b, name, ip)                                                                                        \
	put_text(b,                                                                                                    \
		 "apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: %s, "                                 \
		 "labels: {service.kubernetes.io/service-proxy-name: other}}\n"                                        \
		 "spec: {clusterIP: %s, ports: [{port: 80}]}\n",                                                       \
		 name, ip)

static void cluster_ips_are_known(void **state)
{
	struct fixture *f = *state;

	put_service(f->b, "a", "clusterIPs: [10.96.0.1, \"fd00:96::1\"], ports: [{port: 80}]");
	put_service(f->b, "headless", "clusterIP: None, ports: [{port: 80}]");
	put_others(f->b, "b", "10.96.0.2");
	run(f);
	expect_addresses(f, "10.96.0.1 complete, 10.96.0.2, fd00:96::1 complete /");
	/* Another proxy's becomes this one's, and the other way round. */
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	put_others(f->b, "a", "10.96.0.1");
	run(f);
	expect_addresses(f, "10.96.0.1, 10.96.0.2 complete /");
	expect_services(&f->maps, "10.96.0.2:80 >\n");
	balancer_remove_service(f->b, "ns", "a");
	balancer_remove_service(f->b, "ns", "b");
	run(f);
	expect_addresses(f, " /");
	problem(f, 0);
}

/* What is missing in the maps must not be rejected. */
static void incomplete_services_are_the_stacks(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	f->maps.put_error = -ENOMEM;
	f->maps.put_error_port = 81;
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	expect_addresses(f, "10.96.0.1 /");
	f->maps.put_error = 0;
	balancer_retry(f->b);
	run(f);
	expect_addresses(f, "10.96.0.1 complete /");
	/* It stays so while a change is written, and the next agent keeps it. */
	balancer_free(f->b);
	f->b = begin(&f->maps, 1, 1);
	f->maps.ip_puts = 0;
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81}]");
	run(f);
	assert_int_equal(f->maps.ip_puts, 0);
	expect_addresses(f, "10.96.0.1 complete /");
	/* The next one knows no such Service. */
	balancer_free(f->b);
	f->b = begin(&f->maps, 1, 1);
	run(f);
	expect_addresses(f, " /");
}

static void ports_beyond_the_quota_are_the_stacks(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct err err = { 0 };

	fputs("apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: a}\nspec:\n  clusterIP: 10.96.0.1\n  ports:\n", out);
	for (int i = 0; i <= SERVICE_PORTS_MAX; i++)
		fprintf(out, "  - {name: p%d, port: %d}\n", i, i + 1);
	fclose(out);
	assert_ok(documents_parse(text, size, "it", put_document, f->b, &err));
	free(text);
	run(f);
	expect_addresses(f, "10.96.0.1 /");
	problem(f, 1);
}

static void service_cidrs(void **state)
{
	struct fixture *f = *state;

	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{port: 80}]");
	put_cidrs(f->b, "kubernetes", "10.96.0.0/12, \"fd00:96::/108\"");
	run(f);
	expect_addresses(f, "10.96.0.1 complete / 10.96.0.0/12 fd00:96::/108");
	put_cidrs(f->b, "more", "172.30.0.0/16");
	put_cidrs(f->b, "kubernetes", "10.96.0.7/12");
	run(f);
	expect_addresses(f, "10.96.0.1 complete / 10.96.0.0/12 172.30.0.0/16");
	balancer_remove_cidrs(f->b, "kubernetes");
	balancer_remove_cidrs(f->b, "none");
	run(f);
	expect_addresses(f, "10.96.0.1 complete / 172.30.0.0/16");
	assert_null(balancer_cidrs_problem(f->b));
	/* The next agent deletes those that are gone. */
	balancer_free(f->b);
	f->b = begin(&f->maps, 1, 1);
	run(f);
	expect_addresses(f, " /");
}

/* A ServiceCIDR cuts off neither pods nor nodes. */
static void service_cidrs_overlap_neither_pods_nor_nodes(void **state)
{
	struct fixture *f = *state;
	struct prefix pods;
	struct ip nodes[2];

	assert_int_equal(prefix_parse("10.100.0.0/16", &pods), 0);
	assert_int_equal(ip_parse("192.0.2.1", &nodes[0]), 0);
	assert_int_equal(ip_parse("2001:db8::1", &nodes[1]), 0);
	put_cidrs(f->b, "a", "10.0.0.0/8");
	put_cidrs(f->b, "b", "10.100.3.0/24, \"2001:db8::/64\"");
	put_cidrs(f->b, "c", "0.0.0.0/0");
	put_cidrs(f->b, "d", "10.96.0.0/12, \"fd00:96::/108\"");
	assert_int_equal(balancer_set_pod_cidrs(f->b, &pods, 1), 0);
	assert_int_equal(balancer_set_all_node_addresses(f->b, nodes, 2), 0);
	run(f);
	expect_addresses(f, " / fd00:96::/108");
	assert_non_null(strstr(balancer_cidrs_problem(f->b), " is ignored: it "));
	/* As soon as a node has such an address. */
	assert_int_equal(balancer_set_pod_cidrs(f->b, NULL, 0), 0);
	run(f);
	expect_addresses(f, " / 10.0.0.0/8 10.96.0.0/12 10.100.3.0/24 fd00:96::/108");
	assert_int_equal(ip_parse("10.97.0.1", &nodes[1]), 0);
	assert_int_equal(balancer_set_all_node_addresses(f->b, nodes, 2), 0);
	run(f);
	expect_addresses(f, " / 10.100.3.0/24 2001:db8::/64 fd00:96::/108");
}

/* A ClusterIP that is not in the map would be dropped. */
static void without_room_no_address_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	f->maps.ip_limit = 1;
	put_cidrs(f->b, "a", "10.96.0.0/12");
	put_service(f->b, "a", "clusterIP: 10.96.0.1, ports: [{port: 80}]");
	run(f);
	expect_addresses(f, "10.96.0.1 complete / 10.96.0.0/12");
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	expect_addresses(f, "10.96.0.1 complete /");
	assert_non_null(strstr(balancer_cidrs_problem(f->b), "no room for the ClusterIPs"));
	balancer_remove_service(f->b, "ns", "a");
	assert_int_equal(run_to_end(f->b, &err), -EAGAIN);
	balancer_retry(f->b);
	run(f);
	expect_addresses(f, "10.96.0.2 complete / 10.96.0.0/12");
	assert_null(balancer_cidrs_problem(f->b));
}

/* An external IP never replaces the ClusterIP of another proxy's Service. */
static void others_cluster_ips_are_refused(void **state)
{
	struct fixture *f = *state;

	put_others(f->b, "b", "10.96.0.2");
	put_service(f->b, "a", "clusterIP: 10.96.0.1, externalIPs: [10.96.0.2], ports: [{port: 80}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n");
	assert_non_null(strstr(problem(f, 1), "10.96.0.2 is not programmed: it is the ClusterIP of Service ns/b"));
}

/* Ranges beyond the maximum are left out: fewer clients are admitted. */
static void source_ranges_have_a_quota(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct err err = { 0 };

	fputs("apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: a}\n"
	      "status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}\n"
	      "spec:\n  type: LoadBalancer\n  clusterIP: 10.96.0.1\n  ports: [{port: 80}]\n  loadBalancerSourceRanges:\n", out);
	for (int i = 0; i < SERVICE_RANGES_MAX + 3; i++)
		fprintf(out, "  - 10.%d.%d.0/24\n", i / 256, i % 256);
	fclose(out);
	assert_ok(documents_parse(text, size, "it", put_document, f->b, &err));
	free(text);
	run(f);
	for (size_t i = 0; i < f->maps.count; i++) {
		const struct dp_service *s = &f->maps.v[i].service;

		assert_int_equal(s->restricted, s->ip.bytes[0] == 198);
		assert_int_equal(s->range_count, s->restricted ? SERVICE_RANGES_MAX : 0);
	}
	assert_int_equal(f->maps.count, 3);
	assert_non_null(strstr(problem(f, 1), "1024 of its 1027 IPv4 source ranges are programmed: a Service may have 1024"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cluster_ips_are_known),
		TEST(incomplete_services_are_the_stacks),
		TEST(ports_beyond_the_quota_are_the_stacks),
		TEST(service_cidrs),
		TEST(service_cidrs_overlap_neither_pods_nor_nodes),
		TEST(without_room_no_address_is_dropped),
		TEST(others_cluster_ips_are_refused),
		TEST(source_ranges_have_a_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
