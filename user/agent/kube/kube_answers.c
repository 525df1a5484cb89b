/* SPDX-License-Identifier: BSD-2-Clause */
/* Status and metrics about the API server and the own Node. */
#include "kube_internal.h"

#include "array.h"
#include "json.h"

const char *kube_not_ready(const struct kube *k)
{
	struct prefix cidrs[2];

	if (!k)
		return NULL;
	if (!k->source)
		return "the identity key has not been read yet";
	if (!k->agent->reconcile.synced)
		return "objects have not all been read from the API server yet";
	if (k->waiting && !k->agent->reconcile.enforced)
		return "pods of other nodes, which policies name, have not all been read yet";
	if (!k->agent->reconcile.enforced)
		return NULL;
	if (!cluster_own(k->agent->cluster))
		return "there is no Node object of this node yet";
	if (!cluster_own_cidrs(k->agent->cluster, cidrs))
		return "this node's Node has no pod CIDR, or it is not enforced yet";
	if (!kube_conflist_written(k))
		return "the network configuration could not be written yet";
	return NULL;
}

/* --- status --- */

static int add_watch(const struct kube_watch_counts *w, void *arg)
{
	json_t *json = json_pack("{s:s, s:I, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:s?}", "kind", w->kind, "objects",
				 (json_int_t)w->objects, "synced", w->synced, "connected", w->connected, "lists",
				 (json_int_t)w->lists, "watches", (json_int_t)w->watches, "events",
				 (json_int_t)w->events, "bytes", (json_int_t)w->bytes, "failures",
				 (json_int_t)w->failures, "problem", *w->problem ? w->problem : NULL);

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

static json_t *key_json(const struct kube *k)
{
	if (!k->key)
		return json_pack("{s:s, s:s}", "state", "given", "file", k->agent->options->key_file);
	return json_pack("{s:s, s:s, s:s}", "state", kube_key_state_name(kube_key_state(k->key)), "namespace",
			 k->secret_namespace, "secret", k->secret_name);
}

json_t *kube_json(const struct kube *k)
{
	const struct options *options = k ? k->agent->options : NULL;
	json_t *watches;

	if (!k)
		return json_null();
	watches = json_array();
	if (k->source)
		kube_source_each_watch(k->source, add_watch, watches);
	return json_pack("{s:s, s:o, s:s?, s:{s:s?, s:b, s:o}, s:{s:s, s:b}, s:s, s:o}", "server", api_server(k->api),
			 "key", key_json(k), "waits_for", kube_not_ready(k), "configuration", "path", options->conflist,
			 "written", options->conflist && kube_conflist_written(k), "cidrs",
			 json_prefixes(k->written, 2), "node", "name", options->cluster.node_name, "reported",
			 kube_node_synced(k->node), "pods", k->level == PODS_ALL ? "all" : "own", "watches", watches);
}

/* --- metrics --- */

struct watch_metric {
	FILE *f;
	int index;
};

static const struct {
	const char *name, *type, *help;
} watch_metrics[] = {
	{ "warren_watch_connected", "gauge", "1 while a watch of the API server is connected." },
	{ "warren_watch_events_total", "counter", "Watch events received from the API server." },
	{ "warren_watch_bytes_total", "counter", "Bytes of lists and watch events from the API server." },
	{ "warren_watch_lists_total", "counter", "Full lists of a kind." },
	{ "warren_watch_failures_total", "counter", "Lists and watches that failed." },
};

static int print_watch(const struct kube_watch_counts *w, void *arg)
{
	const struct watch_metric *m = arg;
	const unsigned long values[] = { w->connected, w->events, w->bytes, w->lists, w->failures };

	fprintf(m->f, "%s{kind=\"%s\"} %lu\n", watch_metrics[m->index].name, w->kind, values[m->index]);
	return 0;
}

void kube_metrics(FILE *f, const struct kube *k)
{
	if (!k)
		return;
	for (int i = 0; k->source && i < (int)ARRAY_SIZE(watch_metrics); i++) {
		struct watch_metric metric = { f, i };

		fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", watch_metrics[i].name, watch_metrics[i].help,
			watch_metrics[i].name, watch_metrics[i].type);
		kube_source_each_watch(k->source, print_watch, &metric);
	}
	fprintf(f, "# HELP warren_node_ready 1 when this node is ready for pods.\n# TYPE warren_node_ready gauge\n"
		   "warren_node_ready %d\n",
		k->agent->reconcile.enforced && !kube_not_ready(k));
}
