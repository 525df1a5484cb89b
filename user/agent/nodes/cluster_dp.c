/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster_internal.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "announce.h"
#include "array.h"
#include "cleanup.h"
#include "config.h"
#include "gateway.h"
#include "ip.h"
#include "maps.h"
#include "uplink.h"

struct cluster_kernel {
	struct dp_nodes *nodes;
	struct nl nl;
	struct nexthop_monitor watch;
};

/* --- maps --- */

static int node_put(void *arg, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err)
{
	struct cluster_kernel *k = arg;

	return dp_node_put(k->nodes, slot, node, other, err);
}

static int node_delete(void *arg, uint32_t slot, struct err *err)
{
	struct cluster_kernel *k = arg;

	return dp_node_delete(k->nodes, slot, err);
}

struct each_node {
	int (*fn)(uint32_t slot, const struct dp_node *node, void *arg);
	void *arg;
};

static int on_node(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg)
{
	const struct each_node *each = arg;

	return each->fn(slot, node, each->arg);
}

static int node_each(void *arg, int (*fn)(uint32_t slot, const struct dp_node *node, void *fn_arg), void *fn_arg,
		     struct err *err)
{
	return dp_node_each(on_node, &(struct each_node){ fn, fn_arg }, err);
}

static int cluster_get(void *arg, struct wr_cluster *cluster, struct err *err)
{
	return dp_cluster_get(cluster, err);
}

static int cluster_set(void *arg, const struct wr_cluster *cluster, struct err *err)
{
	struct cluster_kernel *k = arg;

	return dp_cluster_set(k->nodes, cluster, err);
}

static int commit(void *arg, struct err *err)
{
	struct cluster_kernel *k = arg;

	return dp_nodes_commit(k->nodes, err);
}

static int ipcache_put(void *arg, const struct ip *ip, uint64_t identity, struct err *err)
{
	struct cluster_kernel *k = arg;

	return dp_ipcache_put(k->nodes, ip, identity, err);
}

static int ipcache_each(void *arg, int (*fn)(const struct ip *ip, uint64_t identity, void *fn_arg), void *fn_arg,
			struct err *err)
{
	return dp_ipcache_each(fn, fn_arg, err);
}

const struct ipcache_ops ipcache_kernel_ops = { ipcache_put, ipcache_each, commit };

/* --- the node --- */

static int uplink_attach(void *arg, uint32_t ifindex, struct err *err)
{
	return dp_uplink_attach(ifindex, err);
}

static int uplink_detach(void *arg, uint32_t ifindex, struct err *err)
{
	return dp_uplink_detach(ifindex, err);
}

static int uplink_xdp(void *arg, uint32_t ifindex, enum dp_xdp_mode mode, struct err *err)
{
	return dp_xdp_attach(ifindex, mode, NULL, err);
}

static int uplink_each(void *arg, int (*fn)(uint32_t ifindex, void *fn_arg), void *fn_arg, struct err *err)
{
	return dp_uplink_each(fn, fn_arg, err);
}

static int tunnel_port(void *arg, uint16_t port, struct err *err)
{
	return dp_tunnel_port_set(port, err);
}

static int pod_mtu(void *arg, uint16_t mtu, struct err *err)
{
	return dp_pod_mtu_set(mtu, err);
}

static int pods_follow(void *arg, uint16_t mtu, struct err *err)
{
	struct cluster_kernel *k = arg;
	int ret = pod_mtu_gateway(&k->nl, mtu, err);

	return ret < 0 ? ret : pod_mtu_follow(&k->nl, mtu, err);
}

static int gateway_link(void *arg, uint32_t *ifindex, struct err *err)
{
	return node_gateway_ifindex(ifindex, err);
}

static int gateway_add(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
		       struct err *err)
{
	struct cluster_kernel *k = arg;
	struct nl_batch b = { 0 };

	node_gateway_add(&k->nl, &b, ifindex, cidr, gateway);
	return nl_batch_run(&k->nl, &b, err);
}

static int in_cidr4(const void *key, const void *value, int cpus, void *arg)
{
	const struct ip ip = ip_from(AF_INET, key);

	return prefix_contains(arg, &ip);
}

