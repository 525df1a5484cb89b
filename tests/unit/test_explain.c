/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a flow is denied: how far each rule matches, and the change that is proposed. (That it agrees with the verdict,
 * and that the change allows the flow, is tested in tests/policy on random clusters.)
 */
#include <netinet/in.h>
#include <string.h>

#include "decode.h"
#include "documents.h"
#include "policy.h"
#include "rig.h"

static const uint8_t key[POLICY_KEY_SIZE] = "unit tests' key";

static const char objects[] =
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}\n---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: front}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db, pod-template-hash: '7'}},"
    " spec: {containers: [{ports: [{name: sql, containerPort: 5432}]}]}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web, pod-template-hash: '8',"
    " job-name: x}}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: ui, namespace: front, labels: {app: ui}}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: hash, namespace: front, labels: {pod-template-hash: '9'}}}\n---\n"
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: shop},"
    " spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}\n---\n"
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: db, namespace: shop},"
    " spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: ["
    "  {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}, {port: 53, protocol: UDP}]},"
    "  {from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.8/29]}}]},"
    "  {from: [{namespaceSelector: {}}], ports: [{port: 9000, endPort: 9010}]},"
    "  {ports: [{port: 7, protocol: SCTP}]}]}}\n";

#define DB 7 /* endpoints */
#define WEB 8

static int put(void *arg, struct object *o)
{
	struct policy *p = arg;

	switch (o->kind) {
	case OBJECT_NAMESPACE:
		return policy_put_namespace(p, o->namespace);
	case OBJECT_POD:
		return policy_put_pod(p, o->pod);
	case OBJECT_POLICY:
		return policy_put_policy(p, o->policy);
	default:
		object_free(o);
		return -EINVAL;
	}
}

static void on_problem(void *arg, const struct err *err)
{
	fail_msg("%s", err->msg);
}

static int on_document(json_t *document, int number, void *arg)
{
	return objects_decode(document, &(struct object_sink){ put, on_problem, arg });
}

/* YAML; a text that begins with { would be JSON. */
static void add(struct policy *p, const char *text)
{
	struct err err = { 0 };
	char *document;

	assert_true(asprintf(&document, "---\n%s", text) > 0);
	if (documents_parse(document, strlen(document), "it", on_document, p, &err) < 0)
		fail_msg("%s", err.msg);
	free(document);
}

/* The key of the class of endpoint DB or WEB after the last compile. */
static uint64_t classes[16];

static void compile(struct policy *p)
{
	struct policy_changes changes;

	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	for (size_t i = 0; i < changes.endpoint_count; i++)
		classes[changes.endpoints[i].ifindex] = changes.endpoints[i].class_key;
}

static struct policy *begin(void)
{
	struct policy *p = policy_new(key);

	assert_non_null(p);
	add(p, objects);
	assert_int_equal(policy_put_endpoint(p, DB, "shop", "db", "", NULL), 0);
	assert_int_equal(policy_put_endpoint(p, WEB, "shop", "web", "", NULL), 0);
	compile(p);
	return p;
}

/* --- identities of the pods above --- */

struct search {
	const char *namespace, *app;
	uint64_t identity;
};

static int match_identity(const struct policy_identity_info *info, void *arg)
{
	struct search *s = arg;
	const char *app = labels_get(info->labels, "app");

	if (strcmp(info->namespace, s->namespace) == 0 && strcmp(app ? app : "", s->app) == 0)
		s->identity = info->identity;
	return 0;
}

static uint64_t identity_of(struct policy *p, const char *namespace, const char *app)
{
	struct search s = { namespace, app, WR_ID_UNKNOWN };

	assert_int_equal(policy_each_identity(p, match_identity, &s), 0);
	assert_int_not_equal(s.identity, WR_ID_UNKNOWN);
	return s.identity;
}

/* --- as text --- */

static void print_labels(FILE *f, const struct explained_labels *labels)
{
	fputc('(', f);
	for (size_t i = 0; i < labels->count; i++)
		fprintf(f, "%s%s=%s", i ? "," : "", labels->v[i]->key, labels->v[i]->value);
	fputc(')', f);
}

/* "peer, port; shop/db: from (app=web)" */
static const char *text_of(const struct policy_explanation *e)
{
	static const char *const matches[] = { "allows", "port", "protocol", "peer" };
	const struct policy_change *c = &e->change;
	static char text[512];
	char ip[IP_STRLEN];
	FILE *f = fmemopen(text, sizeof(text), "w");

	for (size_t i = 0; i < e->rule_count && i < EXPLAIN_LIST; i++)
		fprintf(f, "%s%s", i ? ", " : "", matches[e->rules[i].match]);
	fputs("; ", f);
	if (c->obstacle) {
		fputs(c->obstacle, f);
		fclose(f);
		return text;
	}
	fputs(c->policy ? c->policy->name : "new ", f);
	if (!c->policy)
		print_labels(f, &c->pods);
	fprintf(f, ": %s", c->peer_namespace ? c->peer_namespace : ip_format(&c->peer_ip, ip));
	if (c->peer_namespace && !c->same_namespace)
		print_labels(f, &c->namespace_labels);
	if (c->peer_namespace)
		print_labels(f, &c->peer_pods);
	fclose(f);
	return text;
}

