/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policy into the maps: an observer stands at every single step. Over random clusters and random edits, by the real
 * compiler: no verdict is more open than the old or the new policy makes it, none that both allow is denied, and what
 * is judged under the revision that an endpoint ends with is judged as the new policy says.
 */
#include <netinet/in.h>
#include <stdio.h>

#include "../policy/check.h"
#include "fake_tables.h"
#include "rig.h"

#define QUERIES 192
#define OBSERVATIONS 20000
#define IDENTITIES 64

struct question {
	uint32_t ifindex;
	uint32_t peer;	/* ifindex of the endpoint that asks, by whatever identity it has; 0: of the query's */
	struct lookup_query query;
	bool was_known; /* its identity, to the old policy */
	bool old_verdict;
	uint64_t next;	/* the identity that `peer` is going to have */
	bool next_was_known, next_old_verdict; /* by the old policy, as if it had known it */
	bool alone; /* all endpoints that get this identity come from the same one */
};

struct observation {
	uint64_t allowed[QUERIES / 64];
	uint32_t revisions[64]; /* of fake.words */
};

/* One node: its tables, and an agent that is born and dies. */
#define NAMES 256

struct node {
	unsigned long names; /* runs that have told of names */
	bool was_known[NAMES]; /* identities of the changes, before they were applied */
	struct fake fake;
	struct policy *policy;
	struct apply *apply;
	struct cluster cluster;
	struct random random;
	struct question questions[QUERIES];
	size_t question_count;
	struct observation *observations;
	size_t observation_count;
	unsigned long seed;
};

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

/* --- questions -------------------------------------------------------------------------------------------------- */

struct known {
	uint64_t v[IDENTITIES];
	size_t count;
};

static int learn(const struct policy_identity_info *info, void *arg)
{
	struct known *known = arg;

	/* Of two label sets that share a number nobody can say what it is. */
	if (!info->collision && known->count < IDENTITIES)
		known->v[known->count++] = info->identity;
	return 0;
}

static bool knows(const struct known *known, uint64_t identity)
{
	bool found = false;

	for (size_t i = 0; i < known->count && !found; i++)
		found = known->v[i] == identity;
	return found;
}

static struct ip random_ip(struct random *r)
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

static uint64_t random_identity(const struct known *old, const struct known *moved, struct random *r)
{
	const struct known *from = random_chance(r, 50) ? old : moved;
	static const uint64_t others[] = { WR_ID_UNKNOWN, WR_ID_WORLD, WR_ID_KIND_POD << WR_ID_KIND_SHIFT | 12345 };

	return from->count && random_chance(r, 85) ? from->v[random_below(r, (uint32_t)from->count)]
						   : others[random_below(r, 3)];
}

static bool is_pod(uint64_t identity)
{
	return identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD;
}

static uint64_t next_identity(const struct dp_word *word, const struct policy_changes *changes)
{
	uint64_t next = word->identity;

	for (size_t i = 0; i < changes->endpoint_count; i++) {
		if (changes->endpoints[i].ifindex == word->ifindex)
			next = changes->endpoints[i].identity;
	}
	return next;
}

/* The old policy's verdict of an identity that may be new: of the selectors that are going to match it. */
static bool old_verdict(struct node *n, const struct question *q, uint64_t identity,
			const struct policy_changes *changes)
{
	struct lookup_query query = q->query;
	uint64_t peer = WR_PEER_NONE, known;
	bool is_known = fake_get_identity(&n->fake, identity, &known) == 0, allows, found;

	for (size_t i = 0; i < changes->identity_count; i++) {
		if (changes->identities[i].identity == identity)
			peer = changes->identities[i].peer;
	}
	if (!is_known)
		fake_insert(&n->fake, APPLY_IDENTITIES, fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found),
			    &identity, &peer);
	query.peer_identity = identity;
	allows = fake_allows(&n->fake, fake_word(&n->fake, q->ifindex), query);
	if (!is_known)
		fake_drop(&n->fake, APPLY_IDENTITIES, fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found));
	return allows;
}

