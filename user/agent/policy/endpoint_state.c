/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether an endpoint's policy is enforced. */
#include "agent.h"

enum endpoint_state endpoint_state(const struct apply_endpoint *ep)
{
	if (!ep || !ep->compiled)
		return ENDPOINT_PENDING;
	if (ep->missing)
		return ENDPOINT_MISSING;
	if (ep->denied)
		return ENDPOINT_DENIED;
	return ep->class_key == WR_CLASS_QUARANTINE	? ENDPOINT_QUARANTINE
	       : ep->class_key == WR_CLASS_NOT_ISOLATED ? ENDPOINT_NOT_ISOLATED
							: ENDPOINT_ENFORCED;
}

static const struct {
	const char *name, *label;
} states[ENDPOINT_STATES] = {
	[ENDPOINT_ENFORCED] = { "enforced", "enforced" },
	[ENDPOINT_NOT_ISOLATED] = { "not isolated", "not_isolated" },
	[ENDPOINT_QUARANTINE] = { "quarantine", "quarantine" },
	[ENDPOINT_DENIED] = { "denied", "denied" },
	[ENDPOINT_MISSING] = { "missing", "missing" },
	[ENDPOINT_PENDING] = { "pending", "pending" },
};

const char *endpoint_state_name(enum endpoint_state state)
{
	return states[state].name;
}

const char *endpoint_state_label(enum endpoint_state state)
{
	return states[state].label;
}

int agent_endpoint_enforced(struct agent *agent, const char *container, const char *ifname, struct err *err)
{
	const struct attached_pod *pod = attachments_find(agent->attachments, container, ifname);
	const struct apply_endpoint *ep = pod ? apply_endpoint(agent->apply, pod->ifindex) : NULL;

	if (!pod)
		return err_set(err, EAGAIN, "there is no attachment %s@%s with \"policy\": \"agent\"", container,
			       ifname);
	if (!agent->reconcile.enforced && kube_not_ready(agent->kube))
		return err_set(err, EAGAIN, "%s", kube_not_ready(agent->kube));
	if (!agent->reconcile.enforced || !ep || !ep->compiled || agent->reconcile.dirty || agent->reconcile.failure[0])
		return err_set(err, EAGAIN, "%s",
			       agent->reconcile.failure[0] ? agent->reconcile.failure : "policy is still being computed");
	if (ep->missing) {
		agent->reconcile.dirty = true; /* it may have been added since */
		return err_set(err, EAGAIN, "endpoint %u is not in the maps", ep->ifindex);
	}
	if (ep->class_key == WR_CLASS_QUARANTINE) {
		err_set(err, EAGAIN, "there is no pod %s/%s%s%s, and no labels in the network's configuration",
			*pod->pod_namespace ? pod->pod_namespace : "default", pod->pod_name,
			*pod->pod_uid ? " of uid " : "", pod->pod_uid);
		return err_hint(err, "`warren status` shows whether %s",
				agent->kube ? "the API server can be reached" : "a manifest cannot be read");
	}
	if (ep->denied)
		return err_set(err, EAGAIN, "its policies do not fit into the maps");
	return 0;
}
