/* SPDX-License-Identifier: BSD-2-Clause */
/* The content of a policy class without its number, and differences of two contents. */
#ifndef WARREN_AGENT_APPLY_CONTENT_H
#define WARREN_AGENT_APPLY_CONTENT_H

#include "policy.h"

/* An entry as in the map; policy_class 0 where it belongs to no number. */
struct entry {
	struct wr_policy_key key;
	struct wr_policy_entry value;
};

/* A list of entries. Zeros: an empty one. */
struct entries {
	struct entry *v;
	size_t count, room;
};
int entries_add(struct entries *list, const struct wr_policy_key *key, uint32_t rule); /* -ENOMEM */
/* By key; of equal keys one is kept. */
void entries_sort(struct entries *list);
bool entries_same(const struct entries *a, const struct entries *b);
void entries_free(struct entries *list);

struct cidrs {
	struct policy_cidr *v;
	size_t count, room;
};
int cidrs_add(struct cidrs *list, const struct policy_cidr *cidr);
void cidrs_sort(struct cidrs *list);
void cidrs_free(struct cidrs *list);

struct content {
	struct wr_class_info info;
	struct entries entries; /* sorted by key (memcmp) */
	struct cidrs cidrs;	/* sorted as those of struct policy_class */
};
int content_copy(struct content *to, const struct policy_class *from);
int content_append(struct content *to, const struct content *from); /* entries and prefixes; -ENOMEM */
void content_free(struct content *content);

bool content_same(const struct content *a, const struct content *b);
bool content_same_cidrs(const struct content *a, const struct content *b);
/* Both isolate the same directions. */
bool content_same_isolation(const struct content *a, const struct content *b);

/* What is in `a` and not in `b`; with `values`, also keys in both whose values differ. */
int entries_minus(const struct entries *a, const struct entries *b, bool values, struct entries *out);
int cidrs_minus(const struct cidrs *a, const struct cidrs *b, bool values, struct cidrs *out);

/* The info of a class that holds the entries of both. */
struct wr_class_info info_union(const struct wr_class_info *a, const struct wr_class_info *b);

/* Appends to `out` the entries for peer `from`, as entries for peer `to`. */
int entries_for_peer(const struct entries *list, uint64_t from, uint64_t to, struct entries *out);

#endif
