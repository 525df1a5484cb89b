/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel objects of one attachment: veth pair, endpoint in the data plane, addresses, routes, neighbours. */
#ifndef WARREN_CNI_VETH_H
#define WARREN_CNI_VETH_H

#include "attachment.h"
#include "conf.h"
#include "endpoint.h"
#include "ipam.h"
#include "nl.h"

/* --- a pod's network namespace, entered once to open sockets in it --- */

struct pod_netns {
	int fd, self; /* the pod's, and our own, to which every function returns */
	uint64_t dev, inode; /* of the pod's */
	struct nl nl, ethtool; /* NETLINK_ROUTE, NETLINK_GENERIC */
};
#define POD_NETNS_CLOSED { .fd = -1, .self = -1 }

/*
 * Opens both at once, or first the namespace, without entering it, and then the sockets. Call pod_netns_close() also
 * after a failure. If the path cannot be opened, n->fd is < 0 and the error has its code.
 */
int pod_netns_open(struct pod_netns *n, const char *path, struct err *err);
int pod_netns_find(struct pod_netns *n, const char *path, struct err *err);
int pod_netns_open_sockets(struct pod_netns *n, struct err *err);
void pod_netns_close(struct pod_netns *n);
#define _cleanup_pod_netns_ __attribute__((cleanup(pod_netns_close)))

/* Runs fn in it. */
int pod_netns_run(const struct pod_netns *n, int (*fn)(void *arg, struct err *err), void *arg, struct err *err);

/* --- its kernel objects --- */

extern const uint8_t veth_host_mac[6]; /* WR_HOST_MAC */

/* The gateway address of every pod in that family. */
struct ip veth_gateway(int family);

/* An attachment that ADD is setting up. */
struct veth_setup {
	struct attachment *a;
	const struct leases *leases;
	struct nl *host;       /* NETLINK_ROUTE in the node's netns */
	struct pod_netns pod;
	uint32_t mtu;
	uint32_t pod_ifindex;
};

/* A unique host-side name: "wr" and 13 random characters. A random MAC address if a->mac is zero. */
int veth_names(struct attachment *a, struct err *err);

/*
 * Chooses the link's MTU: that of the network configuration, else the agent's, else that of the default route's device.
 * -EINVAL with CNI_ERR_CONFIG if it is too small for the pod's address families.
 */
int veth_mtu(struct veth_setup *v, const struct wr_config *config, struct err *err);
/* Makes the veth pair and stores its index in v->a. -EEXIST: the pod has a device of that name. */
int veth_create(struct veth_setup *v, struct err *err);
/*
 * Called once the link is in the record: sets the present MTU of the node's pods. After that the agent finds the link
 * by its record, and sets a new MTU itself.
 */
int veth_mtu_refresh(struct veth_setup *v, struct err *err);
int veth_add_endpoint(struct veth_setup *v, struct dp *dp, const struct conf *conf, struct err *err);
int veth_setup_host_side(struct veth_setup *v, struct dp *dp, struct err *err);
int veth_setup_pod_side(struct veth_setup *v, struct err *err);
#define VETH_READY_MS 20000 /* a busy machine takes seconds */
/* Waits until the pod's address and its gateway's receive packets: up to VETH_READY_MS for each. */
int veth_wait_ready(struct veth_setup *v, struct err *err);

/* Undo by the record alone. Absent objects are no error. */
int veth_delete_endpoint(const struct attachment *a, struct err *err);
int veth_delete_routes(struct nl *host, const struct attachment *a, struct err *err);
int veth_delete(struct nl *host, const struct attachment *a, struct err *err);

/*
 * Without a valid record: if device `ifname` in the netns is the pod's end of one of our veth pairs, stores the host
 * end in a->host_ifname and a->host_ifindex. -ENODEV if not.
 */
int veth_recover(struct nl *host, const char *netns, const char *ifname, struct attachment *a, struct err *err);

#endif
