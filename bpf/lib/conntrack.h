/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Conntrack: states and timeouts of an entry. Where entries are stored: lib/ct_window.h, lib/ct_table.h, lib/ct_entry.h. */
#ifndef WARREN_LIB_CONNTRACK_H
#define WARREN_LIB_CONNTRACK_H

#include "lib/ct_clock.h"
#include "lib/ct_key.h"
#include "lib/maps.h"
#include "lib/packet.h"

/* An end of a flow is an endpoint of this node, or is on another node, or neither. */
static __always_inline bool end_is_local(__u32 end)
{
	return (__s32)end > 0;
}

static __always_inline bool end_is_remote(__u32 end)
{
	return end & WR_REMOTE;
}

#define CT_ENDED (WR_CT_FIN_BOTH | WR_CT_RESET)

static __always_inline bool ct_expired(const struct wr_ct *ct, __u32 now)
{
	return (__s32)(ct->expires - now) < 0;
}

/* Whether both ends have sent packets, and the flow is open: a newer flow does not evict it (lib/ct_window.h). */
static __always_inline bool ct_is_established(__u8 l4_proto, __u32 flags)
{
	const __u32 required = l4_proto == IPPROTO_SCTP ? WR_CT_REPLIED : WR_CT_ESTABLISHED;

	return (flags & (required | WR_CT_DENIED)) == required && !wr_ct_is_closed(l4_proto, flags);
}

/* Whether the flow was denied from its first packet, so that no packet can be a reply to it. */
static __always_inline bool ct_is_denied_from_start(__u32 flags)
{
	return (flags & WR_CT_DENIED) && !(flags & (WR_CT_REPLIED | WR_CT_ALLOWED_BEFORE));
}

static __always_inline void ct_count(__u32 stat)
{
	__u64 *n = bpf_map_lookup_elem(&ct_stats, &stat);

	if (n)
		(*n)++;
}

#endif
