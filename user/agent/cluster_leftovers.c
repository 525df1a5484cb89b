/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an earlier agent has left in maps and routes: taken over if it is wanted, removed if it is not, never made
 * twice.
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

static int take_found(uint32_t slot, const struct dp_node *node, void *arg)
{
	struct leftovers *left = arg;
	struct found_node found = { slot, *node };

	node_normalize(&found.node);
	return array_push(left->nodes, left->node_room, left->node_count, found);
}

void leftover_node_take(struct cluster *c, struct member *m, const struct prefix cidrs[2])
{
	struct found_node wanted = { .node.cidrs = { cidrs[0], cidrs[1] } };
	struct found_node *found =
	    c->left.node_count
		? bsearch(&wanted, c->left.nodes, c->left.node_count, sizeof(*c->left.nodes), found_cmp)
		: NULL;

	if (!found || !found->slot)
		return;
	m->slot = found->slot;
	m->node = found->node;
	found->slot = 0;
}

int leftover_nodes_delete(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->left.node_count && ret == 0; i++) {
		if (c->left.nodes[i].slot)
			ret = c->ops->node_delete(c->arg, c->left.nodes[i].slot, err);
		if (ret == 0)
			c->left.nodes[i].slot = 0;
	}
	if (ret == 0)
		c->left.node_count = 0;
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

/* Those to other nodes' pods: by warren0, or by a gateway. (A pod's own is by its device.) */
static int take_route(const struct route *route, void *arg)
{
	struct cluster *c = arg;
	struct leftovers *left = &c->left;

	if (route->protocol != WR_RTPROT || route->type != RTN_UNICAST ||
	    (route->ifindex != c->gateway_ifindex && !route->gateway.family))
		return 0;
	return array_push(left->routes, left->route_room, left->route_count, *route);
}

bool leftover_route_take(struct cluster *c, const struct route *route)
{
	struct route *found =
	    c->left.route_count
		? bsearch(route, c->left.routes, c->left.route_count, sizeof(*c->left.routes), dst_cmp)
		: NULL;
	bool same = found && route_same(found, route);

	/* One that is to be replaced is not deleted either. */
	if (found)
		found->type = RTN_UNSPEC;
	return same;
}

int leftover_routes_delete(struct cluster *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->left.route_count && ret == 0; i++) {
		if (c->left.routes[i].type != RTN_UNSPEC)
			ret = c->ops->route_delete(c->arg, &c->left.routes[i], err);
		if (ret == 0)
			c->left.routes[i].type = RTN_UNSPEC;
	}
	if (ret == 0)
		c->left.route_count = 0;
	return ret;
}

int leftover_routes_load(struct cluster *c, struct err *err)
{
	struct leftovers *left = &c->left;
	int ret;

	left->route_count = 0;
	ret = c->ops->route_each(c->arg, take_route, c, err);
	if (left->route_count)
		qsort(left->routes, left->route_count, sizeof(*left->routes), dst_cmp);
	return ret == -ENOMEM ? err_set(err, ENOMEM, "no memory for the routes to other nodes") : ret;
}

/* --- both --- */

int leftover_nodes_load(struct cluster *c, struct err *err)
{
	struct leftovers *left = &c->left;
	int ret;

	left->node_count = 0;
	ret = c->ops->node_each(c->arg, take_found, left, err);
	if (left->node_count)
		qsort(left->nodes, left->node_count, sizeof(*left->nodes), found_cmp);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the nodes of the cluster");
	return ret;
}

int leftovers_load(struct cluster *c, struct err *err)
{
	int ret = leftover_nodes_load(c, err);

	return ret < 0 ? ret : leftover_routes_load(c, err);
}

void leftovers_free(struct leftovers *left)
{
	free(left->nodes);
	free(left->routes);
	*left = (struct leftovers){ 0 };
}
