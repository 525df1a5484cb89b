/* SPDX-License-Identifier: BSD-2-Clause */
/* warren status: one line a check, green, yellow or red, and what to do about what is not green. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "attachment.h"
#include "clock.h"
#include "endpoints.h"
#include "flows.h"
#include "gateway.h"
#include "guards.h"
#include "json.h"
#include "link.h"
#include "maps.h"
#include "names.h"
#include "node_check.h"
#include "tables.h"

/* A notice is worth knowing, and leaves the node healthy. */
enum state { STATE_OK, STATE_NOTICE, STATE_WRONG };

struct status {
	struct cli *cli;
	unsigned wrong;
};

/* `advice` is shown unless all is well. */
static void __attribute__((format(printf, 5, 6)))
check(struct status *s, const char *name, enum state state, const char *advice, const char *fmt, ...)
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
	out_string(s->cli->out, "what_to_do", state == STATE_OK ? NULL : advice);
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
	check(s, "nftables", good(node->nft_whole), "`warren node init` makes it again",
	      !node->nft_present ? "table inet warren is missing: nothing guards against packets that bypass from_pod"
	      : !node->nft_whole ? "table inet warren has been changed: its guard may not hold"
				 : "table inet warren stands");
	check(s, "gateway link", good(node->gateway_link), "`warren node init` makes it again", "%s is %s",
	      WARREN_GATEWAY_LINK, node->gateway_link ? "up" : "missing or down");
	check(s, "from_host", good(node->from_host || !node->gateway_link), "`warren node init` attaches it again",
	      "%s %s", node->from_host ? "sits on" : "is not on", WARREN_GATEWAY_LINK);
	if (node->uplinks)
		check(s, "uplinks", good(!node->uplinks_faulty),
		      "the agent attaches it again; `bpftool net show` names what runs ahead of it",
		      node->uplinks_faulty ? "%u of %u: gone, without from_uplink, or with another program ahead of it"
					   : "from_uplink sits on all %u",
		      node->uplinks_faulty ?: node->uplinks, node->uplinks);
	check(s, "forwarding IPv4", good(node->forwarding4), "`sysctl -w net.ipv4.ip_forward=1`", "is %s",
	      node->forwarding4 ? "on" : "off: pods reach nothing outside this node");
	check(s, "forwarding IPv6", good(node->forwarding6), "`sysctl -w net.ipv6.conf.all.forwarding=1`", "is %s",
	      node->forwarding6 ? "on" : "off: pods reach nothing outside this node");
	check(s, "endpoints", good(!full),
	      "delete pods; a node made with a smaller --max-endpoints can be made anew: "
	      "`warren node down`, `warren node init`",
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
			check(s, name, STATE_WRONG, endpoint_advice(endpoint), "%s (pod %s): %s",
			      endpoint->device[0] ? endpoint->device : "no device", label, json_string_value(fault));
		}
	}
	return r;
}

/*
 * A pod whose record says that it is wired, but which these maps do not know: their pins were removed under it, and it
 * runs on with programs and maps that nobody can reach any more. Looked up twice, since DEL may be at work.
 */
static int check_stranger(const struct attachment *a, bool damaged, void *arg)
{
	struct status *s = arg;
	struct wr_endpoint ep;
	struct attachment again;

	if (damaged || dp_endpoint_get(&s->cli->dp, a->host_ifindex, &ep, NULL) != -ENOENT ||
	    attachment_load(a->container_id, a->ifname, &again, NULL) < 0 || again.state != ATTACHMENT_READY)
		return 0;
	check(s, "attachment", STATE_WRONG, "delete the pod: its programs are no longer pinned",
	      "%s of container %.64s is recorded, but is no endpoint", a->host_ifname, a->container_id);
	return 0;
}

static int check_strangers(struct status *s)
{
	return attachment_each_in(ATTACHMENT_READY, check_stranger, s, &s->cli->err);
}

/* --- policy --- */

/* What of the endpoints matters for policy. */
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
	bool silent = why->num != ECONNREFUSED; /* it runs, and does not answer */
	const char *advice = why->hint[0] ? why->hint : "look at its log";

	if (p->quarantined)
		check(s, "agent", STATE_WRONG, advice, "%s, and %u pod%s in quarantine", why->msg, p->quarantined,
		      p->quarantined == 1 ? " is" : "s are");
	else if (silent)
		check(s, "agent", STATE_WRONG, advice, "%s", why->msg);
	else
		check(s, "agent", STATE_NOTICE, advice, "%s: %s", why->msg,
		      p->isolated ? "policies stay as they are" : "nobody computes policies");
}

