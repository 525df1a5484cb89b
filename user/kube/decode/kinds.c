/* SPDX-License-Identifier: BSD-2-Clause */
#include "kinds.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "object_names.h"

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

int array_read(const struct field *parent, const char *key, void *array, size_t size,
	       int (*fn)(const struct field *element, void *arg), void *arg)
{
	struct field list;
	int ret = field_array(parent, key, &list);

	ret = ret < 0 ? ret : array_make(parent, array, field_count(&list), size);
	return ret < 0 ? ret : field_each(&list, fn, arg);
}

int list_or_single_read(const struct field *parent, const char *list, const char *single,
			int (*add)(const struct field *f, const char *key, const char *text, void *arg), void *arg)
{
	const char *only, *text, *first = NULL;
	struct field array, element;

	if (field_string(parent, single, &only) < 0 || field_array(parent, list, &array) < 0)
		return -EINVAL;
	for (size_t i = 0; i < field_count(&array); i++) {
		if (field_string_at(&array, i, &element, &text) < 0 || add(&element, NULL, text, arg) < 0)
			return -EINVAL;
		first = first ?: text;
	}
	if (!only || !*only)
		return 0;
	if (!first)
		return add(parent, single, only, arg);
	return strcmp(first, only) == 0 ? 0 : field_error(parent, single, "\"%s\" is not the first of %s", only, list);
}

int ip_pair_add(const struct field *f, const char *key, const char *text, struct ip pair[2])
{
	struct ip ip;

	if (ip_parse(text, &ip) < 0)
		return field_error(f, key, "\"%s\" is not an IP address", text);
	if (pair[0].family == ip.family || pair[1].family == ip.family)
		return field_error(f, key, "a second IPv%d address", ip.family == AF_INET ? 4 : 6);
	pair[pair[0].family ? 1 : 0] = ip;
	return 0;
}

static int label_read(const struct field *map, const char *key, struct label *label)
{
	const char *value;

	if (field_string(map, key, &value) < 0)
		return -EINVAL;
	/* null is an empty value, not an absent label, as in the API's map of strings. */
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

int protocol_read(const struct field *parent, uint8_t *protocol)
{
	static const char *const names[] = { "TCP", "UDP", "SCTP" };
	static const uint8_t numbers[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
	size_t i;
	int ret = field_one_of(parent, "protocol", field_json(parent, "protocol") != NULL, names, ARRAY_SIZE(names), &i);

	if (ret == 0)
		*protocol = numbers[i];
	return ret;
}

int node_name_read(const struct field *parent, char **name)
{
	const char *text;

	if (field_string(parent, "nodeName", &text) < 0)
		return -EINVAL;
	if (text && *text && !name_is_dns_subdomain(text))
		return field_error(parent, "nodeName", "\"%s\" " NAME_DNS_SUBDOMAIN, text);
	*name = strdup(text ? text : "");
	return *name ? 0 : out_of_memory(parent);
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

int service_port_read(const struct field *f, struct service_port *port)
{
	const char *name;
	int ret;

	if (protocol_read(f, &port->protocol) < 0 || field_string(f, "name", &name) < 0)
		return -EINVAL;
	name = name ? name : "";
	if (*name && !name_is_dns_label(name))
		return field_error(f, "name", "\"%s\" " NAME_DNS_LABEL, name);
	ret = port_read(f, "port", &port->port);
	if (ret < 0 && ret != -ENOENT)
		return ret;
	port->name = strdup(name);
	return port->name ? ret : out_of_memory(f);
}

static uint32_t port_number(const struct service_port *port)
{
	return (uint32_t)port->protocol << 16 | port->port;
}

/* Equal ones in the order of the list. */
static int by_name(const void *pa, const void *pb)
{
	const struct service_port *const *a = pa, *const *b = pb;
	const int c = strcmp((*a)->name, (*b)->name);

	return c ? c : (*a > *b) - (*a < *b);
}

static int by_number(const void *pa, const void *pb)
{
	const struct service_port *const *a = pa, *const *b = pb;
	const uint32_t x = port_number(*a), y = port_number(*b);

	return x != y ? (x > y) - (x < y) : (*a > *b) - (*a < *b);
}

int ports_differ(const struct field *list, const struct service_port *ports, size_t count, bool numbers)
{
	_cleanup_free_ const struct service_port **sorted = calloc(count + 1, sizeof(*sorted));
	struct field element;

	if (!sorted)
		return out_of_memory(list);
	for (size_t i = 0; i < count; i++)
		sorted[i] = &ports[i];
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(sorted[i]->name, sorted[i - 1]->name) != 0)
			continue;
		field_object_at(list, (size_t)(sorted[i] - ports), &element);
		return field_error(&element, "name", "\"%s\" is used twice", sorted[i]->name);
	}
	if (!numbers)
		return 0;
	qsort(sorted, count, sizeof(*sorted), by_number);
	for (size_t i = 1; i < count; i++) {
		if (port_number(sorted[i]) != port_number(sorted[i - 1]))
			continue;
		field_object_at(list, (size_t)(sorted[i] - ports), &element);
		return field_error(&element, "port", "%u is used twice", sorted[i]->port);
	}
	return 0;
}

int metadata_read(const struct field *document, const struct kind *kind, struct metadata *m)
{
	m->kind = kind;
	if (field_object(document, "metadata", &m->field) < 0 || field_string(&m->field, "name", &m->name) < 0 ||
	    field_string(&m->field, "namespace", &m->namespace) < 0)
		return -EINVAL;
	if (!m->name || !*m->name)
		return field_error(&m->field, "name", "required");
	if (!m->namespace || !*m->namespace)
		m->namespace = kind->namespaced ? "default" : "";
	return 0;
}

int names_copy(const struct metadata *m, char **namespace, char **name)
{
	*namespace = strdup(m->namespace);
	*name = strdup(m->name);
	return *namespace && *name ? 0 : out_of_memory(&m->field);
}

static int api_version_check(const struct field *document, const struct kind *kind)
{
	char served[64];
	const char *version;

	snprintf(served, sizeof(served), "%s%s%s", kind->group, *kind->group ? "/" : "", kind->version);
	if (field_string(document, "apiVersion", &version) < 0)
		return -EINVAL;
	if (version && strcmp(version, served) != 0) /* elements of a PodList have none */
		return field_error(document, "apiVersion", "\"%s\" is not supported; use %s", version, served);
	return 0;
}

int metadata_check(const struct field *document, const struct metadata *m, struct labels *labels)
{
	const struct kind *kind = m->kind;
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
		return field_error(&m->field, "namespace", "not allowed: a %s is not namespaced", kind->name);
	ret = field_object(&m->field, "labels", &map);
	if (ret == 0)
		ret = labels_read(&map, labels ? labels : &unused);
	labels_free(&unused);
	return ret;
}
