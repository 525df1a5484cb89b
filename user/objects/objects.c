/* SPDX-License-Identifier: BSD-2-Clause */
#include "objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

void labels_free(struct labels *labels)
{
	if (!labels)
		return;
	for (size_t i = 0; i < labels->count; i++) {
		free(labels->v[i].key);
		free(labels->v[i].value);
	}
	free(labels->v);
	*labels = (struct labels){ 0 };
}

static void requirement_free(void *p)
{
	struct requirement *r = p;

	for (size_t i = 0; i < r->value_count; i++)
		free(r->values[i]);
	free(r->values);
	free(r->key);
}

void selector_free(struct selector *selector)
{
	if (!selector)
		return;
	for (size_t i = 0; i < selector->count; i++)
		requirement_free(&selector->v[i]);
	free(selector->v);
	*selector = (struct selector){ 0 };
}

void namespace_object_free(struct namespace_object *object)
{
	if (!object)
		return;
	labels_free(&object->labels);
	free(object->name);
	free(object);
}

void pod_object_free(struct pod_object *object)
{
	if (!object)
		return;
	labels_free(&object->labels);
	free(object->ports);
	free(object->namespace);
	free(object->name);
	free(object->uid);
	free(object->node);
	free(object);
}

static void rule_free(struct policy_rule *rule)
{
	for (size_t i = 0; i < rule->peer_count; i++) {
		free(rule->peers[i].except);
		selector_free(&rule->peers[i].namespaces);
		selector_free(&rule->peers[i].pods);
	}
	free(rule->peers);
	free(rule->ports);
}

void node_object_free(struct node_object *object)
{
	if (!object)
		return;
	free(object->name);
	free(object->zone);
	free(object);
}

void service_object_free(struct service_object *object)
{
	if (!object)
		return;
	if (!object->packed) {
		for (size_t i = 0; i < object->port_count; i++)
			free(object->ports[i].name);
		free(object->ports);
		free(object->source_ranges);
		free(object->external_ips);
		free(object->balancer_ips);
		free(object->namespace);
		free(object->name);
	}
	free(object);
}

/* Copies an array to *end, and moves it on. */
static void *pack(char **end, const void *v, size_t bytes)
{
	char *at = *end;

	if (bytes)
		memcpy(at, v, bytes);
	*end += bytes;
	return at;
}

static char *pack_text(char **end, const char *text)
{
	return pack(end, text, strlen(text) + 1);
}

struct service_object *service_object_pack(struct service_object *object)
{
	const size_t ports = object->port_count * sizeof(*object->ports);
	const size_t ranges = object->source_range_count * sizeof(*object->source_ranges);
	const size_t external = object->external_ip_count * sizeof(*object->external_ips);
	const size_t balancer = object->balancer_ip_count * sizeof(*object->balancer_ips);
	size_t text = strlen(object->namespace) + strlen(object->name) + 2;
	struct service_object *packed;
	char *end;

	for (size_t i = 0; i < object->port_count; i++)
		text += strlen(object->ports[i].name) + 1;
	packed = object->packed ? NULL : malloc(sizeof(*packed) + ports + ranges + external + balancer + text);
	if (!packed)
		return object;
	*packed = *object;
	packed->packed = true;
	end = (char *)(packed + 1);
	packed->ports = pack(&end, object->ports, ports); /* first: no other element needs alignment */
	packed->source_ranges = pack(&end, object->source_ranges, ranges);
	packed->external_ips = pack(&end, object->external_ips, external);
	packed->balancer_ips = pack(&end, object->balancer_ips, balancer);
	for (size_t i = 0; i < packed->port_count; i++)
		packed->ports[i].name = pack_text(&end, object->ports[i].name);
	packed->namespace = pack_text(&end, object->namespace);
	packed->name = pack_text(&end, object->name);
	service_object_free(object);
	return packed;
}

static void endpoint_free(struct slice_endpoint *ep)
{
	free(ep->node);
	free(ep->for_nodes);
	free(ep->for_zones);
}

void slice_object_free(struct slice_object *object)
{
	if (!object)
		return;
	for (size_t i = 0; i < object->endpoint_count; i++)
		endpoint_free(&object->endpoints[i]);
	for (size_t i = 0; i < object->port_count; i++)
		free(object->ports[i].name);
	free(object->endpoints);
	free(object->ports);
	free(object->namespace);
	free(object->name);
	free(object->service);
	free(object);
}

