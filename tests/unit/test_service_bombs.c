/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The largest Services and EndpointSlices that the API accepts, and random large ones, by the balancer into the maps
 * of the real kernel: the time of a turn of the agent's loop, the memory, and the delay of another Service's change.
 */
#include "dp_rig.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../lib/seed.h"
#include "balancer.h"
#include "balancer_quota.h"
#include "cleanup.h"
#include "maglev.h"
#include "clock.h"

/* The slowdown of a sanitizer's build. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER 8
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER 8
#endif
#endif
#ifndef SANITIZER
#define SANITIZER 1
#endif

/* Goals are 50 and 100 ms. Machines are shared, so these bounds only exclude seconds. */
#define TURN_MS (200 * SANITIZER) /* of another's change, too */
#define DONE_MS (400 * SANITIZER) /* until the first Service that does not fit is found */
#define MEMORY_BYTES (16 << 20)
#define PORTS_LEGAL 50000 /* of a Service of 1.5 MB */
#define SLICE_PORTS_LEGAL 20000
#define ENDPOINTS_LEGAL 1000
#define ADDRESSES_LEGAL 100000
#define ROUNDS 4

static struct dp_services *services;
static struct balancer *b;
static uint64_t turn_ms; /* the longest so far */

static int setup(void **state)
{
	struct ip node[NODE_ADDRESSES];
	struct err err = { 0 };

	assert_int_equal(dp_rig_load_maps(state), 0);
	assert_ok(dp_services_open(&services, &err));
	b = balancer_new(&balancer_dp_ops, services, "here", &(struct balancer_options){ 1, 1, MAGLEV_SIZE_DEFAULT });
	assert_non_null(b);
	assert_int_equal(dp_services_set_key(services, (const uint8_t[SIPHASH_KEY_SIZE]){ 1 }, &err), 1);
	for (size_t i = 0; i < NODE_ADDRESSES; i++)
		node[i] = ip_add(ip(i % 2 ? "2001:db8::" : "192.0.2.0"), i);
	balancer_set_node_addresses(b, node, NODE_ADDRESSES);
	turn_ms = 0;
	return 0;
}

static int teardown(void **state)
{
	balancer_free(b);
	dp_services_close(services);
	return dp_rig_unload(state);
}

/* --- objects --- */

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
	va_list ap;
	char *made;

	va_start(ap, format);
	assert_true(vasprintf(&made, format, ap) >= 0);
	va_end(ap);
	return made;
}

struct made {
	const char *namespace;
	unsigned service;    /* its number: the name, the addresses */
	size_t ports, targets; /* ports whose number is the same modulo `targets` have the same target */
	bool v6;
	size_t external; /* external IPs; with some, its ports have node ports */
};

static void put_service(const struct made *m)
{
	struct service_object *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->namespace = text("%s", m->namespace);
	o->name = text("s%u", m->service);
	o->cluster_ips[m->v6] = ip_add(ip("10.96.0.0"), m->service);
	o->cluster_ips[!m->v6] = ip_add(ip("fd00:96::"), m->service);
	o->ports = calloc(m->ports, sizeof(*o->ports));
	o->port_count = m->ports;
	assert_non_null(o->ports);
	for (size_t i = 0; i < m->ports; i++)
		o->ports[i] = (struct service_port){ text("p%zu", i), IPPROTO_TCP, (uint16_t)(i + 1), m->external ? (uint16_t)(i + 1) : 0 };
	o->type = m->external ? SERVICE_NODE_PORT : SERVICE_CLUSTER_IP;
	o->external_ips = calloc(m->external + 1, sizeof(*o->external_ips));
	assert_non_null(o->external_ips);
	for (size_t i = 0; i < m->external; i++)
		o->external_ips[i] = ip_add(ip(i % 2 ? "2001:db8:1::" : "203.0.113.0"), i / 2);
	o->external_ip_count = m->external;
	assert_int_equal(balancer_put_service(b, o), 0);
}

static void put_slice(const struct made *m, unsigned number, bool v6, size_t ports, size_t endpoints, unsigned first)
{
	struct slice_object *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->namespace = text("%s", m->namespace);
	o->name = text("s%u-%u", m->service, number);
	o->service = text("s%u", m->service);
	o->endpoints = calloc(endpoints + 1, sizeof(*o->endpoints));
	o->ports = calloc(ports + 1, sizeof(*o->ports));
	assert_non_null(o->endpoints);
	assert_non_null(o->ports);
	for (size_t i = 0; i < endpoints; i++)
		o->endpoints[o->endpoint_count++] = (struct slice_endpoint){
			.address = ip_add(ip(v6 ? "fd00:1::" : "11.0.0.0"), first + i), .ready = true, .serving = true, .node = text("n")
		};
	for (size_t i = 0; i < ports; i++)
		o->ports[o->port_count++] =
			(struct service_port){ text("p%zu", i), IPPROTO_TCP, (uint16_t)(1000 + i % m->targets) };
	assert_int_equal(balancer_put_slice(b, o), 0);
}

/* --- time and memory --- */