/* The question is about the packets of an endpoint, whose identity may change meanwhile. */
static void ask_endpoint(struct node *n, struct question *q, const struct known *old,
			 const struct policy_changes *changes)
{
	const struct dp_word *peer = &n->fake.words[random_below(&n->random, (uint32_t)n->fake.word_count)];

	/* One that has just come, or goes into quarantine, is another matter. */
	q->next = next_identity(peer, changes);
	if (!peer->identity || !q->next)
		return;
	q->peer = peer->ifindex;
	q->query.peer_identity = peer->identity;
	q->next_was_known = knows(old, q->next);
	q->next_old_verdict = old_verdict(n, q, q->next, changes);
	q->alone = true;
	for (size_t i = 0; i < n->fake.word_count && q->alone; i++) {
		const struct dp_word *other = &n->fake.words[i];

		q->alone = next_identity(other, changes) != q->next || other->identity == peer->identity;
	}
}

/* `moved`: identities that the new policy speaks of. */
static void make_questions(struct node *n, const struct known *old, const struct known *moved,
			   const struct policy_changes *changes)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP };
	struct random *r = &n->random;

	n->question_count = n->fake.word_count ? QUERIES : 0;
	for (size_t i = 0; i < n->question_count; i++) {
		struct question *q = &n->questions[i];
		uint64_t identity = random_identity(old, moved, r);

		*q = (struct question){ .ifindex =
					    n->fake.words[random_below(r, (uint32_t)n->fake.word_count)].ifindex };
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
		q->old_verdict = fake_allows(&n->fake, fake_word(&n->fake, q->ifindex), q->query);
	}
	n->observation_count = 0;
}

static void observe(void *arg)
{
	struct node *n = arg;
	struct observation *o = &n->observations[n->observation_count];

	if (n->observation_count++ == OBSERVATIONS)
		fail_msg("seed %lu: more steps than there is room for", n->seed);
	*o = (struct observation){ 0 };
	for (size_t i = 0; i < n->fake.word_count; i++)
		o->revisions[i] = n->fake.words[i].revision;
	for (size_t i = 0; i < n->question_count; i++) {
		const struct question *q = &n->questions[i];
		struct lookup_query query = q->query;

		if (q->peer)
			query.peer_identity = fake_word(&n->fake, q->peer)->identity;
		if (fake_allows(&n->fake, fake_word(&n->fake, q->ifindex), query))
			o->allowed[i / 64] |= 1ull << i % 64;
	}
}

static void print_question(const struct node *n, const struct question *q, size_t step)
{
	char ip[IP_STRLEN];

	print_error("seed %lu, step %zu of %zu: endpoint %u %s, peer 0x%llx %s, protocol %u port %u\n", n->seed, step,
		    n->observation_count, q->ifindex, q->query.direction == WR_EGRESS ? "egress" : "ingress",
		    (unsigned long long)q->query.peer_identity, ip_format(&q->query.peer_ip, ip), q->query.protocol,
		    q->query.port);
}

/*
 * What an endpoint's packets met. Each end changes by itself: there are four verdicts, by the old and new policy of the
 * one who judges, of the old and new identity of the one who asks, as far as each policy knows them.
 */
static void check_endpoint(struct node *n, const struct question *q, size_t number, const struct known *new,
			   bool denies)
{
	const struct dp_word *word = fake_word(&n->fake, q->ifindex);
	struct lookup_query query = q->query;
	bool known = knows(new, query.peer_identity), by_new = fake_allows(&n->fake, word, query), by_both;
	bool allows, forbids;

	query.peer_identity = q->next;
	assert_int_equal(fake_word(&n->fake, q->peer)->identity, q->next);
	by_both = fake_allows(&n->fake, word, query);
	allows = q->old_verdict || by_both || (known && by_new) || q->next_old_verdict;
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

/* `denies`: whether what both allow may be denied meanwhile (it may where room is short). */
static void check_observations(struct node *n, bool denies)
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
		const struct dp_word *word = fake_word(&n->fake, q->ifindex);
		bool new_verdict = fake_allows(&n->fake, word, q->query);

		/* Nobody has an identity any more that the new policy does not know. */
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
				 o->revisions[word - n->fake.words] == word->revision)
				wrong = "judged otherwise under the revision that stays";
			if (!wrong)
				continue;
			print_question(n, q, s);
			fail_msg("%s", wrong);
		}
	}
}