void service_cidr_object_free(struct service_cidr_object *object)
{
	if (!object)
		return;
	free(object->name);
	free(object);
}

void policy_object_free(struct policy_object *object)
{
	if (!object)
		return;
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		for (size_t i = 0; i < object->rule_count[d]; i++)
			rule_free(&object->rules[d][i]);
		free(object->rules[d]);
	}
	selector_free(&object->pods);
	free(object->namespace);
	free(object->name);
	free(object->invalid);
	free(object);
}

void object_free(struct object *o)
{
	switch (o->kind) {
	case OBJECT_NONE:
		break;
	case OBJECT_NAMESPACE:
		namespace_object_free(o->namespace);
		break;
	case OBJECT_POD:
		pod_object_free(o->pod);
		break;
	case OBJECT_POLICY:
		policy_object_free(o->policy);
		break;
	case OBJECT_NODE:
		node_object_free(o->node);
		break;
	case OBJECT_SERVICE:
		service_object_free(o->service);
		break;
	case OBJECT_SLICE:
		slice_object_free(o->slice);
		break;
	case OBJECT_SERVICE_CIDR:
		service_cidr_object_free(o->service_cidr);
		break;
	}
	*o = (struct object){ 0 };
}

const char *object_kind_name(enum object_kind kind)
{
	static const char *const names[] = { [OBJECT_NONE] = "nothing",
					     [OBJECT_NAMESPACE] = "Namespace",
					     [OBJECT_POD] = "Pod",
					     [OBJECT_POLICY] = "NetworkPolicy",
					     [OBJECT_NODE] = "Node",
					     [OBJECT_SERVICE] = "Service",
					     [OBJECT_SLICE] = "EndpointSlice",
					     [OBJECT_SERVICE_CIDR] = "ServiceCIDR" };

	return names[kind];
}

void object_names(const struct object *o, const char **namespace, const char **name)
{
	*namespace = *name = "";
	if (o->kind == OBJECT_NAMESPACE) {
		*name = o->namespace->name;
	} else if (o->kind == OBJECT_POD) {
		*namespace = o->pod->namespace;
		*name = o->pod->name;
	} else if (o->kind == OBJECT_POLICY) {
		*namespace = o->policy->namespace;
		*name = o->policy->name;
	} else if (o->kind == OBJECT_NODE) {
		*name = o->node->name;
	} else if (o->kind == OBJECT_SERVICE) {
		*namespace = o->service->namespace;
		*name = o->service->name;
	} else if (o->kind == OBJECT_SLICE) {
		*namespace = o->slice->namespace;
		*name = o->slice->name;
	} else if (o->kind == OBJECT_SERVICE_CIDR) {
		*name = o->service_cidr->name;
	}
}

/* --- copies --- */

static int requirement_copy(struct requirement *to, const struct requirement *from)
{
	to->op = from->op;
	to->key = strdup(from->key);
	to->values = calloc(from->value_count ? from->value_count : 1, sizeof(*to->values));
	if (!to->key || !to->values)
		return -ENOMEM;
	for (size_t i = 0; i < from->value_count; i++) {
		to->values[i] = strdup(from->values[i]);
		if (!to->values[i])
			return -ENOMEM;
		to->value_count++;
	}
	return 0;
}

int selector_copy(struct selector *to, const struct selector *from)
{
	*to = (struct selector){ 0 };
	if (!from->count)
		return 0;
	to->v = calloc(from->count, sizeof(*to->v));
	if (!to->v)
		return -ENOMEM;
	for (size_t i = 0; i < from->count; i++) {
		to->count++; /* before it is filled, so that selector_free() frees a partial copy */
		if (requirement_copy(&to->v[i], &from->v[i]) < 0) {
			selector_free(to);
			return -ENOMEM;
		}
	}
	return 0;
}

/* --- matching --- */

