/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The compiler's output in detail: names of rules, what a class describes, which change is reported when. (Whether
 * verdicts are right is tested in tests/policy.)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lookup.h"
#include "policy.h"
#include "rig.h"
#include "str.h"

static const uint8_t key[POLICY_KEY_SIZE] = "unit tests' key";

/* --- objects --- */

static struct labels labels(const char *k, const char *v)
{
	struct labels l = { 0 };

	if (k) {
		l.v = calloc(1, sizeof(*l.v));
		l.v[l.count++] = (struct label){ strdup(k), strdup(v) };
	}
	return l;
}

static struct selector selector(const char *k, const char *v)
{
	struct selector s = { 0 };

	if (k) {
		s.v = calloc(1, sizeof(*s.v));
		s.v[0] = (struct requirement){ strdup(k), REQUIRE_IN, calloc(1, sizeof(char *)), 1 };
		s.v[0].values[0] = strdup(v);
		s.count = 1;
	}
	return s;
}

static void put_namespace(struct policy *p, const char *name, const char *team)
{
	struct namespace_object *o = calloc(1, sizeof(*o));

	o->name = strdup(name);
	o->labels = labels("team", team);
	assert_int_equal(policy_put_namespace(p, o), 0);
}

static void put_pod(struct policy *p, const char *name, const char *app, const char *uid, uint16_t http)
{
	struct pod_object *o = calloc(1, sizeof(*o));

	o->namespace = strdup("shop");
	o->name = strdup(name);
	o->uid = strdup(uid);
	o->labels = labels("app", app);
	if (http) {
		o->ports = calloc(1, sizeof(*o->ports));
		o->ports[0] = (struct named_port){ "http", IPPROTO_TCP, http };
		o->port_count = 1;
	}
	assert_int_equal(policy_put_pod(p, o), 0);
}

/* A policy for app=web with one ingress rule; the caller gives it ports. */
static struct policy_object *web_policy(const char *name, const char *from_app)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	struct policy_rule *rule = calloc(1, sizeof(*rule));

	o->namespace = strdup("shop");
	o->name = strdup(name);
	o->pods = selector("app", "web");
	o->isolates[POLICY_INGRESS] = true;
	o->rules[POLICY_INGRESS] = rule;
	o->rule_count[POLICY_INGRESS] = 1;
	if (from_app) {
		rule->peers = calloc(1, sizeof(*rule->peers));
		rule->peer_count = 1;
		rule->peers[0].has_pods = true;
		rule->peers[0].pods = selector("app", from_app);
	}
	return o;
}

static void give_port(struct policy_object *o, uint16_t first, uint16_t last, const char *name)
{
	struct policy_rule *rule = o->rules[POLICY_INGRESS];

	rule->ports = realloc(rule->ports, (rule->port_count + 1) * sizeof(*rule->ports));
	rule->ports[rule->port_count] = (struct policy_port){ .protocol = IPPROTO_TCP, .first = first, .last = last };
	str_copy(rule->ports[rule->port_count++].name, sizeof(rule->ports->name), name ? name : "");
}

static struct policy_changes compile(struct policy *p)
{
	struct policy_changes changes;

	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	return changes;
}

static void assert_nothing(struct policy_changes c)
{
	assert_int_equal(c.class_count + c.identity_count + c.endpoint_count + c.rule_count, 0);
	assert_false(c.peers_moved);
}

/* A node with pod web (ifindex 7), and pod front on another node. */
static struct policy *node(void)
{
	struct policy *p = policy_new(key);

	put_namespace(p, "shop", "a");
	put_pod(p, "web", "web", "uid-1", 8080);
	put_pod(p, "front", "front", "uid-2", 0);
	assert_int_equal(policy_put_endpoint(p, 7, "shop", "web", "uid-1", NULL), 0);
	return p;
}

/* --- tests --- */

