/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random policies of a tenant, from all that the API accepts, with 1,000 pods: a compile must be fast, use little
 * memory, and leave another namespace's policies as they are.
 */
#include "bombs.h"

#include <malloc.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/seed.h"
#include "check.h"
#include "policy.h"

/*
 * The goals are 50 ms and 16 MB for one policy; here up to four are compiled at once, and processors differ. Without
 * bounds it took minutes and gigabytes.
 */
enum { COMPILE_MS = 400, PEAK_MB = 48, PODS = 1000, LOCALS = 200, POLICIES = 4 };
enum { ELEMENTS = 30000 }; /* of one object: at 50 bytes each etcd's limit */

static const char *const tenant = "mallory", *const other = "shop";

/* CPU time of this process, so that others do not matter. */
static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Peak of the resident size since `begin`, in MB. */
static double peak_mb(bool begin)
{
	char line[128];
	double mb = 0;
	FILE *f;

	if (begin) {
		malloc_trim(0);
		f = fopen("/proc/self/clear_refs", "w");
		assert_non_null(f);
		fputs("5", f);
		fclose(f);
	}
	f = fopen("/proc/self/status", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "VmHWM:", 6) == 0)
			mb = strtod(line + 6, NULL) / 1024;
	}
	fclose(f);
	return mb;
}

/* --- objects --- */

static char *text(const char *prefix, uint32_t number)
{
	char *to;

	assert_true(asprintf(&to, "%s%u", prefix, number) > 0);
	return to;
}

static void add_label(struct labels *l, char *key, char *value)
{
	l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
	l->v[l->count++] = (struct label){ key, value };
}

static struct pod_object *pod(const char *namespace, uint32_t number, struct random *r)
{
	struct pod_object *o = calloc(1, sizeof(*o));

	o->namespace = strdup(namespace);
	o->name = text("pod-", number);
	o->uid = strdup("");
	o->node = strdup("");
	add_label(&o->labels, strdup("name"), text("v", number));
	add_label(&o->labels, strdup("app"), text("v", number % 20));
	for (uint32_t i = 0; i < 8; i++) {
		if (random_chance(r, 50))
			add_label(&o->labels, text("k", i), text("v", random_below(r, 4)));
	}
	labels_sort(&o->labels);
	return o;
}

/* Logarithmic: 10 is as likely as 10,000. */
static uint32_t any_size(struct random *r, uint32_t most)
{
	uint32_t size = 1;

	while (size < most && random_chance(r, 85))
		size += 1 + random_below(r, size);
	return size < most ? size : most;
}

static void random_requirement(struct requirement *q, struct random *r, uint32_t *left)
{
	static const enum requirement_op ops[] = { REQUIRE_IN, REQUIRE_NOT_IN, REQUIRE_NOT_IN, REQUIRE_EXISTS,
						   REQUIRE_NOT_EXISTS };
	uint32_t values;

	q->op = ops[random_below(r, 5)];
	q->key = random_chance(r, 50) ? strdup("name") : text("k", random_below(r, 2000));
	if (q->op == REQUIRE_EXISTS || q->op == REQUIRE_NOT_EXISTS)
		return;
	values = random_chance(r, 90) ? 1 : any_size(r, *left / 4 + 1);
	*left -= values < *left ? values : *left;
	q->values = calloc(values, sizeof(*q->values));
	while (q->value_count < values)
		q->values[q->value_count++] = text("v", random_below(r, 2 * PODS));
}

static void random_selector(struct selector *s, struct random *r, uint32_t *left)
{
	uint32_t count = any_size(r, random_chance(r, 95) ? 3 : *left / 8 + 1);

	s->v = calloc(count, sizeof(*s->v));
	while (s->count < count)
		random_requirement(&s->v[s->count++], r, left);
	selector_sort(s);
}

static struct prefix random_prefix(struct random *r, const struct prefix *inside)
{
	struct prefix prefix = inside ? *inside : (struct prefix){ .ip.family = random_chance(r, 70) ? AF_INET : AF_INET6 };
	unsigned bits = prefix.ip.family == AF_INET ? 32 : 128, from = inside ? inside->len + 1u : 0;

	for (unsigned i = from / 8 + 1; i < bits / 8; i++)
		prefix.ip.bytes[i] = (uint8_t)random_below(r, 256);
	prefix.len = (uint8_t)(from + random_below(r, bits - from + 1));
	prefix.ip = prefix_first(&prefix);
	return prefix;
}

