/* SPDX-License-Identifier: BSD-2-Clause */
/* warren status: one line per check, green, yellow or red, with a remedy for those that are not green. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "attachment.h"
#include "clock.h"
#include "deny_places.h"
#include "enum_names.h"
#include "flows.h"
#include "gateway.h"
#include "json.h"
#include "link.h"
#include "maps.h"
#include "node_check.h"
#include "peers.h"
#include "tables.h"

/* A notice leaves the node healthy. */
enum state { STATE_OK, STATE_NOTICE, STATE_WRONG };

struct status {
	struct cli *cli;
	unsigned wrong;
};

/* `remedy` is shown unless the state is ok. */
static void __attribute__((format(printf, 5, 6)))
check(struct status *s, const char *name, enum state state, const char *remedy, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "notice", "wrong" };
	static const enum out_colour colours[] = { OUT_GREEN, OUT_YELLOW, OUT_RED };
	char detail[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	out_record(s->cli->out, NULL);
	out_string(s->cli->out, "check", name);
	out_word(s->cli->out, "state", words[state], colours[state]);
	out_string(s->cli->out, "detail", detail);
	out_string(s->cli->out, "remedy", state == STATE_OK ? NULL : remedy);
	out_end(s->cli->out);
	s->wrong += state == STATE_WRONG;
}

static enum state good(bool is_good)
{
	return is_good ? STATE_OK : STATE_WRONG;
}

static void check_node(struct status *s, const struct node_check *node)
{
	bool full = node->endpoints >= node->endpoints_max;

	check(s, "programs", STATE_OK, NULL, "loaded by release %s, ABI %d", node->version, WR_ABI_VERSION);
	check(s, "nftables", good(node->nft_whole), "run `warren node init`: it restores the table",
	      !node->nft_present ? "table inet warren is missing: packets that bypass from_pod are not dropped"
	      : !node->nft_whole ? "table inet warren was changed: packets that bypass from_pod may not be dropped"
				 : "table inet warren is complete");
	check(s, "gateway link", good(node->gateway_link), "run `warren node init`: it creates the link again",
	      "%s is %s", WARREN_GATEWAY_LINK, node->gateway_link ? "up" : "missing or down");
	check(s, "from_host", good(node->from_host || !node->gateway_link),
	      "run `warren node init`: it attaches the program again", "%s %s",
	      node->from_host ? "attached to" : "not attached to", WARREN_GATEWAY_LINK);
	if (node->uplinks)
		check(s, "uplinks", good(!node->uplinks_faulty),
		      "the agent attaches it again; `bpftool net show` lists programs that run before it",
		      node->uplinks_faulty ? "%u of %u: gone, without from_uplink or to_uplink, or another program runs before"
					   : "from_uplink and to_uplink are attached to all %u",
		      node->uplinks_faulty ?: node->uplinks, node->uplinks);
	check(s, "forwarding IPv4", good(node->forwarding4), "run `sysctl -w net.ipv4.ip_forward=1`", "is %s",
	      node->forwarding4 ? "on" : "off: pods reach nothing outside this node");
	check(s, "forwarding IPv6", good(node->forwarding6), "run `sysctl -w net.ipv6.conf.all.forwarding=1`", "is %s",
	      node->forwarding6 ? "on" : "off: pods reach nothing outside this node");
	check(s, "host sockets", node->sockets ? STATE_OK : STATE_NOTICE,
	      "mount cgroup v2, then run `warren node init`; kube-proxy serves the host as well", "%s",
	      node->sockets ? "services are for this host's own processes too"
			    : "services are for pods only: no programs at a cgroup");
	check(s, "endpoints", good(!full),
	      "delete pods; to raise --max-endpoints, drain the node, run `warren node down` and "
	      "`warren node init --max-endpoints N`",
	      "%u of at most %u", node->endpoints, node->endpoints_max);
}

