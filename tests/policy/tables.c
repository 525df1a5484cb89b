/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *copy(const void *from, size_t count, size_t size)
{
	void *to = malloc(count * size + 1);

	if (count)
		memcpy(to, from, count * size);
	return to;
}

static struct policy_class class_copy(const struct policy_class *from)
{
	struct policy_class to = *from;

	to.keys = copy(from->keys, from->count, sizeof(*to.keys));
	to.entries = copy(from->entries, from->count, sizeof(*to.entries));
	to.cidrs = copy(from->cidrs, from->cidr_count, sizeof(*to.cidrs));
	return to;
}

static void class_clear(struct policy_class *class)
{
	free(class->keys);
	free(class->entries);
	free(class->cidrs);
}

void tables_clear(struct tables *t)
{
	for (size_t i = 0; i < t->class_count; i++)
		class_clear(&t->classes[i]);
	t->class_count = t->identity_count = t->endpoint_count = 0;
}

void tables_free(struct tables *t)
{
	tables_clear(t);
	for (size_t i = 0; i < t->rule_count; i++)
		free((char *)t->rules[i].text);
	free(t->classes);
	free(t->identities);
	free(t->endpoints);
	free(t->rules);
	*t = (struct tables){ 0 };
}

/* Room for one more at the end of an array. */
static void *one_more(void *array, size_t count, size_t size)
{
	return realloc(array, (count + 1) * size);
}

static struct policy_rule_name *rule_by_number(const struct tables *t, uint32_t rule)
{
	for (size_t i = 0; i < t->rule_count; i++) {
		if (t->rules[i].rule == rule)
			return &t->rules[i];
	}
	return NULL;
}

const char *tables_rule(const struct tables *t, uint32_t rule)
{
	const struct policy_rule_name *name = rule_by_number(t, rule);

	return name && !name->gone ? name->text : NULL;
}

static const char *apply_rule(struct tables *t, const struct policy_rule_name *change)
{
	struct policy_rule_name *old = rule_by_number(t, change->rule);

	if (change->gone) {
		if (!old || old->gone || strcmp(old->text, change->text) != 0)
			return "a rule is gone that was not there";
		old->gone = true;
		return NULL;
	}
	if (old && (old->gone || strcmp(old->text, change->text) != 0))
		return "the number of a rule is given to another";
	if (old)
		return NULL;
	if (change->rule < WR_RULE_FIRST)
		return "a reserved number as a rule's";
	t->rules = one_more(t->rules, t->rule_count, sizeof(*t->rules));
	t->rules[t->rule_count++] = (struct policy_rule_name){ change->rule, false, strdup(change->text) };
	return NULL;
}

static bool same_class(const struct policy_class *a, const struct policy_class *b)
{
	if (a->count != b->count || a->cidr_count != b->cidr_count || memcmp(&a->info, &b->info, sizeof(a->info)) != 0)
		return false;
	for (size_t i = 0; i < a->cidr_count; i++) {
		if (!ip_equal(&a->cidrs[i].ip, &b->cidrs[i].ip) || a->cidrs[i].length != b->cidrs[i].length ||
		    a->cidrs[i].direction != b->cidrs[i].direction || a->cidrs[i].peer != b->cidrs[i].peer)
			return false;
	}
	return memcmp(a->keys, b->keys, a->count * sizeof(*a->keys)) == 0;
}

static struct policy_class *class_by_key(const struct tables *t, uint64_t key)
{
	for (size_t i = 0; i < t->class_count; i++) {
		if (t->classes[i].key == key)
			return &t->classes[i];
	}
	return NULL;
}

static const char *apply_class(struct tables *t, const struct policy_class *change)
{
	struct policy_class *old = class_by_key(t, change->key);

	if (change->gone) {
		if (!old)
			return "a class is gone that was not there";
		class_clear(old);
		*old = t->classes[--t->class_count];
		return NULL;
	}
	for (size_t i = 1; i < change->count; i++) {
		if (memcmp(&change->keys[i - 1], &change->keys[i], sizeof(*change->keys)) >= 0)
			return "the entries of a class are not sorted";
	}
	if (old) {
		if (same_class(old, change) &&
		    memcmp(old->entries, change->entries, change->count * sizeof(*change->entries)) == 0)
			return "a class that has not changed";
		class_clear(old);
		*old = class_copy(change);
		return NULL;
	}
	t->classes = one_more(t->classes, t->class_count, sizeof(*t->classes));
	t->classes[t->class_count++] = class_copy(change);
	return NULL;
}

