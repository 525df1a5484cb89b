/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies, prints and simplifies clusters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"

/* --- copies --- */

static void *memdup(const void *from, size_t count, size_t size)
{
	void *to = calloc(count + 1, size);

	if (count)
		memcpy(to, from, count * size);
	return to;
}

struct labels labels_copy(const struct labels *from)
{
	struct labels to = { .v = calloc(from->count + 1, sizeof(struct label)), .count = from->count };

	for (size_t i = 0; i < to.count; i++)
		to.v[i] = (struct label){ strdup(from->v[i].key), strdup(from->v[i].value) };
	return to;
}

struct namespace_object *namespace_copy(const struct namespace_object *from)
{
	struct namespace_object *to = memdup(from, 1, sizeof(*to));

	to->name = strdup(from->name);
	to->labels = labels_copy(&from->labels);
	return to;
}

struct pod_object *pod_copy(const struct pod_object *from)
{
	struct pod_object *to = memdup(from, 1, sizeof(*to));

	to->namespace = strdup(from->namespace);
	to->name = strdup(from->name);
	to->uid = strdup(from->uid);
	to->labels = labels_copy(&from->labels);
	to->ports = memdup(from->ports, from->port_count, sizeof(*to->ports));
	return to;
}

static struct policy_rule *rules_copy(const struct policy_rule *from, size_t count)
{
	struct policy_rule *to = memdup(from, count, sizeof(*to));

	for (size_t i = 0; i < count; i++) {
		to[i].ports = memdup(from[i].ports, from[i].port_count, sizeof(*to[i].ports));
		to[i].peers = memdup(from[i].peers, from[i].peer_count, sizeof(*to[i].peers));
		for (size_t j = 0; j < from[i].peer_count; j++) {
			const struct policy_peer *peer = &from[i].peers[j];

			to[i].peers[j].except = memdup(peer->except, peer->except_count, sizeof(*peer->except));
			selector_copy(&to[i].peers[j].namespaces, &peer->namespaces);
			selector_copy(&to[i].peers[j].pods, &peer->pods);
		}
	}
	return to;
}

struct policy_object *policy_copy(const struct policy_object *from)
{
	struct policy_object *to = memdup(from, 1, sizeof(*to));

	to->namespace = strdup(from->namespace);
	to->name = strdup(from->name);
	to->invalid = from->invalid ? strdup(from->invalid) : NULL;
	selector_copy(&to->pods, &from->pods);
	for (int d = 0; d < POLICY_DIRECTIONS; d++)
		to->rules[d] = rules_copy(from->rules[d], from->rule_count[d]);
	return to;
}

void cluster_copy(struct cluster *to, const struct cluster *from)
{
	*to = *from;
	for (size_t i = 0; i < from->namespace_count; i++)
		to->namespaces[i] = namespace_copy(from->namespaces[i]);
	for (size_t i = 0; i < from->pod_count; i++)
		to->pods[i].object = pod_copy(from->pods[i].object);
	for (size_t i = 0; i < from->policy_count; i++)
		to->policies[i] = policy_copy(from->policies[i]);
}

/* --- one step simpler --- */

static bool hit(size_t *n)
{
	return (*n)-- == 0;
}

static bool reduce_labels(struct labels *l, size_t *n)
{
	for (size_t i = 0; i < l->count; i++) {
		if (!hit(n))
			continue;
		free(l->v[i].key);
		free(l->v[i].value);
		memmove(&l->v[i], &l->v[i + 1], (--l->count - i) * sizeof(*l->v));
		return true;
	}
	return false;
}

static bool reduce_selector(struct selector *s, size_t *n)
{
	for (size_t i = 0; i < s->count; i++) {
		struct selector one = { &s->v[i], 1 };

		if (hit(n)) {
			one.v = memdup(&s->v[i], 1, sizeof(*one.v));
			selector_free(&one);
			memmove(&s->v[i], &s->v[i + 1], (--s->count - i) * sizeof(*s->v));
			return true;
		}
		if (s->v[i].value_count > 1 && hit(n)) {
			free(s->v[i].values[--s->v[i].value_count]);
			return true;
		}
	}
	return false;
}

static bool reduce_peer(struct policy_peer *peer, size_t *n)
{
	if (peer->except_count && hit(n)) {
		peer->except_count--;
		return true;
	}
	return reduce_selector(&peer->namespaces, n) || reduce_selector(&peer->pods, n);
}

static bool reduce_rule(struct policy_rule *rule, size_t *n)
{
	if (rule->peer_count > 1 && hit(n)) {
		free(rule->peers[--rule->peer_count].except);
		selector_free(&rule->peers[rule->peer_count].namespaces);
		selector_free(&rule->peers[rule->peer_count].pods);
		return true;
	}
	if (rule->peer_count > 1 && hit(n)) {
		struct policy_peer first = rule->peers[0];

		rule->peers[0] = rule->peers[rule->peer_count - 1];
		rule->peers[rule->peer_count - 1] = first;
		return reduce_rule(rule, &(size_t){ 0 });
	}
	if (rule->port_count > 1 && hit(n)) {
		rule->port_count--;
		return true;
	}
	if (rule->port_count > 1 && hit(n)) {
		rule->ports[0] = rule->ports[--rule->port_count];
		return true;
	}
	for (size_t i = 0; i < rule->peer_count; i++) {
		if (reduce_peer(&rule->peers[i], n))
			return true;
	}
	return false;
}

static void rule_clear(struct policy_rule *rule)
{
	for (size_t i = 0; i < rule->peer_count; i++) {
		free(rule->peers[i].except);
		selector_free(&rule->peers[i].namespaces);
		selector_free(&rule->peers[i].pods);
	}
	free(rule->peers);
	free(rule->ports);
}

