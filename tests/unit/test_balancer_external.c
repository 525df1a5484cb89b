/* SPDX-License-Identifier: BSD-2-Clause */
/* Frontends besides ClusterIPs: node ports, load balancers' addresses and external IPs, for pods and for clients outside. */
#include "../lib/seed.h"
#include "balancer_external_rig.h"
#include "balancer_quota.h"
#include "cleanup.h"

static void set_pods(struct fixture *f, const char *cidrs)
{
	char copy[200], *at = copy;
	struct prefix v[9];
	size_t count = 0;

	snprintf(copy, sizeof(copy), "%s", cidrs);
	for (char *word; (word = strsep(&at, " "));) {
		if (*word)
			v[count++] = prefix(word);
	}
	assert_int_equal(balancer_set_pod_cidrs(f->b, v, count), 0);
}

/* --- node ports --- */

static void node_ports_are_in_both_maps(void **state)
{
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1 2001:db8::1 192.0.2.2");
	put_slices(f, "a");
	put_service(f->b, "a", "type: NodePort, clusterIPs: [10.96.0.1, \"fd00:96::1\"], sessionAffinity: ClientIP, " PORTS);
	assert_int_equal(run(f), 8);
	expect_services(&f->maps, "10.96.0.1:80 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.1:30080 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.2:30080 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "[2001:db8::1]:30080 affinity 10800 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "[fd00:96::1]:80 affinity 10800 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "external 192.0.2.1:30080 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 192.0.2.2:30080 affinity 10800 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external [2001:db8::1]:30080 affinity 10800 > [fd00::1]:8080 [fd00::2]:8080\n");
	/* Only the families that the Service has. */
	put_service(f->b, "a", "type: NodePort, clusterIP: \"fd00:96::1\", " PORTS);
	run(f);
	expect_services(&f->maps, "[2001:db8::1]:30080 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "external [2001:db8::1]:30080 > [fd00::1]:8080 [fd00::2]:8080\n");
	/* No longer of that type, although the object still names the port. */
	put_service(f->b, "a", "clusterIP: \"fd00:96::1\", " PORTS);
	assert_int_equal(run(f), 2);
	expect_services(&f->maps, "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\n");
	/* allocateLoadBalancerNodePorts: false */
	put_service(f->b, "a", BALANCED);
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n");
	balancer_remove_service(f->b, "ns", "a");
	run(f);
	expect_services(&f->maps, "");
	problem(f, 0);
}

static void one_number_for_two_protocols(void **state)
{
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	put_service(f->b, "a", "type: NodePort, clusterIP: 10.96.0.1, ports: [{name: t, port: 53, nodePort: 30053}, "
			       "{name: u, port: 53, protocol: UDP, nodePort: 30053}, {name: x, port: 9}]");
	put_slice(f->b, "a1", "a", 4, READY("10.0.0.1"),
		  "{name: t, port: 1}, {name: u, port: 2, protocol: UDP}, {name: x, port: 3}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:53 > 10.0.0.1:1\n10.96.0.1:53/U > 10.0.0.1:2\n10.96.0.1:9 > 10.0.0.1:3\n"
				  "192.0.2.1:30053 > 10.0.0.1:1\n192.0.2.1:30053/U > 10.0.0.1:2\n"
				  "external 192.0.2.1:30053 > 10.0.0.1:1\nexternal 192.0.2.1:30053/U > 10.0.0.1:2\n");
}

/* Of frontends for pods nothing is left: their flows have entries. A frontend for clients outside leads packets to them. */
static void released_and_taken_back(void **state)
{
	const char *all = "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
			  "192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
			  "external local 192.0.2.1:30080 > 10.0.0.1:8080\n";
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	put_slices(f, "a");
	put_service(f->b, "a", "externalTrafficPolicy: Local, " NODE_PORT);
	run(f);
	expect_services(&f->maps, all);
	balancer_release(f->b, true);
	assert_true(balancer_pending(f->b));
	assert_int_equal(run(f), 3);
	expect_services(&f->maps, "external 192.0.2.1:30080 released\n");
	/* An update changes nothing; neither does the next agent. */
	put_slice(f->b, "a5", "a", 4, READY("10.0.0.5"), "{port: 8080}");
	assert_int_equal(run(f), 0);
	balancer_lost(f->b);
	run(f);
	expect_services(&f->maps, "external 192.0.2.1:30080 released\n");
	balancer_remove_slice(f->b, "ns", "a5");
	balancer_release(f->b, false);
	assert_int_equal(run(f), 3);
	expect_services(&f->maps, all);
	problem(f, 0);
}

static void node_addresses_change(void **state)
{
	struct fixture *f = *state;

	put_slices(f, "a");
	put_service(f->b, "a", NODE_PORT);
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n10.96.0.2:80 >\n");
	set_nodes(f, "192.0.2.1");
	assert_true(balancer_pending(f->b));
	assert_int_equal(run(f), 2);
	set_nodes(f, "192.0.2.1");
	assert_false(balancer_pending(f->b));
	set_nodes(f, "192.0.2.2 192.0.2.1");
	assert_int_equal(run(f), 2);
	set_nodes(f, "192.0.2.2");
	assert_int_equal(run(f), 2);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n10.96.0.2:80 >\n"
				  "192.0.2.2:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 192.0.2.2:30080 > 10.0.0.1:8080 10.0.0.2:8080\n");
	set_nodes(f, "");
	assert_int_equal(run(f), 2);
}

/* --- traffic policies --- */

/* Of one endpoint each: here, elsewhere; and both policies. */
static void policies_select_backends(void **state)
{
	static const struct {
		const char *policies, *endpoints, *cluster_ip, *inside, *outside;
	} rows[] = {
		{ "externalTrafficPolicy: Cluster", READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there"),
		  " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080 10.0.0.2:8080" },
		{ "externalTrafficPolicy: Local", READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there"),
		  " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080" },
		{ "externalTrafficPolicy: Local", READY("10.0.0.1") "," READY_AT("10.0.0.2", "there"),
		  " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080 10.0.0.2:8080", "" },
		{ "externalTrafficPolicy: Local", "", "", "", "" },
		/* None here is ready, but one serves. */
		{ "externalTrafficPolicy: Local",
		  "{addresses: [10.0.0.1], nodeName: here, conditions: {ready: false, serving: true, terminating: true}}, "
		  READY_AT("10.0.0.2", "there"), " 10.0.0.2:8080", " 10.0.0.2:8080", " 10.0.0.1:8080" },
		{ "externalTrafficPolicy: Local",
		  "{addresses: [10.0.0.1], nodeName: here, conditions: {ready: false, serving: false, terminating: true}}, "
		  READY_AT("10.0.0.2", "there"), " 10.0.0.2:8080", " 10.0.0.2:8080", "" },
		/* The internal policy is the ClusterIP's alone. */
		{ "internalTrafficPolicy: Local", READY_AT("10.0.0.1", "here") "," READY_AT("10.0.0.2", "there"),
		  " 10.0.0.1:8080", " 10.0.0.1:8080 10.0.0.2:8080", " 10.0.0.1:8080 10.0.0.2:8080" },
		{ "internalTrafficPolicy: Local, externalTrafficPolicy: Local", READY_AT("10.0.0.2", "there"), "",
		  " 10.0.0.2:8080", "" },
		/* Hints count as for the ClusterIP, but not with Local. */
		{ "externalTrafficPolicy: Cluster",
		  "{addresses: [10.0.0.1], nodeName: here, hints: {forZones: [{name: z2}]}}, "
		  "{addresses: [10.0.0.2], nodeName: there, hints: {forZones: [{name: z1}]}}",
		  " 10.0.0.2:8080", " 10.0.0.2:8080", " 10.0.0.2:8080" },
		{ "externalTrafficPolicy: Local",
		  "{addresses: [10.0.0.1], nodeName: here, hints: {forZones: [{name: z2}]}}, "
		  "{addresses: [10.0.0.2], nodeName: there, hints: {forZones: [{name: z1}]}}",
		  " 10.0.0.2:8080", " 10.0.0.2:8080", " 10.0.0.1:8080" },
	};
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	assert_int_equal(balancer_set_zone(f->b, "z1"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *local = strstr(rows[i].policies, "externalTrafficPolicy: Local") ? "local " : "";
		char spec[300], expected[600];

		snprintf(spec, sizeof(spec), BALANCED ", externalIPs: [198.51.100.2], %s", rows[i].policies);
		put_balanced(f->b, "a", spec, "{ip: 198.51.100.1}");
		put_slice(f->b, "a1", "a", 4, rows[i].endpoints, "{port: 8080}");
		run(f);
		snprintf(expected, sizeof(expected),
			 "10.96.0.1:80 >%s\n198.51.100.1:80 >%s\n198.51.100.2:80 >%s\n"
			 "external %s198.51.100.1:80 >%s\nexternal %s198.51.100.2:80 >%s\n",
			 rows[i].cluster_ip, rows[i].inside, rows[i].inside, local, rows[i].outside, local, rows[i].outside);
		expect_services(&f->maps, expected);
		snprintf(spec, sizeof(spec), NODE_PORT ", %s", rows[i].policies);
		put_service(f->b, "a", spec);
		run(f);
		snprintf(expected, sizeof(expected), "10.96.0.1:80 >%s\n192.0.2.1:30080 >%s\nexternal %s192.0.2.1:30080 >%s\n",
			 rows[i].cluster_ip, rows[i].inside, local, rows[i].outside);
		expect_services(&f->maps, expected);
	}
}

/* The same backends with another flag are another element. */
static void a_policy_alone_changes(void **state)
{
	struct fixture *f = *state;

	set_nodes(f, "2001:db8::1");
	put_slice(f->b, "a6", "a", 6, READY_AT("fd00::1", "here"), "{port: 8080}");
	put_service(f->b, "a", "type: NodePort, clusterIP: \"fd00:96::1\", " PORTS);
	run(f);
	put_service(f->b, "a", "type: NodePort, clusterIP: \"fd00:96::1\", externalTrafficPolicy: Local, " PORTS);
	assert_int_equal(run(f), 1);
	expect_services(&f->maps, "[2001:db8::1]:30080 > [fd00::1]:8080\n[fd00:96::1]:80 > [fd00::1]:8080\n"
				  "external local [2001:db8::1]:30080 > [fd00::1]:8080\n");
	balancer_remove_slice(f->b, "ns", "a6");
	assert_int_equal(run(f), 3);
	expect_services(&f->maps, "[2001:db8::1]:30080 >\n[fd00:96::1]:80 >\nexternal local [2001:db8::1]:30080 >\n");
}

/* --- load balancers --- */

static void load_balancers_addresses(void **state)
{
	struct fixture *f = *state;

	put_slices(f, "a");
	put_balanced(f->b, "a", BALANCED,
		     "{ip: 198.51.100.1}, {ip: 198.51.100.2, ipMode: Proxy}, {hostname: a.example}, {ip: 198.51.100.3, ipMode: VIP}, "
		     "{ip: \"2001:db8::9\"}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "198.51.100.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "198.51.100.3:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 198.51.100.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 198.51.100.3:80 > 10.0.0.1:8080 10.0.0.2:8080\n");
	/* Ranges apply to its addresses only, by family. Without one of the family no client is admitted. */
	set_nodes(f, "192.0.2.1");
	put_balanced(f->b, "a",
		     "type: LoadBalancer, clusterIPs: [10.96.0.1, \"fd00:96::1\"], loadBalancerSourceRanges: [10.0.0.0/8], " PORTS,
		     "{ip: 198.51.100.1}, {ip: \"2001:db8::9\"}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "198.51.100.1:80 from 10.0.0.0/8 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "[2001:db8::9]:80 from > [fd00::1]:8080 [fd00::2]:8080\n"
				  "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "external 192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 198.51.100.1:80 from 10.0.0.0/8 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external [2001:db8::9]:80 from > [fd00::1]:8080 [fd00::2]:8080\n");
	/* Other ranges: only its addresses are written. */
	put_balanced(f->b, "a",
		     "type: LoadBalancer, clusterIPs: [10.96.0.1, \"fd00:96::1\"], "
		     "loadBalancerSourceRanges: [192.0.2.0/24, \"2001:db8:1::/48\", 10.1.0.0/16], " PORTS,
		     "{ip: 198.51.100.1}, {ip: \"2001:db8::9\"}");
	assert_int_equal(run(f), 4);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "198.51.100.1:80 from 10.1.0.0/16,192.0.2.0/24 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "[2001:db8::9]:80 from 2001:db8:1::/48 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "external 192.0.2.1:30080 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external 198.51.100.1:80 from 10.1.0.0/16,192.0.2.0/24 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external [2001:db8::9]:80 from 2001:db8:1::/48 > [fd00::1]:8080 [fd00::2]:8080\n");
	/* What another type's status says is stale. */
	put_balanced(f->b, "a", "clusterIP: 10.96.0.1, ports: [{port: 80}]", "{ip: 198.51.100.1}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n");
	problem(f, 0);
}

/* --- external IPs --- */

#define EXTERNAL "clusterIPs: [10.96.0.1, \"fd00:96::1\"], externalIPs: [198.51.100.1, \"2001:db8::9\"], ports: [{port: 80}]"

static void external_ips_are_an_option(void **state)
{
	struct fixture *f = *state;

	put_slices(f, "a");
	put_service(f->b, "a", EXTERNAL);
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "198.51.100.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "[2001:db8::9]:80 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\n"
				  "external 198.51.100.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
				  "external [2001:db8::9]:80 > [fd00::1]:8080 [fd00::2]:8080\n");
	/* The next agent deletes what it does not program. */
	balancer_free(f->b);
	f->b = begin(&f->maps, 1, 0);
	put_slices(f, "a");
	put_service(f->b, "a", EXTERNAL);
	put_balanced(f->b, "b", "type: LoadBalancer, clusterIP: 10.96.0.2, externalIPs: [198.51.100.5], ports: [{port: 80}]",
		     "{ip: 198.51.100.6}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n10.96.0.2:80 >\n198.51.100.6:80 >\n"
				  "[fd00:96::1]:80 > [fd00::1]:8080 [fd00::2]:8080\nexternal 198.51.100.6:80 >\n");
	problem(f, 0);
}

static void all_of_it_is_an_option(void **state)
{
	struct fixture *f = *state;

	for (int on = 2; on >= 0; on--) {
		balancer_free(f->b);
		f->b = begin(&f->maps, on > 0, on > 1);
		set_nodes(f, "192.0.2.1");
		put_balanced(f->b, "a", "type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [198.51.100.1], " PORTS,
			     "{ip: 198.51.100.2}");
		run(f);
		assert_int_equal(f->maps.count, 1 + 4 * (on > 0) + 2 * (on > 1));
	}
	expect_services(&f->maps, "10.96.0.1:80 >\n");
}

/* --- addresses of others --- */

static void addresses_of_others_are_refused(void **state)
{
	static const struct {
		const char *address, *why;
	} rows[] = {
		{ "127.0.0.1", "it is not an address that other hosts can reach" },
		{ "169.254.169.254", "it is not an address that other hosts can reach" },
		{ "224.0.0.1", "it is not an address that other hosts can reach" },
		{ "255.255.255.255", "it is not an address that other hosts can reach" },
		{ "0.0.0.0", "it is not an address that other hosts can reach" },
		{ "::1", "it is not an address that other hosts can reach" },
		{ "fe80::1", "it is not an address that other hosts can reach" },
		{ "ff02::1", "it is not an address that other hosts can reach" },
		{ "::ffff:10.9.9.9", "it is not an address that other hosts can reach" },
		{ "10.1.0.0", "it is an address of pods" },
		{ "10.1.0.255", "it is an address of pods" },
		{ "10.2.7.1", "it is an address of pods" },
		{ "fd00:1::7", "it is an address of pods" },
		{ "10.96.0.2", "it is the ClusterIP of Service ns/b" },
		{ "fd00:96::2", "it is the ClusterIP of Service ns/b" },
		{ "10.0.255.255", NULL },
		{ "10.1.1.0", NULL },
		{ "fd00:2::", NULL },
		{ "10.96.0.3", NULL },
		{ "192.0.2.1", NULL }, /* this node's */
	};
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	set_pods(f, "10.3.0.0/24 10.2.7.0/24 fd00:1::/64 10.1.0.0/24 10.2.0.0/16 10.1.0.128/25");
	put_service(f->b, "b", "clusterIPs: [10.96.0.2, \"fd00:96::2\"], ports: [{port: 443}]");
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		const char *address = rows[i / 2].address, *why = rows[i / 2].why;
		char spec[200], ingress[80] = "", expected[200];

		if (i % 2)
			snprintf(ingress, sizeof(ingress), "{ip: \"%s\"}", address);
		snprintf(spec, sizeof(spec), "type: LoadBalancer, clusterIPs: [10.96.0.1, \"fd00:96::1\"], ports: [{port: 80}]%s%s%s",
			 i % 2 ? "" : ", externalIPs: [\"", i % 2 ? "" : address, i % 2 ? "" : "\"]");
		put_balanced(f->b, "a", spec, ingress);
		run(f);
		assert_int_equal(f->maps.count, why ? 4 : 6);
		snprintf(expected, sizeof(expected), "ns/a: %s is not programmed: %s", address, why ?: "");
		assert_string_equal(problem(f, !!why), why ? expected : "");
	}
}

