/* SPDX-License-Identifier: BSD-2-Clause */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"

/* --- lists of elements into the tables ---------------------------------------------------------------------------- */

enum write { PUT, DELETE };

static int write_entries(struct apply *a, enum write write, uint32_t number, const struct entries *list,
			 struct err *err)
{
	_cleanup_free_ struct wr_policy_key *keys = calloc(list->count + 1, sizeof(*keys));
	_cleanup_free_ struct wr_policy_entry *values = calloc(list->count + 1, sizeof(*values));

	if (list->count == 0)
		return 0;
	if (!keys || !values)
		return err_set(err, ENOMEM, "no memory for the entries of class %u", number);
	for (size_t i = 0; i < list->count; i++) {
		keys[i] = list->v[i].key;
		keys[i].policy_class = number;
		values[i] = list->v[i].value;
	}
	return write == PUT ? a->ops->put(a->arg, APPLY_POLICY, keys, values, list->count, err)
			    : a->ops->delete (a->arg, APPLY_POLICY, keys, list->count, err);
}

static int longer_first(const void *a, const void *b)
{
	return ((const struct policy_cidr *)b)->length - ((const struct policy_cidr *)a)->length;
}

static int shorter_first(const void *a, const void *b)
{
	return longer_first(b, a);
}

static int write_family(struct apply *a, enum write write, uint32_t number, int family, const struct cidrs *list,
			struct err *err)
{
	enum apply_table table = family == AF_INET ? APPLY_CIDRS4 : APPLY_CIDRS6;
	size_t size = family == AF_INET ? sizeof(struct wr_cidr4_key) : sizeof(struct wr_cidr6_key), count = 0;
	_cleanup_free_ char *keys = calloc(list->count + 1, size);
	_cleanup_free_ struct wr_peer *values = calloc(list->count + 1, sizeof(*values));

	if (!keys || !values)
		return err_set(err, ENOMEM, "no memory for the prefixes of class %u", number);
	for (size_t i = 0; i < list->count; i++) {
		const struct policy_cidr *cidr = &list->v[i];
		/* The same for both families but for the length of the address, which comes last. */
		struct wr_cidr6_key key = { .prefixlen = WR_CIDR_CLASS_BITS + cidr->length,
					    .class_direction = wr_cidr_class(number, cidr->direction) };

		if (cidr->ip.family != family)
			continue;
		memcpy(&key.addr, cidr->ip.bytes, ip_bytes(&cidr->ip));
		memcpy(keys + count * size, &key, size);
		values[count++].peer = cidr->peer;
	}
	if (count == 0)
		return 0;
	return write == PUT ? a->ops->put(a->arg, table, keys, values, count, err)
			    : a->ops->delete (a->arg, table, keys, count, err);
}
_Static_assert(offsetof(struct wr_cidr4_key, addr) == offsetof(struct wr_cidr6_key, addr), "keys of one shape");

/*
 * A prefix hides the shorter ones. Put in from the longest, so that none is ever seen where a longer one belongs; taken
 * out from the shortest, so that none shows one that goes too.
 */
static int write_cidrs(struct apply *a, enum write write, uint32_t number, struct cidrs *list, struct err *err)
{
	int ret;

	if (list->count == 0)
		return 0;
	qsort(list->v, list->count, sizeof(*list->v), write == PUT ? longer_first : shorter_first);
	ret = write_family(a, write, number, AF_INET, list, err);
	if (ret == 0)
		ret = write_family(a, write, number, AF_INET6, list, err);
	cidrs_sort(list);
	return ret;
}

static int put_info(struct apply *a, const struct class *class, const struct wr_class_info *info, struct err *err)
{
	return a->ops->put(a->arg, APPLY_CLASSES, &class->number, info, 1, err);
}

static bool no_room(int ret)
{
	return ret == -ENOSPC || ret == -ENOMEM || ret == -E2BIG;
}

