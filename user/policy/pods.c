/* SPDX-License-Identifier: BSD-2-Clause */
/* Pods, and the endpoints of this node with their labels. Marks what the next compile must update. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

/* --- pods --- */

static struct pod *pod_find(const struct policy *p, const char *namespace, const char *name)
{
	struct pod *pod;

	table_each_hash(pod, &p->pods, names_hash(p, namespace, name), by_name) {
		if (strcmp(pod->name, name) == 0 && strcmp(pod->ns->name, namespace) == 0)
			return pod;
	}
	return NULL;
}

static struct pod *pod_get(struct policy *p, const char *namespace, const char *name)
{
	struct pod *pod = pod_find(p, namespace, name);

	if (pod)
		return pod;
	pod = calloc(1, sizeof(*pod) + strlen(name) + 1);
	if (!pod)
		return NULL;
	pod->ns = ns_get(p, namespace);
	if (!pod->ns) {
		free(pod);
		return NULL;
	}
	memcpy(pod->name, name, strlen(name) + 1);
	table_add(&p->pods, &pod->by_name, names_hash(p, namespace, name));
	return pod;
}

/* Frees the pod if it has no object and no endpoint, and its removal was reported. */
void pod_unneeded(struct policy *p, struct pod *pod)
{
	if (pod->present || pod->reported || !list_empty(&pod->endpoints))
		return;
	table_remove(&p->pods, &pod->by_name);
	list_remove(&pod->dirty);
	list_remove(&pod->oversized);
	ns_put(p, pod->ns);
	free(pod->uid);
	free(pod->node);
	free(pod);
}

/* --- endpoints and their label sets --- */

static void endpoint_set(struct policy *p, struct endpoint *ep, struct labelset *set)
{
	struct labelset *old = ep->set;

	if (old == set)
		return;
	if (set) {
		set->refs++;
		if (list_empty(&set->endpoints)) {
			list_append(&set->ns->local_sets, &set->in_local);
			list_append(&p->select_sets, &set->select);
		}
		if (set == ep->own)
			labelset_use(p, set);
	}
	list_remove(&ep->in_set);
	ep->set = set;
	if (set)
		list_append(&set->endpoints, &ep->in_set);
	list_mark(&p->dirty_endpoints, &ep->dirty);
	if (!old)
		return;
	if (list_empty(&old->endpoints)) {
		list_remove(&old->in_local);
		list_remove(&old->select);
		class_set(p, old, NULL);
	}
	if (old == ep->own)
		labelset_unuse(p, old);
	labelset_put(p, old);
}

/* An unknown uid of either side matches any. */
static bool same_uid(const char *a, const char *b)
{
	return !a || !b || !*a || !*b || strcmp(a, b) == 0;
}

static void endpoint_resolve(struct policy *p, struct endpoint *ep)
{
	const struct pod *pod = ep->pod;

	endpoint_set(p, ep, pod->set && same_uid(pod->uid, ep->uid) ? pod->set : ep->own);
}

static struct endpoint *endpoint_find(const struct policy *p, uint32_t ifindex)
{
	struct endpoint *ep;

	table_each_hash(ep, &p->endpoints, ifindex, by_ifindex)
		return ep;
	return NULL;
}

static void endpoint_free(struct policy *p, struct endpoint *ep)
{
	table_remove(&p->endpoints, &ep->by_ifindex);
	endpoint_set(p, ep, NULL);
	list_remove(&ep->in_pod);
	list_remove(&ep->dirty);
	if (ep->pod)
		pod_unneeded(p, ep->pod);
	labelset_put(p, ep->own);
	free(ep->uid);
	free(ep);
}

static struct endpoint *endpoint_new(struct policy *p, uint32_t ifindex)
{
	struct endpoint *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return NULL;
	ep->ifindex = ifindex;
	table_add(&p->endpoints, &ep->by_ifindex, ifindex);
	list_append(&p->dirty_endpoints, &ep->dirty);
	return ep;
}

