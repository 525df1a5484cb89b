/* SPDX-License-Identifier: BSD-2-Clause */
/* discovery.k8s.io/v1: EndpointSlice. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "kinds.h"

#define HINTS_MAX 8
#define HINT_NAME_MAX 253
#define LABEL_SERVICE_NAME "kubernetes.io/service-name"

/* 0: FQDN. */
static int address_family(const struct field *document, int *family)
{
	static const char *const types[] = { "IPv4", "IPv6", "FQDN" };
	static const int families[] = { AF_INET, AF_INET6, 0 };
	size_t type;
	int ret = field_one_of(document, "addressType", true, types, ARRAY_SIZE(types), &type);

	if (ret == 0)
		*family = families[type];
	return ret;
}

/* --- endpoints --- */

/* All addresses are validated, as by the API; the first one is used. */
static int addresses(const struct field *f, int family, struct slice_endpoint *ep)
{
	struct field list, element;
	const char *text;

	if (field_array(f, "addresses", &list) < 0)
		return -EINVAL;
	if (!field_count(&list))
		return field_error(f, "addresses", "required");
	for (size_t i = 0; i < field_count(&list); i++) {
		struct ip ip;

		if (field_string_at(&list, i, &element, &text) < 0)
			return -EINVAL;
		if (ip_parse(text, &ip) < 0 || ip.family != family)
			return field_error(&element, NULL, "\"%s\" is not an IPv%d address", text,
					   family == AF_INET ? 4 : 6);
		if (!ip_is_reachable(&ip))
			return field_error(&element, NULL, "%s is not an address that pods can reach", text);
		if (i == 0)
			ep->address = ip;
	}
	return 0;
}

static int condition(const struct field *f, const char *key, bool unset, bool *value)
{
	int ret = field_bool(f, key, value);

	if (ret == 0 && !field_json(f, key))
		*value = unset;
	return ret;
}

static int conditions(const struct field *f, struct slice_endpoint *ep)
{
	struct field object;

	if (field_object(f, "conditions", &object) < 0 || condition(&object, "ready", true, &ep->ready) < 0 ||
	    condition(&object, "serving", ep->ready, &ep->serving) < 0)
		return -EINVAL;
	return condition(&object, "terminating", false, &ep->terminating);
}

/* The names in a list of hints, as slice_endpoint has them. The API allows 8 of each kind. */
static int hint_names(const struct field *hints, const char *key, char **names)
{
	char joined[HINTS_MAX * (HINT_NAME_MAX + 1) + 2] = ",";
	struct field list, element;
	const char *name;
	size_t length = 1;

	if (field_array(hints, key, &list) < 0)
		return -EINVAL;
	if (field_count(&list) > HINTS_MAX)
		return field_error(hints, key, "more than %d", HINTS_MAX);
	for (size_t i = 0; i < field_count(&list); i++) {
		if (field_object_at(&list, i, &element) < 0 || field_string(&element, "name", &name) < 0)
			return -EINVAL;
		if (!name || !*name || strlen(name) > HINT_NAME_MAX || strchr(name, ','))
			return field_error(&element, "name", "is not the name of a zone or node");
		length += (size_t)snprintf(joined + length, sizeof(joined) - length, "%s,", name);
	}
	if (length == 1)
		return 0;
	*names = strdup(joined);
	return *names ? 0 : out_of_memory(hints);
}

static int hints(const struct field *f, struct slice_endpoint *ep)
{
	struct field object;

	return field_object(f, "hints", &object) ?: hint_names(&object, "forNodes", &ep->for_nodes) ?:
	       hint_names(&object, "forZones", &ep->for_zones);
}

/* `family`: of all endpoints. */
struct slice {
	struct slice_object *object;
	int family;
};

static int endpoint(const struct field *f, void *arg)
{
	const struct slice *s = arg;
	struct slice_endpoint *ep = &s->object->endpoints[s->object->endpoint_count];

	s->object->endpoint_count++;
	return addresses(f, s->family, ep) ?: conditions(f, ep) ?: node_name_read(f, &ep->node) ?: hints(f, ep);
}

static int endpoints(const struct field *document, struct slice_object *slice)
{
	struct slice s = { slice, 0 };
	struct field list;
	int ret = address_family(document, &s.family) ?: field_array(document, "endpoints", &list);

	if (ret < 0 || !s.family)
		return ret;
	ret = array_read(document, "endpoints", &slice->endpoints, sizeof(*slice->endpoints), endpoint, &s);
	if (ret == 0)
		slice_sort(slice);
	return ret;
}

/* --- ports --- */

static int slice_port(const struct field *f, void *arg)
{
	struct slice_object *slice = arg;
	int ret = service_port_read(f, &slice->ports[slice->port_count++]);

	return ret == -ENOENT ? 0 : ret;
}

static int slice_ports(const struct field *document, struct slice_object *slice)
{
	struct field list;

	return array_read(document, "ports", &slice->ports, sizeof(*slice->ports), slice_port, slice) ?:
	       field_array(document, "ports", &list) ?: ports_differ(&list, slice->ports, slice->port_count, false);
}

int endpoint_slice_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct slice_object *slice = o->slice;
	struct labels labels = { 0 };
	const char *service;
	int ret = metadata_check(document, m, &labels) ?: endpoints(document, slice) ?: slice_ports(document, slice);

	service = labels_get(&labels, LABEL_SERVICE_NAME);
	slice->service = strdup(service ? service : "");
	labels_free(&labels);
	if (!slice->service)
		return out_of_memory(document);
	return ret ?: names_copy(m, &slice->namespace, &slice->name);
}
