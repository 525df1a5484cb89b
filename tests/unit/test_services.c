/* SPDX-License-Identifier: BSD-2-Clause */
/* Services in the maps of the real kernel: put, replaced, deleted; stale entries of a killed writer. */
#include "dp_rig.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <string.h>

#include "cleanup.h"
#include "maglev.h"
#include "services.h"

static const char *const vips[] = { "10.96.0.1", "fd00:96::1" };
static const char *const first_backends[] = { "10.1.0.2", "fd00:1::2" };
static const char *const maps[] = { "backends4", "backends6" };

static const char *const service_maps[2][2] = { { "services4", "services6" }, { "external4", "external6" } };

static struct dp_services *services;
static bool external; /* services that are put and deleted */

static int services_rig_load(void **state)
{
	struct err err = { 0 };

	external = false;
	assert_int_equal(dp_rig_load_maps(state), 0);
	assert_ok(dp_services_open(&services, &err));
	return 0;
}

static int external_rig_load(void **state)
{
	const int r = services_rig_load(state);

	external = true;
	return r;
}

static int services_rig_unload(void **state)
{
	dp_services_close(services);
	return dp_rig_unload(state);
}

static size_t elements(const char *map)
{
	_cleanup_fd_ int fd = map_fd(map);
	char key[64], *at = NULL;
	size_t count = 0;

	for (; bpf_map_get_next_key(fd, at, key) == 0; at = key)
		count++;
	return count;
}

/* `count` backends, whose ports are `port` and up. */
static void put(int v6, uint8_t protocol, size_t count, uint16_t port)
{
	struct dp_backend backends[8];
	const struct dp_service service = { ip(vips[v6]), 80, protocol, 10800, backends, count, external, external };
	struct err err = { 0 };

	for (size_t i = 0; i < count; i++)
		backends[i] = (struct dp_backend){ ip_add(ip(first_backends[v6]), i), (uint16_t)(port + i) };
	assert_ok(dp_service_put(services, &service, NULL, &err));
}

/* For clients in the first `count` of these ranges only. */
static void put_restricted(int v6, uint16_t port, size_t count)
{
	static const char *const texts[2][3] = { { "10.0.0.0/8", "192.0.2.0/24", "198.51.100.7/32" },
						 { "2001:db8::/32", "2001:db8:1::/48", "fd00::/8" } };
	struct prefix ranges[3];
	const struct dp_service service = { .ip = ip(vips[v6]), .port = port, .protocol = IPPROTO_TCP, .external = external,
					    .restricted = true, .ranges = ranges, .range_count = count };
	struct err err = { 0 };

	for (size_t i = 0; i < count; i++)
		assert_int_equal(prefix_parse(texts[v6][i], &ranges[i]), 0);
	assert_ok(dp_service_put(services, &service, NULL, &err));
}

static size_t ranges_of(int v6, uint16_t port)
{
	const struct dp_service service = { .ip = ip(vips[v6]), .port = port, .protocol = IPPROTO_TCP, .external = external };
	struct prefix *ranges = NULL;
	bool restricted = false;
	struct err err = { 0 };
	size_t count = 0;

	assert_ok(dp_service_ranges(&service, &restricted, &ranges, &count, &err));
	free(ranges);
	return restricted ? count : SIZE_MAX;
}

static void delete(int v6, uint8_t protocol, uint16_t port)
{
	struct err err = { 0 };

	assert_ok(dp_service_delete(services, &(struct dp_service){ .ip = ip(vips[v6]), .port = port, .protocol = protocol, .external = external }, &err));
}

struct seen {
	size_t services, backends;
	uint32_t ports; /* sum of the backends' */
};

