/* SPDX-License-Identifier: BSD-2-Clause */
#include "kinds.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
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

static int by_name(const void *pa, const void *pb)
{
	const struct port_identity *a = pa, *b = pb;
	const int c = strcmp(a->name, b->name);

	return c ? c : (a->index > b->index) - (a->index < b->index);
}

static int by_number(const void *pa, const void *pb)
{
	const struct port_identity *a = pa, *b = pb;

	return a->number != b->number ? (a->number > b->number) - (a->number < b->number)
				      : (a->index > b->index) - (a->index < b->index);
}

int ports_differ(const struct field *list, struct port_identity *ports, size_t count, bool numbers)
{
	struct field element;

	if (count)
		qsort(ports, count, sizeof(*ports), by_name);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(ports[i].name, ports[i - 1].name) != 0)
			continue;
		field_object_at(list, ports[i].index, &element);
		return field_error(&element, "name", "\"%s\" is used twice", ports[i].name);
	}
	if (count && numbers)
		qsort(ports, count, sizeof(*ports), by_number);
	for (size_t i = 1; i < count && numbers; i++) {
		if (ports[i].number != ports[i - 1].number)
			continue;
		field_object_at(list, ports[i].index, &element);
		return field_error(&element, "port", "%u is used twice", ports[i].number & UINT16_MAX);
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

bool ip_is_reachable(const struct ip *ip)
{
	static const uint8_t zeros[16], one[16] = { [15] = 1 };

	if (ip->family == AF_INET)
		return ip->bytes[0] != 0 && ip->bytes[0] != 127 && ip->bytes[0] < 224 &&
		       !(ip->bytes[0] == 169 && ip->bytes[1] == 254);
	return memcmp(ip->bytes, zeros, 16) != 0 && memcmp(ip->bytes, one, 16) != 0 && ip->bytes[0] != 0xff &&
	       !(ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80) &&
	       !(memcmp(ip->bytes, zeros, 10) == 0 && ip->bytes[10] == 0xff && ip->bytes[11] == 0xff);
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
