/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: the denylist, and how XDP takes tunnels apart. */
#include <errno.h>

#include "codec_pieces.h"
#include "names.h"

/* --- deny_state --- */

static void deny_state_value(struct out *o, const struct wr_deny_state *state, int cpus)
{
	out_uint(o, "prefixes4", state->prefixes[0]);
	out_uint(o, "prefixes6", state->prefixes[1]);
	out_uint(o, "counter", state->counter);
}
CODEC(deny_state, "0", only_parse, only_key, deny_state_value);

/* --- deny4, deny6 --- */

static void deny_value(struct out *o, const struct wr_deny *deny, int cpus)
{
	out_uint(o, "counter", deny->counter);
}
CODEC(deny4, "IPV4-PREFIX", prefix4_parse, prefix4_key, deny_value);
CODEC(deny6, "IPV6-PREFIX", prefix6_parse, prefix6_key, deny_value);

/* --- deny_hits --- */

static int counter_parse(const char *text, __u32 *key)
{
	return parse_u32(text, UINT32_MAX, key);
}

static void counter_key(struct out *o, const __u32 *key)
{
	out_uint(o, "counter", *key);
}

static void hits_value(struct out *o, const struct wr_deny_hits *hits, int cpus)
{
	struct wr_deny_hits sum = { 0 };

	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.packets += hits[cpu].packets;
		sum.bytes += hits[cpu].bytes;
		if (hits[cpu].packets && (!sum.last || (int32_t)(hits[cpu].last - sum.last) > 0))
			sum.last = hits[cpu].last;
	}
	out_uint(o, "packets", sum.packets);
	out_uint(o, "bytes", sum.bytes);
	out_uint(o, "last_tick", sum.last);
}
CODEC(deny_hits, "COUNTER", counter_parse, counter_key, hits_value);

/* --- uplinks --- */

static const struct flag_name uplink_flags[] = { { WR_UPLINK_DECAP, "decap" }, { 0, NULL } };

static int ifindex_parse(const char *text, __u32 *key)
{
	return parse_u32(text, UINT32_MAX, key);
}

static void ifindex_key(struct out *o, const __u32 *key)
{
	out_uint(o, "ifindex", *key);
}

/* The magic is nobody's business, in listings least of all. */
static void uplinks_value(struct out *o, const struct wr_uplink *uplink, int cpus)
{
	out_strings(o, "flags", flags_json(uplink_flags, uplink->flags), ",");
	out_bool(o, "magic", uplink->magic != 0);
}
CODEC(uplinks, "IFINDEX", ifindex_parse, ifindex_key, uplinks_value);
