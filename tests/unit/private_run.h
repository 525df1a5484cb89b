/* SPDX-License-Identifier: BSD-2-Clause */
/* A WARREN_RUN_DIR of the test's own: a tmpfs in a private mount namespace, which ends with the process. */
#ifndef WARREN_TEST_PRIVATE_RUN_H
#define WARREN_TEST_PRIVATE_RUN_H

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "paths.h"

/* For cmocka's group setup; needs root. `options`: of the tmpfs, for example "size=64k". */
static int private_run(const char *options)
{
	/* One over /run first, so that not even an empty directory is left on the machine's own. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mkdir(WARREN_RUN_DIR, 0700) < 0)
		return -1;
	return mount("tmpfs", WARREN_RUN_DIR, "tmpfs", 0, options);
}

/* An empty one for the next test. */
static inline int private_run_again(const char *options)
{
	umount2(WARREN_RUN_DIR, MNT_DETACH);
	return mount("tmpfs", WARREN_RUN_DIR, "tmpfs", 0, options);
}

#endif
