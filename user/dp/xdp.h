/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaches xdp_uplink to devices, and lists the programs of all uplinks. The attachment is a bpf_link, pinned below
 * WARREN_PIN_ROOT with its mode in the name: it outlives every process, node_init() updates its program, node_down()
 * detaches it.
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
	/*
	 * keeps the present mode; if that is off: native on a physical device or TAP whose driver supports it, else off
	 */
	DP_XDP_AUTO,
	DP_XDP_NATIVE,  /* in the driver */
	DP_XDP_GENERIC, /* in the stack, after the skb is allocated: for the denylist and bad tunnel packets only */
};
const char *dp_xdp_mode_name(enum dp_xdp_mode mode);
int dp_xdp_mode_parse(const char *text, enum dp_xdp_mode *mode); /* -EINVAL */

/*
 * Sets the device's mode; *now (may be NULL) is the resulting mode, never AUTO. -EBUSY: another XDP program is attached
 * (err names it; AUTO leaves it alone). -EOPNOTSUPP: the driver has no XDP. -ENODEV. Takes LOCK_NODE.
 *
 * In native mode xdp_uplink also decapsulates, if the device is a physical one or a TAP and its from_uplink reads the
 * metadata. So call it after dp_uplink_attach(), and again after a change.
 */
int dp_xdp_attach(uint32_t ifindex, enum dp_xdp_mode mode, enum dp_xdp_mode *now, struct err *err);
/* Stops decapsulation. Call it before from_uplink is detached, which handles the decapsulated packets. */
int dp_xdp_keep_tunnels(uint32_t ifindex, struct err *err);

/* For node_init() and node_down(), which hold LOCK_NODE: every attachment gets the pinned program; is removed. */
struct nl;
int dp_xdp_refresh(struct nl *nl, struct err *err);
int dp_xdp_detach_all(struct nl *nl, struct err *err);

/* A device with one of our uplink programs, or with an XDP program of another owner. */
struct dp_uplink_progs {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	enum dp_xdp_mode xdp;
	bool decap;        /* xdp_uplink decapsulates */
	bool from_uplink;  /* at tc ingress */
	bool denies;       /* one of the two looks up the denylist */
	uint32_t other_id;  /* id of an XDP program of another owner, else 0 */
	char other_name[BPF_OBJ_NAME_LEN];
};
int dp_uplink_progs_each(int (*fn)(const struct dp_uplink_progs *progs, void *arg), void *arg, struct err *err);

#endif
