/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text: decoded objects are as specified in objects.h; errors are printable. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "decode.h"
#include "documents.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void must_be_reason(const char *text)
{
	must(*text);
	for (; *text; text++)
		must(*text >= ' ' && *text <= '~');
}

static void must_be_text(const char *text, size_t max)
{
	size_t len = strlen(text);

	must(len <= max);
	for (size_t i = 0; i < len; i++)
		must(text[i] > ' ' && text[i] <= '~');
}

static void check_labels(const struct labels *labels)
{
	for (size_t i = 0; i < labels->count; i++) {
		must_be_text(labels->v[i].key, 253 + 1 + 63);
		must_be_text(labels->v[i].value, 63);
		must(*labels->v[i].key && (!i || strcmp(labels->v[i - 1].key, labels->v[i].key) < 0));
	}
}

static int compare(const struct requirement *a, const struct requirement *b)
{
	int c = strcmp(a->key, b->key);

	if (c == 0)
		c = (int)a->op - (int)b->op;
	for (size_t i = 0; c == 0 && i < a->value_count && i < b->value_count; i++)
		c = strcmp(a->values[i], b->values[i]);
	return c ? c : (a->value_count > b->value_count) - (a->value_count < b->value_count);
}

static void check_selector(const struct selector *selector)
{
	for (size_t i = 0; i < selector->count; i++) {
		const struct requirement *r = &selector->v[i];

		must_be_text(r->key, 253 + 1 + 63);
		must(r->op >= REQUIRE_IN && r->op <= REQUIRE_NOT_EXISTS);
		must((r->value_count > 0) == (r->op == REQUIRE_IN || r->op == REQUIRE_NOT_IN));
		must(!i || compare(&selector->v[i - 1], r) < 0);
		for (size_t v = 0; v < r->value_count; v++) {
			must_be_text(r->values[v], 63);
			must(!v || strcmp(r->values[v - 1], r->values[v]) < 0);
		}
	}
}

static void check_protocol(uint8_t protocol)
{
	must(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP);
}

static void check_pod(const struct pod_object *pod)
{
	check_labels(&pod->labels);
	must_be_text(pod->node, 253);
	for (size_t i = 0; i < pod->port_count; i++) {
		const struct named_port *p = &pod->ports[i], *before = i ? p - 1 : NULL;
		int c = before ? strcmp(before->name, p->name) : -1;

		must(p->name[0] && memchr(p->name, '\0', sizeof(p->name)) && p->port);
		check_protocol(p->protocol);
		must(c < 0 || (c == 0 && (before->protocol < p->protocol ||
					  (before->protocol == p->protocol && before->port < p->port))));
	}
	must(pod->ips[0].family != pod->ips[1].family || !pod->ips[0].family);
	must(pod->ips[0].family || !pod->ips[1].family);
}

static void check_prefix(const struct prefix *p)
{
	struct ip first = prefix_first(p);

	must(p->ip.family == AF_INET || p->ip.family == AF_INET6);
	must(p->len <= ip_bits(&p->ip) && ip_equal(&first, &p->ip));
}

static void check_peer(const struct policy_peer *peer)
{
	must(peer->is_block != (peer->has_namespaces || peer->has_pods));
	check_selector(&peer->namespaces);
	check_selector(&peer->pods);
	must(peer->has_pods || !peer->pods.count);
	must(peer->has_namespaces || !peer->namespaces.count);
	must(peer->is_block || !peer->except_count);
	if (!peer->is_block)
		return;
	check_prefix(&peer->block);
	for (size_t i = 0; i < peer->except_count; i++) {
		check_prefix(&peer->except[i]);
		must(peer->except[i].len > peer->block.len && prefix_contains(&peer->block, &peer->except[i].ip));
	}
}

static void check_rule(const struct policy_rule *rule)
{
	for (size_t i = 0; i < rule->peer_count; i++)
		check_peer(&rule->peers[i]);
	for (size_t i = 0; i < rule->port_count; i++) {
		const struct policy_port *p = &rule->ports[i];

		check_protocol(p->protocol);
		must(memchr(p->name, '\0', sizeof(p->name)) != NULL);
		if (p->all || p->name[0])
			must(!p->first && !p->last && !(p->all && p->name[0]));
		else
			must(p->first && p->first <= p->last);
	}
}

static void check_policy(const struct policy_object *p)
{
	check_selector(&p->pods);
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		must(p->isolates[d] || !p->rule_count[d]);
		must(!p->invalid || (p->isolates[d] && !p->rule_count[d]));
		for (size_t i = 0; i < p->rule_count[d]; i++)
			check_rule(&p->rules[d][i]);
	}
	must(p->isolates[POLICY_INGRESS] || p->isolates[POLICY_EGRESS]);
	if (p->invalid)
		must_be_reason(p->invalid);
}

