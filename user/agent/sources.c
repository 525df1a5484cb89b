/* SPDX-License-Identifier: BSD-2-Clause */
/* Passes objects (from manifests or the API server) and attachments to the compiler, the cluster and the balancer. */
#include <string.h>

#include "agent.h"
#include "decode.h"
#include "json.h"

static bool is_own_node(const struct agent *agent, const char *name)
{
	return strcmp(name, agent->options->cluster.node_name) == 0;
}

/* Input of the compiler. */
static bool is_policy(enum object_kind kind)
{
	return kind == OBJECT_NAMESPACE || kind == OBJECT_POD || kind == OBJECT_POLICY;
}

static int on_object(void *arg, struct object *o)
{
	struct agent *agent = arg;
	struct object object = *o;

	o->kind = OBJECT_NONE;
	if (is_policy(object.kind))
		reconcile_schedule(agent);
	switch (object.kind) {
	case OBJECT_NAMESPACE:
		return policy_put_namespace(agent->policy, object.namespace);
	case OBJECT_POD:
		return policy_put_pod(agent->policy, object.pod);
	case OBJECT_POLICY:
		if (object.policy->invalid)
			log_warn("NetworkPolicy %s/%s is not valid, and isolates the pods that it selects: %s",
				 object.policy->namespace, object.policy->name, object.policy->invalid);
		return policy_put_policy(agent->policy, object.policy);
	case OBJECT_NODE:
		agent->reconcile.nodes_changed = true;
		if (is_own_node(agent, object.node->name)) {
			agent->reconcile.addresses_changed = true;
			kube_own_node(agent->kube);
			agent->reconcile.leaving = object.node->leaving;
			if (balancer_set_zone(agent->balancer, object.node->zone) < 0)
				log_warn("no memory for the zone of this node: hints of endpoints for it do not count");
		}
		return cluster_put_node(agent->cluster, object.node);
	case OBJECT_SERVICE:
		return balancer_put_service(agent->balancer, object.service);
	case OBJECT_SERVICE_CIDR:
		return balancer_put_cidrs(agent->balancer, object.service_cidr);
	case OBJECT_SLICE:
		kube_slice(agent->kube, object.slice);
		return balancer_put_slice(agent->balancer, object.slice);
	default:
		return 0;
	}
}

static void remove_node(struct agent *agent, const char *name)
{
	if (is_own_node(agent, name)) {
		kube_own_node(agent->kube);
		agent->reconcile.leaving = agent->reconcile.addresses_changed = true;
	}
	agent->reconcile.nodes_changed = true;
	cluster_remove_node(agent->cluster, name);
}

static void on_removed(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	struct agent *agent = arg;

	if (is_policy(kind))
		reconcile_schedule(agent);
	if (kind == OBJECT_NAMESPACE)
		policy_remove_namespace(agent->policy, name);
	else if (kind == OBJECT_POD)
		policy_remove_pod(agent->policy, namespace, name);
	else if (kind == OBJECT_POLICY)
		policy_remove_policy(agent->policy, namespace, name);
	else if (kind == OBJECT_NODE)
		remove_node(agent, name);
	else if (kind == OBJECT_SERVICE)
		balancer_remove_service(agent->balancer, namespace, name);
	else if (kind == OBJECT_SERVICE_CIDR)
		balancer_remove_cidrs(agent->balancer, name);
	else if (kind == OBJECT_SLICE)
		balancer_remove_slice(agent->balancer, namespace, name);
}

static void on_synced(void *arg)
{
	struct agent *agent = arg;

	agent->reconcile.synced = true;
	reconcile_schedule(agent);
}

static void on_source_problem(void *arg, const char *subject, const struct err *err)
{
	struct agent *agent = arg;

	report_problem(&agent->problems, agent->kube ? PROBLEM_API : PROBLEM_MANIFEST, subject, err);
}

/* Labels from the network configuration, for an endpoint without a Pod object. false: none. */
static bool own_labels(const struct attachment *a, struct labels *labels)
{
	struct err err;
	json_auto_t *json = NULL;

	if (!a->labels[0])
		return false;
	json = json_parse_object(a->labels, strlen(a->labels), "labels", &err);
	if (json && labels_decode(json, labels, &err) == 0)
		return true;
	log_warn("%s@%s: the labels of its network configuration are ignored: %s", a->container_id, a->ifname, err.msg);
	return false;
}

static void on_attachment(void *arg, const struct attachment *a)
{
	struct agent *agent = arg;
	struct labels labels = { 0 };
	bool own = own_labels(a, &labels);

	reconcile_schedule(agent);
	if (policy_put_endpoint(agent->policy, a->host_ifindex, *a->pod_namespace ? a->pod_namespace : "default",
				a->pod_name, a->pod_uid, own ? &labels : NULL) < 0) {
		log_error("%s@%s: no memory for the endpoint; it stays in quarantine", a->container_id, a->ifname);
		policy_remove_endpoint(agent->policy, a->host_ifindex);
	}
}

static void on_attachment_gone(void *arg, uint32_t ifindex)
{
	struct agent *agent = arg;

	reconcile_schedule(agent);
	policy_remove_endpoint(agent->policy, ifindex);
	apply_endpoint_gone(agent->apply, ifindex);
}

static int open_objects(struct agent *agent, struct err *err)
{
	const struct object_events events = { on_object, on_removed, on_synced, on_source_problem, agent };

	return agent->kube ? kube_start(agent->kube, &events, err)
			   : manifests_open(&agent->manifests, agent->options->manifests, &events, err);
}

int sources_open(struct agent *agent, struct err *err)
{
	const struct attachment_events attachments = { on_attachment, on_attachment_gone, agent };
	int ret = attachments_open(&agent->attachments, &attachments, err);

	return ret < 0 ? ret : open_objects(agent, err);
}

int sources_restart(struct agent *agent, struct err *err)
{
	int ret = attachments_rescan(agent->attachments, err);

	return ret < 0 ? ret : open_objects(agent, err);
}