static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static size_t mapped_bytes(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "r");
	size_t pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * From now on at most so many bytes more can be mapped, and further allocations fail. Not the resident size: a machine that
 * reclaims memory changes it in both directions. Without effect under a sanitizer, which maps much more.
 */
static void limit_memory(size_t more)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = SANITIZER == 1 && more ? mapped_bytes() + more : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void turn(void)
{
	const uint64_t before = cpu_ns();
	struct err err = { 0 };
	uint64_t took;

	assert_ok(balancer_run(b, &err));
	took = (cpu_ns() - before) / NS_PER_MS;
	turn_ms = took > turn_ms ? took : turn_ms;
}

static void run(void)
{
	do
		turn();
	while (balancer_pending(b));
}

/* --- another, small Service --- */

static const struct made modest = { "modest", 1, 2, 2, false };

/* The time until its Service has exactly these backends. */
static uint64_t modest_changes(unsigned first, size_t count)
{
	const struct ip vips[] = { ip("10.96.0.1"), ip("fd00:96::1") };
	const uint64_t before = cpu_ns();
	uint64_t took = 0;

	for (unsigned v6 = 0; v6 < 2; v6++)
		put_slice(&modest, v6, v6, modest.ports, count, (7 << 20) + first);
	for (bool done = false; !done;) {
		turn();
		took = (cpu_ns() - before) / NS_PER_MS;
		done = !balancer_pending(b);
		for (unsigned i = 0; i < 4; i++) {
			_cleanup_free_ struct dp_backend *backends = NULL;
			const struct ip expected = ip_add(ip(i / 2 ? "fd00:1::" : "11.0.0.0"), (7 << 20) + first);
			const struct dp_service service = { .ip = vips[i / 2], .port = (uint16_t)(i % 2 + 1),
							    .protocol = IPPROTO_TCP };
			struct err err = { 0 };
			size_t found;

			assert_ok(dp_service_backends(&service, &backends, &found, &err));
			if (found != count || !ip_equal(&backends[0].ip, &expected)) {
				assert_false(done);
				break;
			}
			done |= i == 3;
		}
	}
	return took;
}

static void modest_begins(void)
{
	put_service(&modest);
	run();
	modest_changes(0, 3);
}

/* --- the largest --- */

static void put_ports(void)
{
	const struct made m = { "evil", 2, PORTS_LEGAL, PORTS_LEGAL, false };

	put_service(&m);
	for (unsigned v6 = 0; v6 < 2; v6++)
		put_slice(&m, v6, v6, SLICE_PORTS_LEGAL, ENDPOINTS_LEGAL, 0);
}

static void put_node_ports(void)
{
	const struct made m = { "evil", 2, PORTS_LEGAL, 1, false, 1 };

	put_service(&m);
	for (unsigned v6 = 0; v6 < 2; v6++)
		put_slice(&m, v6, v6, SERVICE_PORTS_MAX, ENDPOINTS_LEGAL, 0);
}

static void put_external_ips(void)
{
	const struct made m = { "evil", 2, 3, 1, false, ADDRESSES_LEGAL };

	put_service(&m);
	for (unsigned v6 = 0; v6 < 2; v6++)
		put_slice(&m, v6, v6, 3, ENDPOINTS_LEGAL, 0);
}

static void put_shared_ports(void)
{
	const struct made m = { "evil", 2, PORTS_LEGAL, 1, false };

	put_service(&m);
	for (unsigned n = 0; n < 20; n++)
		put_slice(&m, n, n % 2, SERVICE_PORTS_MAX, ENDPOINTS_LEGAL, n * ENDPOINTS_LEGAL);
}

static void put_endpoints(void)
{
	const struct made m = { "evil", 2, 100, 100, false };

	put_service(&m);
	for (unsigned n = 0; n < 60; n++)
		put_slice(&m, n, n % 2, 100, ENDPOINTS_LEGAL, n * ENDPOINTS_LEGAL);
}

static void put_duplicates(void)
{
	const struct made m = { "evil", 2, 100, 100, false };

	put_service(&m);
	for (unsigned n = 0; n < 60; n++)
		put_slice(&m, n, n % 2, 100, ENDPOINTS_LEGAL, 0);
}

static void put_slices(void)
{
	const struct made m = { "evil", 2, 1, 1, false };

	put_service(&m);
	for (unsigned n = 0; n < 70000; n++)
		put_slice(&m, n, n % 2, 1, 1, n);
}

static void put_services(void)
{
	for (unsigned n = 2; n < 3002; n++) {
		const struct made m = { "evil", n, 20, 1, false };

		put_service(&m);
		put_slice(&m, 0, n % 2, 20, 50, n * 50);
	}
}

