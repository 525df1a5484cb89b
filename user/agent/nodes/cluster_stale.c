/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes and routes of an earlier agent: adopted if they are desired, else deleted, so that none is interrupted or
 * written twice.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "array.h"
#include "cluster_internal.h"
#include "gateway.h"

/* --- nodes --- */

static int address_cmp(const void *a, const void *b)
{
	return ip_cmp(a, b);
}

void node_normalize(struct dp_node *node)
{
	if (node->cidrs[0].ip.family == AF_INET6 ||
	    (!node->cidrs[0].ip.family && node->cidrs[1].ip.family == AF_INET)) {
		struct prefix first = node->cidrs[0];

		node->cidrs[0] = node->cidrs[1];
		node->cidrs[1] = first;
	}
	qsort(node->addresses, node->address_count, sizeof(*node->addresses), address_cmp);
}

static int cidrs_cmp(const struct prefix a[2], const struct prefix b[2])
{
	int c = prefix_cmp(&a[0], &b[0]);

	return c ? c : prefix_cmp(&a[1], &b[1]);
}

static int found_cmp(const void *a, const void *b)
{
	return cidrs_cmp(((const struct found_node *)a)->node.cidrs, ((const struct found_node *)b)->node.cidrs);
}

static int add_found(uint32_t slot, const struct dp_node *node, void *arg)
{
	struct stale *stale = arg;
	struct found_node found = { slot, *node };

	node_normalize(&found.node);
	return array_push(stale->nodes, stale->node_room, stale->node_count, found);
}

void stale_node_adopt(struct cluster *c, struct member *m, const struct prefix cidrs[2])
{
	struct found_node desired = { .node.cidrs = { cidrs[0], cidrs[1] } };
	struct found_node *found = c->stale.node_count ? bsearch(&desired, c->stale.nodes, c->stale.node_count,
								 sizeof(*c->stale.nodes), found_cmp)
						       : NULL;

	if (!found || !found->slot)
		return;
	m->slot = found->slot;
	m->node = found->node;
	found->slot = 0;
}

int stale_nodes_delete(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->stale.node_count && ret == 0; i++) {
		if (c->stale.nodes[i].slot)
			ret = c->ops->node_delete(c->arg, c->stale.nodes[i].slot, err);
		if (ret == 0)
			c->stale.nodes[i].slot = 0;
	}
	if (ret == 0)
		c->stale.node_count = 0;
	return ret;
}

/* --- routes --- */

bool route_same(const struct route *a, const struct route *b)
{
	return prefix_cmp(&a->dst, &b->dst) == 0 && ip_equal(&a->gateway, &b->gateway) &&
	       ip_equal(&a->source, &b->source) && a->ifindex == b->ifindex && a->mtu == b->mtu && a->type == b->type;
}

static int dst_cmp(const void *a, const void *b)
{
	return prefix_cmp(&((const struct route *)a)->dst, &((const struct route *)b)->dst);
}

/* Routes to other nodes' pods: by warren0, or by a gateway. (The route to a local pod is by its device.) */
static int add_route(const struct route *route, void *arg)
{
	struct cluster *c = arg;
	struct stale *stale = &c->stale;

	if (route->protocol != WR_RTPROT || route->type != RTN_UNICAST ||
	    (route->ifindex != c->gateway_ifindex && !route->gateway.family))
		return 0;
	return array_push(stale->routes, stale->route_room, stale->route_count, *route);
}

bool stale_route_adopt(struct cluster *c, const struct route *route)
{
	struct route *found = c->stale.route_count ? bsearch(route, c->stale.routes, c->stale.route_count,
							     sizeof(*c->stale.routes), dst_cmp)
						   : NULL;
	bool same = found && route_same(found, route);

	/* A route that differs is replaced, so it must not be deleted either. */
	if (found)
		found->type = RTN_UNSPEC;
	return same;
}

int stale_routes_delete(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->stale.route_count && ret == 0; i++) {
		if (c->stale.routes[i].type != RTN_UNSPEC)
			ret = c->ops->route_delete(c->arg, &c->stale.routes[i], err);
		if (ret == 0)
			c->stale.routes[i].type = RTN_UNSPEC;
	}
	if (ret == 0)
		c->stale.route_count = 0;
	return ret;
}

int stale_routes_load(struct cluster *c, struct err *err)
{
	struct stale *stale = &c->stale;
	int ret;

	stale->route_count = 0;
	ret = c->ops->route_each(c->arg, add_route, c, err);
	if (stale->route_count)
		qsort(stale->routes, stale->route_count, sizeof(*stale->routes), dst_cmp);
	return ret == -ENOMEM ? err_set(err, ENOMEM, "no memory for the routes to other nodes") : ret;
}

/* --- both --- */

int stale_nodes_load(struct cluster *c, struct err *err)
{
	struct stale *stale = &c->stale;
	int ret;

	stale->node_count = 0;
	ret = c->ops->node_each(c->arg, add_found, stale, err);
	if (stale->node_count)
		qsort(stale->nodes, stale->node_count, sizeof(*stale->nodes), found_cmp);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the nodes of the cluster");
	return ret;
}

int stale_load(struct cluster *c, struct err *err)
{
	int ret = stale_nodes_load(c, err);

	return ret < 0 ? ret : stale_routes_load(c, err);
}

void stale_free(struct stale *stale)
{
	free(stale->nodes);
	free(stale->routes);
	*stale = (struct stale){ 0 };
}
