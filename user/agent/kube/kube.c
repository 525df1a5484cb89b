/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_internal.h"

#include <stdlib.h>
#include <string.h>

#include "api_find.h"
#include "cleanup.h"
#include "file.h"
#include "paths.h"
#include "str.h"

#define OWN_NAMESPACE "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
#define NAMESPACE "kube-system" /* if the agent does not run in a pod */

static void on_problem(void *arg, const char *subject, const struct err *err)
{
	struct kube *k = arg;

	report_problem(&k->agent->problems, PROBLEM_AGENT, subject, err);
}

/* PROBLEM_API, which report_state() does not count: otherwise a failed patch would change the count that it writes. */
static void on_node_problem(void *arg, const char *subject, const struct err *err)
{
	struct kube *k = arg;

	report_problem(&k->agent->problems, PROBLEM_API, subject, err);
}

/* --- the API server --- */

static void on_api(uv_poll_t *poll, int status, int events)
{
	struct kube *k = poll->data;

	api_run(k->api);
}

/*
 * A kubeconfig names a server that this node reaches. The address that a pod's environment has is a Service's, which
 * may not work yet.
 */
static int find_api(const struct options *options, struct api_config *config, struct err *err)
{
	const struct api_places places = { .url = options->api_server };
	int ret = options->kubeconfig ? api_config_kubeconfig(config, options->kubeconfig, err)
				      : api_config_in_cluster(config, err);

	return ret == 0 && (options->kubernetes || options->api_server) ? api_find_servers(config, &places, err) : ret;
}

static int open_api(struct kube *k, struct err *err)
{
	_cleanup_(api_config_free) struct api_config config = { 0 };
	int ret = find_api(k->agent->options, &config, err);

	return ret < 0 ? ret : api_open(&k->api, &config, err);
}

void kube_slice(struct kube *k, const struct slice_object *slice)
{
	_cleanup_(api_config_free) struct api_config config = { 0 };
	struct err err;
	int ret;

	if (!k || !k->agent->options->kubernetes)
		return;
	ret = api_servers_remember(NULL, slice, &err);
	if (ret > 0)
		ret = find_api(k->agent->options, &config, &err) ?: api_use_servers(k->api, &config, &err);
	if (ret < 0)
		log_err(LOG_WARN, &err);
}

/* --- the key --- */

static void on_key(void *arg)
{
	struct kube *k = arg;

	k->on_key(k->agent);
}

/* The option's Secret, else the default one in the agent's own namespace. */
static void name_secret(struct kube *k)
{
	const char *given = k->agent->options->key_secret, *slash = given ? strchr(given, '/') : NULL;
	_cleanup_free_ char *own = NULL;
	size_t size;

	if (slash) {
		snprintf(k->secret_namespace, sizeof(k->secret_namespace), "%.*s", (int)(slash - given), given);
		k->secret_name = slash + 1;
		return;
	}
	k->secret_name = KEY_SECRET;
	if (k->agent->options->kubernetes && file_read(OWN_NAMESPACE, 256, &own, &size, NULL) == 0)
		own[strcspn(own, "\n")] = '\0';
	str_copy(k->secret_namespace, sizeof(k->secret_namespace), own && *own ? own : NAMESPACE);
}

static int open_key(struct kube *k, struct err *err)
{
	struct kube_key_options options = {
		.path = WARREN_STATE_DIR "/cluster.key",
		.node = k->agent->options->cluster.node_name,
		.report_problem = on_problem,
		.have = on_key,
		.arg = k,
	};

	if (k->agent->options->key_file)
		return 0;
	name_secret(k);
	options.namespace = k->secret_namespace;
	options.name = k->secret_name;
	return kube_key_open(&k->key, k->api, &options, err);
}

const uint8_t *kube_cluster_key(const struct kube *k)
{
	return k->key ? kube_key(k->key) : NULL;
}

/* --- Events and the Node's annotation --- */

static void pod_event(struct kube *k, const struct attached_pod *pod, const char *reason, const char *message)
{
	if (*pod->pod_name)
		kube_events_send(k->events, &(struct kube_event){ "Pod", pod->pod_namespace, pod->pod_name, pod->pod_uid, reason,
								  message });
}

