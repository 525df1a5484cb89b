/* SPDX-License-Identifier: BSD-2-Clause */
#include "identity.h"

#include "objects.h"

uint64_t identity_compute(const uint8_t key[POLICY_KEY_SIZE], const char *namespace,
			  const struct labels *namespace_labels, const struct labels *labels,
			  const struct named_port *ports, size_t port_count)
{
	struct siphash h;

	siphash_begin(&h, key);
	siphash_string(&h, namespace);
	siphash_number(&h, namespace_labels != NULL);
	if (namespace_labels)
		siphash_labels(&h, namespace_labels);
	siphash_labels(&h, labels);
	siphash_ports(&h, ports, port_count);
	return WR_ID_KIND_POD << WR_ID_KIND_SHIFT | (siphash_end(&h) & ((1ull << WR_ID_KIND_SHIFT) - 1));
}