static bool reduce_policy(struct policy_object *o, size_t *n)
{
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		for (size_t i = 0; i < o->rule_count[d]; i++) {
			if (hit(n)) {
				rule_clear(&o->rules[d][i]);
				memmove(&o->rules[d][i], &o->rules[d][i + 1],
					(--o->rule_count[d] - i) * sizeof(o->rules[d][i]));
				return true;
			}
			if (reduce_rule(&o->rules[d][i], n))
				return true;
		}
		if (o->isolates[d] && hit(n)) {
			o->isolates[d] = false;
			return true;
		}
	}
	return reduce_selector(&o->pods, n);
}

static bool reduce_pod(struct cluster_pod *pod, size_t *n)
{
	if (pod->kind != POD_REMOTE && hit(n)) {
		pod->kind = POD_REMOTE;
		return true;
	}
	if (pod->object->port_count && hit(n)) {
		pod->object->port_count--;
		return true;
	}
	if (pod->object->ips[1].family && hit(n)) {
		pod->object->ips[1].family = 0;
		return true;
	}
	return reduce_labels(&pod->object->labels, n);
}

bool cluster_reduce(struct cluster *c, size_t n)
{
	for (size_t i = 0; i < c->policy_count; i++) {
		if (hit(&n)) {
			policy_object_free(c->policies[i]);
			c->policies[i] = c->policies[--c->policy_count];
			return true;
		}
		if (reduce_policy(c->policies[i], &n))
			return true;
	}
	for (size_t i = 0; i < c->pod_count; i++) {
		if (hit(&n)) {
			pod_object_free(c->pods[i].object);
			c->pods[i] = c->pods[--c->pod_count];
			return true;
		}
		if (reduce_pod(&c->pods[i], &n))
			return true;
	}
	for (size_t i = 0; i < c->namespace_count; i++) {
		if (hit(&n)) {
			namespace_object_free(c->namespaces[i]);
			c->namespaces[i] = c->namespaces[--c->namespace_count];
			return true;
		}
		if (reduce_labels(&c->namespaces[i]->labels, &n))
			return true;
	}
	return false;
}

/* --- as text --- */

static void print_labels(const struct labels *l)
{
	printf(" {");
	for (size_t i = 0; i < l->count; i++)
		printf("%s%s=%s", i ? ", " : "", l->v[i].key, l->v[i].value);
	printf("}");
}

static void print_selector(const char *what, const struct selector *s)
{
	static const char *const ops[] = { "in", "notin", "exists", "!exists" };

	printf(" %s(", what);
	for (size_t i = 0; i < s->count; i++) {
		printf("%s%s %s", i ? ", " : "", s->v[i].key, ops[s->v[i].op]);
		for (size_t j = 0; j < s->v[i].value_count; j++)
			printf(" '%s'", s->v[i].values[j]);
	}
	printf(")");
}

static void print_peer(const struct policy_peer *peer)
{
	char text[PREFIX_STRLEN];

	printf("\n      peer:");
	if (peer->is_block)
		printf(" block %s", prefix_format(&peer->block, text));
	for (size_t i = 0; i < peer->except_count; i++)
		printf(" except %s", prefix_format(&peer->except[i], text));
	if (peer->has_namespaces)
		print_selector("namespaces", &peer->namespaces);
	if (peer->has_pods)
		print_selector("pods", &peer->pods);
}

static void print_policy(const struct policy_object *o)
{
	static const char *const names[] = { "egress", "ingress" };

	printf("  policy %s/%s%s", o->namespace, o->name, o->invalid ? " INVALID" : "");
	print_selector("pods", &o->pods);
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		printf("%s%s", o->isolates[d] ? " isolates " : "", o->isolates[d] ? names[d] : "");
		for (size_t i = 0; i < o->rule_count[d]; i++) {
			printf("\n    %s[%zu]", names[d], i);
			for (size_t j = 0; j < o->rules[d][i].peer_count; j++)
				print_peer(&o->rules[d][i].peers[j]);
			for (size_t j = 0; j < o->rules[d][i].port_count; j++) {
				const struct policy_port *port = &o->rules[d][i].ports[j];

				printf("\n      port: protocol %u %s%s %u-%u", port->protocol, port->all ? "all" : "",
				       port->name, port->first, port->last);
			}
		}
	}
	printf("\n");
}

void cluster_print(const struct cluster *c)
{
	static const char *const kinds[] = { "remote", "local", "local, no object", "local, object of an older one" };
	char text[2][IP_STRLEN];

	for (size_t i = 0; i < c->namespace_count; i++) {
		printf("  namespace %s", c->namespaces[i]->name);
		print_labels(&c->namespaces[i]->labels);
		printf("\n");
	}
	for (size_t i = 0; i < c->pod_count; i++) {
		const struct pod_object *o = c->pods[i].object;

		printf("  pod %s/%s (%s%s%s) %s %s", o->namespace, o->name, kinds[c->pods[i].kind],
		       o->host_network ? ", host network" : "", o->completed ? ", completed" : "",
		       ip_format(&o->ips[0], text[0]), ip_format(&o->ips[1], text[1]));
		print_labels(&o->labels);
		for (size_t j = 0; j < o->port_count; j++)
			printf(" %s=%u/%u", o->ports[j].name, o->ports[j].port, o->ports[j].protocol);
		printf("\n");
	}
	for (size_t i = 0; i < c->policy_count; i++)
		print_policy(c->policies[i]);
	fflush(stdout);
}
