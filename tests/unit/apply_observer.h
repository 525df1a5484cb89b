/* SPDX-License-Identifier: BSD-2-Clause */
/* An observer that takes verdicts after every single step, and checks them at the end. */
#ifndef WARREN_APPLY_OBSERVER_H
#define WARREN_APPLY_OBSERVER_H

#include <netinet/in.h>
#include <stdio.h>

#include "apply_node.h"

struct known {
	uint64_t v[IDENTITIES];
	size_t count;
};

static inline int learn(const struct policy_identity_info *info, void *arg)
{
	struct known *known = arg;

	/* A number that two label sets share stands for neither. */
	if (!info->collision && known->count < IDENTITIES)
		known->v[known->count++] = info->identity;
	return 0;
}

static inline bool knows(const struct known *known, uint64_t identity)
{
	bool found = false;

	for (size_t i = 0; i < known->count && !found; i++)
		found = known->v[i] == identity;
	return found;
}

static inline struct ip random_ip(struct random *r)
{
	struct ip ip;
	char text[40];

	if (random_chance(r, 40)) {
		assert_int_equal(ip_parse(cluster_outside[random_below(r, (uint32_t)cluster_outside_count)], &ip), 0);
		return ip;
	}
	snprintf(text, sizeof(text), random_chance(r, 50) ? "10.0.%u.%u" : "fd00:%x::%x", random_below(r, 3),
		 random_below(r, 12));
	assert_int_equal(ip_parse(text, &ip), 0);
	return ip;
}

static inline uint64_t random_identity(const struct known *old, const struct known *moved, struct random *r)
{
	const struct known *from = random_chance(r, 50) ? old : moved;
	static const uint64_t others[] = { WR_ID_UNKNOWN, WR_ID_WORLD, WR_ID_KIND_POD << WR_ID_KIND_SHIFT | 12345 };

	return from->count && random_chance(r, 85) ? from->v[random_below(r, (uint32_t)from->count)]
						   : others[random_below(r, 3)];
}

static inline bool is_pod(uint64_t identity)
{
	return identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD;
}

static inline uint64_t next_identity(const struct dp_endpoint_policy *policy, const struct policy_changes *changes)
{
	uint64_t next = policy->identity;

	for (size_t i = 0; i < changes->endpoint_count; i++) {
		if (changes->endpoints[i].ifindex == policy->ifindex)
			next = changes->endpoints[i].identity;
	}
	return next;
}

/* The tables' verdict of an identity. If they lack the identity, its peer class is `peer`. */
static inline bool verdict_as(struct node *n, const struct question *q, uint64_t identity, uint64_t peer)
{
	struct lookup_query query = q->query;
	uint64_t known;
	bool is_known = fake_get_identity(&n->fake, identity, &known) == 0, allows, found;

	if (!is_known)
		fake_insert(&n->fake, APPLY_IDENTITIES, fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found),
			    &identity, &peer);
	query.peer_identity = identity;
	allows = fake_allows(&n->fake, fake_policy(&n->fake, q->ifindex), query);
	if (!is_known)
		fake_drop(&n->fake, APPLY_IDENTITIES, fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found));
	return allows;
}

/* The peer class that an identity will have. */
static inline uint64_t next_peer(const struct policy_changes *changes, uint64_t identity)
{
	uint64_t peer = WR_PEER_NONE;

	for (size_t i = 0; i < changes->identity_count; i++) {
		if (changes->identities[i].identity == identity)
			peer = changes->identities[i].peer;
	}
	return peer;
}

/* A question about packets of an endpoint whose identity may change meanwhile. */
static inline void ask_endpoint(struct node *n, struct question *q, const struct known *old,
			 const struct policy_changes *changes)
{
	const struct dp_endpoint_policy *peer = &n->fake.policies[random_below(&n->random, (uint32_t)n->fake.policy_count)];

	/* Endpoints that are new or go into quarantine are skipped. */
	q->next = next_identity(peer, changes);
	if (!peer->identity || !q->next)
		return;
	q->peer = peer->ifindex;
	q->query.peer_identity = peer->identity;
	q->next_was_known = knows(old, q->next);
	q->next_old_verdict = verdict_as(n, q, q->next, next_peer(changes, q->next));
	if (fake_get_identity(&n->fake, peer->identity, &q->old_peer) < 0)
		q->old_peer = WR_PEER_NONE;
	q->alone = true;
	for (size_t i = 0; i < n->fake.policy_count && q->alone; i++) {
		const struct dp_endpoint_policy *other = &n->fake.policies[i];

		q->alone = next_identity(other, changes) != q->next || other->identity == peer->identity;
	}
}