static void random_peer(struct policy_peer *peer, struct random *r, uint32_t kind, uint32_t *left)
{
	uint32_t excepts = kind == 1 ? any_size(r, 40) : 0;

	*left -= 1 + excepts < *left ? 1 + excepts : *left;
	if (kind < 2) {
		peer->is_block = true;
		peer->block = random_prefix(r, NULL);
		if (kind == 1)
			peer->block = (struct prefix){ .ip.family = AF_INET };
		peer->except = calloc(excepts + 1, sizeof(*peer->except));
		while (peer->except_count < excepts)
			peer->except[peer->except_count++] = random_prefix(r, &peer->block);
		return;
	}
	peer->has_pods = true;
	random_selector(&peer->pods, r, left);
	peer->has_namespaces = random_chance(r, 70);
	if (peer->has_namespaces && random_chance(r, 20))
		random_selector(&peer->namespaces, r, left);
}

static void random_port(struct policy_port *port, struct random *r)
{
	*port = (struct policy_port){ .protocol = random_chance(r, 70) ? IPPROTO_TCP : IPPROTO_UDP };
	if (random_chance(r, 5)) {
		snprintf(port->name, sizeof(port->name), "p%u", random_below(r, 1000));
		return;
	}
	port->first = (uint16_t)(1 + random_below(r, 65535));
	port->last = random_chance(r, 50) ? port->first : (uint16_t)(port->first + random_below(r, 65536u - port->first));
}

static void random_rule(struct policy_rule *rule, struct random *r, uint32_t *left)
{
	uint32_t peers = any_size(r, *left), ports = random_chance(r, 30) ? 0 : any_size(r, *left);
	uint32_t kind = random_below(r, 4);

	rule->peers = calloc(peers, sizeof(*rule->peers));
	while (rule->peer_count < peers && *left)
		random_peer(&rule->peers[rule->peer_count++], r, kind, left);
	rule->ports = calloc(ports + 1, sizeof(*rule->ports));
	for (; rule->port_count < ports && *left; (*left)--)
		random_port(&rule->ports[rule->port_count++], r);
}

static struct policy_object *random_policy(uint32_t number, struct random *r)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	uint32_t left = ELEMENTS >> random_below(r, 9); /* also just within the bounds */

	o->namespace = strdup(tenant);
	o->name = text("policy-", number);
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		uint32_t rules = any_size(r, random_chance(r, 80) ? 3 : left / 2 + 1);

		o->isolates[d] = true;
		o->rules[d] = calloc(rules, sizeof(*o->rules[d]));
		while (o->rule_count[d] < rules && left)
			random_rule(&o->rules[d][o->rule_count[d]++], r, &left);
	}
	return o;
}

/* Allows pods `name` to reach the other namespace's pods. */
static struct policy_object *others_policy(const char *app)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	struct requirement *q = calloc(1, sizeof(*q));

	o->namespace = strdup(other);
	o->name = strdup("db");
	o->isolates[POLICY_INGRESS] = true;
	o->rules[POLICY_INGRESS] = calloc(1, sizeof(struct policy_rule));
	o->rule_count[POLICY_INGRESS] = 1;
	o->rules[POLICY_INGRESS]->peers = calloc(1, sizeof(struct policy_peer));
	o->rules[POLICY_INGRESS]->peer_count = 1;
	*q = (struct requirement){ strdup("app"), REQUIRE_IN, calloc(1, sizeof(char *)), 1 };
	q->values[0] = strdup(app);
	o->rules[POLICY_INGRESS]->peers->has_pods = true;
	o->rules[POLICY_INGRESS]->peers->pods = (struct selector){ q, 1 };
	return o;
}

/* --- the property --- */

static void fill(struct policy *p, struct random *r)
{
	char name[32];

	for (uint32_t i = 0; i < PODS; i++)
		policy_put_pod(p, pod(i % 2 ? tenant : other, i, r));
	for (uint32_t i = 0; i < LOCALS; i++) {
		snprintf(name, sizeof(name), "pod-%u", i);
		policy_put_endpoint(p, i + 1, i % 2 ? tenant : other, name, NULL, NULL);
	}
}

static int look_at(const struct policy_policy_info *info, void *arg)
{
	if (strcmp(info->object->namespace, other) == 0) {
		assert_null(info->problem);
		assert_in_range(info->entries, 1, 100000);
		*(size_t *)arg += 1;
	}
	return 0;
}

struct worst {
	double ms, mb;
};