/* --- classes ---------------------------------------------------------------------------------------------------------
 */

static int delete_content(struct apply *a, uint32_t number, struct content *content, struct err *err)
{
	int ret = write_cidrs(a, DELETE, number, &content->cidrs, err);

	return ret < 0 ? ret : write_entries(a, DELETE, number, &content->entries, err);
}

/*
 * The class does not fit. Whoever is in it goes into one that denies, and what there is of it goes; `next` is kept, to
 * be tried again.
 */
static int class_deny(struct apply *a, struct class *class, struct err *err)
{
	struct wr_class_info info = { 0 };
	int ret = 0;

	a->lacks_room = true;
	if (class->step == STEP_EDIT && !class->denied) {
		struct class *denied;
		uint64_t key = class->key;

		/* Its own number holds the old content, and perhaps some of the new: all of it goes in the end. */
		ret = content_append(&class->content, &class->next);
		class->step = STEP_GONE;
		class_set_key(a, class, 0);
		denied = ret == 0 ? draw_class(a, key) : NULL;
		if (!denied)
			return err_set(err, ENOMEM, "no memory for a policy class");
		denied->next = class->next;
		class->next = (struct content){ 0 };
		denied->step = STEP_NEW;
		class = denied;
		ret = a->ops->state_set(a->arg, &a->state, err);
	} else {
		ret = delete_content(a, class->number, &class->next, err);
	}
	if (ret < 0)
		return ret;
	if (class->denied)
		class->step = STEP_KEEP;
	class->denied = true;
	for (int d = 0; d < WR_DIRECTIONS; d++) {
		if (class->next.info.flags[d] & WR_CLASS_ISOLATED)
			info.flags[d] = WR_CLASS_ISOLATED | WR_CLASS_NO_ROOM;
	}
	/* If not even this fits, the class is in no map, and denies too. */
	put_info(a, class, &info, NULL);
	class->content.info = info;
	return 0;
}

