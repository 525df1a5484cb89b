/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's side of one attachment: the veth pair, its endpoint in the data plane, addresses, routes, neighbours. */
#ifndef WARREN_CNI_WIRE_H
#define WARREN_CNI_WIRE_H

#include "attachment.h"
#include "conf.h"
#include "endpoint.h"
#include "ipam.h"
#include "nl.h"
#include "pod_netns.h"

extern const uint8_t wire_host_mac[6]; /* WR_HOST_MAC */

/* The gateway of every pod, in that family. */
struct ip wire_gateway(int family);

/* One attachment while ADD makes it. */
struct wire {
	struct attachment *a;
	const struct leases *leases;
	struct nl *host;       /* NETLINK_ROUTE in the node's netns */
	struct pod_netns pod;
	uint32_t mtu;
	uint32_t pod_ifindex;
};

/* A host-side name that was never used before: "wr" and 13 random characters. A random MAC address if `mac` is zero. */
int wire_names(struct attachment *a, struct err *err);

/*
 * Chooses the link's MTU: what the network's configuration says, else what the agent has set, else that of the device
 * of the default route. One that a pod of these addresses cannot live with is a fault of the configuration.
 */
int wire_mtu(struct wire *w, const struct wr_config *config, struct err *err);
/* Makes the veth pair, and notes its index in w->a. -EEXIST: the pod has such a device. */
int wire_link(struct wire *w, struct err *err);
/*
 * Once the link is on record: gives it the MTU that the node's pods have by now. What the agent changes from here on
 * it changes by the record.
 */
int wire_mtu_again(struct wire *w, struct err *err);
int wire_endpoint(struct wire *w, struct dp *dp, const struct conf *conf, struct err *err);
int wire_host_side(struct wire *w, struct dp *dp, struct err *err);
int wire_pod_side(struct wire *w, struct err *err);
#define WIRE_SETTLE_MS 20000 /* a busy machine takes seconds */
/* Waits until the pod's addresses and its gateway's take packets in: WIRE_SETTLE_MS for each. */
int wire_settle(struct wire *w, struct err *err);

/* Undoing needs nothing but the record. What is gone already is no error. */
int unwire_endpoint(const struct attachment *a, struct err *err);
int unwire_routes(struct nl *host, const struct attachment *a, struct err *err);
int unwire_link(struct nl *host, const struct attachment *a, struct err *err);

/*
 * Without a (legible) record: whether device `ifname` of the netns is the pod's side of one of ours, and if so its host
 * side into a->host_ifname and a->host_ifindex. -ENODEV if not.
 */
int wire_recover(struct nl *host, const char *netns, const char *ifname, struct attachment *a, struct err *err);

#endif
