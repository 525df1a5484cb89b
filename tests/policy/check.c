/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "explanation.h"
#include "identity.h"
#include "naive.h"

const uint8_t check_key[POLICY_KEY_SIZE] = "differential key";
unsigned long check_count;
static char text[600];

void compiled_free(struct compiled *k)
{
	policy_free(k->p);
	tables_free(&k->tables);
	k->p = NULL;
}

/* --- putting objects --- */

static int put_endpoint(struct policy *p, const struct cluster_pod *pod)
{
	const struct pod_object *o = pod->object;
	struct labels own = { 0 };

	if (pod->kind == POD_REMOTE)
		return 0;
	if (pod->kind == POD_OWN)
		own = labels_copy(&o->labels);
	if (pod->kind != POD_OWN)
		return policy_put_endpoint(p, pod->ifindex, o->namespace, o->name,
					   pod->kind == POD_REPLACED ? "another" : o->uid, NULL);
	return policy_put_endpoint(p, pod->ifindex, o->namespace, o->name, "own", &own);
}

static int put_pod(struct policy *p, const struct cluster_pod *pod)
{
	return pod->kind == POD_OWN ? 0 : policy_put_pod(p, pod_copy(pod->object));
}

static const char *compile(struct compiled *k)
{
	struct policy_changes changes;
	struct err err = { 0 };
	const char *wrong;

	if (policy_compile(k->p, &changes, &err) < 0)
		return "does not compile";
	wrong = tables_apply(&k->tables, &changes);
	if (wrong)
		return wrong;
	if (policy_compile(k->p, &changes, &err) < 0 || changes.class_count || changes.identity_count ||
	    changes.endpoint_count || changes.rule_count)
		return "changes without a change";
	return NULL;
}

const char *check_compile(struct compiled *k, const struct cluster *c)
{
	int r = 0;

	*k = (struct compiled){ .p = policy_new(check_key) };
	for (size_t i = 0; i < c->policy_count; i++)
		r |= policy_put_policy(k->p, policy_copy(c->policies[i]));
	for (size_t i = 0; i < c->pod_count; i++)
		r |= put_pod(k->p, &c->pods[i]) | put_endpoint(k->p, &c->pods[i]);
	for (size_t i = 0; i < c->namespace_count; i++)
		r |= policy_put_namespace(k->p, namespace_copy(c->namespaces[i]));
	return r ? "an object was refused" : compile(k);
}

/* --- an edit, as a source of objects would put it --- */

static const struct cluster_pod *pod_named(const struct cluster *c, const struct cluster_pod *like)
{
	for (size_t i = 0; i < c->pod_count; i++) {
		if (strcmp(c->pods[i].object->name, like->object->name) == 0)
			return &c->pods[i];
	}
	return NULL;
}

bool check_endpoint_stays(const struct cluster *now, const struct cluster_pod *old)
{
	const struct cluster_pod *new = pod_named(now, old);

	return new && new->kind != POD_REMOTE && new->ifindex == old->ifindex;
}

static void remove_gone(struct policy *p, const struct cluster *before, const struct cluster *now)
{
	for (size_t i = 0; i < before->pod_count; i++) {
		const struct cluster_pod *old = &before->pods[i], *new = pod_named(now, old);

		if (!new || new->kind == POD_OWN)
			policy_remove_pod(p, old->object->namespace, old->object->name);
		if (!check_endpoint_stays(now, old))
			policy_remove_endpoint(p, old->ifindex);
	}
	for (size_t i = 0; i < before->policy_count; i++) {
		bool there = false;

		for (size_t j = 0; j < now->policy_count; j++)
			there |= strcmp(now->policies[j]->name, before->policies[i]->name) == 0;
		if (!there)
			policy_remove_policy(p, before->policies[i]->namespace, before->policies[i]->name);
	}
	for (size_t i = 0; i < before->namespace_count; i++) {
		bool there = false;

		for (size_t j = 0; j < now->namespace_count; j++)
			there |= strcmp(now->namespaces[j]->name, before->namespaces[i]->name) == 0;
		if (!there)
			policy_remove_namespace(p, before->namespaces[i]->name);
	}
}

int check_put(struct policy *p, const struct cluster *before, const struct cluster *now)
{
	int r = 0;

	remove_gone(p, before, now);
	for (size_t i = 0; i < now->namespace_count; i++)
		r |= policy_put_namespace(p, namespace_copy(now->namespaces[i]));
	for (size_t i = 0; i < now->pod_count; i++)
		r |= put_pod(p, &now->pods[i]) | put_endpoint(p, &now->pods[i]);
	for (size_t i = 0; i < now->policy_count; i++)
		r |= policy_put_policy(p, policy_copy(now->policies[i]));
	return r;
}

const char *check_edit(struct compiled *k, const struct cluster *before, const struct cluster *now)
{
	int r = check_put(k->p, before, now);

	for (size_t i = 0; i < before->pod_count; i++) {
		if (!check_endpoint_stays(now, &before->pods[i]))
			tables_forget_endpoint(&k->tables, before->pods[i].ifindex);
	}
	return r ? "an object was refused" : compile(k);
}

/* --- verdicts --- */

