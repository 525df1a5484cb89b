/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "enum_names.h"
#include "json.h"
#include "maps.h"
#include "str.h"

void remotes_free(struct remotes *r)
{
	free(r->nodes);
	free(r->pods);
	for (size_t i = 0; i < ARRAY_SIZE(r->answers); i++)
		json_decref(r->answers[i]);
	*r = (struct remotes){ 0 };
}

bool remotes_in_cluster(const struct remotes *r)
{
	return r->cluster.flags;
}

/* --- addresses --- */

int ipcache_lookup(const struct ip *ip, uint64_t *identity, struct err *err)
{
	struct wr_ipcache entry;
	int r = dp_map_lookup(ip->family == AF_INET ? "ipcache4" : "ipcache6", ip->bytes, &entry, err);

	if (r == 0)
		*identity = entry.identity;
	return r;
}

struct packet_tunnel tunnel_form(const struct wr_cluster *cluster)
{
	if (!cluster->flags)
		return (struct packet_tunnel){ WR_TUNNEL_PORT, WR_TUNNEL_OPTION_CLASS };
	return (struct packet_tunnel){ ntohs(cluster->port), ntohs(cluster->option_class) };
}

/* --- from the maps --- */

static struct remote_node *add_node(struct remotes *r)
{
	if (array_push(r->nodes, r->node_room, r->node_count, (struct remote_node){ 0 }) < 0)
		return NULL;
	return &r->nodes[r->node_count - 1];
}

static int add_from_maps(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS],
			 void *arg)
{
	struct remote_node *added = add_node(arg);

	if (!added)
		return -ENOMEM;
	added->slot = slot;
	added->dp = *node;
	memcpy(added->totals, totals, sizeof(added->totals));
	return 0;
}

/* This node, from map cluster. */
static int add_own(struct remotes *r)
{
	const struct wr_cluster *c = &r->cluster;
	struct remote_node *own = add_node(r);

	if (!own)
		return -ENOMEM;
	own->own = true;
	if (c->flags & WR_CLUSTER_POD4)
		own->dp.cidrs[0] = prefix_masked(AF_INET, &c->cidr4, &c->mask4);
	if (c->flags & WR_CLUSTER_POD6)
		own->dp.cidrs[1] = prefix_masked(AF_INET6, &c->cidr6, &c->mask6);
	if (c->flags & WR_CLUSTER_V4)
		own->dp.addresses[own->dp.address_count++] = ip_from4(&c->addr4);
	if (c->flags & WR_CLUSTER_V6)
		own->dp.addresses[own->dp.address_count++] = ip_from6(&c->addr6);
	return 0;
}

/* --- from the agent --- */

/* The array `method` in the agent's answer; NULL: none. */
static const json_t *query_agent(struct remotes *r, size_t which, const char *method)
{
	r->answers[which] = cli_query_agent(method, &r->why);
	return json_object_get(r->answers[which], method);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_text_at(object, key);

	return text && *text ? text : NULL;
}

/* CIDRs and addresses of a node that is in no map. */
static void read_addresses(const json_t *json, struct dp_node *dp)
{
	const json_t *item;
	size_t i;

	*dp = (struct dp_node){ 0 };
	json_array_foreach(json_object_get(json, "cidrs"), i, item) {
		struct prefix p;

		if (prefix_parse(json_string_value(item) ?: "", &p) == 0)
			dp->cidrs[p.ip.family == AF_INET6] = p;
	}
	json_array_foreach(json_object_get(json, "addresses"), i, item) {
		if (dp->address_count < ARRAY_SIZE(dp->addresses) &&
		    ip_parse(json_string_value(item) ?: "", &dp->addresses[dp->address_count]) == 0)
			dp->address_count++;
	}
}

/* The node of the agent's answer; added if it is not in the maps. */
static struct remote_node *match_node(struct remotes *r, const json_t *json)
{
	const uint32_t slot = (uint32_t)json_integer_value(json_object_get(json, "slot"));
	const struct remote_node *known = remotes_by_slot(r, slot);
	struct remote_node *node;

	if (known)
		return &r->nodes[known - r->nodes];
	node = json_is_true(json_object_get(json, "own")) ? &r->nodes[0] : add_node(r);
	if (node)
		read_addresses(json, &node->dp);
	return node;
}

