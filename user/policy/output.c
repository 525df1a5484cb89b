/* SPDX-License-Identifier: BSD-2-Clause */
/* The output of a compile: differences to what was last reported. */
#include <errno.h>
#include <stdlib.h>

#include "compiler.h"

void output_reset(struct policy *p)
{
	struct output *out = &p->out;

	for (size_t i = 0; i < out->class_count; i++)
		policy_class_free(&out->classes[i]);
	free(out->classes);
	free(out->identities);
	free(out->endpoints);
	free(out->rules);
	free(out->pods);
	*out = (struct output){ 0 };
}

static uint64_t identity_peer(const struct identity *identity)
{
	const struct labelset *set = list_first(&identity->sets, struct labelset, in_identity);

	return set && !identity->collision && set->peer ? set->peer->number : WR_PEER_NONE;
}

static void identity_collision(struct policy *p, struct identity *identity)
{
	bool collision = !list_empty(&identity->sets) && identity->sets.next != identity->sets.prev;
	struct labelset *set;
	struct endpoint *ep;

	if (collision == identity->collision)
		return;
	identity->collision = collision;
	list_each(set, &identity->sets, in_identity) {
		list_each(ep, &set->endpoints, in_set)
			list_mark(&p->dirty_endpoints, &ep->dirty);
	}
}

int report_identities(struct policy *p)
{
	struct output *out = &p->out;
	struct identity *identity, *after;

	list_each_safe(identity, after, &p->dirty_identities, dirty) {
		uint64_t peer;

		identity_collision(p, identity);
		peer = identity_peer(identity);
		if (peer != identity->reported_peer) {
			if (array_push(out->identities, out->identity_room, out->identity_count,
				       (struct policy_identity){ identity->by_number.hash, peer }) < 0)
				return -ENOMEM;
			out->peers_moved |= identity->was_used && !list_empty(&identity->sets);
		}
		identity->reported_peer = peer;
		identity->was_used = true;
		list_remove(&identity->dirty);
		if (list_empty(&identity->sets)) {
			table_remove(&p->identities, &identity->by_number);
			free(identity);
		}
	}
	return 0;
}

static struct policy_endpoint endpoint_now(const struct endpoint *ep)
{
	const struct labelset *set = ep->set;
	struct policy_endpoint now = { ep->ifindex, WR_ID_UNKNOWN, WR_CLASS_QUARANTINE };

	if (!set)
		return now;
	now.identity = set->identity->by_number.hash;
	if (!set->identity->collision)
		now.class_key = set->class ? set->class->key : WR_CLASS_NOT_ISOLATED;
	return now;
}

int report_endpoints(struct policy *p)
{
	struct output *out = &p->out;
	struct endpoint *ep, *after;

	list_each_safe(ep, after, &p->dirty_endpoints, dirty) {
		struct policy_endpoint now = endpoint_now(ep);

		if (!ep->reported || ep->reported_identity != now.identity || ep->reported_class != now.class_key) {
			if (array_push(out->endpoints, out->endpoint_room, out->endpoint_count, now) < 0)
				return -ENOMEM;
		}
		ep->reported = true;
		ep->reported_identity = now.identity;
		ep->reported_class = now.class_key;
		list_remove(&ep->dirty);
	}
	return 0;
}

/* A pod that is gone stays until the next compile, because the output refers to its name. */
int report_pods(struct policy *p)
{
	struct output *out = &p->out;
	struct pod *pod, *after;

	list_each_safe(pod, after, &p->dirty_pods, dirty) {
		const struct policy_pod now = {
			.namespace = pod->ns->name,
			.name = pod->name,
			.node = pod->node ? pod->node : "",
			.ips = { pod->ips[0], pod->ips[1] },
			.terminating = pod->terminating,
			.identity = pod->set ? pod->set->identity->by_number.hash : WR_ID_UNKNOWN,
		};

		if ((pod->present || pod->reported) && array_push(out->pods, out->pod_room, out->pod_count, now) < 0)
			return -ENOMEM;
		pod->reported = pod->present;
		if (pod->present)
			list_remove(&pod->dirty);
	}
	return 0;
}

void drop_gone_pods(struct policy *p)
{
	struct pod *pod, *after;

	list_each_safe(pod, after, &p->dirty_pods, dirty) {
		if (pod->present || pod->reported)
			continue;
		list_remove(&pod->dirty);
		pod_unneeded(p, pod);
	}
}

/* A rule that is gone stays until the next compile, because the output refers to its text. Numbers are not reused. */
int report_rules(struct policy *p)
{
	struct output *out = &p->out;
	struct rule *rule, *after;

	list_each_safe(rule, after, &p->changed_rules, changed) {
		bool gone = !rule->refs;

		if (gone == rule->reported || (p->whole && !gone)) {
			if (array_push(out->rules, out->rule_room, out->rule_count,
				       (struct policy_rule_name){ rule->number, gone, rule->text }) < 0)
				return -ENOMEM;
		}
		rule->reported = !gone;
		if (!gone)
			list_remove(&rule->changed);
	}
	return 0;
}

void drop_unused_rules(struct policy *p)
{
	struct rule *rule, *after;

	list_each_safe(rule, after, &p->changed_rules, changed) {
		if (rule->refs || rule->reported)
			continue;
		list_remove(&rule->changed);
		table_remove(&p->rules, &rule->by_text);
		free(rule);
	}
}