/* What the agent itself says is wrong. */
static void check_complaints(struct status *s, const json_t *answer)
{
	const json_t *counts = json_object_get(answer, "counts");
	const char *failure = json_text_at(answer, "failure");
	json_int_t left_out = json_integer_value(json_object_get(answer, "identities_left_out"));
	json_t *complaint;
	size_t i;

	if (failure)
		check(s, "agent", STATE_WRONG, "it tries again; its log says more", "the maps could not be written: %s",
		      failure);
	json_array_foreach(json_object_get(answer, "complaints"), i, complaint) {
		const char *kind = json_text_at(complaint, "kind") ?: "agent";

		check(s, kind, STATE_WRONG,
		      strcmp(kind, "manifest") == 0 ? "mend it: what it said before is still in force"
		      : strcmp(kind, "api") == 0    ? "the agent tries again: what was said before is still in force"
		      : strcmp(kind, "node") == 0
			  ? "`warren node list` shows all; mend its Node object or the way to it"
			  : "mend it: the agent goes on by itself",
		      "%s: %s", json_text_at(complaint, "file") ?: "", json_text_at(complaint, "message") ?: "");
	}
	if (json_integer_value(json_object_get(counts, "collisions")))
		check(s, "identities", STATE_WRONG,
		      "`warren identity list` shows them: change a label of one of the two",
		      "two label sets have one number, and match no selector");
	if (left_out)
		check(s, "identities", STATE_WRONG,
		      "fewer pods with labels of their own; `warren map list` shows the room",
		      "%lld did not fit into the maps: rules for them do not hold", (long long)left_out);
}

/* Of an agent in Kubernetes: where its objects come from, and how far it has come with its node. */
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
	      "the agent tries again; its log says more", "%s, %u of %zu kinds followed, %lld objects (pods of %s)",
	      json_text_at(kubernetes, "server") ?: "unknown", connected, json_array_size(watches), (long long)objects,
	      strcmp(json_text_at(kubernetes, "pods") ?: "", "all") == 0 ? "all nodes" : "this node");
	check(s, "identity key", strcmp(json_text_at(key, "state") ?: "", "awaited") == 0 ? STATE_WRONG : STATE_OK,
	      "the agent asks again; until then pods stay in quarantine", "%s",
	      json_text_at(key, "state") ?: "unknown");
	check(s, "ready for pods", waits_for ? STATE_NOTICE : STATE_OK, "wait; the agent's log says more", "%s",
	      waits_for ?: path ?: "no network configuration is written");
	if (!waits_for && !json_is_true(json_object_get(node, "told")))
		check(s, "own Node", STATE_NOTICE, "the agent tries again; its log says more",
		      "%s has not been told yet that the network is there", json_text_at(node, "name") ?: "");
}

static void check_agent(struct status *s, const struct policies *p)
{
	struct err why;
	json_auto_t *answer = cli_ask_agent("status", &why);
	const json_t *counts = json_object_get(answer, "counts");
	const char *version = json_text_at(answer, "version") ?: "unknown";

	if (!answer)
		check_no_agent(s, p, &why);
	else if (!json_is_true(json_object_get(answer, "synced")))
		check(s, "agent", STATE_NOTICE, "wait; its log says for what",
		      "release %s has not read all its sources yet", version);
	else
		check(s, "agent", STATE_OK, NULL, "release %s runs, %lld pods and %lld policies known", version,
		      (long long)json_integer_value(json_object_get(counts, "pods")),
		      (long long)json_integer_value(json_object_get(counts, "policies")));
	check_complaints(s, answer);
	check_kubernetes(s, json_object_get(answer, "kubernetes"));
}

