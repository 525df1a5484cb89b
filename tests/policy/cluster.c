/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "str.h"

const uint16_t cluster_ports[] = { 1, 53, 79, 80, 81, 443, 1023, 1024, 8080, 8081, 8095, 32767, 32768, 65534, 65535 };
const size_t cluster_port_count = ARRAY_SIZE(cluster_ports);
const char *const cluster_outside[] = { "10.0.1.1", "192.0.2.7", "fd00:1::1", "2001:db8::7" };
const size_t cluster_outside_count = ARRAY_SIZE(cluster_outside);

static const char *const keys[] = { "app", "tier", "x" };
static const char *const values[] = { "a", "b", "c", "" };
static const char *const port_names[] = { "http", "dns", "admin" };
static const char *const namespace_names[] = { "red", "green", "blue" };
static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

/* splitmix64 */
static uint64_t random_next(struct random *r)
{
	uint64_t x = (r->state += 0x9e3779b97f4a7c15ull);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint32_t random_below(struct random *r, uint32_t n)
{
	return (uint32_t)((random_next(r) >> 32) * n >> 32);
}

bool random_chance(struct random *r, uint32_t percent)
{
	return random_below(r, 100) < percent;
}

#define PICK(r, a) ((a)[random_below(r, ARRAY_SIZE(a))])

/* --- parts of objects --- */

static void random_labels(struct labels *l, struct random *r)
{
	*l = (struct labels){ .v = calloc(ARRAY_SIZE(keys) + 1, sizeof(struct label)) };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (random_chance(r, 55))
			l->v[l->count++] = (struct label){ strdup(keys[i]), strdup(PICK(r, values)) };
	}
	labels_sort(l);
}

static void random_selector(struct selector *s, struct random *r)
{
	size_t count = random_chance(r, 25) ? 0 : 1 + random_below(r, 2);

	*s = (struct selector){ .v = calloc(count + 1, sizeof(struct requirement)) };
	for (; s->count < count; s->count++) {
		struct requirement *q = &s->v[s->count];

		q->key = strdup(PICK(r, keys));
		q->op = random_chance(r, 60) ? REQUIRE_IN : (enum requirement_op)random_below(r, 4);
		q->values = calloc(4, sizeof(char *));
		if (q->op == REQUIRE_IN || q->op == REQUIRE_NOT_IN) {
			q->value_count = 1 + (random_chance(r, 40) ? random_below(r, 3) : 0);
			for (size_t i = 0; i < q->value_count; i++)
				q->values[i] = strdup(PICK(r, values));
		}
	}
	selector_sort(s);
}

/* A prefix around the pods' addresses, or a whole family. */
static struct prefix random_prefix(struct random *r, bool v6)
{
	static const uint8_t lengths4[] = { 0, 8, 16, 23, 24, 27, 28, 29, 30, 31, 32 };
	static const uint8_t lengths6[] = { 0, 16, 32, 64, 112, 124, 125, 126, 127, 128 };
	struct prefix p;
	char text[64];

	snprintf(text, sizeof(text), v6 ? "fd00::%x" : "10.0.0.%u", random_below(r, 16));
	if (random_chance(r, 10))
		snprintf(text, sizeof(text), "%s", v6 ? "2001:db8::" : "192.0.2.0");
	ip_parse(text, &p.ip);
	p.len = v6 ? PICK(r, lengths6) : PICK(r, lengths4);
	p.ip = prefix_first(&p);
	return p;
}

static void random_block(struct policy_peer *peer, struct random *r)
{
	bool v6 = random_chance(r, 40);

	peer->is_block = true;
	peer->block = random_prefix(r, v6);
	peer->except = calloc(4, sizeof(*peer->except));
	for (size_t tries = random_below(r, 6); tries && peer->except_count < 3; tries--) {
		struct prefix except = random_prefix(r, v6);

		if (except.len >= peer->block.len && prefix_contains(&peer->block, &except.ip))
			peer->except[peer->except_count++] = except;
	}
}

static void random_peer(struct policy_peer *peer, struct random *r)
{
	if (random_chance(r, 35)) {
		random_block(peer, r);
		return;
	}
	peer->has_namespaces = random_chance(r, 50);
	peer->has_pods = !peer->has_namespaces || random_chance(r, 60);
	if (peer->has_namespaces)
		random_selector(&peer->namespaces, r);
	if (peer->has_pods)
		random_selector(&peer->pods, r);
}

