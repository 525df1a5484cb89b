/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUOTA 1024 /* of ct, an endpoint's */

static void maps_clear(void)
{
	static const char *const names[] = { "fragments",
					     "policy",     "identities", "classes",  "cidrs4",   "cidrs6",       "nodes4",
					     "nodes6",     "node_addr4", "node_addr6", "ipcache4", "ipcache6", "node_metrics" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		map_clear(names[i]);
	flows_clear();
	services_clear();
	affinity_forget();
}

void node_reset(unsigned state, bool v6)
{
	struct wr_config cfg = { .abi_version = WR_ABI_VERSION,
				 .mark_pod = MARK_POD,
				 .mark_masquerade = MARK_MASQUERADE,
				 .mark_host_only = MARK_HOST_ONLY,
				 .ct_quota = QUOTA,
				 .ct_entries = 4 * QUOTA,
				 .ct_secret = { 11, 222, 3333, 44444, 555555, 6666666, 7, 88, 999, 1010, 11111, 121212 } };
	const uint32_t zero = 0;

	if (state & S_NO_CONFIG)
		memset(&cfg, 0, sizeof(cfg));
	map_put("config", &zero, &cfg);
	maps_clear();
	nexthops_clear();
	cluster_clear();
	endpoints_reset(state, v6);
	events_drain(NULL);
}

void cluster_reset(unsigned state, bool v6, bool over6)
{
	const unsigned flags =
	    (over6 ? WR_NODE_OVER6 : 0) | (state & S_KEYED ? WR_NODE_KEYED : 0);

	node_reset(state, v6);
	if (state & S_NO_CLUSTER)
		return;
	cluster_put(NODE, POD_A, (state & S_DSCP ? WR_CLUSTER_DSCP : 0) | (state & S_SPORTS ? WR_CLUSTER_SPORTS : 0) |
					 (state & S_KEY_REQUIRED ? WR_CLUSTER_KEY_REQUIRED : 0) |
					 (state & S_KEY_ODD ? WR_CLUSTER_KEY_ODD : 0));
	if (state & S_OTHER_FAMILY)
		cluster_without(over6);
	if (state & S_NO_NODES)
		return;
	if (state & S_SIBLING) {
		node_put_as(SLOT_D, NODE_C, POD_D, flags);
	} else {
		node_put(SLOT_C, flags | (state & S_DIRECT ? WR_NODE_DIRECT : 0));
		node_put(SLOT_D, flags);
	}
	if (state & S_NODE_GONE)
		node_empty(SLOT_C);
	ipcache_put(POD_C2, IDENTITY_C2);
}

/* --- the digest of the maps, which a dry run must not change --- */

static uint64_t digest(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *at = data;

	for (; size; size--, at++)
		sum = (sum ^ *at) * 0x100000001b3ull; /* FNV-1a */
	return sum;
}

static uint64_t digest_map(uint64_t sum, int fd, size_t key_size, size_t value_size)
{
	char key[64], *last = NULL;
	char *value = malloc(value_size);

	for (; !bpf_map_get_next_key(fd, last, key); last = key) {
		assert_int_equal(bpf_map_lookup_elem(fd, key, value), 0);
		sum = digest(digest(sum, key, key_size), value, value_size);
	}
	free(value);
	return sum;
}

static uint64_t digest_array(uint64_t sum, int fd, size_t value_size, uint32_t entries)
{
	uint32_t *keys = calloc(entries, sizeof(*keys)), at, count = entries;
	char *values = calloc(entries, value_size);

	if (bpf_map_lookup_batch(fd, NULL, &at, keys, values, &count, NULL) && errno != ENOENT)
		fail_msg("reading an array: %m");
	assert_int_equal(count, entries);
	sum = digest(sum, values, entries * value_size);
	free(keys);
	free(values);
	return sum;
}

/* Arrays in one go each: element by element they would take most of all tests' time. */
static uint64_t digest_table(uint64_t sum, const char *name, const char *type, size_t key_size, size_t value_size,
			     uint32_t entries)
{
	if (strstr(type, "PERCPU"))
		value_size *= libbpf_num_possible_cpus();
	if (!strncmp(name, "ct_new", 6))
		entries = TEST_CT_SLOTS;
	if (!strcmp(type, "SLOTS") || strstr(type, "ARRAY"))
		return digest_array(sum, map_fd(name), value_size, entries);
	return digest_map(sum, map_fd(name), key_size, value_size);
}

uint64_t maps_digest(bool slots_too)
{
	uint64_t sum = events_drain(NULL);

	for (int d = DEVICE_A; d < DEVICES; d++)
		sum = sum * 31 + flows_counted(d);

#define X(name, TYPE, key, value, entries, flags, text)                                                               \
	if (strcmp(#name, "trace") != 0 && (slots_too || (strcmp(#TYPE, "SLOTS") != 0 && strcmp(#name, "nexthops") != 0)))                                 \
		sum = digest_table(sum, #name, #TYPE, sizeof(key), sizeof(value), entries);
	WARREN_MAPS(X)
#undef X
#define X(name, key, value, first, most, text) sum = digest_map(sum, map_fd(#name), sizeof(key), sizeof(value));
	WARREN_GROWING_MAPS(X)
#undef X
	return sum;
}
