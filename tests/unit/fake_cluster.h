/* SPDX-License-Identifier: BSD-2-Clause */
/* A node in memory as cluster.h and ipcache.h see it: maps, devices, routes, nexthops; every operation can be made to fail. */
#ifndef WARREN_TEST_FAKE_CLUSTER_H
#define WARREN_TEST_FAKE_CLUSTER_H

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"

#define FAKE_SLOTS 64
#define FAKE_ADDRESSES 20000

struct fake_address {
	struct ip ip;
	uint64_t identity;
};

struct fake_nexthop_entry {
	struct ip to;
	struct nexthop nexthop;
	int error;
};

struct fake_kernel {
	bool used[FAKE_SLOTS];
	struct dp_node nodes[FAKE_SLOTS];
	uint32_t last_slot;
	struct fake_address addresses[FAKE_ADDRESSES];
	size_t address_count, address_limit; /* limit 0: none */
	struct wr_cluster cluster;
	unsigned commits, uncommitted;
	uint32_t uplinks[8];
	size_t uplink_count;
	struct { uint32_t ifindex; enum dp_xdp_mode mode; bool failed; } xdp[8]; /* in the order of the calls */
	size_t xdp_count;
	int xdp_error, node_error; /* of every call; 0: none */
	uint16_t port, mtu, pods_mtu;
	int pods_left; /* pods whose MTU cannot be set */
	struct ip gateways[4];
	size_t gateway_count;
	bool pods; /* routes to pods in every CIDR, so that no gateway address can be removed */
	struct prefix rests[4]; /* routes for addresses of our CIDRs without a pod */
	size_t rest_count;
	struct { struct ip ip; struct link_info info; } devices[4];
	size_t device_count;
	unsigned announced; /* how often */
	bool tentative;	    /* addresses are tentative, so they cannot be announced */
	unsigned looks; /* for a nexthop */
	struct fake_nexthop_entry nexthops[32];
	size_t nexthop_count;
	struct ip kept[32];
	size_t kept_count;
	struct route routes[64];
	size_t route_count;
	unsigned long writes; /* of anything */
	long writes_left;     /* then they fail with EIO; -1: never */
};

static inline int fake_write(struct fake_kernel *k, struct err *err)
{
	if (k->writes_left == 0)
		return err_set(err, EIO, "no more writes");
	if (k->writes_left > 0)
		k->writes_left--;
	k->writes++;
	k->uncommitted++;
	return 0;
}

/* --- nodes --- */

static inline bool fake_nodes_clash(const struct dp_node *a, const struct dp_node *b)
{
	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2; j++) {
			if (a->cidrs[i].ip.family && a->cidrs[i].ip.family == b->cidrs[j].ip.family &&
			    prefix_overlaps(&a->cidrs[i], &b->cidrs[j]))
				return true;
		}
	}
	for (size_t i = 0; i < a->address_count; i++) {
		for (size_t j = 0; j < b->address_count; j++) {
			if (ip_equal(&a->addresses[i], &b->addresses[j]))
				return true;
		}
	}
	return false;
}

/* All but the nexthop. */
static inline bool fake_same_node(const struct dp_node *a, const struct dp_node *b)
{
	return memcmp(a->cidrs, b->cidrs, sizeof(a->cidrs)) == 0 && a->address_count == b->address_count &&
	       memcmp(a->addresses, b->addresses, a->address_count * sizeof(*a->addresses)) == 0 &&
	       ip_equal(&a->local, &b->local) && ip_equal(&a->remote, &b->remote) && a->mtu == b->mtu &&
	       a->direct == b->direct;
}

static inline int fake_node_put(void *arg, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = k->node_error ? err_set(err, k->node_error, "it cannot be put") : fake_write(k, err);

	for (uint32_t s = 1; s < FAKE_SLOTS && ret == 0; s++) {
		if (s == slot || !k->used[s] || !fake_nodes_clash(node, &k->nodes[s]))
			continue;
		*other = s;
		return err_set(err, EEXIST, "slot %u has it", s);
	}
	if (ret < 0)
		return ret;
	if (!slot || !fake_same_node(node, &k->nodes[slot])) {
		if (slot)
			k->used[slot] = false;
		slot = ++k->last_slot;
	}
	k->used[slot] = true;
	k->nodes[slot] = *node;
	return (int)slot;
}