static int see(const struct dp_service *service, void *arg)
{
	struct seen *seen = arg;
	const int v6 = service->ip.family == AF_INET6;
	const struct ip vip = ip(vips[v6]);
	_cleanup_free_ struct dp_backend *backends = NULL;
	struct err err = { 0 };
	size_t count;

	assert_true(ip_equal(&service->ip, &vip));
	assert_int_equal(service->port, 80);
	assert_int_equal(service->affinity_seconds, 10800);
	seen->services++;
	assert_int_equal(service->external, external);
	assert_int_equal(service->local, external);
	assert_ok(dp_service_backends(service, &backends, &count, &err));
	assert_int_equal(count, service->backend_count);
	seen->backends += count;
	for (size_t i = 0; i < count; i++) {
		const struct ip expected = ip_add(ip(first_backends[v6]), i);

		assert_true(ip_equal(&backends[i].ip, &expected));
		seen->ports += backends[i].port;
	}
	return 0;
}

static struct seen each(void)
{
	struct seen seen = { 0 };
	struct err err = { 0 };

	assert_ok(dp_service_each(see, &seen, &err));
	return seen;
}

static void services_are_put_and_deleted(void **state)
{
	struct seen seen;

	for (int v6 = 0; v6 < 2; v6++) {
		put(v6, IPPROTO_TCP, 3, 8080);
		put(v6, IPPROTO_UDP, 1, 53);
		put(v6, IPPROTO_SCTP, 0, 0);
		assert_int_equal(elements(maps[v6]), 4);
		put(v6, IPPROTO_TCP, 5, 9000); /* replaced: nothing of the old list stays */
		put(v6, IPPROTO_UDP, 0, 0);
		assert_int_equal(elements(maps[v6]), 5);
		seen = each();
		assert_int_equal(seen.services, 3);
		assert_int_equal(seen.backends, 5);
		assert_int_equal(seen.ports, 5 * 9000 + 10);
		delete(v6, IPPROTO_TCP, 80);
		delete(v6, IPPROTO_TCP, 80);
		assert_int_equal(elements(maps[v6]), 0);
		assert_int_equal(each().services, 2);
		delete(v6, IPPROTO_UDP, 80);
		delete(v6, IPPROTO_SCTP, 80);
		assert_int_equal(each().services, 0);
	}
}

static void reopen(void)
{
	struct err err = { 0 };

	dp_services_close(services);
	services = NULL;
	assert_ok(dp_services_open(&services, &err));
}

static uint32_t list_of(int v6)
{
	_cleanup_fd_ int fd = map_fd(service_maps[external][v6]);
	struct wr_service service = { 0 };
	char key[64];

	assert_int_equal(bpf_map_get_next_key(fd, NULL, key), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, key, &service), 0);
	return service.list;
}

/* Killed before the service's element was written, or before the old list was deleted: a list has no service. */
static void stale_lists_are_removed(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		_cleanup_fd_ int fd = map_fd("service_lists"), members = map_fd("service_members"), backends = map_fd(maps[v6]);
		const struct wr_backend6 backend = { .port = 1 };

		put(v6, IPPROTO_TCP, 3, 8080);
		for (uint32_t list = 100000; list < 100100; list++) {
			const uint32_t id = list % 3;

			assert_int_equal(bpf_map_update_elem(fd, &(struct wr_list_key){ list, id }, &id, 0), 0);
			assert_int_equal(bpf_map_update_elem(members, &(struct wr_member_key){ list, list }, &id, 0), 0);
			assert_int_equal(bpf_map_update_elem(backends, &list, &backend, 0), 0);
		}
		reopen();
		assert_int_equal(elements(maps[v6]), 3);
		assert_int_equal(elements("service_lists"), 3 * (v6 + 1));
		assert_int_equal(elements("service_members"), 3 * (v6 + 1));
	}
	assert_int_equal(each().backends, 6);
}

/* Not even after a writer was killed between the number and the list. */
static void list_numbers_are_never_reused(void **state)
{
	struct wr_service_state newest;

	for (int v6 = 0; v6 < 2; v6++) {
		uint32_t last;

		put(v6, IPPROTO_TCP, 1, 8080);
		last = list_of(v6);
		reopen();
		put(v6, IPPROTO_TCP, 1, 8080); /* an existing list is not written */
		assert_int_equal(list_of(v6), last);
		put(v6, IPPROTO_TCP, 1, 8081);
		assert_true(list_of(v6) > last);
	}
	newest.list = 1; /* the last number is lost: it is computed from the lists */
	newest.backend = 0;
	assert_int_equal(dp_value_put("service_state", &newest, NULL), 0);
	reopen();
	put(0, IPPROTO_TCP, 1, 8082);
	assert_true(list_of(0) > list_of(1));
	newest.list = WR_LIST_HOST_PORT - 2;
	assert_int_equal(dp_value_put("service_state", &newest, NULL), 0);
	reopen();
	for (uint32_t i = 0; i < 2; i++) {
		put(0, IPPROTO_TCP, 1, (uint16_t)(8080 + i));
		assert_int_equal(list_of(0), i ? 1 : WR_LIST_HOST_PORT - 1);
	}
}