static int label_cmp(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

const char *labels_get(const struct labels *labels, const char *key)
{
	struct label label = { .key = (char *)key };
	const struct label *found =
		labels->count ? bsearch(&label, labels->v, labels->count, sizeof(label), label_cmp) : NULL;

	return found ? found->value : NULL;
}

static int value_cmp(const void *key, const void *element)
{
	return strcmp(key, *(char *const *)element);
}

static bool requirement_has(const struct requirement *r, const char *value)
{
	return r->value_count && bsearch(value, r->values, r->value_count, sizeof(*r->values), value_cmp);
}

static bool requirement_matches(const struct requirement *r, const struct labels *labels)
{
	const char *value = labels_get(labels, r->key);

	switch (r->op) {
	case REQUIRE_IN:
		return value && requirement_has(r, value);
	case REQUIRE_NOT_IN:
		return !value || !requirement_has(r, value);
	case REQUIRE_EXISTS:
		return value;
	case REQUIRE_NOT_EXISTS:
		return !value;
	}
	return false;
}

bool selector_matches(const struct selector *selector, const struct labels *labels)
{
	for (size_t i = 0; i < selector->count; i++) {
		if (!requirement_matches(&selector->v[i], labels))
			return false;
	}
	return true;
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->v[i].key, b->v[i].key) != 0 || strcmp(a->v[i].value, b->v[i].value) != 0)
			return false;
	}
	return true;
}

/* --- as text --- */

static void print_requirement(FILE *f, const struct requirement *r)
{
	bool one = r->op == REQUIRE_IN && r->value_count == 1;

	if (r->op == REQUIRE_NOT_EXISTS)
		fputc('!', f);
	fputs(r->key, f);
	if (one)
		fprintf(f, "=%s", r->values[0]);
	if (one || r->op == REQUIRE_EXISTS || r->op == REQUIRE_NOT_EXISTS)
		return;
	fputs(r->op == REQUIRE_IN ? " in (" : " notin (", f);
	for (size_t i = 0; i < r->value_count; i++)
		fprintf(f, "%s%s", i ? "," : "", r->values[i]);
	fputc(')', f);
}

void selector_print(FILE *f, const struct selector *selector)
{
	if (!selector->count)
		fputc('*', f);
	for (size_t i = 0; i < selector->count; i++) {
		if (i)
			fputc(',', f);
		print_requirement(f, &selector->v[i]);
	}
}

/* --- order --- */

int labels_sort(struct labels *labels)
{
	if (labels->count)
		qsort(labels->v, labels->count, sizeof(*labels->v), label_cmp);
	for (size_t i = 1; i < labels->count; i++) {
		if (strcmp(labels->v[i - 1].key, labels->v[i].key) == 0)
			return -EEXIST;
	}
	return 0;
}

static int endpoint_cmp(const void *pa, const void *pb)
{
	const struct slice_endpoint *a = pa, *b = pb;
	int c = ip_cmp(&a->address, &b->address);

	if (c == 0)
		c = (b->ready << 2 | b->serving << 1 | b->terminating) -
		    (a->ready << 2 | a->serving << 1 | a->terminating);
	return c ? c : strcmp(a->node, b->node);
}

void slice_sort(struct slice_object *object)
{
	if (object->endpoint_count)
		qsort(object->endpoints, object->endpoint_count, sizeof(*object->endpoints), endpoint_cmp);
}

static int string_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int requirement_cmp(const void *pa, const void *pb)
{
	const struct requirement *a = pa, *b = pb;
	int c = strcmp(a->key, b->key);

	if (c == 0)
		c = (int)a->op - (int)b->op;
	for (size_t i = 0; c == 0 && i < a->value_count && i < b->value_count; i++)
		c = strcmp(a->values[i], b->values[i]);
	return c ? c : (a->value_count > b->value_count) - (a->value_count < b->value_count);
}

void selector_sort(struct selector *selector)
{
	for (size_t i = 0; i < selector->count; i++) {
		struct requirement *r = &selector->v[i];

		r->value_count = array_sort_unique(r->values, r->value_count, sizeof(*r->values), string_cmp, freep);
	}
	selector->count = array_sort_unique(selector->v, selector->count, sizeof(*selector->v), requirement_cmp,
					    requirement_free);
}

int named_port_cmp(const void *pa, const void *pb)
{
	const struct named_port *a = pa, *b = pb;
	int c = strcmp(a->name, b->name);

	if (c == 0)
		c = a->protocol - b->protocol;
	return c ? c : a->port - b->port;
}

size_t named_ports_sort(struct named_port *ports, size_t count)
{
	return array_sort_unique(ports, count, sizeof(*ports), named_port_cmp, NULL);
}