static inline int fake_node_delete(void *arg, uint32_t slot, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = fake_write(k, err);

	if (ret == 0)
		k->used[slot] = false;
	return ret;
}

static inline int fake_node_each(void *arg, int (*fn)(uint32_t slot, const struct dp_node *node, void *fn_arg),
				 void *fn_arg, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = 0;

	for (uint32_t s = 1; s < FAKE_SLOTS && ret == 0; s++) {
		if (k->used[s])
			ret = fn(s, &k->nodes[s], fn_arg);
	}
	return ret;
}

static inline int fake_cluster_get(void *arg, struct wr_cluster *cluster, struct err *err)
{
	*cluster = ((struct fake_kernel *)arg)->cluster;
	return 0;
}

static inline int fake_cluster_set(void *arg, const struct wr_cluster *cluster, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = fake_write(k, err);

	if (ret == 0)
		k->cluster = *cluster;
	return ret;
}

static inline int fake_commit(void *arg, struct err *err)
{
	struct fake_kernel *k = arg;

	k->commits += k->uncommitted != 0;
	k->uncommitted = 0;
	return 0;
}

/* --- ipcache --- */

static inline struct fake_address *fake_address(struct fake_kernel *k, const struct ip *ip)
{
	for (size_t i = 0; i < k->address_count; i++) {
		if (ip_equal(&k->addresses[i].ip, ip))
			return &k->addresses[i];
	}
	return NULL;
}

static inline uint64_t fake_identity(struct fake_kernel *k, const char *text)
{
	const struct fake_address *a;
	struct ip ip;

	if (ip_parse(text, &ip) < 0)
		abort();
	a = fake_address(k, &ip);
	return a ? a->identity : WR_ID_UNKNOWN;
}

static inline int fake_ipcache_put(void *arg, const struct ip *ip, uint64_t identity, struct err *err)
{
	struct fake_kernel *k = arg;
	struct fake_address *a = fake_address(k, ip);
	int ret;

	if (!a && identity != WR_ID_UNKNOWN && k->address_limit && k->address_count >= k->address_limit)
		return err_set(err, ENOSPC, "full");
	ret = fake_write(k, err);
	if (ret < 0)
		return ret;
	if (identity == WR_ID_UNKNOWN) {
		if (a)
			*a = k->addresses[--k->address_count];
		return 0;
	}
	if (!a)
		a = &k->addresses[k->address_count++];
	*a = (struct fake_address){ *ip, identity };
	return 0;
}

static inline int fake_ipcache_each(void *arg, int (*fn)(const struct ip *ip, uint64_t identity, void *fn_arg),
				    void *fn_arg, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = 0;

	for (size_t i = 0; i < k->address_count && ret == 0; i++)
		ret = fn(&k->addresses[i].ip, k->addresses[i].identity, fn_arg);
	return ret;
}

static const struct ipcache_ops fake_ipcache_ops = { fake_ipcache_put, fake_ipcache_each, fake_commit };

/* --- the node --- */

static inline int fake_uplink_attach(void *arg, uint32_t ifindex, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = fake_write(k, err);

	if (ret == 0)
		k->uplinks[k->uplink_count++] = ifindex;
	return ret;
}

static inline int fake_uplink_detach(void *arg, uint32_t ifindex, struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = fake_write(k, err);

	for (size_t i = k->uplink_count; i-- > 0 && ret == 0;) {
		if (k->uplinks[i] == ifindex)
			k->uplinks[i] = k->uplinks[--k->uplink_count];
	}
	return ret;
}

