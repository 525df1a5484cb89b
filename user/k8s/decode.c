/* SPDX-License-Identifier: BSD-2-Clause */
#include "decode.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "kinds.h"
#include "syntax.h"

#define NETWORKING_GROUP "networking.k8s.io"

static const struct kind kinds[] = {
	{ "Namespace", "NamespaceList", "", "v1", false, name_is_dns_label, NAME_DNS_LABEL, namespace_decode },
	{ "Pod", "PodList", "", "v1", true, name_is_dns_subdomain, NAME_DNS_SUBDOMAIN, pod_decode },
	{ "Node", "NodeList", "", "v1", false, name_is_dns_subdomain, NAME_DNS_SUBDOMAIN, node_decode },
	{ "NetworkPolicy", "NetworkPolicyList", NETWORKING_GROUP, "v1", true, name_is_dns_subdomain, NAME_DNS_SUBDOMAIN,
	  network_policy_decode },
};

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
	}
	*o = (struct object){ 0 };
}

int out_of_memory(const struct field *f)
{
	return err_errno(f->err, ENOMEM, "cannot decode an object");
}

int array_make(const struct field *f, void *array, size_t count, size_t size)
{
	void *made = count ? calloc(count, size) : NULL;

	memcpy(array, &made, sizeof(made));
	return count && !made ? out_of_memory(f) : 0;
}

/* --- what several kinds have --- */

static int label_read(const struct field *map, const char *key, struct label *label)
{
	const char *value;

	if (field_string(map, key, &value) < 0)
		return -EINVAL;
	/* null is the empty value, not an absent label: so the API decodes a map of strings. */
	value = value ? value : "";
	if (!name_is_label_key(key))
		return field_error(map, key, "a label's key " NAME_LABEL_KEY);
	if (!name_is_label_value(value))
		return field_error(map, key, "\"%s\": a label's value " NAME_LABEL_VALUE, value);
	label->key = strdup(key);
	label->value = strdup(value);
	return label->key && label->value ? 0 : out_of_memory(map);
}

int labels_read(const struct field *map, struct labels *labels)
{
	const char *key;
	json_t *value;
	int ret;

	*labels = (struct labels){ 0 };
	ret = array_make(map, &labels->v, json_object_size(map->json), sizeof(*labels->v));
	if (ret < 0)
		return ret;
	json_object_foreach((json_t *)map->json, key, value) {
		ret = label_read(map, key, &labels->v[labels->count++]);
		if (ret < 0) {
			labels_free(labels);
			return ret;
		}
	}
	return labels_sort(labels); /* the keys of a JSON object are unique */
}

int labels_decode(const json_t *json, struct labels *labels, struct err *err)
{
	const struct field map = { .json = json, .err = err };

	if (!json_is_object(json))
		return field_error(&map, NULL, "labels must be an object");
	return labels_read(&map, labels);
}

int protocol_read(const struct field *parent, uint8_t *protocol)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protocols[] = { { "TCP", IPPROTO_TCP }, { "UDP", IPPROTO_UDP }, { "SCTP", IPPROTO_SCTP } };
	const char *name;

	if (field_string(parent, "protocol", &name) < 0)
		return -EINVAL;
	*protocol = IPPROTO_TCP;
	for (size_t i = 0; name && i < ARRAY_SIZE(protocols); i++) {
		*protocol = protocols[i].number;
		if (strcmp(protocols[i].name, name) == 0)
			return 0;
	}
	return name ? field_error(parent, "protocol", "\"%s\" must be TCP, UDP or SCTP", name) : 0;
}

int port_read(const struct field *parent, const char *key, uint16_t *port)
{
	int64_t number;
	int ret = field_integer(parent, key, &number);

	if (ret < 0)
		return ret;
	if (number < 1 || number > 65535)
		return field_error(parent, key, "%lld must be from 1 to 65535", (long long)number);
	*port = (uint16_t)number;
	return 0;
}

int metadata_read(const struct field *document, const struct kind *kind, struct metadata *m)
{
	if (field_object(document, "metadata", &m->field) < 0 || field_string(&m->field, "name", &m->name) < 0 ||
	    field_string(&m->field, "namespace", &m->namespace) < 0)
		return -EINVAL;
	if (!m->name || !*m->name)
		return field_error(&m->field, "name", "required");
	if (!m->namespace || !*m->namespace)
		m->namespace = kind->namespaced ? "default" : "";
	return 0;
}

static int api_version_check(const struct field *document, const struct kind *kind)
{
	char served[64];
	const char *version;

	snprintf(served, sizeof(served), "%s%s%s", kind->group, *kind->group ? "/" : "", kind->version);
	if (field_string(document, "apiVersion", &version) < 0)
		return -EINVAL;
	if (version && strcmp(version, served) != 0) /* an element of a PodList need not have one */
		return field_error(document, "apiVersion", "\"%s\" is not served, %s is", version, served);
	return 0;
}

int metadata_check(const struct field *document, const struct kind *kind, const struct metadata *m,
		   struct labels *labels)
{
	struct labels unused = { 0 };
	struct field map;
	int ret = api_version_check(document, kind);

