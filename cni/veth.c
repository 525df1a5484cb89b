/* SPDX-License-Identifier: BSD-2-Clause */
#include "veth.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "error.h"
#include "ethtool.h"
#include "gateway.h"
#include "ip.h"
#include "maps.h"
#include "netns.h"
#include "str.h"

#define MTU_DEFAULT 1500

/* --- the pod's network namespace --- */

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

/* --- names and addresses --- */

const uint8_t veth_host_mac[6] = WR_HOST_MAC;

struct ip veth_gateway(int family)
{
	static const uint8_t v4[4] = { WR_GATEWAY4 >> 24, WR_GATEWAY4 >> 16 & 0xff, WR_GATEWAY4 >> 8 & 0xff,
				       WR_GATEWAY4 & 0xff };
	static const uint8_t v6[16] = WR_GATEWAY6;

	return family == AF_INET ? ip_from(AF_INET, v4) : ip_from(AF_INET6, v6);
}

int veth_names(struct attachment *a, struct err *err)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	static const uint8_t none[6];
	uint8_t random[13 + 6];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, errno, "no random numbers");
	memcpy(a->host_ifname, "wr", 2);
	for (int i = 0; i < 13; i++)
		a->host_ifname[2 + i] = digits[random[i] & 31];
	a->host_ifname[15] = '\0';
	if (memcmp(a->mac, none, sizeof(none)) == 0) {
		memcpy(a->mac, random + 13, sizeof(a->mac));
		a->mac[0] = (a->mac[0] & 0xfc) | 0x02; /* unicast, locally administered */
	}
	return 0;
}

/* --- the MTU --- */

/*
 * The device of the default route, found by the route to a documentation address (RFC 5737, RFC 3849).
 */
static uint32_t default_ifindex(struct nl *nl, const char *address)
{
	struct route route;
	struct ip ip;

	ip_parse(address, &ip);
	return route_get(nl, &ip, &route, NULL) == 0 ? route.ifindex : 0;
}

static uint32_t default_mtu(struct nl *nl)
{
	uint32_t ifindex = default_ifindex(nl, "192.0.2.1");
	struct link_info link;

	if (!ifindex)
		ifindex = default_ifindex(nl, "2001:db8::1");
	if (!ifindex || link_get(nl, NULL, ifindex, &link, NULL) < 0 || link.mtu > UINT16_MAX)
		return MTU_DEFAULT; /* for example lo, where there is no other route */
	return link.mtu;
}

static int mtu_set(struct veth_setup *v, uint32_t mtu, struct err *err)
{
	if (v->leases->v6.ip.family && mtu < IP6_MTU_MIN) {
		err_set(err, EINVAL, "MTU %u is too small for IPv6, which needs %d", mtu, IP6_MTU_MIN);
		return cni_code(err, CNI_ERR_CONFIG);
	}
	v->mtu = mtu;
	return 0;
}

int veth_mtu(struct veth_setup *v, const struct wr_config *config, struct err *err)
{
	const uint32_t mtu = v->a->mtu ? v->a->mtu : config->pod_mtu;

	return mtu_set(v, mtu ? mtu : default_mtu(v->host), err);
}

int veth_mtu_refresh(struct veth_setup *v, struct err *err)
{
	struct wr_config config;
	struct nl_batch b = { .count = 0 };
	int ret;

	if (v->a->mtu)
		return 0;
	ret = dp_value_get("config", &config, err);
	if (ret < 0 || !config.pod_mtu || config.pod_mtu == v->mtu)
		return ret;
	ret = mtu_set(v, config.pod_mtu, err);
	if (ret < 0)
		return ret;
	link_set_mtu(v->host, &b, v->a->host_ifindex, v->mtu);
	ret = nl_batch_run(v->host, &b, err);
	link_set_mtu(&v->pod.nl, &b, v->pod_ifindex, v->mtu);
	return ret < 0 ? ret : nl_batch_run(&v->pod.nl, &b, err);
}

/* --- the link --- */

int veth_create(struct veth_setup *v, struct err *err)
{
	const struct veth_end host = { v->a->host_ifname, veth_host_mac, v->mtu, WR_LINK_GROUP, -1, false };
	const struct veth_end pod = { v->a->ifname, v->a->mac, v->mtu, 0, v->pod.fd, false };
	struct nl_batch b = { .count = 0 };
	struct link_info link = { 0 };
	int ret;

	veth_add(v->host, &b, &host, &pod);
	ret = nl_batch_run(v->host, &b, err);
	if (ret == -EEXIST) {
		err_set(err, EEXIST, "the pod has a device %s already", v->a->ifname);
		err_hint(err, "it belongs to another attachment: remove it, or use another interface name");
		return cni_code(err, CNI_ERR_EXISTS);
	}
	if (ret == 0)
		ret = link_get(v->host, v->a->host_ifname, 0, &link, err);
	if (ret < 0)
		return ret;
	v->a->host_ifindex = link.ifindex;
	v->pod_ifindex = link.peer_ifindex;
	return 0;
}