/* Needs from_uplink there. */
static inline int fake_uplink_xdp(void *arg, uint32_t ifindex, enum dp_xdp_mode mode, struct err *err)
{
	struct fake_kernel *k = arg;
	bool same = false;
	size_t at = 0;
	int ret;

	while (at < k->uplink_count && k->uplinks[at] != ifindex)
		at++;
	if (at == k->uplink_count || k->xdp_count == sizeof(k->xdp) / sizeof(k->xdp[0]))
		return err_set(err, ERANGE, "no from_uplink there, or too many calls");
	for (size_t i = 0; i < k->xdp_count; i++) {
		if (k->xdp[i].ifindex == ifindex)
			same = k->xdp[i].mode == mode && !k->xdp[i].failed;
	}
	ret = same ? 0 : fake_write(k, err); /* nothing to do is no write */
	if (ret == 0 && k->xdp_error)
		ret = err_set(err, k->xdp_error, "it cannot run XDP");
	k->xdp[k->xdp_count].failed = ret < 0;
	k->xdp[k->xdp_count].ifindex = ifindex;
	k->xdp[k->xdp_count++].mode = mode;
	return ret;
}

static inline int fake_uplink_each(void *arg, int (*fn)(uint32_t ifindex, void *fn_arg), void *fn_arg, struct err *err)
{
	struct fake_kernel *k = arg;

	for (size_t i = 0; i < k->uplink_count; i++)
		fn(k->uplinks[i], fn_arg);
	return 0;
}

static inline int fake_tunnel_port(void *arg, uint16_t port, struct err *err)
{
	struct fake_kernel *k = arg;

	if (k->port != port)
		k->writes++;
	k->port = port;
	return 0;
}

static inline int fake_pod_mtu(void *arg, uint16_t mtu, struct err *err)
{
	struct fake_kernel *k = arg;

	if (k->mtu != mtu)
		k->writes++;
	k->mtu = mtu;
	return 0;
}

static inline int fake_pods_follow(void *arg, uint16_t mtu, struct err *err)
{
	struct fake_kernel *k = arg;

	if (k->pods_mtu != mtu)
		k->writes++;
	k->pods_mtu = mtu;
	if (k->pods_left)
		err_set(err, ENOENT, "a pod has gone astray");
	return k->pods_left;
}

#define FAKE_GATEWAY_LINK 77

static inline int fake_gateway_link(void *arg, uint32_t *ifindex, struct err *err)
{
	*ifindex = FAKE_GATEWAY_LINK;
	return 0;
}

static inline bool fake_has_gateway(const struct fake_kernel *k, const struct ip *gateway)
{
	for (size_t i = 0; i < k->gateway_count; i++) {
		if (ip_equal(&k->gateways[i], gateway))
			return true;
	}
	return false;
}

static inline bool fake_has_rest(const struct fake_kernel *k, const struct prefix *cidr)
{
	for (size_t i = 0; i < k->rest_count; i++) {
		if (prefix_cmp(&k->rests[i], cidr) == 0)
			return true;
	}
	return false;
}

static inline int fake_gateway_add(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
				   struct err *err)
{
	struct fake_kernel *k = arg;

	if (!fake_has_gateway(k, gateway))
		k->gateways[k->gateway_count++] = *gateway;
	if (!fake_has_rest(k, cidr))
		k->rests[k->rest_count++] = *cidr;
	return 0;
}

static inline int fake_gateway_delete(void *arg, uint32_t ifindex, const struct prefix *cidr, const struct ip *gateway,
				      struct err *err)
{
	struct fake_kernel *k = arg;

	if (gateway && k->pods)
		return 1;
	for (size_t i = k->gateway_count; i-- > 0 && gateway;) {
		if (ip_equal(&k->gateways[i], gateway))
			k->gateways[i] = k->gateways[--k->gateway_count];
	}
	for (size_t i = k->rest_count; i-- > 0;) {
		if (prefix_cmp(&k->rests[i], cidr) == 0)
			k->rests[i] = k->rests[--k->rest_count];
	}
	return 0;
}

static inline int fake_device(void *arg, const struct ip *ip, struct link_info *info, struct err *err)
{
	struct fake_kernel *k = arg;

	for (size_t i = 0; i < k->device_count; i++) {
		if (ip_equal(&k->devices[i].ip, ip)) {
			*info = k->devices[i].info;
			return 0;
		}
	}
	return err_set(err, EADDRNOTAVAIL, "no device");
}

