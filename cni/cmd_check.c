/* SPDX-License-Identifier: BSD-2-Clause */
/* CHECK: whether the attachment is still as ADD made it and as in prevResult. Changes nothing. */
#include <string.h>

#include "addresses.h"
#include "cleanup.h"
#include "ethtool.h"
#include "gateway.h"
#include "ip.h"
#include "pod_ports.h"
#include "result.h"
#include "veth.h"

struct check {
	const struct cni *cni;
	struct attachment a;
	struct nl host;
	struct pod_netns pod;
	uint32_t pod_ifindex;
};

static const char *text(const struct ip *ip)
{
	static char buf[IP_STRLEN];

	return ip_format(ip, buf);
}

/* --- prevResult and record --- */

static int check_prev(struct check *c, struct err *err)
{
	const struct conf *conf = &c->cni->conf;
	json_auto_t *prev = NULL;
	int pod;

	if (!conf->prev_result) {
		err_set(err, EINVAL, "the network configuration: \"prevResult\" is missing, which CHECK needs");
		return cni_code(err, CNI_ERR_CONFIG);
	}
	prev = result_parse(conf->prev_result, "prevResult", err);
	if (!prev)
		return cni_code(err, CNI_ERR_CONFIG);
	pod = result_find_interface(prev, c->a.ifname, c->cni->env.netns);
	if (pod < 0)
		return err_set(err, ENOENT, "prevResult has no interface %s in %s", c->a.ifname, c->cni->env.netns);
	if (result_find_interface(prev, c->a.host_ifname, NULL) < 0)
		return err_set(err, ENOENT, "prevResult does not have the node's side, %s", c->a.host_ifname);
	if (!result_has_addresses(prev, pod, &c->a.ip4, &c->a.ip6))
		return err_set(err, EINVAL, "the addresses in prevResult are not those of the attachment");
	return 0;
}

static int check_record(struct check *c, struct err *err)
{
	const struct cni_env *env = &c->cni->env;
	int ret = attachment_load(env->container_id, env->ifname, &c->a, err);

	if (ret == -ENOENT) {
		err_set(err, ENOENT, "container %s has no attachment for interface %s", env->container_id, env->ifname);
		return cni_code(err, CNI_ERR_UNKNOWN_CONTAINER);
	}
	if (ret < 0)
		return ret;
	if (strcmp(c->a.network, c->cni->conf.name) != 0)
		return err_set(err, EINVAL, "the attachment belongs to network %s", c->a.network);
	if (c->a.state != ATTACHMENT_READY)
		return err_set(err, EINVAL, "the ADD of the attachment was not completed, or it is being deleted");
	return 0;
}

/* --- the node's side --- */

struct expected_route {
	const struct ip *ip;
	unsigned len;
	uint32_t ifindex;
};

static int is_expected_route(const struct route *route, void *arg)
{
	const struct expected_route *expected = arg;

	return route->ifindex == expected->ifindex && route->dst.len == expected->len &&
	       (expected->len == 0 || ip_equal(&route->dst.ip, expected->ip));
}

static int check_route(struct nl *nl, const struct ip *ip, unsigned len, uint32_t ifindex, const char *where,
		       struct err *err)
{
	struct expected_route expected = { ip, len, ifindex };
	int ret = route_each(nl, ip->family, is_expected_route, &expected, err);

	if (ret == 0)
		ret = err_set(err, ENOENT, "%s: the route to %s/%u is gone", where, len ? text(ip) : "default", len);
	return ret < 0 ? ret : 0;
}

struct expected_neigh {
	const struct ip *ip;
	const uint8_t *mac;
};

static int is_expected_neigh(const struct neigh *n, void *arg)
{
	const struct expected_neigh *expected = arg;

	return n->permanent && ip_equal(&n->ip, expected->ip) && memcmp(n->mac, expected->mac, 6) == 0;
}

static int check_neigh(struct nl *nl, uint32_t ifindex, const struct ip *ip, const uint8_t *mac, const char *where,
		       struct err *err)
{
	struct expected_neigh expected = { ip, mac };
	int ret = neigh_each(nl, ifindex, is_expected_neigh, &expected, err);

	if (ret == 0)
		ret = err_set(err, ENOENT, "%s: the neighbour entry of %s is gone", where, text(ip));
	return ret < 0 ? ret : 0;
}

static int check_endpoint(struct check *c, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	const struct attachment *a = &c->a;
	struct wr_endpoint ep = { 0 };
	unsigned faults;
	int ret = dp_open(&dp, err);

	if (ret == 0)
		ret = dp_endpoint_get(&dp, a->host_ifindex, &ep, err);
	if (ret < 0)
		return ret;
	if (memcmp(ep.mac, a->mac, 6) != 0 || ep.peer_ifindex != c->pod_ifindex ||
	    !(ep.flags & WR_EP_V4) != !a->ip4.family || !(ep.flags & WR_EP_V6) != !a->ip6.family ||
	    (a->ip4.family && memcmp(&ep.addr4, a->ip4.bytes, 4) != 0) ||
	    (a->ip6.family && memcmp(&ep.addr6, a->ip6.bytes, 16) != 0))
		return err_set(err, EINVAL, "endpoint %u in the data plane differs from the attachment", a->host_ifindex);
	ret = dp_endpoint_check(&dp, &c->host, a->host_ifindex, &faults, err);
	if (ret == 0 && faults)
		ret = err_set(err, EINVAL, "endpoint %u: %s", a->host_ifindex, dp_fault_text(faults & -faults));
	return ret;
}

