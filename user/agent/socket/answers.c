/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's state as JSON. */
#include <inttypes.h>
#include <netinet/in.h>

#include "agent.h"
#include "cleanup.h"
#include "enum_names.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "paths.h"

json_t *answer_error(const struct err *err)
{
	return json_pack("{s:{s:i, s:s, s:s}}", "error", "errno", err->num, "message", err->msg, "hint", err->hint);
}

#define ENDPOINTS_MAX 10000 /* of a Service: the answer is made in one turn of the loop */

static json_t *hex(uint64_t number)
{
	return json_sprintf("0x%" PRIx64, number);
}

const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : "SCTP";
}

static json_t *numbers_json(const uint32_t *v, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_integer(v[i]));
	return array;
}

static json_t *labels_json(const struct labels *labels)
{
	json_t *object = labels ? json_object() : json_null();

	for (size_t i = 0; labels && i < labels->count; i++)
		json_object_set_new(object, labels->v[i].key, json_string(labels->v[i].value));
	return object;
}

/* --- identities --- */

static int add_identity(const struct policy_identity_info *info, void *arg)
{
	json_t *ports = json_array(), *selectors = json_array(), *json;

	for (size_t i = 0; i < info->port_count; i++)
		json_array_append_new(ports, json_pack("{s:s, s:s, s:i}", "name", info->ports[i].name, "protocol",
						       protocol_name(info->ports[i].protocol), "port",
						       (int)info->ports[i].port));
	for (size_t i = 0; i < info->selector_count; i++)
		json_array_append_new(selectors, json_string(info->selectors[i]));
	json = json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:b, s:o, s:o}", "identity", hex(info->identity),
			 "namespace", info->namespace, "namespace_labels", labels_json(info->namespace_labels),
			 "labels", labels_json(info->labels), "ports", ports, "peer_class",
			 info->peer == WR_PEER_NONE ? json_null() : hex(info->peer), "pods", (json_int_t)info->pods,
			 "collision", info->collision, "endpoints", numbers_json(info->endpoints, info->endpoint_count),
			 "selectors", selectors);
	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_identities(struct agent *agent)
{
	json_auto_t *list = json_array();

	if (policy_each_identity(agent->policy, add_identity, list) < 0)
		return NULL;
	return json_pack("{s:O}", "identities", list);
}

/* --- policies --- */

static json_t *selector_json(const struct selector *selector)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = selector->count ? open_memstream(&text, &size) : NULL;

	if (!f)
		return json_string("");
	selector_print(f, selector);
	fclose(f);
	return json_string(text);
}

static json_t *peer_json(const struct policy_peer *peer)
{
	json_t *except = json_array();

	for (size_t i = 0; i < peer->except_count; i++)
		json_array_append_new(except, json_prefix(&peer->except[i]));
	if (peer->is_block)
		return json_pack("{s:o, s:o}", "block", json_prefix(&peer->block), "except", except);
	json_decref(except);
	return json_pack("{s:o, s:o}", "namespaces",
			 peer->has_namespaces ? selector_json(&peer->namespaces) : json_null(), "pods",
			 peer->has_pods ? selector_json(&peer->pods) : json_null());
}

static json_t *port_json(const struct policy_port *port)
{
	json_t *number = port->all ? json_null() : port->name[0] ? json_string(port->name) : json_integer(port->first);

	return json_pack("{s:s, s:o, s:o}", "protocol", protocol_name(port->protocol), "port", number, "end_port",
			 !port->all && !port->name[0] && port->last != port->first ? json_integer(port->last)
										   : json_null());
}

static json_t *rules_json(const struct policy_rule *rules, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *peers = json_array(), *ports = json_array();

		for (size_t j = 0; j < rules[i].peer_count; j++)
			json_array_append_new(peers, peer_json(&rules[i].peers[j]));
		for (size_t j = 0; j < rules[i].port_count; j++)
			json_array_append_new(ports, port_json(&rules[i].ports[j]));
		json_array_append_new(list, json_pack("{s:o, s:o}", "peers", peers, "ports", ports));
	}
	return list;
}

struct policies {
	struct agent *agent;
	json_t *list;
};