/* A ClusterIP and a pod CIDR that come later take the address away; and give it back. */
static void addresses_become_others(void **state)
{
	struct fixture *f = *state;

	put_service(f->b, "a", "clusterIP: 10.96.0.1, externalIPs: [10.96.0.2, 10.96.0.1], ports: [{port: 80}]");
	run(f);
	/* Its own ClusterIP is for pods only. */
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 >\nexternal 10.96.0.2:80 >\n");
	put_service(f->b, "z", "clusterIP: 10.96.0.2, ports: [{port: 80}]");
	put_slice(f->b, "z1", "z", 4, READY("10.0.0.1"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 > 10.0.0.1:8080\n");
	assert_string_equal(problem(f, 1), "ns/a: 10.96.0.2 is not programmed: it is the ClusterIP of Service ns/z");
	put_service(f->b, "z", "clusterIP: 10.96.0.3, ports: [{port: 80}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 >\n10.96.0.3:80 > 10.0.0.1:8080\nexternal 10.96.0.2:80 >\n");
	set_pods(f, "10.96.0.2/32");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.3:80 > 10.0.0.1:8080\n");
	set_pods(f, "10.96.0.4/32");
	balancer_remove_service(f->b, "ns", "z");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 >\nexternal 10.96.0.2:80 >\n");
	problem(f, 0);
}

/* Another proxy's Service has no frontend here, but its ClusterIP is no other Service's address. */
static void cluster_ips_of_another_proxy(void **state)
{
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	put_service(f->b, "a", "clusterIP: 10.96.0.1, externalIPs: [10.96.0.2], ports: [{port: 80}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 >\nexternal 10.96.0.2:80 >\n");
	put_balanced_with(f->b, "other", "labels: {service.kubernetes.io/service-proxy-name: x}",
			  "type: LoadBalancer, clusterIP: 10.96.0.2, externalIPs: [203.0.113.7], externalTrafficPolicy: Local, "
			  "healthCheckNodePort: 32000, ports: [{port: 80, nodePort: 30080}]",
			  "{ip: 203.0.113.8}");
	put_slice(f->b, "other", "other", 4, READY("10.0.0.1"), "{port: 8080}");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n");
	assert_string_equal(problem(f, 1), "ns/a: 10.96.0.2 is not programmed: it is the ClusterIP of Service ns/other");
	expect_health(f, "");
	balancer_remove_service(f->b, "ns", "other");
	run(f);
	expect_services(&f->maps, "10.96.0.1:80 >\n10.96.0.2:80 >\nexternal 10.96.0.2:80 >\n");
	problem(f, 0);
}

/* At one address and port: a node port before a load balancer's address, before an external IP; then by name. */
static void kinds_precede_names(void **state)
{
	struct fixture *f = *state;

	set_nodes(f, "192.0.2.1");
	for (const char *name = "abcd"; *name; name++) {
		const char service[] = { *name, '\0' };
		char slice[80];

		snprintf(slice, sizeof(slice), "{addresses: [10.0.0.%d]}", *name - 'a' + 1);
		put_slice(f->b, service, service, 4, slice, "{port: 1}");
	}
	put_service(f->b, "a", "clusterIP: 10.96.0.1, externalIPs: [192.0.2.1], ports: [{port: 30080}]");
	run(f);
	expect_services(&f->maps, "10.96.0.1:30080 > 10.0.0.1:1\n192.0.2.1:30080 > 10.0.0.1:1\nexternal 192.0.2.1:30080 > 10.0.0.1:1\n");
	put_balanced(f->b, "c", "type: LoadBalancer, clusterIP: 10.96.0.3, ports: [{port: 30080}]", "{ip: 192.0.2.1}");
	run(f);
	assert_string_equal(problem(f, 1), "ns/a: 192.0.2.1:30080 belongs to Service ns/c");
	put_balanced(f->b, "b", "type: LoadBalancer, clusterIP: 10.96.0.2, ports: [{port: 30080}]", "{ip: 192.0.2.1}");
	run(f);
	assert_string_equal(problem(f, 2), "ns/a: 192.0.2.1:30080 belongs to Service ns/b");
	put_service(f->b, "d", "type: NodePort, clusterIP: 10.96.0.4, ports: [{port: 7, nodePort: 30080}]");
	run(f);
	assert_string_equal(problem(f, 3), "ns/a: 192.0.2.1:30080 belongs to Service ns/d");
	expect_services(&f->maps, "10.96.0.1:30080 > 10.0.0.1:1\n10.96.0.2:30080 > 10.0.0.2:1\n10.96.0.3:30080 > 10.0.0.3:1\n"
				  "10.96.0.4:7 > 10.0.0.4:1\n192.0.2.1:30080 > 10.0.0.4:1\nexternal 192.0.2.1:30080 > 10.0.0.4:1\n");
	/* It becomes another kind of claim in place. */
	put_service(f->b, "d", "clusterIP: 10.96.0.4, externalIPs: [192.0.2.1], ports: [{port: 30080}]");
	run(f);
	assert_string_equal(problem(f, 3), "ns/a: 192.0.2.1:30080 belongs to Service ns/b");
	put_service(f->b, "b", "clusterIP: 10.96.0.2, ports: [{port: 30080}]");
	put_service(f->b, "c", "clusterIP: 10.96.0.3, ports: [{port: 30080}]");
	assert_int_equal(f->maps.deletes, 1); /* of 10.96.0.4:7 */
	run(f);
	assert_string_equal(problem(f, 1), "ns/d: 192.0.2.1:30080 belongs to Service ns/a");
	assert_int_equal(f->maps.deletes, 1);
	/* One Service that claims it twice has it once. */
	balancer_remove_service(f->b, "ns", "a");
	put_balanced(f->b, "d", "type: LoadBalancer, clusterIP: 10.96.0.4, externalIPs: [192.0.2.1, 192.0.2.1], "
				"ports: [{name: x, port: 30080, nodePort: 7}, {name: w, port: 7, nodePort: 30080}]", "{ip: 192.0.2.1}");
	put_slice(f->b, "d", "d", 4, READY("10.0.0.4"), "{name: x, port: 1}, {name: w, port: 2}");
	run(f);
	problem(f, 0);
	expect_services(&f->maps, "10.96.0.2:30080 > 10.0.0.2:1\n10.96.0.3:30080 > 10.0.0.3:1\n"
				  "10.96.0.4:30080 > 10.0.0.4:1\n10.96.0.4:7 > 10.0.0.4:2\n"
				  "192.0.2.1:30080 > 10.0.0.4:2\n192.0.2.1:7 > 10.0.0.4:1\n"
				  "external 192.0.2.1:30080 > 10.0.0.4:2\nexternal 192.0.2.1:7 > 10.0.0.4:1\n");
}

/* --- quotas --- */

static struct service_object *many(const char *name, size_t ports, size_t external)
{
	struct service_object *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->namespace = strdup("ns");
	o->name = strdup(name);
	o->type = SERVICE_NODE_PORT;
	o->cluster_ips[0] = ip("10.96.0.1");
	o->cluster_ips[1] = ip("fd00:96::1");
	o->ports = calloc(ports, sizeof(*o->ports));
	o->external_ips = calloc(external + 1, sizeof(*o->external_ips));
	assert_non_null(o->ports);
	assert_non_null(o->external_ips);
	for (size_t i = 0; i < ports; i++) {
		o->ports[i] = (struct service_port){ NULL, IPPROTO_TCP, (uint16_t)(i + 1), (uint16_t)(i + 20000) };
		assert_true(asprintf(&o->ports[i].name, "p%zu", i) > 0);
	}
	o->port_count = ports;
	for (size_t i = 0; i < external; i++)
		o->external_ips[i] = ip_add(ip(i % 2 ? "2001:db8:1::" : "203.0.113.0"), i / 2);
	o->external_ip_count = external;
	return o;
}

static size_t count_at(const struct fixture *f, const char *address, bool external)
{
	const struct ip at = ip(address);
	size_t count = 0;

	for (size_t i = 0; i < f->maps.count; i++)
		count += f->maps.v[i].service.external == external && ip_equal(&f->maps.v[i].service.ip, &at);
	return count;
}

static void quotas_count_all_frontends(void **state)
{
	struct fixture *f = *state;
	struct balancer_counts counts;

	set_nodes(f, "192.0.2.1 2001:db8::1");
	/* ClusterIPs come first. */
	assert_int_equal(balancer_put_service(f->b, many("a", SERVICE_PORTS_MAX, 0)), 0);
	run(f);
	assert_int_equal(f->maps.count, 2 * SERVICE_PORTS_MAX);
	assert_int_equal(count_at(f, "10.96.0.1", false), SERVICE_PORTS_MAX);
	assert_int_equal(count_at(f, "192.0.2.1", false) + count_at(f, "192.0.2.1", true), 0);
	assert_string_equal(problem(f, 1), "ns/a: 4096 of its 12288 IPv4 ports are programmed: a Service may have 4096");
	/* Then the node's addresses, for pods, and for clients outside. */
	assert_int_equal(balancer_put_service(f->b, many("a", 1500, 0)), 0);
	run(f);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(count_at(f, v6 ? "fd00:96::1" : "10.96.0.1", false), 1500);
		assert_int_equal(count_at(f, v6 ? "2001:db8::1" : "192.0.2.1", false), 1500);
		assert_int_equal(count_at(f, v6 ? "2001:db8::1" : "192.0.2.1", true), SERVICE_PORTS_MAX - 3000);
	}
	balancer_count(f->b, &counts);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(counts.frontends[v6], 3000);
		assert_int_equal(counts.external[v6], SERVICE_PORTS_MAX - 3000);
	}
	assert_int_equal(balancer_put_service(f->b, many("a", 1000, 0)), 0);
	run(f);
	assert_int_equal(f->maps.count, 6000);
	problem(f, 0);
	/* External IPs, at most so many of them. */
	assert_int_equal(balancer_put_service(f->b, many("a", 1, 20000)), 0);
	run(f);
	assert_string_equal(problem(f, 1), "ns/a: 18976 of its external addresses are not programmed: a Service may have 1024");
	assert_in_range(f->maps.count, 2 * 1000, 2 * (1 + 2 + SERVICE_ADDRESSES_MAX));
	assert_int_equal(balancer_put_service(f->b, many("a", 100, 20000)), 0);
	run(f);
	assert_int_equal(f->maps.count, 2 * SERVICE_PORTS_MAX);
}

