/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds a request's path with its query parameters. */
#ifndef WARREN_KUBE_REQUEST_PATH_H
#define WARREN_KUBE_REQUEST_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Filled by query_*() in any order, then taken. query_take() reports failures. */
struct query {
	FILE *f;
	char *text;
	size_t size;
	unsigned parameters;
	bool failed;
};
void query_open(struct query *q, const char *path);
void query_text(struct query *q, const char *key, const char *value); /* percent-encoded; NULL: omitted */
void query_number(struct query *q, const char *key, uint64_t value);
void query_fail(struct query *q); /* the caller could not make a parameter */
char *query_take(struct query *q); /* the caller's; NULL: no memory */

#endif
