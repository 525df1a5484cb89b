/* SPDX-License-Identifier: BSD-2-Clause */
/* Keyed hashes and the identities made of them. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "rig.h"
#include "siphash.h"

static const uint8_t key[POLICY_KEY_SIZE] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

/* The vectors of the reference implementation: bytes 0, 1, 2 ... as text. */
static void siphash_vectors(void **state)
{
	static const struct {
		size_t size;
		uint64_t hash;
	} table[] = {
		{ 0, 0x726fdb47dd0e0e31 },  { 1, 0x74f839c593dc67fd }, { 2, 0x0d6c8009d9a94f5a },
		{ 3, 0x85676696d7fb7e2d },  { 7, 0xab0200f58b01d137 }, { 8, 0x93f5f5799a932462 },
		{ 15, 0xa129ca6149be45e5 },
	};
	uint8_t text[16];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(siphash24(key, text, table[i].size), table[i].hash);
}

/* The hash does not depend on how the text is split. */
static void siphash_in_pieces(void **state)
{
	uint8_t text[40];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 37);
	for (size_t a = 0; a <= sizeof(text); a++) {
		for (size_t b = a; b <= sizeof(text); b++) {
			struct siphash h;

			siphash_begin(&h, key);
			siphash_bytes(&h, text, a);
			siphash_bytes(&h, text + a, b - a);
			siphash_bytes(&h, text + b, sizeof(text) - b);
			assert_int_equal(siphash_end(&h), siphash24(key, text, sizeof(text)));
		}
	}
}

#define LABELS(...)                                                                                                    \
	{                                                                                                              \
		(struct label[]){ __VA_ARGS__ }, sizeof((struct label[]){ __VA_ARGS__ }) / sizeof(struct label)        \
	}

/* Pods that differ in anything that a policy can see have different identities, also where the bytes are the same in a
 * row. */
static void different_pods_differ(void **state)
{
	const struct labels none = { 0 }, env = LABELS({ "env", "prod" }), env2 = LABELS({ "envp", "rod" }),
			    two = LABELS({ "a", "b" }, { "c", "d" }), one = LABELS({ "a", "bcd" }),
			    empty = LABELS({ "env", "" });
	static const struct named_port http = { "http", IPPROTO_TCP, 80 }, https = { "http", IPPROTO_TCP, 81 },
				       udp = { "http", IPPROTO_UDP, 80 }, other = { "web", IPPROTO_TCP, 80 };
	const struct {
		const char *namespace;
		const struct labels *namespace_labels, *labels;
		const struct named_port *port;
	} pods[] = {
		{ "default", NULL, &none, NULL },  { "default", &none, &none, NULL }, { "default", NULL, &env, NULL },
		{ "default", &env, &none, NULL },  { "default", NULL, &env2, NULL },  { "default", NULL, &two, NULL },
		{ "default", NULL, &one, NULL },   { "default", NULL, &empty, NULL }, { "kube", NULL, &env, NULL },
		{ "default", NULL, &env, &http },  { "default", NULL, &env, &https }, { "default", NULL, &env, &udp },
		{ "default", NULL, &env, &other },
	};
	const size_t count = sizeof(pods) / sizeof(pods[0]);
	uint64_t seen[sizeof(pods) / sizeof(pods[0])];

	for (size_t i = 0; i < count; i++) {
		seen[i] = identity_compute(key, pods[i].namespace, pods[i].namespace_labels, pods[i].labels,
					   pods[i].port, pods[i].port != NULL);
		assert_int_equal(seen[i] >> WR_ID_KIND_SHIFT, WR_ID_KIND_POD);
		assert_int_equal(seen[i], identity_compute(key, pods[i].namespace, pods[i].namespace_labels,
							   pods[i].labels, pods[i].port, pods[i].port != NULL));
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(seen[i], seen[j]);
	}
}

static void another_key_gives_other_numbers(void **state)
{
	static const struct labels none;
	uint8_t other[POLICY_KEY_SIZE];

	memcpy(other, key, sizeof(other));
	other[15] ^= 1;
	assert_int_not_equal(identity_compute(key, "a", NULL, &none, NULL, 0),
			     identity_compute(other, "a", NULL, &none, NULL, 0));
}

/* Every node and every version must compute the same numbers, since packets carry them. */
static void identities_are_stable(void **state)
{
	const struct labels labels = LABELS({ "app", "web" }, { "tier", "front" }),
			    namespace_labels = LABELS({ "kubernetes.io/metadata.name", "shop" });
	static const struct named_port http = { "http", IPPROTO_TCP, 8080 };

	assert_int_equal(identity_compute(key, "shop", &namespace_labels, &labels, &http, 1), 0x2085625a1dfdce2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_vectors),	 cmocka_unit_test(siphash_in_pieces),
		cmocka_unit_test(different_pods_differ), cmocka_unit_test(another_key_gives_other_numbers),
		cmocka_unit_test(identities_are_stable),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