static void an_endpoint_without_policy(void **state)
{
	struct policy *p = node();
	struct policy_changes c = compile(p);

	assert_int_equal(c.endpoint_count, 1);
	assert_int_equal(c.endpoints[0].ifindex, 7);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_NOT_ISOLATED);
	assert_int_equal(c.endpoints[0].identity >> WR_ID_KIND_SHIFT, WR_ID_KIND_POD);
	assert_int_equal(c.class_count + c.identity_count + c.rule_count, 0);
	assert_nothing(compile(p));
	policy_free(p);
}

/* An endpoint gets the labels of the pod with its uid only, if both sides have a uid. */
static void labels_of_an_endpoint(void **state)
{
	static const struct {
		const char *pod, *endpoint;
		bool own;
		uint64_t class_key;
	} table[] = {
		{ "u1", "u1", false, WR_CLASS_NOT_ISOLATED }, { "u1", "u2", false, WR_CLASS_QUARANTINE },
		{ "", "u2", false, WR_CLASS_NOT_ISOLATED },   { "u1", "", false, WR_CLASS_NOT_ISOLATED },
		{ NULL, "u1", false, WR_CLASS_QUARANTINE },   { NULL, "u1", true, WR_CLASS_NOT_ISOLATED },
		{ "u1", "u2", true, WR_CLASS_NOT_ISOLATED },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct policy *p = policy_new(key);
		struct labels own = labels("app", "own");
		struct policy_counts counts;
		struct policy_changes c;

		if (table[i].pod)
			put_pod(p, "x", "web", table[i].pod, 0);
		policy_put_endpoint(p, 1, "shop", "x", table[i].endpoint, table[i].own ? &own : NULL);
		c = compile(p);
		assert_int_equal(c.endpoints[0].class_key, table[i].class_key);
		policy_count(p, &counts);
		assert_int_equal(counts.endpoints_waiting, table[i].class_key == WR_CLASS_QUARANTINE);
		policy_free(p);
		if (!table[i].own)
			labels_free(&own);
	}
}

/* The pod's object comes after its endpoint, is replaced by another of its name, and goes. */
static void an_endpoint_follows_its_pod(void **state)
{
	struct policy *p = policy_new(key);
	struct policy_changes c;

	policy_put_endpoint(p, 3, "shop", "x", "u1", NULL);
	c = compile(p);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_QUARANTINE);
	assert_int_equal(c.endpoints[0].identity, WR_ID_UNKNOWN);
	put_pod(p, "x", "web", "u1", 0);
	c = compile(p);
	assert_int_equal(c.endpoint_count, 1);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_NOT_ISOLATED);
	put_pod(p, "x", "web", "u2", 0);
	c = compile(p);
	assert_int_equal(c.endpoint_count, 1);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_QUARANTINE);
	policy_put_endpoint(p, 3, "shop", "x", "u2", NULL);
	c = compile(p);
	assert_int_equal(c.endpoint_count, 1);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_NOT_ISOLATED);
	policy_put_endpoint(p, 3, "shop", "x", "u2", NULL);
	assert_nothing(compile(p));
	policy_remove_pod(p, "shop", "x");
	assert_int_equal(compile(p).endpoints[0].class_key, WR_CLASS_QUARANTINE);
	policy_remove_endpoint(p, 3);
	assert_nothing(compile(p));
	policy_free(p);
}

static const char *rule_text(const struct policy_changes *c, uint32_t rule)
{
	for (size_t i = 0; i < c->rule_count; i++) {
		if (c->rules[i].rule == rule)
			return c->rules[i].text;
	}
	return NULL;
}

