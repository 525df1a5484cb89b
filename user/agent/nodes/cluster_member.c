/* SPDX-License-Identifier: BSD-2-Clause */
/* Another node: its nexthop, and its elements in maps, routing table and ipcache. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "cluster_internal.h"
#include "gateway.h"

void member_problem(struct member *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->problem, sizeof(m->problem), fmt, ap);
	va_end(ap);
}

/* A failure whose end no event announces. */
static void member_failed(struct cluster *c, struct member *m, const struct err *err)
{
	member_problem(m, "%.255s", err->msg);
	c->again = true;
}

const struct ip *member_address(const struct member *m, int family)
{
	for (size_t i = 0; i < m->object->address_count; i++) {
		if (m->object->addresses[i].family == family)
			return &m->object->addresses[i];
	}
	return NULL;
}

const struct prefix *member_cidr(const struct member *m, int family)
{
	for (int i = 0; i < 2; i++) {
		if (m->object->cidrs[i].ip.family == family)
			return &m->object->cidrs[i];
	}
	return NULL;
}

/* --- addresses in ipcache --- */

static size_t addresses_of(const struct member *m, struct ip *ips)
{
	size_t count = 0;

	for (size_t i = 0; i < m->object->address_count; i++)
		ips[count++] = m->object->addresses[i];
	/* The source addresses of its stack's packets to pods. */
	for (int i = 0; i < 2; i++) {
		if (m->object->cidrs[i].ip.family)
			ips[count++] = cidr_gateway(&m->object->cidrs[i]);
	}
	return count;
}

static void cache_addresses(struct cluster *c, struct member *m, const struct ip *ips, size_t count)
{
	if (count == m->cached_count && (!count || memcmp(ips, m->cached, count * sizeof(*ips)) == 0))
		return;
	for (size_t i = 0; i < count; i++) {
		if (ipcache_add_node(c->ipcache, &ips[i]) < 0) {
			while (i)
				ipcache_remove_node(c->ipcache, &ips[--i]);
			member_problem(m, "no memory for its addresses");
			c->again = true;
			return;
		}
	}
	for (size_t i = 0; i < m->cached_count; i++)
		ipcache_remove_node(c->ipcache, &m->cached[i]);
	if (count)
		memcpy(m->cached, ips, count * sizeof(*ips));
	m->cached_count = count;
}

/* --- nexthop --- */

static bool same_nexthop(const struct nexthop *a, const struct nexthop *b)
{
	return a->ifindex == b->ifindex && ip_equal(&a->next, &b->next);
}

/* Nodes behind one gateway share its neighbour entry. */
static bool nexthop_is_shared(const struct cluster *c, const struct member *m)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct member *other = c->members[i];

		if (other != m && other->kept && same_nexthop(&other->nexthop, &m->nexthop))
			return true;
	}
	return false;
}

static void forget_nexthop(struct cluster *c, struct member *m)
{
	/* If it fails, the kernel keeps resolving an unused address, which is harmless. */
	if (m->kept && !nexthop_is_shared(c, m))
		c->ops->nexthop_keep(c->arg, &m->nexthop, false, NULL);
	m->kept = false;
}

static void keep_nexthop(struct cluster *c, struct member *m, const struct nexthop *nexthop)
{
	const bool same = m->kept && same_nexthop(&m->nexthop, nexthop);

	if (!same)
		forget_nexthop(c, m);
	m->nexthop = *nexthop;
	/* An unresolved entry may have been deleted, with its link or by another program: add it again. */
	if (!same || !nexthop->resolved)
		m->kept = c->ops->nexthop_keep(c->arg, nexthop, true, NULL) == 0;
}

/* --- desired state --- */

/* The family of the outer packets: AF_*, or 0 and a problem. */
static int outer_family(const struct cluster *c, struct member *m)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (int i = 0; i < 2; i++) {
		int family = families[i];

		if ((!c->options->underlay || c->options->underlay == family) && member_address(m, family) &&
		    member_address(c->own, family))
			return family;
	}
	member_problem(m, "this node and it have no InternalIP of the same family%s",
		       c->options->underlay ? " that --underlay allows" : "");
	return 0;
}