/* --- the agent's part --------------------------------------------------------------------------------------------- */

static int seed_rule(uint32_t rule, const char *text, void *arg)
{
	return policy_seed_rule(arg, rule, text);
}

static bool is_known(const struct node *n, uint64_t identity)
{
	bool found;

	fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found);
	return found;
}

/*
 * Where others give identities to addresses: those that come are known by now, those that go still are. (Those of a run
 * that changes nothing, which is told of too, are no news.)
 */
static void on_names(void *arg, const struct policy_changes *changes, bool full)
{
	struct node *n = arg;

	n->names++;
	for (size_t i = 0; i < changes->identity_count && !n->fake.tables[APPLY_IDENTITIES].limit; i++) {
		const struct policy_identity *identity = &changes->identities[i];

		if (identity->peer != WR_PEER_NONE)
			assert_true(is_known(n, identity->identity));
		else if (i < NAMES && n->was_known[i])
			assert_true(is_known(n, identity->identity));
	}
}

/* An agent is born: it knows nothing but what the tables hold, and what its sources tell. */
static void birth(struct node *n)
{
	const struct cluster nothing = { 0 };
	struct err err;

	n->policy = policy_new(check_key);
	n->apply = apply_new(&fake_ops, &n->fake);
	apply_on_identities(n->apply, on_names, n);
	assert_int_equal(apply_load(n->apply, &err), 0);
	assert_int_equal(apply_each_rule(n->apply, seed_rule, n->policy, &err), 0);
	assert_int_equal(check_tell(n->policy, &nothing, &n->cluster), 0);
}

static void death(struct node *n)
{
	policy_free(n->policy);
	apply_free(n->apply);
}

static void compile(struct node *n, bool full, struct policy_changes *changes)
{
	struct err err;

	assert_int_equal(full ? policy_compile_all(n->policy, changes, &err) : policy_compile(n->policy, changes, &err),
			 0);
}

static int apply(struct node *n, const struct policy_changes *changes, bool full)
{
	static const struct policy_changes none;
	unsigned long names = n->names;
	struct err err;
	int ret;

	for (size_t i = 0; i < changes->identity_count && i < NAMES; i++)
		n->was_known[i] = is_known(n, changes->identities[i].identity);
	ret = apply_run(n->apply, changes, full, &err);
	if (ret == 0)
		assert_int_equal(n->names, names + 1);

	for (int i = 0; i < 3 && ret == 0 && apply_again(n->apply); i++)
		ret = apply_run(n->apply, &none, false, &err);
	return ret;
}

static int run(struct node *n, bool full)
{
	struct policy_changes changes;

	compile(n, full, &changes);
	return apply(n, &changes, full);
}

static void node_init(struct node *n, unsigned long seed)
{
	*n = (struct node){ .seed = seed, .random = { seed * 0x9e3779b97f4a7c15u + 1 } };
	n->fake.steps_left = -1;
	n->observations = calloc(OBSERVATIONS + 1, sizeof(*n->observations));
	cluster_random(&n->cluster, &n->random);
}

static void node_free(struct node *n)
{
	death(n);
	cluster_free(&n->cluster);
	fake_free(&n->fake);
	free(n->observations);
}

