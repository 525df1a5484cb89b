/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables' contents as comparable text: class numbers and rule numbers are replaced by their meaning. */
#ifndef WARREN_APPLY_DUMP_H
#define WARREN_APPLY_DUMP_H

#include <stdio.h>

#include "fake_tables.h"
#include "rig.h"

struct canon {
	uint32_t numbers[64]; /* class numbers by first appearance */
	size_t count;
};

static inline uint32_t canonical(struct canon *c, uint32_t number)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->numbers[i] == number)
			return WR_CLASS_FIRST + (uint32_t)i;
	}
	assert_in_range(c->count, 0, 62);
	c->numbers[c->count++] = number;
	return WR_CLASS_FIRST + (uint32_t)c->count - 1;
}

static inline int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void dump_elements(struct fake *f, enum apply_table t, struct canon *canon, char **lines, size_t *count)
{
	for (size_t i = 0; i < f->tables[t].count; i++) {
		char key[32], text[600], *at = text;
		uint32_t number;

		memcpy(key, fake_at(f, t, i), fake_sizes[t].key);
		memcpy(&number, key + (t == APPLY_POLICY ? offsetof(struct wr_policy_key, policy_class) : 0),
		       sizeof(number));
		if (t == APPLY_CIDRS4 || t == APPLY_CIDRS6)
			memcpy(&number, key + offsetof(struct wr_cidr4_key, class_direction), sizeof(number));
		if (t == APPLY_POLICY || t == APPLY_CLASSES)
			number = canonical(canon, number);
		else if (t != APPLY_IDENTITIES)
			number = canonical(canon, number / 2) * 2 + number % 2;
		if (t == APPLY_POLICY)
			memcpy(key + offsetof(struct wr_policy_key, policy_class), &number, sizeof(number));
		else if (t == APPLY_CLASSES)
			memcpy(key, &number, sizeof(number));
		else if (t != APPLY_IDENTITIES)
			memcpy(key + offsetof(struct wr_cidr4_key, class_direction), &number, sizeof(number));
		at += sprintf(at, "%d ", t);
		for (size_t b = 0; b < fake_sizes[t].key; b++)
			at += sprintf(at, "%02x", (unsigned char)key[b]);
		for (size_t b = 0; b < fake_sizes[t].value && t != APPLY_POLICY; b++)
			at += sprintf(at, " %02x", (unsigned char)fake_at(f, t, i)[fake_sizes[t].key + b]);
		if (t == APPLY_POLICY) {
			memcpy(&number, fake_at(f, t, i) + fake_sizes[t].key, sizeof(number));
			at += sprintf(at, " %s", fake_value(f, APPLY_RULES, &number) ?: "(no text)");
		}
		lines[(*count)++] = strdup(text);
	}
}

/* The contents of all tables as text, independent of class numbers and rule numbers. */
static inline char *dump(struct fake *f)
{
	char **lines = calloc(20000, sizeof(*lines)), *text = NULL;
	struct canon canon = { 0 };
	size_t count = 0, size;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t ifindex = 0; ifindex < 10000; ifindex++) {
		const struct dp_endpoint_policy *policy = fake_policy(f, ifindex);

		if (policy)
			fprintf(out, "endpoint %u: identity %llx class %u\n", ifindex,
				(unsigned long long)policy->identity,
				policy->policy_class < WR_CLASS_FIRST ? policy->policy_class
								    : canonical(&canon, policy->policy_class));
	}
	for (int t = 0; t < APPLY_TABLES; t++) {
		if (t != APPLY_RULES)
			dump_elements(f, t, &canon, lines, &count);
	}
	for (size_t i = 0; i < f->tables[APPLY_RULES].count; i++)
		lines[count++] = strdup(fake_at(f, APPLY_RULES, i) + sizeof(uint32_t));
	qsort(lines, count, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
	fclose(out);
	return text;
}

#endif