static int add_names(struct remotes *r, const json_t *nodes)
{
	const json_t *json;
	size_t i;

	json_array_foreach(nodes, i, json) {
		struct remote_node *node = match_node(r, json);

		if (!node)
			return -ENOMEM;
		node->name = text_of(json, "name");
		node->problem = text_of(json, "problem");
		node->agent = text_of(json, "agent");
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct remote_pod *x = a, *y = b;

	return ip_cmp(&x->ip, &y->ip);
}

static int add_pod(struct remotes *r, const json_t *pod, const json_t *address)
{
	struct remote_pod added = { .namespace = text_of(pod, "namespace"), .name = text_of(pod, "name") };

	if (identity_parse(text_of(pod, "identity") ?: "", &added.identity) < 0)
		added.identity = WR_ID_UNKNOWN;
	if (!added.namespace || !added.name || ip_parse(json_string_value(address) ?: "", &added.ip) < 0)
		return 0;
	return array_push(r->pods, r->pod_room, r->pod_count, added);
}

/* Removes addresses that several pods claim, so that no wrong name is shown. */
static void remove_disputed(struct remotes *r)
{
	size_t kept = 0;

	for (size_t i = 0, next; i < r->pod_count; i = next) {
		for (next = i + 1; next < r->pod_count && ip_equal(&r->pods[next].ip, &r->pods[i].ip);)
			next++;
		if (next == i + 1)
			r->pods[kept++] = r->pods[i];
	}
	r->pod_count = kept;
}

static int add_pods(struct remotes *r, const json_t *pods)
{
	const json_t *pod, *address;
	size_t i, j;

	json_array_foreach(pods, i, pod) {
		json_array_foreach(json_object_get(pod, "addresses"), j, address) {
			if (add_pod(r, pod, address) < 0)
				return -ENOMEM;
		}
	}
	if (r->pod_count)
		qsort(r->pods, r->pod_count, sizeof(*r->pods), by_address);
	remove_disputed(r);
	return 0;
}

/* --- all --- */

int remotes_load(struct remotes *r, bool pods, struct err *err)
{
	int ret;

	remotes_free(r);
	ret = dp_cluster_get(&r->cluster, err);
	if (ret < 0 || !remotes_in_cluster(r))
		return ret;
	ret = add_own(r);
	if (ret == 0)
		ret = dp_node_each(add_from_maps, r, err);
	r->mapped = r->node_count;
	if (ret == 0)
		ret = add_names(r, query_agent(r, 0, "nodes"));
	r->agent = r->answers[0];
	if (ret == 0 && r->agent && pods)
		ret = add_pods(r, query_agent(r, 1, "pods"));
	return ret == -ENOMEM ? err_errno(err, ENOMEM, "cannot list the nodes") : ret;
}

/* A node without a route is not an error. */
int remotes_find_nexthops(struct remotes *r, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int ret = r->node_count ? nl_open(&nl, NETLINK_ROUTE, err) : 0;

	for (size_t i = 0; i < r->node_count && ret == 0; i++) {
		struct remote_node *node = &r->nodes[i];

		if (node->slot && nexthop_find(&nl, &node->dp.remote, &node->nexthop, NULL) < 0)
			node->nexthop = (struct nexthop){ 0 };
	}
	return ret;
}

/* --- finding --- */

const struct remote_node *remotes_own(const struct remotes *r)
{
	return r->node_count && r->nodes[0].own ? &r->nodes[0] : NULL;
}

static int by_slot(const void *slot, const void *node)
{
	const uint32_t a = *(const uint32_t *)slot, b = ((const struct remote_node *)node)->slot;

	return (a > b) - (a < b);
}

const struct remote_node *remotes_by_slot(const struct remotes *r, uint32_t slot)
{
	const size_t i = array_lower_bound(&slot, r->nodes, r->mapped, sizeof(*r->nodes), by_slot);

	return slot && i < r->mapped && r->nodes[i].slot == slot ? &r->nodes[i] : NULL;
}

static bool has_address(const struct remote_node *node, const struct ip *ip)
{
	const struct prefix *cidr = &node->dp.cidrs[ip->family == AF_INET6];
	const struct ip gateway = cidr_gateway(cidr);

	for (size_t i = 0; i < node->dp.address_count; i++) {
		if (ip_equal(&node->dp.addresses[i], ip))
			return true;
	}
	return cidr->ip.family && ip_equal(&gateway, ip);
}

const struct remote_node *remotes_by_address(const struct remotes *r, const struct ip *ip)
{
	for (size_t i = 0; i < r->node_count; i++) {
		if (has_address(&r->nodes[i], ip))
			return &r->nodes[i];
	}
	return NULL;
}

const struct remote_node *remotes_by_cidr(const struct remotes *r, const struct ip *ip)
{
	for (size_t i = 0; i < r->node_count; i++) {
		const struct prefix *cidr = &r->nodes[i].dp.cidrs[ip->family == AF_INET6];

		if (cidr->ip.family && prefix_contains(cidr, ip))
			return &r->nodes[i];
	}
	return NULL;
}

const struct remote_node *remotes_by_text(const struct remotes *r, const char *text)
{
	uint64_t slot;
	struct ip ip;

	for (size_t i = 0; i < r->node_count; i++) {
		if (r->nodes[i].name && strcmp(r->nodes[i].name, text) == 0)
			return &r->nodes[i];
	}
	if (ip_parse(text, &ip) == 0)
		return remotes_by_address(r, &ip);
	return number_parse(text, WR_NODE_SLOTS - 1, &slot) == 0 ? remotes_by_slot(r, (uint32_t)slot) : NULL;
}

const struct remote_pod *remotes_pod(const struct remotes *r, const struct ip *ip)
{
	const struct remote_pod key = { .ip = *ip };

	return r->pod_count ? bsearch(&key, r->pods, r->pod_count, sizeof(key), by_address) : NULL;
}

int node_unknown(struct cli *cli, const struct remotes *r, const char *text)
{
	if (!remotes_in_cluster(r))
		return err_set(&cli->err, ENOENT, "this node is in no cluster");
	err_set(&cli->err, ENOENT, "there is no node '%s'%s%s", text, r->agent ? "" : " in the maps: ",
		r->agent ? "" : r->why.msg);
	return err_hint(&cli->err, "`warren node list` lists the nodes; a slot or an address also works");
}

/* --- output --- */

const char *remote_pod_name(const struct remote_pod *pod, char buf[REMOTE_POD_NAME_MAX])
{
	snprintf(buf, REMOTE_POD_NAME_MAX, "%.63s/%.253s", pod->namespace, pod->name);
	return buf;
}

const char *node_label(const struct remote_node *node, char buf[NODE_LABEL_MAX])
{
	if (node->name)
		snprintf(buf, NODE_LABEL_MAX, "node %.253s", node->name);
	else if (node->own)
		snprintf(buf, NODE_LABEL_MAX, "this node");
	else
		snprintf(buf, NODE_LABEL_MAX, "node slot %u", node->slot);
	return buf;
}

const char *remote_label(const struct remotes *r, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX])
{
	const struct remote_node none = { .slot = side & ~WR_REMOTE };
	const struct remote_pod *pod = remotes_pod(r, ip);
	char label[NODE_LABEL_MAX], name[REMOTE_POD_NAME_MAX];

	node_label(remotes_by_slot(r, none.slot) ?: &none, label);
	if (pod)
		snprintf(buf, REMOTE_LABEL_MAX, "%s pod %s", label, remote_pod_name(pod, name));
	else
		snprintf(buf, REMOTE_LABEL_MAX, "%s", label);
	return buf;
}

void remote_json(const struct remotes *r, uint32_t side, const struct ip *ip, json_t *object)
{
	const struct remote_node *node = remotes_by_slot(r, side & ~WR_REMOTE);
	const struct remote_pod *pod = remotes_pod(r, ip);
	char name[REMOTE_POD_NAME_MAX];

	json_object_set_new(object, "node", node && node->name ? json_string(node->name) : json_null());
	json_object_set_new(object, "slot", json_integer(side & ~WR_REMOTE));
	json_object_set_new(object, "pod", pod ? json_string(remote_pod_name(pod, name)) : json_null());
}

void out_node(struct out *o, const struct remote_node *node, const char *none)
{
	json_t *name = node && node->name ? json_string(node->name) : json_null();

	if (node && !node->name && !node->own)
		out_fieldf(o, "node", name, OUT_PLAIN, "slot %u", node->slot);
	else
		out_field(o, "node", name, node ? node->name ?: "this node" : none, OUT_PLAIN);
}

void out_no_names(struct out *o, const struct remotes *r)
{
	if (remotes_in_cluster(r) && !r->agent)
		out_note(o, "\n%s: the maps hold no names.", r->why.msg);
}
