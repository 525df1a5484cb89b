/* SPDX-License-Identifier: BSD-2-Clause */
#include "decode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "kinds.h"
#include "str.h"
#include "object_names.h"

#define NETWORKING_GROUP "networking.k8s.io"
#define DISCOVERY_GROUP "discovery.k8s.io"

static const struct kind kinds[] = {
	{ OBJECT_NAMESPACE, sizeof(struct namespace_object), "Namespace", "NamespaceList", "", "v1", false,
	  name_is_dns_label, NAME_DNS_LABEL, namespace_decode },
	{ OBJECT_POD, sizeof(struct pod_object), "Pod", "PodList", "", "v1", true, name_is_dns_subdomain,
	  NAME_DNS_SUBDOMAIN, pod_decode },
	{ OBJECT_NODE, sizeof(struct node_object), "Node", "NodeList", "", "v1", false, name_is_dns_subdomain,
	  NAME_DNS_SUBDOMAIN, node_decode },
	{ OBJECT_POLICY, sizeof(struct policy_object), "NetworkPolicy", "NetworkPolicyList", NETWORKING_GROUP, "v1",
	  true, name_is_dns_subdomain, NAME_DNS_SUBDOMAIN, network_policy_decode },
	{ OBJECT_SERVICE, sizeof(struct service_object), "Service", "ServiceList", "", "v1", true, name_is_dns_label,
	  NAME_DNS_LABEL, service_decode },
	{ OBJECT_SERVICE_CIDR, sizeof(struct service_cidr_object), "ServiceCIDR", "ServiceCIDRList", NETWORKING_GROUP, "v1", false,
	  name_is_dns_subdomain, NAME_DNS_SUBDOMAIN, service_cidr_decode },
	{ OBJECT_SLICE, sizeof(struct slice_object), "EndpointSlice", "EndpointSliceList", DISCOVERY_GROUP, "v1", true,
	  name_is_dns_subdomain, NAME_DNS_SUBDOMAIN, endpoint_slice_decode },
};

/* Compares the group of an apiVersion: the part before its '/', or "". */
static bool in_group(const char *version, const char *group)
{
	const char *slash = strchr(version, '/');
	size_t len = slash ? (size_t)(slash - version) : 0;

	return strlen(group) == len && memcmp(version, group, len) == 0;
}

/*
 * Finds the kind in any version: an unsupported version is an error, not ignored. The same goes for a NetworkPolicy in
 * group extensions, its group before 1.16, and in the core group, a frequent mistake.
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

/* An unknown kind of the group, such as NetworkPolcy, may be a misspelt policy: an error, not ignored. */
static int kind_check(const struct field *document, const char *version, const char *name)
{
	static const char *const others[] = { "Ingress", "IngressClass", "IPAddress" };

	if (!in_group(version, NETWORKING_GROUP))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		size_t len = strlen(others[i]);

		if (strncmp(name, others[i], len) == 0 && (!name[len] || strcmp(name + len, "List") == 0))
			return 0;
	}
	return field_error(document, "kind", "\"%s\" is not a kind of " NETWORKING_GROUP, name);
}

/* Prefixes the error with the object's kind and name. */
static int wrap(const struct field *document, const struct kind *kind)
{
	const json_t *metadata = field_json(document, "metadata");
	const char *namespace = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));

	if (kind->namespaced)
		err_wrap(document->err, "%s %s/%s", kind->name, namespace ? namespace : "default", name ? name : "?");
	else
		err_wrap(document->err, "%s %s", kind->name, name ? name : "?");
	str_printable(document->err->msg);
	return -EINVAL;
}

static int object_decode(const struct field *document, const struct kind *kind, const struct object_sink *sink)
{
	struct object o = { kind->kind, { calloc(1, kind->size) } };
	struct metadata m;
	int ret = o.any ? metadata_read(document, kind, &m) : out_of_memory(document);

	if (ret == 0)
		ret = kind->decode(document, &m, &o);
	if (ret == 0)
		return sink->object(sink->arg, &o);
	object_free(&o);
	if (ret == -EINVAL) {
		wrap(document, kind);
		sink->report_problem(sink->arg, document->err);
		return 0;
	}
	return ret;
}

static int document_decode(const struct field *document, const struct kind *assumed, const struct object_sink *sink);

/* The elements of a list; those of a PodList and the like have no `kind`. */
static int list_decode(const struct field *list, const struct kind *assumed, const struct object_sink *sink)
{
	struct field items;

	if (field_array(list, "items", &items) < 0) {
		sink->report_problem(sink->arg, list->err);
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

/* Reads apiVersion and kind. `assumed`: the required kind, or NULL. */
static int type_read(const struct field *document, const struct kind *assumed, const char **version, const char **name)
{
	if (!json_is_object(document->json))
		return field_error(document, NULL, "must be a Kubernetes object");
	if (field_string(document, "apiVersion", version) < 0 || field_string(document, "kind", name) < 0)
		return -EINVAL;
	if (assumed)
		return *name && strcmp(*name, assumed->name) != 0
			   ? field_error(document, "kind", "must be %s in a %s", assumed->name, assumed->list)
			   : 0;
	if (!*version)
		return field_error(document, "apiVersion", "required");
	return *name ? 0 : field_error(document, "kind", "required");
}

static int document_decode(const struct field *document, const struct kind *assumed, const struct object_sink *sink)
{
	/* Without a parent: errors name fields from the object on, also in a list. */
	const struct field object = { .json = document->json, .err = document->err };
	const char *version = NULL, *name = NULL;
	const struct kind *kind;

	if (type_read(document, assumed, &version, &name) < 0 || (!assumed && (!version || !name))) {
		sink->report_problem(sink->arg, document->err);
		return 0;
	}
	kind = assumed ? assumed : find_kind(version, name, false);
	if (kind)
		return object_decode(&object, kind, sink);
	kind = find_kind(version, name, true);
	if (kind || (strcmp(version, "v1") == 0 && strcmp(name, "List") == 0))
		return list_decode(&object, kind, sink);
	if (kind_check(document, version, name) < 0)
		sink->report_problem(sink->arg, document->err);
	return 0;
}

int labels_decode(const json_t *json, struct labels *labels, struct err *err)
{
	const struct field map = { .json = json, .err = err };

	if (!json_is_object(json))
		return field_error(&map, NULL, "labels must be an object");
	return labels_read(&map, labels);
}

int objects_decode(const json_t *document, const struct object_sink *sink)
{
	struct err err = { 0 };

	if (!document || json_is_null(document))
		return 0;
	return document_decode(&(struct field){ .json = document, .err = &err }, NULL, sink);
}

int object_decode_as(enum object_kind kind, const json_t *document, const struct object_sink *sink)
{
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].kind == kind)
			return document_decode(&(struct field){ .json = document, .err = &err }, &kinds[i], sink);
	}
	return 0;
}