/* Whether each of its pod CIDRs can be routed to it without a gateway, all by one device. */
static bool is_on_link(struct cluster *c, const struct member *m, const struct nexthop *outer, int outer_af)
{
	for (int i = 0; i < 2; i++) {
		int family = m->object->cidrs[i].ip.family;
		const struct ip *to = family ? member_address(m, family) : NULL;
		struct nexthop nexthop = *outer;

		if (!family)
			continue;
		if (!to || (family != outer_af && c->ops->nexthop_find(c->arg, to, &nexthop, NULL) < 0) ||
		    nexthop.gateway || nexthop.ifindex != outer->ifindex)
			return false;
	}
	return true;
}

/* Whether the MTU is sufficient for the minimum MTU of each family (RFC 791, RFC 8200). */
static bool node_mtu(struct member *m, const struct nexthop *nexthop, uint32_t overhead, struct dp_node *node)
{
	uint32_t least = member_cidr(m, AF_INET6) ? IP6_MTU_MIN : IP4_MTU_MIN;

	if (nexthop->mtu < overhead + least) {
		member_problem(m, "the MTU of the path to it, %u, is too small: its pods need %u, and the tunnel %u",
			       nexthop->mtu, least, overhead);
		return false;
	}
	node->mtu = nexthop->mtu - overhead;
	return true;
}

static bool nexthop_is_usable(const struct cluster *c, struct member *m, const struct ip *to,
			      const struct nexthop *nexthop)
{
	char text[IP_STRLEN];

	if (nexthop->ifindex == c->gateway_ifindex)
		member_problem(m,
			       "its address %s is routed to " WARREN_GATEWAY_LINK ": it is in another node's pod CIDR",
			       ip_format(to, text));
	else if (ip_equal(&nexthop->source, to))
		member_problem(m, "its address %s is also this node's", ip_format(to, text));
	else
		return true;
	return false;
}

/* The tags of both directions, each at its key's index. Without `keyed`, only the rx tags are used. */
static bool set_tags(const struct cluster *c, struct member *m, struct dp_node *node)
{
	struct err err;

	if (m->tags_version != c->keys_version) {
		memset(m->tx_tag, 0, sizeof(m->tx_tag));
		memset(m->rx_tag, 0, sizeof(m->rx_tag));
		for (size_t i = 0; i < c->keys.count; i++) {
			const struct tunnel_key *key = &c->keys.keys[i];
			const size_t index = key->id % WR_TUNNEL_KEYS;

			if (tunnel_tag(key, c->own->name, m->name, &m->tx_tag[index], &err) < 0 ||
			    tunnel_tag(key, m->name, c->own->name, &m->rx_tag[index], &err) < 0) {
				member_problem(m, "%.255s", err.msg);
				return false;
			}
		}
		m->tags_version = c->keys_version;
	}
	memcpy(node->tx_tag, m->tx_tag, sizeof(node->tx_tag));
	memcpy(node->rx_tag, m->rx_tag, sizeof(node->rx_tag));
	return true;
}

/* The desired node in the maps, given its nexthop. false and a problem: it cannot be programmed. */
static bool node_desired(struct cluster *c, struct member *m, int family, const struct nexthop *nexthop,
			 struct dp_node *node)
{
	const struct ip *to = member_address(m, family);
	char text[IP_STRLEN];

	if (!nexthop_is_usable(c, m, to, nexthop))
		return false;
	*node = (struct dp_node){
		.cidrs = { m->object->cidrs[0], m->object->cidrs[1] },
		.address_count = m->object->address_count,
		.local = *member_address(c->own, family),
		.remote = *to,
		.uplink = nexthop->ifindex,
		.direct = c->options->mode != ROUTING_TUNNEL && is_on_link(c, m, nexthop, family),
	};
	memcpy(node->addresses, m->object->addresses, node->address_count * sizeof(*node->addresses));
	node_normalize(node);
	node->keyed = c->options->tunnel_key != TUNNEL_KEY_OFF && !node->direct;
	if (!set_tags(c, m, node))
		return false;
	if (c->options->mode == ROUTING_DIRECT && !node->direct) {
		member_problem(m,
			       "%s is not the nexthop of each of its pod CIDRs, which --routing-mode direct requires",
			       ip_format(to, text));
		return false;
	}
	return node_mtu(m, nexthop, node->direct ? 0 : tunnel_overhead(c, family), node);
}