	if (ret < 0)
		return ret;
	if (!kind->name_valid(m->name))
		return field_error(&m->field, "name", "\"%s\" %s", m->name, kind->name_rule);
	if (kind->namespaced && !name_is_dns_label(m->namespace))
		return field_error(&m->field, "namespace", "\"%s\" " NAME_DNS_LABEL, m->namespace);
	if (!kind->namespaced && *m->namespace)
		return field_error(&m->field, "namespace", "a %s is in no namespace", kind->name);
	ret = field_object(&m->field, "labels", &map);
	if (ret == 0)
		ret = labels_read(&map, labels ? labels : &unused);
	labels_free(&unused);
	return ret;
}

/* --- documents --- */

/* The group of an apiVersion: what is before its '/', or "". */
static bool in_group(const char *version, const char *group)
{
	const char *slash = strchr(version, '/');
	size_t len = slash ? (size_t)(slash - version) : 0;

	return strlen(group) == len && memcmp(version, group, len) == 0;
}

/*
 * The kind, whatever its version: one that is not served is an error, not nothing. That goes for NetworkPolicy in the
 * group extensions, where it was before 1.16, and in none, where it often is by mistake, too.
 */
static const struct kind *find_kind(const char *version, const char *name, bool list)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];

		if (strcmp(list ? k->list : k->name, name) == 0 &&
		    (in_group(version, k->group) || in_group(version, "") ||
		     (*k->group && in_group(version, "extensions"))))
			return k;
	}
	return NULL;
}

/* A kind that its group does not have, such as NetworkPolcy, might be a policy which somebody relies on. */
static int kind_check(const struct field *document, const char *version, const char *name)
{
	static const char *const others[] = { "Ingress", "IngressClass", "IPAddress", "ServiceCIDR" };

	if (!in_group(version, NETWORKING_GROUP))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		size_t len = strlen(others[i]);

		if (strncmp(name, others[i], len) == 0 && (!name[len] || strcmp(name + len, "List") == 0))
			return 0;
	}
	return field_error(document, "kind", "\"%s\" is not one of " NETWORKING_GROUP, name);
}

/* Names the object in an error, as far as it has a name. */
static int wrap(const struct field *document, const struct kind *kind)
{
	const json_t *metadata = field_json(document, "metadata");
	const char *namespace = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));

	if (kind->namespaced)
		err_wrap(document->err, "%s %s/%s", kind->name, namespace ? namespace : "default", name ? name : "?");
	else
		err_wrap(document->err, "%s %s", kind->name, name ? name : "?");
	text_printable(document->err->msg);
	return -EINVAL;
}

static int object_decode(const struct field *document, const struct kind *kind, const struct object_sink *sink)
{
	struct object o = { 0 };
	int ret = kind->decode(document, kind, &o);

	if (ret == 0)
		return sink->object(sink->arg, &o);
	object_free(&o);
	if (ret == -EINVAL) {
		wrap(document, kind);
		sink->complain(sink->arg, document->err);
		return 0;
	}
	return ret;
}

static int document_decode(const struct field *document, const struct kind *assumed, const struct object_sink *sink);

/* The elements of a list; those of a PodList and the like need not say what they are. */
static int list_decode(const struct field *list, const struct kind *assumed, const struct object_sink *sink)
{
	struct field items;

	if (field_array(list, "items", &items) < 0) {
		sink->complain(sink->arg, list->err);
		return 0;
	}
	for (size_t i = 0; i < field_count(&items); i++) {
		struct field item = { json_array_get(items.json, i), &items, NULL, i, list->err };
		int ret = document_decode(&item, assumed, sink);

		if (ret)
			return ret;
	}
	return 0;
}

/* What it says that it is. `assumed`: what it has to be, if not NULL. */
static int type_read(const struct field *document, const struct kind *assumed, const char **version, const char **name)
{
	if (!json_is_object(document->json))
		return field_error(document, NULL, "an object of the API is expected");
	if (field_string(document, "apiVersion", version) < 0 || field_string(document, "kind", name) < 0)
		return -EINVAL;
	if (assumed)
		return *name && strcmp(*name, assumed->name) != 0
			   ? field_error(document, "kind", "not a %s, but in a %s", assumed->name, assumed->list)
			   : 0;
	if (!*version)
		return field_error(document, "apiVersion", "required");
	return *name ? 0 : field_error(document, "kind", "required");
}

static int document_decode(const struct field *document, const struct kind *assumed, const struct object_sink *sink)
{
	/* An object's own fields are named from itself on, wherever it stands. */
	const struct field object = { .json = document->json, .err = document->err };
	const char *version = NULL, *name = NULL;
	const struct kind *kind;

	if (type_read(document, assumed, &version, &name) < 0 || (!assumed && (!version || !name))) {
		sink->complain(sink->arg, document->err);
		return 0;
	}
	kind = assumed ? assumed : find_kind(version, name, false);
	if (kind)
		return object_decode(&object, kind, sink);
	kind = find_kind(version, name, true);
	if (kind || (strcmp(version, "v1") == 0 && strcmp(name, "List") == 0))
		return list_decode(&object, kind, sink);
	if (kind_check(document, version, name) < 0)
		sink->complain(sink->arg, document->err);
	return 0;
}

int objects_decode(const json_t *document, const struct object_sink *sink)
{
	struct err err = { 0 };

	if (!document || json_is_null(document))
		return 0;
	return document_decode(&(struct field){ .json = document, .err = &err }, NULL, sink);
}