static const char *apply_identity(struct tables *t, const struct policy_identity *change)
{
	size_t i = 0;

	while (i < t->identity_count && t->identities[i].identity != change->identity)
		i++;
	if (i < t->identity_count && t->identities[i].peer == change->peer)
		return "an identity that has not changed";
	if (change->peer == WR_PEER_NONE) {
		if (i == t->identity_count)
			return "an identity is gone that was not there";
		t->identities[i] = t->identities[--t->identity_count];
		return NULL;
	}
	if (i == t->identity_count) {
		t->identities = one_more(t->identities, t->identity_count++, sizeof(*t->identities));
		t->identities[i].identity = change->identity;
	}
	t->identities[i].peer = change->peer;
	return NULL;
}

static const char *apply_endpoint(struct tables *t, const struct policy_endpoint *change)
{
	size_t i = 0;

	while (i < t->endpoint_count && t->endpoints[i].ifindex != change->ifindex)
		i++;
	if (i == t->endpoint_count)
		t->endpoints = one_more(t->endpoints, t->endpoint_count++, sizeof(*t->endpoints));
	else if (t->endpoints[i].identity == change->identity && t->endpoints[i].class_key == change->class_key)
		return "an endpoint that has not changed";
	t->endpoints[i] = *change;
	return NULL;
}

const char *tables_apply(struct tables *t, const struct policy_changes *changes)
{
	const char *wrong = NULL;

	for (size_t i = 0; !wrong && i < changes->rule_count; i++)
		wrong = apply_rule(t, &changes->rules[i]);
	for (size_t i = 0; !wrong && i < changes->class_count; i++)
		wrong = apply_class(t, &changes->classes[i]);
	for (size_t i = 0; !wrong && i < changes->identity_count; i++)
		wrong = apply_identity(t, &changes->identities[i]);
	for (size_t i = 0; !wrong && i < changes->endpoint_count; i++)
		wrong = apply_endpoint(t, &changes->endpoints[i]);
	for (size_t i = 0; !wrong && i < t->class_count; i++) {
		for (size_t j = 0; !wrong && j < t->classes[i].count; j++)
			wrong =
			    tables_rule(t, t->classes[i].entries[j].rule) ? NULL : "an entry whose rule has no name";
	}
	for (size_t i = 0; !wrong && i < t->endpoint_count; i++) {
		if (t->endpoints[i].class_key >= WR_CLASS_FIRST && !class_by_key(t, t->endpoints[i].class_key))
			wrong = "an endpoint in a class that is not there";
	}
	return wrong;
}

void tables_forget_endpoint(struct tables *t, uint32_t ifindex)
{
	for (size_t i = 0; i < t->endpoint_count; i++) {
		if (t->endpoints[i].ifindex == ifindex) {
			t->endpoints[i] = t->endpoints[--t->endpoint_count];
			return;
		}
	}
}

const struct policy_endpoint *tables_endpoint(const struct tables *t, uint32_t ifindex)
{
	for (size_t i = 0; i < t->endpoint_count; i++) {
		if (t->endpoints[i].ifindex == ifindex)
			return &t->endpoints[i];
	}
	return NULL;
}

uint32_t tables_class_number(const struct tables *t, uint64_t key)
{
	for (uint32_t i = 0; i < t->class_count; i++) {
		if (t->classes[i].key == key)
			return WR_CLASS_FIRST + i;
	}
	return (uint32_t)key; /* quarantine, not isolated */
}

size_t tables_entries(const struct tables *t)
{
	size_t entries = 0;

	for (size_t i = 0; i < t->class_count; i++)
		entries += t->classes[i].count;
	return entries;
}

