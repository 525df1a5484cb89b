/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * VLAN tags (IEEE 802.1Q). Linux removes all priority tags that a frame begins with, and treats it as one without tags.
 * A frame with two of them is dropped: legitimate senders use one, and the programs look behind one.
 */
#ifndef WARREN_LIB_VLAN_H
#define WARREN_LIB_VLAN_H

#include "lib/packet.h"

#define VLAN_ID 0xfff /* 0: a priority tag, of no VLAN */

struct vlan_tag {
	__be16 tci;
	__be16 proto; /* of what follows */
};

static __always_inline bool is_vlan_type(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

#endif