/* --- listing --- */

static int list(const struct balancer_frontend *frontend, void *arg)
{
	char at[SOCKET_STRLEN];

	socket_format(frontend->ip, frontend->number, at);
	if (strcmp(at, "192.0.2.1:30080") == 0) {
		assert_int_equal(frontend->port->port, 80);
		assert_true(frontend->written);
		((size_t *)arg)[frontend->external] += frontend->backends;
	}
	((size_t *)arg)[2]++;
	return 0;
}

static void lists_all_frontends(void **state)
{
	struct fixture *f = *state;
	size_t found[3] = { 0 };

	set_nodes(f, "192.0.2.1");
	put_slices(f, "a");
	put_service(f->b, "a", NODE_PORT ", externalTrafficPolicy: Local");
	run(f);
	assert_int_equal(balancer_each(f->b, list, found), 0);
	assert_int_equal(found[0], 2);
	assert_int_equal(found[1], 1);
	assert_int_equal(found[2], 3);
}

/* --- drawn at random: the order of changes has no effect --- */

#define SERVICES 5
#define SLICES 3
#define ROUNDS 300

static size_t draw(size_t most)
{
	return (size_t)random() % most;
}

static const char *one_of(const char *const *texts)
{
	size_t count = 0;

	while (texts[count])
		count++;
	return texts[draw(count)];
}