/* --- maps --- */

static bool node_same(const struct dp_node *a, const struct dp_node *b)
{
	return memcmp(a->cidrs, b->cidrs, sizeof(a->cidrs)) == 0 && a->address_count == b->address_count &&
	       memcmp(a->addresses, b->addresses, a->address_count * sizeof(*a->addresses)) == 0 &&
	       ip_equal(&a->local, &b->local) && ip_equal(&a->remote, &b->remote) && a->uplink == b->uplink &&
	       a->mtu == b->mtu && a->direct == b->direct && a->keyed == b->keyed &&
	       memcmp(a->tx_tag, b->tx_tag, sizeof(a->tx_tag)) == 0 &&
	       memcmp(a->rx_tag, b->rx_tag, sizeof(a->rx_tag)) == 0;
}

static struct member *member_by_slot(const struct cluster *c, uint32_t slot)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->members[i]->slot == slot)
			return c->members[i];
	}
	return NULL;
}

/*
 * Deletes the node in a slot whose prefixes are another member's now: a member that is about to change, or a stale
 * node.
 */
static int release_slot(struct cluster *c, uint32_t slot, struct err *err)
{
	struct member *m = member_by_slot(c, slot);
	int ret = c->ops->node_delete(c->arg, slot, err);

	if (ret == 0 && m) {
		m->slot = 0;
		m->dirty = true;
	}
	for (size_t i = 0; i < c->stale.node_count && ret == 0; i++) {
		if (c->stale.nodes[i].slot == slot)
			c->stale.nodes[i].slot = 0;
	}
	return ret;
}

static int put_node(struct cluster *c, struct member *m, const struct dp_node *node, struct err *err)
{
	uint32_t other = 0;
	int ret;

	if (m->slot && node_same(&m->node, node))
		return 0;
	ret = c->ops->node_put(c->arg, m->slot, node, &other, err);
	for (int i = 0; i < 2 + NODE_ADDRESSES && ret == -EEXIST && other != m->slot; i++) {
		ret = release_slot(c, other, err);
		if (ret == 0)
			ret = c->ops->node_put(c->arg, m->slot, node, &other, err);
	}
	if (ret < 0)
		return ret;
	m->slot = (uint32_t)ret;
	m->node = *node;
	return 0;
}

/* --- routes --- */

static bool same_dst(const struct route *a, const struct route *b)
{
	return prefix_cmp(&a->dst, &b->dst) == 0;
}

/* If another member has the CIDR now, its route has replaced this one. */
static bool route_is_replaced(const struct cluster *c, const struct member *m, const struct route *route)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct route *others = c->members[i]->routes;

		if (c->members[i] != m && (same_dst(&others[0], route) || same_dst(&others[1], route)))
			return true;
	}
	return false;
}

static int delete_route(struct cluster *c, const struct member *m, struct route *route, struct err *err)
{
	int ret =
	    route->dst.ip.family && !route_is_replaced(c, m, route) ? c->ops->route_delete(c->arg, route, err) : 0;

	if (ret == 0)
		*route = (struct route){ 0 };
	return ret;
}

static struct route route_desired(const struct cluster *c, const struct member *m, const struct prefix *cidr)
{
	const struct prefix *own = member_cidr(c->own, cidr->ip.family);
	struct route route = {
		.dst = *cidr,
		.ifindex = m->node.direct ? m->node.uplink : c->gateway_ifindex,
		.mtu = m->node.mtu,
		.type = RTN_UNICAST,
		.protocol = WR_RTPROT,
		.scope = m->node.direct ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
	};

	if (m->node.direct)
		route.gateway = *member_address(m, cidr->ip.family);
	if (own)
		route.source = cidr_gateway(own);
	return route;
}