/* --- tests --- */

static void rules_and_changes(void **state)
{
	static const struct {
		uint32_t endpoint, direction;
		const char *namespace, *app; /* of the peer; NULL: the world, "": unknown */
		const char *ip;
		uint8_t protocol;
		uint16_t port;
		const char *expected;
	} rows[] = {
		{ DB, POLICY_INGRESS, "shop", "web", "10.0.0.2", IPPROTO_TCP, 80,
		  "port, peer, port, protocol; db: shop(app=web)" },
		{ DB, POLICY_INGRESS, "shop", "web", "fd00::2", IPPROTO_TCP, 5432,
		  "allows, peer, port, protocol; it is allowed by now" },
		{ DB, POLICY_INGRESS, "shop", "web", "10.0.0.2", IPPROTO_UDP, 54,
		  "port, peer, protocol, protocol; db: shop(app=web)" },
		{ DB, POLICY_INGRESS, "shop", "web", "10.0.0.2", IPPROTO_ICMP, 0,
		  "protocol, peer, protocol, protocol; db: shop(app=web)" },
		{ DB, POLICY_INGRESS, "front", "ui", "10.0.0.3", IPPROTO_SCTP, 8,
		  "peer, peer, protocol, port; db: front(kubernetes.io/metadata.name=front)(app=ui)" },
		{ DB, POLICY_INGRESS, "front", "ui", "10.0.0.3", IPPROTO_TCP, 9010,
		  "peer, peer, allows, protocol; it is allowed by now" },
		/* only labels that change */
		{ DB, POLICY_INGRESS, "front", "", "10.0.0.4", IPPROTO_TCP, 9,
		  "peer, peer, port, protocol; db: front(kubernetes.io/metadata.name=front)(pod-template-hash=9)" },
		{ DB, POLICY_INGRESS, NULL, NULL, "192.0.2.7", IPPROTO_TCP, 9,
		  "peer, allows, peer, protocol; it is allowed by now" },
		{ DB, POLICY_INGRESS, NULL, NULL, "192.0.2.9", IPPROTO_TCP, 9,
		  "peer, peer, peer, protocol; db: 192.0.2.9" },
		{ DB, POLICY_INGRESS, NULL, NULL, "2001:db8::9", IPPROTO_TCP, 9,
		  "peer, peer, peer, protocol; db: 2001:db8::9" },
		/* a pod of another node without an object here */
		{ DB, POLICY_INGRESS, "", NULL, "10.2.0.9", IPPROTO_TCP, 9,
		  "peer, peer, port, protocol; the peer is a pod whose labels are unknown here" },
		/* only a policy for all pods of the namespace isolates */
		{ DB, POLICY_EGRESS, "shop", "web", "10.0.0.2", IPPROTO_TCP, 80, "; new (app=db): shop(app=web)" },
		{ WEB, POLICY_INGRESS, "front", "ui", "10.0.0.3", IPPROTO_TCP, 80,
		  "; new (app=web): front(kubernetes.io/metadata.name=front)(app=ui)" },
	};
	struct policy *p = begin();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy_flow flow = { .direction = (uint8_t)rows[i].direction,
					    .protocol = rows[i].protocol,
					    .port = rows[i].port,
					    .peer_identity = WR_ID_WORLD };
		struct policy_explanation e;

		if (rows[i].app)
			flow.peer_identity = identity_of(p, rows[i].namespace, rows[i].app);
		else if (rows[i].namespace)
			flow.peer_identity = WR_ID_SOME_POD | 5;
		assert_int_equal(ip_parse(rows[i].ip, &flow.peer_ips[0]), 0);
		assert_true(policy_explain(p, classes[rows[i].endpoint], rows[i].endpoint, &flow, &e));
		assert_string_equal(e.namespace, "shop");
		assert_null(e.problem);
		assert_int_equal(e.policy_count, rows[i].endpoint == DB && rows[i].direction == POLICY_INGRESS ? 2 : 1);
		if (strcmp(text_of(&e), rows[i].expected) != 0)
			fail_msg("row %zu: '%s', not '%s'", i, text_of(&e), rows[i].expected);
	}
	policy_free(p);
}

