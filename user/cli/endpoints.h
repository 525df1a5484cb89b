/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints as tools show them: the map's entry, the pod it belongs to, and the state of its device. */
#ifndef WARREN_ENDPOINTS_H
#define WARREN_ENDPOINTS_H

#include <net/if.h>

#include "cli.h"
#include "nl.h"
#include "pods.h"

struct endpoint {
	uint32_t id; /* ifindex of the host-side device */
	struct wr_endpoint ep;
	char device[IFNAMSIZ]; /* "" if it is gone */
	unsigned faults;       /* set of enum dp_fault */
};

struct endpoints {
	struct dp dp;
	struct nl nl;
	struct pods pods;
	struct endpoint *list; /* by id */
	size_t count;
};
#define ENDPOINTS_NONE                                                                                                 \
	{                                                                                                              \
		.dp = DP_CLOSED                                                                                        \
	}
#define _cleanup_endpoints_ __attribute__((cleanup(endpoints_free)))

int endpoints_load(struct cli *cli, struct endpoints *e);
/* Only the one with this id; -ENOENT. */
int endpoints_load_one(struct cli *cli, struct endpoints *e, uint32_t id);
void endpoints_free(struct endpoints *e);

/* Array of texts. */
json_t *endpoint_faults(const struct endpoint *endpoint);
/* What to do about the first of them. */
const char *endpoint_advice(const struct endpoint *endpoint);

#endif
