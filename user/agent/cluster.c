/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

uint32_t tunnel_overhead(int family)
{
	return family == AF_INET ? WR_TUNNEL_OVERHEAD4 : WR_TUNNEL_OVERHEAD6;
}

/* --- members --- */

/* Where a member of that name is, or belongs. */
static size_t member_place(const struct cluster *c, const char *name, bool *found)
{
	size_t low = 0, high = c->count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int cmp = strcmp(c->members[middle]->name, name);

		if (cmp == 0) {
			*found = true;
			return middle;
		}
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct member *member_by_slot(const struct cluster *c, uint32_t slot)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->members[i]->slot == slot)
			return c->members[i];
	}
	return NULL;
}

static void member_free(struct member *m)
{
	node_object_free(m->object);
	free(m->name);
	free(m);
}

static struct member *member_new(struct cluster *c, const char *name, size_t place)
{
	struct member *m;

	if (array_grow(&c->members, &c->room, c->count, sizeof(*c->members)) < 0)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (m)
		m->name = strdup(name);
	if (!m || !m->name) {
		free(m);
		return NULL;
	}
	m->own = strcmp(name, c->options->node_name) == 0;
	memmove(&c->members[place + 1], &c->members[place], (c->count - place) * sizeof(*c->members));
	c->members[place] = m;
	c->count++;
	return m;
}

static bool same_object(const struct node_object *a, const struct node_object *b)
{
	return a && a->address_count == b->address_count && memcmp(a->cidrs, b->cidrs, sizeof(a->cidrs)) == 0 &&
	       memcmp(a->addresses, b->addresses, a->address_count * sizeof(*a->addresses)) == 0;
}

int cluster_put_node(struct cluster *c, struct node_object *object)
{
	bool found;
	size_t place = member_place(c, object->name, &found);
	struct member *m = found ? c->members[place] : member_new(c, object->name, place);

	if (!m) {
		node_object_free(object);
		return -ENOMEM;
	}
	if (same_object(m->object, object)) {
		node_object_free(object);
		return 0;
	}
	if (!m->slot)
		m->since_ns = c->ops->now_ns(c->arg);
	node_object_free(m->object);
	m->object = object;
	m->dirty = true;
	c->objects_changed = true;
	c->own_changed |= m->own;
	return 0;
}

void cluster_remove_node(struct cluster *c, const char *name)
{
	bool found;
	size_t place = member_place(c, name, &found);
	struct member *m = found ? c->members[place] : NULL;

	if (!m || !m->object)
		return;
	node_object_free(m->object);
	m->object = NULL;
	c->objects_changed = true;
	c->own_changed |= m->own;
}

/* --- who counts --- */

/* Which object is our own, if it can be a member. */
static void find_own(struct cluster *c)
{
	c->own = NULL;
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (!m->own || !m->object)
			continue;
		m->problem[0] = '\0';
		if (!m->object->address_count)
			member_problem(m, "this node has no address of type InternalIP: it is in no cluster");
		else if (!m->object->cidrs[0].ip.family && !m->object->cidrs[1].ip.family)
			member_problem(m, "this node has no pod CIDR: it is in no cluster");
		else
			c->own = m;
	}
}

int cluster_resolve(struct cluster *c)
{
	static const struct prefix none[2];
	bool own_changed = c->own_changed;

	if (!c->objects_changed)
		return 0;
	if (own_changed)
		find_own(c);
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->dirty |= c->members[i]->left_out || own_changed;
	if (claims_resolve(c) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->dirty |= c->members[i]->left_out;
	if (c->own && c->own->left_out)
		c->own = NULL;
	if (own_changed && ipcache_set_own(c->ipcache, c->own ? c->own->name : NULL,
					   c->own ? c->own->object->cidrs : none) < 0)
		return -ENOMEM;
	c->objects_changed = false;
	c->pending = true;
	return own_changed;
}

static bool is_uplink(const struct cluster *c, uint32_t ifindex)
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		if (c->uplinks[i].ifindex == ifindex)
			return true;
	}
	return false;
}