static void random_port(struct policy_port *port, struct random *r)
{
	port->protocol = random_chance(r, 60) ? IPPROTO_TCP : PICK(r, protocols);
	if (random_chance(r, 15)) {
		port->all = true;
		return;
	}
	if (random_chance(r, 30)) {
		str_copy(port->name, sizeof(port->name), PICK(r, port_names));
		return;
	}
	port->first = port->last = PICK(r, cluster_ports);
	if (random_chance(r, 30)) {
		uint16_t other = PICK(r, cluster_ports);

		port->first = other < port->first ? other : port->first;
		port->last = other > port->last ? other : port->last;
	}
}

static void random_rule(struct policy_rule *rule, struct random *r)
{
	size_t peers = random_chance(r, 15) ? 0 : 1 + random_below(r, 3);
	size_t ports = random_chance(r, 25) ? 0 : 1 + random_below(r, 3);

	rule->peers = calloc(peers + 1, sizeof(*rule->peers));
	for (; rule->peer_count < peers; rule->peer_count++)
		random_peer(&rule->peers[rule->peer_count], r);
	rule->ports = calloc(ports + 1, sizeof(*rule->ports));
	for (; rule->port_count < ports; rule->port_count++)
		random_port(&rule->ports[rule->port_count], r);
}

/* --- objects --- */

static struct policy_object *random_policy(struct cluster *c, struct random *r)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	char name[32];

	snprintf(name, sizeof(name), "p%u", ++c->last_name);
	o->namespace = strdup(PICK(r, namespace_names));
	o->name = strdup(name);
	random_selector(&o->pods, r);
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		size_t rules = random_below(r, 3);

		o->isolates[d] = random_chance(r, 70);
		o->rules[d] = calloc(rules + 1, sizeof(*o->rules[d]));
		for (; o->rule_count[d] < rules; o->rule_count[d]++)
			random_rule(&o->rules[d][o->rule_count[d]], r);
	}
	if (random_chance(r, 3))
		o->invalid = strdup("made so");
	return o;
}

static void random_pod_ports(struct pod_object *o, struct random *r)
{
	o->ports = calloc(4, sizeof(*o->ports));
	o->port_count = random_below(r, 4);
	for (size_t i = 0; i < o->port_count; i++) {
		str_copy(o->ports[i].name, sizeof(o->ports[i].name), PICK(r, port_names));
		o->ports[i].protocol = random_chance(r, 70) ? IPPROTO_TCP : PICK(r, protocols);
		o->ports[i].port = PICK(r, cluster_ports);
	}
	o->port_count = named_ports_sort(o->ports, o->port_count);
}

static struct cluster_pod random_pod(struct cluster *c, struct random *r)
{
	struct pod_object *o = calloc(1, sizeof(*o));
	struct cluster_pod pod = { .object = o,
				   .kind = random_chance(r, 60) ? POD_LOCAL : POD_REMOTE,
				   .ifindex = ++c->last_ifindex };
	char text[64];

	snprintf(text, sizeof(text), "pod%u", ++c->last_name);
	o->namespace = strdup(PICK(r, namespace_names));
	o->name = strdup(text);
	snprintf(text, sizeof(text), "uid%u", c->last_name);
	o->uid = strdup(random_chance(r, 50) ? text : "");
	random_labels(&o->labels, r);
	random_pod_ports(o, r);
	snprintf(text, sizeof(text), "10.0.0.%u", random_below(r, 16));
	ip_parse(text, &o->ips[0]);
	snprintf(text, sizeof(text), "fd00::%x", random_below(r, 16));
	if (random_chance(r, 60))
		ip_parse(text, &o->ips[1]);
	o->host_network = random_chance(r, 4);
	o->completed = random_chance(r, 4);
	if (random_chance(r, 6))
		pod.kind = POD_OWN;
	else if (random_chance(r, 3))
		pod.kind = POD_REPLACED;
	return pod;
}

static struct namespace_object *random_namespace(const char *name, struct random *r)
{
	struct namespace_object *o = calloc(1, sizeof(*o));

