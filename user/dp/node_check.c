/* SPDX-License-Identifier: BSD-2-Clause */
#include "node_check.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "array.h"
#include "endpoint.h"
#include "gateway.h"
#include "guard.h"
#include "link.h"
#include "maps.h"
#include "progs.h"
#include "sockets.h"
#include "sysctl.h"
#include "uplink.h"

struct checking {
	struct dp *dp;
	struct nl *nl;
	struct node_check *check;
	struct err *err;
};

static int check_endpoint(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct checking *c = arg;
	unsigned faults;
	int r = dp_endpoint_check(c->dp, c->nl, ifindex, &faults, c->err);

	if (r < 0)
		return r;
	c->check->endpoints++;
	c->check->faulty += faults != 0;
	return 0;
}

/* The uplinks in map nodes, each once: few, even with many nodes. */
struct uplinks {
	uint32_t ifindex[64];
	unsigned count;
};

static int see_uplink(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_node *node = value;
	struct uplinks *uplinks = arg;

	for (unsigned i = 0; i < uplinks->count; i++) {
		if (uplinks->ifindex[i] == node->uplink)
			return 0;
	}
	if (node->uplink && uplinks->count < ARRAY_SIZE(uplinks->ifindex))
		uplinks->ifindex[uplinks->count++] = node->uplink;
	return 0;
}

static int check_uplinks(struct checking *c, struct err *err)
{
	struct uplinks uplinks = { .count = 0 };
	int r = dp_map_each("nodes", see_uplink, &uplinks, err);

	c->check->uplinks = uplinks.count;
	for (unsigned i = 0; i < uplinks.count && r == 0; i++) {
		bool good;

		r = uplink_check(c->nl, uplinks.ifindex[i], TC_INGRESS, WARREN_PROG_FROM_UPLINK, &good, err);
		if (r == 0 && good)
			r = uplink_check(c->nl, uplinks.ifindex[i], TC_EGRESS, WARREN_PROG_TO_UPLINK, &good, err);
		c->check->uplinks_faulty += !good;
	}
	return r;
}

static int check_gateway(struct checking *c, struct err *err)
{
	struct link_info link;
	int r = link_get(c->nl, WARREN_GATEWAY_LINK, 0, &link, err);

	c->check->gateway_link = r == 0 && (link.flags & IFF_UP);
	if (r == 0)
		r = uplink_host_check(c->nl, &link, &c->check->from_host, err);
	return r == -ENODEV ? 0 : r;
}

int node_check(struct node_check *check, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	_cleanup_nl_ struct nl nl = { 0 };
	struct checking checking = { &dp, &nl, check, err };
	struct dp_map_info addresses = { 0 };
	int r;

	*check = (struct node_check){ 0 };
	r = dp_open(&dp, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	check->loaded = true;
	snprintf(check->version, sizeof(check->version), "%.31s", dp.config.version);
	r = guard_check(&dp.config, &check->nft_present, &check->nft_whole, err);
	if (r == 0)
		r = nl_open(&nl, NETLINK_ROUTE, err);
	if (r == 0)
		r = check_gateway(&checking, err);
	if (r == 0)
		r = check_uplinks(&checking, err);
	check->sockets = sockets_are_attached();
	check->forwarding4 = sysctl_get("net/ipv4/ip_forward") == 1;
	check->forwarding6 = sysctl_get("net/ipv6/conf/all/forwarding") != 0; /* a kernel without IPv6 needs none */
	if (r == 0)
		r = dp_map_describe("addr4", &addresses, err);
	if (r < 0)
		return r;
	check->endpoints_max = addresses.max_entries;
	return dp_endpoint_each(&dp, check_endpoint, &checking, err);
}