static uint32_t backend_of(int v6, uint8_t protocol, uint32_t index)
{
	_cleanup_fd_ int fd = map_fd(service_maps[external][v6]), lists = map_fd("service_lists");
	struct wr_service4_key key4 = { .port = htons(80), .l4_proto = protocol };
	struct wr_service6_key key6 = { .port = htons(80), .l4_proto = protocol };
	const struct ip vip = ip(vips[v6]);
	struct wr_service service;
	uint32_t id;

	memcpy(&key4.addr, vip.bytes, sizeof(key4.addr));
	memcpy(&key6.addr, vip.bytes, sizeof(key6.addr));
	assert_int_equal(bpf_map_lookup_elem(fd, v6 ? (void *)&key6 : (void *)&key4, &service), 0);
	assert_int_equal(bpf_map_lookup_elem(lists, &(struct wr_list_key){ service.list, index }, &id), 0);
	return id;
}

/* Across lists, services and agents; all of them share one element. */
static void a_backend_keeps_its_id(void **state)
{
	struct dp_backend backend;
	struct dp_service other = { .port = 81, .protocol = IPPROTO_TCP, .affinity_seconds = 10800, .backends = &backend, .backend_count = 1, .external = external };
	struct err err = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		uint32_t id;

		put(v6, IPPROTO_TCP, 3, 8080);
		id = backend_of(v6, IPPROTO_TCP, 2);
		assert_int_not_equal(id, backend_of(v6, IPPROTO_TCP, 1));
		put(v6, IPPROTO_TCP, 4, 8080);
		assert_int_equal(backend_of(v6, IPPROTO_TCP, 2), id);
		reopen();
		put(v6, IPPROTO_TCP, 5, 8080);
		assert_int_equal(backend_of(v6, IPPROTO_TCP, 2), id);
		/* Another service has it too, and then only that one. */
		other.ip = ip(vips[v6]);
		backend = (struct dp_backend){ ip_add(ip(first_backends[v6]), 2), 8082 };
		assert_ok(dp_service_put(services, &other, NULL, &err));
		assert_int_equal(elements(maps[v6]), 5);
		put(v6, IPPROTO_TCP, 2, 8080);
		assert_int_equal(elements(maps[v6]), 3);
		put(v6, IPPROTO_TCP, 3, 8080);
		assert_int_equal(backend_of(v6, IPPROTO_TCP, 2), id);
		/* Another protocol's is another backend. */
		put(v6, IPPROTO_UDP, 3, 8080);
		assert_int_not_equal(backend_of(v6, IPPROTO_UDP, 2), id);
		delete(v6, IPPROTO_TCP, 81);
		assert_int_equal(elements(maps[v6]), 6);
		/* A removed backend that is added again gets a new id. */
		put(v6, IPPROTO_TCP, 0, 0);
		put(v6, IPPROTO_TCP, 3, 8080);
		assert_int_not_equal(backend_of(v6, IPPROTO_TCP, 2), id);
	}
}

static void nonsense_is_refused(void **state)
{
	const struct dp_backend other = { ip("fd00:1::2"), 80 };
	struct dp_service service = { ip(vips[0]), 80, IPPROTO_TCP, 0, &other, 1 };
	struct err err = { 0 };

	assert_int_equal(dp_service_put(services, &service, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "10.96.0.1:80"));
	assert_int_equal(each().services, 0);
}