/* Of a device that leads to nobody, and has none of our addresses, matters what it may do for those who cannot be reached. */
static void other_device_changed(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m != c->own && m->object && !m->slot && !m->left_out)
			m->dirty = c->pending = true;
	}
}

static void neighbour_changed(struct cluster *c, const struct hop_place *place)
{
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m->hop.ifindex == place->ifindex && ip_equal(&m->hop.next, &place->ip))
			m->dirty = c->pending = true;
	}
}

void cluster_look_again(struct cluster *c, const struct hop_news *news)
{
	bool all = news->changes & ~(unsigned)(HOP_NEIGHBOUR | HOP_LINK);

	if (!c->own)
		return;
	for (size_t i = 0; i < news->count && !all; i++) {
		const struct hop_place *place = &news->places[i];

		if (place->ip.family)
			neighbour_changed(c, place);
		else if (place->ifindex == c->gateway_ifindex || is_uplink(c, place->ifindex))
			all = true;
		else
			other_device_changed(c);
	}
	if (all)
		c->look_again = c->pending = true;
}

void cluster_lost(struct cluster *c)
{
	c->loaded = false;
	c->own_changed = c->look_again = c->pending = true;
}

void cluster_retry(struct cluster *c)
{
	c->look_again |= c->failed;
	c->pending = true;
}

bool cluster_pods_left(const struct cluster *c)
{
	return c->pods_left > 0;
}

bool cluster_pending(const struct cluster *c)
{
	return c->pending;
}

/* --- uplinks --- */

static struct uplink *uplink_get(struct cluster *c, uint32_t ifindex)
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		if (c->uplinks[i].ifindex == ifindex)
			return &c->uplinks[i];
	}
	if (array_grow(&c->uplinks, &c->uplink_room, c->uplink_count, sizeof(*c->uplinks)) < 0)
		return NULL;
	c->uplinks[c->uplink_count] = (struct uplink){ .ifindex = ifindex };
	return &c->uplinks[c->uplink_count++];
}

int uplink_want(struct cluster *c, uint32_t ifindex, struct err *err)
{
	struct uplink *uplink = uplink_get(c, ifindex);
	int ret;

	if (!uplink)
		return err_set(err, ENOMEM, "no memory for an uplink");
	if (uplink->attached)
		return 0;
	ret = c->ops->uplink_attach(c->arg, ifindex, err);
	uplink->attached = ret == 0;
	return ret;
}

static int uplink_found(uint32_t ifindex, void *arg)
{
	struct uplink *uplink = uplink_get(arg, ifindex);

	if (!uplink)
		return -ENOMEM;
	uplink->attached = true;
	return 0;
}

static void uplink_xdp_tell(struct cluster *c, struct uplink *uplink, const struct err *err)
{
	char what[32];

	if (!err && !uplink->xdp_failed)
		return;
	uplink->xdp_failed = err;
	snprintf(what, sizeof(what), "XDP of device %u", uplink->ifindex);
	c->events.complain(c->events.arg, what, err);
}

/*
 * Only once from_uplink is there: xdp_uplink leaves it what it takes apart. Packets arrive without XDP too, so a failure is a
 * complaint. Another program there, or a driver that cannot, may stand for ever, and nothing announces the end of the first:
 * that waits for the next run, whatever that is for. The rest is tried again soon.
 */
static void uplinks_xdp(struct cluster *c)
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		struct uplink *uplink = &c->uplinks[i];
		struct err err = { 0 };
		int ret;

		if (!uplink->attached || uplink->xdp)
			continue;
		ret = c->ops->uplink_xdp(c->arg, uplink->ifindex, c->options->xdp, &err);
		uplink->xdp = ret == 0;
		uplink_xdp_tell(c, uplink, ret < 0 && ret != -ENODEV ? &err : NULL);
		if (ret < 0 && ret != -EBUSY && ret != -EOPNOTSUPP && ret != -ENODEV)
			c->again = true;
	}
}