static int add_policy(const struct policy_policy_info *info, void *arg)
{
	const struct policy_object *object = info->object;
	struct policies *policies = arg;
	json_t *isolates = json_array(), *rules = json_object(), *classes = json_array(), *json;

	for (uint32_t d = 0; d < POLICY_DIRECTIONS; d++) {
		if (!object->isolates[d])
			continue;
		json_array_append_new(isolates, json_string(direction_name(d)));
		json_object_set_new(rules, direction_name(d), rules_json(object->rules[d], object->rule_count[d]));
	}
	for (size_t i = 0; i < info->class_count; i++) {
		bool denied;
		uint32_t number = apply_class(policies->agent->apply, info->classes[i], &denied);

		json_array_append_new(classes, json_pack("{s:o, s:I, s:b}", "key", hex(info->classes[i]), "class",
							 (json_int_t)number, "denied", denied));
	}
	json = json_pack("{s:s, s:s, s:s?, s:s?, s:b, s:o, s:o, s:o, s:o, s:I, s:o}", "namespace", object->namespace, "name",
			 object->name, "invalid", object->invalid, "problem", info->problem,
			 "coarse_names", info->coarse_names, "selector", selector_json(&object->pods), "isolates",
			 isolates, "rules", rules, "endpoints", numbers_json(info->endpoints, info->endpoint_count),
			 "entries", (json_int_t)info->entries, "classes", classes);
	return json_array_append_new(policies->list, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_policies(struct agent *agent)
{
	json_auto_t *list = json_array();

	if (policy_each_policy(agent->policy, add_policy, &(struct policies){ agent, list }) < 0)
		return NULL;
	return json_pack("{s:O}", "policies", list);
}

/* --- nodes --- */

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
				 hex(pod->identity), "addresses", json_ips(pod->ips, 2));

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

static json_t *cluster_json(struct agent *agent)
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

/* --- services --- */

/* Its health check port, and what it answers; NULL: it has none. */
static json_t *health_json(const struct agent *agent, const char *namespace, const char *name)
{
	const char *problem;
	const uint16_t port = health_ports_find(agent->health_ports, namespace, name, &problem);
	const size_t endpoints = port ? balancer_health_endpoints(agent->balancer, namespace, name) : 0;

	if (!port)
		return NULL;
	return json_pack("{s:i, s:i, s:I, s:s?}", "port", (int)port, "status",
			 endpoints && agent_services_healthy(agent) ? 200 : 503, "endpoints", (json_int_t)endpoints, "problem",
			 *problem ? problem : NULL);
}

struct frontends {
	struct agent *agent;
	json_t *list;
};

static int add_frontend(const struct balancer_frontend *frontend, void *arg)
{
	static const char *const types[] = { [SERVICE_CLUSTER_IP] = "ClusterIP",
					     [SERVICE_NODE_PORT] = "NodePort",
					     [SERVICE_LOAD_BALANCER] = "LoadBalancer",
					     [SERVICE_EXTERNAL_NAME] = "ExternalName" };
	const struct service_object *service = frontend->service, *owner = frontend->owner;
	struct frontends *frontends = arg;
	json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:i, s:s, s:s, s:s, s:i, s:I, s:b, s:b, s:o, s:s?}", "namespace",
				 service->namespace, "name", service->name, "type", types[service->type], "address",
				 json_ip(frontend->ip), "port", (int)frontend->number, "protocol",
				 protocol_name(frontend->port->protocol), "scope",
				 frontend->external ? "external" : "cluster", "port_name", frontend->port->name, "node_port",
				 (int)frontend->port->node_port, "backends", (json_int_t)frontend->backends, "local",
				 frontend->local, "written", frontend->written, "owner",
				 owner ? json_sprintf("%s/%s", owner->namespace, owner->name) : json_null(), "problem",
				 *frontend->problem ? frontend->problem : NULL);
	json_t *health = health_json(frontends->agent, service->namespace, service->name);

	if (health)
		json_object_set_new(json, "health", health);
	return json_array_append_new(frontends->list, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_services(struct agent *agent)
{
	json_auto_t *list = json_array();

	return balancer_each(agent->balancer, add_frontend, &(struct frontends){ agent, list }) == 0 ? json_pack("{s:O}", "services", list) : NULL;
}

static int add_endpoint(const struct balancer_endpoint *e, void *arg)
{
	json_t *json = json_pack("{s:s, s:s, s:i, s:b, s:o, s:i, s:s, s:s?}", "port_name", e->port->name, "protocol",
				 protocol_name(e->port->protocol), "family", e->v6 ? 6 : 4, "local", e->local, "address",
				 json_ip(e->ip), "port", (int)e->target, "state", e->state, "unused", e->unused);

	/* Ports and endpoints multiply: they are what a tenant writes. */
	if (json_array_size(arg) == ENDPOINTS_MAX) {
		json_decref(json);
		return -E2BIG;
	}
	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_service(struct agent *agent, const char *namespace, const char *name)
{
	json_auto_t *list = json_array();
	int ret = balancer_each_endpoint(agent->balancer, namespace, name, add_endpoint, list);

	return ret == -ENOMEM ? NULL : json_pack("{s:O, s:b}", "service", list, "truncated", ret == -E2BIG);
}

static json_t *services_json(struct agent *agent)
{
	struct balancer_counts c;

	balancer_count(agent->balancer, &c);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "services", (json_int_t)c.services, "slices",
			 (json_int_t)c.slices, "addresses", (json_int_t)c.frontends[0] + (json_int_t)c.frontends[1] +
				 (json_int_t)c.external[0] + (json_int_t)c.external[1],
			 "backends", (json_int_t)c.backends[0] + (json_int_t)c.backends[1], "problems",
			 (json_int_t)c.problems, "failures", (json_int_t)c.failures, "released",
			 balancer_released(agent->balancer), "pending", balancer_pending(agent->balancer));
}

/* The maps are written at the end of this iteration of the loop, and of those that follow. */
static json_t *services_release(struct agent *agent, bool released)
{
	struct err err;
	int ret = dir_make(WARREN_STATE_DIR, &err);

	if (ret == 0)
		ret = released ? file_write_durable(WARREN_RELEASED_FILE, "", 0, 0600, &err)
			       : file_remove_durable(WARREN_RELEASED_FILE, &err);
	if (ret < 0)
		return answer_error(&err);
	log_info("Services are %s", released ? "released to another service proxy" : "taken");
	agent->reconcile.taking = !released && (agent->reconcile.taking || balancer_released(agent->balancer));
	balancer_release(agent->balancer, released);
	return json_object();
}

json_t *answer_services_take(struct agent *agent)
{
	return services_release(agent, false);
}

json_t *answer_services_release(struct agent *agent)
{
	return services_release(agent, true);
}

/* --- status --- */

size_t rss_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static json_t *endpoints_json(struct agent *agent)
{
	json_t *list = json_array();
	size_t count;
	const struct apply_endpoint *endpoints = apply_endpoints(agent->apply, &count);

	for (size_t i = 0; i < count; i++) {
		const struct apply_endpoint *ep = &endpoints[i];
		const struct attached_pod *pod = attachments_by_ifindex(agent->attachments, ep->ifindex);

		if (pod)
			json_array_append_new(
			    list,
			    json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:s}", "ifindex",
				      (json_int_t)ep->ifindex, "container", pod->container, "ifname", pod->ifname,
				      "namespace", pod->pod_namespace, "name", pod->pod_name, "uid", pod->pod_uid,
				      "identity", hex(ep->identity), "class", (json_int_t)ep->policy_class, "revision",
				      (json_int_t)ep->revision, "state", endpoint_state_name(endpoint_state(ep))));
	}
	return list;
}

