/* SPDX-License-Identifier: BSD-2-Clause */
/* The nodes of the cluster, as JSON. */
#include <inttypes.h>

#include "agent.h"
#include "json.h"

static int add_node(const struct cluster_node *node, void *arg)
{
	static const struct dp_node none;
	static const struct nexthop no_nexthop;
	const struct dp_node *n = node->node ? node->node : &none;
	const struct nexthop *nexthop = node->nexthop ? node->nexthop : &no_nexthop;
	char mac[MAC_STRLEN];
	json_t *json = json_pack(
	    "{s:s, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:s?}", "name", node->object->name,
	    "slot", (json_int_t)node->slot, "own", node->own, "cidrs", json_prefixes(node->object->cidrs, 2),
	    "addresses", json_ips(node->object->addresses, node->object->address_count), "local", json_ip(&n->local),
	    "remote", json_ip(&n->remote), "uplink", node->node ? json_integer(n->uplink) : json_null(), "mtu",
	    node->node ? json_integer(n->mtu) : json_null(), "mode",
	    node->node ? json_string(n->direct ? "direct" : "tunnel") : json_null(), "resolved", nexthop->resolved, "dmac",
	    nexthop->resolved ? json_string(mac_format(nexthop->dmac, mac)) : json_null(), "problem",
	    *node->problem ? json_string(node->problem) : json_null(), "agent",
	    *node->object->agent ? node->object->agent : NULL);

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_nodes(struct agent *agent)
{
	json_auto_t *list = json_array();

	return cluster_each(agent->cluster, add_node, list) == 0 ? json_pack("{s:O}", "nodes", list) : NULL;
}

static int add_pod(const struct ipcache_pod *pod, void *arg)
{
	json_t *json = json_pack("{s:s, s:s, s:o, s:o}", "namespace", pod->namespace, "name", pod->name, "identity",
				 json_sprintf("0x%" PRIx64, pod->identity), "addresses", json_ips(pod->ips, 2));

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_pods(struct agent *agent)
{
	json_auto_t *list = json_array();

	return ipcache_each_pod(agent->ipcache, add_pod, list) == 0 ? json_pack("{s:O}", "pods", list) : NULL;
}

/* The ids of all keys; packets are sent with the first. */
static json_t *tunnel_key_json(const struct agent *agent)
{
	json_t *ids = json_array();

	for (size_t i = 0; i < agent->tunnel_keys.count; i++)
		json_array_append_new(ids, json_integer(agent->tunnel_keys.keys[i].id));
	return json_pack("{s:s, s:o}", "mode", tunnel_key_mode_name(agent->options->cluster.tunnel_key), "keys", ids);
}

json_t *cluster_json(struct agent *agent)
{
	const struct cluster_options *options = &agent->options->cluster;
	struct ipcache_counts addresses;
	struct cluster_counts c;

	cluster_count(agent->cluster, &c);
	ipcache_count(agent->ipcache, &addresses);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s?, s:o}", "member", c.on, "node", options->node_name,
			 "mode", routing_mode_name(options->mode), "nodes", (json_int_t)c.nodes, "in_maps",
			 (json_int_t)c.in_maps, "unresolved", (json_int_t)c.unresolved, "pod_mtu",
			 (json_int_t)c.pod_mtu, "addresses", (json_int_t)addresses.entries, "failure",
			 agent->reconcile.cluster_failure[0] ? agent->reconcile.cluster_failure : NULL, "tunnel_key",
			 tunnel_key_json(agent));
}