/*
 * Off those that lead to nobody. XDP too, where the options say a mode for all uplinks; in mode auto it stays: whether an agent
 * has brought it, or who runs the node, is not known.
 */
static int uplink_drop(struct cluster *c, const struct uplink *uplink, struct err *err)
{
	const bool brought = uplink->xdp && (c->options->xdp == DP_XDP_NATIVE || c->options->xdp == DP_XDP_GENERIC);
	int ret = brought ? c->ops->uplink_xdp(c->arg, uplink->ifindex, DP_XDP_OFF, err) : 0;

	if (ret == 0 && uplink->attached)
		ret = c->ops->uplink_detach(c->arg, uplink->ifindex, err);
	return ret == -ENODEV ? 0 : ret;
}

static int uplinks_tidy(struct cluster *c, struct err *err)
{
	for (size_t i = 0; i < c->uplink_count; i++)
		c->uplinks[i].wanted = c->uplinks[i].own;
	for (size_t i = 0; i < c->count; i++) {
		struct uplink *uplink = c->members[i]->slot ? uplink_get(c, c->members[i]->node.uplink) : NULL;

		if (uplink)
			uplink->wanted = true;
	}
	for (size_t i = c->uplink_count; i-- > 0;) {
		struct uplink *uplink = &c->uplinks[i];
		int ret = uplink->wanted ? 0 : uplink_drop(c, uplink, err);

		if (ret < 0)
			return ret;
		if (uplink->wanted)
			continue;
		uplink_xdp_tell(c, uplink, NULL);
		*uplink = c->uplinks[--c->uplink_count];
	}
	return 0;
}

/* --- our own place --- */

