/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Namespace. */
#include <stdlib.h>
#include <string.h>

#include "kinds.h"

#define LABEL_METADATA_NAME "kubernetes.io/metadata.name"

/* Overwrites the label, as the API server does. */
static int label_with_name(const struct field *document, struct namespace_object *ns)
{
	struct label *grown;
	char *value = strdup(ns->name);
	size_t i = 0;

	if (!value)
		return out_of_memory(document);
	while (i < ns->labels.count && strcmp(ns->labels.v[i].key, LABEL_METADATA_NAME) != 0)
		i++;
	if (i < ns->labels.count) {
		free(ns->labels.v[i].value);
		ns->labels.v[i].value = value;
		return 0;
	}
	grown = realloc(ns->labels.v, (i + 1) * sizeof(*grown));
	if (grown) {
		ns->labels.v = grown;
		grown[i] = (struct label){ strdup(LABEL_METADATA_NAME), value };
		ns->labels.count++;
	} else {
		free(value);
	}
	return grown && grown[i].key ? labels_sort(&ns->labels) : out_of_memory(document);
}

int namespace_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct namespace_object *ns = o->namespace;
	int ret = metadata_check(document, m, &ns->labels);

	if (ret < 0)
		return ret;
	ns->name = strdup(m->name);
	return ns->name ? label_with_name(document, ns) : out_of_memory(document);
}