static void a_class_describes_its_entries(void **state)
{
	struct policy *p = node();
	struct policy_object *o = web_policy("pol", "front");
	const struct policy_class *class;
	struct policy_changes c;

	give_port(o, 80, 80, NULL);
	give_port(o, 0, 0, "http");
	policy_put_policy(p, o);
	c = compile(p);
	assert_int_equal(c.class_count, 1);
	class = &c.classes[0];
	assert_int_equal(c.endpoints[0].class_key, class->key);
	assert_int_equal(class->info.flags[WR_INGRESS], WR_CLASS_ISOLATED | WR_CLASS_SELECTORS);
	assert_int_equal(class->info.flags[WR_EGRESS], 0);
	assert_int_equal(class->info.port_bits[WR_INGRESS], 1 << 16);
	assert_int_equal(class->count, 2);
	assert_int_equal(c.identity_count, 1); /* front's */
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(class->keys[i].peer, c.identities[0].peer);
		assert_int_equal(class->keys[i].policy_class, 0);
		assert_string_equal(rule_text(&c, class->entries[i].rule), ntohs(class->keys[i].port) == 80
									       ? "shop/pol ingress[0].ports[0]"
									       : "shop/pol ingress[0].ports[1]");
	}
	policy_free(p);
}

static void ranges_are_the_fewest_prefixes(void **state)
{
	static const struct {
		uint16_t first, last;
		size_t prefixes;
		uint32_t port_bits;
	} table[] = {
		{ 80, 80, 1, 1 << 16 },	     { 80, 81, 1, 1 << 15 },	   { 81, 82, 2, 1 << 16 },
		{ 1024, 65535, 6, 0x7e },    { 1, 65535, 16, 0x1fffe },	   { 1, 65534, 30, 0x1fffc },
		{ 32768, 65535, 1, 1 << 1 }, { 65535, 65535, 1, 1 << 16 }, { 9000, 9100, 6, 0 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct policy *p = node();
		struct policy_object *o = web_policy("pol", NULL);
		struct policy_changes c;

		give_port(o, table[i].first, table[i].last, NULL);
		policy_put_policy(p, o);
		c = compile(p);
		assert_int_equal(c.classes[0].count, table[i].prefixes);
		if (table[i].port_bits)
			assert_int_equal(c.classes[0].info.port_bits[WR_INGRESS], table[i].port_bits);
		policy_free(p);
	}
}

/* Two rules for the same thing: the first by its text is named, in whatever order they came. */
static void the_first_rule_by_text_is_named(void **state)
{
	for (int order = 0; order < 2; order++) {
		struct policy *p = node();
		struct policy_changes c;

		policy_put_policy(p, web_policy(order ? "b" : "a", NULL));
		compile(p);
		policy_put_policy(p, web_policy(order ? "a" : "b", NULL));
		c = compile(p);
		for (size_t i = 0; i < c.class_count; i++) {
			if (!c.classes[i].gone)
				assert_int_equal(c.classes[i].count, 1);
		}
		assert_int_equal(policy_compile_all(p, &c, NULL), 0);
		assert_string_equal(rule_text(&c, c.classes[0].entries[0].rule), "shop/a ingress[0]");
		assert_int_equal(c.classes[0].info.flags[WR_INGRESS],
				 WR_CLASS_ISOLATED | WR_CLASS_ANY_PEER | WR_CLASS_ANY_PROTO);
		policy_free(p);
	}
}

/* An edit that moves no endpoint: the class keeps its key, and only the class is reported. */
static void an_edited_policy_keeps_its_class(void **state)
{
	struct policy *p = node();
	struct policy_object *o = web_policy("pol", NULL);
	struct policy_changes c;
	uint32_t rule;
	uint64_t was;

	give_port(o, 80, 80, NULL);
	policy_put_policy(p, o);
	c = compile(p);
	was = c.classes[0].key;
	rule = c.classes[0].entries[0].rule;
	o = web_policy("pol", NULL);
	give_port(o, 81, 81, NULL);
	policy_put_policy(p, o);
	c = compile(p);
	assert_int_equal(c.class_count, 1);
	assert_int_equal(c.classes[0].key, was);
	assert_int_equal(c.classes[0].entries[0].rule, rule);
	assert_int_equal(c.endpoint_count + c.identity_count + c.rule_count, 0);
	o = web_policy("pol", NULL);
	give_port(o, 81, 81, NULL);
	policy_put_policy(p, o);
	assert_nothing(compile(p));
	policy_free(p);
}

static void a_rule_number_is_never_reused(void **state)
{
	struct policy *p = node();
	struct policy_changes c;
	uint32_t first, second;

	policy_put_policy(p, web_policy("one", NULL));
	c = compile(p);
	assert_int_equal(c.rule_count, 1);
	first = c.rules[0].rule;
	policy_remove_policy(p, "shop", "one");
	c = compile(p);
	assert_int_equal(c.rule_count, 1);
	assert_true(c.rules[0].gone);
	assert_int_equal(c.rules[0].rule, first);
	assert_string_equal(c.rules[0].text, "shop/one ingress[0]");
	assert_int_equal(c.class_count, 1);
	assert_true(c.classes[0].gone);
	assert_int_equal(c.endpoints[0].class_key, WR_CLASS_NOT_ISOLATED);
	policy_put_policy(p, web_policy("two", NULL));
	second = compile(p).rules[0].rule;
	assert_int_not_equal(second, first);
	policy_free(p);
}

static void rules_from_the_maps_keep_their_numbers(void **state)
{
	struct policy *p = node();
	struct policy_changes c;

	assert_int_equal(policy_seed_rule(p, WR_RULE_FIRST - 1, "shop/x ingress[0]"), -EINVAL);
	assert_int_equal(policy_seed_rule(p, 500, "shop/pol ingress[0]"), 0);
	assert_int_equal(policy_seed_rule(p, 501, "shop/old ingress[0]"), 0);
	assert_int_equal(policy_seed_rule(p, 502, "shop/old ingress[0]"), -EEXIST);
	policy_put_policy(p, web_policy("pol", NULL));
	policy_put_policy(p, web_policy("new", NULL));
	c = compile(p);
	assert_int_equal(c.rule_count, 2); /* pol's is in the maps */
	for (size_t i = 0; i < 2; i++) {
		if (c.rules[i].gone)
			assert_int_equal(c.rules[i].rule, 501);
		else
			assert_true(c.rules[i].rule > 502 && strcmp(c.rules[i].text, "shop/new ingress[0]") == 0);
	}
	assert_int_equal(policy_compile_all(p, &c, NULL), 0);
	assert_int_equal(c.rule_count, 2);
	assert_string_equal(rule_text(&c, 500), "shop/pol ingress[0]");
	policy_free(p);
}

/* A new selector changes the peer class of existing identities; a new pod, or a namespace's new labels, change none. */
static void peer_classes_of_identities(void **state)
{
	struct policy *p = node();
	struct policy_changes c;

	compile(p);
	policy_put_policy(p, web_policy("pol", "front"));
	c = compile(p);
	assert_true(c.peers_moved);
	assert_int_equal(c.identity_count, 1);
	put_pod(p, "front-2", "front", "uid-3", 9);
	c = compile(p);
	assert_false(c.peers_moved);
	assert_int_equal(c.identity_count, 1);
	put_namespace(p, "shop", "b");
	c = compile(p);
	assert_false(c.peers_moved);
	assert_int_equal(c.identity_count, 4); /* two removed, two added */
	assert_int_equal(c.endpoint_count, 1);
	assert_int_equal(c.class_count, 0); /* the same peer classes */
	policy_remove_policy(p, "shop", "pol");
	c = compile(p);
	assert_true(c.peers_moved);
	for (size_t i = 0; i < c.identity_count; i++)
		assert_int_equal(c.identities[i].peer, WR_PEER_NONE);
	policy_free(p);
}

static int one_identity(const struct policy_identity_info *info, void *arg)
{
	size_t *seen = arg;

	assert_string_equal(info->namespace, "shop");
	assert_string_equal(labels_get(info->namespace_labels, "team"), "a");
	if (strcmp(labels_get(info->labels, "app"), "web") == 0) {
		assert_int_equal(info->endpoint_count, 1);
		assert_int_equal(info->endpoints[0], 7);
		assert_int_equal(info->selector_count, 0);
		assert_int_equal(info->peer, WR_PEER_NONE);
		assert_string_equal(info->ports[0].name, "http");
		*seen |= 1;
	} else {
		assert_int_equal(info->pods, 2);
		assert_int_equal(info->selector_count, 1);
		assert_string_equal(info->selectors[0], "shop/app=front");
		*seen |= 2;
	}
	return 0;
}

static int one_policy(const struct policy_policy_info *info, void *arg)
{
	size_t *seen = arg;

	if (strcmp(info->object->name, "pol") == 0) {
		assert_int_equal(info->endpoint_count, 1);
		assert_int_equal(info->endpoints[0], 7);
		assert_int_equal(info->entries, 1);
		assert_int_equal(info->class_count, 1);
		*seen |= 1;
		return 0;
	}
	assert_int_equal(info->endpoint_count + info->entries + info->class_count, 0);
	*seen |= 2;
	return 5;
}

static void iterators_and_counts(void **state)
{
	struct policy *p = node();
	struct policy_object *other = web_policy("zzz", NULL);
	struct policy_counts counts;
	size_t seen = 0;

	put_pod(p, "front-2", "front", "uid-3", 0);
	policy_put_policy(p, web_policy("pol", "front"));
	selector_free(&other->pods);
	other->pods = selector("app", "none");
	other->invalid = strdup("made so");
	policy_put_policy(p, other);
	compile(p);
	assert_int_equal(policy_each_identity(p, one_identity, &seen), 0);
	assert_int_equal(seen, 3);
	seen = 0;
	assert_int_equal(policy_each_policy(p, one_policy, &seen), 5);
	assert_int_equal(seen, 3);
	policy_count(p, &counts);
	assert_int_equal(counts.namespaces, 1);
	assert_int_equal(counts.pods, 3);
	assert_int_equal(counts.policies, 2);
	assert_int_equal(counts.policies_invalid, 1);
	assert_int_equal(counts.endpoints, 1);
	assert_int_equal(counts.identities, 2);
	assert_int_equal(counts.selectors, 1);
	assert_int_equal(counts.peer_classes, 1);
	assert_int_equal(counts.classes, 1);
	assert_int_equal(counts.entries, 1);
	assert_int_equal(counts.rules, 1);
	policy_free(p);
}

/* --- verdicts that need no tables --- */

static uint32_t class_flags;

static int no_class(void *arg, uint32_t policy_class, struct wr_class_info *info)
{
	*info = (struct wr_class_info){ .flags = { class_flags, class_flags } };
	return class_flags ? 0 : -ENOENT;
}

static void verdicts_without_entries(void **state)
{
	static const struct {
		uint32_t policy_class, direction;
		uint64_t peer;
		uint32_t flags;
		bool allowed;
		uint32_t rule;
	} table[] = {
		{ WR_CLASS_QUARANTINE, WR_INGRESS, WR_ID_HOST, 0, true, WR_RULE_OWN_NODE },
		{ WR_CLASS_QUARANTINE, WR_EGRESS, WR_ID_HOST, 0, true, WR_RULE_OWN_NODE },
		{ WR_CLASS_QUARANTINE, WR_INGRESS, WR_ID_WORLD, 0, false, WR_RULE_QUARANTINE },
		{ WR_CLASS_NOT_ISOLATED, WR_EGRESS, WR_ID_WORLD, 0, true, WR_RULE_NOT_ISOLATED },
		{ 99, WR_INGRESS, WR_ID_WORLD, 0, false, WR_RULE_NO_CLASS },
		{ 99, WR_INGRESS, WR_ID_HOST, 0, true, WR_RULE_OWN_NODE },
		{ 99, WR_EGRESS, WR_ID_HOST, 0, false, WR_RULE_NO_CLASS },
		{ 99, WR_EGRESS, WR_ID_WORLD, WR_CLASS_ISOLATED, false, WR_RULE_NONE },
		{ 99, WR_EGRESS, WR_ID_WORLD, WR_CLASS_CIDRS, true, WR_RULE_NOT_ISOLATED },
		{ 99, WR_EGRESS, WR_ID_WORLD, WR_CLASS_ISOLATED | WR_CLASS_NO_ROOM, false, WR_RULE_NO_ROOM },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct lookup_tables tables = { .class_info = no_class };
		struct lookup_query query = { .policy_class = table[i].policy_class,
					      .direction = table[i].direction,
					      .peer_identity = table[i].peer,
					      .protocol = IPPROTO_TCP,
					      .port = 80 };
		struct lookup_result result;

		class_flags = table[i].flags;
		policy_lookup(&tables, &query, &result);
		assert_int_equal(result.allowed, table[i].allowed);
		assert_int_equal(result.rule, table[i].rule);
	}
}

/* Only while a policy that selects a pod of this node names pods: not blocks, ports, nor all pods of all namespaces. */
static void whether_other_nodes_pods_are_needed(void **state)
{
	struct policy *p = node();
	struct policy_object *o;

	compile(p);
	assert_false(policy_needs_pods(p));
	assert_int_equal(policy_put_policy(p, web_policy("from-everybody", NULL)), 0);
	o = web_policy("from-all-pods", "x");
	selector_free(&o->rules[POLICY_INGRESS]->peers[0].pods);
	o->rules[POLICY_INGRESS]->peers[0] = (struct policy_peer){ .has_namespaces = true };
	assert_int_equal(policy_put_policy(p, o), 0);
	o = web_policy("of-no-pod-here", "front");
	selector_free(&o->pods);
	o->pods = selector("app", "none");
	assert_int_equal(policy_put_policy(p, o), 0);
	compile(p);
	assert_false(policy_needs_pods(p));

	assert_int_equal(policy_put_policy(p, web_policy("from-front", "front")), 0);
	compile(p);
	assert_true(policy_needs_pods(p));
	put_pod(p, "web", "other", "uid-1", 8080); /* it is not selected any more */
	compile(p);
	assert_false(policy_needs_pods(p));
	put_pod(p, "web", "web", "uid-1", 8080);
	compile(p);
	assert_true(policy_needs_pods(p));
	policy_remove_policy(p, "shop", "from-front");
	compile(p);
	assert_false(policy_needs_pods(p));

	/* A named port of an egress rule is resolved by the destination pods. */
	o = web_policy("to-named", NULL);
	give_port(o, 0, 0, "http");
	o->isolates[POLICY_INGRESS] = false;
	o->isolates[POLICY_EGRESS] = true;
	o->rules[POLICY_EGRESS] = o->rules[POLICY_INGRESS];
	o->rule_count[POLICY_EGRESS] = 1;
	o->rules[POLICY_INGRESS] = NULL;
	o->rule_count[POLICY_INGRESS] = 0;
	assert_int_equal(policy_put_policy(p, o), 0);
	compile(p);
	assert_true(policy_needs_pods(p));
	policy_remove_endpoint(p, 7);
	compile(p);
	assert_false(policy_needs_pods(p));
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_endpoint_without_policy),	    cmocka_unit_test(labels_of_an_endpoint),
		cmocka_unit_test(an_endpoint_follows_its_pod),	    cmocka_unit_test(a_class_describes_its_entries),
		cmocka_unit_test(ranges_are_the_fewest_prefixes),   cmocka_unit_test(the_first_rule_by_text_is_named),
		cmocka_unit_test(an_edited_policy_keeps_its_class), cmocka_unit_test(a_rule_number_is_never_reused),
		cmocka_unit_test(rules_from_the_maps_keep_their_numbers),	    cmocka_unit_test(peer_classes_of_identities),
		cmocka_unit_test(iterators_and_counts),	    cmocka_unit_test(verdicts_without_entries),
		cmocka_unit_test(whether_other_nodes_pods_are_needed),
	};

	return cmocka_run_group_tests_name("policy compiler", tests, NULL, NULL);
}