struct question {
	struct compiled *k;
	const struct cluster *c;
	const struct cluster_pod *pod;
	uint64_t class_key;
	uint32_t policy_class;
	struct naive_peer peer;
	uint64_t peer_identity;
};

uint64_t check_identity(const struct cluster *c, const struct cluster_pod *pod)
{
	const struct pod_object *o = pod->object;
	const struct labels *namespace_labels = NULL;

	if (!naive_is_peer(pod))
		return WR_ID_WORLD;
	for (size_t i = 0; i < c->namespace_count; i++) {
		if (strcmp(c->namespaces[i]->name, o->namespace) == 0)
			namespace_labels = &c->namespaces[i]->labels;
	}
	return identity_compute(check_key, o->namespace, namespace_labels, &o->labels, o->ports,
				pod->kind == POD_OWN ? 0 : o->port_count);
}

static const char *check_verdict(const struct question *q, int direction, uint8_t protocol, uint16_t port)
{
	struct lookup_tables tables = tables_lookup(&q->k->tables);
	struct lookup_query query = {
		q->policy_class, (uint32_t)direction, q->peer_identity, q->peer.ip, protocol, port
	};
	bool expected = naive_allows(q->c, q->pod, direction, &q->peer, protocol, port);
	const struct policy_flow flow = { .direction = (uint8_t)direction,
					  .protocol = protocol,
					  .port = port,
					  .peer_identity = q->peer_identity,
					  .peer_ips = { q->peer.ip } };
	struct lookup_result result;
	const char *wrong = NULL;
	char ip[IP_STRLEN];

	policy_lookup(&tables, &query, &result);
	check_count++;
	if (result.allowed == expected && q->class_key >= WR_CLASS_FIRST && result.rule != WR_RULE_OWN_NODE)
		wrong = check_explanation(q->k->p, q->c, q->pod, q->class_key, &flow, &q->peer, expected);
	if (result.allowed == expected && !wrong)
		return NULL;
	snprintf(text, sizeof(text), "%s%s%s/%s %s peer %s (%s), protocol %u, port %u: %s, but should be %s; rule %u (%s)",
		 wrong ?: "", wrong ? ": " : "",
		 q->pod->object->namespace, q->pod->object->name, direction == POLICY_INGRESS ? "ingress" : "egress",
		 ip_format(&q->peer.ip, ip), q->peer.pod ? q->peer.pod->object->name : "no pod", protocol, port,
		 result.allowed ? "allowed" : "denied", expected ? "allowed" : "denied", result.rule,
		 tables_rule(&q->k->tables, result.rule) ? tables_rule(&q->k->tables, result.rule) : "-");
	return text;
}

static const char *check_ports(const struct question *q, int direction, struct random *r)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP,
					     IPPROTO_UDP, IPPROTO_UDP, IPPROTO_SCTP };
	const char *wrong = check_verdict(q, direction, IPPROTO_ICMP, 0);

	for (size_t i = 0; !wrong && i < sizeof(protocols); i++) {
		/* On a boundary of the rules' ports, or next to one. */
		uint32_t port = cluster_ports[random_below(r, (uint32_t)cluster_port_count)] + random_below(r, 3) - 1;

		if (port >= 1 && port <= 65535)
			wrong = check_verdict(q, direction, protocols[i], (uint16_t)port);
	}
	return wrong;
}

static const char *check_peer(struct question *q, const struct ip *ip, struct random *r)
{
	const char *wrong = NULL;

	if (!ip->family)
		return NULL;
	q->peer.ip = *ip;
	for (int direction = 0; !wrong && direction < POLICY_DIRECTIONS; direction++)
		wrong = check_ports(q, direction, r);
	return wrong;
}

static const char *check_all_peers(struct question *q, struct random *r)
{
	const struct cluster *c = q->c;
	const char *wrong = NULL;
	struct ip ip;

	for (size_t i = 0; !wrong && i < c->pod_count; i++) {
		q->peer = (struct naive_peer){ .pod = &c->pods[i] };
		q->peer_identity = check_identity(c, &c->pods[i]);
		wrong = check_peer(q, &c->pods[i].object->ips[0], r);
		if (!wrong)
			wrong = check_peer(q, &c->pods[i].object->ips[1], r);
	}
	for (size_t i = 0; !wrong && i < cluster_outside_count; i++) {
		q->peer = (struct naive_peer){ .own_host = i == 0 };
		q->peer_identity = i == 0 ? WR_ID_HOST : WR_ID_WORLD;
		ip_parse(cluster_outside[i], &ip);
		wrong = check_peer(q, &ip, r);
	}
	return wrong;
}

const char *check_verdicts(struct compiled *k, const struct cluster *c, struct random *r)
{
	const char *wrong = NULL;

	for (size_t i = 0; !wrong && i < c->pod_count; i++) {
		struct question q = { .k = k, .c = c, .pod = &c->pods[i] };
		const struct policy_endpoint *ep = tables_endpoint(&k->tables, c->pods[i].ifindex);

		if (c->pods[i].kind == POD_REMOTE)
			continue;
		if (!ep)
			return "an endpoint was never reported";
		q.class_key = ep->class_key;
		q.policy_class = tables_class_number(&k->tables, ep->class_key);
		wrong = check_all_peers(&q, r);
	}
	return wrong;
}