/* Makes what the class will hold be there, besides what it holds. */
static int class_extend(struct apply *a, struct class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries more = { 0 };
	struct wr_class_info info = class->next.info;
	int ret;

	if (class->step != STEP_EDIT && class->step != STEP_NEW)
		return 0;
	if (entries_minus(&class->next.entries, &class->content.entries, true, &more) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	ret = write_entries(a, PUT, class->number, &more, err);
	if (ret == 0 && class->step == STEP_NEW)
		ret = write_cidrs(a, PUT, class->number, &class->next.cidrs, err);
	if (class->step == STEP_EDIT)
		info = info_union(&class->content.info, &class->next.info);
	/* A class that was denied opens only when it is complete. */
	if (ret == 0 && !class->denied &&
	    (class->step == STEP_NEW || memcmp(&info, &class->content.info, sizeof(info)) != 0)) {
		ret = put_info(a, class, &info, err);
		class->content.info = info;
	}
	return no_room(ret) ? class_deny(a, class, err) : ret;
}

static int class_edit_cidrs(struct apply *a, struct class *class, struct err *err)
{
	_cleanup_(cidrs_free) struct cidrs more = { 0 }, less = { 0 };
	int ret;

	if (class->step != STEP_EDIT)
		return 0;
	if (cidrs_minus(&class->next.cidrs, &class->content.cidrs, true, &more) < 0 ||
	    cidrs_minus(&class->content.cidrs, &class->next.cidrs, false, &less) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	ret = write_cidrs(a, PUT, class->number, &more, err);
	if (no_room(ret))
		return class_deny(a, class, err);
	return ret < 0 ? ret : write_cidrs(a, DELETE, class->number, &less, err);
}

/* From the union of old and new content to the new one. */
static int class_shrink(struct apply *a, struct class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries less = { 0 };
	int ret = 0;

	if (class->step == STEP_GONE)
		return 0;
	if (entries_minus(&class->bridge_old, &class->bridge_new, false, &less) < 0 ||
	    (class->step == STEP_EDIT &&
	     entries_minus(&class->content.entries, &class->next.entries, false, &less) < 0))
		return err_set(err, ENOMEM, "no memory for a policy class");
	if (class->step == STEP_EDIT && memcmp(&class->next.info, &class->content.info, sizeof(class->next.info)) != 0)
		ret = put_info(a, class, &class->next.info, err);
	/* Only one that was denied, and then not even for want of its element, can fail so. */
	if (no_room(ret))
		return class_deny(a, class, err);
	if (ret == 0)
		ret = write_entries(a, DELETE, class->number, &less, err);
	if (ret < 0)
		return ret;
	a->freed |= less.count > 0;
	if ((class->step == STEP_EDIT || class->step == STEP_NEW) && !(class->denied && class->step == STEP_NEW)) {
		content_free(&class->content);
		class->content = class->next;
		class->next = (struct content){ 0 };
		class->changed = true;
		class->denied = false;
	}
	return 0;
}

/* Nobody needs the transitional peers any more, nor the class itself, perhaps. */
static int class_clean(struct apply *a, struct class *class, struct err *err)
{
	int ret = write_entries(a, DELETE, class->number, &class->bridge_new, err);

	if (class->step == STEP_GONE) {
		if (ret == 0)
			ret = a->ops->delete (a->arg, APPLY_CLASSES, &class->number, 1, err);
		if (ret == 0)
			ret = write_entries(a, DELETE, class->number, &class->bridge_old, err);
		if (ret == 0)
			ret = delete_content(a, class->number, &class->content, err);
		a->freed = true;
	}
	entries_free(&class->bridge_old);
	entries_free(&class->bridge_new);
	return ret;
}

typedef int class_fn(struct apply *a, struct class *class, struct err *err);

static int each_class(struct apply *a, class_fn *fn, struct err *err)
{
	int ret = 0;

	/* class_deny() appends classes, for which all is done already. */
	for (size_t i = 0, count = a->class_count; i < count && ret == 0; i++)
		ret = fn(a, a->classes[i], err);
	return ret;
}

/*
 * Entries for the transitional peers, before any class is touched. If they do not fit, identities move straight: some
 * flow of an endpoint that leaves its class may be refused meanwhile, and is judged again at once.
 */
static int put_bridges(struct apply *a, struct plan *plan, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < a->class_count && ret == 0; i++) {
		const struct class *class = a->classes[i];

		ret = write_entries(a, PUT, class->number, &class->bridge_old, err);
		if (ret == 0)
			ret = write_entries(a, PUT, class->number, &class->bridge_new, err);
	}
	if (!no_room(ret))
		return ret;
	plan->bridge_count = 0;
	ret = 0;
	for (size_t i = 0; i < a->class_count && ret == 0; i++) {
		struct class *class = a->classes[i];

		ret = write_entries(a, DELETE, class->number, &class->bridge_old, err);
		if (ret == 0)
			ret = write_entries(a, DELETE, class->number, &class->bridge_new, err);
		entries_free(&class->bridge_old);
		entries_free(&class->bridge_new);
	}
	return ret;
}

/* --- identities
 * --------------------------------------------------------------------------------------------------------- */

/* Identities to one table operation each kind. */
struct identity_batch {
	uint64_t *put, *gone;
	struct wr_peer *peers;
	size_t put_count, gone_count;
};

static void identity_batch_free(struct identity_batch *batch)
{
	free(batch->put);
	free(batch->gone);
	free(batch->peers);
}

static int identity_batch_new(struct identity_batch *batch, size_t count, struct err *err)
{
	batch->put = calloc(count + 1, sizeof(*batch->put));
	batch->gone = calloc(count + 1, sizeof(*batch->gone));
	batch->peers = calloc(count + 1, sizeof(*batch->peers));
	return batch->put && batch->gone && batch->peers ? 0 : err_set(err, ENOMEM, "no memory for identities");
}

static void identity_batch_add(struct identity_batch *batch, uint64_t identity, uint64_t peer)
{
	if (peer == WR_PEER_NONE) {
		batch->gone[batch->gone_count++] = identity;
	} else {
		batch->put[batch->put_count] = identity;
		batch->peers[batch->put_count++].peer = peer;
	}
}

/* Those for which there is no room are left out: they match fewer rules then. */
static int put_identities(struct apply *a, const struct identity_batch *batch, struct err *err)
{
	int ret = batch->put_count
		      ? a->ops->put(a->arg, APPLY_IDENTITIES, batch->put, batch->peers, batch->put_count, err)
		      : 0;
	bool all = ret == 0;

	if (ret < 0 && !no_room(ret))
		return ret;
	for (size_t i = 0; i < batch->put_count; i++) {
		const uint64_t *identity = &batch->put[i];
		const struct wr_peer *peer = &batch->peers[i];

		ret = all ? 0 : a->ops->put(a->arg, APPLY_IDENTITIES, identity, peer, 1, err);
		if (ret < 0 && !no_room(ret))
			return ret;
		a->lacks_room |= ret < 0;
		if (ret == 0)
			numbers_remove(&a->left_out, *identity);
		if (numbers_set(ret < 0 ? &a->left_out : &a->identities, *identity, peer->peer) < 0)
			return err_set(err, ENOMEM, "no memory for identities");
	}
	return 0;
}

static int write_identities(struct apply *a, const struct identity_batch *batch, struct err *err)
{
	int ret = put_identities(a, batch, err);

	if (ret == 0 && batch->gone_count)
		ret = a->ops->delete (a->arg, APPLY_IDENTITIES, batch->gone, batch->gone_count, err);
	for (size_t i = 0; i < batch->gone_count && ret == 0; i++)
		numbers_remove(&a->identities, batch->gone[i]);
	a->freed |= batch->gone_count > 0;
	return ret;
}

static uint64_t transitional(const struct plan *plan, const struct move *move)
{
	const struct bridge wanted = { move->as_from, move->to, 0 };

	for (size_t low = 0, high = plan->bridge_count; low < high;) {
		size_t middle = (low + high) / 2;
		int cmp = bridge_cmp(&plan->bridges[middle], &wanted);

		if (cmp == 0)
			return plan->bridges[middle].peer;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return move->to;
}

enum phase {
	ENTER,  /* to the transitional peer classes, where there are any */
	LEAVE,  /* those that no selector matches (or nobody has) any more, after endpoints have got their new ones */
	SETTLE, /* from the transitional ones on to their end */
};

static int move_identities(struct apply *a, const struct plan *plan, enum phase phase, struct err *err)
{
	_cleanup_(identity_batch_free) struct identity_batch batch = { 0 };
	int ret = identity_batch_new(&batch, plan->move_count, err);

	for (size_t i = 0; i < plan->move_count && ret == 0; i++) {
		const struct move *move = &plan->moves[i];
		uint64_t by = transitional(plan, move);

		if (phase == SETTLE ? by != move->to : phase == (by == WR_PEER_NONE ? LEAVE : ENTER))
			identity_batch_add(&batch, move->identity, phase == SETTLE ? move->to : by);
	}
	return ret < 0 ? ret : write_identities(a, &batch, err);
}

/* --- rules ----------------------------------------------------------------------------------------------------------
 */

static int put_texts(struct apply *a, const struct policy_changes *changes, struct err *err)
{
	for (size_t i = 0; i < changes->rule_count; i++) {
		const struct policy_rule_name *name = &changes->rules[i];
		struct wr_rule_text text = { 0 };
		uint64_t known;
		int ret;

		strncpy(text.text, name->text, sizeof(text.text) - 1);
		if (name->gone || (numbers_get(&a->rules, name->rule, &known) && known == text_hash(text.text)))
			continue;
		ret = a->ops->put(a->arg, APPLY_RULES, &name->rule, &text, 1, err);
		/* A name that does not fit is only missing where verdicts are shown. */
		if (ret < 0 && !no_room(ret))
			return ret;
		if (ret == 0 && numbers_set(&a->rules, name->rule, text_hash(text.text)) < 0)
			return err_set(err, ENOMEM, "no memory for rules");
	}
	return 0;
}

static int delete_rule(struct apply *a, uint32_t rule, struct err *err)
{
	uint64_t known;

	if (!numbers_get(&a->rules, rule, &known))
		return 0;
	numbers_remove(&a->rules, rule);
	return a->ops->delete (a->arg, APPLY_RULES, &rule, 1, err);
}

static int delete_texts(struct apply *a, const struct policy_changes *changes, bool full, struct err *err)
{
	struct numbers named = { 0 };
	_cleanup_free_ uint32_t *gone = calloc(a->rules.count + 1, sizeof(*gone));
	size_t count = 0;
	int ret = gone ? 0 : err_set(err, ENOMEM, "no memory for rules");

	for (size_t i = 0; i < changes->rule_count && ret == 0; i++) {
		const struct policy_rule_name *name = &changes->rules[i];

		if (name->gone)
			ret = delete_rule(a, name->rule, err);
		else if (full && numbers_set(&named, name->rule, 1) < 0)
			ret = err_set(err, ENOMEM, "no memory for rules");
	}
	if (full && ret == 0) {
		uint64_t one;

		numbers_for_each(&a->rules, pair)
		{
			if (!numbers_get(&named, pair->key, &one))
				gone[count++] = (uint32_t)pair->key;
		}
	}
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = delete_rule(a, gone[i], err);
	numbers_free(&named);
	return ret;
}

/* --- endpoints
 * --------------------------------------------------------------------------------------------------------- */

static bool needs_word(const struct apply *a, const struct apply_endpoint *ep, bool judge_all)
{
	uint32_t target = endpoint_target(a, ep);
	const struct class *class = class_by(&a->by_number, target);

	if (!ep->compiled)
		return false;
	return ep->missing || ep->renamed || target != ep->policy_class || ep->wanted_identity != ep->identity ||
	       (class && (class->changed || judge_all));
}

/* Another identity, and otherwise what they had. */
static int set_names(struct apply *a, struct err *err)
{
	_cleanup_free_ struct dp_word *words = calloc(a->endpoint_count + 1, sizeof(*words));
	_cleanup_free_ bool *missing = calloc(a->endpoint_count + 1, sizeof(*missing));
	size_t count = 0;

	if (!words || !missing)
		return err_set(err, ENOMEM, "no memory for endpoints");
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];

		if (!ep->compiled || ep->missing || ep->wanted_identity == ep->identity)
			continue;
		ep->renamed = true;
		words[count++] = (struct dp_word){ ep->ifindex, ep->policy_class, ep->revision, ep->wanted_identity };
	}
	return count ? a->ops->words(a->arg, words, count, missing, err) : 0;
}