static void compile(struct policy *p, unsigned long seed, const char *what, struct worst *worst)
{
	double mb = peak_mb(true), begin = now_ms(), ms;
	struct policy_changes changes;
	size_t others = 0;

	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	ms = now_ms() - begin;
	mb = peak_mb(false) - mb;
	worst->ms = ms > worst->ms ? ms : worst->ms;
	worst->mb = mb > worst->mb ? mb : worst->mb;
	if (ms > COMPILE_MS || mb > PEAK_MB)
		fail_msg("%s: %.0f ms, %.1f MB; WARREN_SEED=%lu WARREN_BOMBS=1 %s repeats it", what, ms, mb, seed,
			 program_invocation_name);
	assert_int_equal(policy_each_policy(p, look_at, &others), 0);
	assert_int_equal(others, 1);
}

static void try_seed(unsigned long seed, struct worst *worst, size_t *refused)
{
	struct random r = { .state = seed * 0x9e3779b97f4a7c15ull };
	struct policy *p = policy_new(check_key);
	uint32_t count = 1 + random_below(&r, POLICIES);
	struct policy_refused found;
	char name[32];

	fill(p, &r);
	assert_int_equal(policy_put_policy(p, others_policy("v0")), 0);
	compile(p, seed, "the other namespace's policy", worst);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(policy_put_policy(p, random_policy(i, &r)), 0);
	assert_int_equal(policy_put_policy(p, others_policy("v2")), 0);
	compile(p, seed, "with the tenant's", worst);
	policy_count_refused(p, &found);
	*refused += found.policies + found.classes;
	policy_put_pod(p, pod(other, PODS, &r));
	compile(p, seed, "another pod", worst);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "policy-%u", i);
		policy_remove_policy(p, tenant, name);
	}
	compile(p, seed, "without them", worst);
	policy_free(p);
}

/* --- the most expensive policies within the bounds --- */

static struct policy_object *one_rule(uint32_t peers, uint32_t ports)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	struct policy_rule *rule = calloc(1, sizeof(*rule));

	o->namespace = strdup(tenant);
	o->name = strdup("policy-0");
	o->isolates[POLICY_INGRESS] = true;
	o->rules[POLICY_INGRESS] = rule;
	o->rule_count[POLICY_INGRESS] = 1;
	rule->peers = calloc(peers, sizeof(*rule->peers));
	rule->peer_count = peers;
	rule->ports = calloc(ports + 1, sizeof(*rule->ports));
	rule->port_count = ports;
	for (uint32_t i = 0; i < ports; i++)
		rule->ports[i] = (struct policy_port){ .protocol = IPPROTO_TCP,
						       .first = (uint16_t)(1 + 2 * i),
						       .last = (uint16_t)(1 + 2 * i) };
	return o;
}

/* Each selector matches all pods but one, so that each of these pods has a peer class of its own. */
static struct policy_object *all_but_one(void)
{
	struct policy_object *o = one_rule(256, 0);

	for (uint32_t i = 0; i < 256; i++) {
		struct policy_peer *peer = &o->rules[POLICY_INGRESS]->peers[i];
		struct requirement *q = calloc(1, sizeof(*q));

		*q = (struct requirement){ strdup("name"), REQUIRE_NOT_IN, calloc(1, sizeof(char *)), 1 };
		q->values[0] = text("v", i);
		peer->has_pods = peer->has_namespaces = true;
		peer->pods = (struct selector){ q, 1 };
	}
	return o;
}

/* The same with namespaceSelectors, which are matched against each namespace. */
static struct policy_object *all_namespaces_but_one(void)
{
	struct policy_object *o = one_rule(256, 0);

	for (uint32_t i = 0; i < 256; i++) {
		struct policy_peer *peer = &o->rules[POLICY_INGRESS]->peers[i];
		struct requirement *q = calloc(1, sizeof(*q));

		*q = (struct requirement){ strdup("team"), REQUIRE_NOT_IN, calloc(1, sizeof(char *)), 1 };
		q->values[0] = text("v", i);
		peer->has_namespaces = true;
		peer->namespaces = (struct selector){ q, 1 };
	}
	return o;
}

static struct policy_object *blocks_and_ports(void)
{
	struct policy_object *o = one_rule(128, 128);

	for (uint32_t i = 0; i < 128; i++) {
		struct policy_peer *peer = &o->rules[POLICY_INGRESS]->peers[i];

		peer->is_block = true;
		peer->block = (struct prefix){ .ip = { .family = AF_INET, .bytes = { 10, (uint8_t)i } }, .len = 24 };
	}
	return o;
}