static inline int fake_announce(void *arg, const struct ip *ip, const struct link_info *device, struct err *err)
{
	struct fake_kernel *k = arg;

	if (k->tentative)
		return err_set(err, EADDRNOTAVAIL, "not yet");
	k->announced++;
	return 0;
}

static inline int fake_hop_find(void *arg, const struct ip *to, struct nexthop *nexthop, struct err *err)
{
	struct fake_kernel *k = arg;

	k->looks++;
	for (size_t i = 0; i < k->nexthop_count; i++) {
		if (!ip_equal(&k->nexthops[i].to, to))
			continue;
		*nexthop = k->nexthops[i].nexthop;
		return k->nexthops[i].error ? err_set(err, k->nexthops[i].error, "no route") : 0;
	}
	return err_set(err, ENETUNREACH, "no route there");
}

static inline int fake_hop_keep(void *arg, const struct nexthop *nexthop, bool keep, struct err *err)
{
	struct fake_kernel *k = arg;

	for (size_t i = k->kept_count; i-- > 0 && !keep;) {
		if (ip_equal(&k->kept[i], &nexthop->next))
			k->kept[i] = k->kept[--k->kept_count];
	}
	for (size_t i = 0; i < k->kept_count && keep; i++)
		keep = !ip_equal(&k->kept[i], &nexthop->next);
	if (keep)
		k->kept[k->kept_count++] = nexthop->next;
	return 0;
}

/* --- routes --- */

static inline struct route *fake_route(struct fake_kernel *k, const struct prefix *dst)
{
	for (size_t i = 0; i < k->route_count; i++) {
		if (ip_equal(&k->routes[i].dst.ip, &dst->ip) && k->routes[i].dst.len == dst->len)
			return &k->routes[i];
	}
	return NULL;
}

static inline int fake_route_put(void *arg, const struct route *route, struct err *err)
{
	struct fake_kernel *k = arg;
	struct route *r = fake_route(k, &route->dst);
	int ret = fake_write(k, err);

	if (ret < 0)
		return ret;
	if (!r)
		r = &k->routes[k->route_count++];
	*r = *route;
	return 0;
}

static inline int fake_route_delete(void *arg, const struct route *route, struct err *err)
{
	struct fake_kernel *k = arg;
	struct route *r = fake_route(k, &route->dst);
	int ret = fake_write(k, err);

	if (ret == 0 && r)
		*r = k->routes[--k->route_count];
	return ret;
}

static inline int fake_route_each(void *arg, int (*fn)(const struct route *route, void *fn_arg), void *fn_arg,
				  struct err *err)
{
	struct fake_kernel *k = arg;
	int ret = 0;

	for (size_t i = 0; i < k->route_count && ret == 0; i++)
		ret = fn(&k->routes[i], fn_arg);
	return ret;
}

static const struct cluster_ops fake_cluster_ops = {
	.node_put = fake_node_put,
	.node_delete = fake_node_delete,
	.node_each = fake_node_each,
	.cluster_get = fake_cluster_get,
	.cluster_set = fake_cluster_set,
	.commit = fake_commit,
	.uplink_attach = fake_uplink_attach,
	.uplink_detach = fake_uplink_detach,
	.uplink_xdp = fake_uplink_xdp,
	.uplink_each = fake_uplink_each,
	.tunnel_port = fake_tunnel_port,
	.pod_mtu = fake_pod_mtu,
	.pods_follow = fake_pods_follow,
	.gateway_link = fake_gateway_link,
	.gateway_add = fake_gateway_add,
	.gateway_delete = fake_gateway_delete,
	.device = fake_device,
	.announce = fake_announce,
	.nexthop_find = fake_hop_find,
	.nexthop_keep = fake_hop_keep,
	.route_put = fake_route_put,
	.route_delete = fake_route_delete,
	.route_each = fake_route_each,
};

#endif
