/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster_internal.h"

#include <errno.h>
#include <string.h>

#include "abi/abi.h"
#include "attachment.h"
#include "cleanup.h"
#include "gateway.h"
#include "link.h"
#include "netns.h"

struct follow {
	struct nl *nl;
	uint32_t mtu;
	int failed;
	struct err why; /* the first one's */
};

static int set_mtu(struct nl *nl, uint32_t ifindex, uint32_t mtu, struct err *err)
{
	struct nl_batch b = { 0 };

	link_set_mtu(nl, &b, ifindex, mtu);
	return nl_batch_run(nl, &b, err);
}

/* --- the pod's end --- */

static int enter(const struct attachment *a, struct err *err)
{
	_cleanup_fd_ int fd = netns_open(a->netns, err);
	uint64_t dev, inode;
	int ret = fd < 0 ? fd : netns_id(fd, &dev, &inode, err);

	if (ret == 0 && (dev != a->netns_dev || inode != a->netns_inode))
		return err_set(err, ENOENT, "%.200s is another network namespace now", a->netns);
	return ret < 0 ? ret : netns_enter(fd, err);
}

/* Finds the pod's end by the host's end, since the pod may rename it. */
static int set_inside(const struct attachment *a, const struct link_info *host, uint32_t mtu, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct link_info pod = { 0 };
	int ret = enter(a, err);

	if (ret == 0)
		ret = nl_open(&nl, NETLINK_ROUTE, err);
	if (ret == 0)
		ret = link_get(&nl, NULL, host->peer_ifindex, &pod, err);
	if (ret < 0)
		return ret;
	if (strcmp(pod.kind, "veth") != 0 || pod.peer_ifindex != host->ifindex)
		return err_set(err, ENODEV, "its device no longer exists");
	return pod.mtu == mtu ? 0 : set_mtu(&nl, pod.ifindex, mtu, err);
}

/* The sending end's MTU is never the larger one: a veth drops received packets that are larger than its own MTU. */
static int set_both(struct follow *f, const struct attachment *a, const struct link_info *host, struct err *err)
{
	int ret = 0;

	if (host->mtu < f->mtu)
		ret = set_mtu(f->nl, host->ifindex, f->mtu, err);
	if (ret == 0)
		ret = set_inside(a, host, f->mtu, err);
	if (ret == 0 && host->mtu > f->mtu)
		ret = set_mtu(f->nl, host->ifindex, f->mtu, err);
	return ret;
}

/* --- all of them --- */

static void note_failure(struct follow *f, const struct attachment *a, const struct err *err)
{
	const char *name = a->pod_name[0] ? a->pod_name : a->container_id;

	if (!f->failed++)
		err_set(&f->why, err->num, "%.100s%s%.100s: %.250s", a->pod_namespace, a->pod_namespace[0] ? "/" : "",
			name, err->msg);
}

static int follow_one(const struct attachment *a, bool damaged, void *arg)
{
	struct follow *f = arg;
	struct link_info host = { 0 };
	struct err err = { 0 };
	int ret;

	if (damaged || a->mtu || !a->host_ifindex || a->state == ATTACHMENT_DELETING)
		return 0;
	if (a->ip6.family && f->mtu < IP6_MTU_MIN) {
		err_set(&err, EINVAL, "MTU %u is too small for IPv6, which needs %d", f->mtu, IP6_MTU_MIN);
		note_failure(f, a, &err);
		return 0;
	}
	ret = link_get(f->nl, NULL, a->host_ifindex, &host, &err);
	/* The device is gone; its index may be another device's now. */
	if (ret == -ENODEV || (ret == 0 && (host.group != WR_LINK_GROUP || strcmp(host.name, a->host_ifname) != 0)))
		return 0;
	if (ret == 0)
		ret = set_both(f, a, &host, &err);
	if (ret < 0 && !attachment_dead(a))
		note_failure(f, a, &err);
	return 0;
}

static int follow_all(void *arg, struct err *err)
{
	return attachment_each(follow_one, arg, err);
}

int pod_mtu_follow(struct nl *nl, uint32_t mtu, struct err *err)
{
	struct follow f = { .nl = nl, .mtu = mtu };
	int ret = netns_run_in_thread(follow_all, &f, err);

	if (ret == 0 && f.failed)
		*err = f.why;
	return ret < 0 ? ret : f.failed;
}

/* Its routes have an MTU of their own, so that of the device need not be below IPv6's minimum. */
int pod_mtu_gateway(struct nl *nl, uint32_t mtu, struct err *err)
{
	const uint32_t link_mtu = mtu < IP6_MTU_MIN ? IP6_MTU_MIN : mtu;
	struct link_info link;
	int ret = link_get(nl, WARREN_GATEWAY_LINK, 0, &link, err);

	if (ret < 0 || link.mtu == link_mtu)
		return ret;
	ret = set_mtu(nl, link.ifindex, link_mtu, err);
	return ret < 0 ? ret : set_mtu(nl, link.peer_ifindex, link_mtu, err);
}