/* Each block contains nearly all prefixes of the others. */
static struct policy_object *blocks_in_blocks(void)
{
	struct policy_object *o = one_rule(24, 1);

	for (uint32_t i = 0; i < 24; i++) {
		struct policy_peer *peer = &o->rules[POLICY_INGRESS]->peers[i];

		peer->is_block = true;
		peer->block = (struct prefix){ .ip.family = AF_INET };
		peer->except = calloc(24, sizeof(*peer->except));
		while (peer->except_count < 24) {
			peer->except[peer->except_count] = (struct prefix){
				.ip = { .family = AF_INET, .bytes = { 10, (uint8_t)i, (uint8_t)peer->except_count } }, .len = 24
			};
			peer->except_count++;
		}
	}
	return o;
}

static void put_namespaces(struct policy *p)
{
	for (uint32_t i = 0; i < 1000; i++) {
		struct namespace_object *o = calloc(1, sizeof(*o));

		o->name = i > 1 ? text("namespace-", i) : strdup(i ? tenant : other);
		add_label(&o->labels, strdup("team"), text("v", i));
		policy_put_namespace(p, o);
	}
}

void what_fits_costs_little(void **state)
{
	static const struct {
		const char *name;
		struct policy_object *(*make)(void);
	} cases[] = { { "selectors of all pods but one", all_but_one },
		      { "selectors of all namespaces but one", all_namespaces_but_one },
		      { "blocks and ports", blocks_and_ports },
		      { "blocks in blocks", blocks_in_blocks } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct random r = { .state = i };
		struct policy *p = policy_new(check_key);
		struct worst come = { 0 }, gone = { 0 };
		struct policy_refused refused;

		put_namespaces(p);
		fill(p, &r);
		assert_int_equal(policy_put_policy(p, others_policy("v0")), 0);
		compile(p, 0, "the other namespace's policy", &come);
		come = (struct worst){ 0 };
		assert_int_equal(policy_put_policy(p, cases[i].make()), 0);
		compile(p, 0, cases[i].name, &come);
		policy_count_refused(p, &refused);
		assert_int_equal(refused.policies, 0);
		policy_remove_policy(p, tenant, "policy-0");
		compile(p, 0, cases[i].name, &gone);
		printf("%s: %.0f ms and %.1f MB; gone in %.0f ms%s%s\n", cases[i].name, come.ms, come.mb, gone.ms,
		       *refused.example ? "; " : "", refused.example);
		policy_free(p);
	}
}

/* Each pod has policies of its own besides three large ones: as many large classes. */
void many_large_classes_come_in_slices(void **state)
{
	struct random r = { .state = 1 };
	struct policy *p = policy_new(check_key);
	struct worst worst = { 0 };
	struct policy_changes changes;
	struct policy_counts counts;
	unsigned slices = 0;
	char name[32];

	fill(p, &r);
	assert_int_equal(policy_put_policy(p, others_policy("v0")), 0);
	compile(p, 0, "the other namespace's policy", &worst);
	for (uint32_t i = 0; i < 3; i++) {
		struct policy_object *o = one_rule(1, 1);
		struct policy_peer *peer = o->rules[POLICY_INGRESS]->peers;

		free(o->name);
		o->name = text("large-", i);
		peer->is_block = true;
		peer->block = (struct prefix){ .ip.family = AF_INET };
		peer->except = calloc(16000, sizeof(*peer->except));
		for (; peer->except_count < 16000; peer->except_count++)
			peer->except[peer->except_count] = (struct prefix){
				.ip = { .family = AF_INET,
					.bytes = { (uint8_t)(i + 1), (uint8_t)(peer->except_count >> 8),
						   (uint8_t)peer->except_count } },
				.len = 24
			};
		assert_int_equal(policy_put_policy(p, o), 0);
	}
	for (uint32_t i = 0; i < LOCALS; i++) {
		struct policy_object *o = one_rule(1, 0);
		struct requirement *q = calloc(1, sizeof(*q));

		free(o->name);
		o->name = text("own-", i);
		o->rules[POLICY_INGRESS]->peers->has_pods = true;
		*q = (struct requirement){ strdup("name"), REQUIRE_IN, calloc(1, sizeof(char *)), 1 };
		q->values[0] = text("v", i);
		o->pods = (struct selector){ q, 1 };
		assert_int_equal(policy_put_policy(p, o), 0);
	}
	compile(p, 0, "many large classes", &worst);
	for (; policy_unfinished(p); slices++) {
		/* Meanwhile the other namespace's policy changes, which must not be delayed. */
		assert_int_equal(policy_put_policy(p, others_policy(slices % 2 ? "v0" : "v2")), 0);
		compile(p, 0, "a slice of them", &worst);
		assert_int_equal(policy_compile(p, &changes, NULL), 0);
	}
	policy_count(p, &counts);
	printf("%zu classes in %u slices, at worst %.0f ms and %.1f MB\n", counts.classes, slices, worst.ms, worst.mb);
	assert_in_range(slices, 2, 1000);
	snprintf(name, sizeof(name), "large-%u", 0u);
	policy_remove_policy(p, tenant, name);
	compile(p, 0, "without one", &worst);
	policy_free(p);
}