static void put_own_prefix(struct wr_cluster *w, const struct prefix *cidr)
{
	uint8_t mask[16] = { 0 };

	for (unsigned bit = 0; bit < cidr->len; bit++)
		mask[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	if (cidr->ip.family == AF_INET) {
		w->flags |= WR_CLUSTER_POD4;
		memcpy(&w->cidr4, cidr->ip.bytes, 4);
		memcpy(&w->mask4, mask, 4);
	} else if (cidr->ip.family == AF_INET6) {
		w->flags |= WR_CLUSTER_POD6;
		memcpy(&w->cidr6, cidr->ip.bytes, 16);
		memcpy(&w->mask6, mask, 16);
	}
}

static struct wr_cluster cluster_wanted(const struct cluster *c)
{
	const struct ip *v4 = member_address(c->own, AF_INET), *v6 = member_address(c->own, AF_INET6);
	struct wr_cluster w = {
		.vni = WR_TUNNEL_VNI,
		.port = htons(WR_TUNNEL_PORT),
		.option_class = htons(WR_TUNNEL_OPTION_CLASS),
		.host_ifindex = c->gateway_ifindex,
	};

	if (v4) {
		w.flags |= WR_CLUSTER_V4;
		memcpy(&w.addr4, v4->bytes, 4);
	}
	if (v6) {
		w.flags |= WR_CLUSTER_V6;
		memcpy(&w.addr6, v6->bytes, 16);
	}
	for (int i = 0; i < 2; i++)
		put_own_prefix(&w, &c->own->object->cidrs[i]);
	return w;
}

static int set_cluster(struct cluster *c, const struct wr_cluster *wanted, struct err *err)
{
	int ret;

	if (memcmp(&c->cluster, wanted, sizeof(*wanted)) == 0)
		return 0;
	ret = c->ops->cluster_set(c->arg, wanted, err);
	if (ret == 0)
		c->cluster = *wanted;
	return ret;
}

static int set_port(struct cluster *c, uint16_t port, struct err *err)
{
	int ret = c->told_port == port ? 0 : c->ops->tunnel_port(c->arg, port, err);

	if (ret == 0)
		c->told_port = port;
	return ret;
}

/* Addresses of warren0, and the routes for what is no pod (yet). */
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
 * A node that comes back with another MAC address, or whose address is on another device now, is unreachable until its
 * neighbours notice: they are told. Best effort: in the end they do notice.
 */
static void announce(struct cluster *c, size_t i, const struct link_info *device)
{
	const bool heard = (device->flags & IFF_RUNNING) && !(device->flags & (IFF_NOARP | IFF_POINTOPOINT));
	const struct ip *ip = &c->own->object->addresses[i];
	struct announced *last = &c->announced[i];

	if (heard && last->ifindex == device->ifindex && ip_equal(&last->ip, ip) && memcmp(last->mac, device->mac, 6) == 0)
		return;
	*last = (struct announced){ .ip = *ip };
	if (!heard || c->ops->announce(c->arg, ip, device, NULL) < 0)
		return;
	last->ifindex = device->ifindex;
	memcpy(last->mac, device->mac, sizeof(last->mac));
}

static uint8_t mask_length(const void *mask, size_t size)
{
	const uint8_t *bytes = mask;
	uint8_t len = 0;

	for (size_t i = 0; i < size; i++)
		len = (uint8_t)(len + __builtin_popcount(bytes[i]));
	return len;
}

/* Which CIDRs the map names that are no longer ours. */
static void note_former(struct cluster *c)
{
	const struct wr_cluster *w = &c->cluster;
	const struct prefix old[2] = {
		{ w->flags & WR_CLUSTER_POD4 ? ip_from(AF_INET, &w->cidr4) : (struct ip){ 0 }, mask_length(&w->mask4, 4) },
		{ w->flags & WR_CLUSTER_POD6 ? ip_from(AF_INET6, &w->cidr6) : (struct ip){ 0 }, mask_length(&w->mask6, 16) },
	};

	for (int i = 0; i < 2; i++) {
		const struct prefix *now = member_cidr(c->own, i ? AF_INET6 : AF_INET);

		if (old[i].ip.family && (!now || !ip_equal(&now->ip, &old[i].ip) || now->len != old[i].len))
			c->former[i] = old[i];
	}
}

/* Once no route has them as its source any more. */
static int delete_former(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0; i++) {
		if (!c->former[i].ip.family)
			continue;
		ret = c->ops->gateway_delete(c->arg, c->gateway_ifindex, &c->former[i], err);
		if (ret == 0)
			c->former[i].ip.family = 0;
	}
	return ret;
}

/* The devices that have our addresses: packets of other nodes come in there, wherever ours go out. */
static void own_devices(struct cluster *c)
{
	struct member *own = c->own;

	c->own_mtu = 0;
	own->problem[0] = '\0';
	for (size_t i = 0; i < c->uplink_count; i++)
		c->uplinks[i].own = false;
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
		if (!c->own_mtu || info.mtu < c->own_mtu)
			c->own_mtu = info.mtu;
		if (uplink_want(c, info.ifindex, &err) < 0) {
			member_problem(own, "%.255s", err.msg);
			c->again = true;
		} else {
			uplink_get(c, info.ifindex)->own = true;
		}
		announce(c, i, &info);
	}
}

static int own_update(struct cluster *c, struct err *err)
{
	uint32_t gateway = c->gateway_ifindex;
	struct wr_cluster wanted;
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
	note_former(c);
	wanted = cluster_wanted(c);
	ret = set_cluster(c, &wanted, err);
	if (ret == 0)
		c->own_changed = false;
	return ret;
}

/* --- the pods' MTU --- */

static uint32_t smallest_mtu(const struct cluster *c)
{
	int family = c->options->underlay	       ? c->options->underlay
		     : member_address(c->own, AF_INET) ? AF_INET
						       : AF_INET6;
	uint32_t overhead = c->options->mode == ROUTING_DIRECT ? 0 : tunnel_overhead(family);
	uint32_t mtu = c->own_mtu > overhead ? c->own_mtu - overhead : 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct member *m = c->members[i];

		if (m->slot && (!mtu || m->node.mtu < mtu))
			mtu = m->node.mtu;
	}
	return mtu < UINT16_MAX ? mtu : UINT16_MAX;
}