static int set_words(struct apply *a, bool judge_all, struct err *err)
{
	_cleanup_free_ struct dp_word *words = calloc(a->endpoint_count + 1, sizeof(*words));
	_cleanup_free_ bool *missing = calloc(a->endpoint_count + 1, sizeof(*missing));
	size_t count = 0;
	int ret;

	if (!words || !missing)
		return err_set(err, ENOMEM, "no memory for endpoints");
	for (size_t i = 0; i < a->endpoint_count; i++) {
		struct apply_endpoint *ep = &a->endpoints[i];
		uint32_t target = endpoint_target(a, ep);
		const struct class *class = class_by(&a->by_number, target);

		ep->denied = class && class->denied;
		if (!needs_word(a, ep, judge_all))
			continue;
		words[count++] = (struct dp_word){ ep->ifindex, target, a->state.revision, ep->wanted_identity };
	}
	if (count == 0)
		return 0;
	ret = a->ops->words(a->arg, words, count, missing, err);
	for (size_t i = 0; i < count && ret == 0; i++) {
		struct apply_endpoint *ep = endpoint_find(a, words[i].ifindex);

		ep->policy_class = words[i].policy_class;
		ep->revision = words[i].revision;
		ep->identity = words[i].identity;
		ep->missing = missing[i];
		ep->renamed = false;
	}
	return ret;
}

