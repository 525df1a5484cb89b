/* SPDX-License-Identifier: BSD-2-Clause */
/* What manifests or an API server, and attachments say: to the compiler, to the cluster, and to the balancer. */
#include <string.h>

#include "agent.h"
#include "api_find.h"
#include "decode.h"
#include "json.h"

/* What the compiler is told. */
static bool is_policy(enum object_kind kind)
{
	return kind == OBJECT_NAMESPACE || kind == OBJECT_POD || kind == OBJECT_POLICY;
}

static bool is_own_node(const struct agent *agent, const char *name)
{
	return strcmp(name, agent->options->cluster.node_name) == 0;
}

/* For the next start: the address of its Service leads nowhere before we are there. */
static void remember_servers(const struct agent *agent, const struct slice_object *slice)
{
	struct err err;

	if (agent->kube && api_servers_remember(NULL, slice, &err) < 0)
		log_err(LOG_WARN, &err);
}

static int on_object(void *arg, struct object *o)
{
	struct agent *agent = arg;
	struct object taken = *o;

	o->kind = OBJECT_NONE;
	if (is_policy(taken.kind))
		work_wanted(agent);
	switch (taken.kind) {
	case OBJECT_NAMESPACE:
		return policy_put_namespace(agent->policy, taken.namespace);
	case OBJECT_POD:
		return policy_put_pod(agent->policy, taken.pod);
	case OBJECT_POLICY:
		if (taken.policy->invalid)
			log_warn("NetworkPolicy %s/%s is not valid, and isolates what it selects: %s",
				 taken.policy->namespace, taken.policy->name, taken.policy->invalid);
		return policy_put_policy(agent->policy, taken.policy);
	case OBJECT_NODE:
		if (is_own_node(agent, taken.node->name))
			kube_own_node(agent->kube);
		return cluster_put_node(agent->cluster, taken.node);
	case OBJECT_SERVICE:
		return balancer_put_service(agent->balancer, taken.service);
	case OBJECT_SLICE:
		remember_servers(agent, taken.slice);
		return balancer_put_slice(agent->balancer, taken.slice);
	default:
		return 0;
	}
}

static void on_removed(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	struct agent *agent = arg;

	if (is_policy(kind))
		work_wanted(agent);
	if (kind == OBJECT_NODE && is_own_node(agent, name))
		kube_own_node(agent->kube);
	if (kind == OBJECT_NAMESPACE)
		policy_remove_namespace(agent->policy, name);
	else if (kind == OBJECT_POD)
		policy_remove_pod(agent->policy, namespace, name);
	else if (kind == OBJECT_POLICY)
		policy_remove_policy(agent->policy, namespace, name);
	else if (kind == OBJECT_NODE)
		cluster_remove_node(agent->cluster, name);
	else if (kind == OBJECT_SERVICE)
		balancer_remove_service(agent->balancer, namespace, name);
	else if (kind == OBJECT_SLICE)
		balancer_remove_slice(agent->balancer, namespace, name);
}

static void on_synced(void *arg)
{
	struct agent *agent = arg;

	agent->work.synced = true;
	work_wanted(agent);
}

static void on_source_complaint(void *arg, const char *what, const struct err *err)
{
	struct agent *agent = arg;

	complain(&agent->complaints, agent->kube ? COMPLAINT_API : COMPLAINT_MANIFEST, what, err);
}

/* Labels of the network configuration, for an endpoint that has no pod object. false: there are none. */
static bool own_labels(const struct attachment *a, struct labels *labels)
{
	struct err err;
	json_auto_t *json = NULL;

	if (!a->labels[0])
		return false;
	json = json_parse_object(a->labels, strlen(a->labels), "labels", &err);
	if (json && labels_decode(json, labels, &err) == 0)
		return true;
	log_warn("%s@%s: its labels are not used: %s", a->container_id, a->ifname, err.msg);
	return false;
}

static void on_attachment(void *arg, const struct attachment *a)
{
	struct agent *agent = arg;
	struct labels labels = { 0 };
	bool own = own_labels(a, &labels);

	work_wanted(agent);
	if (policy_put_endpoint(agent->policy, a->host_ifindex, *a->pod_namespace ? a->pod_namespace : "default",
				a->pod_name, a->pod_uid, own ? &labels : NULL) < 0) {
		log_error("%s@%s: no memory for it: it stays in quarantine", a->container_id, a->ifname);
		policy_remove_endpoint(agent->policy, a->host_ifindex);
	}
}

static void on_attachment_gone(void *arg, uint32_t ifindex)
{
	struct agent *agent = arg;

	work_wanted(agent);
	policy_remove_endpoint(agent->policy, ifindex);
	apply_endpoint_gone(agent->apply, ifindex);
}

static int open_objects(struct agent *agent, struct err *err)
{
	const struct object_events events = { on_object, on_removed, on_synced, on_source_complaint, agent };

	return agent->kube ? kube_begin(agent->kube, &events, err)
			   : manifests_open(&agent->manifests, agent->options->manifests, &events, err);
}

int sources_open(struct agent *agent, struct err *err)
{
	const struct attachment_events attachments = { on_attachment, on_attachment_gone, agent };
	int ret = attachments_open(&agent->attachments, &attachments, err);

	return ret < 0 ? ret : open_objects(agent, err);
}

int sources_begin_again(struct agent *agent, struct err *err)
{
	int ret = attachments_rescan(agent->attachments, err);

	return ret < 0 ? ret : open_objects(agent, err);
}