/* Fills the map of services: the last one is refused whole, and leaves no list. */
static void a_full_map_is_an_error(void **state)
{
	_cleanup_fd_ int fd = map_fd(service_maps[external][0]);
	struct wr_service filler = { .list = 1 };
	struct dp_backend backend = { ip(first_backends[0]), 80 };
	struct dp_service service = { ip(vips[0]), 80, IPPROTO_TCP, 0, &backend, 1, .external = external };
	struct err err = { 0 };
	int r = 0;

	for (uint32_t n = 0; r == 0; n++) {
		struct wr_service4_key key = { .addr = { htonl(0x0b000000 + n) }, .l4_proto = IPPROTO_TCP };

		r = bpf_map_update_elem(fd, &key, &filler, BPF_NOEXIST);
	}
	assert_int_equal(dp_service_put(services, &service, NULL, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, external ? "external4 is full" : "services4 is full"));
	assert_int_equal(elements("backends4"), 0);
	assert_int_equal(elements("service_lists") + elements("service_members"), 0);
}

/* Services with the same backends share one list, which stays as long as any of them; also for another agent. */
static void same_backends_are_one_list(void **state)
{
	struct dp_backend backends[3];
	struct err err = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		const struct ip vip = ip(vips[v6]);

		for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
			backends[i] = (struct dp_backend){ ip_add(ip(first_backends[v6]), i), 8080 };
		for (uint16_t port = 80; port < 90; port++) {
			const struct dp_service service = { vip, port, IPPROTO_TCP, 0, backends, ARRAY_SIZE(backends), port % 2 };

			assert_ok(dp_service_put(services, &service, NULL, &err));
		}
		assert_int_equal(elements("service_lists"), 3);
		assert_int_equal(elements("service_members"), 3);
		reopen();
		for (uint16_t port = 80; port < 90; port++) {
			assert_int_equal(elements("service_lists"), 3);
			external = port % 2;
			delete(v6, IPPROTO_TCP, port);
		}
		assert_int_equal(elements("service_lists") + elements("service_members") + elements(maps[v6]), 0);
	}
}

/* A list is cut to the room: removed backends leave it, and the rest is added once there is room. */
static void a_list_without_room_is_cut(void **state)
{
	_cleanup_fd_ int fd = map_fd("service_members");
	struct wr_member_key filler = { .list = UINT32_MAX };
	struct dp_backend backends[3], *found;
	struct dp_service service = { ip(vips[0]), 80, IPPROTO_TCP, 0, backends, 2 };
	struct err err = { 0 };
	size_t count;

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		backends[i] = (struct dp_backend){ ip_add(ip(first_backends[0]), i), 8080 };
	assert_ok(dp_service_put(services, &service, NULL, &err));
	while (bpf_map_update_elem(fd, &filler, &filler.backend, BPF_NOEXIST) == 0)
		filler.backend++;
	/* As many other backends use the room of the old ones. */
	service.backends = backends + 1;
	assert_ok(dp_service_put(services, &service, NULL, &err));
	service.backends = backends;
	service.backend_count = 3;
	assert_int_equal(dp_service_put(services, &service, NULL, &err), -E2BIG);
	assert_ok(dp_service_backends(&service, &found, &count, &err));
	assert_int_equal(count, 2);
	assert_true(ip_equal(&found[0].ip, &backends[0].ip));
	free(found);
	for (; filler.backend; filler.backend--)
		bpf_map_delete_elem(fd, &(struct wr_member_key){ filler.list, filler.backend - 1 });
	assert_ok(dp_service_put(services, &service, NULL, &err));
}

/* While they are listed, one that is not listed yet gets another list, or goes. */
struct meddler {
	bool delete, gone;
	unsigned calls;
	size_t backends; /* of the last one */
};

static int meddle(const struct dp_service *service, void *arg)
{
	const uint8_t other = service->protocol == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
	struct meddler *m = arg;
	struct err err = { 0 };

	_cleanup_free_ struct dp_backend *backends = NULL;

	m->gone = dp_service_backends(service, &backends, &m->backends, &err) == -ENOENT;
	if (m->calls++)
		return 0;
	if (m->delete)
		delete(service->ip.family == AF_INET6, other, 80);
	else
		put(service->ip.family == AF_INET6, other, 2, 9000);
	return 0;
}