/* --- the endpoint --- */

int veth_add_endpoint(struct veth_setup *v, struct dp *dp, const struct conf *conf, struct err *err)
{
	const struct attachment *a = v->a;
	struct wr_endpoint ep = {
		.ifindex = a->host_ifindex,
		.peer_ifindex = v->pod_ifindex,
		.policy_class = conf->agent ? WR_CLASS_QUARANTINE : WR_CLASS_NOT_ISOLATED,
		.identity = WR_ID_UNKNOWN,
	};

	if (conf->masquerade)
		ep.flags |= WR_EP_MASQUERADE;
	if (json_array_size(conf->port_mappings))
		ep.flags |= WR_EP_HOST_PORTS;
	memcpy(ep.mac, a->mac, sizeof(ep.mac));
	if (a->ip4.family) {
		memcpy(&ep.addr4, a->ip4.bytes, sizeof(ep.addr4));
		ep.flags |= WR_EP_V4;
	}
	if (a->ip6.family) {
		memcpy(&ep.addr6, a->ip6.bytes, sizeof(ep.addr6));
		ep.flags |= WR_EP_V6;
	}
	return dp_endpoint_put(dp, &ep, err);
}

int veth_delete_endpoint(const struct attachment *a, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	int ret;

	if (!a->host_ifindex)
		return 0; /* ADD had not made the link yet */
	ret = dp_open(&dp, err);
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	return dp_endpoint_delete(&dp, a->host_ifindex, err);
}

/* --- the node's side --- */

/* Some hosts disable IPv6 on new devices; a device that gets an IPv6 address needs it. `arg`: the device's name. */
static int ipv6_enable(void *arg, struct err *err)
{
	const char *ifname = arg;
	_cleanup_fd_ int fd = -1;
	char path[80], value = '0';

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "this kernel has no IPv6: cannot open %s", path);
	if (read(fd, &value, 1) == 1 && value == '0')
		return 0;
	closep(&fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0\n", 2) != 2)
		return err_errno(err, errno, "cannot turn on IPv6 for %s: cannot write %s", ifname, path);
	return 0;
}

static struct prefix whole(const struct ip *ip)
{
	return (struct prefix){ *ip, (uint8_t)ip_bits(ip) };
}

static struct route host_route(const struct ip *ip, uint32_t ifindex)
{
	return (struct route){
		.dst = whole(ip), .ifindex = ifindex, .type = RTN_UNICAST, .protocol = WR_RTPROT, .scope = RT_SCOPE_LINK
	};
}

static void host_family(struct veth_setup *v, struct nl_batch *b, const struct lease *lease, uint32_t gateway_ifindex)
{
	struct route route = host_route(&lease->ip, v->a->host_ifindex);

	if (!lease->ip.family)
		return;
	if (lease->gateway.family) {
		node_gateway_add(v->host, b, gateway_ifindex, &lease->subnet, &lease->gateway);
		route.source = lease->gateway;
	}
	route_replace(v->host, b, &route);
	neigh_replace(v->host, b, v->a->host_ifindex, &lease->ip, v->a->mac);
}

int veth_setup_host_side(struct veth_setup *v, struct dp *dp, struct err *err)
{
	struct nl_batch b = { .count = 0 };
	uint32_t gateway_ifindex;
	int ret = node_gateway_ifindex(&gateway_ifindex, err);

	if (ret == 0 && v->leases->v6.ip.family) {
		ret = ipv6_enable(v->a->host_ifname, err);
		if (ret == 0)
			ret = ipv6_enable((void *)WARREN_GATEWAY_LINK, err);
	}
	if (ret < 0)
		return ret;
	link_set_no_addrgen(v->host, &b, v->a->host_ifindex);
	dp_attach(dp, v->host, &b, v->a->host_ifindex); /* before it is up: no packet bypasses the programs */
	link_set_up(v->host, &b, v->a->host_ifindex);
	host_family(v, &b, &v->leases->v4, gateway_ifindex);
	host_family(v, &b, &v->leases->v6, gateway_ifindex);
	return nl_batch_run(v->host, &b, err);
}

int veth_delete_routes(struct nl *host, const struct attachment *a, struct err *err)
{
	struct route route4 = host_route(&a->ip4, a->host_ifindex), route6 = host_route(&a->ip6, a->host_ifindex);
	struct nl_batch b = { .count = 0 };
	int ret;

	if (!a->host_ifindex)
		return 0;
	if (a->ip4.family)
		route_delete(host, &b, &route4);
	if (a->ip6.family)
		route_delete(host, &b, &route6);
	ret = nl_batch_run(host, &b, err);
	return ret == -ENODEV ? 0 : ret; /* deleted together with the link */
}

