/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "rig.h"

static void set(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, ENOSPC, "pool %s: %d left", "a", 0), -ENOSPC);
	assert_int_equal(e.num, ENOSPC);
	assert_string_equal(e.msg, "pool a: 0 left");
	assert_string_equal(e.hint, "");
	assert_int_equal(e.code, 0);
}

static void set_errno(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_errno(&e, ENOENT, "cannot open %s", "/x"), -ENOENT);
	assert_int_equal(e.num, ENOENT);
	assert_string_equal(e.msg, "cannot open /x: No such file or directory");
}

/* An error replaces an earlier one, with its hint and code. */
static void set_replaces(void **state)
{
	struct err e = { 0 };

	err_set(&e, EINVAL, "first");
	err_hint(&e, "do that");
	e.code = 7;
	err_set(&e, EIO, "second");
	assert_string_equal(e.msg, "second");
	assert_string_equal(e.hint, "");
	assert_int_equal(e.code, 0);

	err_hint(&e, "do this");
	e.code = 7;
	err_errno(&e, EPERM, "third");
	assert_string_equal(e.msg, "third: Operation not permitted");
	assert_string_equal(e.hint, "");
	assert_int_equal(e.code, 0);
}

static void wrap(void **state)
{
	struct err e = { 0 };

	err_errno(&e, ENODEV, "cannot add eth0");
	err_hint(&e, "load veth");
	e.code = 100;
	assert_int_equal(err_wrap(&e, "ADD of %s", "c1"), -ENODEV);
	assert_int_equal(err_wrap(&e, "warren-cni"), -ENODEV);
	assert_string_equal(e.msg, "warren-cni: ADD of c1: cannot add eth0: No such device");
	assert_string_equal(e.hint, "load veth");
	assert_int_equal(e.code, 100);
	assert_int_equal(e.num, ENODEV);
}

static void hint(void **state)
{
	struct err e = { 0 };

	err_set(&e, EBUSY, "endpoints exist");
	assert_int_equal(err_hint(&e, "use --%s", "force"), -EBUSY);
	assert_string_equal(e.hint, "use --force");
	assert_string_equal(e.msg, "endpoints exist");
}

/* Callers without a struct err still get the status. */
static void no_err(void **state)
{
	assert_int_equal(err_set(NULL, ENOSPC, "x %d", 1), -ENOSPC);
	assert_int_equal(err_errno(NULL, EIO, "x %d", 1), -EIO);
	assert_int_equal(err_wrap(NULL, "x %d", 1), -EIO);
	assert_int_equal(err_hint(NULL, "x %d", 1), -EIO);
}

/* Wrapping an error that was never set is a bug, but returns an error. */
static void never_set(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_wrap(&e, "x"), -EINVAL);
	assert_int_equal(err_hint(&e, "x"), -EINVAL);
}

/* Whatever the length, the text ends within its buffer and begins with the last message. */
static void long_text(void **state)
{
	char longer[2000];
	struct {
		struct err e;
		char guard[16];
	} box;

	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memset(&box, 0x55, sizeof(box));

	err_set(&box.e, EINVAL, "%s", longer);
	assert_int_equal(strlen(box.e.msg), sizeof(box.e.msg) - 1);
	err_errno(&box.e, EINVAL, "%s", longer);
	assert_int_equal(strlen(box.e.msg), sizeof(box.e.msg) - 1);
	err_wrap(&box.e, "context");
	assert_int_equal(strlen(box.e.msg), sizeof(box.e.msg) - 1);
	assert_memory_equal(box.e.msg, "context: aaa", 12);
	err_wrap(&box.e, "%s", longer);
	assert_int_equal(strlen(box.e.msg), sizeof(box.e.msg) - 1);
	err_hint(&box.e, "%s", longer);
	assert_int_equal(strlen(box.e.hint), sizeof(box.e.hint) - 1);
	for (size_t i = 0; i < sizeof(box.guard); i++)
		assert_int_equal(box.guard[i], 0x55);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set),	     cmocka_unit_test(set_errno), cmocka_unit_test(set_replaces),
		cmocka_unit_test(wrap),	     cmocka_unit_test(hint),	  cmocka_unit_test(no_err),
		cmocka_unit_test(never_set), cmocka_unit_test(long_text),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
