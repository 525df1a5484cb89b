/* SPDX-License-Identifier: BSD-2-Clause */
#include "request_path.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void query_open(struct query *q, const char *path)
{
	*q = (struct query){ 0 };
	q->f = open_memstream(&q->text, &q->size);
	if (q->f)
		fputs(path, q->f);
}

/* Percent-encodes all but the unreserved characters of RFC 3986, section 2.3. */
static void put_encoded(FILE *f, const char *value, const char *name)
{
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if (c == '@' && name)
			put_encoded(f, name, NULL);
		else if (c < 0x80 && (isalnum(c) || strchr("-._~", c)))
			fputc(c, f);
		else
			fprintf(f, "%%%02X", c);
	}
}

void query_form(struct query *q, const char *key, const char *form, const char *name)
{
	if (!q->f || !form)
		return;
	fprintf(q->f, "%c%s=", q->parameters++ ? '&' : '?', key);
	put_encoded(q->f, form, name);
}

void query_text(struct query *q, const char *key, const char *value)
{
	query_form(q, key, value, NULL);
}

void query_number(struct query *q, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	query_text(q, key, text);
}

char *query_take(struct query *q)
{
	if (!q->f)
		return NULL;
	if (fclose(q->f) == 0)
		return q->text;
	free(q->text);
	return NULL;
}