struct drawn {
	char services[SERVICES][500], slices[SERVICES][SLICES][900]; /* documents; "": none */
	const char *nodes, *pods, *zone;
};

static void draw_service(struct drawn *d, size_t n)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", NULL };
	static const char *const families[] = { "10.96.0.%zu", "'fd00:96::%zu'", "10.96.0.%zu, 'fd00:96::%zu'", NULL };
	static const char *const policies[] = { "", ", externalTrafficPolicy: Local", ", internalTrafficPolicy: Local", NULL };
	static const char *const others[] = { "", ", loadBalancerSourceRanges: [10.0.0.0/8]", ", sessionAffinity: ClientIP", NULL };
	static const char *const addresses[] = { "", "198.51.100.1", "198.51.100.2, 'fd00:96::3'", "10.96.0.2, 192.0.2.1",
						 "10.1.0.7, '2001:db8::1'", "127.0.0.1, 198.51.100.1", NULL };
	static const char *const ingresses[] = { "", "{ip: 198.51.100.1}", "{ip: 198.51.100.2, ipMode: Proxy}", "{ip: 192.0.2.1}",
						 "{ip: '2001:db8::1'}, {ip: 10.96.0.4}", NULL };
	static const char *const ports[] = { "{name: a, port: 80, nodePort: 30080}", "{name: a, port: 80}",
					     "{name: a, port: 30080, nodePort: 30081}, {name: b, port: 30081, nodePort: 30080}",
					     "{name: a, port: 80, nodePort: 30080, protocol: UDP}, {name: b, port: 80, nodePort: 30080}", NULL };
	char ips[80];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(ips, sizeof(ips), one_of(families), n + draw(2), n + draw(2));
