/* SPDX-License-Identifier: BSD-2-Clause */
/* A run: the names of rules, the policies of endpoints, and the steps in order (apply.h). */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"

/* --- rules --- */

static int put_rule_names(struct apply *a, const struct policy_changes *changes, struct err *err)
{
	for (size_t i = 0; i < changes->rule_count; i++) {
		const struct policy_rule_name *name = &changes->rules[i];
		struct wr_rule_text text = { 0 };
		uint64_t known;
		int ret;

		strncpy(text.text, name->text, sizeof(text.text) - 1);
		if (name->gone || (u64map_get(&a->rules, name->rule, &known) && known == text_hash(text.text)))
			continue;
		ret = a->ops->put(a->arg, APPLY_RULES, &name->rule, &text, 1, err);
		/* A name that does not fit is counted; only the output of verdicts lacks it. */
		if (ret < 0 && !no_room(ret))
			return ret;
		if (u64map_set(ret < 0 ? &a->unnamed : &a->rules, name->rule, text_hash(text.text)) < 0)
			return err_set(err, ENOMEM, "no memory for rules");
	}
	return 0;
}

static int delete_rule_name(struct apply *a, uint32_t rule, struct err *err)
{
	u64map_remove(&a->unnamed, rule);
	if (!u64map_get(&a->rules, rule, NULL))
		return 0;
	u64map_remove(&a->rules, rule);
	return a->ops->remove(a->arg, APPLY_RULES, &rule, 1, err);
}

static int delete_rule_names(struct apply *a, const struct policy_changes *changes, bool full, struct err *err)
{
	struct hashmap named = { 0 };
	_cleanup_free_ uint32_t *gone = calloc(a->rules.count + 1, sizeof(*gone));
	size_t count = 0;
	int ret = gone ? 0 : err_set(err, ENOMEM, "no memory for rules");

	for (size_t i = 0; i < changes->rule_count && ret == 0; i++) {
		const struct policy_rule_name *name = &changes->rules[i];

		if (name->gone)
			ret = delete_rule_name(a, name->rule, err);
		else if (full && u64map_set(&named, name->rule, 1) < 0)
			ret = err_set(err, ENOMEM, "no memory for rules");
	}
	u64map_for_each(&a->rules, pair) {
		if (full && ret == 0 && !u64map_get(&named, pair->key, NULL))
			gone[count++] = (uint32_t)pair->key;
	}
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = delete_rule_name(a, gone[i], err);
	hashmap_free(&named);
	return ret;
}

/* --- endpoints --- */

static bool needs_policy(const struct apply *a, const struct apply_endpoint *ep, bool evaluate_all)
{
	uint32_t target = endpoint_target(a, ep);
	const struct map_class *class = class_by_number(a, target);

	if (!ep->compiled)
		return false;
	return ep->missing || ep->identified || target != ep->policy_class || ep->desired_identity != ep->identity ||
	       (class && (class->changed || evaluate_all));
}

/* Writes new identities, with the old class and revision. */
static int identify(struct apply *a, struct err *err)
{
	_cleanup_free_ struct dp_endpoint_policy *policies = calloc(a->endpoint_count + 1, sizeof(*policies));
	_cleanup_free_ bool *missing = calloc(a->endpoint_count + 1, sizeof(*missing));
	size_t count = 0;

	if (!policies || !missing)
		return err_set(err, ENOMEM, "no memory for endpoints");
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];

		if (!ep->compiled || ep->missing || ep->desired_identity == ep->identity)
			continue;
		ep->identified = true;
		policies[count++] =
		    (struct dp_endpoint_policy){ ep->ifindex, ep->policy_class, ep->revision, ep->desired_identity };
	}
	return count ? a->ops->set_endpoints(a->arg, policies, count, missing, err) : 0;
}