static int check_host_side(struct check *c, struct err *err)
{
	const struct attachment *a = &c->a;
	const struct ip *ips[] = { &a->ip4, &a->ip6 };
	struct link_info link;
	int ret = link_get(&c->host, a->host_ifname, 0, &link, err);

	if (ret < 0)
		return ret;
	if (link.ifindex != a->host_ifindex || link.group != WR_LINK_GROUP || link.peer_ifindex != c->pod_ifindex)
		return err_set(err, EINVAL, "device %s is not the one that ADD made", a->host_ifname);
	if (!(link.flags & IFF_UP))
		return err_set(err, ENETDOWN, "device %s is down", a->host_ifname);
	for (int i = 0; i < 2; i++) {
		if (!ips[i]->family)
			continue;
		ret = check_route(&c->host, ips[i], ip_bits(ips[i]), a->host_ifindex, "node", err);
		if (ret == 0)
			ret = check_neigh(&c->host, a->host_ifindex, ips[i], a->mac, "node", err);
		if (ret < 0)
			return ret;
	}
	return check_endpoint(c, err);
}

/* --- the pod's side --- */

static int check_netns(struct check *c, struct err *err)
{
	int ret = pod_netns_open(&c->pod, c->cni->env.netns, err);

	if (ret == 0 && (c->pod.dev != c->a.netns_dev || c->pod.inode != c->a.netns_inode))
		ret = err_set(err, EINVAL, "%s is another network namespace than at ADD", c->cni->env.netns);
	return ret;
}

static int is_address(const struct prefix *prefix, void *arg)
{
	return ip_equal(&prefix->ip, arg) && prefix->len == ip_bits(&prefix->ip);
}

static int check_pod_family(struct check *c, const struct ip *ip, struct err *err)
{
	struct ip gateway;
	int ret;

	if (!ip->family)
		return 0;
	gateway = veth_gateway(ip->family);
	ret = addr_each(&c->pod.nl, c->pod_ifindex, is_address, (void *)ip, err);
	if (ret == 0)
		return err_set(err, EADDRNOTAVAIL, "pod: the address %s is gone", text(ip));
	if (ret > 0)
		ret = check_route(&c->pod.nl, &gateway, ip_bits(&gateway), c->pod_ifindex, "pod", err);
	if (ret == 0)
		ret = check_route(&c->pod.nl, &gateway, 0, c->pod_ifindex, "pod", err);
	if (ret == 0)
		ret = check_neigh(&c->pod.nl, c->pod_ifindex, &gateway, veth_host_mac, "pod", err);
	return ret;
}

static int check_features(struct check *c, struct err *err)
{
	for (size_t i = 0; i < node_features_off_count; i++) {
		bool active = false;
		int ret = ethtool_feature_get(&c->pod.ethtool, c->pod_ifindex, node_features_off[i], &active, err);

		if (ret < 0 && ret != -ENOENT)
			return ret;
		if (ret == 0 && active)
			return err_set(err, EINVAL, "pod: %s has %s on, which loses packets", c->a.ifname,
				       node_features_off[i]);
	}
	return 0;
}

static int check_pod_side(struct check *c, struct err *err)
{
	struct link_info link;
	int ret = link_get(&c->pod.nl, c->a.ifname, 0, &link, err);

	if (ret < 0)
		return err_wrap(err, "pod");
	if (memcmp(link.mac, c->a.mac, 6) != 0)
		return err_set(err, EINVAL, "pod: %s has another MAC address than at ADD", c->a.ifname);
	if (!(link.flags & IFF_UP))
		return err_set(err, ENETDOWN, "pod: %s is down", c->a.ifname);
	c->pod_ifindex = link.ifindex;
	ret = check_pod_family(c, &c->a.ip4, err);
	if (ret == 0)
		ret = check_pod_family(c, &c->a.ip6, err);
	return ret < 0 ? ret : check_features(c, err);
}

static void check_free(struct check *c)
{
	nl_close(&c->host);
	pod_netns_close(&c->pod);
}

int cmd_check(struct cni *cni, struct err *err)
{
	_cleanup_(check_free) struct check c = { .cni = cni, .pod = POD_NETNS_CLOSED };
	char key[ATTACHMENT_KEY_MAX + 1];
	int ret = attachment_key(cni->env.container_id, cni->env.ifname, key, err);

	if (ret < 0)
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	ret = check_record(&c, err);
	if (ret == 0)
		ret = check_prev(&c, err);
	if (ret == 0)
		ret = check_netns(&c, err);
	if (ret == 0)
		ret = nl_open(&c.host, NETLINK_ROUTE, err);
	if (ret == 0)
		ret = check_pod_side(&c, err);
	if (ret == 0)
		ret = check_host_side(&c, err);
	if (ret == 0)
		ret = pod_ports_check(&cni->conf, &c.a, err);
	if (ret == 0)
		ret = addresses_check(cni, &c.a, key, err);
	return ret < 0 ? cni_code(err, CNI_ERR_CHECK) : 0;
}