static int put_routes(struct cluster *c, struct member *m, struct err *err)
{
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0; i++) {
		const struct prefix *cidr = &m->node.cidrs[i];
		struct route old = m->routes[i], desired;

		if (!cidr->ip.family) {
			ret = delete_route(c, m, &m->routes[i], err);
			continue;
		}
		desired = route_desired(c, m, cidr);
		if (route_same(&old, &desired))
			continue;
		if (!stale_route_adopt(c, &desired))
			ret = c->ops->route_put(c->arg, &desired, err);
		if (ret < 0)
			break;
		m->routes[i] = desired;
		if (!same_dst(&old, &desired))
			ret = delete_route(c, m, &old, err);
	}
	return ret;
}

/* --- updates --- */

int member_withdraw(struct cluster *c, struct member *m)
{
	struct err err;
	int ret = m->slot ? c->ops->node_delete(c->arg, m->slot, &err) : 0;

	if (ret == 0)
		m->slot = 0;
	for (int i = 0; i < 2 && ret == 0; i++)
		ret = delete_route(c, m, &m->routes[i], &err);
	if (ret < 0) {
		member_failed(c, m, &err);
		return ret;
	}
	cache_addresses(c, m, NULL, 0);
	forget_nexthop(c, m);
	return 0;
}

/*
 * There is no route to it. If it was reachable, it stays in the maps, and so do its routes, unless the kernel has
 * deleted them with the link.
 */
static void member_unreachable(struct cluster *c, struct member *m, const struct prefix cidrs[2], const struct ip *to,
			       const struct err *why)
{
	struct dp_node node = m->node;
	struct err err;
	int ret;

	member_problem(m, "%.255s", why->msg);
	if (!m->slot || !ip_equal(&node.remote, to) || memcmp(node.cidrs, cidrs, sizeof(node.cidrs)) != 0) {
		member_withdraw(c, m);
		return;
	}
	m->nexthop.resolved = false;
	if (!set_tags(c, m, &node))
		return;
	ret = put_node(c, m, &node, &err);
	if (ret == 0 && !node.direct)
		ret = put_routes(c, m, &err);
	if (ret < 0)
		member_failed(c, m, &err);
}

static void member_join(struct cluster *c, struct member *m, const struct nexthop *nexthop, const struct dp_node *node)
{
	struct ip ips[NODE_ADDRESSES + 2];
	struct err err = { 0 };
	int ret = uplink_require(c, nexthop->ifindex, false, &err);

	cache_addresses(c, m, ips, addresses_of(m, ips));
	if (ret == 0)
		ret = put_node(c, m, node, &err);
	if (ret == 0)
		ret = put_routes(c, m, &err);
	if (ret < 0) {
		member_failed(c, m, &err);
		return;
	}
	keep_nexthop(c, m, nexthop);
	if (m->since_ns)
		histogram_add(&c->joins, clock_ns(CLOCK_MONOTONIC) - m->since_ns);
	m->since_ns = 0;
}

void member_update(struct cluster *c, struct member *m)
{
	const struct prefix cidrs[2] = { m->object->cidrs[0], m->object->cidrs[1] };
	struct dp_node node = { .cidrs = { cidrs[0], cidrs[1] } };
	struct err err = { 0 };
	struct nexthop nexthop;
	int family = 0;

	m->dirty = false;
	if (!m->not_programmed) {
		m->problem[0] = '\0';
		if (!m->object->address_count)
			member_problem(m, "it has no address of type InternalIP");
		else if (!cidrs[0].ip.family && !cidrs[1].ip.family)
			member_problem(m, "it has no pod CIDR");
		else
			family = outer_family(c, m);
	}
	if (!family) {
		member_withdraw(c, m);
		return;
	}
	node_normalize(&node);
	if (!m->slot)
		stale_node_adopt(c, m, node.cidrs);
	if (c->ops->nexthop_find(c->arg, member_address(m, family), &nexthop, &err) < 0)
		member_unreachable(c, m, node.cidrs, member_address(m, family), &err);
	else if (node_desired(c, m, family, &nexthop, &node))
		member_join(c, m, &nexthop, &node);
	else
		member_withdraw(c, m);
}
