/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds the entries of a class: its policies' terms, multiplied by their peer classes and CIDR peers. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

struct entry {
	struct wr_policy_key key;
	const struct rule *rule;
};

struct build {
	const struct policy *p;
	struct class *class;
	struct entry *entries;
	size_t count, room;
	struct block_use *blocks;
	size_t block_count, block_room;
	struct cidr_build cidr;
	uint64_t prefixes; /* pairs of a prefix and a block that contains it */
	/* the policy with the most entries */
	const struct netpol *most;
	uint64_t most_entries;
};

static int over_bound(struct build *b, enum bound bound, uint64_t count, const char *subject, uint64_t limit)
{
	char *text = bound_text(bound, count, subject, limit);

	b->class->problem = text;
	if (!text || b->class->count == 1)
		return text ? -E2BIG : -ENOMEM;
	if (asprintf(&b->class->problem, "with the %zu other policies of its pods, of which %s has most: %s",
		     b->class->count - 1, b->most ? b->most->name : "none", text) < 0)
		b->class->problem = NULL;
	free(text);
	return b->class->problem ? -E2BIG : -ENOMEM;
}

/* --- counting --- */

static uint64_t count_ports(const struct build *b, const struct term *term)
{
	uint64_t count = 0;

	if (!term->port_name)
		return term->port_entries;
	for (size_t i = 0; i < b->class->port_count; i++) {
		const struct named_port *port = &b->class->ports[i];

		count += port->protocol == term->protocol && strcmp(port->name, term->port_name) == 0;
	}
	return count;
}

static int block_peer_cmp(const void *key, const void *element)
{
	uint64_t hash = *(const uint64_t *)key, other = ((const struct block_peer *)element)->hash;

	return (hash > other) - (hash < other);
}

static size_t first_block_peer(const struct build *b, uint64_t hash)
{
	return array_lower_bound(&hash, b->cidr.peers, b->cidr.peer_count, sizeof(*b->cidr.peers), block_peer_cmp);
}

static uint64_t count_term(const struct build *b, const struct term *term)
{
	if (term->kind == TERM_MATCHER)
		return saturating_multiply(term->matcher->peer_count,
					   term->matcher->port_name[0] ? 1 : count_ports(b, term));
	if (term->kind == TERM_BLOCK)
		return saturating_multiply(first_block_peer(b, term->block_hash + 1) -
						   first_block_peer(b, term->block_hash),
					   count_ports(b, term));
	return count_ports(b, term);
}

/* The number of entries of the terms of this direction, duplicates included. */
static uint64_t count_direction(struct build *b, uint8_t direction)
{
	uint64_t all = 0;

	for (size_t i = 0; i < b->class->count; i++) {
		const struct netpol *netpol = b->class->members[i].netpol;
		uint64_t count = 0;

		for (size_t j = 0; j < netpol->term_count; j++) {
			if (netpol->terms[j].direction == direction)
				count = saturating_add(count, count_term(b, &netpol->terms[j]));
		}
		if (count > b->most_entries) {
			b->most = netpol;
			b->most_entries = count;
		}
		all = saturating_add(all, count);
	}
	return all;
}

/* --- adding --- */

static int add(struct build *b, const struct term *term, uint64_t peer, uint16_t port, unsigned bits)
{
	return array_push(b->entries, b->room, b->count, (struct entry){
		.key = { .peer = peer,
			 .port = htons(port),
			 .l4_proto = term->protocol,
			 .shape = wr_policy_shape(term->direction, bits) },
		.rule = term->rule,
	});
}