static void listed_as_they_change(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct meddler m = { 0 };
		struct err err = { 0 };

		put(v6, IPPROTO_TCP, 3, 8080);
		put(v6, IPPROTO_UDP, 3, 8080);
		assert_ok(dp_service_each(meddle, &m, &err));
		assert_int_equal(m.calls, 2);
		assert_int_equal(m.backends, 2);
		m = (struct meddler){ .delete = true };
		assert_ok(dp_service_each(meddle, &m, &err));
		assert_true(m.calls == 1 || m.gone);
		delete(v6, IPPROTO_TCP, 80);
		delete(v6, IPPROTO_UDP, 80);
	}
}

/* The same address and port for pods and for clients outside: two services, each with its own backends and flags. */
static void both_scopes_are_apart(void **state)
{
	struct dp_backend backends[3], *found;
	struct dp_service service = { .port = 80, .protocol = IPPROTO_UDP, .backends = backends };
	size_t counted[2], listed, blocks, count;
	struct err err = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		service.ip = ip(vips[v6]);
		for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
			backends[i] = (struct dp_backend){ ip_add(ip(first_backends[v6]), i), 8080 };
		for (int out = 0; out < 2; out++) {
			service.external = service.local = out;
			service.backend_count = out ? 1 : 3;
			assert_ok(dp_service_put(services, &service, NULL, &err));
		}
		reopen();
		for (int out = 0; out < 2; out++) {
			external = out;
			service.external = out;
			assert_ok(dp_service_backends(&service, &found, &count, &err));
			assert_int_equal(count, out ? 1 : 3);
			free(found);
			assert_true(dp_service_has_backend(&service, backend_of(v6, IPPROTO_UDP, 0)));
			external = false;
			assert_int_equal(dp_service_has_backend(&service, backend_of(v6, IPPROTO_UDP, 2)), !out);
		}
		dp_services_count(services, counted, &listed, &blocks);
		assert_int_equal(counted[v6], 3);
		assert_int_equal(listed, 4);
		/* The host's sockets do not use external ones. */
		external = true;
		dp_services_udp_changed(services);
		delete(v6, IPPROTO_UDP, 80);
		assert_false(dp_services_udp_changed(services));
		assert_int_equal(elements(service_maps[true][v6]), 0);
		external = false;
		delete(v6, IPPROTO_UDP, 80);
		assert_true(dp_services_udp_changed(services));
		assert_int_equal(elements(service_maps[false][v6]) + elements(maps[v6]), 0);
	}
}

/* --- tables --- */

static const uint8_t cluster_key[SIPHASH_KEY_SIZE] = { 7 };

static void set_key(uint8_t first, int changed)
{
	const uint8_t key[SIPHASH_KEY_SIZE] = { first };
	struct err err = { 0 };

	assert_int_equal(dp_services_set_key(services, key, &err), changed);
}

/* A service of three backends with a table of this size. */
static void put_tabled(int v6, uint16_t port, uint32_t size)
{
	struct dp_backend backends[3];
	struct dp_service service = { ip(vips[v6]), port, IPPROTO_TCP, 0, backends, 3, true, .table_size = size };
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		backends[i] = (struct dp_backend){ ip_add(ip(first_backends[v6]), i), 8080 };
	assert_ok(dp_service_put(services, &service, NULL, &err));
}

static void delete_tabled(int v6, uint16_t port)
{
	external = true;
	delete(v6, IPPROTO_TCP, port);
}

static struct wr_service stored(int v6, uint16_t port)
{
	_cleanup_fd_ int fd = map_fd(service_maps[true][v6]);
	struct wr_service4_key key4 = { .port = htons(port), .l4_proto = IPPROTO_TCP };
	struct wr_service6_key key6 = { .port = htons(port), .l4_proto = IPPROTO_TCP };
	struct wr_service service;

	memcpy(&key4.addr, ip(vips[0]).bytes, sizeof(key4.addr));
	memcpy(&key6.addr, ip(vips[1]).bytes, sizeof(key6.addr));
	assert_int_equal(bpf_map_lookup_elem(fd, v6 ? (void *)&key6 : (void *)&key4, &service), 0);
	return service;
}

