/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every allocation of a compile fails once. The compile must then return -ENOMEM, and compile_all the result of a
 * compile without a failure; or the allocation was optional (growing a hash table).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/seed.h"
#include "check.h"
#include "faults.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED

/* glibc allows a program to replace the allocator, and exports its own functions under these names. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static long until_failure = -1; /* so many allocations succeed, then one fails; -1: all succeed */

static bool fails(void)
{
	if (until_failure < 0)
		return false;
	if (until_failure-- > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

void *reallocarray(void *p, size_t count, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, count * size);
}

/* Returns false if the compile has fewer allocations. */
static bool compile_failing(const struct cluster *before, const struct cluster *now, const struct tables *expected,
			    long fault)
{
	struct policy_changes changes;
	struct compiled k;
	bool failed, reached;

	assert_null(check_compile(&k, before));
	for (size_t i = 0; i < now->namespace_count; i++)
		assert_int_equal(policy_put_namespace(k.p, namespace_copy(now->namespaces[i])), 0);
	for (size_t i = 0; i < now->policy_count; i++)
		assert_int_equal(policy_put_policy(k.p, policy_copy(now->policies[i])), 0);
	until_failure = fault;
	failed = policy_compile(k.p, &changes, NULL) < 0;
	reached = until_failure < 0;
	until_failure = -1;
	if (failed) {
		assert_int_equal(policy_compile(k.p, &changes, NULL), -ENOMEM);
		tables_clear(&k.tables);
		assert_int_equal(policy_compile_all(k.p, &changes, NULL), 0);
	}
	assert_null(tables_apply(&k.tables, &changes));
	assert_ptr_equal(tables_differ(&k.tables, expected), NULL);
	compiled_free(&k);
	return reached;
}

void without_memory_nothing_is_lost(void **state)
{
	unsigned long first = seed_of_run();
	long faults = 0;

	for (unsigned long seed = first; seed < first + 300; seed++) {
		struct random r = { .state = seed };
		struct cluster before, now;
		struct compiled expected;
		long fault = 0;

		cluster_random(&now, &r);
		before = now;
		before.policy_count = now.policy_count / 2;
		before.namespace_count = now.namespace_count / 2;
		assert_null(check_compile(&expected, &now));
		while (compile_failing(&before, &now, &expected.tables, fault))
			fault++;
		faults += fault;
		compiled_free(&expected);
		cluster_free(&now);
	}
	if (faults < 5000)
		fail_msg("only %ld allocations were made to fail", faults);
}

#else

void without_memory_nothing_is_lost(void **state)
{
	print_message("skipped: the sanitizer's allocator cannot be made to fail\n");
	skip();
}

#endif