static int set_endpoints(struct apply *a, bool evaluate_all, struct err *err)
{
	_cleanup_free_ struct dp_endpoint_policy *policies = calloc(a->endpoint_count + 1, sizeof(*policies));
	_cleanup_free_ bool *missing = calloc(a->endpoint_count + 1, sizeof(*missing));
	size_t count = 0;
	int ret;

	if (!policies || !missing)
		return err_set(err, ENOMEM, "no memory for endpoints");
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];
		uint32_t target = endpoint_target(a, ep);
		const struct map_class *class = class_by_number(a, target);

		ep->denied = class && class->denied;
		if (!needs_policy(a, ep, evaluate_all))
			continue;
		policies[count++] =
		    (struct dp_endpoint_policy){ ep->ifindex, target, a->state.revision, ep->desired_identity };
	}
	if (count == 0)
		return 0;
	ret = a->ops->set_endpoints(a->arg, policies, count, missing, err);
	for (size_t i = 0; i < count && ret == 0; i++) {
		struct apply_endpoint *ep = endpoint_find(a, policies[i].ifindex);

		ep->policy_class = policies[i].policy_class;
		ep->revision = policies[i].revision;
		ep->identity = policies[i].identity;
		ep->missing = missing[i];
		ep->identified = false;
	}
	return ret;
}

/* --- the run --- */

static bool anything_to_do(const struct apply *a, const struct policy_changes *changes, bool full,
			   const struct plan *plan)
{
	const struct map_class *class;
	bool something = full || plan->move_count || plan->evaluate_all || changes->rule_count;

	list_each(class, &a->classes, in_classes)
		something |= class->step != STEP_KEEP;
	for (size_t i = 0; i < a->endpoint_count && !something; i++)
		something = needs_policy(a, &a->endpoints[i], false);
	return something;
}

/* From here to finish() the state marks a change as in progress. */
static int next_revision(struct apply *a, struct err *err)
{
	a->state.revision++;
	a->state.applied_ns = 0;
	return a->ops->state_set(a->arg, &a->state, err);
}

static int finish(struct apply *a, struct err *err)
{
	struct map_class *class, *after;

	a->state.classes_denied = 0;
	list_each_safe(class, after, &a->classes, in_classes) {
		if (class->step == STEP_GONE)
			class_remove(a, class);
		else
			a->state.classes_denied += class->denied || class->behind;
	}
	a->lacks_room = a->state.classes_denied || a->not_programmed.count;
	a->state.applied_ns = clock_ns(CLOCK_BOOTTIME);
	a->state.changes++;
	a->interrupted = false;
	return a->ops->state_set(a->arg, &a->state, err);
}

/* What was evaluated by transitional peers without entries. */
static int evaluate_again(struct apply *a, struct err *err)
{
	int ret = next_revision(a, err);

	return ret < 0 ? ret : set_endpoints(a, true, err);
}

static void notify_identities(struct apply *a, const struct policy_changes *changes, bool full)
{
	if (a->on_identities)
		a->on_identities(a->on_identities_arg, changes, full);
}

static int run_steps(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan,
		     struct err *err)
{
	int ret = put_rule_names(a, changes, err);

	if (ret == 0)
		ret = put_transitions(a, plan, err);
	if (ret == 0)
		ret = each_class(a, class_extend, err);
	if (ret == 0)
		ret = identities_move(a, plan, ENTER, err);
	if (ret == 0)
		ret = identify(a, err);
	if (ret == 0)
		notify_identities(a, changes, full);
	if (ret == 0)
		ret = identities_move(a, plan, LEAVE, err);
	if (ret == 0)
		ret = each_class(a, class_edit_cidrs, err);
	if (ret == 0)
		ret = each_class(a, class_shrink, err);
	if (ret == 0)
		ret = each_class(a, class_hold, err);
	if (ret == 0)
		ret = set_endpoints(a, plan->evaluate_all, err);
	if (ret == 0)
		ret = identities_move(a, plan, SETTLE, err);
	if (ret == 0 && plan->no_entries)
		ret = evaluate_again(a, err);
	if (ret == 0)
		ret = each_class(a, class_clean, err);
	return ret < 0 ? ret : delete_rule_names(a, changes, full, err);
}

static int run(struct apply *a, const struct policy_changes *changes, bool full, struct err *err)
{
	struct plan *plan = &a->plan;
	int ret = plan_make(a, changes, full, plan);

	if (ret < 0)
		return err_set(err, ENOMEM, "no memory to apply policy");
	a->freed = false;
	if (!anything_to_do(a, changes, full, plan)) {
		notify_identities(a, changes, full);
		return 0;
	}
	ret = next_revision(a, err);
	if (ret == 0)
		ret = run_steps(a, changes, full, plan, err);
	return ret < 0 ? ret : finish(a, err);
}

int apply_run(struct apply *a, const struct policy_changes *changes, bool full, struct err *err)
{
	int ret;

	a->plan = (struct plan){ 0 };
	ret = run(a, changes, full, err);
	plan_free(&a->plan);
	return ret;
}