/* Every element is one of the list's backends, and each backend has its share; beyond the end there is none. */
static void check_table(int v6, uint16_t port, uint32_t size)
{
	_cleanup_fd_ int fd = map_fd("service_tables"), members = map_fd("service_members");
	const struct wr_service service = stored(v6, port);
	unsigned shares[3] = { 0 };
	struct wr_table_block block;
	uint32_t index;

	assert_int_equal(service.table_size, size);
	for (uint32_t i = 0; i < maglev_blocks(size) * WR_TABLE_BLOCK; i++) {
		const uint32_t *id = &block.backends[i % WR_TABLE_BLOCK];

		if (i % WR_TABLE_BLOCK == 0)
			assert_int_equal(bpf_map_lookup_elem(fd, &(struct wr_table_key){ service.table, i / WR_TABLE_BLOCK },
							     &block), 0);
		if (i >= size) {
			assert_int_equal(*id, 0);
			continue;
		}
		assert_int_equal(bpf_map_lookup_elem(members, &(struct wr_member_key){ service.list, *id }, &index), 0);
		shares[index]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(shares); i++)
		assert_in_range(shares[i], size / 3, size / 3 + 1);
}

static void tables_are_shared_and_deleted(void **state)
{
	const size_t small = maglev_blocks(1021), large = maglev_blocks(4093);
	size_t backends[2], listed, blocks;

	set_key(7, 1);
	set_key(7, 0);
	for (int v6 = 0; v6 < 2; v6++) {
		put_tabled(v6, 1, 1021);
		put_tabled(v6, 2, 1021);
		put_tabled(v6, 3, 0);
		assert_int_equal(elements("service_tables"), small);
		assert_int_equal(stored(v6, 1).table, stored(v6, 2).table);
		assert_int_equal(stored(v6, 1).list, stored(v6, 3).list);
		assert_int_equal(stored(v6, 3).table, 0);
		check_table(v6, 1, 1021);
		put_tabled(v6, 2, 4093); /* another option: both sizes for a moment */
		assert_int_equal(elements("service_tables"), small + large);
		check_table(v6, 1, 1021);
		check_table(v6, 2, 4093);
		put_tabled(v6, 1, 0);
		assert_int_equal(elements("service_tables"), large);
		dp_services_count(services, backends, &listed, &blocks);
		assert_int_equal(blocks, large);
		for (uint16_t port = 1; port <= 3; port++)
			delete_tabled(v6, port);
		assert_int_equal(elements("service_tables") + elements("service_lists"), 0);
	}
}

