/* SPDX-License-Identifier: BSD-2-Clause */
/* What the maps hold, as the agent keeps it in mind. */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "siphash.h"

/* A number for a text that nobody can choose matters little here: it only saves writing what is there already. */
static const uint8_t no_key[POLICY_KEY_SIZE];

uint64_t text_hash(const char *text)
{
	return siphash24(no_key, text, strlen(text));
}

static void class_free(struct class *class)
{
	content_free(&class->content);
	content_free(&class->next);
	entries_free(&class->bridge_old);
	entries_free(&class->bridge_new);
	free(class);
}

struct class *class_add(struct apply *a, uint32_t number)
{
	struct class *class = calloc(1, sizeof(*class));

	if (class && a->class_count == a->class_room) {
		size_t room = a->class_room ? 2 * a->class_room : 16;
		struct class **more = realloc(a->classes, room * sizeof(*more));

		if (!more) {
			free(class);
			return NULL;
		}
		a->classes = more;
		a->class_room = room;
	}
	if (!class || class_index(&a->by_number, number, class) < 0) {
		free(class);
		return NULL;
	}
	class->number = number;
	a->classes[a->class_count++] = class;
	return class;
}

void class_remove(struct apply *a, struct class *class)
{
	for (size_t i = 0; i < a->class_count; i++) {
		if (a->classes[i] != class)
			continue;
		a->classes[i] = a->classes[--a->class_count];
		break;
	}
	numbers_remove(&a->by_number, class->number);
	class_set_key(a, class, 0);
	class_free(class);
}

int class_set_key(struct apply *a, struct class *class, uint64_t key)
{
	if (class->key && class_by(&a->by_key, class->key) == class)
		numbers_remove(&a->by_key, class->key);
	class->key = key;
	return key ? class_index(&a->by_key, key, class) : 0;
}

