/* SPDX-License-Identifier: BSD-2-Clause */
/* networking.k8s.io/v1: ServiceCIDR. */
#include <errno.h>
#include <string.h>

#include "kinds.h"

/* At most one of each family, as in the API. Host bits are masked. */
static int cidr(const struct field *list, size_t index, struct service_cidr_object *object)
{
	struct field element;
	struct prefix prefix;
	const char *text;
	size_t at = object->cidrs[0].ip.family ? 1 : 0;

	if (field_string_at(list, index, &element, &text) < 0)
		return -EINVAL;
	if (prefix_parse(text, &prefix) < 0)
		return field_error(&element, NULL, "\"%s\" is not a CIDR", text);
	if (index > 1 || (at && object->cidrs[0].ip.family == prefix.ip.family))
		return field_error(&element, NULL, "a second IPv%d CIDR", prefix.ip.family == AF_INET ? 4 : 6);
	object->cidrs[at] = (struct prefix){ prefix_first(&prefix), prefix.len };
	return 0;
}

int service_cidr_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct service_cidr_object *object = o->service_cidr;
	struct field spec, list;
	int ret = metadata_check(document, m, NULL) ?: field_object(document, "spec", &spec) ?: field_array(&spec, "cidrs", &list);

	for (size_t i = 0; ret == 0 && i < field_count(&list); i++)
		ret = cidr(&list, i, object);
	if (ret < 0)
		return ret;
	object->name = strdup(m->name);
	return object->name ? 0 : out_of_memory(document);
}