/* `moved`: identities in the new policy's changes. */
static inline void make_questions(struct node *n, const struct known *old, const struct known *moved,
			   const struct policy_changes *changes)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP };
	struct random *r = &n->random;

	n->question_count = n->fake.policy_count ? QUERIES : 0;
	for (size_t i = 0; i < n->question_count; i++) {
		struct question *q = &n->questions[i];
		uint64_t identity = random_identity(old, moved, r);

		*q = (struct question){ .ifindex =
					    n->fake.policies[random_below(r, (uint32_t)n->fake.policy_count)].ifindex };
		q->query.direction = random_below(r, 2);
		q->query.peer_identity = identity;
		q->query.peer_ip = random_ip(r);
		q->query.protocol = protocols[random_below(r, 5)];
		if (q->query.protocol != IPPROTO_ICMP)
			q->query.port = cluster_ports[random_below(r, (uint32_t)cluster_port_count)];
		if (random_chance(r, 40))
			ask_endpoint(n, q, old, changes);
		identity = q->query.peer_identity;
		q->was_known = !is_pod(identity) || knows(old, identity);
		q->old_verdict = fake_allows(&n->fake, fake_policy(&n->fake, q->ifindex), q->query);
	}
	n->observation_count = 0;
}

static inline void observe(void *arg)
{
	struct node *n = arg;
	struct observation *o = &n->observations[n->observation_count];

	if (n->observation_count++ == OBSERVATIONS)
		fail_msg("seed %lu: more steps than there is room for", n->seed);
	*o = (struct observation){ 0 };
	for (size_t i = 0; i < n->fake.policy_count; i++)
		o->revisions[i] = n->fake.policies[i].revision;
	for (size_t i = 0; i < n->question_count; i++) {
		const struct question *q = &n->questions[i];
		struct lookup_query query = q->query;

		if (q->peer)
			query.peer_identity = fake_policy(&n->fake, q->peer)->identity;
		if (fake_allows(&n->fake, fake_policy(&n->fake, q->ifindex), query))
			o->allowed[i / 64] |= 1ull << i % 64;
	}
}

static inline void print_question(const struct node *n, const struct question *q, size_t step)
{
	char ip[IP_STRLEN];

	print_error("seed %lu, step %zu of %zu: endpoint %u %s, peer 0x%llx %s, protocol %u port %u\n", n->seed, step,
		    n->observation_count, q->ifindex, q->query.direction == WR_EGRESS ? "egress" : "ingress",
		    (unsigned long long)q->query.peer_identity, ip_format(&q->query.peer_ip, ip), q->query.protocol,
		    q->query.port);
}

/*
 * The verdicts of an endpoint's packets. Each end changes by itself: there are four verdicts, by the old and new policy of
 * the evaluating endpoint, of the old and new identity of the peer, as far as each policy has them. An identity that
 * the new policy lacks, or that has no room, is evaluated by the selectors that matched it.
 */
static inline void check_endpoint(struct node *n, const struct question *q, size_t number, const struct known *new,
			   bool denies)
{
	const struct dp_endpoint_policy *policy = fake_policy(&n->fake, q->ifindex);
	struct lookup_query query = q->query;
	bool known = knows(new, query.peer_identity), by_both;
	bool by_new = verdict_as(n, q, query.peer_identity, q->old_peer);
	bool allows, forbids;

	query.peer_identity = q->next;
	assert_int_equal(fake_policy(&n->fake, q->peer)->identity, q->next);
	by_both = fake_allows(&n->fake, policy, query);
	allows = q->old_verdict || by_both || by_new || q->next_old_verdict;
	forbids = !q->old_verdict || !by_both || (known && !by_new) || (q->next_was_known && !q->next_old_verdict);
	for (size_t s = 0; s < n->observation_count; s++) {
		bool now = n->observations[s].allowed[number / 64] >> number % 64 & 1;

		if (now ? allows : forbids || denies || !q->alone)
			continue;
		print_question(n, q, s);
		fail_msg("endpoint %u, that has now identity 0x%llx: %s", q->peer, (unsigned long long)q->next,
			 now ? "allowed by none, and yet" : "allowed by all, and denied");
	}
}

/* `denies`: whether packets that both policies allow may be denied meanwhile (they may where room is short). */
static inline void check_observations(struct node *n, bool denies)
{
	struct known new = { 0 };

	policy_each_identity(n->policy, learn, &new);
	for (size_t i = 0; i < n->question_count; i++) {
		const struct question *q = &n->questions[i];

		if (q->peer)
			check_endpoint(n, q, i, &new, denies);
	}
	for (size_t i = 0; i < n->question_count; i++) {
		const struct question *q = &n->questions[i];
		const struct dp_endpoint_policy *policy = fake_policy(&n->fake, q->ifindex);
		bool new_verdict = fake_allows(&n->fake, policy, q->query);

		/* No pod has an identity any more that the new policy lacks. */
		bool is_known = !is_pod(q->query.peer_identity) || knows(&new, q->query.peer_identity) || !q->was_known;

		for (size_t s = 0; s < n->observation_count && is_known && !q->peer; s++) {
			const struct observation *o = &n->observations[s];
			bool now = o->allowed[i / 64] >> i % 64 & 1;
			const char *wrong = NULL;

			if (now && q->was_known && !q->old_verdict && !new_verdict)
				wrong = "allowed by neither the old policy nor the new one, and yet";
			else if (!now && q->old_verdict && new_verdict && !denies)
				wrong = "allowed by the old policy and the new one, and denied";
			else if (now != new_verdict && q->was_known &&
				 o->revisions[policy - n->fake.policies] == policy->revision)
				wrong = "evaluated otherwise under the revision that stays";
			if (!wrong)
				continue;
			print_question(n, q, s);
			fail_msg("%s", wrong);
		}
	}
}

#endif