static int check_endpoints(struct status *s)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	int r = endpoints_load(s->cli, &e);

	for (size_t i = 0; i < e.count && r == 0; i++) {
		const struct endpoint *endpoint = &e.list[i];
		json_auto_t *faults = endpoint_faults(endpoint);
		char name[32], label[POD_LABEL_MAX];
		json_t *fault;
		size_t n;

		snprintf(name, sizeof(name), "endpoint %u", endpoint->id);
		pod_label(pods_find(&e.pods, endpoint->id), label);
		json_array_foreach(faults, n, fault) {
			check(s, name, STATE_WRONG, endpoint_remedy(endpoint), "%s (pod %s): %s",
			      endpoint->device[0] ? endpoint->device : "no device", label, json_string_value(fault));
		}
	}
	return r;
}

/*
 * A pod with a record but without an endpoint: the pins of its maps were removed, and it runs on with programs and maps
 * that cannot be reached any more. Both are read twice, since a DEL may be running.
 */
static int check_record(const struct attachment *a, bool damaged, void *arg)
{
	struct status *s = arg;
	struct wr_endpoint ep;
	struct attachment again;

	if (damaged || dp_endpoint_get(&s->cli->dp, a->host_ifindex, &ep, NULL) != -ENOENT ||
	    attachment_load(a->container_id, a->ifname, &again, NULL) < 0 || again.state != ATTACHMENT_READY)
		return 0;
	check(s, "attachment", STATE_WRONG, "delete the pod: its programs are no longer pinned",
	      "%s of container %.64s has a record, but is no endpoint", a->host_ifname, a->container_id);
	return 0;
}

static int check_records(struct status *s)
{
	return attachment_each_in(ATTACHMENT_READY, check_record, s, &s->cli->err);
}

/* --- policy --- */

/* Numbers of endpoints. */
struct policies {
	unsigned quarantined, isolated;
};

static int count_policy(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct policies *p = arg;

	p->quarantined += ep->policy_class == WR_CLASS_QUARANTINE;
	p->isolated += ep->policy_class >= WR_CLASS_FIRST;
	return 0;
}

static void check_no_agent(struct status *s, const struct policies *p, const struct err *why)
{
	bool silent = why->num != ECONNREFUSED; /* it runs, but does not answer */
	const char *remedy = why->hint[0] ? why->hint : "read its log";

	if (p->quarantined)
		check(s, "agent", STATE_WRONG, remedy, "%s, and %u pod%s in quarantine", why->msg, p->quarantined,
		      p->quarantined == 1 ? " is" : "s are");
	else if (silent)
		check(s, "agent", STATE_WRONG, remedy, "%s", why->msg);
	else
		check(s, "agent", STATE_NOTICE, remedy, "%s: %s", why->msg,
		      p->isolated ? "policies stay as they are" : "no policies are computed");
}

static const char *problem_remedy(const char *kind)
{
	if (strcmp(kind, "manifest") == 0)
		return "fix the file: its previous content stays enforced";
	if (strcmp(kind, "api") == 0)
		return "wait, the agent tries again: the objects it has read stay enforced";
	if (strcmp(kind, "node") == 0)
		return "run `warren node list`; fix the Node object or the path to the node";
	return "fix it: the agent then continues by itself";
}

/* Problems that the agent reports. */
static void check_problems(struct status *s, const json_t *answer)
{
	const json_t *counts = json_object_get(answer, "counts");
	const char *failure = json_text_at(answer, "failure");
	json_int_t not_programmed = json_integer_value(json_object_get(answer, "identities_not_programmed"));
	json_t *problem;
	size_t i;

	if (failure)
		check(s, "agent", STATE_WRONG, "wait, the agent tries again; read its log for details",
		      "cannot write the maps: %s", failure);
	json_array_foreach(json_object_get(answer, "problems"), i, problem) {
		const char *kind = json_text_at(problem, "kind") ?: "agent";

		check(s, kind, STATE_WRONG, problem_remedy(kind), "%s: %s", json_text_at(problem, "subject") ?: "",
		      json_text_at(problem, "message") ?: "");
	}
	if (json_integer_value(json_object_get(counts, "collisions")))
		check(s, "identities", STATE_WRONG,
		      "find them with `warren identity list` and change a label of one of the two",
		      "two label sets have the same number: no selector matches them");
	if (not_programmed)
		check(s, "identities", STATE_WRONG,
		      "run fewer pods with distinct labels; `warren map list` shows the sizes",
		      "%lld did not fit into the maps: rules do not match them", (long long)not_programmed);
}

