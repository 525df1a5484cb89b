/* SPDX-License-Identifier: BSD-2-Clause */
/* The path of a request with its parameters. */
#ifndef WARREN_K8S_QUERY_H
#define WARREN_K8S_QUERY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* To be filled by query_*() in any order, then taken. What fails is noticed when it is taken. */
struct query {
	FILE *f;
	char *text;
	size_t size;
	unsigned parameters;
	bool failed;
};
void query_open(struct query *q, const char *path);
void query_text(struct query *q, const char *key, const char *value); /* NULL: left out. Encoded as need be. */
void query_number(struct query *q, const char *key, uint64_t value);
void query_fail(struct query *q); /* a parameter could not be made */
char *query_take(struct query *q); /* the caller's; NULL: no memory */

#endif
