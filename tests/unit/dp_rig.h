/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The environment of user/dp's tests: a mount namespace, and a network namespace for each test, with this build's
 * programs loaded.
 */
#ifndef WARREN_DP_RIG_H
#define WARREN_DP_RIG_H

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "internal.h"
#include "load.h"
#include "maps.h"
#include "private_run.h"
#include "progs.h"
#include "rig.h"
#include "warren.skel.h"

/* cmocka's group setup. */
static inline int dp_rig_make(void **state)
{
	if (private_run(NULL) < 0)
		return -1;
	return mount("bpf", WARREN_BPFFS, "bpf", 0, "mode=0700");
}

/* Setup and teardown of a test: freshly loaded. */
static inline int dp_rig_load(void **state)
{
	const struct node_options options = { .mark_shift = -1, .ct_entries = WR_CT_ENTRIES };
	struct err err = { 0 };
	bool fresh;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(load_programs(&options, &fresh, &err));
	assert_true(fresh);
	return 0;
}

/*
 * The same for a test that runs no packet: only the maps and the gc. The verifier takes seconds for the other programs; those
 * that dp_open() requires are pinned as if they were loaded.
 */
static inline int dp_rig_load_maps(void **state)
{
	struct bpf_program *program;
	struct warren_bpf *skel = NULL;
	struct err err = { 0 };
	unsigned pinned;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(load_open(&skel, &pinned, &err));
	bpf_object__for_each_program(program, skel->obj)
		bpf_program__set_autoload(program, strcmp(bpf_program__name(program), WARREN_PROG_CT_GC_START) == 0);
	assert_ok(load_and_pin(skel, -1, true, &err));
	assert_int_equal(bpf_program__pin(skel->progs.ct_gc_start, PIN_PROG_DIR "/" WARREN_PROG_TO_POD), 0);
	assert_int_equal(bpf_program__pin(skel->progs.ct_gc_start, PIN_PROG_DIR "/" WARREN_PROG_FROM_POD), 0);
	warren_bpf__destroy(skel);
	return 0;
}

static inline int dp_rig_unload(void **state)
{
	struct err err = { 0 };

	assert_ok(load_unpin(&err));
	return 0;
}

/* The fd of a pinned map (of a growing one: of the inner map). */
static inline int map_fd(const char *name)
{
	struct err err = { 0 };
	int fd = dp_map_open(name, &err);

	if (fd < 0)
		fail_msg("%s: %s", name, err.msg);
	return fd;
}

/* A thread that runs fn(arg) until the test stops it, and must not assert: cmocka's failures belong to the main
 * thread. */
struct background {
	pthread_t thread;
	bool stop;
	void (*fn)(void *arg);
	void *arg;
	uint64_t rounds;
};

static inline void *background_main(void *arg)
{
	struct background *b = arg;

	while (!__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE)) {
		b->fn(b->arg);
		__atomic_add_fetch(&b->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Returns when it has run once. */
static inline void background_start(struct background *b, void (*fn)(void *arg), void *arg)
{
	*b = (struct background){ .fn = fn, .arg = arg };
	assert_int_equal(pthread_create(&b->thread, NULL, background_main, b), 0);
	while (!__atomic_load_n(&b->rounds, __ATOMIC_ACQUIRE))
		sched_yield();
}

static inline void background_stop(struct background *b)
{
	__atomic_store_n(&b->stop, true, __ATOMIC_RELEASE);
	pthread_join(b->thread, NULL);
}

#endif