/* An agent in Kubernetes: its connection to the API server, and the state of its own Node. */
static void check_kubernetes(struct status *s, const json_t *kubernetes)
{
	const json_t *watches = json_object_get(kubernetes, "watches"), *key = json_object_get(kubernetes, "key");
	const json_t *configuration = json_object_get(kubernetes, "configuration"),
		     *node = json_object_get(kubernetes, "node");
	const char *waits_for = json_text_at(kubernetes, "waits_for"), *path = json_text_at(configuration, "path");
	json_int_t objects = 0;
	unsigned connected = 0;
	json_t *watch;
	size_t i;

	if (!json_is_object(kubernetes))
		return;
	json_array_foreach(watches, i, watch) {
		connected += json_is_true(json_object_get(watch, "connected"));
		objects += json_integer_value(json_object_get(watch, "objects"));
	}
	check(s, "API server", connected < json_array_size(watches) || !i ? STATE_NOTICE : STATE_OK,
	      "wait, the agent tries again; read its log for details",
	      "%s, %u of %zu kinds watched, %lld objects (pods of %s)", json_text_at(kubernetes, "server") ?: "unknown",
	      connected, json_array_size(watches), (long long)objects,
	      strcmp(json_text_at(kubernetes, "pods") ?: "", "all") == 0 ? "all nodes" : "this node");
	check(s, "identity key", strcmp(json_text_at(key, "state") ?: "", "awaited") == 0 ? STATE_WRONG : STATE_OK,
	      "wait, the agent tries again: until it has the key, pods stay in quarantine", "%s",
	      json_text_at(key, "state") ?: "unknown");
	check(s, "ready for pods", waits_for ? STATE_NOTICE : STATE_OK, "wait; read the agent's log for details", "%s",
	      waits_for ?: path ?: "no network configuration is written");
	if (!waits_for && !json_is_true(json_object_get(node, "reported")))
		check(s, "own Node", STATE_NOTICE, "wait, the agent tries again; read its log for details",
		      "%s does not report yet that the network is ready", json_text_at(node, "name") ?: "");
}

static void check_agent(struct status *s, const struct policies *p)
{
	struct err why;
	json_auto_t *answer = cli_query_agent("status", &why);
	const json_t *counts = json_object_get(answer, "counts");
	const char *version = json_text_at(answer, "version") ?: "unknown";

	if (!answer)
		check_no_agent(s, p, &why);
	else if (!json_is_true(json_object_get(answer, "synced")))
		check(s, "agent", STATE_NOTICE, "wait; read its log for the source that is missing",
		      "release %s has not read all its sources yet", version);
	else
		check(s, "agent", STATE_OK, NULL, "release %s runs, %lld pods, %lld policies", version,
		      (long long)json_integer_value(json_object_get(counts, "pods")),
		      (long long)json_integer_value(json_object_get(counts, "policies")));
	if (json_is_true(json_object_get(json_object_get(answer, "services"), "released")))
		check(s, "services", STATE_NOTICE, "to take them back, run `warren service takeover`",
		      "released: kube-proxy has new connections");
	check_problems(s, answer);
	check_kubernetes(s, json_object_get(answer, "kubernetes"));
}

static void check_policy_state(struct status *s, const struct wr_policy_state *state, const struct policies *p)
{
	if (state->classes_denied)
		check(s, "policy", STATE_WRONG,
		      "reduce rules or pods of this node; `warren map list` shows which map is full",
		      "%u set%s of policies did not fit into the maps: all traffic of their pods is denied",
		      state->classes_denied, state->classes_denied == 1 ? "" : "s");
	if (state->policies_invalid)
		check(s, "policy", STATE_WRONG,
		      "find them with `warren policy list` and fix them: they isolate the pods they select",
		      "%u %s not valid", state->policies_invalid,
		      state->policies_invalid == 1 ? "policy is" : "policies are");
	check(s, "policy", p->quarantined ? STATE_NOTICE : STATE_OK, "run `warren endpoint list` to find them",
	      "revision %u, %u pod%s isolated, %u in quarantine", state->revision, p->isolated,
	      p->isolated == 1 ? "" : "s", p->quarantined);
}