static void tell_pods_left(struct cluster *c, const struct err *why)
{
	struct err err = { .num = why->num };

	if (c->pods_left)
		err_set(&err, why->num, "%d %s not have %d: %.400s", c->pods_left, c->pods_left == 1 ? "does" : "do",
			c->told_mtu, why->msg);
	if (strcmp(err.msg, c->pods_told) == 0)
		return;
	memcpy(c->pods_told, err.msg, sizeof(c->pods_told));
	c->events.complain(c->events.arg, "MTU of pods", c->pods_left ? &err : NULL);
}

/* New pods first: one that is being made sees it, or is on record by now. Those that fail keep nobody from having it. */
static int set_mtu(struct cluster *c, uint32_t mtu, struct err *err)
{
	struct err why = { 0 };
	int ret = c->told_mtu == (int)mtu ? 0 : c->ops->pod_mtu(c->arg, (uint16_t)mtu, err);

	if (ret < 0 || (c->told_mtu == (int)mtu && !c->pods_left))
		return ret;
	c->told_mtu = (int)mtu;
	c->pods_left = -1;
	ret = mtu ? c->ops->pods_follow(c->arg, (uint16_t)mtu, &why) : 0;
	if (ret < 0) {
		*err = why;
		return ret;
	}
	c->pods_left = ret;
	tell_pods_left(c, &why);
	return 0;
}

/* --- runs --- */

static int load(struct cluster *c, struct err *err)
{
	int ret = c->ops->gateway_link(c->arg, &c->gateway_ifindex, err);

	for (size_t i = 0; i < c->uplink_count; i++)
		uplink_xdp_tell(c, &c->uplinks[i], NULL);
	c->uplink_count = 0;
	c->told_mtu = c->told_port = -1;
	if (ret == 0)
		ret = c->ops->cluster_get(c->arg, &c->cluster, err);
	c->cluster.revision = 0;
	for (size_t i = 0; i < c->count && ret == 0; i++) {
		struct member *m = c->members[i];

		m->slot = 0;
		memset(m->routes, 0, sizeof(m->routes));
	}
	if (ret == 0)
		ret = leftovers_load(c, err);
	if (ret == 0)
		ret = c->ops->uplink_each(c->arg, uplink_found, c, err);
	c->loaded = ret == 0;
	return ret;
}

/* Routes that are there, whoever else has been at them. */
static int reload_routes(struct cluster *c, struct err *err)
{
	for (size_t i = 0; i < c->count; i++)
		memset(c->members[i]->routes, 0, sizeof(c->members[i]->routes));
	return leftover_routes_load(c, err);
}

static void tell(struct cluster *c, struct member *m)
{
	struct err err = { .num = EINVAL };
	char what[300];

	if (strcmp(m->problem, m->told) == 0)
		return;
	memcpy(m->told, m->problem, sizeof(m->told));
	snprintf(what, sizeof(what), "Node %s", m->name);
	snprintf(err.msg, sizeof(err.msg), "%s", m->problem);
	c->events.complain_node(c->events.arg, what, *m->problem ? &err : NULL);
}

/* Of those who are gone all goes; they are told to be in order, since nobody else will. */
static void drop_gone(struct cluster *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (!c->members[i]->object)
			member_withdraw(c, c->members[i]);
	}
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m->object || m->slot || m->known_count) { /* could not be withdrawn: the next run tries again */
			c->members[kept++] = m;
			continue;
		}
		m->problem[0] = '\0';
		tell(c, m);
		member_free(m);
	}
	c->count = kept;
}

