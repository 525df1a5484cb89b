/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * networking.k8s.io/v1 NetworkPolicy: the API server's defaulting and validation (kubernetes, pkg/apis/networking). One
 * check is stricter: an unknown field is an error, not ignored, because a rule with "form" instead of "from" would
 * allow every peer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "kinds.h"
#include "str.h"
#include "object_names.h"

/* --- selectors --- */

static int strings_read(const struct field *list, struct requirement *r)
{
	int ret = array_make(list, &r->values, field_count(list), sizeof(*r->values));

	for (size_t i = 0; ret == 0 && i < field_count(list); i++) {
		struct field element;
		const char *value;

		ret = field_string_at(list, i, &element, &value);
		if (ret == 0 && !name_is_label_value(value))
			ret = field_error(&element, NULL, "\"%s\": a label's value " NAME_LABEL_VALUE, value);
		if (ret < 0)
			break;
		r->values[i] = strdup(value);
		if (!r->values[i])
			return out_of_memory(list);
		r->value_count++;
	}
	return ret;
}

static int operator_read(const struct field *f, struct requirement *r)
{
	static const char *const names[] = { [REQUIRE_IN] = "In",
					     [REQUIRE_NOT_IN] = "NotIn",
					     [REQUIRE_EXISTS] = "Exists",
					     [REQUIRE_NOT_EXISTS] = "DoesNotExist" };
	size_t op;
	int ret = field_one_of(f, "operator", true, names, ARRAY_SIZE(names), &op);

	if (ret == 0)
		r->op = (enum requirement_op)op;
	return ret;
}

static int expression_read(const struct field *f, void *arg)
{
	static const char *const members[] = { "key", "operator", "values", NULL };
	struct selector *selector = arg;
	struct requirement *r = &selector->v[selector->count++];
	struct field values;
	const char *key;
	bool takes_values;
	int ret;

	if (field_check_members(f, members) < 0 || field_string(f, "key", &key) < 0 || operator_read(f, r) < 0 ||
	    field_array(f, "values", &values) < 0)
		return -EINVAL;
	if (!key || !name_is_label_key(key))
		return field_error(f, "key", "\"%s\" " NAME_LABEL_KEY, key ? key : "");
	takes_values = r->op == REQUIRE_IN || r->op == REQUIRE_NOT_IN;
	if (takes_values && !field_count(&values))
		return field_error(f, "values", "required with In and NotIn");
	if (!takes_values && field_count(&values))
		return field_error(f, "values", "not allowed with Exists and DoesNotExist");
	ret = strings_read(&values, r);
	if (ret < 0)
		return ret;
	r->key = strdup(key);
	return r->key ? 0 : out_of_memory(f);
}

/* Each of matchLabels becomes a requirement of one value. */
static int match_labels_read(const struct field *map, struct selector *selector)
{
	struct labels labels;
	int ret = labels_read(map, &labels);

	for (size_t i = 0; ret == 0 && i < labels.count; i++) {
		struct requirement *r = &selector->v[selector->count++];

		r->op = REQUIRE_IN;
		r->key = take_ptr(labels.v[i].key);
		ret = array_make(map, &r->values, 1, sizeof(*r->values));
		if (ret == 0)
			r->values[r->value_count++] = take_ptr(labels.v[i].value);
	}
	labels_free(&labels);
	return ret;
}

static int selector_fill(const struct field *labels, const struct field *expressions, struct selector *selector)
{
	int ret = array_make(labels, &selector->v, json_object_size(labels->json) + field_count(expressions),
			     sizeof(*selector->v));

	return ret ?: match_labels_read(labels, selector) ?: field_each(expressions, expression_read, selector);
}

/* On failure the selector is empty. */
static int selector_read(const struct field *f, struct selector *selector)
{
	static const char *const members[] = { "matchLabels", "matchExpressions", NULL };
	struct field labels, expressions;
	int ret;

	if (field_check_members(f, members) < 0 || field_object(f, "matchLabels", &labels) < 0 ||
	    field_array(f, "matchExpressions", &expressions) < 0)
		return -EINVAL;
	ret = selector_fill(&labels, &expressions, selector);
	if (ret < 0)
		selector_free(selector);
	else
		selector_sort(selector);
	return ret;
}

/* --- peers --- */

#define NOT_A_CIDR "\"%s\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)"

/* An IPv4 block in an IPv6 address (::ffff:10.0.0.0/104) is refused, because no packet has such an address. */
static int block_parse(const char *text, struct prefix *prefix)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (prefix_parse(text, prefix) < 0)
		return -EINVAL;
	if (ip_bytes(&prefix->ip) == 16 && memcmp(prefix->ip.bytes, mapped, sizeof(mapped)) == 0)
		return -EINVAL;
	prefix->ip = prefix_first(prefix); /* host bits are masked, as by older API servers; newer ones refuse them */
	return 0;
}