int veth_delete(struct nl *host, const struct attachment *a, struct err *err)
{
	struct link_info link;
	int ret;

	if (!a->host_ifname[0])
		return 0;
	/* By its name, which is unique: ADD may have been killed before it stored the index. */
	ret = link_get(host, a->host_ifname, 0, &link, err);
	if (ret == 0)
		ret = link_delete(host, link.ifindex, err);
	return ret == -ENODEV ? 0 : ret;
}

/* --- the pod's side --- */

static int is_default(const struct route *route, void *arg)
{
	return route->dst.len == 0;
}

/*
 * A pod's first attachment gets the default route of best metric; later ones get a worse metric, so that they replace
 * no route of another attachment.
 */
static int pod_family(struct veth_setup *v, struct nl_batch *b, const struct ip *ip, struct err *err)
{
	struct ip gateway = veth_gateway(ip->family);
	struct route link = host_route(&gateway, v->pod_ifindex);
	struct route all = { .dst = { .ip.family = ip->family }, .gateway = gateway, .ifindex = v->pod_ifindex,
			     .type = RTN_UNICAST, .protocol = WR_RTPROT };
	struct prefix own = whole(ip);
	int ret;

	if (!ip->family)
		return 0;
	ret = route_each(&v->pod.nl, ip->family, is_default, NULL, err);
	if (ret < 0)
		return ret;
	link.priority = all.priority = ret ? 1024 + v->pod_ifindex : 0;
	addr_add(&v->pod.nl, b, v->pod_ifindex, &own);
	neigh_replace(&v->pod.nl, b, v->pod_ifindex, &gateway, veth_host_mac);
	route_replace(&v->pod.nl, b, &link);
	route_replace(&v->pod.nl, b, &all);
	return 0;
}

int veth_setup_pod_side(struct veth_setup *v, struct err *err)
{
	struct nl_batch b = { .count = 0 };
	struct link_info link;
	int ret = ethtool_features_off(&v->pod.ethtool, v->pod_ifindex, node_features_off, node_features_off_count,
				       err);

	if (ret == 0 && v->leases->v6.ip.family)
		ret = pod_netns_run(&v->pod, ipv6_enable, v->a->ifname, err);
	if (ret < 0)
		return ret;
	link_set_no_addrgen(&v->pod.nl, &b, v->pod_ifindex);
	link_set_up(&v->pod.nl, &b, v->pod_ifindex);
	ret = pod_family(v, &b, &v->leases->v4.ip, err);
	if (ret == 0)
		ret = pod_family(v, &b, &v->leases->v6.ip, err);
	if (ret == 0)
		ret = nl_batch_run(&v->pod.nl, &b, err);
	/*
	 * Both ends are up, but packets from the host are lost until the kernel's linkwatch work queue activates the
	 * host end. From 6.8 on a query of the link does it at once (rtnl_getlink).
	 */
	return ret < 0 ? ret : link_get(v->host, NULL, v->a->host_ifindex, &link, err);
}

/* Runs in the pod's netns. IPv4 addresses are usable at once. */
static int wait_pod_ready(void *arg, struct err *err)
{
	const struct veth_setup *v = arg;

	return v->leases->v6.ip.family ? addr_wait_ready(&v->leases->v6.ip, VETH_READY_MS, err) : 0;
}

int veth_wait_ready(struct veth_setup *v, struct err *err)
{
	int ret = v->leases->v6.gateway.family ? addr_wait_ready(&v->leases->v6.gateway, VETH_READY_MS, err) : 0;

	return ret < 0 ? ret : pod_netns_run(&v->pod, wait_pod_ready, v, err);
}

/* --- without a record --- */

int veth_recover(struct nl *host, const char *netns, const char *ifname, struct attachment *a, struct err *err)
{
	_cleanup_pod_netns_ struct pod_netns pod = POD_NETNS_CLOSED;
	struct link_info inner = { 0 }, outer = { 0 };
	int32_t host_id = -1;
	int ret = *netns ? pod_netns_open(&pod, netns, err) : -ENODEV;

	if (pod.fd < 0)
		return -ENODEV; /* the link was deleted with its netns */
	if (ret == 0)
		ret = link_get(&pod.nl, ifname, 0, &inner, err);
	/*
	 * The pod can choose all attributes of its device (name, index, a peer of any index in a namespace below its
	 * own), but not in which namespace the peer is.
	 */
	if (ret == 0 && (link_netnsid(&pod.nl, pod.self, &host_id, NULL) < 0 || inner.peer_netnsid != host_id))
		return -ENODEV;
	if (ret == 0)
		ret = link_get(host, NULL, inner.peer_ifindex, &outer, err);
	if (ret < 0)
		return ret;
	if (strcmp(inner.kind, "veth") != 0 || strcmp(outer.kind, "veth") != 0 || outer.group != WR_LINK_GROUP ||
	    outer.peer_ifindex != inner.ifindex)
		return -ENODEV;
	str_copy(a->host_ifname, sizeof(a->host_ifname), outer.name);
	a->host_ifindex = outer.ifindex;
	return 0;
}
