/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints: a pod's entries in the maps, its addresses, and the programs on its host-side device. */
#ifndef WARREN_ENDPOINT_H
#define WARREN_ENDPOINT_H

#include <stdint.h>

#include "abi/maps.h"
#include "err.h"
#include "link.h"

/* An open data plane: fds of the pinned maps and programs that the plugin and the CLI use. */
struct dp {
	int endpoints, addr4, addr6, addr_cache, ct_windows;
	int from_pod, to_pod; /* programs */
	struct wr_config config;
};
#define DP_CLOSED { -1, -1, -1, -1, -1, -1, -1, { 0 } }

/* -ENOENT (err set, with a hint) if nothing is loaded, -EPROTO if the pinned objects have another ABI version. */
int dp_open(struct dp *dp, struct err *err);
void dp_close(struct dp *dp);
#define _cleanup_dp_ __attribute__((cleanup(dp_close)))

/*
 * Writes the endpoint of ep->ifindex and its addresses; allocates its conntrack window. -EEXIST: an address belongs to
 * another endpoint. -ENOSPC: a map is full. On failure nothing of the endpoint stays in the maps.
 */
int dp_endpoint_put(struct dp *dp, const struct wr_endpoint *ep, struct err *err);
/* Deletes the endpoint and those of its addresses that still refer to it. An absent endpoint is no error. */
int dp_endpoint_delete(struct dp *dp, uint32_t ifindex, struct err *err);
int dp_endpoint_get(struct dp *dp, uint32_t ifindex, struct wr_endpoint *ep, struct err *err); /* -ENOENT */
int dp_endpoint_each(struct dp *dp, int (*fn)(uint32_t ifindex, const struct wr_endpoint *ep, void *arg), void *arg,
		     struct err *err);

/* Attaches from_pod and to_pod to a pod's host-side device (or replaces them, without a gap). Appends to a batch. */
void dp_attach(struct dp *dp, struct nl *nl, struct nl_batch *b, uint32_t ifindex);

enum dp_fault {
	DP_FAULT_NONE = 0,
	DP_FAULT_NO_DEVICE = 1 << 0,     /* the endpoint's device is gone */
	DP_FAULT_NO_FROM_POD = 1 << 1,   /* from_pod is not attached, or was replaced by another program */
	DP_FAULT_NO_TO_POD = 1 << 2,
	DP_FAULT_OTHER_TCX = 1 << 3,   /* a tcx program runs before ours */
	DP_FAULT_OTHER_XDP = 1 << 4,   /* an XDP program runs before ours */
};
/* Checks an endpoint's device; *faults is a set of enum dp_fault. */
int dp_endpoint_check(struct dp *dp, struct nl *nl, uint32_t ifindex, unsigned *faults, struct err *err);
const char *dp_fault_text(enum dp_fault fault); /* of one bit */

#endif