static int except_read(const struct field *list, size_t index, struct policy_peer *peer)
{
	struct prefix *except = &peer->except[index];
	struct field element;
	const char *text;

	if (field_string_at(list, index, &element, &text) < 0)
		return -EINVAL;
	if (block_parse(text, except) < 0)
		return field_error(&element, NULL, NOT_A_CIDR, text);
	if (except->len <= peer->block.len || !prefix_contains(&peer->block, &except->ip))
		return field_error(&element, NULL, "\"%s\" is not a proper subset of cidr", text);
	peer->except_count++;
	return 0;
}

static int block_read(const struct field *f, struct policy_peer *peer)
{
	static const char *const members[] = { "cidr", "except", NULL };
	struct field list;
	const char *text;
	int ret;

	if (field_check_members(f, members) < 0 || field_string(f, "cidr", &text) < 0 ||
	    field_array(f, "except", &list) < 0)
		return -EINVAL;
	if (!text || !*text)
		return field_error(f, "cidr", "required");
	if (block_parse(text, &peer->block) < 0)
		return field_error(f, "cidr", NOT_A_CIDR, text);
	peer->is_block = true;
	ret = array_make(&list, &peer->except, field_count(&list), sizeof(*peer->except));
	for (size_t i = 0; ret == 0 && i < field_count(&list); i++)
		ret = except_read(&list, i, peer);
	return ret;
}

static int peer_read(const struct field *f, void *arg)
{
	static const char *const members[] = { "podSelector", "namespaceSelector", "ipBlock", NULL };
	struct policy_rule *rule = arg;
	struct policy_peer *peer = &rule->peers[rule->peer_count++];
	struct field pods, namespaces, block;
	int ret = 0;

	if (field_check_members(f, members) < 0 || field_object(f, "podSelector", &pods) < 0 ||
	    field_object(f, "namespaceSelector", &namespaces) < 0 || field_object(f, "ipBlock", &block) < 0)
		return -EINVAL;
	peer->has_pods = pods.json;
	peer->has_namespaces = namespaces.json;
	if (!pods.json && !namespaces.json && !block.json)
		return field_error(f, NULL, "must have a podSelector, a namespaceSelector or an ipBlock");
	if (block.json && (pods.json || namespaces.json))
		return field_error(f, NULL, "ipBlock excludes podSelector and namespaceSelector");
	if (block.json)
		return block_read(&block, peer);
	if (pods.json)
		ret = selector_read(&pods, &peer->pods);
	if (ret == 0 && namespaces.json)
		ret = selector_read(&namespaces, &peer->namespaces);
	return ret;
}

/* --- ports --- */

static int port_name_read(const struct field *f, const char *name, struct policy_port *port)
{
	if (!name_is_port(name))
		return field_error(f, "port", "\"%s\": a port's name " NAME_PORT, name);
	if (field_json(f, "endPort"))
		return field_error(f, "endPort", "not allowed with a named port");
	str_copy(port->name, sizeof(port->name), name);
	return 0;
}

static int rule_port_read(const struct field *f, void *arg)
{
	static const char *const members[] = { "protocol", "port", "endPort", NULL };
	struct policy_rule *rule = arg;
	struct policy_port *port = &rule->ports[rule->port_count++];
	const json_t *number = field_json(f, "port");
	int ret;

	if (field_check_members(f, members) < 0 || protocol_read(f, &port->protocol) < 0)
		return -EINVAL;
	port->all = !number;
	if (!number)
		return field_json(f, "endPort") ? field_error(f, "endPort", "not allowed without port") : 0;
	if (json_is_string(number))
		return port_name_read(f, json_string_value(number), port);
	if (!json_is_integer(number))
		return field_error(f, "port", "must be an integer or a name");
	ret = port_read(f, "port", &port->first);
	if (ret < 0)
		return ret;
	ret = port_read(f, "endPort", &port->last);
	if (ret == -ENOENT)
		port->last = port->first;
	else if (ret < 0)
		return ret;
	return port->last < port->first
		   ? field_error(f, "endPort", "%u is below port %u", port->last, port->first)
		   : 0;
}

/* --- rules --- */

/* The rules of one direction. */
struct direction {
	const char *peers_key; /* "from" or "to" */
	struct policy_rule *rules;
	size_t *count;
};

static int rule_read(const struct field *f, void *arg)
{
	const struct direction *d = arg;
	const char *const members[] = { "ports", d->peers_key, NULL };
	struct policy_rule *rule = &d->rules[(*d->count)++];

	return field_check_members(f, members) ?:
	       array_read(f, "ports", &rule->ports, sizeof(*rule->ports), rule_port_read, rule) ?:
	       array_read(f, d->peers_key, &rule->peers, sizeof(*rule->peers), peer_read, rule);
}

