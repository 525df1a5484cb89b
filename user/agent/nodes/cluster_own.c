/* SPDX-License-Identifier: BSD-2-Clause */
/* This node's own part of the cluster: its element in the maps, gateways, devices, and the pods' MTU. */
#include "cluster_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "array.h"

/* --- map cluster --- */

static void put_own_prefix(struct wr_cluster *w, const struct prefix *cidr)
{
	const struct ip mask = prefix_mask(cidr);

	if (cidr->ip.family == AF_INET) {
		w->flags |= WR_CLUSTER_POD4;
		memcpy(&w->cidr4, cidr->ip.bytes, 4);
		memcpy(&w->mask4, mask.bytes, 4);
	} else if (cidr->ip.family == AF_INET6) {
		w->flags |= WR_CLUSTER_POD6;
		memcpy(&w->cidr6, cidr->ip.bytes, 16);
		memcpy(&w->mask6, mask.bytes, 16);
	}
}

#define KEY_KNOWN (WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN)
#define KEY_FLAGS (KEY_KNOWN | WR_CLUSTER_KEY_ODD | WR_CLUSTER_KEY_REQUIRED)

/* From the options and keys. */
static void put_keys(const struct cluster *c, struct wr_cluster *w)
{
	w->flags &= ~(__u32)KEY_FLAGS;
	memset(w->key_id, 0, sizeof(w->key_id));
	if (c->options->tunnel_key == TUNNEL_KEY_REQUIRE)
		w->flags |= WR_CLUSTER_KEY_REQUIRED;
	for (size_t i = 0; i < c->keys.count; i++) {
		const uint32_t id = c->keys.keys[i].id;

		w->flags |= id & 1 ? WR_CLUSTER_KEY_ODD_KNOWN : WR_CLUSTER_KEY_EVEN_KNOWN;
		w->key_id[id % WR_TUNNEL_KEYS] = id;
	}
	if (c->keys.count && (c->keys.keys[0].id & 1))
		w->flags |= WR_CLUSTER_KEY_ODD;
}

/*
 * Before the other nodes are in the maps: the key to send with, and whether one is required, stay unchanged until the
 * tags of all nodes are. If a key is no longer required, this takes effect at once, since tags may be deleted. A node
 * that was in no cluster applies everything at once.
 */
static void keep_keys(const struct cluster *c, struct wr_cluster *w)
{
	put_keys(c, w);
	if (!c->cluster.flags)
		return;
	w->flags = (w->flags & ~(__u32)KEY_FLAGS) | (c->cluster.flags & KEY_FLAGS);
	memcpy(w->key_id, c->cluster.key_id, sizeof(w->key_id));
	if (c->options->tunnel_key != TUNNEL_KEY_REQUIRE)
		w->flags &= ~(__u32)WR_CLUSTER_KEY_REQUIRED;
}

static struct wr_cluster cluster_desired(const struct cluster *c)
{
	const struct ip *v4 = member_address(c->own, AF_INET), *v6 = member_address(c->own, AF_INET6);
	struct wr_cluster w = {
		.vni = WR_TUNNEL_VNI,
		.port = htons(WR_TUNNEL_PORT),
		.option_class = htons(WR_TUNNEL_OPTION_CLASS),
		.host_ifindex = c->gateway_ifindex,
		.flags = c->options->any_sport ? 0 : WR_CLUSTER_SPORTS,
	};

	if (v4) {
		w.flags |= WR_CLUSTER_V4;
		memcpy(&w.addr4, v4->bytes, 4);
		w.addr4_ifindex = c->own_ifindex[0];
	}
	if (v6) {
		w.flags |= WR_CLUSTER_V6;
		memcpy(&w.addr6, v6->bytes, 16);
		w.addr6_ifindex = c->own_ifindex[1];
	}
	for (int i = 0; i < 2; i++)
		put_own_prefix(&w, &c->own->object->cidrs[i]);
	keep_keys(c, &w);
	return w;
}

static int set_cluster(struct cluster *c, const struct wr_cluster *desired, struct err *err)
{
	int ret;

	if (memcmp(&c->cluster, desired, sizeof(*desired)) == 0)
		return 0;
	ret = c->ops->cluster_set(c->arg, desired, err);
	if (ret == 0)
		c->cluster = *desired;
	return ret;
}

