/* SPDX-License-Identifier: BSD-2-Clause */
/* Any standard input: it is refused with a code, or the result is within the parser's limits. */
#include <stdlib.h>

#include "cni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_set(const struct range_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct ip_range *range = &set->ranges[i];

		if (ip_cmp(&range->first, &range->last) > 0 || !prefix_contains(&range->subnet, &range->first) ||
		    !prefix_contains(&range->subnet, &range->last))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct conf conf;

	if (conf_parse((const char *)data, size, &conf, &err) == 0) {
		if (!name_valid(conf.name) || (!conf.ipam_type && !conf.ipam.set4.count && !conf.ipam.set6.count))
			abort();
		check_set(&conf.ipam.set4);
		check_set(&conf.ipam.set6);
	} else if (!err.code || !err.msg[0]) {
		abort();
	}
	conf_free(&conf);
	return 0;
}