/* What an agent that restarts finds in the maps it keeps, unless it is damaged or made with another key. */
static void tables_survive_a_restart(void **state)
{
	_cleanup_fd_ int fd = map_fd("service_tables");
	struct wr_table_block block;
	uint32_t table;

	put_tabled(0, 1, 1021); /* no key yet */
	assert_int_equal(stored(0, 1).table, 0);
	set_key(7, 1);
	put_tabled(0, 1, 1021);
	table = stored(0, 1).table;
	reopen();
	put_tabled(0, 1, 1021); /* under the key in the maps */
	put_tabled(0, 2, 1021);
	set_key(7, 0);
	assert_int_equal(stored(0, 1).table, table);
	assert_int_equal(stored(0, 2).table, table);
	assert_int_equal(elements("service_tables"), maglev_blocks(1021));
	/* A killed writer's table and block. */
	memset(&block, 0, sizeof(block));
	assert_int_equal(bpf_map_update_elem(fd, &(struct wr_table_key){ table + 100, 0 }, &block, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(fd, &(struct wr_table_key){ table, 8 }, &block, BPF_ANY), 0);
	reopen();
	assert_int_equal(elements("service_tables"), maglev_blocks(1021));
	/* Damaged. */
	assert_int_equal(bpf_map_update_elem(fd, &(struct wr_table_key){ table, 3 }, &block, BPF_ANY), 0);
	reopen();
	put_tabled(0, 1, 1021);
	put_tabled(0, 2, 1021);
	assert_int_not_equal(stored(0, 1).table, table);
	check_table(0, 2, 1021);
	assert_int_equal(elements("service_tables"), maglev_blocks(1021));
	/* Another key. */
	table = stored(0, 1).table;
	set_key(8, 1);
	put_tabled(0, 1, 1021);
	put_tabled(0, 2, 1021);
	assert_int_not_equal(stored(0, 1).table, table);
	check_table(0, 1, 1021);
	assert_int_equal(elements("service_tables"), maglev_blocks(1021));
	delete_tabled(0, 1);
	delete_tabled(0, 2);
	assert_int_equal(elements("service_tables"), 0);
}

/* Without room for its table a service selects at random, and has one as soon as there is room. */
static void a_table_without_room_is_not_written(void **state)
{
	_cleanup_fd_ int fd = map_fd("service_tables");
	struct wr_table_key filler = { .table = UINT32_MAX };
	struct dp_backend backends[2] = { { ip(first_backends[0]), 1 }, { ip(first_backends[0]), 2 } };
	const struct dp_service service = { ip(vips[0]), 80, IPPROTO_TCP, 0, backends, 2, true, .table_size = 1021 };
	struct wr_table_block block = { 0 };
	struct err err = { 0 };

	assert_int_equal(dp_services_set_key(services, cluster_key, &err), 1);
	while (bpf_map_update_elem(fd, &filler, &block, BPF_NOEXIST) == 0)
		filler.block++;
	assert_int_equal(filler.block, WR_MAX_TABLE_BLOCKS);
	bpf_map_delete_elem(fd, &(struct wr_table_key){ filler.table, 0 });
	assert_int_equal(dp_service_put(services, &service, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "service_tables is full"));
	assert_int_equal(stored(0, 80).table, 0);
	assert_int_equal(stored(0, 80).backends, 2);
	assert_int_equal(elements("service_tables"), WR_MAX_TABLE_BLOCKS - 1); /* no part of it stays */
	for (; filler.block; filler.block--)
		bpf_map_delete_elem(fd, &(struct wr_table_key){ filler.table, filler.block - 1 });
	assert_ok(dp_service_put(services, &service, NULL, &err));
	assert_int_equal(stored(0, 80).table_size, 1021);
}

/* --- source ranges, ClusterIPs, ServiceCIDRs --- */

static void write_element(const char *map, const void *key)
{
	_cleanup_fd_ int fd = map_fd(map);

	assert_int_equal(bpf_map_update_elem(fd, key, &(uint32_t){ 1 }, BPF_ANY), 0);
}

static void source_ranges_are_shared_and_go(void **state)
{
	static const char *const range_maps[] = { "source_ranges4", "source_ranges6" };
	struct err err = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		put_restricted(v6, 80, 2);
		put_restricted(v6, 81, 2);
		assert_int_equal(elements(range_maps[v6]), 2);
		put_restricted(v6, 81, 3);
		assert_int_equal(elements(range_maps[v6]), 5);
		put_restricted(v6, 82, 0);
		assert_int_equal(ranges_of(v6, 80), 2);
		assert_int_equal(ranges_of(v6, 81), 3);
		assert_int_equal(ranges_of(v6, 82), 0);
		/* The next writer shares what is there, and removes what no service has. */
		write_element(range_maps[v6], &(struct wr_range6_key){ .prefixlen = WR_RANGE_SET_BITS + 8, .set = 4711 });
		dp_services_close(services);
		assert_ok(dp_services_open(&services, &err));
		assert_int_equal(elements(range_maps[v6]), 5);
		put_restricted(v6, 80, 3);
		assert_int_equal(elements(range_maps[v6]), 3);
		delete(v6, IPPROTO_TCP, 80);
		assert_int_equal(elements(range_maps[v6]), 3);
		delete(v6, IPPROTO_TCP, 82);
		put(v6, IPPROTO_TCP, 1, 8080); /* at port 80, for all */
		assert_int_equal(ranges_of(v6, 80), SIZE_MAX);
		delete(v6, IPPROTO_TCP, 81);
		assert_int_equal(elements(range_maps[v6]), 0);
		delete(v6, IPPROTO_TCP, 80);
	}
}

