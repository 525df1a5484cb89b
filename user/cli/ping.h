/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP echo to many addresses at once, over one raw socket of each family. */
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
	uint32_t sent, received; /* each answer once, and only those in time */
	uint64_t min_ns, max_ns, sum_ns;
	int error; /* of the last one that could not be sent, or that came back as an ICMP error; 0: none */
};

struct ping {
	struct ip source[2]; /* to send from: [0] IPv4, [1] IPv6; family 0: there are no targets of that family */
	uint32_t count;	     /* to each target, 1 to PING_COUNT_MAX */
	uint64_t interval_ns; /* from one round to the next */
	uint64_t timeout_ns;  /* an answer that takes longer is none */
	struct ping_target *targets;
	size_t target_count;
};

/* Returns when all have answered or the last one's time is over. -EADDRNOTAVAIL: a source is not this host's. */
int ping_run(struct ping *ping, struct err *err);

#endif
