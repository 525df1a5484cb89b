/* SPDX-License-Identifier: BSD-2-Clause */
#include "balancer_quota.h"

#include <stdlib.h>
#include <string.h>

const size_t service_max[QUOTAS] = { SERVICE_PORTS_MAX, SERVICE_PORTS_MAX, SERVICE_BACKENDS_MAX, SERVICE_BACKENDS_MAX };
const size_t namespace_max[QUOTAS] = { NAMESPACE_PORTS_MAX, NAMESPACE_PORTS_MAX, NAMESPACE_BACKENDS_MAX,
				       NAMESPACE_BACKENDS_MAX };
const size_t node_max[QUOTAS] = { NODE_PORTS_MAX, NODE_PORTS_MAX, NODE_BACKENDS_MAX, NODE_BACKENDS_MAX };

static int request_cmp(const void *pa, const void *pb)
{
	const struct quota_request *a = pa, *b = pb;

	return a->requested != b->requested ? (a->requested < b->requested ? -1 : 1) : strcmp(b->name, a->name);
}

void quota_grant(struct quota_request *v, size_t count, size_t room)
{
	if (count)
		qsort(v, count, sizeof(*v), request_cmp);
	for (size_t i = 0; i < count; i++) {
		const size_t part = room / (count - i);

		v[i].granted = v[i].requested < part ? v[i].requested : part;
		room -= v[i].granted;
	}
}
