/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <string.h>

static const char *const maps[] = { "services4", "services6", "backends4", "backends6", "service_lists", "service_members",
				    "external4", "external6", "service_tables", "cluster_ips4", "cluster_ips6", "service_cidrs4",
				    "service_cidrs6", "source_ranges4", "source_ranges6", "host_ports4", "host_ports6" };
static const uint64_t table_key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };

static uint32_t affinity_seconds, ranges;

static void state_put(uint32_t list)
{
	const struct wr_service_state state = { .list = list, .key = { table_key[0], table_key[1] } };
	const uint32_t zero = 0;

	map_put("service_state", &zero, &state);
}

void services_clear(void)
{
	state_put(0);
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		map_clear(maps[i]);
	affinity_seconds = ranges = 0;
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
	const struct wr_service service = { .list = lists, .backends = count, .affinity_seconds = affinity_seconds,
					    .ranges = ranges };
	struct wr_service4_key key4 = { .port = htons(port), .l4_proto = l4_proto };
	struct wr_service6_key key6 = { .port = htons(port), .l4_proto = l4_proto };

	memcpy(&key4.addr, who_address(WORLD, false), sizeof(key4.addr));
	memcpy(&key6.addr, who_address(WORLD, true), sizeof(key6.addr));
	state_put(lists);
	map_put(maps[v6], v6 ? (void *)&key6 : (void *)&key4, &service);
	map_put(maps[6 + v6], v6 ? (void *)&key6 : (void *)&key4, &service); /* for clients outside the cluster, too */
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

void host_port_put(uint8_t l4_proto, bool v6, enum who who, enum device device)
{
	const struct wr_host_port value = { .ifindex = device_ifindex(device), .port = htons(8080) };
	struct wr_service4_key key4 = { .port = htons(80), .l4_proto = l4_proto };
	struct wr_service6_key key6 = { .port = htons(80), .l4_proto = l4_proto };

	if (who != WHO_DEFAULT) {
		memcpy(&key4.addr, who_address(who, false), sizeof(key4.addr));
		memcpy(&key6.addr, who_address(who, true), sizeof(key6.addr));
	}
	map_put(v6 ? "host_ports6" : "host_ports4", v6 ? (void *)&key6 : (void *)&key4, &value);
}

void service_address_put(bool v6, uint32_t flags)
{
	map_put(v6 ? "cluster_ips6" : "cluster_ips4", who_address(WORLD, v6), &flags);
}

void service_cidr_put(bool v6, enum who who, unsigned len)
{
	struct wr_prefix6 key = { .prefixlen = len };
	const uint32_t one = 1;

	memcpy(&key.addr, who_address(who, v6), v6 ? 16 : 4);
	map_put(v6 ? "service_cidrs6" : "service_cidrs4", &key, &one);
}

void service_restrict(uint8_t l4_proto, bool v6, enum who who, unsigned len)
{
	struct wr_range6_key key = { .prefixlen = WR_RANGE_SET_BITS + len, .set = ++ranges };
	const uint32_t one = 1;

	if (who != WHO_DEFAULT) {
		memcpy(&key.addr, who_address(who, v6), v6 ? 16 : 4);
		map_put(v6 ? "source_ranges6" : "source_ranges4", &key, &one);
	}
	front_put(l4_proto, v6, 80, 1);
	/* The set before is gone. */
	key.set--;
	bpf_map_delete_elem(map_fd(v6 ? "source_ranges6" : "source_ranges4"), &key);
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

/* --- tables --- */

static uint64_t rotated(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1], v[2] += v[3];
	v[1] = rotated(v[1], 13) ^ v[0], v[3] = rotated(v[3], 16) ^ v[2];
	v[0] = rotated(v[0], 32);
	v[2] += v[1], v[0] += v[3];
	v[1] = rotated(v[1], 17) ^ v[2], v[3] = rotated(v[3], 21) ^ v[0];
	v[2] = rotated(v[2], 32);
}

/* SipHash-1-3 of whole words, without a length. */
static uint64_t siphash13(const uint64_t *words, size_t count)
{
	uint64_t v[4] = { table_key[0] ^ 0x736f6d6570736575ull, table_key[1] ^ 0x646f72616e646f6dull,
			  table_key[0] ^ 0x6c7967656e657261ull, table_key[1] ^ 0x7465646279746573ull };

	for (size_t i = 0; i < count; i++) {
		v[3] ^= words[i];
		sip_round(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#define TABLE_SIZE 1021
static uint32_t table_element(uint8_t l4_proto, bool v6, enum who client, uint16_t sport)
{
	uint32_t from[4], to[4];
	uint64_t words[5];
	size_t n = 0;

	memcpy(from, who_address(client, v6), v6 ? 16 : 4);
	memcpy(to, who_address(WORLD, v6), v6 ? 16 : 4);
	for (; n < (v6 ? 4 : 1); n++)
		words[n] = (uint64_t)to[n] << 32 | from[n];
	words[n++] = (uint64_t)(v6 << 8 | l4_proto) << 32 | (uint32_t)htons(sport) << 16 | htons(80);
	return (uint32_t)((siphash13(words, n) >> 32) * TABLE_SIZE >> 32);
}

void service_put_table(uint8_t l4_proto, bool v6, enum who client, uint16_t sport, bool affine, bool whole)
{
	struct wr_service service = { .backends = 2, .affinity_seconds = affine ? 60 : 0, .table_size = TABLE_SIZE,
				      .flags = WR_SERVICE_MOVES };
	const uint32_t special = table_element(l4_proto, v6, client, affine ? 0 : sport);
	struct wr_service4_key key4 = { .port = htons(80), .l4_proto = l4_proto };
	struct wr_service6_key key6 = { .port = htons(80), .l4_proto = l4_proto };
	struct wr_table_block block;
	uint32_t id[2];

	services_clear();
	lists++;
	service.list = service.table = lists;
	for (uint32_t n = 0; n < 2; n++) {
		backend_put(n, l4_proto, v6, n && whole ? POD_C : POD_B, whole ? 8080 : 8080 + n);
		assert_int_equal(bpf_map_lookup_elem(map_fd("service_lists"), &(struct wr_list_key){ lists, n }, &id[n]), 0);
	}
	for (uint32_t n = 0; n < TABLE_SIZE && whole; n++) {
		block.backends[n % WR_TABLE_BLOCK] = id[n == special];
		if (n % WR_TABLE_BLOCK == WR_TABLE_BLOCK - 1 || n == TABLE_SIZE - 1)
			map_put("service_tables", &(struct wr_table_key){ lists, n / WR_TABLE_BLOCK }, &block);
	}
	memcpy(&key4.addr, who_address(WORLD, false), sizeof(key4.addr));
	memcpy(&key6.addr, who_address(WORLD, true), sizeof(key6.addr));
	state_put(lists);
	map_put(maps[6 + v6], v6 ? (void *)&key6 : (void *)&key4, &service);
}

void service_put_moving(uint8_t l4_proto, bool v6, enum who backend)
{
	struct wr_service4_key key4 = { .port = htons(80), .l4_proto = l4_proto };
	struct wr_service6_key key6 = { .port = htons(80), .l4_proto = l4_proto };
	const void *key = v6 ? (void *)&key6 : (void *)&key4;
	struct wr_service service;

	service_put(l4_proto, v6, (enum who[]){ backend, WHO_DEFAULT });
	memcpy(&key4.addr, who_address(WORLD, false), sizeof(key4.addr));
	memcpy(&key6.addr, who_address(WORLD, true), sizeof(key6.addr));
	assert_int_equal(bpf_map_lookup_elem(map_fd(maps[6 + v6]), key, &service), 0);
	service.flags |= WR_SERVICE_MOVES;
	map_put(maps[6 + v6], key, &service);
}

void service_put_too(uint8_t l4_proto, bool v6, unsigned port)
{
	front_put(l4_proto, v6, port, 1);
}
