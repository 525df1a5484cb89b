/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked into every test program of cmocka: its first argument is a pattern, and only tests of such a name run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* glibc gives constructors the arguments of main(). */
__attribute__((constructor)) static void filter_tests(int argc, char **argv)
{
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
}
