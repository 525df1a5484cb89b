/* SPDX-License-Identifier: BSD-2-Clause */
#include "deny_places.h"

#include <stdio.h>

#include "json.h"

const char *deny_place(const struct dp_uplink_progs *progs)
{
	if (progs->xdp != DP_XDP_OFF)
		return progs->xdp == DP_XDP_NATIVE ? "xdp native" : "xdp generic";
	return progs->denies ? "tc" : "nowhere";
}

static int collect_enforcing(const struct dp_uplink_progs *progs, void *arg)
{
	if (progs->denies)
		json_array_append_new(arg, json_pack("{ssss}", "device", progs->name, "by", deny_place(progs)));
	return 0;
}

json_t *deny_places(struct cli *cli)
{
	json_auto_t *array = json_array();

	return dp_uplink_progs_each(collect_enforcing, array, &cli->err) < 0 ? NULL : json_incref(array);
}

const char *deny_places_text(const json_t *enforcing, char buf[DENY_PLACES_TEXT_MAX])
{
	const json_t *one;
	size_t i, used = 0;

	snprintf(buf, DENY_PLACES_TEXT_MAX, "nowhere");
	json_array_foreach(enforcing, i, one) {
		if (used < DENY_PLACES_TEXT_MAX)
			used += (size_t)snprintf(buf + used, DENY_PLACES_TEXT_MAX - used, "%s%s (%s)", i ? ", " : "",
						 json_text_at(one, "device"), json_text_at(one, "by"));
	}
	return buf;
}
