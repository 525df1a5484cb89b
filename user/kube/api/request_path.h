/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds a request's path with its query parameters. */
#ifndef WARREN_KUBE_REQUEST_PATH_H
#define WARREN_KUBE_REQUEST_PATH_H

#include <stdint.h>
#include <stdio.h>

/* Filled by query_*() in any order, then taken. query_take() reports failures. */
struct query {
	FILE *f;
	char *text;
	size_t size;
	unsigned parameters;
};
void query_open(struct query *q, const char *path);
void query_text(struct query *q, const char *key, const char *value); /* percent-encoded; NULL: omitted */
void query_form(struct query *q, const char *key, const char *form, const char *name); /* each @ of the form is the name */
void query_number(struct query *q, const char *key, uint64_t value);
char *query_take(struct query *q); /* the caller's; NULL: no memory */

#endif