	o->name = strdup(name);
	random_labels(&o->labels, r);
	return o;
}

void cluster_random(struct cluster *c, struct random *r)
{
	size_t pods = 1 + random_below(r, 7), policies = random_below(r, 6);

	*c = (struct cluster){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(namespace_names); i++) {
		if (random_chance(r, 85))
			c->namespaces[c->namespace_count++] = random_namespace(namespace_names[i], r);
	}
	while (c->pod_count < pods)
		c->pods[c->pod_count++] = random_pod(c, r);
	while (c->policy_count < policies)
		c->policies[c->policy_count++] = random_policy(c, r);
}

void cluster_free(struct cluster *c)
{
	for (size_t i = 0; i < c->namespace_count; i++)
		namespace_object_free(c->namespaces[i]);
	for (size_t i = 0; i < c->pod_count; i++)
		pod_object_free(c->pods[i].object);
	for (size_t i = 0; i < c->policy_count; i++)
		policy_object_free(c->policies[i]);
	*c = (struct cluster){ 0 };
}

/* --- edits --- */

static const char *edit_namespace(struct cluster *c, struct random *r)
{
	const char *name = PICK(r, namespace_names);

	for (size_t i = 0; i < c->namespace_count; i++) {
		if (strcmp(c->namespaces[i]->name, name) != 0)
			continue;
		namespace_object_free(c->namespaces[i]);
		if (random_chance(r, 20)) {
			c->namespaces[i] = c->namespaces[--c->namespace_count];
			return "namespace removed";
		}
		c->namespaces[i] = random_namespace(name, r);
		return "namespace relabelled";
	}
	c->namespaces[c->namespace_count++] = random_namespace(name, r);
	return "namespace added";
}

static const char *edit_pod(struct cluster *c, struct random *r)
{
	struct cluster_pod *pod = &c->pods[random_below(r, (uint32_t)c->pod_count)];

	switch (random_below(r, 5)) {
	case 0:
		pod_object_free(pod->object);
		*pod = c->pods[--c->pod_count];
		return "pod removed";
	case 1:
		pod->kind = (enum pod_kind)random_below(r, 3);
		pod->ifindex = ++c->last_ifindex;
		return "endpoint of a pod added or removed";
	case 2:
		free(pod->object->ports);
		random_pod_ports(pod->object, r);
		return "ports of a pod changed";
	case 3:
		pod->object->completed = !pod->object->completed;
		return "pod completed, or begun again";
	default:
		labels_free(&pod->object->labels);
		random_labels(&pod->object->labels, r);
		return "pod relabelled";
	}
}

static const char *edit_policy(struct cluster *c, struct random *r)
{
	size_t i = random_below(r, (uint32_t)c->policy_count);
	struct policy_object *old = c->policies[i], *new;

	if (random_chance(r, 40)) {
		policy_object_free(old);
		c->policies[i] = c->policies[--c->policy_count];
		return "policy removed";
	}
	if (random_chance(r, 30)) {
		selector_free(&old->pods);
		random_selector(&old->pods, r);
		return "pod selector of a policy changed";
	}
	new = random_policy(c, r);
	if (random_chance(r, 70)) {
		struct selector pods = old->pods;

		old->pods = new->pods;
		new->pods = pods;
	}
	free(new->name);
	free(new->namespace);
	new->name = strdup(old->name);
	new->namespace = strdup(old->namespace);
	policy_object_free(old);
	c->policies[i] = new;
	return "policy replaced";
}

const char *cluster_edit(struct cluster *c, struct random *r)
{
	switch (random_below(r, 6)) {
	case 0:
		return edit_namespace(c, r);
	case 1:
		if (c->pod_count == CLUSTER_MAX)
			return edit_pod(c, r);
		c->pods[c->pod_count++] = random_pod(c, r);
		return "pod added";
	case 2:
	case 3:
		return c->pod_count ? edit_pod(c, r) : "nothing";
	case 4:
		if (c->policy_count < CLUSTER_MAX) {
			c->policies[c->policy_count++] = random_policy(c, r);
			return "policy added";
		}
		return edit_policy(c, r);
	default:
		return c->policy_count ? edit_policy(c, r) : "nothing";
	}
}