static void check_node(const struct node_object *node)
{
	must(!node->cidrs[1].ip.family || node->cidrs[0].ip.family);
	must(!node->cidrs[0].ip.family || node->cidrs[0].ip.family != node->cidrs[1].ip.family);
	for (int i = 0; i < 2 && node->cidrs[i].ip.family; i++) {
		check_prefix(&node->cidrs[i]);
		must(node->cidrs[i].len);
	}
	must(node->address_count <= NODE_ADDRESSES);
	for (size_t i = 0; i < node->address_count; i++) {
		must(node->addresses[i].family == AF_INET || node->addresses[i].family == AF_INET6);
		for (size_t j = 0; j < i; j++)
			must(!ip_equal(&node->addresses[i], &node->addresses[j]));
	}
}

static void check_service(const struct service_object *s)
{
	must(s->type >= SERVICE_CLUSTER_IP && s->type <= SERVICE_EXTERNAL_NAME);
	must(!s->cluster_ips[1].family || s->cluster_ips[0].family);
	must(!s->cluster_ips[0].family || s->cluster_ips[0].family != s->cluster_ips[1].family);
	must(!s->cluster_ips[0].family || (s->port_count && s->type != SERVICE_EXTERNAL_NAME));
	must(s->affinity_seconds <= 86400);
	must(s->restricted || !s->source_range_count);
	for (size_t i = 0; i < s->source_range_count; i++) {
		check_prefix(&s->source_ranges[i]);
		must(!i || prefix_cmp(&s->source_ranges[i - 1], &s->source_ranges[i]) < 0);
	}
	for (size_t i = 0; i < s->port_count; i++) {
		const struct service_port *p = &s->ports[i];

		check_protocol(p->protocol);
		must_be_text(p->name, 63);
		must(p->port && (*p->name || s->port_count == 1));
		for (size_t j = 0; j < i; j++)
			must(strcmp(p->name, s->ports[j].name) != 0 &&
			     (p->protocol != s->ports[j].protocol || p->port != s->ports[j].port));
	}
}

static void check_slice(const struct slice_object *s)
{
	must_be_text(s->service, 63);
	for (size_t i = 0; i < s->endpoint_count; i++) {
		const struct slice_endpoint *ep = &s->endpoints[i];

		must(ep->address.family == AF_INET || ep->address.family == AF_INET6);
		must_be_text(ep->node, 253);
		must(!i || (ep[-1].address.family == ep->address.family && ip_cmp(&ep[-1].address, &ep->address) <= 0));
	}
	for (size_t i = 0; i < s->port_count; i++) {
		check_protocol(s->ports[i].protocol);
		must_be_text(s->ports[i].name, 63);
		for (size_t j = 0; j < i; j++)
			must(strcmp(s->ports[i].name, s->ports[j].name) != 0);
	}
}

static void check_service_cidr(const struct service_cidr_object *c)
{
	must(!c->cidrs[1].ip.family || (c->cidrs[0].ip.family && c->cidrs[0].ip.family != c->cidrs[1].ip.family));
	for (int i = 0; i < 2 && c->cidrs[i].ip.family; i++)
		check_prefix(&c->cidrs[i]);
}

static int check_object(void *arg, struct object *o)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = { 1 };
	const char *namespace, *name;

	object_names(o, &namespace, &name);
	must_be_text(namespace, 63);
	must_be_text(name, 253);
	must(*name && !strchr(name, '/'));
	must((*namespace != '\0') == (o->kind != OBJECT_NAMESPACE && o->kind != OBJECT_NODE && o->kind != OBJECT_SERVICE_CIDR));
	object_fingerprint(key, o);
	if (o->kind == OBJECT_NAMESPACE) {
		check_labels(&o->namespace->labels);
		must(strcmp(labels_get(&o->namespace->labels, "kubernetes.io/metadata.name"), name) == 0);
	} else if (o->kind == OBJECT_POD) {
		check_pod(o->pod);
	} else if (o->kind == OBJECT_NODE) {
		check_node(o->node);
	} else if (o->kind == OBJECT_SERVICE) {
		check_service(o->service);
	} else if (o->kind == OBJECT_SLICE) {
		check_slice(o->slice);
	} else if (o->kind == OBJECT_SERVICE_CIDR) {
		check_service_cidr(o->service_cidr);
	} else {
		must(o->kind == OBJECT_POLICY);
		check_policy(o->policy);
	}
	object_free(o);
	return 0;
}

static void check_problem(void *arg, const struct err *err)
{
	must_be_reason(err->msg);
}

static int check_document(json_t *document, int number, void *arg)
{
	return objects_decode(document, &(struct object_sink){ check_object, check_problem, NULL });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };

	if (documents_parse((const char *)data, size, "it", check_document, NULL, &err) < 0)
		must_be_reason(err.msg);
	return 0;
}
