/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdp_uplink on devices, and what stands at which uplink. The attachment is a bpf_link, pinned below WARREN_PIN_ROOT
 * with its mode in the name: it outlives every process, node_init() gives it the new program, node_down() detaches it.
 */
#ifndef WARREN_DP_XDP_H
#define WARREN_DP_XDP_H

#include <linux/bpf.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum dp_xdp_mode {
	DP_XDP_OFF,
	/* stays as it is; where it is off: native on a physical device or a TAP, if its driver can; else off */
	DP_XDP_AUTO,
	DP_XDP_NATIVE,  /* in the driver */
	DP_XDP_GENERIC, /* in the stack, with the skb made: for the denylist and bad tunnel packets only */
};
const char *dp_xdp_mode_name(enum dp_xdp_mode mode);
int dp_xdp_mode_parse(const char *text, enum dp_xdp_mode *mode); /* -EINVAL */

/*
 * Puts the device into that mode; *now (may be NULL) says what it is in then: not AUTO. -EBUSY: another XDP program is
 * there (err names it; AUTO leaves it alone). -EOPNOTSUPP: the driver has none. -ENODEV. Takes LOCK_NODE.
 *
 * In native mode it takes tunnels apart too, if the device is a physical one or a TAP, and the from_uplink on it asks
 * for what is said in metadata. So call it after dp_uplink_attach(), and again after a change.
 */
int dp_xdp_attach(uint32_t ifindex, enum dp_xdp_mode mode, enum dp_xdp_mode *now, struct err *err);
/* Call it before from_uplink goes from the device: nobody would know what to do with what xdp_uplink took apart. */
int dp_xdp_keep_tunnels(uint32_t ifindex, struct err *err);

/* For node_init() and node_down(), who hold LOCK_NODE: every attachment gets the pinned program; goes. */
struct nl;
int dp_xdp_refresh(struct nl *nl, struct err *err);
int dp_xdp_detach_all(struct nl *nl, struct err *err);

/* A device with one of our programs for packets from outside, or with somebody else's XDP program. */
struct dp_uplink_progs {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	enum dp_xdp_mode xdp;
	bool decap;        /* xdp_uplink takes tunnels apart */
	bool from_uplink;  /* at tc ingress */
	bool denies;       /* one of the two asks the denylist */
	uint32_t foreign;  /* id of somebody else's XDP program, else 0 */
	char foreign_name[BPF_OBJ_NAME_LEN];
};
int dp_uplink_progs_each(int (*fn)(const struct dp_uplink_progs *progs, void *arg), void *arg, struct err *err);

#endif