static const char *classes_differ(const struct tables *a, const struct tables *b)
{
	for (size_t i = 0; i < a->class_count; i++) {
		const struct policy_class *x = &a->classes[i], *y = class_by_key(b, x->key);

		if (!y || !same_class(x, y))
			return "a class";
		for (size_t j = 0; j < x->count; j++) {
			const char *tx = tables_rule(a, x->entries[j].rule), *ty = tables_rule(b, y->entries[j].rule);

			if (!tx || !ty || strcmp(tx, ty) != 0)
				return "the rule of an entry";
		}
	}
	return NULL;
}

static const char *identities_differ(const struct tables *a, const struct tables *b)
{
	for (size_t i = 0; i < a->identity_count; i++) {
		size_t j = 0;

		while (j < b->identity_count && b->identities[j].identity != a->identities[i].identity)
			j++;
		if (j == b->identity_count || b->identities[j].peer != a->identities[i].peer)
			return "an identity";
	}
	return NULL;
}

static const char *endpoints_differ(const struct tables *a, const struct tables *b)
{
	for (size_t i = 0; i < a->endpoint_count; i++) {
		const struct policy_endpoint *x = &a->endpoints[i], *y = tables_endpoint(b, x->ifindex);

		if (!y || x->identity != y->identity || x->class_key != y->class_key)
			return "an endpoint";
	}
	return NULL;
}

static size_t living_rules(const struct tables *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->rule_count; i++)
		n += !t->rules[i].gone;
	return n;
}

const char *tables_differ(const struct tables *a, const struct tables *b)
{
	const char *what;

	if (a->class_count != b->class_count)
		return "the number of classes";
	if (a->identity_count != b->identity_count)
		return "the number of identities";
	if (a->endpoint_count != b->endpoint_count)
		return "the number of endpoints";
	if (living_rules(a) != living_rules(b))
		return "the number of rules";
	what = classes_differ(a, b);
	if (!what)
		what = identities_differ(a, b);
	return what ? what : endpoints_differ(a, b);
}

/* --- as the data path looks them up --- */

static const struct policy_class *class_by_number(const struct tables *t, uint32_t number)
{
	number -= WR_CLASS_FIRST;
	return number < t->class_count ? &t->classes[number] : NULL;
}

static int get_info(void *arg, uint32_t policy_class, struct wr_class_info *info)
{
	const struct policy_class *class = class_by_number(arg, policy_class);

	if (!class)
		return -ENOENT;
	*info = class->info;
	return 0;
}

static int get_identity(void *arg, uint64_t identity, uint64_t *peer)
{
	const struct tables *t = arg;

	for (size_t i = 0; i < t->identity_count; i++) {
		if (t->identities[i].identity == identity) {
			*peer = t->identities[i].peer;
			return 0;
		}
	}
	return -ENOENT;
}

static int get_cidr(void *arg, uint32_t policy_class, uint32_t direction, const struct ip *ip, uint64_t *peer)
{
	const struct policy_class *class = class_by_number(arg, policy_class);
	int longest = -1;

	for (size_t i = 0; class && i < class->cidr_count; i++) {
		const struct policy_cidr *c = &class->cidrs[i];
		struct prefix prefix = { c->ip, c->length };

		if (c->direction != direction || c->length <= longest || !prefix_contains(&prefix, ip))
			continue;
		longest = c->length;
		*peer = c->peer;
	}
	return longest < 0 ? -ENOENT : 0;
}

static int key_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct wr_policy_key));
}

static int get_entry(void *arg, const struct wr_policy_key *key, uint32_t *rule)
{
	const struct policy_class *class = class_by_number(arg, key->policy_class);
	struct wr_policy_key sought = *key;
	const struct wr_policy_key *found;

	sought.policy_class = 0;
	found = class && class->count ? bsearch(&sought, class->keys, class->count, sizeof(sought), key_cmp) : NULL;
	if (!found)
		return -ENOENT;
	*rule = class->entries[found - class->keys].rule;
	return 0;
}

struct lookup_tables tables_lookup(struct tables *t)
{
	return (struct lookup_tables){ get_info, get_identity, get_cidr, get_entry, t };
}
