/* SPDX-License-Identifier: BSD-2-Clause */
/* The content of a node's maps after the compiler's changes, and verdicts from it. */
#ifndef WARREN_TEST_TABLES_H
#define WARREN_TEST_TABLES_H

#include "lookup.h"
#include "policy.h"

struct tables {
	struct policy_class *classes; /* copies; the number of a class is WR_CLASS_FIRST and its place here */
	size_t class_count;
	struct policy_identity *identities;
	size_t identity_count;
	struct policy_endpoint *endpoints;
	size_t endpoint_count;
	struct policy_rule_name *rules; /* copies, also of those that are gone */
	size_t rule_count;
};

void tables_free(struct tables *t);
void tables_clear(struct tables *t); /* all but the rules */
/* NULL, or an error in the changes. */
const char *tables_apply(struct tables *t, const struct policy_changes *changes);
void tables_forget_endpoint(struct tables *t, uint32_t ifindex);
/* NULL, or the difference; rules are compared by text. */
const char *tables_differ(const struct tables *a, const struct tables *b);
size_t tables_entries(const struct tables *t);

const struct policy_endpoint *tables_endpoint(const struct tables *t, uint32_t ifindex);
uint32_t tables_class_number(const struct tables *t, uint64_t key);
const char *tables_rule(const struct tables *t, uint32_t rule);
struct lookup_tables tables_lookup(struct tables *t);

#endif