/* Where the endpoint is, or belongs. */
static size_t endpoint_place(const struct apply *a, uint32_t ifindex)
{
	size_t low = 0, high = a->endpoint_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (a->endpoints[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct apply_endpoint *endpoint_find(const struct apply *a, uint32_t ifindex)
{
	size_t i = endpoint_place(a, ifindex);

	return i < a->endpoint_count && a->endpoints[i].ifindex == ifindex ? &a->endpoints[i] : NULL;
}

struct apply_endpoint *endpoint_add(struct apply *a, uint32_t ifindex)
{
	size_t i = endpoint_place(a, ifindex);

	if (i < a->endpoint_count && a->endpoints[i].ifindex == ifindex)
		return &a->endpoints[i];
	if (a->endpoint_count == a->endpoint_room) {
		size_t room = a->endpoint_room ? 2 * a->endpoint_room : 16;
		struct apply_endpoint *more = realloc(a->endpoints, room * sizeof(*more));

		if (!more)
			return NULL;
		a->endpoints = more;
		a->endpoint_room = room;
	}
	memmove(&a->endpoints[i + 1], &a->endpoints[i], (a->endpoint_count++ - i) * sizeof(*a->endpoints));
	a->endpoints[i] = (struct apply_endpoint){ .ifindex = ifindex };
	return &a->endpoints[i];
}

void apply_set_names(struct apply *a, void (*fn)(void *arg, const struct policy_changes *changes, bool full), void *arg)
{
	a->names = fn;
	a->names_arg = arg;
}

void apply_endpoint_gone(struct apply *a, uint32_t ifindex)
{
	struct apply_endpoint *ep = endpoint_find(a, ifindex);

	if (ep)
		memmove(ep, ep + 1, (size_t)(&a->endpoints[a->endpoint_count--] - (ep + 1)) * sizeof(*ep));
}

/* --- loading --------------------------------------------------------------------------------------------------- */

static struct class *class_get(struct apply *a, uint32_t number)
{
	struct class *class = class_by(&a->by_number, number);

	return class ? class : class_add(a, number);
}

static int load_class(const void *key, const void *value, void *arg)
{
	struct class *class = class_get(arg, *(const uint32_t *)key);

	if (!class)
		return -ENOMEM;
	class->content.info = *(const struct wr_class_info *)value;
	class->denied = class->content.info.flags[WR_INGRESS] & WR_CLASS_NO_ROOM;
	return 0;
}

static int load_entry(const void *key, const void *value, void *arg)
{
	struct wr_policy_key k = *(const struct wr_policy_key *)key;
	struct class *class = class_get(arg, k.policy_class);

	k.policy_class = 0;
	return class ? entries_add(&class->content.entries, &k, ((const struct wr_policy_entry *)value)->rule)
		     : -ENOMEM;
}

static int load_cidr(struct apply *a, uint32_t class_direction, struct ip ip, uint32_t prefixlen,
		     const struct wr_peer *peer)
{
	struct class *class = class_get(a, class_direction / 2);
	struct policy_cidr cidr = { ip, (uint8_t)(prefixlen - WR_CIDR_CLASS_BITS), class_direction % 2, peer->peer };

	return class ? cidrs_add(&class->content.cidrs, &cidr) : -ENOMEM;
}

static int load_cidr4(const void *key, const void *value, void *arg)
{
	const struct wr_cidr4_key *k = key;

	return load_cidr(arg, k->class_direction, ip_from(AF_INET, &k->addr), k->prefixlen, value);
}

static int load_cidr6(const void *key, const void *value, void *arg)
{
	const struct wr_cidr6_key *k = key;

	return load_cidr(arg, k->class_direction, ip_from(AF_INET6, &k->addr), k->prefixlen, value);
}

static int load_identity(const void *key, const void *value, void *arg)
{
	struct apply *a = arg;

	return numbers_set(&a->identities, *(const uint64_t *)key, ((const struct wr_peer *)value)->peer);
}

static int load_rule(const void *key, const void *value, void *arg)
{
	struct apply *a = arg;
	char text[WR_RULE_TEXT];

	memcpy(text, value, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	return numbers_set(&a->rules, *(const uint32_t *)key, text_hash(text));
}

static int load_word(const struct dp_word *word, void *arg)
{
	struct apply_endpoint *ep = endpoint_add(arg, word->ifindex);

	if (!ep)
		return -ENOMEM;
	ep->policy_class = word->policy_class;
	ep->revision = word->revision;
	ep->identity = word->identity;
	return 0;
}

static void forget(struct apply *a)
{
	while (a->class_count)
		class_remove(a, a->classes[a->class_count - 1]);
	numbers_free(&a->by_key);
	numbers_free(&a->by_number);
	numbers_free(&a->identities);
	numbers_free(&a->left_out);
	numbers_free(&a->rules);
	a->endpoint_count = 0;
	a->freed = a->lacks_room = false;
}

int apply_load(struct apply *a, struct err *err)
{
	static int (*const load[APPLY_TABLES])(const void *key, const void *value, void *arg) = {
		[APPLY_POLICY] = load_entry, [APPLY_CLASSES] = load_class,	 [APPLY_CIDRS4] = load_cidr4,
		[APPLY_CIDRS6] = load_cidr6, [APPLY_IDENTITIES] = load_identity, [APPLY_RULES] = load_rule,
	};
	uint32_t invalid = a->state.policies_invalid;
	int ret = a->ops->state_get(a->arg, &a->state, err);

	a->state.policies_invalid = invalid;
	a->interrupted = a->state.revision && !a->state.applied_ns;
	forget(a);
	for (int t = 0; t < APPLY_TABLES && ret == 0; t++)
		ret = a->ops->each(a->arg, t, load[t], a, err);
	if (ret == 0)
		ret = a->ops->each_word(a->arg, load_word, a, err);
	if (ret == -ENOMEM)
		return err_set(err, ENOMEM, "no memory for what the policy maps hold");
	for (size_t i = 0; i < a->class_count; i++) {
		entries_sort(&a->classes[i]->content.entries);
		cidrs_sort(&a->classes[i]->content.cidrs);
	}
	return ret;
}

struct seed {
	int (*fn)(uint32_t rule, const char *text, void *arg);
	void *arg;
};

static int seed_rule(const void *key, const void *value, void *arg)
{
	struct seed *seed = arg;
	char text[WR_RULE_TEXT];

	memcpy(text, value, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	return seed->fn(*(const uint32_t *)key, text, seed->arg);
}

int apply_each_rule(struct apply *a, int (*fn)(uint32_t rule, const char *text, void *arg), void *arg, struct err *err)
{
	return a->ops->each(a->arg, APPLY_RULES, seed_rule, &(struct seed){ fn, arg }, err);
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
	forget(a);
	free(a->classes);
	free(a->endpoints);
	free(a);
}

/* --- to look at ------------------------------------------------------------------------------------------------ */

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
	const struct class *class = class_by(&a->by_key, class_key);

	*denied = class && class->denied;
	return class ? class->number : 0;
}

void apply_count(const struct apply *a, struct apply_counts *counts)
{
	*counts = (struct apply_counts){ a->state, a->left_out.count, a->strays };
}

void apply_set_invalid(struct apply *a, uint32_t policies_invalid)
{
	a->state.policies_invalid = policies_invalid;
}

bool apply_again(const struct apply *a)
{
	return a->freed && a->lacks_room;
}