static int in_cidr6(const void *key, const void *value, int cpus, void *arg)
{
	const struct ip ip = ip_from(AF_INET6, key);

	return prefix_contains(arg, &ip);
}

/* The kernel deletes routes with an address that is their source: while the CIDR has pods, it stays. */
static int gateway_delete(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
			  struct err *err)
{
	const bool v6 = cidr->ip.family == AF_INET6;
	struct cluster_kernel *k = arg;
	struct nl_batch b = { 0 };
	int ret = gateway ? dp_map_each(v6 ? "addr6" : "addr4", v6 ? in_cidr6 : in_cidr4, (void *)cidr, err) : 0;

	if (ret)
		return ret;
	node_gateway_delete(&k->nl, &b, ifindex, cidr, gateway);
	return nl_batch_run(&k->nl, &b, err);
}

/* The name of the device that has the address. */
static bool find_address(const struct ip *ip, char name[IFNAMSIZ])
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *a = all; a && !found; a = a->ifa_next) {
		const struct sockaddr_in6 *sa6 = (const void *)a->ifa_addr;
		const struct sockaddr_in *sa4 = (const void *)a->ifa_addr;

		if (!a->ifa_addr || a->ifa_addr->sa_family != ip->family)
			continue;
		found = ip->family == AF_INET ? memcmp(&sa4->sin_addr, ip->bytes, 4) == 0
					      : memcmp(&sa6->sin6_addr, ip->bytes, 16) == 0;
		if (found)
			snprintf(name, IFNAMSIZ, "%.15s", a->ifa_name);
	}
	freeifaddrs(all);
	return found;
}

static int device(void *arg, const struct ip *ip, struct link_info *info, struct err *err)
{
	struct cluster_kernel *k = arg;
	char name[IFNAMSIZ], text[IP_STRLEN];

	if (!find_address(ip, name))
		return err_set(err, EADDRNOTAVAIL, "no device has the address %s", ip_format(ip, text));
	name[strcspn(name, ":")] = '\0'; /* the label of an alias (ifconfig) */
	return link_get(&k->nl, name, 0, info, err);
}

/* --- routes to other nodes --- */

static int find_nexthop(void *arg, const struct ip *to, struct nexthop *nexthop, struct err *err)
{
	struct cluster_kernel *k = arg;

	return nexthop_find(&k->nl, to, nexthop, err);
}

static int announce(void *arg, const struct ip *ip, const struct link_info *device, struct err *err)
{
	return announce_address(ip, device, err);
}

static int keep_nexthop(void *arg, const struct nexthop *nexthop, bool keep, struct err *err)
{
	struct cluster_kernel *k = arg;
	struct nl_batch b = { 0 };
	int ret;

	if (keep)
		nexthop_keep(&k->nl, &b, nexthop);
	else
		nexthop_forget(&k->nl, &b, nexthop);
	ret = nl_batch_run(&k->nl, &b, err);
	if (keep && !nexthop->resolved)
		announce_solicit(nexthop, NULL); /* otherwise the kernel does so a little later */
	return ret;
}

static int route_put(void *arg, const struct route *route, struct err *err)
{
	struct cluster_kernel *k = arg;
	struct nl_batch b = { 0 };

	route_replace(&k->nl, &b, route);
	return nl_batch_run(&k->nl, &b, err);
}

static int delete_route(void *arg, const struct route *route, struct err *err)
{
	struct cluster_kernel *k = arg;
	struct nl_batch b = { 0 };

	route_delete(&k->nl, &b, route);
	return nl_batch_run(&k->nl, &b, err);
}

static int each_route(void *arg, int (*fn)(const struct route *route, void *fn_arg), void *fn_arg, struct err *err)
{
	struct cluster_kernel *k = arg;
	int ret = route_each(&k->nl, AF_INET, fn, fn_arg, err);

	return ret ? ret : route_each(&k->nl, AF_INET6, fn, fn_arg, err);
}