static int check_policies(struct status *s)
{
	struct wr_policy_state state = { 0 };
	struct policies p = { 0 };
	int r = dp_endpoint_each(&s->cli->dp, count_policy, &p, &s->cli->err);

	if (r == 0)
		r = dp_policy_state_get(&state, &s->cli->err);
	if (r < 0)
		return r;
	check_agent(s, &p);
	check_policy_state(s, &state, &p);
	return 0;
}

/* --- the cluster --- */

static void cluster_text(const struct wr_cluster *c, char *buf, size_t size)
{
	char text[IP_STRLEN];
	struct ip ip;
	int n = 0;

	if (c->flags & WR_CLUSTER_V4) {
		ip = ip_from4(&c->addr4);
		n = snprintf(buf, size, "%s", ip_format(&ip, text));
	}
	if (c->flags & WR_CLUSTER_V6) {
		ip = ip_from6(&c->addr6);
		n += snprintf(buf + n, size - (size_t)n, "%s%s", n ? ", " : "", ip_format(&ip, text));
	}
	snprintf(buf + n, size - (size_t)n, " UDP port %u, VNI %u", ntohs(c->port), c->vni);
}

#define TUNNEL_KEY_TEXT_MAX 64
/* Whether tunnel packets must be tagged, and by which key: "required: key 2", "not required: key 1, and 2 is accepted" */
static const char *tunnel_key_text(const struct wr_cluster *cluster, char buf[TUNNEL_KEY_TEXT_MAX])
{
	const unsigned odd = !!(cluster->flags & WR_CLUSTER_KEY_ODD);
	const unsigned known = cluster->flags & (WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN);
	int n = snprintf(buf, TUNNEL_KEY_TEXT_MAX, "%s: key %u",
			 cluster->flags & WR_CLUSTER_KEY_REQUIRED ? "required" : "not required", cluster->key_id[odd]);

	if (known == (WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN))
		snprintf(buf + n, TUNNEL_KEY_TEXT_MAX - (size_t)n, ", and %u is accepted", cluster->key_id[!odd]);
	return buf;
}

/* A key that is not required is only a notice: an operator may have reasons, such as a rollout. */
static void check_tunnel_key(struct status *s, const struct wr_cluster *c)
{
	char text[TUNNEL_KEY_TEXT_MAX];

	if (c->flags & (WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN))
		check(s, "tunnel_key", c->flags & WR_CLUSTER_KEY_REQUIRED ? STATE_OK : STATE_NOTICE,
		      "run the agents with `--tunnel-key require` once every node has the key", "%s",
		      tunnel_key_text(c, text));
}

static void check_nodes(struct status *s, const struct remotes *remotes)
{
	unsigned mapped = 0, direct = 0, unresolved = 0;
	char text[160];

	for (size_t i = 0; i < remotes->node_count; i++) {
		const struct remote_node *node = &remotes->nodes[i];

		mapped += node->slot != 0;
		direct += node->slot && node->dp.direct;
		unresolved += node->slot && !node->nexthop.resolved;
	}
	cluster_text(&remotes->cluster, text, sizeof(text));
	check(s, "cluster", unresolved ? STATE_NOTICE : STATE_OK,
	      "find them with `warren node list` and test them with `warren node ping`",
	      "tunnels end at %s; %u other node%s: %u by tunnel, %u direct, %u unresolved", text, mapped,
	      mapped == 1 ? "" : "s", mapped - direct, direct, unresolved);
}

static int check_cluster(struct status *s)
{
	_cleanup_remotes_ struct remotes remotes = { 0 };
	int r = remotes_load(&remotes, false, &s->cli->err);

	if (r == 0)
		r = remotes_find_nexthops(&remotes, &s->cli->err);
	if (r == 0 && remotes_in_cluster(&remotes)) {
		check_nodes(s, &remotes);
		check_tunnel_key(s, &remotes.cluster);
	}
	return r;
}

/* --- conntrack --- */

#define CT_GC_LATE_S (3 * WR_CT_GC_SECONDS)