/* The plugin's part: endpoints in quarantine. */
static void register_endpoints(struct node *n)
{
	for (size_t i = 0; i < n->cluster.pod_count; i++) {
		const struct cluster_pod *pod = &n->cluster.pods[i];

		if (pod->kind != POD_REMOTE && !fake_word(&n->fake, pod->ifindex))
			n->fake.words[n->fake.word_count++] = (struct dp_word){ .ifindex = pod->ifindex };
	}
}

static void unregister_endpoint(struct node *n, uint32_t ifindex)
{
	struct dp_word *word = fake_word(&n->fake, ifindex);

	apply_endpoint_gone(n->apply, ifindex);
	if (word)
		*word = n->fake.words[--n->fake.word_count];
}

/* Some edits, told to the compiler. */
static void edit(struct node *n)
{
	unsigned edits = 1 + random_below(&n->random, 4);
	struct cluster before;

	cluster_copy(&before, &n->cluster);
	while (edits--)
		cluster_edit(&n->cluster, &n->random);
	for (size_t i = 0; i < before.pod_count; i++) {
		if (before.pods[i].kind != POD_REMOTE && !check_endpoint_stays(&n->cluster, &before.pods[i]))
			unregister_endpoint(n, before.pods[i].ifindex);
	}
	assert_int_equal(check_tell(n->policy, &before, &n->cluster), 0);
	cluster_free(&before);
	register_endpoints(n);
}

/* --- what the tables must be in the end -----------------------------------------------------------------------------
 */

struct canon {
	uint32_t numbers[64]; /* class numbers by first appearance */
	size_t count;
};

static uint32_t canonical(struct canon *c, uint32_t number)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->numbers[i] == number)
			return WR_CLASS_FIRST + (uint32_t)i;
	}
	assert_in_range(c->count, 0, 62);
	c->numbers[c->count++] = number;
	return WR_CLASS_FIRST + (uint32_t)c->count - 1;
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump_elements(struct fake *f, enum apply_table t, struct canon *canon, char **lines, size_t *count)
{
	for (size_t i = 0; i < f->tables[t].count; i++) {
		char key[32], text[600], *at = text;
		uint32_t word;

		memcpy(key, fake_at(f, t, i), fake_sizes[t].key);
		memcpy(&word, key + (t == APPLY_POLICY ? offsetof(struct wr_policy_key, policy_class) : 0),
		       sizeof(word));
		if (t == APPLY_CIDRS4 || t == APPLY_CIDRS6)
			memcpy(&word, key + offsetof(struct wr_cidr4_key, class_direction), sizeof(word));
		if (t == APPLY_POLICY || t == APPLY_CLASSES)
			word = canonical(canon, word);
		else if (t != APPLY_IDENTITIES)
			word = canonical(canon, word / 2) * 2 + word % 2;
		if (t == APPLY_POLICY)
			memcpy(key + offsetof(struct wr_policy_key, policy_class), &word, sizeof(word));
		else if (t == APPLY_CLASSES)
			memcpy(key, &word, sizeof(word));
		else if (t != APPLY_IDENTITIES)
			memcpy(key + offsetof(struct wr_cidr4_key, class_direction), &word, sizeof(word));
		at += sprintf(at, "%d ", t);
		for (size_t b = 0; b < fake_sizes[t].key; b++)
			at += sprintf(at, "%02x", (unsigned char)key[b]);
		for (size_t b = 0; b < fake_sizes[t].value && t != APPLY_POLICY; b++)
			at += sprintf(at, " %02x", (unsigned char)fake_at(f, t, i)[fake_sizes[t].key + b]);
		if (t == APPLY_POLICY) {
			memcpy(&word, fake_at(f, t, i) + fake_sizes[t].key, sizeof(word));
			at += sprintf(at, " %s", fake_value(f, APPLY_RULES, &word) ?: "(no text)");
		}
		lines[(*count)++] = strdup(text);
	}
}