#pragma GCC diagnostic pop
	snprintf(d->services[n], sizeof(d->services[n]),
		 "apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: s%zu}\n"
		 "spec: {type: %s, clusterIPs: [%s], externalIPs: [%s], ports: [%s]%s%s}\nstatus: {loadBalancer: {ingress: [%s]}}\n",
		 n, one_of(types), ips, one_of(addresses), one_of(ports), one_of(policies), one_of(others), one_of(ingresses));
}

static void draw_slice(struct drawn *d, size_t n, size_t slice)
{
	static const char *const nodes[] = { "", ", nodeName: here", ", nodeName: there", NULL };
	static const char *const conditions[] = { "", "", ", conditions: {ready: false}",
						  ", conditions: {ready: false, serving: true, terminating: true}", NULL };
	static const char *const hints[] = { "", ", hints: {forZones: [{name: z1}]}", ", hints: {forNodes: [{name: here}]}", NULL };
	const bool v6 = draw(2);
	char *text = d->slices[n][slice];
	const size_t size = sizeof(d->slices[n][slice]);
	size_t at = (size_t)snprintf(text, size,
				     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv%d\n"
				     "metadata: {namespace: ns, name: e%zu-%zu, labels: {kubernetes.io/service-name: s%zu}}\n"
				     "ports: [{name: a, port: 1%s}, {name: b, port: %zu}]\nendpoints: [",
				     v6 ? 6 : 4, n, slice, n, draw(4) ? "" : ", protocol: UDP", 2 + draw(2));

	for (size_t i = draw(4); i > 0; i--)
		at += (size_t)snprintf(text + at, size - at, "{addresses: ['%s%zu']%s%s%s},", v6 ? "fd00::" : "10.0.0.", 1 + draw(4),
				       one_of(nodes), one_of(conditions), one_of(hints));
	snprintf(text + at, size - at, "]\n");
}