/* Without room the service has fewer ranges, possibly none: it admits fewer clients. */
static void source_ranges_without_room(void **state)
{
	struct wr_range4_key filler = { .prefixlen = WR_RANGE_SET_BITS + 32, .set = 4711 };
	const struct dp_service service = { .ip = ip(vips[0]), .port = 80, .protocol = IPPROTO_TCP, .restricted = true,
					    .external = external,
					    .ranges = (struct prefix[]){ { ip("10.0.0.0"), 8 }, { ip("192.0.2.0"), 24 } }, .range_count = 2 };
	struct err err = { 0 };

	for (uint32_t n = 0; n < WR_MAX_SOURCE_RANGES - 1; n++) {
		filler.addr.v4 = htonl(0x0b000000 + n);
		write_element("source_ranges4", &filler);
	}
	assert_int_equal(dp_service_put(services, &service, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "source ranges"));
	assert_int_equal(ranges_of(0, 80), 1);
}

static int note_ip(const struct ip *ip, bool complete, void *arg)
{
	*(size_t *)arg += complete ? 100 : 1;
	return 0;
}

static void cluster_ips_and_prefixes(void **state)
{
	struct prefix cidrs[3];
	struct err err = { 0 };
	size_t seen = 0;

	for (int v6 = 0; v6 < 2; v6++) {
		const struct ip own = ip(vips[v6]), other = ip_add(own, 1);

		assert_ok(dp_cluster_ip_put(services, &own, true, &err));
		assert_ok(dp_cluster_ip_put(services, &other, false, &err));
		assert_ok(dp_cluster_ip_put(services, &other, true, &err));
		assert_ok(dp_cluster_ip_put(services, &own, false, &err));
	}
	assert_ok(dp_cluster_ip_each(note_ip, &seen, &err));
	assert_int_equal(seen, 202);
	for (int v6 = 0; v6 < 2; v6++) {
		const struct ip own = ip(vips[v6]);

		assert_ok(dp_cluster_ip_delete(services, &own, &err));
		assert_ok(dp_cluster_ip_delete(services, &own, &err));
	}
	assert_int_equal(elements("cluster_ips4") + elements("cluster_ips6"), 2);
	assert_int_equal(prefix_parse("10.96.0.0/12", &cidrs[0]), 0);
	assert_int_equal(prefix_parse("10.96.0.0/16", &cidrs[1]), 0);
	assert_int_equal(prefix_parse("fd00:96::/108", &cidrs[2]), 0);
	for (size_t count = 4; count-- > 0;) {
		assert_ok(dp_service_cidrs_set(services, cidrs, count, &err));
		assert_int_equal(elements("service_cidrs4") + elements("service_cidrs6"), count);
	}
}

int main(void)
{
#define TEST(f)                                                                        \
	cmocka_unit_test_setup_teardown(f, services_rig_load, services_rig_unload),    \
		cmocka_unit_test_setup_teardown(f, external_rig_load, services_rig_unload)
	const struct CMUnitTest tests[] = {
		TEST(services_are_put_and_deleted),  TEST(stale_lists_are_removed),  TEST(list_numbers_are_never_reused),
		TEST(a_backend_keeps_its_id),
		TEST(nonsense_is_refused), TEST(a_full_map_is_an_error), TEST(same_backends_are_one_list),
		TEST(a_list_without_room_is_cut), TEST(listed_as_they_change), TEST(both_scopes_are_apart),
		cmocka_unit_test_setup_teardown(tables_are_shared_and_deleted, services_rig_load, services_rig_unload),
		cmocka_unit_test_setup_teardown(tables_survive_a_restart, services_rig_load, services_rig_unload),
		cmocka_unit_test_setup_teardown(a_table_without_room_is_not_written, services_rig_load, services_rig_unload),
		TEST(source_ranges_are_shared_and_go), TEST(source_ranges_without_room), TEST(cluster_ips_and_prefixes),
	};

	return cmocka_run_group_tests(tests, dp_rig_make, NULL);
}