void kube_pod_not_ready(struct kube *k, const struct attached_pod *pod, const struct err *why)
{
	char message[640];

	if (!k)
		return;
	snprintf(message, sizeof(message), "the pod stays in quarantine until its policy is enforced: %s", why->msg);
	pod_event(k, pod, "PolicyAwaited", message);
}

/* kube-proxy's reason, so that what looks for its Events finds this one. */
void kube_health_port_closed(struct kube *k, const char *namespace, const char *name, const char *problem)
{
	char message[512];

	if (!k)
		return;
	snprintf(message, sizeof(message), "node %s: %s", k->agent->options->cluster.node_name, problem);
	kube_events_send(k->events, &(struct kube_event){ "Service", namespace, name, NULL, "FailedToStartServiceHealthcheck", message });
}

static void report_denied(struct kube *k)
{
	struct apply_counts counts;
	size_t count;
	const struct apply_endpoint *v = apply_endpoints(k->agent->apply, &count);

	apply_count(k->agent->apply, &counts);
	if (!counts.state.classes_denied || counts.state.revision == k->denied_revision)
		return;
	k->denied_revision = counts.state.revision;
	for (size_t i = 0; i < count; i++) {
		const struct attached_pod *pod = attachments_by_ifindex(k->agent->attachments, v[i].ifindex);

		if (pod && endpoint_state(&v[i]) == ENDPOINT_DENIED)
			pod_event(k, pod, "PolicyDoesNotFit",
				  "its policies do not fit into the maps of this node: the directions that they isolate are denied");
	}
}

/*
 * Counts only the problems of this node. Problems of objects, or of the API server, appear on all nodes at once: every
 * node would patch its Node, and receive the patches of all others, whenever a tenant changes a policy.
 */
static void report_state(struct kube *k)
{
	size_t problems = problems_count(&k->agent->problems, PROBLEM_AGENT);

	kube_node_report(k->node, problems + (k->agent->reconcile.failure[0] != 0));
}

/* --- reconciliation --- */

void kube_reconcile(struct kube *k)
{
	if (!k || !k->source)
		return;
	kube_pods_reconcile(k);
	kube_ready_reconcile(k);
	report_denied(k);
	report_state(k);
}

void kube_resync(struct kube *k)
{
	if (!k)
		return;
	if (k->key)
		kube_key_compare(k->key);
	k->directory_changed = k->node_changed = k->to_clean = true;
}

/* --- begin and end --- */

int kube_start(struct kube *k, const struct object_events *events, struct err *err)
{
	int ret;

	if (k->key && !kube_key(k->key)) {
		log_info("waiting for the identity key, Secret %s/%s", k->secret_namespace, k->secret_name);
		return 0;
	}
	ret = kube_source_open(&k->source, k->api, k->agent->options->cluster.node_name, events, err);
	if (ret == 0)
		kube_pods_start(k);
	return ret;
}

static int open_parts(struct kube *k, struct err *err)
{
	const struct options *options = k->agent->options;
	const struct kube_node_options node = { options->cluster.node_name, options->startup_taint, on_node_problem, k };
	int ret = open_api(k, err);

	if (ret < 0)
		return ret;
	k->node = kube_node_open(k->api, &node);
	k->events = kube_events_open(k->api, options->cluster.node_name);
	if (!k->node || !k->events)
		return err_set(err, ENOMEM, "no memory");
	return open_key(k, err);
}

int kube_open(struct agent *agent, void (*key)(struct agent *agent), struct kube **out, struct err *err)
{
	struct kube *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(err, ENOMEM, "no memory");
	k->agent = agent;
	k->on_key = key;
	ret = open_parts(k, err);
	if (ret < 0) {
		kube_free(k);
		return ret;
	}
	kube_pods_init(k);
	kube_ready_init(k);
	uv_poll_init(&agent->loop, &k->ready, api_fd(k->api));
	k->ready.data = k;
	uv_poll_start(&k->ready, UV_READABLE, on_api);
	log_info("API server %s", api_server(k->api));
	*out = k;
	return 0;
}

void kube_free(struct kube *k)
{
	if (!k)
		return;
	if (k->source)
		kube_source_close(k->source);
	kube_key_close(k->key);
	kube_node_close(k->node);
	kube_events_close(k->events);
	api_close(k->api);
	free(k);
}
