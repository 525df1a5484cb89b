/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parses YAML or JSON text into jansson values. The input is untrusted: sizes are limited, errors are printable ASCII.
 */
#ifndef WARREN_KUBE_DOCUMENTS_H
#define WARREN_KUBE_DOCUMENTS_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

/*
 * Calls fn for each document, numbered from 1; stops at fn's first non-zero return and returns it. A text that begins
 * with { is one JSON object; any other is YAML, typed as by Kubernetes' own reader (scalar.c). Duplicate keys are
 * errors; merge keys (<<) are supported. An alias shares its value, but counts with all values in it: a document has at
 * most DOCUMENT_NODES values and 64 levels. `what` names the text in errors.
 */
#define DOCUMENT_NODES 1000000
int documents_parse(const char *text, size_t size, const char *what, int (*fn)(json_t *document, int number, void *arg),
		    void *arg, struct err *err);

/*
 * Returns a new value for a plain scalar in UTF-8: null, true, false, an integer (a real, if it has more than 63 bits),
 * a real or a string. NULL: *error is -ENOMEM, or -EDOM for .inf and .nan, which JSON does not have.
 */
json_t *scalar_resolve(const char *text, size_t size, int *error);

#endif