/* A range of ports as the fewest prefixes. */
static int add_range(struct build *b, const struct term *term, uint64_t peer)
{
	for (uint32_t at = term->first, size; at <= term->last; at += size) {
		size = port_prefix_size(at, term->last);
		if (add(b, term, peer, (uint16_t)at, 16 - (unsigned)__builtin_ctz(size)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_named(struct build *b, const struct term *term, uint64_t peer)
{
	for (size_t i = 0; i < b->class->port_count; i++) {
		const struct named_port *port = &b->class->ports[i];

		if (port->protocol == term->protocol && strcmp(port->name, term->port_name) == 0 &&
		    add(b, term, peer, port->port, 16) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_ports(struct build *b, const struct term *term, uint64_t peer)
{
	if (term->port_name)
		return add_named(b, term, peer);
	if (!term->last)
		return add(b, term, peer, 0, 0);
	return add_range(b, term, peer);
}

static int add_matcher(struct build *b, const struct term *term)
{
	const struct peer_member *m;

	list_each(m, &term->matcher->peers, in_matcher) {
		int r = term->matcher->port_name[0] ? add(b, term, m->peer->number, m->port, 16)
						    : add_ports(b, term, m->peer->number);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_block(struct build *b, const struct term *term)
{
	const struct block_peer *peers = b->cidr.peers;
	size_t count = b->cidr.peer_count;

	for (size_t i = first_block_peer(b, term->block_hash); i < count && peers[i].hash == term->block_hash; i++) {
		if (add_ports(b, term, peers[i].peer) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_term(struct build *b, const struct term *term)
{
	switch (term->kind) {
	case TERM_ANY:
		return add_ports(b, term, WR_PEER_ANY);
	case TERM_ALL_PODS:
		return add_ports(b, term, WR_PEER_ALL_PODS);
	case TERM_MATCHER:
		return add_matcher(b, term);
	case TERM_BLOCK:
		return add_block(b, term);
	}
	return 0;
}

static int collect_blocks(struct build *b, uint8_t direction)
{
	b->block_count = 0;
	for (size_t i = 0; i < b->class->count; i++) {
		const struct netpol *netpol = b->class->members[i].netpol;

		for (size_t j = 0; j < netpol->term_count; j++) {
			const struct term *term = &netpol->terms[j];

			if (term->kind != TERM_BLOCK || term->direction != direction)
				continue;
			if (array_push(b->blocks, b->block_room, b->block_count,
				       (struct block_use){ term->block, term->block_hash }) < 0)
				return -ENOMEM;
		}
	}
	b->block_count = blocks_sort(b->blocks, b->block_count);
	return 0;
}

static int build_direction(struct build *b, uint8_t direction)
{
	const uint64_t entries_limit = bound_of_class(BOUND_ENTRIES), prefixes_limit = bound_of_class(BOUND_PREFIXES);
	struct entry *entries;
	uint64_t count;

	if (collect_blocks(b, direction) < 0 || cidrs_count(b->blocks, b->block_count, &b->prefixes) < 0)
		return -ENOMEM;
	if (b->prefixes > prefixes_limit)
		return over_bound(b, BOUND_PREFIXES, b->prefixes, "a pod's policies", prefixes_limit);
	if (cidrs_build(b->p, direction, b->blocks, b->block_count, &b->cidr) < 0)
		return -ENOMEM;
	count = saturating_add(b->count, count_direction(b, direction));
	if (count > entries_limit)
		return over_bound(b, BOUND_ENTRIES, count, "a pod's policies", entries_limit);
	entries = reallocarray(b->entries, count + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	b->entries = entries;
	b->room = count + 1;
	for (size_t i = 0; i < b->class->count; i++) {
		const struct netpol *netpol = b->class->members[i].netpol;

		for (size_t j = 0; j < netpol->term_count; j++) {
			if (netpol->terms[j].direction == direction && add_term(b, &netpol->terms[j]) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* Orders as memcmp(), 8 bytes at a time. */
static int key_cmp(const struct wr_policy_key *a, const struct wr_policy_key *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (int i = 0; i < 2; i++) {
		if (x[i] != y[i])
			return be64toh(x[i]) < be64toh(y[i]) ? -1 : 1;
	}
	return 0;
}

/* Of rules with the same key the first by text is kept, so that the order of compilation does not matter. */
static int entry_cmp(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int c = key_cmp(&a->key, &b->key);

	return c || a->rule == b->rule ? c : strcmp(a->rule->text, b->rule->text);
}

static void note_entry(struct wr_class_info *info, const struct wr_policy_key *key)
{
	unsigned direction = key->shape >> 7, bits = key->shape & 0x7f;

	if (key->l4_proto)
		info->port_bits[direction] |= 1u << bits;
	else
		info->flags[direction] |= WR_CLASS_ANY_PROTO;
	if (key->peer == WR_PEER_ANY)
		info->flags[direction] |= WR_CLASS_ANY_PEER;
	else if (key->peer == WR_PEER_ALL_PODS)
		info->flags[direction] |= WR_CLASS_ALL_PODS;
	else if (!(key->peer & WR_PEER_CIDR))
		info->flags[direction] |= WR_CLASS_SELECTORS;
}

static int fill(struct build *b, struct policy_class *out)
{
	out->keys = malloc((b->count ? b->count : 1) * sizeof(*out->keys));
	out->entries = malloc((b->count ? b->count : 1) * sizeof(*out->entries));
	if (!out->keys || !out->entries)
		return -ENOMEM;
	if (b->count)
		qsort(b->entries, b->count, sizeof(*b->entries), entry_cmp);
	for (size_t i = 0; i < b->count; i++) {
		if (i && key_cmp(&b->entries[i].key, &b->entries[i - 1].key) == 0)
			continue;
		out->keys[out->count] = b->entries[i].key;
		out->entries[out->count++].rule = b->entries[i].rule->number;
		note_entry(&out->info, &b->entries[i].key);
	}
	return 0;
}

static void note_class(const struct class *class, struct policy_class *out)
{
	for (size_t i = 0; i < class->count; i++) {
		const struct policy_object *object = class->members[i].netpol->object;

		for (int d = 0; d < POLICY_DIRECTIONS; d++) {
			if (object->isolates[d] || object->invalid)
				out->info.flags[d] |= WR_CLASS_ISOLATED;
		}
	}
	for (size_t i = 0; i < out->cidr_count; i++)
		out->info.flags[out->cidrs[i].direction] |= WR_CLASS_CIDRS;
}

/* Whether the namespace has room for the class instead of its previous version. */
static int class_admit(struct build *b, struct policy_class *out)
{
	const uint64_t needs[BOUNDS] = { [BOUND_ENTRIES] = out->count, [BOUND_PREFIXES] = out->cidr_count };
	static const enum bound charged[] = { BOUND_ENTRIES, BOUND_PREFIXES };
	struct class *class = b->class;
	struct ns *ns = class->members[0].netpol->ns;
	uint64_t limit;

	for (size_t i = 0; i < ARRAY_SIZE(charged); i++) {
		enum bound bound = charged[i];

		if (bound_fits(b->p, ns, bound, class->charged.v[bound], needs[bound], &limit))
			continue;
		memcpy(class->requested.v, needs, sizeof(needs));
		return over_bound(b, bound, needs[bound], NAMESPACE_LIMIT, limit);
	}
	return 0;
}

uint64_t class_work(const struct class *class)
{
	uint64_t work = 0;

	for (size_t i = 0; i < class->count; i++) {
		const struct netpol *netpol = class->members[i].netpol;

		work += netpol->term_count;
		if (netpol->term_count)
			work += netpol->cost.v[BOUND_PREFIXES];
	}
	return work;
}

bool class_may_fit(const struct policy *p, const struct class *class)
{
	const struct ns *ns = class->members[0].netpol->ns;
	uint64_t entries = class->requested.v[BOUND_ENTRIES], prefixes = class->requested.v[BOUND_PREFIXES], limit;

	return entries + prefixes &&
	       bound_fits(p, ns, BOUND_ENTRIES, class->charged.v[BOUND_ENTRIES], entries, &limit) &&
	       bound_fits(p, ns, BOUND_PREFIXES, class->charged.v[BOUND_PREFIXES], prefixes, &limit);
}

void class_charge(struct policy *p, struct class *class, size_t entries, size_t prefixes)
{
	struct ns *ns = class->members[0].netpol->ns;

	bound_charge(p, ns, BOUND_ENTRIES, class->charged.v[BOUND_ENTRIES], entries);
	bound_charge(p, ns, BOUND_PREFIXES, class->charged.v[BOUND_PREFIXES], prefixes);
	class->charged.v[BOUND_ENTRIES] = entries;
	class->charged.v[BOUND_PREFIXES] = prefixes;
}

void class_build_denied(const struct class *class, struct policy_class *out)
{
	*out = (struct policy_class){ .key = class->key, .refused = true };
	note_class(class, out);
	for (int d = 0; d < POLICY_DIRECTIONS; d++) {
		if (out->info.flags[d] & WR_CLASS_ISOLATED)
			out->info.flags[d] |= WR_CLASS_NO_ROOM;
	}
}

/*
 * Refuses a class by a lower bound, before anything is sorted: an ipBlock is counted as one CIDR peer. (Entries that
 * two policies share are counted twice.)
 */
static int class_refuse(struct build *b)
{
	const struct ns *ns = b->class->members[0].netpol->ns;
	uint64_t count = 0, limit;

	for (size_t i = 0; i < b->class->count; i++) {
		const struct netpol *netpol = b->class->members[i].netpol;

		for (size_t j = 0; j < netpol->term_count; j++) {
			const struct term *term = &netpol->terms[j];

			count = saturating_add(count, term->kind == TERM_BLOCK ? count_ports(b, term) : count_term(b, term));
		}
	}
	if (bound_fits(b->p, ns, BOUND_ENTRIES, b->class->charged.v[BOUND_ENTRIES], count, &limit))
		return 0;
	b->class->requested.v[BOUND_ENTRIES] = count;
	return over_bound(b, BOUND_ENTRIES, count, NAMESPACE_LIMIT, limit);
}

int class_build(const struct policy *p, struct class *class, struct policy_class *out)
{
	struct build b = { .p = p, .class = class };
	int r = class_refuse(&b);

	*out = (struct policy_class){ .key = class->key };
	for (uint8_t direction = 0; r == 0 && direction < POLICY_DIRECTIONS; direction++)
		r = build_direction(&b, direction);
	out->cidrs = b.cidr.cidrs;
	out->cidr_count = b.cidr.count;
	if (r == 0)
		r = fill(&b, out);
	if (r == 0) {
		note_class(class, out);
		r = class_admit(&b, out);
	}
	free(b.entries);
	free(b.blocks);
	free(b.cidr.peers);
	if (r < 0)
		policy_class_free(out);
	return r;
}

void policy_class_free(struct policy_class *out)
{
	free(out->keys);
	free(out->entries);
	free(out->cidrs);
	*out = (struct policy_class){ 0 };
}

uint64_t policy_class_content(const struct policy *p, const struct policy_class *out)
{
	struct siphash h;

	siphash_begin(&h, p->key);
	siphash_bytes(&h, &out->info, sizeof(out->info));
	siphash_number(&h, out->count);
	siphash_bytes(&h, out->keys, out->count * sizeof(*out->keys));
	siphash_bytes(&h, out->entries, out->count * sizeof(*out->entries));
	for (size_t i = 0; i < out->cidr_count; i++) {
		const struct policy_cidr *c = &out->cidrs[i];

		siphash_bytes(&h, &c->ip, sizeof(c->ip));
		siphash_number(&h, (uint64_t)c->length << 8 | c->direction);
		siphash_number(&h, c->peer);
	}
	return siphash_end(&h);
}
