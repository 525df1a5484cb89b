/* SPDX-License-Identifier: BSD-2-Clause */
/* The map against arrays. */
#include "hashmap.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "rig.h"

static void set_of_keys(void **state)
{
	enum { KEYS = 3000, OPERATIONS = 100000 };
	static const size_t sizes[] = { 4, 8, 12, 16, 24 };
	unsigned seed = 4;

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct hashmap set = { .key_size = sizes[s] };
		static bool naive[KEYS];
		size_t count = 0;

		memset(naive, 0, sizeof(naive));
		assert_false(hashmap_remove(&set, "no such key, in a set without room"));
		for (int i = 0; i < OPERATIONS; i++) {
			int n = rand_r(&seed) % KEYS;
			uint32_t key[6] = { 0, 0, 0, 0, 0, 0 };

			/* Keys differ at the end, as addresses do, and all zeros are a key too. */
			key[sizes[s] / 4 - 1] = (uint32_t)n << 13;
			if (rand_r(&seed) % 2) {
				assert_int_equal(hashmap_put(&set, key, NULL), !naive[n]);
				count += !naive[n];
				naive[n] = true;
			} else {
				assert_int_equal(hashmap_remove(&set, key), naive[n]);
				count -= naive[n];
				naive[n] = false;
			}
			assert_int_equal(set.count, count);
		}
		hashmap_free(&set);
	}
}

static void from_number_to_number(void **state)
{
	enum { KEYS = 200 };
	uint64_t naive[KEYS + 1] = { 0 }, value;
	struct hashmap n = { 0 };
	uint32_t random = 1;
	size_t count;

	u64map_remove(&n, 5);
	assert_false(u64map_get(&n, 5, &value));
	for (int i = 0; i < 100000; i++) {
		/* Neighbours in the table collide: keys whose hashes differ little. */
		uint64_t key, k;

		random = random * 1664525 + 1013904223;
		k = 1 + (random >> 16) % KEYS;
		key = k << 32;
		if (random >> 8 & 1) {
			assert_int_equal(u64map_set(&n, key, (uint64_t)i + 1), 0);
			naive[k] = (uint64_t)i + 1;
		} else {
			u64map_remove(&n, key);
			naive[k] = 0;
		}
		k = 1 + (random >> 4) % KEYS;
		assert_int_equal(u64map_get(&n, k << 32, &value), naive[k] != 0);
		if (naive[k])
			assert_int_equal(value, naive[k]);
	}
	count = 0;
	u64map_for_each(&n, pair) {
		assert_int_equal(naive[pair->key >> 32], pair->value);
		count++;
	}
	assert_int_equal(count, n.count);
	hashmap_free(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_of_keys),
		cmocka_unit_test(from_number_to_number),
	};

	return cmocka_run_group_tests_name("hashmap", tests, NULL, NULL);
}
