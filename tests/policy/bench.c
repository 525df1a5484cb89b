/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "array.h"
#include "check.h"

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* --- objects --- */

static char *text_of(const char *prefix, unsigned n)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%u", prefix, n);
	return strdup(text);
}

static void add_label(struct labels *l, const char *key, char *value)
{
	l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
	l->v[l->count++] = (struct label){ strdup(key), value };
}

static struct selector one_label(const char *key, char *value)
{
	struct selector s = { calloc(1, sizeof(struct requirement)), 1 };

	s.v[0] = (struct requirement){ strdup(key), REQUIRE_IN, malloc(sizeof(char *)), 1 };
	s.v[0].values[0] = value;
	return s;
}

static struct pod_object *make_pod(unsigned namespace, unsigned app, unsigned number, bool unique)
{
	struct pod_object *o = calloc(1, sizeof(*o));

	o->namespace = text_of("namespace-", namespace);
	o->name = text_of("deployment-5b8f9c7d4-", number);
	o->uid = text_of("6a1d3cbb-6f7f-4a3f-9d1c-", number);
	add_label(&o->labels, "app.kubernetes.io/name", text_of("app-", app));
	add_label(&o->labels, "app.kubernetes.io/component", text_of("component-", app % 4));
	add_label(&o->labels, "pod-template-hash", text_of("5b8f9c7d4", app));
	if (unique)
		add_label(&o->labels, "batch.kubernetes.io/job-name", text_of("job-", number));
	labels_sort(&o->labels);
	o->ports = calloc(1, sizeof(*o->ports));
	o->ports[0] = (struct named_port){ "http", IPPROTO_TCP, 8080 };
	o->port_count = 1;
	return o;
}

static struct namespace_object *make_namespace(unsigned number)
{
	struct namespace_object *o = calloc(1, sizeof(*o));

	o->name = text_of("namespace-", number);
	add_label(&o->labels, "kubernetes.io/metadata.name", text_of("namespace-", number));
	add_label(&o->labels, "team", text_of("team-", number % 10));
	return o;
}

/* Ingress from an app of the namespace, from a team's namespaces, from a block; egress to another team and to DNS. */
static struct policy_object *make_policy(unsigned namespace, unsigned app, unsigned number, bool wide)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	struct policy_rule *in = calloc(2, sizeof(*in)), *out = calloc(2, sizeof(*out));

	o->namespace = text_of("namespace-", namespace);
	o->name = text_of("policy-", number);
	o->pods = one_label("app.kubernetes.io/name", text_of("app-", app));
	o->isolates[POLICY_INGRESS] = o->isolates[POLICY_EGRESS] = true;
	o->rules[POLICY_INGRESS] = in;
	o->rules[POLICY_EGRESS] = out;
	o->rule_count[POLICY_INGRESS] = o->rule_count[POLICY_EGRESS] = 2;
	in[0].peers = calloc(2, sizeof(*in->peers));
	in[0].peer_count = 2;
	in[0].peers[0].has_pods = true;
	in[0].peers[0].pods = one_label("app.kubernetes.io/name", text_of("app-", app + 1));
	in[0].peers[1].has_namespaces = in[0].peers[1].has_pods = true;
	in[0].peers[1].namespaces = one_label("team", text_of("team-", number % 10));
	in[0].peers[1].pods = one_label("app.kubernetes.io/component", text_of("component-", number % 4));
	if (wide) {
		selector_free(&in[0].peers[1].namespaces);
		selector_free(&in[0].peers[1].pods);
		in[0].peers[1].pods = one_label("batch.kubernetes.io/job-name", text_of("job-", number));
	}
	in[0].ports = calloc(2, sizeof(*in->ports));
	in[0].port_count = 2;
	in[0].ports[0] = (struct policy_port){ .protocol = IPPROTO_TCP, .name = "http" };
	in[0].ports[1] = (struct policy_port){ .protocol = IPPROTO_TCP, .first = 9000, .last = 9100 };
	in[1].peers = calloc(1, sizeof(*in->peers));
	in[1].peer_count = 1;
	in[1].peers[0].is_block = true;
	prefix_parse("10.0.0.0/8", &in[1].peers[0].block);
	in[1].peers[0].except = calloc(1, sizeof(struct prefix));
	in[1].peers[0].except_count = 1;
	prefix_parse("10.96.0.0/12", &in[1].peers[0].except[0]);
	out[0].peers = calloc(1, sizeof(*out->peers));
	out[0].peer_count = 1;
	out[0].peers[0].has_namespaces = true;
	out[0].peers[0].namespaces = one_label("team", text_of("team-", (number + 3) % 10));
	out[1].peers = calloc(1, sizeof(*out->peers));
	out[1].peer_count = 1;
	out[1].peers[0].has_namespaces = true;
	out[1].ports = calloc(1, sizeof(*out->ports));
	out[1].port_count = 1;
	out[1].ports[0] = (struct policy_port){ .protocol = IPPROTO_UDP, .first = 53, .last = 53 };
	return o;
}

/* --- measurements --- */

#define POLICIES 1000
#define PODS 5000

struct shape {
	const char *name;
	unsigned namespaces, locals;
	bool unique; /* a label that no other pod has */
	bool wide;   /* each policy has a selector of its own, over all namespaces */
};