static int check_conntrack(struct status *s)
{
	struct dp_flow_stats stats;
	const struct wr_ct_gc *ct_gc = &stats.ct_gc;
	bool stopped;
	int r = dp_flow_stats(&stats, &s->cli->err);

	if (r < 0)
		return r;
	check(s, "conntrack", good(stats.entries[0] < stats.capacity[0] && stats.entries[1] < stats.capacity[1]),
	      "find their pods with `warren ct list`; new flows still work, but may be evicted",
	      "%" PRIu64 " of %" PRIu64 " IPv4 flows, %" PRIu64 " of %" PRIu64 " IPv6", stats.entries[0],
	      stats.capacity[0], stats.entries[1], stats.capacity[1]);
	stopped = clock_ns(CLOCK_MONOTONIC) > ct_gc->time_ns + CT_GC_LATE_S * NS_PER_S;
	check(s, "ct_gc", good(!stopped), "run `warren node init`: it starts the timer again",
	      "%s%" PRIu64 " runs, %" PRIu64 " dead flows removed", stopped ? "its timer does not run: " : "",
	      (uint64_t)ct_gc->runs, (uint64_t)ct_gc->removed);
	return 0;
}

/* --- the denylist --- */

static int check_denylist(struct status *s)
{
	json_auto_t *enforcing = deny_places(s->cli);
	struct wr_deny_state state;
	char text[DENY_PLACES_TEXT_MAX];
	unsigned prefixes;
	int r;

	if (!enforcing)
		return -s->cli->err.num;
	r = dp_value_get("deny_state", &state, &s->cli->err);
	prefixes = r < 0 ? 0 : state.prefixes[0] + state.prefixes[1];
	if (prefixes)
		check(s, "denylist", good(json_array_size(enforcing)), "run `warren uplink xdp DEVICE generic`",
		      "%u prefix%s denied, enforced at: %s", prefixes, prefixes == 1 ? "" : "es",
		      deny_places_text(enforcing, text));
	return r;
}

/* --- the command --- */

static void not_loaded(struct cli *cli)
{
	static const char remedy[] = "run `warren node init`, or start a pod: the CNI plugin loads it too";

	out_record(cli->out, NULL);
	out_word(cli->out, "warren", "not loaded on this node", OUT_RED);
	out_json(cli->out, "loaded", json_false());
	out_json(cli->out, "healthy", json_false());
	out_string(cli->out, "remedy", remedy);
	out_end(cli->out);
	cli->exit = CLI_NOT_RUNNING;
}

static void summarise(struct cli *cli, const struct status *s, const struct node_check *node)
{
	char text[64] = "healthy";

	if (s->wrong)
		snprintf(text, sizeof(text), "%u problem%s", s->wrong, s->wrong == 1 ? "" : "s");
	out_word(cli->out, "warren", text, s->wrong ? OUT_RED : OUT_GREEN);
	out_json(cli->out, "loaded", json_true());
	out_json(cli->out, "healthy", json_boolean(!s->wrong));
	out_json(cli->out, "version", json_string(node->version));
	out_json(cli->out, "endpoints", json_integer(node->endpoints));
	out_json(cli->out, "endpoints_max", json_integer(node->endpoints_max));
	cli->exit = s->wrong ? CLI_FAILED : CLI_OK;
}

int cmd_status(struct cli *cli)
{
	struct status s = { cli };
	struct node_check node;
	int r;

	if (cli->options.cluster)
		return cmd_status_cluster(cli);
	r = node_check(&node, &cli->err);
	if (r < 0)
		return r;
	if (!node.loaded) {
		not_loaded(cli);
		return 0;
	}
	r = cli_open(cli);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	out_table(cli->out, "checks", NULL);
	check_node(&s, &node);
	r = check_policies(&s);
	if (r == 0)
		r = check_conntrack(&s);
	if (r == 0)
		r = check_cluster(&s);
	if (r == 0 && node.faulty)
		r = check_endpoints(&s);
	if (r == 0)
		r = check_denylist(&s);
	if (r == 0)
		r = check_records(&s);
	if (r < 0)
		return r;
	out_end(cli->out);
	summarise(cli, &s, &node);
	out_end(cli->out);
	return 0;
}
