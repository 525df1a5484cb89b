/* SPDX-License-Identifier: BSD-2-Clause */
#include "deny.h"

#include <string.h>
#include <sys/socket.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"
#include "internal.h"
#include "hashmap.h"
#include "lock.h"

struct denylist {
	int lock;
	int tries[2], hits, state_fd; /* maps */
	struct wr_deny_state state;
	struct hashmap present[2]; /* what is in the tries, once it has been read; key_size 0: not yet */
};
#define DENYLIST_CLOSED { .lock = -1, .tries = { -1, -1 }, .hits = -1, .state_fd = -1 }

static void denylist_close(struct denylist *l)
{
	closep(&l->tries[0]);
	closep(&l->tries[1]);
	closep(&l->hits);
	closep(&l->state_fd);
	closep(&l->lock);
	hashmap_free(&l->present[0]);
	hashmap_free(&l->present[1]);
}
#define _cleanup_denylist_ _cleanup_(denylist_close)

static int denylist_open(struct denylist *l, struct err *err)
{
	const struct dp_map_fd maps[] = {
		{ "deny4", &l->tries[0] },
		{ "deny6", &l->tries[1] },
		{ "deny_hits", &l->hits },
		{ "deny_state", &l->state_fd },
	};
	int r;

	l->lock = lock_wait(LOCK_NODE, NULL, err);
	if (l->lock < 0)
		return l->lock;
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	return r < 0 ? r : dp_value_get("deny_state", &l->state, err);
}