static int rules_read(const struct field *list, const char *peers_key, struct policy_object *p, int direction)
{
	struct direction d = { .peers_key = peers_key, .count = &p->rule_count[direction] };
	int ret = array_make(list, &p->rules[direction], field_count(list), sizeof(*p->rules[direction]));

	d.rules = p->rules[direction];
	return ret ?: field_each(list, rule_read, &d);
}

static int types_read(const struct field *list, bool egress_rules, struct policy_object *p)
{
	if (!field_count(list)) {
		p->isolates[POLICY_INGRESS] = true;
		p->isolates[POLICY_EGRESS] = egress_rules;
		return 0;
	}
	if (field_count(list) > 2)
		return field_error(list, NULL, "at most two");
	for (size_t i = 0; i < field_count(list); i++) {
		struct field element;
		const char *type;

		if (field_string_at(list, i, &element, &type) < 0)
			return -EINVAL;
		if (strcmp(type, "Ingress") == 0)
			p->isolates[POLICY_INGRESS] = true;
		else if (strcmp(type, "Egress") == 0)
			p->isolates[POLICY_EGRESS] = true;
		else
			return field_error(&element, NULL, "\"%s\" must be Ingress or Egress", type);
	}
	return 0;
}

/* --- the object --- */

static void policy_freep(struct policy_object **p)
{
	policy_object_free(*p);
}

static int spec_read(const struct field *spec, struct policy_object *p)
{
	static const char *const members[] = { "podSelector", "policyTypes", "ingress", "egress", NULL };
	/* Rules of a direction that is not in policyTypes must be valid, but have no effect. */
	_cleanup_(policy_freep) struct policy_object *unused = calloc(1, sizeof(*unused));
	struct field ingress, egress, types;

	if (!unused)
		return out_of_memory(spec);
	if (field_check_members(spec, members) < 0 || field_array(spec, "ingress", &ingress) < 0 ||
	    field_array(spec, "egress", &egress) < 0 || field_array(spec, "policyTypes", &types) < 0 ||
	    types_read(&types, field_count(&egress), p) < 0)
		return -EINVAL;
	return rules_read(&ingress, "from", p->isolates[POLICY_INGRESS] ? p : unused, POLICY_INGRESS) ?:
	       rules_read(&egress, "to", p->isolates[POLICY_EGRESS] ? p : unused, POLICY_EGRESS);
}

static int policy_fill(const struct field *document, const struct metadata *m, struct policy_object *p)
{
	static const char *const members[] = { "apiVersion", "kind", "metadata", "spec", "status", NULL };
	struct field spec, pods;

	/* podSelector comes first: an invalid policy isolates the pods that it selects. */
	return field_object(document, "spec", &spec) ?: field_object(&spec, "podSelector", &pods) ?: selector_read(&pods, &p->pods) ?:
	       field_check_members(document, members) ?: metadata_check(document, m, NULL) ?: spec_read(&spec, p);
}

/* Replaces the policy by one that isolates the selected pods and allows nothing. */
static int make_invalid(const struct field *document, struct policy_object **p)
{
	struct policy_object *read = *p, *invalid = calloc(1, sizeof(*invalid));

	if (!invalid)
		return out_of_memory(document);
	invalid->namespace = take_ptr(read->namespace);
	invalid->name = take_ptr(read->name);
	invalid->pods = read->pods;
	read->pods = (struct selector){ 0 };
	policy_object_free(read);
	*p = invalid;
	for (int d = 0; d < POLICY_DIRECTIONS; d++)
		invalid->isolates[d] = true;
	invalid->invalid = strdup(document->err->msg);
	return invalid->invalid ? 0 : out_of_memory(document);
}

/* Namespace and name are valid enough: pods can be in the namespace, and the name fits into a rule's text. */
static int identifiable(const struct metadata *m)
{
	if (!name_is_dns_label(m->namespace))
		return field_error(&m->field, "namespace", "\"%s\" " NAME_DNS_LABEL, m->namespace);
	for (const char *c = m->name; *c; c++) {
		if (*c <= ' ' || *c > '~' || *c == '/' || c - m->name == 253)
			return field_error(&m->field, "name", "\"%s\" " NAME_DNS_SUBDOMAIN, m->name);
	}
	return 0;
}

int network_policy_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct policy_object *p = o->policy;
	int ret = identifiable(m) ?: names_copy(m, &p->namespace, &p->name);

	if (ret < 0)
		return ret;
	ret = policy_fill(document, m, p);
	return ret == -EINVAL ? make_invalid(document, &o->policy) : ret;
}
