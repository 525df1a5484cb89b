/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP echo to many addresses at once, over one raw socket per family. */
#ifndef WARREN_PING_H
#define WARREN_PING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

#define PING_COUNT_MAX 10000

struct ping_target {
	struct ip to;
	uint32_t sent, received; /* without duplicates and replies after the timeout */
	uint64_t min_ns, max_ns, sum_ns;
	int error; /* errno of the last send error or ICMP error; 0: none */
};

struct ping {
	struct ip source[2]; /* [0] IPv4, [1] IPv6; family 0: there are no targets of that family */
	uint32_t count;	     /* requests to each target, 1 to PING_COUNT_MAX */
	uint64_t interval_ns; /* from one round to the next */
	uint64_t timeout_ns;  /* a later reply does not count */
	struct ping_target *targets;
	size_t target_count;
};

/* Returns when all targets have replied or the last request has timed out. -EADDRNOTAVAIL: a source is not local. */
int ping_run(struct ping *ping, struct err *err);

#endif