static int run_on(struct cluster *c, struct err *err)
{
	int ret = 0;

	if (c->look_again)
		ret = reload_routes(c, err);
	if (ret == 0)
		ret = own_update(c, err);
	/* Twice: who makes way for another one is looked at again. */
	for (int round = 0; round < 2 && ret == 0; round++) {
		for (size_t i = 0; i < c->count; i++) {
			struct member *m = c->members[i];

			if (m != c->own && m->object && (m->dirty || (c->look_again && !round)))
				member_update(c, m);
		}
	}
	c->look_again = false;
	if (ret == 0)
		ret = leftover_nodes_delete(c, err);
	if (ret == 0)
		ret = leftover_routes_delete(c, err);
	if (ret == 0)
		ret = delete_former(c, err);
	if (ret == 0)
		ret = uplinks_tidy(c, err);
	if (ret == 0)
		uplinks_xdp(c);
	return ret < 0 ? ret : set_mtu(c, smallest_mtu(c), err);
}

static int run_off(struct cluster *c, struct err *err)
{
	static const struct wr_cluster none;
	int ret = leftover_nodes_delete(c, err);

	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (!m->own)
			m->problem[0] = '\0';
		member_withdraw(c, m);
	}
	for (size_t i = 0; i < c->uplink_count; i++)
		c->uplinks[i].own = false;
	if (ret == 0)
		ret = leftover_routes_delete(c, err);
	if (ret == 0)
		ret = set_cluster(c, &none, err);
	if (ret == 0)
		ret = uplinks_tidy(c, err);
	if (ret == 0)
		ret = set_port(c, 0, err);
	if (ret == 0)
		ret = set_mtu(c, 0, err);
	if (ret == 0)
		c->own_changed = c->look_again = false;
	return ret;
}

int cluster_run(struct cluster *c, struct err *err)
{
	int ret = c->loaded ? 0 : load(c, err), flushed;

	c->again = c->pending = false;
	if (ret == 0) {
		drop_gone(c);
		ret = c->own ? run_on(c, err) : run_off(c, err);
	}
	for (size_t i = 0; i < c->count; i++)
		tell(c, c->members[i]);
	/* Whatever was written counts, also if not all could be. */
	flushed = ipcache_flush(c->ipcache, ret < 0 ? NULL : err);
	ret = ret < 0 ? ret : flushed;
	flushed = c->ops->commit(c->arg, ret < 0 ? NULL : err);
	ret = ret < 0 ? ret : flushed;
	if (ret == 0 && c->again)
		ret = err_set(err, EAGAIN, "some nodes could not be written");
	c->failed = ret < 0;
	return ret;
}

/* --- to look at --- */

int cluster_each(const struct cluster *c, int (*fn)(const struct cluster_node *node, void *arg), void *arg)
{
	int ret = 0;

	for (size_t i = 0; i < c->count && ret == 0; i++) {
		const struct member *m = c->members[i];
		const struct cluster_node node = { m->object, m->own, m->slot, m->slot ? &m->node : NULL, m->problem };

		if (m->object)
			ret = fn(&node, arg);
	}
	return ret;
}

void cluster_count(const struct cluster *c, struct cluster_counts *counts)
{
	*counts = (struct cluster_counts){ .on = c->own, .pod_mtu = c->told_mtu > 0 ? (uint32_t)c->told_mtu : 0 };
	for (size_t i = 0; i < c->count; i++) {
		const struct member *m = c->members[i];

		counts->nodes += !m->own && m->object;
		counts->in_maps += m->slot != 0;
		counts->unresolved += m->slot && !m->node.resolved;
		counts->problems += *m->problem != '\0';
	}
}

const struct histogram *cluster_joins(const struct cluster *c)
{
	return &c->joins;
}

struct cluster *cluster_open(const struct cluster_ops *ops, void *arg, const struct cluster_options *options,
			    struct ipcache *ipcache, const struct cluster_events *events)
{
	struct cluster *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ops = ops;
	c->arg = arg;
	c->options = options;
	c->ipcache = ipcache;
	c->events = *events;
	c->pending = true;
	return c;
}

void cluster_close(struct cluster *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		member_free(c->members[i]);
	free(c->members);
	free(c->uplinks);
	leftovers_free(&c->left);
	free(c);
}
