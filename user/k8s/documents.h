/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The documents of a text in YAML or JSON, as jansson values. Hostile input: sizes are limited, errors are printable
 * ASCII.
 */
#ifndef WARREN_K8S_DOCUMENTS_H
#define WARREN_K8S_DOCUMENTS_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

/*
 * All documents of a text to fn, numbered from 1; stops at fn's first non-zero return and returns
 * it. A text that begins with { is JSON, one object; any other is YAML, typed as by Kubernetes' own reader (see
 * scalar.h). Duplicate keys are errors; merge keys (<<) are followed. An alias shares its value, but counts as what it
 * stands for: a document has at most DOCUMENT_NODES values, 64 levels deep. `what` names the text in errors.
 */
#define DOCUMENT_NODES 1000000
int documents_parse(const char *text, size_t size, const char *what, int (*fn)(json_t *document, int number, void *arg),
		    void *arg, struct err *err);

#endif
