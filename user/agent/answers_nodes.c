/* SPDX-License-Identifier: BSD-2-Clause */
/* The nodes of the cluster, as JSON. */
#include "agent.h"

static json_t *ip_json(const struct ip *ip)
{
	char text[IP_STRLEN];

	return ip->family ? json_string(ip_format(ip, text)) : json_null();
}

static json_t *cidrs_json(const struct node_object *object)
{
	json_t *list = json_array();
	char text[PREFIX_STRLEN];

	for (int i = 0; i < 2; i++) {
		if (object->cidrs[i].ip.family)
			json_array_append_new(list, json_string(prefix_format(&object->cidrs[i], text)));
	}
	return list;
}

static json_t *addresses_json(const struct node_object *object)
{
	json_t *list = json_array();

	for (size_t i = 0; i < object->address_count; i++)
		json_array_append_new(list, ip_json(&object->addresses[i]));
	return list;
}

static int add_node(const struct cluster_node *node, void *arg)
{
	static const struct dp_node none;
	const struct dp_node *n = node->node ? node->node : &none;
	char mac[MAC_STRLEN];
	json_t *json = json_pack(
	    "{s:s, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "name", node->object->name, "slot",
	    (json_int_t)node->slot, "own", node->own, "cidrs", cidrs_json(node->object), "addresses",
	    addresses_json(node->object), "local", ip_json(&n->local), "remote", ip_json(&n->remote), "uplink",
	    node->node ? json_integer(n->uplink) : json_null(), "mtu", node->node ? json_integer(n->mtu) : json_null(),
	    "mode", node->node ? json_string(n->direct ? "direct" : "tunnel") : json_null(), "resolved", n->resolved,
	    "dmac", n->resolved ? json_string(mac_format(n->dmac, mac)) : json_null(), "problem",
	    *node->problem ? json_string(node->problem) : json_null());

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_nodes(struct agent *agent)
{
	json_t *list = json_array();

	if (cluster_each(agent->cluster, add_node, list) == 0)
		return json_pack("{s:o}", "nodes", list);
	json_decref(list);
	return NULL;
}

json_t *cluster_json(struct agent *agent)
{
	static const char *const modes[] = { [ROUTING_TUNNEL] = "tunnel", [ROUTING_DIRECT] = "direct", [ROUTING_AUTO] = "auto" };
	const struct cluster_options *options = &agent->options->cluster;
	struct ipcache_counts addresses;
	struct cluster_counts c;

	cluster_count(agent->cluster, &c);
	ipcache_count(agent->ipcache, &addresses);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?}", "member", c.on, "node",
			 options->node_name, "mode", modes[options->mode], "nodes", (json_int_t)c.nodes, "in_maps",
			 (json_int_t)c.in_maps, "unresolved", (json_int_t)c.unresolved, "problems",
			 (json_int_t)c.problems, "pod_mtu", (json_int_t)c.pod_mtu, "addresses",
			 (json_int_t)addresses.entries, "addresses_left_out", (json_int_t)addresses.left_out,
			 "addresses_disputed", (json_int_t)addresses.disputed, "failure",
			 agent->cluster_failure[0] ? agent->cluster_failure : NULL);
}