/* If a node could not be written, its tag of the new key may be missing: packets are still sent with the old key. */
int own_update_keys(struct cluster *c, struct err *err)
{
	struct wr_cluster desired = c->cluster;

	put_keys(c, &desired);
	if (c->again)
		desired.flags = (desired.flags & ~(__u32)WR_CLUSTER_KEY_ODD) | (c->cluster.flags & WR_CLUSTER_KEY_ODD);
	return set_cluster(c, &desired, err);
}

static int set_port(struct cluster *c, uint16_t port, struct err *err)
{
	int ret = c->written_port == port ? 0 : c->ops->tunnel_port(c->arg, port, err);

	if (ret == 0)
		c->written_port = port;
	return ret;
}

/* Addresses of warren0, and the routes for pod addresses that are not in use. */
static int add_gateways(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0; i++) {
		const struct prefix *cidr = &c->own->object->cidrs[i];
		struct ip gateway = cidr->ip.family ? cidr_gateway(cidr) : (struct ip){ 0 };

		if (cidr->ip.family)
			ret = c->ops->gateway_add(c->arg, c->gateway_ifindex, cidr, &gateway, err);
	}
	return ret;
}

/*
 * If this node has a new MAC address, or its address has moved to another device, it is unreachable until its
 * neighbours update their entries: announce it. Best effort, since the entries expire.
 */
static void announce(struct cluster *c, size_t i, const struct link_info *device)
{
	const bool announceable = (device->flags & IFF_RUNNING) && !(device->flags & (IFF_NOARP | IFF_POINTOPOINT));
	const struct ip *ip = &c->own->object->addresses[i];
	struct announced *last = &c->announced[i];

	if (announceable && last->ifindex == device->ifindex && ip_equal(&last->ip, ip) &&
	    memcmp(last->mac, device->mac, 6) == 0)
		return;
	*last = (struct announced){ .ip = *ip };
	if (!announceable || c->ops->announce(c->arg, ip, device, NULL) < 0)
		return;
	last->ifindex = device->ifindex;
	memcpy(last->mac, device->mac, sizeof(last->mac));
}

/* Adds the pod CIDRs in the map that are no longer this node's to `former`. */
static int add_former(struct cluster *c, struct err *err)
{
	const struct wr_cluster *w = &c->cluster;
	const struct prefix none = { 0 }, old[2] = {
		w->flags & WR_CLUSTER_POD4 ? prefix_masked(AF_INET, &w->cidr4, &w->mask4) : none,
		w->flags & WR_CLUSTER_POD6 ? prefix_masked(AF_INET6, &w->cidr6, &w->mask6) : none,
	};

	for (int i = 0; i < 2; i++) {
		const struct prefix *now = member_cidr(c->own, old[i].ip.family);

		if (old[i].ip.family && (!now || prefix_cmp(now, &old[i]) != 0) &&
		    array_push(c->former, c->former_room, c->former_count, old[i]) < 0)
			return err_set(err, ENOMEM, "no memory for a pod CIDR");
	}
	return 0;
}

/*
 * Deletes gateways that are the source of no route any more; until then, every run tries. The current CIDR may have the
 * same gateway, with another prefix length: then it stays. A CIDR that is this node's again is not a former one.
 */
int own_delete_former(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (size_t i = c->former_count; i-- > 0 && ret >= 0;) {
		const struct prefix *former = &c->former[i], *now = member_cidr(c->own, former->ip.family);
		const struct ip gateway = cidr_gateway(former), current = now ? cidr_gateway(now) : (struct ip){ 0 };

		ret = now && prefix_cmp(now, former) == 0
			  ? 0
			  : c->ops->gateway_delete(c->arg, c->gateway_ifindex, former,
						   ip_equal(&gateway, &current) ? NULL : &gateway, err);
		if (ret == 0)
			c->former[i] = c->former[--c->former_count];
	}
	return ret < 0 ? ret : 0;
}

