/* SPDX-License-Identifier: BSD-2-Clause */
/* A balancer on the node "here" that writes into maps in memory. */
#ifndef WARREN_TEST_BALANCER_RIG_H
#define WARREN_TEST_BALANCER_RIG_H

#include "fake_services.h"

struct fixture {
	struct fake_services maps;
	struct balancer *b;
};

static inline struct balancer *begin_with(struct fake_services *maps, int node_ports, int external_ips, int table_size)
{
	const struct balancer_options options = { node_ports, external_ips, table_size };
	struct balancer *b = balancer_new(&fake_services_ops, maps, "here", &options);

	assert_non_null(b);
	return b;
}

static inline struct balancer *begin(struct fake_services *maps, int node_ports, int external_ips)
{
	return begin_with(maps, node_ports, external_ips, 0);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->b = begin(&f->maps, 1, 1);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	balancer_free(f->b);
	fake_clear(&f->maps);
	free(f);
	return 0;
}

/* A run is limited in time, and leaves the rest to the next one. */
static inline int run_to_end(struct balancer *b, struct err *err)
{
	int ret;

	do
		ret = balancer_run(b, err);
	while (ret == 0 && balancer_pending(b));
	return ret;
}

/* Returns the number of puts and deletes. */
static inline unsigned long run(struct fixture *f)
{
	unsigned long before = f->maps.puts + f->maps.deletes;
	struct err err = { 0 };

	assert_ok(run_to_end(f->b, &err));
	return f->maps.puts + f->maps.deletes - before;
}

static inline const char *problem(const struct fixture *f, size_t count)
{
	static struct balancer_counts counts;

	balancer_count(f->b, &counts);
	assert_int_equal(counts.problems, count);
	return counts.example;
}

#define READY(a) "{addresses: [\"" a "\"]}"
#define DRAINING(a) "{addresses: [\"" a "\"], conditions: {ready: false, serving: true, terminating: true}}"
#define UNREADY(a) "{addresses: [\"" a "\"], conditions: {ready: false}}"
#define READY_AT(a, node) "{addresses: [\"" a "\"], nodeName: " node "}"

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