static void check_policy_state(struct status *s, const struct wr_policy_state *state, const struct policies *p)
{
	if (state->classes_denied)
		check(s, "policy", STATE_WRONG,
		      "fewer rules or pods on this node; `warren map list` shows which map is full",
		      "%u set%s of policies did not fit into the maps: their pods are denied everything",
		      state->classes_denied, state->classes_denied == 1 ? "" : "s");
	if (state->policies_invalid)
		check(s, "policy", STATE_WRONG, "`warren policy list` names them; they isolate what they select",
		      "%u %s not valid", state->policies_invalid,
		      state->policies_invalid == 1 ? "policy is" : "policies are");
	check(s, "policy", p->quarantined ? STATE_NOTICE : STATE_OK, "`warren endpoint list` shows which",
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

static void cluster_words(const struct wr_cluster *c, char *buf, size_t size)
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

/* Reasons for not requiring it are the operator's; for sending a word that others do not know there are none. */
static void check_tunnel_key(struct status *s, const struct wr_cluster *c)
{
	char text[TUNNEL_KEY_TEXT_MAX];

	tunnel_key_text(c, text);
	if (c->flags & (WR_CLUSTER_KEY_EVEN_KNOWN | WR_CLUSTER_KEY_ODD_KNOWN))
		check(s, "tunnel_key", c->flags & WR_CLUSTER_KEY_REQUIRED ? STATE_OK : STATE_NOTICE,
		      "warren-agent(8), --tunnel-key: require, once every node has the key", "%s", text);
}

static void check_nodes(struct status *s, const struct remotes *remotes)
{
	unsigned mapped = 0, direct = 0, unresolved = 0;
	char words[160];

	for (size_t i = 0; i < remotes->node_count; i++) {
		const struct remote_node *node = &remotes->nodes[i];

		mapped += node->slot != 0;
		direct += node->slot && node->dp.direct;
		unresolved += node->slot && !node->hop.resolved;
	}
	cluster_words(&remotes->cluster, words, sizeof(words));
	check(s, "cluster", unresolved ? STATE_NOTICE : STATE_OK,
	      "`warren node list` shows which; `warren node ping` tries them",
	      "tunnels end at %s; %u other node%s: %u by tunnel, %u direct, %u unresolved", words, mapped,
	      mapped == 1 ? "" : "s", mapped - direct, direct, unresolved);
}

static int check_cluster(struct status *s)
{
	_cleanup_remotes_ struct remotes remotes = { 0 };
	int r = remotes_load(&remotes, false, &s->cli->err);

	if (r == 0)
		r = remotes_find_hops(&remotes, &s->cli->err);
	if (r == 0 && remotes_in_cluster(&remotes)) {
		check_nodes(s, &remotes);
		check_tunnel_key(s, &remotes.cluster);
	}
	return r;
}

/* --- conntrack --- */

#define SWEEP_LATE_S (3 * WR_SWEEP_SECONDS)

static int check_conntrack(struct status *s)
{
	struct dp_flow_stats stats;
	const struct wr_sweep *sweep = &stats.sweep;
	bool stands;
	int r = dp_flow_stats(&stats, &s->cli->err);

	if (r < 0)
		return r;
	check(s, "conntrack", good(stats.entries[0] < stats.capacity[0] && stats.entries[1] < stats.capacity[1]),
	      "`warren ct list` shows whose flows they are; new ones live, but may be evicted",
	      "%" PRIu64 " of %" PRIu64 " IPv4 flows, %" PRIu64 " of %" PRIu64 " IPv6", stats.entries[0],
	      stats.capacity[0], stats.entries[1], stats.capacity[1]);
	stands = clock_ns(CLOCK_MONOTONIC) > sweep->time_ns + SWEEP_LATE_S * NS_PER_S;
	check(s, "sweep", good(!stands), "`warren node init` starts it again",
	      "%s%" PRIu64 " runs, %" PRIu64 " dead flows removed", stands ? "its timer stands still: " : "",
	      (uint64_t)sweep->runs, (uint64_t)sweep->removed);
	return 0;
}

/* --- the denylist --- */

static int check_denylist(struct status *s)
{
	json_auto_t *enforcing = guards_enforcing(s->cli);
	struct wr_deny_state state;
	char text[GUARDS_TEXT_MAX];
	unsigned prefixes;
	int r;

	if (!enforcing)
		return -s->cli->err.num;
	r = dp_value_get("deny_state", &state, &s->cli->err);
	prefixes = r < 0 ? 0 : state.prefixes[0] + state.prefixes[1];
	if (prefixes)
		check(s, "denylist", good(json_array_size(enforcing)), "`warren uplink xdp DEVICE generic`",
		      "%u prefix%s denied, enforced at: %s", prefixes, prefixes == 1 ? "" : "es",
		      guards_text(enforcing, text));
	return r;
}

/* --- the command --- */

static void not_loaded(struct cli *cli)
{
	static const char advice[] = "`warren node init` loads it; so does the first pod";

	out_record(cli->out, NULL);
	out_word(cli->out, "warren", "not loaded on this node", OUT_RED);
	out_json(cli->out, "loaded", json_false());
	out_json(cli->out, "healthy", json_false());
	out_string(cli->out, "what_to_do", advice);
	out_end(cli->out);
	cli->exit = CLI_NOT_RUNNING;
}

static void summarise(struct cli *cli, const struct status *s, const struct node_check *node)
{
	char text[64] = "healthy";

	if (s->wrong)
		snprintf(text, sizeof(text), "%u thing%s wrong", s->wrong, s->wrong == 1 ? " is" : "s are");
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
		r = check_strangers(&s);
	if (r < 0)
		return r;
	out_end(cli->out);
	summarise(cli, &s, &node);
	out_end(cli->out);
	return 0;
}