/* --- the run
 * ---------------------------------------------------------------------------------------------------------- */

static bool anything_to_do(const struct apply *a, const struct policy_changes *changes, bool full,
			   const struct plan *plan)
{
	bool something = full || plan->move_count || plan->judge_all || changes->rule_count;

	for (size_t i = 0; i < a->class_count && !something; i++)
		something = a->classes[i]->step != STEP_KEEP;
	for (size_t i = 0; i < a->endpoint_count && !something; i++)
		something = needs_word(a, &a->endpoints[i], false);
	return something;
}

/* From here to finish() the state says that a change is under way. */
static int draw_revision(struct apply *a, struct err *err)
{
	a->state.revision++;
	a->state.applied_ns = 0;
	return a->ops->state_set(a->arg, &a->state, err);
}

static int finish(struct apply *a, struct err *err)
{
	for (size_t i = a->class_count; i-- > 0;) {
		if (a->classes[i]->step == STEP_GONE)
			class_remove(a, a->classes[i]);
	}
	a->state.classes_denied = 0;
	for (size_t i = 0; i < a->class_count; i++)
		a->state.classes_denied += a->classes[i]->denied;
	a->lacks_room = a->state.classes_denied || a->left_out.count;
	a->state.applied_ns = clock_ns(CLOCK_BOOTTIME);
	a->state.changes++;
	a->interrupted = false;
	return a->ops->state_set(a->arg, &a->state, err);
}