static void largest_objects_are_bounded(void **state)
{
	static const struct {
		const char *name;
		void (*put)(void);
		bool one; /* one Service, which is soon found not to fit */
	} rows[] = {
		{ "ports", put_ports, true },	      { "shared ports", put_shared_ports, true },
		{ "node ports", put_node_ports, true }, { "external IPs", put_external_ips, true },
		{ "endpoints", put_endpoints, true }, { "duplicates", put_duplicates, true },
		{ "slices", put_slices, true },	      { "services", put_services, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct balancer_counts counts = { 0 };
		uint64_t other, done, all, before;

		if (i) {
			teardown(state);
			setup(state);
		}
		modest_begins();
		turn_ms = 0;
		rows[i].put();
		limit_memory(MEMORY_BYTES);
		before = cpu_ns();
		other = modest_changes(10, 5);
		while (!counts.problems && balancer_pending(b)) {
			turn();
			balancer_count(b, &counts);
		}
		done = (cpu_ns() - before) / NS_PER_MS;
		run();
		all = (cpu_ns() - before) / NS_PER_MS;
		limit_memory(0);
		balancer_count(b, &counts);
		print_message("%s: the other's change %" PRIu64 " ms, does not fit after %" PRIu64 " ms, all after %" PRIu64
			      " ms, longest turn %" PRIu64 " ms; %s\n",
			      rows[i].name, other, done, all, turn_ms, counts.example);
		assert_true(other <= TURN_MS);
		assert_true(turn_ms <= TURN_MS);
		assert_true(!rows[i].one || (done <= DONE_MS && counts.problems == 1));
		modest_changes(20, 500);
	}
}

/* --- drawn at random --- */

static size_t draw(size_t most)
{
	return (size_t)random() % most;
}

/* Small ones mostly, and now and then as many as are legal. */
static size_t draw_size(size_t most)
{
	const size_t kinds[] = { 3, 100, 1000, most };
	const size_t kind = kinds[draw(ARRAY_SIZE(kinds))];

	return 1 + draw(kind < most ? kind : most);
}

#define NAMESPACES 5
#define SERVICES 8
#define SLICES 6

static void draw_change(void)
{
	static const char *const namespaces[NAMESPACES] = { "a", "b", "c", "d", "e" };
	const unsigned n = (unsigned)draw(NAMESPACES), service = (unsigned)draw(SERVICES);
	const struct made m = { namespaces[n], 2 + n * SERVICES + service, draw_size(PORTS_LEGAL), draw_size(200), draw(2),
				draw(2) ? 0 : draw_size(ADDRESSES_LEGAL) };
	char name[32], slice[48];

	snprintf(name, sizeof(name), "s%u", m.service);
	snprintf(slice, sizeof(slice), "%s-%zu", name, draw(SLICES));
	if (draw(8) == 0)
		balancer_remove_service(b, m.namespace, name);
	else if (draw(8) == 0)
		balancer_remove_slice(b, m.namespace, slice);
	else if (draw(2))
		put_service(&m);
	else
		put_slice(&m, (unsigned)draw(SLICES), draw(2), draw_size(SLICE_PORTS_LEGAL), draw_size(ENDPOINTS_LEGAL),
			  (unsigned)draw(1 << 16));
}

static void remove_all(void)
{
	static const char *const namespaces[] = { "a", "b", "c", "d", "e", "modest" };
	char name[32], slice[48];

	for (size_t n = 0; n < ARRAY_SIZE(namespaces); n++) {
		for (unsigned service = 0; service < 2 + NAMESPACES * SERVICES; service++) {
			snprintf(name, sizeof(name), "s%u", service);
			balancer_remove_service(b, namespaces[n], name);
			for (unsigned i = 0; i < SLICES; i++) {
				snprintf(slice, sizeof(slice), "%s-%u", name, i);
				balancer_remove_slice(b, namespaces[n], slice);
			}
		}
	}
	run();
}

static void random_objects_are_bounded(void **state)
{
	struct balancer_counts counts;
	size_t backends[2], listed, blocks;

	srandom((unsigned)seed_of_run());
	modest_begins();
	for (unsigned round = 0; round < ROUNDS; round++) {
		const size_t changes = draw_size(10);
		uint64_t other;

		for (size_t i = 0; i < changes; i++)
			draw_change();
		limit_memory(MEMORY_BYTES);
		turn_ms = 0;
		other = modest_changes(10 + round, 1 + draw(100));
		if (draw(2))
			run();
		limit_memory(0);
		dp_services_count(services, backends, &listed, &blocks);
		if (other > TURN_MS || turn_ms > TURN_MS)
			fail_msg("round %u: %zu changes, another's took %" PRIu64 " ms, a turn %" PRIu64 " ms", round, changes, other,
				 turn_ms);
		assert_true(backends[0] <= WR_MAX_BACKENDS - 1 && backends[1] <= WR_MAX_BACKENDS - 1);
	}
	run();
	balancer_count(b, &counts);
	assert_int_equal(counts.failures, 0);
	dp_services_count(services, backends, &listed, &blocks);
	assert_true(backends[0] <= NODE_BACKENDS_MAX && backends[1] <= NODE_BACKENDS_MAX);
	remove_all();
	dp_services_count(services, backends, &listed, &blocks);
	balancer_count(b, &counts);
	assert_int_equal(backends[0] + backends[1] + listed + counts.frontends[0] + counts.frontends[1] + counts.external[0] +
				 counts.external[1] + counts.problems, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(largest_objects_are_bounded), TEST(random_objects_are_bounded) };

	return cmocka_run_group_tests(tests, dp_rig_make, NULL);
}