static int state_write(const struct denylist *l, struct err *err)
{
	const uint32_t zero = 0;

	if (bpf_map_update_elem(l->state_fd, &zero, &l->state, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map deny_state");
	return 0;
}

/* --- add and delete --- */

/* Makes a new counter at zero; its number is l->state.counter. */
static int counter_make(struct denylist *l, struct err *err)
{
	const int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct wr_deny_hits *zeros = calloc((size_t)(cpus > 0 ? cpus : 1), sizeof(*zeros));
	int r;

	if (cpus < 0 || !zeros)
		return err_errno(err, ENOMEM, "cannot make a counter");
	do
		r = dp_percpu_write(l->hits, &(uint32_t){ ++l->state.counter }, zeros, BPF_NOEXIST);
	while (r == -EEXIST);
	return r < 0 ? err_errno(err, r == -E2BIG ? ENOSPC : -r, "the denylist is full") : 0;
}

/* Adds the key to the set; returns whether it was there. The kernel cannot look up an exact prefix (tables.c). */
static int is_listed(struct denylist *l, const struct wr_prefix6 *key, bool v6, struct err *err)
{
	struct hashmap *present = &l->present[v6];
	struct wr_prefix6 other = { 0 };
	bool first = !present->key_size;
	int r = 0;

	if (first)
		present->key_size = v6 ? sizeof(struct wr_prefix6) : sizeof(struct wr_prefix4);
	for (void *at = NULL; first && r >= 0 && bpf_map_get_next_key(l->tries[v6], at, &other) == 0; at = &other)
		r = hashmap_put(present, &other, NULL);
	if (r >= 0)
		r = hashmap_put(present, key, NULL);
	return r < 0 ? err_errno(err, -r, "cannot read map %s", v6 ? "deny6" : "deny4") : !r;
}

static int add_one(struct denylist *l, const struct prefix *prefix, size_t *changed, struct err *err)
{
	const bool v6 = prefix->ip.family == AF_INET6;
	const struct wr_prefix6 key = dp_prefix_key(prefix);
	char text[PREFIX_STRLEN];
	struct wr_deny deny;
	int r = is_listed(l, &key, v6, err), num;

	if (r)
		return r < 0 ? r : 0;
	r = counter_make(l, err);
	if (r < 0)
		return r;
	deny.counter = l->state.counter;
	/* From now on the programs look up the trie, before the prefix is in it. */
	l->state.prefixes[v6]++;
	r = state_write(l, err);
	if (r < 0)
		return r;
	if (bpf_map_update_elem(l->tries[v6], &key, &deny, BPF_NOEXIST) == 0) {
		++*changed;
		return 0;
	}
	num = errno;
	l->state.prefixes[v6]--;
	bpf_map_delete_elem(l->hits, &deny.counter);
	r = state_write(l, err);
	return num == EEXIST ? r : err_errno(err, num, "cannot deny %s", prefix_format(prefix, text));
}

static int delete_one(struct denylist *l, const struct prefix *prefix, size_t *changed, struct err *err)
{
	const bool v6 = prefix->ip.family == AF_INET6;
	const struct wr_prefix6 key = dp_prefix_key(prefix);
	char text[PREFIX_STRLEN];
	struct wr_deny deny;

	/* A lookup returns the longest prefix that covers the key; deletion is exact. */
	if (bpf_map_lookup_elem(l->tries[v6], &key, &deny) < 0 || bpf_map_delete_elem(l->tries[v6], &key) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_errno(err, errno, "cannot take %s off the denylist", prefix_format(prefix, text));
	}
	++*changed;
	bpf_map_delete_elem(l->hits, &deny.counter);
	l->state.prefixes[v6] -= l->state.prefixes[v6] > 0;
	return state_write(l, err);
}

static int each_of(int (*fn)(struct denylist *l, const struct prefix *prefix, size_t *changed, struct err *err),
		   const struct prefix *prefixes, size_t count, size_t *changed, struct err *err)
{
	_cleanup_denylist_ struct denylist l = DENYLIST_CLOSED;
	int r = denylist_open(&l, err);

	*changed = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = fn(&l, &prefixes[i], changed, err);
	return r;
}

int dp_deny_add(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err)
{
	return each_of(add_one, prefixes, count, changed, err);
}

int dp_deny_delete(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err)
{
	return each_of(delete_one, prefixes, count, changed, err);
}

/* --- all of it --- */

/* Deletes every element; adds their number to *count. */
static int map_empty(int fd, size_t *count, const char *name, struct err *err)
{
	struct wr_prefix6 key; /* a counter's fits into it */

	while (bpf_map_get_next_key(fd, NULL, &key) == 0) {
		if (bpf_map_delete_elem(fd, &key) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot empty map %s", name);
		++*count;
	}
	return 0;
}

int dp_deny_flush(size_t *changed, struct err *err)
{
	_cleanup_denylist_ struct denylist l = DENYLIST_CLOSED;
	size_t counters = 0;
	int r = denylist_open(&l, err);

	*changed = 0;
	if (r == 0)
		r = map_empty(l.tries[0], changed, "deny4", err);
	if (r == 0)
		r = map_empty(l.tries[1], changed, "deny6", err);
	if (r == 0)
		r = map_empty(l.hits, &counters, "deny_hits", err);
	if (r < 0)
		return r;
	memset(l.state.prefixes, 0, sizeof(l.state.prefixes));
	return state_write(&l, err);
}

/* --- list --- */

struct walk {
	int family;
	uint32_t now; /* tick */
	int hits, cpus;
	struct dp_deny *list;
	size_t count, room;
};

static void hits_read(const struct walk *w, uint32_t counter, struct dp_deny *deny)
{
	struct wr_deny_hits hits[w->cpus];

	/* The prefix was deleted since the walk began. */
	if (bpf_map_lookup_elem(w->hits, &counter, hits) < 0)
		return;
	for (int i = 0; i < w->cpus; i++) {
		uint64_t idle = (uint64_t)(uint32_t)(w->now - hits[i].last) << WR_CT_TICK_SHIFT;

		deny->packets += hits[i].packets;
		deny->bytes += hits[i].bytes;
		if (hits[i].packets && idle / NS_PER_MS < deny->idle_ms)
			deny->idle_ms = idle / NS_PER_MS;
	}
}

static int collect(const void *key, const void *value, int cpus, void *arg)
{
	struct walk *w = arg;
	struct dp_deny deny = { .prefix = dp_prefix_of(w->family, key), .idle_ms = UINT64_MAX };

	hits_read(w, ((const struct wr_deny *)value)->counter, &deny);
	return array_push(w->list, w->room, w->count, deny);
}

static int by_prefix(const void *a, const void *b)
{
	return prefix_cmp(&((const struct dp_deny *)a)->prefix, &((const struct dp_deny *)b)->prefix);
}

int dp_deny_each(int (*fn)(const struct dp_deny *deny, void *arg), void *arg, struct err *err)
{
	_cleanup_fd_ int hits = dp_map_open("deny_hits", err);
	struct walk w = { .family = AF_INET, .hits = hits, .cpus = libbpf_num_possible_cpus() };
	int r;

	if (hits < 0)
		return hits;
	if (w.cpus < 0)
		return err_errno(err, -w.cpus, "cannot count the processors");
	w.now = (uint32_t)(clock_ns(CLOCK_MONOTONIC) >> WR_CT_TICK_SHIFT);
	r = dp_map_each("deny4", collect, &w, err);
	w.family = AF_INET6;
	if (r == 0)
		r = dp_map_each("deny6", collect, &w, err);
	if (r == -ENOMEM)
		err_errno(err, ENOMEM, "cannot list the denylist");
	if (w.count)
		qsort(w.list, w.count, sizeof(*w.list), by_prefix);
	for (size_t i = 0; i < w.count && r == 0; i++)
		r = fn(&w.list[i], arg);
	free(w.list);
	return r;
}
