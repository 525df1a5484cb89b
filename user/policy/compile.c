/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A compile: takes the changes through the stages below, each of which marks what the next ones must update, and
 * outputs the differences to what was last reported.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

struct policy *policy_new(const uint8_t key[POLICY_KEY_SIZE])
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	memcpy(p->key, key, POLICY_KEY_SIZE);
	p->last_rule = WR_RULE_FIRST - 1;
	policy_set_identity_bits(p, WR_ID_KIND_SHIFT);
	bounds_init(p);
	return p;
}

void policy_set_identity_bits(struct policy *p, unsigned bits)
{
	p->identity_mask = ~0ull << WR_ID_KIND_SHIFT | ((1ull << bits) - 1);
}

/* --- stages --- */

static void drop_idle_sets(struct policy *p)
{
	struct labelset *set;

	while ((set = list_first(&p->idle_sets, struct labelset, rematch)))
		labelset_idle(p, set);
}

/* Namespaces that are new or whose labels have changed: other scopes match them, their pods get other identities. */
static int update_namespaces(struct policy *p)
{
	struct ns *ns, *after;

	list_each_safe(ns, after, &p->dirty_namespaces, dirty) {
		struct labelset *set;

		if (scopes_of_namespace(p, ns) < 0)
			return -ENOMEM;
		list_each(set, &ns->sets, in_ns) {
			list_append(&p->rematch_sets, &set->rematch);
			if (labelset_identify(p, set) < 0)
				return -ENOMEM;
		}
		list_remove(&ns->dirty);
	}
	return 0;
}

