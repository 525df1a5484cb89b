/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes the metrics in Prometheus' text format 0.0.4. */
#include <inttypes.h>
#include <sys/resource.h>

#include "agent.h"
#include "events.h"
#include "flows.h"
#include "maps.h"
#include "enum_names.h"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	head(f, name, type, help);
	fprintf(f, "%s %" PRIu64 "\n", name, value);
}

static void histogram(FILE *f, const char *name, const char *help, const struct histogram *h)
{
	uint64_t below = 0;

	head(f, name, "histogram", help);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		below += h->buckets[i];
		fprintf(f, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, histogram_bounds[i], below);
	}
	fprintf(f, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9f\n%s_count %" PRIu64 "\n", name, h->count, name,
		(double)h->sum_ns / 1e9, name, h->count);
}

/* --- packets --- */

static void packets(FILE *f)
{
	struct wr_metric totals[WR_METRICS];

	if (dp_metrics_read(totals, NULL) < 0)
		return;
	for (int bytes = 0; bytes < 2; bytes++) {
		const char *name = bytes ? "warren_bytes_total" : "warren_packets_total";

		head(f, name, "counter",
		     bytes ? "Bytes of the frames of pods, by reason of the verdict."
			   : "Packets of pods, by reason of the verdict.");
		for (uint32_t r = 1; r < WR_REASONS; r++) {
			for (uint32_t d = 0; d < WR_DIRECTIONS; d++) {
				const struct wr_metric *m = &totals[wr_metric_key(r, d)];

				fprintf(f, "%s{reason=\"%s\",direction=\"%s\",kind=\"%s\"} %" PRIu64 "\n", name,
					reason_name(r), direction_name(d), reason_drops(r) ? "drop" : "pass",
					(uint64_t)(bytes ? m->bytes : m->packets));
			}
		}
	}
}

static void events(FILE *f)
{
	struct wr_event_stats stats;

	if (dp_event_stats(&stats, NULL) < 0)
		return;
	single(f, "warren_events_suppressed_total", "counter", "Events beyond the rate limit of an endpoint.",
	       stats.suppressed);
	single(f, "warren_events_lost_total", "counter", "Events lost because the ring was full.", stats.lost);
}

/* --- conntrack --- */

static void flows(FILE *f, const struct dp_flow_stats *stats)
{
	head(f, "warren_conntrack_events_total", "counter", "Events of the flow tables.");
	for (uint32_t i = 0; i < WR_CT_STATS; i++)
		fprintf(f, "warren_conntrack_events_total{event=\"%s\"} %" PRIu64 "\n", ct_stat_name(i),
			stats->counters[i]);
	single(f, "warren_conntrack_gc_removed_total", "counter", "Expired flows that the conntrack gc has removed.",
	       stats->ct_gc.removed);
}

/* --- maps --- */

struct map_use {
	const char *name;
	uint64_t entries, capacity;
};

static size_t map_uses(const struct agent *agent, const struct dp_flow_stats *stats,
		       const struct balancer_counts *balancer, struct map_use *uses)
{
	static const char *const service_maps[] = { "services4", "services6" };
	static const char *const external_maps[] = { "external4", "external6" };
	static const char *const backend_maps[] = { "backends4", "backends6" };
	size_t backends[2] = { 0 }, listed = 0, blocks = 0;
	static const char *const flow_maps[] = { "ct4", "ct6", "ct_new4", "ct_new6" };
	static const char *const counted[] = { "addr4", "addr6" };
	size_t count = 0;

	for (int t = 0; t < APPLY_TABLES; t++) {
		size_t used, limit;

		apply_table_use(agent->tables, t, &used, &limit);
		uses[count++] = (struct map_use){ apply_table_name(t), used, limit };
	}
	for (int i = 0; i < 4 && stats; i++)
		uses[count++] = (struct map_use){ flow_maps[i], stats->entries[i], stats->capacity[i] };
	if (agent->services)
		dp_services_count(agent->services, backends, &listed, &blocks);
	uses[count++] = (struct map_use){ "service_lists", listed, WR_MAX_LISTED };
	uses[count++] = (struct map_use){ "service_tables", blocks, WR_MAX_TABLE_BLOCKS };
	for (int i = 0; i < 2; i++) {
		struct dp_map_info info;

		uses[count++] = (struct map_use){ service_maps[i], balancer->frontends[i], WR_MAX_SERVICES };
		uses[count++] = (struct map_use){ external_maps[i], balancer->external[i], WR_MAX_SERVICES };
		uses[count++] = (struct map_use){ backend_maps[i], backends[i], WR_MAX_BACKENDS };
		if (dp_map_info(counted[i], &info, NULL) == 0)
			uses[count++] = (struct map_use){ counted[i], info.entries, info.limit };
	}
	return count;
}

