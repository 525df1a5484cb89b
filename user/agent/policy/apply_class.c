/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes classes into the tables, in the steps of a run. */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

/* --- elements of the tables --- */

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
			    : a->ops->remove(a->arg, APPLY_POLICY, keys, list->count, err);
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
		/* The keys of both families differ only in the length of the address, which comes last. */
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
			    : a->ops->remove(a->arg, table, keys, count, err);
}
_Static_assert(offsetof(struct wr_cidr4_key, addr) == offsetof(struct wr_cidr6_key, addr), "keys of one shape");

/*
 * The longest prefix matches. Prefixes are added from the longest on and deleted from the shortest on, so that an
 * address never matches a shorter prefix that is new or about to be deleted.
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

static int put_info(struct apply *a, const struct map_class *class, const struct wr_class_info *info, struct err *err)
{
	return a->ops->put(a->arg, APPLY_CLASSES, &class->number, info, 1, err);
}

/* --- classes --- */

static int delete_content(struct apply *a, uint32_t number, struct content *content, struct err *err)
{
	int ret = write_cidrs(a, DELETE, number, &content->cidrs, err);

	return ret < 0 ? ret : write_entries(a, DELETE, number, &content->entries, err);
}

/* The transitional entries of an identity's new peer class become those of the kept content. */
static int class_keep_transitions(struct apply *a, struct map_class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries planned = class->transition_new, more = { 0 }, less = { 0 }, stale = { 0 };
	int ret;

	class->transition_new = (struct entries){ 0 };
	if (transition_entries(&a->plan, &class->content.entries, true, &class->transition_new) < 0 ||
	    entries_minus(&class->transition_new, &planned, true, &more) < 0 ||
	    entries_minus(&planned, &class->transition_new, false, &stale) < 0 ||
	    entries_minus(&stale, &class->transition_old, false, &less) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	ret = write_entries(a, DELETE, class->number, &less, err);
	if (ret == 0)
		ret = write_entries(a, PUT, class->number, &more, err);
	/* Without room packets of an identity that moves are denied until it has moved. */
	return no_room(ret) ? 0 : ret;
}

/*
 * A change of the class does not fit: the class keeps its content. Of the change at most the rules of existing entries
 * were written; they are restored. If identities move, its flows are evaluated again: the kept content may not have their
 * new peer classes.
 */
static int class_keep(struct apply *a, struct map_class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries restored = { 0 };
	int ret;

	if (entries_minus(&class->content.entries, &class->next.entries, true, &restored) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	a->lacks_room = true;
	class->step = STEP_KEEP;
	class->behind = true;
	class->changed = a->plan.move_count > 0;
	ret = write_entries(a, PUT, class->number, &restored, err);
	return ret < 0 ? ret : class_keep_transitions(a, class, err);
}

/*
 * The class does not fit. Its endpoints move to a class that denies, and its elements are deleted; `next` is kept, to
 * be tried again.
 */
static int class_deny(struct apply *a, struct map_class *class, struct err *err)
{
	struct wr_class_info info = { 0 };
	int ret = 0;

	a->lacks_room = true;
	if (class->step == STEP_EDIT && !class->denied) {
		struct map_class *denied;
		uint64_t key = class->key;

		/* Its own number holds the old content and perhaps some of the new: the last step deletes both. */
		ret = content_append(&class->content, &class->next);
		class->step = STEP_GONE;
		class_set_key(a, class, 0);
		denied = ret == 0 ? class_alloc(a, key) : NULL;
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
	class->behind = false;
	class->changed = memcmp(&class->content.info, &info, sizeof(info)) != 0; /* other directions may be isolated */
	/* If even this does not fit, the class is in no map, which denies too. */
	put_info(a, class, &info, NULL);
	class->content.info = info;
	return 0;
}

/* Whether the new prefixes of an edited class fit. They are written only after identities have moved. */
static int cidrs_fit(struct apply *a, const struct map_class *class, struct err *err)
{
	_cleanup_(cidrs_free) struct cidrs more = { 0 };
	size_t count4 = 0;

	if (cidrs_minus(&class->next.cidrs, &class->content.cidrs, false, &more) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	for (size_t i = 0; i < more.count; i++)
		count4 += more.v[i].ip.family == AF_INET;
	return count4 > a->ops->room(a->arg, APPLY_CIDRS4) || more.count - count4 > a->ops->room(a->arg, APPLY_CIDRS6)
		   ? -ENOSPC
		   : 0;
}

/* Adds the new content to the old. */
int class_extend(struct apply *a, struct map_class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries more = { 0 };
	struct wr_class_info info = class->next.info;
	int ret;

	if (class->step != STEP_EDIT && class->step != STEP_NEW)
		return 0;
	if (entries_minus(&class->next.entries, &class->content.entries, true, &more) < 0)
		return err_set(err, ENOMEM, "no memory for a policy class");
	ret = class->step == STEP_EDIT ? cidrs_fit(a, class, err) : 0;
	if (ret == 0)
		ret = write_entries(a, PUT, class->number, &more, err);
	if (no_room(ret) && class->step == STEP_EDIT && !class->denied)
		return class_keep(a, class, err);
	if (ret == 0 && class->step == STEP_NEW)
		ret = write_cidrs(a, PUT, class->number, &class->next.cidrs, err);
	if (class->step == STEP_EDIT)
		info = info_union(&class->content.info, &class->next.info);
	/* A denied class allows nothing until it is complete. */
	if (ret == 0 && !class->denied &&
	    (class->step == STEP_NEW || memcmp(&info, &class->content.info, sizeof(info)) != 0)) {
		ret = put_info(a, class, &info, err);
		class->content.info = info;
	}
	if (class->refused && class->step == STEP_NEW)
		class->denied = true;
	return no_room(ret) ? class_deny(a, class, err) : ret;
}

int class_edit_cidrs(struct apply *a, struct map_class *class, struct err *err)
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
int class_shrink(struct apply *a, struct map_class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries less = { 0 };
	int ret = 0;

	if (class->step == STEP_GONE)
		return 0;
	if (entries_minus(&class->transition_old, &class->transition_new, false, &less) < 0 ||
	    (class->step == STEP_EDIT &&
	     entries_minus(&class->content.entries, &class->next.entries, false, &less) < 0))
		return err_set(err, ENOMEM, "no memory for a policy class");
	if (class->step == STEP_EDIT && memcmp(&class->next.info, &class->content.info, sizeof(class->next.info)) != 0)
		ret = put_info(a, class, &class->next.info, err);
	/* Only for a denied class whose own element did not fit. */
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
		class->denied = class->behind = false;
	}
	return 0;
}

/*
 * An obsolete class in which an endpoint stays, since its new class does not fit, is as one without a change: the
 * endpoint gets a new revision, so from then on no verdict may change. After class_shrink() it is known which classes
 * fit.
 */
int class_hold(struct apply *a, struct map_class *class, struct err *err)
{
	_cleanup_(entries_free) struct entries less = { 0 };
	int ret;

	if (class->step != STEP_GONE || !class_is_held(a, class))
		return 0;
	class->step = STEP_KEEP;
	class->changed = a->plan.move_count > 0;
	ret = class_keep_transitions(a, class, err);
	if (ret == 0 && entries_minus(&class->transition_old, &class->transition_new, false, &less) < 0)
		ret = err_set(err, ENOMEM, "no memory for a policy class");
	return ret < 0 ? ret : write_entries(a, DELETE, class->number, &less, err);
}

/* Deletes the entries for transitional peers, and an obsolete class. */
int class_clean(struct apply *a, struct map_class *class, struct err *err)
{
	int ret = write_entries(a, DELETE, class->number, &class->transition_new, err);

	if (class->step == STEP_GONE) {
		if (ret == 0)
			ret = a->ops->remove(a->arg, APPLY_CLASSES, &class->number, 1, err);
		if (ret == 0)
			ret = write_entries(a, DELETE, class->number, &class->transition_old, err);
		if (ret == 0)
			ret = delete_content(a, class->number, &class->content, err);
		a->freed = true;
	}
	entries_free(&class->transition_old);
	entries_free(&class->transition_new);
	return ret;
}

int each_class(struct apply *a, class_fn *fn, struct err *err)
{
	const struct list *last = a->classes.prev; /* class_deny() appends classes, which are complete already */
	struct map_class *class;
	int ret = 0;

	list_each(class, &a->classes, in_classes) {
		ret = fn(a, class, err);
		if (ret < 0 || &class->in_classes == last)
			break;
	}
	return ret;
}

static int put_transition(struct apply *a, struct map_class *class, struct err *err)
{
	int ret = write_entries(a, PUT, class->number, &class->transition_old, err);

	return ret < 0 ? ret : write_entries(a, PUT, class->number, &class->transition_new, err);
}

static int drop_transition(struct apply *a, struct map_class *class, struct err *err)
{
	int ret = write_entries(a, DELETE, class->number, &class->transition_old, err);

	if (ret == 0)
		ret = write_entries(a, DELETE, class->number, &class->transition_new, err);
	entries_free(&class->transition_old);
	entries_free(&class->transition_new);
	return ret;
}

int put_transitions(struct apply *a, struct plan *plan, struct err *err)
{
	int ret = each_class(a, put_transition, err);

	if (!no_room(ret))
		return ret;
	plan->no_entries = true;
	plan->evaluate_all = true;
	return each_class(a, drop_transition, err);
}