static int identify_new_sets(struct policy *p)
{
	struct labelset *set;

	list_each(set, &p->rematch_sets, rematch) {
		if (!set->identity && labelset_identify(p, set) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int select_all(struct policy *p)
{
	struct netpol *netpol, *next;
	struct labelset *set, *after;

	list_each_safe(netpol, next, &p->edited_netpols, edited) {
		if (select_edited(p, netpol) < 0)
			return -ENOMEM;
		netpol->has_names = netpol->object && netpol_has_names(netpol->object);
		list_remove(&netpol->edited);
	}
	list_each_safe(set, after, &p->select_sets, select) {
		if (select_full(p, set) < 0)
			return -ENOMEM;
		list_remove(&set->select);
	}
	return 0;
}

static int drop_empty_classes(struct policy *p)
{
	struct class *class, *after;
	struct output *out = &p->out;

	list_each_safe(class, after, &p->dirty_classes, dirty) {
		if (!list_empty(&class->sets))
			continue;
		if (class->reported) {
			if (array_push(out->classes, out->class_room, out->class_count,
				       (struct policy_class){ .key = class->key, .gone = true }) < 0)
				return -ENOMEM;
		}
		class_free(p, class);
	}
	return 0;
}

static int update_netpols(struct policy *p)
{
	struct netpol *netpol, *after;

	/* Policies without room come last. */
	list_each(netpol, &p->refused_netpols, refused) {
		if (netpol->waiting && p->freed)
			list_append(&p->check_netpols, &netpol->check);
	}
	list_each_safe(netpol, after, &p->check_netpols, check) {
		if (netpol_update(p, netpol) < 0)
			return -ENOMEM;
		list_remove(&netpol->check);
		if (!netpol->object)
			netpol_free(p, netpol);
	}
	return 0;
}

/* Outputs the class. If it exceeds a bound: a denied class if it was never reported, else nothing. */
static int build_class(struct policy *p, struct class *class)
{
	struct output *out = &p->out;
	struct policy_class built;
	uint64_t content;
	int r;

	if (array_grow(&out->classes, &out->class_room, out->class_count, sizeof(*out->classes)) < 0)
		return -ENOMEM;
	free(class->problem);
	class->problem = NULL;
	class->requested = (struct cost){ 0 };
	list_remove(&class->refused);
	r = class_build(p, class, &built);
	if (r == -ENOMEM)
		return r;
	list_remove(&class->dirty);
	if (r == -E2BIG) {
		list_append(&p->refused_classes, &class->refused);
		if (class->reported)
			return 0;
		class_build_denied(class, &built);
	}
	content = policy_class_content(p, &built);
	if (class->reported && class->reported_content == content) {
		policy_class_free(&built);
		return 0;
	}
	class_charge(p, class, built.count, built.cidr_count);
	class->reported = true;
	class->reported_content = content;
	class->entries = built.count;
	class->cidrs = built.cidr_count;
	out->classes[out->class_count++] = built;
	return 0;
}

/*
 * Limit of one compile's work on large classes: further ones are deferred to the next compile, so that the caller can
 * handle other events in between. A unit (a term, or a prefix) is about half a microsecond.
 */
#define SLICE 65536
#define LARGE 1024

/* A deferred class that was never reported is output as denied meanwhile. */
static int build_or_defer(struct policy *p, struct class *class, struct list *deferred, uint64_t *work)
{
	uint64_t costs = class_work(class);
	struct policy_class built;

	if (costs <= LARGE || !*work || *work + costs <= SLICE) {
		*work += costs > LARGE ? costs : 0;
		return build_class(p, class);
	}
	list_append(deferred, &class->dirty);
	if (class->reported)
		return 0;
	class_build_denied(class, &built);
	class->reported = true;
	class->reported_content = policy_class_content(p, &built);
	return array_push(p->out.classes, p->out.class_room, p->out.class_count, built);
}

static int build_classes(struct policy *p)
{
	struct list deferred = { 0 };
	struct class *class;
	uint64_t work = 0;
	int r = 0;

	/* Again only after something was freed: otherwise this would not end. */
	do {
		list_each(class, &p->refused_classes, refused) {
			if (p->freed && list_empty(&class->dirty) && class_may_fit(p, class))
				list_append(&p->dirty_classes, &class->dirty);
		}
		p->freed = false;
		while (r == 0 && (class = list_first(&p->dirty_classes, struct class, dirty)))
			r = build_or_defer(p, class, &deferred, &work);
	} while (r == 0 && p->freed && !list_empty(&p->refused_classes));
	while ((class = list_first(&deferred, struct class, dirty)))
		list_append(&p->dirty_classes, &class->dirty);
	return r;
}

static int run(struct policy *p)
{
	int (*const stages[])(struct policy *) = {
		update_namespaces,  /* scopes that match them; identities of their label sets */
		identify_new_sets,
		select_all,	    /* classes: which policies select which local label sets */
		drop_empty_classes,
		update_netpols,	    /* terms, with matchers and rules, of the policies that a class contains */
		peers_update,	    /* peer classes: which matchers match which label sets */
		build_classes,	    /* entries of changed classes */
		report_identities, report_endpoints, report_rules, report_pods,
	};

	drop_unused_rules(p);
	drop_gone_pods(p);
	drop_idle_sets(p);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		if (stages[i](p) < 0)
			return -ENOMEM;
	}
	return 0;
}

int policy_compile(struct policy *p, struct policy_changes *changes, struct err *err)
{
	const struct output *out = &p->out;

	*changes = (struct policy_changes){ 0 };
	output_reset(p);
	if (p->failed || run(p) < 0) {
		p->failed = true;
		output_reset(p);
		return err_set(err, ENOMEM, "no memory to compile the policy");
	}
	p->whole = false;
	*changes = (struct policy_changes){
		out->classes,	     out->class_count, out->identities, out->identity_count, out->endpoints,
		out->endpoint_count, out->rules,       out->rule_count, out->pods,	      out->pod_count,
		out->peers_moved,
	};
	return 0;
}

bool policy_unfinished(const struct policy *p)
{
	return !list_empty(&p->dirty_classes);
}

/* Matchers exist only for policies that a class contains. */
bool policy_needs_pods(const struct policy *p)
{
	return p->matchers.count;
}

/* --- from scratch --- */

/* Resets label sets to their state without policies, not yet reported. */
static void forget_sets(struct policy *p)
{
	struct labelset *set;

	table_each(set, &p->sets, by_text) {
		identity_leave(p, set);
		peer_set(p, set, NULL);
		class_set(p, set, NULL);
		if (set->users)
			list_append(&p->rematch_sets, &set->rematch);
		if (!list_empty(&set->endpoints))
			list_append(&p->select_sets, &set->select);
	}
}

/* Drops everything that was computed. Objects stay. */
static void forget(struct policy *p)
{
	struct peer_class *peer;
	struct matcher *matcher;
	struct netpol *netpol;
	struct endpoint *ep;
	struct identity *identity;
	struct class *class;
	struct rule *rule;
	struct pod *pod;

	forget_sets(p);
	table_each(class, &p->classes, by_key)
		class_free(p, class);
	table_each(netpol, &p->netpols, by_name) {
		netpol_uncompile(p, netpol);
		list_mark(&p->check_netpols, &netpol->check);
	}
	table_each(peer, &p->peers, by_number)
		peer_class_free(p, peer);
	table_each(matcher, &p->matchers, by_hash)
		matcher_free(p, matcher);
	table_each(identity, &p->identities, by_number) {
		table_remove(&p->identities, &identity->by_number);
		free(identity);
	}
	list_init(&p->dirty_identities);
	table_each(ep, &p->endpoints, by_ifindex) {
		ep->reported = false;
		list_mark(&p->dirty_endpoints, &ep->dirty);
	}
	table_each(rule, &p->rules, by_text)
		list_mark(&p->changed_rules, &rule->changed);
	table_each(pod, &p->pods, by_name) {
		pod->reported = false;
		if (pod->present)
			list_mark(&p->dirty_pods, &pod->dirty);
	}
	drop_gone_pods(p);
}

int policy_compile_all(struct policy *p, struct policy_changes *changes, struct err *err)
{
	drop_idle_sets(p);
	forget(p);
	p->failed = false;
	p->whole = true;
	return policy_compile(p, changes, err);
}

void policy_free(struct policy *p)
{
	struct endpoint *ep;
	struct netpol *netpol;
	struct rule *rule;
	struct pod *pod;
	struct ns *ns;

	if (!p)
		return;
	output_reset(p);
	forget(p);
	table_each(ep, &p->endpoints, by_ifindex)
		policy_remove_endpoint(p, ep->ifindex);
	table_each(pod, &p->pods, by_name)
		policy_remove_pod(p, pod->ns->name, pod->name);
	table_each(netpol, &p->netpols, by_name)
		netpol_free(p, netpol);
	drop_idle_sets(p);
	table_each(ns, &p->namespaces, by_name)
		policy_remove_namespace(p, ns->name);
	table_each(rule, &p->rules, by_text)
		free(rule);
	for (size_t i = 0; i < ARRAY_SIZE(p->tables); i++)
		table_free(&p->tables[i]);
	free(p);
}
