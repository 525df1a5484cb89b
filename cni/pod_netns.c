/* SPDX-License-Identifier: BSD-2-Clause */
#include "pod_netns.h"

#include <errno.h>

#include "cleanup.h"
#include "error.h"
#include "netns.h"

static int open_sockets(void *arg, struct err *err)
{
	struct pod_netns *n = arg;
	int ret = nl_open(&n->nl, NETLINK_ROUTE, err);

	return ret < 0 ? ret : nl_open(&n->ethtool, NETLINK_GENERIC, err);
}

int pod_netns_find(struct pod_netns *n, const char *path, struct err *err)
{
	n->fd = netns_open(path, err);
	if (n->fd < 0)
		return cni_code(err, n->fd == -ENOENT ? CNI_ERR_UNKNOWN_CONTAINER : CNI_ERR_ENVIRONMENT);
	n->self = netns_open_self(err);
	return n->self < 0 ? n->self : netns_id(n->fd, &n->dev, &n->inode, err);
}

int pod_netns_open_sockets(struct pod_netns *n, struct err *err)
{
	return pod_netns_run(n, open_sockets, n, err);
}

int pod_netns_open(struct pod_netns *n, const char *path, struct err *err)
{
	int ret = pod_netns_find(n, path, err);

	return ret < 0 ? ret : pod_netns_open_sockets(n, err);
}

void pod_netns_close(struct pod_netns *n)
{
	nl_close(&n->nl);
	nl_close(&n->ethtool);
	closep(&n->fd);
	closep(&n->self);
}

int pod_netns_run(const struct pod_netns *n, int (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
	int ret = netns_enter(n->fd, err), back;

	if (ret < 0)
		return ret;
	ret = fn(arg, err);
	back = netns_enter(n->self, ret == 0 ? err : NULL);
	return ret ? ret : back;
}