static json_t *counts_json(const struct policy *policy)
{
	struct policy_counts c;

	policy_count(policy, &c);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "namespaces",
			 (json_int_t)c.namespaces, "pods", (json_int_t)c.pods, "policies", (json_int_t)c.policies,
			 "policies_invalid", (json_int_t)c.policies_invalid, "endpoints", (json_int_t)c.endpoints,
			 "endpoints_waiting", (json_int_t)c.endpoints_waiting, "identities", (json_int_t)c.identities,
			 "collisions", (json_int_t)c.collisions, "selectors", (json_int_t)c.selectors, "peer_classes",
			 (json_int_t)c.peer_classes, "classes", (json_int_t)c.classes, "entries", (json_int_t)c.entries,
			 "cidrs", (json_int_t)c.cidrs, "rules", (json_int_t)c.rules);
}

json_t *answer_status(struct agent *agent)
{
	json_t *problems = json_array();
	struct apply_counts counts;

	apply_count(agent->apply, &counts);
	for (size_t i = 0; i < agent->problems.count; i++) {
		const struct problem *c = &agent->problems.v[i];

		json_array_append_new(problems, json_pack("{s:s, s:s, s:s}", "kind", problem_kind_name(c->kind),
							    "subject", c->subject, "message", c->message));
	}
	return json_pack(
	    "{s:s, s:i, s:I, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "version", WARREN_VERSION, "pid", (int)getpid(), "rss_bytes", (json_int_t)rss_bytes(), "synced",
	    agent->reconcile.synced, "enforced", agent->reconcile.enforced, "pending",
	    agent->reconcile.dirty || agent->reconcile.failure[0] || cluster_pending(agent->cluster) ||
		balancer_pending(agent->balancer),
	    "revision", (json_int_t)counts.state.revision, "changes", (json_int_t)counts.state.changes, "compile_us",
	    (json_int_t)(agent->reconcile.compile_ns / 1000), "apply_us", (json_int_t)(agent->reconcile.apply_ns / 1000),
	    "classes_denied", (json_int_t)counts.state.classes_denied, "identities_not_programmed",
	    (json_int_t)counts.identities_not_programmed, "failure", agent->reconcile.failure[0] ? agent->reconcile.failure : NULL,
	    "counts", counts_json(agent->policy), "problems", problems, "endpoints", endpoints_json(agent),
	    "cluster", cluster_json(agent), "services", services_json(agent), "kubernetes", kube_json(agent->kube));
}
