/* SPDX-License-Identifier: BSD-2-Clause */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pods_free(struct pods *pods)
{
	for (size_t i = 0; i < pods->count; i++) {
		free(pods->pod[i].name);
		free(pods->pod[i].container);
	}
	free(pods->pod);
	*pods = (struct pods){ 0 };
}

static int add_pod(const struct attachment *a, bool damaged, void *arg)
{
	struct pods *pods = arg;
	struct pod *grown, *pod;

	if (damaged || !a->host_ifindex)
		return 0;
	grown = reallocarray(pods->pod, pods->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pods->pod = grown;
	pod = &grown[pods->count];
	*pod = (struct pod){ .ifindex = a->host_ifindex, .state = a->state, .container = strdup(a->container_id) };
	if (a->pod_name[0] && asprintf(&pod->name, "%s/%s", a->pod_namespace, a->pod_name) < 0)
		pod->name = NULL;
	if (!pod->container || (a->pod_name[0] && !pod->name)) {
		free(pod->container);
		free(pod->name);
		return -ENOMEM;
	}
	pods->count++;
	return 0;
}

int pods_load(struct pods *pods, struct err *err)
{
	int r;

	pods_free(pods);
	r = attachment_each(add_pod, pods, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot read the attachment records") : r;
}

const struct pod *pods_find(const struct pods *pods, uint32_t ifindex)
{
	for (size_t i = 0; i < pods->count; i++) {
		if (pods->pod[i].ifindex == ifindex)
			return &pods->pod[i];
	}
	return NULL;
}

const char *pod_label(const struct pod *pod, char buf[POD_LABEL_MAX])
{
	if (!pod)
		snprintf(buf, POD_LABEL_MAX, "-");
	else if (pod->name)
		snprintf(buf, POD_LABEL_MAX, "%s", pod->name);
	else
		snprintf(buf, POD_LABEL_MAX, "%.13s", pod->container);
	return buf;
}

void out_pod(struct out *o, const char *key, const struct pod *pod)
{
	char label[POD_LABEL_MAX];
	json_t *name = pod && pod->name ? json_string(pod->name) : NULL;

	out_field(o, key, name ?: json_null(), pod_label(pod, label), OUT_PLAIN);
}

const char *attachment_state_name(enum attachment_state state)
{
	static const char *const names[] = {
		[ATTACHMENT_ADDING] = "adding",
		[ATTACHMENT_READY] = "ready",
		[ATTACHMENT_DELETING] = "deleting",
	};

	return names[state];
}
