/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's copy of the maps: classes, endpoints, identities and rules. */
#include "apply_internal.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "siphash.h"

#define CLASS_NUMBERS (1u << 31) /* the maximum of wr_cidr_class() */

/* --- classes --- */

static void class_free(struct map_class *class)
{
	content_free(&class->content);
	content_free(&class->next);
	entries_free(&class->transition_old);
	entries_free(&class->transition_new);
	free(class);
}

struct map_class *class_by_number(const struct apply *a, uint32_t number)
{
	struct map_class *class;

	table_each_hash(class, &a->by_number, number, by_number)
		return class;
	return NULL;
}

struct map_class *class_by_key(const struct apply *a, uint64_t key)
{
	struct map_class *class;

	table_each_hash(class, &a->by_key, key, by_key)
		return class;
	return NULL;
}

struct map_class *class_add(struct apply *a, uint32_t number)
{
	struct map_class *class = calloc(1, sizeof(*class));

	if (!class)
		return NULL;
	class->number = number;
	table_add(&a->by_number, &class->by_number, number);
	list_append(&a->classes, &class->in_classes);
	return class;
}

void class_remove(struct apply *a, struct map_class *class)
{
	class_set_key(a, class, 0);
	table_remove(&a->by_number, &class->by_number);
	list_remove(&class->in_classes);
	class_free(class);
}

void class_set_key(struct apply *a, struct map_class *class, uint64_t key)
{
	if (class->key)
		table_remove(&a->by_key, &class->by_key);
	class->key = key;
	if (key)
		table_add(&a->by_key, &class->by_key, key);
}

struct map_class *class_alloc(struct apply *a, uint64_t key)
{
	uint32_t number = a->state.policy_class;
	struct map_class *class;

	do {
		number = number + 1 < WR_CLASS_FIRST || number + 1 >= CLASS_NUMBERS ? WR_CLASS_FIRST : number + 1;
	} while (class_by_number(a, number));
	a->state.policy_class = number;
	class = class_add(a, number);
	if (class)
		class_set_key(a, class, key);
	return class;
}

/* --- endpoints --- */

static int ifindex_cmp(const void *key, const void *element)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct apply_endpoint *)element)->ifindex;

	return (a > b) - (a < b);
}

/* The endpoint's position, or where to insert it. */
static size_t endpoint_index(const struct apply *a, uint32_t ifindex)
{
	return array_lower_bound(&ifindex, a->endpoints, a->endpoint_count, sizeof(*a->endpoints), ifindex_cmp);
}

struct apply_endpoint *endpoint_find(const struct apply *a, uint32_t ifindex)
{
	size_t i = endpoint_index(a, ifindex);

	return i < a->endpoint_count && a->endpoints[i].ifindex == ifindex ? &a->endpoints[i] : NULL;
}

struct apply_endpoint *endpoint_add(struct apply *a, uint32_t ifindex)
{
	size_t i = endpoint_index(a, ifindex);

	if (i < a->endpoint_count && a->endpoints[i].ifindex == ifindex)
		return &a->endpoints[i];
	if (array_grow(&a->endpoints, &a->endpoint_room, a->endpoint_count, sizeof(*a->endpoints)) < 0)
		return NULL;
	memmove(&a->endpoints[i + 1], &a->endpoints[i], (a->endpoint_count++ - i) * sizeof(*a->endpoints));
	a->endpoints[i] = (struct apply_endpoint){ .ifindex = ifindex };
	return &a->endpoints[i];
}

void apply_endpoint_gone(struct apply *a, uint32_t ifindex)
{
	struct apply_endpoint *ep = endpoint_find(a, ifindex);

	if (ep)
		memmove(ep, ep + 1, (size_t)(&a->endpoints[a->endpoint_count--] - (ep + 1)) * sizeof(*ep));
}

struct map_class *endpoint_class(const struct apply *a, const struct apply_endpoint *ep)
{
	return is_policy_class(ep->class_key) ? class_by_key(a, ep->class_key) : NULL;
}

uint32_t endpoint_target(const struct apply *a, const struct apply_endpoint *ep)
{
	const struct map_class *class = endpoint_class(a, ep), *old = class_by_number(a, ep->policy_class);

	if (!is_policy_class(ep->class_key))
		return (uint32_t)ep->class_key;
	if (class && class->denied && old && !old->denied && isolates_all_of(&old->content.info, &class->content.info))
		return old->number;
	return class ? class->number : WR_CLASS_QUARANTINE;
}

bool class_is_held(const struct apply *a, const struct map_class *class)
{
	bool held = false;

	for (size_t i = 0; i < a->endpoint_count && !held; i++) {
		const struct apply_endpoint *ep = &a->endpoints[i];

		held = ep->compiled && ep->policy_class == class->number && endpoint_target(a, ep) == class->number;
	}
	return held;
}

/* --- struct apply --- */

/* No secret is needed: the hash only avoids writing a text that is in the map already. */
static const uint8_t no_key[POLICY_KEY_SIZE];

uint64_t text_hash(const char *text)
{
	return siphash24(no_key, text, strlen(text));
}

void apply_forget(struct apply *a)
{
	struct map_class *class, *after;

	list_each_safe(class, after, &a->classes, in_classes)
		class_remove(a, class);
	table_free(&a->by_key);
	table_free(&a->by_number);
	hashmap_free(&a->identities);
	hashmap_free(&a->not_programmed);
	hashmap_free(&a->rules);
	hashmap_free(&a->unnamed);
	a->endpoint_count = 0;
	a->freed = a->lacks_room = false;
}

struct apply *apply_new(const struct apply_ops *ops, void *arg)
{
	struct apply *a = calloc(1, sizeof(*a));

	if (a) {
		a->ops = ops;
		a->arg = arg;
	}
	return a;
}

void apply_free(struct apply *a)
{
	if (!a)
		return;
	apply_forget(a);
	free(a->endpoints);
	free(a);
}

void apply_on_identities(struct apply *a, void (*fn)(void *arg, const struct policy_changes *changes, bool full),
			 void *arg)
{
	a->on_identities = fn;
	a->on_identities_arg = arg;
}

/* --- queries --- */

const struct apply_endpoint *apply_endpoint(const struct apply *a, uint32_t ifindex)
{
	return endpoint_find(a, ifindex);
}

const struct apply_endpoint *apply_endpoints(const struct apply *a, size_t *count)
{
	*count = a->endpoint_count;
	return a->endpoints;
}

uint32_t apply_class(const struct apply *a, uint64_t class_key, bool *denied)
{
	const struct map_class *class = class_by_key(a, class_key);

	*denied = class && class->denied;
	return class ? class->number : 0;
}

uint64_t apply_class_key(const struct apply *a, uint32_t number)
{
	const struct map_class *class = class_by_number(a, number);

	return class ? class->key : 0;
}

void apply_count(const struct apply *a, struct apply_counts *counts)
{
	*counts = (struct apply_counts){ a->state, a->not_programmed.count, a->unnamed.count, a->stale_endpoints };
}

void apply_set_invalid(struct apply *a, uint32_t policies_invalid)
{
	a->state.policies_invalid = policies_invalid;
}

bool apply_again(const struct apply *a)
{
	return a->freed && a->lacks_room;
}
