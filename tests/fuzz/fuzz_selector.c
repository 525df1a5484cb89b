/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any selector on any labels: it matches as the API specifies, and the compiler, which uses an index, matches the same
 * pods, as selected pods and as peers.
 */
#include <stdlib.h>
#include <string.h>

#include "policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

static uint8_t next(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* A short string of few letters, so that many are equal. */
static char *next_string(struct input *in)
{
	uint8_t n = next(in);
	char text[5] = { 0 };

	for (unsigned i = 0; i < n % 4u; i++)
		text[i] = (char)(next(in) | 1);
	return strdup(text);
}

static void next_labels(struct input *in, struct labels *l)
{
	l->v = calloc(4, sizeof(*l->v));
	for (size_t n = next(in) % 4; l->count < n; l->count++)
		l->v[l->count] = (struct label){ next_string(in), next_string(in) };
}

static void next_selector(struct input *in, struct selector *s)
{
	s->v = calloc(4, sizeof(*s->v));
	for (size_t n = next(in) % 4; s->count < n; s->count++) {
		struct requirement *r = &s->v[s->count];

		r->key = next_string(in);
		r->op = (enum requirement_op)(next(in) % 4);
		r->values = calloc(4, sizeof(*r->values));
		if (r->op != REQUIRE_IN && r->op != REQUIRE_NOT_IN)
			continue;
		for (size_t values = 1 + next(in) % 3; r->value_count < values; r->value_count++)
			r->values[r->value_count] = next_string(in);
	}
}

/* From the API's documentation. */
static bool holds(const struct requirement *r, const struct labels *labels)
{
	bool has_key = false, has_value = false;

	for (size_t i = 0; i < labels->count; i++) {
		if (strcmp(labels->v[i].key, r->key) != 0)
			continue;
		has_key = true;
		for (size_t j = 0; j < r->value_count; j++)
			has_value |= strcmp(r->values[j], labels->v[i].value) == 0;
	}
	switch (r->op) {
	case REQUIRE_IN:
		return has_value;
	case REQUIRE_NOT_IN:
		return !has_value;
	case REQUIRE_EXISTS:
		return has_key;
	default:
		return !has_key;
	}
}

static bool all_hold(const struct selector *s, const struct labels *labels)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!holds(&s->v[i], labels))
			return false;
	}
	return true;
}

/* Puts a labelled pod with an endpoint, a policy with this podSelector, and one for all pods with it as a peer. */
static void put(struct policy *p, const struct selector *s, struct labels *labels)
{
	struct policy_object *selects = calloc(1, sizeof(*selects)), *peer = calloc(1, sizeof(*peer));
	struct pod_object *pod = calloc(1, sizeof(*pod));
	struct policy_rule *rule = calloc(1, sizeof(*rule));

	pod->namespace = strdup("a");
	pod->name = strdup("x");
	pod->labels = *labels;
	selects->namespace = strdup("a");
	selects->name = strdup("selects");
	selects->isolates[POLICY_EGRESS] = true;
	peer->namespace = strdup("a");
	peer->name = strdup("peer");
	peer->isolates[POLICY_INGRESS] = true;
	peer->rules[POLICY_INGRESS] = rule;
	peer->rule_count[POLICY_INGRESS] = 1;
	rule->peers = calloc(1, sizeof(*rule->peers));
	rule->peer_count = 1;
	rule->peers[0].has_pods = true;
	if (selector_copy(&selects->pods, s) < 0 || selector_copy(&rule->peers[0].pods, s) < 0)
		abort();
	if (policy_put_policy(p, selects) < 0 || policy_put_policy(p, peer) < 0 || policy_put_pod(p, pod) < 0 ||
	    policy_put_endpoint(p, 1, "a", "x", NULL, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[POLICY_KEY_SIZE];
	struct input in = { data, data + size };
	struct policy_changes changes;
	struct selector s = { 0 };
	struct labels labels = { 0 };
	struct policy *p;
	bool expected;

	next_labels(&in, &labels);
	next_selector(&in, &s);
	expected = all_hold(&s, &labels);
	selector_sort(&s);
	if (labels_sort(&labels) < 0) { /* duplicate key */
		labels_free(&labels);
		selector_free(&s);
		return 0;
	}
	if (all_hold(&s, &labels) != expected || selector_matches(&s, &labels) != expected)
		abort();
	p = policy_new(key);
	put(p, &s, &labels);
	if (policy_compile(p, &changes, NULL) < 0 || changes.class_count != 1)
		abort();
	if ((changes.identity_count == 1) != expected || (changes.classes[0].count == 1) != expected)
		abort();
	if (!!(changes.classes[0].info.flags[WR_EGRESS] & WR_CLASS_ISOLATED) != expected)
		abort();
	policy_free(p);
	selector_free(&s);
	return 0;
}