const struct cluster_ops cluster_kernel_ops = {
	.node_put = node_put,
	.node_delete = node_delete,
	.node_each = node_each,
	.cluster_get = cluster_get,
	.cluster_set = cluster_set,
	.commit = commit,
	.uplink_attach = uplink_attach,
	.uplink_detach = uplink_detach,
	.uplink_xdp = uplink_xdp,
	.uplink_each = uplink_each,
	.tunnel_port = tunnel_port,
	.pod_mtu = pod_mtu,
	.pods_follow = pods_follow,
	.gateway_link = gateway_link,
	.gateway_add = gateway_add,
	.gateway_delete = gateway_delete,
	.device = device,
	.announce = announce,
	.nexthop_find = find_nexthop,
	.nexthop_keep = keep_nexthop,
	.route_put = route_put,
	.route_delete = delete_route,
	.route_each = each_route,
};

/* --- notifications --- */

int cluster_kernel_fd(const struct cluster_kernel *k)
{
	return nexthop_monitor_fd(&k->watch);
}

int cluster_kernel_read(struct cluster_kernel *k, struct nexthop_change *change, struct err *err)
{
	return nexthop_monitor_read(&k->watch, change, err);
}

/* --- this node's addresses --- */

struct own_address {
	struct ip ip;
	uint32_t ifindex;
};

struct own_addresses {
	const struct prefix *cidrs;
	size_t cidr_count;
	struct own_address *v;
	size_t count, room;
};

static int add_own_address(uint32_t ifindex, const struct ip *ip, void *arg)
{
	struct own_addresses *own = arg;

	for (size_t i = 0; i < own->cidr_count && ip_is_reachable(ip); i++) {
		if (prefix_contains(&own->cidrs[i], ip))
			return array_push(own->v, own->room, own->count, (struct own_address){ *ip, ifindex });
	}
	return 0;
}

static int own_address_cmp(const void *pa, const void *pb)
{
	const struct own_address *a = pa, *b = pb;

	return ip_cmp(&a->ip, &b->ip);
}

/* false too if the device is gone. */
static bool is_of_node(struct cluster_kernel *k, uint32_t ifindex)
{
	struct link_info info;

	return link_get(&k->nl, NULL, ifindex, &info, NULL) == 0 && !(info.flags & IFF_LOOPBACK) &&
	       info.group != WR_LINK_GROUP && strcmp(info.name, WARREN_GATEWAY_LINK) != 0;
}

ssize_t cluster_kernel_addresses(struct cluster_kernel *k, const struct prefix *cidrs, size_t cidr_count, struct ip *v,
				 size_t max, struct err *err)
{
	struct own_addresses own = { .cidrs = cidrs, .cidr_count = cidr_count };
	int ret = addr_each_in_use(&k->nl, add_own_address, &own, err);
	const struct ip *last = NULL;
	size_t count = 0;

	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for this node's addresses");
	if (own.count)
		qsort(own.v, own.count, sizeof(*own.v), own_address_cmp);
	for (size_t i = 0; i < own.count && ret == 0; i++) {
		/* An address may be on several devices. */
		if ((last && ip_equal(last, &own.v[i].ip)) || !is_of_node(k, own.v[i].ifindex))
			continue;
		last = &own.v[i].ip;
		if (count < max)
			v[count] = *last;
		count++;
	}
	free(own.v);
	return ret < 0 ? ret : (ssize_t)count;
}

/* --- begin and end --- */

int cluster_kernel_open(struct cluster_kernel **out, struct err *err)
{
	struct cluster_kernel *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(err, ENOMEM, "no memory");
	ret = nl_open(&k->nl, NETLINK_ROUTE, err);
	if (ret == 0)
		ret = nexthop_monitor_open(&k->watch, WR_LINK_GROUP, WR_RTPROT, err);
	if (ret == 0)
		ret = dp_nodes_open(&k->nodes, err);
	if (ret < 0) {
		cluster_kernel_close(k);
		return ret;
	}
	*out = k;
	return 0;
}

void cluster_kernel_close(struct cluster_kernel *k)
{
	if (!k)
		return;
	dp_nodes_close(k->nodes);
	nl_close(&k->nl);
	nexthop_monitor_close(&k->watch);
	free(k);
}