/* All that the tables hold, class numbers and rule numbers apart, as text. */
static char *dump(struct fake *f)
{
	char **lines = calloc(20000, sizeof(*lines)), *text = NULL;
	struct canon canon = { 0 };
	size_t count = 0, size;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t ifindex = 0; ifindex < 10000; ifindex++) {
		const struct dp_word *word = fake_word(f, ifindex);

		if (word)
			fprintf(out, "endpoint %u: identity %llx class %u\n", ifindex,
				(unsigned long long)word->identity,
				word->policy_class < WR_CLASS_FIRST ? word->policy_class
								    : canonical(&canon, word->policy_class));
	}
	for (int t = 0; t < APPLY_TABLES; t++) {
		if (t != APPLY_RULES)
			dump_elements(f, t, &canon, lines, &count);
	}
	for (size_t i = 0; i < f->tables[APPLY_RULES].count; i++)
		lines[count++] = strdup(fake_at(f, APPLY_RULES, i) + sizeof(uint32_t));
	qsort(lines, count, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
	fclose(out);
	return text;
}

/* Both are texts of sorted lines: names the first that differs. */
static void check_same(const struct node *n, const char *is, const char *wanted)
{
	size_t same = 0;

	while (is[same] && is[same] == wanted[same])
		same++;
	if (is[same] == wanted[same])
		return;
	while (same && is[same - 1] != '\n')
		same--;
	fail_msg("seed %lu: the tables hold\n%.*s\nand should hold\n%.*s", n->seed, (int)strcspn(is + same, "\n"),
		 is + same, (int)strcspn(wanted + same, "\n"), wanted + same);
}

/* The tables are those of an agent that has just been told everything, on a node that holds nothing. */
static void check_fresh(struct node *n)
{
	struct node fresh = { .fake = { .steps_left = -1 }, .cluster = n->cluster };
	char *is, *wanted;

	fresh.fake.word_count = n->fake.word_count;
	for (size_t i = 0; i < n->fake.word_count; i++)
		fresh.fake.words[i] = (struct dp_word){ .ifindex = n->fake.words[i].ifindex };
	birth(&fresh);
	assert_int_equal(run(&fresh, true), 0);
	is = dump(&n->fake);
	wanted = dump(&fresh.fake);
	check_same(n, is, wanted);
	free(is);
	free(wanted);
	death(&fresh);
	fake_free(&fresh.fake);
}

/* --- tests ----------------------------------------------------------------------------------------------------------
 */

static struct known learn_all(struct node *n)
{
	struct known known = { 0 };

	policy_each_identity(n->policy, learn, &known);
	return known;
}

/* One change under observation. */
static int observed_run(struct node *n, const struct known *old)
{
	struct policy_changes changes;
	struct known moved = { 0 };
	int ret;

	compile(n, false, &changes);
	for (; moved.count < changes.identity_count && moved.count < IDENTITIES; moved.count++)
		moved.v[moved.count] = changes.identities[moved.count].identity;
	make_questions(n, old, &moved, &changes);
	n->fake.observe = observe;
	n->fake.arg = n;
	ret = apply(n, &changes, false);
	n->fake.observe = NULL;
	return ret;
}

static void start(struct node *n, unsigned long seed)
{
	node_init(n, seed);
	register_endpoints(n);
	birth(n);
	assert_int_equal(run(n, true), 0);
}

static void no_step_is_wrong(void **state)
{
	unsigned long clusters = from_environment("WARREN_CLUSTERS", 800), seed = from_environment("WARREN_SEED", 1),
		      steps = 0;

	for (unsigned long i = 0; i < clusters; i++) {
		struct node n;

		start(&n, seed + i);
		for (int e = 0; e < 8; e++) {
			struct known old = learn_all(&n);

			edit(&n);
			assert_int_equal(observed_run(&n, &old), 0);
			check_observations(&n, false);
			check_fresh(&n);
		}
		steps += n.fake.steps;
		node_free(&n);
	}
	print_message("%lu steps observed\n", steps);
}

