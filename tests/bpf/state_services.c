/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <string.h>

static const char *const maps[] = { "services4", "services6", "backends4", "backends6", "service_lists", "service_members" };

static uint32_t affinity_seconds;

static void state_put(uint32_t list)
{
	const struct wr_service_state state = { .list = list };
	const uint32_t zero = 0;

	map_put("service_state", &zero, &state);
}

void services_clear(void)
{
	state_put(0);
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		map_clear(maps[i]);
	affinity_seconds = 0;
}

static uint32_t lists = 2, ids = 100;

/* A backend of this list; it keeps its id of the last list. */
static void backend_put(uint32_t index, uint8_t l4_proto, bool v6, enum who who, unsigned port)
{
	static uint32_t known[64][2]; /* by who: the id of port 8080, by family */
	struct wr_backend4 b4 = { .port = htons(port), .l4_proto = l4_proto };
	struct wr_backend6 b6 = { .port = htons(port), .l4_proto = l4_proto };
	const uint32_t id = port == 8080 && known[who][v6] ? known[who][v6] : ++ids;
	const struct wr_member_key member = { .list = lists, .backend = id };
	const struct wr_list_key at = { .list = lists, .index = index };

	if (port == 8080)
		known[who][v6] = id;
	memcpy(&b4.addr, who_address(who, false), sizeof(b4.addr));
	memcpy(&b6.addr, who_address(who, true), sizeof(b6.addr));
	map_put(maps[2 + v6], &id, v6 ? (void *)&b6 : (void *)&b4);
	map_put("service_lists", &at, &id);
	map_put("service_members", &member, &index);
}

static void front_put(uint8_t l4_proto, bool v6, unsigned port, unsigned count)
{
	const struct wr_service service = { .list = lists, .backends = count, .affinity_seconds = affinity_seconds };
	struct wr_service4_key key4 = { .port = htons(port), .l4_proto = l4_proto };
	struct wr_service6_key key6 = { .port = htons(port), .l4_proto = l4_proto };

	memcpy(&key4.addr, who_address(WORLD, false), sizeof(key4.addr));
	memcpy(&key6.addr, who_address(WORLD, true), sizeof(key6.addr));
	state_put(lists);
	map_put(maps[v6], v6 ? (void *)&key6 : (void *)&key4, &service);
}

void service_put(uint8_t l4_proto, bool v6, const enum who backends[])
{
	uint32_t n = 0;

	services_clear();
	lists++;
	for (; backends[n] != WHO_DEFAULT; n++)
		backend_put(n, l4_proto, v6, backends[n], 8080);
	front_put(l4_proto, v6, 80, n);
}

void service_put_affine(uint8_t l4_proto, bool v6, const enum who backends[], uint32_t seconds)
{
	uint32_t n = 0;

	while (backends[n] != WHO_DEFAULT)
		n++;
	service_put(l4_proto, v6, backends);
	affinity_seconds = seconds;
	front_put(l4_proto, v6, 80, n);
}

void affinity_forget(void)
{
	map_clear("affinity");
}

unsigned affinity_remembered(void)
{
	const int fd = map_fd("affinity");
	struct wr_affinities all;
	uint32_t slot, *key = NULL;
	unsigned count = 0;

	for (; bpf_map_get_next_key(fd, key, &slot) == 0; key = &slot) {
		assert_int_equal(bpf_map_lookup_elem(fd, &slot, &all), 0);
		for (size_t i = 0; i < sizeof(all.at) / sizeof(all.at[0]); i++)
			count += all.at[i].client != 0;
	}
	return count;
}

void affinity_age(uint32_t ticks)
{
	const int fd = map_fd("affinity");
	struct wr_affinities all;
	uint32_t slot, *key = NULL;

	while (bpf_map_get_next_key(fd, key, &slot) == 0) {
		assert_int_equal(bpf_map_lookup_elem(fd, &slot, &all), 0);
		for (size_t i = 0; i < sizeof(all.at) / sizeof(all.at[0]); i++)
			all.at[i].used -= ticks;
		map_put("affinity", &slot, &all);
		key = &slot;
	}
}

void service_put_ports(uint8_t l4_proto, bool v6, enum who who, unsigned count)
{
	services_clear();
	lists++;
	for (uint32_t n = 0; n < count; n++)
		backend_put(n, l4_proto, v6, who, 8080 + n);
	front_put(l4_proto, v6, 80, count);
}

void service_put_too(uint8_t l4_proto, bool v6, unsigned port)
{
	front_put(l4_proto, v6, port, 1);
}