/* 20 pods with as many labels as etcd accepts, and policies with selectors of such labels in each namespace. */
void pods_of_many_labels(void **state)
{
	struct random r = { .state = 1 };
	struct policy *p = policy_new(check_key);
	struct policy_object *o = all_namespaces_but_one();
	struct worst worst = { 0 };
	struct policy_refused refused;

	for (uint32_t i = 0; i < o->rules[POLICY_INGRESS]->peer_count; i++) {
		struct policy_peer *peer = &o->rules[POLICY_INGRESS]->peers[i];
		struct requirement *q = calloc(1, sizeof(*q));

		*q = (struct requirement){ strdup("app"), REQUIRE_EXISTS, NULL, 0 };
		peer->has_pods = true;
		peer->pods = (struct selector){ q, 1 };
	}
	put_namespaces(p);
	fill(p, &r);
	assert_int_equal(policy_put_policy(p, others_policy("v0")), 0);
	assert_int_equal(policy_put_policy(p, o), 0);
	compile(p, 0, "without them", &worst);
	worst = (struct worst){ 0 };
	for (uint32_t i = 0; i < 20; i++) {
		struct pod_object *large = pod(tenant, PODS + i, &r);

		while (large->labels.count < ELEMENTS)
			add_label(&large->labels, text("x", (uint32_t)large->labels.count), text("v", i));
		labels_sort(&large->labels);
		assert_int_equal(policy_put_pod(p, large), 0);
	}
	compile(p, 0, "pods of many labels", &worst);
	policy_count_refused(p, &refused);
	printf("20 pods of %d labels: %.0f ms and %.1f MB\n", ELEMENTS, worst.ms, worst.mb);
	assert_int_equal(refused.pods, 20);
	policy_free(p);
}

static int all_are_invalid(const struct policy_policy_info *info, void *arg)
{
	assert_non_null(info->object->invalid);
	assert_int_equal(info->endpoint_count, LOCALS / 2);
	return 0;
}

/* A podSelector with as many requirements as etcd accepts. */
void a_selector_of_too_much_selects_all(void **state)
{
	struct random r = { .state = 1 };
	struct policy *p = policy_new(check_key);
	struct policy_object *o = one_rule(1, 0);
	struct policy_changes changes;
	double begin;

	fill(p, &r);
	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	o->rules[POLICY_INGRESS]->peers->has_pods = true;
	o->pods.v = calloc(ELEMENTS, sizeof(*o->pods.v));
	for (; o->pods.count < ELEMENTS; o->pods.count++)
		o->pods.v[o->pods.count] = (struct requirement){ text("x", (uint32_t)o->pods.count), REQUIRE_NOT_EXISTS, NULL, 0 };
	assert_int_equal(policy_put_policy(p, o), 0);
	begin = now_ms();
	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	printf("a podSelector of %d requirements: %.0f ms\n", ELEMENTS, now_ms() - begin);
	assert_in_range((unsigned long)(now_ms() - begin), 0, COMPILE_MS);
	assert_int_equal(policy_each_policy(p, all_are_invalid, NULL), 0);
	policy_free(p);
}

void large_policies_cost_little(void **state)
{
	const char *count_text = getenv("WARREN_BOMBS");
	unsigned long first = seed_of_run(), count = count_text ? strtoul(count_text, NULL, 0) : 40;
	struct worst worst = { 0 };
	size_t refused = 0;

	for (unsigned long seed = first; seed < first + count; seed++)
		try_seed(seed, &worst, &refused);
	printf("%lu clusters, %zu policies and sets of them refused, at worst %.0f ms and %.1f MB\n", count, refused, worst.ms,
	       worst.mb);
	assert_in_range(refused, count / 4, 8 * count);
}