static void maps(FILE *f, const struct agent *agent, const struct dp_flow_stats *stats,
		 const struct balancer_counts *balancer)
{
	struct map_use uses[APPLY_TABLES + 14];
	size_t count = map_uses(agent, stats, balancer, uses);

	head(f, "warren_map_entries", "gauge", "Elements in a map.");
	for (size_t i = 0; i < count; i++)
		fprintf(f, "warren_map_entries{map=\"%s\"} %" PRIu64 "\n", uses[i].name, uses[i].entries);
	head(f, "warren_map_capacity", "gauge", "Maximum number of elements in a map.");
	for (size_t i = 0; i < count; i++)
		fprintf(f, "warren_map_capacity{map=\"%s\"} %" PRIu64 "\n", uses[i].name, uses[i].capacity);
}

/* --- policy --- */

static void endpoints(FILE *f, const struct agent *agent)
{
	size_t counts[ENDPOINT_STATES] = { 0 }, count;
	const struct apply_endpoint *v = apply_endpoints(agent->apply, &count);

	for (size_t i = 0; i < count; i++) {
		if (attachments_by_ifindex(agent->attachments, v[i].ifindex))
			counts[endpoint_state(&v[i])]++;
	}
	head(f, "warren_endpoints", "gauge", "Endpoints of this node whose policy the agent computes, by state.");
	for (size_t s = 0; s < ENDPOINT_STATES; s++)
		fprintf(f, "warren_endpoints{state=\"%s\"} %zu\n", endpoint_state_label(s), counts[s]);
}

static void policy(FILE *f, const struct agent *agent)
{
	struct apply_counts applied;
	struct policy_counts c;

	policy_count(agent->policy, &c);
	apply_count(agent->apply, &applied);
	head(f, "warren_objects", "gauge", "Objects read from the sources.");
	fprintf(f,
		"warren_objects{kind=\"Namespace\"} %zu\nwarren_objects{kind=\"Pod\"} %zu\n"
		"warren_objects{kind=\"NetworkPolicy\"} %zu\n",
		c.namespaces, c.pods, c.policies);
	single(f, "warren_policies_invalid", "gauge",
	       "Policies that are not valid; they isolate the pods that they select.", c.policies_invalid);
	single(f, "warren_policy_classes", "gauge", "Distinct sets of policies that select pods of this node.",
	       c.classes);
	single(f, "warren_policy_classes_denied", "gauge", "Of these, those that do not fit into the maps.",
	       applied.state.classes_denied);
	single(f, "warren_identities", "gauge", "Distinct label sets of pods.", c.identities);
	single(f, "warren_identity_collisions", "gauge",
	       "Identities that two label sets share; no selector matches them.", c.collisions);
	single(f, "warren_identities_not_programmed", "gauge", "Identities that do not fit into the maps.",
	       applied.identities_not_programmed);
	single(f, "warren_manifest_problems", "gauge", "Manifests that could not be read.",
	       problems_count(&agent->problems, PROBLEM_MANIFEST));
	single(f, "warren_policy_revision", "gauge", "Revision of the policy enforced.", applied.state.revision);
	single(f, "warren_policy_changes_total", "counter", "Changes of policy since the maps were created.",
	       applied.state.changes);
	single(f, "warren_policy_failing", "gauge", "1 while the maps cannot be written.",
	       agent->reconcile.failure[0] != '\0');
	endpoints(f, agent);
	histogram(f, "warren_policy_compile_seconds", "Time to compile policy.", &agent->reconcile.compiles);
	histogram(f, "warren_policy_apply_seconds", "Time to write the maps.", &agent->reconcile.applies);
	histogram(f, "warren_policy_latency_seconds", "Time from receiving a change to enforcing it.",
		  &agent->reconcile.latency);
}