/* Of many rules the nearest are listed, and all are counted. */
static void many_rules_are_counted(void **state)
{
	struct policy *p = begin();
	struct policy_flow flow = { .direction = POLICY_INGRESS,
				    .protocol = IPPROTO_TCP,
				    .port = 9,
				    .peer_identity = identity_of(p, "shop", "web") };
	struct policy_explanation e;
	char *text;
	size_t size, near = 0;
	FILE *f = open_memstream(&text, &size);

	fputs("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: many, namespace: shop}, spec: "
	      "{podSelector:"
	      " {matchLabels: {app: db}}, ingress: [",
	      f);
	for (int i = 0; i < 100; i++)
		fprintf(f, "{from: [{podSelector: {matchLabels: {n: '%d'}}}]},", i);
	fputs("{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 10}]}]}}", f);
	fclose(f);
	add(p, text);
	free(text);
	for (int i = 0; i < 20; i++) {
		assert_true(asprintf(&text,
				     "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p%d,"
				     " namespace: shop}, spec: {podSelector: {}}}",
				     i) > 0);
		add(p, text);
		free(text);
	}
	compile(p);
	assert_true(policy_explain(p, classes[DB], DB, &flow, &e));
	assert_int_equal(e.policy_count, 23);
	assert_int_equal(e.rule_count, 105);
	assert_int_equal(e.matches[POLICY_WRONG_PEER], 101);
	assert_int_equal(e.matches[POLICY_WRONG_PORT], 3);
	for (size_t i = 0; i < EXPLAIN_LIST; i++)
		near += e.rules[i].match == POLICY_WRONG_PORT && strcmp(e.rules[i].policy->name, "many") == 0;
	assert_int_equal(near, 1);
	policy_free(p);
}

static void policies_without_effect_say_why(void **state)
{
	struct policy *p = begin();
	struct policy_flow flow = {
		.direction = POLICY_INGRESS, .protocol = IPPROTO_TCP, .port = 80, .peer_identity = WR_ID_WORLD
	};
	struct policy_object *odd = calloc(1, sizeof(*odd));
	struct policy_explanation e;

	assert_int_equal(ip_parse("192.0.2.9", &flow.peer_ips[0]), 0);
	odd->namespace = strdup("shop");
	odd->name = strdup("an-odd-one");
	odd->invalid = strdup("spec: no such field");
	assert_int_equal(policy_put_policy(p, odd), 0);
	compile(p);
	assert_true(policy_explain(p, classes[WEB], WEB, &flow, &e));
	assert_int_equal(e.policy_count, 2);
	assert_string_equal(e.policies[1].object->invalid, "spec: no such field");
	assert_string_equal(text_of(&e), "; new (app=web): 192.0.2.9");
	assert_false(policy_explain(p, 1234, WEB, &flow, &e));
	policy_free(p);
}

/* The agent may be asked between an event and the compile that follows. */
static void objects_removed_since_the_compile(void **state)
{
	struct policy *p = begin();
	struct policy_flow flow = {
		.direction = POLICY_INGRESS, .protocol = IPPROTO_TCP, .port = 9, .peer_identity = identity_of(p, "shop", "web")
	};
	struct policy_explanation e;

	policy_remove_policy(p, "shop", "db");
	assert_true(policy_explain(p, classes[DB], DB, &flow, &e));
	assert_int_equal(e.policy_count, 1);
	assert_int_equal(e.rule_count, 0);
	policy_remove_policy(p, "shop", "all");
	policy_remove_pod(p, "shop", "web");
	policy_remove_pod(p, "shop", "db");
	policy_remove_namespace(p, "shop");
	policy_remove_endpoint(p, DB);
	assert_true(policy_explain(p, classes[DB], DB, &flow, &e));
	assert_int_equal(e.policy_count, 0);
	assert_string_equal(e.change.obstacle, "it is allowed by now");
	compile(p);
	policy_explain(p, classes[DB], DB, &flow, &e);
	policy_free(p);
}

static void quarantine(void **state)
{
	struct policy *p = begin();

	assert_int_equal(policy_put_endpoint(p, 9, "shop", "none", "", NULL), 0);
	add(p, "{apiVersion: v1, kind: Pod, metadata: {name: old, namespace: shop, uid: a}}");
	assert_int_equal(policy_put_endpoint(p, 10, "shop", "old", "b", NULL), 0);
	add(p, "{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: shop}, spec: {hostNetwork: true}}");
	assert_int_equal(policy_put_endpoint(p, 11, "shop", "host", "", NULL), 0);
	compile(p);
	assert_string_equal(policy_explain_quarantine(p, 9), "there is no pod object of that name");
	assert_string_equal(policy_explain_quarantine(p, 10),
			    "the pod object of that name is another pod's (its uid differs)");
	assert_string_equal(policy_explain_quarantine(p, 11),
			    "its pod object has completed, or is of the host's network");
	assert_string_equal(policy_explain_quarantine(p, 12), "the agent has not read its attachment record yet");
	assert_string_equal(policy_explain_quarantine(p, DB), "its policy is being applied");
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_and_changes),
		cmocka_unit_test(many_rules_are_counted),
		cmocka_unit_test(policies_without_effect_say_why),
		cmocka_unit_test(objects_removed_since_the_compile),
		cmocka_unit_test(quarantine),
	};

	return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
