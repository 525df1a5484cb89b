/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_source.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "reflector.h"

/* Pods without an address of their own (host network, completed) are ignored. */
static bool is_pod_with_address(const struct pod_object *pod)
{
	return !pod->host_network && !pod->completed;
}

static bool is_own_pod(const struct object *o, const char *node)
{
	return is_pod_with_address(o->pod) && strcmp(o->pod->node, node) == 0;
}

static bool is_others_pod(const struct object *o, const char *node)
{
	return is_pod_with_address(o->pod) && *o->pod->node && strcmp(o->pod->node, node) != 0;
}

enum { OWN_PODS, OTHERS_PODS };

/*
 * EndpointSlices have their Service's labels: those of headless Services and of another proxy's are not used. Services of
 * another proxy are: no external address of others may be their ClusterIP.
 */
#define OURS "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"
#define RUNNING "status.phase!=Succeeded,status.phase!=Failed"
#define OTHERS "spec.nodeName!=@,spec.nodeName!=,"

/* Pods come first. The field selector spec.hostNetwork exists since 1.28. */
static const struct reflector_kind kinds[] = {
	[OWN_PODS] = { OBJECT_POD, "Pods of this node", "/api/v1/pods", NULL,
		       { "spec.nodeName=@,spec.hostNetwork=false," RUNNING, "spec.nodeName=@," RUNNING }, is_own_pod },
	[OTHERS_PODS] = { OBJECT_POD, "Pods of other nodes", "/api/v1/pods", NULL,
			  { OTHERS "spec.hostNetwork=false," RUNNING, OTHERS RUNNING }, is_others_pod },
	{ OBJECT_NAMESPACE, "Namespaces", "/api/v1/namespaces" },
	{ OBJECT_POLICY, "NetworkPolicies", "/apis/networking.k8s.io/v1/networkpolicies" },
	{ OBJECT_NODE, "Nodes", "/api/v1/nodes" },
	{ OBJECT_SERVICE, "Services", "/api/v1/services" },
	{ OBJECT_SLICE, "EndpointSlices", "/apis/discovery.k8s.io/v1/endpointslices", OURS },
	{ OBJECT_SERVICE_CIDR, "ServiceCIDRs", "/apis/networking.k8s.io/v1/servicecidrs", .optional = true }, /* since 1.33 */
};

struct kube_source {
	struct object_events events;
	struct reflector_server server;
	enum pod_selection selection;
	bool synced; /* synced() was called */
	struct reflector *reflectors[ARRAY_SIZE(kinds)];
};

static void on_synced(void *arg)
{
	struct kube_source *k = arg;

	malloc_trim(0); /* the lists' memory is not needed again soon */
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (i != OTHERS_PODS && !kinds[i].optional && !reflector_synced(k->reflectors[i]))
			return;
	}
	if (k->synced)
		return;
	k->synced = true;
	k->events.synced(k->events.arg);
}

int kube_source_open(struct kube_source **out, struct api *api, const char *node_name, const struct object_events *events,
		    struct err *err)
{
	struct kube_source *k = calloc(1, sizeof(*k));
	int ret = 0;

	if (!k)
		return err_errno(err, ENOMEM, "cannot create the watches of the API server");
	k->events = *events;
	k->server = (struct reflector_server){ .api = api, .node = node_name, .events = &k->events, .synced = on_synced, .arg = k };
	k->server.no_protobuf = getenv("WARREN_API_JSON") != NULL;
	for (size_t i = 0; ret == 0 && i < ARRAY_SIZE(kinds); i++)
		ret = reflector_open(&k->reflectors[i], &kinds[i], &k->server, err);
	if (ret < 0) {
		kube_source_close(k);
		return ret;
	}
	reflector_pair(k->reflectors[OWN_PODS], k->reflectors[OTHERS_PODS]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (i != OTHERS_PODS)
			reflector_start(k->reflectors[i]);
	}
	*out = k;
	return 0;
}

void kube_source_select_pods(struct kube_source *k, enum pod_selection selection)
{
	if (selection == k->selection)
		return;
	k->selection = selection;
	if (selection == PODS_ALL)
		reflector_start(k->reflectors[OTHERS_PODS]);
	else
		reflector_stop(k->reflectors[OTHERS_PODS]);
}

bool kube_source_pods_synced(const struct kube_source *k)
{
	return reflector_synced(k->reflectors[OWN_PODS]) &&
	       (k->selection == PODS_OWN || reflector_synced(k->reflectors[OTHERS_PODS]));
}

void kube_source_close(struct kube_source *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		reflector_close(k->reflectors[i]);
	free(k);
}

int kube_source_each_watch(const struct kube_source *k, int (*fn)(const struct kube_watch_counts *watch, void *arg), void *arg)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < ARRAY_SIZE(kinds); i++) {
		struct kube_watch_counts watch;

		if (i == OTHERS_PODS && k->selection == PODS_OWN)
			continue;
		reflector_watch(k->reflectors[i], &watch);
		ret = fn(&watch, arg);
	}
	return ret;
}