/* kill -9 (or an error of the kernel) at any step: the next agent goes on from there. */
static void death_at_any_step(void **state)
{
	unsigned long clusters = from_environment("WARREN_CLUSTERS", 800), seed = from_environment("WARREN_SEED", 1),
		      deaths = 0;

	for (unsigned long i = 0; i < clusters; i++) {
		struct node n;

		start(&n, 1000000 + seed + i);
		for (int e = 0; e < 8; e++) {
			struct known old = learn_all(&n);

			edit(&n);
			n.fake.steps_left = random_below(&n.random, 40);
			if (observed_run(&n, &old) < 0) {
				n.fake.steps_left = -1;
				n.fake.observe = observe;
				death(&n);
				birth(&n);
				assert_int_equal(run(&n, true), 0);
				n.fake.observe = NULL;
				deaths++;
			}
			n.fake.steps_left = -1;
			check_observations(&n, false);
			check_fresh(&n);
		}
		node_free(&n);
	}
	assert_in_range(deaths, clusters, 8 * clusters);
}

/* An agent that finds what it would write touches nothing: numbers and revisions stay. */
static void restart_changes_nothing(void **state)
{
	for (unsigned long seed = 1; seed <= 100; seed++) {
		struct dp_word words[64];
		unsigned long steps;
		struct node n;

		start(&n, 2000000 + seed);
		edit(&n);
		assert_int_equal(run(&n, false), 0);
		memcpy(words, n.fake.words, sizeof(words));
		death(&n);
		birth(&n);
		steps = n.fake.steps;
		assert_int_equal(run(&n, true), 0);
		assert_memory_equal(words, n.fake.words, sizeof(words));
		assert_in_range(n.fake.steps - steps, 0, 2); /* policy_state */
		node_free(&n);
	}
}

/* Where the tables are full: nothing opens, the others have what they should have, and all comes back with the room. */
static void short_of_room(void **state)
{
	static const enum apply_table shorts[] = { APPLY_POLICY, APPLY_POLICY,	APPLY_IDENTITIES,
						   APPLY_CIDRS4, APPLY_CLASSES, APPLY_RULES };
	unsigned long denied = 0, left_out = 0;

	for (unsigned long seed = 1; seed <= 300; seed++) {
		enum apply_table t = shorts[seed % 6];
		struct apply_counts counts;
		struct node n;

		node_init(&n, 3000000 + seed);
		n.fake.tables[t].limit = 1 + random_below(&n.random, t == APPLY_POLICY ? 30 : 4);
		register_endpoints(&n);
		birth(&n);
		assert_int_equal(run(&n, true), 0);
		for (int e = 0; e < 6; e++) {
			struct known old = learn_all(&n);

			edit(&n);
			assert_int_equal(observed_run(&n, &old), 0);
			check_observations(&n, true);
			apply_count(n.apply, &counts);
			denied += counts.state.classes_denied;
			left_out += counts.identities_left_out;
		}
		/* Room again, and something that brings it: whoever waits gets it. */
		n.fake.tables[t].limit = 0;
		death(&n);
		birth(&n);
		assert_int_equal(run(&n, true), 0);
		apply_count(n.apply, &counts);
		assert_int_equal(counts.state.classes_denied, 0);
		check_fresh(&n);
		node_free(&n);
	}
	assert_in_range(denied, 50, 100000);
	assert_in_range(left_out, 20, 100000);
}