static void put_endpoint(struct policy *p, unsigned namespace, unsigned number)
{
	char ns[64], name[64];

	snprintf(ns, sizeof(ns), "namespace-%u", namespace);
	snprintf(name, sizeof(name), "deployment-5b8f9c7d4-%u", number);
	policy_put_endpoint(p, number + 1, ns, name, NULL, NULL);
}

static void fill(struct policy *p, const struct shape *s)
{
	unsigned apps = POLICIES / s->namespaces;

	for (unsigned i = 0; i < s->namespaces; i++)
		policy_put_namespace(p, make_namespace(i));
	for (unsigned i = 0; i < PODS; i++)
		policy_put_pod(p, make_pod(i % s->namespaces, i / s->namespaces % apps, i, s->unique));
	for (unsigned i = 0; i < POLICIES; i++)
		policy_put_policy(p, make_policy(i % s->namespaces, i / s->namespaces % apps, i, s->wide));
	for (unsigned i = 0; i < s->locals; i++)
		put_endpoint(p, i * (PODS / s->locals) % s->namespaces, i * (PODS / s->locals));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define CHANGES 200

static int measure_changes(struct policy *p, const struct shape *s, const char *what, bool policies)
{
	struct policy_changes changes;
	double took[CHANGES];

	for (unsigned i = 0; i < CHANGES; i++) {
		unsigned n = i * 7 % (policies ? POLICIES : PODS), apps = POLICIES / s->namespaces;
		unsigned namespace = n % s->namespaces, app = n / s->namespaces % apps;
		double begin;

		if (policies) {
			struct policy_object *o = make_policy(namespace, app, n, s->wide);

			o->rules[POLICY_INGRESS][0].ports[1].last = (uint16_t)(9101 + i);
			begin = now_ms();
			policy_put_policy(p, o);
		} else {
			struct pod_object *o = make_pod(namespace, (app + 1 + i) % apps, n, s->unique);

			begin = now_ms();
			policy_put_pod(p, o);
		}
		if (policy_compile(p, &changes, NULL) < 0)
			return 1;
		took[i] = now_ms() - begin;
	}
	qsort(took, CHANGES, sizeof(*took), by_value);
	printf("{\"shape\": \"%s\", \"figure\": \"%s\", \"ms_p50\": %.3f, \"ms_p99\": %.3f, \"ms_max\": %.3f}\n",
	       s->name, what, took[CHANGES / 2], took[CHANGES * 99 / 100], took[CHANGES - 1]);
	return 0;
}

static int measure(const struct shape *s)
{
	struct policy *p = policy_new(check_key);
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, after;
	struct policy_changes changes;
	struct policy_counts counts;
	double begin = now_ms(), filled, compiled;

	fill(p, s);
	filled = now_ms();
	if (policy_compile(p, &changes, NULL) < 0)
		return 1;
	compiled = now_ms();
	if (policy_compile(p, &changes, NULL) < 0) /* frees the last output */
		return 1;
	after = mallinfo2().uordblks + mallinfo2().hblkhd;
	policy_count(p, &counts);
	printf("{\"shape\": \"%s\", \"figure\": \"full compile\", \"namespaces\": %u, \"pods\": %d, \"policies\": %d, "
	       "\"endpoints\": %u, \"put_ms\": %.1f, \"compile_ms\": %.1f, \"memory_kb\": %zu, \"identities\": %zu, "
	       "\"selectors\": %zu, \"peer_classes\": %zu, \"classes\": %zu, \"entries\": %zu, \"cidrs\": %zu, "
	       "\"rules\": %zu}\n",
	       s->name, s->namespaces, PODS, POLICIES, s->locals, filled - begin, compiled - filled,
	       (after - before) / 1024, counts.identities, counts.selectors, counts.peer_classes, counts.classes,
	       counts.entries, counts.cidrs, counts.rules);
	begin = now_ms();
	if (policy_compile_all(p, &changes, NULL) < 0)
		return 1;
	printf("{\"shape\": \"%s\", \"figure\": \"compile_all\", \"ms\": %.1f}\n", s->name, now_ms() - begin);
	if (measure_changes(p, s, "one pod relabelled", false) || measure_changes(p, s, "one policy edited", true))
		return 1;
	policy_free(p);
	malloc_trim(0);
	return 0;
}

int bench(void)
{
	static const struct shape shapes[] = {
		{ "100 local pods of 5000, 50 namespaces", 50, 100, false, false },
		{ "250 local pods of 5000, 50 namespaces", 50, 250, false, false },
		{ "250 local pods of 5000, unique labels", 50, 250, true, false },
		{ "all pods local, 50 namespaces", 50, 5000, false, false },
		{ "all pods local, each policy with a selector over all namespaces", 50, 5000, true, true },
		{ "250 local pods of 5000, one namespace", 1, 250, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		if (measure(&shapes[i]))
			return 1;
	}
	return 0;
}

void bench_unique_pods(size_t count, struct policy_counts *counts)
{
	struct policy *p = policy_new(check_key);
	struct policy_changes changes;

	for (unsigned i = 0; i < 2; i++)
		policy_put_namespace(p, make_namespace(i));
	for (unsigned i = 0; i < 10; i++)
		policy_put_policy(p, make_policy(i % 2, i / 2, i, false));
	for (unsigned i = 0; i < count; i++)
		policy_put_pod(p, make_pod(i % 2, i / 2 % 5, i, true));
	for (unsigned i = 0; i < 10; i++)
		put_endpoint(p, i % 2, i);
	if (policy_compile(p, &changes, NULL) == 0)
		policy_count(p, counts);
	policy_free(p);
}