static void put_document_text(struct balancer *b, const char *text)
{
	struct err err = { 0 };

	assert_ok(documents_parse(text, strlen(text), "it", put_document, b, &err));
}

static void change(struct fixture *f, struct drawn *d)
{
	static const char *const nodes[] = { "", "192.0.2.1", "192.0.2.1 2001:db8::1", "192.0.2.2 192.0.2.1", NULL };
	static const char *const pods[] = { "", "10.1.0.0/24", "198.51.100.1/32 10.1.0.0/16 fd00:96::3/128", NULL };
	static const char *const zones[] = { "", "z1", "z2", NULL };
	const size_t n = draw(SERVICES), slice = draw(SLICES), kind = draw(12);
	char name[32];

	if (kind == 0) {
		set_nodes(f, d->nodes = one_of(nodes));
	} else if (kind == 1) {
		set_pods(f, d->pods = one_of(pods));
	} else if (kind == 2) {
		assert_int_equal(balancer_set_zone(f->b, d->zone = one_of(zones)), 0);
	} else if (kind == 3) {
		snprintf(name, sizeof(name), "s%zu", n);
		balancer_remove_service(f->b, "ns", name);
		d->services[n][0] = '\0';
	} else if (kind == 4) {
		snprintf(name, sizeof(name), "e%zu-%zu", n, slice);
		balancer_remove_slice(f->b, "ns", name);
		d->slices[n][slice][0] = '\0';
	} else if (kind < 9) {
		draw_service(d, n);
		put_document_text(f->b, d->services[n]);
	} else {
		draw_slice(d, n, slice);
		put_document_text(f->b, d->slices[n][slice]);
	}
}

