/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads struct apply from the maps. */
#include "apply_internal.h"

#include <errno.h>
#include <string.h>

/* --- rules --- */

struct each_rule {
	int (*fn)(uint32_t rule, const char *text, void *arg);
	void *arg;
};

static int on_rule(const void *key, const void *value, void *arg)
{
	const struct each_rule *each = arg;
	char text[WR_RULE_TEXT];

	memcpy(text, value, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	return each->fn(*(const uint32_t *)key, text, each->arg);
}

int apply_each_rule(struct apply *a, int (*fn)(uint32_t rule, const char *text, void *arg), void *arg, struct err *err)
{
	return a->ops->each(a->arg, APPLY_RULES, on_rule, &(struct each_rule){ fn, arg }, err);
}

static int load_rule(uint32_t rule, const char *text, void *arg)
{
	struct apply *a = arg;

	return u64map_set(&a->rules, rule, text_hash(text));
}

/* --- the rest --- */

static struct map_class *class_get(struct apply *a, uint32_t number)
{
	struct map_class *class = class_by_number(a, number);

	return class ? class : class_add(a, number);
}

static int load_class(const void *key, const void *value, void *arg)
{
	struct map_class *class = class_get(arg, *(const uint32_t *)key);

	if (!class)
		return -ENOMEM;
	class->content.info = *(const struct wr_class_info *)value;
	for (int d = 0; d < WR_DIRECTIONS; d++)
		class->denied |= !!(class->content.info.flags[d] & WR_CLASS_NO_ROOM);
	return 0;
}

static int load_entry(const void *key, const void *value, void *arg)
{
	struct wr_policy_key k = *(const struct wr_policy_key *)key;
	struct map_class *class = class_get(arg, k.policy_class);

	k.policy_class = 0;
	return class ? entries_add(&class->content.entries, &k, ((const struct wr_policy_entry *)value)->rule)
		     : -ENOMEM;
}

static int load_cidr(struct apply *a, uint32_t class_direction, struct ip ip, uint32_t prefixlen,
		     const struct wr_peer *peer)
{
	struct map_class *class = class_get(a, class_direction / 2);
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

	return u64map_set(&a->identities, *(const uint64_t *)key, ((const struct wr_peer *)value)->peer);
}

static int load_endpoint(const struct dp_endpoint_policy *policy, void *arg)
{
	struct apply_endpoint *ep = endpoint_add(arg, policy->ifindex);

	if (!ep)
		return -ENOMEM;
	ep->policy_class = policy->policy_class;
	ep->revision = policy->revision;
	ep->identity = policy->identity;
	return 0;
}

int apply_load(struct apply *a, struct err *err)
{
	static int (*const load[APPLY_RULES])(const void *key, const void *value, void *arg) = {
		[APPLY_POLICY] = load_entry, [APPLY_CLASSES] = load_class,	 [APPLY_CIDRS4] = load_cidr4,
		[APPLY_CIDRS6] = load_cidr6, [APPLY_IDENTITIES] = load_identity,
	};
	uint32_t invalid = a->state.policies_invalid;
	struct map_class *class;
	int ret = a->ops->state_get(a->arg, &a->state, err);

	a->state.policies_invalid = invalid;
	a->interrupted = a->state.revision && !a->state.applied_ns;
	apply_forget(a);
	for (int t = 0; t < APPLY_RULES && ret == 0; t++)
		ret = a->ops->each(a->arg, t, load[t], a, err);
	if (ret == 0)
		ret = apply_each_rule(a, load_rule, a, err);
	if (ret == 0)
		ret = a->ops->each_endpoint(a->arg, load_endpoint, a, err);
	if (ret == -ENOMEM)
		return err_set(err, ENOMEM, "no memory for the content of the policy maps");
	list_each(class, &a->classes, in_classes) {
		entries_sort(&class->content.entries);
		cidrs_sort(&class->content.cidrs);
	}
	return ret;
}