static void tell_names(struct apply *a, const struct policy_changes *changes, bool full)
{
	if (a->names)
		a->names(a->names_arg, changes, full);
}

static int run_steps(struct apply *a, const struct policy_changes *changes, bool full, struct plan *plan,
		     struct err *err)
{
	int ret = put_texts(a, changes, err);

	if (ret == 0)
		ret = put_bridges(a, plan, err);
	if (ret == 0)
		ret = each_class(a, class_extend, err);
	if (ret == 0)
		ret = move_identities(a, plan, ENTER, err);
	if (ret == 0)
		ret = set_names(a, err);
	if (ret == 0)
		tell_names(a, changes, full);
	if (ret == 0)
		ret = move_identities(a, plan, LEAVE, err);
	if (ret == 0)
		ret = each_class(a, class_edit_cidrs, err);
	if (ret == 0)
		ret = each_class(a, class_shrink, err);
	if (ret == 0)
		ret = set_words(a, plan->judge_all, err);
	if (ret == 0)
		ret = move_identities(a, plan, SETTLE, err);
	if (ret == 0)
		ret = each_class(a, class_clean, err);
	return ret < 0 ? ret : delete_texts(a, changes, full, err);
}

int apply_run(struct apply *a, const struct policy_changes *changes, bool full, struct err *err)
{
	_cleanup_(plan_free) struct plan plan = { 0 };
	int ret = plan_make(a, changes, full, &plan);

	if (ret < 0)
		return err_set(err, ENOMEM, "no memory to apply policy");
	a->freed = false;
	if (!anything_to_do(a, changes, full, &plan)) {
		tell_names(a, changes, full);
		return 0;
	}
	ret = draw_revision(a, err);
	if (ret == 0)
		ret = run_steps(a, changes, full, &plan, err);
	return ret < 0 ? ret : finish(a, err);
}