/* A balancer that gets all of it at once, in another order. */
static char *expected_of(const struct drawn *d, const struct fixture *f)
{
	struct fixture fresh = { .b = begin(&fresh.maps, 1, 1) };
	struct balancer_counts now, then;
	char *text;

	for (size_t n = SERVICES; n-- > 0;) {
		for (size_t i = SLICES; i-- > 0;) {
			if (*d->slices[n][i])
				put_document_text(fresh.b, d->slices[n][i]);
		}
		if (*d->services[n])
			put_document_text(fresh.b, d->services[n]);
	}
	set_nodes(&fresh, d->nodes);
	set_pods(&fresh, d->pods);
	assert_int_equal(balancer_set_zone(fresh.b, d->zone), 0);
	run(&fresh);
	balancer_count(f->b, &now);
	balancer_count(fresh.b, &then);
	assert_int_equal(now.problems, then.problems);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(now.frontends[v6], then.frontends[v6]);
		assert_int_equal(now.external[v6], then.external[v6]);
		assert_int_equal(now.backends[v6], then.backends[v6]);
	}
	text = fake_text(&fresh.maps);
	balancer_free(fresh.b);
	fake_clear(&fresh.maps);
	return text;
}

static void order_has_no_effect(void **state)
{
	struct drawn d = { .nodes = "", .pods = "", .zone = "" };
	struct fixture *f = *state;

	srandom((unsigned)seed_of_run());
	for (int round = 0; round < ROUNDS; round++) {
		_cleanup_free_ char *expected = NULL;

		for (size_t i = 1 + draw(4); i > 0; i--)
			change(f, &d);
		if (draw(20) == 0)
			balancer_lost(f->b);
		if (draw(4) == 0) {
			struct err err = { 0 };

			assert_ok(balancer_run(f->b, &err));
			change(f, &d);
		}
		run(f);
		expected = expected_of(&d, f);
		expect_services(&f->maps, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(node_ports_are_in_both_maps),
		TEST(one_number_for_two_protocols),
		TEST(node_addresses_change),
		TEST(released_and_taken_back),
		TEST(policies_select_backends),
		TEST(a_policy_alone_changes),
		TEST(load_balancers_addresses),
		TEST(external_ips_are_an_option),
		TEST(all_of_it_is_an_option),
		TEST(addresses_of_others_are_refused),
		TEST(addresses_become_others),
		TEST(cluster_ips_of_another_proxy),
		TEST(kinds_precede_names),
		TEST(quotas_count_all_frontends),
		TEST(lists_all_frontends),
		TEST(order_has_no_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