static int endpoint_fill(struct policy *p, struct endpoint *ep, const char *namespace, const char *name,
			 const char *uid, const struct labels *own)
{
	ep->pod = pod_get(p, namespace, name);
	ep->uid = strdup(uid ? uid : "");
	if (ep->pod)
		list_append(&ep->pod->endpoints, &ep->in_pod);
	if (ep->pod && own)
		ep->own = labelset_get(p, ep->pod->ns, own, NULL, 0);
	return ep->pod && ep->uid && (ep->own || !own) ? 0 : -ENOMEM;
}

int policy_put_endpoint(struct policy *p, uint32_t ifindex, const char *namespace, const char *name, const char *uid,
			struct labels *own)
{
	struct endpoint *old = endpoint_find(p, ifindex), *ep = endpoint_new(p, ifindex);
	int r = ep ? endpoint_fill(p, ep, namespace, name, uid, own) : -ENOMEM;

	labels_free(own);
	if (r < 0) {
		if (ep)
			endpoint_free(p, ep);
		return r;
	}
	endpoint_resolve(p, ep);
	if (old) { /* an unchanged endpoint is not reported again */
		ep->reported = old->reported;
		ep->reported_identity = old->reported_identity;
		ep->reported_class = old->reported_class;
		endpoint_free(p, old);
	}
	return 0;
}

void policy_remove_endpoint(struct policy *p, uint32_t ifindex)
{
	struct endpoint *ep = endpoint_find(p, ifindex);

	if (ep)
		endpoint_free(p, ep);
}

/* --- pod objects --- */

/* Takes ownership of the reference to the set. */
static void pod_set(struct policy *p, struct pod *pod, struct labelset *set)
{
	struct labelset *old = pod->set;
	struct endpoint *ep;

	pod->set = set;
	labelset_use(p, set);
	list_remove(&pod->in_set);
	if (set)
		list_append(&set->pods, &pod->in_set);
	if (set != old)
		list_mark(&p->dirty_pods, &pod->dirty);
	list_each(ep, &pod->endpoints, in_pod)
		endpoint_resolve(p, ep);
	if (old) {
		labelset_unuse(p, old);
		labelset_put(p, old);
	}
}

static void swap_text(char **a, char **b)
{
	char *text = *a;

	*a = *b;
	*b = text;
}

/* Takes over the object's fields besides its labels; the old values are freed with the object. */
static void pod_take(struct policy *p, struct pod *pod, struct pod_object *object)
{
	const char *was = pod->node ? pod->node : "", *is = object->node ? object->node : "";

	if (!pod->present || strcmp(was, is) != 0 || pod->terminating != object->terminating ||
	    !ip_equal(&pod->ips[0], &object->ips[0]) || !ip_equal(&pod->ips[1], &object->ips[1]))
		list_mark(&p->dirty_pods, &pod->dirty);
	swap_text(&pod->uid, &object->uid);
	swap_text(&pod->node, &object->node);
	memcpy(pod->ips, object->ips, sizeof(pod->ips));
	pod->terminating = object->terminating;
	pod->present = true;
}

int policy_put_pod(struct policy *p, struct pod_object *object)
{
	struct pod *pod = pod_get(p, object->namespace, object->name);
	bool oversized = object->labels.count > POD_LABELS_MAX || object->port_count > POD_PORTS_MAX;
	struct labelset *set = NULL;

	if (pod && !object->host_network && !object->completed && !oversized) {
		set = labelset_get(p, pod->ns, &object->labels, object->ports, object->port_count);
		if (!set) {
			pod_unneeded(p, pod);
			pod = NULL;
		}
	}
	if (!pod) {
		pod_object_free(object);
		return -ENOMEM;
	}
	list_remove(&pod->oversized);
	if (oversized)
		list_append(&p->oversized_pods, &pod->oversized);
	pod_take(p, pod, object);
	pod_set(p, pod, set);
	pod_object_free(object);
	return 0;
}

void policy_remove_pod(struct policy *p, const char *namespace, const char *name)
{
	struct pod *pod = pod_find(p, namespace, name);

	if (!pod)
		return;
	pod->present = false;
	list_remove(&pod->oversized);
	free(pod->uid);
	pod->uid = NULL;
	list_mark(&p->dirty_pods, &pod->dirty);
	pod_set(p, pod, NULL);
	pod_unneeded(p, pod);
}