/* A class by hand: isolates ingress, allows `count` ports to everybody. */
static struct policy_class class_of(uint64_t key, size_t count, struct wr_policy_key *keys,
				    struct wr_policy_entry *entries)
{
	for (size_t i = 0; i < count; i++) {
		keys[i] = (struct wr_policy_key){ .peer = WR_PEER_ANY,
						  .port = (uint16_t)i,
						  .l4_proto = IPPROTO_TCP,
						  .shape = wr_policy_shape(WR_INGRESS, 16) };
		entries[i].rule = WR_RULE_FIRST;
	}
	return (struct policy_class){ .key = key,
				      .keys = keys,
				      .entries = entries,
				      .count = count,
				      .info = { .flags[WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_ANYBODY,
						.port_bits[WR_INGRESS] = 1 << 16 } };
}

/* Room that one class leaves is another's at once, and whoever has nothing to do with it stays as it is. */
static void room_goes_to_who_waits(void **state)
{
	struct fake fake = { .steps_left = -1,
			     .word_count = 3,
			     .tables[APPLY_POLICY].limit = 10,
			     .words = { { .ifindex = 1 }, { .ifindex = 2 }, { .ifindex = 3 } } };
	struct apply *a = apply_new(&fake_ops, &fake);
	struct wr_policy_key keys[3][8];
	struct wr_policy_entry entries[3][8];
	const struct policy_class classes[] = { class_of(100, 2, keys[0], entries[0]),
						class_of(200, 7, keys[1], entries[1]),
						class_of(300, 6, keys[2], entries[2]) };
	const struct policy_class gone = { .key = 200, .gone = true };
	const struct policy_endpoint endpoints[] = { { 1, 0, 100 }, { 2, 0, 200 }, { 3, 0, 300 } };
	const struct policy_endpoint freed = { 2, 0, WR_CLASS_NOT_ISOLATED };
	struct policy_changes changes = {
		.classes = classes, .class_count = 3, .endpoints = endpoints, .endpoint_count = 3
	};
	struct apply_counts counts;
	struct dp_word first;
	struct err err;
	bool denied;

	assert_int_equal(apply_load(a, &err), 0);
	assert_int_equal(apply_run(a, &changes, true, &err), 0);
	first = fake.words[0];
	apply_count(a, &counts);
	assert_int_equal(counts.state.classes_denied, 1);
	assert_int_equal(fake.state.classes_denied, 1);
	assert_false(apply_again(a)); /* nothing has come free: it would fail again */
	assert_true(apply_class(a, 300, &denied) && denied);
	assert_true(apply_endpoint(a, 3)->denied && !apply_endpoint(a, 2)->denied);
	assert_int_equal(fake.tables[APPLY_POLICY].count, 9);

	changes =
	    (struct policy_changes){ .classes = &gone, .class_count = 1, .endpoints = &freed, .endpoint_count = 1 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_true(apply_again(a));
	changes = (struct policy_changes){ 0 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_true(apply_class(a, 300, &denied) && !denied);
	assert_false(apply_endpoint(a, 3)->denied || apply_again(a));
	assert_int_equal(fake.state.classes_denied, 0);
	assert_int_equal(fake.tables[APPLY_POLICY].count, 8);
	assert_memory_equal(&first, &fake.words[0], sizeof(first));
	apply_free(a);
	fake_free(&fake);
}

/* An endpoint that the plugin has not put into the maps yet gets its words as soon as it is there. */
static void endpoint_that_comes_late(void **state)
{
	struct fake fake = { .steps_left = -1 };
	struct apply *a = apply_new(&fake_ops, &fake);
	const struct policy_endpoint endpoint = { 7, 42, WR_CLASS_NOT_ISOLATED };
	struct policy_changes changes = { .endpoints = &endpoint, .endpoint_count = 1 };
	struct err err;

	assert_int_equal(apply_load(a, &err), 0);
	assert_int_equal(apply_run(a, &changes, true, &err), 0);
	assert_true(apply_endpoint(a, 7)->missing);
	fake.words[fake.word_count++] = (struct dp_word){ .ifindex = 7 };
	changes = (struct policy_changes){ 0 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_false(apply_endpoint(a, 7)->missing);
	assert_int_equal(fake.words[0].policy_class, WR_CLASS_NOT_ISOLATED);
	assert_int_equal(fake.words[0].identity, 42);
	apply_free(a);
	fake_free(&fake);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_step_is_wrong),	   cmocka_unit_test(death_at_any_step),
		cmocka_unit_test(restart_changes_nothing), cmocka_unit_test(short_of_room),
		cmocka_unit_test(room_goes_to_who_waits),  cmocka_unit_test(endpoint_that_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