/* --- other nodes --- */

static void nodes(FILE *f, const struct agent *agent)
{
	struct ipcache_counts addresses;
	struct cluster_counts c;

	cluster_count(agent->cluster, &c);
	ipcache_count(agent->ipcache, &addresses);
	head(f, "warren_nodes", "gauge", "Other nodes of the cluster, by state of their route.");
	fprintf(f,
		"warren_nodes{state=\"resolved\"} %zu\nwarren_nodes{state=\"unresolved\"} %zu\n"
		"warren_nodes{state=\"not_programmed\"} %zu\n",
		c.in_maps - c.unresolved, c.unresolved, c.nodes - c.in_maps);
	single(f, "warren_node_problems", "gauge", "Nodes with a problem.", c.problems);
	single(f, "warren_pod_mtu_bytes", "gauge", "MTU of new pods, from the paths to other nodes; 0: no cluster.",
	       c.pod_mtu);
	single(f, "warren_ipcache_entries", "gauge", "Addresses of other nodes and their pods.", addresses.entries);
	single(f, "warren_ipcache_not_programmed", "gauge", "Of these, those that do not fit into the maps.",
	       addresses.not_programmed);
	single(f, "warren_ipcache_disputed", "gauge", "Addresses that several pods claim; no selector matches them.",
	       addresses.disputed);
	single(f, "warren_ipcache_refused", "gauge", "Pods of other nodes with an address outside of their node's pod CIDRs; it is ignored.",
	       addresses.refused);
	histogram(f, "warren_node_join_seconds", "Time from receiving another Node to writing it into the maps.",
		  cluster_joins(agent->cluster));
}

/* --- services --- */

static void services(FILE *f, const struct agent *agent, const struct balancer_counts *c)
{
	struct health_ports_counts health;

	health_ports_count(agent->health_ports, &health);
	single(f, "warren_services", "gauge", "Services, including those without an address.",
	       c->services);
	single(f, "warren_service_slices", "gauge", "EndpointSlices.", c->slices);
	single(f, "warren_service_problems", "gauge", "Services with a problem.",
	       c->problems);
	single(f, "warren_service_frontends_without_backends", "gauge",
	       "Addresses and ports of Services in the maps that have no backend: their clients are refused, or dropped.",
	       c->without_backends);
	head(f, "warren_service_health_ports", "gauge", "Services with a health check port, by whether it is open on this node.");
	fprintf(f, "warren_service_health_ports{state=\"open\"} %zu\nwarren_service_health_ports{state=\"closed\"} %zu\n",
		health.ports - health.problems, health.problems);
	single(f, "warren_service_write_failures_total", "counter", "Failures to write a Service's address and port.",
	       c->failures);
	histogram(f, "warren_service_latency_seconds", "Time from receiving Services and endpoints to writing them into the maps.",
		  balancer_latency(agent->balancer));
}

static void cpu_seconds(FILE *f)
{
	struct rusage used;

	if (getrusage(RUSAGE_SELF, &used) < 0)
		return;
	head(f, "process_cpu_seconds_total", "counter", "Processor time that the agent has used, its own and the kernel's for it.");
	fprintf(f, "process_cpu_seconds_total %.6f\n", (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

char *metrics_text(struct agent *agent, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);
	struct balancer_counts balancer;
	struct dp_flow_stats stats;
	bool has_stats = dp_flow_stats_kept(&agent->windows, &stats, NULL) == 0;

	if (!f)
		return NULL;
	balancer_count(agent->balancer, &balancer);
	head(f, "warren_build_info", "gauge", "1; the label is the release.");
	fprintf(f, "warren_build_info{version=\"%s\"} 1\n", WARREN_VERSION);
	packets(f);
	events(f);
	if (has_stats)
		flows(f, &stats);
	maps(f, agent, has_stats ? &stats : NULL, &balancer);
	policy(f, agent);
	nodes(f, agent);
	services(f, agent, &balancer);
	kube_metrics(f, agent->kube);
	cpu_seconds(f);
	single(f, "process_resident_memory_bytes", "gauge", "Resident memory of the agent in bytes.", rss_bytes());
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}