/* The devices with this node's addresses: packets of other nodes arrive there, whatever device ours leave by. */
static void own_devices(struct cluster *c)
{
	struct member *own = c->own;

	c->own_mtu = 0;
	memset(c->own_ifindex, 0, sizeof(c->own_ifindex));
	own->problem[0] = '\0';
	uplinks_clear_own(c);
	for (size_t i = 0; i < own->object->address_count; i++) {
		const struct ip *ip = &own->object->addresses[i];
		struct link_info info;
		struct err err = { 0 };
		char text[IP_STRLEN];

		if (c->ops->device(c->arg, ip, &info, &err) < 0) {
			member_problem(own, "this node's address %s is on none of its devices", ip_format(ip, text));
			continue;
		}
		if (info.flags & IFF_LOOPBACK)
			continue;
		if (ip == member_address(own, ip->family))
			c->own_ifindex[ip->family == AF_INET6] = info.ifindex;
		if (!c->own_mtu || info.mtu < c->own_mtu)
			c->own_mtu = info.mtu;
		if (uplink_require(c, info.ifindex, true, &err) < 0) {
			member_problem(own, "%.255s", err.msg);
			c->again = true;
		}
		announce(c, i, &info);
	}
}

int own_update(struct cluster *c, struct err *err)
{
	uint32_t gateway = c->gateway_ifindex;
	struct wr_cluster desired;
	int ret;

	if (!c->own_changed && !c->look_again)
		return 0;
	ret = c->ops->gateway_link(c->arg, &c->gateway_ifindex, err);
	if (ret == 0)
		ret = set_port(c, WR_TUNNEL_PORT, err);
	if (ret == 0 && (c->own_changed || c->gateway_ifindex != gateway))
		ret = add_gateways(c, err);
	if (ret < 0)
		return ret;
	own_devices(c);
	desired = cluster_desired(c);
	ret = add_former(c, err);
	if (ret == 0)
		ret = set_cluster(c, &desired, err);
	if (ret == 0)
		c->own_changed = false;
	return ret;
}

/* --- the pods' MTU --- */

static uint32_t smallest_mtu(const struct cluster *c)
{
	int family = c->options->underlay ? c->options->underlay : member_address(c->own, AF_INET) ? AF_INET : AF_INET6;
	uint32_t overhead = c->options->mode == ROUTING_DIRECT ? 0 : tunnel_overhead(c, family);
	uint32_t mtu = c->own_mtu > overhead ? c->own_mtu - overhead : 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct member *m = c->members[i];

		if (m->slot && (!mtu || m->node.mtu < mtu))
			mtu = m->node.mtu;
	}
	return mtu < UINT16_MAX ? mtu : UINT16_MAX;
}

static void report_pods_left(struct cluster *c, const struct err *why)
{
	struct err err = { .num = why->num };

	if (c->pods_left)
		err_set(&err, why->num, "%d %s not have MTU %d: %.400s", c->pods_left,
			c->pods_left == 1 ? "pod does" : "pods do", c->written_mtu, why->msg);
	if (strcmp(err.msg, c->pods_reported) == 0)
		return;
	memcpy(c->pods_reported, err.msg, sizeof(c->pods_reported));
	c->events.report_problem(c->events.arg, "MTU of pods", c->pods_left ? &err : NULL);
}

/*
 * The MTU of new pods first: a pod that is being added then either reads it or is on record already. A failure of one
 * pod does not stop the others.
 */
static int set_pods_mtu(struct cluster *c, uint32_t mtu, struct err *err)
{
	struct err why = { 0 };
	int ret = c->written_mtu == (int)mtu ? 0 : c->ops->pod_mtu(c->arg, (uint16_t)mtu, err);

	if (ret < 0 || (c->written_mtu == (int)mtu && !c->pods_left))
		return ret;
	c->written_mtu = (int)mtu;
	c->pods_left = -1;
	ret = mtu ? c->ops->pods_follow(c->arg, (uint16_t)mtu, &why) : 0;
	if (ret < 0) {
		*err = why;
		return ret;
	}
	c->pods_left = ret;
	report_pods_left(c, &why);
	return 0;
}

int own_update_mtu(struct cluster *c, struct err *err)
{
	return set_pods_mtu(c, smallest_mtu(c), err);
}

/* --- no cluster --- */

int own_withdraw(struct cluster *c, struct err *err)
{
	static const struct wr_cluster none;
	int ret = set_cluster(c, &none, err);

	uplinks_clear_own(c);
	if (ret == 0)
		ret = uplinks_detach_unused(c, err);
	if (ret == 0)
		ret = set_port(c, 0, err);
	if (ret == 0)
		ret = set_pods_mtu(c, 0, err);
	if (ret == 0)
		c->own_changed = c->look_again = false;
	return ret;
}
